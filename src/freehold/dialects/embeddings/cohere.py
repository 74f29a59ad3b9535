"""Cohere's `/v2/embed` as a provider.

Source: https://docs.cohere.com/reference/embed and the types of the cohere SDK. `input_type` is required: a client
that did not say what its vectors are for gets those of documents. Vectors come back by type; exactly one type is
asked for, always as numbers, because nothing says how wide the floats of its base64 are.
"""

from typing import Any

import msgspec
from msgspec import Struct, field

from freehold.dialects.chat.errors import read_error
from freehold.dialects.conversation import Losses, Text, Usage
from freehold.dialects.embeddings.openai_form import has_images
from freehold.dialects.embeddings.reply import count_tokens
from freehold.dialects.embeddings.request import image_url
from freehold.dialects.embeddings.tasks import COHERE
from freehold.dialects.embeddings.types import (
    Content,
    EmbeddingReply,
    EmbeddingRequest,
    Input,
    Vector,
    lost,
    lost_unknown,
    plain_texts,
    refused,
    text_of,
)
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_ENCODER = msgspec.json.Encoder()
_OWN = ("max_tokens", "priority")
_DEFAULT_TASK = "search_document"


def write_cohere_request(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body of `/v2/embed`. Raises LossRefused for token ids and for images that are not at hand."""
    body: dict[str, Any] = {"model": model}
    if has_images(request):
        body["inputs"] = [{"content": _parts(given, index)} for index, given in enumerate(request.inputs)]
    else:
        body["texts"] = plain_texts(request, "Cohere")
    if request.task is not None and request.task not in COHERE and request.task not in COHERE.values():
        lost(request, losses, "task")
    body["input_type"] = COHERE.get(request.task or "", request.task if request.task in COHERE.values() else None)
    body["input_type"] = body["input_type"] or _DEFAULT_TASK
    body["embedding_types"] = [request.dtype]
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    if request.truncate is not None:
        body["truncate"] = request.truncate.upper()
    for name in _OWN:
        if type(value := request.unknown.get(name)) is int:
            body[name] = value
    lost(request, losses, "user", "normalize", "title")
    lost_unknown(request, losses, _OWN)
    return _ENCODER.encode(body)


def _parts(given: Input, index: int) -> list[dict[str, Any]]:
    if not isinstance(given, Content):
        return [{"type": "text", "text": text_of(given, index, "Cohere")}]
    parts: list[dict[str, Any]] = []
    for part in given.parts:
        if isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        elif part.data is None:
            raise refused(given, index, "Cohere, which takes images as data URLs only,")
        else:
            parts.append({"type": "image_url", "image_url": {"url": image_url(part)}})
    return parts


class _Typed(Struct):
    numbers: list[list[float | int]] | None = field(name="float", default=None)
    int8: list[list[int]] | None = None
    uint8: list[list[int]] | None = None
    binary: list[list[int]] | None = None
    ubinary: list[list[int]] | None = None


class _Reply(Struct):
    embeddings: _Typed | list[list[float | int]] | None = None
    id: Any = None
    meta: Any = None
    message: Any = None


_REPLY = msgspec.json.Decoder(_Reply)


def read_cohere_reply(body: bytes) -> EmbeddingReply:
    """Reads `/v2/embed`'s answer, and the bare lists of `/v1/embed` and of Bedrock. Raises UpstreamBroken."""
    try:
        reply = _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of embeddings.") from None
    found = reply.embeddings
    if found is None:
        if reply.message:
            raise read_error(200, {}, body)
        raise UpstreamBroken("The provider's answer has no embeddings.")
    meta = reply.meta if isinstance(reply.meta, dict) else {}
    answer = EmbeddingReply("", [], _usage(meta), id=reply.id if isinstance(reply.id, str) else "")
    if isinstance(found, list):
        answer.vectors = _vectors(found)
        return answer
    for dtype in ("float", "int8", "uint8", "binary", "ubinary"):
        vectors = found.numbers if dtype == "float" else getattr(found, dtype)
        if vectors is not None:
            answer.vectors, answer.dtype = _vectors(vectors), dtype
            return answer
    raise UpstreamBroken("The provider's answer has no embeddings of a known type.")


def _vectors(found: list[Any]) -> list[Vector]:
    return list(found)


def _usage(meta: dict[str, Any]) -> Usage | None:
    """Billed units where they are named: texts and images are billed apart."""
    billed = meta.get("billed_units")
    if isinstance(billed, dict) and (tokens := count_tokens(billed.get("input_tokens"), billed.get("image_tokens"))):
        return Usage(uncached=tokens)
    tokens_of = meta.get("tokens")
    if isinstance(tokens_of, dict) and (tokens := count_tokens(tokens_of.get("input_tokens"))):
        return Usage(uncached=tokens)
    return None
