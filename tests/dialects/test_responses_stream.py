"""Streams of the Responses API: a provider's read, a client's written, both relayed, and read by the SDK."""

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from freehold.dialects import responses
from freehold.dialects.conversation import (
    AudioDelta,
    Citation,
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
from freehold.errors import RateLimited, UpstreamBroken

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ZERO = {"cached_tokens": 0}
USAGE = {
    "input_tokens": 5,
    "input_tokens_details": ZERO,
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 8,
}
METERED = Metered(Usage(uncached=5, output=3, reasoning=1))
STARTED = Started("resp_1", "gpt-x", 7)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def response(status: str = "in_progress", output: Iterable[Any] = (), **fields: Any) -> dict[str, Any]:
    known = {"id": "resp_1", "object": "response", "created_at": 7, "model": "gpt-x"}
    return {**known, "status": status, "output": list(output), **fields}


CREATED = event("response.created", response=response())
COMPLETED = event("response.completed", response=response("completed", usage=USAGE))


def added(index: int, **item: Any) -> bytes:
    return event("response.output_item.added", output_index=index, item=item)


def done(index: int, **item: Any) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


def text(index: int, words: str, **fields: Any) -> bytes:
    return event("response.output_text.delta", output_index=index, content_index=0, delta=words, **fields)


def read(*chunks: bytes) -> list[Event]:
    reader = responses.StreamReader()
    return [one for chunk in chunks for one in reader.feed(chunk)] + reader.close()


def without_frame(events: list[Event]) -> list[Event]:
    return [one for one in events if not isinstance(one, Started | Metered | Finished)]


# Reading


def test_a_text_stream() -> None:
    events = read(
        CREATED,
        event("response.in_progress", response=response()),
        added(0, type="message", id="msg_1", role="assistant", content=[]),
        event("response.content_part.added", output_index=0, part={"type": "output_text", "text": ""}),
        text(0, "He", obfuscation="xyz", logprobs=[]),
        text(0, "y", logprobs=[{"token": "y", "logprob": -0.1}]),
        event("response.output_text.done", output_index=0, text="Hey"),
        done(0, type="message", id="msg_1", content=[{"type": "output_text", "text": "Hey"}]),
        COMPLETED,
    )
    assert events == [
        STARTED,
        TextDelta("He", item_id="msg_1"),
        TextDelta("y", item_id="msg_1"),
        LogprobsDelta({"content": [{"token": "y", "logprob": -0.1}], "refusal": None}),
        METERED,
        Finished("stop"),
    ]


def test_reasoning_calls_and_citations() -> None:
    annotation = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    citation = Citation("https://a.example", "A", start=0, end=2, dialect="responses", raw=annotation)
    events = read(
        CREATED,
        added(0, type="reasoning", id="rs_1", summary=[], encrypted_content="half"),
        event("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
        event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="A"),
        event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="a"),
        event("response.reasoning_summary_text.delta", output_index=0, summary_index=1, delta="B"),
        done(0, type="reasoning", id="rs_1", summary=[], encrypted_content="whole"),
        added(1, type="message", id="msg_1", phase="commentary"),
        text(1, "Hi"),
        event("response.output_text.annotation.added", output_index=1, annotation=annotation),
        done(
            1, type="message", id="msg_1", content=[{"type": "output_text", "text": "Hi", "annotations": [annotation]}]
        ),
        added(2, type="function_call", id="fc_1", call_id="c1", name="f", arguments=""),
        event("response.function_call_arguments.delta", output_index=2, delta='{"a":'),
        event("response.function_call_arguments.delta", output_index=2, delta="1}"),
        event("response.function_call_arguments.done", output_index=2, arguments='{"a":1}'),
        done(2, type="function_call", id="fc_1", call_id="c1", name="f", arguments='{"a":1}'),
        added(3, type="custom_tool_call", id="ctc_1", call_id="c2", name="p", input=""),
        event("response.custom_tool_call_input.delta", output_index=3, delta="free"),
        done(3, type="custom_tool_call", id="ctc_1", call_id="c2", name="p", input="free"),
        COMPLETED,
    )
    assert without_frame(events) == [
        ThinkingDelta("A", id="rs_1"),
        ThinkingDelta("a", id="rs_1"),
        ThinkingDelta("\n\nB", id="rs_1"),
        ThinkingDelta("", "openai:whole", id="rs_1"),
        OpaqueDelta("responses", {"type": "phase", "item": {"phase": "commentary"}}),
        TextDelta("Hi", item_id="msg_1"),
        TextDelta("", citation=citation, item_id="msg_1"),
        ToolStarted(0, "c1", "f", item_id="fc_1"),
        ToolDelta(0, '{"a":'),
        ToolDelta(0, "1}"),
        ToolStarted(1, "c2", "p", custom=True, item_id="ctc_1"),
        ToolDelta(1, "free"),
    ]
    assert events[-1] == Finished("tool_calls")


