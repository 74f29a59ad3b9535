"""Gemini's `Schema`, a subset of OpenAPI 3.0, read as JSON Schema.

Source: https://ai.google.dev/api/caching#Schema. The differences: types are in capitals, `nullable` stands for a type
beside null, 64-bit bounds may be strings, field names may be in snake case, and the format `enum` says nothing. All
else is JSON Schema already, so that the way is lossless.
"""

from typing import Any

from freehold.dialects.gemini.proto import camel, integer, listing, number
from freehold.dialects.wire import check_bool, check_dict, check_list, check_str
from freehold.errors import BadRequest

Schema = dict[str, Any]

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_INTEGERS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum")
_NAMES = {"ref": "$ref", "defs": "$defs"}


def read_schema(value: Any, path: str) -> Schema:
    """JSON Schema of a `Schema`. Raises BadRequest, for one that is nested too deeply as well."""
    try:
        return _read(value, path)
    except RecursionError:
        raise BadRequest("The schema is nested too deeply.", param=path, code="invalid_json_schema") from None


def _read(value: Any, path: str) -> Schema:
    schema: Schema = {}
    nullable = False
    for name, item in check_dict(value, path).items():
        if item is None and name != "default":
            continue
        name = camel(name)
        name = _NAMES.get(name, name)
        where = f"{path}.{name}"
        if name == "nullable":
            nullable = check_bool(item, where)
        elif name == "type":
            _read_type(schema, item, where)
        elif name in ("properties", "$defs"):
            schema[name] = {key: _read(inner, f"{where}.{key}") for key, inner in check_dict(item, where).items()}
        elif name in ("items", "not") or (name == "additionalProperties" and isinstance(item, dict)):
            schema[name] = _read(item, where)
        elif name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            schema[name] = [_read(inner, f"{where}.{index}") for index, inner in enumerate(listing(item, where))]
        elif name in _INTEGERS:
            schema[name] = integer(item, where)
        elif name in _NUMBERS:
            schema[name] = number(item, where)
        elif name in ("required", "propertyOrdering"):
            schema[name] = check_list(item, where)
        elif name == "example":
            schema["examples"] = [item]
        elif (name, item) != ("format", "enum"):
            schema[name] = item
    return _nullable(schema) if nullable else schema


def _read_type(schema: Schema, value: Any, path: str) -> None:
    """One word, or a list of words as JSON Schema has it. Unknown words stay, for the provider to refuse."""
    if isinstance(value, list):
        schema["type"] = [_type(item, path) for item in value]
    elif (word := _type(value, path)) != "type_unspecified":
        schema["type"] = word


def _type(value: Any, path: str) -> str:
    word = check_str(value, path)
    return word.lower() if word.lower() in (*_TYPES, "type_unspecified") else word


def _nullable(schema: Schema) -> Schema:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
        if isinstance(choices := schema.get("enum"), list) and None not in choices:
            schema["enum"] = [*choices, None]
    elif isinstance(options := schema.get("anyOf"), list) and "type" not in schema:
        schema["anyOf"] = [*options, {"type": "null"}]
    return schema


def read_json_schema(value: Any, path: str) -> Schema:
    """A field that holds JSON Schema as such."""
    return check_dict(value, path)


def read_parameters(fields: dict[str, Any], path: str) -> Schema | None:
    """The schema of a function's arguments, taken out of its declaration's `fields`."""
    schema: Schema | None = None
    if "parameters" in fields:
        schema = read_schema(fields.pop("parameters"), f"{path}.parameters")
    if "parametersJsonSchema" in fields:
        schema = read_json_schema(fields.pop("parametersJsonSchema"), f"{path}.parametersJsonSchema")
    return schema
