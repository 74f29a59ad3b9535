"""Schemas made fit for each provider: what they become, and that no constraint is given up in silence."""

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import json_schema
from freehold.errors import BadRequest

TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}},
            "required": ["value"],
        }
    },
    "$ref": "#/$defs/Node",
}


def test_references_are_inlined_with_what_stands_beside_them() -> None:
    schema = {
        "type": "object",
        "properties": {
            "home": {"$ref": "#/$defs/Address", "description": "where"},
            "work": {"$ref": "#/definitions/Address2"},
        },
        "$defs": {
            "Address": {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}},
            "City": {"type": "string"},
        },
        "definitions": {"Address2": {"type": "null"}},
    }
    assert json_schema.inline_refs(schema) == {
        "type": "object",
        "properties": {
            "home": {"type": "object", "properties": {"city": {"type": "string"}}, "description": "where"},
            "work": {"type": "null"},
        },
    }


def test_a_recursive_reference_stays_with_its_definition() -> None:
    schema = json_schema.inline_refs(TREE)
    assert schema["properties"]["next"] == {"$ref": "#/$defs/Node"}
    assert set(schema["$defs"]) == {"Node"}
    for value, good in (({"value": 1, "next": {"value": 2}}, True), ({"value": 1, "next": {"value": "x"}}, False)):
        assert jsonschema.Draft202012Validator(schema).is_valid(value) is good


def test_mutual_recursion_and_references_to_nowhere_end() -> None:
    schema = {
        "$defs": {
            "A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}},
            "B": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}},
        },
        "properties": {"a": {"$ref": "#/$defs/A"}, "x": {"$ref": "#/$defs/Nowhere"}, "y": {"$ref": "https://a.b/c"}},
    }
    inlined = json_schema.inline_refs(schema)
    assert inlined["properties"]["x"] == {"$ref": "#/$defs/Nowhere"}
    assert inlined["properties"]["y"] == {"$ref": "https://a.b/c"}
    assert jsonschema.Draft202012Validator(inlined["properties"]["a"] | {"$defs": inlined["$defs"]}).is_valid(
        {"b": {"a": {"b": {}}}}
    )


def test_references_that_multiply_stop_growing() -> None:
    definitions: dict[str, Any] = {"D0": {"type": "string"}}
    for level in range(1, 40):
        ref = {"$ref": f"#/$defs/D{level - 1}"}
        definitions[f"D{level}"] = {"type": "object", "properties": {"a": ref, "b": ref, "c": ref}}
    inlined = json_schema.inline_refs({"$defs": definitions, "$ref": "#/$defs/D39"})
    assert len(json.dumps(inlined)) < 3_000_000


def test_a_schema_nested_too_deeply_is_a_bad_request() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    for function in (json_schema.gemini, json_schema.anthropic, json_schema.openai_strict):
        with pytest.raises(BadRequest):
            function(schema, [])


# Anthropic


def test_anthropic_closes_objects_and_says_bounds_in_words() -> None:
    relaxed: list[str] = []
    schema = json_schema.anthropic(
        {
            "type": "object",
            "title": "T",
            "properties": {
                "age": {"type": "integer", "minimum": 0, "description": "years"},
                "mail": {"type": "string", "format": "email", "maxLength": 9},
                "odd": {"type": "string", "format": "color", "default": "red"},
                "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "many": {"type": "array", "items": {"type": "string"}, "minItems": 3},
                "kind": {"oneOf": [{"const": 1}, {"enum": ["a"]}]},
            },
            "required": ["age"],
        },
        relaxed,
    )
    properties = schema["properties"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["age"]
    assert properties["age"] == {"type": "integer", "description": "years\n\n{minimum: 0}"}
    assert properties["mail"] == {"type": "string", "format": "email", "description": "{maxLength: 9}"}
    assert properties["odd"] == {"type": "string", "description": '{format: "color"}'}
    assert properties["tags"]["minItems"] == 1
    assert "minItems" not in properties["many"]
    assert properties["kind"] == {"anyOf": [{"const": 1}, {"enum": ["a"]}]}
    assert relaxed == [
        "properties.age.minimum",
        "properties.mail.maxLength",
        "properties.odd.format",
        "properties.many.minItems",
    ]


def test_an_object_root_for_tools() -> None:
    relaxed: list[str] = []
    assert json_schema.object_root(None, relaxed) == {"type": "object", "properties": {}}
    good = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}
    assert json_schema.object_root(good, relaxed) is good
    assert json_schema.object_root({"properties": {"a": {}}}, relaxed) == {"type": "object", "properties": {"a": {}}}
    all_of = {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]}
    assert json_schema.object_root(all_of, relaxed) == {
        "type": "object",
        "properties": {"a": {}, "b": {}},
        "required": ["a"],
    }
    assert relaxed == []
    either = {
        "$defs": {"B": {"properties": {"b": {}, "k": {}}, "required": ["k", "b"]}},
        "anyOf": [{"properties": {"a": {}, "k": {}}, "required": ["a", "k"]}, {"$ref": "#/$defs/B"}],
    }
    merged = json_schema.object_root(either, relaxed)
    assert (set(merged["properties"]), merged["required"]) == ({"a", "b", "k"}, ["k"])
    assert relaxed == ["anyOf"]
    referred = json_schema.object_root(TREE, [])
    assert referred["type"] == "object"
    assert "value" in referred["properties"]


