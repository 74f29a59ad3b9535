"""The fields of a Responses request beside its input: tools, tool choice, output format, reasoning, the rest."""

from typing import Any

from freehold.dialects.conversation import Conversation, Opaque, OutputFormat, Reasoning, Tool, ToolChoice
from freehold.dialects.responses.annotations import DIALECT
from freehold.dialects.responses.names import CUSTOM_SCHEMA, member_name, namespace_tools
from freehold.dialects.wire import check_bool, check_dict, check_int, check_list, check_number, check_str, refuse

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"

_FUNCTION_FIELDS = ("type", "name", "description", "parameters", "strict")


def read_tools(conversation: Conversation, value: Any) -> None:
    for index, raw in enumerate(check_list(value, "tools")):
        path = f"tools.{index}"
        tool = check_dict(raw, path)
        kind = check_str(tool.get("type", "function"), f"{path}.type")
        if kind == "function":
            conversation.tools.append(_read_function(conversation, tool, path))
        elif kind == "custom":
            name = check_str(tool.get("name"), f"{path}.name")
            conversation.tools.append(_stand_in(tool, name, Opaque(DIALECT, raw)))
        elif kind == "namespace" and isinstance(tool.get("name"), str) and (inner := namespace_tools(tool)):
            origin = Opaque(DIALECT, raw)
            conversation.tools += [_stand_in(one, member_name(tool["name"], one["name"]), origin) for one in inner]
        else:
            label = tool.get("name") or tool.get("server_label")
            conversation.tools.append(Tool(label if isinstance(label, str) else kind, opaque=Opaque(DIALECT, raw)))


def _read_function(conversation: Conversation, tool: dict[str, Any], path: str) -> Tool:
    inner = tool.get("function")
    if isinstance(inner, dict) and "name" not in tool:  # chat's form, which some editors send here
        tool = inner
    description, schema, strict = tool.get("description"), tool.get("parameters"), tool.get("strict")
    for name, value in tool.items():
        if name not in _FUNCTION_FIELDS and value is not None:
            conversation.unknown[f"{path}.{name}"] = value
    return Tool(
        check_str(tool.get("name"), f"{path}.name"),
        None if description is None else check_str(description, f"{path}.description"),
        None if schema is None else check_dict(schema, f"{path}.parameters"),
        None if strict is None else check_bool(strict, f"{path}.strict"),
    )


def _stand_in(tool: dict[str, Any], name: str, origin: Opaque) -> Tool:
    """The function other dialects get for a custom tool, or for a member of a namespace."""
    description = tool.get("description")
    schema = tool.get("parameters")
    text = description if isinstance(description, str) else None
    if tool.get("type") == "custom":
        grammar = tool.get("format")
        if isinstance(grammar, dict) and isinstance(definition := grammar.get("definition"), str):
            text = (
                f"{text or ''}\n\nThe input must match this {grammar.get('syntax', '')} grammar:\n{definition}".strip()
            )
        return Tool(name, text, CUSTOM_SCHEMA, origin=origin)
    strict = tool.get("strict")
    return Tool(
        name,
        text,
        schema if isinstance(schema, dict) else None,
        strict if isinstance(strict, bool) else None,
        origin=origin,
    )


def _read_choice(conversation: Conversation, value: Any) -> None:
    if isinstance(value, str):
        if value not in ("auto", "none", "required"):
            refuse("tool_choice", '"auto", "none", "required" or an object', value)
        conversation.tool_choice = ToolChoice(value)  # type: ignore[arg-type]
        return
    choice = check_dict(value, "tool_choice")
    kind = choice.get("type")
    if kind in ("function", "custom"):
        name = choice.get("name")
        if name is None and isinstance(inner := choice.get(kind), dict):  # chat's form
            name = inner.get("name")
        conversation.tool_choice = ToolChoice("tool", check_str(name, "tool_choice.name"))
        return
    if kind == "allowed_tools":
        mode = choice.get("mode", "auto")
        if mode not in ("auto", "required"):
            refuse("tool_choice.mode", '"auto" or "required"', mode)
        names = [_allowed_name(tool) for tool in check_list(choice.get("tools"), "tool_choice.tools")]
        if None not in names:
            conversation.tool_choice = ToolChoice(mode, names=[name for name in names if name])
            return
    conversation.unknown["tool_choice"] = value


def _allowed_name(tool: Any) -> str | None:
    """The function an entry allows; None for a hosted tool."""
    if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
        return None
    name = tool.get("name")
    return name if isinstance(name, str) else None


