"""The HTTP/1.1 server of a worker: bytes to exchanges, with limits on what a stranger sends. design/0006 says why ours.

One `HttpConnection` per client connection, parsed by httptools (llhttp). An exchange is handed to the application as
soon as its head is complete, so that a bad key is refused before a body is taken in. Requests that a client sends
without waiting for the answer (pipelining) wait in a queue.

Nothing here uses a timer per request: `sweep` looks at all connections now and then and ends those that send a head for
longer than `HEAD_SECONDS` (a slow drip of bytes that would hold a connection for nothing), a body for longer than
`BODY_SECONDS`, or have been idle for `IDLE_SECONDS`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any
from urllib.parse import unquote

import httptools

from freehold.dialects import chat
from freehold.errors import BadRequest, FreeholdError, TooLarge
from freehold.labels.rules import HEADER as LABEL
from freehold.serve.exchange import Exchange

MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_LINES = 100
MAX_PIPELINED = 32
HEAD_SECONDS = 20.0
BODY_SECONDS = 300.0
IDLE_SECONDS = 75.0
LINGER_SECONDS = 2.0
"""How long a client may go on sending a body that nobody wants, on a connection that ends with the answer."""

Application = Callable[[Exchange], Coroutine[Any, Any, None]]


class HttpConnection(asyncio.Protocol):
    """A client's connection. `connections` is the set of all, kept by whoever made it."""

    def __init__(
        self, application: Application, loop: asyncio.AbstractEventLoop, connections: "set[HttpConnection]"
    ) -> None:
        self._application = application
        self._loop = loop
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._receiving: Exchange | None = None
        """The request whose bytes are coming in; None between requests."""
        self._in_head = False
        self._reading = True
        self._parsing = True
        """False once the client has sent what is no HTTP, or more than it may: what comes after is not read."""
        self._queue: deque[Exchange] = deque()
        self.current: Exchange | None = None
        """The request that is being answered."""
        self.drained: asyncio.Future[None] | None = None
        self.closing = False
        self.late = loop.time() + HEAD_SECONDS
        """Loop time after which `sweep` ends the connection, unless it is waiting for us."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if not self._parsing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stop_parsing()  # an upgrade is not offered: the request is answered as it is, and nothing after it
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            if isinstance(cause, FreeholdError):
                self._refuse(cause)
            else:
                self._refuse(BadRequest("this is not a valid HTTP/1.1 request", hint=str(error)[:200] or None))
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_long_head())

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        self._parsing = False
        self._queue.clear()
        exchange = self.current
        if exchange is not None:
            exchange.leave()
        self.resume_writing()

    def pause_writing(self) -> None:
        if self.drained is None:
            self.drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._fields = []
        self._head_bytes = 0
        self._in_head = True
        if self.current is None:
            self.late = self._loop.time() + HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        fields = self._fields
        if len(fields) > MAX_HEAD_LINES:
            raise _long_head()
        self._in_head = False
        self._receiving = exchange = Exchange(self)
        parser = self._parser
        exchange.method = parser.get_method().decode("ascii")
        exchange.version = version = parser.get_http_version()
        exchange.keep_alive = version != "1.0" and parser.should_keep_alive() and not self.closing
        exchange.headers = headers = dict(fields)
        if len(headers) != len(fields) and LABEL in headers:
            # Each may raise the label: one that a proxy has added is not replaced by the client's own.
            headers[LABEL] = b",".join(value for name, value in fields if name == LABEL)
        path, _, exchange.query = self._url.partition(b"?")
        exchange.path = path.decode("ascii") if path[:1] == b"/" and path.find(b"%") < 0 else _path(self._url)
        exchange.started = self._loop.time()
        if self.current is None:
            self._start(exchange)
        elif len(self._queue) < MAX_PIPELINED:
            self._queue.append(exchange)
            self.pause_reading()
        else:
            raise BadRequest(f"more than {MAX_PIPELINED} requests were sent without waiting for an answer", status=429)

    def on_body(self, body: bytes) -> None:
        if self._receiving is not None and not self._receiving.feed(body):
            self.pause_reading()

    def on_message_complete(self) -> None:
        exchange, self._receiving = self._receiving, None
        if exchange is None:
            return
        exchange.complete = True
        exchange.wake()
        if exchange.answered and exchange is self.current:
            self._next() if exchange.keep_alive and not self.closing else self._close()

    # For exchanges

    def hold(self, data: bytes) -> None:
        """Keeps a head back until the bytes that follow it, so that both leave in one packet."""
        self._held = data
        self._loop.call_soon(self._release)

    def _release(self) -> None:
        if self._held:
            self.send(b"")

    def send(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        if self._transport is not None:
            self._transport.write(data)

    def answered(self, exchange: Exchange) -> None:
        """The answer is out; the next request may be worked on once this one has come in whole.

        What still comes of it is taken in and dropped, even where the connection is to be closed: closed now, it would
        be reset, and a client in the middle of a large body would see that instead of the answer.
        """
        last = not exchange.keep_alive or self.closing
        if exchange.complete or not self._parsing:
            self._close() if last else self._next()
        else:
            self.late = self._loop.time() + (LINGER_SECONDS if last else BODY_SECONDS)
            self.resume_reading()

    def pause_reading(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    # For the server

    def shutdown(self) -> None:
        """No further request is taken; the one that is being answered goes on."""
        self.closing = True
        if self.current is None:
            self._close()
        elif not self.current.begun:
            self.current.keep_alive = False

    def expired(self, now: float) -> bool:
        """Whether the client has kept us waiting for too long."""
        exchange = self.current
        return now > self.late and (exchange is None or not exchange.complete)

    def give_up(self) -> None:
        """The client has kept us waiting for too long. An answer that is out already is not taken back by a reset."""
        if self.current is not None and self.current.answered:
            self._close()
        else:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _start(self, exchange: Exchange) -> None:
        self.current = exchange
        self.late = exchange.started + BODY_SECONDS
        exchange.task = self._loop.create_task(self._application(exchange))

    def _next(self) -> None:
        self.current = None
        if self._queue:
            self._start(self._queue.popleft())
            return
        self.late = self._loop.time() + IDLE_SECONDS
        self.resume_reading()

    def _refuse(self, error: FreeholdError) -> None:
        """Answers what is no request, in OpenAI's form: whose dialect it was meant to be is not known."""
        self._stop_parsing()
        if self.current is None:
            exchange = Exchange(self)
            exchange.keep_alive = False
            body = chat.write_error(error, exchange.request_id)
            lines = b"content-type: application/json\r\nx-request-id: %b\r\n" % exchange.request_id.encode()
            exchange.answer(error.status, lines, body)
        elif self._receiving is self.current:
            self.current.broken = error
            self.current.wake()

    def _stop_parsing(self) -> None:
        self._parsing = self._in_head = False
        self.closing = True
        if self.current is not None and not self.current.begun:
            self.current.keep_alive = False

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _path(url: bytes) -> str:
    """The path of a request target that is not plain: escaped, or a whole URL as proxies send it. Raises BadRequest."""
    try:
        path = httptools.parse_url(url).path
        return unquote((path or b"/").decode("ascii"), errors="strict")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        raise BadRequest("the request target cannot be read") from None


def _long_head() -> TooLarge:
    return TooLarge(
        f"the request head is over {MAX_HEAD_BYTES // 1024} KiB or {MAX_HEAD_LINES} lines", status=431, retry="no"
    )


def sweep(connections: Iterable[HttpConnection], now: float) -> None:
    """Ends the connections of clients that have kept us waiting for too long; keeps those alive that wait for us."""
    for connection in list(connections):
        if connection.expired(now):
            connection.give_up()
        elif connection.current is not None and connection.current.begun:
            connection.current.beat(now)
