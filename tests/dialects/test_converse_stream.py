"""ConverseStream read as events, and whole answers: both must say the same."""

import json
import random
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from frames import Events, frames, streamed
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import chat, converse, messages
from freehold.dialects.conversation import (
    Choice,
    Citation,
    Event,
    Failed,
    Finished,
    Image,
    MediaDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Part,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.eventstream import write_event, write_exception, write_frame
from freehold.errors import FreeholdError, UpstreamBroken

USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}


def answer(*blocks: dict[str, Any], reason: str = "end_turn", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": list(blocks)}
    return {"output": {"message": message}, "stopReason": reason, "usage": USAGE, "metrics": {"latencyMs": 1}, **fields}


def whole(reply: dict[str, Any], **options: Any) -> Reply:
    return converse.read_reply(json.dumps(reply).encode(), **options)


def stream(data: bytes, **options: Any) -> list[Event]:
    reader = converse.StreamReader(**options)
    events = reader.feed(data)
    assert reader.complete
    return events + reader.close()


def gathered(events: list[Event]) -> Choice:
    """What a stream said, as a whole answer has it."""
    choice = Choice()
    parts: list[Part] = choice.parts
    for event in events:
        match event:
            case TextDelta(text=text, citation=citation):
                if not parts or not isinstance(parts[-1], Text):
                    parts.append(Text(""))
                parts[-1].text += text
                if citation is not None:
                    parts[-1].citations = [*(parts[-1].citations or []), citation]
            case ThinkingDelta(redacted=str() as redacted):
                parts.append(Thinking(redacted=redacted))
            case ThinkingDelta(text=text, signature=signature):
                if not parts or not isinstance(parts[-1], Thinking):
                    parts.append(Thinking(""))
                parts[-1].text += text
                parts[-1].signature = signature or parts[-1].signature
            case ToolStarted(id=id, name=name):
                parts.append(ToolCall(id, name, ""))
            case ToolDelta(arguments=arguments):
                assert isinstance(parts[-1], ToolCall)
                parts[-1].arguments += arguments
            case OpaqueDelta(dialect=dialect, value=value):
                parts.append(Opaque(dialect, value))
            case MediaDelta(part=part):
                parts.append(part)
            case Finished(finish=finish, stop_sequence=stopped, refused=refused):
                choice.finish, choice.stop_sequence, choice.refused = finish, stopped, refused
    return choice


def joined(choice: Choice) -> Choice:
    """Neighbouring texts are one in a stream; arguments are compared as JSON."""
    parts: list[Part] = []
    for part in choice.parts:
        if isinstance(part, Text) and parts and isinstance(parts[-1], Text):
            last = parts[-1]
            citations = [*(last.citations or []), *(part.citations or [])]
            parts[-1] = Text(last.text + part.text, citations=citations or None)
        elif isinstance(part, ToolCall):
            parts.append(ToolCall(part.id, part.name, json.dumps(json.loads(part.arguments))))
        elif not (isinstance(part, Text) and not part.text):
            parts.append(part)
    return msgspec.structs.replace(choice, parts=parts)


def test_a_whole_answer() -> None:
    reply = whole(answer({"text": "hi"}, serviceTier={"type": "flex"}), id="req-1", model="m")
    assert reply == Reply("req-1", "m", [Choice([Text("hi")])], Usage(uncached=3, output=5), service_tier="flex")


def test_an_answer_without_an_id_gets_one() -> None:
    first, second = whole(answer({"text": "a"})), whole(answer({"text": "b"}))
    assert first.id.startswith("msg_")
    assert first.id != second.id
    assert whole(answer({"text": "a"})).id == first.id


def test_a_streamed_answer() -> None:
    events = stream(frames(streamed(answer({"text": "hello you"}))), id="req-1", model="m")
    assert events == [
        Started("req-1", "m"),
        TextDelta("hello y"),
        TextDelta("ou"),
        Finished("stop"),
        Metered(Usage(uncached=3, output=5)),
    ]


CITED = {
    "title": "T",
    "source": "doc-1",
    "sourceContent": [{"text": "the "}, {"text": "passage"}],
    "location": {"documentChar": {"documentIndex": 2, "start": 1, "end": 9}},
}
ANSWERS = [
    answer({"text": "hi"}),
    answer(reason="max_tokens"),
    answer(
        {"reasoningContent": {"reasoningText": {"text": "hm, well", "signature": "sig=="}}},
        {"reasoningContent": {"redactedContent": b64encode(b"EuYBabc").decode()}},
        {"reasoningContent": {"redactedContent": b64encode(b"\x00\xff").decode()}},
        {"text": "so"},
        {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"city": "Zürich"}}},
        {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}, "type": "tool_use"}},
        reason="tool_use",
    ),
    answer(
        {"toolUse": {"toolUseId": "t1", "name": "code", "input": {"snippet": "1"}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "t1", "content": [{"json": {"out": 1}}, {"text": "x"}], "status": "success"}},
        {"text": "done"},
    ),
    answer({"citationsContent": {"content": [{"text": "cited"}], "citations": [CITED]}}, {"text": " and more"}),
    answer({"text": "a"}, reason="stop_sequence", additionalModelResponseFields={"stop_sequence": "END"}),
    answer({"text": "no"}, reason="guardrail_intervened"),
    answer({"text": "no"}, reason="refusal"),
    answer({"text": "x"}, reason="malformed_tool_use"),
    answer({"text": "x"}, reason="something_new"),
    answer({"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}, reason="max_tokens"),
]


@pytest.mark.parametrize("reply", ANSWERS, ids=lambda reply: reply["stopReason"])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_stream_and_whole_say_the_same(reply: dict[str, Any], size: int) -> None:
    said = whole(reply)
    events = stream(frames(streamed(reply, size)))
    assert joined(gathered(events)) == joined(said.choices[0])
    assert [event.usage for event in events if isinstance(event, Metered)] == [said.usage]


def test_what_those_answers_say() -> None:
    parts = whole(ANSWERS[2]).choices[0].parts
    assert parts == [
        Thinking("hm, well", "sig=="),
        Thinking(redacted="EuYBabc"),  # as Anthropic's own API has it
        Thinking(redacted="bedrock:AP8="),
        Text("so"),
        ToolCall("t1", "f", '{"city": "Z\\u00fcrich"}'),
        ToolCall("t2", "g", "{}"),
    ]
    cited = whole(ANSWERS[4]).choices[0].parts[0]
    citation = Citation(title="T", quote="the passage", source=2, file_id="doc-1", dialect="converse", raw=CITED)
    assert cited == Text("cited", citations=[citation])
    finishes = [whole(reply).choices[0].finish for reply in ANSWERS]
    assert finishes == [
        "stop", "length", "tool_calls", "stop", "stop", "stop", "content_filter", "content_filter", "error", "stop",
        "length",
    ]  # fmt: skip
    assert whole(ANSWERS[5]).choices[0].stop_sequence == "END"
    assert whole(ANSWERS[7]).choices[0].refused


@given(st.sampled_from(ANSWERS), st.randoms())
def test_any_cut_gives_the_same_events(reply: dict[str, Any], dice: random.Random) -> None:
    """Trap 1, 10."""
    data = frames(streamed(reply, 3))
    expected = stream(data)
    reader, events, at = converse.StreamReader(), [], 0
    while at < len(data):
        size = dice.choice([1, 2, 11, 50, 333])
        events += reader.feed(data[at : at + size])
        at += size
    assert events == expected
    assert reader.complete


def test_the_forced_tool_is_the_answer() -> None:
    use = {"toolUse": {"toolUseId": "t", "name": "out", "input": {"city": "Bern"}}}
    reply = whole(answer(use, reason="tool_use"), json_tool="out")
    assert reply.choices[0] == Choice([Text('{"city": "Bern"}')], "stop")
    events = stream(frames(streamed(answer(use, reason="tool_use"), 5)), json_tool="out")
    assert joined(gathered(events)) == reply.choices[0]
    empty = {"toolUse": {"toolUseId": "t", "name": "out", "input": {}}}
    events = stream(frames(streamed(answer(empty, reason="tool_use"))), json_tool="out")
    assert gathered(events) == Choice([Text("{}")], "stop")


def test_a_tool_call_that_ends_without_its_stop() -> None:
    """Traps 26, 28: arguments are complete at the end of a block, or of the message."""
    events: Events = [
        ("contentBlockStart", {"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "a", "name": "f"}}}),
        ("contentBlockStart", {"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "b", "name": "g"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 4, "delta": {"toolUse": {"input": '{"x":1}'}}}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("messageStop", {"stopReason": "end_turn"}),
    ]
    found = stream(frames(events))
    assert isinstance(found[0], Started)
    assert found[1:] == [
        ToolStarted(0, "a", "f"),
        ToolDelta(0, "{}"),
        ToolStarted(1, "b", "g"),
        ToolDelta(1, '{"x":1}'),
        Finished("tool_calls"),
    ]


def test_images_come_whole() -> None:
    events: Events = [("contentBlockStart", {"contentBlockIndex": 0, "start": {"image": {"format": "webp"}}})]
    for half in (b"abcd", b"efgh"):
        delta = {"image": {"source": {"bytes": b64encode(half).decode()}}}
        events.append(("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}))
    events += [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "end_turn"})]
    image = Image("image/webp", b64encode(b"abcdefgh").decode())
    assert MediaDelta(image) in stream(frames(events))
    block = {"image": {"format": "webp", "source": {"bytes": b64encode(b"abcdefgh").decode()}}}
    assert whole(answer(block)).choices[0].parts == [image]


def test_unknown_things_are_survived() -> None:
    events: Events = [
        ("initial-response", {}),
        ("messageStart", {"role": "assistant"}),
        ("somethingNew", {"a": 1}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"hologram": 1}}),
        ("contentBlockDelta", {"contentBlockIndex": 9, "delta": {"toolUse": {"input": "lost"}}}),
        ("contentBlockStop", {"contentBlockIndex": 7}),
        ("messageStart", {"role": "assistant"}),
        ("messageStop", {"stopReason": "end_turn"}),
    ]
    assert [type(event) for event in stream(frames(events))] == [Started, Finished]
    assert whole(answer({"hologram": {"a": 1}})).choices[0].parts == [Opaque("converse", {"hologram": {"a": 1}})]


def test_the_router_says_who_answered() -> None:
    reply = whole(answer({"text": "x"}, trace={"promptRouter": {"invokedModelId": "arn:x"}}), model="router")
    assert reply.model == "arn:x"


# Ends that are none


def test_a_cut_stream_is_not_complete() -> None:
    data = frames(streamed(answer({"text": "hello"}))[:-2])
    for cut in (len(data), len(data) - 1, len(data) - 40):
        reader = converse.StreamReader()
        reader.feed(data[:cut])
        assert reader.close() == []
        assert not reader.complete


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("throttlingException", {"message": "Too many"}, Failed("Too many", "ThrottlingException", 429)),
        ("validationException", {"Message": "Bad"}, Failed("Bad", "ValidationException", 400)),
        ("serviceUnavailableException", {"message": "x"}, Failed("x", "ServiceUnavailableException", 503)),
        (
            "modelStreamErrorException",
            {"message": "x", "originalStatusCode": 500, "originalMessage": "y"},
            Failed("x", "ModelStreamErrorException", 500),
        ),
        ("modelStreamErrorException", {"message": "x"}, Failed("x", "ModelStreamErrorException", 502)),
        ("newException", {}, Failed("The provider reported an error without a message.", "NewException", 500)),
    ],
)
def test_exceptions_end_the_stream(kind: str, payload: dict[str, Any], expected: Failed) -> None:
    """Trap 4."""
    reader = converse.StreamReader()
    data = write_event("messageStart", b"{}") + write_exception(kind, json.dumps(payload).encode())
    events = reader.feed(data + frames([("messageStop", {"stopReason": "end_turn"})]))
    assert events[1:] == [expected]
    assert reader.feed(frames([("messageStop", {"stopReason": "end_turn"})])) == []
    assert not reader.complete


def test_an_error_frame() -> None:
    reader = converse.StreamReader()
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "boom sk-abcdefgh12345678"}
    assert reader.feed(write_frame(headers, b"")) == [Failed("boom [redacted]", "InternalError", 500)]


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"contentBlockIndex": "x"}', b'{"delta": {"text": 1}}', b"\xff"])
def test_lies_in_an_event(payload: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        converse.StreamReader().feed(write_event("contentBlockDelta", payload))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"message": "no"}', b'{"output": {}}', b'{"output": {"message": {"content": [1]}}}',
     b'{"output": {"message": {"content": []}}, "usage": {"inputTokens": NaN}}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        converse.read_reply(body)


