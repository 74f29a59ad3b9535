"""The same short answer as a stream of each provider dialect."""

from typing import Any

from trapping import frames, sse

WORDS = "Grüße, 世界 🌍"
USAGE = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices} | fields


CHAT = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": WORDS[:6]}),
    chunk({"content": WORDS[6:]}),
    chunk({}, "stop"),
    chunk(usage=USAGE),
]
MESSAGES = [
    {
        "type": "message_start",
        "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                    "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]  # fmt: skip


def candidate(*parts: Any, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    one: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        one["finishReason"] = finish
    return {"candidates": [one], "modelVersion": "m", "responseId": "r1"} | fields


GEMINI = [
    candidate({"text": WORDS}),
    candidate({"text": ""}, finish="STOP", usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 4}),
]
CONVERSE = frames(
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORDS}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 5, "outputTokens": 4, "totalTokens": 9}}),
)
STREAMS = {
    "chat": sse(*CHAT, done=True),
    "messages": sse(*MESSAGES, named=True),
    "gemini": sse(*GEMINI),
    "converse": CONVERSE,
}
