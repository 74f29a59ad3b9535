"""Embeddings: OpenAI's `/v1/embeddings` as client and provider dialect, Gemini's `:batchEmbedContents` as provider's.

Sources: https://platform.openai.com/docs/api-reference/embeddings,
https://ai.google.dev/api/embeddings. A vector is kept as it came, as numbers or as bytes (float32, little-endian, what
OpenAI's base64 holds), and converted only when the client asked for the other form: the OpenAI SDKs ask for base64
unless told otherwise, and many hosts refuse it. Numbers that become float32 keep about 7 digits, which is what the
models compute with.
"""

import binascii
import struct
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.chat.errors import read_error, write_error
from freehold.dialects.chat.patch import patch_model
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED, check_int, check_str, decode_request, refuse
from freehold.errors import BadRequest, UpstreamBroken

__all__ = [
    "EmbeddingReply",
    "EmbeddingRequest",
    "Vector",
    "join_replies",
    "patch_request",
    "peek",
    "read_error",
    "read_gemini_reply",
    "read_receipt",
    "read_reply",
    "read_request",
    "split_request",
    "write_error",
    "write_gemini_request",
    "write_reply",
    "write_request",
]

GEMINI_BATCH = 100
"""Inputs Gemini takes in one call."""

Encoding = Literal["float", "base64"]
Vector = list[float] | bytes
"""Numbers, or their float32 little-endian bytes."""


class EmbeddingRequest(Struct):
    """`inputs` are texts, or token lists. `task` is what hosts call input_type or task_type."""

    model: str
    inputs: list[str] | list[list[int]]
    dimensions: int | None = None
    encoding_format: Encoding = "float"
    user: str | None = None
    task: str | None = None
    unknown: dict[str, Any] = field(default_factory=dict)


class EmbeddingReply(Struct):
    """`vectors` in the order of the inputs."""

    model: str
    vectors: list[Vector]
    usage: Usage | None = None


class _Peek(Struct):
    model: str
    input: Raw = field(default_factory=Raw)


