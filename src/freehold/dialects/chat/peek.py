"""What routing must know of a chat request, without reading it whole.

One partial decode of a few top-level fields; the rest is skipped (msgspec checks its syntax on the way). Whether the
messages hold images, audio or files is found by searching the bytes for the type names in quotes: inside a JSON string
the quotes would be escaped, so text that merely talks about `"image_url"` does not match.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.peek import Peek
from freehold.dialects.wire import decode_request, refuse
from freehold.errors import BadRequest

MEDIA_BYTES = 4096
"""What an image, sound or file counts for in `input_bytes` instead of its base64: about 1,000 tokens."""

MAX_CHOICES = 128

_NOTHING = Raw(b"")


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Format(Struct):
    type: Any = None


class _Request(Struct):
    model: str
    messages: Raw = _NOTHING
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream_options: _StreamOptions | None = None
    tools: Raw = _NOTHING
    functions: Raw = _NOTHING
    response_format: _Format | None = None


_DECODER = msgspec.json.Decoder(_Request)


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, a wrong type of a field looked at, or no model or messages."""
    request = decode_request(_DECODER, body)
    messages = bytes(request.messages)
    if messages[:1] != b"[":
        _refuse_messages(messages)
    n = 1 if request.n is None else request.n
    if not 1 <= n <= MAX_CHOICES:
        raise BadRequest(f"'n' must lie between 1 and {MAX_CHOICES}, got {n}.", param="n")
    limit = request.max_completion_tokens or request.max_tokens
    tools = len(request.tools) + len(request.functions)
    options = request.stream_options
    shape = request.response_format
    result = Peek(
        request.model,
        request.stream is True,
        limit if limit is not None and limit > 0 else None,
        n,
        len(messages) + tools,
        options is not None and options.include_usage is True,
        tools > 4,  # more than `[]` or `null`
        shape is not None and shape.type in ("json_schema", "json_object"),
    )
    if b'"type"' in messages:
        _see_media(messages, result)
    return result


def _see_media(messages: bytes, result: Peek) -> None:
    """Base64 is cut out before the searches, so that a body of many megabytes costs no more than its text."""
    if len(messages) > MEDIA_BYTES:
        size = len(messages)
        for mark in (b";base64,", b'"data":"', b'"data": "'):
            messages = _without_base64(messages, mark)
        result.input_bytes -= size - len(messages)
    result.images = b'"image_url"' in messages
    result.audio = b'"input_audio"' in messages
    result.documents = b'"file"' in messages or b'"document_url"' in messages


def _without_base64(messages: bytes, mark: bytes) -> bytes:
    """`messages` with each string after `mark` cut to `MEDIA_BYTES`."""
    pieces = []
    start = 0
    while (found := messages.find(mark, start)) >= 0:
        end = messages.find(b'"', found + len(mark))
        if end < 0:
            break
        pieces.append(messages[start : min(end, found + len(mark) + MEDIA_BYTES)])
        start = end
    if not pieces:
        return messages
    pieces.append(messages[start:])
    return b"".join(pieces)


def _refuse_messages(raw: bytes) -> None:
    if not raw:
        raise BadRequest("The request has no 'messages'.", param="messages", code="missing_required_parameter")
    refuse("messages", "an array", msgspec.json.decode(raw))
