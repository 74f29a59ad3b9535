"""Requests to rerank providers, and their answers read.

The documents a client wants back are filled in from its own request, so no provider is asked for them. Scores are
sorted and cut here as well: llama-server answered in the order of the documents and without `top_n` for long.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.errors import read_error
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.receipt import Receipt
from freehold.dialects.rerank.types import (
    Ranked,
    RerankDocument,
    RerankReply,
    RerankRequest,
    lost,
    plain_query,
    plain_texts,
    text_of,
)
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_ENCODER = msgspec.json.Encoder()
_MOST = 1_000_000_000_000


def write_cohere_request(model: str, request: RerankRequest, losses: Losses) -> bytes:
    """The body of Cohere's `/v2/rerank`. Raises LossRefused for what is no text."""
    body = _texts(model, request, "Cohere")
    if request.max_tokens_per_doc is not None:
        body["max_tokens_per_doc"] = request.max_tokens_per_doc
    lost(request, losses, "truncation", "raw_scores")
    return _finish(body, "top_n", request, losses, own=request.dialect == "cohere")


def write_jina_request(model: str, request: RerankRequest, losses: Losses) -> bytes:
    """The body of Jina's `/v1/rerank`, which takes images too."""
    body: dict[str, Any] = {
        "model": model,
        "query": request.query,
        "documents": [_jina_document(document, request.rank_fields) for document in request.documents],
        "return_documents": False,
    }
    if request.truncation is not None:
        body["truncation"] = request.truncation
    lost(request, losses, "max_tokens_per_doc", "raw_scores")
    return _finish(body, "top_n", request, losses, own=request.dialect == "jina")


def write_host_request(model: str, request: RerankRequest, losses: Losses) -> bytes:
    """The body for vLLM, SGLang, llama-server and other hosts of Jina's dialect, which rank texts.

    Raises LossRefused for what is no text.
    """
    body = _texts(model, request, "this host")
    lost(request, losses, "max_tokens_per_doc", "truncation", "raw_scores")
    return _finish(body, "top_n", request, losses, own=request.dialect == "jina")


def write_voyage_request(model: str, request: RerankRequest, losses: Losses) -> bytes:
    """The body of Voyage's `/v1/rerank`. Raises LossRefused for what is no text."""
    body = _texts(model, request, "Voyage")
    if request.truncation is not None:
        body["truncation"] = request.truncation
    lost(request, losses, "max_tokens_per_doc", "raw_scores")
    return _finish(body, "top_k", request, losses, own=request.dialect == "voyage")


def write_tei_request(model: str, request: RerankRequest, losses: Losses) -> bytes:
    """The body of `/rerank` of text-embeddings-inference, which serves one model. Raises LossRefused for no text."""
    body: dict[str, Any] = {"query": plain_query(request, "TEI"), "texts": plain_texts(request, "TEI")}
    if request.truncation is not None:
        body["truncate"] = request.truncation
    if request.raw_scores is not None:
        body["raw_scores"] = request.raw_scores
    lost(request, losses, "max_tokens_per_doc")
    return _finish(body, None, request, losses, own=request.dialect == "tei")


def _texts(model: str, request: RerankRequest, provider: str) -> dict[str, Any]:
    return {
        "model": model,
        "query": plain_query(request, provider),
        "documents": plain_texts(request, provider),
    }


def _finish(body: dict[str, Any], top: str | None, request: RerankRequest, losses: Losses, *, own: bool) -> bytes:
    """`top` is the provider's word for it, None where the answer is cut here. `own`: the client speaks this dialect."""
    if top is not None and request.top is not None:
        body[top] = request.top
    if own:
        body.update(request.unknown)
    else:
        losses.extend(request.unknown)
    return _ENCODER.encode(body)


def _jina_document(document: RerankDocument, fields: list[str] | None) -> RerankDocument:
    text = text_of(document, fields)
    return document if text is None else text


class _Item(Struct):
    index: int
    relevance_score: float | None = None
    score: float | None = None
    document: dict[str, Any] | str | None = None
    text: str | None = None


class _Reply(Struct):
    results: list[_Item] | None = None
    data: list[_Item] | None = None
    model: Any = None
    id: Any = None
    usage: Any = None
    meta: Any = None


class _Receipt(Struct):
    model: Any = None
    id: Any = None
    usage: Any = None
    meta: Any = None


_REPLY = msgspec.json.Decoder(_Reply)
_BARE = msgspec.json.Decoder(list[_Item])
_RECEIPT = msgspec.json.Decoder(_Receipt)


def read_reply(body: bytes, request: RerankRequest) -> RerankReply:
    """The answer of any of the providers: `results`, Voyage's `data` or TEI's bare array; sorted, and cut to `top`.

    Raises UpstreamBroken for what is no ranking of the request's documents, and the error that an error object sent as
    an answer stands for.
    """
    try:
        reply = _Reply(results=_BARE.decode(body)) if body.lstrip()[:1] == b"[" else _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a ranking.") from None
    items = reply.results if reply.results is not None else reply.data
    if items is None:
        raise _no_ranking(body)
    results = [Ranked(item.index, _score(item), item.document or item.text) for item in items]
    seen = {result.index for result in results}
    if len(seen) != len(results) or not seen <= set(range(len(request.documents))):
        raise UpstreamBroken("The provider ranked documents that it was not sent.")
    ranked = sorted(results, key=lambda result: -result.score)[: request.top]
    return RerankReply(_text(reply.model), ranked, _read_usage(reply), _text(reply.id), as_sent=ranked == results)


def _score(item: _Item) -> float:
    score = item.relevance_score if item.relevance_score is not None else item.score
    if score is None:
        raise UpstreamBroken("The provider's ranking has a document without a score.")
    return score


def _no_ranking(body: bytes) -> Exception:
    """What an answer without results means; all the providers' errors have one of these fields."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except MALFORMED:
        fields = {}
    if any(fields.get(name) for name in ("error", "message", "detail")):
        return read_error(200, {}, body)
    return UpstreamBroken("The provider's answer has no ranking.")


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through answer says of itself. Raises UpstreamBroken."""
    try:
        fields = _Receipt() if body.lstrip()[:1] == b"[" else _RECEIPT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a ranking.") from None
    return Receipt(_text(fields.id), _text(fields.model), _read_usage(fields), "stop", None)


def _read_usage(reply: _Reply | _Receipt) -> Usage | None:
    """Jina's and Voyage's `usage`, Cohere's `meta`. Cohere bills searches; its tokens are told, not billed."""
    usage = reply.usage if isinstance(reply.usage, dict) else {}
    tokens = _count(usage.get("prompt_tokens")) or _count(usage.get("total_tokens"))
    meta = reply.meta if isinstance(reply.meta, dict) else {}
    billed = meta.get("billed_units")
    billed = billed if isinstance(billed, dict) else {}
    counted = meta.get("tokens")
    counted = counted if isinstance(counted, dict) else {}
    tokens = tokens or _count(billed.get("input_tokens")) or _count(counted.get("input_tokens"))
    searches = _count(billed.get("search_units"))
    return Usage(uncached=tokens, search_units=searches) if tokens or searches else None


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
