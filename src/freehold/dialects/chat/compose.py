"""Writes a canonical conversation as the body of a chat completion request to a provider.

What a model refuses is left out by its traits, what the dialect has no word for is left out always; both are reported,
except where the value was the default anyway. Fields are written in a fixed order, so that equal conversations are
equal bytes and provider-side prompt caches hit.
"""

import re
from typing import Any

import msgspec

from freehold.dialects.chat.compose_messages import report, write_messages
from freehold.dialects.chat.content import DIALECT
from freehold.dialects.conversation import Conversation, Losses, OutputFormat, Reasoning, Tool, ToolChoice
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.words import word
from freehold.errors import BadRequest

SAMPLING_DEFAULTS: dict[str, Any] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
}
"""What `traits.sampling` False forbids, and the value that may vanish unreported."""

PENALTIES = frozenset({"presence_penalty", "frequency_penalty", "logit_bias"})
"""What `traits.penalties` False forbids."""

_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""OpenAI's, as the SDK's `Voice` and its docstring list them."""

_EXTRAS: dict[str, Any] = {"verbosity": "medium", "store": False, "prompt_cache_key": None, "safety_identifier": None}
"""OpenAI's optional fields, and the value that may vanish unreported."""

_EFFORTS = {"max": "high", "xhigh": "xhigh", "minimal": "minimal", "none": "none", "low": "low", "medium": "medium"}
_ENCODER = msgspec.json.Encoder()


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The provider's body. A stream asks for usage where the host understands that.

    Raises BadRequest when tool schemas or the like are nested too deeply to be written.
    """
    body: dict[str, Any] = {"model": conversation.model, "messages": write_messages(conversation, losses, traits)}
    _write_tools(conversation, body, losses, traits)
    _write_output(conversation.output, body, losses, traits)
    _write_reasoning(conversation, body, losses, traits)
    if conversation.max_tokens is not None:
        body[traits.max_tokens_field] = conversation.max_tokens
    _write_sampling(conversation, body, losses, traits)
    _write_voice(conversation, body, losses)
    _write_rest(conversation, body, losses, traits)
    if conversation.stream:
        body["stream"] = True
        if traits.stream_usage:
            body.setdefault("stream_options", {})["include_usage"] = True
    try:
        return _ENCODER.encode(body)
    except RecursionError:  # what could just be read at a shallow stack may be too deep to write at this one
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


def schema_in_words(output: OutputFormat) -> str:
    """The instruction that stands in for a schema the host cannot enforce."""
    if output.schema is None:
        return "Answer with one JSON object and nothing else."
    schema = _ENCODER.encode(output.schema).decode()
    return f"Answer with one JSON object and nothing else. It must match this JSON Schema:\n{schema}"


def write_format(output: OutputFormat) -> dict[str, Any]:
    """The native `response_format`."""
    if output.kind == "text":
        return {"type": "text"}
    if output.kind == "json" or output.schema is None:
        return {"type": "json_object"}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", output.name or "response")[:64]
    named: dict[str, Any] = {"name": name}
    if output.description is not None:
        named["description"] = output.description
    named["schema"] = output.schema
    if output.strict is not None:
        named["strict"] = output.strict
    return {"type": "json_schema", "json_schema": named}


def _write_output(output: OutputFormat | None, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    """A forced tool is no form of this dialect: hosts that want one get JSON mode and the schema in words."""
    if output is None:
        return
    if output.kind == "text" or traits.json_schema == "native":
        body["response_format"] = write_format(output)
        return
    if output.kind == "schema" or traits.json_schema == "prompt":
        report(losses, "response_format")
        add_instruction(body["messages"], schema_in_words(output), traits)
    if traits.json_schema != "prompt":
        body["response_format"] = {"type": "json_object"}


def add_instruction(messages: list[Any], text: str, traits: Traits) -> None:
    """Appends `text` to the leading system message, or puts one first."""
    first = messages[0] if messages else None
    if not isinstance(first, dict) or first.get("role") not in ("system", "developer"):
        messages.insert(0, {"role": traits.system_role, "content": text})
    elif isinstance(first.get("content"), str):
        first["content"] += "\n\n" + text
    else:
        first["content"] = [*(first.get("content") or []), {"type": "text", "text": text}]


# Tools


def _write_tools(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    own = conversation.dialect == DIALECT
    choice = conversation.tool_choice
    tools = conversation.tools
    if choice is not None and choice.names is not None and not own:
        # allowed_tools is OpenAI's alone; fewer tools mean the same to every host
        tools = [tool for tool in tools if tool.name in choice.names]
    written = []
    for index, tool in enumerate(tools):
        if (one := _write_tool(tool, index, losses, own)) is not None:
            written.append(one)
    if own:
        for name, value in conversation.unknown.items():
            match = re.fullmatch(r"tools\.(\d+)\.(.+)", name)
            if match and int(match.group(1)) < len(written):
                written[int(match.group(1))]["function"][match.group(2)] = value
    if written:
        body["tools"] = written
    if choice is not None and (written or own):
        if choice.mode in ("required", "tool") and not traits.force_tool:
            report(losses, "tool_choice")
            choice = ToolChoice("auto", names=choice.names)
        body["tool_choice"] = _write_choice(choice, written, own)
    elif choice is not None and choice.mode in ("required", "tool"):
        report(losses, "tool_choice")
    if conversation.parallel_tools is not None and (written or own):
        body["parallel_tool_calls"] = conversation.parallel_tools


def _write_tool(tool: Tool, index: int, losses: Losses, own: bool) -> dict[str, Any] | None:
    if tool.opaque is not None:
        if tool.opaque.dialect == DIALECT:
            value: dict[str, Any] = tool.opaque.value
            return value
        report(losses, f"tools.{index}.{tool.name}")
        return None
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    written: dict[str, Any] = {"type": "function", "function": function}
    if tool.cache is not None and own:
        written["cache_control"] = {"type": "ephemeral", "ttl": tool.cache}
    elif tool.cache is not None:
        report(losses, "cache_control")
    return written


def _write_choice(choice: ToolChoice, tools: list[dict[str, Any]], own: bool) -> Any:
    if choice.mode == "tool" and choice.name is not None:
        custom = any(tool.get("type") == "custom" and _name_of(tool) == choice.name for tool in tools)
        kind = "custom" if custom else "function"
        return {"type": kind, kind: {"name": choice.name}}
    if choice.names is not None and own:
        allowed = [{"type": "function", "function": {"name": name}} for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": allowed}}
    return choice.mode


def _name_of(custom: dict[str, Any]) -> Any:
    inner = custom.get("custom")
    return inner.get("name") if isinstance(inner, dict) else custom.get("name")


# Sampling and the rest


def _write_sampling(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    for name, default in SAMPLING_DEFAULTS.items():
        value = getattr(conversation, name)
        if value is None:
            continue
        if not traits.sampling or (name in PENALTIES and not traits.penalties):
            if value != default:
                report(losses, name)
        elif name == "temperature" and value > traits.temperature_max:
            body[name] = traits.temperature_max
            report(losses, name)
        else:
            body[name] = value
    stops = [stop for stop in conversation.stop if stop]
    if len(stops) < len(conversation.stop) or len(stops) > traits.stop_max:
        report(losses, "stop")
    if stops[: traits.stop_max]:
        body["stop"] = stops[: traits.stop_max]
    if conversation.n != 1:
        body["n"] = conversation.n
    if conversation.seed is not None:
        body["seed"] = conversation.seed


def _write_reasoning(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    reasoning = conversation.reasoning
    name = word(conversation.dialect, "reasoning")
    if reasoning is not None and conversation.dialect == DIALECT:
        if reasoning.include is not None or reasoning.budget is not None:
            body["reasoning"] = _reasoning_object(reasoning)
        elif reasoning.effort is not None:
            body["reasoning_effort"] = reasoning.effort
    elif reasoning is not None and traits.thinking == "object":
        body["reasoning"] = _reasoning_object(reasoning)
    elif reasoning is not None and (effort := _effort(reasoning, traits)) is not None:
        body["reasoning_effort"] = effort
    elif reasoning is not None:
        in_vain = not reasoning.enabled if traits.thinking == "effort" else reasoning.enabled
        if in_vain:  # a model that cannot think was asked to, or one that must think was asked not to
            report(losses, name)
    if not traits.tools_and_reasoning and "tools" in body:
        if body.get("reasoning_effort", "none") != "none":
            report(losses, name)
        if "reasoning_effort" in body or not traits.sampling:
            body["reasoning_effort"] = "none"  # said even where nobody asked, if the model reasons by default


def _effort(reasoning: Reasoning, traits: Traits) -> str | None:
    if traits.thinking != "effort":
        return None
    if not reasoning.enabled:
        return "none" if traits.effort_none else None
    effort = reasoning.effort
    if effort is None and reasoning.budget is not None:
        effort = "low" if reasoning.budget <= 2048 else "medium" if reasoning.budget <= 8192 else "high"
    return None if effort is None else _EFFORTS.get(effort, "high")


def _reasoning_object(reasoning: Reasoning) -> dict[str, Any]:
    """OpenRouter's, who takes either an effort or a budget."""
    written: dict[str, Any] = {}
    if not reasoning.enabled and reasoning.effort != "none":
        written["enabled"] = False
    elif reasoning.budget is not None:
        written["max_tokens"] = reasoning.budget
    elif reasoning.effort is not None:
        written["effort"] = reasoning.effort
    else:
        written["enabled"] = True
    if reasoning.include is False:
        written["exclude"] = True
    return written


