"""What stands beside the messages of a Converse request: inference settings and each maker's additional fields.

Converse itself has maxTokens, temperature, topP and stopSequences. The rest goes where its maker wants it:

    anthropic   thinking, output_config.effort, top_k, tool_choice.disable_parallel_tool_use, anthropic_beta, as in
                Anthropic's own API, whose rules between them hold here too (`messages/settings.py`)
    amazon      reasoningConfig {type, maxReasoningEffort} and inferenceConfig {topK}; at effort high temperature, topP
                and maxTokens must be absent (https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html)
    openai      reasoning_effort (low, medium, high)
    others      reasoning_config (low, medium, high; recorded: qwen3)

Each function adds to the request `body` and appends what it had to change or drop to `losses`.
"""

from collections.abc import Sequence
from typing import Any

from freehold.dialects.conversation import Conversation, Losses
from freehold.dialects.converse.family import TOP_K
from freehold.dialects.messages.settings import write_sampling as claude_sampling
from freehold.dialects.messages.settings import write_thinking as claude_thinking
from freehold.dialects.thinking import effort_of
from freehold.dialects.traits import Traits
from freehold.dialects.turns import Side
from freehold.dialects.words import word

EFFORT = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
TIERS = frozenset({"default", "flex", "priority", "reserved"})
PASSED = frozenset(
    {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
    }
)
"""Fields of Converse that a client may add to its own request; they are passed on as they are."""

MOST_METADATA = 16
_USUAL_TIERS = (None, "auto", "standard", "standard_only")


def write_settings(
    conversation: Conversation,
    body: dict[str, Any],
    sides: list[Side],
    losses: Losses,
    traits: Traits,
    maker: str,
    betas: Sequence[str],
) -> None:
    """Everything but system, messages, tools and output format, which are there already."""
    config: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if maker == "anthropic":
        _claude(conversation, body, config, extra, sides, losses, traits)
        if betas:
            extra["anthropic_beta"] = list(betas)
    else:
        _sampling(conversation, config, losses, traits)
        _top_k(conversation, extra, losses, traits, maker)
        _thinking(conversation, config, extra, losses, traits, maker)
        if conversation.parallel_tools is False and conversation.tools:
            losses.append(word(conversation.dialect, "parallel_tools"))
    _stop(conversation, config, body, losses, traits, maker)
    if config:
        body["inferenceConfig"] = config
    if extra:
        body["additionalModelRequestFields"] = extra
    _tier(conversation, body, losses)
    _metadata(conversation, body, losses)
    _passed(conversation, body)


def _claude(
    conversation: Conversation,
    body: dict[str, Any],
    config: dict[str, Any],
    extra: dict[str, Any],
    sides: list[Side],
    losses: Losses,
    traits: Traits,
) -> None:
    """Anthropic's own settings, written as for its own API and put where Converse has them."""
    choice = next(iter(body.get("toolConfig", {}).get("toolChoice", {})), None)
    limit = traits.default_max_tokens if conversation.max_tokens is None else conversation.max_tokens
    own: dict[str, Any] = {"max_tokens": limit, "tool_choice": {"type": choice}}
    claude_thinking(conversation, own, sides, losses, traits)
    claude_sampling(conversation, own, losses, traits)
    if conversation.max_tokens is not None or "budget_tokens" in own.get("thinking", {}):
        config["maxTokens"] = own["max_tokens"]
    for name, field in (("temperature", "temperature"), ("topP", "top_p")):
        if field in own:
            config[name] = own[field]
    extra |= {name: own[name] for name in ("thinking", "output_config", "top_k") if name in own}
    if conversation.parallel_tools is False and "toolConfig" in body and choice in (None, "auto", "any", "tool"):
        wanted: dict[str, Any] = {"type": choice or "auto", "disable_parallel_tool_use": True}
        if choice == "tool":
            wanted["name"] = body["toolConfig"]["toolChoice"]["tool"]["name"]
        extra["tool_choice"] = wanted


def _sampling(conversation: Conversation, config: dict[str, Any], losses: Losses, traits: Traits) -> None:
    if conversation.max_tokens is not None:
        config["maxTokens"] = conversation.max_tokens
    temperature = conversation.temperature
    if temperature is not None:
        limit = min(traits.temperature_max, 1.0)  # Converse: 0 to 1
        if not traits.sampling or temperature > limit:
            losses.append("temperature")
        if traits.sampling:
            config["temperature"] = min(temperature, limit)
    if conversation.top_p is not None:
        if traits.sampling:
            config["topP"] = conversation.top_p
        elif conversation.top_p != 1:
            losses.append("top_p")


