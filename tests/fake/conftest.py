"""A fake in this process, and a client that shows what really was on the wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

from freehold.fake import FakeProvider

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Seen(Struct):
    """What a raw client saw: every read by itself, and how the connection ended."""

    reads: list[bytes]
    ended: str
    """fin, rst, or silent (nothing more came while the client waited)."""

    @property
    def raw(self) -> bytes:
        return b"".join(self.reads)

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        """The body with its chunks joined; whatever is no chunk ends it."""
        rest = self.raw.partition(b"\r\n\r\n")[2]
        if b"transfer-encoding: chunked" not in self.head:
            return rest
        made = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            try:
                length = int(size, 16)
            except ValueError:
                break
            made += rest[:length]
            rest = rest[length + 2 :]
        return made


Ask = Callable[..., Awaitable[Seen]]


def http(path: str, body: Any, **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"host": "fake", "content-length": str(len(data)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


async def exchange(fake: FakeProvider, request: bytes, patience: float) -> Seen:
    """Sends bytes and reads until the fake ends the connection, or is silent for `patience` seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(request)
    reads: list[bytes] = []
    ended = "fin"
    try:
        while True:
            data = await asyncio.wait_for(reader.read(1 << 20), patience)
            if not data:
                break
            reads.append(data)
    except TimeoutError:
        ended = "silent"
    except ConnectionResetError:
        ended = "rst"
    writer.close()
    return Seen(reads, ended)


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        yield running


@pytest.fixture
def ask(fake: FakeProvider) -> Ask:
    """Asks for a chat completion (or another path and body) and shows the wire."""

    async def send(
        x_fake: str = "",
        *,
        stream: bool = False,
        path: str = "/v1/chat/completions",
        body: Any = None,
        patience: float = 0.2,
        keep_alive: bool = False,
        **headers: str,
    ) -> Seen:
        if body is None:
            body = {**CHAT, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}
        if not keep_alive:
            headers["connection"] = "close"
        if x_fake:
            headers["x-fake"] = x_fake
        return await exchange(fake, http(path, body, **headers), patience)

    return send
