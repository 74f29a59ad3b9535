"""Passes through the streams of OpenAI's media endpoints: server-sent events that name themselves in `type`.

Bytes go out as they came in, whole events only, and each event gets one partial decode that skips its base64. Two
things are repaired on the way, because clients ask for a stream from models that have none: an answer that is no event
stream (whole JSON, plain text, raw sound) is turned into the events of the dialect, and hosts that name their events
otherwise are translated (see the subclasses). A client of this relay always gets the events it asked for.

How it ends: `complete` once the dialect's last event has passed; `failed` after the provider's own error event, which
the client has then seen (`told`); anything else is a broken stream, whose error event `fail` writes.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from freehold.dialects.chat.errors import error_body, read_failure
from freehold.dialects.conversation import Failed, Usage
from freehold.dialects.sse import DONE, SseSplitter, parse_event, sse
from freehold.dialects.wire import MALFORMED
from freehold.errors import FreeholdError, UpstreamBroken

MAX_MEDIA_EVENT = 64 * 1024 * 1024
"""Bytes of one event: a whole 4K image in base64 fits."""
MAX_WHOLE = 256 * 1024 * 1024
_MARKS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LONGEST = max(map(len, _MARKS))


class Typed(Struct):
    """What every event may say. Everything else is skipped, base64 above all."""

    type: Any = None
    error: Any = None


class EventRelay:
    """A relay as `call.operation.Relay` has it. Subclasses say what an event means (`meter`) and how an answer that is
    no stream is written as one (`from_whole`)."""

    __slots__ = (
        "_begun",
        "_closed",
        "_plain",
        "_splitter",
        "_whole",
        "complete",
        "failed",
        "id",
        "model",
        "output_bytes",
        "started",
        "usage",
    )

    DECODER: ClassVar["msgspec.json.Decoder[Any]"] = msgspec.json.Decoder(Typed)
    raw: ClassVar[bool] = False
    told: ClassVar[bool] = True
    """Whether the client has seen the provider's own error by the time `failed` is set."""

    def __init__(self) -> None:
        self._splitter = SseSplitter(MAX_MEDIA_EVENT)
        self._begun = b""
        self._closed = False
        self._plain: bool | None = None
        self._whole: list[bytes] = []
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0
        """What an estimate rests on where the provider counts nothing: four bytes a token."""

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for an event that is no JSON or beyond the size limit."""
        if self._plain is None:
            self._begun += chunk
            if len(self._begun) < _LONGEST:
                return b""
            chunk, self._begun = self._begun, b""
            self._plain = not looks_like_events(chunk)
        if self._plain:
            return self.feed_plain(chunk)
        return b"".join([self._pass(raw) for raw in self._splitter.feed(chunk)])

    def close(self) -> bytes:
        """At the proper end of the upstream body. An event cut in half is dropped. A second time nothing happens."""
        if self._closed:
            return b""
        self._closed = True
        out = b""
        if self._plain is None and self._begun:
            begun, self._begun = self._begun, b""
            cut = any(mark.startswith(begun) for mark in _MARKS)
            self._plain = not (cut or looks_like_events(begun))
            out = self.feed_plain(begun) if self._plain else b"".join(map(self._pass, self._splitter.feed(begun)))
        if self._plain:
            return out + self.close_plain()
        rest = self._splitter.close()
        if parse_event(rest) is not None:
            try:
                out += self._pass(rest if rest.endswith(b"\n\n") else rest.rstrip(b"\r\n") + b"\n\n")
            except UpstreamBroken:
                return out
        self.settle()
        return out

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """The event that ends a broken stream."""
        return write_failure(error, request_id)

    def _pass(self, raw: bytes) -> bytes:
        event = _read(raw)
        if event is None:
            return raw
        name, data = event
        if data.startswith(DONE):
            return self.done(raw)
        try:
            typed = self.DECODER.decode(data)
        except MALFORMED:
            raise UpstreamBroken("An event of the provider's stream is not a JSON object.") from None
        if typed.error is not None or typed.type == "error" or name == b"error":
            self.failed = read_failure(typed.error or _decoded(data))
            return raw
        return self.meter(typed, raw, data)

    def meter(self, event: Any, raw: bytes, data: bytes) -> bytes:
        """Notes what a decoded event says; returns the bytes that go to the client."""
        raise NotImplementedError

    def done(self, raw: bytes) -> bytes:
        """`[DONE]`, which most of these streams do without; returns the bytes that go to the client."""
        self.settle()
        return raw

    def settle(self) -> None:
        """The stream has ended properly: decides whether the answer has too."""

    def feed_plain(self, chunk: bytes) -> bytes:
        """A piece of an answer that is no event stream: kept until its end."""
        self._whole.append(chunk)
        self.output_bytes += len(chunk)
        if self.output_bytes > MAX_WHOLE:
            raise UpstreamBroken(f"the provider's answer is over {MAX_WHOLE} bytes")
        return b""

    def close_plain(self) -> bytes:
        body = b"".join(self._whole)
        self._whole.clear()
        self.output_bytes = 0
        return self.from_whole(body)

    def from_whole(self, body: bytes) -> bytes:
        """The events a whole answer stands for. Sets `complete` or `failed`."""
        raise NotImplementedError


class WholeRelay:
    """A client's stream from an upstream that answers at once: `convert` turns the whole body into events and usage.

    `convert` raises a FreeholdError for an answer that cannot be used; at the end of a stream that is `failed`.
    """

    __slots__ = ("_convert", "_parts", "_size", "complete", "failed", "id", "model", "output_bytes", "started", "usage")
    raw: ClassVar[bool] = False
    told: ClassVar[bool] = False

    def __init__(self, convert: Callable[[bytes], tuple[bytes, Usage | None]], model: str = "") -> None:
        self._convert = convert
        self._parts: list[bytes] = []
        self._size = 0
        self.usage: Usage | None = None
        self.id = ""
        self.model = model
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_WHOLE:
            raise UpstreamBroken(f"the provider's answer is over {MAX_WHOLE} bytes")
        return b""

    def close(self) -> bytes:
        if self.complete or self.failed is not None:
            return b""
        body = b"".join(self._parts)
        self._parts.clear()
        try:
            events, self.usage = self._convert(body)
        except FreeholdError as error:
            self.failed = Failed(error.message, error.code, error.status)
            return b""
        self.complete = self.started = True
        return events

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        return write_failure(error, request_id)


def _read(raw: bytes) -> tuple[bytes, bytes] | None:
    """`parse_event`, without a regular expression for the two common forms: some events have megabytes."""
    end = len(raw) - 2
    first = raw.find(b"\n")
    if raw.find(b"\r") < 0:
        if first == end and raw.startswith(b"data: "):
            return b"", raw[6:end]
        if raw.startswith(b"event: ") and raw.startswith(b"data: ", first + 1) and raw.find(b"\n", first + 1) == end:
            return raw[7:first], raw[first + 7 : end]
    return parse_event(raw)


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except MALFORMED:
        return data.decode("utf-8", "replace")


def looks_like_events(begun: bytes) -> bool:
    """Whether a body that begins like this is an event stream."""
    return begun.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").startswith(_MARKS)


def write_failure(error: FreeholdError, request_id: str) -> bytes:
    """The error event of OpenAI's media streams; its SDKs raise it as an APIError."""
    return sse(msgspec.json.encode({"type": "error", "error": error_body(error, request_id)}), b"error")
