"""Where Freehold keeps its state: one folder, `FREEHOLD_HOME` or `~/.freehold`. A leaf like errors.py.

freehold.db     the store: ledger, prices
keys.json       virtual keys, hashed
pseudonyms.key  what placeholders are made with, the same for all workers
marks, marks.d  the labels that conversations had, by hashes alone
journal/        what the workers append
run/            what lives as long as a running gateway: engine states, metrics snapshots, limits, pid
log/            engines' own output
"""

import os
from collections.abc import Mapping
from pathlib import Path


def located(env: Mapping[str, str]) -> Path:
    """Returns where the state folder is, or would be. Creates nothing."""
    return Path(env.get("FREEHOLD_HOME") or "~/.freehold").expanduser()


def home() -> Path:
    """Returns the state folder, made private (0700) when it did not exist."""
    path = located(os.environ)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def database() -> Path:
    return home() / "freehold.db"


def keys_file() -> Path:
    return home() / "keys.json"


def pseudonyms_key() -> Path:
    return home() / "pseudonyms.key"


def journal_dir() -> Path:
    return _folder("journal")


def run_dir() -> Path:
    return _folder("run")


def log_dir() -> Path:
    return _folder("log")


def _folder(name: str) -> Path:
    path = home() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replaces `path` in one step, readable by its owner only; a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
