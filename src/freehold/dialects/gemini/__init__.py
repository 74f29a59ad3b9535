"""Google's Gemini dialect (generateContent and its kin), as clients and as providers speak it.

paths.py     model and method in the path                  proto.py         Google's JSON, read leniently
peek.py      what routing needs of a request; the pass-through
request.py   client bytes -> Conversation                  write.py         Conversation -> provider bytes
contents.py  its contents          settings.py  its tools and settings      schema.py   its schemas
parts.py     canonical parts -> wire parts                 config.py        canonical settings -> generationConfig
reply.py     provider's whole answer -> Reply; receipts    reply_writer.py  Reply -> client bytes
stream.py    provider SSE -> events                        stream_writer.py events -> client stream
relay.py     provider SSE -> client stream, untouched and metered
usage.py, logprobs.py, grounding.py, signatures.py, media.py   parts of answers, both ways
errors.py    errors, both ways     count.py  countTokens, both ways         embed.py    embeddings, for clients
"""

from freehold.dialects.gemini.count import read_count, read_count_request, write_count, write_count_reply
from freehold.dialects.gemini.errors import read_error, write_error
from freehold.dialects.gemini.paths import METHODS, Call, count_path, parse_path, path
from freehold.dialects.gemini.peek import patch_request, peek, peek_count
from freehold.dialects.gemini.relay import StreamRelay
from freehold.dialects.gemini.reply import read_receipt, read_reply
from freehold.dialects.gemini.reply_writer import write_reply
from freehold.dialects.gemini.request import read_request
from freehold.dialects.gemini.stream import StreamReader
from freehold.dialects.gemini.stream_writer import StreamWriter
from freehold.dialects.gemini.write import write_request

__all__ = [
    "METHODS",
    "Call",
    "StreamReader",
    "StreamRelay",
    "StreamWriter",
    "count_path",
    "parse_path",
    "patch_request",
    "path",
    "peek",
    "peek_count",
    "read_count",
    "read_count_request",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_count",
    "write_count_reply",
    "write_error",
    "write_reply",
    "write_request",
]
