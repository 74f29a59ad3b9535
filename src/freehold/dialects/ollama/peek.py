"""What routing must know of a chat request, without reading it whole, and the one edit a pass-through makes.

One partial decode of a few top-level fields; the rest is skipped (msgspec checks its syntax on the way). Streaming is
the default here. A request without messages loads a model, or unloads it: nothing is generated, see `loading`.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Losses
from freehold.dialects.peek import MEDIA_BYTES, Peek
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import MALFORMED, check_str, decode_request, refuse_raw

NOTHING = Raw(b"")


class Options(Struct):
    """The one option that routing looks at."""

    num_predict: Any = None


class _Request(Struct):
    model: str
    messages: Raw = NOTHING
    stream: bool | None = None
    options: Options | None = None
    tools: Raw = NOTHING
    format: Raw = NOTHING


class _Message(Struct):
    images: Raw = NOTHING


_DECODER = msgspec.json.Decoder(_Request)
_MESSAGES = msgspec.json.Decoder(list[_Message])
_ITEMS = msgspec.json.Decoder(list[Raw])
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, a wrong type of a field looked at, or no model."""
    request = decode_request(_DECODER, body)
    messages = bytes(request.messages)
    if messages[:1] not in (b"[", b"", b"n"):
        refuse_raw("messages", "an array", messages)
    tools = len(request.tools)
    result = Peek(
        request.model,
        request.stream is not False,
        limit_of(request.options),
        input_bytes=len(messages) + tools,
        include_usage=True,
        tools=tools > 4,  # more than `[]` or `null`
        schema=has_format(request.format),
    )
    if b'"images"' in messages:
        _see_images(messages, result)
    return result


def limit_of(options: Options | None) -> int | None:
    """The output limit; -1, -2 and 0 mean none."""
    limit = options.num_predict if options is not None else None
    return int(limit) if isinstance(limit, int | float) and 1 <= limit < 1e15 else None


def has_format(raw: Raw) -> bool:
    return bytes(raw) not in (b"", b"null", b'""')


def _see_images(messages: bytes, result: Peek) -> None:
    try:
        lists = [message.images for message in _MESSAGES.decode(messages)]
    except MALFORMED:
        return  # reading it whole, or the provider, says what is wrong
    for images in lists:
        count_images(images, result)


def count_images(images: Raw, result: Peek) -> None:
    """Takes the base64 of `images` out of `input_bytes`."""
    if bytes(images)[:1] != b"[":
        return
    for image in _ITEMS.decode(images):
        result.images = True
        result.input_bytes -= max(0, len(image) - MEDIA_BYTES)


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

    Serves `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings` alike. The other parameters change nothing:
    an Ollama client knows what an Ollama server takes, and usage is always sent. Returns `body` itself when nothing
    changes. Raises BadRequest.
    """
    fields = decode_request(_FIELDS, body)
    raw = fields.get("model")
    if raw is not None and check_str(msgspec.json.decode(raw), "model") == model:
        return body
    fields["model"] = Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)
