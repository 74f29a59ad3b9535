"""Amazon's binary event frames, `application/vnd.amazon.eventstream`, read from a byte stream and written.

    total length (4) | headers length (4) | CRC-32 of these eight (4)
    headers: name length (1) | name | type (1) | value, ...
    payload
    CRC-32 of everything before it (4)

All numbers are big-endian. The format, its ten header types and its limits:
https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html and
https://smithy.io/2.0/aws/amazon-eventstream.html. `:message-type` says what a frame is: `event` (named by
`:event-type`), `exception` (`:exception-type`) or `error` (`:error-code`, `:error-message`).

Nothing is believed before it is checked: the lengths before a byte is kept for them, both checksums before a header is
read. After the first broken frame the place of the next one is unknown, so a parser that has failed stays failed.
"""

import struct
from collections.abc import Mapping
from struct import Struct as Layout
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from freehold.errors import UpstreamBroken

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
MOST_HEADERS = 128 * 1024
MOST_PAYLOAD = 24 * 1024 * 1024
"""Bytes; the limits of Amazon's own SDKs."""
LEAST = 16
"""Bytes of a frame with neither headers nor payload."""

_KEPT = 32
"""Header blocks remembered: a stream has a handful, each of them hundreds of times."""

_PRELUDE = Layout(">III")
_LENGTHS = Layout(">II")
_CRC = Layout(">I")
_BYTE, _SHORT, _INT, _LONG = Layout(">b"), Layout(">h"), Layout(">i"), Layout(">q")
_SIZE = Layout(">H")


class Timestamp(NamedTuple):
    """Milliseconds since 1970 UTC."""

    milliseconds: int


HeaderValue = bool | int | bytes | str | Timestamp | UUID


