"""Whole messages where a stream was asked for, answers without usage or with a lie for it, and what models refuse."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message

from freehold.dialects import messages
from freehold.dialects.conversation import (
    Conversation,
    Event,
    Finished,
    Metered,
    OutputFormat,
    Reasoning,
    Started,
    Text,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolChoice,
    ToolDelta,
    ToolStarted,
    Turn,
    Usage,
)
from freehold.dialects.traits import Traits
from freehold.errors import UpstreamBroken

USAGE = {"input_tokens": 5, "output_tokens": 3}
THOUGHT = {"type": "thinking", "thinking": "t", "signature": "s"}
CITED = {"type": "char_location", "cited_text": "q", "document_index": 0}
TEXT = {"type": "text", "text": "abc", "citations": [CITED], "new": 1}
CALL = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
SERVER = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"


def whole(*content: Any, **fields: Any) -> dict[str, Any]:
    message = {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": list(content)}
    return {**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE, **fields}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def added_up(stream: bytes) -> dict[str, Any]:
    """The message that the SDK's accumulation makes of a stream."""
    message: dict[str, Any] = {}
    partial: dict[int, str] = {}
    for line in stream.decode().splitlines():
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        kind, delta = event["type"], event.get("delta", {})
        if kind == "message_start":
            message = event["message"]
        elif kind == "content_block_start":
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            block = message["content"][event["index"]]
            if delta["type"] == "input_json_delta":
                partial[event["index"]] = partial.get(event["index"], "") + delta["partial_json"]
                block["input"] = json.loads(partial[event["index"]])
            elif delta["type"] == "citations_delta":
                block["citations"].append(delta["citation"])
            else:
                name = delta["type"].removesuffix("_delta")
                block[name] += delta[name]
        elif kind == "message_delta":
            message.update(delta)
            message["usage"] = event["usage"]
    return message


def test_a_whole_message_as_a_stream_adds_up_to_itself() -> None:
    message = whole(THOUGHT, SERVER, FOUND, TEXT, CALL, {"type": "new"}, stop_reason="tool_use", container={"id": "x"})
    assert added_up(messages.as_stream(encode(message))) == message


def test_a_stream_reader_reads_it() -> None:
    reader = messages.StreamReader()
    usage = Usage(uncached=5, output=3)
    events = reader.feed(messages.as_stream(encode(whole(THOUGHT, {"type": "text", "text": "abc"}, CALL))))
    assert events == [
        Started("i", "m"),
        Metered(usage),
        ThinkingDelta("t"),
        ThinkingDelta(signature="s"),
        TextDelta("abc"),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, '{"a":1}'),
        Metered(usage),
        Finished("stop"),
    ]
    assert reader.complete


def test_a_relay_passes_it() -> None:
    relay = messages.StreamRelay()
    stream = messages.as_stream(encode(whole(TEXT)))
    assert relay.feed(stream) + relay.close()[:0] == stream
    assert relay.complete
    assert (relay.id, relay.model, relay.finish, relay.usage) == ("i", "m", "stop", Usage(uncached=5, output=3))


@pytest.mark.parametrize(("content", "reason"), [([CALL], "tool_use"), ([TEXT], "end_turn"), ([5, None], "end_turn")])
def test_a_message_without_a_stop_reason_or_usage_is_finished(content: list[Any], reason: str) -> None:
    message = added_up(messages.as_stream(encode(whole(*content, stop_reason=None, usage=None))))
    assert message["stop_reason"] == reason
    assert message["usage"]["output_tokens"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b'{"type":"x"}',
        b"\xff",
        b'{"type":"error","error":{"type":"x","message":"y"}}',
    ],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        messages.as_stream(body)


# Amiss


def test_a_byte_order_mark_is_no_error() -> None:
    body = encode(whole(TEXT))
    marked = b"\xef\xbb\xbf" + body
    assert messages.read_reply(marked) == messages.read_reply(body)
    assert messages.read_receipt(marked) == messages.read_receipt(body)
    assert messages.as_stream(marked) == messages.as_stream(body)
    assert messages.mend_reply(marked) == body
    assert messages.mend_reply(body) is body


def test_a_message_without_usage_gets_one_of_zeros_and_is_not_believed() -> None:
    message = whole({"type": "text", "text": "abc"})
    del message["usage"]
    assert messages.read_receipt(encode(message)).usage is None
    mended = messages.mend_reply(encode(message))
    assert Message.model_validate_json(mended).usage.output_tokens == 0
    assert {name: value for name, value in json.loads(mended).items() if name != "usage"} == message
    for other in (b"{", b'{"type":"error"}', b"[]"):
        assert messages.mend_reply(other) is other


