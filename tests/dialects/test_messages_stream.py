"""Anthropic event streams read, written and relayed, cut at any byte."""

import itertools
import json
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from freehold.dialects import messages
from freehold.dialects.conversation import (
    Citation,
    Event,
    Failed,
    Finished,
    LogprobsDelta,
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
from freehold.errors import RateLimited, UpstreamBroken

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def start(**usage: int) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "usage": {"input_tokens": 5, "output_tokens": 1, **usage},
    }
    return event("message_start", message=message)


def block(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **fields})


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def end(reason: str = "end_turn", **usage: int) -> bytes:
    usage = {"output_tokens": 9, **usage}
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage) + event(
        "message_stop"
    )


PING = b'event: ping\ndata: {"type": "ping"}\n\n'
TEXT = block(0, "text", text="") + delta(0, "text_delta", text="Grüße ") + delta(0, "text_delta", text="你好") + stop(0)
TOOL = (
    block(1, "tool_use", id="t1", name="f", input={})
    + delta(1, "input_json_delta", partial_json="")
    + delta(1, "input_json_delta", partial_json='{"a"')
    + delta(1, "input_json_delta", partial_json=":1}")
    + stop(1)
)
WHOLE = start() + PING + TEXT + TOOL + end("tool_use", input_tokens=6)


def read(data: bytes, json_tool: str | None = None) -> list[Event]:
    reader = messages.StreamReader(json_tool)
    return reader.feed(data) + reader.close()


def write(*events: Event) -> list[dict[str, Any]]:
    writer = messages.StreamWriter("msg_x", "shown", 0)
    return shown(b"".join(writer.write(item) for item in events) + writer.close())


def shown(raw: bytes) -> list[dict[str, Any]]:
    """Every event, its name agreeing with its data, each valid for the SDK."""
    found = []
    for chunk in raw.decode().split("\n\n")[:-1]:
        name, data = chunk.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        if value["type"] != "error":
            EVENTS.validate_python(value)
        found.append(value)
    return found


def texts(events: list[Event]) -> str:
    return "".join(item.text for item in events if isinstance(item, TextDelta))


# Reading


def test_a_whole_stream() -> None:
    assert read(WHOLE) == [
        Started("msg_1", "claude-x"),
        Metered(Usage(5, output=1)),
        TextDelta("Grüße "),
        TextDelta("你好"),
        ToolStarted(0, "t1", "f"),
        ToolDelta(0, '{"a"'),
        ToolDelta(0, ":1}"),
        Metered(Usage(6, output=9)),
        Finished("tool_calls"),
    ]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=30))
def test_events_and_bytes_do_not_depend_on_chunks(cuts: list[int]) -> None:
    reader, relay = messages.StreamReader(), messages.StreamRelay()
    events: list[Event] = []
    relayed = b""
    places = sorted({0, len(WHOLE), *cuts})
    for first, last in itertools.pairwise(places):
        events += reader.feed(WHOLE[first:last])
        relayed += relay.feed(WHOLE[first:last])
    assert events + reader.close() == read(WHOLE)
    assert relayed + relay.close() == WHOLE
    assert relay.usage == Usage(6, output=9)
    assert (relay.finish, relay.complete, relay.started, relay.events) == ("tool_calls", True, True, 13)


def test_a_second_message_start_is_ignored_but_for_its_usage() -> None:
    events = read(start() + start(input_tokens=7) + TEXT + end())
    assert [item for item in events if isinstance(item, Started)] == [Started("msg_1", "claude-x")]
    assert [item for item in events if isinstance(item, Metered)][-1].usage == Usage(7, output=9)


def test_usage_is_replaced_never_added_and_absent_numbers_stay() -> None:
    first = start(cache_read_input_tokens=100, cache_creation_input_tokens=20)
    first = first.replace(
        b'"cache_creation_input_tokens": 20',
        b'"cache_creation_input_tokens": 20, "cache_creation": {"ephemeral_1h_input_tokens": 15}',
    )
    events = read(first + TEXT + end(input_tokens=5, cache_creation_input_tokens=20))
    assert [item for item in events if isinstance(item, Metered)][-1].usage == Usage(5, 100, 5, 15, 9)


def test_a_call_without_arguments_ends_as_an_empty_object() -> None:
    data = block(0, "tool_use", id="a", name="f", input={}) + delta(0, "input_json_delta", partial_json="") + stop(0)
    assert ToolDelta(0, "{}") in read(start() + data + end("tool_use"))


