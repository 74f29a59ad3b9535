"""Reads an OpenAI chat completion request into the canonical conversation.

Source of the format: https://platform.openai.com/docs/api-reference/chat/create and the `openai` SDK's types, with the
fields that hosts of this dialect added (`reasoning_content`, `reasoning_details`, `reasoning`, `images`, `top_k`,
`cache_control`, Mistral's thinking parts).

What the canonical conversation has no place for is kept, so that this dialect gets it back and others report it:

- unknown top-level fields: `Conversation.unknown`, by name; fields of a function tool as `tools.INDEX.FIELD`;
- unknown content parts: an `Opaque` with the part as it came;
- everything else inside messages: an `Opaque` whose value has one key that says where it belongs: `$part` (fields of
  the part before it), `$fields` (fields of the message), `$tool_call` (a call of an unknown kind), `$message` (a whole
  message of an unknown role).

Normalised on the way, with no change of meaning: `developer` is `system`; leading system messages become
`Conversation.system`; a run of `tool` messages becomes one user turn of tool results; content given as one text part
and as a string are the same; `max_completion_tokens` is `max_tokens`; thoughts are the same in whatever field; null
means absent.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.citations import attach, read_annotations
from freehold.dialects.chat.content import DIALECT, cache_ttl, json_text, read_content, thought_signature
from freehold.dialects.chat.made import read_audio, read_images
from freehold.dialects.chat.settings import read_settings, read_tools
from freehold.dialects.chat.thoughts import foreign_details, read_thoughts
from freehold.dialects.conversation import (
    Conversation,
    Opaque,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from freehold.dialects.turns import Places
from freehold.dialects.wire import check_dict, check_list, check_str, decode_request, refuse
from freehold.errors import BadRequest

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_request(body: bytes) -> Conversation:
    """Raises BadRequest, its `param` the dotted path of the field (`messages.2.content`)."""
    fields = decode_request(_DECODER, body)
    if "model" not in fields:
        raise BadRequest("The request has no 'model'.", param="model", code="missing_required_parameter")
    if "messages" not in fields:
        raise BadRequest("The request has no 'messages'.", param="messages", code="missing_required_parameter")
    conversation = Conversation(model=check_str(fields.pop("model"), "model"), dialect=DIALECT)
    _read_messages(conversation, check_list(fields.pop("messages"), "messages"))
    read_tools(conversation, fields)
    read_settings(conversation, fields)
    return conversation


def _read_messages(conversation: Conversation, messages: list[Any]) -> None:
    results: Turn | None = None
    places = Places(conversation)
    for index, raw in enumerate(messages):
        places.note(index - 1)
        path = f"messages.{index}"
        message = dict(check_dict(raw, path))
        role = check_str(message.pop("role", None), f"{path}.role")
        if role == "tool":
            if results is None:
                results = Turn(role="user")
                conversation.turns.append(results)
            results.parts.extend(_read_tool_message(message, path))
            continue
        results = None
        if role in ("system", "developer"):
            turn = Turn(role="system", name=_name(message, path))
            turn.parts = read_content(message.pop("content", None), path) + _rest(message)
            if conversation.turns or turn.name is not None:
                conversation.turns.append(turn)
            else:
                conversation.system.extend(turn.parts)
        elif role == "user":
            turn = Turn(role="user", name=_name(message, path))
            turn.parts = read_content(message.pop("content", None), path) + _rest(message)
            conversation.turns.append(turn)
        elif role == "assistant":
            turn = Turn(role="assistant", name=_name(message, path))
            turn.parts = read_assistant(message, path)
            conversation.turns.append(turn)
        else:
            conversation.turns.append(Turn(role="user", parts=[Opaque(DIALECT, {"$message": raw})]))
    places.close(len(messages) - 1)


def read_assistant(message: dict[str, Any], path: str) -> list[Part]:
    """The parts of an assistant message: thoughts, content, refusal, audio, calls, then fields we do not know.

    `message` is consumed. Raises BadRequest.
    """
    thoughts = message.pop("reasoning_content", None)
    other = message.pop("reasoning", None)
    if (plain := thoughts or other) and not isinstance(plain, str):
        refuse(f"{path}.reasoning_content", "a string", plain)
    details = check_list(message.pop("reasoning_details", None) or [], f"{path}.reasoning_details")
    parts: list[Part] = list(read_thoughts(plain or "", details))
    parts += read_content(message.pop("content", None), path)
    citations, notes = read_annotations(message.pop("annotations", None))
    attach(parts, citations)
    if (refusal := message.pop("refusal", None)) is not None:
        parts.append(Refusal(check_str(refusal, f"{path}.refusal")))
    if (audio := message.pop("audio", None)) is not None:
        parts.append(read_audio(check_dict(audio, f"{path}.audio")))
    images, pictures = read_images(message.pop("images", None))
    parts += images
    for number, call in enumerate(check_list(message.pop("tool_calls", None) or [], f"{path}.tool_calls")):
        parts.append(_read_call(call, f"{path}.tool_calls.{number}"))
    unread = {"annotations": notes, "images": pictures, "reasoning_details": foreign_details(details)}
    message |= {name: rest for name, rest in unread.items() if rest}
    return parts + _rest(message)


def _read_call(raw: Any, path: str) -> Part:
    call = check_dict(raw, path)
    kind = call.get("type", "function")
    if kind == "custom":
        custom = check_dict(call.get("custom"), f"{path}.custom")
        return ToolCall(
            id=check_str(call.get("id") or "", f"{path}.id"),
            name=check_str(custom.get("name"), f"{path}.custom.name"),
            arguments=check_str(custom.get("input", ""), f"{path}.custom.input"),
            custom=True,
        )
    if kind not in ("function", None):
        return Opaque(DIALECT, {"$tool_call": raw})
    function = check_dict(call.get("function"), f"{path}.function")
    return ToolCall(
        id=check_str(call.get("id") or "", f"{path}.id"),
        name=check_str(function.get("name"), f"{path}.function.name"),
        arguments=json_text(function.get("arguments")),
        signature=thought_signature(call),
        cache=cache_ttl(call),
    )


def _read_tool_message(message: dict[str, Any], path: str) -> list[Part]:
    result = ToolResult(id=check_str(message.pop("tool_call_id", None), f"{path}.tool_call_id"))
    result.name = _name(message, path)
    content = read_content(message.pop("content", None), path)
    if len(content) == 1 and isinstance(content[0], Text) and content[0].cache is not None:
        result.cache, content[0].cache = content[0].cache, None
    result.parts = content
    return [result, *_rest(message)]


def _name(message: dict[str, Any], path: str) -> str | None:
    name = message.pop("name", None)
    return None if name is None else check_str(name, f"{path}.name")


def _rest(message: dict[str, Any]) -> list[Part]:
    unknown = {name: value for name, value in message.items() if value is not None}
    return [Opaque(DIALECT, {"$fields": unknown})] if unknown else []
