"""What routing must know of a messages request, without reading it whole.

One partial decode of a few top-level fields; the rest is skipped (msgspec checks its syntax on the way). Whether the
messages hold images or documents is found by searching the bytes for `"source"`, which every such block has, and then
for the type names, in quotes: inside a JSON string the quotes would be escaped, so text that merely talks about
`"image"` does not match. A tool argument of that very name does, which only makes the request look more demanding.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.peek import MEDIA_BYTES, Peek, without_base64
from freehold.dialects.wire import decode_request, refuse_messages

_NOTHING = Raw(b"")


class _OutputConfig(Struct):
    format: Any = None


class _Request(Struct):
    model: str
    messages: Raw = _NOTHING
    max_tokens: int | None = None
    stream: bool | None = None
    system: Raw = _NOTHING
    tools: Raw = _NOTHING
    output_config: _OutputConfig | None = None
    output_format: Any = None


_DECODER = msgspec.json.Decoder(_Request)
_MARKS = (b'"data":"', b'"data": "')


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, a wrong type of a field looked at, or no model or messages."""
    request = decode_request(_DECODER, body)
    messages = bytes(request.messages)
    if messages[:1] != b"[":
        refuse_messages(messages)
    tools = len(request.tools)
    limit = request.max_tokens
    result = Peek(
        request.model,
        request.stream is True,
        limit if limit is not None and limit > 0 else None,
        1,
        len(messages) + len(request.system) + tools,
        True,
        tools > 4,  # more than `[]` or `null`
        request.output_format is not None
        or (request.output_config is not None and request.output_config.format is not None),
    )
    if messages.find(b'"source"') >= 0:
        _see_media(messages, result)
    return result


peek_count = peek
"""A body of `/v1/messages/count_tokens` has the same fields; it merely needs no `max_tokens`."""


def _see_media(messages: bytes, result: Peek) -> None:
    """Base64 is cut out before the searches, so that a body of many megabytes costs no more than its text."""
    if len(messages) > MEDIA_BYTES:
        size = len(messages)
        for mark in _MARKS:
            messages = without_base64(messages, mark)
        result.input_bytes -= size - len(messages)
    result.images = b'"image"' in messages
    result.documents = b'"document"' in messages
