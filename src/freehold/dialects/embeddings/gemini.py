"""Gemini's `:batchEmbedContents` as a provider.

Source: https://ai.google.dev/api/embeddings. gemini-embedding-2 ignores `taskType`: the task stands before the text, in
the words of https://ai.google.dev/gemini-api/docs/embeddings.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.errors import read_error
from freehold.dialects.conversation import Losses, Text, Usage
from freehold.dialects.embeddings.tasks import GEMINI, GEMINI_PROMPTS
from freehold.dialects.embeddings.types import (
    Content,
    EmbeddingReply,
    EmbeddingRequest,
    Input,
    lost,
    lost_unknown,
    refused,
    text_of,
)
from freehold.dialects.media import sniff
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_ENCODER = msgspec.json.Encoder()
_PROMPTED = "gemini-embedding-2"


def write_gemini_request(model: str, request: EmbeddingRequest, losses: Losses) -> bytes:
    """The body of `models/{model}:batchEmbedContents`, for at most `GEMINI_BATCH` inputs (see `split_request`); of
    `:embedContent` where the client asked by it (`request.single`).

    Raises LossRefused for token ids, and for images that are not at hand.
    """
    name = model if model.startswith("models/") else f"models/{model}"
    prompt = _prompt(name, request)
    shared: dict[str, Any] = {}
    if request.task is not None and prompt is None:
        shared["taskType"] = GEMINI.get(request.task) or request.task.upper()
        if request.title is not None:
            shared["title"] = request.title
    if request.dimensions is not None:
        shared["outputDimensionality"] = request.dimensions
    requests = [
        {"model": name, "content": {"parts": _parts(given, index, prompt or "")}, **shared}
        for index, given in enumerate(request.inputs)
    ]
    if prompt is None and name == f"models/{_PROMPTED}":
        lost(request, losses, "task")
    lost(request, losses, "user", "dtype", "truncate", "normalize")
    if request.single:
        return _ENCODER.encode({"content": requests[0]["content"], **shared, **request.unknown})
    lost_unknown(request, losses)
    return _ENCODER.encode({"requests": requests})


def _prompt(name: str, request: EmbeddingRequest) -> str | None:
    """The words that stand for the task before a text; None where the model takes `taskType`."""
    if request.task is None or name != f"models/{_PROMPTED}":
        return None
    if request.task in ("document", "code_document"):
        return f"title: {request.title or 'none'} | text: "
    return GEMINI_PROMPTS.get(request.task)


def _parts(given: Input, index: int, prompt: str) -> list[dict[str, Any]]:
    if not isinstance(given, Content):
        return [{"text": prompt + text_of(given, index, "Gemini")}]
    parts: list[dict[str, Any]] = []
    for part in given.parts:
        if isinstance(part, Text):
            parts.append({"text": prompt + part.text})
            prompt = ""
        elif part.data is not None:
            kind = part.media_type or sniff(part.data) or "image/png"
            parts.append({"inlineData": {"mimeType": kind, "data": part.data}})
        elif part.url is not None and part.url.startswith("gs://"):
            parts.append({"fileData": {"fileUri": part.url}})
        else:
            raise refused(given, index, "Gemini, which fetches no URL,")
    return parts


class _Embedding(msgspec.Struct):
    values: list[float | int]


class _Reply(msgspec.Struct):
    embeddings: list[_Embedding] | None = None
    embedding: _Embedding | None = None
    usageMetadata: Any = None  # noqa: N815
    error: Any = None


_REPLY = msgspec.json.Decoder(_Reply)


def read_gemini_reply(body: bytes, model: str = "") -> EmbeddingReply:
    """Reads the answer of `:batchEmbedContents` or `:embedContent`. Raises UpstreamBroken."""
    try:
        reply = _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of embeddings.") from None
    found = reply.embeddings
    if found is None and reply.embedding is not None:
        found = [reply.embedding]
    if found is None:
        if reply.error:
            raise read_error(200, {}, body)
        raise UpstreamBroken("The provider's answer has no list of embeddings.")
    metadata = reply.usageMetadata
    tokens = metadata.get("promptTokenCount") if isinstance(metadata, dict) else None
    return EmbeddingReply(
        model=model,
        vectors=[one.values for one in found],
        usage=Usage(uncached=tokens) if type(tokens) is int and 0 <= tokens < 1_000_000_000_000 else None,
    )
