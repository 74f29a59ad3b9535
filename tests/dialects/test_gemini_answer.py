"""Answers for Gemini clients: whole ones, streams and relays, and what a lying provider may do to them."""

import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import gemini
from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Choice,
    Citation,
    Document,
    Event,
    Failed,
    Finish,
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
from freehold.errors import UpstreamBroken, UpstreamTimeout


def write(*parts: Part, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = json.loads(gemini.write_reply(Reply("r", "m", [Choice(list(parts), **fields)]), losses))
    types.GenerateContentResponse.model_validate(body)
    return body, losses


def stream(*events: Event, array: bool = False) -> tuple[list[dict[str, Any]], list[str]]:
    writer = gemini.StreamWriter("r", "m", 0, True, array=array)
    out = b"".join(writer.write(event) for event in events) + writer.close()
    assert writer.write(TextDelta("late")) == writer.close() == b""
    found = json.loads(out) if array else [json.loads(line[6:]) for line in out.decode().split("\r\n\r\n") if line]
    for event in found:
        if "error" not in event:
            types.GenerateContentResponse.model_validate(event)
    return found, writer.losses


def parts_of(events: list[dict[str, Any]], choice: int = 0) -> list[dict[str, Any]]:
    candidates = [one for event in events for one in event.get("candidates", []) if one["index"] == choice]
    return [part for one in candidates for part in one["content"]["parts"] if part != {"text": ""}]


# Whole answers


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("pause", "MAX_TOKENS"),
        ("error", "OTHER"),
    ],
)
def test_finish_reasons(finish: Finish, word: str) -> None:
    assert write(Text("x"), finish=finish)[0]["candidates"][0]["finishReason"] == word
    events, _ = stream(TextDelta("x"), Finished(finish))
    assert events[-1]["candidates"][0]["finishReason"] == word


def test_a_signature_leaves_the_id_for_its_own_field() -> None:
    body, _ = write(ToolCall("call_1__sig_sQUJD", "f"), ToolCall("b", "g", signature="QQ=="), ToolCall("toolu_1", "h"))
    assert body["candidates"][0]["content"]["parts"] == [
        {"functionCall": {"id": "call_1", "name": "f", "args": {}}, "thoughtSignature": "QUJD"},
        {"functionCall": {"id": "b", "name": "g", "args": {}}, "thoughtSignature": "QQ=="},
        {"functionCall": {"id": "toolu_1", "name": "h", "args": {}}},
    ]


def test_arguments_that_are_no_object() -> None:
    body, losses = write(ToolCall("a", "f", '{"cut": '), ToolCall("b", "g", "free *text*", custom=True))
    calls = [part["functionCall"]["args"] for part in body["candidates"][0]["content"]["parts"]]
    assert calls == [{"arguments": '{"cut": '}, {"input": "free *text*"}]
    assert losses == ["content.tool_calls.arguments"]


def test_what_other_dialects_alone_have_is_reported() -> None:
    body, losses = write(Text("x"), Opaque("messages", {"type": "server_tool_use"}), Image(file_id="file-1"))
    assert body["candidates"][0]["content"]["parts"] == [{"text": "x"}, {"fileData": {"fileUri": "file-1"}}]
    assert losses == ["content.server_tool_use"]


def test_an_empty_answer_still_has_a_part() -> None:
    assert write()[0]["candidates"][0]["content"]["parts"] == [{"text": ""}]
    assert json.loads(gemini.write_reply(Reply("r", "m"), []))["candidates"][0]["finishReason"] == "STOP"


def test_a_refusal_is_text_where_there_was_more_or_the_model_ended_by_itself() -> None:
    body, losses = write(Refusal("I cannot."))
    assert body["candidates"][0]["content"]["parts"] == [{"text": "I cannot."}]
    assert body["candidates"][0]["finishReason"] == "STOP"
    body, _ = write(Text("Well: "), Refusal("no."), finish="content_filter")
    assert [part["text"] for part in body["candidates"][0]["content"]["parts"]] == ["Well: ", "no."]
    assert losses == []


def test_spoken_and_shown_answers() -> None:
    body, _ = write(Audio("QUJD", "wav", transcript="hello"), Document("application/pdf", "QUJD"), Image(data="QUJD"))
    assert body["candidates"][0]["content"]["parts"] == [
        {"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}},
        {"text": "hello"},
        {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}},
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
    ]


