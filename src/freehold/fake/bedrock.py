"""The Bedrock dialect: Converse, and ConverseStream in Amazon's binary frames.

Shapes as in https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
API_runtime_ConverseStream.html. Neither the model nor an id is named. `inputTokens` excludes what was read from and
written to the cache. A stream tells its reason in `messageStop`, its usage in the `metadata` after it; `p` is padding.
Errors name their class in a header.

The ids of tool calls are made from the request: an id put in when the response is sent would spoil the checksums.
"""

from hashlib import blake2b
from typing import Any

from freehold.dialects import eventstream
from freehold.fake.answer import SIGNATURE, Answer, Counted
from freehold.fake.ask import Ask
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, arguments_of, encode, slices

_CLASSES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "error": "malformed_model_output",
}
_PADDING = "abcdefghijklmnopqrstuvwxyz"


def error(status: int, message: str, given: ErrorBody) -> bytes:
    """An error body: `{"message"}`; the class is in the header."""
    return encode({"message": message})


def error_headers(status: int, given: ErrorBody) -> list[tuple[bytes, bytes]]:
    kind = given.type or _CLASSES.get(status) or ("InternalServerException" if status >= 500 else "ValidationException")
    return [(b"x-amzn-errortype", f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/".encode())]


def stream_error(message: str) -> bytes:
    return eventstream.write_exception("serviceUnavailableException", encode({"message": message}))


def usage(counted: Counted) -> dict[str, Any]:
    return {
        "inputTokens": counted.input - counted.cache_read - counted.cache_write,
        "outputTokens": counted.output,
        "totalTokens": counted.input + counted.output,
        "cacheReadInputTokens": counted.cache_read,
        "cacheWriteInputTokens": counted.cache_write,
        "serverToolUsage": {},
    }


def _finish(answer: Answer) -> str:
    if answer.refusal and answer.finish == "stop":
        return "content_filtered"
    return _FINISH.get(answer.finish, answer.finish)


def _call_id(ask: Ask, index: int) -> str:
    return "tooluse_" + blake2b(b"%d" % index + ask.request.body, digest_size=11).hexdigest()


def whole(ask: Ask, answer: Answer) -> bytes:
    content: list[dict[str, Any]] = []
    if answer.thinking:
        thought = {"text": answer.thinking, "signature": SIGNATURE}
        content.append({"reasoningContent": {"reasoningText": thought}})
    if answer.text or answer.refusal:
        content.append({"text": answer.text or answer.refusal})
    for i, call in enumerate(answer.calls):
        used = {"toolUseId": _call_id(ask, i), "name": call.name, "input": arguments_of(call.arguments)}
        content.append({"toolUse": used})
    body: dict[str, Any] = {
        "metrics": {"latencyMs": 1},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": _finish(answer),
    }
    if answer.usage is not None:
        body["usage"] = usage(answer.usage)
    return encode(body)


def stream(ask: Ask, answer: Answer) -> Stream:
    parts: list[bytes] = []

    def event(kind: str, value: dict[str, Any]) -> None:
        padding = _PADDING[: 1 + len(parts) * 7 % 26]
        parts.append(eventstream.write_event(kind, encode({**value, "p": padding})))

    event("messageStart", {"role": "assistant"})
    for index, (start, deltas) in enumerate(_blocks(ask, answer)):
        if start is not None:
            event("contentBlockStart", {"contentBlockIndex": index, "start": start})
        for delta in deltas:
            event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        event("contentBlockStop", {"contentBlockIndex": index})
    last = len(parts)
    event("messageStop", {"stopReason": _finish(answer)})
    counted = {} if answer.usage is None else {"usage": usage(answer.usage)}
    event("metadata", {"metrics": {"latencyMs": 1}, **counted})
    return Stream(parts, 1, last)


def _blocks(ask: Ask, answer: Answer) -> list[tuple[dict[str, Any] | None, list[dict[str, Any]]]]:
    """Each content block: its start, which only tools have, and its deltas."""
    blocks: list[tuple[dict[str, Any] | None, list[dict[str, Any]]]] = []
    if answer.thinking:
        thoughts: list[dict[str, Any]] = [{"reasoningContent": {"text": text}} for text in slices(answer.thinking)]
        blocks.append((None, [*thoughts, {"reasoningContent": {"signature": SIGNATURE}}]))
    texts = answer.pieces or slices(answer.refusal)
    if texts or not (answer.calls or answer.thinking):
        blocks.append((None, [{"text": text} for text in texts or [""]]))
    for i, call in enumerate(answer.calls):
        start = {"toolUse": {"toolUseId": _call_id(ask, i), "name": call.name}}
        blocks.append((start, [{"toolUse": {"input": text}} for text in slices(call.arguments)]))
    return blocks


CONVERSE = Speaker(
    whole, stream, error, stream_error, b"x-amzn-requestid",
    stream_kind=eventstream.CONTENT_TYPE, error_headers=error_headers, closing=2,
)  # fmt: skip
