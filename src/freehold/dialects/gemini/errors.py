"""Errors of Gemini's API, a provider's read into our tree, ours written for a Gemini client.

Body: `{"error": {"code", "message", "status", "details": [...]}}`, sometimes inside a list of one. `status` is a gRPC
code name (https://ai.google.dev/gemini-api/docs/troubleshooting), `details` hold `RetryInfo.retryDelay`, the violated
quotas and an `ErrorInfo.reason`. Google answers a wrong key with 400 and reason `API_KEY_INVALID`.

The details written are Google's own types (google/rpc/error_details.proto): `ErrorInfo` with our error code,
`BadRequest` with the field, `RetryInfo` and `RequestInfo`. In a stream the error stands in an event of its own whose
first key is `error`: that is how the SDK knows it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Failed
from freehold.dialects.retry_after import retry_after
from freehold.errors import (
    FreeholdError,
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    redact,
)

DOMAIN = "freehold"
"""`ErrorInfo.domain`: who says `reason`."""

_STATUS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."


class WireError(Struct):
    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Any] | None = None


class _Body(Struct):
    error: WireError | None = None


_DECODER = msgspec.json.Decoder(_Body | list[_Body])


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """The JSON body for `error`; the HTTP status is `error.status`."""
    status = _STATUS.get(error.status) or ("INVALID_ARGUMENT" if error.status < 500 else "INTERNAL")
    body = {"code": error.status, "message": error.text, "status": status, "details": _details(error, request_id)}
    return msgspec.json.encode({"error": body})


def _details(error: FreeholdError, request_id: str) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = [
        {"@type": f"{_TYPE}ErrorInfo", "reason": error.code.upper(), "domain": DOMAIN, "metadata": {}}
    ]
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if error.retry_after is not None:
        delay = f"{error.retry_after:.3f}".rstrip("0").rstrip(".")
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{delay}s"})
    if request_id:
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    return details


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
