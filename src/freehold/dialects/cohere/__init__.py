"""Cohere's v2 chat (`/v2/chat`), as clients and as providers speak it.

peek.py           what routing needs of a request; the edits a pass-through makes
request.py        client bytes -> Conversation           write.py           Conversation -> provider bytes
settings.py       the same beside the messages           options.py         the same for settings; the loss report
content.py        blocks and documents -> parts          blocks.py          parts -> blocks and documents
citations.py      citations, both ways                   usage.py           usage, finish reasons, log-probabilities
reply.py          whole answers, both ways, and receipts
stream.py         provider SSE -> events                 stream_writer.py   events -> client SSE
relay.py          provider SSE -> client SSE, untouched and metered
errors.py         errors, both ways

Embeddings and rerank of Cohere are in dialects/embeddings and dialects/rerank.
"""

from freehold.dialects.cohere.errors import read_error, write_error, write_stream_error
from freehold.dialects.cohere.peek import patch_request, peek
from freehold.dialects.cohere.relay import StreamRelay
from freehold.dialects.cohere.reply import read_receipt, read_reply, write_reply
from freehold.dialects.cohere.request import read_request
from freehold.dialects.cohere.stream import StreamReader
from freehold.dialects.cohere.stream_writer import StreamWriter
from freehold.dialects.cohere.write import write_request

__all__ = [
    "StreamReader",
    "StreamRelay",
    "StreamWriter",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_error",
    "write_reply",
    "write_request",
    "write_stream_error",
]
