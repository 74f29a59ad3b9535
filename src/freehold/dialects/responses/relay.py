"""Passes a Responses stream on to a client of the same dialect, byte for byte, and meters it on the way.

Only an incomplete event is held back, so that what the client has seen always ends at an event's end and an error event
may follow. Each event gets one partial decode (about 1 us), which also makes sure that what is passed on is JSON; only
the object inside `response.created` and the last event is looked into. A `[DONE]`, which some hosts add, is dropped:
this dialect has none.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Failed, Finish, Usage
from freehold.dialects.responses.errors import read_stream_error, write_stream_error
from freehold.dialects.responses.framing import named_event
from freehold.dialects.responses.reply import Meter, meter_fields, meter_finish, read_failed
from freehold.dialects.responses.usage import read_usage
from freehold.dialects.sse import DONE, SseSplitter, parse_event
from freehold.dialects.wire import MALFORMED
from freehold.errors import FreeholdError, UpstreamBroken, redact

_NOTHING = Raw(b"")


class _Kind(Struct, gc=False):
    type: Any = None


class _Event(Struct):
    type: Any = None
    delta: Raw = _NOTHING
    response: Raw = _NOTHING
    item: _Kind | None = None


_DECODER = msgspec.json.Decoder(_Event)
_METER = msgspec.json.Decoder(Meter)
_ANY = msgspec.json.Decoder()

_FIRST = ("response.created", "response.in_progress", "response.queued")
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


class StreamRelay:
    """`feed` returns what may go out now, `close` what was held back at the end.

    `started`: content was seen, so another provider may no longer take over. `output_bytes`: about the size of the
    text, thoughts and arguments seen, for an estimate where the stream breaks before its usage. `complete`: the answer
    came to its end. `response`: the JSON of the last response object seen, which is the whole answer once `complete`.
    `events` is also the next sequence number, for an error event of ours. `strip_usage` has no meaning here.
    """

    told = True
    """The client has seen the provider's own error by the time `failed` is set."""

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
        self.response = b""
        self._called = False
        self._splitter = SseSplitter()

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for an event that is no JSON or larger than 16 MiB."""
        events = self._splitter.feed(chunk)
        if len(events) == 1:
            return events[0] if self._see(events[0]) else b""
        return b"".join([raw for raw in events if self._see(raw)])

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """The event that ends a broken stream."""
        return write_stream_error(error, request_id, sequence_number=self.events)

    def close(self) -> bytes:
        """A last event that only lacks its blank line gets it; one cut in half is kept from the client."""
        raw = self._splitter.close()
        event = parse_event(raw)
        if event is None:
            return b""
        try:
            _DECODER.decode(event[1])
            keep = self._see(raw)
        except (UpstreamBroken, *MALFORMED):
            return b""
        return raw.rstrip(b"\r\n") + b"\n\n" if keep else b""

    def _see(self, raw: bytes) -> bool:
        """Notes what an event says; False to drop it."""
        event = named_event(raw)
        if event is None:
            return True
        name, data = event
        if data.startswith(DONE):
            return False
        self.events += 1
        try:
            wire = _DECODER.decode(data)
            kind = wire.type
            if len(wire.delta):
                self.started = True
                self.output_bytes += max(0, len(wire.delta) - 2)
            elif len(wire.response):
                self._meter(kind, wire.response)
            elif kind == "error" or (name == b"error" and kind is None):
                self.failed = read_stream_error(_ANY.decode(data))
            elif kind == "response.output_item.added" and wire.item is not None:
                self.started = True
            elif kind == "response.output_item.done" and wire.item is not None:
                self._called |= wire.item.type in ("function_call", "custom_tool_call")
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None
        return True

    def _meter(self, kind: Any, raw: Raw) -> None:
        if kind in _FIRST:
            meter = _METER.decode(raw) if not self.id else None
            self.response = bytes(raw)
        elif kind in _LAST:
            meter = _METER.decode(raw)
            self.response = bytes(raw)
        else:
            return
        if meter is None:
            return
        if isinstance(meter.id, str):
            self.id = self.id or meter.id
        if isinstance(meter.model, str):
            self.model = self.model or meter.model
        if kind in _FIRST:
            return
        self.usage = read_usage(meter.usage) or self.usage
        if kind == "response.failed" or meter.status in ("failed", "cancelled"):
            self.failed = read_failed({**meter_fields(meter, True), "status": "failed"})
            return
        if meter.status is None:
            meter.status = str(kind).removeprefix("response.")
        self.finish = meter_finish(meter, self._called)
        self.complete = True
