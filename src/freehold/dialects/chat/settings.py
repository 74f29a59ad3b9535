"""Reads what stands beside the messages of a chat request: tools, tool choice, output format, sampling, the rest.

OpenRouter's `reasoning` object ({effort, max_tokens, exclude, enabled}) is the same wish as `reasoning_effort`; a
client that uses it wants to see the thoughts unless it says `exclude`.
"""

from typing import Any

from freehold.dialects.chat.content import DIALECT, cache_ttl
from freehold.dialects.chat.peek import MAX_CHOICES
from freehold.dialects.conversation import Conversation, Opaque, OutputFormat, Reasoning, Tool, ToolChoice, Voice
from freehold.dialects.wire import check_bool, check_dict, check_int, check_list, check_number, check_str, refuse
from freehold.errors import BadRequest


def read_tools(conversation: Conversation, fields: dict[str, Any]) -> None:
    for index, raw in enumerate(check_list(fields.pop("tools", None) or [], "tools")):
        path = f"tools.{index}"
        tool = check_dict(raw, path)
        kind = tool.get("type", "function")
        if kind != "function":
            inner = tool.get(kind) if isinstance(kind, str) else None
            name = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
            opaque = Opaque(DIALECT, raw)
            conversation.tools.append(Tool(name=name if isinstance(name, str) else str(kind), opaque=opaque))
            continue
        # Flat tools are the Responses form, which some editors send to this endpoint.
        function = check_dict(tool["function"], f"{path}.function") if "function" in tool else tool
        conversation.tools.append(_read_function(function, tool, path))
        for name, value in function.items():
            if (
                name not in ("type", "name", "description", "parameters", "strict", "cache_control")
                and value is not None
            ):
                conversation.unknown[f"{path}.{name}"] = value
    if (choice := fields.pop("tool_choice", None)) is not None:
        custom = {tool.name for tool in conversation.tools if tool.opaque is not None}
        conversation.tool_choice = _read_choice(choice, custom)
        if conversation.tool_choice is None:
            conversation.unknown["tool_choice"] = choice


def _read_function(function: dict[str, Any], tool: dict[str, Any], path: str) -> Tool:
    description = function.get("description")
    schema = function.get("parameters")
    strict = function.get("strict")
    return Tool(
        name=check_str(function.get("name"), f"{path}.function.name"),
        description=None if description is None else check_str(description, f"{path}.function.description"),
        schema=None if schema is None else check_dict(schema, f"{path}.function.parameters"),
        strict=None if strict is None else check_bool(strict, f"{path}.function.strict"),
        cache=cache_ttl(tool),
    )


def _read_choice(raw: Any, custom: set[str]) -> ToolChoice | None:
    """None for a form that names neither a function nor one of the `custom` tools: it stays unknown."""
    if raw in ("auto", "none", "required"):
        return ToolChoice(raw)
    if raw == "any":  # Mistral's word
        return ToolChoice("required")
    if isinstance(raw, str):
        raise BadRequest(f"'tool_choice': unknown choice {raw!r}.", param="tool_choice")
    choice = check_dict(raw, "tool_choice")
    kind = choice.get("type", "function")
    if kind in ("function", "custom"):
        inner = check_dict(choice.get(kind, choice), f"tool_choice.{kind}")
        name = check_str(inner.get("name"), f"tool_choice.{kind}.name")
        return ToolChoice("tool", name=name) if kind == "function" or name in custom else None
    if kind == "allowed_tools":
        allowed = check_dict(choice.get("allowed_tools", choice), "tool_choice.allowed_tools")
        mode = allowed.get("mode", "auto")
        if mode not in ("auto", "required"):
            refuse("tool_choice.allowed_tools.mode", '"auto" or "required"', mode)
        tools = check_list(allowed.get("tools"), "tool_choice.allowed_tools.tools")
        names = [_allowed_name(tool) for tool in tools]
        return None if None in names else ToolChoice(mode, names=[name for name in names if name])
    return None


def _allowed_name(tool: Any) -> str | None:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return None
    function = tool.get("function", tool)
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def read_settings(conversation: Conversation, fields: dict[str, Any]) -> None:
    """Reads the fields beside messages and tools, which the legacy completion dialect shares; the rest is `unknown`."""
    for name, value in fields.items():
        if value is None:
            continue
        if (kind := _SIMPLE.get(name)) is not None:
            setattr(conversation, name, kind(value, name))
        elif (reader := _SPECIAL.get(name)) is not None:
            reader(conversation, value)
        else:
            conversation.unknown[name] = value
    if conversation.max_tokens is not None and conversation.max_tokens <= 0:
        conversation.max_tokens = None
    if not 1 <= conversation.n <= MAX_CHOICES:
        raise BadRequest(f"'n' must lie between 1 and {MAX_CHOICES}, got {conversation.n}.", param="n")


