"""Requests with more inputs than a provider takes in one call: split before, joined after.

The limits are the providers' own: https://platform.openai.com/docs/api-reference/embeddings (2,048 inputs and 300,000
tokens together), https://ai.google.dev/api/embeddings (100), https://docs.cohere.com/reference/embed (96),
https://docs.voyageai.com/reference/embeddings-api (1,000 inputs, 120,000 tokens on the strictest models),
https://api.jina.ai/redoc (2,048). Mistral names only tokens (16,384 together). Tokens are not counted here but
assumed: one for each `BYTES_A_TOKEN` bytes, less than English has, so that code and most other languages fit too.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec

from freehold.dialects.conversation import Text, Usage
from freehold.dialects.embeddings.types import Content, EmbeddingReply, EmbeddingRequest, Input

BYTES_A_TOKEN = 2


class Limit(NamedTuple):
    """What one call may hold: `inputs`, and `size` bytes of text together (0: no limit)."""

    inputs: int
    size: int = 0


GEMINI_BATCH = 100
"""Inputs Gemini takes in one call."""

LIMITS: Mapping[str, Limit] = {
    "chat": Limit(2048, 300_000 * BYTES_A_TOKEN),
    "gemini": Limit(GEMINI_BATCH),
    "cohere": Limit(96),
    "voyage": Limit(1000, 120_000 * BYTES_A_TOKEN),
    "jina": Limit(2048),
    "mistral": Limit(512, 16_384 * BYTES_A_TOKEN),
}
"""By the provider's dialect."""


def split_request(request: EmbeddingRequest, most: int, size: int = 0) -> list[EmbeddingRequest]:
    """Requests of at most `most` inputs and, unless a single input is larger, `size` bytes each, in order.

    Jina's `late_chunking` reads all inputs as one text, so such a request is never split.
    """
    inputs = request.inputs
    if request.unknown.get("late_chunking") is True:
        return [request]
    if not size:
        if len(inputs) <= most:
            return [request]
        cuts = [*range(0, len(inputs), most), len(inputs)]
    else:
        cuts = _cuts(request, most, size)
        if len(cuts) <= 2:
            return [request]
    return [msgspec.structs.replace(request, inputs=inputs[start:end]) for start, end in pairwise(cuts)]


def _cuts(request: EmbeddingRequest, most: int, size: int) -> list[int]:
    cuts, held, start = [0], 0, 0
    for index, given in enumerate(request.inputs):
        more = _size(given)
        if index > start and (index - start >= most or held + more > size):
            cuts.append(index)
            held, start = 0, index
        held += more
    return [*cuts, len(request.inputs)]


def _size(given: Input) -> int:
    if isinstance(given, str):
        return len(given) if given.isascii() else len(given.encode("utf-8", "replace"))
    if isinstance(given, Content):
        return sum(_size(part.text) for part in given.parts if isinstance(part, Text))
    return len(given) * BYTES_A_TOKEN


def join_replies(replies: list[EmbeddingReply]) -> EmbeddingReply:
    """One reply of several, in order. Usage is the sum where every part has one."""
    return EmbeddingReply(
        model=replies[0].model if replies else "",
        vectors=[vector for reply in replies for vector in reply.vectors],
        usage=join_usage([reply.usage for reply in replies]),
        dtype=replies[0].dtype if replies else "float",
        id=replies[0].id if replies else "",
    )


def join_usage(usages: list[Usage | None]) -> Usage | None:
    """The sum; None where one of them, or all, are missing."""
    known = [usage for usage in usages if usage is not None]
    if not known or len(known) != len(usages):
        return None
    return Usage(uncached=sum(usage.input for usage in known))
