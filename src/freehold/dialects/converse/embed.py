"""Embeddings on Bedrock, through InvokeModel: Amazon's Titan and Nova, and Cohere.

Each maker has its own body, and the path names the model (`family.invoke_path`). Titan and Nova take one input a call
(`most_inputs`). Only Titan counts its tokens in the body; the others' stand in the header
`x-amzn-bedrock-input-token-count`. Sources:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html, .../titan-embed-mm.html,
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v3.html, and recorded exchanges.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.conversation import Image, Losses, Text, Usage
from freehold.dialects.converse.family import family
from freehold.dialects.embeddings import (
    Content,
    EmbeddingReply,
    EmbeddingRequest,
    lost,
    lost_unknown,
    read_cohere_reply,
    write_cohere_request,
)
from freehold.dialects.embeddings.types import Input, refused, text_of
from freehold.dialects.traits import PLAIN
from freehold.dialects.wire import MALFORMED
from freehold.errors import BadRequest, LossRefused, UpstreamBroken, redact

COHERE_BATCH = 96
TOKENS_HEADER = b"x-amzn-bedrock-input-token-count"

_NOVA_PURPOSE = {
    "query": "GENERIC_RETRIEVAL",
    "document": "GENERIC_INDEX",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
_NOVA_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_ENCODER = msgspec.json.Encoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


def most_inputs(model: str) -> int:
    """How many inputs one call takes."""
    return COHERE_BATCH if family(model, PLAIN) == "cohere" else 1


def write_request(model: str, request: EmbeddingRequest, losses: Losses, maker: str = "") -> bytes:
    """The body of InvokeModel. `maker` says whose model it is where an ARN does not tell.

    Raises LossRefused for inputs the model cannot read or a model nobody knows, BadRequest for more than `most_inputs`.
    """
    match maker or family(model, PLAIN):
        case "cohere":
            fields = _FIELDS.decode(write_cohere_request(model, request, losses))
            del fields["model"]
            return _ENCODER.encode(fields)
        case "amazon" if "nova" in model:
            return _ENCODER.encode(_nova(_only(request), request, losses))
        case "amazon":
            return _ENCODER.encode(_titan(model, _only(request), request, losses))
    raise LossRefused(
        f"{model} is no embedding model of Amazon or Cohere on Bedrock.",
        hint="name the model itself where an inference profile hides it",
        param="model",
    )


def _only(request: EmbeddingRequest) -> Input:
    if len(request.inputs) != 1:
        raise BadRequest("This model embeds one input a call.", param="input")
    return request.inputs[0]


def _titan(model: str, given: Input, request: EmbeddingRequest, losses: Losses) -> dict[str, Any]:
    """Version 1 takes the text alone; the image model has its dimensions in a place of their own."""
    body: dict[str, Any] = {}
    image = _image_of(given)
    if "titan-embed-image" in model:
        text = _words(given)
        if text:
            body["inputText"] = text
        if image is not None:
            body["inputImage"] = _bytes_of(image, "Titan")
        if request.dimensions is not None:
            body["embeddingConfig"] = {"outputEmbeddingLength": request.dimensions}
        lost(request, losses, "normalize", "dtype")
    else:
        body["inputText"] = text_of(given, 0, "Titan")
        if "titan-embed-text-v2" in model or "titan" not in model:
            if request.dimensions is not None:
                body["dimensions"] = request.dimensions
            if request.normalize is not None:
                body["normalize"] = request.normalize
            if request.dtype == "binary":
                body["embeddingTypes"] = ["binary"]
            else:
                lost(request, losses, "dtype")
        else:
            lost(request, losses, "dimensions", "normalize", "dtype")
    lost(request, losses, "user", "task", "truncate", "title")
    lost_unknown(request, losses)
    return body


def _nova(given: Input, request: EmbeddingRequest, losses: Losses) -> dict[str, Any]:
    params: dict[str, Any] = {"embeddingPurpose": _NOVA_PURPOSE.get(request.task or "query", "")}
    if not params["embeddingPurpose"]:
        params["embeddingPurpose"] = "GENERIC_RETRIEVAL"
        lost(request, losses, "task")
    if request.dimensions is not None:
        params["embeddingDimension"] = request.dimensions
    if (image := _image_of(given)) is not None:
        if _words(given):
            raise LossRefused("Nova embeds a text or an image, not both together.", param="input.0")
        kind = _NOVA_FORMATS.get(image.media_type or "image/png")
        if kind is None:
            raise refused(given, 0, "Nova")
        params["image"] = {"format": kind, "source": {"bytes": _bytes_of(image, "Nova")}}
        lost(request, losses, "truncate")
    else:
        mode = (request.truncate or "none").upper()
        params["text"] = {"truncationMode": mode, "value": text_of(given, 0, "Nova")}
    lost(request, losses, "user", "normalize", "title", "dtype")
    lost_unknown(request, losses)
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


def _image_of(given: Input) -> Image | None:
    if not isinstance(given, Content):
        return None
    images = [part for part in given.parts if isinstance(part, Image)]
    if len(images) > 1:
        raise LossRefused("This model embeds one image at a time.", param="input.0")
    return images[0] if images else None


def _words(given: Input) -> str:
    if isinstance(given, Content):
        return "\n".join(part.text for part in given.parts if isinstance(part, Text))
    return text_of(given, 0, "Titan")


def _bytes_of(image: Image, provider: str) -> str:
    if image.data is None:
        raise refused(Content([image]), 0, f"{provider}, which takes images as data URLs only,")
    return image.data


class _ByType(Struct):
    binary: list[int] | None = None
    floats: list[float | int] | None = field(default=None, name="float")


class _Named(Struct):
    embedding: list[float | int]


class _Reply(Struct, rename="camel"):
    """The union of the three makers' answers."""

    embedding: list[float | int] | None = None
    embeddings_by_type: _ByType | None = None
    embeddings: Raw = Raw(b"")
    input_text_token_count: int | None = None
    message: Any = None


_REPLY = msgspec.json.Decoder(_Reply)
_NOVA = msgspec.json.Decoder(list[_Named])


def read_reply(body: bytes, headers: Mapping[bytes, bytes] | None = None) -> EmbeddingReply:
    """The answer of any of the three; `headers` (lower-case names) tell the tokens. Raises UpstreamBroken."""
    try:
        wire = _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not an embedding.") from None
    if not len(wire.embeddings):
        reply = _titan_reply(wire)
    else:
        try:
            reply = EmbeddingReply("", [item.embedding for item in _NOVA.decode(wire.embeddings)])
        except MALFORMED:
            reply = read_cohere_reply(body)
    if reply.usage is None:
        count = (headers or {}).get(TOKENS_HEADER, b"")
        tokens = int(count) if count.isdigit() and len(count) < 16 else wire.input_text_token_count
        reply.usage = Usage(uncached=tokens) if tokens is not None and tokens >= 0 else None
    return reply


def _titan_reply(wire: _Reply) -> EmbeddingReply:
    kinds = wire.embeddings_by_type or _ByType()
    vector = wire.embedding if wire.embedding is not None else kinds.floats
    if vector is not None:
        return EmbeddingReply("", [vector])
    if kinds.binary is not None:
        return EmbeddingReply("", [kinds.binary], dtype="binary")
    said = f": {redact(wire.message, 300)}" if isinstance(wire.message, str) else "."
    raise UpstreamBroken(f"The provider's answer has no embedding{said}")