_PEEK = msgspec.json.Decoder(_Peek)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()
_TASK_FIELDS = ("input_type", "task_type", "task")
_GEMINI_TASKS = {
    "query": "RETRIEVAL_QUERY",
    "search_query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "passage": "RETRIEVAL_DOCUMENT",
    "search_document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "similarity": "SEMANTIC_SIMILARITY",
}


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, no model or no input."""
    request = decode_request(_PEEK, body)
    given = bytes(request.input)
    if not given:
        raise BadRequest("The request has no 'input'.", param="input", code="missing_required_parameter")
    if given[:1] not in (b'"', b"["):
        refuse("input", "a string or an array", msgspec.json.decode(given))
    return Peek(model=request.model, input_bytes=len(given))


def read_request(body: bytes) -> EmbeddingRequest:
    """Raises BadRequest with the field as `param`."""
    fields = decode_request(_OBJECT, body)
    request = EmbeddingRequest(
        model=check_str(fields.pop("model", None), "model"), inputs=_read_inputs(fields.pop("input", None))
    )
    encoding = fields.pop("encoding_format", None)
    if encoding not in (None, "float", "base64"):
        refuse("encoding_format", '"float" or "base64"', encoding)
    request.encoding_format = "base64" if encoding == "base64" else "float"
    if (dimensions := fields.pop("dimensions", None)) is not None:
        request.dimensions = check_int(dimensions, "dimensions")
        if request.dimensions < 1:
            raise BadRequest("'dimensions' must be positive.", param="dimensions")
    if (user := fields.pop("user", None)) is not None:
        request.user = check_str(user, "user")
    for name in _TASK_FIELDS:
        if isinstance(fields.get(name), str):
            request.task = fields[name]
    request.unknown = {name: value for name, value in fields.items() if value is not None}
    return request


def _read_inputs(given: Any) -> list[str] | list[list[int]]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        refuse("input", "a string or an array that is not empty", given)
    if all(isinstance(one, str) for one in given):
        return given
    if all(type(one) is int for one in given):
        return [given]
    for index, one in enumerate(given):
        if not isinstance(one, list) or not one or not all(type(token) is int for token in one):
            refuse(f"input.{index}", "texts alone, or token ids alone", one)
    return given


def patch_request(
    body: bytes, *, model: str, base64: bool = True, losses: Losses | None = None, dimensions: bool = True
) -> bytes:
    """For a host of the same dialect. Returns `body` itself where nothing changes. Raises BadRequest.

    `base64` False: the host refuses that encoding, so numbers are asked for and `write_reply` converts them.
    `dimensions` False: the host refuses that field; left out and reported.
    """
    fields = decode_request(_FIELDS, body)
    changed = patch_model(fields, model)
    if not base64 and "encoding_format" in fields:
        changed |= fields["encoding_format"] != Raw(b'"float"')
        fields["encoding_format"] = Raw(b'"float"')
    if not dimensions and fields.pop("dimensions", None) is not None:
        changed = True
        if losses is not None:
            losses.append("dimensions")
    return _ENCODER.encode(fields) if changed else body


def write_request(request: EmbeddingRequest, base64: bool = False) -> bytes:
    """The OpenAI body; used for the parts of a request that was split."""
    body: dict[str, Any] = {"model": request.model, "input": request.inputs}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    body["encoding_format"] = "base64" if base64 else "float"
    if request.user is not None:
        body["user"] = request.user
    body.update(request.unknown)
    return _ENCODER.encode(body)


def read_reply(body: bytes) -> EmbeddingReply:
    """Raises UpstreamBroken for what is no embedding list, and the error that an error object in it stands for."""
    fields = _decode_reply(body)
    data = fields.get("data")
    if fields.get("error") and not data:
        raise read_error(200, {}, body)
    if not isinstance(data, list):
        raise UpstreamBroken("The provider's answer has no list of embeddings.")
    placed: dict[int, Vector] = {}
    for position, item in enumerate(data):
        if not isinstance(item, dict):
            raise UpstreamBroken("An embedding of the provider's answer is not an object.")
        index = item.get("index")
        placed[index if type(index) is int else position] = _read_vector(item.get("embedding"))
    if sorted(placed) != list(range(len(data))):
        raise UpstreamBroken("The provider's embeddings are not numbered from 0 without gaps.")
    model = fields.get("model")
    return EmbeddingReply(
        model=model if isinstance(model, str) else "",
        vectors=[placed[index] for index in range(len(data))],
        usage=_read_usage(fields.get("usage")),
    )


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through reply says of itself; the vectors are skipped. Raises UpstreamBroken."""
    try:
        fields = _RECEIPT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid embedding list.") from None
    model = fields.model if isinstance(fields.model, str) else ""
    return Receipt(model=model, usage=_read_usage(fields.usage))


class _Receipt(Struct):
    model: Any = None
    usage: Any = None


_RECEIPT = msgspec.json.Decoder(_Receipt)


def write_reply(reply: EmbeddingReply, encoding_format: Encoding = "float") -> bytes:
    """The OpenAI list, in the encoding the client asked for. Unknown usage is written as 0 tokens."""
    convert = to_base64 if encoding_format == "base64" else to_floats
    data = [
        {"object": "embedding", "index": index, "embedding": convert(vector)}
        for index, vector in enumerate(reply.vectors)
    ]
    tokens = reply.usage.input if reply.usage is not None else 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _ENCODER.encode({"object": "list", "data": data, "model": reply.model, "usage": usage})


def to_base64(vector: Vector) -> str:
    """float32, little-endian, base64. Raises UpstreamBroken for a number that float32 cannot hold."""
    if not isinstance(vector, bytes):
        try:
            vector = struct.pack(f"<{len(vector)}f", *vector)
        except OverflowError:
            raise UpstreamBroken("The provider's embedding has a number beyond float32.") from None
    return binascii.b2a_base64(vector, newline=False).decode("ascii")


