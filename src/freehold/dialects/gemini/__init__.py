"""Google's Gemini dialect (generateContent), as providers speak it.

write.py    Conversation -> provider bytes, paths, token counts     parts.py    canonical parts -> wire parts
reply.py    whole answers and receipts                              stream.py   provider SSE -> events
usage.py    usage and finish reasons                                errors.py   errors
"""

from freehold.dialects.gemini.errors import read_error
from freehold.dialects.gemini.reply import read_receipt, read_reply
from freehold.dialects.gemini.stream import StreamReader
from freehold.dialects.gemini.write import count_path, path, read_count, write_count, write_request

__all__ = [
    "StreamReader",
    "count_path",
    "path",
    "read_count",
    "read_error",
    "read_receipt",
    "read_reply",
    "write_count",
    "write_request",
]
