"""Passes a completion stream through to a client of the same dialect, and meters it on the way.

Bytes go out as they came in: comments, unknown fields and padding included. Held back is only an event that is not
whole yet, so that a stream that breaks inside an event never leaves half of one behind, and an error event written
after it stands on a line of its own. Each event gets one partial decode (about 1 us; cheaper than searching its bytes
for every field of interest); one that cannot be decoded passes unmetered.

Changed on the way, because clients depend on it: a usage-only chunk that we asked for and the client did not is
dropped; a second `[DONE]` is dropped; a `[DONE]` missing after a finish is added; after an error there is none; a whole
`chat.completion` object in place of chunks is taken apart into some (whole.py); tool calls that hosts number with
gaps, twice or not at all are numbered from 0, because SDKs put a call's pieces together by that number.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.errors import read_failure
from freehold.dialects.chat.reply import is_json
from freehold.dialects.chat.stream_calls import Calls
from freehold.dialects.chat.usage import read_finish, read_usage
from freehold.dialects.chat.whole import chunks
from freehold.dialects.conversation import Failed, Finish, Usage
from freehold.dialects.sse import DONE, SseSplitter, parse_event, sse
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken


class _Delta(Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    audio: Any = None
    images: Any = None


class _Choice(Struct):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    text: Any = None
    finish_reason: Any = None


class _Chunk(Struct):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None


_DECODER = msgspec.json.Decoder(_Chunk)


class StreamRelay:
    """`feed` returns the bytes for the client, `close` the last of them; the attributes say what was seen.

    Serves chat completions and legacy completions alike.
    """

    __slots__ = (
        "_calls",
        "_done",
        "_instead",
        "_splitter",
        "_strip",
        "_unfinished",
        "events",
        "failed",
        "finish",
        "id",
        "model",
        "output_bytes",
        "started",
        "usage",
    )

    def __init__(self, strip_usage: bool = False) -> None:
        self._splitter = SseSplitter()
        self._strip = strip_usage
        self._done = False
        self._instead = b""
        """What goes out in place of the event just metered."""
        self._calls: dict[int, Calls] = {}
        """The tool calls of each choice, by their own numbers."""
        self._unfinished: set[Any] = set()
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        """The last usage object seen; later ones replace earlier ones."""
        self.finish: Finish | None = None
        """Of the choice that finished last."""
        self.failed: Failed | None = None
        """The provider's error inside the stream."""
        self.started = False
        """Whether any content passed: from here on another deployment cannot take over unnoticed."""
        self.output_bytes = 0
        """UTF-8 bytes of text, thoughts and tool arguments so far: what an estimate rests on."""
        self.events = 0
        """Data events seen, `[DONE]` included."""

    @property
    def complete(self) -> bool:
        """Whether the provider ended the answer: every choice has a finish reason, or `[DONE]` came."""
        return self.failed is None and (self._done or (self.finish is not None and not self._unfinished))

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for an event that is no JSON or beyond the size limit."""
        if (data := self._splitter.sole(chunk)) is not None:
            return chunk if self._meter_data(b"", data) else self._replacement()
        events = self._splitter.feed(chunk)
        if len(events) == 1:
            return events[0] if self._meter(events[0]) else self._replacement()
        return b"".join([raw if self._meter(raw) else self._replacement() for raw in events])

    def close(self) -> bytes:
        """At the end of the upstream body. An event cut in half is dropped; `complete` says whether the end is one."""
        rest = self._splitter.close()
        event = parse_event(rest)
        if event is None:
            rest = b"" if rest.strip(b"\r\n") else rest  # half a comment goes, blank lines may stay
        elif not (event[1].startswith(DONE) or is_json(event[1])):
            rest = b""
        else:
            if not rest.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
                rest = rest.rstrip(b"\r\n") + b"\n\n"
            if not self._meter_data(*event):
                rest = self._replacement()
        if self.complete and not self._done:
            self._done = True
            rest += sse(DONE)
        return rest

    def _replacement(self) -> bytes:
        out, self._instead = self._instead, b""
        return out

    def _take_apart(self, data: bytes) -> bool:
        """Puts chunks in the place of a whole completion, and meters them instead of it."""
        events = SseSplitter().feed(chunks(msgspec.json.decode(data)))
        self._instead = b"".join([raw for raw in events if self._meter(raw)])
        return False

    def _meter(self, raw: bytes) -> bool:
        """Notes what an event says; False to drop it."""
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
            return self._meter_data(b"", raw[6:])
        event = parse_event(raw)
        return event is None or self._meter_data(*event)

    def _meter_data(self, name: bytes, data: bytes) -> bool:
        self.events += 1
        if data[:1] == b"[" and data.startswith(DONE):
            keep = not self._done and self.failed is None
            self._done = True
            return keep
        try:
            chunk = _DECODER.decode(data)
        except MALFORMED:
            if name == b"error":
                self.failed = read_failure(data.decode("utf-8", "replace"))
            elif data.strip() and not is_json(data):
                raise UpstreamBroken("An event of the provider's stream is not JSON.") from None
            return True
        if chunk.choices:
            for choice in chunk.choices:
                delta = choice.delta
                if (
                    delta is not None
                    and choice.finish_reason is None
                    and type(text := delta.content) is str
                    and delta.reasoning_content is delta.reasoning is delta.tool_calls is None
                    and self.started
                    and choice.index in self._unfinished
                ):
                    self.output_bytes += len(text) if text.isascii() else len(text.encode())
                elif delta is None and choice.message is not None:
                    return self._take_apart(data)
                else:
                    self._meter_choice(choice)
                    if delta is not None and delta.tool_calls and self._number(choice.index or 0, delta.tool_calls):
                        self._instead = _renumbered(data, chunk.choices)
        if self.model and chunk.usage is chunk.error is chunk.x_groq is None and not name:
            return not self._instead
        if not self.model:
            self._identify(chunk)
        if chunk.usage is not None or chunk.x_groq is not None:
            self._meter_usage(chunk)
        if chunk.error is not None or name == b"error":
            self.failed = read_failure(chunk.error or msgspec.json.decode(data))
            return True
        return not (self._instead or (self._strip and chunk.usage is not None and chunk.choices == []))

    def _number(self, choice: int, fragments: Any) -> bool:
        """Numbers the calls that fragments belong to; whether that changed any."""
        if not isinstance(fragments, list):
            return False
        calls = self._calls.get(choice)
        if calls is None:
            calls = self._calls[choice] = Calls(self.id)
        changed = [calls.number(raw, at) for at, raw in enumerate(fragments) if isinstance(raw, dict)]
        return any(changed)

    def _identify(self, chunk: _Chunk) -> None:
        if isinstance(chunk.model, str):
            self.model = chunk.model
        if isinstance(chunk.id, str) and not self.id:
            self.id = chunk.id

    def _meter_choice(self, choice: _Choice) -> None:
        delta = choice.delta
        size = 0
        if delta is not None:
            size = _size(delta)
            if delta.audio or delta.images:
                self.started = True
                if isinstance(delta.audio, dict):
                    size += _length(delta.audio.get("transcript"))
        elif choice.text is not None:
            size = _length(choice.text)
        if size:
            self.output_bytes += size
            self.started = True
        index = choice.index or 0
        if (finish := choice.finish_reason and read_finish(choice.finish_reason)) is not None:
            self.finish = finish
            self._unfinished.discard(index)
        elif index not in self._unfinished and (size or self.finish is None):
            self._unfinished.add(index)

    def _meter_usage(self, chunk: _Chunk) -> None:
        usage = read_usage(chunk.usage)
        if usage is None and isinstance(chunk.x_groq, dict):
            usage = read_usage(chunk.x_groq.get("usage"))
        if usage is not None:
            self.usage = usage


def _renumbered(data: bytes, choices: list[_Choice]) -> bytes:
    """The event with the tool calls of `choices`, which have been numbered. Raises UpstreamBroken."""
    try:
        fields = msgspec.json.decode(data)
    except MALFORMED:
        raise UpstreamBroken("The provider's stream holds an event that is not JSON.") from None
    for raw, choice in zip(fields["choices"], choices, strict=True):
        if choice.delta is not None and choice.delta.tool_calls:
            raw["delta"]["tool_calls"] = choice.delta.tool_calls
    return sse(msgspec.json.encode(fields))


def _size(delta: _Delta) -> int:
    size = _length(delta.content) + _length(delta.reasoning_content or delta.reasoning) + _length(delta.refusal)
    if isinstance(delta.tool_calls, list):
        for call in delta.tool_calls:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                size += _length(function.get("arguments")) + _length(function.get("name"))
    return size


def _length(value: Any) -> int:
    """UTF-8 bytes of a text, or of the texts in a list of parts."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, list | dict):
        values = value.values() if isinstance(value, dict) else value
        return sum(_length(inner) for inner in values)
    return 0
