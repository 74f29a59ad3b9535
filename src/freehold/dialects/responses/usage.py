"""Usage, status and the reasons an answer ended, between the Responses dialect and the canonical forms.

Usage has chat's algebra under other names (`input_tokens` includes `cached_tokens`, `output_tokens` includes
`reasoning_tokens`), so chat's reader serves both. A response says how it ended by `status` and `incomplete_details`:

    completed                          stop, or tool_calls where it holds a call the client has to make
    incomplete, max_output_tokens      length
    incomplete, content_filter         content_filter
    incomplete, any other reason       pause: unfinished, and must not look like a stop
    queued, in_progress                pause (a background response that was fetched too early)
    failed, cancelled                  an error
"""

from typing import Any

from freehold.dialects.chat.usage import read_usage
from freehold.dialects.conversation import Finish, Usage

__all__ = ["ERROR_STATUS", "incomplete_reason", "read_finish", "read_usage", "write_usage"]

_INCOMPLETE: dict[str, Finish] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}

ERROR_STATUS = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "server_is_overloaded": 503,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
}
"""HTTP status of an error code of a failed response, which arrives under a 200."""


def read_finish(status: Any, reason: Any, called: bool) -> Finish | None:
    """`reason` is `incomplete_details.reason`; `called`: whether the answer holds calls. None for failed ones."""
    if status in ("failed", "cancelled"):
        return None
    if status == "incomplete":
        return _INCOMPLETE.get(reason, "pause") if isinstance(reason, str) else "pause"
    if status in ("queued", "in_progress"):
        return "pause"
    return "tool_calls" if called else "stop"


def incomplete_reason(finish: Finish) -> str | None:
    """The `incomplete_details.reason` for a finish; None where the answer is complete.

    A paused turn of Anthropic's has no word here; it is unfinished, so it is shown as cut off, as in chat.
    """
    if finish == "content_filter":
        return "content_filter"
    return "max_output_tokens" if finish in ("length", "pause") else None


def write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