def test_a_call_whose_input_comes_at_once_or_is_never_stopped() -> None:
    data = block(3, "tool_use", id="a", name="f", input={"x": 1}) + block(7, "tool_use", id="b", name="g")
    events = read(start() + data + end("tool_use"))
    assert [item for item in events if isinstance(item, ToolStarted | ToolDelta)] == [
        ToolStarted(0, "a", "f"),
        ToolStarted(1, "b", "g"),
        ToolDelta(0, '{"x": 1}'),
        ToolDelta(1, "{}"),
    ]


def test_thinking_signatures_and_redacted_blocks_keep_their_order() -> None:
    data = (
        block(0, "thinking", thinking="", signature="")
        + delta(0, "thinking_delta", thinking="hm")
        + delta(0, "signature_delta", signature="s1")
        + stop(0)
        + block(1, "redacted_thinking", data="r")
        + stop(1)
        + block(2, "thinking", thinking="", signature="")
        + delta(2, "signature_delta", signature="s2")
        + stop(2)
    )
    events = read(start() + data + end())
    assert events[2:6] == [
        ThinkingDelta("hm"),
        ThinkingDelta(signature="s1"),
        ThinkingDelta(redacted="r"),
        ThinkingDelta(signature="s2"),
    ]
    blocks = [item for item in write(*events) if item["type"] == "content_block_start"]
    assert [item["content_block"]["type"] for item in blocks] == ["thinking", "redacted_thinking", "thinking"]
    assert [item["index"] for item in blocks] == [0, 1, 2]


def test_server_tools_come_whole_and_go_back_as_they_were() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    data = (
        block(0, "server_tool_use", id="s", name="web_search", input={})
        + delta(0, "input_json_delta", partial_json='{"query": ')
        + delta(0, "input_json_delta", partial_json='"x"}')
        + stop(0)
        + event("content_block_start", index=1, content_block=result)
        + stop(1)
    )
    events = read(start() + data + end("pause_turn"))
    call = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    opaque = [item for item in events if isinstance(item, OpaqueDelta)]
    assert opaque == [OpaqueDelta("messages", call), OpaqueDelta("messages", result)]
    assert not [item for item in events if isinstance(item, ToolStarted)]
    wire = write(*events)
    assert wire[1]["content_block"] == {**call, "input": {}}
    assert json.loads(wire[2]["delta"]["partial_json"]) == {"query": "x"}
    assert wire[4]["content_block"] == result


def test_the_forced_json_tool_streams_as_text() -> None:
    data = (
        block(0, "tool_use", id="a", name="answer", input={})
        + delta(0, "input_json_delta", partial_json='{"city":')
        + delta(0, "input_json_delta", partial_json='"Rome"}')
        + stop(0)
    )
    events = read(start() + data + end("tool_use"), json_tool="answer")
    assert texts(events) == '{"city":"Rome"}'
    assert events[-1] == Finished("stop")


def test_an_error_event_ends_the_stream() -> None:
    data = start() + event("error", error={"type": "overloaded_error", "message": "Overloaded"}) + TEXT + end()
    events = read(data)
    assert events[-1] == Failed("Overloaded", "overloaded_error", 529)
    relay = messages.StreamRelay()
    relay.feed(start() + event("error", error={"type": "api_error", "message": "x"}))
    assert relay.failed == Failed("x", "api_error", 500)
    assert not relay.complete


def test_a_cut_stream_is_not_complete() -> None:
    reader, relay = messages.StreamReader(), messages.StreamRelay()
    cut = start() + TEXT + TOOL[:-20]
    reader.feed(cut)
    relayed = relay.feed(cut) + relay.close()
    assert reader.close() == []
    assert not reader.complete
    assert not relay.complete
    assert cut.startswith(relayed)
    assert relayed.endswith(b"\n\n")


