"""Whatever is sent: a reader of the Responses dialect answers with one of our errors or reads it, and never crashes."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import responses
from freehold.dialects.conversation import Conversation, Event, Opaque, Turn
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest, ProviderError, UpstreamBroken

ODD: list[Any] = [None, True, False, 0, -1, 10**30, 1.5, -1e300, "", "x", "\u0000", [], {}, [None], [[]], {"type": "x"}]
ODD += [{"type": "message"}, {"type": []}, {"text": 1}, "rs_1", [{"type": "output_text", "text": None}]]

REQUEST: dict[str, Any] = {
    "model": "gpt-x",
    "instructions": "Be brief.",
    "input": [
        {"role": "developer", "content": "Rules."},
        {"role": "user", "content": [{"type": "input_text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "x"}}]},
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "novelty", "x": 1},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "content": [{"type": "reasoning_text", "text": "Hm!"}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "phase": "commentary",
            "content": [
                {
                    "type": "output_text",
                    "text": "See.",
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url": "https://a.example",
                            "title": "A",
                            "start_index": 0,
                            "end_index": 3,
                        }
                    ],
                },
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "namespace": "n"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "c", "input": "abc"},
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "ok"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "item_reference", "id": "msg_0"},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "defer_loading": True},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": {}}]},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", "name": "r", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "detailed", "context": "auto"},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "stream_options": {"include_obfuscation": True},
    "metadata": {"a": "b"},
    "max_output_tokens": 100,
    "previous_response_id": "resp_0",
    "conversation": "conv_1",
}

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-x",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "content": []},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "final_answer",
            "content": [
                {
                    "type": "output_text",
                    "text": "Hi",
                    "annotations": [{"type": "file_citation", "file_id": "f", "filename": "n", "index": 1}],
                    "logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "Yo"}]}],
                },
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "f",
            "arguments": "{}",
            "status": "completed",
        },
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "c", "input": "abc"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ],
    "usage": {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 8,
    },
}

STREAM: list[dict[str, Any]] = [
    {"type": "response.created", "response": {**RESPONSE, "output": [], "status": "in_progress", "usage": None}},
    {"type": "response.output_item.added", "output_index": 0, "item": RESPONSE["output"][0]},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Hm."},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {**RESPONSE["output"][0], "encrypted_content": "g"},
    },
    {"type": "response.output_item.added", "output_index": 1, "item": {**RESPONSE["output"][1], "content": []}},
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hi", "logprobs": [{}]},
    {"type": "response.output_text.annotation.added", "output_index": 1, "annotation": {"type": "url_citation"}},
    {"type": "response.refusal.delta", "output_index": 1, "delta": "No."},
    {"type": "response.output_item.done", "output_index": 1, "item": RESPONSE["output"][1]},
    {"type": "response.output_item.added", "output_index": 2, "item": {**RESPONSE["output"][2], "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"},
    {"type": "response.output_item.done", "output_index": 2, "item": RESPONSE["output"][2]},
    {"type": "response.output_item.added", "output_index": 3, "item": RESPONSE["output"][4]},
    {"type": "response.web_search_call.searching", "output_index": 3, "item_id": "ws_1"},
    {"type": "response.output_item.done", "output_index": 3, "item": RESPONSE["output"][4]},
    {"type": "response.output_item.done", "output_index": 4, "item": RESPONSE["output"][3]},
    {"type": "response.completed", "response": RESPONSE},
    {"type": "error", "error": {"message": "Overloaded", "code": "server_error"}},
]


def mutate(value: Any, rng: random.Random, chance: float) -> Any:
    """`value` with some of its parts replaced, removed or doubled."""
    if rng.random() < chance:
        return rng.choice(ODD)
    if isinstance(value, dict):
        kept = {key: mutate(item, rng, chance) for key, item in value.items() if rng.random() > chance / 2}
        if rng.random() < chance:
            kept[rng.choice(["type", "id", "content", "$item", "extra"])] = rng.choice(ODD)
        return kept
    if isinstance(value, list):
        items = [mutate(item, rng, chance) for item in value]
        return items + items[:1] if rng.random() < chance else items
    return value


seeds = st.tuples(st.integers(0, 2**32), st.sampled_from([0.02, 0.05, 0.15]))


def as_if_from_chat(conversation: Conversation) -> Conversation:
    turns = [
        Turn(turn.role, [part for part in turn.parts if not isinstance(part, Opaque)]) for turn in conversation.turns
    ]
    return Conversation("m", turns=[turn for turn in turns if turn.parts], dialect="chat")


def refused(call: Callable[[], Any], error: type[Exception]) -> bool:
    try:
        call()
    except error:
        return True
    return False


@settings(max_examples=400)
@given(seeds)
def test_any_request_is_read_or_refused(seed: tuple[int, float]) -> None:
    body = json.dumps(mutate(REQUEST, random.Random(seed[0]), seed[1])).encode()
    if refused(lambda: (responses.peek(body), responses.read_request(body), responses.echo(body)), BadRequest):
        return
    conversation = responses.read_request(body)
    written = json.loads(responses.write_request(conversation, [], Traits(thinking="effort")))
    assert written["model"] == conversation.model
    foreign = as_if_from_chat(conversation)
    again = responses.read_request(responses.write_request(foreign, []))
    assert sum(len(turn.parts) for turn in again.turns) >= len(foreign.turns)
    assert responses.echo(body).names is not None


@settings(max_examples=300)
@given(seeds)
def test_any_request_is_patched_and_stored_or_refused(seed: tuple[int, float]) -> None:
    body = json.dumps(mutate(REQUEST, random.Random(seed[0]), seed[1])).encode()
    refused(lambda: responses.patch_request(body, model="m", traits=Traits(sampling=False)), BadRequest)
    refused(lambda: responses.with_history(body, [*RESPONSE["output"], None, "x", {}]), BadRequest)
    refused(lambda: responses.stored_items(body, "resp_1"), BadRequest)


@settings(max_examples=400)
@given(seeds)
def test_any_reply_is_read_or_is_broken(seed: tuple[int, float]) -> None:
    body = json.dumps(mutate(RESPONSE, random.Random(seed[0]), seed[1])).encode()
    if refused(lambda: (responses.read_receipt(body), responses.read_reply(body)), ProviderError):
        return
    reply = responses.read_reply(body)
    if reply.usage is not None:
        assert reply.usage.uncached >= 0
        assert reply.usage.output >= reply.usage.reasoning >= 0
    written = json.loads(responses.write_reply(reply, []))
    assert written["object"] == "response"


@settings(max_examples=400)
@given(seeds, st.booleans())
def test_any_stream_is_read_and_written_or_is_broken(seed: tuple[int, float], named: bool) -> None:
    rng = random.Random(seed[0])
    events = [event if rng.random() > 0.5 else mutate(event, rng, seed[1]) for event in STREAM]
    if rng.random() < 0.3:
        rng.shuffle(events)
    reader, relay = responses.StreamReader(), responses.StreamRelay()
    writer = responses.StreamWriter("", "", 0)
    shown = b""
    relayed = b""
    try:
        for event in events:
            kind = event.get("type") if isinstance(event, dict) else None
            head = f"event: {kind}\n" if named and isinstance(kind, str) and "\x00" not in kind else ""
            raw = f"{head}data: {json.dumps(event)}\n\n".encode()
            relayed += relay.feed(raw)
            read: list[Event] = reader.feed(raw)
            shown += b"".join(writer.write(one) for one in read)
        read = reader.close()
    except UpstreamBroken as error:
        shown += writer.fail(error, "req_1")
    else:
        shown += b"".join(writer.write(one) for one in read) + writer.close()
    ends = [json.loads(line[6:]) for line in shown.decode().splitlines() if line.startswith("data: ")]
    assert [event["sequence_number"] for event in ends] == list(range(len(ends)))
    assert ends[-1]["type"] in ("response.completed", "response.incomplete", "response.failed", "error")
    assert writer.response()["status"] in ("completed", "incomplete", "failed")
    assert writer.close() == writer.fail(UpstreamBroken("again"), "") == b""


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_garbage_is_refused(body: bytes) -> None:
    for read in (responses.read_request, responses.peek, responses.echo):
        refused(lambda read=read: read(body), BadRequest)
    for read in (responses.read_reply, responses.read_receipt):
        refused(lambda read=read: read(body), ProviderError)
    responses.read_error(500, {}, body)


def test_deep_nesting_is_refused() -> None:
    deep = b'{"model":"m","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for read in (responses.read_request, responses.stored_items):
        with pytest.raises(BadRequest) as caught:
            read(deep)
        assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("depth", [900, 985, 990, 995])
def test_what_can_just_be_read_is_written_or_refused(depth: int) -> None:
    item = b'{"type":"zzz","x":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    body = b'{"model":"m","input":[' + item + b"]}"
    refused(lambda: responses.write_request(responses.read_request(body), []), BadRequest)
    refused(lambda: responses.with_history(b"{}", responses.stored_items(body)), BadRequest)
    whole = b'{"status":"completed","output":[' + item + b"]}"
    refused(lambda: responses.write_reply(responses.read_reply(whole), []), UpstreamBroken)

    def stream() -> None:
        reader, writer = responses.StreamReader(), responses.StreamWriter("", "m")
        for event in reader.feed(b'data: {"type":"response.completed","response":' + whole + b"}\n\n"):
            writer.write(event)
        writer.close()
        writer.response()

    refused(stream, UpstreamBroken)
