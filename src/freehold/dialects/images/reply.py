"""Answers with images: what a passed-through one used, and ours for providers of another dialect.

Usage is in tokens for OpenAI's models (`input_tokens_details` and `output_tokens_details` split them into text and
images); most other hosts bill by the image and say nothing, then images are counted and their tokens estimated.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.errors import read_failure
from freehold.dialects.chat.usage import read_usage as read_tokens
from freehold.dialects.conversation import Usage
from freehold.dialects.images.request import PLAIN_TOKENS, Kind
from freehold.dialects.receipt import Receipt
from freehold.dialects.sse import sse
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken


class MadeImage(Struct):
    """Base64, and what the prompt became where the model rewrote it."""

    data: str
    media_type: str = "image/png"
    revised_prompt: str | None = None


class ImageReply(Struct):
    model: str
    images: list[MadeImage]
    usage: Usage | None = None
    id: str = ""


class _Item(Struct):
    """One image of a list. Its base64 is skipped."""


class _Body(Struct):
    data: list[_Item] | None = None
    usage: Any = None
    svg_usage: Any = None
    model: Any = None
    id: Any = None
    error: Any = None


_BODY = msgspec.json.Decoder(_Body)
_ENCODER = msgspec.json.Encoder()


def read_receipt(body: bytes) -> Receipt:
    """Who answered and what it used; images are counted and skipped. Raises UpstreamBroken."""
    try:
        wire = _BODY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of images.") from None
    receipt = Receipt(_text(wire.id), _text(wire.model), finish="stop")
    if wire.error is not None:
        receipt.failed = read_failure(wire.error)
    elif wire.data is None:
        raise UpstreamBroken("The provider's answer has no images.")
    else:
        receipt.usage = read_usage(wire.usage, len(wire.data))
        _add(receipt.usage, wire.svg_usage)
    return receipt


def read_usage(raw: Any, images: int) -> Usage:
    """The usage object of an answer or an event with `images` images; estimated where it holds no tokens."""
    usage = read_tokens(raw)
    if usage is None or not (usage.input or usage.output):
        tokens = images * PLAIN_TOKENS
        return Usage(output=tokens, image_output=tokens, images=images, estimated=True)
    usage.images = images
    usage.image_input = min(_part(raw, "input_tokens_details"), usage.uncached)
    made = _part(raw, "output_tokens_details")
    usage.image_output = min(made, usage.output) if made else usage.output
    return usage


def _part(raw: Any, name: str) -> int:
    details = raw.get(name) if isinstance(raw, dict) else None
    count = details.get("image_tokens") if isinstance(details, dict) else None
    return count if type(count) is int and 0 < count < 1_000_000_000_000 else 0


def _add(usage: Usage, raw: Any) -> None:
    """The tokens of the model that drew an SVG, which are told apart from those of the image model."""
    more = read_tokens(raw)
    if more is not None:
        usage.uncached += more.uncached
        usage.cache_read += more.cache_read
        usage.output += more.output
        usage.reasoning += more.reasoning


def write_reply(reply: ImageReply, created: int) -> bytes:
    """OpenAI's ImagesResponse with `b64_json`."""
    data = []
    for image in reply.images:
        item: dict[str, Any] = {"b64_json": image.data}
        if image.revised_prompt is not None:
            item["revised_prompt"] = image.revised_prompt
        data.append(item)
    body: dict[str, Any] = {"created": created, "data": data}
    if reply.images and (kind := _format(reply.images[0].media_type)) is not None:
        body["output_format"] = kind
    if reply.usage is not None and not reply.usage.estimated:
        body["usage"] = write_usage(reply.usage)
    return _ENCODER.encode(body)


def write_usage(usage: Usage) -> dict[str, Any]:
    """The usage object; all input classes are input tokens."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "image_tokens": usage.image_input,
            "text_tokens": max(0, usage.input - usage.image_input),
        },
        "output_tokens": usage.output,
        "output_tokens_details": {
            "image_tokens": usage.image_output,
            "text_tokens": max(0, usage.output - usage.image_output),
        },
        "total_tokens": usage.input + usage.output,
    }


def write_events(kind: Kind, reply: ImageReply, settings: dict[str, Any], created: int) -> bytes:
    """The stream a whole answer stands for: one completed event an image, no partial ones.

    `settings` are the request's, whose words for size, quality and background the event repeats.
    """
    name = "image_edit.completed" if kind == "edits" else "image_generation.completed"
    usage = write_usage(reply.usage or Usage())
    nothing = write_usage(Usage())
    events = []
    for index, image in enumerate(reply.images):
        event = {
            "type": name,
            "b64_json": image.data,
            "created_at": created,
            "size": settings.get("size") or "auto",
            "quality": settings.get("quality") or "auto",
            "background": settings.get("background") or "auto",
            "output_format": _format(image.media_type) or "png",
            "usage": usage if index == len(reply.images) - 1 else nothing,
        }
        events.append(sse(_ENCODER.encode(event), name.encode()))
    return b"".join(events)


def _format(media_type: str) -> str | None:
    name = media_type.removeprefix("image/").removesuffix("+xml")
    return name if name in ("png", "jpeg", "webp", "gif", "svg") else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
