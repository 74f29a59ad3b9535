"""Google's JSON form of its protocol messages, read leniently, as Google itself reads it.

https://protobuf.dev/programming-guides/json/: a field may be spelled `camelCase` or `snake_case`; `null` is the same as
absent; 64-bit numbers may come as strings, whole numbers as `3.0`. Google also takes one object where a list of objects
is due (its own examples do that). Each helper raises BadRequest and names the field.
"""

from typing import Any

from freehold.dialects.wire import check_dict, refuse

DIALECT = "gemini"

_LIMIT = 2**63


def camel(name: str) -> str:
    """`camelCase` of a field's name in either spelling."""
    if "_" not in name:
        return name
    head, *rest = name.lstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def message(value: Any, path: str) -> dict[str, Any]:
    """The fields of an object by their camel-case names, without those that are null."""
    return {camel(name): item for name, item in check_dict(value, path).items() if item is not None}


def listing(value: Any, path: str) -> list[Any]:
    """An array; a lone object is an array of one."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else refuse(path, "an array", value)


def integer(value: Any, path: str) -> int:
    """A whole number of at most 64 bits."""
    number = value
    digits = isinstance(value, str) and len(value) < 20 and value.removeprefix("-").isdecimal()
    if digits or (isinstance(value, float) and value.is_integer()):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not -_LIMIT <= number < _LIMIT:
        refuse(path, "an integer", value)
    return number


def number(value: Any, path: str) -> float:
    """A finite number."""
    given = value
    if isinstance(value, str):
        try:
            given = float(value)
        except ValueError:
            refuse(path, "a number", value)
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) < _LIMIT:
        refuse(path, "a number", value)
    return given
