"""Writes the settings of a Gemini request: its generationConfig, and the report of what has no field here.

Source: https://ai.google.dev/api/generate-content#generationconfig.

- A JSON schema goes in `responseJsonSchema`. Models before Gemini 3 refuse it together with functions; there it is put
  in words, and reported.
- Thinking: `thinkingBudget` (2.5) or `thinkingLevel` (3), see the table in `dialects/thinking.py`.
- Spoken answers come alone: of `text` and `audio` only `AUDIO` is asked for. The names of other providers' voices mean
  nothing here; they are left out and reported.

Each function adds to `config` and appends what it had to change to `losses`. A Gemini client's own settings go back as
they were, whatever the model: what it does not take, it says itself.
"""

from typing import Any

import msgspec

from freehold.dialects import json_schema
from freehold.dialects.conversation import Conversation, Losses, OutputFormat, Part, Reasoning
from freehold.dialects.gemini.proto import DIALECT
from freehold.dialects.gemini.usage import write_tier
from freehold.dialects.thinking import GEMINI_LEVEL, budget_of, effort_of
from freehold.dialects.traits import Traits
from freehold.dialects.words import word

MOST_BUDGET = 24576
"""The largest thinking budget every 2.5 model takes."""

_JSON_WORDS = "Answer with one JSON object and nothing else: no explanation, no code fence."


def write_config(
    conversation: Conversation, tools: bool, losses: Losses, traits: Traits
) -> tuple[dict[str, Any], str | None]:
    """The generationConfig, and words for the system prompt where only they say what form the answer should have."""
    own = conversation.dialect == DIALECT
    config: dict[str, Any] = {}
    words = None
    if own:
        _write_own_output(conversation.output, config)
        _write_own_thinking(conversation.reasoning, config)
    else:
        words = _write_output(conversation, config, tools, losses, traits)
        _write_thinking(conversation, config, losses, traits)
    _write_sampling(conversation, config, losses, traits)
    _write_modalities(conversation, config, losses, own)
    return config, words


def write_unknown(conversation: Conversation, body: dict[str, Any]) -> None:
    """Gives a Gemini client's unknown fields back, those of tools excepted."""
    for name, value in conversation.unknown.items():
        *heads, tail = name.split(".")
        if heads and heads[0] == "tools":
            continue
        holder: Any = body
        for head in heads:
            inner = holder.get(head, {})
            if not isinstance(inner, dict):  # a name with a dot of its own
                holder, tail = body, name
                break
            holder[head] = inner = dict(inner)
            holder = inner
        holder[tail] = value
    if (tier := write_tier(conversation.service_tier)) is not None:
        body["serviceTier"] = tier


def _write_own_output(output: OutputFormat | None, config: dict[str, Any]) -> None:
    if output is not None and output.kind != "text":
        config["responseMimeType"] = "application/json"
        if output.schema is not None:
            config["responseJsonSchema"] = output.schema


def _write_own_thinking(reasoning: Reasoning | None, config: dict[str, Any]) -> None:
    if reasoning is None:
        return
    thinking: dict[str, Any] = {}
    if reasoning.include is not None:
        thinking["includeThoughts"] = reasoning.include
    if not reasoning.enabled:
        thinking["thinkingBudget"] = 0
    elif reasoning.adaptive:
        thinking["thinkingBudget"] = -1
    elif reasoning.budget is not None:
        thinking["thinkingBudget"] = reasoning.budget
    if reasoning.effort is not None:
        thinking["thinkingLevel"] = reasoning.effort
    config["thinkingConfig"] = thinking


def _write_output(
    conversation: Conversation, config: dict[str, Any], tools: bool, losses: Losses, traits: Traits
) -> str | None:
    """Puts the wanted shape into `config`; returns words for the system prompt where only they say it."""
    output = conversation.output
    if output is None or output.kind == "text":
        return None
    name = word(conversation.dialect, "output")
    free = not tools or traits.thinking == "level"
    if output.kind == "json" or output.schema is None:
        if free:
            config["responseMimeType"] = "application/json"
            return None
        losses.append(name)
        return _JSON_WORDS
    if free:
        config["responseMimeType"] = "application/json"
        if traits.json_schema == "native":
            relaxed: list[str] = []
            config["responseJsonSchema"] = json_schema.gemini(output.schema, relaxed)
            losses += [f"{name}.{item}" for item in relaxed]
            return None
    losses.append(name)
    return f"{_JSON_WORDS} It must match this JSON schema:\n{msgspec.json.encode(output.schema).decode()}"


