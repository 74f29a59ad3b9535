"""Ollama's own dialect: chat, generate, tags.

Shapes as in https://docs.ollama.com/openapi.yaml. A stream is one JSON object a line; the last has `done` true, why,
the counts and the durations in nanoseconds. Arguments are objects and calls come whole. Errors are `{"error": TEXT}`,
in a stream as a line.
"""

from datetime import UTC, datetime
from typing import Any

from freehold.fake.answer import Answer
from freehold.fake.ask import Ask
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, arguments_of, encode, slices

LINES = b"application/x-ndjson"
_FINISH = {"tool_calls": "stop", "content_filter": "stop", "pause": "length"}


def error(status: int, message: str, given: ErrorBody) -> bytes:
    return encode({"error": message})


def stream_error(message: str) -> bytes:
    return encode({"error": message}) + b"\n"


def _time(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


def _line(ask: Ask, answer: Answer, text: str, thinking: str = "", calls: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"model": answer.model, "created_at": _time(answer.created)}
    if ask.operation == "ollama_generate":
        return {**body, "response": text, **({"thinking": thinking} if thinking else {}), "done": False}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [
            {"function": {"index": i, "name": call.name, "arguments": arguments_of(call.arguments)}}
            for i, call in enumerate(answer.calls)
        ]
    return {**body, "message": message, "done": False}


def _end(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = {"done": True, "done_reason": _FINISH.get(answer.finish, answer.finish)}
    body |= {"total_duration": 2_000_000, "load_duration": 1_000_000}
    if answer.usage is not None:
        body |= {"prompt_eval_count": answer.usage.input, "prompt_eval_duration": 400_000}
        body |= {"eval_count": answer.usage.output, "eval_duration": 500_000}
        if answer.usage.cache_read:
            body["prompt_eval_cached_count"] = answer.usage.cache_read
    return body


def whole(ask: Ask, answer: Answer) -> bytes:
    said = _line(ask, answer, answer.text or answer.refusal, answer.thinking, bool(answer.calls))
    return encode({**said, **_end(answer)})


def stream(ask: Ask, answer: Answer) -> Stream:
    lines = [_line(ask, answer, "", text) for text in slices(answer.thinking)]
    lines += [_line(ask, answer, text) for text in answer.pieces or slices(answer.refusal)]
    if answer.calls:
        lines.append(_line(ask, answer, "", calls=True))
    count = len(lines)
    lines.append({**_line(ask, answer, ""), **_end(answer)})
    return Stream([encode(line) + b"\n" for line in lines], 0, max(count, 1))


SPEAKER = Speaker(whole, stream, error, stream_error, b"x-request-id", stream_kind=LINES)


def tags(names: list[str], created: int) -> bytes:
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": "fake",
        "families": ["fake"],
        "parameter_size": "1B",
        "quantization_level": "Q4_0",
    }
    models = [
        {
            "name": name,
            "model": name,
            "modified_at": _time(created),
            "size": 1_000_000,
            "digest": "0" * 64,
            "details": details,
        }
        for name in names
    ]
    return encode({"models": models})
