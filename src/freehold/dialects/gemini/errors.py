"""Errors of Gemini's API, read into our tree.

Body: `{"error": {"code", "message", "status", "details": [...]}}`, sometimes inside a list of one. `status` is a gRPC
code name (https://ai.google.dev/gemini-api/docs/troubleshooting), `details` hold `RetryInfo.retryDelay`, the violated
quotas and an `ErrorInfo.reason`. Google answers a wrong key with 400 and reason `API_KEY_INVALID`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Failed
from freehold.dialects.retry_after import retry_after
from freehold.errors import (
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    redact,
)


class WireError(Struct):
    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Any] | None = None


class _Body(Struct):
    error: WireError | None = None


_DECODER = msgspec.json.Decoder(_Body | list[_Body])


def failed(wire: WireError) -> Failed:
    """An error object where an answer was due."""
    message = wire.message or "The provider reported an error without a message."
    return Failed(redact(message), wire.status, wire.code)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """The error of a provider's answer with `status` of 300 or more. `headers` have lower-case names."""
    wire, message = _read(body)
    wait = retry_after(headers, body)
    text = message or f"The provider answered with status {status} and no message."
    if status in (401, 403) or "API_KEY" in _reason(wire):
        return UpstreamAuth(f"The provider refused our credentials: {text}", hint="check the provider's API key")
    if status == 429:
        if b"PerDay" in body:
            return UpstreamLimited(text, code="insufficient_quota", retry="other", retry_after=wait)
        return UpstreamLimited(text, retry_after=wait)
    if status == 503:
        return UpstreamOverloaded(text, retry_after=wait)
    if status in (408, 499, 504):
        return UpstreamTimeout(text, retry_after=wait)
    if 400 <= status < 500:
        return _refused(status, text, wire)
    return UpstreamBroken(text, retry_after=wait)


def _refused(status: int, text: str, wire: WireError) -> UpstreamRefused:
    """A 400 may mean many things; where another deployment could do better the code and `retry` say so."""
    lower = text.lower()
    if "exceeds the maximum number of tokens" in lower or ("token count" in lower and "exceeds" in lower):
        return UpstreamRefused(text, status=status, code="context_length_exceeded", retry="other")
    if "thought signature" in lower or "thought_signature" in lower:
        return UpstreamRefused(text, status=status, code="invalid_signature")
    if wire.status == "FAILED_PRECONDITION":  # a country or billing state, not the request
        return UpstreamRefused(text, status=status, code="failed_precondition", retry="other")
    if status == 404:
        return UpstreamRefused(text, status=status, code="model_not_found", retry="other")
    if status == 413:
        return UpstreamRefused(text, status=status, code="request_too_large", retry="other")
    return UpstreamRefused(text, status=status)


def _reason(wire: WireError) -> str:
    for detail in wire.details or ():
        if isinstance(detail, dict) and isinstance(reason := detail.get("reason"), str):
            return reason
    return ""


def _read(body: bytes) -> tuple[WireError, str]:
    try:
        parsed = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return WireError(), redact(body[:300].decode("utf-8", "replace").strip())
    first = (parsed[0] if parsed else _Body()) if isinstance(parsed, list) else parsed
    wire = first.error or WireError()
    return wire, redact(wire.message or "")
