"""JSON Schema made fit for what each provider understands, with a report of every constraint that was given up.

Providers take subsets of JSON Schema and answer 400 to the rest. Each function returns a new schema and appends to
`relaxed` what the result no longer enforces, as dotted paths (`properties.age.minimum`). A constraint that is given up
is repeated in words in the node's description, where models do read it, as Anthropic's own SDK does.

    object_root    a tool's arguments for Anthropic: an object at the root, no anyOf, oneOf or allOf there
    anthropic      structured output (https://platform.claude.com/docs/en/build-with-claude/structured-outputs)
    gemini         tools and output (https://ai.google.dev/api/generate-content: responseJsonSchema)
    openai_strict  `strict: true` (https://platform.openai.com/docs/guides/structured-outputs#supported-schemas)

References: local ones are inlined where a target knows none; a recursive one cannot be, so it stays a `$ref` with its
definition. Annotations (default, examples, $comment, ...) that a target refuses are dropped without a report: they
constrain nothing.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from freehold.errors import BadRequest

Schema = dict[str, Any]

INLINE_LIMIT = 5000
"""Nodes a schema may grow to by inlining; beyond it references stay."""

_ANNOTATIONS = frozenset(
    {
        "$schema", "$id", "id", "$comment", "$anchor", "$vocabulary", "$dynamicAnchor", "default", "examples",
        "example", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "title",
        "discriminator", "xml", "externalDocs", "propertyOrdering",
    }
)  # fmt: skip
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
_ANTHROPIC = frozenset(
    {"type", "enum", "const", "title", "description", "properties", "required", "items", "anyOf", "allOf"}
)
_OPENAI = frozenset(
    {
        "type", "enum", "const", "title", "description", "properties", "required", "items", "anyOf", "pattern",
        "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
    }
)  # fmt: skip
_GEMINI = frozenset(
    {
        "type", "format", "title", "description", "enum", "items", "prefixItems", "minItems", "maxItems", "minimum",
        "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering", "$ref",
    }
)  # fmt: skip

EMPTY_OBJECT: Schema = {"type": "object", "properties": {}}


def object_root(schema: Schema | None, relaxed: list[str]) -> Schema:
    """A schema whose root is an object without anyOf, oneOf or allOf. Alternatives of objects are merged.

    Raises BadRequest when the schema is nested too deeply.
    """
    return _guard(_object_root, schema, relaxed)


def anthropic(schema: Schema, relaxed: list[str]) -> Schema:
    """The subset of Anthropic's structured outputs: every object closed, no bounds. Raises BadRequest (depth)."""
    return _guard(lambda root, report: _rewrite(inline_refs(root), "", report, _anthropic_node), schema, relaxed)


def gemini(schema: Schema, relaxed: list[str]) -> Schema:
    """The subset of JSON Schema that Gemini documents. Raises BadRequest (depth)."""
    return _guard(lambda root, report: _rewrite(inline_refs(root), "", report, _gemini_node), schema, relaxed)


def openai_strict(schema: Schema, relaxed: list[str]) -> Schema:
    """Every property required (optional ones may be null), every object closed. Raises BadRequest (depth)."""
    return _guard(lambda root, report: _rewrite(inline_refs(root), "", report, _openai_node), schema, relaxed)


def _guard(change: Callable[[Any, list[str]], Schema], schema: Any, relaxed: list[str]) -> Schema:
    try:
        return change(schema, relaxed)
    except RecursionError:
        raise BadRequest("The JSON schema is nested too deeply.", code="invalid_json_schema") from None


# References


def inline_refs(schema: Schema) -> Schema:
    """`schema` with its local references replaced by what they name; recursive ones stay, with their definitions.

    A reference to nowhere stays too: the provider's own error says it best.
    """
    if not _has_ref(schema):
        return {name: value for name, value in schema.items() if name not in ("$defs", "definitions")}
    inliner = _Inliner(schema)
    result: Schema = inliner.walk(
        {name: value for name, value in schema.items() if name not in ("$defs", "definitions")}, ()
    )
    return inliner.with_definitions(result)


def _has_ref(node: Any) -> bool:
    if isinstance(node, dict):
        return "$ref" in node or any(_has_ref(value) for value in node.values())
    return isinstance(node, list) and any(_has_ref(value) for value in node)


