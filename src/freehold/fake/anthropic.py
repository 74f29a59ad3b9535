"""The Anthropic dialect: messages, count_tokens, model lists.

Shapes as in the `anthropic` SDK's `types/message.py`, `raw_*_event.py` and `model_info.py`. `input_tokens` excludes
what was read from and written to the cache. A stream reports usage in `message_start` and, cumulatively, in
`message_delta`; it has no end marker but `message_stop`.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from freehold.fake.answer import ID, SIGNATURE, Answer, Counted
from freehold.fake.ask import Ask
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, encode, named, slices

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}


def error(status: int, message: str, given: ErrorBody) -> bytes:
    """An error body: `{"type": "error", "error": {type, message}, "request_id"}`."""
    kind = given.type or _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{ID}"})


def stream_error(message: str) -> bytes:
    return named("error", {"type": "error", "error": {"type": "overloaded_error", "message": message}})


def usage(counted: Counted, output: int | None = None) -> dict[str, Any]:
    return {
        "input_tokens": counted.input - counted.cache_read - counted.cache_write,
        "cache_creation_input_tokens": counted.cache_write,
        "cache_read_input_tokens": counted.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": counted.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": counted.output if output is None else output,
        "service_tier": "standard",
    }


def _message(answer: Answer, content: list[Any], stop: str | None, counted: dict[str, Any] | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"msg_{ID}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
    }
    if counted is not None:
        body["usage"] = counted
    return body


def _finish(answer: Answer) -> str:
    return _FINISH.get(answer.finish, answer.finish)


def whole(ask: Ask, answer: Answer) -> bytes:
    content: list[dict[str, Any]] = []
    if answer.thinking:
        content.append({"type": "thinking", "thinking": answer.thinking, "signature": SIGNATURE})
    if answer.text or answer.refusal:
        content.append({"type": "text", "text": answer.text or answer.refusal, "citations": None})
    for i, call in enumerate(answer.calls):
        content.append({"type": "tool_use", "id": f"toolu_{ID}{i}", "name": call.name, "input": _input(call.arguments)})
    counted = usage(answer.usage) if answer.usage is not None else None
    return encode(_message(answer, content, _finish(answer), counted))


def _input(arguments: str) -> Any:
    """Arguments as an object; text that is no JSON (a script's wish) stays a string."""
    try:
        return msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return arguments


def stream(ask: Ask, answer: Answer) -> Stream:
    counted = answer.usage
    opening = _message(answer, [], None, usage(counted, 1) if counted else None)
    parts = [named("message_start", {"type": "message_start", "message": opening})]
    blocks = _blocks(answer)
    first = len(parts)
    for index, (block, deltas) in enumerate(blocks):
        parts.append(
            named("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})
        )
        if index == 0:
            parts.append(named("ping", {"type": "ping"}))
        parts += [
            named("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
            for delta in deltas
        ]
        parts.append(named("content_block_stop", {"type": "content_block_stop", "index": index}))
    last = len(parts)
    delta: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": _finish(answer), "stop_sequence": None},
    }
    if counted is not None:
        delta["usage"] = {key: value for key, value in usage(counted).items() if key.endswith("_tokens")}
    parts += [named("message_delta", delta), named("message_stop", {"type": "message_stop"})]
    return Stream(parts, first, last)


def _blocks(answer: Answer) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each content block as it starts, and its deltas."""
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.thinking:
        deltas = [{"type": "thinking_delta", "thinking": text} for text in slices(answer.thinking)]
        deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    texts = answer.pieces or slices(answer.refusal)
    if texts or not (answer.calls or answer.thinking):
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]))
    for i, call in enumerate(answer.calls):
        block = {"type": "tool_use", "id": f"toolu_{ID}{i}", "name": call.name, "input": {}}
        pieces = ["", *slices(call.arguments)] if call.arguments != "{}" else [""]
        blocks.append((block, [{"type": "input_json_delta", "partial_json": text} for text in pieces]))
    return blocks


MESSAGES = Speaker(whole, stream, error, stream_error, b"request-id")


def count_tokens(ask: Ask) -> bytes:
    return encode({"input_tokens": ask.input_tokens})


def model(name: str, created: int) -> dict[str, Any]:
    return {
        "id": name,
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }


def models(names: list[str], created: int) -> bytes:
    return encode(
        {
            "data": [model(name, created) for name in names],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    )