def _read_format(conversation: Conversation, value: Any) -> None:
    kind = check_dict(value, "response_format").get("type")
    if kind == "text":
        conversation.output = OutputFormat("text")
    elif kind == "json_object" and "schema" not in value:
        conversation.output = OutputFormat("json")
    elif kind in ("json_schema", "json_object"):  # Together and Fireworks: json_object with the schema beside it
        named = check_dict(value.get("json_schema", value), "response_format.json_schema")
        schema = named.get("schema")
        strict = named.get("strict")
        conversation.output = OutputFormat(
            "schema",
            schema=None if schema is None else check_dict(schema, "response_format.json_schema.schema"),
            name=check_str(named.get("name") or "response", "response_format.json_schema.name"),
            description=named.get("description") if isinstance(named.get("description"), str) else None,
            strict=None if strict is None else check_bool(strict, "response_format.json_schema.strict"),
        )
    else:
        conversation.unknown["response_format"] = value


def _read_stop(conversation: Conversation, value: Any) -> None:
    stops = [value] if isinstance(value, str) else check_list(value, "stop")
    conversation.stop = [check_str(stop, f"stop.{index}") for index, stop in enumerate(stops)]


def _read_effort(conversation: Conversation, value: Any) -> None:
    effort = check_str(value, "reasoning_effort")
    conversation.reasoning = conversation.reasoning or Reasoning()
    conversation.reasoning.effort = effort
    conversation.reasoning.enabled = conversation.reasoning.enabled and effort != "none"


def _read_reasoning(conversation: Conversation, value: Any) -> None:
    given = dict(check_dict(value, "reasoning"))
    reasoning = conversation.reasoning or Reasoning()
    if (effort := given.pop("effort", None)) is not None:
        reasoning.effort = check_str(effort, "reasoning.effort")
    if (budget := given.pop("max_tokens", None)) is not None:
        reasoning.budget = check_int(budget, "reasoning.max_tokens")
    exclude = given.pop("exclude", None)
    reasoning.include = not (exclude is not None and check_bool(exclude, "reasoning.exclude"))
    enabled = given.pop("enabled", None)
    reasoning.enabled = reasoning.effort != "none" and (enabled is None or check_bool(enabled, "reasoning.enabled"))
    conversation.reasoning = reasoning
    if given:
        conversation.unknown["reasoning"] = given


def _read_modalities(conversation: Conversation, value: Any) -> None:
    kinds = check_list(value, "modalities")
    conversation.modalities = [check_str(kind, f"modalities.{index}") for index, kind in enumerate(kinds)]


def _read_voice(conversation: Conversation, value: Any) -> None:
    """A voice of one's own is an object with an id, which nobody else knows: the field stays as it is."""
    given = check_dict(value, "audio")
    if given.keys() <= {"voice", "format"} and isinstance(given.get("voice"), str):
        conversation.voice = Voice(given["voice"], check_str(given.get("format", "wav"), "audio.format"))
    else:
        conversation.unknown["audio"] = value


def _read_stream_options(conversation: Conversation, value: Any) -> None:
    options = dict(check_dict(value, "stream_options"))
    conversation.include_usage = check_bool(options.pop("include_usage", None) or False, "stream_options.include_usage")
    if options:
        conversation.unknown["stream_options"] = options


def _read_max_completion(conversation: Conversation, value: Any) -> None:
    conversation.max_tokens = check_int(value, "max_completion_tokens")


def _read_max_tokens(conversation: Conversation, value: Any) -> None:
    limit = check_int(value, "max_tokens")
    if conversation.max_tokens is None:
        conversation.max_tokens = limit


def _read_parallel(conversation: Conversation, value: Any) -> None:
    conversation.parallel_tools = check_bool(value, "parallel_tool_calls")


def _read_bias(conversation: Conversation, value: Any) -> None:
    bias = check_dict(value, "logit_bias")
    conversation.logit_bias = {token: check_number(weight, f"logit_bias.{token}") for token, weight in bias.items()}


_SIMPLE = {
    "temperature": check_number,
    "top_p": check_number,
    "top_k": check_int,
    "seed": check_int,
    "n": check_int,
    "presence_penalty": check_number,
    "frequency_penalty": check_number,
    "logprobs": check_bool,
    "top_logprobs": check_int,
    "stream": check_bool,
    "user": check_str,
    "metadata": check_dict,
    "service_tier": check_str,
    "verbosity": check_str,
    "store": check_bool,
    "prompt_cache_key": check_str,
    "safety_identifier": check_str,
}
_SPECIAL = {
    "response_format": _read_format,
    "stop": _read_stop,
    "reasoning_effort": _read_effort,
    "reasoning": _read_reasoning,
    "modalities": _read_modalities,
    "audio": _read_voice,
    "stream_options": _read_stream_options,
    "max_tokens": _read_max_tokens,
    "max_completion_tokens": _read_max_completion,
    "parallel_tool_calls": _read_parallel,
    "logit_bias": _read_bias,
}