class Frame(NamedTuple):
    """One message. `headers` may be shared between frames: do not change it."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class FrameParser:
    """Bytes in, whole frames out, whatever the chunk boundaries. Holds at most one incomplete frame."""

    __slots__ = ("_broken", "_buffer", "_known", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = _PRELUDE.size
        self._known: dict[bytes, dict[str, HeaderValue]] = {}
        self._broken: str | None = None

    @property
    def pending(self) -> int:
        """Bytes held of a frame that has not ended."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[Frame]:
        """Raises UpstreamBroken for a frame that is not well-formed, now and at every later call."""
        if self._broken is not None:
            raise UpstreamBroken(self._broken)
        buffer = self._buffer
        if buffer:
            buffer += chunk
            if len(buffer) < self._needed:
                return []
            chunk = bytes(buffer)
            buffer.clear()
        try:
            return self._cut(chunk)
        except _Malformed as error:
            self._broken = f"The provider's event stream is broken: {error}."
            raise UpstreamBroken(self._broken) from None

    def _cut(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        view = memoryview(data)
        start, end = 0, len(data)
        needed = _PRELUDE.size
        while end - start >= _PRELUDE.size:
            total, headers, checksum = _PRELUDE.unpack_from(data, start)
            if crc32(view[start : start + 8]) != checksum:
                raise _Malformed("the checksum of a frame's lengths is wrong")
            if headers > MOST_HEADERS or total < LEAST + headers or total - LEAST - headers > MOST_PAYLOAD:
                raise _Malformed(f"a frame of {total} bytes with {headers} bytes of headers")
            needed = total
            stop = start + total
            if stop > end:
                break
            if crc32(view[start : stop - 4]) != _CRC.unpack_from(data, stop - 4)[0]:
                raise _Malformed("the checksum of a frame is wrong")
            body = start + _PRELUDE.size + headers
            frames.append(Frame(self._headers(data[start + _PRELUDE.size : body]), data[body : stop - 4]))
            start = stop
            needed = _PRELUDE.size
        self._needed = needed
        if start < end:
            self._buffer += view[start:]
        return frames

    def _headers(self, block: bytes) -> dict[str, HeaderValue]:
        found = self._known.get(block)
        if found is None:
            found = read_headers(block)
            if len(self._known) < _KEPT and len(block) < 1024:
                self._known[block] = found
        return found


class _Malformed(ValueError):
    pass


def read_headers(block: bytes) -> dict[str, HeaderValue]:
    """The headers of a frame. Raises ValueError for a block that is not well-formed."""
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            length = block[at]
            name = block[at + 1 : at + 1 + length].decode()
            at += 1 + length
            kind = block[at]
            value, at = _read_value(kind, block, at + 1)
            if at > len(block) or not name:
                raise _Malformed("a header is cut off")
            if name in headers:
                raise _Malformed("a header comes twice")
            headers[name] = value
    except (IndexError, struct.error):
        raise _Malformed("a header is cut off") from None
    except UnicodeDecodeError:
        raise _Malformed("a header is not UTF-8") from None
    return headers


def _read_value(kind: int, block: bytes, at: int) -> tuple[HeaderValue, int]:
    match kind:
        case 7:
            end = at + 2 + _SIZE.unpack_from(block, at)[0]
            return block[at + 2 : end].decode(), end
        case 0 | 1:
            return kind == 0, at
        case 2:
            return _BYTE.unpack_from(block, at)[0], at + 1
        case 3:
            return _SHORT.unpack_from(block, at)[0], at + 2
        case 4:
            return _INT.unpack_from(block, at)[0], at + 4
        case 5:
            return _LONG.unpack_from(block, at)[0], at + 8
        case 6:
            end = at + 2 + _SIZE.unpack_from(block, at)[0]
            return block[at + 2 : end], end
        case 8:
            return Timestamp(_LONG.unpack_from(block, at)[0]), at + 8
        case 9 if at + 16 <= len(block):
            return UUID(bytes=block[at : at + 16]), at + 16
        case 9:
            raise _Malformed("a header is cut off")
    raise _Malformed(f"a header of type {kind}, which does not exist")


def write_frame(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """One frame. A number is written as the smallest type that holds it. Raises ValueError over the format's limits."""
    block = b"".join(_write_header(name, value) for name, value in headers.items())
    if len(block) > MOST_HEADERS or len(payload) > MOST_PAYLOAD:
        raise ValueError("headers or payload over the limit of the format")
    lengths = _LENGTHS.pack(LEAST + len(block) + len(payload), len(block))
    frame = b"%b%b%b%b" % (lengths, _CRC.pack(crc32(lengths)), block, payload)
    return frame + _CRC.pack(crc32(frame))


def write_event(kind: str, payload: bytes) -> bytes:
    """An event with a JSON payload, its headers in the order Bedrock has them."""
    return write_frame({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def write_exception(kind: str, payload: bytes) -> bytes:
    """A modelled exception, which ends the stream; `payload` is JSON with a `message`."""
    return write_frame(
        {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, payload
    )


def _write_header(name: str, value: HeaderValue) -> bytes:
    raw = name.encode()
    if not 1 <= len(raw) <= 255:
        raise ValueError("a header's name has 1 to 255 bytes")
    return bytes((len(raw),)) + raw + _write_value(value)


def _write_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case int():
            for kind, layout in ((b"\x02", _BYTE), (b"\x03", _SHORT), (b"\x04", _INT), (b"\x05", _LONG)):
                bits = layout.size * 8 - 1
                if -(1 << bits) <= value < 1 << bits:
                    return kind + layout.pack(value)
            raise ValueError("a number over 64 bits")
        case Timestamp(milliseconds):
            return b"\x08" + _LONG.pack(milliseconds)
        case UUID():
            return b"\x09" + value.bytes
        case str():
            return b"\x07" + _sized(value.encode())
        case _:
            return b"\x06" + _sized(value)


def _sized(raw: bytes) -> bytes:
    if len(raw) > 0x7FFF:
        raise ValueError("a header's value has at most 32,767 bytes")
    return _SIZE.pack(len(raw)) + raw
