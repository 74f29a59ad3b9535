"""Answers and streams of Cohere's chat: read from the provider, written for its clients, told to its own SDK."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cohere import ClientV2, V2ChatResponse
from cohere.core.api_error import ApiError
from cohere.errors import BadRequestError, TooManyRequestsError
from cohere.v2.types.v2chat_stream_response import V2ChatStreamResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from freehold.dialects import chat, cohere
from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Choice,
    Citation,
    Event,
    Failed,
    Finished,
    Image,
    LogprobsDelta,
    MediaDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Part,
    Refusal,
    RefusalDelta,
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
from freehold.errors import (
    BadRequest,
    ProviderError,
    RateLimited,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)

STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(V2ChatStreamResponse)
SOURCE = {"type": "document", "id": "doc:1", "document": {"title": "T", "url": "https://a.example", "snippet": "S"}}
TOOL_SOURCE = {"type": "tool", "id": "f_1:0", "tool_output": {"content": "Sunny"}}


def body(message: Any, **fields: Any) -> bytes:
    return json.dumps({"id": "r1", "finish_reason": "COMPLETE", "message": message, **fields}).encode()


def said(*blocks: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks), **fields}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def read(data: bytes) -> list[Event]:
    reader = cohere.StreamReader()
    return reader.feed(data) + reader.close()


def event(kind: str, index: int | None = None, **inside: Any) -> bytes:
    value: dict[str, Any] = {"type": kind}
    if index is not None:
        value["index"] = index
    if inside:
        value["delta"] = {"message": inside}
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


def end(finish: str | None = "COMPLETE", **delta: Any) -> bytes:
    value = {"type": "message-end", "delta": {"finish_reason": finish, **delta}}
    return f"event: message-end\ndata: {json.dumps(value)}\n\n".encode()


START = b'event: message-start\ndata: {"id":"r1","type":"message-start","delta":{"message":{"role":"assistant"}}}\n\n'
DONE = b"data: [DONE]\n\n"


def delta(value: str) -> bytes:
    return event("content-delta", 0, content={"text": value})


def call(index: int, arguments: Any = "", wrap: Callable[[Any], Any] = lambda value: value) -> bytes:
    raw = {"id": f"f_{index}", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return event("tool-call-start", index, tool_calls=wrap(raw))


def write(events: list[Event], close: bool = True) -> bytes:
    writer = cohere.StreamWriter("")
    data = b"".join(writer.write(one) for one in events)
    return data + writer.close() if close else data


def shown(data: bytes) -> list[dict[str, Any]]:
    events = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]
    for one in events:
        assert STREAM_EVENT.validate_python(one).type == one["type"]
    return events


# Whole answers


def test_usage_counts_tokens_not_billed_units() -> None:
    usage = {
        "billed_units": {"input_tokens": 1, "output_tokens": 9, "search_units": 2},
        "tokens": {"input_tokens": 496.0, "output_tokens": 11.0},
        "cached_tokens": 400.0,
    }
    reply = cohere.read_reply(body(said(text("Hi")), usage=usage))
    assert reply.usage == Usage(96, 400, output=11, search_units=2)
    assert json.loads(cohere.write_reply(reply, []))["usage"] == {
        "billed_units": {"input_tokens": 496, "output_tokens": 11, "search_units": 2},
        "tokens": {"input_tokens": 496, "output_tokens": 11},
        "cached_tokens": 400,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ("many", None),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 2}}, Usage(5, output=2)),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 2}, "cached_tokens": 9}, Usage(0, 9, output=2)),
        ({"tokens": {"input_tokens": -5, "output_tokens": "2"}}, Usage()),
        ({"tokens": {"input_tokens": 1e300, "output_tokens": True}}, Usage()),
        ({"tokens": {"input_tokens": 5}, "cached_tokens": 99}, Usage(0, 5)),
    ],
)
def test_usage_that_is_missing_or_a_lie(usage: Any, expected: Usage | None) -> None:
    assert cohere.read_reply(body(said(text("Hi")), usage=usage)).usage == expected


@pytest.mark.parametrize(
    ("wire", "calls", "finish"),
    [
        ("COMPLETE", [], "stop"),
        ("STOP_SEQUENCE", [], "stop"),
        ("MAX_TOKENS", [], "length"),
        ("TOOL_CALL", ["{}"], "tool_calls"),
        ("TOOL_CALL", ['{"a":'], "length"),
        ("TOOL_CALL", [], "stop"),
        ("COMPLETE", ["{}"], "tool_calls"),
        ("MAX_TOKENS", ["{}"], "length"),
        ("ERROR", [], "error"),
        ("TIMEOUT", [], "error"),
        ("ERROR_TOXIC", [], "content_filter"),
        ("NOVEL", [], "stop"),
        (None, [], "stop"),
    ],
)
def test_finish_reasons(wire: str | None, calls: list[str], finish: str) -> None:
    tool_calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": given}} for given in calls]
    reply = cohere.read_reply(body(said(text("Hi"), tool_calls=tool_calls), finish_reason=wire))
    assert reply.choices[0].finish == finish


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (Choice(), "COMPLETE"),
        (Choice(stop_sequence="x"), "STOP_SEQUENCE"),
        (Choice(finish="length"), "MAX_TOKENS"),
        (Choice(finish="tool_calls"), "TOOL_CALL"),
        (Choice(finish="content_filter"), "ERROR"),
        (Choice(finish="pause"), "MAX_TOKENS"),
        (Choice(finish="error"), "ERROR"),
    ],
)
def test_finish_reasons_of_other_dialects(choice: Choice, wire: str) -> None:
    assert json.loads(cohere.write_reply(Reply("r", "m", [choice]), []))["finish_reason"] == wire


@pytest.mark.parametrize("arguments", [None, "", " ", "{}", {}])
def test_a_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    message = {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    part = cohere.read_reply(body(message)).choices[0].parts[0]
    assert isinstance(part, ToolCall)
    assert (part.name, part.arguments) == ("f", "{}")
    assert part.id.startswith("call_")


def test_citations_stand_on_the_text_they_cite() -> None:
    two = {"start": 0, "end": 4, "text": "It's", "sources": [SOURCE, TOOL_SOURCE], "content_index": 1}
    plan = {"start": 0, "end": 1, "text": "I", "sources": [], "type": "PLAN"}
    message = said(
        {"type": "thinking", "thinking": "Hm"}, text("It's"), text(" sunny."), citations=[two, plan], tool_plan="I go."
    )
    reply = cohere.read_reply(body(message))
    cited = next(part for part in reply.choices[0].parts if isinstance(part, Text))
    first, second = cited.citations or []
    assert (first.source, first.title, first.url, first.quote) == (1, "T", "https://a.example", "S")
    assert (second.file_id, second.quote, second.start, second.end) == ("f_1:0", "Sunny", 0, 4)
    losses: list[str] = []
    assert json.loads(cohere.write_reply(reply, losses))["message"] == message
    assert losses == []
    annotations = json.loads(chat.write_reply(reply, losses))["choices"][0]["message"]["annotations"]
    assert [annotation["type"] for annotation in annotations] == ["url_citation", "url_citation"]


def test_citations_of_others_become_documents() -> None:
    citations = [
        Citation(url="https://a.example", title="A", quote="Q", start=0, end=3, dialect="chat"),
        Citation(source=2, dialect="messages"),
        Citation(dialect="chat"),
    ]
    reply = Reply("r", "m", [Choice([Thinking("Hm"), Text("Yes it is", citations=citations)])])
    losses: list[str] = []
    written = json.loads(cohere.write_reply(reply, losses))
    V2ChatResponse.model_validate(written)
    assert written["message"]["citations"] == [
        {
            "start": 0,
            "end": 3,
            "text": "Yes",
            "sources": [
                {
                    "type": "document",
                    "id": "https://a.example",
                    "document": {"url": "https://a.example", "title": "A", "snippet": "Q"},
                }
            ],
            "type": "TEXT_CONTENT",
            "content_index": 1,
        },
        {
            "start": 0,
            "end": 9,
            "text": "Yes it is",
            "sources": [{"type": "document", "id": "doc:2", "document": {}}],
            "type": "TEXT_CONTENT",
            "content_index": 1,
        },
    ]
    assert losses == ["citations"]


def test_log_probabilities_both_ways() -> None:
    items = [
        {"text": "Hi", "token_ids": [5], "logprobs": [-0.5]},
        {"text": " é", "token_ids": [6, 7], "logprobs": [-1.0, -0.25]},
        {"text": "none", "token_ids": []},
    ]
    reply = cohere.read_reply(body(said(text("Hi é")), logprobs=items))
    assert reply.choices[0].logprobs == {
        "content": [
            {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []},
            {"token": " é", "logprob": -1.25, "bytes": [32, 195, 169], "top_logprobs": []},
        ],
        "refusal": None,
    }
    written = json.loads(cohere.write_reply(reply, []))
    V2ChatResponse.model_validate(written)
    assert written["logprobs"][0] == {"text": "Hi", "token_ids": [], "logprobs": [-0.5]}


def test_a_reply_of_another_dialect_in_full() -> None:
    parts: list[Part] = [
        Thinking("Hm.", signature="sig"),
        Thinking(redacted="x"),
        Text("Yes", signature="g"),
        Refusal("No."),
        Audio(id="a", data="AAAA", transcript="Said"),
        Image(url="https://a.example"),
        Opaque("messages", {"type": "server_tool_use"}),
        ToolCall("c", "f", '{"a":1}'),
        ToolCall("d", "t", "free", custom=True),
    ]
    losses: list[str] = []
    reply = Reply("r", "m", [Choice(parts, "tool_calls"), Choice()], Usage(1, output=2))
    written = json.loads(cohere.write_reply(reply, losses))
    V2ChatResponse.model_validate(written)
    assert [block[block["type"]] for block in written["message"]["content"]] == ["Hm.", "Yes", "No.", "Said"]
    assert [item["function"]["arguments"] for item in written["message"]["tool_calls"]] == [
        '{"a":1}',
        '{"input":"free"}',
    ]
    assert losses == [
        "choices", "thinking.signature", "thinking.redacted", "content.audio", "content.image",
        "content.server_tool_use",
    ]  # fmt: skip


def test_unknown_parts_of_an_answer_come_back() -> None:
    message = said(
        text("Hi"), {"type": "novel", "x": 1}, tool_calls=[{"id": "h", "type": "hosted", "hosted": {}}], later={"y": 2}
    )
    reply = cohere.read_reply(body(message))
    assert json.loads(cohere.write_reply(reply, []))["message"] == message


@pytest.mark.parametrize(
    "given",
    [b"", b"[]", b"{}", b'{"message":{}', b'{"message":3}', b"\xff", b"{" * 100_000, b"<html>"],
)
def test_what_is_no_answer_is_broken(given: bytes) -> None:
    for reader in (cohere.read_reply, cohere.read_receipt):
        with pytest.raises(UpstreamBroken):
            reader(given)


def test_an_error_in_place_of_an_answer() -> None:
    with pytest.raises(ProviderError, match="down"):
        cohere.read_reply(b'{"id":"x","message":"we are down"}')
    failed = cohere.read_receipt(b'{"id":"x","message":"we are down"}').failed
    assert failed is not None
    assert failed.message == "we are down"


# Streams


def test_a_stream_of_everything() -> None:
    citation = {"start": 0, "end": 2, "text": "Hi", "sources": [SOURCE]}
    data = (
        START
        + event("content-start", 0, content={"type": "thinking", "thinking": ""})
        + event("content-delta", 0, content={"thinking": "Hm"})
        + event("content-end", 0)
        + event("content-start", 1, content={"type": "text", "text": "H"})
        + event("content-delta", 1, content={"text": "i"})
        + event("citation-start", 0, citations=citation)
        + event("citation-end", 0)
        + event("content-end", 1)
        + event("tool-plan-delta", tool_plan="I go")
        + call(0)
        + event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"a":1}'}})
        + event("tool-call-end", 0)
        + call(1, wrap=lambda raw: [raw])
        + event("tool-call-end", 1)
        + end("TOOL_CALL", usage={"tokens": {"input_tokens": 3, "output_tokens": 2}})
        + DONE
    )
    cited = Citation(
        url="https://a.example", title="T", quote="S", start=0, end=2, source=1, dialect="cohere", raw=citation
    )
    assert read(data) == [
        Started("r1", ""),
        ThinkingDelta("Hm"),
        TextDelta("H"),
        TextDelta("i"),
        TextDelta("", citation=cited),
        ThinkingDelta("I go", id="plan_r1"),
        ToolStarted(0, "f_0", "f"),
        ToolDelta(0, '{"a":1}'),
        ToolStarted(1, "f_1", "f"),
        ToolDelta(1, "{}"),
        Metered(Usage(3, output=2)),
        Finished("tool_calls"),
    ]


WHOLE = (
    START
    + delta("Grüße")
    + call(0, '{"x":')
    + event("tool-call-delta", 0, tool_calls={"function": {"arguments": "1}"}})
)
WHOLE += event("tool-call-end", 0) + end("TOOL_CALL", usage={"tokens": {"input_tokens": 3, "output_tokens": 2}}) + DONE


@given(st.lists(st.integers(0, len(WHOLE)), max_size=30))
def test_events_and_bytes_do_not_depend_on_chunks(cuts: list[int]) -> None:
    reader, relay = cohere.StreamReader(), cohere.StreamRelay()
    events: list[Event] = []
    relayed = b""
    for first, last in itertools.pairwise(sorted({0, len(WHOLE), *cuts})):
        events += reader.feed(WHOLE[first:last])
        relayed += relay.feed(WHOLE[first:last])
    assert events + reader.close() == read(WHOLE)
    assert relayed + relay.close() == WHOLE
    assert relay.usage == Usage(3, output=2)
    assert (relay.id, relay.finish, relay.complete, relay.started) == ("r1", "tool_calls", True, True)


def test_streams_of_odd_order_are_survived() -> None:
    assert read(delta("a") + end())[1:] == [TextDelta("a"), Finished("stop")]
    assert read(START + START + end()) == [Started("r1", ""), Finished("stop")]
    orphan = event("tool-call-delta", 4, tool_calls={"function": {"arguments": {"a": 1}}})
    assert [type(one) for one in read(START + orphan + end())] == [Started, ToolStarted, ToolDelta, Finished]
    assert read(START + event("tool-call-end", 9) + event("citation-start", 0) + end())[1:] == [Finished("stop")]
    assert read(START + end() + delta("late"))[1:] == [Finished("stop")]
    without_names = WHOLE.replace(b"event: ", b": ").replace(b"\n", b"\r\n")
    assert read(without_names) == read(WHOLE)


def test_a_call_cut_by_the_limit_stays_truncated() -> None:
    events = read(START + call(0, '{"x":') + end("TOOL_CALL"))
    assert events[-1] == Finished("length")
    assert read(START + call(0, "{}") + end("MAX_TOKENS"))[-1] == Finished("length")


def test_a_stream_that_breaks_never_looks_finished() -> None:
    for cut in range(len(WHOLE) - len(DONE) - 3):
        reader, relay = cohere.StreamReader(), cohere.StreamRelay()
        events = reader.feed(WHOLE[:cut]) + reader.close()
        relayed = relay.feed(WHOLE[:cut]) + relay.close()
        assert not reader.complete
        assert not relay.complete
        assert not any(isinstance(one, Finished) for one in events)
        assert b"[DONE]" not in relayed
        assert relayed.endswith(b"\n\n") or not relayed
        last = shown(write(events))[-1]
        assert last["delta"]["finish_reason"] == "ERROR"


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"message":"overloaded"}\n\n',
        b'event: error\ndata: {"type":"error","message":"overloaded"}\n\n',
        b'data: {"error":"overloaded"}\n\n',
        end("ERROR", error="overloaded"),
    ],
)
def test_an_error_inside_a_stream_ends_it(data: bytes) -> None:
    reader, relay = cohere.StreamReader(), cohere.StreamRelay()
    events = reader.feed(START + delta("a") + data + delta("b") + end())
    assert events[-1] == Failed("overloaded", "upstream_error", 502)
    assert not reader.complete
    assert relay.feed(START + delta("a") + data) == START + delta("a") + data
    assert relay.failed == events[-1]
    assert not relay.complete
    assert relay.close() == b""
    last = shown(write(events))[-1]
    assert last["delta"] == {"finish_reason": "ERROR", "error": "overloaded"}


def test_an_error_after_usage_is_metered() -> None:
    events = read(START + end("ERROR", error="x", usage={"tokens": {"input_tokens": 3, "output_tokens": 2}}))
    assert events[1:] == [Metered(Usage(3, output=2)), Failed("x", "upstream_error", 502)]
    assert read(START + end("TIMEOUT"))[-1] == Finished("error")


@pytest.mark.parametrize(
    "data", [b"data: {\n\n", b'data: {"type":5}\n\n', b"data: [1]\n\n", b'data: {"index":"x"}\n\n']
)
def test_an_event_that_cannot_be_read_is_broken(data: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        cohere.StreamReader().feed(data)
    with pytest.raises(UpstreamBroken):
        cohere.StreamRelay().feed(data)
    with pytest.raises(UpstreamBroken):
        cohere.StreamRelay().feed(b"event: content-delta\ndata: {,}\n\n")


def test_a_relay_ends_a_whole_stream_that_lacks_its_end() -> None:
    relay = cohere.StreamRelay()
    data = START + delta("abcdefgh") + end()
    assert relay.feed(data[:-1]) + relay.close() == data + DONE
    assert relay.complete
    assert 6 <= relay.output_bytes <= 20


def test_unknown_events_come_back_to_their_own_dialect_only() -> None:
    novel = b'event: novel\ndata: {"type":"novel","delta":{"message":{"content":[]}}}\n\n'
    events = read(START + novel + end())
    assert events[1] == OpaqueDelta("cohere", {"type": "novel", "delta": {"message": {"content": []}}})
    assert novel in write(events)
    plan = event("citation-start", 0, citations={"start": 0, "end": 1, "text": "I", "type": "PLAN"})
    events = read(START + plan + event("citation-end", 0) + end())
    assert [one["type"] for one in shown(write(events))] == [
        "message-start", "citation-start", "citation-end", "message-end",
    ]  # fmt: skip


def test_a_foreign_stream_is_written_in_coheres_order() -> None:
    events: list[Event] = [
        Started("r", "m", 1),
        ThinkingDelta("Hm"),
        ThinkingDelta(signature="s"),
        TextDelta("A"),
        TextDelta("", citation=Citation(url="https://a.example", start=0, end=1)),
        ToolStarted(0, "c0", "f"),
        ToolDelta(0, '{"a":'),
        ToolStarted(1, "c1", "g"),
        ToolDelta(1, '{"b":2}'),
        ToolDelta(0, "1}"),
        ToolStarted(2, "c2", "h"),
        RefusalDelta("No"),
        Metered(Usage(4, 1, output=3)),
        Finished("tool_calls"),
    ]
    data = write(events)
    assert data.endswith(DONE)
    told = shown(data)
    assert [(one["type"], one.get("index")) for one in told] == [
        ("message-start", None),
        ("content-start", 0),
        ("content-delta", 0),
        ("content-end", 0),
        ("content-start", 1),
        ("content-delta", 1),
        ("citation-start", 0),
        ("citation-end", 0),
        ("content-end", 1),
        ("tool-call-start", 0),
        ("tool-call-delta", 0),
        ("tool-call-delta", 0),
        ("tool-call-end", 0),
        ("tool-call-start", 1),
        ("tool-call-delta", 1),
        ("tool-call-end", 1),
        ("tool-call-start", 2),
        ("tool-call-delta", 2),
        ("tool-call-end", 2),
        ("content-start", 2),
        ("content-delta", 2),
        ("content-end", 2),
        ("message-end", None),
    ]
    again = read(data)
    calls = {one.index: "" for one in again if isinstance(one, ToolStarted)}
    for one in again:
        if isinstance(one, ToolDelta):
            calls[one.index] += one.arguments
    assert calls == {0: '{"a":1}', 1: '{"b":2}', 2: "{}"}
    assert again[-2:] == [Metered(Usage(4, 1, output=3)), Finished("tool_calls")]


def test_what_a_stream_cannot_show_is_noted_and_the_rest_goes_on() -> None:
    writer = cohere.StreamWriter("mine", "m", 0)
    events: list[Event] = [
        Started("r", "m"),
        TextDelta("a", signature="x"),
        ThinkingDelta(redacted="r"),
        AudioDelta("AAAA", "said"),
        MediaDelta(Image(url="https://a.example")),
        OpaqueDelta("messages", {"type": "server_tool_use"}),
        LogprobsDelta({"content": [{"token": "a", "logprob": -1.0}]}),
        TextDelta("other", choice=1),
        ToolStarted(0, "c", "t", custom=True),
        ToolDelta(0, "fr"),
        ToolDelta(0, 'ee"'),
        Finished("stop", stop_sequence="x"),
    ]
    data = b"".join(writer.write(one) for one in events) + writer.close()
    told = shown(data)
    assert told[0]["id"] == "mine"
    assert "other" not in data.decode()
    assert next(one for one in told if one["type"] == "tool-call-delta")["delta"]["message"]["tool_calls"] == {
        "function": {"arguments": '{"input":"free\\""}'}
    }
    assert next(one for one in told if "logprobs" in one)["logprobs"]["logprobs"] == [-1.0]
    assert told[-1]["delta"] == {"finish_reason": "STOP_SEQUENCE"}
    assert writer.losses == [
        "thinking.redacted", "audio", "content.image", "content.server_tool_use",
    ]  # fmt: skip
    assert writer.write(TextDelta("late")) == writer.close() == writer.fail(UpstreamBroken("x"), "") == b""


def test_a_stream_without_a_finish_or_with_an_error_ends_in_one() -> None:
    assert shown(write([Started("r", "m"), TextDelta("a")]))[-1]["delta"]["finish_reason"] == "ERROR"
    assert shown(write([Started("r", "m"), Finished("error")]))[-1]["delta"]["finish_reason"] == "ERROR"
    assert b"[DONE]" not in write([Started("r", "m"), Failed("down")])


# Errors


@pytest.mark.parametrize(
    ("status", "given", "kind", "code"),
    [
        (400, {"message": "invalid request: message must not be empty"}, UpstreamRefused, "upstream_refused"),
        (
            400,
            {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292."},
            UpstreamRefused,
            "context_length_exceeded",
        ),
        (400, {"message": "too many tokens: size limit exceeded by 11326 tokens."}, UpstreamRefused,
         "context_length_exceeded"),
        (401, {"message": "invalid api token"}, UpstreamAuth, "upstream_auth"),
        (498, {"message": "blocked token"}, UpstreamAuth, "upstream_auth"),
        (402, {"message": "Please add or update your payment method to continue"}, UpstreamLimited,
         "insufficient_quota"),
        (404, {"message": "model 'x' not found"}, UpstreamRefused, "upstream_refused"),
        (422, {"message": "could not parse", "id": "x"}, UpstreamRefused, "upstream_refused"),
        (429, {"message": "You are using a Trial key"}, UpstreamLimited, "upstream_rate_limited"),
        (500, {"message": "internal server error"}, UpstreamBroken, "upstream_broken"),
        (503, {"data": "overloaded"}, UpstreamOverloaded, "upstream_overloaded"),
        (504, None, UpstreamTimeout, "upstream_timeout"),
    ],
)  # fmt: skip
def test_provider_errors(status: int, given: Any, kind: type[ProviderError], code: str) -> None:
    error = cohere.read_error(status, {b"retry-after": b"7"}, json.dumps(given).encode())
    assert type(error) is kind
    assert error.code == code
    if given and "message" in given:
        assert given["message"] in error.message


# Cohere's own SDK


def client(answer: Callable[[httpx.Request], httpx.Response]) -> ClientV2:
    transport = httpx.MockTransport(answer)
    return ClientV2("key", base_url="http://freehold.test", httpx_client=httpx.Client(transport=transport))


def test_the_sdk_chats_with_another_dialects_model() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v2/chat"
        conversation = cohere.read_request(request.content)
        assert conversation.tools[0].name == "f"
        parts: list[Part] = [Thinking("Hm"), Text("Hi"), ToolCall("c", "f", '{"a":1}')]
        reply = Reply("r", "m", [Choice(parts, "tool_calls")], Usage(3, 1, output=2))
        return httpx.Response(200, content=cohere.write_reply(reply, []))

    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    response = client(answer).chat(model="m", messages=[{"role": "user", "content": "Hi"}], tools=[tool])
    assert response.finish_reason == "TOOL_CALL"
    assert [block.type for block in response.message.content or []] == ["thinking", "text"]
    assert [one.function.arguments for one in response.message.tool_calls or [] if one.function] == ['{"a":1}']
    assert response.usage is not None
    assert response.usage.tokens is not None
    assert (response.usage.tokens.input_tokens, response.usage.cached_tokens) == (4, 1)


def test_the_sdk_streams_another_dialects_model(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = [
        Started("r", "m"), ThinkingDelta("Hm"), TextDelta("He"), TextDelta("y"),
        TextDelta("", citation=Citation(url="https://a.example", start=0, end=3)),
        ToolStarted(0, "c", "f"), ToolDelta(0, "{}"), Metered(Usage(3, output=2)), Finished("tool_calls"),
    ]  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        assert cohere.read_request(request.content).stream
        return httpx.Response(200, content=write(events), headers={"content-type": "text/event-stream"})

    stream = list(client(answer).chat_stream(model="m", messages=[{"role": "user", "content": "Hi"}]))
    assert not caplog.records
    said = [one.delta.message.content.text for one in stream if one.type == "content-delta"]
    assert said == [None, "He", "y"]
    cited = next(one for one in stream if one.type == "citation-start").delta.message.citations
    assert cited.sources[0].document == {"url": "https://a.example"}
    last = stream[-1]
    assert last.type == "message-end"
    assert (last.delta.finish_reason, last.delta.usage.tokens.output_tokens) == ("TOOL_CALL", 2)


def test_the_sdk_sees_a_broken_stream_as_an_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        data = write([Started("r", "m"), TextDelta("He")])
        return httpx.Response(200, content=data, headers={"content-type": "text/event-stream"})

    last = list(client(answer).chat_stream(model="m", messages=[{"role": "user", "content": "Hi"}]))[-1]
    assert last.type == "message-end"
    assert last.delta.finish_reason == "ERROR"
    assert "without a finish" in last.delta.error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (BadRequest("Wrong.", hint="do it right"), BadRequestError),
        (RateLimited("Slow down."), TooManyRequestsError),
        (UpstreamBroken("Broken."), ApiError),
    ],
)
def test_the_sdk_raises_our_errors_as_its_own(error: Any, raised: type[ApiError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(error.status, content=cohere.write_error(error, "req_1"))

    with pytest.raises(raised) as caught:
        client(answer).chat(model="m", messages=[{"role": "user", "content": "Hi"}], request_options={"max_retries": 0})
    assert caught.value.status_code == error.status
    assert caught.value.body == {"id": "req_1", "message": error.text}
