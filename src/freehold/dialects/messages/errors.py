"""Errors of the Messages dialect: ours written for an Anthropic client, a provider's read into our tree.

Body: `{"type": "error", "error": {"type", "message"}, "request_id"}`; types and statuses as in
https://platform.claude.com/docs/en/api/errors and the SDK's `ErrorObject`. A provider's error keeps its meaning, not
its status: a 401 of theirs is about our key, so it becomes `UpstreamAuth` and never the client's 401.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Failed
from freehold.dialects.retry_after import retry_after
from freehold.dialects.sse import sse
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

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP status of an error type, needed where the type comes in a stream that began with 200."""


class WireError(Struct):
    type: str | None = None
    message: str | None = None


class _ErrorBody(Struct):
    error: WireError | str | None = None
    message: str | None = None


_DECODER = msgspec.json.Decoder(_ErrorBody)


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """The JSON body for `error`; the HTTP status is `error.status`."""
    kind = _TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")
    return msgspec.json.encode(
        {"type": "error", "error": {"type": kind, "message": error.text}, "request_id": request_id}
    )


def write_stream_error(error: FreeholdError, request_id: str) -> bytes:
    """The event that ends a broken stream; no `message_stop` may follow it."""
    return sse(write_error(error, request_id), b"error")


def failed(wire: WireError | None) -> Failed:
    """An `error` event inside a 200 stream."""
    kind = (wire and wire.type) or "api_error"
    message = (wire and wire.message) or "The provider reported an error without a message."
    return Failed(redact(message), kind, STATUS.get(kind, 500))


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """The error of a provider's answer with `status` of 300 or more. `headers` have lower-case names."""
    kind, message = _read(body)
    wait = retry_after(headers, body)
    text = message or f"The provider answered with status {status} and no message."
    if status in (401, 403):
        return UpstreamAuth(f"The provider refused our credentials: {text}", hint="check the provider's API key")
    if kind == "billing_error" or status == 402 or "credit balance is too low" in text:
        return UpstreamLimited(text, code="insufficient_quota", retry="other", retry_after=wait)
    if status == 429:
        return UpstreamLimited(text, retry_after=wait)
    if status in (503, 529) or kind == "overloaded_error":
        return UpstreamOverloaded(text, retry_after=wait)
    if status in (408, 504):
        return UpstreamTimeout(text, retry_after=wait)
    if 400 <= status < 500:
        return _refused(status, text)
    return UpstreamBroken(text, retry_after=wait)


def _refused(status: int, text: str) -> UpstreamRefused:
    """A 400 may mean many things; where another deployment could do better the code and `retry` say so."""
    lower = text.lower()
    if "prompt is too long" in lower or "exceed context limit" in lower or "context window" in lower:
        return UpstreamRefused(text, status=status, code="context_length_exceeded", retry="other")
    if "signature" in lower and "thinking" in lower:
        return UpstreamRefused(text, status=status, code="invalid_signature")
    if "content filtering policy" in lower:
        return UpstreamRefused(text, status=status, code="content_filter")
    if status == 404:
        return UpstreamRefused(text, status=status, code="model_not_found", retry="other")
    if status == 413:
        return UpstreamRefused(text, status=status, code="request_too_large", retry="other")
    return UpstreamRefused(text, status=status)


def _read(body: bytes) -> tuple[str, str]:
    try:
        parsed = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", redact(body[:300].decode("utf-8", "replace").strip())
    if isinstance(parsed.error, WireError):
        return parsed.error.type or "", redact(parsed.error.message or "")
    return "", redact(parsed.error or parsed.message or "")
