"""Changes to TOML text as blocks between two marks, everything else byte for byte as it was.

The standard library reads TOML and does not write it; a library that edits it (tomlkit) would be a dependency of the
whole product for three keys of one tool. So: root keys go into a block at the top of the file (TOML wants them before
the first table), tables into one at the end, a root key of the same name that was there is kept as a comment, and the
standard library then reads the result: it must say what the old text said, plus the changes, or nothing is written.
"""

import json
import re
import tomllib
from typing import Any

from freehold.cli.tools import Change

BEGIN = "# freehold: begin (freehold launch codex --restore takes this out)"
END = "# freehold: end"
REPLACED = "# freehold: replaced: "

_BLOCK = re.compile(
    r"(?:(?<=\n)\n)?^# freehold: begin[^\n]*\n(?:.*?\n)??# freehold: end[^\n]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


class NotToml(ValueError):
    """The text is no TOML, or says something that blocks cannot change. `line` counts from 1."""

    def __init__(self, what: str) -> None:
        place = _LINE.search(what)
        super().__init__(_LINE.sub("", what).strip())
        self.line = int(place.group(1)) if place else 1


def edit(text: str, changes: list[Change]) -> str:
    """Returns the text with every change made. Raises NotToml."""
    before = _read(text)
    expected = _expected(before, changes)
    root = [change for change in changes if len(change.path) == 1]
    for change in root:
        text = _retire(text, change.path[0]) if change.path[0] in before else text
    newline = "\r\n" if "\r\n" in text else "\n"
    top = [f"{change.path[0]} = {_written(change.value)}" for change in root]
    tables = [line for change in changes if len(change.path) > 1 for line in _table(change.path, change.value)]
    gap = "\n" if text and not text.endswith("\n") else ""
    result = _marked(top) + text + gap + ("\n" if text else "") + _marked(tables)
    result = result.replace("\r\n", "\n").replace("\n", newline)
    try:
        understood = tomllib.loads(result.removeprefix("\ufeff")) == expected
    except tomllib.TOMLDecodeError:
        understood = False
    if not understood:
        raise NotToml(f"it sets {' or '.join('.'.join(change.path) for change in changes)} in a way of its own")
    return result


def undo(text: str, before: str, changes: list[Change]) -> str:
    """Returns the text without our blocks, and what they replaced in its old place. Raises NotToml."""
    newline = "\r\n" if "\r\n" in text else "\n"
    plain = _BLOCK.sub("", text.replace("\r\n", "\n"))
    plain = re.sub(rf"^{re.escape(REPLACED)}", "", plain, flags=re.MULTILINE)
    _read(plain)
    return plain.replace("\n", newline)


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise NotToml(str(error)) from None


def _retire(text: str, name: str) -> str:
    """Makes a comment of the line that sets a root key; one over several lines is found out by the last check."""
    first = _TABLE.search(text)
    root = text[: first.start()] if first else text
    line = re.compile(rf"^(?=[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*=)", re.MULTILINE)
    return line.sub(REPLACED, root, count=1) + text[len(root) :]


def _marked(lines: list[str]) -> str:
    return "\n".join([BEGIN, *lines, END, ""]) if lines else ""


def _table(path: list[str], fields: dict[str, Any]) -> list[str]:
    lines = [f"[{'.'.join(path)}]"]
    inner = {name: value for name, value in fields.items() if isinstance(value, dict)}
    lines += [f"{name} = {_written(value)}" for name, value in fields.items() if name not in inner]
    for name, value in inner.items():
        lines += _table([*path, name], value)
    return lines


def _written(value: Any) -> str:
    """Returns text, a truth value, a whole number or a list of them as TOML, whose forms are those of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _expected(before: dict[str, Any], changes: list[Change]) -> dict[str, Any]:
    result = dict(before)
    for change in changes:
        holder = result
        for name in change.path[:-1]:
            inner = holder.get(name, {})
            holder[name] = dict(inner) if isinstance(inner, dict) else {}
            holder = holder[name]
        if len(change.path) > 1 and change.path[-1] in holder:
            raise NotToml(f"it has {'.'.join(change.path)} already")
        holder[change.path[-1]] = change.value
    return result