def test_hosts_that_leave_out_deltas_are_read_from_what_is_done() -> None:
    message = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hi"}]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": ""}
    thoughts = {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "Hm."}]}
    expected = [
        ThinkingDelta("Hm.", id="rs_1"),
        TextDelta("Hi", item_id="msg_1"),
        ToolStarted(0, "c1", "f", item_id="fc_1"),
        ToolDelta(0, "{}"),
    ]
    only_done = read(CREATED, done(0, **thoughts), done(1, **message), done(2, **call), COMPLETED)
    assert without_frame(only_done) == expected
    whole = response("completed", [thoughts, message, call], usage=USAGE)
    only_last = read(event("response.completed", response=whole))
    assert only_last == [STARTED, *expected, METERED, Finished("tool_calls")]


def test_thoughts_are_told_once() -> None:
    events = read(
        added(0, type="reasoning", id="r"),
        event("response.reasoning_text.delta", output_index=0, content_index=0, delta="Hm."),
        event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="In short."),
        done(0, type="reasoning", id="r", content=[{"type": "reasoning_text", "text": "Hm."}]),
    )
    assert events == [ThinkingDelta("Hm.", id="r")]


def test_a_refusal_is_one() -> None:
    events = read(
        CREATED,
        added(0, type="message", id="m"),
        event("response.refusal.delta", output_index=0, delta="No"),
        COMPLETED,
    )
    assert RefusalDelta("No", item_id="m") in events
    assert events[-1] == Finished("stop", refused=True)


def ended(status: str, **fields: Any) -> bytes:
    return event(f"response.{status}", response=response(status, **fields))


OOPS = {"message": "Oops", "code": "server_error"}
SLOW = {"code": "rate_limit_exceeded", "message": "Slow."}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (
            ended("incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=USAGE),
            [METERED, Finished("length")],
        ),
        (ended("incomplete", incomplete_details={"reason": "content_filter"}), [Finished("content_filter")]),
        (ended("failed", error=SLOW, usage=USAGE), [METERED, Failed("Slow.", "rate_limit_exceeded", 429)]),
        (ended("failed", error=None), [Failed("The response failed at the provider.")]),
        (event("error", error=OOPS, sequence_number=1), [Failed("Oops", "server_error", 500)]),
        (event("error", **OOPS, param=None), [Failed("Oops", "server_error", 500)]),
        (b'event: error\ndata: {"error":{"message":"Oops"}}\n\n', [Failed("Oops")]),
    ],
)
def test_how_a_stream_may_end(last: bytes, expected: list[Event]) -> None:
    reader, relay = responses.StreamReader(), responses.StreamRelay()
    assert reader.feed(CREATED + last + text(0, "after the end")) == [STARTED, *expected]
    assert relay.feed(CREATED + last) == CREATED + last
    failed = isinstance(expected[-1], Failed)
    assert reader.complete is relay.complete is not failed
    assert (relay.failed == expected[-1]) is failed
    if METERED in expected:
        assert relay.usage == METERED.usage


def test_a_cut_stream_is_never_complete() -> None:
    reader, relay = responses.StreamReader(), responses.StreamRelay()
    half = COMPLETED[:-20]
    assert reader.feed(CREATED + half) == [STARTED]
    assert relay.feed(CREATED + half) == CREATED
    assert (reader.close(), relay.close()) == ([], b"")
    assert not reader.complete
    assert not relay.complete


def test_a_last_event_that_only_lacks_its_blank_line_counts() -> None:
    reader, relay = responses.StreamReader(), responses.StreamRelay()
    reader.feed(CREATED + COMPLETED[:-1])
    assert reader.close() == [METERED, Finished("stop")]
    assert relay.feed(CREATED + COMPLETED[:-1]) + relay.close() == CREATED + COMPLETED
    assert relay.complete


