"""Writes canonical parts as Gemini parts.

Source of the format: https://ai.google.dev/api/caching#Part. A tool result becomes a `functionResponse`, its images and
files follow it as parts of their own. Thoughts of others cannot go back; Google's own carry a tag (`thinking.py`).
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
from freehold.dialects.gemini.reply import DIALECT
from freehold.dialects.media import guess, sniff, split_data_url
from freehold.dialects.thinking import GEMINI_TAG
from freehold.dialects.tool_calls import json_object
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name, word

WirePart = dict[str, Any]

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3", "flac": "audio/flac", "ogg": "audio/ogg", "aac": "audio/aac"}


def write_part(part: Part, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    """The wire parts for `part`, none to several. `where` is `messages.INDEX`, `dialect` the client's."""
    match part:
        case Text():
            return _text(part, where, losses)
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


def _text(part: Text, where: str, losses: Losses) -> list[WirePart]:
    if part.citations:
        losses.append(f"{where}.citations")
    if part.signature is not None:
        return [{"text": part.text, "thoughtSignature": part.signature}]
    return [{"text": part.text}] if part.text else []


def _call(part: ToolCall, where: str, losses: Losses) -> WirePart:
    arguments = json_object(part.arguments, f"{where}.tool_calls", losses)
    wire: WirePart = {"functionCall": {"name": part.name, "args": arguments, "id": part.id}}
    if part.signature is not None:
        wire["thoughtSignature"] = part.signature
    return wire


def _result(part: ToolResult, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    texts = []
    media: list[WirePart] = []
    for inner in part.parts:
        if isinstance(inner, Text):
            texts.append(inner.text)
        else:
            media += write_part(inner, where, losses, dialect)
    text = "\n".join(texts)
    response: Any
    if part.is_error:
        response = {"error": text}
    elif _is_object(text):
        response = Raw(text.encode())
    else:
        response = {"output": text}
    return [{"functionResponse": {"name": part.name, "response": response, "id": part.id}}, *media]


def _is_object(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        _OBJECT.decode(text)
    except MALFORMED:
        return False
    return True


def _thinking(part: Thinking, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    if part.signature is not None and part.signature.startswith(GEMINI_TAG):
        return [{"text": part.text, "thought": True, "thoughtSignature": part.signature[len(GEMINI_TAG) :]}]
    losses.append(f"{where}.{word(dialect, 'thinking')}")
    return []


def _image(part: Image, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    if part.detail not in (None, "auto"):
        losses.append(f"{where}.image.detail")
    wire = _blob(part.media_type, part.data, part.url, "image/png") or _file(part.file_id, dialect)
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


def _file(file_id: str | None, dialect: str) -> WirePart | None:
    """An id of another provider's file store means nothing here."""
    return {"fileData": {"fileUri": file_id}} if file_id is not None and dialect == DIALECT else None


def _audio(part: Audio, where: str, losses: Losses) -> list[WirePart]:
    if part.data is not None:
        kind = _AUDIO.get(part.format or "wav", f"audio/{part.format}")
        return [{"inlineData": {"mimeType": kind, "data": part.data}}]
    losses.append(f"{where}.audio")
    return [{"text": part.transcript}] if part.transcript else []


def _document(part: Document, where: str, losses: Losses, dialect: str) -> list[WirePart]:
    losses += [f"{where}.document.{name}" for name in ("title", "context", "citations") if getattr(part, name)]
    if part.text is not None:
        return [{"text": part.text}] if part.text else []
    wire = _blob(part.media_type, part.data, part.url, "application/pdf") or _file(part.file_id, dialect)
    if wire is None:
        losses.append(f"{where}.document")
    return [wire] if wire is not None else []
