"""A decoded JSON value against a JSON schema: is there anything in it that the schema forbids?

Both come from strangers, so the work is bounded: a container is held against a subschema once (what was found is
remembered), patterns match in linear time, and after `MOST_STEPS` the answer is that it cannot be said. What is not
understood is never passed over: `Unsupported`, and a check that cannot be made is doubt.

Understood is what providers take for structured output and tools, and what generators such as pydantic and zod write:
types (Gemini's upper-case names and `nullable` too), enum and const, properties, required, additionalProperties,
patternProperties, propertyNames, items and prefixItems, contains, all bounds, pattern, the usual formats, anyOf, oneOf,
allOf, not, if/then/else, dependentRequired, and references inside the document. Of JSON Schema 2020-12 that leaves out
unevaluated*, $dynamicRef, dependentSchemas and references to elsewhere.

A violation names the place and the rule, never the value: it is written to logs.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from freehold.check.pattern import Unsupported, compiled

Violation = str | None
MOST_STEPS = 30_000
"""Subschemas tried of one answer."""
MOST_DEPTH = 200
"""Of subschemas inside each other, references followed."""

_UNKNOWN = frozenset(
    {"unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "dependentSchemas", "dependencies"}
)
"""Keywords that constrain and are not understood."""


def violation(value: Any, schema: Any) -> Violation:
    """Returns what of `value` breaks `schema`, in words, with its place (`$.items[3].price`); None when it fits.

    `value` is decoded JSON. Raises Unsupported where that cannot be said.
    """
    try:
        return _Test(schema).of(value, schema, "$", 0)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Unsupported(f"the schema is malformed ({type(error).__name__})") from None


def canonical(value: Any) -> bytes:
    """JSON in which equal values are the same bytes: keys sorted, 1.0 as 1."""
    return msgspec.json.encode(_plain(value), order="deterministic")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def equal(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | dict) or isinstance(other, list | dict):
        return type(one) is type(other) and canonical(one) == canonical(other)
    return bool(one == other)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


class _Test:
    """One answer against one document of schemas."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0
        self._found: dict[tuple[int, int], Violation] = {}
        """By the identities of a container and a subschema; the first place found is named."""
        self._open: set[tuple[int, int]] = set()

    def of(self, value: Any, schema: Any, place: str, depth: int) -> Violation:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Unsupported("the answer and its schema are too large to be compared")
        if depth > MOST_DEPTH:
            raise Unsupported("the schema is nested too deeply")
        if schema is True:
            return None
        if schema is False:
            return f"{place} must not be there"
        if not isinstance(schema, dict):
            raise Unsupported("a schema is neither an object nor a boolean")
        if not isinstance(value, list | dict):
            return self._node(value, schema, place, depth)
        key = (id(value), id(schema))
        if key in self._found:
            return self._found[key]
        if key in self._open:
            raise Unsupported("the schema refers to itself")
        self._open.add(key)
        found = self._found[key] = self._node(value, schema, place, depth)
        self._open.discard(key)
        return found

    def _node(self, value: Any, schema: Mapping[str, Any], place: str, depth: int) -> Violation:
        if not _UNKNOWN.isdisjoint(schema):
            raise Unsupported(f"the schema has {sorted(_UNKNOWN & schema.keys())[0]}, which is not understood")
        if "$ref" in schema:
            found = self.of(value, self._resolved(schema["$ref"]), place, depth + 1)
            if found is not None:
                return found
        kind = _type_of(value)
        if (found := _wrong_kind(value, kind, schema, place)) is not None:
            return found
        if value is None and schema.get("nullable") is True:
            return None
        if kind in ("integer", "number"):
            found = _number(value, schema, place)
        elif kind == "string":
            found = _string(value, schema, place)
        elif kind == "array":
            found = self._array(value, schema, place, depth)
        elif kind == "object":
            found = self._object(value, schema, place, depth)
        return found if found is not None else self._combined(value, schema, place, depth)

    def _resolved(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unsupported("the schema refers to another document")
        node: Any = self._root
        for step in reference[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict) and key in node:
                node = node[key]
            else:
                raise Unsupported("the schema refers to nowhere")
        if reference != "#" and not reference.startswith("#/"):
            raise Unsupported("the schema refers by anchor")
        return node

    # Containers

    def _array(self, value: list[Any], schema: Mapping[str, Any], place: str, depth: int) -> Violation:
        if (found := _size(len(value), schema, "Items", place, "items")) is not None:
            return found
        if schema.get("uniqueItems") is True and len({canonical(item) for item in value}) < len(value):
            return f"{place} has equal items"
        first, items = schema.get("prefixItems"), schema.get("items")
        if isinstance(items, list):  # the form before 2020-12
            first, items = items, schema.get("additionalItems")
        first = first or []
        for index, item in enumerate(value):
            rule = first[index] if index < len(first) else items
            if rule is not None and (found := self.of(item, rule, f"{place}[{index}]", depth + 1)) is not None:
                return found
        if "contains" in schema:
            return self._contains(value, schema, place, depth)
        return None

    def _contains(self, value: list[Any], schema: Mapping[str, Any], place: str, depth: int) -> Violation:
        rule = schema["contains"]
        fits = sum(self.of(item, rule, place, depth + 1) is None for item in value)
        if fits < schema.get("minContains", 1) or fits > schema.get("maxContains", fits):
            return f"{place} has {fits} of the items it must contain"
        return None

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], place: str, depth: int) -> Violation:
        for name in schema.get("required") or ():
            if name not in value:
                return f"{place} has no {name}"
        if (found := _size(len(value), schema, "Properties", place, "properties")) is not None:
            return found
        for name, wanted in (schema.get("dependentRequired") or {}).items():
            if name in value and not all(other in value for other in wanted):
                return f"{place} has {name} without what it needs"
        known, named = schema.get("properties") or {}, schema.get("propertyNames")
        patterns = [(compiled(text), rule) for text, rule in (schema.get("patternProperties") or {}).items()]
        extra = schema.get("additionalProperties")
        for name, item in value.items():
            if named is not None and self.of(name, named, place, depth + 1) is not None:
                return f"{place} has a property of a name that is not allowed"
            rules = [known[name]] if name in known else []
            rules += [rule for pattern, rule in patterns if pattern.search(name)]
            if not rules and extra is not None:
                if extra is False:
                    return f"{place} has a property that is not in the schema"
                rules = [extra]
            inner = f"{place}.{name}" if name in known else f"{place}.*"
            for rule in rules:
                if (found := self.of(item, rule, inner, depth + 1)) is not None:
                    return found
        return None

    # Schemas of schemas

    def _combined(self, value: Any, schema: Mapping[str, Any], place: str, depth: int) -> Violation:
        for rule in schema.get("allOf") or ():
            if (found := self.of(value, rule, place, depth + 1)) is not None:
                return found
        for name, most in (("anyOf", None), ("oneOf", 1)):
            if name not in schema:
                continue
            found, fits = None, 0
            for rule in schema[name]:
                why = self.of(value, rule, place, depth + 1)
                found = found or why
                fits += why is None
                if fits and most is None:
                    break
            if not fits:
                only = len(schema[name]) == 1
                return found if only else f"{place} fits none of the {len(schema[name])} alternatives"
            if most is not None and fits > most:
                return f"{place} fits several alternatives where one is allowed"
        if "not" in schema and self.of(value, schema["not"], place, depth + 1) is None:
            return f"{place} is what it must not be"
        if "if" in schema:
            branch = "then" if self.of(value, schema["if"], place, depth + 1) is None else "else"
            if branch in schema:
                return self.of(value, schema[branch], place, depth + 1)
        return None


