"""Reads a provider's chat completion stream into canonical events.

One machine for all hosts of this dialect. What it puts right, so that writers need not know:

- chunk ids, models and roles repeat or change: the first count, in one `Started`;
- tool calls come in all forms: see stream_calls.py;
- thoughts come as `reasoning_content`, as `reasoning`, or as thinking parts of a list content; a last chunk that
  repeats all of them (xAI) is dropped;
- a whole `chat.completion` object inside the stream is read as one delta;
- finish and usage are held back until the end ([DONE], a usage-only chunk, or the close), because hosts repeat both,
  send content after them, or send usage so far with every chunk. Order out: deltas, `Finished` by choice, `Metered`;
- an error object, or an event that cannot be read, ends the stream with `Failed`, and nothing follows.

Never invented is a clean end: when the body ends without a finish reason or `[DONE]`, `complete` stays False and
`close` emits no `Finished`.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.content import DIALECT, thinking_text
from freehold.dialects.chat.errors import read_failure
from freehold.dialects.chat.reply import THINK_CLOSE, THINK_OPEN, is_json
from freehold.dialects.chat.stream_calls import Calls
from freehold.dialects.chat.usage import read_finish, read_usage, settle_finish
from freehold.dialects.conversation import (
    Event,
    Finish,
    Finished,
    LogprobsDelta,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    Usage,
)
from freehold.dialects.sse import DONE, SseParser
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken


class _Delta(Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    annotations: Any = None
    audio: Any = None
    images: Any = None


class _Choice(Struct):
    index: Any = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None
    logprobs: Any = None
    error: Any = None


class _Chunk(Struct):
    id: Any = None
    model: Any = None
    created: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None


_DECODER = msgspec.json.Decoder(_Chunk)
_CARRIED = ("reasoning_details", "annotations", "audio", "images")
"""Fields of a delta without canonical form that clients of this dialect know."""


class _Track:
    """What is known of one choice."""

    __slots__ = (
        "calls",
        "finish",
        "finished",
        "held",
        "refused",
        "thinking",
        "thinking_size",
        "thoughts",
    )

    def __init__(self, response: str) -> None:
        self.calls = Calls(response)
        self.thoughts: list[str] = []
        self.thinking_size = 0
        self.thinking: bool | None = None
        """Splitting `<think>`: None before the first text, True inside, False after."""
        self.held = ""
        """Text that may be the beginning of a tag."""
        self.refused = False
        self.finish: Finish | None = None
        self.finished = False


class StreamReader:
    """`feed` and `close` return events. `split_think`: as in `read_reply`, but only where `<think>` opens the text."""

    __slots__ = (
        "_done",
        "_events",
        "_failed",
        "_metered",
        "_parser",
        "_response",
        "_split",
        "_started",
        "_tracks",
        "_usage",
    )

    def __init__(self, split_think: bool = False) -> None:
        self._parser = SseParser()
        self._split = split_think
        self._events: list[Event] = []
        self._tracks: dict[int, _Track] = {}
        self._usage: Usage | None = None
        self._metered: Usage | None = None
        self._started = False
        self._response = ""
        self._done = False
        self._failed = False

    @property
    def complete(self) -> bool:
        """Whether the provider ended the answer: every choice has a finish reason, or `[DONE]` came."""
        if self._failed:
            return False
        tracks = self._tracks.values()
        return self._done or (bool(tracks) and all(track.finish is not None for track in tracks))

    @property
    def usage(self) -> Usage | None:
        """The last usage seen, in a broken stream too."""
        return self._usage

    def feed(self, chunk: bytes) -> list[Event]:
        """Never raises: what cannot be read is a `Failed`."""
        if self._failed:
            return []
        try:
            raw = self._parser.feed(chunk)
        except UpstreamBroken as error:
            self._fail({"message": error.message, "code": error.status})
            raw = []
        for name, data in raw:
            self._read(name, data)
        events, self._events = self._events, []
        return events

    def close(self) -> list[Event]:
        """At the end of the upstream body: what was held back. An event cut in half is ignored: see `complete`."""
        for name, data in self._parser.close():
            if data.startswith(DONE) or is_json(data):
                self._read(name, data)
        if not self._failed:
            self._settle()
            self._send_usage()
        events, self._events = self._events, []
        return events

    def _read(self, name: bytes, data: bytes) -> None:
        if self._failed or not data or data.isspace():
            return
        if data[:1] == b"[" and data.startswith(DONE):
            self._done = True
            self._settle()
            return
        try:
            chunk = _DECODER.decode(data)
        except MALFORMED as error:
            if name == b"error":
                self._fail(data.decode("utf-8", "replace"))
            else:
                message = f"The provider sent a stream event that cannot be read: {error}."
                self._fail({"message": message, "code": 502})
            return
        if chunk.error or name == b"error":
            self._fail(chunk.error or msgspec.json.decode(data))
            return
        if not self._started:
            self._start(chunk)
        if chunk.usage is not None or chunk.x_groq is not None:
            self._meter(chunk)
        if chunk.choices:
            for choice in chunk.choices:
                self._read_choice(choice)
        elif chunk.usage is not None:
            self._settle()

    def _start(self, chunk: _Chunk) -> None:
        if not chunk.choices and chunk.usage is None:
            return  # Azure's first chunk has neither id nor model
        self._started = True
        created = int(chunk.created) if isinstance(chunk.created, int | float) else 0
        self._response = _text(chunk.id)
        self._events.append(Started(self._response, _text(chunk.model), created))

    def _meter(self, chunk: _Chunk) -> None:
        usage = read_usage(chunk.usage)
        if usage is None and isinstance(chunk.x_groq, dict):
            usage = read_usage(chunk.x_groq.get("usage"))
        if usage is not None:
            self._usage = usage

    def _fail(self, error: Any) -> None:
        self._failed = True
        self._send_usage()
        self._events.append(read_failure(error))

    # Deltas

    def _read_choice(self, choice: _Choice) -> None:
        index = choice.index if type(choice.index) is int and choice.index >= 0 else 0
        track = self._tracks.get(index)
        if track is None:
            track = self._tracks[index] = _Track(self._response)
        delta = choice.delta or choice.message
        if delta is not None:
            text = delta.content
            if type(text) is str and text and not self._split and delta.reasoning_content is delta.reasoning is None:
                self._events.append(TextDelta(text, index))
                if delta.tool_calls is not None or delta.refusal is not None:
                    self._read_delta(delta, index, track, choice.finish_reason, with_text=False)
            else:
                self._read_delta(delta, index, track, choice.finish_reason, with_text=True)
            if delta.annotations or delta.audio or delta.images or delta.reasoning_details:
                carried = {name: value for name in _CARRIED if (value := getattr(delta, name))}
                self._events.append(OpaqueDelta(DIALECT, carried, index))
        if choice.logprobs is not None:
            self._events.append(LogprobsDelta(choice.logprobs, index))
        if choice.error:
            self._fail(choice.error)
        elif (finish := choice.finish_reason) is not None and (read := read_finish(finish)) is not None:
            track.finish = read

    def _read_delta(self, delta: _Delta, index: int, track: _Track, finish: Any, with_text: bool) -> None:
        if with_text:
            thoughts = delta.reasoning_content or delta.reasoning
            if isinstance(thoughts, str) and thoughts:
                self._think(thoughts, index, track, last=finish is not None)
            content = delta.content
            if isinstance(content, list):
                for piece in content:
                    self._read_piece(piece, index, track)
            elif isinstance(content, str) and content:
                self._text(content, index, track)
        if isinstance(delta.refusal, str) and delta.refusal:
            track.refused = True
            self._events.append(RefusalDelta(delta.refusal, index))
        if isinstance(delta.tool_calls, list):
            for position, call in enumerate(delta.tool_calls):
                if isinstance(call, dict):
                    track.calls.read(call, position, index, self._events)
        if isinstance(delta.function_call, dict):
            track.calls.read({"index": 0, "function": delta.function_call}, 0, index, self._events)

    def _think(self, text: str, index: int, track: _Track, last: bool) -> None:
        repeats = last and len(text) == track.thinking_size and "".join(track.thoughts) == text
        if repeats and len(track.thoughts) > 1:
            return
        track.thoughts.append(text)
        track.thinking_size += len(text)
        self._events.append(ThinkingDelta(text, choice=index))

    def _read_piece(self, piece: Any, index: int, track: _Track) -> None:
        if isinstance(piece, str) and piece:
            self._text(piece, index, track)
        elif not isinstance(piece, dict):
            return
        elif piece.get("type") == "text":
            if text := _text(piece.get("text")):
                self._text(text, index, track)
        elif piece.get("type") == "thinking":
            if text := thinking_text(piece):
                self._think(text, index, track, last=False)
        else:
            self._events.append(OpaqueDelta(DIALECT, {"content": [piece]}, index))

    def _text(self, text: str, index: int, track: _Track) -> None:
        if self._split and track.thinking is not False:
            text = self._split_text(text, index, track)
        if text:
            self._events.append(TextDelta(text, index))

    def _split_text(self, text: str, index: int, track: _Track) -> str:
        """Moves text inside `<think>` into thoughts; returns what is answer. A tag cut in half waits in `held`."""
        text = track.held + text
        track.held = ""
        if track.thinking is None:
            head = text.lstrip()
            if THINK_OPEN.startswith(head):
                track.held = text
                return ""
            if not head.startswith(THINK_OPEN):
                track.thinking = False
                return text
            track.thinking = True
            text = head[len(THINK_OPEN) :].lstrip()
        thought, closed, answer = text.partition(THINK_CLOSE)
        if not closed:
            keep = next((n for n in range(len(THINK_CLOSE) - 1, 0, -1) if text.endswith(THINK_CLOSE[:n])), 0)
            thought, track.held = (text[:-keep], text[-keep:]) if keep else (text, "")
        else:
            track.thinking = False
            answer = answer.lstrip()
        if thought:
            self._think(thought, index, track, last=False)
        return answer

    # The end

    def _settle(self) -> None:
        """Emits what was held back, once."""
        for index, track in sorted(self._tracks.items()):
            if track.finished or (track.finish is None and not self._done):
                continue
            track.finished = True
            if track.held:
                self._events.append(
                    ThinkingDelta(track.held, choice=index) if track.thinking else TextDelta(track.held, index)
                )
            whole = track.calls.close(index, self._events)
            finish = settle_finish(track.finish or "stop", track.calls.any, whole)
            self._events.append(Finished(finish, index, refused=track.refused))
        if self.complete:
            self._send_usage()

    def _send_usage(self) -> None:
        if self._usage is not None and self._usage != self._metered:
            self._metered = self._usage
            self._events.append(Metered(self._usage))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