LIES = [{"output_tokens": -1}, {"input_tokens": -7}, {"output_tokens": 10**15}, {"cache_read_input_tokens": -1}]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_no_usage(lie: dict[str, int]) -> None:
    body = encode(whole(TEXT, usage={**USAGE, **lie}))
    assert messages.read_receipt(body).usage is None
    assert messages.read_reply(body).usage is None
    relay = messages.StreamRelay()
    relay.feed(messages.as_stream(body))
    assert relay.usage is None
    assert not any(isinstance(event, Metered) for event in messages.StreamReader().feed(messages.as_stream(body)))


def stream(start: dict[str, Any] | None, *deltas: dict[str, Any] | None) -> bytes:
    message = {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": []}
    if start is not None:
        message["usage"] = start
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a" * 40}},
        {"type": "content_block_stop", "index": 0},
    ]
    for usage in deltas:
        event: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
        events.append(event if usage is None else {**event, "usage": usage})
    events.append({"type": "message_stop"})
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def usages(events: list[Event]) -> list[Usage]:
    return [event.usage for event in events if isinstance(event, Metered)]


def test_a_lie_at_the_end_leaves_what_was_good_and_our_own_count() -> None:
    wire = stream({"input_tokens": 5, "output_tokens": 1}, {"output_tokens": -5})
    events = messages.StreamReader().feed(wire)
    assert usages(events) == [Usage(uncached=5, output=1), Usage(uncached=5, output=10, estimated=True)]
    relay = messages.StreamRelay()
    assert relay.feed(wire) == wire
    assert relay.usage is None


def test_a_lie_at_the_start_is_forgiven_only_by_the_whole_truth() -> None:
    lie = {"input_tokens": -5, "output_tokens": 1}
    for end, believed in (({"output_tokens": 3}, None), (USAGE, Usage(uncached=5, output=3))):
        relay = messages.StreamRelay()
        relay.feed(stream(lie, end))
        assert relay.usage == believed
        assert usages(messages.StreamReader().feed(stream(lie, end))) == ([] if believed is None else [believed])


@pytest.mark.parametrize("cut", [10**9, 60, 11])
def test_a_stream_without_usage_gets_zeros_for_the_client_and_none_for_the_ledger(cut: int) -> None:
    wire = stream(None, None)
    relay = messages.StreamRelay()
    out = b"".join(relay.feed(wire[at : at + cut]) for at in range(0, len(wire), cut))
    Message.model_validate(added_up(out))
    assert relay.usage is None
    assert relay.complete
    assert b"event: message_start\n" in out


def test_an_end_without_usage_repeats_what_is_known() -> None:
    relay = messages.StreamRelay()
    out = relay.feed(stream({"input_tokens": 5, "output_tokens": 1}, None))
    assert added_up(out)["usage"]["input_tokens"] == 5
    assert relay.usage == Usage(uncached=5, output=1)


# What models refuse


def written(traits: Traits, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    conversation = Conversation("m", turns=[Turn("user", [Text("q")])], dialect="chat", **fields)
    return json.loads(messages.write_request(conversation, losses, traits)), losses


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("tool", "f")])
def test_a_choice_nobody_may_make_for_the_model(choice: ToolChoice) -> None:
    body, losses = written(Traits(force_tool=False), tools=[Tool("f")], tool_choice=choice, parallel_tools=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert losses == ["tool_choice"]


def test_an_answer_as_a_forced_tool_is_left_to_the_model() -> None:
    output = OutputFormat("schema", {"type": "object"}, "answer")
    body, losses = written(Traits(force_tool=False, json_schema="tool"), output=output)
    assert body["tool_choice"] == {"type": "auto"}
    assert losses == ["response_format"]


def test_a_tool_that_could_not_be_written_is_not_chosen() -> None:
    body, losses = written(Traits(), tools=[Tool("f")], tool_choice=ToolChoice("tool", "gone"))
    assert body["tool_choice"] == {"type": "auto"}
    assert losses == ["tool_choice"]


def test_a_model_that_always_thinks() -> None:
    off = Reasoning(enabled=False, effort="none")
    assert written(Traits(thinking="adaptive"), reasoning=off)[0]["thinking"] == {"type": "disabled"}
    body, losses = written(Traits(thinking="adaptive", thinking_off=False), reasoning=off)
    assert "thinking" not in body
    assert losses == ["reasoning_effort"]


def recorded() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        return []
    with gzip.open(RECORDED) as found:
        exchanges = (json.loads(line) for line in found if b'"stop_reason"' in line)
        return [
            one for one in exchanges if one["status"] == 200 and (one.get("response") or {}).get("type") == "message"
        ]


WHOLE = recorded()


@pytest.mark.skipif(not WHOLE, reason="the recorded exchanges are not beside the repository")
@pytest.mark.parametrize("exchange", WHOLE, ids=[f"{one['source']}-{one['index']}" for one in WHOLE])
def test_recorded_answers_add_up_to_themselves(exchange: dict[str, Any]) -> None:
    message = exchange["response"]
    assert added_up(messages.as_stream(encode(message))) == message
