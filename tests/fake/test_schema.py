"""Instances of JSON schemas validate, whatever the schema."""

import contextlib
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadRequest
from freehold.fake.schema import instance

leaves = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, span: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + span},
        st.integers(-50, 50),
        st.floats(0.25, 9),
    ),
    st.builds(lambda step: {"type": "integer", "minimum": 1, "multipleOf": step}, st.integers(1, 20)),
    st.builds(
        lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
        st.integers(0, 20),
        st.integers(0, 9),
    ),
    st.builds(lambda name: {"type": "string", "format": name}, st.sampled_from(["date", "email", "uuid", "date-time"])),
    st.builds(lambda values: {"enum": values}, st.lists(st.one_of(st.text(), st.integers()), min_size=1)),
    st.builds(lambda value: {"const": value}, st.one_of(st.text(), st.integers(), st.none())),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(st.text(max_size=8), inner, max_size=4).flatmap(
        lambda properties: st.builds(
            lambda required: {
                "type": "object",
                "properties": properties,
                "required": sorted(required),
                "additionalProperties": False,
            },
            st.sets(st.sampled_from(sorted(properties)) if properties else st.nothing()),
        )
    )
    arrays = st.builds(
        lambda item, low, span: {"type": "array", "items": item, "minItems": low, "maxItems": low + span},
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    options = st.builds(lambda many: {"anyOf": many}, st.lists(inner, min_size=1, max_size=3))
    return st.one_of(objects, arrays, options)


@given(st.recursive(leaves, nested, max_leaves=8))
def test_an_instance_validates(schema: Any) -> None:
    jsonschema.validate(instance(schema), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"p": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
         "type": "object", "properties": {"p": {"$ref": "#/$defs/p"}}, "required": ["p"]},
        {"$defs": {"node": {"type": "object", "required": ["value"], "properties": {
            "value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}, "$ref": "#/$defs/node"},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                   {"properties": {"b": {"type": "integer"}}, "required": ["b"]}]},
        {"type": ["null", "string"]},
        {"type": "string", "pattern": "^[A-Z]{3}-\\d{3}$"},
        {"type": "array", "uniqueItems": True, "minItems": 3, "items": {"type": "integer"}},
        {"type": "array", "uniqueItems": True, "minItems": 2, "items": {"enum": ["a", "b"]}},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
        {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
        {"required": ["free"]},
        {"type": "string", "default": "d"},
    ],
)  # fmt: skip
def test_what_real_schemas_use(schema: Any) -> None:
    jsonschema.validate(instance(schema), schema)


def test_gemini_type_names() -> None:
    made = instance({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}, "s": {"type": "STRING"}}})
    assert isinstance(made["n"], int)
    assert isinstance(made["s"], str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "items", "properties", "enum", "$ref", "anyOf", "required", "minItems", "pattern"]
                ),
                x,
            )
        ),
    )
)
def test_nonsense_never_crashes_a_server(schema: Any) -> None:
    with contextlib.suppress(BadRequest):
        instance(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {}, "minItems": "a"},
        {"type": "object", "required": 3},
        {"type": "array", "items": {"type": "string"}, "minItems": 10**12},
        {"type": "string", "minLength": 10**12},
        {"type": "object", "minProperties": 10**12},
        {"type": "integer", "multipleOf": 0, "minimum": 1},
        {"type": "number", "minimum": "x"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"allOf": [3]},
        {"anyOf": [None]},
        {"enum": []},
        {"type": "string", "pattern": "("},
    ],
)
def test_wrong_and_greedy_schemas_end_soon(schema: Any) -> None:
    with contextlib.suppress(BadRequest):
        assert len(str(instance(schema))) < 100_000
