"""uvicorn's HTTP protocol with two changes: less work per request, and limits on what a stranger sends as a head.

ASGI sends the head of a response and its body as two messages, and uvicorn writes each at once: two packets and two
system calls where one would do. Here the head waits for the first body message, which follows it in the same turn of
the event loop, and both leave together; a stream's later chunks are written as they come. What uvicorn checks with two
regular expressions per header is checked here once for the whole head, whose lines our own application made.

A head over 64 KiB or 100 lines, or one that is not complete after 20 seconds (a slow drip of bytes that would hold a
connection for nothing), ends the connection; so does a body that takes over five minutes.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http import httptools_impl as uvicorn_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_LINES = 100
HEAD_SECONDS = 20.0
BODY_SECONDS = 300.0
_NEVER = float("inf")


class Cycle(RequestResponseCycle):
    """One request and its response. `send` is uvicorn's contract, in fewer steps."""

    _head: bytes = b""

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message["headers"])
            return
        if self.response_complete or not self.response_started:
            raise RuntimeError("a response body without a head, or after its end")
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            self.transport.write(head)
        elif not self.chunked_encoding:
            self.transport.write(head + body if head else body)
        elif more:
            self.transport.write(b"%b%x\r\n%b\r\n" % (head, len(body), body) if body else head)
        else:
            self.transport.write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body) if body else head + b"0\r\n\r\n")
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.response_started:
            raise RuntimeError("a second response head")
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status][:-2]]
        self.chunked_encoding = status not in (204, 304)
        for name, value in headers:
            if name == b"content-length":
                self.chunked_encoding = False
            lines.append(b"%b: %b" % (name, value))
        if self.chunked_encoding and self.scope["method"] != "HEAD":
            lines.append(b"transfer-encoding: chunked")
        if not self.keep_alive:
            lines.append(b"connection: close")
        lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise RuntimeError("a line break in a response header")
        self._head = head


uvicorn_impl.RequestResponseCycle = Cycle  # type: ignore[misc]
"""HttpToolsProtocol makes its cycles by this name and offers no other way to choose the class."""


class GatewayProtocol(HttpToolsProtocol):
    """Used by worker.py as uvicorn's `http`."""

    _head_bytes = 0
    late = _NEVER
    """Loop time at which a request that is still being received is given up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.late = self.loop.time() + HEAD_SECONDS

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self.late = self.loop.time() + HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the request line is too long")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEAD_LINES:
            raise ValueError("the request head is too long")
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.late += BODY_SECONDS
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.late = _NEVER
        super().on_message_complete()


def sweep(connections: Iterable[object], now: float) -> None:
    """Closes connections whose request has been on its way for too long. Called now and then, so no timer each."""
    for connection in list(connections):
        if isinstance(connection, GatewayProtocol) and now > connection.late:
            connection.transport.abort()
