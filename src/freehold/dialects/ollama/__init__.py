"""Ollama's own dialect (`/api/chat`, `/api/generate`, `/api/embed`, ...), as clients and as providers speak it.

peek.py           what routing needs of a request; the one edit a pass-through makes
request.py        client bytes -> Conversation           write.py           Conversation -> provider bytes
settings.py       options, format, think, both ways      schema.py          tool parameters as Ollama reads them
reply.py          whole answers, both ways, and receipts usage.py           counts, reasons, times, log probabilities
lines.py          a stream's bytes -> JSON lines         relay.py           provider lines -> client lines, metered
stream.py         provider lines -> events               stream_writer.py   events -> client lines
errors.py         errors, both ways                      loading.py         requests that only load a model
generate.py       `/api/generate`, a form with the same verbs
embed.py          `/api/embed` and `/api/embeddings`     catalog.py         `/api/tags`, `/api/show`, `/api/ps`, ...
"""

from freehold.dialects.ollama.errors import read_error, write_error
from freehold.dialects.ollama.loading import answer_loading
from freehold.dialects.ollama.peek import patch_request, peek
from freehold.dialects.ollama.relay import StreamRelay
from freehold.dialects.ollama.reply import read_receipt, read_reply, write_reply
from freehold.dialects.ollama.request import read_request
from freehold.dialects.ollama.stream import StreamReader
from freehold.dialects.ollama.stream_writer import StreamWriter
from freehold.dialects.ollama.write import write_request

__all__ = [
    "StreamReader",
    "StreamRelay",
    "StreamWriter",
    "answer_loading",
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
