"""Writes the canonical conversation as a Gemini generateContent request, and says where to send it.

Source of the format: https://ai.google.dev/api/generate-content, the `google-genai` SDK's types, and recorded requests
the API accepted. The body names no model; the path does. Turns are arranged first (`turns.py`), since a function's
response must come right after its call.

- Gemini 3 (`traits.thinking` level) refuses a replayed function call without its thought signature. It comes back from
  the client inside the call's id, or in a field of its own; where it is lost, the first call of a turn gets Google's
  documented dummy (https://ai.google.dev/gemini-api/docs/thought-signatures).
- A JSON schema goes in `responseJsonSchema`. Models before Gemini 3 refuse it together with functions; there it is put
  in words, and reported.
- Thinking: `thinkingBudget` (2.5) or `thinkingLevel` (3), see the table in `dialects/thinking.py`.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from freehold.dialects import json_schema
from freehold.dialects.conversation import Conversation, Losses, Opaque, Part, Text, Tool
from freehold.dialects.gemini.parts import WirePart, write_part
from freehold.dialects.gemini.reply import DIALECT
from freehold.dialects.thinking import GEMINI_LEVEL, budget_of, effort_of
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.turns import OPENING, Arranged, Side, arrange
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name, word
from freehold.errors import BadRequest, UpstreamBroken

DUMMY_SIGNATURE = "skip_thought_signature_validator"
MOST_BUDGET = 24576
"""The largest thinking budget every 2.5 model takes."""

_JSON_WORDS = "Answer with one JSON object and nothing else: no explanation, no code fence."
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_ENCODER = msgspec.json.Encoder()


def path(model: str, stream: bool) -> str:
    """Path and query for `model`, with or without its `models/` prefix."""
    return f"/v1beta/{_resource(model)}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def count_path(model: str) -> str:
    return f"/v1beta/{_resource(model)}:countTokens"


def _resource(model: str) -> str:
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return quote(name, safe="/-._~@").replace("..", "%2E%2E")


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    Raises BadRequest where nothing is left to say, or a schema is nested too deeply.
    """
    return _ENCODER.encode(_body(conversation, losses, traits))


