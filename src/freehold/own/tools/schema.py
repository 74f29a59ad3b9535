"""Calls as a JSON schema: one object for each tool that may be called, its name before its arguments.

The parameters of each tool stand under `$defs` of the whole, and what they refer to (`#/$defs/Day`, `#`) is written
anew, because references count from the root.
"""

from collections.abc import Sequence
from typing import Any

from freehold.own.tools.words import Tool

_OPEN = ("type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const")
_VALUES = ("const", "enum", "default", "example", "examples")
"""What stands under these is data, not schema."""


def calls(tools: Sequence[Tool], answer: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the schema of one call of one of `tools`, or of `answer` where a schema for that is given."""
    forms: list[Any] = []
    parts: dict[str, Any] = {}
    for number, tool in enumerate(tools):
        parts[str(number)] = moved(parameters_of(tool), f"#/$defs/{number}")
        forms.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{number}"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    if answer is not None:
        parts["answer"] = moved(answer, "#/$defs/answer")
        forms.append({"$ref": "#/$defs/answer"})
    return {"anyOf": forms, "$defs": parts}


def parameters_of(tool: Tool) -> dict[str, Any]:
    """Arguments are always an object, also where nothing is said of them."""
    given = tool.parameters
    if not given:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return given if any(word in given for word in _OPEN) else {"type": "object", **given}


def moved(schema: Any, to: str) -> Any:
    """Returns `schema` as it must read at the place `to` of another one."""
    if isinstance(schema, list):
        return [moved(one, to) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for name, value in schema.items():
        if name == "$ref" and isinstance(value, str) and value.startswith("#"):
            out[name] = to + value[1:]
        else:
            out[name] = value if name in _VALUES and not isinstance(value, dict) else moved(value, to)
    return out
