"""Writes canonical parts as Cohere's content blocks, documents and tool calls.

Whatever a block cannot carry is appended to the loss report under the index of the turn it stood in.
"""

from base64 import b64decode
from binascii import Error as BinasciiError
from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.cohere.content import DIALECT
from freehold.dialects.conversation import Audio, Document, Image, Losses, Opaque, Part, Refusal, Text, ToolCall
from freehold.dialects.media import sniff
from freehold.dialects.tool_calls import json_object
from freehold.dialects.words import opaque_name


def report(losses: Losses, name: str) -> None:
    """Adds `name` once."""
    if name not in losses:
        losses.append(name)


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def write_block(part: Part, where: str, losses: Losses) -> dict[str, Any] | None:
    """The block for a text, an image or what stands for a text; None where there is none. `where` is `messages.INDEX`.

    Empty texts are left out: the API refuses them, and they say nothing.
    """
    match part:
        case Text() | Refusal():
            return text_block(part.text) if part.text else None
        case Image():
            return _image(part, where, losses)
        case Audio():
            report(losses, f"{where}.audio")
            return text_block(part.transcript) if part.transcript else None
        case Opaque():
            if part.dialect == DIALECT:
                value: dict[str, Any] = part.value
                return value
            report(losses, f"{where}.{opaque_name(part.value)}")
            return None
    report(losses, f"{where}.{type(part).__name__.lower()}")
    return None


def add_opaque(part: Part, blocks: list[dict[str, Any]], message: dict[str, Any]) -> bool:
    """Gives back to `message` or to its last block the unknown fields in `part`. False where it holds none."""
    if type(part) is not Opaque or part.dialect != DIALECT or not isinstance(part.value, dict):
        return False
    if (fields := part.value.get("$part")) is not None:
        if blocks:
            blocks[-1] = {**blocks[-1], **fields}
        return True
    if (fields := part.value.get("$fields")) is not None:
        message.update(fields)
        return True
    return False


def shortest(blocks: list[dict[str, Any]]) -> Any:
    """A lone plain text as the string that stands for it."""
    if len(blocks) == 1 and len(blocks[0]) == 2 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    return blocks


def _image(part: Image, where: str, losses: Losses) -> dict[str, Any] | None:
    url = part.url
    if part.data is not None:
        url = f"data:{part.media_type or sniff(part.data) or 'image/png'};base64,{part.data}"
    if url is None:
        report(losses, f"{where}.image")
        return None
    image = {"url": url}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def write_document(part: Document, where: str, losses: Losses) -> Any:
    """An entry of `documents`; None for a file that is not text."""
    if part.raw is not None:
        return part.raw
    text = part.text if part.text is not None else _decoded(part)
    if text is None:
        report(losses, f"{where}.document")
        return None
    named = (("title", part.title), ("context", part.context), ("text", text))
    return {"data": {name: value for name, value in named if value is not None}}


def _decoded(part: Document) -> str | None:
    kind = part.media_type or ""
    if part.data is None or not (kind.startswith("text/") or kind in ("application/json", "application/xml")):
        return None
    try:
        return b64decode(part.data).decode()
    except (BinasciiError, ValueError):
        return None


def write_call(call: ToolCall, where: str, losses: Losses, own: bool) -> dict[str, Any]:
    """Arguments are a JSON object as text; the free text of a custom tool stands under `input`."""
    arguments = call.arguments
    if call.custom:
        arguments = msgspec.json.encode({"input": arguments}).decode()
    elif not own:
        checked = json_object(arguments, f"{where}.tool_calls", losses)
        arguments = arguments if isinstance(checked, Raw) else msgspec.json.encode(checked).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
