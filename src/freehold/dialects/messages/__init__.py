"""Anthropic's Messages dialect (`/v1/messages`), as clients and as providers speak it.

peek.py           what routing needs of a request       patch.py           the edits a pass-through makes
request.py        client bytes -> Conversation           write.py           Conversation -> provider bytes
blocks.py         canonical parts -> content blocks      usage.py           usage and stop reasons
citations.py      citations, both ways                   whole.py           a whole answer as a stream, or mended
reply.py          whole answers, both ways, and receipts
stream.py         provider SSE -> events                 stream_writer.py   events -> client SSE
relay.py          provider SSE -> client SSE, untouched and metered
errors.py         errors, both ways                      count.py           count_tokens
"""

from freehold.dialects.messages.count import estimate_tokens, read_count, write_count
from freehold.dialects.messages.errors import read_error, write_error, write_stream_error
from freehold.dialects.messages.patch import patch_request
from freehold.dialects.messages.peek import peek, peek_count
from freehold.dialects.messages.relay import StreamRelay
from freehold.dialects.messages.reply import read_receipt, read_reply, write_reply
from freehold.dialects.messages.request import read_request
from freehold.dialects.messages.stream import StreamReader
from freehold.dialects.messages.stream_writer import StreamWriter
from freehold.dialects.messages.whole import as_stream, mend_reply
from freehold.dialects.messages.write import json_tool_name, write_request

__all__ = [
    "StreamReader",
    "StreamRelay",
    "StreamWriter",
    "as_stream",
    "estimate_tokens",
    "json_tool_name",
    "mend_reply",
    "patch_request",
    "peek",
    "peek_count",
    "read_count",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_count",
    "write_error",
    "write_reply",
    "write_request",
    "write_stream_error",
]
