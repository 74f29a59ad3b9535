"""Ollama streams: read from providers, written for clients, passed through."""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import ollama
from freehold.dialects.conversation import (
    AudioDelta,
    Citation,
    Document,
    Event,
    Failed,
    Finished,
    Image,
    LogprobsDelta,
    MediaDelta,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.ollama import generate
from freehold.dialects.ollama.lines import LineSplitter
from freehold.errors import (
    BadRequest,
    UpstreamBroken,
)

PNG = "iVBORw0KGgo="
MOMENT = "2026-10-17T23:14:07.414671Z"
HEAD = {"model": "gemma4", "created_at": MOMENT}
COUNTS = {
    "total_duration": 174560334,
    "load_duration": 101397084,
    "prompt_eval_count": 11,
    "prompt_eval_cached_count": 8,
    "prompt_eval_duration": 13074791,
    "eval_count": 18,
    "eval_duration": 52479709,
}
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}
LINES: list[dict[str, Any]] = [
    {**HEAD, "message": {"role": "assistant", "content": "", "thinking": "Look"}, "done": False},
    {**HEAD, "message": {"role": "assistant", "content": "", "thinking": " it up."}, "done": False},
    {**HEAD, "message": {"role": "assistant", "content": "It "}, "logprobs": [TOKEN], "done": False},
    {**HEAD, "message": {"role": "assistant", "content": "räins 🌧"}, "done": False},
    {
        **HEAD,
        "message": {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}}],
        },
        "done": False,
    },
    {
        **HEAD,
        "message": {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"index": 0, "name": "weather", "arguments": {"city": "Rome"}}}],
        },
        "done": False,
    },
    {**HEAD, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", **COUNTS},
]


def stream(lines: Iterable[Any], end: str = "\n") -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + end for line in lines).encode()


def read_stream(body: bytes, size: int = 0) -> tuple[list[Event], ollama.StreamReader]:
    reader = ollama.StreamReader()
    events: list[Event] = []
    step = size or len(body) or 1
    for start in range(0, len(body), step):
        events += reader.feed(body[start : start + step])
    return events + reader.close(), reader


def written(events: Iterable[Event], writer: Any = None) -> list[Any]:
    writer = writer or ollama.StreamWriter("id", "m", 1_700_000_000)
    data = b"".join(writer.write(event) for event in events) + writer.close()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


# Streams read


def test_a_stream_is_read() -> None:
    events, reader = read_stream(stream(LINES))
    assert reader.complete
    started, *rest = events
    assert started == Started("", "gemma4", 1792278847)
    calls = [event for event in rest if isinstance(event, ToolStarted)]
    assert [call.index for call in calls] == [0, 1], "every call says index 0"
    assert calls[0].id != calls[1].id
    assert rest == [
        ThinkingDelta("Look"),
        ThinkingDelta(" it up."),
        TextDelta("It "),
        LogprobsDelta({"content": [{**TOKEN, "top_logprobs": []}], "refusal": None}),
        TextDelta("räins 🌧"),
        calls[0],
        ToolDelta(0, '{"city": "Paris"}'),
        calls[1],
        ToolDelta(1, '{"city": "Rome"}'),
        Metered(Usage(uncached=3, cache_read=8, output=18)),
        Finished("tool_calls"),
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_chunks_may_end_anywhere(size: int, end: str) -> None:
    whole, _ = read_stream(stream(LINES))
    assert read_stream(stream(LINES, end), size)[0] == whole


def test_a_last_line_may_lack_its_end() -> None:
    assert read_stream(stream(LINES)[:-1])[1].complete


@pytest.mark.parametrize("cut", [5, 2, 30])
def test_a_stream_cut_short_is_not_complete(cut: int) -> None:
    assert not read_stream(stream(LINES)[:-cut])[1].complete
    assert not read_stream(stream(LINES[:-1]))[1].complete


def test_an_error_line_ends_the_stream() -> None:
    events, reader = read_stream(stream([*LINES[:3], {"error": "out of luck"}, *LINES[3:]]))
    assert not reader.complete
    assert events[-1] == Failed("out of luck", None)


def test_an_error_may_come_first_and_be_an_object() -> None:
    events, reader = read_stream(stream([{"error": {"message": "quota", "type": "limit"}}]))
    assert events == [Failed("quota", "limit")]
    assert not reader.complete


def test_what_follows_the_end_says_nothing() -> None:
    events, _ = read_stream(stream([*LINES, *LINES]))
    assert events == read_stream(stream(LINES))[0]


def test_a_line_that_is_no_json_is_broken() -> None:
    for line in (b"<html>\n", b"{\n", b'{"done":"yes"}\n', b"\xff\n", b'{"message":{"content":3}}\n'):
        with pytest.raises(UpstreamBroken):
            ollama.StreamReader().feed(line)


def test_images_are_media() -> None:
    events, _ = read_stream(stream([{**HEAD, "message": {"content": "", "images": [PNG]}, "done": False}]))
    assert events[1:] == [MediaDelta(Image("image/png", PNG))]


def test_a_line_without_end_is_bounded() -> None:
    splitter = LineSplitter(limit=100)
    for _ in range(50):
        assert splitter.feed(b"xx") == []
    with pytest.raises(UpstreamBroken):
        splitter.feed(b"x")
    for body in (b"x" * 200 + b"\n", b"a\n" + b"x" * 200 + b"\nb\n", b"a\n" + b"x" * 200):
        with pytest.raises(UpstreamBroken):
            LineSplitter(limit=100).feed(body)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=6).map(lambda part: part.replace(b"x", b"\n")), max_size=12))
