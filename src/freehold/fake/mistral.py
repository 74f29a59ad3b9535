"""The Mistral dialect: chat completions that are nearly OpenAI's.

Shapes as in the `mistralai` SDK's models and recorded answers. Content is a string, or a list of chunks where the model
thinks or the script asks for it (`listed`); calls come whole, also in a stream; usage comes unasked, with the finish
reason. An unknown field of the request is answered 422 in FastAPI's form, a user right after a tool 400.
"""

from itertools import pairwise
from typing import Any

import msgspec

from freehold.errors import BadRequest
from freehold.fake.answer import ID, Answer, Counted
from freehold.fake.ask import Ask
from freehold.fake.openai import DONE
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, data, encode, slices

_TYPES = {
    400: ("invalid_request_error", "3051"),
    401: ("unauthorized", "1401"),
    404: ("invalid_model", "1500"),
    429: ("rate_limited", "1300"),
    503: ("unavailable", "1901"),
}
_FINISH = {"content_filter": "stop", "pause": "length"}


def error(status: int, message: str, given: ErrorBody) -> bytes:
    """An error body: `{"object": "error", message, type, param, code}`; at 422 a list of `detail`."""
    if status == 422:
        return encode({"detail": [{"type": "extra_forbidden", "loc": ["body"], "msg": message}]})
    kind, code = _TYPES.get(status, ("internal_server_error" if status >= 500 else "invalid_request_error", "1000"))
    told = {"message": message, "type": given.type or kind, "param": None, "code": given.code or code}
    return encode({"object": "error", **told})


def stream_error(message: str) -> bytes:
    return data({"object": "error", "message": message, "type": "internal_server_error", "param": None, "code": "1000"})


def check(ask: Ask) -> None:
    """Raises BadRequest for an order of messages that Mistral refuses."""
    messages = msgspec.json.decode(ask.messages or b"[]")
    roles = [message.get("role") for message in messages if isinstance(message, dict)]
    if any(pair == ("tool", "user") for pair in pairwise(roles)):
        raise BadRequest("Unexpected role 'user' after role 'tool'")
    if roles and roles[-1] == "assistant" and not messages[-1].get("prefix"):
        raise BadRequest("Expected last role User or Tool (or Assistant with prefix True) but got assistant")


def usage(counted: Counted) -> dict[str, Any]:
    return {
        "prompt_tokens": counted.input,
        "completion_tokens": counted.output,
        "total_tokens": counted.input + counted.output,
        "prompt_tokens_details": {"cached_tokens": counted.cache_read},
    }


def _envelope(kind: str, answer: Answer) -> dict[str, Any]:
    return {"id": ID + ID, "object": kind, "created": answer.created, "model": answer.model}


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _content(answer: Answer) -> Any:
    text = answer.text or answer.refusal
    if not (answer.thinking or answer.listed):
        return text
    chunks = [_thought(answer.thinking)] if answer.thinking else []
    if text:
        chunks.append({"type": "text", "text": text})
    if answer.listed:
        chunks.append({"type": "reference", "reference_ids": [0]})
    return chunks


def _calls(answer: Answer) -> list[dict[str, Any]]:
    """Nine characters are an id here."""
    return [
        {
            "id": f"{ID[-8:]}{i}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
            "index": i,
        }
        for i, call in enumerate(answer.calls)
    ]


def whole(ask: Ask, answer: Answer) -> bytes:
    message = {"role": "assistant", "tool_calls": _calls(answer) or None, "content": _content(answer)}
    finish = _FINISH.get(answer.finish, answer.finish)
    body = _envelope("chat.completion", answer)
    body["choices"] = [{"index": i, "message": message, "finish_reason": finish} for i in range(answer.n)]
    if answer.usage is not None:
        body["usage"] = usage(answer.usage)
    return encode(body)


def stream(ask: Ask, answer: Answer) -> Stream:
    envelope = _envelope("chat.completion.chunk", answer)

    def chunk(delta: dict[str, Any], choice: int, finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": choice, "delta": delta, "finish_reason": finish}]
        return data({**envelope, "choices": choices, **more})

    parts = [chunk({"role": "assistant", "content": ""}, i) for i in range(answer.n)]
    first = len(parts)
    deltas: list[dict[str, Any]] = [{"content": [_thought(text)]} for text in slices(answer.thinking)]
    texts = answer.pieces or slices(answer.refusal)
    deltas += [{"content": [{"type": "text", "text": text}] if answer.listed else text} for text in texts]
    if answer.listed:
        deltas.append({"content": [{"type": "reference", "reference_ids": [0]}]})
    parts += [chunk(delta, i) for delta in deltas for i in range(answer.n)]
    last = len(parts)
    end: dict[str, Any] = {"content": ""}
    if answer.calls:
        end["tool_calls"] = _calls(answer)
    counted = {} if answer.usage is None else {"usage": usage(answer.usage)}
    finish = _FINISH.get(answer.finish, answer.finish)
    parts += [chunk(end, i, finish, **(counted if i == answer.n - 1 else {})) for i in range(answer.n)]
    parts.append(DONE)
    return Stream(parts, first, last if last > first else len(parts) - 1)


CHAT = Speaker(whole, stream, error, stream_error, b"mistral-correlation-id", DONE)