# Values


def _wrong_kind(value: Any, kind: str, schema: Mapping[str, Any], place: str) -> Violation:
    wanted = schema.get("type")
    if wanted is not None:
        names = wanted if isinstance(wanted, list) else [wanted]
        if not all(isinstance(name, str) and name.lower() in _KINDS for name in names):
            raise Unsupported("the schema has an unknown type")
        kinds = {name.lower() for name in names}
        fits = kind in kinds or (kind == "integer" and "number" in kinds)
        if not fits and not (value is None and schema.get("nullable") is True):
            return f"{place} is {_article(kind)}, not {' or '.join(_article(name) for name in sorted(kinds))}"
    if "const" in schema and not equal(value, schema["const"]):
        return f"{place} is not the one value allowed"
    if "enum" in schema and not _among(value, schema["enum"]):
        return f"{place} is none of the {len(schema['enum'])} values allowed"
    return None


def _among(value: Any, values: list[Any]) -> bool:
    if not isinstance(value, list | dict):
        return any(equal(value, one) for one in values)
    wanted = canonical(value)
    return any(type(one) is type(value) and canonical(one) == wanted for one in values)


_KINDS = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def _article(kind: str) -> str:
    return kind if kind == "null" else f"an {kind}" if kind[0] in "aoi" else f"a {kind}"