def test_sources_of_every_dialect() -> None:
    parts = [
        Text("Grüße. "),
        Text(
            "Rom ist alt.",
            citations=[
                Citation("https://a.example/", "A", start=0, end=3),
                Citation("https://b.example/", "B", start=0, end=3),
                Citation("https://a.example/", "A", start=4, end=7),
                Citation(title="Doc", quote="Rome is old", source=2),
                Citation("https://c.example/", start=90, end=5),
            ],
        ),
    ]
    grounding = write(*parts)[0]["candidates"][0]["groundingMetadata"]
    assert grounding["groundingChunks"] == [
        {"web": {"uri": "https://a.example/", "title": "A"}},
        {"web": {"uri": "https://b.example/", "title": "B"}},
        {"retrievedContext": {"title": "Doc", "text": "Rome is old", "documentName": "documents/2"}},
        {"web": {"uri": "https://c.example/"}},
    ]
    assert grounding["groundingSupports"] == [
        {"segment": {"startIndex": 9, "endIndex": 12, "text": "Rom"}, "groundingChunkIndices": [0, 1]},
        {"segment": {"startIndex": 13, "endIndex": 16, "text": "ist"}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 9, "endIndex": 21, "text": "Rom ist alt."}, "groundingChunkIndices": [2]},
    ]


GROUNDED = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Ü: "}, {"text": "yes, sure"}]},
            "finishReason": "STOP",
            "index": 0,
            "groundingMetadata": {
                "webSearchQueries": ["q"],
                "groundingChunks": [
                    {"web": {"uri": "https://a.example/", "title": "A"}},
                    {"web": {"uri": "https://b.example/", "title": "B", "domain": "b"}},
                    {"maps": {"uri": "https://c.example/", "placeId": "p"}},
                ],
                "groundingSupports": [
                    {
                        "segment": {"startIndex": 4, "endIndex": 7, "text": "yes"},
                        "groundingChunkIndices": [1, 0],
                        "confidenceScores": [0.5, 0.25],
                    },
                    {"segment": {"startIndex": 1, "endIndex": 2, "text": "sure"}, "groundingChunkIndices": [0, 7]},
                ],
            },
            "citationMetadata": {"citations": [{"startIndex": 4, "endIndex": 7, "uri": "https://d.example/"}]},
        }
    ],
    "responseId": "r",
    "modelVersion": "m",
}


def test_google_s_own_sources_are_read_and_go_back() -> None:
    reply = gemini.read_reply(json.dumps(GROUNDED).encode())
    first, second, more = reply.choices[0].parts
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert more == Opaque("gemini", {"groundingMetadata": {"webSearchQueries": ["q"]}})
    found = [(one.url, one.title, one.start, one.end) for one in second.citations or []]
    assert found == [
        ("https://b.example/", "B", 0, 3),
        ("https://a.example/", "A", 0, 3),
        ("https://a.example/", "A", 5, 9),  # its offsets were wrong, its quote was not
        ("https://c.example/", None, None, None),
        ("https://d.example/", None, 0, 3),
    ]
    again = json.loads(gemini.write_reply(reply, []))["candidates"][0]
    grounding = again["groundingMetadata"]
    chunks = grounding["groundingChunks"]
    assert [chunks[index]["web"]["title"] for index in grounding["groundingSupports"][0]["groundingChunkIndices"]] == [
        "B",
        "A",
    ]
    assert grounding["groundingSupports"][0]["confidenceScores"] == [0.5, 0.25]
    assert grounding["webSearchQueries"] == ["q"]
    assert {"maps": {"uri": "https://c.example/", "placeId": "p"}} in chunks
    assert again["citationMetadata"] == GROUNDED["candidates"][0]["citationMetadata"]  # type: ignore[index]


def test_a_streamed_source_comes_once() -> None:
    body = json.dumps(GROUNDED).encode()
    reader = gemini.StreamReader()
    events = reader.feed(
        b"data: " + body + b"\r\n\r\ndata: " + body.replace(b'"text": "yes, sure"', b'"text": ""') + b"\r\n\r\n"
    )
    cited = [event.citation for event in events if isinstance(event, TextDelta) and event.citation is not None]
    assert [(one.url, one.start, one.end) for one in cited[:2]] == [
        ("https://b.example/", 3, 6),
        ("https://a.example/", 3, 6),
    ]
    assert len(cited) == 5
    written, _ = stream(*events)
    assert written[-1]["candidates"][0]["groundingMetadata"]["groundingSupports"][0]["segment"]["text"] == "yes"