def write_count(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The body for `:countTokens`, with all that is prompt: system, turns and tools."""
    body = _body(conversation, losses, traits)
    model = conversation.model
    return _ENCODER.encode({"generateContentRequest": {"model": f"models/{model.removeprefix('models/')}", **body}})


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int = 0


_COUNT = msgspec.json.Decoder(_Count)


def read_count(body: bytes) -> int:
    """Raises UpstreamBroken when `body` is no count."""
    try:
        return _COUNT.decode(body).total_tokens
    except MALFORMED:
        raise UpstreamBroken("The provider's token count could not be read.") from None


def _body(conversation: Conversation, losses: Losses, traits: Traits) -> dict[str, Any]:
    arranged = arrange(conversation.turns, losses)
    body: dict[str, Any] = {}
    system = _write_system(conversation, arranged, losses)
    contents = _write_contents(conversation, arranged.sides, losses, traits)
    tools = _write_tools(conversation, losses)
    config: dict[str, Any] = {}
    words = _write_output(conversation, config, bool(tools), losses, traits)
    if words is not None:
        system.append({"text": words})
    _write_sampling(conversation, config, losses, traits)
    _write_thinking(conversation, config, losses, traits)
    if system:
        body["systemInstruction"] = {"parts": system}
    if tools:
        body["tools"] = tools
        if (choice := _write_tool_choice(conversation, losses, traits)) is not None:
            body["toolConfig"] = {"functionCallingConfig": choice}
    body["contents"] = contents
    if config:
        body["generationConfig"] = config
    if conversation.dialect == DIALECT:
        body |= conversation.unknown
    _report(conversation, losses, bool(tools))
    return body


# Content


def _write_system(conversation: Conversation, arranged: Arranged, losses: Losses) -> list[WirePart]:
    placed = [("system", part) for part in conversation.system]
    placed += [(f"messages.{place}", part) for place, part in arranged.system]
    parts: list[WirePart] = []
    for where, part in placed:
        if isinstance(part, Text):
            parts += [{"text": part.text}] if part.text else []
        else:
            losses.append(
                f"{where}.{opaque_name(part.value) if isinstance(part, Opaque) else type(part).__name__.lower()}"
            )
    return parts


def _write_contents(
    conversation: Conversation, sides: list[Side], losses: Losses, traits: Traits
) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    for side in sides:
        parts: list[WirePart] = []
        after: list[WirePart] = []
        for part, place in zip(side.parts, side.places, strict=True):
            wire = write_part(part, f"messages.{place}", losses, conversation.dialect)
            # Function responses stand together; the media of a result come after all of them.
            answered = bool(wire) and "functionResponse" in wire[0]
            parts += wire[:1] if answered else []
            after += wire[1:] if answered else wire
        parts += after
        if not parts:
            continue
        role = "model" if side.role == "assistant" else "user"
        if role == "model" and traits.thinking == "level":
            _sign(parts)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise BadRequest("The conversation has no content that can be sent.", param="messages")
    if contents[-1]["role"] == "model" and not traits.prefill:
        contents.append({"role": "user", "parts": [{"text": OPENING}]})
        losses.append(f"messages.{len(conversation.turns) - 1}.prefill")
    return contents


def _sign(parts: list[WirePart]) -> None:
    """The first call of a parallel set carries the signature; a set that lost it gets the dummy."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = DUMMY_SIGNATURE


# Tools


def _write_tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]]:
    choice = conversation.tool_choice
    # Names beside mode AUTO are not accepted: there the other functions are left out.
    allowed = choice.names if choice is not None and choice.mode == "auto" else None
    declarations: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(conversation.tools):
        if tool.opaque is not None:
            if tool.opaque.dialect == DIALECT:
                tools.append(tool.opaque.value)
            else:
                losses.append(f"tools.{index}.{tool.name}")
        elif allowed is None or tool.name in allowed:
            declarations.append(_declare(tool, f"tools.{index}", losses))
    if declarations:
        tools.insert(0, {"functionDeclarations": declarations})
    return tools


def _declare(tool: Tool, where: str, losses: Losses) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        declaration["description"] = tool.description
    if tool.schema and (tool.schema.get("properties") or set(tool.schema) - {"type", "properties"}):
        relaxed: list[str] = []
        declaration["parametersJsonSchema"] = json_schema.gemini(tool.schema, relaxed)
        losses += [f"{where}.{item}" for item in relaxed]
    return declaration


def _write_tool_choice(conversation: Conversation, losses: Losses, traits: Traits) -> dict[str, Any] | None:
    """Mode ANY holds the model to the schemas, and so does VALIDATED, which is AUTO for strict tools on Gemini 3."""
    choice = conversation.tool_choice
    if choice is None or choice.mode == "auto":
        strict = [index for index, tool in enumerate(conversation.tools) if tool.strict]
        if strict and traits.thinking == "level":
            return {"mode": "VALIDATED"}
        losses += [f"tools.{index}.strict" for index in strict]
        return None
    config: dict[str, Any] = {"mode": _MODES[choice.mode]}
    if choice.mode == "tool" and choice.name is not None:
        config["allowedFunctionNames"] = [choice.name]
    elif choice.mode == "required" and choice.names:
        config["allowedFunctionNames"] = choice.names
    return config


# Settings


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


def _report(conversation: Conversation, losses: Losses, tools: bool) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    if conversation.logit_bias:
        losses.append("logit_bias")
    if conversation.parallel_tools is False and tools:
        losses.append(word(conversation.dialect, "parallel_tools"))
    if conversation.user is not None:
        losses.append(word(conversation.dialect, "user"))
    if conversation.metadata:
        losses.append("metadata")
    if conversation.service_tier not in (None, "auto", "default", "standard_only"):
        losses.append("service_tier")
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
