"""What routing must know of a chat request, without reading it whole.

One partial decode of a few top-level fields; the rest is skipped (msgspec checks its syntax on the way). Whether the
messages hold images, audio or files is found by searching the bytes for the type names in quotes: inside a JSON string
the quotes would be escaped, so text that merely talks about `"image_url"` does not match.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from freehold.dialects.peek import MEDIA_BYTES, Peek, without_base64
from freehold.dialects.wire import decode_request, refuse_messages
from freehold.errors import BadRequest

MAX_CHOICES = 128

_NOTHING = Raw(b"")


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Format(Struct):
    type: Any = None


class Seen(Struct, gc=False):
    """The fields of a request that routing or patching may have to look at."""

    model: str
    messages: Raw = _NOTHING
    stream: bool | None = None
    max_tokens: int | UnsetType | None = UNSET
    max_completion_tokens: int | UnsetType | None = UNSET
    n: int | None = None
    stream_options: _StreamOptions | UnsetType | None = UNSET
    tools: Raw = _NOTHING
    functions: Raw = _NOTHING
    response_format: _Format | None = None
    temperature: Any = None
    stop: Any = None
    parallel_tool_calls: Any = None


_DECODER = msgspec.json.Decoder(Seen)


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, a wrong type of a field looked at, or no model or messages."""
    request = decode_request(_DECODER, body)
    messages = bytes(request.messages)
    if messages[:1] != b"[":
        refuse_messages(messages)
    n = 1 if request.n is None else request.n
    if not 1 <= n <= MAX_CHOICES:
        raise BadRequest(f"'n' must lie between 1 and {MAX_CHOICES}, got {n}.", param="n")
    limit = request.max_completion_tokens or request.max_tokens
    tools = len(request.tools) + len(request.functions)
    options = request.stream_options or None
    shape = request.response_format
    result = Peek(
        request.model,
        request.stream is True,
        limit if limit and limit > 0 else None,
        n,
        len(messages) + tools,
        options is not None and options.include_usage is True,
        tools > 4,  # more than `[]` or `null`
        shape is not None and shape.type in ("json_schema", "json_object"),
        notes=request,
        parallel_tools=tools > 4 and request.parallel_tool_calls is True,
    )
    if messages.find(b'"type"') >= 0:  # `in` would cost several times as much, see sse.py
        _see_media(messages, result)
    return result


def _see_media(messages: bytes, result: Peek) -> None:
    """Base64 is cut out before the searches, so that a body of many megabytes costs no more than its text."""
    if len(messages) > MEDIA_BYTES:
        size = len(messages)
        for mark in (b";base64,", b'"data":"', b'"data": "'):
            messages = without_base64(messages, mark)
        result.input_bytes -= size - len(messages)
    result.images = b'"image_url"' in messages
    result.audio = b'"input_audio"' in messages
    result.documents = b'"file"' in messages or b'"document_url"' in messages