# Usage


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (  # recorded
            {
                "inputTokens": 3, "outputTokens": 61, "totalTokens": 2435, "cacheReadInputTokens": 2074,
                "cacheWriteInputTokens": 297, "cacheDetails": [{"ttl": "5m", "inputTokens": 297}],
            },
            Usage(uncached=3, cache_read=2074, cache_write_5m=297, output=61),
        ),
        (
            {
                "inputTokens": 3, "outputTokens": 1, "cacheWriteInputTokens": 30,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}],
            },
            Usage(uncached=3, cache_write_5m=10, cache_write_1h=20, output=1),
        ),
        (  # the total shows that the input holds the cached tokens
            {"inputTokens": 100, "outputTokens": 10, "totalTokens": 110, "cacheReadInputTokens": 60},
            Usage(uncached=40, cache_read=60, output=10),
        ),
        ({"inputTokens": -5, "outputTokens": 1e300, "totalTokens": None}, Usage()),
        ({"inputTokens": 10**30, "outputTokens": 2.0}, Usage(output=2)),
    ],
)  # fmt: skip
def test_usage(wire: dict[str, Any], usage: Usage) -> None:
    """Trap 17."""
    assert whole({**answer({"text": "x"}), "usage": wire}).usage == usage
    assert stream(frames(streamed({**answer({"text": "x"}), "usage": wire})))[-1] == Metered(usage)