def test_an_image_keeps_its_signature() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}, "thoughtSignature": "QQ=="}
    wire = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}], "responseId": "r"}
    reply = gemini.read_reply(json.dumps(wire).encode())
    assert reply.choices[0].parts == [Image("image/png", "QUJD"), Text("", signature="QQ==")]


# Streams


def test_events_have_the_shape_of_google_s() -> None:
    events, losses = stream(
        Started("r", "m"),
        TextDelta("a"),
        TextDelta("b"),
        ThinkingDelta("c"),
        Metered(Usage(3, output=2)),
        Finished("stop"),
    )
    identity = {"modelVersion": "m", "responseId": "r"}
    assert events == [
        {"candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "index": 0}], **identity},
        {"candidates": [{"content": {"parts": [{"text": "b"}], "role": "model"}, "index": 0}], **identity},
        {
            "candidates": [{"content": {"parts": [{"text": "c", "thought": True}], "role": "model"}, "index": 0}],
            **identity,
        },
        {
            "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 2,
                "totalTokenCount": 5,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
            },
            **identity,
        },
    ]
    assert losses == []


def test_calls_go_out_whole_and_in_order() -> None:
    events, _ = stream(
        ToolStarted(0, "a", "f"),
        ToolStarted(1, "b", "g", signature="QQ=="),
        ToolDelta(1, '{"y":'),
        ToolDelta(0, '{"x": 1'),
        TextDelta("between"),
        ToolDelta(0, "}"),
        ToolDelta(1, " 2}"),
        TextDelta("after"),
        ToolStarted(2, "c", "h"),
        Finished("tool_calls"),
        Metered(Usage(1)),
    )
    assert parts_of(events) == [
        {"text": "between"},
        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}},
        {"functionCall": {"id": "b", "name": "g", "args": {"y": 2}}, "thoughtSignature": "QQ=="},
        {"text": "after"},
        {"functionCall": {"id": "c", "name": "h", "args": {}}},
    ]


def test_a_call_cut_by_the_limit_is_shown_for_what_it_is() -> None:
    events, losses = stream(ToolStarted(0, "a", "f"), ToolDelta(0, '{"x": '), Finished("length"))
    assert parts_of(events) == [{"functionCall": {"id": "a", "name": "f", "args": {"arguments": '{"x": '}}}]
    assert events[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert losses == ["content.tool_calls.arguments"]


def test_several_candidates() -> None:
    events, _ = stream(
        TextDelta("a"), TextDelta("b", 1), TextDelta("c", 1), ToolStarted(0, "x", "f", 1), Finished("stop"),
        Finished("tool_calls", 1),
    )  # fmt: skip
    assert [part["text"] for part in parts_of(events)] == ["a"]
    assert [part.get("text", "call") for part in parts_of(events, 1)] == ["b", "c", "call"]
    assert [(one["index"], one["finishReason"]) for one in events[-1]["candidates"]] == [(0, "STOP"), (1, "STOP")]


def test_media_speech_and_log_probabilities() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}], "refusal": None}
    events, _ = stream(
        MediaDelta(Image("image/png", "QUJD")),
        AudioDelta("QUJD", id="x"),
        AudioDelta(transcript="hello"),
        LogprobsDelta(logprobs),
        LogprobsDelta({"content": []}),
        Finished("stop"),
    )
    assert parts_of(events) == [
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "QUJD"}},
        {"text": "hello"},
    ]
    (found,) = [one["logprobsResult"] for event in events for one in event["candidates"] if "logprobsResult" in one]
    assert found["chosenCandidates"] == [{"token": "a", "logProbability": -1.0}]


def test_google_s_media_are_read_from_a_stream() -> None:
    sound = {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "QUJD"}}
    image = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
    wire = {"candidates": [{"content": {"parts": [sound, image]}, "finishReason": "STOP"}], "responseId": "r"}
    events = gemini.StreamReader().feed(b"data: " + json.dumps(wire).encode() + b"\r\n\r\n")
    assert events[1:3] == [AudioDelta("QUJD"), MediaDelta(Image("image/png", "QUJD"))]