def test_comments_names_left_out_crlf_and_done_are_survived() -> None:
    lines = (b": PING\n\n" + CREATED + text(0, "Hé") + COMPLETED + b"data: [DONE]\n\n").replace(b"\n", b"\r\n")
    assert read(lines) == [STARTED, TextDelta("H\u00e9"), METERED, Finished("stop")]
    unnamed = b"".join(one.partition(b"\n")[2] for one in (CREATED, text(0, "Hi"), COMPLETED))
    assert read(unnamed) == [STARTED, TextDelta("Hi"), METERED, Finished("stop")]
    relay = responses.StreamRelay()
    assert relay.feed(unnamed + b"data: [DONE]\n\n") == unnamed
    assert (relay.complete, relay.id, relay.model, relay.finish) == (True, "resp_1", "gpt-x", "stop")


def test_what_is_no_json_breaks_the_stream() -> None:
    for stream in (responses.StreamReader(), responses.StreamRelay()):
        with pytest.raises(UpstreamBroken):
            stream.feed(b'event: response.output_text.delta\ndata: {"type":"response.output_te\n\n')


def test_the_relay_meters_and_keeps_the_whole_answer() -> None:
    relay = responses.StreamRelay()
    relay.feed(CREATED)
    assert (relay.started, relay.id, relay.model) == (False, "resp_1", "gpt-x")
    relay.feed(text(0, "Hello"))
    assert (relay.started, relay.output_bytes) == (True, 5)
    relay.feed(done(1, type="function_call", call_id="c", name="f", arguments="{}"))
    relay.feed(COMPLETED)
    assert relay.finish == "tool_calls"
    assert json.loads(relay.response)["status"] == "completed"
    assert relay.events == 4


# Writing


def write(*events: Event, echo: responses.Echo | None = None, finish: bool = True) -> tuple[list[dict[str, Any]], Any]:
    """The events of a stream, each of the SDK's type, and the writer."""
    writer = responses.StreamWriter("", "", 0, True, echo)
    ending = (METERED, Finished("stop")) if finish else ()
    data = b"".join(writer.write(one) for one in (STARTED, *events, *ending)) + writer.close()
    shown = []
    for raw in data.decode().split("\n\n")[:-1]:
        name, _, line = raw.partition("\n")
        value = json.loads(line.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        EVENT.validate_python(value)
        shown.append(value)
    assert [one["sequence_number"] for one in shown] == list(range(len(shown)))
    assert writer.response() == shown[-1].get("response", writer.response()) == json.loads(writer.response_json())
    Response.model_validate(writer.response())
    return shown, writer


def kinds(shown: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in shown]


def test_an_indented_request_does_not_break_the_stream_into_more_lines() -> None:
    request = {"model": "m", "input": "x", "metadata": {"a": "b\nc"}, "tools": [{"type": "function", "name": "f"}]}
    for end in ("\n", "\r\n"):
        body = json.dumps(request, indent=2).replace("\n", end).encode()
        shown, _ = write(TextDelta("x"), echo=responses.echo(body))
        for one in (shown[0], shown[-1]):
            assert (one["response"]["tools"], one["response"]["metadata"]) == (request["tools"], request["metadata"])


def test_the_full_sequence_of_events() -> None:
    shown, writer = write(
        ThinkingDelta("Hm"),
        ThinkingDelta("."),
        ThinkingDelta(signature="sig"),
        TextDelta("He"),
        TextDelta("y"),
        TextDelta("", citation=Citation("https://a.example", "A")),
        RefusalDelta("No"),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, '{"a":1}'),
        ToolStarted(1, "c2", "p", custom=True),
        ToolDelta(1, "free"),
    )
    assert kinds(shown) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    whole = shown[-1]["response"]
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call", "custom_tool_call"]
    assert whole["output"][0]["encrypted_content"] == "anthropic:sig"
    assert whole["usage"]["output_tokens_details"] == {"reasoning_tokens": 1}
    assert [one["item"] for one in shown if one["type"].endswith("output_item.done")] == whole["output"]
    assert writer.losses == []


def test_the_stream_and_the_whole_answer_say_the_same() -> None:
    events: list[Event] = [
        ThinkingDelta("Hm.", "openai:gAAA", id="rs_1"),
        TextDelta("Hi", item_id="msg_1"),
        LogprobsDelta(
            {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}], "refusal": None}
        ),
        ToolStarted(0, "c1", "f", item_id="fc_1"),
        ToolDelta(0, "{}"),
    ]
    shown, _ = write(*events, METERED, Finished("tool_calls"), finish=False)
    whole = shown[-1]["response"]
    reply = responses.read_reply(json.dumps(whole).encode())
    assert json.loads(responses.write_reply(reply, [])) == whole


