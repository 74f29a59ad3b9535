"""Amazon Bedrock's Converse dialect, as a provider speaks it; no client does.

family.py     whose model an id means; paths
write.py      Conversation -> request body        settings.py   inference settings, each maker's additional fields
blocks.py     canonical parts -> content blocks   thoughts.py   reasoning and its signatures
citations.py  citations, both ways                usage.py      usage and stop reasons
reply.py      whole answers                       stream.py     event frames -> events
errors.py     errors                              embed.py      embeddings through InvokeModel
invoke.py     Anthropic's own language inside Bedrock's and Vertex's envelopes
"""

from freehold.dialects.converse.errors import read_error
from freehold.dialects.converse.family import count_path, family, invoke_path, path
from freehold.dialects.converse.invoke import InvokeStream, messages_on_bedrock, messages_on_vertex
from freehold.dialects.converse.reply import read_reply
from freehold.dialects.converse.stream import StreamReader
from freehold.dialects.converse.write import read_count, write_count, write_request
from freehold.dialects.messages.write import json_tool_name

__all__ = [
    "InvokeStream",
    "StreamReader",
    "count_path",
    "family",
    "invoke_path",
    "json_tool_name",
    "messages_on_bedrock",
    "messages_on_vertex",
    "path",
    "read_count",
    "read_error",
    "read_reply",
    "write_count",
    "write_request",
]