def _top_k(conversation: Conversation, extra: dict[str, Any], losses: Losses, traits: Traits, maker: str) -> None:
    if conversation.top_k is None:
        return
    if not traits.sampling or (maker != "amazon" and maker not in TOP_K):
        losses.append("top_k")
    elif maker == "amazon":
        extra["inferenceConfig"] = {"topK": conversation.top_k}
    else:
        extra[TOP_K[maker]] = conversation.top_k


def _thinking(
    conversation: Conversation,
    config: dict[str, Any],
    extra: dict[str, Any],
    losses: Losses,
    traits: Traits,
    maker: str,
) -> None:
    reasoning = conversation.reasoning
    if reasoning is None:
        return
    name = word(conversation.dialect, "reasoning")
    off = not reasoning.enabled or reasoning.effort == "none"
    if traits.thinking == "none":
        if not off:
            losses.append(name)
        return
    if off:
        if maker == "openai" or not traits.thinking_off:
            losses.append(name)
        elif maker == "amazon":
            extra["reasoningConfig"] = {"type": "disabled"}
        return
    effort = EFFORT[effort_of(reasoning) or "medium"]
    if reasoning.budget is not None:
        losses.append(f"{name}.budget_tokens")
    if maker == "amazon":
        extra["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
        if effort == "high":
            _unset_for_nova(config, extra, losses)
    else:
        extra["reasoning_effort" if maker == "openai" else "reasoning_config"] = effort


def _unset_for_nova(config: dict[str, Any], extra: dict[str, Any], losses: Losses) -> None:
    for name, field in (("maxTokens", "max_tokens"), ("temperature", "temperature"), ("topP", "top_p")):
        if config.pop(name, None) is not None:
            losses.append(field)
    if extra.pop("inferenceConfig", None) is not None:
        losses.append("top_k")


def _stop(
    conversation: Conversation,
    config: dict[str, Any],
    body: dict[str, Any],
    losses: Losses,
    traits: Traits,
    maker: str,
) -> None:
    """Claude tells which sequence it met, if it is asked to."""
    stop = [text for text in conversation.stop if text.strip()]
    if len(stop) < len(conversation.stop) or len(stop) > traits.stop_max:
        losses.append(word(conversation.dialect, "stop"))
    if stop and traits.stop_max:
        config["stopSequences"] = stop[: traits.stop_max]
        if maker == "anthropic":
            body["additionalModelResponseFieldPaths"] = ["/stop_sequence"]


def _tier(conversation: Conversation, body: dict[str, Any], losses: Losses) -> None:
    tier = conversation.service_tier
    if tier in TIERS:
        body["serviceTier"] = {"type": tier}
    elif tier not in _USUAL_TIERS:
        losses.append("service_tier")


def _metadata(conversation: Conversation, body: dict[str, Any], losses: Losses) -> None:
    """Pairs of short texts go into the invocation log."""
    fitting: dict[str, str] = {}
    for name, value in (conversation.metadata or {}).items():
        short = isinstance(value, str) and len(name) <= 256 and len(value) <= 256
        if short and name and name.isascii() and value.isascii() and len(fitting) < MOST_METADATA:
            fitting[name] = value
        else:
            losses.append(f"metadata.{name}")
    if fitting:
        body["requestMetadata"] = fitting


def _passed(conversation: Conversation, body: dict[str, Any]) -> None:
    for name, value in conversation.unknown.items():
        if name in PASSED:
            ours = body.get(name)
            body[name] = {**ours, **value} if isinstance(ours, dict) and isinstance(value, dict) else value


def report(conversation: Conversation, losses: Losses) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    if conversation.n > 1:
        losses.append("n")
    for name in ("seed", "logit_bias", "top_logprobs", "prompt_cache_key", "safety_identifier", "previous"):
        if getattr(conversation, name) is not None:
            losses.append(word(conversation.dialect, name))
    for name in ("presence_penalty", "frequency_penalty", "logprobs", "store", "voice"):
        if getattr(conversation, name):
            losses.append(word(conversation.dialect, name))
    if conversation.user is not None:
        losses.append(word(conversation.dialect, "user"))
    if conversation.verbosity not in (None, "medium"):
        losses.append("verbosity")
    if set(conversation.modalities or ()) - {"text"}:
        losses.append("modalities")
    losses += [f"messages.{index}.name" for index, turn in enumerate(conversation.turns) if turn.name is not None]
    losses += [name for name in conversation.unknown if name not in PASSED]
