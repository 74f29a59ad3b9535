"""Mistral's content chunks, to and from canonical parts.

Source: the `mistralai` SDK's `ContentChunk` (3.7): text, image_url, document_url, file, input_audio, thinking,
reference, resource, resource_link. The chat dialect knows the first two, and the chunks we have no part for stay an
`Opaque`. The others are read and written here:

    {"type": "document_url", "document_url": URL or data URL, "document_name"}      Document
    {"type": "file", "file_id"}                                                     Document
    {"type": "input_audio", "input_audio": base64, or a URL}                        Audio
    {"type": "thinking", "thinking": [text and reference chunks], "signature"}      Thinking

A signature is tagged as Mistral's, so that it returns to nobody else (dialects/thinking.py). References inside a
thought point at sources the thought does not name and are left out.
"""

from typing import Any

from freehold.dialects.chat.content import DIALECT as CHAT
from freehold.dialects.chat.content import thinking_text
from freehold.dialects.conversation import Audio, Document, Losses, Opaque, Part, Thinking
from freehold.dialects.media import sniff, split_data_url

DIALECT = "mistral"

MISTRAL_TAG = "mistral:"
"""Put before the signature of a thought that is Mistral's."""

ASIDE = "mistral:"
"""Put before the type of a chunk that the chat reader would take for one of its own."""

CHUNKS = frozenset(
    {"text", "image_url", "document_url", "file", "input_audio", "thinking", "reference", "resource", "resource_link"}
)


def read_chunk(raw: dict[str, Any]) -> Part | None:
    """The part for a chunk of Mistral's own; None for one that has no part, or is malformed."""
    kind = raw.get("type")
    kind = kind.removeprefix(ASIDE) if isinstance(kind, str) else ""
    value = raw.get(kind)
    if kind == "document_url" and isinstance(value, str):
        name = raw.get("document_name")
        document = Document(title=name if isinstance(name, str) else None)
        if (parsed := split_data_url(value)) is not None:
            document.media_type, document.data = parsed
        else:
            document.url = value
        return document
    if kind == "file" and isinstance(identity := raw.get("file_id"), str):
        return Document(file_id=identity)
    if kind == "input_audio" and isinstance(value, str) and not value.startswith(("http://", "https://")):
        parsed = split_data_url(value)
        if parsed is None:
            return Audio(data=value)
        return Audio(data=parsed[1], format=(parsed[0] or "").rpartition("/")[2] or None)
    if kind == "thinking":
        return read_thinking(raw)
    return None


def read_thinking(raw: dict[str, Any]) -> Thinking:
    signature = raw.get("signature")
    return Thinking(thinking_text(raw), MISTRAL_TAG + signature if isinstance(signature, str) and signature else None)


def write_thinking(text: str, signature: str | None) -> dict[str, Any]:
    """`signature` counts only where it is Mistral's."""
    chunk: dict[str, Any] = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
    if signature is not None and signature.startswith(MISTRAL_TAG):
        chunk["signature"] = signature[len(MISTRAL_TAG) :]
    return chunk


def write_document(part: Document, own: bool, where: str, losses: Losses) -> Part | None:
    """A chunk for the chat writer to put where it stands; a document that is text stays one.

    None for one that is lost: an id of another provider's file store means nothing here.
    """
    if part.text is not None:
        return part
    chunk: dict[str, Any] = {"type": "document_url"}
    if part.data is not None:
        kind = part.media_type or sniff(part.data) or "application/pdf"
        chunk["document_url"] = f"data:{kind};base64,{part.data}"
    elif part.url is not None:
        chunk["document_url"] = part.url
    elif own and part.file_id is not None:
        return Opaque(CHAT, {"type": "file", "file_id": part.file_id})
    else:
        losses.append(f"{where}.document")
        return None
    if part.title is not None:
        chunk["document_name"] = part.title
    if part.context is not None or part.citations:
        losses.append(f"{where}.document.{'citations' if part.citations else 'context'}")
    return Opaque(CHAT, chunk)


def is_chunk(value: Any) -> bool:
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind in CHUNKS


def relabel(part: Part) -> Part:
    """A chunk the chat dialect's reader kept or set aside, as a part or as this dialect's own."""
    if type(part) is not Opaque or part.dialect != CHAT:
        return part
    value = part.value
    if isinstance(value, dict) and isinstance(kind := value.get("type"), str):
        if (known := read_chunk(value)) is not None:
            return known
        if kind.startswith(ASIDE):
            return Opaque(DIALECT, {**value, "type": kind.removeprefix(ASIDE)})
    return Opaque(DIALECT, value)
