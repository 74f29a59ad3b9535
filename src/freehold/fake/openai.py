"""The OpenAI dialect: chat completions, legacy completions, embeddings, model lists.

Shapes as in the `openai` SDK's `types/chat/chat_completion.py`, `chat_completion_chunk.py`, `completion.py` and
`create_embedding_response.py`. Usage is streamed only when `stream_options.include_usage` asks for it, in one extra
chunk with empty `choices` and `"usage": null` on all others. Thinking travels as `reasoning_content`, as DeepSeek and
others have it.
"""

import base64
import struct
from hashlib import blake2b
from typing import Any

import msgspec

from freehold.errors import BadRequest
from freehold.fake.answer import ID, Answer, Counted, tokens
from freehold.fake.ask import Ask
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, data, encode, slices

DONE = b"data: [DONE]\n\n"
DIMENSIONS = 64
_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    422: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "overloaded"),
}


def error(status: int, message: str, given: ErrorBody) -> bytes:
    """An error body: `{"error": {message, type, param, code}}`."""
    kind, code = _TYPES.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return encode(
        {"error": {"message": message, "type": given.type or kind, "param": None, "code": given.code or code}}
    )


def stream_error(message: str) -> bytes:
    return data({"error": {"message": message, "type": "server_error", "param": None, "code": "overloaded"}})


def usage(counted: Counted) -> dict[str, Any]:
    return {
        "prompt_tokens": counted.input,
        "completion_tokens": counted.output,
        "total_tokens": counted.input + counted.output,
        "prompt_tokens_details": {"cached_tokens": counted.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counted.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _envelope(kind: str, answer: Answer) -> dict[str, Any]:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {
        "id": f"{prefix}-{ID}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _tool_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{ID}{i}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for i, call in enumerate(answer.calls)
    ]


def chat_whole(ask: Ask, answer: Answer) -> bytes:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or None,
        "refusal": answer.refusal or None,
        "annotations": [],
    }
    if answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.calls:
        message["tool_calls"] = _tool_calls(answer)
    body = _envelope("chat.completion", answer)
    body["choices"] = [
        {"index": i, "message": message, "logprobs": None, "finish_reason": answer.finish} for i in range(answer.n)
    ]
    if answer.usage is not None:
        body["usage"] = usage(answer.usage)
    return encode(body)


def chat_stream(ask: Ask, answer: Answer) -> Stream:
    envelope = _envelope("chat.completion.chunk", answer)
    counted = ask.include_usage and answer.usage is not None

    def chunk(delta: dict[str, Any], choice: int, finish: str | None = None) -> bytes:
        body = {
            **envelope,
            "choices": [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        return data({**body, "usage": None} if counted else body)

    parts = [chunk({"role": "assistant", "content": "", "refusal": None}, i) for i in range(answer.n)]
    first = len(parts)
    deltas = _deltas(answer)
    parts += [chunk(delta, i) for delta in deltas for i in range(answer.n)]
    last = len(parts)
    parts += [chunk({}, i, answer.finish) for i in range(answer.n)]
    if counted and answer.usage is not None:
        parts.append(data({**envelope, "choices": [], "usage": usage(answer.usage)}))
    parts.append(DONE)
    return Stream(parts, first, last)


def _deltas(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"reasoning_content": text} for text in slices(answer.thinking)]
    deltas += [{"content": text} for text in answer.pieces]
    deltas += [{"refusal": text} for text in slices(answer.refusal)]
    for i, call in enumerate(_tool_calls(answer)):
        whole = call["function"]["arguments"]
        opened = {**call, "index": i, "function": {**call["function"], "arguments": ""}}
        deltas.append({"tool_calls": [opened]})
        deltas += [{"tool_calls": [{"index": i, "function": {"arguments": text}}]} for text in slices(whole)]
    return deltas


def text_whole(ask: Ask, answer: Answer) -> bytes:
    body = _envelope("text_completion", answer)
    body["choices"] = [
        {"index": i, "text": answer.text, "logprobs": None, "finish_reason": answer.finish} for i in range(answer.n)
    ]
    if answer.usage is not None:
        body["usage"] = usage(answer.usage)
    return encode(body)


def text_stream(ask: Ask, answer: Answer) -> Stream:
    envelope = _envelope("text_completion", answer)
    counted = ask.include_usage and answer.usage is not None

    def chunk(text: str, choice: int, finish: str | None = None) -> bytes:
        body = {**envelope, "choices": [{"index": choice, "text": text, "logprobs": None, "finish_reason": finish}]}
        return data({**body, "usage": None} if counted else body)

    parts = [chunk(text, i) for text in answer.pieces for i in range(answer.n)]
    last = len(parts)
    parts += [chunk("", i, answer.finish) for i in range(answer.n)]
    if counted and answer.usage is not None:
        parts.append(data({**envelope, "choices": [], "usage": usage(answer.usage)}))
    parts.append(DONE)
    return Stream(parts, 0, last)


CHAT = Speaker(chat_whole, chat_stream, error, stream_error, b"x-request-id", DONE)
COMPLETIONS = Speaker(text_whole, text_stream, error, stream_error, b"x-request-id", DONE)


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Returns a unit vector of the text's words, hashed: equal texts are equal, texts that share words are near."""
    values = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        hashed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
        values[hashed % dimensions] += 1.0 if hashed >> 63 else -1.0
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [value / norm for value in values]


class _Embeddings(msgspec.Struct):
    model: str
    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None


def embeddings(ask: Ask) -> tuple[bytes, int]:
    """Returns the body of an embeddings response and the input tokens billed. Raises BadRequest."""
    try:
        asked = msgspec.json.decode(ask.request.body, type=_Embeddings)
    except msgspec.ValidationError as problem:
        raise BadRequest(str(problem)) from None
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if texts and isinstance(texts[0], int):
        texts = [texts]
    if not texts or len(texts) > 2048:
        raise BadRequest("input must hold 1 to 2048 texts", param="input")
    width = asked.dimensions or DIMENSIONS
    if not 0 < width <= 4096:
        raise BadRequest("dimensions must be 1 to 4096", param="dimensions")
    made = [vector(_plain(text), width) for text in texts]
    shown: list[Any] = [base64.b64encode(struct.pack(f"<{width}f", *values)).decode() for values in made]
    billed = sum(max(1, tokens(_plain(text))) for text in texts)
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": value}
            for i, value in enumerate(shown if asked.encoding_format == "base64" else made)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": billed, "total_tokens": billed},
    }
    return encode(body), billed


def _plain(text: Any) -> str:
    """Token ids are accepted as words."""
    return text if isinstance(text, str) else " ".join(map(str, text)) if isinstance(text, list) else str(text)


def model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "freehold-fake"}


def models(names: list[str], created: int) -> bytes:
    return encode({"object": "list", "data": [model(name, created) for name in names]})
