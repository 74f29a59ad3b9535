"""Anthropic's language in the envelopes of Bedrock and Vertex."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import converse, messages
from freehold.dialects.conversation import Failed, Finished, Metered, Started, TextDelta
from freehold.dialects.eventstream import write_event, write_exception
from freehold.errors import BadRequest, FreeholdError, UpstreamBroken

BODY = b'{"model":"claude-x","max_tokens":5,"messages":[ {"role":"user" , "content":"h\\u00e9"}],"stream":true,"x":1e2}'


def chunk(event: dict[str, Any]) -> bytes:
    inner = b64encode(json.dumps(event).encode()).decode()
    return write_event("chunk", json.dumps({"bytes": inner, "p": "abc"}).encode())


EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "msg_bdrk_1", "model": "claude-x", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi\nthere"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]


def test_vertex_names_the_model_in_the_path() -> None:
    assert converse.messages_on_vertex(BODY) == (
        b'{"max_tokens":5,"messages":[ {"role":"user" , "content":"h\\u00e9"}],"stream":true,"x":1e2,'
        b'"anthropic_version":"vertex-2023-10-16"}'
    )


def test_bedrock_names_the_stream_there_too() -> None:
    assert converse.messages_on_bedrock(BODY, ["context-1m-2025-08-07"]) == (
        b'{"max_tokens":5,"messages":[ {"role":"user" , "content":"h\\u00e9"}],"x":1e2,'
        b'"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["context-1m-2025-08-07"]}'
    )


def test_what_the_client_set_itself_stays() -> None:
    body = b'{"anthropic_version":"vertex-2030-01-01","anthropic_beta":["a"]}'
    assert converse.messages_on_vertex(body) == body
    assert converse.messages_on_bedrock(body, ["b"]) == body


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":\xff}', b"[" * 100_000])
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(BadRequest):
        converse.messages_on_vertex(body)


def test_frames_become_anthropics_own_stream() -> None:
    data = b"".join(map(chunk, EVENTS))
    for size in (1, 7, len(data)):
        stream, reader, events = converse.InvokeStream(), messages.StreamReader(), []
        for at in range(0, len(data), size):
            events += reader.feed(stream.feed(data[at : at + size]))
        assert reader.complete
        kinds = [type(event) for event in events]
        assert kinds == [Started, Metered, TextDelta, Metered, Finished]
        assert events[2] == TextDelta("hi\nthere")


def test_an_exception_is_an_error_event() -> None:
    stream, reader = converse.InvokeStream(), messages.StreamReader()
    data = chunk(EVENTS[0]) + write_exception("throttlingException", b'{"message": "slow down"}') + chunk(EVENTS[2])
    events = reader.feed(stream.feed(data))
    assert events[-1] == Failed("slow down", "rate_limit_error", 429)
    assert stream.feed(chunk(EVENTS[2])) == b""


@pytest.mark.parametrize("payload", [b"{}}", b'{"bytes": "***"}', b'{"bytes": "e30="}', b'{"bytes": "AAAA"}', b"{}"])
def test_broken_chunks(payload: bytes) -> None:
    stream = converse.InvokeStream()
    try:
        assert stream.feed(write_event("chunk", payload)) == b""  # nothing was said
    except UpstreamBroken:
        assert payload not in (b"{}", b'{"bytes": "e30="}')


@given(st.text(max_size=30), st.binary(max_size=30))
def test_no_event_can_forge_another(kind: str, rest: bytes) -> None:
    inner = json.dumps({"type": kind, "x": 1}).encode() + b"\n" + rest
    frame = write_event("chunk", json.dumps({"bytes": b64encode(inner).decode()}).encode())
    try:
        out = converse.InvokeStream().feed(frame)
    except FreeholdError:
        return
    assert out == b"" or (out.count(b"\n") == 3 and out.endswith(b"\n\n"))