def test_a_blocked_prompt_and_a_refusal_are_two_things() -> None:
    events, _ = stream(Started("r", "m"), RefusalDelta("No"), RefusalDelta("pe."), Finished("content_filter"))
    assert [event.get("promptFeedback") for event in events] == [
        {"blockReason": "SAFETY", "blockReasonMessage": "Nope."}
    ]
    assert "candidates" not in events[0]
    events, _ = stream(RefusalDelta("I can"), RefusalDelta("not."), Finished("stop"))
    assert parts_of(events) == [{"text": "I cannot."}]
    events, _ = stream(TextDelta("Well"), RefusalDelta("no"), Finished("content_filter"))
    assert parts_of(events) == [{"text": "Well"}, {"text": "no"}]


def test_foreign_events_are_reported_once_and_own_parts_go_through() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    metadata = {"urlContextMetadata": {"urlMetadata": []}}
    events, losses = stream(
        OpaqueDelta("messages", {"type": "server_tool_use"}),
        OpaqueDelta("messages", {"type": "server_tool_use"}),
        OpaqueDelta("gemini", code),
        OpaqueDelta("gemini", metadata),
        Finished("stop"),
    )
    assert parts_of(events) == [code]
    assert events[-1]["candidates"][0]["urlContextMetadata"] == {"urlMetadata": []}
    assert losses == ["content.server_tool_use"]


@pytest.mark.parametrize("array", [False, True])
def test_a_broken_stream_never_looks_finished(array: bool) -> None:
    events, _ = stream(TextDelta("half"), array=array)
    assert events[-1]["error"]["status"] == "UNAVAILABLE"
    assert not any("finishReason" in one for event in events for one in event.get("candidates", []))
    events, _ = stream(TextDelta("half"), Finished("stop"), Failed("boom", "x", 500), array=array)
    assert next(iter(events[-1])) == "error"
    assert events[-1]["error"]["message"] == "boom"
    (only,) = stream(array=array)[0]
    assert "error" in only


def test_a_client_without_sse_gets_one_array() -> None:
    given: list[Event] = [TextDelta("a"), TextDelta("b"), ThinkingDelta("c"), Finished("stop"), Metered(Usage(1))]
    assert stream(*given, array=True) == stream(*given)


TEXTS = st.text(max_size=8)
EVENTS = st.lists(
    st.builds(TextDelta, TEXTS, st.integers(0, 1), st.none() | st.just("QUJD"))
    | st.builds(ThinkingDelta, TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.integers(0, 1), st.none() | TEXTS)
    | st.builds(RefusalDelta, TEXTS, st.integers(0, 1))
    | st.builds(ToolStarted, st.integers(0, 3), st.just("call_1"), TEXTS, st.integers(0, 1))
    | st.builds(ToolDelta, st.integers(0, 3), st.sampled_from(["{", "}", '"a":1', "", "x"]), st.integers(0, 1))
    | st.builds(MediaDelta, st.just(Image("image/png", "QUJD")))
    | st.builds(
        TextDelta, TEXTS, st.just(0), st.none(), st.builds(Citation, TEXTS, TEXTS, TEXTS, st.integers(), st.integers())
    )
    | st.builds(Finished, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), st.integers(0, 1)),
    max_size=14,
)


@settings(max_examples=300)
@given(EVENTS, st.booleans())
def test_whatever_comes_is_a_valid_stream_with_all_the_text(given_events: list[Event], array: bool) -> None:
    events, _ = stream(*given_events, array=array)
    for choice in (0, 1):
        sent = "".join(event.text for event in given_events if isinstance(event, TextDelta) and event.choice == choice)
        shown = [part for part in parts_of(events, choice) if not part.get("thought")]
        text = "".join(part.get("text", "") for part in shown)
        if not any(isinstance(event, RefusalDelta) for event in given_events):
            assert text == sent


# Reader and writer together


def wire(*parts: dict[str, Any], reason: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-x", **fields}


def sse(*events: dict[str, Any], ending: str = "\r\n\r\n") -> bytes:
    return "".join(f"data: {json.dumps(event)}{ending}" for event in events).encode()


CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}
WHOLE = sse(
    wire({"text": "Grüße", "thought": True}, reason=None),
    wire({"text": "a"}, reason=None, usageMetadata={"promptTokenCount": 3}),
    wire(CALL, usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 8}),
)