# Damage


@given(st.sampled_from(ANSWERS), st.data())
def test_damaged_answers_never_crash(reply: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(json.dumps(reply).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        converse.read_reply(bytes(raw))
    except FreeholdError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(ANSWERS), st.data())
def test_events_of_wrong_types_never_crash(reply: dict[str, Any], data: st.DataObject) -> None:
    events = streamed(reply)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(events) - 1))
        kind, payload = events[at]
        payload = json.loads(json.dumps(payload))
        node: Any = payload
        while isinstance(node, dict) and node:
            key = data.draw(st.sampled_from(sorted(node)))
            if data.draw(st.booleans()) or not isinstance(node[key], dict):
                node[key] = data.draw(JSON)
                break
            node = node[key]
        events[at] = kind, payload
    try:
        found = converse.StreamReader().feed(frames(events))
    except FreeholdError:
        return
    for event in found:
        if isinstance(event, Metered):
            assert min(event.usage.uncached, event.usage.output, event.usage.cache_read) >= 0


# Against others


def test_awss_own_parser_reads_the_frames() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(frames(streamed(ANSWERS[2])) + write_exception("throttlingException", b'{"message": "x"}'))
    kinds = [event.headers.get(":event-type") or event.headers[":exception-type"] for event in buffer]
    assert kinds[0] == "messageStart"
    assert kinds[-2:] == ["metadata", "throttlingException"]


@pytest.mark.parametrize("reply", ANSWERS[:4], ids=lambda reply: reply["stopReason"])
@pytest.mark.parametrize("language", [chat, messages], ids=["chat", "messages"])
def test_both_clients_can_be_told(reply: dict[str, Any], language: Any) -> None:
    writer = language.StreamWriter("id", "m", 1, True)
    told = b"".join(writer.write(event) for event in stream(frames(streamed(reply)))) + writer.close()
    losses: list[str] = []
    assert told
    assert language.write_reply(whole(reply), losses, 1)
