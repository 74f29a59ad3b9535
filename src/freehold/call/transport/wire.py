"""One HTTP/1.1 connection to an upstream.

Life of a connection: connect -> send(flight) -> data_received... -> release, or closed. One exchange at a time; a
response that is not read to its end closes the connection, because the rest of it would be taken for the next one.

Bounds: a response head over 64 KiB is refused by us, a body piece goes to the reader as it comes, and reading from
the socket pauses while more than `HIGH_WATER` bytes lie unread.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import httptools

from freehold.call.transport.flight import Flight
from freehold.errors import UpstreamBroken, UpstreamCut

if TYPE_CHECKING:
    from freehold.call.transport.pool import Pool

HIGH_WATER = 256 * 1024
MAX_HEAD = 64 * 1024
MAX_HEADERS = 200
_COLON = ord(":")
"""Begins a comment of an event stream. A web server may send those while the engine behind it hangs."""


class Connection(asyncio.Protocol):
    """A keep-alive connection; also the callback target of its own httptools parser."""

    __slots__ = (
        "_buffered",
        "_chunks",
        "_flight",
        "_head_bytes",
        "_headers",
        "_loop",
        "_parser",
        "_paused",
        "_pool",
        "_surplus",
        "_transport",
        "_wanted",
        "broken",
        "closed",
        "complete",
        "headers",
        "heard",
        "idle_since",
        "keep_alive",
        "status",
        "used",
    )

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._flight: Flight | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._surplus = False
        self._wanted = 0
        """0: nobody waits. 1: for the head. 2: for any body bytes. 3: for the end."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        """As they came; valid once the head has come."""
        self.complete = False
        self.heard = False
        """Content of the answer has come; comments that keep a stream open are none."""
        self.keep_alive = False
        self.closed = False
        self.broken: str | None = None
        self.used = 0
        """Exchanges sent on this connection so far."""
        self.idle_since = 0.0

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other end; empty and 0 where it has none."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else ("", 0)

    # The exchange, as its task sees it

    def send(self, flight: Flight, data: bytes) -> None:
        """Starts an exchange: `data` is the whole request, head and body."""
        self._flight = flight
        flight.connection = self
        if self._parser is None:  # one serves all exchanges: it looks up ten callbacks when it is made
            self._parser = httptools.HttpResponseParser(self)
        self._chunks.clear()
        self._buffered = 0
        self._headers = []
        self._head_bytes = 0
        self.headers = []
        self.status = 0
        self.complete = False
        self.heard = False
        self.keep_alive = False
        self._surplus = False
        self.broken = None
        self.used += 1
        if self._transport is not None:
            self._transport.write(data)

    async def head(self) -> int:
        """Waits for status and headers. Raises UpstreamBroken when the connection ends first."""
        if not self.headers and not self.complete:
            await self._wait(1)
        return self.status

    async def read(self, limit: int) -> bytes:
        """Returns the rest of the body. Raises UpstreamBroken when it is cut short or over `limit` bytes."""
        while not self.complete:
            self._check()
            if self._buffered > limit:
                self.close()
                raise UpstreamBroken(f"the provider's answer is over {limit} bytes")
            if self._paused:
                self._resume()
            await self._wait(2 if self._buffered > HIGH_WATER // 2 else 3)
        if self._buffered > limit:
            raise UpstreamBroken(f"the provider's answer is over {limit} bytes")
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunk(self) -> bytes:
        """Returns what has come since the last call, at least one byte; b"" at the proper end of the body.

        Raises UpstreamBroken when the connection ends before the body does.
        """
        chunks = self._chunks
        while not chunks:
            if self.complete:
                return b""
            self._check()
            if self._paused:
                self._resume()
            await self._wait(2)
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        return data

    def fields(self) -> dict[bytes, bytes]:
        """The response headers by lower-case name."""
        return {name.lower(): value for name, value in self.headers}

    def finish(self) -> None:
        """Gives the connection back to its pool, or closes it when it cannot serve another exchange.

        Once per exchange: given back twice, it would serve two flights at a time and cross their answers.
        """
        flight = self._flight
        if flight is None:
            return
        flight.connection = None
        self._flight = None
        self._wanted = 0
        if self.complete and self.keep_alive and not self.closed and not self._paused:
            self._pool.release(self)
        else:
            self.close()

    def pass_on(self, flight: Flight) -> None:
        """The exchange belongs to another flight from now on. Nobody may be waiting for it."""
        if self._flight is not None:
            self._flight.connection = None
            self._flight = flight
            flight.connection = self

    def cut(self, reason: str) -> None:
        """Ends the exchange from our side: its task gets UpstreamBroken with `reason`."""
        if not self.complete:
            self.broken = self.broken or reason
            self.close()
            self._wake()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._pool.forget(self)
            if self._transport is not None:
                self._transport.abort()

    def _check(self) -> None:
        if self.broken is None and not self.closed:
            return
        flight = self._flight
        if flight is not None and flight.failure is not None:
            raise flight.failure  # it was we who closed it
        raise UpstreamCut(self.broken or "the connection to the provider was closed before its answer ended")

    async def _wait(self, wanted: int) -> None:
        flight = self._flight
        if flight is None:
            raise UpstreamBroken("the exchange is over")
        if flight.failure is not None:
            raise flight.failure
        self._check()
        self._wanted = wanted
        waiter: asyncio.Future[None] = self._loop.create_future()
        flight.waiter = waiter
        try:
            await waiter
        finally:
            flight.waiter = None
            self._wanted = 0
        if wanted == 1 and not self.headers and not self.complete:
            self._check()

    def _wake(self) -> None:
        flight = self._flight
        if flight is not None:
            waiter = flight.waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._flight is None or self.complete:
            # Bytes nobody asked for: a late or doubled answer. It must never be read as the next one's.
            self.close()
            return
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.complete:
                self.broken = f"the provider sent broken HTTP: {str(error)[:200]}"
            self.close()
            self._wake()
            return
        if not self.headers:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.broken = "the provider's response head is over 64 KiB"
                self.close()
                self._wake()
            return
        wanted = self._wanted
        if wanted and (self.complete or wanted == 1 or (wanted == 2 and self._chunks)):
            self._wake()
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None and not self.closed:
            self._paused = True
            self._transport.pause_reading()
            if wanted == 3:
                self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._flight is not None and not self.complete and self.headers and self.broken is None and exc is None:
            # A body without length ends with the connection (RFC 9112, section 6.3); a shortened one does not.
            self.complete = self._until_close()
        if not self.closed:
            self.closed = True
            self._pool.forget(self)
        self._transport = None
        if not self.complete and self.broken is None:
            self.broken = (
                "the provider cut the connection in the middle of its answer"
                if self.headers
                else "the provider closed the connection without an answer"
            )
        if self._wanted:
            self._wake()

    def _until_close(self) -> bool:
        return not any(
            name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower())
            for name, value in self.fields().items()
        )

    # httptools callbacks. A second message in the same bytes is surplus: it is skipped, and the connection not reused.

    def on_message_begin(self) -> None:
        if self.complete:
            self._surplus = True
            self.keep_alive = False
            self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        if len(self._headers) > MAX_HEADERS:
            raise ValueError(f"more than {MAX_HEADERS} header lines")
        status = self._parser.get_status_code() if self._parser else 0
        if 100 <= status < 200:
            self._headers = []
            return
        self.status = status
        self.headers = self._headers or [(b"", b"")]

    def on_body(self, body: bytes) -> None:
        if self._surplus:
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if body[0] != _COLON:
            self._pool.received += len(body)
            self.heard = True

    def on_message_complete(self) -> None:
        if self.status >= 200 and self._parser is not None and not self._surplus:
            self.keep_alive = self._parser.should_keep_alive()
            self.complete = True


def request_head(method: str, host: str, path: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Returns a request head up to and without `Content-Length` and the blank line.

    Built once per deployment; a call adds its own length, id and body. Values are checked here, because a line
    break in one would be a second header.
    """
    lines = [
        f"{method} {path} HTTP/1.1".encode("ascii"),
        b"Host: " + host.encode("idna" if not host.isascii() else "ascii"),
    ]
    for name, value in headers:
        lines.append(name + b": " + value)
    for line in lines:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise ValueError("a header may not hold line breaks")
    return b"\r\n".join(lines) + b"\r\n"