class _Inliner:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._nodes = 0
        self._kept: dict[str, str] = {}
        """References that had to stay, and the name of their definition in the result."""

    def walk(self, node: Any, open_refs: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [self.walk(item, open_refs) for item in node]
        if not isinstance(node, dict):
            return node
        self._nodes += 1
        ref = node.get("$ref")
        if isinstance(ref, str):
            return self._reference(node, ref, open_refs)
        return {name: self.walk(value, open_refs) for name, value in node.items()}

    def _reference(self, node: Schema, ref: str, open_refs: tuple[str, ...]) -> Any:
        target = self._resolve(ref)
        if target is None:
            return node
        if ref in open_refs or self._nodes > INLINE_LIMIT:
            name = self._kept.setdefault(ref, ref.rpartition("/")[2] or "root")
            return {"$ref": "#" if ref == "#" else f"#/$defs/{name}"}
        beside = {name: value for name, value in node.items() if name != "$ref"}
        inlined = self.walk(target, (*open_refs, ref))
        return {**inlined, **self.walk(beside, open_refs)} if isinstance(inlined, dict) else inlined

    def with_definitions(self, result: Schema) -> Schema:
        """Adds the definitions of the references that stayed. Walking one may keep further ones."""
        definitions: Schema = {}
        while missing := [ref for ref in self._kept if ref != "#" and self._kept[ref] not in definitions]:
            for ref in missing:
                target = self._resolve(ref)
                definitions[self._kept[ref]] = {} if target is None else self.walk(target, (*self._kept, ref))
        return {**result, "$defs": definitions} if definitions else result

    def _resolve(self, ref: str) -> Any:
        if not ref.startswith("#"):
            return None
        node: Any = self._root
        for step in ref[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict) and key in node:
                node = node[key]
            else:
                return None
        return node


# Walking

_Node = Callable[[Schema, str, list[str]], Schema]


def _rewrite(node: Any, path: str, relaxed: list[str], change: _Node) -> Any:
    """Applies `change` to every schema inside `node`, the outer before the inner."""
    if not isinstance(node, dict):
        return node
    result = change(dict(node), path, relaxed)
    prefix = f"{path}." if path else ""
    for name in _MAPS:
        if isinstance(inner := result.get(name), dict):
            result[name] = {
                key: _rewrite(item, f"{prefix}{name}.{key}", relaxed, change) for key, item in inner.items()
            }
    for name in _LISTS:
        if isinstance(inner := result.get(name), list):
            result[name] = [
                _rewrite(item, f"{prefix}{name}.{index}", relaxed, change) for index, item in enumerate(inner)
            ]
    for name in _SINGLES:
        if isinstance(result.get(name), dict):
            result[name] = _rewrite(result[name], f"{prefix}{name}", relaxed, change)
    return result


def _give_up(node: Schema, names: list[str], path: str, relaxed: list[str]) -> None:
    """Takes constraints out of `node`, says them in its description and reports them."""
    words = {name: node.pop(name) for name in names}
    if not words:
        return
    text = ", ".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in words.items())
    before = node.get("description")
    node["description"] = f"{before}\n\n{{{text}}}" if isinstance(before, str) and before else f"{{{text}}}"
    relaxed += [f"{path}.{name}" if path else name for name in names]


def _strip(node: Schema, known: frozenset[str], path: str, relaxed: list[str]) -> None:
    """Leaves only `known` keywords, `$ref` and definitions in `node`."""
    for name in [name for name in node if name in _ANNOTATIONS and name not in known]:
        del node[name]
    unknown = [
        name for name in node if name not in known and name not in ("$ref", "$defs") and not name.startswith("x-")
    ]
    for name in [name for name in node if name.startswith("x-")]:
        del node[name]
    _give_up(node, unknown, path, relaxed)


def _merge_all_of(node: Schema) -> None:
    """An allOf of plain objects becomes one schema; any other stays."""
    parts = node.get("allOf")
    if not isinstance(parts, list) or not all(isinstance(part, dict) and "$ref" not in part for part in parts):
        return
    merged: Schema = {}
    for part in [{name: value for name, value in node.items() if name != "allOf"}, *parts]:
        for name, value in part.items():
            if name == "properties" and isinstance(value, dict):
                merged["properties"] = {**merged.get("properties", {}), **value}
            elif name == "required" and isinstance(value, list):
                merged["required"] = list(dict.fromkeys([*merged.get("required", []), *value]))
            elif name in merged and merged[name] != value and name not in _ANNOTATIONS and name != "description":
                return  # two constraints of one kind: no single schema says both
            else:
                merged.setdefault(name, value)
    node.clear()
    node.update(merged)


def _as_any_of(node: Schema) -> None:
    """oneOf as anyOf: the same for alternatives that exclude each other, as those of real schemas do."""
    if "oneOf" in node and "anyOf" not in node:
        node["anyOf"] = node.pop("oneOf")


def _is_object(node: Schema) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or (kind is None and "properties" in node)


