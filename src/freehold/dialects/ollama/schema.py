"""Tool parameters as Ollama's server reads them (`ToolFunctionParameters` and `ToolProperty` of `api/types.go`).

It decodes the schema into Go structs: a root that is an object, properties with `type`, `anyOf`, `items`, `enum`,
`description` and `properties`. Keywords it does not know it ignores, without telling the model; a boolean where a
schema is expected, or a `type` of the root that is no plain word, is a 400. So references are inlined, `oneOf` is
written as `anyOf`, `const` as an `enum` of one, and booleans as the empty schema.
"""

from typing import Any

from freehold.dialects import json_schema
from freehold.errors import BadRequest


def parameters(schema: dict[str, Any] | None, relaxed: list[str]) -> dict[str, Any]:
    """The `parameters` of a function; what they no longer say is appended to `relaxed`. Raises BadRequest (depth)."""
    try:
        root = json_schema.object_root(json_schema.inline_refs(schema) if schema else None, relaxed)
        fitted = _fit(root)
    except RecursionError:
        raise BadRequest("The JSON schema is nested too deeply.", code="invalid_json_schema") from None
    fitted.setdefault("properties", {})
    return fitted


def _fit(node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {}
    result = dict(node)
    if "oneOf" in result and "anyOf" not in result:
        result["anyOf"] = result.pop("oneOf")
    if "const" in result and "enum" not in result:
        result["enum"] = [result.pop("const")]
    if "properties" in result:
        properties = result["properties"]
        result["properties"] = (
            {name: _fit(inner) for name, inner in properties.items()} if isinstance(properties, dict) else {}
        )
    if isinstance(choices := result.get("anyOf"), list):
        result["anyOf"] = [_fit(choice) for choice in choices]
    if isinstance(items := result.get("items"), dict):
        result["items"] = _fit(items)
    return result
