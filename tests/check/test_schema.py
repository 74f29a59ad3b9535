"""Values against JSON schemas: the same verdicts as jsonschema's, places and rules in words, bounded work."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check.pattern import Unsupported
from freehold.check.schema import canonical, equal, violation
from freehold.fake.schema import instance

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.sampled_from([0.5, 1.0, 2.5]), st.text("abc1", max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)),
    max_leaves=8,
)
KINDS = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(KINDS, st.lists(KINDS, min_size=1, max_size=3, unique=True)),
            "enum": st.lists(SCALARS, min_size=1, max_size=4),
            "const": SCALARS,
            "minimum": st.integers(-2, 9),
            "exclusiveMaximum": st.integers(-2, 9),
            "multipleOf": st.sampled_from([1, 2, 0.5, 3]),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^a", "b$", "[0-9]", "^[abc]*$"]),
            "required": st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
            "properties": st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "[bc]"]), inner, max_size=1),
            "additionalProperties": st.one_of(st.booleans(), inner),
            "propertyNames": st.sampled_from([{"maxLength": 0}, {"enum": ["a", "b"]}, True]),
            "dependentRequired": st.just({"a": ["b"]}),
            "minProperties": st.integers(0, 2),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "contains": inner,
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 3),
            "uniqueItems": st.booleans(),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "$ref": st.just("#/$defs/named"),
        },
    )


SCHEMAS = st.recursive(st.one_of(st.booleans(), keywords(st.just(True))), keywords, max_leaves=6)
ROOTS = st.builds(
    lambda schema, named: {**(schema if isinstance(schema, dict) else {"not": {}}), "$defs": {"named": named}},
    SCHEMAS,
    keywords(st.just(True)).map(lambda schema: {k: v for k, v in schema.items() if k != "$ref"}),
)


@given(ROOTS, VALUES)
def test_same_verdict_as_jsonschema(schema: dict[str, Any], value: Any) -> None:
    theirs = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (violation(value, schema) is None) == theirs


FIELDS = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["refund", "card"]},
        "amount": {"type": "number", "minimum": 0},
        "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"pattern": "^[A-Z]{2}$"}}}},
        "when": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["intent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"intent": "refund", "amount": 2, "when": None}, None),
        ({}, "$ has no intent"),
        ({"intent": "other"}, "$.intent is none of the 2 values allowed"),
        ({"intent": "card", "amount": "2"}, "$.amount is a string, not a number"),
        ({"intent": "card", "amount": -1}, "$.amount is below its minimum"),
        ({"intent": "card", "items": [{"sku": "AB"}, {"sku": "ab"}]}, "$.items[1].sku does not match its pattern"),
        ({"intent": "card", "when": "2026-02-30"}, "$.when is no date"),
        ({"intent": "card", "secret": 1}, "$ has a property that is not in the schema"),
        ([], "$ is an array, not an object"),
    ],
)
def test_violations_name_place_and_rule(value: Any, words: str | None) -> None:
    assert violation(value, FIELDS) == words


def test_a_violation_never_repeats_what_an_answer_says() -> None:
    schema = {"additionalProperties": {"type": "integer"}, "propertyNames": {"maxLength": 3}}
    for value in ({"abc": "SECRET"}, {"SECRET": 1}):
        assert "SECRET" not in str(violation(value, schema))


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"type": "STRING"}, "a", 1),  # Gemini's form
        ({"type": "STRING", "nullable": True, "enum": ["a"]}, "a", "b"),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 4, 3),  # draft 4
        ({"items": [{"type": "integer"}], "additionalItems": False}, [1], [1, 2]),  # draft 7
        ({"type": "integer"}, 1.0, 1.5),
        ({"multipleOf": 0.1}, 0.3, 0.35),
        ({"enum": [1]}, 1.0, True),
        ({"format": "date-time"}, "2026-01-02T03:04:05Z", "2026-01-02"),
        ({"format": "time"}, "03:04:05", "three"),
        ({"format": "email"}, "a@b", "a b"),
        ({"format": "uuid"}, "123e4567-e89b-42d3-a456-426614174000", "123"),
        ({"format": "ipv4"}, "192.0.2.1", "192.0.2.300"),
        ({"format": "ipv6"}, "2001:db8::1", "2001"),
        ({"format": "uri"}, "https://example.com/", "example"),
    ],
)
def test_forms_that_other_generators_write(schema: dict[str, Any], fits: Any, does_not: Any) -> None:
    assert violation(fits, schema) is None
    assert violation(does_not, schema) is not None


def test_gemini_null() -> None:
    assert violation(None, {"type": "STRING", "nullable": True}) is None
    assert violation(None, {"type": "STRING"}) is not None


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value"],
        }
    },
}


def test_recursive_schemas() -> None:
    assert violation({"value": 1, "next": {"value": 2, "next": None}}, TREE) is None
    assert violation({"value": 1, "next": {"value": "2"}}, TREE) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#name"},
        {"unevaluatedProperties": False},
        {"type": "tuple"},
        {"type": 3},
        {"properties": {"a": 7}},
        {"pattern": "(?=a)", "type": "object"},
        {"required": 5},
        {"anyOf": 7},
        {"minProperties": "many"},
        {"allOf": [{"$ref": "#/allOf/0"}]},
        "no schema",
        None,
    ],
)
def test_what_is_not_understood_is_said_so(schema: Any) -> None:
    value: Any = {"a": "b"}
    if isinstance(schema, dict) and "pattern" in schema:
        schema, value = {"pattern": schema["pattern"]}, "a"
    with pytest.raises(Unsupported):
        violation(value, schema)


def test_alternatives_inside_alternatives_do_not_multiply() -> None:
    """Each of 40 levels has two alternatives that fail at the bottom only: 2**40 ways, 80 that are different."""
    node: Any = {"type": "integer"}
    for _ in range(40):
        node = {"anyOf": [{"properties": {"a": node}}, {"properties": {"a": node}, "required": ["a"]}]}
    value: Any = "no integer"
    for _ in range(40):
        value = {"a": value}
    assert violation(value, node) is not None


def test_deep_answers_are_refused_not_fatal() -> None:
    value = json.loads("[" * 900 + "]" * 900)
    with pytest.raises(Unsupported):
        violation(value, {"items": {"$ref": "#"}})


@given(ROOTS)
def test_what_the_fake_makes_of_a_schema_fits_it(schema: dict[str, Any]) -> None:
    """Both are ours and neither knows the other: where jsonschema agrees that the instance fits, so do we."""
    made = instance(schema)
    if jsonschema.Draft202012Validator(schema).is_valid(made):
        assert violation(made, schema) is None


@given(VALUES, VALUES)
def test_canonical_json_is_equal_for_equal_values(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == equal(one, other)
    assert equal(one, json.loads(json.dumps(one)))


def test_keys_in_any_order_are_equal() -> None:
    assert canonical({"a": 1, "b": [1.0]}) == canonical({"b": [1], "a": 1.0})
