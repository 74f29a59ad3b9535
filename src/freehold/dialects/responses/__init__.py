"""OpenAI's Responses dialect (`/v1/responses`), as clients and as providers speak it.

peek.py           what routing needs of a request        patch.py           the edits a pass-through makes
request.py        client bytes -> Conversation           write.py           Conversation -> provider bytes
content.py        content parts of a request             write_items.py     turns -> input items
settings.py       tools, format, reasoning, the rest     names.py           custom tools and namespaces elsewhere
reply.py          whole answers, both ways, receipts     output.py          parts -> output items
envelope.py       the response object around an answer   ids.py             ids of responses and items
stream.py         provider SSE -> events                 relay.py           provider SSE -> client SSE, untouched
stream_writer.py  events -> client SSE                   stream_items.py    the items of a stream in progress
reasoning.py      thoughts and their signatures          annotations.py     citations and log-probabilities
usage.py          usage and status                       errors.py          errors, both ways
framing.py        one event, taken apart
stored.py         kept responses: their input items, and histories in place of `previous_response_id`
"""

from freehold.dialects.responses.envelope import Echo, echo
from freehold.dialects.responses.errors import read_error, write_error, write_stream_error
from freehold.dialects.responses.patch import patch_request
from freehold.dialects.responses.peek import peek
from freehold.dialects.responses.relay import StreamRelay
from freehold.dialects.responses.reply import read_receipt, read_reply, write_reply
from freehold.dialects.responses.request import read_request
from freehold.dialects.responses.stored import stored_items, with_history
from freehold.dialects.responses.stream import StreamReader
from freehold.dialects.responses.stream_writer import StreamWriter
from freehold.dialects.responses.write import write_request

__all__ = [
    "Echo",
    "StreamReader",
    "StreamRelay",
    "StreamWriter",
    "echo",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "stored_items",
    "with_history",
    "write_error",
    "write_reply",
    "write_request",
    "write_stream_error",
]
