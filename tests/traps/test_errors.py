"""Traps 60 to 62, as classified from what providers answer; 63 to 68 are in test_live.py."""

import json
from typing import Any

import pytest

from freehold.dialects import chat, cohere, converse, gemini, messages, mistral, ollama, responses
from freehold.dialects.retry_after import duration, retry_after
from freehold.errors import (
    ProviderError,
    UpstreamAuth,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)

READERS: dict[str, Any] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
    "converse": converse,
    "cohere": cohere,
    "mistral": mistral,
    "ollama": ollama,
}
NOW = 1_700_000_000.0


def read(dialect: str, status: int, body: Any, **headers: str) -> ProviderError:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    error: ProviderError = READERS[dialect].read_error(status, raw, json.dumps(body).encode())
    return error


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def google(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


DAY = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerDayPerModel"}]}
LIMITS: list[tuple[str, int, Any, type[ProviderError], str]] = [
    ("chat", 429, openai("Rate limit reached for gpt-4o", code="rate_limit_exceeded"), UpstreamLimited, "same"),
    ("chat", 429, openai("You exceeded your current quota", code="insufficient_quota"), UpstreamLimited, "other"),
    ("chat", 402, openai("Insufficient Balance"), UpstreamLimited, "other"),
    ("chat", 498, openai("capacity_exceeded"), UpstreamOverloaded, "same"),
    ("chat", 503, openai("The engine is currently overloaded"), UpstreamOverloaded, "same"),
    ("messages", 429, anthropic("rate_limit_error", "slow"), UpstreamLimited, "same"),
    ("messages", 400, anthropic("invalid_request_error", "Your credit balance is too low"), UpstreamLimited, "other"),
    ("messages", 529, anthropic("overloaded_error", "Overloaded"), UpstreamOverloaded, "same"),
    ("gemini", 429, google(429, "RESOURCE_EXHAUSTED", "slow"), UpstreamLimited, "same"),
    ("gemini", 429, google(429, "RESOURCE_EXHAUSTED", "none left", DAY), UpstreamLimited, "other"),
    ("gemini", 503, google(503, "UNAVAILABLE", "The model is overloaded."), UpstreamOverloaded, "same"),
]


@pytest.mark.parametrize(("dialect", "status", "body", "kind", "retry"), LIMITS)
def test_60_too_fast_too_poor_or_too_busy(dialect: str, status: int, body: Any, kind: Any, retry: str) -> None:
    """A rate passes, a spent quota does not, an overload is somebody else's: each wants another kind of repeat."""
    error = read(dialect, status, body)
    assert (type(error), error.retry) == (kind, retry)


@pytest.mark.parametrize("dialect", READERS)
def test_60_each_dialect_knows_the_statuses(dialect: str) -> None:
    """By the status alone, whatever the body."""
    for status, kind in (
        (429, UpstreamLimited),
        (503, UpstreamOverloaded),
        (401, UpstreamAuth),
        (504, UpstreamTimeout),
    ):
        assert type(read(dialect, status, {"message": "x"})) is kind


WAITS: list[tuple[dict[str, str], bytes, float]] = [
    ({"retry-after": "7"}, b"", 7),
    ({"retry-after-ms": "1500"}, b"", 1.5),
    ({"retry-after": "Tue, 14 Nov 2023 22:14:20 GMT"}, b"", 60),
    ({}, b'{"error":{"details":[{"retryDelay":"34.5s"}]}}', 34.5),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-reset": "1"}, b"", 360),
    (
        {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:50Z"},
        b"",
        30,
    ),
    ({}, b"Please try again in 7.66s. Visit ...", 7.66),
]


@pytest.mark.parametrize(("headers", "body", "seconds"), WAITS)
def test_61_a_wait_in_every_form(headers: dict[str, str], body: bytes, seconds: float) -> None:
    """Seconds, milliseconds, a date, a field of the body, the reset of whichever limit is used up, a sentence."""
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    assert retry_after(raw, body, NOW) == pytest.approx(seconds)
    assert duration("1h2m3.5s") == 3723.5


MEANINGS: list[tuple[str, Any, str, str]] = [
    ("chat", openai("This model's maximum context length is 8192 tokens"), "context_length_exceeded", "other"),
    ("responses", openai("too long", code="context_length_exceeded"), "context_length_exceeded", "other"),
    (
        "messages",
        anthropic("invalid_request_error", "prompt is too long: 210000 tokens"),
        "context_length_exceeded",
        "other",
    ),
    (
        "gemini",
        google(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)"),
        "context_length_exceeded",
        "other",
    ),
    ("chat", openai("filtered", code="content_policy_violation"), "content_policy_violation", "no"),
    (
        "messages",
        anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        "content_filter",
        "no",
    ),
    (
        "chat",
        openai("Unsupported parameter: 'x'", code="unsupported_parameter", param="x"),
        "unsupported_parameter",
        "other",
    ),
    (
        "messages",
        anthropic("invalid_request_error", "messages.1: Invalid `signature` in `thinking` block"),
        "invalid_signature",
        "no",
    ),
    ("gemini", google(400, "INVALID_ARGUMENT", "Thought signature is not valid"), "invalid_signature", "no"),
]


@pytest.mark.parametrize(("dialect", "body", "code", "retry"), MEANINGS)
def test_62_what_a_400_means(dialect: str, body: Any, code: str, retry: str) -> None:
    """A context too long may fit elsewhere, a policy will not be another one's, a bad signature is nobody else's."""
    error = read(dialect, 400, body)
    assert isinstance(error, UpstreamRefused)
    assert (error.code, error.retry, error.status) == (code, retry, 400)
