"""Errors of the Messages dialect and its token counts."""

import json

import pytest
from anthropic.types import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import messages
from freehold.errors import (
    BadRequest,
    Forbidden,
    FreeholdError,
    InternalError,
    NoCandidate,
    NotFound,
    ProviderError,
    RateLimited,
    TooLarge,
    Unauthorized,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("x"), "invalid_request_error"),
        (Unauthorized("x"), "authentication_error"),
        (Forbidden("x"), "permission_error"),
        (NotFound("x"), "not_found_error"),
        (TooLarge("x"), "request_too_large"),
        (RateLimited("x"), "rate_limit_error"),
        (InternalError("x"), "api_error"),
        (UpstreamAuth("x"), "api_error"),
        (UpstreamTimeout("x"), "timeout_error"),
        (NoCandidate("x"), "overloaded_error"),
        (UpstreamRefused("x", status=422), "invalid_request_error"),
    ],
)
def test_our_errors_in_anthropics_shape(error: FreeholdError, kind: str) -> None:
    body = json.loads(messages.write_error(error, "req_1"))
    assert body == {"type": "error", "error": {"type": kind, "message": "x"}, "request_id": "req_1"}
    if kind != "request_too_large":
        ErrorResponse.model_validate(body)


def body(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "expected", "code", "retry"),
    [
        (401, body("authentication_error", "invalid x-api-key"), UpstreamAuth, "upstream_auth", "other"),
        (403, body("permission_error", "no"), UpstreamAuth, "upstream_auth", "other"),
        (429, body("rate_limit_error", "slow"), UpstreamLimited, "upstream_rate_limited", "same"),
        (402, body("billing_error", "pay"), UpstreamLimited, "insufficient_quota", "other"),
        (
            400,
            body("invalid_request_error", "Your credit balance is too low to access the API."),
            UpstreamLimited,
            "insufficient_quota",
            "other",
        ),
        (529, body("overloaded_error", "Overloaded"), UpstreamOverloaded, "upstream_overloaded", "same"),
        (503, b"", UpstreamOverloaded, "upstream_overloaded", "same"),
        (500, body("api_error", "Internal"), UpstreamBroken, "upstream_broken", "other"),
        (504, b"gateway", UpstreamTimeout, "upstream_timeout", "other"),
        (400, body("invalid_request_error", "bad"), UpstreamRefused, "upstream_refused", "no"),
        (
            400,
            body("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            UpstreamRefused,
            "context_length_exceeded",
            "other",
        ),
        (
            400,
            body("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"),
            UpstreamRefused,
            "invalid_signature",
            "no",
        ),
        (404, body("not_found_error", "model: x"), UpstreamRefused, "model_not_found", "other"),
        (413, b"<html>too large</html>", UpstreamRefused, "request_too_large", "other"),
    ],
)
def test_a_providers_error_keeps_its_meaning(
    status: int, raw: bytes, expected: type[ProviderError], code: str, retry: str
) -> None:
    error = messages.read_error(status, {}, raw)
    assert type(error) is expected
    assert (error.code, error.retry) == (code, retry)
    assert error.message
    assert error.status not in (401, 402, 403)


def test_retry_after_is_carried() -> None:
    assert messages.read_error(429, {b"retry-after": b"12"}, b"").retry_after == 12
    assert messages.read_error(529, {b"retry-after": b"3"}, body("overloaded_error", "x")).retry_after == 3


def test_no_secret_of_a_provider_gets_through() -> None:
    leaky = body("authentication_error", "invalid key sk-ant-api03-ABCDEFGHIJKLMNOP")
    assert "ABCDEFGHIJ" not in messages.read_error(401, {}, leaky).text
    assert "ABCDEFGHIJ" not in messages.read_error(500, {}, b"sk-ant-api03-ABCDEFGHIJKLMNOP").text


@given(st.integers(300, 599), st.binary(max_size=80) | st.text().map(str.encode))
def test_any_error_body_becomes_a_provider_error(status: int, raw: bytes) -> None:
    assert isinstance(messages.read_error(status, {}, raw), ProviderError)


def test_a_token_count_is_written_and_read() -> None:
    raw = messages.write_count(42)
    assert json.loads(raw) == {"input_tokens": 42}
    assert messages.read_count(raw) == 42
    with pytest.raises(UpstreamBroken):
        messages.read_count(b"{}")


def count(**fields: object) -> int:
    return messages.estimate_tokens(
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 400}], **fields}).encode()
    )


def test_the_estimate_grows_with_all_that_is_prompt_and_is_the_same_every_time() -> None:
    plain = count()
    assert 100 <= plain <= 110
    assert plain == count()
    assert count(system="y" * 400) == plain + 100
    assert count(tools=[{"name": "f", "input_schema": {}}]) > plain + 300
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 90_000}}
    assert 1500 < count(messages=[{"role": "user", "content": [image]}]) < 1700
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 100_000}}
    assert count(messages=[{"role": "user", "content": [pdf]}]) > 3000
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {"query": "z" * 400}}
    assert count(messages=[{"role": "assistant", "content": [call]}]) > 100


def test_the_estimate_refuses_what_is_no_request() -> None:
    with pytest.raises(BadRequest):
        messages.estimate_tokens(b"{}")
