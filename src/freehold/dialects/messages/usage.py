"""Token usage and stop reasons of Anthropic's Messages dialect, to and from the canonical forms.

Anthropic's algebra (https://platform.claude.com/docs/en/build-with-claude/prompt-caching): `input_tokens` is what was
neither read from nor written to the cache; the whole input is input + cache_read + cache_creation. `cache_creation`
splits the writes by time to live. `output_tokens` includes thinking, which `output_tokens_details` names apart.

A number that is negative or beyond all reason makes the whole object a lie: it is not believed, and the gateway
estimates instead. The client of a pass-through still sees what the provider wrote.

In a stream the numbers are cumulative: `message_delta` repeats what it knows and may correct `message_start`, so a
later number replaces an earlier one and an absent one leaves it. `message_delta` never has the split by time to live;
it is kept from `message_start` where the total still agrees.
"""

from typing import Any

from msgspec import Struct

from freehold.dialects.conversation import Finish, Usage

FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}
"""The SDK's `StopReason`, and the beta's `compaction`: the turn is to be continued by sending it back."""

STOP_REASON: dict[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
"""`error` has no stop reason here: it is told as an error."""


MOST = 1_000_000_000_000
"""No request has that many tokens."""


class WireCacheCreation(Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class WireOutputDetails(Struct):
    thinking_tokens: int | None = None


class WireUsage(Struct):
    """`usage` of a message, of `message_start` and of `message_delta`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: WireCacheCreation | None = None
    output_tokens_details: WireOutputDetails | None = None
    service_tier: str | None = None


def read_usage(wire: WireUsage, before: Usage | None = None) -> Usage | None:
    """`before` is what the same stream said earlier; numbers absent now are taken from it. None for a lie."""
    usage = Usage() if before is None else before
    numbers = (wire.input_tokens, wire.output_tokens, wire.cache_read_input_tokens, wire.cache_creation_input_tokens)
    for number in numbers:
        if number is not None and not 0 <= number < MOST:
            return None
    known = usage.cache_write_5m + usage.cache_write_1h
    written = _latest(wire.cache_creation_input_tokens, known)
    long = usage.cache_write_1h if written == known else 0
    if (split := wire.cache_creation) is not None:
        long = _latest(split.ephemeral_1h_input_tokens, 0)
        written = max(written, long + _latest(split.ephemeral_5m_input_tokens, 0))
    output = _latest(wire.output_tokens, usage.output)
    reasoning = usage.reasoning
    if wire.output_tokens_details is not None:
        reasoning = _latest(wire.output_tokens_details.thinking_tokens, reasoning)
    return Usage(
        uncached=_latest(wire.input_tokens, usage.uncached),
        cache_read=_latest(wire.cache_read_input_tokens, usage.cache_read),
        cache_write_5m=written - long,
        cache_write_1h=long,
        output=output,
        reasoning=min(reasoning, output),
    )


def _latest(value: int | None, before: int) -> int:
    return before if value is None or not 0 <= value < MOST else value


def write_usage(usage: Usage | None, service_tier: str | None = None) -> dict[str, Any]:
    """The `usage` of a message or of `message_start`; all zero where nothing is known."""
    usage = usage or Usage()
    wire: dict[str, Any] = {
        "input_tokens": usage.uncached,
        "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }
    wire["service_tier"] = service_tier if service_tier in ("standard", "priority", "batch") else None
    return wire


def write_delta_usage(usage: Usage | None) -> dict[str, Any]:
    """The `usage` of `message_delta`, in full: a client that reads only the last one is right too."""
    usage = usage or Usage()
    return {
        "input_tokens": usage.uncached,
        "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


def stop_reason(finish: Finish, stop_sequence: str | None, refused: bool) -> str:
    """`error` never comes here; the callers answer it with an error."""
    if refused:
        return "refusal"
    if finish == "stop" and stop_sequence is not None:
        return "stop_sequence"
    return STOP_REASON.get(finish, "end_turn")
