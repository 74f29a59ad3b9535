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
    both_limits: bool = False
    """Whether `max_tokens` and `max_completion_tokens` are both understood: then a client's own word stays."""
    default_max_tokens: int = 4096
    """Sent where the dialect requires a limit (Anthropic) and the client named none."""
    system_role: Literal["system", "developer"] = "system"
    both_roles: bool = False
    """Whether both roles are understood: then a client's own word stays."""
    sampling: bool = True
    """False: temperature, top_p, penalties and logprobs are refused and must be dropped, with a loss report."""
    penalties: bool = True
    """False: presence_penalty, frequency_penalty and logit_bias are refused, though other sampling is not."""
    top_k: bool = False
    """Whether a host of the chat dialect takes `top_k` beside OpenAI's own fields. The others have it anyway."""
    temperature_max: float = 2.0
    stream_usage: bool = True
    """Whether `stream_options.include_usage` is understood; some hosts answer 400 to it."""
    json_schema: Literal["native", "json_object", "tool", "prompt"] = "native"
    """How structured output is asked for: natively, by JSON mode plus the schema in words, a forced tool, words."""
    thinking: Literal["none", "budget", "adaptive", "effort", "level", "object"] = "none"
    """Anthropic: budget or adaptive. OpenAI: effort. Gemini: budget (2.5) or level (3). OpenRouter: a `reasoning`
    object with an effort or a budget."""
    thinking_off: bool = True
    """Whether Anthropic's `thinking: disabled` is accepted; some models always think."""
    effort_none: bool = False
    """Whether `reasoning_effort: none` is understood."""
    tools_and_reasoning: bool = True
    """False: function tools are refused while the model reasons, so a request with tools is sent without reasoning.
    `sampling` tells whether it reasons unasked."""
    force_tool: bool = True
    """False: a tool choice that forces a call is refused; the model is left to choose, with a loss report."""
    replay_reasoning: Literal["drop", "reasoning_content", "reasoning", "reasoning_details"] = "drop"
    """Field in which earlier thoughts go back on an OpenAI-dialect host, if it wants them. `reasoning_details`
    (OpenRouter) carries signatures too."""
    demands_reasoning: bool = False
    """Whether a replayed tool call without its thoughts is refused (DeepSeek)."""
    strict_messages: bool = False
    """Whether unknown fields inside messages are refused: those that this gateway adds to answers for other clients'
    sake (reasoning_content, reasoning_details, ...) must not come back to such a host."""
    extras: tuple[str, ...] = ()
    """Optional fields of OpenAI's chat dialect that this host understands, for requests that come from another one:
    verbosity, store, prompt_cache_key, safety_identifier, service_tier."""
    prefill: bool = True
    """Whether a trailing assistant message may be continued."""
    stop_max: int = 4
    """0: no stop sequence at all is accepted."""
    tool_id: Literal["any", "alnum9"] = "any"
    """Mistral accepts exactly nine alphanumerics as a tool call id."""


PLAIN = Traits()
