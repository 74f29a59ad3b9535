"""The providers whose embeddings API is OpenAI's with other words: Voyage, Jina, Mistral.

Sources: https://docs.voyageai.com/reference/embeddings-api and .../multimodal-embeddings-api,
https://api.jina.ai/redoc, https://docs.mistral.ai/api/#tag/embeddings (and the types of the mistralai SDK). Numbers are
asked for where it is not documented that base64 is of float32; their replies are read by `reply.read_reply`.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Image, Losses, Text
from freehold.dialects.embeddings.request import image_url
from freehold.dialects.embeddings.tasks import JINA, VOYAGE
from freehold.dialects.embeddings.types import Content, EmbeddingRequest, lost, lost_unknown, plain_texts, text_of
from freehold.errors import LossRefused

_ENCODER = msgspec.json.Encoder()
_VOYAGE_WORDS = ("input_type", "truncation", "output_dimension", "output_dtype", "encoding_format")
_JINA_OWN = ("late_chunking", "return_multivector", "prompt_name", "bypass_validation")


def has_images(request: EmbeddingRequest) -> bool:
    return any(
        isinstance(given, Content) and any(isinstance(part, Image) for part in given.parts) for given in request.inputs
    )


def write_voyage_request(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body of Voyage's `/v1/embeddings`; of `/v1/multimodalembeddings` where `has_images(request)`.

    Raises LossRefused for token ids.
    """
    body: dict[str, Any] = {"model": model}
    if has_images(request):
        body["inputs"] = [
            {"content": _voyage_parts(given, index)}  # one list of parts a vector
            for index, given in enumerate(request.inputs)
        ]
        lost(request, losses, "dtype")
        encoding = "output_encoding"
    else:
        body["input"] = plain_texts(request, "Voyage")
        if request.dtype != "float":
            body["output_dtype"] = request.dtype
        encoding = "encoding_format"
    _write_task(body, "input_type", request, VOYAGE, losses)
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    if request.truncate is not None:
        body["truncation"] = request.truncate != "none"
        if request.truncate == "start":
            lost(request, losses, "truncate")
    if request.encoding_format == "base64" and request.dtype == "float":
        body[encoding] = "base64"
    body.update(dict.fromkeys(name for name in request.nulls if name in _VOYAGE_WORDS and name not in body))
    if request.normalize is False:  # Voyage's vectors always have length 1
        lost(request, losses, "normalize")
    lost(request, losses, "user", "title")
    lost_unknown(request, losses)
    return _ENCODER.encode(body)


def _voyage_parts(given: Any, index: int) -> list[dict[str, str]]:
    if not isinstance(given, Content):
        return [{"type": "text", "text": text_of(given, index, "Voyage")}]
    parts = []
    for part in given.parts:
        if isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        else:
            kind = "image_url" if part.data is None else "image_base64"
            parts.append({"type": kind, kind: image_url(part)})
    return parts


def write_jina_request(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body of Jina's `/v1/embeddings`. Raises LossRefused for token ids and for parts of which one is an image."""
    objects = has_images(request)
    body: dict[str, Any] = {
        "model": model,
        "input": [_jina_input(given, index, objects) for index, given in enumerate(request.inputs)],
    }
    _write_task(body, "task", request, JINA, losses)
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.dtype in ("binary", "ubinary"):
        body["embedding_type"] = request.dtype
    else:
        lost(request, losses, "dtype")
    if request.truncate is not None:
        body["truncate"] = request.truncate != "none"
        if request.truncate == "start":
            lost(request, losses, "truncate")
    if request.normalize is not None:
        body["normalized"] = request.normalize
    body.update({name: request.unknown[name] for name in _JINA_OWN if name in request.unknown})
    lost(request, losses, "user", "title")
    lost_unknown(request, losses, _JINA_OWN)
    return _ENCODER.encode(body)


def _jina_input(given: Any, index: int, objects: bool) -> Any:
    if isinstance(given, Content) and len(given.parts) == 1 and isinstance(part := given.parts[0], Image):
        return {"image": part.url if part.data is None else part.data}
    if isinstance(given, Content) and any(isinstance(part, Image) for part in given.parts):
        raise LossRefused("Jina embeds a text or an image, not both in one vector.", param=f"input.{index}")
    text = text_of(given, index, "Jina")
    return {"text": text} if objects else text


def write_mistral_request(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body of Mistral's `/v1/embeddings`. Raises LossRefused for token ids and images."""
    body: dict[str, Any] = {"model": model, "input": plain_texts(request, "Mistral")}
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    if request.dtype != "float":
        body["output_dtype"] = request.dtype
    if isinstance(metadata := request.unknown.get("metadata"), dict):
        body["metadata"] = metadata
    lost(request, losses, "user", "task", "truncate", "normalize", "title")
    lost_unknown(request, losses, ("metadata",))
    return _ENCODER.encode(body)


def _write_task(
    body: dict[str, Any], name: str, request: EmbeddingRequest, words: dict[str, str], losses: Losses
) -> None:
    if request.task is None:
        return
    if request.task in words or request.task in words.values():
        body[name] = words.get(request.task, request.task)
    else:
        lost(request, losses, "task")
