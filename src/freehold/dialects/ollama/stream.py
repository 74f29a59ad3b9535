"""Ollama's chat stream, read as canonical events: a JSON object a line, each with the next piece of the message.

Tool calls come whole, in any line before the last; every one may say index 0, so they are counted here. The last line
has `done: true`, the reason and the counts; a line with `error` ends the stream without one. What follows either says
nothing.
"""

from contextlib import suppress

from freehold.dialects.conversation import (
    Event,
    Finished,
    LogprobsDelta,
    MediaDelta,
    Metered,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
)
from freehold.dialects.ollama.errors import failed
from freehold.dialects.ollama.lines import LineSplitter
from freehold.dialects.ollama.reply import ANSWER, WireAnswer, WireMessage, read_call, read_image
from freehold.dialects.ollama.usage import read_finish, read_logprobs, read_time, read_usage
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact


class StreamReader:
    """Bytes of a stream in, canonical events out, whatever the chunk boundaries. `complete`: the last line came."""

    __slots__ = ("_calls", "_ended", "_moment", "_splitter", "_started", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._splitter = LineSplitter()
        self._started = False
        self._ended = False
        self._calls = 0
        self._moment = ""
        """The time of the first line: a part of the ids made for calls."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises UpstreamBroken for a line that is not JSON or larger than 16 MiB."""
        events: list[Event] = []
        for line in self._splitter.feed(chunk):
            self._read(line, events)
        return events

    def close(self) -> list[Event]:
        """What a last line that only lacked its end says; one cut in half says nothing: see `complete`."""
        events: list[Event] = []
        with suppress(UpstreamBroken):
            self._read(self._splitter.close(), events)
        return events

    def _read(self, line: bytes, events: list[Event]) -> None:
        if self._ended or not line.strip():
            return
        try:
            answer = ANSWER.decode(line)
            if not self._started or answer.error is not None:
                self._start(answer, events)
            if (message := answer.message) is not None and not self._ended:
                if message.thinking:
                    events.append(ThinkingDelta(message.thinking))
                if message.content:
                    events.append(TextDelta(message.content))
                if message.tool_calls or message.images:
                    self._whole(message, events)
            if answer.logprobs is not None and (logprobs := read_logprobs(answer.logprobs)) is not None:
                events.append(LogprobsDelta(logprobs))
            if answer.done and not self._ended:
                self._finish(answer, events)
        except MALFORMED as error:
            raise UpstreamBroken(f"A line of the stream could not be read: {redact(str(error), 300)}.") from None

    def _start(self, answer: WireAnswer, events: list[Event]) -> None:
        if answer.error is not None:
            self._ended = True
            events.append(failed(answer.error))
            return
        self._started = True
        self._moment = answer.created_at
        events.append(Started("", answer.model, read_time(answer.created_at)))

    def _whole(self, message: WireMessage, events: list[Event]) -> None:
        """What comes in one piece."""
        events += [MediaDelta(read_image(image)) for image in message.images or ()]
        for wire in message.tool_calls or ():
            call = read_call(wire, self._moment, self._calls)
            events.append(ToolStarted(self._calls, call.id, call.name))
            events.append(ToolDelta(self._calls, call.arguments))
            self._calls += 1

    def _finish(self, answer: WireAnswer, events: list[Event]) -> None:
        self._ended = self.complete = True
        usage = read_usage(answer.prompt_eval_count, answer.prompt_eval_cached_count, answer.eval_count)
        if usage is not None:
            events.append(Metered(usage))
        events.append(Finished(read_finish(answer.done_reason, self._calls > 0)))
