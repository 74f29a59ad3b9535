"""Token usage and stop reasons of Converse.

`inputTokens` is what was neither read from nor written to the cache (recorded: 3 + 2,074 read + 297 written + 61 out =
2,435 in all). A model for which the total shows that the input counts them too is believed. `cacheDetails` splits the
writes by time to live. Thinking is inside `outputTokens` and not told apart.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
"""

from msgspec import Struct

from freehold.dialects.conversation import Finish, Usage

MOST = 1 << 53
"""A count above this is a lie; it is read as none."""

FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
"""The service model's `StopReason`, and Claude's own two, which other clouds pass on."""


class CacheDetail(Struct, rename="camel"):
    ttl: str = ""
    input_tokens: int | float | None = None


class WireUsage(Struct, rename="camel"):
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    total_tokens: int | float | None = None
    cache_read_input_tokens: int | float | None = None
    cache_write_input_tokens: int | float | None = None
    cache_details: list[CacheDetail] | None = None


def read_usage(wire: WireUsage) -> Usage:
    uncached, output = _count(wire.input_tokens), _count(wire.output_tokens)
    read, written = _count(wire.cache_read_input_tokens), _count(wire.cache_write_input_tokens)
    long = sum(_count(detail.input_tokens) for detail in wire.cache_details or () if detail.ttl == "1h")
    written = max(written, long)
    if read + written and _count(wire.total_tokens) == uncached + output and uncached >= read + written:
        uncached -= read + written
    return Usage(uncached=uncached, cache_read=read, cache_write_5m=written - long, cache_write_1h=long, output=output)


def read_finish(reason: str | None, called: bool) -> Finish:
    """`called`: whether the answer holds calls the client has to make. An unknown reason is taken for a stop."""
    finish = FINISH.get(reason or "", "stop")
    if finish == "tool_calls" and not called:
        return "stop"
    if finish == "stop" and called:
        return "tool_calls"
    return finish


def _count(value: int | float | None) -> int:
    return int(value) if value is not None and 0 <= value < MOST else 0
