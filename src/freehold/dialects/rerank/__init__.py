"""Rerank: Cohere's, Jina's and Voyage's APIs, and the servers that copy them, through one canonical form.

A provider's form is a pair `write_<provider>_request(model, request, losses) -> bytes` and `read_reply(body, request)`,
which reads all of their answers. `write_host_request` is for vLLM, SGLang and llama-server.
"""

from freehold.dialects.chat.errors import read_error
from freehold.dialects.rerank.providers import (
    read_receipt,
    read_reply,
    write_cohere_request,
    write_host_request,
    write_jina_request,
    write_tei_request,
    write_voyage_request,
)
from freehold.dialects.rerank.reply import write_error, write_reply
from freehold.dialects.rerank.request import patch_request, peek, read_request
from freehold.dialects.rerank.types import Ranked, RerankDialect, RerankDocument, RerankReply, RerankRequest

__all__ = [
    "Ranked",
    "RerankDialect",
    "RerankDocument",
    "RerankReply",
    "RerankRequest",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_cohere_request",
    "write_error",
    "write_host_request",
    "write_jina_request",
    "write_reply",
    "write_tei_request",
    "write_voyage_request",
]
