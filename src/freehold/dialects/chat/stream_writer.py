"""Writes canonical events as a chat completion stream.

Everything that is the same in every chunk (id, model, time) is rendered once per choice; a text delta is three byte
strings joined. A choice's role goes out with its first delta, so nothing is sent before there is content and a failed
attempt can still be replaced by another. The usage chunk comes last, only where the client asked for it, as OpenAI
does it: `choices: []`, and `"usage": null` in every chunk before. The end is exactly one `[DONE]`, except after an
error: an error event ends the stream, and so does a close without any finish.

Thoughts go out as `reasoning_content` as they come. When one turns out to be signed, its whole text and the signature
follow in one `reasoning_details` entry, which a client that collects the stream into a message sends back, see
thoughts.py. Unsigned thoughts that came before it are repeated there, in order, because readers prefer the entries.

Source: https://platform.openai.com/docs/api-reference/chat-streaming and the `openai` SDK's ChatCompletionChunk.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.citations import write_annotation
from freehold.dialects.chat.content import DIALECT
from freehold.dialects.chat.errors import error_body
from freehold.dialects.chat.made import write_image
from freehold.dialects.chat.thoughts import write_details
from freehold.dialects.chat.usage import FINISH_WORD, write_usage
from freehold.dialects.conversation import (
    AudioDelta,
    Event,
    Failed,
    Finished,
    Image,
    LogprobsDelta,
    Losses,
    MediaDelta,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.sse import DONE, sse
from freehold.errors import FreeholdError, UpstreamBroken

_encode = msgspec.json.Encoder().encode


class _Choice:
    """What the deltas of one choice have in common, and what was written of it."""

    __slots__ = ("after", "before", "details", "images", "length", "run", "thought", "unsigned")

    def __init__(self, before: bytes, after: bytes) -> None:
        self.before = before
        self.after = after
        self.length = 0
        """Characters of text, and how many of them stand before the present run of it."""
        self.run = 0
        self.thought: list[str] = []
        """The thought in progress, and earlier ones that nobody signed."""
        self.unsigned: list[Thinking] = []
        self.details = 0
        self.images = 0

    def interrupt(self) -> None:
        """Something else than a thought follows."""
        if self.thought:
            self.unsigned.append(Thinking("".join(self.thought)))
            self.thought.clear()


class StreamWriter:
    """`id`, `model` and `created` (Unix seconds) stand in every chunk. `losses` collects what could not be shown."""

    __slots__ = (
        "_choices",
        "_created",
        "_custom_calls",
        "_empty_calls",
        "_ended",
        "_finished",
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
        self._choices: dict[int, _Choice] = {}
        self._empty_calls: dict[tuple[int, int], None] = {}
        self._custom_calls: set[tuple[int, int]] = set()
        self._usage: Usage | None = None
        self._finished = False
        self._ended = False
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        """The bytes of one event; empty where it has none here, and after the end."""
        if type(event) is TextDelta:
            choice = self._choices.get(event.choice)
            if choice is None:
                return b"" if self._ended else self._first(event.choice) + self.write(event)
            if event.signature is not None or event.citation is not None:
                marks = self._marks(event, choice)
                if not event.text:
                    return marks
                return self.write(TextDelta(event.text, event.choice)) + marks
            if choice.thought:
                choice.interrupt()
            choice.length += len(event.text)
            return b"".join((choice.before, b'"content":', _encode(event.text), choice.after))
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
        self._choices.clear()

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
        self._choices[choice] = _Choice(before, b'},"logprobs":null,"finish_reason":null' + self._tail)
        return self._delta(choice, b'"role":"assistant","content":"","refusal":null')

    def _delta(self, index: int, fields: bytes) -> bytes:
        head = b"" if index in self._choices else self._first(index)
        choice = self._choices[index]
        choice.run = choice.length
        return b"".join((head, choice.before, fields, choice.after))

    def _marks(self, event: TextDelta, choice: _Choice) -> bytes:
        """The citation of a text delta; a signature of text has no place here. It stands on what was written so far."""
        if event.citation is None:
            return b""
        length = choice.length + len(event.text) - choice.run
        if (annotation := write_annotation(event.citation, choice.run, length)) is None:
            self._lose("citations")
            return b""
        return b"".join((choice.before, b'"annotations":[', _encode(annotation), b"]", choice.after))

    def _started(self, event: Started) -> bytes:
        self._id = self._id or event.id
        self._model = self._model or event.model
        self._created = self._created or event.created
        return b""

    def _thinking(self, event: ThinkingDelta) -> bytes:
        out = self._delta(event.choice, b'"reasoning_content":' + _encode(event.text)) if event.text else b""
        if not out and event.signature is None and event.redacted is None:
            return b""
        if event.choice not in self._choices:
            out = self._first(event.choice)
        choice = self._choices[event.choice]
        if event.text:
            choice.thought.append(event.text)
        if event.redacted is not None:
            choice.interrupt()
        if event.signature is None and event.redacted is None:
            return out
        thought = Thinking("".join(choice.thought), event.signature, event.redacted, event.id)
        details = write_details([*choice.unsigned, thought], choice.details)
        choice.details += len(choice.unsigned) + 1
        choice.unsigned.clear()
        choice.thought.clear()
        return out + self._delta(event.choice, b'"reasoning_details":' + _encode(details))

    def _refusal(self, event: RefusalDelta) -> bytes:
        return self._delta(event.choice, b'"refusal":' + _encode(event.text))

    def _tool_started(self, event: ToolStarted) -> bytes:
        self._interrupt(event.choice)
        if event.custom:
            self._custom_calls.add((event.choice, event.index))
            custom = {"name": event.name, "input": ""}
            written = {"index": event.index, "id": event.id, "type": "custom", "custom": custom}
            return self._delta(event.choice, b'"tool_calls":[' + _encode(written) + b"]")
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
        if self._custom_calls and (event.choice, event.index) in self._custom_calls:
            call = b'"tool_calls":[{"index":%d,"custom":{"input":%s}}]' % (event.index, _encode(event.arguments))
        return self._delta(event.choice, call)

    def _interrupt(self, index: int) -> None:
        if (choice := self._choices.get(index)) is not None:
            choice.interrupt()

    def _audio(self, event: AudioDelta) -> bytes:
        fields = {"id": event.id, "data": event.data, "transcript": event.transcript}
        sound = {name: value for name, value in fields.items() if value}
        return self._delta(event.choice, b'"audio":' + _encode(sound)) if sound else b""

    def _media(self, event: MediaDelta) -> bytes:
        head = b"" if event.choice in self._choices else self._first(event.choice)
        choice = self._choices[event.choice]
        image = write_image(event.part, choice.images) if isinstance(event.part, Image) else None
        if image is None:
            self._lose(type(event.part).__name__.lower())
            choice.run = choice.length
            return head
        choice.images += 1
        return head + self._delta(event.choice, b'"images":[' + _encode(image) + b"]")

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        return self._choice(
            event.choice, {"index": event.choice, "delta": {}, "logprobs": event.value, "finish_reason": None}
        )

    def _opaque(self, event: OpaqueDelta) -> bytes:
        if event.dialect != DIALECT or not isinstance(event.value, dict):
            kind = event.value.get("type") if isinstance(event.value, dict) else None
            self._lose(str(kind or event.dialect))
            if (choice := self._choices.get(event.choice)) is not None:
                choice.run = choice.length
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
        head = b"" if choice in self._choices else self._first(choice)
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
    AudioDelta: StreamWriter._audio,
    MediaDelta: StreamWriter._media,
    LogprobsDelta: StreamWriter._logprobs,
    OpaqueDelta: StreamWriter._opaque,
    Finished: StreamWriter._finish,
    Metered: StreamWriter._metered,
    Failed: StreamWriter._failed,
}
