"""Reads what stands beside the messages of a Cohere chat request: tools, the form of the answer, thinking, sampling."""

from typing import Any

from freehold.dialects.cohere.content import DIALECT
from freehold.dialects.conversation import Conversation, Opaque, OutputFormat, Reasoning, Tool, ToolChoice
from freehold.dialects.wire import check_bool, check_dict, check_int, check_list, check_number, check_str, refuse

_FUNCTION = ("name", "description", "parameters")


def read_tools(conversation: Conversation, fields: dict[str, Any]) -> None:
    """Takes `tools`, `strict_tools` and `tool_choice` out of `fields`. Raises BadRequest."""
    given = fields.pop("strict_tools", None)
    strict = None if given is None else check_bool(given, "strict_tools")
    for index, raw in enumerate(check_list(fields.pop("tools", []), "tools")):
        path = f"tools.{index}"
        tool = check_dict(raw, path)
        kind = tool.get("type", "function")
        if kind != "function" or not isinstance(tool.get("function"), dict):
            name = tool.get("name")
            conversation.tools.append(Tool(name if isinstance(name, str) else str(kind), opaque=Opaque(DIALECT, raw)))
            continue
        conversation.tools.append(_read_function(tool["function"], f"{path}.function", strict))
        for name, value in tool["function"].items():
            if name not in _FUNCTION and value is not None:
                conversation.unknown[f"{path}.{name}"] = value
    if strict is not None and not conversation.tools:
        conversation.unknown["strict_tools"] = strict
    if (choice := fields.pop("tool_choice", None)) is not None:
        if choice not in ("REQUIRED", "NONE"):
            refuse("tool_choice", "'REQUIRED' or 'NONE'", choice)
        conversation.tool_choice = ToolChoice("required" if choice == "REQUIRED" else "none")


def _read_function(function: dict[str, Any], path: str, strict: bool | None) -> Tool:
    description, schema = function.get("description"), function.get("parameters")
    return Tool(
        check_str(function.get("name"), f"{path}.name"),
        None if description is None else check_str(description, f"{path}.description"),
        None if schema is None else check_dict(schema, f"{path}.parameters"),
        strict,
    )


def read_settings(conversation: Conversation, fields: dict[str, Any]) -> None:
    """The rest of the request; what is not known is `unknown`. Raises BadRequest."""
    for name, value in fields.items():
        if (simple := _SIMPLE.get(name)) is not None:
            field, check = simple
            setattr(conversation, field, check(value, name))
        elif (special := _SPECIAL.get(name)) is not None:
            special(conversation, value)
        else:
            conversation.unknown[name] = value


def _read_format(conversation: Conversation, value: Any) -> None:
    shape = check_dict(value, "response_format")
    schema = shape.get("json_schema", shape.get("schema"))
    if shape.get("type") == "text":
        conversation.output = OutputFormat("text")
    elif shape.get("type") != "json_object":
        conversation.unknown["response_format"] = value
    elif schema is None:
        conversation.output = OutputFormat("json")
    else:
        conversation.output = OutputFormat(
            "schema", check_dict(schema, "response_format.json_schema"), name="response", strict=True
        )


def _read_thinking(conversation: Conversation, value: Any) -> None:
    config = {name: item for name, item in check_dict(value, "thinking").items() if item is not None}
    kind = config.pop("type", None)
    if kind not in ("enabled", "disabled"):
        refuse("thinking.type", "'enabled' or 'disabled'", kind)
    conversation.reasoning = Reasoning(enabled=kind == "enabled")
    if "token_budget" in config:
        conversation.reasoning.budget = check_int(config.pop("token_budget"), "thinking.token_budget")
    for name, item in config.items():
        conversation.unknown[f"thinking.{name}"] = item


def _read_stop(conversation: Conversation, value: Any) -> None:
    conversation.stop = [
        check_str(item, f"stop_sequences.{index}") for index, item in enumerate(check_list(value, "stop_sequences"))
    ]


_SIMPLE: dict[str, tuple[str, Any]] = {
    "max_tokens": ("max_tokens", check_int),
    "temperature": ("temperature", check_number),
    "p": ("top_p", check_number),
    "k": ("top_k", check_int),
    "seed": ("seed", check_int),
    "frequency_penalty": ("frequency_penalty", check_number),
    "presence_penalty": ("presence_penalty", check_number),
    "logprobs": ("logprobs", check_bool),
    "stream": ("stream", check_bool),
}

_SPECIAL = {
    "response_format": _read_format,
    "thinking": _read_thinking,
    "stop_sequences": _read_stop,
}
