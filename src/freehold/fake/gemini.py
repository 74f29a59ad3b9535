"""The Gemini dialect: generateContent, its streams, countTokens, embeddings, model lists.

Shapes as in the `google-genai` SDK's `types.py`. A stream is SSE with `alt=sse`, otherwise one JSON array sent piece by
piece; each chunk is a whole response, the last one holds the finish reason, and all hold `usageMetadata` so far.
`candidatesTokenCount` excludes `thoughtsTokenCount`. Function calls carry an object, not text, and come whole.
"""

from typing import Any

import msgspec

from freehold.errors import BadRequest
from freehold.fake.answer import ID, SIGNATURE, Answer, tokens
from freehold.fake.ask import Ask
from freehold.fake.openai import vector
from freehold.fake.script import ErrorBody
from freehold.fake.speak import Speaker, Stream, arguments_of, data, encode, slices

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "error": "MALFORMED_FUNCTION_CALL",
}


def error(status: int, message: str, given: ErrorBody) -> bytes:
    """An error body: `{"error": {code, message, status}}`; a 429 names its wait in `details`, as Google does."""
    body: dict[str, Any] = {
        "code": status,
        "message": message,
        "status": given.code or given.type or _STATUS.get(status, "INTERNAL"),
    }
    if status == 429:
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
    return encode({"error": body})


def stream_error(message: str) -> bytes:
    return data({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})


def _metadata(answer: Answer, share: float = 1.0) -> dict[str, Any]:
    counted = answer.usage
    if counted is None:
        return {}
    spoken = int((counted.output - counted.reasoning) * share)
    body: dict[str, Any] = {
        "promptTokenCount": counted.input,
        "candidatesTokenCount": spoken,
        "totalTokenCount": counted.input + spoken + counted.reasoning,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counted.input}],
    }
    if counted.cache_read:
        body["cachedContentTokenCount"] = counted.cache_read
    if counted.reasoning:
        body["thoughtsTokenCount"] = counted.reasoning
    return {"usageMetadata": body}


def _response(answer: Answer, parts: list[dict[str, Any]], finish: str | None, share: float = 1.0) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **_metadata(answer, share), "modelVersion": answer.model, "responseId": ID}


def _finish(answer: Answer) -> str:
    if answer.refusal and answer.finish == "stop":
        return "SAFETY"
    return _FINISH.get(answer.finish, answer.finish)


def _calls(answer: Answer) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for i, call in enumerate(answer.calls):
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": arguments_of(call.arguments)}}
        if answer.thinking and i == 0:
            part["thoughtSignature"] = SIGNATURE
        parts.append(part)
    return parts


def whole(ask: Ask, answer: Answer) -> bytes:
    parts: list[dict[str, Any]] = [{"text": answer.thinking, "thought": True}] if answer.thinking else []
    if answer.text or answer.refusal:
        parts.append({"text": answer.text or answer.refusal})
    return encode(_response(answer, parts + _calls(answer), _finish(answer)))


def stream(ask: Ask, answer: Answer) -> Stream:
    contents: list[list[dict[str, Any]]] = [[{"text": text, "thought": True}] for text in slices(answer.thinking)]
    contents += [[{"text": text}] for text in answer.pieces or slices(answer.refusal)]
    calls = _calls(answer)
    if calls:
        contents.append(calls)
    contents = contents or [[{"text": ""}]]
    count = len(contents)
    bodies = [
        _response(answer, parts, _finish(answer) if i == count - 1 else None, (i + 1) / count)
        for i, parts in enumerate(contents)
    ]
    if ask.route.sse:
        return Stream([data(body) for body in bodies], 0, count)
    parts = [(b"[" if i == 0 else b",\r\n") + encode(body) for i, body in enumerate(bodies)]
    return Stream([*parts, b"]"], 0, count)


GENERATE = Speaker(whole, stream, error, stream_error, b"x-gemini-request-id")


class _Embed(msgspec.Struct, rename="camel"):
    content: dict[str, Any]
    output_dimensionality: int | None = None


class _Batch(msgspec.Struct):
    requests: list[_Embed]


def embeddings(ask: Ask) -> tuple[bytes, int]:
    """Returns the body for embedContent or batchEmbedContents and the input tokens billed. Raises BadRequest."""
    batch = ask.operation == "gemini_embed_batch"
    try:
        if batch:
            requests = msgspec.json.decode(ask.request.body, type=_Batch).requests
        else:
            requests = [msgspec.json.decode(ask.request.body, type=_Embed)]
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise BadRequest(str(problem)) from None
    if not 0 < len(requests) <= 100:
        raise BadRequest("at most 100 requests can be in one batch")
    billed = 0
    made: list[dict[str, Any]] = []
    for request in requests:
        width = request.output_dimensionality or 64
        if not 0 < width <= 4096:
            raise BadRequest("outputDimensionality must be 1 to 4096")
        text = " ".join(
            str(part.get("text", "")) for part in request.content.get("parts", []) if isinstance(part, dict)
        )
        billed += max(1, tokens(text))
        made.append({"values": vector(text, width)})
    counted = {"usageMetadata": {"promptTokenCount": billed, "totalTokenCount": billed}}
    return encode({**({"embeddings": made} if batch else {"embedding": made[0]}), **counted}), billed


def count_tokens(ask: Ask) -> bytes:
    return encode(
        {"totalTokens": ask.input_tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": ask.input_tokens}]}
    )


def model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "description": "A model of the fake provider",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
    }


def models(names: list[str]) -> bytes:
    return encode({"models": [model(name) for name in names]})
