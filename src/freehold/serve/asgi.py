"""ASGI over an exchange: how the control application, which is Starlette's, is served by our own server."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from freehold.serve.exchange import Exchange, line

Message = MutableMapping[str, Any]
Application = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


async def run(application: Application, exchange: Exchange, max_body: int) -> None:
    """Lets an ASGI 3 application answer one request. Raises what it raises, and what reading the body does."""
    sent_body = False
    status, lines = 500, b""

    async def receive() -> Message:
        nonlocal sent_body
        if sent_body:
            await exchange.gone()
            return {"type": "http.disconnect"}
        sent_body = True
        return {"type": "http.request", "body": await exchange.read(max_body), "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, lines
        if message["type"] == "http.response.start":
            status = message["status"]
            lines = b"".join(line(name, value) for name, value in message["headers"] if name != b"content-length")
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if not exchange.begun and not more:
            exchange.answer(status, lines, body)
            return
        if not exchange.begun:
            exchange.begin(status, lines)
        if exchange.blocked:
            await exchange.drain()
        if more:
            exchange.write(body)
        else:
            exchange.end(body)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": exchange.method,
        "scheme": "http",
        "path": exchange.path,
        "raw_path": exchange.path.encode(),
        "query_string": exchange.query,
        "root_path": "",
        "headers": list(exchange.headers.items()),
        "server": None,
        "client": None,
    }
    await application(scope, receive, send)
