"""Reads a Mistral chat request into the canonical conversation, through the chat dialect's reader.

Chunks that have the name of an OpenAI part but another form (`input_audio`, `file`, `thinking`) are renamed before and
read after. Fields only Mistral has (`safe_prompt`, `prompt_mode`, `guardrails`, ...) are `Conversation.unknown`, those
of messages (`prefix`) an `Opaque` of this dialect; `prefix: false` is the default and dropped. `random_seed` is `seed`.
"""

from typing import Any

import msgspec

from freehold.dialects import chat
from freehold.dialects.conversation import Conversation, Opaque, Part, ToolResult
from freehold.dialects.mistral.content import ASIDE, DIALECT, relabel
from freehold.dialects.peek import Peek
from freehold.dialects.wire import check_int, decode_request

_DECODER = msgspec.json.Decoder(dict[str, Any])
_FALSE_FRIENDS = ("input_audio", "file", "thinking")
_MARKS = tuple(f'"{kind}"'.encode() for kind in _FALSE_FRIENDS)


def peek(body: bytes) -> Peek:
    """As the chat dialect's; usage always comes. Raises BadRequest."""
    result = chat.peek(body)
    result.include_usage = True
    return result


def read_request(body: bytes) -> Conversation:
    """Raises BadRequest, its `param` the dotted path of the field (`messages.2.content`)."""
    if any(mark in body for mark in _MARKS):
        body = _set_aside(body)
    conversation = chat.read_request(body)
    conversation.dialect = DIALECT
    conversation.include_usage = True
    conversation.system = _relabel(conversation.system)
    for turn in conversation.turns:
        turn.parts = _relabel(turn.parts)
    for tool in conversation.tools:
        if tool.opaque is not None:
            tool.opaque.dialect = DIALECT
    if (seed := conversation.unknown.pop("random_seed", None)) is not None:
        conversation.seed = check_int(seed, "random_seed")
    return conversation


def _set_aside(body: bytes) -> bytes:
    fields = decode_request(_DECODER, body)
    messages = fields.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for chunk in content if isinstance(content, list) else ():
            if isinstance(chunk, dict) and chunk.get("type") in _FALSE_FRIENDS:
                chunk["type"] = ASIDE + chunk["type"]
    return msgspec.json.encode(fields)


def _relabel(parts: list[Part]) -> list[Part]:
    kept: list[Part] = []
    for part in parts:
        if type(part) is ToolResult:
            part.parts = _relabel(part.parts)
        elif type(part) is Opaque and "$fields" in part.value:
            fields = dict(part.value["$fields"])
            if fields.get("prefix") is False:
                del fields["prefix"]
            if not fields:
                continue
            part.value = {"$fields": fields}
        kept.append(relabel(part))
    return kept