def _size(size: int, schema: Mapping[str, Any], suffix: str, place: str, what: str) -> Violation:
    if size < schema.get(f"min{suffix}", 0):
        return f"{place} has {size} {what}, fewer than allowed"
    if size > schema.get(f"max{suffix}", size):
        return f"{place} has {size} {what}, more than allowed"
    return None


def _number(value: int | float, schema: Mapping[str, Any], place: str) -> Violation:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is True:  # the form of draft 4
        low, above = None, low
    if below is True:
        high, below = None, high
    if (low is not None and value < low) or (above is not None and above is not False and value <= above):
        return f"{place} is below its minimum"
    if (high is not None and value > high) or (below is not None and below is not False and value >= below):
        return f"{place} is above its maximum"
    step = schema.get("multipleOf")
    if step is not None:
        try:
            if Decimal(repr(value)) % Decimal(repr(step)):
                return f"{place} is no multiple of {step}"
        except InvalidOperation:
            raise Unsupported("a number is too large to be divided") from None
    return None


def _string(value: str, schema: Mapping[str, Any], place: str) -> Violation:
    if len(value) < schema.get("minLength", 0):
        return f"{place} is too short"
    if len(value) > schema.get("maxLength", len(value)):
        return f"{place} is too long"
    if "pattern" in schema and not compiled(schema["pattern"]).search(value):
        return f"{place} does not match its pattern"
    form = _FORMATS.get(schema.get("format", ""))
    if form is not None:
        try:
            form(value)
        except ValueError:
            return f"{place} is no {schema['format']}"
    return None


def _like(pattern: str) -> Callable[[str], object]:
    """A format by a pattern that needs no going back."""
    found = re.compile(pattern)

    def test(value: str) -> None:
        if found.fullmatch(value) is None:
            raise ValueError

    return test


def _time(value: str) -> None:
    time.fromisoformat(value)
    if _CLOCK.match(value) is None:
        raise ValueError


def _moment(value: str) -> None:
    datetime.fromisoformat(value)
    if _CLOCK.match(value[11:]) is None or value[10] not in "Tt ":
        raise ValueError


_CLOCK = re.compile(r"\d\d:\d\d:\d\d")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _date(value: str) -> None:
    if _DATE.fullmatch(value) is None:
        raise ValueError
    date.fromisoformat(value)


_FORMATS: Mapping[str, Callable[[str], object]] = {
    "date-time": _moment,
    "date": _date,
    "time": _time,
    "email": _like(r"[^\s@]+@[^\s@]+"),
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uuid": _like(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    "uri": _like(r"[A-Za-z][A-Za-z0-9+.-]*:\S*"),
}
"""Formats that structured output enforces (OpenAI's list, less hostname and duration). Others say nothing."""
