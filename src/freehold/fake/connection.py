"""One client connection: httptools parses, the engine answers, this drives the steps out.

Requests on a connection are answered in order, also when they arrive pipelined. While a response is being sent the
socket is still read, so that a client's FIN or RST is noticed when it happens; too many waiting requests stop the
reading. A response that is one piece of bytes is written at once, without a task or a timer.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, cast

import httptools

from freehold.fake.answer import ID, id_of
from freehold.fake.ask import Request
from freehold.fake.engine import Prepared
from freehold.fake.served import Row
from freehold.fake.wire import End, Step, head

if TYPE_CHECKING:
    from freehold.fake.provider import FakeProvider

BODY_LIMIT = 256 << 20
"""Bytes of a request body; more is refused with 413."""
WAITING = 64
"""Pipelined requests held before reading stops."""
_ID = ID.encode()


class Connection(asyncio.Protocol):
    """The server side of one connection."""

    def __init__(self, provider: "FakeProvider") -> None:
        self._provider = provider
        self._engine = provider.engine
        self._served = provider.served
        self._loop = provider.loop
        self._transport: asyncio.Transport
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.__setitem__  # called for each header: no Python frame
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._began = 0.0
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None
        self._row: Row | None = None
        self._prepared: Prepared | None = None
        self._steps: Iterator[Step] | None = None
        self._sent = 0
        self._id = b""
        self._handle: asyncio.Handle | None = None
        self._paused = False
        self._held = False
        self._gone = False

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._provider.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)  # h2c and the like are not taken up
        except httptools.HttpParserCallbackError:
            self._abort()
            raise
        except httptools.HttpParserError as error:
            self._refuse(400, str(error))

    def eof_received(self) -> bool:
        if self._held:
            return True
        self._left("client_fin")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._left("client_rst" if exc is not None else "client_fin")
        self._provider.connections.discard(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._steps is not None and self._handle is None:
            self._advance()

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._url = self._body = b""
        self._fields.clear()
        self._began = monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        self._headers = headers = {name.lower(): value for name, value in self._fields.items()}
        if b"expect" in headers and self._row is None:
            self._transport.write(head(100, []))

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self._body = body
            return
        self._pieces.append(body)
        self._size += len(body)
        if self._size > BODY_LIMIT:
            self._refuse(413, "the body is too large")

    def on_message_complete(self) -> None:
        if self._gone:
            return
        body = self._body
        if self._pieces:
            body = b"".join((body, *self._pieces))
            self._pieces, self._size = [], 0
        parser = self._parser
        keep_alive = parser.should_keep_alive()
        http10 = (not keep_alive or b"connection" in self._headers) and parser.get_http_version() == "1.0"
        request = Request(
            parser.get_method(), self._url, self._headers, body, self._began, keep_alive and not http10, http10
        )
        if self._row is None and not self._waiting:
            self._begin(request)
            return
        self._waiting.append(request)
        if len(self._waiting) >= WAITING:
            self._transport.pause_reading()

    # Answering.

    def _begin(self, request: Request) -> None:
        if request.url.startswith(b"/__fake__"):
            self._transport.write(self._provider.control(request))
            if not request.keep_alive:
                self._close()
            return
        prepared = self._engine.respond(request)
        served, route, whole = self._served, prepared.route, prepared.whole
        client_id = request.headers.get(b"x-client-request-id")
        seq = served.totals.requests + 1
        row = Row(
            seq,
            (request.started - served.began) * 1e3,
            route.dialect,
            route.path,
            prepared.model,
            client_id.decode("latin-1") if client_id is not None else None,
            prepared.status,
            prepared.stream,
            prepared.input_tokens,
            prepared.output_tokens,
            len(request.body),
            prepared.fault,
            prepared.rule,
        )
        served.accept(row, request)
        if whole is not None:
            row.bytes_out = len(whole)
            self._transport.write(whole.replace(_ID, id_of(seq)))
            if not self._paused:
                served.end(row, "complete")
                if not request.keep_alive:
                    self._close()
                return
            self._sent, self._steps = 1, iter(())
        else:
            self._sent, self._steps, self._id = 0, iter(prepared.steps), id_of(seq)
        self._request, self._prepared, self._row = request, prepared, row
        wait = self._engine.wait(prepared)
        if wait:
            self._handle = self._loop.call_later(wait, self._advance)
        else:
            self._advance()

    def _advance(self) -> None:
        """Sends the next step; each write is a loop turn of its own."""
        self._handle = None
        if self._paused or self._steps is None or self._row is None:
            return
        step = next(self._steps, None)
        if step is None:
            self._finish()
        elif type(step) is bytes:
            data = step.replace(_ID, self._id)
            self._row.bytes_out += len(data)
            self._sent += 1
            self._transport.write(data)
            self._handle = self._loop.call_soon(self._advance)
        elif type(step) is float:
            self._handle = self._loop.call_later(step, self._advance)
        elif isinstance(step, End):
            self._break(step)

    def _finish(self) -> None:
        """The response is sent: the next request's turn, or the end of the connection."""
        row, request = self._row, self._request
        assert row is not None
        assert request is not None
        self._row = self._steps = self._request = None
        self._served.end(row, "complete")
        if not request.keep_alive:
            self._close()
            return
        while self._waiting and self._row is None and not self._gone:
            if len(self._waiting) == WAITING:
                self._transport.resume_reading()
            self._begin(self._waiting.popleft())

    def _break(self, how: End) -> None:
        prepared = self._prepared
        assert prepared is not None
        if how is End.STALL or how is End.HOLD:
            if how is End.HOLD:
                self._held = True
                self._transport.pause_reading()
            self._handle = self._loop.call_later(prepared.stall, self._break, End.RESET)
            return
        if how is End.HALF_CLOSE:
            self._transport.write_eof()
            self._handle = self._loop.call_soon(self._advance)
            return
        if prepared.fault == "close_after_reply":
            assert self._row is not None
            self._served.end(self._row, "complete")
        self._cut()
        if how is End.RESET:
            self._abort()
        else:
            self._close()

    def _cut(self) -> None:
        if self._row is not None:
            self._served.end(self._row, "cut", self._share())
            self._row = self._steps = None

    def _share(self) -> float:
        """How much of the content was sent, from 0 to 1."""
        prepared = self._prepared
        assert prepared is not None
        span = prepared.last - prepared.first
        return min(1.0, max(0.0, (self._sent - prepared.first) / span)) if span > 0 else 0.0

    def _left(self, how: str) -> None:
        """The client is gone: note it if it was still waiting, and stop sending."""
        if self._gone:
            return
        self._gone = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        row, request = self._row, self._request
        if row is not None and request is not None:
            after = (monotonic() - request.started) * 1e3
            self._served.end(row, "client_rst" if how == "client_rst" else "client_fin", self._share(), after)
        self._row = self._steps = None
        self._waiting.clear()

    def _refuse(self, status: int, message: str) -> None:
        """Answers what is no HTTP, unless another answer is on its way, and closes."""
        if self._gone:
            return
        if self._row is not None:
            self._cut()
            self._close()
            return
        body = b'{"error":{"message":"%b","type":"invalid_request_error"}}' % message.encode(
            "ascii", "replace"
        ).replace(b'"', b"'")
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        self._transport.write(head(status, fields) + body)
        self._close()

    def _close(self) -> None:
        self._gone = True
        self._transport.close()

    def _abort(self) -> None:
        """RST: a socket closed with a linger of zero (socket(7))."""
        self._gone = True
        if self._handle is not None:
            self._handle.cancel()
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def end(self) -> None:
        """Ends the connection when the provider stops."""
        if self._row is not None:
            self._cut()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._gone = True
        self._transport.abort()
