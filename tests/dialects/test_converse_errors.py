"""What Bedrock refuses, in our tree: whose fault, and whether another place can help."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import converse
from freehold.errors import (
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)


def read(status: int, kind: str, message: str, **headers: str) -> ProviderError:
    fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    if kind:
        fields[b"x-amzn-errortype"] = f"{kind}:http://internal.amazon.com/coral/".encode()
    return converse.read_error(status, fields, json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("status", "kind", "message", "error", "code", "retry"),
    [
        (400, "ValidationException", "max_tokens: x", UpstreamRefused, "upstream_refused", "no"),
        (400, "ValidationException", "Input is too long for requested model.", UpstreamRefused,
         "context_length_exceeded", "other"),
        (400, "ValidationException", "prompt is too long: 300000 tokens > 200000 maximum", UpstreamRefused,
         "context_length_exceeded", "other"),
        (400, "ValidationException", "The provided model identifier is invalid.", UpstreamRefused,
         "model_not_found", "other"),
        (400, "ValidationException", "Invocation of model ID x with on-demand throughput isn’t supported.",
         UpstreamRefused, "model_not_found", "other"),
        (400, "ValidationException", "messages.1.content.0: Invalid `signature` in `thinking` block", UpstreamRefused,
         "invalid_signature", "no"),
        (404, "ResourceNotFoundException", "gone", UpstreamRefused, "model_not_found", "other"),
        (413, "", "big", UpstreamRefused, "request_too_large", "other"),
        (400, "ServiceQuotaExceededException", "quota", UpstreamLimited, "insufficient_quota", "other"),
        (429, "ThrottlingException", "Too many requests", UpstreamLimited, "upstream_rate_limited", "same"),
        (429, "ThrottlingException", "Too many tokens per day", UpstreamLimited, "insufficient_quota", "other"),
        (429, "ModelNotReadyException", "wait", UpstreamOverloaded, "upstream_overloaded", "same"),
        (408, "ModelTimeoutException", "slow", UpstreamTimeout, "upstream_timeout", "other"),
        (424, "ModelErrorException", "boom", UpstreamBroken, "upstream_broken", "other"),
        (500, "InternalServerException", "boom", UpstreamBroken, "upstream_broken", "other"),
        (503, "ServiceUnavailableException", "later", UpstreamOverloaded, "upstream_overloaded", "same"),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.",
         UpstreamAuth, "upstream_auth", "other"),
        (403, "InvalidSignatureException", "Signature not yet current: 20261121 is still later", UpstreamAuth,
         "upstream_auth", "other"),
        (400, "ExpiredTokenException", "The security token included in the request is expired", UpstreamAuth,
         "upstream_auth", "other"),
    ],
)  # fmt: skip
def test_classes(status: int, kind: str, message: str, error: type, code: str, retry: str) -> None:
    """Traps 60, 62, 64."""
    found = read(status, kind, message)
    assert (type(found), found.code, found.retry) == (error, code, retry)
    assert message in found.message


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("You don't have access to the model with the specified model ID.", "access to the model"),
        ("User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel", "allow bedrock:InvokeModel"),
        ("The security token included in the request is expired", "renew"),
        ("Signature expired: 2026 is now earlier than 2027", "clock"),
        ("The security token included in the request is invalid.", "keys"),
    ],
)
def test_refused_credentials_say_what_to_do(message: str, hint: str) -> None:
    assert hint in (read(403, "AccessDeniedException", message).hint or "")


def test_the_class_may_stand_in_the_body() -> None:
    body = b'{"__type": "com.amazon.coral.service#UnrecognizedClientException", "Message": "no"}'
    assert isinstance(converse.read_error(400, {}, body), UpstreamAuth)


def test_the_wait_is_kept_and_secrets_are_not() -> None:
    found = read(429, "ThrottlingException", "no sk-abcdefgh12345678", retry_after="7")
    assert found.retry_after == 7
    assert "sk-abc" not in found.message


def test_a_body_that_is_no_json_is_quoted() -> None:
    assert "<html>" in converse.read_error(502, {}, b"<html>bad gateway").message
    assert "status 500" in converse.read_error(500, {}, b"{}").message


@given(st.integers(300, 599), st.binary(max_size=80), st.binary(max_size=40))
def test_any_answer_is_an_error(status: int, body: bytes, kind: bytes) -> None:
    assert isinstance(converse.read_error(status, {b"x-amzn-errortype": kind}, body), ProviderError)