def _write_sampling(conversation: Conversation, config: dict[str, Any], losses: Losses, traits: Traits) -> None:
    if conversation.temperature is not None:
        if conversation.temperature > traits.temperature_max:
            losses.append("temperature")
        config["temperature"] = min(conversation.temperature, traits.temperature_max)
    for name, field in (
        ("topP", "top_p"),
        ("topK", "top_k"),
        ("maxOutputTokens", "max_tokens"),
        ("seed", "seed"),
        ("presencePenalty", "presence_penalty"),
        ("frequencyPenalty", "frequency_penalty"),
    ):
        if (value := getattr(conversation, field)) is not None:
            config[name] = value
    stop = [text for text in conversation.stop if text]
    if len(stop) < len(conversation.stop) or len(stop) > traits.stop_max:
        losses.append(word(conversation.dialect, "stop"))
    if stop:
        config["stopSequences"] = stop[: traits.stop_max]
    if conversation.n > 1:
        config["candidateCount"] = conversation.n
    if conversation.logprobs:
        config["responseLogprobs"] = True
        if conversation.top_logprobs:
            config["logprobs"] = conversation.top_logprobs


def _write_thinking(conversation: Conversation, config: dict[str, Any], losses: Losses, traits: Traits) -> None:
    reasoning = conversation.reasoning
    if reasoning is None:
        return
    name = word(conversation.dialect, "reasoning")
    if traits.thinking not in ("budget", "level"):
        if reasoning.enabled and reasoning.effort != "none":
            losses.append(name)
        return
    if not reasoning.enabled or reasoning.effort == "none":
        if traits.thinking == "budget":
            config["thinkingConfig"] = {"thinkingBudget": 0}
        else:  # Gemini 3 cannot be told not to think
            config["thinkingConfig"] = {"thinkingLevel": "low"}
            losses.append(name)
        return
    thinking: dict[str, Any] = {"includeThoughts": reasoning.include is not False}
    if traits.thinking == "level":
        effort = effort_of(reasoning)
        if effort is not None:
            thinking["thinkingLevel"] = GEMINI_LEVEL[effort]
        if reasoning.budget is not None:
            losses.append(f"{name}.budget_tokens")
    else:
        budget = budget_of(reasoning)
        if reasoning.budget is not None and reasoning.budget > MOST_BUDGET:
            losses.append(f"{name}.budget_tokens")
        thinking["thinkingBudget"] = -1 if budget is None else min(budget, MOST_BUDGET)
    config["thinkingConfig"] = thinking


def _write_modalities(conversation: Conversation, config: dict[str, Any], losses: Losses, own: bool) -> None:
    kinds = conversation.modalities
    if kinds is not None and (own or kinds != ["text"]):
        if "audio" in kinds and not own:
            kinds = ["audio"]
        config["responseModalities"] = [kind.upper() for kind in kinds]
    if (voice := conversation.voice) is not None:
        if own:
            config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice.name}}}
        else:
            losses.append("audio.voice")


def report(conversation: Conversation, losses: Losses, tools: bool) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    if conversation.logit_bias:
        losses.append("logit_bias")
    if conversation.parallel_tools is False and tools:
        losses.append(word(conversation.dialect, "parallel_tools"))
    if conversation.user is not None:
        losses.append(word(conversation.dialect, "user"))
    if conversation.metadata:
        losses.append("metadata")
    if conversation.dialect != DIALECT and conversation.service_tier not in (None, "auto", "default", "standard_only"):
        losses.append("service_tier")
    for name in ("verbosity", "prompt_cache_key", "safety_identifier"):
        if getattr(conversation, name) is not None:
            losses.append(name)
    if conversation.store:
        losses.append("store")
    if conversation.previous is not None:
        losses.append("previous_response_id")
    losses += [f"messages.{index}.name" for index, turn in enumerate(conversation.turns) if turn.name is not None]
    if _has_breakpoint(conversation):
        losses.append("cache_control")
    if conversation.dialect != DIALECT:
        losses += conversation.unknown


def _has_breakpoint(conversation: Conversation) -> bool:
    parts: list[Part] = list(conversation.system)
    for turn in conversation.turns:
        parts += turn.parts
    return any(getattr(item, "cache", None) is not None for item in [*parts, *conversation.tools])