@given(st.sets(st.integers(1, len(WHOLE) - 1), max_size=20))
def test_a_relay_does_not_depend_on_chunks(cuts: set[int]) -> None:
    relay = gemini.StreamRelay(True)
    ends = [*sorted(cuts), len(WHOLE)]
    out = b"".join(relay.feed(WHOLE[start:end]) for start, end in zip([0, *ends], ends, strict=False)) + relay.close()
    assert out == WHOLE
    assert (relay.complete, relay.finish, relay.usage, relay.id, relay.model) == (
        True, "tool_calls", Usage(3, output=8), "r1", "gemini-x",
    )  # fmt: skip
    assert relay.output_bytes == len("Grüße") + 1 + len(json.dumps(CALL["functionCall"]))


def test_a_relay_of_a_blocked_prompt_is_complete() -> None:
    relay = gemini.StreamRelay()
    relay.feed(sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 1}}))
    assert (relay.complete, relay.finish, relay.started) == (True, "content_filter", False)


def test_a_relay_sees_errors() -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    relay = gemini.StreamRelay()
    relay.feed(sse(wire({"text": "x"}, reason=None), error))
    assert relay.failed == Failed("overloaded", "UNAVAILABLE", 503)
    assert not relay.complete
    listed = gemini.StreamRelay(array=True)
    out = listed.feed(sse(wire({"text": "x"}, reason=None), error)) + listed.close()
    assert json.loads(out)[1] == error


@pytest.mark.parametrize("array", [False, True])
def test_a_cut_stream_is_not_complete_and_can_be_ended(array: bool) -> None:
    relay = gemini.StreamRelay(array=array)
    out = relay.feed(WHOLE[:-30])
    assert not relay.complete
    out += relay.close() + relay.fail(UpstreamTimeout("late"), "r")
    found = json.loads(out) if array else [json.loads(line[6:]) for line in out.decode().split("\r\n\r\n") if line]
    assert [next(iter(event)) for event in found] == ["candidates", "candidates", "error"]


def test_a_last_event_without_its_blank_line_counts() -> None:
    relay = gemini.StreamRelay()
    assert relay.feed(WHOLE[:-4]) + relay.close() == WHOLE
    assert relay.complete


def test_a_stream_that_is_not_json_is_the_providers_fault() -> None:
    for data in (
        b"data: {]\r\n\r\n",
        b"data: nothing\n\n",
        b'data: {"candidates": [{"index": "x"}]}\n\n',
        b"data: \xff\n\n",
    ):
        with pytest.raises(UpstreamBroken):
            gemini.StreamRelay().feed(data)


RICH = wire(
    {"text": "t", "thought": True, "thoughtSignature": "QQ=="}, {"text": "x"}, CALL,
    {"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}},
    usageMetadata={"promptTokenCount": 3, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}]},
)  # fmt: skip
RICH["candidates"][0] |= {
    name: GROUNDED["candidates"][0][name]  # type: ignore[index]
    for name in ("groundingMetadata", "citationMetadata")
}
RICH["candidates"][0]["logprobsResult"] = {
    "chosenCandidates": [{"token": "x", "logProbability": -1}],
    "topCandidates": [{"candidates": [{"token": "x", "logProbability": -1}]}],
}
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just([])
    | st.just({})
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


@settings(max_examples=400)
@given(st.sampled_from(places(RICH)[1:]), JUNK | st.lists(JUNK, max_size=2))
def test_a_mutated_answer_is_read_or_the_providers_fault(place: tuple[Any, ...], junk: Any) -> None:
    body = json.loads(json.dumps(RICH))
    holder = body
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = junk
    raw = json.dumps(body).encode()
    writer = gemini.StreamWriter("", "")
    for verb in (
        lambda: gemini.read_receipt(raw),
        lambda: gemini.write_reply(gemini.read_reply(raw), []),
        lambda: gemini.StreamRelay().feed(b"data: " + raw + b"\n\n"),
        lambda: [writer.write(event) for event in gemini.StreamReader().feed(b"data: " + raw + b"\r\n\r\n")],
    ):
        try:
            verb()
        except UpstreamBroken:
            continue
    writer.close()


def test_a_thought_of_nothing_is_not_shown() -> None:
    assert write(Thinking(""), Text("x"))[0]["candidates"][0]["content"]["parts"] == [{"text": "x"}]