def _write_voice(conversation: Conversation, body: dict[str, Any], losses: Losses) -> None:
    """Spoken answers need a voice, and streamed ones pcm16 (https://platform.openai.com/docs/guides/audio)."""
    own = conversation.dialect == DIALECT
    modalities, voice = conversation.modalities, conversation.voice
    if modalities is not None and (own or set(modalities) - {"text"}):
        body["modalities"] = modalities
    if own:
        if voice is not None:
            body["audio"] = {"voice": voice.name, "format": voice.format}
    elif voice is not None or "audio" in (modalities or ()):
        name = voice.name if voice is not None else "alloy"
        if name not in _VOICES:
            report(losses, word(conversation.dialect, "voice"))
            name = "alloy"
        kind = voice.format if voice is not None else "wav"
        body["audio"] = {"voice": name, "format": "pcm16" if conversation.stream else kind}


def _write_rest(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    own = conversation.dialect == DIALECT
    if conversation.user is not None:
        body["user"] = conversation.user
    _write_extras(conversation, body, losses, traits)
    for name in ("top_k", "metadata", "service_tier"):
        value = getattr(conversation, name)
        if value is None:
            continue
        if own or (name == "top_k" and traits.top_k) or name in traits.extras:
            body[name] = value
        elif (name, value) != ("service_tier", "auto"):
            report(losses, name)
    if conversation.previous is not None:
        report(losses, word(conversation.dialect, "previous"))
    for name, value in conversation.unknown.items():
        if not own:
            report(losses, name)
        elif isinstance(value, dict) and isinstance(there := body.get(name), dict):
            body[name] = {**there, **value}
        elif not re.fullmatch(r"tools\.\d+\..+", name):
            body[name] = dict(value) if name == "stream_options" else value


def _write_extras(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    """A host that does not know `safety_identifier` gets it as the `user` it replaces."""
    for name, default in _EXTRAS.items():
        value = getattr(conversation, name)
        if value is None:
            continue
        if conversation.dialect == DIALECT or name in traits.extras:
            body[name] = value
        elif name == "safety_identifier" and conversation.user is None:
            body["user"] = value
        elif value != default:
            report(losses, name)
