"""What routing must know of a Cohere chat request, without reading it whole, and the edits a pass-through makes.

One partial decode of a few top-level fields; the rest is skipped (msgspec checks its syntax on the way). Images are
found by searching the bytes for `"image_url"` in quotes: inside a JSON string the quotes would be escaped. Documents of
this dialect are text, which every provider can be given, so they ask for nothing but room.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Losses
from freehold.dialects.peek import MEDIA_BYTES, Peek, without_base64
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import decode_request, refuse_messages

_NOTHING = Raw(b"")
_NULL = b"null"
_SAMPLING = ("temperature", "p", "k", "frequency_penalty", "presence_penalty", "logprobs")


class _Format(Struct):
    type: Any = None


class _Request(Struct):
    model: str
    messages: Raw = _NOTHING
    stream: bool | None = None
    max_tokens: int | None = None
    tools: Raw = _NOTHING
    documents: Raw = _NOTHING
    response_format: _Format | None = None


_DECODER = msgspec.json.Decoder(_Request)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


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
        len(messages) + len(request.documents) + tools,
        True,
        tools > 4,  # more than `[]` or `null`
        request.response_format is not None and request.response_format.type == "json_object",
    )
    if b'"image_url"' in messages:
        if len(messages) > MEDIA_BYTES:
            result.input_bytes -= len(messages) - len(without_base64(messages, b";base64,"))
        result.images = True
    return result


def patch_request(
    body: bytes,
    *,
    model: str,
    traits: Traits = PLAIN,
    stream_usage: bool = False,
    losses: Losses | None = None,
    seen: object = None,
) -> bytes:
    """The client's body for a provider of the same dialect: `model` renamed, everything else as the client wrote it.

    Where the model refuses sampling parameters they are taken out and reported. `stream_usage` changes nothing: this
    dialect always sends usage. Returns `body` itself when nothing changes. Raises BadRequest.
    """
    fields = decode_request(_FIELDS, body)
    changed = False
    name = Raw(msgspec.json.encode(model))
    if fields.get("model") != name:
        fields["model"] = name
        changed = True
    if not traits.sampling:
        for field in _SAMPLING:
            if (value := fields.get(field)) is not None and bytes(value) != _NULL:
                del fields[field]
                changed = True
                if losses is not None:
                    losses.append(field)
    return msgspec.json.encode(fields) if changed else body
