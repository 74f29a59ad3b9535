"""A response as steps: bytes to write, seconds to wait, or an end other than a finished response.

A `Draft` is a response about to be sent. `steps` frames it as a well-behaved server does; each function of faults/
frames it as a broken one does. Every bytes step is written by itself, one loop turn after the last, so that it
normally becomes a TCP segment of its own.
"""

from collections.abc import Iterable
from enum import Enum
from http import HTTPStatus

from msgspec import Struct

from freehold.fake.answer import Answer
from freehold.fake.ask import Ask
from freehold.fake.script import Reply
from freehold.fake.speak import Speaker


class End(Enum):
    """How a response ends that is not simply finished; each but HOLD stands after whatever was written before."""

    CLOSE = "close"
    """FIN, nothing more is read."""
    RESET = "reset"
    """RST."""
    HALF_CLOSE = "half_close"
    """FIN for our direction; the client may still send."""
    HOLD = "hold"
    """Nothing is read or sent any more, and the client's leaving is not noticed, as if the host had died."""
    STALL = "stall"
    """Nothing is sent any more, but the client's leaving is noticed."""


Step = bytes | float | End
Steps = Iterable[Step]
Headers = list[tuple[bytes, bytes]]


class Draft(Struct):
    """A response about to be framed. `parts` are stream events, or the one body; `parts[first:last]` carry content."""

    ask: Ask
    reply: Reply
    answer: Answer
    speaker: Speaker
    status: int
    headers: Headers
    parts: list[bytes]
    streamed: bool
    first: int = 0
    last: int = 1
    cap: int = 10_000

    @property
    def gap(self) -> float:
        """Seconds between two events."""
        return (self.reply.event_ms or 0.0) / 1e3

    @property
    def middle(self) -> int:
        """Index of the part in the middle of the content."""
        return (self.first + self.last) // 2 if self.streamed else 0

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def compose(self) -> None:
        """Writes `parts` anew from a changed answer."""
        if self.streamed:
            made = self.speaker.stream(self.ask, self.answer)
            self.parts, self.first, self.last = made.parts, made.first, made.last
        else:
            self.parts, self.first, self.last = [self.speaker.whole(self.ask, self.answer)], 0, 1


_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


def head(status: int, headers: Headers) -> bytes:
    """Returns status line and headers with their empty line."""
    line = _LINES.get(status) or b"HTTP/1.1 %d Overloaded\r\n" % status
    return line + b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"\r\n"


def chunk(data: bytes) -> bytes:
    """Returns one HTTP chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def length_head(draft: Draft, length: int | None = None) -> bytes:
    size = len(draft.body) if length is None else length
    return head(draft.status, [*draft.headers, (b"content-length", b"%d" % size)])


def chunked_head(draft: Draft) -> bytes:
    if draft.ask.request.http10:
        return head(draft.status, [*draft.headers, (b"connection", b"close")])
    return head(draft.status, [*draft.headers, (b"transfer-encoding", b"chunked")])


def chunks(draft: Draft, parts: Iterable[bytes]) -> list[bytes]:
    """Frames body parts for the transfer encoding in force."""
    return list(parts) if draft.ask.request.http10 else [chunk(part) for part in parts]


def spaced(pieces: list[bytes], gap: float) -> list[Step]:
    """Puts a wait between every two pieces."""
    if not gap:
        return list(pieces)
    made: list[Step] = []
    for piece in pieces:
        made += [piece, gap]
    return made[:-1]


def steps(draft: Draft) -> list[Step]:
    """Frames a response as it should be, with the script's pauses inside it."""
    if not draft.streamed:
        return [length_head(draft) + draft.body]
    pieces = chunks(draft, draft.parts)
    if not draft.ask.request.http10:
        pieces[-1] += LAST_CHUNK
    if draft.reply.burst:
        return [chunked_head(draft) + b"".join(pieces)]
    wait = (draft.reply.first_token_ms or 0.0) / 1e3
    return [chunked_head(draft), *([wait] if wait else []), *spaced(pieces, draft.gap)]
