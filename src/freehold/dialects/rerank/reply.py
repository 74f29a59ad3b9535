"""A ranking in the client's dialect, and errors that every rerank client can read."""

from typing import Any

import msgspec

from freehold.dialects.conversation import Usage
from freehold.dialects.rerank.types import Ranked, RerankDocument, RerankReply, RerankRequest
from freehold.errors import FreeholdError

_ENCODER = msgspec.json.Encoder()


def write_reply(reply: RerankReply, request: RerankRequest) -> bytes:
    """In the dialect of `request`, with its documents where the client wanted them back."""
    score = "score" if request.dialect == "tei" else "relevance_score"
    results = [_result(ranked, request, score) for ranked in reply.results]
    if request.dialect == "tei":
        return _ENCODER.encode(results)
    if request.dialect == "voyage":
        usage = {"total_tokens": _tokens(reply.usage)}
        return _ENCODER.encode({"object": "list", "data": results, "model": reply.model, "usage": usage})
    if request.dialect == "jina":
        usage = {"total_tokens": _tokens(reply.usage), "prompt_tokens": _tokens(reply.usage)}
        body: dict[str, Any] = {"model": reply.model, "object": "list", "usage": usage, "results": results}
    else:
        version = {"version": "2" if request.dialect == "cohere" else "1"}
        body = {"results": results, "meta": {"api_version": version, **_meta(reply.usage)}}
    if reply.id:
        body = {"id": reply.id, **body}
    return _ENCODER.encode(body)


def _result(ranked: Ranked, request: RerankRequest, score: str) -> dict[str, Any]:
    result: dict[str, Any] = {"index": ranked.index, score: ranked.score}
    if request.return_documents:
        document = request.documents[ranked.index]
        if request.dialect == "tei":
            result["text"] = _text(document)
        else:
            result["document"] = _text(document) if request.dialect == "voyage" else _object(document)
    return result


def _object(document: RerankDocument) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document


def _text(document: RerankDocument) -> str:
    if isinstance(document, str):
        return document
    text = document.get("text")
    return text if isinstance(text, str) else _ENCODER.encode(document).decode()


def _tokens(usage: Usage | None) -> int:
    return usage.input if usage is not None else 0


def _meta(usage: Usage | None) -> dict[str, Any]:
    """Searches are named only where the provider counted them."""
    meta: dict[str, Any] = {}
    if usage is not None and usage.search_units:
        meta["billed_units"] = {"search_units": usage.search_units}
    if usage is not None and usage.input:
        meta["tokens"] = {"input_tokens": usage.input}
    return meta


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """Cohere's clients read `message`, Jina's and Voyage's `detail`; one body has both."""
    body: dict[str, Any] = {"message": error.text, "detail": error.text, "code": error.code}
    if error.param:
        body["param"] = error.param
    if request_id:
        body["id"] = request_id
    return _ENCODER.encode(body)