def _read_text(conversation: Conversation, value: Any) -> None:
    for name, item in check_dict(value, "text").items():
        if item is None:
            continue
        if name == "format":
            _read_format(conversation, check_dict(item, "text.format"))
        elif name == "verbosity":
            conversation.verbosity = check_str(item, "text.verbosity")
        else:
            conversation.unknown[f"text.{name}"] = item


def _read_format(conversation: Conversation, shape: dict[str, Any]) -> None:
    kind = shape.get("type")
    if kind == "text":
        conversation.output = OutputFormat("text")
    elif kind == "json_object":
        conversation.output = OutputFormat("json")
    elif kind == "json_schema":
        named = shape.get("json_schema")
        shape = named if isinstance(named, dict) else shape  # chat's form
        strict, description = shape.get("strict"), shape.get("description")
        conversation.output = OutputFormat(
            "schema",
            check_dict(shape.get("schema"), "text.format.schema"),
            check_str(shape.get("name") or "response", "text.format.name"),
            None if description is None else check_str(description, "text.format.description"),
            None if strict is None else check_bool(strict, "text.format.strict"),
        )
    else:
        conversation.unknown["text.format"] = shape


def _read_reasoning(conversation: Conversation, value: Any) -> None:
    fields = {name: item for name, item in check_dict(value, "reasoning").items() if item is not None}
    reasoning = Reasoning()
    wanted = False
    if (effort := fields.pop("effort", None)) is not None:
        reasoning.effort = check_str(effort, "reasoning.effort")
        reasoning.enabled = effort != "none"
        wanted = True
    old = fields.pop("generate_summary", None)  # the name it had at first
    if (summary := fields.pop("summary", old)) is not None:
        reasoning.summary = check_str(summary, "reasoning.summary")
        reasoning.include = summary != "none"
        wanted = True
    if wanted:
        conversation.reasoning = reasoning
    for name, item in fields.items():
        conversation.unknown[f"reasoning.{name}"] = item


def _read_include(conversation: Conversation, value: Any) -> None:
    """Encrypted reasoning is given where there is any, asked for or not; the rest is for this dialect alone."""
    others = []
    for index, item in enumerate(check_list(value, "include")):
        name = check_str(item, f"include.{index}")
        if name == LOGPROBS:
            conversation.logprobs = True
        elif name != ENCRYPTED:
            others.append(name)
    if others:
        conversation.unknown["include"] = others


def _read_limit(conversation: Conversation, value: Any) -> None:
    limit = check_int(value, "max_output_tokens")
    conversation.max_tokens = limit if limit > 0 else None


def _read_top_logprobs(conversation: Conversation, value: Any) -> None:
    conversation.top_logprobs = check_int(value, "top_logprobs") or None


def _read_stream_options(conversation: Conversation, value: Any) -> None:
    """`include_obfuscation: false` is what every other dialect does anyway."""
    options = {name: item for name, item in check_dict(value, "stream_options").items() if item not in (None, False)}
    if options:
        conversation.unknown["stream_options"] = options


def read_settings(conversation: Conversation, fields: dict[str, Any]) -> None:
    """Reads every field but model, input and instructions; what nobody knows is `unknown`."""
    for name, value in fields.items():
        if value is None or (name in _DEFAULTS and value == _DEFAULTS[name]):
            continue
        if (simple := _SIMPLE.get(name)) is not None:
            target, check = simple
            setattr(conversation, target, check(value, name))
        elif (special := _SPECIAL.get(name)) is not None:
            special(conversation, value)
        else:
            conversation.unknown[name] = value


_DEFAULTS: dict[str, Any] = {"background": False, "truncation": "disabled"}
"""The same as absent."""

_SIMPLE: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", check_number),
    "top_p": ("top_p", check_number),
    "stream": ("stream", check_bool),
    "parallel_tool_calls": ("parallel_tools", check_bool),
    "user": ("user", check_str),
    "metadata": ("metadata", check_dict),
    "service_tier": ("service_tier", check_str),
    "store": ("store", check_bool),
    "prompt_cache_key": ("prompt_cache_key", check_str),
    "safety_identifier": ("safety_identifier", check_str),
    "previous_response_id": ("previous", check_str),
}

_SPECIAL = {
    "tools": read_tools,
    "tool_choice": _read_choice,
    "text": _read_text,
    "reasoning": _read_reasoning,
    "include": _read_include,
    "max_output_tokens": _read_limit,
    "top_logprobs": _read_top_logprobs,
    "stream_options": _read_stream_options,
}
