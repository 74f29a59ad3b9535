"""Writes canonical parts as Gemini parts.

Source of the format: https://ai.google.dev/api/caching#Part. A tool result becomes a `functionResponse`, its images and
files follow it as parts of their own (inside it, where a Gemini client had them there). Thoughts of others cannot go
back; Google's own carry a tag (`thinking.py`). What stood in an `Opaque` of the key `$part` returns to its part.
"""

from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.conversation import (
    Audio,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from freehold.dialects.gemini.media import audio_kind
from freehold.dialects.gemini.proto import DIALECT
from freehold.dialects.media import guess, sniff, split_data_url
from freehold.dialects.thinking import GEMINI_TAG
from freehold.dialects.tool_calls import json_object
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name, word

WirePart = dict[str, Any]

_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def write_part(part: Part, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    """The wire parts for `part`, none to several. `where` is `messages.INDEX`, `dialect` the client's."""
    match part:
        case Text():
            return _text(part, where, losses, dialect)
        case ToolCall():
            return [_call(part, where, losses)]
        case ToolResult():
            return _result(part, where, losses, dialect)
        case Thinking():
            return _thinking(part, where, losses, dialect)
        case Image():
            return _image(part, where, losses, dialect)
        case Audio():
            return _audio(part, where, losses)
        case Document():
            return _document(part, where, losses, dialect)
        case Refusal():
            return [{"text": part.text}] if part.text else []
        case Opaque():
            if part.dialect == DIALECT:
                return [part.value]
            losses.append(f"{where}.{opaque_name(part.value)}")
            return []


def extra_fields(part: Part) -> dict[str, Any] | None:
    """Further fields of the part before, by dotted name, that a Gemini client sent; None where `part` holds none."""
    if type(part) is Opaque and part.dialect == DIALECT and isinstance(part.value, dict) and len(part.value) == 1:
        fields: dict[str, Any] | None = part.value.get("$part")
        return fields
    return None


def add_fields(wire: WirePart, fields: dict[str, Any]) -> None:
    """Puts fields with dotted names where they belong."""
    for name, value in fields.items():
        head, dot, tail = name.partition(".")
        wire[head] = {**wire.get(head, {}), tail: value} if dot else value


def _text(part: Text, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    if part.citations:
        losses.append(f"{where}.citations")
    if part.signature is not None:
        return [{"text": part.text, "thoughtSignature": part.signature}]
    return [{"text": part.text}] if part.text or dialect == DIALECT else []


def _call(part: ToolCall, where: str, losses: Losses) -> WirePart:
    arguments = call_arguments(part.arguments, part.custom, where, losses)
    wire: WirePart = {"functionCall": {"name": part.name, "args": arguments, "id": part.id}}
    if part.signature is not None:
        wire["thoughtSignature"] = part.signature
    return wire


def call_arguments(arguments: str, custom: bool, where: str, losses: Losses) -> Any:
    """`args`, an object always: the free text of a custom tool stands under `input`."""
    return {"input": arguments} if custom else json_object(arguments, f"{where}.tool_calls", losses)


def _result(part: ToolResult, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    texts = []
    media: list[WirePart] = []
    extra: dict[str, Any] = {}
    for inner in part.parts:
        if isinstance(inner, Text):
            texts.append(inner.text)
        elif (fields := extra_fields(inner)) is not None:
            extra = fields
        else:
            media += write_part(inner, where, losses, dialect)
    text = "\n".join(texts)
    response: Any
    if _is_object(text, "error" if part.is_error else None):
        response = Raw(text.encode())
    else:
        response = {"error" if part.is_error else "output": text}
    answer: WirePart = {"functionResponse": {"name": part.name, "response": response, "id": part.id}}
    if dialect == DIALECT and media:
        answer["functionResponse"]["parts"] = media
        media = []
    add_fields(answer, extra)
    return [answer, *media]


def _is_object(text: str, key: str | None) -> bool:
    """Whether `text` is a JSON object, with `key` in it."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        fields = _OBJECT.decode(text)
    except MALFORMED:
        return False
    return key is None or key in fields


def _thinking(part: Thinking, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    if part.signature is not None and part.signature.startswith(GEMINI_TAG):
        return [{"text": part.text, "thought": True, "thoughtSignature": part.signature[len(GEMINI_TAG) :]}]
    if dialect == DIALECT and part.signature is None and part.redacted is None:
        return [{"text": part.text, "thought": True}]
    losses.append(f"{where}.{word(dialect, 'thinking')}")
    return []


def _image(part: Image, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    if part.detail not in (None, "auto"):
        losses.append(f"{where}.image.detail")
    wire = _blob(part.media_type, part.data, part.url, "image/png") or _file(part.file_id, part.media_type, dialect)
    if wire is None:
        losses.append(f"{where}.image")
    return [wire] if wire is not None else []


def _blob(media_type: str | None, data: str | None, url: str | None, default: str) -> WirePart | None:
    """Base64 inline; a URL, of Google's file service or any public one, by reference."""
    if url is not None:
        parsed = split_data_url(url)
        if parsed is None:
            if url.startswith("data:"):
                return None
            return {"fileData": {"mimeType": media_type or guess(url) or default, "fileUri": url}}
        media_type, data = parsed
    if data is None:
        return None
    return {"inlineData": {"mimeType": media_type or sniff(data) or default, "data": data}}


def _file(file_id: str | None, media_type: str | None, dialect: str) -> WirePart | None:
    """An id of another provider's file store means nothing here."""
    if file_id is None or dialect != DIALECT:
        return None
    return {"fileData": {"mimeType": media_type, "fileUri": file_id} if media_type else {"fileUri": file_id}}


def _audio(part: Audio, where: str, losses: Losses) -> list[WirePart]:
    if part.data is not None:
        return [{"inlineData": {"mimeType": audio_kind(part.format), "data": part.data}}]
    losses.append(f"{where}.audio")
    return [{"text": part.transcript}] if part.transcript else []


def _document(part: Document, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    losses += [f"{where}.document.{name}" for name in ("title", "context", "citations") if getattr(part, name)]
    if part.text is not None:
        return [{"text": part.text}] if part.text else []
    wire = _blob(part.media_type, part.data, part.url, "application/pdf") or _file(
        part.file_id, part.media_type, dialect
    )
    if wire is None:
        losses.append(f"{where}.document")
    return [wire] if wire is not None else []
