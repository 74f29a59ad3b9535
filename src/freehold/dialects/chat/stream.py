"""Reads a provider's chat completion stream into canonical events.

One machine for all hosts of this dialect. What it puts right, so that writers need not know:

- chunk ids, models and roles repeat or change: the first count, in one `Started`;
- tool calls come in all forms: see stream_calls.py;
- thoughts come as `reasoning_content`, as `reasoning`, as `reasoning_details` with their signatures, or as thinking
  parts of a list content; a last chunk that repeats all of them (xAI) is dropped;
- places of citations count the message's text; they come out counted from the beginning of the text part, which is a
  run of text that nothing else interrupts. Sources beside the choices (Perplexity, xAI) come out at the end;
- a whole `chat.completion` object inside the stream is read as one delta;
- finish and usage are held back until the end ([DONE], a usage-only chunk, or the close), because hosts repeat both,
  send content after them, or send usage so far with every chunk. Order out: deltas, `Finished` by choice, `Metered`;
- an error object, or an event that cannot be read, ends the stream with `Failed`, and nothing follows.

Never invented is a clean end: when the body ends without a finish reason or `[DONE]`, `complete` stays False and
`close` emits no `Finished`.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.chunk import CHUNK, Chunk, Delta, DeltaChoice
from freehold.dialects.chat.citations import read_annotation, read_sources
from freehold.dialects.chat.content import DIALECT, thinking_text
from freehold.dialects.chat.errors import read_failure
from freehold.dialects.chat.made import read_audio_delta, read_image, read_images
from freehold.dialects.chat.reply import is_json
from freehold.dialects.chat.stream_calls import Calls
from freehold.dialects.chat.think_tags import ThinkTags
from freehold.dialects.chat.thoughts import foreign_details, read_detail
from freehold.dialects.chat.usage import read_finish, read_usage, settle_finish
from freehold.dialects.conversation import (
    Event,
    Finish,
    Finished,
    LogprobsDelta,
    MediaDelta,
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


class _Track:
    """What is known of one choice."""

    __slots__ = (
        "calls",
        "finish",
        "finished",
        "length",
        "refused",
        "run",
        "tags",
        "thinking_size",
        "thoughts",
    )

    def __init__(self, response: str) -> None:
        self.calls = Calls(response)
        self.length = 0
        """Characters of text so far, and how many came before the present run of it."""
        self.run = 0
        self.thoughts: list[str] = []
        self.thinking_size = 0
        self.tags = ThinkTags()
        self.refused = False
        self.finish: Finish | None = None
        self.finished = False


class StreamReader:
    """`feed` and `close` return events. `split_think`: as in `read_reply`, but only where `<think>` opens the text."""

    __slots__ = (
        "_cited",
        "_done",
        "_events",
        "_failed",
        "_metered",
        "_parser",
        "_response",
        "_sources",
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
        self._sources: dict[str, Any] | None = None
        self._cited = False

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
            chunk = CHUNK.decode(data)
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
        if chunk.search_results is not None or chunk.citations is not None:
            self._sources = {"search_results": chunk.search_results, "citations": chunk.citations}
        if chunk.choices:
            for choice in chunk.choices:
                self._read_choice(choice)
        elif chunk.usage is not None:
            self._settle()

    def _start(self, chunk: Chunk) -> None:
        if not chunk.choices and chunk.usage is None:
            return  # Azure's first chunk has neither id nor model
        self._started = True
        created = int(chunk.created) if isinstance(chunk.created, int | float) else 0
        self._response = _text(chunk.id)
        self._events.append(Started(self._response, _text(chunk.model), created))

    def _meter(self, chunk: Chunk) -> None:
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

    def _read_choice(self, choice: DeltaChoice) -> None:
        index = choice.index if type(choice.index) is int and choice.index >= 0 else 0
        track = self._tracks.get(index)
        if track is None:
            track = self._tracks[index] = _Track(self._response)
        delta = choice.delta or choice.message
        if delta is not None:
            text = delta.content
            if (
                type(text) is str
                and text
                and not self._split
                and delta.reasoning_content is delta.reasoning is delta.reasoning_details is None
            ):
                track.length += len(text)
                self._events.append(TextDelta(text, index))
                if delta.tool_calls is not None or delta.refusal is not None:
                    self._read_delta(delta, index, track, choice.finish_reason, with_text=False)
            else:
                self._read_delta(delta, index, track, choice.finish_reason, with_text=True)
            if delta.annotations or delta.audio or delta.images:
                self._read_extras(delta, index, track)
        if choice.logprobs is not None:
            self._events.append(LogprobsDelta(choice.logprobs, index))
        if choice.error:
            self._fail(choice.error)
        elif (finish := choice.finish_reason) is not None and (read := read_finish(finish)) is not None:
            track.finish = read

    def _read_delta(self, delta: Delta, index: int, track: _Track, finish: Any, with_text: bool) -> None:
        if with_text:
            thoughts = delta.reasoning_content or delta.reasoning
            if delta.reasoning_details:
                self._read_details(delta.reasoning_details, thoughts, index, track)
            elif isinstance(thoughts, str) and thoughts:
                self._think(thoughts, index, track, last=finish is not None)
            content = delta.content
            if isinstance(content, list):
                for piece in content:
                    self._read_piece(piece, index, track)
            elif isinstance(content, str) and content:
                self._text(content, index, track)
        if isinstance(delta.refusal, str) and delta.refusal:
            track.refused = True
            track.run = track.length
            self._events.append(RefusalDelta(delta.refusal, index))
        if isinstance(delta.tool_calls, list):
            track.run = track.length
            for position, call in enumerate(delta.tool_calls):
                if isinstance(call, dict):
                    track.calls.read(call, position, index, self._events)
        if isinstance(delta.function_call, dict):
            track.run = track.length
            track.calls.read({"index": 0, "function": delta.function_call}, 0, index, self._events)

    def _read_details(self, details: Any, plain: Any, index: int, track: _Track) -> None:
        """`plain` repeats the text of the details, where they have any."""
        entries = details if isinstance(details, list) else []
        pieces = [piece for raw in entries if (piece := read_detail(raw, index)) is not None]
        if isinstance(plain, str) and plain and not any(piece.text for piece in pieces):
            self._think(plain, index, track, last=False)
        rest = foreign_details(entries)
        for piece in pieces:
            if piece.text:
                self._think(piece.text, index, track, last=False)
            if piece.signature is not None or piece.redacted is not None:
                track.run = track.length
                piece.text = ""
                self._events.append(piece)
        if rest:
            self._opaque({"reasoning_details": rest}, index, track)

    def _read_extras(self, delta: Delta, index: int, track: _Track) -> None:
        rest: dict[str, Any] = {}
        for raw in delta.annotations if isinstance(delta.annotations, list) else ():
            if (citation := read_annotation(raw, track.run)) is not None:
                self._cited = True
                self._events.append(TextDelta("", index, citation=citation))
            else:
                rest.setdefault("annotations", []).append(raw)
        if (sound := read_audio_delta(delta.audio, index)) is not None:
            track.run = track.length
            self._events.append(sound)
        images, unread = read_images(delta.images)
        if images:
            track.run = track.length
            self._events += [MediaDelta(image, index) for image in images]
        if unread:
            rest["images"] = unread
        if rest:
            self._opaque(rest, index, track)

    def _think(self, text: str, index: int, track: _Track, last: bool) -> None:
        repeats = last and len(text) == track.thinking_size and "".join(track.thoughts) == text
        if repeats and len(track.thoughts) > 1:
            return
        track.thoughts.append(text)
        track.thinking_size += len(text)
        track.run = track.length
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
        elif piece.get("type") == "image_url" and (image := read_image(piece)) is not None:
            track.run = track.length
            self._events.append(MediaDelta(image, index))
        else:
            self._opaque({"content": [piece]}, index, track)

    def _text(self, text: str, index: int, track: _Track) -> None:
        if self._split and track.tags.inside is not False:
            self._split_text(track.tags.feed(text), index, track)
        elif text:
            track.length += len(text)
            self._events.append(TextDelta(text, index))

    def _split_text(self, split: tuple[str, str], index: int, track: _Track) -> None:
        thought, answer = split
        if thought:
            self._think(thought, index, track, last=False)
        if answer:
            track.length += len(answer)
            self._events.append(TextDelta(answer, index))

    def _opaque(self, value: dict[str, Any], index: int, track: _Track) -> None:
        track.run = track.length
        self._events.append(OpaqueDelta(DIALECT, value, index))

    # The end

    def _settle(self) -> None:
        """Emits what was held back, once."""
        for index, track in sorted(self._tracks.items()):
            if track.finished or (track.finish is None and not self._done):
                continue
            track.finished = True
            self._split_text(track.tags.close(), index, track)
            if self._sources is not None and not self._cited and not index:
                self._events += [TextDelta("", index, citation=one) for one in read_sources(self._sources)]
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
