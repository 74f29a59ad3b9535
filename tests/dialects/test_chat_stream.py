"""Provider streams into canonical events, and canonical events into client streams."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from freehold.dialects import chat
from freehold.dialects.chat.stream import StreamReader
from freehold.dialects.conversation import (
    Citation,
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
from freehold.dialects.tool_calls import generated_id
from freehold.errors import UpstreamBroken, UpstreamTimeout

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
METERED = Metered(Usage(uncached=5, output=3))


def chunk(delta=None, finish=None, index=0, choices=True, **fields) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "served", **fields}
    body["choices"] = [choice] if choices else []
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def call(**fields) -> dict:
    return {"tool_calls": [fields]}


DONE = b"data: [DONE]\n\n"
STARTED = Started("c1", "served", 7)


def read(*chunks: bytes, **options):
    reader = StreamReader(**options)
    events = [event for piece in chunks for event in reader.feed(piece)]
    return events + reader.close(), reader


def events_of(*chunks: bytes, **options):
    return [event for event in read(*chunks, **options)[0] if event != STARTED]


# Reading


def test_a_plain_stream():
    events, reader = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "hel"}),
        chunk({"content": "lo"}),
        chunk(finish="stop"),
        chunk(choices=False, usage=USAGE),
        DONE,
    )
    assert events == [STARTED, TextDelta("hel"), TextDelta("lo"), Finished("stop"), METERED]
    assert reader.complete


@pytest.mark.parametrize("ending", [b"", DONE, DONE + DONE, b"data: [DONE]", b": bye\n\n" + DONE])
def test_missing_and_repeated_done(ending):
    events, reader = read(chunk({"content": "a"}), chunk(finish="stop"), ending)
    assert events == [STARTED, TextDelta("a"), Finished("stop")]
    assert reader.complete


def test_done_without_a_finish_reason_is_the_providers_word_for_the_end():
    assert events_of(chunk({"content": "a"}), DONE) == [TextDelta("a"), Finished("stop")]


@pytest.mark.parametrize(
    "tail", [b"", b'data: {"choices":[{"ind', b": ping\n\n", b"data: {}\n\n", b"event: ping\ndata: {}\n\n"]
)
def test_a_cut_stream_has_no_clean_end(tail):
    events, reader = read(chunk({"content": "a"}), tail)
    assert events == [STARTED, TextDelta("a")]
    assert not reader.complete


def test_a_cut_stream_is_metered_as_far_as_known():
    events, reader = read(chunk({"content": "a"}, usage=USAGE))
    assert events == [STARTED, TextDelta("a"), METERED]
    assert not reader.complete


def test_an_empty_stream():
    assert read()[0] == []
    assert not read()[1].complete
    assert read(DONE)[0] == []


def test_comments_pings_and_azures_first_chunk():
    first = b'data: {"id":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
    assert read(b": OPENROUTER PROCESSING\n\n", b"data:\n\n", first, chunk({"content": "a"}))[0] == [
        STARTED,
        TextDelta("a"),
    ]


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error":{"message":"boom","code":"oops"}}\n\n',
        b'event: error\ndata: {"error":{"message":"boom","code":"oops"}}\n\n',
        b'event: error\ndata: {"message":"boom","code":"oops"}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"error"}],"error":{"message":"boom","code":"oops"}}\n\n',
        b'data: {"id":"c1","choices":[{"index":0,"delta":{},"error":{"message":"boom","code":"oops"}}]}\n\n',
    ],
)
def test_an_error_inside_ends_the_stream(error):
    events, reader = read(chunk({"content": "a"}), error, chunk({"content": "late"}), chunk(finish="stop"), DONE)
    assert events == [STARTED, TextDelta("a"), Failed("boom", "oops")]
    assert not reader.complete


def test_an_error_names_its_status_and_no_secret():
    (failed,) = events_of(b'data: {"error":{"message":"key sk-abcdefghijklmnop is bad","code":502}}\n\n')
    assert failed.status == 502
    assert "abcdefghijklmnop" not in failed.message


@pytest.mark.parametrize("bad", [b"data: {not json\n\n", b"data: 5\n\n", b'data: {"choices":5}\n\n', b"data: \xff\n\n"])
def test_what_cannot_be_read_is_a_failure(bad):
    events, reader = read(chunk({"content": "a"}), bad, chunk(finish="stop"))
    assert events[:2] == [STARTED, TextDelta("a")]
    assert isinstance(events[2], Failed)
    assert events[2].status == 502
    assert len(events) == 3
    assert not reader.complete


def test_a_whole_completion_inside_a_stream():
    message = {
        "role": "assistant",
        "content": "hi",
        "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}],
    }
    body = {"id": "c1", "model": "served", "created": 7, "usage": USAGE}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    assert read(b"data: " + json.dumps(body).encode() + b"\n\n")[0] == [
        STARTED,
        TextDelta("hi"),
        ToolStarted(0, "x", "f"),
        ToolDelta(0, "{}"),
        Finished("tool_calls"),
        METERED,
    ]


def test_ids_and_models_that_change_do_not_matter():
    events = read(chunk({"content": "a"}), chunk({"content": "b"}, id="c2", model="other", created=9), DONE)[0]
    assert [event for event in events if isinstance(event, Started)] == [STARTED]


def test_empty_deltas_obfuscation_and_nulls():
    assert events_of(
        chunk({"role": "assistant", "content": None, "tool_calls": None}, obfuscation="xyz"),
        chunk({"content": ""}),
        b'data: {"choices":[{"index":0,"delta":null}]}\n\n',
        chunk({"role": "assistant", "content": "a", "obfuscation": "xyz"}, usage=None),
        chunk(finish=""),
        chunk(finish="stop"),
    ) == [TextDelta("a"), Finished("stop")]


def test_tool_calls_in_pieces():
    assert events_of(
        chunk(call(index=0, id="a", type="function", function={"name": "f", "arguments": ""})),
        chunk(call(index=0, function={"arguments": '{"x"'})),
        chunk(call(index=0, function={"arguments": ": 1}"})),
        chunk(call(index=1, id="b", function={"name": "g", "arguments": "{}"})),
        chunk(finish="tool_calls"),
    ) == [
        ToolStarted(0, "a", "f"),
        ToolDelta(0, '{"x"'),
        ToolDelta(0, ": 1}"),
        ToolStarted(1, "b", "g"),
        ToolDelta(1, "{}"),
        Finished("tool_calls"),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"index": 1, "id": "a"}, {"index": 3, "id": "b"}),  # not from 0, sparse
        ({"index": 0, "id": "a"}, {"index": 0, "id": "b"}),  # the same index again
        ({"id": "a"}, {"id": "b"}),  # none
        ({"index": None, "id": "a"}, {"index": None, "id": "b"}),
    ],
)
def test_odd_indexes_are_renumbered(first, second):
    assert events_of(
        chunk(call(**first, function={"name": "f", "arguments": "{}"})),
        chunk(call(**second, function={"name": "g", "arguments": "{}"})),
        chunk(finish="stop"),
    ) == [
        ToolStarted(0, "a", "f"),
        ToolDelta(0, "{}"),
        ToolStarted(1, "b", "g"),
        ToolDelta(1, "{}"),
        Finished("tool_calls"),
    ]


def test_whole_calls_without_index_or_id():
    delta = {
        "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": 1}}},
            {"function": {"name": "f", "arguments": None}},
        ]
    }
    assert events_of(chunk(delta, "stop")) == [
        ToolStarted(0, generated_id("c1", 0), "f"),
        ToolDelta(0, '{"a":1}'),
        ToolStarted(1, generated_id("c1", 1), "f"),
        ToolDelta(1, "{}"),
        Finished("tool_calls"),
    ]


def test_fragments_without_index_belong_to_the_last_call():
    assert events_of(
        chunk(call(id="a", function={"name": "f", "arguments": "{"})), chunk(call(function={"arguments": "}"})), DONE
    ) == [ToolStarted(0, "a", "f"), ToolDelta(0, "{"), ToolDelta(0, "}"), Finished("tool_calls")]


def test_a_repeated_id_and_name_is_no_new_call():
    assert events_of(
        chunk(call(index=0, id="a", function={"name": "f", "arguments": "{"})),
        chunk(call(index=0, id="a", function={"name": "f", "arguments": "}"})),
        DONE,
    ) == [ToolStarted(0, "a", "f"), ToolDelta(0, "{"), ToolDelta(0, "}"), Finished("tool_calls")]


@pytest.mark.parametrize("pieces", [[], [""], ["", " "]])
def test_a_call_without_arguments_gets_an_empty_object(pieces):
    events = events_of(
        chunk(call(index=0, id="a", function={"name": "f"})),
        *[chunk(call(index=0, function={"arguments": piece})) for piece in pieces],
        chunk(finish="tool_calls"),
    )
    text = "".join(event.arguments for event in events if isinstance(event, ToolDelta))
    assert text.strip() == "{}"
    assert events[-1] == Finished("tool_calls")


@pytest.mark.parametrize(
    ("finish", "arguments", "expected"),
    [
        ("stop", "{}", "tool_calls"),
        ("tool_calls", '{"a": 1', "length"),
        ("length", "{}", "length"),
        ("content_filter", "{}", "content_filter"),
    ],
)
def test_finish_reasons_with_calls(finish, arguments, expected):
    events = events_of(
        chunk(call(index=0, id="a", function={"name": "f", "arguments": arguments})), chunk(finish=finish)
    )
    assert events[-1] == Finished(expected)


def test_a_call_is_not_over_when_its_arguments_parse():
    events = events_of(
        chunk(call(index=0, id="a", function={"name": "f", "arguments": "{}"})),
        chunk(call(index=0, function={"arguments": " "})),
        chunk(finish="tool_calls"),
    )
    assert [event.arguments for event in events if isinstance(event, ToolDelta)] == ["{}", " "]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts(field):
    assert events_of(chunk({field: "a"}), chunk({field: "b", "content": ""}), chunk({"content": "c"}), DONE) == [
        ThinkingDelta("a"),
        ThinkingDelta("b"),
        TextDelta("c"),
        Finished("stop"),
    ]


def test_thoughts_named_twice_or_repeated_at_the_end_count_once():
    assert events_of(
        chunk({"reasoning_content": "a", "reasoning": "a"}),
        chunk({"reasoning_content": "b"}),
        chunk({"content": "c"}),
        chunk({"reasoning_content": "ab"}, "stop"),
    ) == [ThinkingDelta("a"), ThinkingDelta("b"), TextDelta("c"), Finished("stop")]


def test_list_content():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}
    assert events_of(
        chunk({"content": [thinking]}), chunk({"content": [{"type": "text", "text": "a"}, {"type": "reference"}]}), DONE
    ) == [
        ThinkingDelta("t"),
        TextDelta("a"),
        OpaqueDelta("chat", {"content": [{"type": "reference"}]}),
        Finished("stop"),
    ]


def test_refusals_logprobs_and_fields_of_other_hosts():
    probs = {"content": [{"token": "a", "logprob": -1.0}]}
    body = json.loads(chunk({"content": "a"})[6:])
    body["choices"][0]["logprobs"] = probs
    assert events_of(
        chunk({"refusal": "no"}),
        b"data: " + json.dumps(body).encode() + b"\n\n",
        chunk({"content": "b", "annotations": [1], "reasoning_details": []}),
        DONE,
    ) == [
        RefusalDelta("no"),
        TextDelta("a"),
        LogprobsDelta(probs),
        TextDelta("b"),
        OpaqueDelta("chat", {"annotations": [1]}),
        Finished("stop", refused=True),
    ]


def test_several_choices_finish_each():
    events, reader = read(
        chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk(finish="stop", index=1), chunk(finish="length")
    )
    assert events[1:] == [TextDelta("a"), TextDelta("b", 1), Finished("length"), Finished("stop", 1)]
    assert reader.complete
    assert not read(chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk(finish="stop"))[1].complete


def test_usage_so_far_is_replaced_not_added():
    so_far = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    assert events_of(chunk({"content": "a"}, usage=so_far), chunk({}, "stop", usage=USAGE), DONE)[-1] == METERED
    assert events_of(chunk({"content": "a"}, "stop", x_groq={"usage": USAGE}), DONE)[-1] == METERED
    twice = [
        chunk({"content": "a"}, "stop"),
        chunk(choices=False, usage=USAGE),
        chunk(choices=False, usage=USAGE),
        DONE,
    ]
    assert [event for event in events_of(*twice) if isinstance(event, Metered)] == [METERED]


def test_content_after_the_finish_is_not_lost():
    assert events_of(chunk({"content": "a"}, "stop"), chunk({"content": "b"}), DONE) == [
        TextDelta("a"),
        TextDelta("b"),
        Finished("stop"),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>abc</think>\n\ndef", "abc", "def"),
        ("  <think>abc</think>", "abc", ""),
        ("<think>abc <b </thin", "abc <b </thin", ""),
        ("<thinker> no", "", "<thinker> no"),
        ("plain", "", "plain"),
        ("<thi", "", "<thi"),
    ],
)
def test_think_tags_are_split_on_request(text, thoughts, answer, size):
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    events = events_of(*[chunk({"content": piece}) for piece in pieces], chunk(finish="stop"), split_think=True)
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == thoughts
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).lstrip() == answer
    assert events[-1] == Finished("stop")


def test_an_event_without_end_is_a_failure():
    reader = StreamReader()
    events = [event for _ in range(20) for event in reader.feed(b"data: " + b"x" * 1_000_000)]
    assert len(events) == 1
    assert isinstance(events[0], Failed)


PIECES = st.lists(
    st.sampled_from(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "größer 🎈"}),
            chunk({"reasoning_content": "t"}),
            chunk(call(index=0, id="a", function={"name": "f", "arguments": "{"})),
            chunk(call(index=0, function={"arguments": "}"})),
            chunk(call(id="b", function={"name": "g"})),
            chunk({"content": "x"}, index=1),
            chunk(finish="stop"),
            chunk(finish="length", index=1),
            chunk(choices=False, usage=USAGE),
            b": ping\r\n\r\n",
            b'event: error\ndata: {"error": {"message": "boom"}}\n\n',
            b"data: nonsense\n\n",
            DONE,
        ]
    ),
    max_size=10,
)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def recut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(marks)]


@settings(deadline=None)
@given(PIECES, CUTS)
def test_chunk_boundaries_do_not_matter(pieces, places):
    whole, reader = read(*pieces)
    again, other = read(*recut(b"".join(pieces), places))
    assert again == whole
    assert other.complete == reader.complete


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda data: b"data: " + data + b"\n\n"), max_size=3))
def test_any_event_is_read_or_a_failure(pieces):
    read(*pieces)


# Writing


def rendered(*events, include_usage=False, close=True) -> tuple[list[dict], bytes]:
    writer = chat.StreamWriter("id-1", "m", 42, include_usage)
    out = b"".join(writer.write(event) for event in events) + (writer.close() if close else b"")
    blocks = [block.removeprefix(b"data: ") for block in out.split(b"\n\n") if block]
    return [json.loads(block) for block in blocks if block != b"[DONE]"], out


def test_written_chunks_are_the_sdks():
    chunks, out = rendered(
        Started("up-1", "served"),
        TextDelta("a"),
        ThinkingDelta("t"),
        RefusalDelta("r"),
        ToolStarted(0, "c", "f"),
        ToolDelta(0, "{}"),
        LogprobsDelta({"content": [], "refusal": None}),
        Finished("tool_calls"),
        METERED,
        include_usage=True,
    )
    parsed = [ChatCompletionChunk.model_validate(one) for one in chunks]
    assert {(one.id, one.model, one.created, one.object) for one in parsed} == {
        ("id-1", "m", 42, "chat.completion.chunk")
    }
    assert [one.choices[0].delta.role for one in parsed if one.choices].count("assistant") == 1
    assert parsed[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in parsed if one.choices][-1] == "tool_calls"
    assert parsed[-1].choices == []
    assert parsed[-1].usage.total_tokens == 8
    assert all("usage" in one for one in chunks)
    assert [one["usage"] for one in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert out.endswith(b"data: [DONE]\n\n")
    assert out.count(b"[DONE]") == 1


def test_usage_only_where_asked_for():
    chunks, _ = rendered(TextDelta("a"), Finished("stop"), METERED)
    assert all("usage" not in one for one in chunks)
    assert all(one["choices"] for one in chunks)
    chunks, _ = rendered(TextDelta("a"), Finished("stop"), include_usage=True)
    assert all(one["choices"] for one in chunks)


def test_nothing_is_sent_before_there_is_content():
    writer = chat.StreamWriter("i", "m", 1, False)
    assert writer.write(Started("u", "served")) == b""
    assert writer.write(METERED) == b""
    assert writer.write(TextDelta("a")).count(b"data: ") == 2


def test_a_name_and_time_left_open_are_the_providers():
    writer = chat.StreamWriter("", "", 0, False)
    writer.write(Started("up-1", "served", 7))
    first = json.loads(writer.write(TextDelta("a")).split(b"\n\n")[0][6:])
    assert (first["id"], first["model"], first["created"]) == ("up-1", "served", 7)


def test_an_answer_without_content_still_has_a_role_and_an_end():
    chunks, out = rendered(Finished("content_filter"))
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[1]["choices"][0]["finish_reason"] == "content_filter"
    assert out.endswith(b"data: [DONE]\n\n")


def test_a_call_without_arguments_is_written_with_an_empty_object():
    chunks, _ = rendered(
        ToolStarted(0, "a", "f"), ToolStarted(1, "b", "g"), ToolDelta(1, '{"x":1}'), Finished("tool_calls")
    )
    arguments = {0: "", 1: ""}
    for one in chunks:
        for part in one["choices"][0]["delta"].get("tool_calls", []):
            arguments[part["index"]] += part["function"]["arguments"]
    assert arguments == {0: "{}", 1: '{"x":1}'}


def test_every_choice_has_its_role():
    chunks, _ = rendered(TextDelta("a"), TextDelta("b", 1), Finished("stop"), Finished("length", 1))
    roles = [(one["choices"][0]["index"], one["choices"][0]["delta"].get("role")) for one in chunks]
    assert [index for index, role in roles if role] == [0, 1]


def test_a_failure_ends_without_done():
    writer = chat.StreamWriter("i", "m", 1, True)
    writer.write(TextDelta("a"))
    out = writer.fail(UpstreamTimeout("The provider was silent for 30 seconds."), "req-1")
    error = json.loads(out.removeprefix(b"data: "))["error"]
    assert error == {
        "message": "The provider was silent for 30 seconds.",
        "type": "server_error",
        "param": None,
        "code": "upstream_timeout",
        "request_id": "req-1",
    }
    assert writer.write(TextDelta("b")) == writer.write(Finished("stop")) == writer.close() == b""
    assert writer.fail(UpstreamBroken("again"), "") == b""


def test_a_failed_event_and_a_missing_finish_are_errors():
    for events in ([TextDelta("a"), Failed("boom")], [TextDelta("a")], []):
        chunks, out = rendered(*events)
        assert "error" in chunks[-1]
        assert b"[DONE]" not in out


def test_what_the_stream_cannot_show_is_noted():
    writer = chat.StreamWriter("i", "m", 1, False)
    for event in (
        ThinkingDelta(signature="s"),
        ThinkingDelta(redacted="r"),
        TextDelta("", signature="s"),
        TextDelta("a", citation=Citation(quote="q", source=0)),
        OpaqueDelta("messages", {"type": "server_tool_use"}),
    ):
        writer.write(event)
    assert writer.losses == [
        "citations",
        "server_tool_use",
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
CHOICE_EVENTS = st.one_of(
    st.builds(TextDelta, TEXT),
    st.builds(ThinkingDelta, TEXT),
    st.builds(RefusalDelta, TEXT),
    st.builds(lambda value: OpaqueDelta("chat", {"annotations": [value]}), TEXT),
)


@settings(deadline=None)
@given(st.lists(CHOICE_EVENTS, min_size=1, max_size=8), st.sampled_from(["stop", "length", "content_filter"]), CUTS)
def test_written_and_read_is_the_same(deltas, finish, places):
    refused = any(isinstance(delta, RefusalDelta) for delta in deltas)
    events = [Started("id-1", "m", 42), *deltas, Finished(finish, refused=refused), METERED]
    _, out = rendered(*events, include_usage=True)
    again, reader = read(*recut(out, places))
    assert again == events
    assert reader.complete
