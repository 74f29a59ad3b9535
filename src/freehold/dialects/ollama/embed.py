"""Embeddings in Ollama's words: `/api/embed`, and the older `/api/embeddings`, for clients and from providers.

Source: https://docs.ollama.com/openapi.yaml. `/api/embed` takes texts and gives normalised vectors, `/api/embeddings`
takes one `prompt` and gives one vector. Neither knows token ids, base64 or a task; `keep_alive` and `options`
stay in `EmbeddingRequest.unknown`.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Losses
from freehold.dialects.embeddings.types import (
    EmbeddingReply,
    EmbeddingRequest,
    lost,
    lost_unknown,
    plain_texts,
)
from freehold.dialects.ollama.errors import failed, read_error, write_error
from freehold.dialects.ollama.peek import NOTHING, patch_request
from freehold.dialects.ollama.request import read_model
from freehold.dialects.ollama.usage import read_usage
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED, check_bool, check_int, check_list, check_str, decode_request, refuse
from freehold.errors import BadRequest, UpstreamBroken

__all__ = [
    "patch_request",
    "peek",
    "read_error",
    "read_old_request",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_error",
    "write_old_reply",
    "write_reply",
    "write_request",
]

_OWN = ("keep_alive", "options")


class _Peek(Struct):
    model: str
    input: Raw = NOTHING
    prompt: Raw = NOTHING


class _Reply(Struct):
    model: str = ""
    embeddings: list[list[float]] | None = None
    embedding: list[float] | None = None
    prompt_eval_count: Any = None
    error: Any = None


class _Meter(Struct):
    model: Any = None
    prompt_eval_count: Any = None
    error: Any = None


_PEEK = msgspec.json.Decoder(_Peek)
_FIELDS = msgspec.json.Decoder(dict[str, Any])
_REPLY = msgspec.json.Decoder(_Reply)
_METER = msgspec.json.Decoder(_Meter)
_ENCODER = msgspec.json.Encoder()


# Requests


def peek(body: bytes) -> Peek:
    """Of both forms. Raises BadRequest for malformed JSON, or no model."""
    request = decode_request(_PEEK, body)
    return Peek(model=request.model, input_bytes=len(request.input) or len(request.prompt))


def read_request(body: bytes) -> EmbeddingRequest:
    """A request of `/api/embed`. Raises BadRequest with the field as `param`."""
    fields = decode_request(_FIELDS, body)
    model = read_model(fields)
    given = fields.pop("input", None)
    if given is None:
        raise BadRequest("The request has no 'input'.", param="input", code="missing_required_parameter")
    if isinstance(given, str):
        inputs = [given]
    elif isinstance(given, list):
        inputs = [check_str(text, f"input.{index}") for index, text in enumerate(check_list(given, "input"))]
    else:
        refuse("input", "a string or an array of strings", given)
    request = EmbeddingRequest(model=model, inputs=inputs)
    if (dimensions := fields.pop("dimensions", None)) is not None:
        request.dimensions = check_int(dimensions, "dimensions")
        if request.dimensions < 1:
            raise BadRequest("'dimensions' must be positive.", param="dimensions")
    if (truncate := fields.pop("truncate", None)) is not None:
        request.truncate = "end" if check_bool(truncate, "truncate") else "none"
    request.unknown = {name: value for name, value in fields.items() if value is not None}
    return request


def read_old_request(body: bytes) -> EmbeddingRequest:
    """A request of `/api/embeddings`, answered with `write_old_reply`. Raises BadRequest."""
    fields = decode_request(_FIELDS, body)
    model = read_model(fields)
    prompt = fields.pop("prompt", None)
    if prompt is None:
        raise BadRequest("The request has no 'prompt'.", param="prompt", code="missing_required_parameter")
    request = EmbeddingRequest(model=model, inputs=[check_str(prompt, "prompt")])
    request.unknown = {name: value for name, value in fields.items() if value is not None}
    return request


def write_request(request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body for `/api/embed`, whose vectors are always normalised.

    Raises LossRefused for token ids and images, which Ollama cannot embed.
    """
    body: dict[str, Any] = {"model": request.model, "input": plain_texts(request, "Ollama")}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.truncate == "start":
        lost(request, losses, "truncate")
    elif request.truncate is not None:
        body["truncate"] = request.truncate == "end"
    if request.normalize is False:
        lost(request, losses, "normalize")
    lost(request, losses, "user", "task", "title", "dtype")
    body |= {name: request.unknown[name] for name in _OWN if name in request.unknown}
    lost_unknown(request, losses, _OWN)
    return _ENCODER.encode(body)


# Replies


def read_reply(body: bytes) -> EmbeddingReply:
    """The answer of either form. Raises UpstreamBroken."""
    try:
        reply = _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid embedding list.") from None
    if reply.error is not None:
        report = failed(reply.error)
        raise UpstreamBroken(f"The provider answered with an error in a success: {report.message}", code=report.code)
    vectors = reply.embeddings
    if vectors is None:
        if reply.embedding is None:
            raise UpstreamBroken("The provider's answer has no embeddings.")
        vectors = [reply.embedding]
    return EmbeddingReply(model=reply.model, vectors=list(vectors), usage=read_usage(reply.prompt_eval_count, 0, None))


def write_reply(reply: EmbeddingReply) -> bytes:
    """The answer of `/api/embed`. Durations, which nobody here knows, are 0."""
    tokens = reply.usage.input if reply.usage is not None else 0
    return _ENCODER.encode(
        {
            "model": reply.model,
            "embeddings": [_floats(vector) for vector in reply.vectors],
            "total_duration": 0,
            "load_duration": 0,
            "prompt_eval_count": tokens,
        }
    )


def write_old_reply(reply: EmbeddingReply) -> bytes:
    """The answer of `/api/embeddings`, its first vector."""
    return _ENCODER.encode({"embedding": _floats(reply.vectors[0]) if reply.vectors else []})


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through reply says of itself; the vectors are skipped. Raises UpstreamBroken."""
    try:
        meter = _METER.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid embedding list.") from None
    return Receipt(
        model=meter.model if isinstance(meter.model, str) else "",
        usage=read_usage(meter.prompt_eval_count, 0, None),
        failed=failed(meter.error) if meter.error is not None else None,
    )


def _floats(vector: Sequence[float] | bytes) -> list[float]:
    """Numbers, from the float32 little-endian bytes that base64 held too."""
    return list(struct.unpack(f"<{len(vector) // 4}f", vector) if isinstance(vector, bytes) else vector)
