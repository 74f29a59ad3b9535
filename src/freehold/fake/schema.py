"""An instance of a JSON Schema: the smallest sensible value that validates.

Covers what structured output and tool schemas use: types (Gemini's upper-case names and `nullable` too), enum, const,
default, examples, properties and required, items and prefixItems, bounds of numbers, strings and arrays, formats,
anyOf / oneOf / allOf, and `$ref` into the same document. A `pattern` is met from a list of usual shapes, or not at all.
Recursive schemas end: optional properties are left out below a depth of four.
"""

import re
from typing import Any

from freehold.errors import BadRequest

_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "byte": "ZmFrZQ==",
}
_GUESSES = ("fake", "a", "A", "AB", "ABC", "abc", "1", "0", "12", "123", "1234", "12345", "0123456789", "a1", "A1",
            "A-1", "AB-12", "ABC-123", "a_b", "a-b", "#a1b2c3", "1.0", "1.0.0", "v1.0.0", "+12025550123", "12:34",
            "12:34:56", "$1.00", "/a", "true", *_FORMATS.values())  # fmt: skip


def instance(schema: Any) -> Any:
    """Returns a value that validates against `schema` (see the module for what is covered).

    Raises:
        BadRequest: the schema itself is wrong, for example `minItems` is no number.
    """
    try:
        return _make(schema, schema, 0)
    except (TypeError, ValueError, AttributeError, KeyError, ZeroDivisionError, OverflowError, RecursionError) as error:
        raise BadRequest(f"not a JSON schema: {error}", hint="see https://json-schema.org") from None


MOST = 1000
"""Most items, properties or fake words an instance is given, whatever the schema's minimum: it stays small."""


def _make(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 12:
        return {}
    for key in ("const", "default", "example"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    if "$ref" in schema:
        return _make(_resolve(schema["$ref"], root), root, depth + 1)
    if schema.get("allOf"):
        return _make(_merged(schema, root), root, depth)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            rest = {name: value for name, value in schema.items() if name != key}
            return _make({**rest, **_simplest(schema[key], root)}, root, depth + 1)
    return _of_type(_type(schema), schema, root, depth)


def _of_type(kind: str, schema: dict[str, Any], root: Any, depth: int) -> Any:
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    if kind == "string":
        return _string(schema)
    if kind in ("integer", "number"):
        return _number(schema, kind == "integer")
    return None if kind == "null" else True


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if str(name).lower() != "null"), "null")
    if isinstance(kind, str):
        return kind.lower()
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if any(key in schema for key in ("pattern", "minLength", "maxLength", "format")):
        return "string"
    return "number" if any(key in schema for key in ("minimum", "maximum", "multipleOf")) else "object"


def _resolve(ref: Any, root: Any) -> Any:
    value = root
    for step in str(ref).lstrip("#/").split("/") if ref != "#" else ():
        name = step.replace("~1", "/").replace("~0", "~")
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return value


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        if isinstance(part, dict) and "$ref" in part:
            part = {**_resolve(part["$ref"], root), **{key: value for key, value in part.items() if key != "$ref"}}
        for key, value in part.items() if isinstance(part, dict) else ():
            old = merged.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                merged[key] = {**old, **value}
            elif key == "required" and isinstance(old, list):
                merged[key] = [*old, *value]
            else:
                merged[key] = value
    return merged


def _simplest(options: list[Any], root: Any) -> dict[str, Any]:
    """Prefers an alternative that is not null and not a reference, so that recursion ends."""
    known = [option for option in options if isinstance(option, dict)]
    plain = [option for option in known if option.get("type") != "null" and "$ref" not in option]
    return (plain or known or [{}])[0]


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    required = schema.get("required") or []
    made = {
        name: _make(value, root, depth + 1)
        for name, value in (properties.items() if isinstance(properties, dict) else ())
        if name in required or depth < 4
    }
    extra = schema.get("additionalProperties", {})
    for name in required:
        if name not in made:
            made[name] = _make(extra, root, depth + 1) if isinstance(extra, dict) and extra else "fake"
    while len(made) < min(schema.get("minProperties", 0), MOST):
        made[f"key{len(made)}"] = _make(extra, root, depth + 1) if isinstance(extra, dict) and extra else "fake"
    return made


def _array(schema: dict[str, Any], root: Any, depth: int) -> list[Any]:
    made = [_make(item, root, depth + 1) for item in schema.get("prefixItems") or []]
    items = schema.get("items", {})
    most = schema.get("maxItems", 1 << 30)
    wanted = min(
        max(int(schema.get("minItems", 0)), 1 if depth < 4 and not made and items is not False else 0), int(most)
    )
    while len(made) < min(wanted, MOST):
        value = _make(items, root, depth + 1) if isinstance(items, dict) and items else "fake"
        made.append(_varied(value, items, len(made)) if schema.get("uniqueItems") else value)
    return made[: int(most)]


def _varied(value: Any, schema: Any, number: int) -> Any:
    """Makes the items of a uniqueItems array differ, where their type allows."""
    choices = schema.get("enum") if isinstance(schema, dict) else None
    if choices:
        return choices[number % len(choices)]
    if isinstance(value, bool):
        return number % 2 == 0
    if isinstance(value, (int, float)):
        return value + number * (schema.get("multipleOf", 1) if isinstance(schema, dict) else 1)
    return f"{value}{number}" if isinstance(value, str) and number else value


def _string(schema: dict[str, Any]) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 1 << 30))
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        for guess in _GUESSES:
            if least <= len(guess) <= most and _matches(pattern, guess):
                return guess
    return " ".join(["fake"] * min(least // 5 + 1, MOST))[: max(least, 4)].ljust(min(least, MOST), ".")[:most]


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def _number(schema: dict[str, Any], whole: bool) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    step = schema.get("multipleOf")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(above, (int, float)) and not isinstance(above, bool) and (low is None or above >= low):
        low = above + (1 if whole else _gap(above, high if below is None else below))
    if isinstance(below, (int, float)) and not isinstance(below, bool) and (high is None or below <= high):
        high = below - (1 if whole else _gap(low, below))
    value: int | float = 1
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high
    if step:
        value = -(-(low if low is not None else value) // step) * step
    return -int(-value // 1) if whole else value


def _gap(low: Any, high: Any) -> float:
    """A distance that stays inside an open interval."""
    return 1.0 if low is None or high is None else (high - low) / 2
