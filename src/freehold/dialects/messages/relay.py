"""Passes an Anthropic stream on to an Anthropic client, byte for byte, and meters it on the way.

Only an incomplete event is held back, so that what the client has seen always ends at an event's end and an error event
may follow. The kind of an event is read off its first bytes; only the few that carry usage, a stop reason or an error
are decoded.

One thing is put right on the way: SDKs take `usage` in `message_start` and `message_delta` for granted, so an event
without it gets what is known, zeros at first. Usage that cannot be true passes to the client as the provider wrote it,
but `usage` here becomes None, and the gateway estimates.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Failed, Finish, Usage
from freehold.dialects.messages.errors import failed
from freehold.dialects.messages.stream import EVENT
from freehold.dialects.messages.usage import FINISH, WireUsage, read_usage, write_delta_usage, write_usage
from freehold.dialects.sse import SseSplitter, parse_event, sse
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact

_DELTA = b"event: content_block_delta\n"
_KEY = b'"delta"'
_JSON = msgspec.json.Decoder(msgspec.Raw)
_VALUE = len(b'"delta":{"type":"text_delta","text":"')


class StreamRelay:
    """`feed` returns what may go out now, `close` what was held back at the end.

    `started`: content was seen, so another provider may no longer take over. `output_bytes`: about the size of the
    text, thinking and arguments seen, for an estimate where the stream breaks before its usage. `complete`: the stream
    came to its `message_stop`. `strip_usage` has no meaning here: usage is part of this dialect.
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
        self._splitter = SseSplitter()
        self._lied = False
        self._instead: bytes | None = None
        """What goes out in place of the event just seen."""

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for an event larger than 16 MiB, or one that should carry usage and is not JSON."""
        events = self._splitter.feed(chunk)
        if len(events) == 1:
            return self._pass(events[0])
        return b"".join([self._pass(raw) for raw in events])

    def close(self) -> bytes:
        """A last event that only lacks its blank line gets it; one cut in half is kept from the client."""
        raw = self._splitter.close()
        event = parse_event(raw)
        try:
            EVENT.decode(event[1] if event is not None else b"")
        except MALFORMED:
            return b""
        return self._pass(raw).rstrip(b"\r\n") + b"\n\n"

    def _pass(self, raw: bytes) -> bytes:
        self._see(raw)
        if self._instead is not None:
            raw, self._instead = self._instead, None
        return raw

    def _see(self, raw: bytes) -> None:
        self.events += 1
        if raw.startswith(_DELTA):
            self.started = True
            self.output_bytes += max(0, raw.rfind(b'"') - raw.find(_KEY) - _VALUE)
            self._check(raw[len(_DELTA) :])
            return
        if raw.startswith((b"event: content_block_st", b"event: ping")):
            return
        event = parse_event(raw)
        if event is None:
            return
        name, data = event
        if name in (b"content_block_start", b"content_block_stop", b"ping"):
            return
        self._decode(data)

    def _check(self, line: bytes) -> None:
        """A text with a hole in it must not look like a whole one: what is passed on is JSON at least."""
        if line.startswith(b"data: {"):
            try:
                _JSON.decode(line[6:])
            except MALFORMED:
                raise UpstreamBroken("An event of the provider's stream is not JSON.") from None

    def _decode(self, data: bytes) -> None:
        try:
            event = EVENT.decode(data)
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None
        kind = event.type
        if kind == "message_start" and event.message is not None:
            self.id = self.id or event.message.id
            self.model = self.model or event.message.model
            if event.message.usage is not None:
                self._meter(event.message.usage)
            else:
                self._complete(data, "message", write_usage(None))
        elif kind == "message_delta":
            if event.usage is not None:
                self._meter(event.usage)
            else:
                self._complete(data, "", write_delta_usage(self.usage))
            if event.delta is not None and event.delta.stop_reason is not None:
                self.finish = FINISH.get(event.delta.stop_reason, "stop")
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            self.failed = failed(event.error)
        elif kind == "content_block_delta":
            self.started = True
            self.output_bytes += len(data)

    def _meter(self, wire: WireUsage) -> None:
        usage = read_usage(wire, self.usage)
        self._lied = usage is None or (self._lied and wire.input_tokens is None)
        self.usage = None if self._lied else usage

    def _complete(self, data: bytes, holder: str, usage: dict[str, Any]) -> None:
        """Puts `usage` into the event, at its top or in its `holder`."""
        try:
            event = msgspec.json.decode(data)
        except MALFORMED:
            raise UpstreamBroken("The provider's stream holds an event that is not JSON.") from None
        inner = event[holder] if holder else event
        inner["usage"] = usage
        self._instead = sse(msgspec.json.encode(event), event["type"].encode())
