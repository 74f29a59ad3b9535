"""Errors of Mistral's API: ours written for its clients, its own read into our tree.

Body: `{"object": "error", "message", "type", "param", "code"}` with a number as `code` ("1500", "3230"), which says
nothing to others; a request of the wrong form is answered 422 with FastAPI's `{"detail": [...]}`, and the SDK reads a
422 in that form only.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects import chat
from freehold.dialects.wire import MALFORMED
from freehold.errors import FreeholdError, ProviderError, UpstreamRefused

_TYPES = {
    400: "invalid_request_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "rate_limited",
    503: "unavailable",
}
_TOO_LONG = ("maximum context length", "too large for model", "too many tokens")


class _Body(Struct):
    type: Any = None
    message: Any = None


_DECODER = msgspec.json.Decoder(_Body)


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """The JSON body for `error`; the HTTP status is `error.status`."""
    if error.status == 422:
        place = ["body", *error.param.split(".")] if error.param else ["body"]
        return msgspec.json.encode({"detail": [{"loc": place, "msg": error.text, "type": error.code}]})
    kind = _TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "internal_server_error")
    body: dict[str, Any] = {
        "object": "error",
        "message": error.text,
        "type": kind,
        "param": error.param,
        "code": error.code,
    }
    if request_id:
        body["request_id"] = request_id
    return msgspec.json.encode(body)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """The error of a provider's answer with `status` of 300 or more. `headers` have lower-case names."""
    error = chat.read_error(status, headers, body)
    if not isinstance(error, UpstreamRefused):
        return error
    try:
        kind = _DECODER.decode(body).type
    except MALFORMED:
        kind = None
    message = error.message
    if any(words in message.lower() for words in _TOO_LONG):
        return UpstreamRefused(message, status=status, code="context_length_exceeded", retry="other")
    if kind == "invalid_model" or message.startswith("Invalid model"):
        return UpstreamRefused(message, status=status, code="model_not_found", retry="other")
    if isinstance(kind, str) and kind and (error.code or "").isdecimal():
        return UpstreamRefused(message, status=status, code=kind[:100], param=error.param)
    return error
