"""Images from Google: Gemini's image models through `generateContent`, Imagen through `:predict`.

Sources: https://ai.google.dev/gemini-api/docs/image-generation, the Imagen API reference of Vertex AI, and the
`google-genai` SDK. Google has announced the end of Imagen for August 2026 in favour of Gemini's image models; hosts
that still have it speak this form.

A size in pixels becomes an aspect ratio and a class of resolution (1K, 2K, 4K), the nearest there is; a ratio that is
off by more than 2 % is reported as a loss. What would make another picture, or another kind of answer, than the one
asked for (a mask, several images at once, a URL, an animation) is refused; what only tunes it is a loss.
"""

import math
import re
from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Image, Losses
from freehold.dialects.gemini_media import expect_media, read_generated
from freehold.dialects.images.reply import ImageReply, MadeImage, read_usage
from freehold.dialects.images.request import ImageRequest
from freehold.dialects.media import guess
from freehold.dialects.wire import MALFORMED
from freehold.errors import BadRequest, LossRefused, UpstreamBroken, UpstreamRefused, redact

GEMINI_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
IMAGEN_RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
IMAGEN_MOST = 4
"""Images of one request."""

_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
_CARRIED: dict[str, tuple[Any, ...]] = {
    "size": ("auto",),
    "response_format": ("b64_json",),
    "output_format": ("png",),
    "background": ("auto", "opaque"),
    "quality": ("auto", "standard"),
    "moderation": ("auto",),
    "partial_images": (0,),
    "output_compression": (100,),
}
"""Values that ask for what Google does anyway."""


def write_gemini_request(request: ImageRequest, losses: Losses) -> bytes:
    """The body of `models/{model}:generateContent`. Raises LossRefused and BadRequest with the field as `param`."""
    if request.kind == "variations":
        raise _refused("model", "Gemini makes no variations of an image; it edits one, with a prompt")
    _check(request)
    if request.n > 1:
        raise _refused("n", "Gemini makes one image a request")
    _report(request, losses)
    parts: list[dict[str, Any]] = [{"text": request.prompt}]
    parts += [_part(image, index) for index, image in enumerate(request.images)]
    config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
    if shape := _shape(request, GEMINI_RATIOS, losses):
        config["imageConfig"] = shape
    return msgspec.json.encode({"contents": [{"role": "user", "parts": parts}], "generationConfig": config})


def write_imagen_request(request: ImageRequest, losses: Losses) -> bytes:
    """The body of `models/{model}:predict`. Raises LossRefused and BadRequest with the field as `param`."""
    if request.kind != "generations":
        raise _refused("model", "Imagen makes images from words only")
    _check(request)
    if request.n > IMAGEN_MOST:
        raise _refused("n", f"Imagen makes at most {IMAGEN_MOST} images a request")
    _report(request, losses)
    parameters: dict[str, Any] = {"sampleCount": request.n}
    if shape := _shape(request, IMAGEN_RATIOS, losses):
        parameters["aspectRatio"] = shape["aspectRatio"]
        if "imageSize" in shape:
            parameters["sampleImageSize"] = shape["imageSize"]
    return msgspec.json.encode({"instances": [{"prompt": request.prompt}], "parameters": parameters})


def read_gemini_reply(body: bytes, model: str = "") -> ImageReply:
    """Raises UpstreamRefused where the provider withheld the image, UpstreamBroken where there is none."""
    made = read_generated(body)
    images = [MadeImage(blob.data, blob.mime_type) for blob in expect_media(made, "image/")]
    usage = made.usage
    if usage is not None:
        usage.images = len(images)
    return ImageReply(made.model or model, images, usage or read_usage(None, len(images)), made.id)


class _Prediction(Struct, rename="camel"):
    bytes_base64_encoded: str | None = None
    mime_type: str = "image/png"
    prompt: str | None = None
    rai_filtered_reason: str | None = None


class _Predictions(Struct):
    predictions: list[_Prediction] = []


_PREDICTIONS = msgspec.json.Decoder(_Predictions)


def read_imagen_reply(body: bytes, model: str = "") -> ImageReply:
    """Raises UpstreamRefused where every image was filtered, UpstreamBroken where there is none."""
    try:
        wire = _PREDICTIONS.decode(body)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    images = [
        MadeImage(one.bytes_base64_encoded, one.mime_type, one.prompt)
        for one in wire.predictions
        if one.bytes_base64_encoded
    ]
    if not images:
        reasons = [one.rai_filtered_reason for one in wire.predictions if one.rai_filtered_reason]
        if reasons:
            why = f"The provider withheld the image: {redact(reasons[0], 300)}"
            raise UpstreamRefused(why, code="content_policy_violation")
        raise UpstreamBroken("The provider's answer holds no image.", code="no_image")
    return ImageReply(model, images, read_usage(None, len(images)))


def _check(request: ImageRequest) -> None:
    """Refuses what would be another answer than the one asked for."""
    settings = request.settings
    if not request.prompt.strip():
        raise BadRequest("'prompt' is empty.", param="prompt", code="invalid_value")
    if request.mask:
        raise _refused("mask", "Google's image models edit without a mask")
    if settings.get("response_format") == "url":
        raise _refused("response_format", "Google's images come as base64, not by URL")
    if settings.get("output_format") in ("gif", "svg"):
        raise _refused("output_format", "Google makes still pictures of pixels")
    for name in ("svg", "frame_count", "markup"):
        if name in settings or any(key.startswith(f"{name}[") for key in settings):
            raise _refused(name, f"Google's image models have no {name}")


def _report(request: ImageRequest, losses: Losses) -> None:
    for name, value in request.settings.items():
        if name != "size" and value not in _CARRIED.get(name, ()):
            losses.append(name)


def _shape(request: ImageRequest, ratios: tuple[str, ...], losses: Losses) -> dict[str, str]:
    """`aspectRatio`, and `imageSize` beyond the smallest class, which not every model lets itself be told."""
    size = request.settings.get("size")
    if size in (None, "auto"):
        return {}
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise BadRequest("'size': expected WIDTHxHEIGHT or auto.", param="size", code="invalid_value")
    width, height = int(match[1]), int(match[2])
    wanted = math.log(width / height)
    nearest = min(ratios, key=lambda ratio: abs(_log(ratio) - wanted))
    if abs(_log(nearest) - wanted) > 0.02:
        losses.append("size")
    edge = max(width, height)
    if edge <= 1792:
        return {"aspectRatio": nearest}
    return {"aspectRatio": nearest, "imageSize": "2K" if edge <= 2560 else "4K"}


def _log(ratio: str) -> float:
    width, height = ratio.split(":")
    return math.log(int(width) / int(height))


def _part(image: Image, index: int) -> dict[str, Any]:
    if image.file_id is not None:
        raise _refused(f"images.{index}", "Google cannot read files that were uploaded to another provider")
    if image.url is not None:
        return {"fileData": {"mimeType": image.media_type or guess(image.url) or "image/png", "fileUri": image.url}}
    return {"inlineData": {"mimeType": image.media_type or "image/png", "data": image.data}}


def _refused(name: str, why: str) -> LossRefused:
    return LossRefused(f"{why}.", hint="leave it out, or ask another model", param=name)
