"""Tools of this dialect that others have no word for, and the functions that stand in for them.

A **custom** tool takes free text. Elsewhere it is a function with one string, `input`; the text is that string.
A **namespace** holds functions. Elsewhere each is a function of its own, named `namespace__function` (shortened, with a
hash, beyond the 64 characters that hosts allow).

Both go by name alone, so whoever knows the request's tools can undo them: `Names` does, from the same tools, for the
calls of an answer. A name that a plain function has too stays that function's.
"""

from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct, field

from freehold.dialects.wire import MALFORMED

NAME_MAX = 64

CUSTOM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The text that is given to the tool."}},
    "required": ["input"],
    "additionalProperties": False,
}


def member_name(namespace: str, name: str) -> str:
    """The name under which a function of a namespace is known to other dialects."""
    whole = f"{namespace}{'' if namespace.endswith('__') else '__'}{name}"
    if len(whole) <= NAME_MAX:
        return whole
    digest = blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{whole[: NAME_MAX - 13]}_{digest}"


class Names(Struct):
    """What the names in calls stand for."""

    custom: set[str] = field(default_factory=set)
    members: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Flat name -> namespace, name."""

    def __bool__(self) -> bool:
        return bool(self.custom or self.members)


def read_names(tools: Any) -> Names:
    """From the `tools` of a request, decoded; whatever is malformed there has no names."""
    names = Names()
    plain: set[str] = set()
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, dict):
            continue
        name = tool.get("name")
        if not isinstance(name, str):
            continue
        if tool.get("type") == "function":
            plain.add(name)
        elif tool.get("type") == "custom":
            names.custom.add(name)
        elif tool.get("type") == "namespace":
            for inner in namespace_tools(tool):
                flat = member_name(name, inner["name"])
                names.members[flat] = (name, inner["name"])
                if inner.get("type") == "custom":
                    names.custom.add(flat)
    names.custom -= plain
    for name in plain:
        names.members.pop(name, None)
    return names


def namespace_tools(tool: dict[str, Any]) -> list[dict[str, Any]]:
    """The functions and custom tools of a namespace."""
    inner = tool.get("tools")
    return [
        one
        for one in (inner if isinstance(inner, list) else [])
        if isinstance(one, dict) and isinstance(one.get("name"), str) and one.get("type") in ("function", "custom")
    ]


def custom_input(arguments: str) -> str:
    """The free text in the arguments of the function that stood in for a custom tool."""
    try:
        value = msgspec.json.decode(arguments)
    except MALFORMED:
        return arguments
    if isinstance(value, dict) and isinstance(text := value.get("input"), str):
        return text
    return arguments
