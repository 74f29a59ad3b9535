"""OpenAI chat completions, as a client dialect and as a provider dialect. The public verbs, re-exported.

peek, read_request                   a client's request: glanced at, or read whole
patch_request, write_request         to a provider of the same dialect, or from the canonical conversation
read_receipt, read_reply, write_reply
StreamRelay                          same dialect: bytes through, metered on the way
StreamReader, StreamWriter           provider stream -> canonical events -> client stream
as_stream, mend_reply                a whole answer where a stream was asked for, or with something amiss
read_error, write_error
"""

from freehold.dialects.chat.compose import write_request
from freehold.dialects.chat.errors import read_error, write_error
from freehold.dialects.chat.patch import patch_request
from freehold.dialects.chat.peek import peek
from freehold.dialects.chat.relay import StreamRelay
from freehold.dialects.chat.reply import read_receipt, read_reply
from freehold.dialects.chat.reply_writer import write_reply
from freehold.dialects.chat.request import read_request
from freehold.dialects.chat.stream import StreamReader
from freehold.dialects.chat.stream_writer import StreamWriter
from freehold.dialects.chat.whole import as_stream, mend_reply

__all__ = [
    "StreamReader",
    "StreamRelay",
    "StreamWriter",
    "as_stream",
    "mend_reply",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_error",
    "write_reply",
    "write_request",
]
