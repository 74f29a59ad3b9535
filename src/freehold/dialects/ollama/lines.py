"""Newline-delimited JSON (`application/x-ndjson`), sans-IO: what Ollama streams instead of server-sent events.

One JSON object a line, a line ends with LF or CRLF, blank lines mean nothing (https://github.com/ndjson/ndjson-spec).
JSON never holds a bare line feed, so cutting on that byte is safe inside any UTF-8 sequence. A line that waits for its
end is kept as a list of pieces, so the cost stays linear however the stream was cut. A line over `MAX_LINE` bytes is an
upstream that lies or leaks: `UpstreamBroken`.
"""

from freehold.errors import UpstreamBroken

MAX_LINE = 16 * 1024 * 1024
"""Bytes one line may have. Large enough for a base64 image in an answer."""


class LineSplitter:
    """Cuts a stream into lines, terminators included; joined again they are the input, byte for byte."""

    __slots__ = ("_limit", "_pieces", "_size")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that became whole. Raises UpstreamBroken once a line grows over the limit."""
        end = chunk.find(b"\n")
        if end < 0:
            if chunk:
                self._hold(chunk)
            return []
        if self._pieces:
            self._hold(chunk[: end + 1])
            head = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            return [head, *self._cut(chunk[end + 1 :])] if end + 1 < len(chunk) else [head]
        if end + 1 == len(chunk) <= self._limit:
            return [chunk]
        return self._cut(chunk)

    def _cut(self, chunk: bytes) -> list[bytes]:
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if rest:
            self._hold(rest)
        for line in lines:
            if len(line) >= self._limit:
                raise _too_large(self._limit)
        return [line + b"\n" for line in lines]

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            raise _too_large(self._limit)

    def close(self) -> bytes:
        """The bytes of a line whose end never came; empty at a clean end."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return rest


def _too_large(limit: int) -> UpstreamBroken:
    return UpstreamBroken(f"The provider sent a stream line of more than {limit:,} bytes.")
