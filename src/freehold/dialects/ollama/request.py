"""Reads an Ollama chat request (`/api/chat`) into the canonical conversation.

Source of the format: https://docs.ollama.com/openapi.yaml, Ollama's `api/types.go`, the `ollama` SDK's types (0.6.3).

- Tool calls have an `id` only since 2025, and the official Python client drops it: an absent one is made up from the
  call's place and content, the same every time, so that a replay meets the same ids and prompt caches still hit. A
  result finds its call by `tool_call_id`, else by `tool_name`, else by order.
- Images are bare base64 beside the text, and stand before it in the prompt, as Ollama itself places them.
- What the canonical conversation has no place for is kept as in the chat dialect: an `Opaque` with one key that says
  where it belongs: `$fields` (fields of the message), `$part` (of the call before it), `$message` (a whole message of
  an unknown role, as Granite's `control`). Settings: see settings.py.

Normalised on the way, with no change of meaning: leading system messages become `Conversation.system`; a run of `tool`
messages becomes one user turn of tool results; roles may be written in capitals; null means absent.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import (
    Conversation,
    Image,
    Opaque,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from freehold.dialects.media import sniff, split_data_url
from freehold.dialects.ollama.settings import DIALECT, read_settings
from freehold.dialects.tool_calls import generated_id
from freehold.dialects.turns import Places
from freehold.dialects.wire import check_dict, check_list, check_str, decode_request
from freehold.errors import BadRequest

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_request(body: bytes) -> Conversation:
    """Raises BadRequest, its `param` the dotted path of the field (`messages.2.content`)."""
    fields = decode_request(_DECODER, body)
    conversation = Conversation(model=read_model(fields), dialect=DIALECT)
    _read_messages(conversation, check_list(fields.pop("messages", None) or [], "messages"))
    for index, raw in enumerate(check_list(fields.pop("tools", None) or [], "tools")):
        conversation.tools.append(_read_tool(check_dict(raw, f"tools.{index}"), f"tools.{index}", conversation))
    read_settings(conversation, fields)
    return conversation


def read_model(fields: dict[str, Any]) -> str:
    if fields.get("model") is None:
        raise BadRequest("The request has no 'model'.", param="model", code="missing_required_parameter")
    return check_str(fields.pop("model"), "model")


class _Calls:
    """The calls of the last assistant message that still wait for a result, in order."""

    def __init__(self) -> None:
        self.waiting: list[ToolCall] = []

    def answer(self, identity: str | None, name: str | None, place: str) -> str:
        """The id of the call that a result belongs to; a result without a call gets an id of its own."""
        for call in self.waiting:
            if (identity is not None and call.id == identity) or (identity is None and name in (None, call.name)):
                self.waiting.remove(call)
                return call.id
        return identity or generated_id(place, 0, name or "")


def _read_messages(conversation: Conversation, messages: list[Any]) -> None:
    calls = _Calls()
    results: Turn | None = None
    places = Places(conversation)
    for index, raw in enumerate(messages):
        places.note(index - 1)
        path = f"messages.{index}"
        message = {name: value for name, value in check_dict(raw, path).items() if value is not None}
        role = check_str(message.pop("role", None), f"{path}.role").lower()
        if role == "tool":
            if results is None:
                results = Turn("user")
                conversation.turns.append(results)
            results.parts += _read_result(message, path, calls)
            continue
        results = None
        if role == "assistant":
            conversation.turns.append(Turn("assistant", _read_assistant(message, path, calls)))
        elif role == "user":
            conversation.turns.append(Turn("user", _read_content(message, path) + _rest(message)))
        elif role == "system":
            parts = _read_content(message, path) + _rest(message)
            if conversation.turns:
                conversation.turns.append(Turn("system", parts))
            else:
                conversation.system += parts
        else:
            conversation.turns.append(Turn("user", [Opaque(DIALECT, {"$message": raw})]))
    places.close(len(messages) - 1)


def _read_content(message: dict[str, Any], path: str) -> list[Part]:
    parts = read_images(message.pop("images", None), f"{path}.images")
    text = check_str(message.pop("content", ""), f"{path}.content")
    return [*parts, Text(text)] if text or not parts else parts


def read_images(raw: Any, path: str) -> list[Part]:
    """Base64 images; a data URL, which Ollama itself would refuse, is understood too. Raises BadRequest."""
    parts: list[Part] = []
    for index, item in enumerate(check_list(raw or [], path)):
        data = check_str(item, f"{path}.{index}")
        kind, data = split_data_url(data) or (None, data)
        parts.append(Image(kind or sniff(data), data))
    return parts


def _read_assistant(message: dict[str, Any], path: str, calls: _Calls) -> list[Part]:
    parts: list[Part] = []
    if thinking := check_str(message.pop("thinking", ""), f"{path}.thinking"):
        parts.append(Thinking(thinking))
    raw_calls = check_list(message.pop("tool_calls", []), f"{path}.tool_calls")
    content = _read_content(message, path)
    if content != [Text("")] or not (parts or raw_calls):
        parts += content
    if raw_calls:
        calls.waiting = []
    for number, raw in enumerate(raw_calls):
        where = f"{path}.tool_calls.{number}"
        call = check_dict(raw, where)
        function = dict(check_dict(call.get("function"), f"{where}.function"))
        name = check_str(function.pop("name", None), f"{where}.function.name")
        arguments = _arguments(function.pop("arguments", None))
        identity = check_str(call.get("id") or "", f"{where}.id")
        part = ToolCall(identity or generated_id(path, number, name + arguments), name, arguments)
        parts.append(part)
        calls.waiting.append(part)
        function.pop("index", None)
        if function:
            parts.append(Opaque(DIALECT, {"$part": function}))
    return parts + _rest(message)


def _arguments(raw: Any) -> str:
    """An object as JSON text; clients of other servers send the text itself."""
    if isinstance(raw, str):
        return raw if raw.strip() else "{}"
    return msgspec.json.encode(raw).decode() if raw else "{}"


def _read_result(message: dict[str, Any], path: str, calls: _Calls) -> list[Part]:
    identity = message.pop("tool_call_id", None)
    name = message.pop("tool_name", None) or message.pop("name", None)
    if identity is not None:
        identity = check_str(identity, f"{path}.tool_call_id") or None
    if name is not None:
        name = check_str(name, f"{path}.tool_name")
    result = ToolResult(calls.answer(identity, name, path), _read_content(message, path), name)
    return [result, *_rest(message)]


def _rest(message: dict[str, Any]) -> list[Part]:
    return [Opaque(DIALECT, {"$fields": message})] if message else []


def _read_tool(tool: dict[str, Any], path: str, conversation: Conversation) -> Tool:
    kind = tool.get("type") or "function"
    if kind != "function" or "function" not in tool:
        name = tool.get("name")
        return Tool(name if isinstance(name, str) else str(kind), opaque=Opaque(DIALECT, tool))
    function = dict(check_dict(tool["function"], f"{path}.function"))
    description, schema = function.pop("description", None), function.pop("parameters", None)
    read = Tool(
        check_str(function.pop("name", None), f"{path}.function.name"),
        None if description is None else check_str(description, f"{path}.function.description"),
        None if schema is None else check_dict(schema, f"{path}.function.parameters"),
    )
    for name, value in function.items():
        if value is not None:
            conversation.unknown[f"{path}.{name}"] = value
    return read
