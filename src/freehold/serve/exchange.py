"""One request, kept as it came, and the answer to it. What we understand of it stands beside it, never in its place.

An answer goes out in one of two ways: `answer` (head and body in one write), or `begin`, `write` ..., `end` for a
stream. Headers are ready-made lines (`line`), because most of them are the same for thousands of requests.
"""

import asyncio
import itertools
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from freehold.call.transport import Flight
from freehold.errors import BadRequest, ClientGone, FreeholdError, TooLarge

if TYPE_CHECKING:
    from freehold.serve.http import HttpConnection

READ_AHEAD = 64 * 1024
"""Bytes of a body that are taken in before anybody asked for it."""

QUIET = 15.0
"""Seconds of silence in a stream before it says that it lives: well below the 30 to 60 that proxies allow."""

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

_process = secrets.token_hex(6)
_numbers = itertools.count(1)


def new_request_id() -> str:
    """Unique over all time and hosts: random per process, counted within it."""
    return f"req_{_process}{next(_numbers):08x}"


def reseed() -> None:
    """A forked worker must not share its parent's ids."""
    global _process, _numbers
    _process = secrets.token_hex(6)
    _numbers = itertools.count(1)


def line(name: bytes, value: bytes) -> bytes:
    """A header line. Raises ValueError for a value that would be more than one."""
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise ValueError("a header value may not hold line breaks")
    return b"%b: %b\r\n" % (name, value)


class Exchange:
    """One request: headers by lower-case name (the last of several), body bytes, its id, when it came (loop time)."""

    # Class attributes are what most requests leave as it is: an exchange is made for each.
    method = ""
    path = ""
    query = b""
    version = ""
    headers: dict[bytes, bytes]
    given = b""
    """The body as it came."""
    body = b""
    """The body to be worked on."""
    started = 0.0
    keep_alive = True
    complete = False
    """The whole request has come in."""
    begun = False
    """The head of the answer is out."""
    answered = False
    disconnected = False
    broken: FreeholdError | None = None
    """Why the rest of the body will never come, where the client has not left."""
    flight: Flight | None = None
    """The call that is made for it right now."""
    task: asyncio.Task[None] | None = None
    heartbeat = b""
    """Whole events that may be written between others while there is nothing to say."""
    active = False
    """Something was written since the last `beat`."""
    _quiet = 0.0
    _size = 0
    _waiter: asyncio.Future[None] | None = None
    _chunked = False

    def __init__(self, connection: "HttpConnection") -> None:
        self._connection = connection
        self._chunks: list[bytes] = []
        self.request_id = new_request_id()

    # The request

    @property
    def content_type(self) -> str:
        return self.headers.get(b"content-type", b"").decode("latin-1")

    async def read(self, limit: int) -> bytes:
        """Reads the body. Raises TooLarge past `limit` bytes, as soon as that is known, and ClientGone."""
        if b"content-encoding" in self.headers and self.headers[b"content-encoding"].lower() != b"identity":
            raise BadRequest("compressed request bodies are not accepted", hint="send the JSON as it is", status=415)
        if not self.complete:
            await self._rest(limit)
        if self._size > limit:
            raise _too_large(limit)
        chunks = self._chunks
        self.given = self.body = body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return body

    async def _rest(self, limit: int) -> None:
        length = self.headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > limit):
            raise _too_large(limit)
        if self.headers.get(b"expect", b"").lower() == b"100-continue":
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.complete:
            if self.broken is not None:
                raise self.broken
            if self.disconnected:
                raise ClientGone("the client left while sending its request")
            if self._size > limit:
                raise _too_large(limit)
            await self._wait()

    def leave(self) -> None:
        """The client is gone: whoever works for it hears of it."""
        self.disconnected = True
        self.wake()
        if self.flight is not None:
            self.flight.abort(ClientGone("the client left before the answer was complete"))

    async def gone(self) -> None:
        """Returns when the client has left."""
        while not self.disconnected:
            await self._wait()

    async def _wait(self) -> None:
        """Until more of the request has come, or its client is gone."""
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
        if not self.complete:
            self._connection.resume_reading()
        await self._waiter

    def feed(self, data: bytes) -> bool:
        """Takes a piece of the body; False: no more for the time being, nobody is reading it."""
        if self.answered:
            return True
        self._chunks.append(data)
        self._size += len(data)
        if self._waiter is not None:
            self.wake()
            return True
        return self._size <= READ_AHEAD

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The answer

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """The whole answer: status, header lines without Content-Length, body."""
        self.begun = self.answered = True
        end = b"" if self.keep_alive else b"connection: close\r\n"
        shown = body if self.method != "HEAD" else b""
        self._connection.send(b"%b%bcontent-length: %d\r\n%b\r\n%b" % (_STATUS[status], lines, len(body), end, shown))
        self._connection.answered(self)

    def begin(self, status: int, lines: bytes) -> None:
        """Begins a stream; the head leaves with its first bytes."""
        self.begun = True
        self._chunked = self.version != "1.0"
        if self._chunked:
            lines += b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self._connection.hold(_STATUS[status] + lines + end)

    def beat(self, now: float) -> None:
        """Says something harmless where a stream has been silent for `QUIET` seconds. Called now and then."""
        if self.active:
            self.active = False
            self._quiet = now
        elif self.heartbeat and now - self._quiet >= QUIET and not self.answered and not self.blocked:
            self.write(self.heartbeat)

    def write(self, data: bytes) -> None:
        """A piece of the stream. Whoever writes much looks at `blocked` first."""
        if data and not self.answered:
            self.active = True
            self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, data: bytes = b"") -> None:
        """The last piece of the stream, if any, and its end."""
        if self.answered:
            return
        self.answered = True
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._connection.send(data)
        self._connection.answered(self)

    def abort(self) -> None:
        """Cuts the connection: what has been sent cannot be completed, and must not look whole."""
        self._connection.abort()

    @property
    def blocked(self) -> bool:
        """Whether the client reads more slowly than we write: then `drain`."""
        return self._connection.drained is not None

    async def drain(self) -> None:
        """Waits until the client has taken in what was written, or has left."""
        drained = self._connection.drained
        if drained is not None:
            await drained


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over the limit of {limit} bytes", hint="server.max_body_mb sets it")
