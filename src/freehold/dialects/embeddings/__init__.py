"""Embeddings: OpenAI's `/v1/embeddings` as the clients' dialect; Cohere, Voyage, Jina, Mistral and Gemini as providers.

A provider's form is a pair `write_<provider>_request(model, request, losses) -> bytes`,
`read_<provider>_reply(body) -> EmbeddingReply`; Voyage, Jina and Mistral answer in OpenAI's form. `types` holds the
canonical request and reply, `batches` what to do when the inputs are too many for one call.
"""

from freehold.dialects.chat.errors import read_error, write_error
from freehold.dialects.embeddings.batches import (
    GEMINI_BATCH,
    LIMITS,
    Limit,
    join_replies,
    join_usage,
    split_request,
)
from freehold.dialects.embeddings.cohere import read_cohere_reply, write_cohere_request
from freehold.dialects.embeddings.gemini import read_gemini_reply, write_gemini_request
from freehold.dialects.embeddings.openai_form import (
    has_images,
    write_jina_request,
    write_mistral_request,
    write_voyage_request,
)
from freehold.dialects.embeddings.reply import check_count, pass_reply, read_receipt, read_reply, write_reply
from freehold.dialects.embeddings.request import patch_request, peek, read_request, write_request
from freehold.dialects.embeddings.tasks import TASKS, read_task
from freehold.dialects.embeddings.types import (
    Content,
    Dtype,
    EmbeddingReply,
    EmbeddingRequest,
    Encoding,
    Input,
    Truncate,
    Vector,
    lost,
    lost_unknown,
    plain_texts,
)
from freehold.dialects.embeddings.vectors import to_base64, to_floats

read_jina_reply = read_mistral_reply = read_voyage_reply = read_reply

__all__ = [
    "GEMINI_BATCH",
    "LIMITS",
    "TASKS",
    "Content",
    "Dtype",
    "EmbeddingReply",
    "EmbeddingRequest",
    "Encoding",
    "Input",
    "Limit",
    "Truncate",
    "Vector",
    "check_count",
    "has_images",
    "join_replies",
    "join_usage",
    "lost",
    "lost_unknown",
    "pass_reply",
    "patch_request",
    "peek",
    "plain_texts",
    "read_cohere_reply",
    "read_error",
    "read_gemini_reply",
    "read_jina_reply",
    "read_mistral_reply",
    "read_receipt",
    "read_reply",
    "read_request",
    "read_task",
    "read_voyage_reply",
    "split_request",
    "to_base64",
    "to_floats",
    "write_cohere_request",
    "write_error",
    "write_gemini_request",
    "write_jina_request",
    "write_mistral_request",
    "write_reply",
    "write_request",
    "write_voyage_request",
]
