"""Writes the canonical conversation as a Responses request to a provider.

A conversation of another dialect is not kept at the provider (`store: false`), so a reasoning model is asked for its
encrypted thoughts, which come back with the next turn. What a model refuses is left out by its traits, what the dialect
has no word for is left out always; both are reported, except where the value was the default anyway. Fields are written
in a fixed order, so that equal conversations are equal bytes and provider-side prompt caches hit.
"""

import re
from typing import Any

import msgspec

from freehold.dialects.chat.compose import schema_in_words
from freehold.dialects.chat.compose_messages import report
from freehold.dialects.conversation import Conversation, Losses, OutputFormat, Thinking, Tool, ToolChoice
from freehold.dialects.responses.annotations import DIALECT
from freehold.dialects.responses.names import read_names
from freehold.dialects.responses.patch import SAMPLING_DEFAULTS
from freehold.dialects.responses.reply import SERVICE_TIERS
from freehold.dialects.responses.settings import ENCRYPTED, LOGPROBS
from freehold.dialects.responses.write_items import write_items, write_system
from freehold.dialects.thinking import OPENAI_TAG, effort_of
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.words import word
from freehold.errors import BadRequest

LEAST_OUTPUT = 16
"""`max_output_tokens` below it is refused."""

_SERVICE_TIERS = {"standard_only": "default"} | {name: name for name in SERVICE_TIERS}
_ENCODER = msgspec.json.Encoder()
_OF_TOOL = re.compile(r"tools\.(\d+)\.(.+)")


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    Raises BadRequest when tool schemas or the like are nested too deeply to be written.
    """
    own = conversation.dialect == DIALECT
    body: dict[str, Any] = {"model": conversation.model}
    names = read_names([tool.origin.value for tool in conversation.tools if tool.origin is not None])
    system = write_system(conversation, losses, traits)
    items = write_items(conversation, losses, traits, names)
    if isinstance(system, list):
        items = system + items
    elif system is not None:
        body["instructions"] = system
    body["input"] = items
    _write_tools(conversation, body, losses, own)
    _write_text(conversation, body, losses, traits)
    _write_reasoning(conversation, body, losses, traits, own)
    _write_sampling(conversation, body, losses, traits, own)
    _write_include(conversation, body, traits, own)
    _write_rest(conversation, body, losses, own)
    _report(conversation, losses, own)
    try:
        return _ENCODER.encode(body)
    except RecursionError:  # what could just be read at a shallow stack may be too deep to write at this one
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


# Tools


def _write_tools(conversation: Conversation, body: dict[str, Any], losses: Losses, own: bool) -> None:
    choice = conversation.tool_choice
    written: list[Any] = []
    places: dict[int, Any] = {}
    for index, tool in enumerate(conversation.tools):
        if (one := _write_tool(tool, index, losses, own)) is not None and not any(one is other for other in written):
            places[index] = one
            written.append(one)
    if own:
        for name, value in conversation.unknown.items():
            if (match := _OF_TOOL.fullmatch(name)) and int(match.group(1)) in places:
                places[int(match.group(1))][match.group(2)] = value
    if written:
        body["tools"] = written
    if choice is not None and (written or own):
        body["tool_choice"] = _write_choice(choice, conversation.tools)
    elif choice is not None and choice.mode in ("required", "tool"):
        report(losses, "tool_choice")
    if conversation.parallel_tools is not None and (written or own):
        body["parallel_tool_calls"] = conversation.parallel_tools


def _write_tool(tool: Tool, index: int, losses: Losses, own: bool) -> dict[str, Any] | None:
    kept = tool.opaque or tool.origin
    if kept is not None and kept.dialect == DIALECT:
        value: dict[str, Any] = kept.value
        return value
    if tool.opaque is not None:
        report(losses, f"tools.{index}.{tool.name}")
        return None
    written: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.schema is not None:
        written["parameters"] = tool.schema
    elif not own:
        written["parameters"] = {"type": "object", "properties": {}}
    if tool.strict is not None:
        written["strict"] = tool.strict
    elif not own:  # here, and nowhere else, strict is the default
        written["strict"] = False
    if tool.cache is not None:
        report(losses, "cache_control")
    return written


def _write_choice(choice: ToolChoice, tools: list[Tool]) -> Any:
    custom = {tool.name for tool in tools if tool.origin is not None and tool.origin.value.get("type") == "custom"}

    def entry(name: str) -> dict[str, Any]:
        return {"type": "custom" if name in custom else "function", "name": name}

    if choice.mode == "tool" and choice.name is not None:
        return entry(choice.name)
    if choice.names is not None:
        return {"type": "allowed_tools", "mode": choice.mode, "tools": [entry(name) for name in choice.names]}
    return choice.mode


# The form of the answer


def _write_text(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    text: dict[str, Any] = {}
    output = conversation.output
    if output is not None:
        if output.kind == "text" or traits.json_schema == "native":
            text["format"] = write_format(output)
        else:
            if output.kind == "schema" or traits.json_schema == "prompt":
                report(losses, word(conversation.dialect, "output"))
                words = schema_in_words(output)
                body["instructions"] = f"{body['instructions']}\n\n{words}" if "instructions" in body else words
            if traits.json_schema != "prompt":
                text["format"] = {"type": "json_object"}
    if conversation.verbosity is not None:
        text["verbosity"] = conversation.verbosity
    if text:
        body["text"] = text


def write_format(output: OutputFormat) -> dict[str, Any]:
    if output.kind == "text":
        return {"type": "text"}
    if output.kind == "json" or output.schema is None:
        return {"type": "json_object"}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", output.name or "response")[:64]
    written: dict[str, Any] = {"type": "json_schema", "name": name, "schema": output.schema}
    if output.description is not None:
        written["description"] = output.description
    if output.strict is not None:
        written["strict"] = output.strict
    return written


def _write_reasoning(
    conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits, own: bool
) -> None:
    reasoning = conversation.reasoning
    if reasoning is None:
        return
    written: dict[str, Any] = {}
    if own:
        if reasoning.effort is not None:
            written["effort"] = reasoning.effort
    elif traits.thinking != "effort":
        if reasoning.enabled:
            report(losses, word(conversation.dialect, "reasoning"))
        return
    elif not reasoning.enabled:
        report(losses, word(conversation.dialect, "reasoning"))  # older reasoning models cannot be told not to
        return
    elif (effort := effort_of(reasoning)) is not None:
        written["effort"] = effort
    if reasoning.include or reasoning.summary is not None:
        written["summary"] = reasoning.summary or "auto"
    if written:
        body["reasoning"] = written


def _write_include(conversation: Conversation, body: dict[str, Any], traits: Traits, own: bool) -> None:
    """Encrypted thoughts are asked for where there can be any: models that do not reason refuse the wish."""
    include = list(conversation.unknown.get("include") or []) if own else []
    signed = any(
        isinstance(part, Thinking) and (part.signature or "").startswith(OPENAI_TAG)
        for turn in conversation.turns
        for part in turn.parts
    )
    if traits.thinking == "effort" or signed:
        include.append(ENCRYPTED)
    if conversation.logprobs and traits.sampling:
        include.append(LOGPROBS)
    if include:
        body["include"] = include


# Sampling and the rest


def _write_sampling(
    conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits, own: bool
) -> None:
    limit = conversation.max_tokens
    if limit is not None:
        if limit < LEAST_OUTPUT and not own:
            report(losses, word(conversation.dialect, "max_tokens"))
            limit = LEAST_OUTPUT
        body["max_output_tokens"] = limit
    if conversation.logprobs and not traits.sampling:
        report(losses, "logprobs")
    for name, default in SAMPLING_DEFAULTS.items():
        value = getattr(conversation, name)
        if value is None:
            continue
        if not traits.sampling:
            if value != default:
                report(losses, name)
        elif name == "temperature" and value > traits.temperature_max:
            body[name] = traits.temperature_max
            report(losses, name)
        else:
            body[name] = value


def _write_rest(conversation: Conversation, body: dict[str, Any], losses: Losses, own: bool) -> None:
    for name in ("user", "prompt_cache_key", "safety_identifier"):
        if (value := getattr(conversation, name)) is not None:
            body[name] = value
    if conversation.metadata:
        if own or conversation.dialect == "chat":  # the same field in both
            body["metadata"] = conversation.metadata
        else:
            report(losses, "metadata")
    if (tier := conversation.service_tier) is not None:
        if own:
            body["service_tier"] = tier
        elif tier in _SERVICE_TIERS:
            body["service_tier"] = _SERVICE_TIERS[tier]
        else:
            report(losses, "service_tier")
    if conversation.previous is not None:
        body["previous_response_id"] = conversation.previous
    if conversation.store is not None:
        body["store"] = conversation.store
    elif not own:
        body["store"] = False
    if conversation.stream:
        body["stream"] = True
    if own:
        _write_unknown(conversation, body)


def _write_unknown(conversation: Conversation, body: dict[str, Any]) -> None:
    for name, value in conversation.unknown.items():
        head, _, tail = name.partition(".")
        if head in ("tools", "include"):
            continue
        if tail:
            body[head] = {**body.get(head, {}), tail: value}
        else:
            body[name] = value


def _report(conversation: Conversation, losses: Losses, own: bool) -> None:
    """What this dialect has no word for. A setting at its default is no loss."""
    if conversation.n > 1:
        report(losses, "n")
    for name in ("stop", "presence_penalty", "frequency_penalty", "logit_bias"):
        if getattr(conversation, name):
            report(losses, word(conversation.dialect, name))
    for name in ("seed", "top_k", "voice"):
        if getattr(conversation, name) is not None:
            report(losses, word(conversation.dialect, name))
    if any(kind != "text" for kind in conversation.modalities or []):
        report(losses, "modalities")
    if not own:
        for name in conversation.unknown:
            report(losses, name)