# Targets


def _object_root(schema: Schema | None, relaxed: list[str]) -> Schema:
    if not schema:
        return dict(EMPTY_OBJECT)
    if schema.get("type") == "object" and not any(name in schema for name in ("anyOf", "oneOf", "allOf", "$ref")):
        return schema
    root = dict(schema)
    if isinstance(ref := root.get("$ref"), str):
        target = _Inliner(schema)._resolve(ref)
        root = {**(target if isinstance(target, dict) else {}), **{k: v for k, v in root.items() if k != "$ref"}}
    _merge_all_of(root)
    for name in ("anyOf", "oneOf", "allOf"):
        if name in root:
            _merge_alternatives(root, name, schema, relaxed)
    root["type"] = "object"
    root.setdefault("properties", {})
    return root


def _merge_alternatives(root: Schema, name: str, schema: Schema, relaxed: list[str]) -> None:
    """All properties of all alternatives; required is what every alternative requires."""
    alternatives = root.pop(name)
    relaxed.append(name)
    properties: Schema = dict(root.get("properties") or {})
    required: list[set[str]] = []
    for alternative in alternatives if isinstance(alternatives, list) else []:
        if isinstance(alternative, dict) and isinstance(ref := alternative.get("$ref"), str):
            alternative = _Inliner(schema)._resolve(ref)
        if isinstance(alternative, dict):
            for key, value in (alternative.get("properties") or {}).items():
                properties.setdefault(key, value)
            required.append(set(alternative.get("required") or ()))
    root["properties"] = properties
    shared = set.intersection(*required) if required else set()
    if name == "allOf":
        shared = set().union(*required)
    names = list(dict.fromkeys([*(root.get("required") or ()), *sorted(shared)]))
    if names:
        root["required"] = names


def _anthropic_node(node: Schema, path: str, relaxed: list[str]) -> Schema:
    _merge_all_of(node)
    _as_any_of(node)
    known = set(_ANTHROPIC)
    if _is_object(node):
        opened = node.pop("additionalProperties", False)
        if isinstance(opened, dict) and opened:
            node["additionalProperties"] = opened
            _give_up(node, ["additionalProperties"], path, relaxed)
        node.setdefault("properties", {})
        node["additionalProperties"] = False
        known.add("additionalProperties")
    if node.get("format") in _FORMATS:
        known.add("format")
    if node.get("minItems") in (0, 1):
        known.add("minItems")
    _strip(node, frozenset(known), path, relaxed)
    return node


def _gemini_node(node: Schema, path: str, relaxed: list[str]) -> Schema:
    _merge_all_of(node)
    if "const" in node and "enum" not in node:
        node["enum"] = [node.pop("const")]
    if isinstance(node.get("enum"), list) and "type" not in node and all(isinstance(x, str) for x in node["enum"]):
        node["type"] = "string"
    for name, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        # Of an integer the exclusive bound has an inclusive twin; of other numbers it has none.
        limit = node.get(name)
        if (
            node.get("type") == "integer"
            and isinstance(limit, int)
            and not isinstance(limit, bool)
            and bound not in node
        ):
            del node[name]
            node[bound] = limit + (1 if bound == "minimum" else -1)
    _strip(node, _GEMINI, path, relaxed)
    return node


def _openai_node(node: Schema, path: str, relaxed: list[str]) -> Schema:
    _merge_all_of(node)
    _as_any_of(node)
    known = set(_OPENAI)
    if _is_object(node):
        opened = node.pop("additionalProperties", False)
        if isinstance(opened, dict) and opened:
            node["additionalProperties"] = opened
            _give_up(node, ["additionalProperties"], path, relaxed)
        properties = node.get("properties") or {}
        required = set(node.get("required") or ())
        node["properties"] = {
            name: value if name in required else _nullable(value) for name, value in properties.items()
        }
        node["required"] = list(properties)
        node["additionalProperties"] = False
        known.add("additionalProperties")
    if "format" in node and node["format"] not in _FORMATS:
        known.discard("format")
    _strip(node, frozenset(known), path, relaxed)
    return node


def _nullable(value: Any) -> Any:
    """`value` or null, the strict form of an optional property."""
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if isinstance(kind, str) and kind in _TYPES and "enum" not in value and "const" not in value:
        return value if kind == "null" else {**value, "type": [kind, "null"]}
    if isinstance(kind, list) and "null" in kind:
        return value
    if isinstance(options := value.get("anyOf"), list) and any(
        isinstance(option, dict) and option.get("type") == "null" for option in options
    ):
        return value
    return {"anyOf": [value, {"type": "null"}]}
