"""Changes single values in JSON text and leaves every other byte as it is, comments and trailing commas included.

The text is scanned once into nodes that know where they stand; an edit cuts and pastes at those places. What comes
out is scanned again by the next edit, so a mistake here would show as a value that is not there.
"""

import json
import re
from typing import Any

from msgspec import Struct, field

from freehold.cli.tools import Change

_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_DEPTH = 100


class NotJson(ValueError):
    """The text is no JSON, with or without comments. `line` counts from 1."""

    def __init__(self, text: str, at: int, what: str) -> None:
        super().__init__(what)
        self.line = text.count("\n", 0, at) + 1


class _Member(Struct):
    name: str
    start: int
    node: "_Node"
    comma: int | None = None
    """Where the comma after it stands."""


class _Node(Struct):
    start: int
    end: int
    value: Any = None
    members: list[_Member] | None = None
    """Of an object."""
    elements: list["_Node"] = field(default_factory=list)


def value(text: str) -> Any:
    """Returns what JSON text says; of two members of one name the last. Raises NotJson."""
    return _value(_scan(text))


def edit(text: str, changes: list[Change]) -> str:
    """Returns the text with every change made; an empty text becomes an object. Raises NotJson."""
    if not text.strip():
        text = "{}\n"
    for change in changes:
        text = _set(text, change.path, change.value)
    return text


def undo(text: str, before: str, changes: list[Change]) -> str:
    """Returns the text with what stood in `before`, or nothing, in each place that still holds our value.

    Raises NotJson.
    """
    earlier = value(before) if before.strip() else {}
    for change in reversed(changes):
        if _look(value(text), change.path) != (True, change.value):
            continue
        had, old = _look(earlier, change.path)
        if had:
            text = _set(text, change.path, old)
            continue
        text = _remove(text, change.path)
        for length in range(len(change.path) - 1, 0, -1):
            parent = change.path[:length]
            if _look(earlier, parent)[0] or _look(value(text), parent) != (True, {}):
                break
            text = _remove(text, parent)
    return text


def _look(found: Any, path: list[str]) -> tuple[bool, Any]:
    """Returns whether there is something at a path, and what."""
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False, None
        found = found[name]
    return True, found


def _set(text: str, path: list[str], new: Any) -> str:
    node = _scan(text)
    for depth, name in enumerate(path):
        if node.members is None:
            raise NotJson(text, node.start, f"{'.'.join(path[:depth]) or 'the file'} is not an object")
        member = next((m for m in reversed(node.members) if m.name == name), None)
        if member is None:
            for outer in reversed(path[depth + 1 :]):
                new = {outer: new}
            return _insert(text, node, name, new)
        node = member.node
    return text[: node.start] + _written(new, _indent(text, node.start)) + text[node.end :]


def _insert(text: str, holder: _Node, name: str, new: Any) -> str:
    """Adds a member at the end of an object, in the style of its last one."""
    assert holder.members is not None
    key = json.dumps(name, ensure_ascii=False)
    if not holder.members:
        outer = _indent(text, holder.start)
        inner = outer + "  "
        body = f"{{\n{inner}{key}: {_written(new, inner)}\n{outer}}}"
        kept = text[holder.start + 1 : holder.end - 1]
        if kept.strip():  # comments in an empty object
            body = f"{{{kept.rstrip()}\n{inner}{key}: {_written(new, inner)}\n{outer}}}"
        return text[: holder.start] + body + text[holder.end :]
    last = holder.members[-1]
    own_line = "\n" in text[holder.start : last.start]
    inner = _indent(text, last.start)
    gap = f"\n{inner}" if own_line else " "
    added = f"{gap}{key}: {_written(new, inner) if own_line else json.dumps(new, ensure_ascii=False)}"
    if last.comma is None:
        return text[: last.node.end] + "," + added + text[last.node.end :]
    return text[: last.comma + 1] + added + "," + text[last.comma + 1 :]