def test_calls_that_arrive_interleaved_each_have_their_item() -> None:
    shown, _ = write(
        ToolStarted(0, "a", "f"),
        ToolStarted(1, "b", "g"),
        ToolDelta(0, '{"x":'),
        ToolDelta(1, "{}"),
        ToolDelta(0, "1}"),
        Finished("tool_calls"),
        METERED,
        finish=False,
    )
    calls = shown[-1]["response"]["output"]
    assert [(call["call_id"], call["arguments"]) for call in calls] == [("a", '{"x":1}'), ("b", "{}")]


def test_a_call_without_arguments_has_empty_ones() -> None:
    shown, _ = write(ToolStarted(0, "a", "f"))
    assert shown[-1]["response"]["output"][0]["arguments"] == "{}"
    assert [one["delta"] for one in shown if one["type"].endswith("arguments.delta")] == ["{}"]


def test_a_stand_in_for_a_custom_tool_is_undone_once_it_is_whole() -> None:
    echo = responses.echo(b'{"tools":[{"type":"custom","name":"patch"}]}')
    shown, _ = write(ToolStarted(0, "a", "patch"), ToolDelta(0, '{"inp'), ToolDelta(0, 'ut": "*** B"}'), echo=echo)
    call = shown[-1]["response"]["output"][0]
    assert (call["type"], call["input"]) == ("custom_tool_call", "*** B")
    assert [one["delta"] for one in shown if one["type"].endswith("input.delta")] == ["*** B"]


def test_another_message_begins_with_another_id_or_phase() -> None:
    shown, _ = write(
        OpaqueDelta("responses", {"type": "phase", "item": {"phase": "commentary"}}),
        TextDelta("A", item_id="msg_1"),
        TextDelta("a", item_id="msg_1"),
        OpaqueDelta("responses", {"type": "phase", "item": {"phase": "final_answer"}}),
        TextDelta("B", item_id="msg_2"),
    )
    first, second = shown[-1]["response"]["output"]
    assert (first["id"], first["phase"], first["content"][0]["text"]) == ("msg_1", "commentary", "Aa")
    assert (second["id"], second["phase"], second["content"][0]["text"]) == ("msg_2", "final_answer", "B")


def test_items_of_server_side_tools_keep_their_events_at_their_new_place() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    events = read(
        CREATED,
        added(7, **item),
        event("response.web_search_call.searching", output_index=7, item_id="ws_1"),
        event("response.web_search_call.completed", output_index=7, item_id="ws_1"),
        done(7, **item),
    )
    assert {one.value["type"] for one in events if isinstance(one, OpaqueDelta)} == {"web_search_call"}
    shown, _ = write(TextDelta("Hi"), *events[1:], TextDelta("So"))
    places = [one["output_index"] for one in shown if one.get("item_id", one.get("item", {}).get("id")) == "ws_1"]
    assert places == [1, 1, 1, 1]
    assert [one["type"] for one in shown[-1]["response"]["output"]] == ["message", "web_search_call", "message"]


def test_what_has_no_event_is_reported() -> None:
    shown, writer = write(
        OpaqueDelta("messages", {"type": "server_tool_use"}),
        AudioDelta(data="AAAA"),
        AudioDelta(transcript="Hello"),
        TextDelta("", citation=Citation(source=0)),
        TextDelta("!", signature="S"),
        MediaDelta(Image("image/png", data="AAAA")),
        MediaDelta(Image(url="https://a.example")),
        TextDelta("another choice", choice=1),
    )
    assert [one["type"] for one in shown[-1]["response"]["output"]] == ["message", "image_generation_call"]
    assert shown[-1]["response"]["output"][0]["content"][0]["text"] == "Hello!"
    assert writer.losses == [
        "content.server_tool_use",
        "content.audio",
        "content.citations",
        "content.image",
    ]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_cut_off_is_incomplete(finish: Any, reason: str) -> None:
    shown, _ = write(TextDelta("Hal"), METERED, Finished(finish), finish=False)
    assert shown[-1]["type"] == "response.incomplete"
    assert shown[-1]["response"]["incomplete_details"] == {"reason": reason}
    assert shown[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_providers_failure_is_a_failed_response_with_all_there_was() -> None:
    shown, writer = write(TextDelta("Hal"), METERED, Failed("Slow down.", "slow", 429), TextDelta("late"), finish=False)
    failed = shown[-1]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}
    assert failed["response"]["output"][0]["content"][0]["text"] == "Hal"
    assert failed["response"]["usage"]["output_tokens"] == 3
    assert writer.response() == failed["response"]