def test_a_stream_whose_last_blank_line_is_missing_is_whole() -> None:
    reader, relay = messages.StreamReader(), messages.StreamRelay()
    reader.feed(WHOLE[:-1])
    reader.close()
    relayed = relay.feed(WHOLE[:-1]) + relay.close()
    assert reader.complete
    assert relay.complete
    assert relayed == WHOLE


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: 1\n\n", b'data: {"type": 5}\n\n', b"data: \xff\n\n"])
def test_garbage_in_a_stream_is_the_providers_fault(data: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        read(data)


def test_unknown_events_and_stray_deltas_are_survived() -> None:
    stray = delta(9, "input_json_delta", partial_json="{") + stop(9) + event("brand_new", x=1) + b": comment\n\n"
    events = read(start() + stray + TEXT + delta(0, "new_delta") + end())
    assert texts(events) == "Grüße 你好"
    assert events[-1] == Finished("stop")


@given(st.lists(st.sampled_from([start(), PING, TEXT, TOOL, stop(0), delta(4, "text_delta", text="x"), end()])))
def test_any_order_of_events_is_read_or_refused(pieces: list[bytes]) -> None:
    events = read(b"".join(pieces))
    assert sum(isinstance(item, Finished) for item in events) <= 1
    assert [item.index for item in events if isinstance(item, ToolStarted)] == list(range(pieces.count(TOOL)))


# Relaying


def test_output_bytes_measure_the_text() -> None:
    relay = messages.StreamRelay()
    relay.feed(start())
    assert (relay.started, relay.output_bytes) == (False, 0)
    relay.feed(b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
               b'{"type":"text_delta","text":"1234567890"}      }\n\n')  # fmt: skip
    assert relay.started
    assert 5 <= relay.output_bytes <= 20


def test_a_relay_holds_back_only_an_unfinished_event() -> None:
    relay = messages.StreamRelay()
    assert relay.feed(start() + TEXT[:10]) == start()
    assert relay.feed(TEXT[10:]) == TEXT


def test_events_without_a_name_line_are_metered_too() -> None:
    bare = b"".join(line + b"\n\n" for line in WHOLE.split(b"\n") if line.startswith(b"data:"))
    relay = messages.StreamRelay()
    assert relay.feed(bare) == bare
    assert (relay.finish, relay.complete, relay.started, relay.id) == ("tool_calls", True, True, "msg_1")
    assert read(bare) == read(WHOLE)


# Writing


def test_a_correct_event_sequence() -> None:
    wire = write(
        Started("upstream", "gpt-x"),
        ThinkingDelta("hm"),
        TextDelta("a"),
        TextDelta(""),
        TextDelta("b"),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, "{}"),
        Finished("tool_calls"),
        Metered(Usage(7, 2, 1, output=3, reasoning=1)),
    )
    assert [item["type"] for item in wire] == [
        "message_start",
        "content_block_start", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert wire[0]["message"]["id"] == "msg_x"
    assert wire[0]["message"]["model"] == "shown"
    assert wire[0]["message"]["usage"]["input_tokens"] == 0
    assert wire[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert wire[-2]["usage"] == {
        "input_tokens": 7,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 2,
        "output_tokens": 3,
        "output_tokens_details": {"thinking_tokens": 1},
    }


def test_id_and_model_come_from_the_stream_where_none_are_given() -> None:
    writer = messages.StreamWriter("", "", 0)
    message = shown(writer.write(Started("up", "served")))[0]["message"]
    assert (message["id"], message["model"]) == ("up", "served")


def arguments_of(wire: list[dict[str, Any]]) -> dict[str, str]:
    names: dict[int, str] = {}
    found: dict[str, str] = {}
    for item in wire:
        if item["type"] == "content_block_start":
            names[item["index"]] = item["content_block"].get("id", "")
        elif item["type"] == "content_block_delta" and item["delta"]["type"] == "input_json_delta":
            found[names[item["index"]]] = found.get(names[item["index"]], "") + item["delta"]["partial_json"]
    return found


def test_interleaved_calls_are_written_one_after_another() -> None:
    wire = write(
        ToolStarted(0, "a", "f"),
        ToolStarted(1, "b", "g"),
        ToolStarted(2, "c", "h"),
        ToolDelta(1, '{"y"'),
        ToolDelta(0, '{"x":'),
        ToolDelta(1, ":2}"),
        ToolDelta(0, "1}"),
        ToolDelta(2, "{}"),
        Finished("tool_calls"),
    )
    assert arguments_of(wire) == {"a": '{"x":1}', "b": '{"y":2}', "c": "{}"}
    indexes = [item["index"] for item in wire if "index" in item]
    assert indexes == sorted(indexes)


CALLS = st.lists(
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3).map(json.dumps), min_size=1, max_size=4
)


@given(CALLS, st.data())
def test_calls_in_any_interleaving_arrive_whole_and_in_order(calls: list[str], data: st.DataObject) -> None:
    queues = [[ToolStarted(index, f"id{index}", "f")] for index in range(len(calls))]
    pieces: list[list[Event]] = [list(queue) for queue in queues]
    for index, text in enumerate(calls):
        cut = data.draw(st.integers(0, len(text)))
        pieces[index] += [ToolDelta(index, text[:cut]), ToolDelta(index, text[cut:])]
    events: list[Event] = []
    started = 0
    while any(pieces):
        ready = [index for index, queue in enumerate(pieces) if queue and index <= started]
        index = data.draw(st.sampled_from(ready))
        events.append(pieces[index].pop(0))
        started = max(started, index + 1)
    wire = write(*events, Finished("tool_calls"))
    assert arguments_of(wire) == {f"id{index}": text for index, text in enumerate(calls)}
    assert [item["content_block"]["id"] for item in wire if item["type"] == "content_block_start"] == [
        f"id{index}" for index in range(len(calls))
    ]


def test_a_refusal_is_shown_and_named() -> None:
    wire = write(Started("i", "m"), RefusalDelta("I cannot"), Finished("stop"))
    assert wire[2]["delta"] == {"type": "text_delta", "text": "I cannot"}
    assert wire[-2]["delta"]["stop_reason"] == "refusal"


def test_citations_of_this_dialect_are_shown_others_are_not() -> None:
    own = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 1,
        "file_id": None,
    }
    wire = write(
        TextDelta("a"),
        TextDelta("", citation=Citation(dialect="messages", raw=own)),
        TextDelta("", citation=Citation(title="a book")),
        Finished("stop"),
    )
    assert [item["delta"]["type"] for item in wire if item["type"] == "content_block_delta"] == [
        "text_delta",
        "citations_delta",
    ]


