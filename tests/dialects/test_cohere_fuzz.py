"""Whatever is sent: Cohere's readers answer with one of our errors or read it, and what was read can be written."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated

from freehold.dialects import chat, cohere, messages
from freehold.dialects.conversation import Event, Finished, ToolStarted
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest, ProviderError, UpstreamBroken

REQUEST: dict[str, Any] = {
    "model": "command-a-03-2025",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look."},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "I look."}],
            "tool_plan": "I will look.",
            "tool_calls": [{"id": "t_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            "citations": [
                {
                    "start": 0,
                    "end": 3,
                    "text": "I l",
                    "content_index": 1,
                    "sources": [{"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "T"}}],
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "t_1",
            "content": [{"type": "document", "document": {"id": "x", "data": {"title": "t", "text": "u"}}}],
        },
        {"role": "user", "content": "And?"},
    ],
    "documents": ["Plain.", {"id": "a", "data": {"title": "T", "snippet": "S", "url": "https://a.example"}}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
    "tool_choice": "REQUIRED",
    "strict_tools": True,
    "response_format": {"type": "json_object", "json_schema": {"type": "object"}},
    "safety_mode": "STRICT",
    "citation_options": {"mode": "FAST"},
    "thinking": {"type": "enabled", "token_budget": 100},
    "max_tokens": 10,
    "stop_sequences": ["a"],
    "temperature": 0.5,
    "seed": 1,
    "p": 0.5,
    "k": 5,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "logprobs": True,
    "stream": True,
}

REPLY: dict[str, Any] = {
    "id": "r",
    "finish_reason": "TOOL_CALL",
    "message": REQUEST["messages"][2],
    "usage": {
        "billed_units": {"input_tokens": 5.0, "output_tokens": 2, "search_units": 1},
        "tokens": {"input_tokens": 9, "output_tokens": 3},
        "cached_tokens": 4,
    },
    "logprobs": [{"text": "I", "token_ids": [1], "logprobs": [-0.5]}],
}

STREAM: list[dict[str, Any]] = [
    {"type": "message-start", "id": "r", "delta": {"message": {"role": "assistant", "content": [], "tool_calls": []}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hm."}}}},
    {"type": "content-end", "index": 0},
    {"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {
        "type": "content-delta",
        "index": 1,
        "delta": {"message": {"content": {"text": "Hi"}}},
        "logprobs": {"text": "Hi", "token_ids": [1], "logprobs": [-0.5]},
    },
    {"type": "citation-start", "index": 0, "delta": {"message": {"citations": REQUEST["messages"][2]["citations"][0]}}},
    {"type": "citation-end", "index": 0},
    {"type": "content-end", "index": 1},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will."}}},
    {
        "type": "tool-call-start",
        "index": 0,
        "delta": {"message": {"tool_calls": {"id": "t", "type": "function", "function": {"name": "f"}}}},
    },
    {
        "type": "tool-call-delta",
        "index": 0,
        "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}},
    },
    {"type": "tool-call-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": REPLY["usage"]}},
]

SEEDS = st.integers(0, 2**32)


def wire(events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@given(SEEDS)
@settings(max_examples=400)
def test_a_mutated_request_is_refused_or_written_for_anyone(seed: int) -> None:
    body = json.dumps(mutated(REQUEST, seed)).encode()
    with suppress(BadRequest):
        cohere.peek(body)
    with suppress(BadRequest):
        cohere.patch_request(body, model="m", traits=Traits(sampling=False))
    try:
        conversation = cohere.read_request(body)
    except BadRequest:
        return
    for write in (cohere.write_request, chat.write_request, messages.write_request):
        with suppress(BadRequest):
            json.loads(write(conversation, [], Traits(thinking="budget")))


@given(SEEDS)
@settings(max_examples=400)
def test_a_mutated_reply_is_refused_or_written_back(seed: int) -> None:
    body = json.dumps(mutated(REPLY, seed)).encode()
    with suppress(UpstreamBroken):
        cohere.read_receipt(body)
    try:
        reply = cohere.read_reply(body)
    except ProviderError:
        return
    json.loads(cohere.write_reply(reply, []))
    json.loads(chat.write_reply(reply, []))


@given(SEEDS)
@settings(max_examples=400)
def test_a_mutated_stream_is_refused_or_shown_and_never_finishes_twice(seed: int) -> None:
    data = wire(mutated(STREAM, seed))
    reader, relay = cohere.StreamReader(), cohere.StreamRelay()
    events: list[Event] = []
    with suppress(UpstreamBroken):
        relay.feed(data)
        relay.close()
    with suppress(UpstreamBroken):
        events += reader.feed(data)
        events += reader.close()
    assert sum(isinstance(event, Finished) for event in events) <= 1
    assert reader.complete == any(isinstance(event, Finished) for event in events)
    calls = [event.index for event in events if isinstance(event, ToolStarted)]
    assert calls == list(range(len(calls)))
    writer = cohere.StreamWriter("", "")
    shown = b"".join(writer.write(event) for event in events) + writer.close()
    assert shown.endswith(b"data: [DONE]\n\n") or b'"finish_reason":"ERROR"' in shown


@given(st.lists(st.sampled_from(STREAM), max_size=20))
def test_any_order_of_events_is_read_and_shown(pieces: list[dict[str, Any]]) -> None:
    reader, writer = cohere.StreamReader(), cohere.StreamWriter("", "")
    shown = b"".join(writer.write(event) for event in reader.feed(wire(pieces))) + writer.close()
    again = cohere.StreamReader()
    again.feed(shown)
    assert again.complete == reader.complete


@given(st.binary(max_size=300))
def test_noise_is_an_error_of_ours(noise: bytes) -> None:
    with pytest.raises(BadRequest):
        cohere.read_request(noise)
    with pytest.raises(BadRequest):
        cohere.peek(noise)
    with pytest.raises(ProviderError):
        cohere.read_reply(noise)
    with suppress(UpstreamBroken):
        cohere.StreamReader().feed(noise)
    with suppress(UpstreamBroken):
        cohere.StreamRelay().feed(noise)
    assert isinstance(cohere.read_error(500, {}, noise), ProviderError)


@pytest.mark.parametrize("read", [cohere.read_request, cohere.peek])
def test_deep_json_and_broken_text_are_bad_requests(read: Any) -> None:
    deep = b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(BadRequest, match="deep"):
        read(deep)
    with pytest.raises(BadRequest, match="UTF-8"):
        read(b'{"model":"\xff","messages":[]}')