def test_lines_joined_are_the_input(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    rest = splitter.close()
    assert b"\n" not in rest
    assert b"".join(lines) + rest == b"".join(chunks)


# Streams written


EVENTS: list[Event] = [
    Started("x", "other", 5),
    ThinkingDelta("hm"),
    TextDelta("a\n"),
    TextDelta("é"),
    LogprobsDelta({"content": [{**TOKEN, "top_logprobs": [TOKEN]}]}),
    ToolStarted(0, "c0", "f"),
    ToolStarted(1, "c1", "g"),
    ToolDelta(1, '{"b"'),
    ToolDelta(0, '{"a":'),
    ToolDelta(0, "1}"),
    ToolDelta(1, ":2}"),
    ToolStarted(2, "c2", "h"),
    Finished("tool_calls"),
    Metered(Usage(uncached=4, cache_read=6, output=9)),
]


def test_a_stream_is_written() -> None:
    head = {"model": "m", "created_at": "2023-11-14T22:13:20.000000000Z"}
    empty = {"role": "assistant", "content": ""}
    assert written(EVENTS) == [
        {**head, "message": {**empty, "thinking": "hm"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "a\n"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "é"}, "done": False},
        {**head, "message": empty, "done": False, "logprobs": [{**TOKEN, "top_logprobs": [TOKEN]}]},
        {
            **head,
            "message": {
                **empty,
                "tool_calls": [
                    {"id": "c0", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}},
                    {"id": "c1", "function": {"index": 1, "name": "g", "arguments": {"b": 2}}},
                    {"id": "c2", "function": {"index": 2, "name": "h", "arguments": {}}},
                ],
            },
            "done": False,
        },
        {
            **head,
            "message": empty,
            "done": True,
            "done_reason": "stop",
            "total_duration": 0,
            "load_duration": 0,
            "prompt_eval_count": 10,
            "prompt_eval_cached_count": 6,
            "prompt_eval_duration": 0,
            "eval_count": 9,
            "eval_duration": 0,
        },
    ]


def test_what_started_says_is_used_where_nothing_is_given() -> None:
    lines = written(EVENTS, ollama.StreamWriter("", "", 0))
    assert {(line["model"], line["created_at"]) for line in lines} == {("other", "1970-01-01T00:00:05.000000000Z")}


def test_a_generate_stream_is_written() -> None:
    writer = generate.StreamWriter("id", "m", 1_700_000_000)
    lines = written([*EVENTS[:11], MediaDelta(Image("image/png", PNG)), *EVENTS[11:]], writer)
    assert [line.get("response") for line in lines] == ["", "a\n", "é", "", "", ""]
    assert lines[0]["thinking"] == "hm"
    assert lines[3]["logprobs"]
    assert lines[4]["image"] == PNG
    assert (lines[-1]["done"], lines[-1]["done_reason"], lines[-1]["eval_count"]) == (True, "stop", 9)
    assert not any("message" in line for line in lines)
    assert writer.losses == ["tool_calls"]


def test_a_call_cut_off_by_the_limit_is_left_out() -> None:
    writer = ollama.StreamWriter("id", "m", 1)
    lines = written(
        [ToolStarted(0, "a", "f"), ToolDelta(0, '{"x":1}'), ToolStarted(1, "b", "g"), ToolDelta(1, '{"y":'),
         Finished("length")],
        writer,
    )  # fmt: skip
    assert [call["id"] for call in lines[0]["message"]["tool_calls"]] == ["a"]
    assert lines[-1]["done_reason"] == "length"
    assert writer.losses == ["tool_calls"]


def test_what_a_stream_cannot_show_is_reported() -> None:
    writer = ollama.StreamWriter("id", "m", 1)
    lines = written(
        [
            TextDelta("a", citation=Citation(url="u")),
            TextDelta("", signature="s"),
            TextDelta("second", choice=1),
            TextDelta("b"),
            TextDelta("second", choice=1),
            ThinkingDelta(signature="s"),
            ThinkingDelta(redacted="r"),
            RefusalDelta("no"),
            AudioDelta(data="x", transcript="said"),
            MediaDelta(Image("image/png", PNG)),
            MediaDelta(Document(text="d")),
            OpaqueDelta("messages", {"type": "server_tool_use"}),
            ToolStarted(0, "c", "f", signature="s"),
            Finished("tool_calls"),
        ],
        writer,
    )
    assert set(writer.losses) == {
        "citations", "choices", "thinking.signature", "thinking.redacted", "audio", "document",
        "server_tool_use",
    }  # fmt: skip
    assert [line["message"]["content"] for line in lines[:-2]] == ["a", "b", "no", "said", ""]
    assert lines[4]["message"]["images"] == [PNG]


