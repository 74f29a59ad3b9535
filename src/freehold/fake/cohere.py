"""The Cohere dialect: its second chat API.

Shapes as in the `cohere` SDK's `V2ChatResponse` and `V2ChatStreamResponse`. The model is not named. Calls come with a
`tool_plan`, in a stream with events of its own. Usage is told twice, as billed and as read; a stream has it in
`message-end`, after which only `[DONE]` follows. An error in a stream is a `message-end` too.
"""

from typing import Any

from freehold.fake.answer import ID, Answer, Counted
from freehold.fake.ask import Ask
from freehold.fake.openai import DONE
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, encode, named, slices

_FINISH = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
    "error": "ERROR",
}


def error(status: int, message: str, given: ErrorBody) -> bytes:
    """An error body: `{"id", "message"}`."""
    return encode({"id": ID, "message": message})


def stream_error(message: str) -> bytes:
    return named("message-end", {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": message}})


def usage(counted: Counted) -> dict[str, Any]:
    """Billed is less than read: the provider's own preamble costs nothing."""
    billed = max(1, counted.input - counted.cache_read - 1)
    return {
        "billed_units": {"input_tokens": billed, "output_tokens": counted.output},
        "tokens": {"input_tokens": counted.input, "output_tokens": counted.output},
        "cached_tokens": counted.cache_read,
    }


def _plan(answer: Answer) -> str:
    return f"I will use {answer.calls[0].name}." if answer.calls and not answer.text else ""


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{call.name}_{ID}{i}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for i, call in enumerate(answer.calls)
    ]


def whole(ask: Ask, answer: Answer) -> bytes:
    message: dict[str, Any] = {"role": "assistant"}
    content: list[dict[str, Any]] = []
    if answer.thinking:
        content.append({"type": "thinking", "thinking": answer.thinking})
    if answer.text or answer.refusal:
        content.append({"type": "text", "text": answer.text or answer.refusal})
    if content:
        message["content"] = content
    if answer.calls:
        message |= {"tool_plan": _plan(answer), "tool_calls": _calls(answer)}
    body = {"id": ID, "message": message, "finish_reason": _FINISH.get(answer.finish, answer.finish)}
    if answer.usage is not None:
        body["usage"] = usage(answer.usage)
    return encode(body)


def _event(kind: str, index: int | None = None, **message: Any) -> bytes:
    value: dict[str, Any] = {"type": kind}
    if index is not None:
        value["index"] = index
    if message:
        value["delta"] = {"message": message}
    return named(kind, value)


def stream(ask: Ask, answer: Answer) -> Stream:
    opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    parts = [named("message-start", {"id": ID, "type": "message-start", "delta": {"message": opening}})]
    blocks = [("thinking", slices(answer.thinking)), ("text", answer.pieces or slices(answer.refusal))]
    for index, (kind, texts) in enumerate(block for block in blocks if block[1]):
        parts.append(_event("content-start", index, content={"type": kind, kind: ""}))
        parts += [_event("content-delta", index, content={kind: text}) for text in texts]
        parts.append(_event("content-end", index))
    parts += [_event("tool-plan-delta", tool_plan=text) for text in slices(_plan(answer))]
    for index, call in enumerate(_calls(answer)):
        text = call["function"]["arguments"]
        started = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        parts.append(_event("tool-call-start", index, tool_calls=started))
        parts += [_event("tool-call-delta", index, tool_calls={"function": {"arguments": t}}) for t in slices(text)]
        parts.append(_event("tool-call-end", index))
    last = len(parts)
    end: dict[str, Any] = {"finish_reason": _FINISH.get(answer.finish, answer.finish)}
    if answer.usage is not None:
        end["usage"] = usage(answer.usage)
    parts += [named("message-end", {"type": "message-end", "delta": end}), DONE]
    return Stream(parts, 1, last)


CHAT = Speaker(whole, stream, error, stream_error, b"x-debug-trace-id", DONE, closing=2)