def _remove(text: str, path: list[str]) -> str:
    """Takes a member out, with its comma and the line it leaves empty."""
    node = _scan(text)
    for name in path[:-1]:
        found = next(m for m in reversed(node.members or []) if m.name == name)
        node = found.node
    members = node.members or []
    index = max(i for i, m in enumerate(members) if m.name == path[-1])
    gone = members[index]
    start, end = gone.start, gone.node.end
    if gone.comma is not None:
        end = gone.comma + 1
    elif index > 0 and (comma := members[index - 1].comma) is not None:
        return text[:comma] + text[comma + 1 : start].rstrip() + text[end:]
    line = text.rfind("\n", 0, start) + 1
    if not text[line:start].strip():
        rest = re.match(r"[ \t]*\r?\n", text[end:])
        if rest:
            start, end = line, end + rest.end()
        elif len(members) == 1 and not text[end : node.end - 1].strip():
            start, end = node.start + 1, node.end - 1
    if len(members) == 1 and not (text[node.start + 1 : start] + text[end : node.end - 1]).strip():
        start, end = node.start + 1, node.end - 1
    return text[:start] + text[end:]


def _indent(text: str, at: int) -> str:
    """Returns the white space that begins the line of a place."""
    line = text.rfind("\n", 0, at) + 1
    found = re.match(r"[ \t]*", text[line:at])
    return found.group() if found else ""


def _written(new: Any, indent: str) -> str:
    step = "\t" if "\t" in indent else 2
    return json.dumps(new, indent=step, ensure_ascii=False).replace("\n", "\n" + indent)


def _value(node: _Node) -> Any:
    if node.members is not None:
        return {member.name: _value(member.node) for member in node.members}
    return [_value(item) for item in node.elements] if node.value is _LIST else node.value


_LIST: Any = object()


def _scan(text: str) -> _Node:
    start = _skip(text, 1 if text.startswith("\ufeff") else 0)
    node = _node(text, start, 0)
    if (end := _skip(text, node.end)) != len(text):
        raise NotJson(text, end, "something stands after the end of the value")
    return node


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _node(text: str, at: int, depth: int) -> _Node:
    if depth > _MAX_DEPTH:
        raise NotJson(text, at, "it is nested too deeply")
    sign = text[at : at + 1]
    if sign == "{":
        return _object(text, at, depth)
    if sign == "[":
        return _array(text, at, depth)
    found = _STRING.match(text, at) or _SCALAR.match(text, at)
    if not found:
        raise NotJson(text, at, "a value was expected")
    try:
        return _Node(at, found.end(), json.loads(found.group()))
    except ValueError:
        raise NotJson(text, at, "a value was expected") from None


def _object(text: str, at: int, depth: int) -> _Node:
    node = _Node(at, at, members=[])
    assert node.members is not None
    here = _skip(text, at + 1)
    while text[here : here + 1] != "}":
        found = _STRING.match(text, here)
        colon = _skip(text, found.end()) if found else here
        if not found or text[colon : colon + 1] != ":" or (node.members and node.members[-1].comma is None):
            raise NotJson(text, here, "a name and a colon, or the end of the object was expected")
        inner = _node(text, _skip(text, colon + 1), depth + 1)
        member = _Member(json.loads(found.group()), here, inner)
        here = _skip(text, inner.end)
        if text[here : here + 1] == ",":
            member.comma = here
            here = _skip(text, here + 1)
        node.members.append(member)
    node.end = here + 1
    return node


def _array(text: str, at: int, depth: int) -> _Node:
    node = _Node(at, at, _LIST)
    here, more = _skip(text, at + 1), True
    while text[here : here + 1] != "]":
        if not more:
            raise NotJson(text, here, "a comma or the end of the list was expected")
        inner = _node(text, here, depth + 1)
        node.elements.append(inner)
        here = _skip(text, inner.end)
        more = text[here : here + 1] == ","
        here = _skip(text, here + 1) if more else here
    node.end = here + 1
    return node
