"""Compares plain values with the schema and says, in words and with the place, everything that does not fit.

msgspec converts a good file in one call; this walk runs only when that call failed, since msgspec stops at the first
mistake and does not say which key of a mapping it stood under. It also returns what is left when every unfit value is
taken out, so that the checks between values can still run.
"""

from functools import cache
from typing import Any

import msgspec
from msgspec.inspect import (
    BoolType,
    DictType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from freehold.config.problems import KeyPath, Problems, did_you_mean
from freehold.config.schema import Config

_UNFIT: Any = object()


@cache
def schema_type() -> StructType:
    """Returns the schema as msgspec describes it."""
    found = type_info(Config)
    if not isinstance(found, StructType):
        raise TypeError("the schema's root must be a Struct")
    return found


def explain(value: Any, problems: Problems) -> Any:
    """Notes every value that does not fit the schema; returns the values that do, `{}` if the root is no mapping."""
    kept = _walk(value, schema_type(), (), problems)
    return {} if kept is _UNFIT else kept


def type_at(path: KeyPath) -> Type | None:
    """Returns the schema's type of a place, None where the schema has no such place or leaves a choice."""
    here: Type = schema_type()
    for part in path:
        found: Type | None = None
        for kind in alternatives(here):
            if isinstance(kind, StructType):
                found = next((f.type for f in kind.fields if f.encode_name == part), None)
            elif isinstance(kind, DictType) and isinstance(part, str):
                found = kind.value_type
            elif isinstance(kind, ListType) and isinstance(part, int):
                found = kind.item_type
            if found:
                break
        if found is None:
            return None
        here = found
    kinds = [kind for kind in alternatives(here) if not isinstance(kind, NoneType)]
    return kinds[0] if len(kinds) == 1 else None


def expected(kind: Type) -> str:
    """Returns what a type asks for, in words: `a whole number from 0 to 65535`."""
    match kind:
        case LiteralType(values=values):
            return "one of " + ", ".join(str(value) for value in values)
        case IntType(ge=low, le=high):
            return "a whole number" + _range(low, None, high)
        case FloatType(ge=low, gt=above, le=high):
            return "a number" + _range(low, above, high)
        case StrType(pattern=pattern):
            return "a name of letters, digits and . _ - : / @ +" if pattern else "text"
        case BoolType():
            return "true or false"
        case ListType(item_type=item, min_length=least):
            return ("a list of " if not least else "a list, not empty, of ") + _plural(item)
        case DictType() | StructType():
            return "a mapping"
        case UnionType():
            return " or ".join(expected(k) for k in alternatives(kind) if not isinstance(k, NoneType))
    return "something else"


def _range(low: float | None, above: float | None, high: float | None) -> str:
    if high is not None and (low is not None or above is not None):
        return f" from {low:g} to {high:g}" if low is not None else f" above {above:g} and up to {high:g}"
    if low is not None:
        return f" of {low:g} or more"
    return f" above {above:g}" if above is not None else ""


def _plural(kind: Type) -> str:
    match alternatives(kind)[0]:
        case StrType():
            return "names"
        case LiteralType() as literal:
            return f"words, each {expected(literal)}"
    return "mappings"


def alternatives(kind: Type) -> list[Type]:
    """Returns the members of a union, constraints unwrapped; any other type alone."""
    while isinstance(kind, Metadata):
        kind = kind.type
    if isinstance(kind, UnionType):
        return [inner for member in kind.types for inner in alternatives(member)]
    return [kind]


def _walk(value: Any, kind: Type, path: KeyPath, problems: Problems) -> Any:
    kinds = alternatives(kind)
    if value is None and any(isinstance(k, NoneType) for k in kinds):
        return None
    for candidate in kinds:
        match candidate, value:
            case StructType(), dict():
                return _struct(value, candidate, path, problems)
            case DictType(), dict():
                return _dict(value, candidate, path, problems)
            case ListType(), list():
                return _list(value, candidate, path, problems)
    wanted = [k for k in kinds if not isinstance(k, NoneType)]
    if any(_fits(value, candidate) for candidate in wanted):
        return value
    # Text that stands where text or a mapping belongs may be anything, a credential included: it is not repeated.
    plain = not isinstance(value, str) or isinstance(wanted[0], IntType | FloatType | BoolType | LiteralType)
    got = problems.quote(path, value) if plain else "other text" if isinstance(wanted[0], StrType) else "text"
    problems.add(path, f"expected {' or '.join(expected(k) for k in wanted)}, got {got}", _remedy(value, wanted[0]))
    return _UNFIT


def _struct(value: dict[str, Any], kind: StructType, path: KeyPath, problems: Problems) -> Any:
    fields = {found.encode_name: found for found in kind.fields}
    kept: dict[str, Any] = {}
    for name, item in value.items():
        inner = (*path, name)
        if name not in fields:
            hint = did_you_mean(name, fields) or "it may have " + ", ".join(fields)
            problems.add(inner, f"unknown key in {_what(path)}", hint, key=True)
        elif (result := _walk(item, fields[name].type, inner, problems)) is not _UNFIT:
            kept[name] = result
    complete = True
    for name, found in fields.items():
        if found.required and name not in kept:
            complete = False
            if name not in value:
                problems.add((*path, name), f"missing: {_what(path)} needs {name}, {expected(found.type)}")
    return kept if complete else _UNFIT


def _dict(value: dict[str, Any], kind: DictType, path: KeyPath, problems: Problems) -> dict[str, Any]:
    kept = {}
    for name, item in value.items():
        inner = (*path, name)
        if not _fits(name, kind.key_type):
            problems.add(inner, f"expected {expected(alternatives(kind.key_type)[0])}", key=True)
        elif (result := _walk(item, kind.value_type, inner, problems)) is not _UNFIT:
            kept[name] = result
    return kept


def _list(value: list[Any], kind: ListType, path: KeyPath, problems: Problems) -> Any:
    if len(value) < (kind.min_length or 0):
        problems.add(path, f"expected {expected(kind)}")
        return _UNFIT
    results = [_walk(item, kind.item_type, (*path, index), problems) for index, item in enumerate(value)]
    kept = [result for result in results if result is not _UNFIT]
    return kept if len(kept) >= (kind.min_length or 0) else _UNFIT


def _what(path: KeyPath) -> str:
    """Returns what the mapping at a place is called."""
    match path:
        case ():
            return "the file"
        case ("providers", str(name)):
            return f"provider {name}"
        case (str(name),) if name in ("server", "timeouts", "breaker"):
            return name
    return "this mapping"


def _fits(value: Any, kind: Type) -> bool:
    match kind:
        case BoolType():
            return isinstance(value, bool)
        case IntType():
            return type(value) is int and _between(value, kind)
        case FloatType():
            return type(value) in (int, float) and _between(value, kind)
        case StrType():
            return isinstance(value, str) and _text_fits(value, kind)
        case LiteralType(values=values):
            return isinstance(value, str) and value in values
    return False


def _between(value: float, kind: IntType | FloatType) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _text_fits(value: str, kind: StrType) -> bool:
    try:
        msgspec.convert(value, _constrained(kind.pattern, kind.min_length, kind.max_length))
    except msgspec.ValidationError:
        return False
    return True


@cache
def _constrained(pattern: str | None, low: int | None, high: int | None) -> Any:
    from typing import Annotated

    return Annotated[str, msgspec.Meta(pattern=pattern, min_length=low, max_length=high)]


def _remedy(value: Any, kind: Type) -> str | None:
    """Returns the fix where the slip is a common one."""
    match kind, value:
        case StrType(), bool() | int() | float():
            return "put it in quotes"
        case IntType() | FloatType(), str() if value.replace(".", "", 1).isdigit():
            return "remove the quotes"
        case BoolType(), str() if value.lower() in ("yes", "on", "y"):
            return "write true"
        case BoolType(), str() if value.lower() in ("no", "off", "n"):
            return "write false"
        case LiteralType(values=values), str():
            return did_you_mean(value, [str(v) for v in values])
        case ListType(), str():
            return "put it in [ ]"
    return None
