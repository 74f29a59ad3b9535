"""An answer that is rewritten between the upstream and whoever reads it: chat completions, whole or as a stream.

For engines that answer in a form of their own making what a client expects in the dialect's (own/tools/). It happens
before the answer is metered, translated or passed through, so that all of these see what the client gets.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

import msgspec

from freehold.call.operation import Prepared, Relay
from freehold.call.talk import Translation
from freehold.dialects.sse import DONE, SseSplitter, parse_event, sse

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Rewriter(Protocol):
    """What becomes of one answer. `chunk` returns what stands in a chunk's place; None: itself."""

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]: ...

    def chunk(self, chunk: dict[str, Any]) -> list[dict[str, Any]] | None: ...


def rewritten(prepared: Prepared, body: bytes, make: Callable[[], Rewriter] | None) -> Prepared:
    """`prepared` with another body, and with its answer rewritten where `make` is given."""
    prepared.body = body
    if make is not None:
        read, relay = prepared.read, prepared.relay
        prepared.read = lambda answer: read(_whole(answer, make()))
        prepared.relay = lambda: _through(relay(), _Events(make()))
    return prepared


def _whole(answer: bytes, rewriter: Rewriter) -> bytes:
    """What is no JSON object is for the reader to complain of."""
    try:
        return msgspec.json.encode(rewriter.whole(_OBJECT.decode(answer)))
    except _MALFORMED:
        return answer


class _Events:
    """The bytes of a stream with its chunks rewritten; events that are no chunks go as they came."""

    __slots__ = ("_rewriter", "_splitter")

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._splitter = SseSplitter()

    def feed(self, chunk: bytes) -> bytes:
        return b"".join([self._event(raw) for raw in self._splitter.feed(chunk)])

    def close(self) -> bytes:
        """The unfinished rest: whether it is an event is for the reader to say."""
        rest = self._splitter.close()
        return self._event(rest) if rest else b""

    def _event(self, raw: bytes) -> bytes:
        event = parse_event(raw)
        if event is None or event[0] or event[1].startswith(DONE):
            return raw
        try:
            made = self._rewriter.chunk(_OBJECT.decode(event[1]))
        except _MALFORMED:
            return raw
        return raw if made is None else b"".join([sse(msgspec.json.encode(one)) for one in made])


def _through(relay: Relay, events: _Events) -> Relay:
    if isinstance(relay, Translation):
        relay.read_through(lambda reader: _Reader(reader, events))
        return relay
    return cast("Relay", _Relay(relay, events))


class _Reader:
    """A dialect's StreamReader that reads what the rewriter makes of the stream."""

    __slots__ = ("_events", "_reader")

    def __init__(self, reader: Any, events: _Events) -> None:
        self._reader = reader
        self._events = events

    @property
    def complete(self) -> bool:
        complete: bool = self._reader.complete
        return complete

    def feed(self, chunk: bytes) -> list[Any]:
        read: list[Any] = self._reader.feed(self._events.feed(chunk))
        return read

    def close(self) -> list[Any]:
        rest = self._events.close()
        return [*(self._reader.feed(rest) if rest else ()), *self._reader.close()]


class _Relay:
    """A relay that reads what the rewriter makes of the stream; what it has seen is read from it as before."""

    __slots__ = ("_events", "_relay")

    def __init__(self, relay: Relay, events: _Events) -> None:
        self._relay = relay
        self._events = events

    def feed(self, chunk: bytes) -> bytes:
        return self._relay.feed(self._events.feed(chunk))

    def close(self) -> bytes:
        rest = self._events.close()
        return (self._relay.feed(rest) if rest else b"") + self._relay.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)
