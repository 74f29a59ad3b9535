"""What routing must know of a Responses request, without reading it whole.

One partial decode of a few top-level fields; the rest is skipped (msgspec checks its syntax on the way). Whether the
input holds images or files is found by searching the bytes for the type names in quotes: inside a JSON string the
quotes would be escaped, so text that merely talks about `"input_image"` does not match.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.peek import MEDIA_BYTES, Peek, without_base64
from freehold.dialects.responses.request import WITHOUT_INPUT
from freehold.dialects.wire import decode_request, refuse_raw
from freehold.errors import BadRequest

_NOTHING = Raw(b"")


class _Format(Struct):
    type: Any = None


class _Text(Struct):
    format: _Format | None = None


class _Request(Struct):
    model: str
    input: Raw = _NOTHING
    instructions: Raw = _NOTHING
    stream: bool | None = None
    max_output_tokens: int | None = None
    tools: Raw = _NOTHING
    text: _Text | None = None
    prompt: Any = None
    previous_response_id: Any = None
    conversation: Any = None
    parallel_tool_calls: Any = None


_DECODER = msgspec.json.Decoder(_Request)


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, a wrong type of a field looked at, or no model or input."""
    request = decode_request(_DECODER, body)
    items = bytes(request.input)
    if items[:1] not in (b"[", b'"'):
        _refuse_input(items, request)
    limit = request.max_output_tokens
    tools = len(request.tools)
    shape = request.text.format if request.text is not None else None
    result = Peek(
        request.model,
        request.stream is True,
        limit if limit is not None and limit > 0 else None,
        1,
        len(items) + len(request.instructions) + tools,
        True,
        tools > 4,  # more than `[]` or `null`
        shape is not None and shape.type in ("json_schema", "json_object"),
        parallel_tools=tools > 4 and request.parallel_tool_calls is True,
    )
    if b'"type"' in items:
        _see_media(items, result)
    return result


def _see_media(items: bytes, result: Peek) -> None:
    """Base64 is cut out before the searches, so that a body of many megabytes costs no more than its text."""
    if len(items) > MEDIA_BYTES:
        size = len(items)
        for mark in (b";base64,", b'"file_data":"', b'"file_data": "', b'"data":"', b'"data": "'):
            items = without_base64(items, mark)
        result.input_bytes -= size - len(items)
    result.images = b'"input_image"' in items or b'"computer_screenshot"' in items
    result.audio = b'"input_audio"' in items
    result.documents = b'"input_file"' in items


def _refuse_input(raw: bytes, request: _Request) -> None:
    if raw not in (b"", b"null"):
        refuse_raw("input", "a string or an array of items", raw)
    if all(getattr(request, name) is None for name in WITHOUT_INPUT):
        raise BadRequest("The request has no 'input'.", param="input", code="missing_required_parameter")
