"""Writes canonical parts as Converse content blocks.

A block is a union of one member (`{"text": ...}`, `{"image": {...}}`, `{"toolUse": {...}}`, ...):
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html. Bytes are base64, or a place in
S3; a web address is not understood and is reported. A cache point is a block of its own, after the one it marks.
"""

import re
from base64 import b64encode
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.conversation import (
    Audio,
    CacheTtl,
    Citation,
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
from freehold.dialects.converse.citations import DIALECT, write_citation
from freehold.dialects.converse.thoughts import is_claudes, write_redacted
from freehold.dialects.media import guess, sniff, split_data_url
from freehold.dialects.tool_calls import json_object
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name, word

Block = dict[str, Any]

IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENTS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/json": "txt",
    "application/xml": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
VIDEOS = {
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
SOUNDS = frozenset({"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "m4a", "mpeg", "pcm", "webm"})
MOST_NAME = 200

_IN_RESULTS = frozenset({"text", "json", "image", "document", "video", "searchResult"})

_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_CLAUDE_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAME = re.compile(r"[^a-zA-Z0-9\s\-()\[\]]+")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


class BlockWriter:
    """Writes the parts of one request; `dialect` is the client's, `maker` the model's, `unsigned`: it wants thoughts
    without a signature back."""

    def __init__(self, dialect: str, maker: str, losses: Losses, unsigned: bool = False) -> None:
        self._dialect = dialect
        self._maker = maker
        self._losses = losses
        self._unsigned = unsigned
        self._names: set[str] = set()

    def write(self, part: Part, where: str) -> list[Block]:
        """The blocks for `part`: none, one, or one and its cache point. `where` is `messages.INDEX`."""
        block = self._write(part, where)
        if block is None:
            return []
        cache: CacheTtl | None = getattr(part, "cache", None)
        return [block] if cache is None else [block, cache_point(cache)]

    def _write(self, part: Part, where: str) -> Block | None:
        match part:
            case Text():
                return self._text(part, where)
            case ToolCall():
                if part.custom:  # its tool came as a function with this one argument, see Tool.origin
                    arguments = {"input": part.arguments}
                else:
                    arguments = json_object(part.arguments, f"{where}.tool_calls", self._losses)
                return {"toolUse": {"toolUseId": self._id(part.id), "name": part.name, "input": arguments}}
            case ToolResult():
                return self._result(part, where)
            case Thinking():
                return self._thinking(part, where)
            case Image():
                return self._image(part, where)
            case Document():
                return self._document(part, where)
            case Audio():
                return self._audio(part, where)
            case Refusal():
                return {"text": part.text} if part.text.strip() else None
            case Opaque():
                return self._opaque(part, where)

    def _lose(self, name: str) -> None:
        self._losses.append(name)

    def _text(self, part: Text, where: str) -> Block | None:
        if not part.text or part.text.isspace():  # "The text field in the ContentBlock object is blank": 400
            return None
        if not part.citations:
            return {"text": part.text}
        written = [write_citation(item) if isinstance(item, Citation) else None for item in part.citations]
        known = [item for item in written if item is not None]
        if len(known) < len(written):
            self._lose(f"{where}.citations")
        if not known or self._maker != "anthropic":
            return {"text": part.text}
        return {"citationsContent": {"content": [{"text": part.text}], "citations": known}}

    def _id(self, tool_id: str) -> str:
        """The id, or another one made of it, always the same; it only has to agree inside the request."""
        if (_CLAUDE_ID if self._maker == "anthropic" else _ID).fullmatch(tool_id):
            return tool_id
        return f"call_{blake2b(tool_id.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"

    def _result(self, part: ToolResult, where: str) -> Block:
        content: list[Block] = []
        for inner in part.parts:
            block = self._write(inner, where)
            if block is None:
                continue
            if "text" in block and self._maker == "mistral":
                content.append({"json": _as_object(block["text"])})
            elif "citationsContent" in block:
                content += block["citationsContent"]["content"]
            elif (kind := next(iter(block), "")) in _IN_RESULTS:
                content.append(block)
            else:
                self._lose(f"{where}.tool_result.{kind}")
        result: Block = {"toolUseId": self._id(part.id), "content": content}
        if part.is_error:
            result["status"] = "error"
        return {"toolResult": result}

    def _thinking(self, part: Thinking, where: str) -> Block | None:
        """Claude takes back what it signed. Whoever never signs takes its own thoughts, where it wants them."""
        if part.redacted is not None:
            blob = write_redacted(part.redacted)
            if blob is not None and self._maker in ("anthropic", ""):
                return {"reasoningContent": {"redactedContent": blob}}
        elif is_claudes(part.signature) and self._maker in ("anthropic", ""):
            return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}
        elif self._unsigned and part.text and self._maker != "anthropic":
            return {"reasoningContent": {"reasoningText": {"text": part.text}}}
        self._lose(f"{where}.{word(self._dialect, 'thinking')}")
        return None

    # Media

    def _image(self, part: Image, where: str) -> Block | None:
        if part.detail not in (None, "auto"):
            self._lose(f"{where}.image.detail")
        media_type, source = _source(part.media_type, part.data, part.url)
        kind = IMAGES.get(media_type or "image/png")
        if source is None or kind is None:
            self._lose(f"{where}.image")
            return None
        return {"image": {"format": kind, "source": source}}

    def _audio(self, part: Audio, where: str) -> Block | None:
        kind = (part.format or "wav").lower()
        if part.data and kind in SOUNDS:
            return {"audio": {"format": kind, "source": {"bytes": part.data}}}
        self._lose(f"{where}.audio")
        return {"text": part.transcript} if (part.transcript or "").strip() else None

    def _document(self, part: Document, where: str) -> Block | None:
        if part.text is not None:
            told, source = _source("text/plain", b64encode(part.text.encode("utf-8", "replace")).decode(), None)
        else:
            told, source = _source(part.media_type, part.data, part.url)
        media_type = (told or "application/pdf").partition(";")[0].strip().lower()
        if source is not None and media_type in VIDEOS:
            return {"video": {"format": VIDEOS[media_type], "source": source}}
        kind = DOCUMENTS.get(media_type) or ("txt" if media_type.startswith("text/") else None)
        if source is None or kind is None:
            self._lose(f"{where}.document")
            return None
        document: Block = {"format": kind, "name": self._name(part.title, where), "source": source}
        if part.context is not None:
            document["context"] = part.context
        if part.citations is not None:
            document["citations"] = {"enabled": part.citations}
        return {"document": document}

    def _name(self, title: str | None, where: str) -> str:
        """A title in the letters allowed (the dot of a file's name becomes a hyphen); no two in a request are equal."""
        wanted = " ".join(_NAME.sub("-", title or "").split()).strip("-")
        if title and (not title.isascii() or not wanted or len(wanted) > MOST_NAME):
            self._lose(f"{where}.document.title")
        base = wanted[: MOST_NAME - 8] or "document"
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base} {number}"
        self._names.add(name)
        return name

    def _opaque(self, part: Opaque, where: str) -> Block | None:
        """Own blocks as they are; a guarded text or image, which no client's dialect has, by its own name; search
        results, which Claude has on both clouds."""
        value = part.value
        if part.dialect == DIALECT and isinstance(value, dict):
            return value
        if isinstance(value, dict) and isinstance(guarded := value.get("guardContent"), dict):
            return {"guardContent": guarded}
        if part.dialect == "messages" and (found := _search_result(value)) is not None:
            return found
        self._lose(f"{where}.{opaque_name(value)}")
        return None


def cache_point(cache: CacheTtl) -> Block:
    """Five minutes is what every model that caches has; only the longer time is named."""
    return {"cachePoint": {"type": "default", "ttl": "1h"} if cache == "1h" else {"type": "default"}}


def _source(media_type: str | None, data: str | None, url: str | None) -> tuple[str | None, Block | None]:
    """Media type and source; the source is None where only a web address or a file id is known."""
    if url is not None:
        if url.startswith("s3://"):
            return media_type or guess(url), {"s3Location": {"uri": url}}
        parsed = split_data_url(url)
        if parsed is None:
            return None, None
        media_type, data = parsed[0] or media_type, parsed[1]
    if not data:
        return None, None
    return media_type or sniff(data), {"bytes": data}


def _as_object(text: str) -> Any:
    """Mistral's models read tool results as JSON objects only."""
    try:
        _OBJECT.decode(text)
    except MALFORMED:
        return {"result": text}
    return Raw(text.encode())


def _search_result(value: Any) -> Block | None:
    """Anthropic's `search_result` block under its name here."""
    if not isinstance(value, dict) or value.get("type") != "search_result":
        return None
    content, citations = value.get("content"), value.get("citations")
    if not isinstance(content, list) or not all(isinstance(item, dict) and "text" in item for item in content):
        return None
    found: Block = {
        "source": value.get("source"),
        "title": value.get("title"),
        "content": [{"text": item["text"]} for item in content],
    }
    if isinstance(citations, dict):
        found["citations"] = citations
    return {"searchResult": found}