def to_floats(vector: Vector) -> list[float]:
    """The numbers of a vector."""
    return list(struct.unpack(f"<{len(vector) // 4}f", vector)) if isinstance(vector, bytes) else vector


def _read_vector(value: Any) -> Vector:
    if isinstance(value, str):
        try:
            raw = binascii.a2b_base64(value, strict_mode=True)
        except binascii.Error:
            raise UpstreamBroken("The provider's embedding is not valid base64.") from None
        if len(raw) % 4:
            raise UpstreamBroken("The provider's base64 embedding is not a list of float32.")
        return raw
    if isinstance(value, list) and all(type(number) in (float, int) for number in value):
        return value
    raise UpstreamBroken("The provider's embedding is neither a list of numbers nor base64.")


def _read_usage(raw: Any) -> Usage | None:
    if not isinstance(raw, dict):
        return None
    tokens = raw.get("prompt_tokens") or raw.get("total_tokens")  # Voyage names only the total
    return Usage(uncached=int(tokens)) if isinstance(tokens, int | float) and 0 < tokens < 1e15 else None


def _decode_reply(body: bytes) -> dict[str, Any]:
    try:
        return _OBJECT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a JSON object.") from None


# Batches


def split_request(request: EmbeddingRequest, size: int) -> list[EmbeddingRequest]:
    """Requests of at most `size` inputs each, in order."""
    inputs = request.inputs
    if len(inputs) <= size:
        return [request]
    return [
        msgspec.structs.replace(request, inputs=inputs[start : start + size]) for start in range(0, len(inputs), size)
    ]


def join_replies(replies: list[EmbeddingReply]) -> EmbeddingReply:
    """One reply of several, in order. Usage is the sum where every part has one."""
    usages = [reply.usage for reply in replies if reply.usage is not None]
    whole = bool(replies) and len(usages) == len(replies)
    return EmbeddingReply(
        model=replies[0].model if replies else "",
        vectors=[vector for reply in replies for vector in reply.vectors],
        usage=Usage(uncached=sum(usage.input for usage in usages)) if whole else None,
    )


# Gemini


def write_gemini_request(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body of `models/{model}:batchEmbedContents`, for at most `GEMINI_BATCH` inputs (see `split_request`).

    Raises BadRequest for token ids, which Gemini cannot read.
    """
    name = model if model.startswith("models/") else f"models/{model}"
    requests = []
    for index, text in enumerate(request.inputs):
        if not isinstance(text, str):
            raise BadRequest("Gemini embeds text, not token ids.", param=f"input.{index}", hint="send the text itself")
        one: dict[str, Any] = {"model": name, "content": {"parts": [{"text": text}]}}
        if request.task is not None:
            one["taskType"] = _GEMINI_TASKS.get(request.task.lower(), request.task.upper())
        if request.dimensions is not None:
            one["outputDimensionality"] = request.dimensions
        requests.append(one)
    if request.user is not None:
        losses.append("user")
    losses.extend(name for name in request.unknown if name not in _TASK_FIELDS)
    return _ENCODER.encode({"requests": requests})


def read_gemini_reply(body: bytes, model: str = "") -> EmbeddingReply:
    """Reads the answer of `:batchEmbedContents` or `:embedContent`. Raises UpstreamBroken."""
    fields = _decode_reply(body)
    embeddings = fields.get("embeddings")
    if embeddings is None and "embedding" in fields:
        embeddings = [fields["embedding"]]
    if not isinstance(embeddings, list) or not all(isinstance(one, dict) for one in embeddings):
        raise UpstreamBroken("The provider's answer has no list of embeddings.")
    metadata = fields.get("usageMetadata")
    tokens = metadata.get("promptTokenCount") if isinstance(metadata, dict) else None
    return EmbeddingReply(
        model=model,
        vectors=[_read_vector(one.get("values")) for one in embeddings],
        usage=Usage(uncached=tokens) if type(tokens) is int and tokens >= 0 else None,
    )
