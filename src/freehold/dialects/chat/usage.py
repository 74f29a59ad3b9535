"""Token usage and finish reasons of the OpenAI dialects, to and from the canonical forms.

OpenAI's own algebra: `prompt_tokens` includes `cached_tokens`, `completion_tokens` includes `reasoning_tokens`. Hosts
that copy the dialect differ, and the usage object itself shows how:

- cache reads: `prompt_tokens_details.cached_tokens` (OpenAI), `prompt_cache_hit_tokens` (DeepSeek),
  `num_cached_tokens` (Mistral), a top-level `cached_tokens` (Moonshot, Together);
- cache writes: `prompt_tokens_details.cache_write_tokens` (OpenRouter, OpenAI), inside `prompt_tokens`;
- reasoning outside `completion_tokens`: `total_tokens` exceeds prompt + completion. xAI names the difference as
  `reasoning_tokens`, Gemini's OpenAI path does not name it at all; both bill it as output;
- `x_groq.usage` in the last chunk of a Groq stream.

Costs that hosts add are ignored: prices are ours. Numbers that are missing or no numbers count as 0. Where prompt or
completion tokens are negative or beyond all reason, the whole object is a lie: it is not believed, and the gateway
estimates instead; a negative detail counts as 0. The client of a pass-through still sees what the provider wrote.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from freehold.dialects.conversation import Finish, Usage

FINISH: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "COMPLETE": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "MAX_TOKENS": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "SAFETY": "content_filter",
    "error": "error",
    "network_error": "error",
    "insufficient_system_resource": "error",
    "abort": "error",
    "pause_turn": "pause",
}
"""Finish reasons seen on hosts of this dialect: vLLM, TGI, Mistral, DeepSeek, z.ai, OpenRouter, Together, Cohere."""

FINISH_WORD: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "pause": "length",
    "error": "error",
}
"""As this dialect says it. A paused turn is unfinished and must not look like `stop`; `error` is OpenRouter's word."""


def read_finish(value: Any) -> Finish | None:
    """None for no reason yet; an unknown word is a `stop`."""
    return FINISH.get(value, "stop") if isinstance(value, str) and value else None


def settle_finish(finish: Finish, called: bool, whole: bool) -> Finish:
    """The finish reason that fits the tool calls seen: `called` any, `whole` at least one with complete arguments.

    Hosts say `stop` after calls, and vLLM says `tool_calls` for a call that ran into the token limit. Truncation stays
    truncation: a call is announced only where one can be executed.
    """
    if finish == "stop" and called:
        return "tool_calls" if whole else "stop"
    if finish == "tool_calls" and not whole:
        return "length" if called else "stop"
    return finish


_MOST = 1_000_000_000_000
_Count = Annotated[int, Meta(ge=0, lt=_MOST)]


class _Details(Struct, gc=False):
    cached_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None
    cache_creation_tokens: _Count | None = None


class PlainUsage(Struct, gc=False):
    """A `usage` object as OpenAI itself sends it: the common case, decoded straight into place."""

    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: int
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None
    num_cached_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def read(self) -> Usage | None:
        """Returns the same as `read_usage` would, or None where that has to look closer."""
        prompt, output = self.prompt_tokens, self.completion_tokens
        heard_of, made = self.prompt_tokens_details or _NO_DETAILS, self.completion_tokens_details or _NO_DETAILS
        if (
            self.total_tokens != prompt + output
            or self.prompt_cache_hit_tokens
            or self.num_cached_tokens
            or self.cached_tokens
            or self.reasoning_tokens
            or heard_of.cache_write_tokens
            or heard_of.cache_creation_tokens
        ):
            return None
        cached, heard = heard_of.cached_tokens or 0, heard_of.audio_tokens or 0
        reasoning, said = made.reasoning_tokens or 0, made.audio_tokens or 0
        if heard > prompt - cached or reasoning > output or said > output:
            return None
        return Usage(prompt - cached, cached, 0, 0, output, reasoning, heard, said)


_NO_DETAILS = _Details()


def read_usage(raw: Any) -> Usage | None:
    """Reads a decoded `usage` object; None when it is none, or a lie."""
    if not isinstance(raw, dict) or not raw:
        return None
    get = raw.get
    prompt_details = get("prompt_tokens_details") or get("input_tokens_details")
    output_details = get("completion_tokens_details") or get("output_tokens_details")
    seen = prompt_details.get if isinstance(prompt_details, dict) else _nothing
    made = output_details.get if isinstance(output_details, dict) else _nothing
    told = get("prompt_tokens") or get("input_tokens"), get("completion_tokens") or get("output_tokens")
    if _is_lie(told[0]) or _is_lie(told[1]):
        return None
    prompt, output = _count(told[0]), _count(told[1])
    cached = _count(
        seen("cached_tokens") or get("prompt_cache_hit_tokens") or get("num_cached_tokens") or get("cached_tokens")
    )
    written = _count(seen("cache_write_tokens") or seen("cache_creation_tokens"))
    reasoning = _count(made("reasoning_tokens") or get("reasoning_tokens"))
    hidden = _count(get("total_tokens")) - prompt - output
    if hidden > 0 and prompt and (reasoning in (0, hidden)):
        output += hidden
        reasoning = hidden
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    uncached = prompt - cached - written
    heard, said = _count(seen("audio_tokens")), _count(made("audio_tokens"))
    return Usage(
        uncached,
        cached,
        written,
        0,
        output,
        min(reasoning, output),
        min(heard, uncached) if heard else 0,
        min(said, output) if said else 0,
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` object: all input classes are prompt tokens, the details say which were cached or written."""
    prompt_details = {"cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input}
    if written := usage.cache_write_5m + usage.cache_write_1h:
        prompt_details["cache_write_tokens"] = written
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _count(value: Any) -> int:
    if type(value) is int and 0 <= value < 1_000_000_000_000:
        return value
    return int(value) if type(value) is float and 0 < value < 1e12 else 0


def _is_lie(value: Any) -> bool:
    """Whether a number cannot be a count of tokens."""
    return isinstance(value, int | float) and not 0 <= value < _MOST


def _nothing(_name: str) -> None:
    return None
