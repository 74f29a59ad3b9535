"""Errors written for OpenAI clients, and providers' errors told apart."""

import json

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat
from freehold.errors import (
    BadRequest,
    FreeholdError,
    NoCandidate,
    NotFound,
    ProviderError,
    RateLimited,
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
        (BadRequest("x", param="messages.0"), "invalid_request_error"),
        (Unauthorized("x"), "authentication_error"),
        (NotFound("x"), "not_found_error"),
        (RateLimited("x"), "rate_limit_error"),
        (NoCandidate("x"), "server_error"),
        (UpstreamBroken("x"), "server_error"),
    ],
)
def test_errors_for_clients(error: FreeholdError, kind: str):
    body = json.loads(chat.write_error(error, "req-1"))["error"]
    assert body == {"message": "x", "type": kind, "param": error.param, "code": error.code, "request_id": "req-1"}


def test_the_sdk_finds_message_code_and_param():

    body = json.loads(chat.write_error(BadRequest("bad", param="n", hint="send a number"), "r"))
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:1")
    try:
        response_type = type(client)._make_status_error
        error = response_type(
            client,
            "bad",
            body=body,
            response=httpx2.Response(400, request=httpx2.Request("POST", "http://127.0.0.1:1")),
        )
    finally:
        client.close()
    assert isinstance(error, openai.BadRequestError)
    assert (error.code, error.param, error.type) == ("invalid_request", "n", "invalid_request_error")
    assert error.body["message"] == "bad (hint: send a number)"


def wire(message="m", **fields) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retry"),
    [
        (400, wire(code="invalid_value", param="n"), UpstreamRefused, "invalid_value", "no"),
        (400, wire(code="context_length_exceeded"), UpstreamRefused, "context_length_exceeded", "other"),
        (
            400,
            wire("This model's maximum context length is 8192 tokens.", type="invalid_request_error"),
            UpstreamRefused,
            "context_length_exceeded",
            "other",
        ),
        (
            400,
            wire("Prompt contains 9000 tokens, too many tokens.", code=400),
            UpstreamRefused,
            "context_length_exceeded",
            "other",
        ),
        (413, wire("too large"), UpstreamRefused, "upstream_refused", "no"),
        (422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', UpstreamRefused, "upstream_refused", "no"),
        (400, wire(code="content_filter"), UpstreamRefused, "content_filter", "no"),
        (
            400,
            wire(code="unsupported_parameter", param="temperature"),
            UpstreamRefused,
            "unsupported_parameter",
            "other",
        ),
        (400, wire(code="tool_use_failed", failed_generation="x"), UpstreamRefused, "tool_use_failed", "same"),
        (404, wire(code="model_not_found"), UpstreamRefused, "model_not_found", "other"),
        (401, wire("Incorrect API key provided: sk-abcdefghijklmnop."), UpstreamAuth, "upstream_auth", "other"),
        (403, wire(), UpstreamAuth, "upstream_auth", "other"),
        (429, wire(code="rate_limit_exceeded"), UpstreamLimited, "upstream_rate_limited", "same"),
        (429, wire(code="insufficient_quota"), UpstreamLimited, "insufficient_quota", "other"),
        (429, wire("You exceeded your current quota"), UpstreamLimited, "insufficient_quota", "other"),
        (402, wire("Insufficient Balance"), UpstreamLimited, "insufficient_quota", "other"),
        (498, wire(), UpstreamOverloaded, "upstream_overloaded", "same"),
        (503, wire(), UpstreamOverloaded, "upstream_overloaded", "same"),
        (529, wire(), UpstreamOverloaded, "upstream_overloaded", "same"),
        (500, wire(), UpstreamBroken, "upstream_broken", "same"),
        (502, b"<html><body><h1>Bad Gateway</h1></body></html>", UpstreamBroken, "upstream_broken", "same"),
        (504, b"", UpstreamTimeout, "upstream_timeout", "same"),
        (200, wire(code=429), UpstreamLimited, "upstream_rate_limited", "same"),
        (200, wire(code="oops"), UpstreamBroken, "upstream_broken", "same"),
    ],
)
def test_providers_errors_are_told_apart(status, body, kind, code, retry):
    error = chat.read_error(status, {}, body)
    assert type(error) is kind
    assert (error.code, error.retry) == (code, retry)
    assert error.message


def test_the_providers_status_and_param_are_kept_for_what_the_client_can_mend():
    error = chat.read_error(422, {}, wire("bad value", param="messages[3]", code="invalid_value"))
    assert (error.status, error.param, error.message) == (422, "messages[3]", "bad value")


def test_our_credentials_are_never_the_clients_401():
    error = chat.read_error(401, {}, wire("Incorrect API key provided: sk-abcdefghijklmnop."))
    assert error.status == 502
    assert "abcdefghijklmnop" not in error.text
    assert error.hint


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"model not loaded"}', "model not loaded"),
        (b'{"object":"error","message":"flat","type":"x","code":"3"}', "flat"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'[{"error":{"code":400,"message":"listed","status":"INVALID_ARGUMENT"}}]', "listed"),
        (b'"just text"', "just text"),
        (b"<html><title>Oops</title>\n<p>down</p></html>", "Oops down"),
        (b'{"error":{"message":"Provider returned error","metadata":{"raw":"why"}}}', "Provider returned error: why"),
        (b"", "The provider answered 400 without a reason."),
        (b"[]", "The provider answered 400 without a reason."),
    ],
)
def test_error_bodies_of_other_hosts(body, message):
    assert chat.read_error(400, {}, body).message == message


def test_a_rate_limit_with_a_time_is_no_spent_quota():
    error = chat.read_error(429, {b"retry-after": b"12"}, wire("You exceeded your current quota, please wait"))
    assert (error.retry, error.retry_after) == ("same", 12)


@settings(deadline=None)
@given(
    st.integers(100, 599),
    st.binary(max_size=80)
    | st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(lambda d: json.dumps({"error": d}).encode()),
)
def test_any_answer_is_some_provider_error(status, body):
    assert isinstance(chat.read_error(status, {}, body), ProviderError)
