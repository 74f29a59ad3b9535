"""Valid input, bent: whatever a client or provider sends, the chat and messages dialects answer it with one of our
errors or with an answer, never with a crash; and what they read, every writer of both can write."""

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat, completions, messages
from freehold.dialects.conversation import Reply
from freehold.dialects.traits import Traits
from freehold.errors import FreeholdError

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.sampled_from([[None], [5], ["x"], [{}], [[]], {"type": 5}, {"x": {}}, "openai:x", "reasoning.text", "custom"]),
)

CHAT_MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "content": "ab",
    "refusal": "no",
    "reasoning": "t",
    "reasoning_content": "t",
    "reasoning_details": [
        {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.summary", "summary": "u", "format": "openai-responses-v1", "index": 1},
        {"type": "reasoning.encrypted", "data": "d", "id": "rs", "format": "openai-responses-v1", "index": 1},
    ],
    "annotations": [
        {"type": "url_citation", "url_citation": {"url": "https://a", "title": "t", "start_index": 0, "end_index": 1}},
        {"type": "file_citation", "file_citation": {"file_id": "f"}},
    ],
    "audio": {"id": "a", "data": "AAAA", "transcript": "t", "expires_at": 1},
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "d", "type": "custom", "custom": {"name": "g", "input": "x"}},
    ],
}
COMPLETION: dict[str, Any] = {
    "id": "i",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": CHAT_MESSAGE, "finish_reason": "stop", "logprobs": {"content": []}}],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
    "search_results": [{"url": "https://a", "title": "t"}],
    "citations": ["https://a"],
}
CHUNK: dict[str, Any] = {
    **{name: COMPLETION[name] for name in ("id", "model", "created", "usage", "citations")},
    "choices": [{"index": 0, "delta": CHAT_MESSAGE, "finish_reason": "stop"}],
}
CHAT_REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "q"}, CHAT_MESSAGE, {"role": "tool", "tool_call_id": "c", "content": "r"}],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "custom", "custom": {"name": "g"}},
    ],
    "tool_choice": {"type": "custom", "custom": {"name": "g"}},
    "modalities": ["text"],
    "audio": {"voice": "alloy", "format": "wav"},
    "reasoning": {"effort": "low", "max_tokens": 5, "exclude": True, "enabled": True},
    "reasoning_effort": "low",
    "verbosity": "low",
    "store": True,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "presence_penalty": 1,
    "logit_bias": {"1": 2},
    "stop": ["x"],
}
MESSAGE: dict[str, Any] = {
    "id": "i",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "t", "signature": "gemini:s"},
        {"type": "redacted_thinking", "data": "d"},
        {
            "type": "text",
            "text": "a",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "url": "u",
                    "title": "t",
                    "cited_text": "q",
                    "encrypted_index": "",
                },
                {"type": "char_location", "cited_text": "q", "document_index": 0, "document_title": "d"},
            ],
        },
        {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
        {"type": "server_tool_use", "id": "s", "name": "w", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 3, "cache_creation": {"ephemeral_5m_input_tokens": 1}},
}
MESSAGES_REQUEST: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": MESSAGE["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "f"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}
REFUSING = Traits(
    sampling=True,
    penalties=False,
    stop_max=0,
    force_tool=False,
    tools_and_reasoning=False,
    strict_messages=True,
    thinking="budget",
    replay_reasoning="reasoning_details",
)
ROUTER = Traits(thinking="object", replay_reasoning="reasoning_details", extras=("verbosity",), top_k=True)


@st.composite
def bent(draw: st.DrawFn, value: dict[str, Any]) -> bytes:
    """JSON of `value` with up to three places replaced by junk, taken out or doubled."""
    whole = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = whole
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and inner and draw(st.integers(0, 3)):
                place = inner
                continue
            action = draw(st.integers(0, 5))
            if action == 0:
                del place[key]
            elif action == 1 and isinstance(place, list):
                place.append(copy.deepcopy(inner))
            else:
                place[key] = copy.deepcopy(draw(JUNK))
            break
    return json.dumps(whole).encode()


def write_everywhere(reply: Reply) -> None:
    for language in (chat, messages, completions):
        losses: list[str] = []
        try:
            json.loads(language.write_reply(reply, losses))  # type: ignore[attr-defined]
        except FreeholdError:
            continue
        assert all(isinstance(name, str) and name for name in losses)


@settings(max_examples=120, deadline=None)
@given(bent(COMPLETION))
def test_chat_replies(body: bytes) -> None:
    for read in (chat.read_receipt, chat.as_stream, completions.as_stream):
        with suppress(FreeholdError):
            read(body)
    try:
        reply = chat.read_reply(body)
    except FreeholdError:
        return
    write_everywhere(reply)


@settings(max_examples=120, deadline=None)
@given(bent(MESSAGE))
def test_messages_replies(body: bytes) -> None:
    messages.mend_reply(body)
    for read in (messages.read_receipt, messages.as_stream):
        with suppress(FreeholdError):
            read(body)
    try:
        reply = messages.read_reply(body)
    except FreeholdError:
        return
    write_everywhere(reply)


def play(reader: Any, relay: Any, stream: bytes) -> None:
    writers = [
        chat.StreamWriter("i", "m", 1, True),
        messages.StreamWriter("i", "m"),
        completions.StreamWriter("i", "m", 1),
    ]
    try:
        for event in [*reader.feed(stream), *reader.close()]:
            for writer in writers:
                writer.write(event)
    except FreeholdError:
        pass
    for writer in writers:
        writer.close()
    try:
        relay.feed(stream)
        relay.close()
    except FreeholdError:
        pass


@settings(max_examples=120, deadline=None)
@given(st.lists(bent(CHUNK) | bent(COMPLETION), min_size=1, max_size=3))
def test_chat_streams(chunks: list[bytes]) -> None:
    stream = b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    play(chat.StreamReader(), chat.StreamRelay(True), stream)


def events() -> list[dict[str, Any]]:
    stream = messages.as_stream(json.dumps(MESSAGE).encode()).decode()
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_messages_streams(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(events()), min_size=1, max_size=12))
    bodies = [data.draw(bent(event)) if data.draw(st.booleans()) else json.dumps(event).encode() for event in chosen]
    stream = b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + body + b"\n\n"
        for event, body in zip(chosen, bodies, strict=True)
    )
    play(messages.StreamReader(), messages.StreamRelay(), stream)


@pytest.mark.parametrize(("language", "valid"), [(chat, CHAT_REQUEST), (messages, MESSAGES_REQUEST)])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_requests(language: Any, valid: dict[str, Any], data: st.DataObject) -> None:
    body = data.draw(bent(valid))
    traits = data.draw(st.sampled_from([Traits(), REFUSING, ROUTER]))
    losses: list[str] = []
    try:
        seen = language.peek(body).notes
        language.patch_request(body, model="m2", traits=traits, losses=losses, seen=seen)
    except FreeholdError:
        pass
    try:
        conversation = language.read_request(body)
    except FreeholdError:
        return
    for target in (chat, messages):
        try:
            json.loads(target.write_request(conversation, losses, traits))
        except FreeholdError:
            continue
    assert all(isinstance(name, str) and name for name in losses)
