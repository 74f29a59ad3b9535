import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadRequest
from freehold.own.guard import MAX_DEPTH, MAX_MEMBERS, guard

MESSAGES = [{"role": "user", "content": "hello"}]


def nested(depth: int) -> Any:
    value: Any = {"type": "string"}
    for _ in range(depth):
        value = {"properties": {"a": value}}
    return value


def schema(value: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        schema({"type": "object", "properties": {"intent": {"enum": [f"intent {n}" for n in range(77)]}}}),
        schema(nested(20)),
        {"tools": [{"type": "function", "function": {"name": f"f{n}", "parameters": nested(5)}} for n in range(100)]},
        {"grammar": 'root ::= "yes" | "no"'},
        {"repeat_last_n": -1, "top_logprobs": 20, "logprobs": True},
        {"logprobs": 5, "metadata": nested(MAX_DEPTH)},
    ],
)
def test_ordinary_requests_pass(fields: dict[str, Any]) -> None:
    guard(json.dumps({"messages": MESSAGES, **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (schema(nested(MAX_DEPTH)), "response_format"),
        (schema({"enum": [str(n) for n in range(20_000)]}), "response_format"),
        (schema({"properties": {f"k{n}": {} for n in range(MAX_MEMBERS + 1)}}), "response_format"),
        ({"json_schema": nested(MAX_DEPTH)}, "json_schema"),
        ({"tools": [{"function": {"parameters": nested(MAX_DEPTH)}}]}, "tools"),
        ({"tools": [{"function": {"parameters": {"enum": list(range(9000))}}}]}, "tools"),
        ({"chat_template_kwargs": nested(MAX_DEPTH)}, "chat_template_kwargs"),
        ({"grammar": "root ::= " + "(" * 100_000}, "grammar"),
        ({"repeat_last_n": 10**9}, "repeat_last_n"),
        ({"dry_penalty_last_n": 1e300}, "dry_penalty_last_n"),
        ({"top_logprobs": 10**9}, "top_logprobs"),
        ({"n_probs": 10**9}, "n_probs"),
    ],
)
def test_what_hurts_the_engine_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        guard(json.dumps({"messages": MESSAGES, **fields}).encode())
    assert caught.value.param == param


def test_an_escaped_key_is_the_same_key() -> None:
    with pytest.raises(BadRequest):
        guard(rb'{"gr\u0061mmar": "' + b"(" * 100_000 + b'"}')


@pytest.mark.parametrize("field", ["tools", "anything"])
def test_nesting_without_end(field: str) -> None:
    for body in (b'{"%s":' % field.encode() + b"[" * 200_000, b'{"%s":' % field.encode() + b'{"a":' * 200_000):
        with pytest.raises(BadRequest):
            guard(body)


@given(st.binary(max_size=200))
def test_garbage_is_left_to_the_engine(body: bytes) -> None:
    guard(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(json_values, st.sampled_from(["response_format", "tools", "grammar", "chat_template_kwargs"]))
def test_any_small_value_passes(value: Any, field: str) -> None:
    guard(json.dumps({field: value}).encode())
