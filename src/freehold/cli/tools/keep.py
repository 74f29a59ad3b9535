"""Writes a tool's own configuration file, and puts back what was there.

Before the first change the file is copied beside itself; FREEHOLD_HOME/launch/TOOL.json remembers the copy, a hash of
what was written, and the changes. Restoring is exact as long as nobody else wrote: then the copy comes back, or the
file goes if there was none. Where somebody did, only our own places go, and theirs stay.
"""

import hashlib
import os
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from freehold.cli.tools import Change, Tool
from freehold.cli.tools.jsonc import NotJson
from freehold.cli.tools.toml_blocks import NotToml
from freehold.errors import BadRequest
from freehold.home import home, write_private


class Kept(Struct):
    """What is remembered of a file that was changed."""

    file: str
    backup: str | None
    """The copy of what was there; None when there was no file."""
    made_folder: bool
    written: str
    """SHA-256 of what we wrote."""
    changes: list[Change]


def folder() -> Path:
    """Returns where launch keeps keys and what it changed."""
    path = home() / "launch"
    path.mkdir(mode=0o700, exist_ok=True)
    return path.resolve()


def write(tool: Tool, file: Path, changes: list[Change]) -> Path | None:
    """Makes the changes in a tool's file; returns the copy of what was there before, None when there was no file.

    Raises BadRequest when the file cannot be changed without losing something.
    """
    file = file.resolve()  # behind a symbolic link, the file itself
    kept = _remembered(tool)
    if kept is not None and kept.file != str(file):
        raise BadRequest(
            f"{tool.title} is set up in {kept.file} already", hint=f"freehold launch {tool.name} --restore"
        )
    now = _content(file)
    original, backup = now, None
    if kept is not None:
        original = _undone(tool, kept, now)
        backup = Path(kept.backup) if kept.backup is not None and original is not None else None
    text = _text(file, original)
    with _Editing(tool, file):
        new = tool.edit(text, changes).encode()
    made = kept.made_folder if kept is not None else not file.parent.exists()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if original is not None:
        backup = backup or _unused(file)
        _replace(backup, original, like=file)
    state = Kept(str(file), str(backup) if backup else None, made, _hash(new), changes)
    write_private(folder() / f"{tool.name}.json", msgspec.json.encode(state))
    _replace(file, new, like=file)
    return backup


def restore(tool: Tool) -> tuple[Path, bool]:
    """Undoes `write`. Returns the file, and whether it is exactly what it was; then its copy is gone too.

    Raises BadRequest where nothing was changed from this FREEHOLD_HOME.
    """
    kept = _remembered(tool)
    if kept is None:
        raise BadRequest(
            f"there is nothing to restore: {tool.title} was not set up from {home()}",
            hint=f"freehold launch {tool.name} --config sets it up",
            code="nothing_to_restore",
        )
    file = Path(kept.file)
    now = _content(file)
    exact = now is not None and _hash(now) == kept.written
    back = _undone(tool, kept, now)
    if back is None:
        file.unlink(missing_ok=True)
        if kept.made_folder and file.parent.exists() and not any(file.parent.iterdir()):
            file.parent.rmdir()
    else:
        _replace(file, back, like=file)
    if kept.backup is not None:
        Path(kept.backup).unlink(missing_ok=True)
    (folder() / f"{tool.name}.json").unlink(missing_ok=True)
    return file, exact or now is None


def _undone(tool: Tool, kept: Kept, now: bytes | None) -> bytes | None:
    """Returns the file's content without what is ours, None for no file."""
    before = Path(kept.backup).read_bytes() if kept.backup is not None and Path(kept.backup).exists() else None
    if now is None:
        return before  # somebody removed the file; what was there first is the best there is
    if _hash(now) == kept.written:
        return before
    file = Path(kept.file)
    with _Editing(tool, file):
        left = tool.undo(_text(file, now), _text(file, before), kept.changes)
    return None if before is None and left.strip() in ("", "{}") else left.encode()


class _Editing:
    """Turns what an editor finds wrong with a file into an error with file, line and what to do."""

    def __init__(self, tool: Tool, file: Path) -> None:
        self._tool = tool
        self._file = file

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NotJson | NotToml):
            raise BadRequest(
                f"{self._file}:{error.line}: {error}; nothing was changed",
                hint=f"mend it, or set it by hand: freehold launch {self._tool.name} --config --print",
                code="file_not_readable",
            ) from None


def _remembered(tool: Tool) -> Kept | None:
    try:
        return msgspec.json.decode((folder() / f"{tool.name}.json").read_bytes(), type=Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _text(file: Path, content: bytes | None) -> str:
    try:
        return (content or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{file} is not UTF-8 text; nothing was changed", hint="save it as UTF-8") from None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unused(file: Path) -> Path:
    """Returns a name beside a file that nothing has yet."""
    path, number = file.with_name(f"{file.name}.freehold-backup"), 2
    while path.exists():
        path, number = file.with_name(f"{file.name}.freehold-backup-{number}"), number + 1
    return path


def _replace(path: Path, content: bytes, *, like: Path) -> None:
    """Replaces a file in one step, with the permissions of another one, or private where that does not exist."""
    mode = like.stat().st_mode & 0o777 if like.exists() else 0o600
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
