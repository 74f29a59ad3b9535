"""Images: OpenAI's `/v1/images/generations`, `/edits` and `/variations`, as clients and most providers speak them.

Sources: https://platform.openai.com/docs/api-reference/images and the `openai` SDK's types. Generations are JSON; edits
are a form with files, or JSON with references; variations are a form. Answers are JSON, or a stream of partial images
and a final one. Gemini's image models answer through `generateContent`, Imagen through `:predict` (gemini.py).

request.py    peek, read, patch     reply.py    receipts, whole answers, usage, events
relay.py      streams               gemini.py   Gemini and Imagen as providers
"""

from freehold.dialects.chat.errors import read_error, write_error
from freehold.dialects.images.gemini import (
    read_gemini_reply,
    read_imagen_reply,
    write_gemini_request,
    write_imagen_request,
)
from freehold.dialects.images.relay import StreamRelay
from freehold.dialects.images.reply import ImageReply, MadeImage, read_receipt, write_events, write_reply
from freehold.dialects.images.request import ImageRequest, Kind, patch_request, peek, read_request
from freehold.dialects.typed_events import write_failure

__all__ = [
    "ImageReply",
    "ImageRequest",
    "Kind",
    "MadeImage",
    "StreamRelay",
    "patch_request",
    "peek",
    "read_error",
    "read_gemini_reply",
    "read_imagen_reply",
    "read_receipt",
    "read_request",
    "write_error",
    "write_events",
    "write_failure",
    "write_gemini_request",
    "write_imagen_request",
    "write_reply",
]
