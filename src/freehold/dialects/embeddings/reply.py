"""The reply of `/v1/embeddings`, read and written; Voyage, Jina and Mistral answer in the same form.

Three depths of reading: `read_receipt` skips the vectors, `pass_reply` looks whether they are what the client asked
for and lets the bytes through, `read_reply` reads them to be written in another form.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.chat.errors import read_error, read_failure
from freehold.dialects.conversation import Usage
from freehold.dialects.embeddings.types import EmbeddingReply, Encoding, Vector
from freehold.dialects.embeddings.vectors import read_vector, to_base64, to_floats
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_MOST = 1_000_000_000_000


class _Item(Struct, gc=False):
    embedding: list[float | int] | str
    index: Any = None


class _Reply(Struct):
    data: list[_Item] | None = None
    model: Any = None
    usage: Any = None
    error: Any = None
    id: Any = None


class _RawItem(Struct, gc=False):
    embedding: Raw


class _RawReply(Struct):
    data: list[_RawItem] = field(default_factory=list)
    model: Any = None
    usage: Any = None
    error: Any = None
    id: Any = None


class _Receipt(Struct):
    model: Any = None
    usage: Any = None
    error: Any = None
    id: Any = None


_REPLY = msgspec.json.Decoder(_Reply)
_RAW = msgspec.json.Decoder(_RawReply)
_RECEIPT = msgspec.json.Decoder(_Receipt)
_ENCODER = msgspec.json.Encoder()


def read_reply(body: bytes) -> EmbeddingReply:
    """Raises UpstreamBroken for what is no embedding list, and the error that an error object in it stands for."""
    try:
        reply = _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of embeddings.") from None
    if reply.error and not reply.data:
        raise read_error(200, {}, body)
    if reply.data is None:
        raise UpstreamBroken("The provider's answer has no list of embeddings.")
    placed: dict[int, Vector] = {}
    for position, item in enumerate(reply.data):
        placed[item.index if type(item.index) is int else position] = read_vector(item.embedding)
    if sorted(placed) != list(range(len(reply.data))):
        raise UpstreamBroken("The provider's embeddings are not numbered from 0 without gaps.")
    return EmbeddingReply(
        model=reply.model if isinstance(reply.model, str) else "",
        vectors=[placed[index] for index in range(len(reply.data))],
        usage=read_usage(reply.usage),
        id=reply.id if isinstance(reply.id, str) else "",
    )


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through reply says of itself; the vectors are skipped. Raises UpstreamBroken."""
    try:
        fields = _RECEIPT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid embedding list.") from None
    return _receipt(fields)


def pass_reply(body: bytes, encoding_format: Encoding, count: int) -> Receipt | None:
    """The receipt of a reply that may go to the client as it is: `count` vectors, each in the encoding asked for.

    None for any other reply: `read_reply` says what is the matter with it, or reads it.
    """
    try:
        fields = _RAW.decode(body)
    except MALFORMED:
        return None
    wanted = b'"' if encoding_format == "base64" else b"["
    if fields.error or len(fields.data) != count:
        return None
    if any(bytes(memoryview(item.embedding)[:1]) != wanted for item in fields.data):
        return None
    return _receipt(fields)


def _receipt(fields: "_Receipt | _RawReply") -> Receipt:
    return Receipt(
        id=fields.id if isinstance(fields.id, str) else "",
        model=fields.model if isinstance(fields.model, str) else "",
        usage=read_usage(fields.usage),
        finish="stop",
        failed=read_failure(fields.error) if fields.error else None,
    )


def write_reply(reply: EmbeddingReply, encoding_format: Encoding = "float", *, id: str = "") -> bytes:
    """The OpenAI list, in the encoding the client asked for. Unknown usage is written as 0 tokens.

    `id`: Mistral's clients want one, OpenAI's have none.
    """
    base64 = encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": to_base64(vector, reply.dtype) if base64 else to_floats(vector),
        }
        for index, vector in enumerate(reply.vectors)
    ]
    tokens = reply.usage.input if reply.usage is not None else 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body: dict[str, Any] = {"object": "list", "data": data, "model": reply.model, "usage": usage}
    return _ENCODER.encode({"id": id, **body} if id else body)


def read_usage(raw: Any) -> Usage | None:
    """The input tokens; Voyage names only the total."""
    if not isinstance(raw, dict):
        return None
    tokens = raw.get("prompt_tokens") or raw.get("total_tokens")
    if isinstance(tokens, bool) or not isinstance(tokens, int | float) or not 0 < tokens < _MOST:
        return None
    return Usage(uncached=int(tokens))


def count_tokens(*values: Any) -> int:
    """The sum of those values that are counts; Cohere writes its counts as floats."""
    return sum(
        int(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
    )


def check_count(reply: EmbeddingReply, count: int) -> None:
    """Raises UpstreamBroken unless there is one vector for each of `count` inputs."""
    if len(reply.vectors) != count:
        raise UpstreamBroken(f"The provider answered {len(reply.vectors)} embeddings for {count} inputs.")
