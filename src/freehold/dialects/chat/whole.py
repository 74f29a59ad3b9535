"""A whole chat completion shown as a stream, for a client that asked for one; and what is put right in a whole one.

Some hosts answer `stream: true` with plain JSON, others send the whole object as an event of the stream. Both become
what the client's SDK can add up: one chunk with everything in its deltas, one with the finish reasons, one with the
usage. Fields we do not know stay where they were.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.reply import BOM, decode_completion
from freehold.dialects.sse import DONE, sse

_encode = msgspec.json.Encoder().encode


def as_stream(body: bytes) -> bytes:
    """The stream that says what the whole answer `body` says, to be fed to a `StreamRelay` or `StreamReader`.

    Raises UpstreamBroken for what is no completion, and the error that an error object in it stands for.
    """
    return chunks(decode_completion(body)) + sse(DONE)


def mend_reply(body: bytes) -> bytes:
    """`body` without a byte order mark, which some JSON parsers of clients refuse."""
    return body.removeprefix(BOM)


def chunks(fields: dict[str, Any]) -> bytes:
    """The events for a decoded completion, without the final `[DONE]`."""
    head = {name: value for name, value in fields.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    given = fields.get("choices")
    choices = [choice for choice in given if isinstance(choice, dict)] if isinstance(given, list) else []
    events = [
        {**head, "choices": [_delta(choice, index) for index, choice in enumerate(choices)]},
        {**head, "choices": [_finish(choice, index) for index, choice in enumerate(choices)]},
    ]
    if isinstance(usage := fields.get("usage"), dict):
        events.append({**head, "choices": [], "usage": usage})
    return b"".join(sse(_encode(event)) for event in events)


def _delta(choice: dict[str, Any], index: int) -> dict[str, Any]:
    message = choice.get("message")
    delta = dict(message) if isinstance(message, dict) else {}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [
            {**call, "index": number} for number, call in enumerate(calls) if isinstance(call, dict)
        ] or None
    written = {name: value for name, value in choice.items() if name != "message"}
    return {**written, "index": _index(choice, index), "delta": delta, "finish_reason": None}


def _finish(choice: dict[str, Any], index: int) -> dict[str, Any]:
    """An answer without a finish reason is complete all the same: its JSON was."""
    message = choice.get("message")
    called = isinstance(message, dict) and message.get("tool_calls")
    reason = choice.get("finish_reason") or ("tool_calls" if called else "stop")
    return {"index": _index(choice, index), "delta": {}, "logprobs": None, "finish_reason": reason}


def _index(choice: dict[str, Any], index: int) -> int:
    given = choice.get("index")
    return given if isinstance(given, int) else index
