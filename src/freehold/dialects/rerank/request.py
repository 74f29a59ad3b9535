"""A client's rerank request, read and patched.

Sources: https://docs.cohere.com/reference/rerank (v2) and .../v1/reference/rerank, https://api.jina.ai/redoc,
https://docs.voyageai.com/reference/reranker-api, https://huggingface.github.io/text-embeddings-inference. All but
Cohere's v2 share the path `/v1/rerank`, so the fields say whose dialect a body is in: `top_k` and `truncation` are
Voyage's (its SDK always sends them, null or not), `texts` is TEI's, `rank_fields` and `max_chunks_per_doc` are Cohere's
v1, and everything else is Jina's, which vLLM and llama-server copy.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.chat.patch import patch_model
from freehold.dialects.peek import Peek
from freehold.dialects.rerank.types import RerankDialect, RerankDocument, RerankRequest
from freehold.dialects.wire import check_bool, check_int, check_list, check_str, decode_request, refuse
from freehold.errors import BadRequest


class _Peek(Struct):
    model: str
    query: Raw = field(default_factory=Raw)
    documents: Raw = field(default_factory=Raw)
    texts: Raw = field(default_factory=Raw)


_PEEK = msgspec.json.Decoder(_Peek)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()

_RETURNED = {"jina": True, "cohere": False, "cohere_v1": False, "voyage": False, "tei": False}
"""Whether documents come back where the client does not say."""


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, no model, no query or no documents."""
    request = decode_request(_PEEK, body)
    documents = bytes(request.documents) or bytes(request.texts)
    if not bytes(request.query):
        raise BadRequest("The request has no 'query'.", param="query", code="missing_required_parameter")
    if not documents:
        raise BadRequest("The request has no 'documents'.", param="documents", code="missing_required_parameter")
    return Peek(model=request.model, input_bytes=len(bytes(request.query)) + len(documents))


def read_request(body: bytes, dialect: RerankDialect | None = None) -> RerankRequest:
    """`dialect` is "cohere" for `/v2/rerank`; None: see the module. Raises BadRequest with the field as `param`."""
    fields = decode_request(_OBJECT, body)
    if dialect is None:
        dialect = _dialect(fields)
    texts = "texts" if "texts" in fields and "documents" not in fields else "documents"
    request = RerankRequest(
        model=check_str(fields.pop("model", None), "model"),
        query=_read_document(fields.pop("query", None), "query"),
        documents=_read_documents(fields.pop(texts, None), texts),
        return_documents=_RETURNED[dialect],
        dialect=dialect,
    )
    given = {name: value for name, value in fields.items() if value is not None}
    names = request.names
    for name in ("top_n", "top_k"):
        if (value := given.pop(name, None)) is not None:
            request.top, names["top"] = _positive(value, name), name
    for name in ("return_documents", "return_text"):
        if (value := given.pop(name, None)) is not None:
            request.return_documents, names["return_documents"] = check_bool(value, name), name
    for name in ("truncation", "truncate"):
        if isinstance(given.get(name), bool):
            request.truncation, names["truncation"] = given.pop(name), name
    if (value := given.pop("max_tokens_per_doc", None)) is not None:
        request.max_tokens_per_doc = _positive(value, "max_tokens_per_doc")
    if (value := given.pop("raw_scores", None)) is not None:
        request.raw_scores = check_bool(value, "raw_scores")
    if (value := given.pop("rank_fields", None)) is not None:
        request.rank_fields = [
            check_str(name, f"rank_fields.{index}") for index, name in enumerate(check_list(value, "rank_fields"))
        ]
    request.unknown = given
    return request


def _dialect(fields: dict[str, Any]) -> RerankDialect:
    if "texts" in fields and "documents" not in fields:
        return "tei"
    if "top_k" in fields or "truncation" in fields:
        return "voyage"
    if "rank_fields" in fields or "max_chunks_per_doc" in fields:
        return "cohere_v1"
    return "jina"


def _read_documents(given: Any, name: str) -> list[RerankDocument]:
    if given is None:
        raise BadRequest(f"The request has no '{name}'.", param=name, code="missing_required_parameter")
    documents = check_list(given, name)
    if not documents:
        refuse(name, "an array that is not empty", documents)
    return [_read_document(document, f"{name}.{index}") for index, document in enumerate(documents)]


def _read_document(given: Any, where: str) -> RerankDocument:
    if isinstance(given, str | dict):
        return given
    return refuse(where, "a string or an object", given)


def _positive(value: Any, name: str) -> int:
    number = check_int(value, name)
    if number < 1:
        raise BadRequest(f"'{name}' must be positive.", param=name)
    return number


def patch_request(body: bytes, *, model: str) -> bytes:
    """For a provider of the same dialect. Returns `body` itself where nothing changes. Raises BadRequest."""
    fields = decode_request(_FIELDS, body)
    return _ENCODER.encode(fields) if patch_model(fields, model) else body
