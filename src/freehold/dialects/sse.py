"""Server-sent events, sans-IO: bytes in, events out; data in, bytes out.

The format is the WHATWG one (https://html.spec.whatwg.org/multipage/server-sent-events.html): an event is a run of
lines closed by a blank line, a line ends with LF, CRLF or CR, `data:` lines are joined with LF, a line that starts with
a colon is a comment, one space after the colon is dropped, a byte order mark may open the stream. Providers use all of
it, so there are two layers:

    SseSplitter   chunks -> whole raw events, terminators included; joined again they are the input, byte for byte
    SseParser     chunks -> (event name, data)

Framing happens on bytes, before any decoding, so a chunk may end anywhere, inside a UTF-8 sequence too. An event that
waits for its end is kept as a list of pieces and only the seam is searched again, so the cost stays linear however the
stream was cut. An event over `MAX_EVENT` bytes is an upstream that lies or leaks: `UpstreamBroken`.

Almost every event of a real stream is `data: {...}\\n\\n` (Google's: `\\r\\n\\r\\n`) and arrives in a chunk of its own;
that path is a few byte searches and no regular expression.

`bytes.find` stands where `in` would read better: on bytes, `in` first tries the needle as a number and throws the
formatted TypeError away, some 4,000 instructions each time (CPython 3.11, `_Py_bytes_contains`).
"""

import re

from freehold.errors import UpstreamBroken

MAX_EVENT = 16 * 1024 * 1024
"""Bytes one event may have. Large enough for a base64 image in one delta."""

DONE = b"[DONE]"
"""The data that ends a stream of the OpenAI dialects."""

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseSplitter:
    """Cuts a stream into raw events. `feed` returns those that became whole, `close` the unfinished rest."""

    __slots__ = ("_limit", "_pieces", "_size", "_tail")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._tail = b""

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished event are held."""
        return bool(self._pieces)

    def sole(self, chunk: bytes) -> bytes | None:
        """The data of a chunk that is one plain `data: ...` event, with nothing held: the common case. Else None."""
        end = len(chunk) - 2
        if self._pieces or chunk[:6] != b"data: " or end >= self._limit:
            return None
        first = chunk.find(b"\n")  # one line, closed by one blank line
        if first == end and chunk[end + 1 :] == b"\n" and chunk.find(b"\r") < 0:
            return chunk[6:end]
        if first == end - 1 and chunk[-4:] == b"\r\n\r\n" and chunk.find(b"\r") == end - 2:
            return chunk[6:-4]
        return None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises UpstreamBroken once an event grows over the limit."""
        if not chunk:
            return []
        if not self._pieces and chunk.endswith(b"\n\n") and len(chunk) <= self._limit and chunk.find(b"\r") < 0:
            if chunk.find(b"\n\n") == len(chunk) - 2:
                return [chunk]
            *parts, rest = chunk.split(b"\n\n")
            if rest:  # a third line feed
                self._hold(rest)
            return [part + b"\n\n" for part in parts]
        if not self._pieces and chunk.endswith(b"\r\n\r\n") and len(chunk) <= self._limit:
            count = chunk.count(b"\r\n\r\n")
            if chunk.count(b"\r") == 2 * count == chunk.count(b"\n"):  # each line an event
                return [chunk] if count == 1 else [part + b"\r\n\r\n" for part in chunk.split(b"\r\n\r\n")[:-1]]
        return self._feed_slow(chunk)

    def _feed_slow(self, chunk: bytes) -> list[bytes]:
        seam = self._tail + chunk
        if b"\n\n" not in seam and (b"\r" not in seam or not _BLANK_LINE.search(seam)):
            self._hold(chunk)
            return []
        if self._pieces:
            self._pieces.append(chunk)
            chunk = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        events = []
        start = 0
        for match in _BLANK_LINE.finditer(chunk):
            end = match.end()
            if end == len(chunk) and chunk.endswith(b"\r"):
                break  # perhaps half of a CRLF
            if end - start > self._limit:
                raise _too_large(self._limit)
            events.append(chunk[start:end])
            start = end
        self._tail = b""
        if start < len(chunk):
            self._hold(chunk[start:])
        return events

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        self._tail = (self._tail + piece[-2:])[-2:]
        if self._size > self._limit:
            raise _too_large(self._limit)

    def close(self) -> bytes:
        """The bytes of an event whose blank line never came; empty at a clean end."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._tail = b""
        return rest


class SseParser:
    """Reads events as `(name, data)`; the name is empty where the stream gives none.

    Comments and events without a data line are skipped, as the standard says. `close` returns a final event that only
    lacks its blank line, which some servers forget before they hang up.
    """

    __slots__ = ("_splitter",)

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._splitter = SseSplitter(limit)

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Raises UpstreamBroken once an event grows over the limit."""
        if (data := self._splitter.sole(chunk)) is not None:
            return [(b"", data)]
        events = []
        for raw in self._splitter.feed(chunk):
            if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and raw.find(b"\r") < 0:
                events.append((b"", raw[6:-2]))
            elif raw.startswith(b"data: ") and raw.endswith(b"\r\n\r\n") and _plain(raw):
                events.append((b"", raw[6:-4]))
            elif (event := parse_event(raw)) is not None:
                events.append(event)
        return events

    def close(self) -> list[tuple[bytes, bytes]]:
        event = parse_event(self._splitter.close())
        return [] if event is None else [event]


def _plain(raw: bytes) -> bool:
    """Whether `raw`, which ends with CRLF CRLF, has no other line end."""
    return raw.find(b"\r") == len(raw) - 4 and raw.find(b"\n") == len(raw) - 3


def parse_event(raw: bytes) -> tuple[bytes, bytes] | None:
    """Reads one raw event as `(name, data)`; None when it holds no data line."""
    name = b""
    data: list[bytes] = []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        if not line or line[0] == 0x3A:
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
        elif field == b"event":
            name = value[1:] if value[:1] == b" " else value
    return (name, b"\n".join(data)) if data else None


def sse(data: bytes, event: bytes = b"") -> bytes:
    """Renders one event. `data` may hold line feeds: each line becomes a data line."""
    if data.find(b"\n") >= 0:
        data = data.replace(b"\n", b"\ndata: ")
    if event:
        return b"event: " + event + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


def _too_large(limit: int) -> UpstreamBroken:
    return UpstreamBroken(f"The provider sent a stream event of more than {limit:,} bytes.")
