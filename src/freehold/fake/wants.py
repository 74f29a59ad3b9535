"""What an `Ask` wants of the answer, looked up only where a rule, an echo, a tool or a schema needs it."""

from typing import Any

import msgspec
from msgspec import Raw

from freehold.fake.ask import Ask, ToolSpec


def _json(raw: Raw | None) -> Any:
    """Decodes a raw field; `null` and absence are the same."""
    return None if raw is None else msgspec.json.decode(raw)


def last_user(ask: Ask) -> str:
    """Returns the text of the last user message, or the prompt, or an empty string."""
    messages = _json(ask.messages)
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        return ""
    if messages and all(isinstance(item, str) for item in messages):
        return str(messages[-1])
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role", "user") == "user":
            text = _text(message.get("content", message.get("parts")))
            if text:
                return text
    return ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    found = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in found if isinstance(text, str))


def answers_tool(ask: Ask) -> bool:
    """Tells whether the last message carries tool results: then a tool-calling script has had its turn."""
    messages = _json(ask.messages)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict):
        return False
    if last.get("role") == "tool" or last.get("type") == "function_call_output":
        return True
    parts = last.get("content", last.get("parts"))
    return isinstance(parts, list) and any(
        isinstance(part, dict)
        and (part.get("type") == "tool_result" or "functionResponse" in part or "toolResult" in part)
        for part in parts
    )


def tools(ask: Ask) -> list[ToolSpec]:
    """Returns the function tools offered, in order; other kinds of tools are skipped."""
    offered = _json(ask.tools)
    if ask.operation == "converse":
        offered = _converse_tools(offered)
    found: list[ToolSpec] = []
    for tool in offered if isinstance(offered, list) else []:
        if not isinstance(tool, dict):
            continue
        if ask.operation == "generate":
            declared = tool.get("functionDeclarations") or tool.get("function_declarations") or []
        else:
            declared = [tool.get("function", tool)]
        for spec in declared:
            if (
                isinstance(spec, dict)
                and isinstance(spec.get("name"), str)
                and spec.get("type") in (None, "function", "custom")
            ):
                parameters: dict[str, Any] = next(
                    (spec[key] for key in _SCHEMA_KEYS if isinstance(spec.get(key), dict)), {}
                )
                found.append(ToolSpec(spec["name"], parameters))
    return found


def _converse_tools(config: Any) -> list[Any]:
    """The tools of a `toolConfig`, in the words of the others."""
    offered = config.get("tools") if isinstance(config, dict) else None
    specs = [tool.get("toolSpec") for tool in offered or () if isinstance(tool, dict)]
    return [
        {"name": spec.get("name"), "parameters": (spec.get("inputSchema") or {}).get("json")}
        for spec in specs
        if isinstance(spec, dict)
    ]


_SCHEMA_KEYS = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")


def forced_tool(ask: Ask) -> str | None:
    """Returns the tool the request insists on: its name, "" for any, None when a text will do."""
    choice = _json(ask.tool_choice)
    if isinstance(choice, str):
        return "" if choice.lower() in ("required", "any") else None
    if not isinstance(choice, dict):
        return None
    if ask.operation == "generate":
        calling = choice.get("functionCallingConfig") or {}
        names = calling.get("allowedFunctionNames") or [""]
        return str(names[0]) if calling.get("mode") == "ANY" else None
    if ask.operation == "converse":
        choice = choice.get("toolChoice") or {}
        return "" if "any" in choice else (choice.get("tool") or {}).get("name")
    if choice.get("type") == "any":
        return ""
    name = (choice.get("function") or choice).get("name")
    return name if isinstance(name, str) else None


def schema(ask: Ask) -> dict[str, Any] | bool | None:
    """Returns the JSON schema the answer must match, True for any JSON object, None for plain text."""
    output = _json(ask.output)
    if ask.family == "ollama":
        return True if output == "json" else output if isinstance(output, dict) else None
    if not isinstance(output, dict):
        return None
    wanted: Any
    if ask.operation == "converse":
        return _converse_schema(output)
    if ask.operation == "generate":
        wanted = output.get("responseJsonSchema") or output.get("responseSchema")
        return wanted or (output.get("responseMimeType") == "application/json" or None)
    form = output.get("format", output)
    if not isinstance(form, dict):
        return None
    if form.get("type") == "json_object":
        return form["json_schema"] if ask.family == "cohere" and isinstance(form.get("json_schema"), dict) else True
    if form.get("type") != "json_schema":
        return None
    wanted = form.get("schema") or (form.get("json_schema") or {}).get("schema")
    return wanted if isinstance(wanted, dict) else True


def _converse_schema(output: dict[str, Any]) -> dict[str, Any] | None:
    """Of an `outputConfig`, which carries the schema as JSON text."""
    structure = (output.get("textFormat") or {}).get("structure") or {}
    text = (structure.get("jsonSchema") or {}).get("schema")
    wanted = msgspec.json.decode(text) if isinstance(text, str) else None
    return wanted if isinstance(wanted, dict) else None
