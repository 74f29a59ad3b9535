"""What `freehold deploy` asked for: FREEHOLD_HOME/deployments.yaml, entries of `own:` as in freehold.yaml.

The file is written by a program and may be read, kept and even edited by a person. freehold.yaml wins: an entry there
of the same name, or one whose adapter has it, hides the one here. Values are literal, so `${` is written as `$${`.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from freehold.config.checks_own import own_name
from freehold.config.litellm.write import scalar
from freehold.config.load import Loaded, loads, version_of
from freehold.config.problems import file_error
from freehold.config.schema import Owned
from freehold.home import located, write_private

FILE = "deployments.yaml"
_SPECIAL = re.compile("[\\x7f-\\x9f\\u2028\\u2029\\ufeff\\ufffe\\uffff]")
"""What YAML takes for a line's end, or not at all, outside an escape."""
HEAD = [
    "Written by `freehold deploy`; an entry of the same name in freehold.yaml wins.",
    "A running gateway follows a change of this file.",
]


def path_in(env: Mapping[str, str]) -> Path:
    """Returns where the file is, or would be. Creates nothing."""
    return located(env) / FILE


def read(path: Path) -> list[Owned]:
    """Returns the entries, none where there is no file. Raises ConfigErrors with every mistake in it."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise file_error(path, f"the file cannot be read: {error.strerror or error}") from None
    return parse(content, path)


def parse(content: bytes, path: Path) -> list[Owned]:
    """Like `read`, from bytes; `path` is the name used in errors."""
    loaded = loads(content, {}, file=str(path))
    others = [str(place[0]) for place in loaded.sources.keys if len(place) == 1 and place[0] != "own"]
    if others:
        raise file_error(path, f"only own: may stand here, not {others[0]}", hint="write it into freehold.yaml")
    return loaded.config.own


def merge(loaded: Loaded, entries: list[Owned]) -> Loaded:
    """Returns the configuration with the entries that freehold.yaml does not hide."""
    taken = names(loaded.config.own)
    added = [entry for entry in entries if not taken & names([entry])]
    if not added:
        return loaded
    config = msgspec.structs.replace(loaded.config, own=[*loaded.config.own, *added])
    return msgspec.structs.replace(loaded, config=config, version=version_of(config))


def names(entries: list[Owned]) -> set[str]:
    """Returns every NAME of `own/NAME` that the entries give: models and adapters."""
    return {own_name(entry) for entry in entries} | {adapter.name for entry in entries for adapter in entry.adapters}


def find(entries: list[Owned], name: str) -> Owned | None:
    """Returns the entry that gives `own/NAME`."""
    return next((entry for entry in entries if own_name(entry) == name), None)


@contextmanager
def change(path: Path) -> Iterator[list[Owned]]:
    """Gives the entries to be changed in place, and writes them back, checked, unless the body raises.

    Nobody else changes them meanwhile. Raises ConfigErrors when what is there, or would be, has a mistake; then the
    file stays as it was.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        entries = read(path)
        yield entries
        content = write(entries)
        parse(content, path)
        write_private(path, content)
    finally:
        os.close(descriptor)


def write(entries: list[Owned]) -> bytes:
    """Returns the file's content, which `parse` reads back as these entries."""
    lines = [f"# {line}" for line in HEAD]
    lines += ["", "own:"] if entries else []
    for entry in entries:
        for index, (key, value) in enumerate(msgspec.to_builtins(entry).items()):
            lines.append(f"{'    ' if index else '  - '}{key}: {_flow(value)}")
    return ("\n".join(lines) + "\n").encode()


def _flow(value: object) -> str:
    """Returns a value on one line: JSON, which is YAML, but for words that need no quotes."""
    if isinstance(value, str):
        plain = scalar(value)
        return _quoted(value) if plain.startswith('"') or "$" in value else plain
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def _quoted(text: str) -> str:
    written = json.dumps(text.replace("${", "$${"), ensure_ascii=False)
    return _SPECIAL.sub(lambda found: f"\\u{ord(found.group()):04x}", written)
