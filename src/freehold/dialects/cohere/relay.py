"""Passes a Cohere stream on to a Cohere client, byte for byte, and meters it on the way.

Only an incomplete event is held back, so that what the client has seen always ends at an event's end and an error event
may follow. A content delta is known by its first bytes and only checked to be JSON; the others are decoded.
"""

import msgspec

from freehold.dialects.cohere.errors import failed
from freehold.dialects.cohere.stream import EVENT, WireEvent
from freehold.dialects.cohere.usage import read_finish, read_usage
from freehold.dialects.conversation import Failed, Finish, Usage
from freehold.dialects.sse import DONE, SseSplitter, parse_event, sse
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact

_DELTA = b"event: content-delta\ndata: {"
_JSON = msgspec.json.Decoder(msgspec.Raw)
_DATA = len(b"event: content-delta\ndata: ")
_FRAME = len(_DELTA + b'"type":"content-delta","index":0,"delta":{"message":{"content":{"text":""}}}}\n\n')
_CONTENT = frozenset({"content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"})


class StreamRelay:
    """`feed` returns what may go out now, `close` what was held back at the end.

    `started`: content was seen, so another provider may no longer take over. `output_bytes`: about the size of the
    text, thoughts and arguments seen, for an estimate where the stream breaks before its usage. `complete`: the stream
    came to its `message-end`, and that was no error. The dialect never names the model; `strip_usage` has no meaning.
    """

    def __init__(self, strip_usage: bool = False) -> None:
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.finish: Finish | None = None
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0
        self.events = 0
        self._done = False
        self._splitter = SseSplitter()

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for an event larger than 16 MiB, or one that is not JSON."""
        events = self._splitter.feed(chunk)
        for raw in events:
            self._see(raw)
        return events[0] if len(events) == 1 else b"".join(events)

    def close(self) -> bytes:
        """A last event that only lacks its blank line gets it; one cut in half is kept from the client."""
        raw = self._splitter.close()
        event = parse_event(raw)
        out = b""
        if event is not None:
            try:
                if not event[1].startswith(DONE):
                    EVENT.decode(event[1])
                self._see(raw)
                out = raw.rstrip(b"\r\n") + b"\n\n"
            except MALFORMED:
                return b""
        if self.complete and not self._done:
            self._done = True
            out += sse(DONE)
        return out

    def _see(self, raw: bytes) -> None:
        self.events += 1
        if raw.startswith(_DELTA) and raw.find(b"\n", _DATA) == len(raw) - 2:
            self.started = True
            self.output_bytes += max(0, len(raw) - _FRAME)
            try:
                _JSON.decode(raw[_DATA:])
            except MALFORMED:
                raise UpstreamBroken("An event of the provider's stream is not JSON.") from None
            return
        event = parse_event(raw)
        if event is None:
            return
        data = event[1]
        if data.startswith(DONE):
            self._done = True
            return
        try:
            self._read(EVENT.decode(data), len(data))
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None

    def _read(self, event: WireEvent, size: int) -> None:
        kind, delta = event.type, event.delta
        if event.id and not self.id and kind == "message-start":
            self.id = event.id
        if event.error is not None or kind == "error" or (not kind and isinstance(event.message, str)):
            self.failed = failed(event.error if isinstance(event.error, str) else event.message)
        elif kind == "message-end":
            if delta is None:
                return
            if (usage := read_usage(delta.usage)) is not None:
                self.usage = usage
            if delta.error is not None:
                self.failed = failed(delta.error)
            elif (finish := read_finish(delta.finish_reason)) is not None:
                self.finish = finish
                self.complete = True
        elif kind in _CONTENT:
            self.started = self.started or kind != "content-start"
            self.output_bytes += max(0, size - _FRAME)