def test_only_the_first_choice_is_shown() -> None:
    wire = write(TextDelta("a"), TextDelta("b", 1), LogprobsDelta({}), Finished("stop"), Finished("length", 1))
    assert [item["delta"]["text"] for item in wire if item["type"] == "content_block_delta"] == ["a"]
    assert wire[-2]["delta"]["stop_reason"] == "end_turn"


def test_a_failure_is_an_error_event_and_nothing_follows_it() -> None:
    writer = messages.StreamWriter("i", "m", 0)
    raw = writer.write(TextDelta("a")) + writer.fail(RateLimited("slow down", hint="wait"), "req_1")
    raw += writer.write(TextDelta("b")) + writer.close() + writer.fail(RateLimited("again"), "req_1")
    wire = shown(raw)
    assert wire[-1] == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down (hint: wait)"},
        "request_id": "req_1",
    }
    assert "message_stop" not in [item["type"] for item in wire]


@pytest.mark.parametrize("events", [[], [TextDelta("a")], [TextDelta("a"), Finished("error")], [Failed("x", "c", 503)]])
def test_a_stream_without_a_good_end_never_looks_like_one(events: list[Event]) -> None:
    wire = write(*events)
    assert wire[-1]["type"] == "error"
    assert "message_stop" not in [item["type"] for item in wire]


@given(
    st.lists(
        st.builds(TextDelta, st.text(max_size=5))
        | st.builds(ThinkingDelta, st.text(max_size=5), st.none() | st.text(min_size=1, max_size=3))
        | st.builds(RefusalDelta, st.text(max_size=5))
        | st.just(OpaqueDelta("gemini", {}))
        | st.builds(Metered, st.builds(Usage, st.integers(0, 9), output=st.integers(0, 9))),
        max_size=12,
    )
)
def test_what_is_written_is_read_back(events: list[Event]) -> None:
    writer = messages.StreamWriter("i", "m", 0)
    raw = b"".join(writer.write(item) for item in [Started("i", "m"), *events, Finished("stop")]) + writer.close()
    shown(raw)
    again = read(raw)
    said = "".join(item.text for item in events if isinstance(item, TextDelta | RefusalDelta))
    assert texts(again) == said
    thought = "".join(item.text for item in events if isinstance(item, ThinkingDelta))
    assert "".join(item.text for item in again if isinstance(item, ThinkingDelta)) == thought
    usages = [item.usage for item in events if isinstance(item, Metered)]
    assert [item.usage for item in again if isinstance(item, Metered)][-1] == (usages[-1] if usages else Usage())