# Gemini


def test_gemini_keeps_its_subset() -> None:
    relaxed: list[str] = []
    schema = json_schema.gemini(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "n": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10, "multipleOf": 2},
                "c": {"const": "x"},
                "o": {"type": ["string", "null"], "pattern": "^a", "default": None},
                "m": {"type": "object", "additionalProperties": {"type": "string"}},
                "t": {"type": "array", "prefixItems": [{"type": "number"}], "uniqueItems": True},
            },
        },
        relaxed,
    )
    properties = schema["properties"]
    assert "$schema" not in schema
    assert properties["n"] == {"type": "integer", "minimum": 1, "maximum": 9, "description": "{multipleOf: 2}"}
    assert properties["c"] == {"enum": ["x"], "type": "string"}
    assert properties["o"] == {"type": ["string", "null"], "description": '{pattern: "^a"}'}
    assert properties["m"]["additionalProperties"] == {"type": "string"}
    assert properties["t"]["prefixItems"] == [{"type": "number"}]
    assert relaxed == ["properties.n.multipleOf", "properties.o.pattern", "properties.t.uniqueItems"]


# OpenAI strict


def test_openai_strict_requires_everything_and_lets_optional_be_null() -> None:
    relaxed: list[str] = []
    schema = json_schema.openai_strict(
        {
            "type": "object",
            "properties": {
                "a": {"type": "string"},
                "b": {"type": "integer", "minimum": 1},
                "c": {"$ref": "#/$defs/C"},
                "d": {"enum": ["x"]},
                "e": {"type": ["string", "null"], "minLength": 2},
            },
            "required": ["a"],
            "$defs": {"C": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}},
        },
        relaxed,
    )
    properties = schema["properties"]
    assert schema["required"] == ["a", "b", "c", "d", "e"]
    assert schema["additionalProperties"] is False
    assert properties["a"] == {"type": "string"}
    assert properties["b"] == {"type": ["integer", "null"], "minimum": 1}
    assert properties["c"]["additionalProperties"] is False
    assert properties["d"] == {"anyOf": [{"enum": ["x"]}, {"type": "null"}]}
    assert relaxed == ["properties.c.additionalProperties", "properties.e.minLength"]


# Rules for all

LEAVES = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])},
    optional={
        "description": st.text(max_size=5),
        "minimum": st.integers(-5, 5),
        "exclusiveMaximum": st.integers(6, 9),
        "maxLength": st.integers(0, 9),
        "default": st.none() | st.integers(),
        "format": st.sampled_from(["date", "uuid", "odd"]),
        "x-note": st.text(max_size=3),
    },
)
SCHEMAS = st.recursive(
    LEAVES | st.just({"enum": ["a", "b"]}) | st.just({"const": 3}) | st.just({"$ref": "#/$defs/D"}),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "minItems": 0}, inner),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda options: {"oneOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)[:1]},
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        ),
    ),
    max_leaves=8,
).map(lambda schema: {**schema, "$defs": {"D": {"type": "object", "properties": {"d": {"type": "string"}}}}})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 12) | st.text(max_size=4) | st.just("a"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=5,
)
TARGETS = [json_schema.gemini, json_schema.anthropic, json_schema.openai_strict, json_schema.object_root]


@pytest.mark.parametrize("target", TARGETS)
@given(schema=SCHEMAS)
def test_every_result_is_a_valid_schema_and_the_input_is_unchanged(target: Any, schema: dict[str, Any]) -> None:
    before = copy.deepcopy(schema)
    result = target(schema, [])
    assert schema == before
    jsonschema.Draft202012Validator.check_schema(result)
    if target in (json_schema.anthropic, json_schema.openai_strict):
        assert '"$ref":' not in json.dumps(result)
        assert "x-note" not in json.dumps(result)


@given(schema=SCHEMAS, value=VALUES)
def test_gemini_accepts_all_that_was_allowed(schema: dict[str, Any], value: Any) -> None:
    """Relaxing may allow more; only oneOf of overlapping alternatives could ever allow less, and it stays oneOf."""
    result = json_schema.gemini(schema, [])
    if jsonschema.Draft202012Validator(schema).is_valid(value) and "oneOf" not in json.dumps(schema):
        assert jsonschema.Draft202012Validator(result).is_valid(value)


@given(schema=SCHEMAS, value=VALUES)
def test_a_schema_without_a_report_still_says_the_same(schema: dict[str, Any], value: Any) -> None:
    relaxed: list[str] = []
    result = json_schema.gemini(schema, relaxed)
    if not relaxed and "oneOf" not in json.dumps(schema):
        good = jsonschema.Draft202012Validator(schema).is_valid(value)
        assert jsonschema.Draft202012Validator(result).is_valid(value) == good
