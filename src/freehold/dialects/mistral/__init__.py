"""Mistral's chat completions (`/v1/chat/completions` of api.mistral.ai), as clients and as providers speak it.

Why a dialect of its own, and so thin. Mistral's API is OpenAI's with other words: requests may hold no field it does
not know (422), content is a list of chunks with types of its own, messages have a fixed order of roles. To make these
traits would put a dozen conditions into every writer of the chat dialect, and chat clients could not be relayed to
Mistral anyway: an OpenAI SDK cannot read a list of chunks where it expects a string. So there is a dialect, and it owns
no logic that the chat dialect has: a conversation is rewritten into one that the chat writer writes as Mistral wants it
(`write.py`), a request is read by the chat reader with Mistral's chunks set aside (`request.py`), and answers, streams,
errors, receipts and the relay are the chat dialect's, with thoughts and chunks put in their places.

content.py        Mistral's chunks <-> canonical parts
request.py        client bytes -> Conversation; peek       write.py          Conversation -> provider bytes
reply.py          whole answers, both ways                 stream.py         streams, both ways
errors.py         errors, both ways
"""

from freehold.dialects.chat import StreamRelay, patch_request, read_receipt
from freehold.dialects.mistral.errors import read_error, write_error
from freehold.dialects.mistral.reply import read_reply, write_reply
from freehold.dialects.mistral.request import peek, read_request
from freehold.dialects.mistral.stream import StreamReader, StreamWriter
from freehold.dialects.mistral.write import write_request

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
]
