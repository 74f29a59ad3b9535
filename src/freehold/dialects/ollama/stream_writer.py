"""Writes canonical events as an Ollama stream: one JSON object a line.

The bytes around a text delta are the same in every line and rendered once. Tool calls are whole objects here, so their
pieces are gathered and written, in order, when the answer finishes; one cut off by a length limit is left out, since
half an object cannot be written. The last line, with the reason and the counts, waits for `close`, because other
dialects send usage after the finish reason. Only the first choice is shown.
"""

from typing import Any

import msgspec

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
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.ollama.errors import write_error
from freehold.dialects.ollama.reply import write_call
from freehold.dialects.ollama.settings import lose
from freehold.dialects.ollama.usage import DONE_REASON, write_logprobs, write_time, write_usage
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name
from freehold.errors import FreeholdError, UpstreamBroken

_encode = msgspec.json.Encoder().encode


class StreamWriter:
    """`write` turns one event into the bytes of none, one or several lines; `close` or `fail` ends the stream, once.

    `model` and `created` (Unix seconds) stand in every line; where empty, what `Started` says. `id` and `include_usage`
    have no meaning in this dialect. `losses` collects what could not be shown.
    """

    __slots__ = ("_calls", "_created", "_ended", "_finished", "_head", "_model", "_text_head", "_usage", "losses")

    _BEFORE_TEXT = b'"message":{"role":"assistant","content":'
    _BEFORE_THINKING = b'"message":{"role":"assistant","content":"","thinking":'
    _AFTER = b'},"done":false}\n'

    def __init__(self, id: str, model: str, created: int = 0, include_usage: bool = True) -> None:
        self._model = model
        self._created = created
        self._head = b""
        """The bytes of a line up to its message; rendered with the first line."""
        self._text_head = b""
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._ended = False
        self._calls: dict[int, tuple[ToolStarted, list[str]]] = {}
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        """The bytes of one event; empty where it has none here, and after the end."""
        if type(event) is TextDelta:
            if self._text_head and not event.choice and event.signature is None and event.citation is None:
                return b"".join((self._text_head, _encode(event.text), self._AFTER)) if event.text else b""
            return self._text(event)
        writer = _WRITERS.get(type(event))
        if writer is None or self._ended:
            return b""
        if getattr(event, "choice", 0):
            lose(self.losses, "choices")
            return b""
        written: bytes = writer(self, event)
        return written

    def close(self) -> bytes:
        """The last line. Where no finish was ever written, or an error was it, an error line instead."""
        if self._ended:
            return b""
        finished = self._finished
        if finished is None:
            return self.fail(UpstreamBroken("The provider's stream ended before its answer was complete."), "")
        if finished.finish == "error":
            return self.fail(UpstreamBroken("The provider's model stopped with an error."), "")
        calls = self._write_calls(finished)
        rest = {"done": True, "done_reason": DONE_REASON[finished.finish], **write_usage(self._usage)}
        last = b"".join((self._begin(), self._last_message(), b",", _encode(rest)[1:], b"\n"))
        self._end()
        return calls + last

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """Ends the stream with an error line, where it has not ended yet."""
        if self._ended:
            return b""
        self._end()
        return write_error(error, request_id) + b"\n"

    def _end(self) -> None:
        self._ended = True
        self._text_head = b""

    # What another form of the dialect has in another place

    def _last_message(self) -> bytes:
        return b'"message":{"role":"assistant","content":""}'

    def _message(self, field: str, value: Any) -> bytes:
        """A line with one field of the message beside its empty text."""
        return b"".join((self._begin(), self._BEFORE_TEXT, b'"",', _encode({field: value})[1:-1], self._AFTER))

    # Events

    def _begin(self) -> bytes:
        if not self._head:
            identity = {"model": self._model, "created_at": write_time(self._created)}
            self._head = _encode(identity)[:-1] + b","
            self._text_head = self._head + self._BEFORE_TEXT
        return self._head

    def _text(self, event: TextDelta) -> bytes:
        """The first text, and one with something beside it that has no place here."""
        if self._ended:
            return b""
        if event.choice:
            lose(self.losses, "choices")
            return b""
        if event.citation is not None:
            lose(self.losses, "citations")
        return self._said(event.text)

    def _said(self, text: str) -> bytes:
        if not text:
            return b""
        return b"".join((self._begin(), self._BEFORE_TEXT, _encode(text), self._AFTER))

    def _refusal(self, event: RefusalDelta) -> bytes:
        return self._said(event.text)

    def _audio(self, event: AudioDelta) -> bytes:
        lose(self.losses, "audio")
        return self._said(event.transcript)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if event.signature is not None:
            lose(self.losses, "thinking.signature")
        if event.redacted is not None:
            lose(self.losses, "thinking.redacted")
        if not event.text:
            return b""
        return b"".join((self._begin(), self._BEFORE_THINKING, _encode(event.text), self._AFTER))

    def _media(self, event: MediaDelta) -> bytes:
        part = event.part
        if isinstance(part, Image) and part.data is not None:
            return self._message("images", [part.data])
        lose(self.losses, type(part).__name__.lower())
        return b""

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        logprobs = write_logprobs(event.value)
        if not logprobs:
            return b""
        line = {"done": False, "logprobs": logprobs}
        return b"".join((self._begin(), self._last_message(), b",", _encode(line)[1:], b"\n"))

    def _opaque(self, event: OpaqueDelta) -> bytes:
        lose(self.losses, opaque_name(event.value))
        return b""

    def _start(self, event: Started) -> bytes:
        self._model = self._model or event.model
        self._created = self._created or event.created
        return b""

    def _tool_started(self, event: ToolStarted) -> bytes:
        self._calls[event.index] = (event, [])
        return b""

    def _tool_delta(self, event: ToolDelta) -> bytes:
        if (call := self._calls.get(event.index)) is not None:
            call[1].append(event.arguments)
        return b""

    def _write_calls(self, finished: Finished) -> bytes:
        calls: list[dict[str, Any]] = []
        for start, pieces in self._calls.values():
            arguments = "".join(pieces)
            if not start.custom and finished.finish != "tool_calls" and arguments and not _is_whole(arguments):
                lose(self.losses, "tool_calls")
                continue
            call = ToolCall(start.id, start.name, arguments, custom=start.custom)
            calls.append(write_call(call, len(calls), self.losses))
        self._calls = {}
        return self._message("tool_calls", calls) if calls else b""

    def _finish(self, event: Finished) -> bytes:
        self._finished = event
        return b""

    def _metered(self, event: Metered) -> bytes:
        self._usage = event.usage
        return b""

    def _failed(self, event: Failed) -> bytes:
        return self.fail(UpstreamBroken(event.message, code=event.code, status=event.status), "")


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except (*MALFORMED, UnicodeEncodeError):
        return False


_WRITERS: dict[type, Any] = {
    Started: StreamWriter._start,
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
