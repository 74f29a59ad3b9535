"""Writes canonical parts as Anthropic content blocks, for requests and replies alike.

A block is a plain dict ready for the encoder; tool arguments go in as the raw JSON text they came as. Whatever a block
cannot carry is appended to the loss report under the index of the turn it stood in.
"""

import re
from base64 import b64decode
from binascii import Error as BinasciiError
from typing import Any

from freehold.dialects.conversation import (
    Audio,
    CacheTtl,
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
from freehold.dialects.media import sniff, split_data_url
from freehold.dialects.messages.citations import DIALECT, write_answered, write_asked
from freehold.dialects.tool_calls import anthropic_id, json_object
from freehold.dialects.words import opaque_name, word

_TAG = re.compile(r"[a-z0-9-]{1,38}:")
"""What stands before a signature that is not Anthropic's; base64 has no colon."""

_EPHEMERAL = {"type": "ephemeral"}
_EPHEMERAL_1H = {"type": "ephemeral", "ttl": "1h"}


def write_block(part: Part, where: str, losses: Losses, dialect: str, answer: bool = False) -> dict[str, Any] | None:
    """The block for `part`, or None where there is none.

    `where` is `messages.INDEX`, `dialect` the client's. `answer`: it is written for a client, not for the provider.
    """
    match part:
        case Text():
            return _text(part, where, losses, answer)
        case ToolCall():
            return _tool_use(part, where, losses)
        case ToolResult():
            return _tool_result(part, where, losses, dialect)
        case Thinking():
            return _thinking(part, where, losses, dialect)
        case Image():
            return _image(part, where, losses, dialect)
        case Document():
            return _document(part, where, losses, dialect)
        case Refusal():
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case Audio():
            losses.append(f"{where}.audio")
            return {"type": "text", "text": part.transcript} if (part.transcript or "").strip() else None
        case Opaque():
            if part.dialect == DIALECT:
                block: dict[str, Any] = part.value
                return block
            losses.append(f"{where}.{opaque_name(part.value)}")
            return None


def add_cache(block: dict[str, Any], cache: CacheTtl | None) -> dict[str, Any]:
    if cache is not None:
        block["cache_control"] = _EPHEMERAL_1H if cache == "1h" else _EPHEMERAL
    return block


def _text(part: Text, where: str, losses: Losses, answer: bool) -> dict[str, Any] | None:
    if not part.text or part.text.isspace():  # refused by the API, and says nothing
        return None
    block: dict[str, Any] = {"type": "text", "text": part.text}
    if part.citations:
        write = write_answered if answer else write_asked
        if written := [one for citation in part.citations if (one := write(citation)) is not None]:
            block["citations"] = written
        if len(written) < len(part.citations):
            losses.append(f"{where}.citations")
    return add_cache(block, part.cache)


def _tool_use(part: ToolCall, where: str, losses: Losses) -> dict[str, Any]:
    """The free text of a custom tool's call becomes the one field of an object."""
    arguments = {"input": part.arguments} if part.custom else None
    return add_cache(
        {
            "type": "tool_use",
            "id": anthropic_id(part.id),
            "name": part.name,
            "input": arguments or json_object(part.arguments, f"{where}.tool_calls", losses),
        },
        part.cache,
    )


def _tool_result(part: ToolResult, where: str, losses: Losses, dialect: str) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": anthropic_id(part.id)}
    content = write_blocks(part.parts, where, losses, dialect)
    if content:
        block["content"] = shortest(content)
    if part.is_error:
        block["is_error"] = True
    return add_cache(block, part.cache)


def write_blocks(parts: list[Part], where: str, losses: Losses, dialect: str) -> list[dict[str, Any]]:
    """The blocks of `parts`; unknown fields that follow a block in an `Opaque` return to it."""
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if type(part) is Opaque and part.dialect == DIALECT and "$part" in part.value:
            if blocks:
                blocks[-1] = {**blocks[-1], **part.value["$part"]}
        elif (block := write_block(part, where, losses, dialect)) is not None:
            blocks.append(block)
    return blocks


def shortest(blocks: list[dict[str, Any]]) -> Any:
    """A lone plain text as the string that stands for it."""
    if len(blocks) == 1 and len(blocks[0]) == 2 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    return blocks


def _thinking(part: Thinking, where: str, losses: Losses, dialect: str) -> dict[str, Any] | None:
    """Only what Anthropic signed can go back to it; unsigned thoughts of others would be refused."""
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    if signed_here(part.signature):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    losses.append(f"{where}.{word(dialect, 'thinking')}")
    return None


def signed_here(signature: str | None) -> bool:
    """Whether a signature is Anthropic's: any other one has a tag before it (dialects/thinking.py)."""
    return signature is not None and signature != "" and _TAG.match(signature) is None


def _image(part: Image, where: str, losses: Losses, dialect: str) -> dict[str, Any] | None:
    if part.detail not in (None, "auto"):
        losses.append(f"{where}.image.detail")
    source = _source(part.media_type, part.data, part.url)
    if source is None and part.file_id is not None and dialect == DIALECT:
        source = {"type": "file", "file_id": part.file_id}
    if source is None:
        losses.append(f"{where}.image")
        return None
    return add_cache({"type": "image", "source": source}, part.cache)


def _source(media_type: str | None, data: str | None, url: str | None) -> dict[str, Any] | None:
    if url is not None:
        parsed = split_data_url(url)
        if parsed is None:
            return None if url.startswith("data:") else {"type": "url", "url": url}
        media_type, data = parsed
    if data is None:
        return None
    return {"type": "base64", "media_type": media_type or sniff(data) or "image/png", "data": data}


def _document(part: Document, where: str, losses: Losses, dialect: str) -> dict[str, Any] | None:
    source = _document_source(part, dialect)
    if source is None:
        losses.append(f"{where}.document")
        return None
    block: dict[str, Any] = {"type": "document", "source": source}
    if part.title is not None:
        block["title"] = part.title
    if part.context is not None:
        block["context"] = part.context
    if part.citations is not None:
        block["citations"] = {"enabled": part.citations}
    return add_cache(block, part.cache)


def _document_source(part: Document, dialect: str) -> dict[str, Any] | None:
    """PDF as it is, any text as text; other formats have no block."""
    if part.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    source = _source(part.media_type, part.data, part.url)
    if source is None:
        return {"type": "file", "file_id": part.file_id} if part.file_id is not None and dialect == DIALECT else None
    if source["type"] == "url":
        return source
    kind = source["media_type"]
    if kind == "application/pdf" or dialect == DIALECT:
        return source
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
        try:
            text = b64decode(source["data"]).decode()
        except (BinasciiError, ValueError):
            return None
        return {"type": "text", "media_type": "text/plain", "data": text} if text else None
    return None
