"""The canonical rerank request and reply: one form for Cohere, Jina, Voyage and the servers that copy them."""

from typing import Any, Literal

from msgspec import Struct, field

from freehold.dialects.conversation import Losses, Usage
from freehold.errors import LossRefused

RerankDialect = Literal["jina", "cohere", "cohere_v1", "voyage", "tei"]
"""jina: also vLLM's and llama-server's. cohere: `/v2/rerank`. tei: Hugging Face's text-embeddings-inference."""

RerankDocument = str | dict[str, Any]
"""A text, or an object: `{"text"}`, Jina's `{"image"}`, Cohere's of many fields."""


class RerankRequest(Struct):
    """How relevant is each of `documents` to `query`? The `top` best are wanted, all where it is None.

    `return_documents` is the dialect's default where the client did not say. `rank_fields` names the fields of a
    document's object that count, in that order. `unknown` holds what goes back to the client's own dialect only.
    """

    model: str
    query: RerankDocument
    documents: list[RerankDocument]
    top: int | None = None
    return_documents: bool = False
    max_tokens_per_doc: int | None = None
    truncation: bool | None = None
    rank_fields: list[str] | None = None
    raw_scores: bool | None = None
    unknown: dict[str, Any] = field(default_factory=dict)
    dialect: RerankDialect = "jina"
    names: dict[str, str] = field(default_factory=dict)
    """Canonical field -> the client's word for it, where it is another."""


class Ranked(Struct):
    """`index` counts the request's documents from 0. `document` is the provider's copy, which may be cut."""

    index: int
    score: float
    document: RerankDocument | None = None


class RerankReply(Struct):
    """`results` from the most relevant down. `usage.search_units` is what Cohere bills.

    `as_sent`: the provider's own bytes had these results in this order, so they may pass as they are.
    """

    model: str
    results: list[Ranked]
    usage: Usage | None = None
    id: str = ""
    as_sent: bool = False


def lost(request: RerankRequest, losses: Losses, *names: str) -> None:
    """Reports those of the canonical fields `names` that the client set and the provider cannot carry."""
    losses.extend(request.names.get(name, name) for name in names if getattr(request, name) is not None)


def text_of(document: RerankDocument, fields: list[str] | None = None) -> str | None:
    """A document as one text: its `text`, or the `fields` named, a line each. None for what has no text.

    Cohere's v1 API ranks by `text` unless fields are named, and recommends lines of `key: value` to its v2 API.
    """
    if isinstance(document, str):
        return document
    if fields:
        lines = [f"{name}: {document[name]}" for name in fields if document.get(name) is not None]
        return "\n".join(lines) if lines else None
    text = document.get("text")
    return text if isinstance(text, str) else None


def plain_texts(request: RerankRequest, provider: str) -> list[str]:
    """The documents as texts. Raises LossRefused for one that has none, like an image."""
    texts = []
    for index, document in enumerate(request.documents):
        if (text := text_of(document, request.rank_fields)) is None:
            raise _refused(f"documents.{index}", provider)
        texts.append(text)
    return texts


def plain_query(request: RerankRequest, provider: str) -> str:
    """Raises LossRefused for a query without text."""
    if (text := text_of(request.query)) is None:
        raise _refused("query", provider)
    return text


def _refused(param: str, provider: str) -> LossRefused:
    return LossRefused(f"'{param}': {provider} ranks texts only.", param=param, hint="send text, or ask another model")
