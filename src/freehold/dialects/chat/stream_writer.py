"""Writes canonical events as a chat completion stream.

Everything that is the same in every chunk (id, model, time) is rendered once per choice; a text delta is three byte
strings joined. A choice's role goes out with its first delta, so nothing is sent before there is content and a failed
attempt can still be replaced by another. The usage chunk comes last, only where the client asked for it, as OpenAI
does it: `choices: []`, and `"usage": null` in every chunk before. The end is exactly one `[DONE]`, except after an
error: an error event ends the stream, and so does a close without any finish.

Source: https://platform.openai.com/docs/api-reference/chat-streaming and the `openai` SDK's ChatCompletionChunk.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.content import DIALECT
from freehold.dialects.chat.errors import error_body
from freehold.dialects.chat.usage import FINISH_WORD, write_usage
from freehold.dialects.conversation import (
    Event,
    Failed,
    Finished,
    LogprobsDelta,
    Losses,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.sse import DONE, sse
from freehold.errors import FreeholdError, UpstreamBroken

_encode = msgspec.json.Encoder().encode


class StreamWriter:
    """`id`, `model` and `created` (Unix seconds) stand in every chunk. `losses` collects what could not be shown."""

    __slots__ = (
        "_created",
        "_empty_calls",
        "_ended",
        "_finished",
        "_frames",
        "_id",
        "_include_usage",
        "_model",
        "_tail",
        "_usage",
        "losses",
    )

    def __init__(self, id: str, model: str, created: int, include_usage: bool = False) -> None:
        self._id = id
        self._model = model
        self._created = created
        self._include_usage = include_usage
        self._tail = b'}],"usage":null}\n\n' if include_usage else b"}]}\n\n"
        self._frames: dict[int, tuple[bytes, bytes]] = {}
        self._empty_calls: dict[tuple[int, int], None] = {}
        self._usage: Usage | None = None
        self._finished = False
        self._ended = False
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        """The bytes of one event; empty where it has none here, and after the end."""
        if type(event) is TextDelta:
            frame = self._frames.get(event.choice)
            if frame is None:
                return b"" if self._ended else self._first(event.choice) + self.write(event)
            if event.signature is not None or event.citation is not None:
                self._lose("thought_signature" if event.signature is not None else "citations")
                if not event.text:
                    return b""
            return b"".join((frame[0], b'"content":', _encode(event.text), frame[1]))
        writer = _WRITERS.get(type(event))
        return b"" if writer is None or self._ended else writer(self, event)

    def close(self) -> bytes:
        """The usage chunk, if asked for, and `[DONE]`. Without any `Finished` before: the error of a cut stream."""
        if self._ended:
            return b""
        if not self._finished:
            return self.fail(UpstreamBroken("The stream ended before the answer was complete."), "")
        self._end()
        if not self._include_usage or self._usage is None:
            return sse(DONE)
        head = self._head()
        return b"".join((head, b'"choices":[],"usage":', _encode(write_usage(self._usage)), b"}\n\n", sse(DONE)))

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """Ends the stream with an error event, where it has not ended yet."""
        if self._ended:
            return b""
        self._end()
        return sse(_encode({"error": error_body(error, request_id)}))

    def _end(self) -> None:
        self._ended = True
        self._frames.clear()

    def _head(self) -> bytes:
        identity = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
        }
        return b"data: " + _encode(identity)[:-1] + b","

    def _first(self, choice: int) -> bytes:
        """The role chunk of a choice. Renders the frame of its later chunks."""
        index = str(choice).encode()
        before = self._head() + b'"choices":[{"index":' + index + b',"delta":{'
        self._frames[choice] = (before, b'},"logprobs":null,"finish_reason":null' + self._tail)
        return self._delta(choice, b'"role":"assistant","content":"","refusal":null')

    def _delta(self, choice: int, fields: bytes) -> bytes:
        head = b"" if choice in self._frames else self._first(choice)
        frame = self._frames[choice]
        return b"".join((head, frame[0], fields, frame[1]))

    def _started(self, event: Started) -> bytes:
        self._id = self._id or event.id
        self._model = self._model or event.model
        self._created = self._created or event.created
        return b""

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if event.signature is not None:
            self._lose("thinking.signature")
        if event.redacted is not None:
            self._lose("thinking.redacted")
        return self._delta(event.choice, b'"reasoning_content":' + _encode(event.text)) if event.text else b""

    def _refusal(self, event: RefusalDelta) -> bytes:
        return self._delta(event.choice, b'"refusal":' + _encode(event.text))

    def _tool_started(self, event: ToolStarted) -> bytes:
        self._empty_calls[event.choice, event.index] = None
        call: dict[str, Any] = {
            "index": event.index,
            "id": event.id,
            "type": "function",
            "function": {"name": event.name, "arguments": ""},
        }
        if event.signature is not None:
            call["extra_content"] = {"google": {"thought_signature": event.signature}}
        return self._delta(event.choice, b'"tool_calls":[' + _encode(call) + b"]")

    def _tool_delta(self, event: ToolDelta) -> bytes:
        if not event.arguments:
            return b""
        if self._empty_calls:
            self._empty_calls.pop((event.choice, event.index), None)
        call = b'"tool_calls":[{"index":%d,"function":{"arguments":%s}}]' % (event.index, _encode(event.arguments))
        return self._delta(event.choice, call)

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        return self._choice(
            event.choice, {"index": event.choice, "delta": {}, "logprobs": event.value, "finish_reason": None}
        )

    def _opaque(self, event: OpaqueDelta) -> bytes:
        if event.dialect != DIALECT or not isinstance(event.value, dict):
            kind = event.value.get("type") if isinstance(event.value, dict) else None
            self._lose(str(kind or event.dialect))
            return b""
        return self._delta(event.choice, _encode(event.value)[1:-1]) if event.value else b""

    def _finish(self, event: Finished) -> bytes:
        self._finished = True
        closing = b""
        for choice, index in [key for key in self._empty_calls if key[0] == event.choice]:
            closing += self._tool_delta(ToolDelta(index, "{}", choice))
        word = FINISH_WORD[event.finish]
        return closing + self._choice(
            event.choice, {"index": event.choice, "delta": {}, "logprobs": None, "finish_reason": word}
        )

    def _choice(self, choice: int, value: dict[str, Any]) -> bytes:
        head = b"" if choice in self._frames else self._first(choice)
        return b"".join((head, self._head(), b'"choices":[', _encode(value)[:-1], self._tail))

    def _metered(self, event: Metered) -> bytes:
        self._usage = event.usage
        return b""

    def _failed(self, event: Failed) -> bytes:
        return self.fail(UpstreamBroken(event.message, code=event.code, status=event.status), "")

    def _lose(self, name: str) -> None:
        if name not in self.losses:
            self.losses.append(name)


_WRITERS: dict[type, Any] = {
    Started: StreamWriter._started,
    ThinkingDelta: StreamWriter._thinking,
    RefusalDelta: StreamWriter._refusal,
    ToolStarted: StreamWriter._tool_started,
    ToolDelta: StreamWriter._tool_delta,
    LogprobsDelta: StreamWriter._logprobs,
    OpaqueDelta: StreamWriter._opaque,
    Finished: StreamWriter._finish,
    Metered: StreamWriter._metered,
    Failed: StreamWriter._failed,
}
