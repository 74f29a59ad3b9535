"""Ollama answers, whole: read from providers, written for clients; and errors."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import ollama
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Document,
    Event,
    Finished,
    Image,
    Opaque,
    Refusal,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
)
from freehold.dialects.ollama import generate
from freehold.dialects.ollama.usage import read_time, write_time
from freehold.errors import (
    BadRequest,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
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
ANSWER: dict[str, Any] = {
    **HEAD,
    "message": {
        "role": "assistant",
        "content": "It rains.",
        "thinking": "Look it up.",
        "tool_calls": [
            {"function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}},
            {"id": "call_given", "function": {"name": "time", "arguments": {}}},
        ],
    },
    "done": True,
    "done_reason": "stop",
    "logprobs": [{**TOKEN, "top_logprobs": [TOKEN, {"token": "Ho", "logprob": -2}]}],
    **COUNTS,
}


def written(events: Iterable[Event], writer: Any = None) -> list[Any]:
    writer = writer or ollama.StreamWriter("id", "m", 1_700_000_000)
    data = b"".join(writer.write(event) for event in events) + writer.close()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


# Whole answers


def test_a_whole_answer_is_read() -> None:
    reply = ollama.read_reply(json.dumps(ANSWER).encode())
    assert (reply.model, reply.created) == ("gemma4", 1792278847)
    choice = reply.choices[0]
    thinking, text, weather, time = choice.parts
    assert (thinking, text) == (Thinking("Look it up."), Text("It rains."))
    assert isinstance(weather, ToolCall)
    assert weather.id.startswith("call_")
    assert json.loads(weather.arguments) == {"city": "Paris"}
    assert time == ToolCall("call_given", "time", "{}")
    assert choice.finish == "tool_calls"
    assert reply.usage == Usage(uncached=3, cache_read=8, output=18)
    assert choice.logprobs["content"][0]["top_logprobs"][1] == {"token": "Ho", "logprob": -2, "bytes": [72, 111]}


def test_ids_made_for_calls_are_stable_and_tell_answers_apart() -> None:
    def identity(moment: str) -> str:
        part = ollama.read_reply(json.dumps({**ANSWER, "created_at": moment}).encode()).choices[0].parts[2]
        assert isinstance(part, ToolCall)
        return part.id

    assert identity(MOMENT) == identity(MOMENT)
    assert identity(MOMENT) != identity("2026-10-17T23:14:08Z")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [("null", "{}"), ('""', "{}"), ('"{\\"a\\": 1}"', '{"a": 1}'), ('{"a": 1.50}', '{"a": 1.50}'), ("{}", "{}")],
)
def test_arguments_keep_their_text(arguments: str, text: str) -> None:
    body = b'{"model":"m","done":true,"message":{"tool_calls":[{"function":{"name":"f","arguments":%b}}]}}'
    part = ollama.read_reply(body % arguments.encode()).choices[0].parts[0]
    assert isinstance(part, ToolCall)
    assert part.arguments == text


@pytest.mark.parametrize(
    ("reason", "calls", "finish"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("length", False, "length"),
        ("length", True, "length"),
        ("load", False, "stop"),
        (None, True, "tool_calls"),
        (7, False, "stop"),
    ],
)
def test_finish(reason: Any, calls: bool, finish: str) -> None:
    message = {"role": "assistant", "content": "x"}
    if calls:
        message["tool_calls"] = [{"function": {"name": "f", "arguments": {}}}]  # type: ignore[assignment]
    body = json.dumps({"model": "m", "message": message, "done": True, "done_reason": reason}).encode()
    assert ollama.read_reply(body).choices[0].finish == finish
    assert ollama.read_receipt(body).finish == finish


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"message":3}',
        b'{"model":"m","message":{"content":"half"},"done":false}',
        b'{"error":"the model failed"}',
        b'{"model":"m","message":{"content":"x"},"done":true}{"x"',
        b"\xff",
    ],
)
def test_what_is_no_finished_answer_is_broken(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        ollama.read_reply(body)


@pytest.mark.parametrize("count", [-5, 1.5e300, "7", None, [], True, 10**30])
def test_lies_about_counts_are_zero(count: Any) -> None:
    body = json.dumps({**ANSWER, "prompt_eval_count": count, "eval_count": 2, "prompt_eval_cached_count": 99}).encode()
    assert ollama.read_reply(body).usage == Usage(output=2)


def test_without_counts_there_is_no_usage() -> None:
    body = b'{"model":"m","message":{"content":"x"},"done":true}'
    assert ollama.read_reply(body).usage is None
    assert ollama.read_receipt(body).usage is None


def test_a_receipt() -> None:
    receipt = ollama.read_receipt(json.dumps(ANSWER).encode())
    assert (receipt.model, receipt.finish) == ("gemma4", "tool_calls")
    assert receipt.usage == Usage(uncached=3, cache_read=8, output=18)
    failure = ollama.read_receipt(b'{"error":"no sk-abcdefghijkl"}').failed
    assert failure is not None
    assert failure.message == "no [redacted]"
    with pytest.raises(UpstreamBroken):
        ollama.read_receipt(b"<html>")


def test_a_reply_is_written() -> None:
    reply = Reply(
        "id",
        "m",
        [
            Choice(
                [Thinking("hm"), Text("a"), Text("b"), ToolCall("c1", "f", '{"x": 1}'), ToolCall("c2", "g", "")],
                "tool_calls",
                logprobs={"content": [{"token": "a", "logprob": -1, "bytes": None, "top_logprobs": []}]},
            )
        ],
        Usage(uncached=5, cache_read=2, cache_write_5m=1, output=3),
        created=1_700_000_000,
    )
    losses: list[str] = []
    body = json.loads(ollama.write_reply(reply, losses, 5))
    assert losses == []
    assert body == {
        "model": "m",
        "created_at": "2023-11-14T22:13:20.000000000Z",
        "message": {
            "role": "assistant",
            "content": "ab",
            "thinking": "hm",
            "tool_calls": [
                {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
                {"id": "c2", "function": {"index": 1, "name": "g", "arguments": {}}},
            ],
        },
        "done": True,
        "done_reason": "stop",
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": 8,
        "prompt_eval_cached_count": 2,
        "prompt_eval_duration": 0,
        "eval_count": 3,
        "eval_duration": 0,
        "logprobs": [{"token": "a", "logprob": -1, "bytes": [97]}],
    }


def test_what_an_answer_cannot_show_is_reported() -> None:
    parts = [
        Text("a", citations=[Citation(url="u")], signature="s"),
        Thinking("t", "sig"),
        Thinking(redacted="r"),
        Image("image/png", PNG),
        Image(url="https://example.com/x.png"),
        Audio("data", transcript=" said"),
        Document(text="d"),
        Refusal(" no"),
        Opaque("messages", {"type": "server_tool_use"}),
        ToolCall("c", "f", "not json"),
        ToolCall("d", "g", "free text", custom=True),
    ]
    losses: list[str] = []
    body = json.loads(ollama.write_reply(Reply("", "m", [Choice(parts), Choice()]), losses))
    assert set(losses) == {
        "choices", "content.citations", "thinking.signature", "thinking.redacted",
        "content.image", "content.audio", "content.document", "content.server_tool_use",
        "content.tool_calls.arguments",
    }  # fmt: skip
    assert body["message"]["content"] == "a said no"
    assert body["message"]["images"] == [PNG]
    assert [call["function"]["arguments"] for call in body["message"]["tool_calls"]] == [
        {"arguments": "not json"},
        {"input": "free text"},
    ]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("pause", "length"),
     ("content_filter", "content_filter")],
)  # fmt: skip
def test_reasons(finish: Any, reason: str) -> None:
    reply = Reply("", "m", [Choice([Text("x")], finish)])
    assert json.loads(ollama.write_reply(reply, []))["done_reason"] == reason
    assert json.loads(generate.write_reply(reply, []))["done_reason"] == reason
    assert written([TextDelta("x"), Finished(finish)])[-1]["done_reason"] == reason


def test_an_errored_answer_is_no_answer() -> None:
    reply = Reply("", "m", [Choice([Text("x")], "error")])
    for write in (ollama.write_reply, generate.write_reply):
        with pytest.raises(UpstreamBroken):
            write(reply, [])
    assert set(written([TextDelta("x"), Finished("error")])[-1]) == {"error"}


def test_a_generate_reply() -> None:
    parts = [Thinking("hm"), Text("a"), ToolCall("c", "f"), Image("image/png", PNG), Image("image/png", PNG)]
    losses: list[str] = []
    body = json.loads(generate.write_reply(Reply("", "m", [Choice(parts)], Usage(1, output=2)), losses, 60))
    assert body["created_at"] == "1970-01-01T00:01:00.000000000Z"
    assert (body["response"], body["thinking"], body["image"]) == ("a", "hm", PNG)
    assert (body["prompt_eval_count"], body["eval_count"]) == (1, 2)
    assert "message" not in body
    assert set(losses) == {"content.tool_calls", "content.image"}


# Times


@pytest.mark.parametrize("text", ["2023-08-04T08:52:19.385406455-07:00", "2023-08-04T15:52:19Z"])
def test_times_are_read(text: str) -> None:
    assert read_time(text) == 1691164339


@pytest.mark.parametrize("text", ["", "yesterday", "0001-01-01T00:00:00Z", "9999-99-99T00:00:00Z", "\0"])
def test_no_time_is_zero(text: str) -> None:
    assert read_time(text) == 0


@given(st.integers(-(2**70), 2**70))
def test_any_second_is_written(seconds: int) -> None:
    assert read_time(write_time(seconds)) == min(max(seconds, 0), 253402300799)


# Errors


@pytest.mark.parametrize(
    ("status", "message", "kind", "code", "retry"),
    [
        (401, "unauthorized", UpstreamAuth, "upstream_auth", "other"),
        (403, "forbidden", UpstreamAuth, "upstream_auth", "other"),
        (402, "pay", UpstreamLimited, "insufficient_quota", "other"),
        (429, "you've reached your hourly usage limit, please upgrade", UpstreamLimited, "insufficient_quota", "other"),
        (429, "too many requests", UpstreamLimited, "upstream_rate_limited", "same"),
        (404, "model 'x' not found", UpstreamRefused, "model_not_found", "other"),
        (400, '"x" does not support tools', UpstreamRefused, "unsupported_parameter", "other"),
        (400, 'think value "low" is not supported for this model', UpstreamRefused, "unsupported_parameter", "other"),
        (400, "the input length exceeds the context length", UpstreamRefused, "context_length_exceeded", "other"),
        (413, "large", UpstreamRefused, "request_too_large", "other"),
        (400, "invalid character", UpstreamRefused, "upstream_refused", "no"),
        (500, "model requires more system memory (9 GiB)", UpstreamOverloaded, "upstream_overloaded", "other"),
        (500, "llama runner process has terminated", UpstreamBroken, "upstream_broken", "other"),
        (503, "server busy", UpstreamOverloaded, "upstream_overloaded", "same"),
        (504, "slow", UpstreamTimeout, "upstream_timeout", "other"),
    ],
)
def test_errors_are_read(status: int, message: str, kind: type, code: str, retry: str) -> None:
    error = ollama.read_error(status, {}, json.dumps({"error": message}).encode())
    assert type(error) is kind
    assert (error.code, error.retry) == (code, retry)
    assert message in error.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"message":"deep","code":"c"}}', "deep"),
        (b'"plain"', "plain"),
        (b"<html>bad gateway", "bad gateway"),
        (b"", "no message"),
        (b"\xff\xfe", "\ufffd"),
        (b'{"error":["a"]}', "a"),
        (b"[" * 50_000, "["),
        (b'{"error":null}', "no message"),
    ],
)
def test_any_body_is_some_error(body: bytes, words: str) -> None:
    assert words in ollama.read_error(500, {}, body).message


def test_retry_after() -> None:
    assert ollama.read_error(503, {b"retry-after": b"7"}, b"{}").retry_after == 7


def test_errors_are_written() -> None:
    error = BadRequest("Wrong.", hint="right", param="x")
    assert json.loads(ollama.write_error(error, "req")) == {"error": "Wrong. (hint: right)"}
    assert ollama.StreamWriter("", "m", 0).fail(error, "req") == ollama.write_error(error, "req") + b"\n"


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
@given(st.sampled_from(paths(ANSWER)), _JSON)
def test_any_mutated_answer_is_read_or_broken(path: tuple[Any, ...], value: Any) -> None:
    body = json.dumps(mutated(ANSWER, path, value)).encode()
    for take in (ollama.read_reply, ollama.read_receipt):
        try:
            result = take(body)
        except UpstreamBroken:
            continue
        if isinstance(result, Reply):
            json.loads(ollama.write_reply(result, []))
            json.loads(generate.write_reply(result, []))