def test_a_broken_stream_ends_with_an_error_and_never_with_completed() -> None:
    shown, writer = write(TextDelta("Hal"), finish=False)
    assert kinds(shown)[-2:] == ["failed", "error"]
    assert shown[-2]["response"]["output"][0]["content"][0]["text"] == "Hal"
    assert "completed" not in kinds(shown)
    assert writer.response()["status"] == "failed"
    writer = responses.StreamWriter("", "m", 0)
    fields = [line[6:] for line in writer.fail(RateLimited("Too many."), "req_1").splitlines() if line[:4] == b"data"]
    failed, error = (json.loads(data) for data in fields)
    assert (failed["type"], failed["response"]["error"]["code"]) == ("response.failed", "rate_limit_exceeded")
    assert (error["message"], error["code"], error["sequence_number"]) == ("Too many.", "rate_limit_exceeded", 1)
    assert (error["error"]["request_id"], error["error"]["type"]) == ("req_1", "rate_limit_error")
    assert writer.write(TextDelta("late")) == writer.close() == b""


def test_ids_and_model_are_the_callers_where_given() -> None:
    writer = responses.StreamWriter("req-1", "alias", 99)
    created = json.loads(writer.write(STARTED).decode().split("\n")[1].removeprefix("data: "))["response"]
    assert (created["id"], created["model"], created["created_at"]) == ("resp_req-1", "alias", 99)


def test_nothing_is_lost_where_no_started_event_came() -> None:
    writer = responses.StreamWriter("resp_x", "m", 1)
    data = writer.write(TextDelta("Hi")) + writer.write(Finished("stop")) + writer.close()
    assert data.startswith(b"event: response.created\n")


# The SDK


def client(body: bytes) -> openai.OpenAI:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    transport = httpx2.MockTransport(answer)
    return openai.OpenAI(
        api_key="k", base_url="http://gateway.test/v1", http_client=httpx2.Client(transport=transport), max_retries=0
    )


def stream_of(*events: Event) -> bytes:
    writer = responses.StreamWriter("", "", 0)
    return b"".join(writer.write(one) for one in (STARTED, *events)) + writer.close()


def test_the_sdks_stream_helper_puts_it_together() -> None:
    body = stream_of(
        ThinkingDelta("Hm.", "openai:gAAA"),
        TextDelta("Hey "),
        TextDelta("you"),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, '{"a":'),
        ToolDelta(0, "1}"),
        ToolStarted(1, "c2", "g"),
        METERED,
        Finished("tool_calls"),
    )
    with client(body).responses.stream(model="m", input="Hi") as stream:
        seen = [one.type for one in stream]
        final = stream.get_final_response()
    assert seen[0] == "response.created"
    assert final.output_text == "Hey you"
    assert final.usage is not None
    assert final.usage.total_tokens == 8
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(call.call_id, json.loads(call.arguments)) for call in calls] == [("c1", {"a": 1}), ("c2", {})]
    thoughts = next(item for item in final.output if item.type == "reasoning")
    assert (thoughts.summary[0].text, thoughts.encrypted_content) == ("Hm.", "gAAA")


def test_the_sdk_raises_what_breaks() -> None:
    body = stream_of(TextDelta("Hal"))
    with pytest.raises(openai.APIError, match="ended without a finish"):
        list(client(body).responses.create(model="m", input="Hi", stream=True))


# Any cut, any order


PIECES = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(max_size=5)),
        st.builds(ThinkingDelta, st.text(max_size=5), st.sampled_from([None, "sig", "openai:g"])),
        st.builds(RefusalDelta, st.text(max_size=5)),
        st.builds(ToolDelta, st.integers(0, 3), st.text(max_size=5)),
        st.builds(ToolStarted, st.integers(0, 3), st.sampled_from(["a", "b"]), st.just("f"), custom=st.booleans()),
    ),
    max_size=12,
)


@given(PIECES, st.integers(1, 40))
def test_what_is_written_is_read_again_however_it_is_cut(events: list[Event], size: int) -> None:
    body = stream_of(*events, METERED, Finished("stop"))
    reader = responses.StreamReader()
    again: list[Event] = []
    for start in range(0, len(body), size):
        again += reader.feed(body[start : start + size])
    assert reader.complete
    for kind in (TextDelta, RefusalDelta, ThinkingDelta):
        said = "".join(one.text for one in events if isinstance(one, kind))
        assert "".join(one.text for one in again if isinstance(one, kind)) == said
    assert sum(isinstance(one, ToolStarted) for one in again) == sum(isinstance(one, ToolStarted) for one in events)
    relay = responses.StreamRelay()
    assert b"".join(relay.feed(body[start : start + size]) for start in range(0, len(body), size)) == body
    assert relay.complete
    assert relay.usage == METERED.usage
