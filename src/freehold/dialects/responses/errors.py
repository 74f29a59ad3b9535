"""Errors of the Responses dialect: chat's shape in a body, an event of its own in a stream.

In a stream OpenAI sends the error's fields nested under `error`, which its SDKs turn into an exception; its reference
documents them flat, which other clients read (https://github.com/openai/openai-dotnet/issues/881). Both are written,
and both are read.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.errors import error_body, read_error, read_failure, write_error
from freehold.dialects.conversation import Failed
from freehold.dialects.responses.usage import ERROR_STATUS
from freehold.dialects.sse import sse
from freehold.errors import FreeholdError

__all__ = ["read_error", "read_stream_error", "response_error", "write_error", "write_stream_error"]


def write_stream_error(error: FreeholdError, request_id: str, sequence_number: int = 0) -> bytes:
    """The event that ends a broken stream; nothing may follow it."""
    body = error_body(error, request_id)
    event = {
        "type": "error",
        "code": body["code"],
        "message": body["message"],
        "param": body["param"],
        "sequence_number": sequence_number,
        "error": body,
    }
    return sse(msgspec.json.encode(event), b"error")


def read_stream_error(event: Any) -> Failed:
    """An `error` event, decoded."""
    nested = event.get("error") if isinstance(event, dict) else None
    failed = read_failure(nested or event)
    if failed.status is None and failed.code is not None:
        failed.status = ERROR_STATUS.get(failed.code)
    return failed


def response_error(message: str, code: str | None, status: int | None) -> dict[str, Any]:
    """The `error` of a failed response: its code is one of OpenAI's, the provider's own stands in the message."""
    known = "rate_limit_exceeded" if status == 429 else "invalid_prompt" if status == 400 else "server_error"
    return {"code": code if code in ERROR_STATUS else known, "message": message}
