"""Requests that generate nothing: without messages or a prompt, Ollama loads the model, or unloads it.

`ollama run` and editors send one before the first question (https://docs.ollama.com/api/generate, "Load model"). An
Ollama upstream gets them as they are; for any other the gateway answers by itself, since the model is always there.
Such an answer is one JSON object, whether streaming was asked for or not.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.ollama.usage import write_time
from freehold.dialects.wire import MALFORMED


class _Request(Struct):
    model: str = ""
    messages: Any = None
    prompt: Any = None
    images: Any = None
    keep_alive: Any = None


_DECODER = msgspec.json.Decoder(_Request)


def answer_loading(body: bytes, created: int, generate: bool = False) -> bytes | None:
    """The answer to a request that only loads or unloads; None for one that asks something, or cannot be read.

    `generate`: it came to `/api/generate` rather than `/api/chat`. `created` in Unix seconds.
    """
    try:
        request = _DECODER.decode(body)
    except MALFORMED:
        return None
    if (request.prompt or request.images) if generate else request.messages:
        return None
    reason = "unload" if request.keep_alive in (0, "0", "0s", "0m", "0h") else "load"
    content: dict[str, Any] = {"response": ""} if generate else {"message": {"role": "assistant", "content": ""}}
    return msgspec.json.encode(
        {
            "model": request.model,
            "created_at": write_time(created),
            **content,
            "done": True,
            "done_reason": reason,
        }
    )
