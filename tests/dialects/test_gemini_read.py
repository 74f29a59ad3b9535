"""Gemini answers, streams and errors read: finish reasons, usage, ids, faults."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import gemini
from freehold.dialects.conversation import (
    Choice,
    Event,
    Failed,
    Finish,
    Finished,
    Image,
    LogprobsDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Refusal,
    RefusalDelta,
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
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)


def wire(*parts: dict[str, Any], reason: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-x", **fields}


def read(*parts: dict[str, Any], **fields: Any) -> Choice:
    return gemini.read_reply(json.dumps(wire(*parts, **fields)).encode()).choices[0]


def stream(*events: dict[str, Any], ending: str = "\r\n\r\n") -> bytes:
    return "".join(f"data: {json.dumps(event)}{ending}" for event in events).encode()


def read_stream(*events: dict[str, Any]) -> tuple[list[Event], bool]:
    reader = gemini.StreamReader()
    found = reader.feed(stream(*events)) + reader.close()
    return found, reader.complete


CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}


def test_parts() -> None:
    choice = read(
        {"text": "hm", "thought": True},
        {"text": "hm", "thought": True, "thoughtSignature": "QQ=="},
        {"text": "answer", "thoughtSignature": "QUI="},
        {"text": ""},
        {"thoughtSignature": "QUJD"},
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
    )
    assert choice.parts == [
        Thinking("hm"),
        Thinking("hm", "gemini:QQ=="),
        Text("answer", signature="QUI="),
        Text("", signature="QUJD"),
        Image("image/png", "QUJD"),
        Opaque("gemini", {"executableCode": {"language": "PYTHON", "code": "1"}}),
    ]


def test_calls_get_ids_that_are_the_same_every_time() -> None:
    first = read(CALL, CALL)
    assert first == read(CALL, CALL)
    ids = [part.id for part in first.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 2
    other = gemini.read_reply(json.dumps({**wire(CALL), "responseId": "r2"}).encode()).choices[0].parts[0]
    assert isinstance(other, ToolCall)
    assert other.id not in ids
    assert first.finish == "tool_calls"
    own = read({"functionCall": {"name": "f", "id": "abc"}}).parts[0]
    assert own == ToolCall("abc", "f", "{}")


def test_arguments_printed_for_people_are_compact() -> None:
    body = json.dumps(wire({"functionCall": {"name": "f", "args": {"a": [1.50, "x\ny"]}}}), indent=2).encode()
    call = gemini.read_reply(body).choices[0].parts[0]
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"a":[1.5,"x\\ny"]}'


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *[(name, "content_filter") for name in ("SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY")],
        ("RECITATION", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("UNEXPECTED_TOOL_CALL", "error"),
        ("OTHER", "error"),
        ("BRAND_NEW", "error"),
    ],
)  # fmt: skip
def test_finish_reasons(reason: str, finish: Finish) -> None:
    assert read({"text": "x"}, reason=reason).finish == finish
    events, complete = read_stream(wire({"text": "x"}, reason=None), wire(reason=reason))
    assert events[-1] == Finished(finish)
    assert complete


def test_a_truncated_call_stays_truncated() -> None:
    assert read(CALL, reason="MAX_TOKENS").finish == "length"


def test_a_blocked_prompt_is_a_filter_with_its_reason() -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}, "responseId": "r"}
    reply = gemini.read_reply(json.dumps(body).encode())
    assert reply.choices == [Choice([Refusal("The provider blocked the prompt. Reason: SAFETY.")], "content_filter")]
    assert reply.usage == Usage(4)
    assert gemini.read_receipt(json.dumps(body).encode()).finish == "content_filter"
    events, complete = read_stream(body)
    assert complete
    assert [type(event) for event in events] == [Started, RefusalDelta, Metered, Finished]


def test_usage_classes() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 157,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 25}, {"modality": "TEXT", "tokenCount": 75}],
        "candidatesTokensDetails": [{"modality": "AUDIO"}],
    }
    body = json.dumps(wire({"text": "x"}, usageMetadata=usage)).encode()
    expected = Usage(uncached=47, cache_read=60, output=50, reasoning=30, audio_input=25)
    assert gemini.read_reply(body).usage == gemini.read_receipt(body).usage == expected
    assert expected.input + expected.output == 157


def test_log_probabilities_in_the_openai_form() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.1}, {"token": "e"}]}],
    }
    body = wire({"text": "é"})
    body["candidates"][0]["logprobsResult"] = result
    content = gemini.read_reply(json.dumps(body).encode()).choices[0].logprobs["content"]
    assert content[0]["bytes"] == [195, 169]
    assert [entry["logprob"] for entry in content[0]["top_logprobs"]] == [-0.1, 0.0]
    assert any(isinstance(event, LogprobsDelta) for event in read_stream(body)[0])


def test_grounding_rides_along() -> None:
    body = wire({"text": "x"})
    body["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["q"]}
    value = {"groundingMetadata": {"webSearchQueries": ["q"]}}
    assert gemini.read_reply(json.dumps(body).encode()).choices[0].parts[-1] == Opaque("gemini", value)
    assert OpaqueDelta("gemini", value) in read_stream(body)[0]


def test_a_stream_of_everything() -> None:
    events, complete = read_stream(
        wire({"text": "hm", "thought": True}, reason=None, usageMetadata={"promptTokenCount": 3}),
        wire({"text": "a"}, reason=None, usageMetadata={"promptTokenCount": 3}),
        wire(CALL, reason=None),
        wire({**CALL, "thoughtSignature": "QUJD"}, {"text": "", "thoughtSignature": "QQ=="}),
        {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 8}, "responseId": "r1"},
    )
    assert complete
    ids = [event.id for event in events if isinstance(event, ToolStarted)]
    assert events == [
        Started("r1", "gemini-x"),
        ThinkingDelta("hm"),
        Metered(Usage(3)),
        TextDelta("a"),
        ToolStarted(0, ids[0], "f"),
        ToolDelta(0, '{"a": 1}'),
        ToolStarted(1, ids[1], "f", signature="QUJD"),
        ToolDelta(1, '{"a": 1}'),
        TextDelta("", signature="QQ=="),
        Finished("tool_calls"),
        Metered(Usage(3, output=8)),
    ]
    whole = read(CALL, {**CALL, "thoughtSignature": "QUJD"})
    assert [part.id for part in whole.parts if isinstance(part, ToolCall)] == ids


def test_several_candidates() -> None:
    both = wire({"text": "a"})
    both["candidates"].append({"content": {"parts": [{"text": "b"}]}, "index": 1})
    events, complete = read_stream(both)
    assert TextDelta("b", 1) in events
    assert not complete
    end = {"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}]}
    events, complete = read_stream(both, end)
    assert complete
    assert [event for event in events if isinstance(event, Finished)] == [Finished("stop"), Finished("length", 1)]


def test_an_error_event_ends_the_stream() -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    events, complete = read_stream(wire({"text": "x"}, reason=None), error, wire({"text": "y"}))
    assert events[-1] == Failed("overloaded", "UNAVAILABLE", 503)
    assert not complete


WHOLE = stream(wire({"text": "Grüße 你好"}, reason=None), wire(CALL), ending="\r\n\r\n")


@given(st.sets(st.integers(1, len(WHOLE) - 1), max_size=20))
def test_events_do_not_depend_on_chunks(cuts: set[int]) -> None:
    reader, whole = gemini.StreamReader(), gemini.StreamReader()
    places = [0, *sorted(cuts), len(WHOLE)]
    events: list[Event] = []
    for index, start in enumerate(places[:-1]):
        events += reader.feed(WHOLE[start : places[index + 1]])
    assert events == whole.feed(WHOLE)


def test_a_cut_stream_is_not_complete() -> None:
    reader = gemini.StreamReader()
    reader.feed(WHOLE[:-30])
    assert reader.close() == []
    assert not reader.complete


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff", b'{"candidates": 1}', b"<html>",
                                  b'{"error":{"code":500,"message":"x"}}'])  # fmt: skip
def test_garbage_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        gemini.read_reply(body)


@given(st.binary(max_size=80) | st.text().map(str.encode))
def test_any_body_is_read_or_the_providers_fault(body: bytes) -> None:
    for verb in (gemini.read_reply, gemini.read_receipt, gemini.read_count, gemini.StreamReader().feed):
        try:
            verb(body)
        except UpstreamBroken:
            continue


def failure(status: int, message: str, name: str = "INVALID_ARGUMENT", *details: dict[str, Any]) -> bytes:
    return json.dumps({"error": {"code": status, "message": message, "status": name, "details": details}}).encode()


INVALID_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
DAILY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}


@pytest.mark.parametrize(
    ("status", "raw", "expected", "code", "retry"),
    [
        (
            400,
            failure(400, "API key not valid", "INVALID_ARGUMENT", INVALID_KEY),
            UpstreamAuth,
            "upstream_auth",
            "other",
        ),
        (403, failure(403, "denied", "PERMISSION_DENIED"), UpstreamAuth, "upstream_auth", "other"),
        (401, b"", UpstreamAuth, "upstream_auth", "other"),
        (429, failure(429, "slow", "RESOURCE_EXHAUSTED", RETRY), UpstreamLimited, "upstream_rate_limited", "same"),
        (429, failure(429, "day", "RESOURCE_EXHAUSTED", DAILY), UpstreamLimited, "insufficient_quota", "other"),
        (503, failure(503, "busy", "UNAVAILABLE"), UpstreamOverloaded, "upstream_overloaded", "same"),
        (500, failure(500, "oops", "INTERNAL"), UpstreamBroken, "upstream_broken", "other"),
        (504, failure(504, "late", "DEADLINE_EXCEEDED"), UpstreamTimeout, "upstream_timeout", "other"),
        (400, failure(400, "bad"), UpstreamRefused, "upstream_refused", "no"),
        (
            400,
            failure(400, "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."),
            UpstreamRefused,
            "context_length_exceeded",
            "other",
        ),
        (
            400,
            failure(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
            UpstreamRefused,
            "failed_precondition",
            "other",
        ),
        (
            400,
            failure(400, "Function call is missing a thought_signature in functionCall parts."),
            UpstreamRefused,
            "invalid_signature",
            "no",
        ),
        (404, failure(404, "models/x is not found", "NOT_FOUND"), UpstreamRefused, "model_not_found", "other"),
        (413, b"<html>", UpstreamRefused, "request_too_large", "other"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_providers_error_keeps_its_meaning(
    status: int, raw: bytes, expected: type[ProviderError], code: str, retry: str, listed: bool
) -> None:
    error = gemini.read_error(status, {}, b"[" + raw + b"]" if listed and raw.startswith(b"{") else raw)
    assert type(error) is expected
    assert (error.code, error.retry) == (code, retry)
    assert error.message
    assert error.retry_after == (34 if RETRY["retryDelay"].encode() in raw else None)


def test_no_secret_of_a_provider_gets_through() -> None:
    leaky = failure(400, "API key not valid: AIzaSyA1234567890abcdefghijklmnopqrstuv", "X", INVALID_KEY)
    assert "AIza" not in gemini.read_error(400, {}, leaky).text


@given(st.integers(300, 599), st.binary(max_size=80) | st.text().map(str.encode))
def test_any_error_body_becomes_a_provider_error(status: int, raw: bytes) -> None:
    assert isinstance(gemini.read_error(status, {}, raw), ProviderError)
