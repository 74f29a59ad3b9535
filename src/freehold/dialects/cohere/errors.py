"""Errors of Cohere's API: ours written for its clients, a provider's read into our tree.

Body: `{"message": "...", "id": "..."}`, with the statuses of https://docs.cohere.com/reference/errors; the SDK raises
by the status and shows the body as it is. The reader is that of the chat dialect, which knows a flat message too: the
status decides, then the words ("too many tokens").

Inside a stream that began with 200 the error is a `message-end` with the finish reason ERROR: the SDK has no event of
its own for it.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.dialects import chat
from freehold.dialects.conversation import Failed
from freehold.dialects.sse import sse
from freehold.errors import FreeholdError, ProviderError, UpstreamAuth, UpstreamRefused, redact

_INVALID_TOKEN = 498
"""The SDK's InvalidTokenError; for other hosts this status means that they are busy."""

_TOO_LONG = re.compile(r"too many tokens|size limit exceeded", re.IGNORECASE)


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """The JSON body for `error`; the HTTP status is `error.status`."""
    return msgspec.json.encode({"id": request_id, "message": error.text})


def write_stream_error(error: FreeholdError, request_id: str) -> bytes:
    """The event that ends a broken stream; no `[DONE]` may follow it."""
    event = {
        "type": "message-end",
        "id": request_id,
        "delta": {"finish_reason": "ERROR", "error": error.text},
    }
    return sse(msgspec.json.encode(event), b"message-end")


def failed(message: Any) -> Failed:
    """An error reported inside a 200."""
    text = message if isinstance(message, str) and message else "The provider reported an error without a message."
    return Failed(redact(text), "upstream_error", 502)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """The error of a provider's answer with `status` of 300 or more. `headers` have lower-case names."""
    error = chat.read_error(status, headers, body)
    if status == _INVALID_TOKEN:
        return UpstreamAuth(
            f"The provider refused our credentials: {error.message}", hint="check the provider's API key"
        )
    if isinstance(error, UpstreamRefused) and _TOO_LONG.search(error.message):
        return UpstreamRefused(error.message, status=status, code="context_length_exceeded", retry="other")
    return error
