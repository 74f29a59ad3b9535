"""The raw request, kept as it came. What we understand of it stands beside it, never in its place."""

import itertools
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from freehold.errors import BadRequest, ClientGone, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

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


class Snapshot:
    """One request: headers by lower-case name, body bytes, the id we gave it, when it came (loop time)."""

    __slots__ = ("body", "headers", "path", "receive", "request_id", "send", "started")

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str, started: float) -> None:
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self.started = started
        self.body = b""

    async def read(self, limit: int) -> bytes:
        """Reads the body. Raises TooLarge past `limit` bytes, as soon as that is known, and ClientGone."""
        length = self.headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > limit):
            raise TooLarge(f"the body is over the limit of {limit} bytes", hint="server.max_body_mb sets it")
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise BadRequest("compressed request bodies are not accepted", hint="send the JSON as it is", status=415)
        message = await self.receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts = [body]
            size = len(body)
            while message.get("more_body"):
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone("the client left while sending its request")
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise TooLarge(f"the body is over the limit of {limit} bytes", hint="server.max_body_mb sets it")
                parts.append(part)
            body = b"".join(parts)
        elif message["type"] == "http.disconnect":
            raise ClientGone("the client left while sending its request")
        self.body = body
        return body
