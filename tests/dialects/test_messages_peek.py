"""What routing learns of a messages request, and the edit a pass-through makes."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import messages
from freehold.dialects.peek import Peek
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest


def body(**fields: Any) -> bytes:
    return json.dumps(
        {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    ).encode()


def test_peek_sees_what_routing_needs() -> None:
    peeked = messages.peek(body(stream=True, tools=[{"name": "t", "input_schema": {}}], system="S"))
    assert peeked.model == "claude-x"
    assert peeked.stream
    assert peeked.max_tokens == 9
    assert peeked.n == 1
    assert peeked.tools
    assert peeked.include_usage
    assert not peeked.schema
    assert peeked.input_bytes > len('[{"role": "user", "content": "hi"}]')


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        {"output_format": {"type": "json_schema", "schema": {}}},
    ],
)
def test_peek_sees_a_schema(fields: dict[str, Any]) -> None:
    assert messages.peek(body(**fields)).schema
    assert not messages.peek(body(output_config={"effort": "low"})).schema


def test_peek_sees_media_but_not_talk_of_media() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 50_000}}
    pdf = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
    seen = messages.peek(body(messages=[{"role": "user", "content": [image, pdf]}]))
    assert (seen.images, seen.documents) == (True, True)
    assert seen.input_bytes < 6000  # the base64 counts as an image, not as 50,000 letters
    talk = [{"role": "user", "content": 'the "source" of an "image" or "document"'}]
    seen = messages.peek(body(messages=talk))
    assert (seen.images, seen.documents) == (False, False)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"model":"m"}', "messages"),
        (b'{"messages":[]}', "model"),
        (b'{"model":1,"messages":[]}', "model"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"m","messages":[],"stream":"yes"}', "stream"),
        (b'{"model":"m","messages":[],"max_tokens":"9"}', "max_tokens"),
        (b'{"model":"m","messages":[' + b"[" * 5000 + b"]" * 5000 + b"]}", None),
        (b'{"model":"m","messages":["\xff"]}', None),
    ],
)
def test_bad_bodies_are_the_callers_fault(raw: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        messages.peek(raw)
    assert caught.value.param == param


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_peek_raises_only_bad_request(raw: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(messages.peek(raw), Peek)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["model", "messages", "role", "content", "type", "text", "tools", "system", "stream", "thinking", "max_tokens",
     "tool_choice", "output_config", "metadata", "input", "source", "stop_sequences", "cache_control", "image"]
)  # fmt: skip
SHAPED = st.recursive(
    st.sampled_from(
        ["user", "assistant", "text", "tool_use", "tool_result", "image", "document", "auto", "m", "", None]
    )
    | st.integers()
    | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(NAMES, JSON | SHAPED, max_size=8))
def test_readers_of_requests_raise_only_bad_request(fields: dict[str, Any]) -> None:
    raw = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})
    for verb in (messages.peek, messages.read_request, messages.estimate_tokens):
        with contextlib.suppress(BadRequest):
            verb(raw)


def test_patch_keeps_every_value_byte_for_byte() -> None:
    raw = b'{ "model" : "a", "messages" : [ {"role":"user", "content":"\\u00e9"} ], "new_field": {"x" : 1.50} }'
    patched = messages.patch_request(raw, model="b")
    assert b'[ {"role":"user", "content":"\\u00e9"} ]' in patched
    assert b'{"x" : 1.50}' in patched
    assert json.loads(patched) == {**json.loads(raw), "model": "b"}


def test_patch_returns_the_body_itself_when_nothing_changes() -> None:
    raw = body()
    assert messages.patch_request(raw, model="claude-x") is raw
    assert messages.patch_request(raw, model="claude-x", traits=Traits(sampling=False), losses=[]) is raw


def test_patch_drops_sampling_a_model_refuses_and_says_so() -> None:
    losses: list[str] = []
    raw = body(temperature=0.5, top_p=1, top_k=5)
    patched = json.loads(messages.patch_request(raw, model="claude-x", traits=Traits(sampling=False), losses=losses))
    assert losses == ["temperature", "top_k"]
    assert "temperature" not in patched
    assert patched["top_p"] == 1


def test_patch_refuses_garbage() -> None:
    with pytest.raises(BadRequest):
        messages.patch_request(b"{", model="m")
