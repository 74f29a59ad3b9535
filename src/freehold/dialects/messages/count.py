"""`/v1/messages/count_tokens`: the reply, and an estimate for where no upstream can count.

The estimate is deterministic and needs no tokenizer: a byte of prompt text is a quarter of a token, which fits English
within about 15 % for Claude and overstates code and understates nothing by much (languages of three-byte letters come
out near one token a letter). On top come 4 tokens a message, 12 a tool, and per image and document page the constants
below. It is an estimate of a budget, never a bill.
"""

from typing import Any

import msgspec

from freehold.dialects.wire import MALFORMED, check_dict, decode_request
from freehold.errors import BadRequest, UpstreamBroken

BYTES_A_TOKEN = 4
MESSAGE_TOKENS = 4
TOOL_TOKENS = 12
TOOLS_TOKENS = 300
"""The system prompt Anthropic adds when there are tools: 290 to 346 tokens for present models."""
IMAGE_TOKENS = 1568
"""An image of the largest size Claude does not scale down: width x height / 750."""
PDF_BYTES_A_TOKEN = 25
"""Base64 bytes of a PDF for a token of its pages, text and picture together; the spread is wide."""

_DECODER = msgspec.json.Decoder(dict[str, Any])


def estimate_tokens(body: bytes) -> int:
    """Input tokens of a messages or count_tokens body. Raises BadRequest for malformed JSON."""
    fields = decode_request(_DECODER, body)
    size, extra = _measure(fields.get("system"))
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise BadRequest("The request has no 'messages' array.", param="messages")
    for index, message in enumerate(messages):
        part, more = _measure(check_dict(message, f"messages.{index}").get("content"))
        size += part
        extra += more + MESSAGE_TOKENS
    if isinstance(tools := fields.get("tools"), list) and tools:
        extra += TOOLS_TOKENS + TOOL_TOKENS * len(tools)
        size += len(msgspec.json.encode(tools))
    return max(1, -(-size // BYTES_A_TOKEN) + extra)


def _measure(content: Any) -> tuple[int, int]:
    """Bytes of text in `content`, and tokens of what is no text."""
    size = extra = 0
    queue = [content]
    while queue:
        value = queue.pop()
        if isinstance(value, str):
            size += len(value.encode())
        elif isinstance(value, list):
            queue += value
        elif isinstance(value, dict):
            kind = value.get("type")
            if kind == "image":
                extra += IMAGE_TOKENS
            elif kind == "document" and (data := _base64(value)) is not None:
                extra += max(IMAGE_TOKENS, len(data) // PDF_BYTES_A_TOKEN)
            elif kind == "tool_use":
                size += len(str(value.get("name"))) + len(msgspec.json.encode(value.get("input")))
            else:
                queue += [item for name, item in value.items() if name not in _SILENT]
    return size, extra


_SILENT = frozenset({"type", "cache_control", "tool_use_id", "id", "signature", "media_type"})


def _base64(document: dict[str, Any]) -> str | None:
    source = document.get("source")
    if isinstance(source, dict) and source.get("type") == "base64" and isinstance(data := source.get("data"), str):
        return data
    return None


def write_count(tokens: int) -> bytes:
    return b'{"input_tokens":%d}' % tokens


class _Count(msgspec.Struct):
    input_tokens: int


_COUNT = msgspec.json.Decoder(_Count)


def read_count(body: bytes) -> int:
    """Raises UpstreamBroken when `body` is no count."""
    try:
        return _COUNT.decode(body).input_tokens
    except MALFORMED:
        raise UpstreamBroken("The provider's token count could not be read.") from None