def test_a_broken_stream_never_looks_finished() -> None:
    for form in (ollama.StreamWriter, generate.StreamWriter):
        writer = form("id", "m", 1)
        writer.write(TextDelta("a"))
        assert set(json.loads(writer.close())) == {"error"}
        assert writer.close() == b""
        assert writer.write(TextDelta("b")) == writer.write(RefusalDelta("b")) == b""
        writer = form("id", "m", 1)
        assert json.loads(writer.write(Failed("bad", "c", 500))) == {"error": "bad"}
        assert writer.close() == writer.fail(BadRequest("x"), "") == b""


def test_events_come_back_as_they_went() -> None:
    writer = ollama.StreamWriter("", "m", 9)
    data = b"".join([writer.write(event) for event in EVENTS]) + writer.close()
    events, reader = read_stream(data, 7)
    assert reader.complete
    assert [event for event in events if isinstance(event, ToolStarted)] == [
        ToolStarted(0, "c0", "f"), ToolStarted(1, "c1", "g"), ToolStarted(2, "c2", "h"),
    ]  # fmt: skip
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "a\né"
    assert events[-2:] == [Metered(Usage(uncached=4, cache_read=6, output=9)), Finished("tool_calls")]


# Relay


def test_a_relay_passes_every_byte_and_meters() -> None:
    body = stream(LINES, "\r\n")
    relay = ollama.StreamRelay()
    out = b"".join(relay.feed(body[start : start + 11]) for start in range(0, len(body), 11)) + relay.close()
    assert out == body
    assert (relay.complete, relay.failed, relay.finish, relay.started) == (True, None, "tool_calls", True)
    assert (relay.model, relay.usage) == ("gemma4", Usage(uncached=3, cache_read=8, output=18))
    assert relay.output_bytes >= len("Look it up.It räins 🌧".encode())
    assert relay.events == len(LINES)


def test_a_relay_meters_generate_too() -> None:
    lines = [
        {**HEAD, "response": "", "thinking": "hm", "done": False},
        {**HEAD, "response": "It", "done": False},
        {**HEAD, "response": "", "done": True, "done_reason": "length", "context": [1], **COUNTS},
    ]
    relay = generate.StreamRelay(True)
    assert relay.feed(stream(lines)) == stream(lines)
    assert (relay.complete, relay.finish, relay.output_bytes) == (True, "length", 4)


def test_a_relay_holds_back_half_a_line() -> None:
    body = stream(LINES)
    relay = ollama.StreamRelay()
    out = relay.feed(body[:-20])
    assert out.endswith(b"\n")
    assert relay.close() == b""
    assert not relay.complete


def test_a_relay_ends_a_last_line() -> None:
    body = stream(LINES)
    relay = ollama.StreamRelay()
    assert relay.feed(body[:-1]) + relay.close() == body
    assert relay.complete


def test_a_relay_sees_errors_and_garbage() -> None:
    relay = ollama.StreamRelay()
    line = stream([{"error": "no key sk-abcdefghijklmno"}])
    assert relay.feed(line) == line
    assert relay.failed is not None
    assert "abcdefghijklmno" not in relay.failed.message
    assert not relay.complete
    with pytest.raises(UpstreamBroken):
        ollama.StreamRelay().feed(b"<html>\n")
    relay = ollama.StreamRelay()
    assert relay.feed(b'\n{"message":7}\n[]\n') == b'\n{"message":7}\n[]\n', "other shapes pass unmetered"
    assert not relay.started


# Fuzz

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*at, key))
    return found


def mutated(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    copy = json.loads(json.dumps(value))
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = to
    return copy


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(paths(LINES)), _JSON, st.integers(1, 300))
def test_any_mutated_stream_is_read_or_broken(path: tuple[Any, ...], value: Any, size: int) -> None:
    body = stream(mutated(LINES, path, value))
    try:
        events, reader = read_stream(body, size)
    except UpstreamBroken:
        events = []
    writer = ollama.StreamWriter("", "m", 1)
    for line in (b"".join(writer.write(event) for event in events) + writer.close()).splitlines():
        msgspec.json.decode(line)
    relay = ollama.StreamRelay()
    with suppress(UpstreamBroken):
        out = b"".join(relay.feed(body[start : start + size]) for start in range(0, len(body), size))
        assert (out + relay.close()).strip() == body.strip()
