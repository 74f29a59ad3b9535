"""Writes a canonical reply as a chat completion for a client.

Thoughts stand in `reasoning_content`; where one is signed they all stand in `reasoning_details` too, so that a client
that sends the message back unchanged brings the signatures with it (thoughts.py). Citations are `annotations`, sound
and pictures are `audio` and `images`.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.citations import write_annotation
from freehold.dialects.chat.content import DIALECT, merge_fields
from freehold.dialects.chat.made import write_audio, write_image
from freehold.dialects.chat.thoughts import is_signed, write_details
from freehold.dialects.chat.usage import FINISH_WORD, write_usage
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)

SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast")
"""OpenAI's words. Clients check them, so another host's word is left out."""


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The `chat.completion` object. `created` (Unix seconds) counts where the reply has no time of its own."""
    body: dict[str, Any] = {
        "id": reply.id,
        "object": "chat.completion",
        "created": reply.created or created,
        "model": reply.model,
        "choices": [_write_choice(choice, losses) for choice in reply.choices],
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    if reply.service_tier in SERVICE_TIERS:
        body["service_tier"] = reply.service_tier
    elif reply.service_tier is not None:
        _lose(losses, "service_tier")
    return msgspec.json.encode(body)


def _write_choice(choice: Choice, losses: Losses) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    thoughts = [part for part in choice.parts if isinstance(part, Thinking)]
    if text := "".join(thought.text for thought in thoughts):
        message["reasoning_content"] = text
    if any(is_signed(thought) for thought in thoughts):
        message["reasoning_details"] = write_details(thoughts)
    calls: list[dict[str, Any]] = []
    for part in choice.parts:
        if isinstance(part, Text):
            _write_text(part, message, losses)
        elif isinstance(part, ToolCall):
            calls.append(write_call(part))
        elif isinstance(part, Refusal):
            message["refusal"] = (message["refusal"] or "") + part.text
        elif isinstance(part, Audio) and (part.data or part.transcript):
            message["audio"] = write_audio(part)
        elif isinstance(part, Image) and (image := write_image(part, len(message.get("images", ())))) is not None:
            message.setdefault("images", []).append(image)
        elif isinstance(part, Opaque) and part.dialect == DIALECT and isinstance(part.value, dict):
            _write_opaque(part.value, message, calls, losses)
        elif not isinstance(part, Thinking):
            _lose(losses, _kind(part))
    if calls:
        message["tool_calls"] = calls
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": FINISH_WORD[choice.finish],
    }


def _write_text(part: Text, message: dict[str, Any], losses: Losses) -> None:
    offset = len(message["content"] or "")
    message["content"] = (message["content"] or "") + part.text
    for citation in part.citations or ():
        if (annotation := write_annotation(citation, offset, len(part.text))) is None:
            _lose(losses, "citations")
        else:
            message.setdefault("annotations", []).append(annotation)


def write_call(call: ToolCall) -> dict[str, Any]:
    """A whole tool call. Gemini's signature goes where its own OpenAI path puts it, so that clients send it back."""
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    written: dict[str, Any] = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if call.signature is not None:
        written["extra_content"] = {"google": {"thought_signature": call.signature}}
    return written


def _write_opaque(value: dict[str, Any], message: dict[str, Any], calls: list[dict[str, Any]], losses: Losses) -> None:
    if "$fields" in value:
        merge_fields(message, value["$fields"])
    elif "$tool_call" in value:
        calls.append(value["$tool_call"])
    else:  # a part of a list content; the answer's content is one string
        _lose(losses, f"content.{value.get('type')}")


def _kind(part: Part) -> str:
    if isinstance(part, Opaque) and isinstance(part.value, dict):
        return str(part.value.get("type") or part.dialect)
    return type(part).__name__.lower()


def _lose(losses: Losses, name: str) -> None:
    if name not in losses:
        losses.append(name)
