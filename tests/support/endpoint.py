"""A token endpoint for tests: answers in order, remembers what it was asked. As a function, or on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl


class Endpoint:
    """`answers` are (status, body) or an error to raise; the last one is given again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.gate: asyncio.Event | None = None

    async def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        timeout: float = 10.0,
        limit: int = 1 << 20,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        self.asked.append((method, url, dict(headers or {}), body))
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        return status, {}, content if isinstance(content, bytes) else json.dumps(content).encode()

    def form(self, index: int = -1) -> dict[str, str]:
        return dict(parse_qsl(self.asked[index][3].decode()))


@asynccontextmanager
async def listening(endpoint: Endpoint) -> AsyncIterator[str]:
    """Serves `endpoint` over HTTP; yields its base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = request.split(" ")
        status, _, content = await endpoint(method, target, headers, body)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(content)))
        writer.write(content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
