"""What a request writer must know about the model behind a deployment, as plain data.

Dialects know languages, not providers or models. `call/profiles` turns (provider, model) into these traits; every
field's default is the behaviour of a plain, well-behaved endpoint, so an unknown model gets the safe form.
"""

from typing import Literal

from msgspec import Struct


class Traits(Struct, frozen=True):
    """Quirks of one model at one provider."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """OpenAI's reasoning models refuse `max_tokens`."""
    default_max_tokens: int = 4096
    """Sent where the dialect requires a limit (Anthropic) and the client named none."""
    system_role: Literal["system", "developer"] = "system"
    sampling: bool = True
    """False: temperature, top_p, penalties and logprobs are refused and must be dropped, with a loss report."""
    temperature_max: float = 2.0
    stream_usage: bool = True
    """Whether `stream_options.include_usage` is understood; some hosts answer 400 to it."""
    json_schema: Literal["native", "json_object", "tool", "prompt"] = "native"
    """How structured output is asked for: natively, by JSON mode plus the schema in words, a forced tool, words."""
    thinking: Literal["none", "budget", "adaptive", "effort", "level"] = "none"
    """Anthropic: budget or adaptive. OpenAI: effort. Gemini: budget (2.5) or level (3)."""
    replay_reasoning: Literal["drop", "reasoning_content", "reasoning"] = "drop"
    """Field in which earlier thoughts go back on an OpenAI-dialect host, if it wants them."""
    prefill: bool = True
    """Whether a trailing assistant message may be continued."""
    stop_max: int = 4
    tool_id: Literal["any", "alnum9"] = "any"
    """Mistral accepts exactly nine alphanumerics as a tool call id."""


PLAIN = Traits()
