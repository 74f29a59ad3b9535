"""`FakeProvider`: the fake as an object, for tests in the same process and for the command.

    async with FakeProvider({"rules": [{"reply": {"text": "hi"}}]}) as fake:
        ...  # talk to fake.url
        assert fake.served.totals.requests == 1

Control over HTTP, for those in another process (all under `/__fake__/`): `GET served[?since=N]`, `GET requests/last`,
`GET faults`, `POST script` (YAML or JSON), `POST reset`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import msgspec

from freehold.errors import ConfigError, FreeholdError
from freehold.fake.ask import Request
from freehold.fake.connection import Connection
from freehold.fake.engine import Engine
from freehold.fake.faults import FAULTS
from freehold.fake.replay import Replay
from freehold.fake.script import Script, decode, load
from freehold.fake.served import Served, described
from freehold.fake.wire import head


class FakeProvider:
    """A provider of all dialects on one port. Start it with `async with`, or `start` and `stop`.

    Args:
        script: a Script, its mapping, or a path of a YAML or JSON file.
        replay: recorded exchanges (.jsonl or .jsonl.gz); `rechunk` is the seed of random cuts in their streams.
        served_file: one JSON line is appended for each accepted request.
        key: the API key to insist on.
        latency_ms, jitter_ms: before every response.
        keep: rows of the bill held in memory; totals stay exact.

    Raises:
        ConfigError: a script, replay or served file that cannot be used.
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        script: Script | dict[str, Any] | str | Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        replay: str | Path | None = None,
        rechunk: int | None = None,
        served_file: str | Path | None = None,
        key: str | None = None,
        latency_ms: float = 0.0,
        jitter_ms: float = 0.0,
        keep: int = 200_000,
    ) -> None:
        exchanges = Replay(replay, rechunk) if replay is not None else None
        self.engine = Engine(load(script), replay=exchanges, key=key, latency_ms=latency_ms, jitter_ms=jitter_ms)
        self.served = Served(served_file, keep)
        self.connections: set[Connection] = set()
        self.host = host
        self.port = port
        self.loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server | None = None
        self._waiters: list[tuple[Callable[[Served], bool], asyncio.Future[None]]] = []

    @property
    def url(self) -> str:
        """The address without a path: the Anthropic and Gemini base URL; OpenAI's is this and `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def script(self) -> Script:
        return self.engine.script

    @script.setter
    def script(self, source: Script | dict[str, Any] | str | Path | None) -> None:
        self.engine.use(load(source))

    async def start(self, sock: socket.socket | None = None) -> Self:
        """Binds and listens; `sock` is a bound socket to use instead of host and port."""
        self.loop = asyncio.get_running_loop()
        if sock is not None:
            self._server = await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=1024)
        else:
            self._server = await self.loop.create_server(lambda: Connection(self), self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Ends every connection and closes the port and the served file."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 2)
        self.served.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def reset(self) -> None:
        """Forgets what was served and how often rules were used; the script stays."""
        self.engine.restart()
        self.served.clear()

    async def until(self, holds: Callable[[Served], bool], timeout: float = 5.0) -> None:
        """Waits until `holds(served)`; checked whenever a request is accepted or a response ends.

        Raises:
            TimeoutError: after `timeout` seconds.
        """
        if holds(self.served):
            return
        future: asyncio.Future[None] = self.loop.create_future()
        waiter = (holds, future)
        self._waiters.append(waiter)
        self.served.changed = self._wake
        try:
            await asyncio.wait_for(future, timeout)
        finally:
            self._waiters.remove(waiter)
            if not self._waiters:
                self.served.changed = None

    def _wake(self) -> None:
        for holds, future in self._waiters:
            if not future.done() and holds(self.served):
                future.set_result(None)

    def control(self, request: Request) -> bytes:
        """Returns the whole response to a request under `/__fake__/`."""
        try:
            status, value = self._controlled(request)
        except FreeholdError as error:
            problem = str(error) if isinstance(error, ConfigError) else error.message
            status, value = 400, {"error": problem, "hint": error.hint}
        body = msgspec.json.encode(value)
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        return head(status, fields) + body

    def _controlled(self, request: Request) -> tuple[int, Any]:
        path, _, query = request.url.decode("latin-1").partition("?")
        match request.method, path.removeprefix("/__fake__").strip("/"):
            case b"GET", "served":
                since = parse_qs(query).get("since", ["0"])[0]
                return (
                    (200, self.served.report(int(since))) if since.isdigit() else (400, {"error": "since is a number"})
                )
            case b"GET", "requests/last":
                last = self.served.last
                return (200, described(last)) if last is not None else (404, {"error": "no request yet"})
            case b"GET", "faults":
                return 200, [{"name": f.name, "applies": f.applies, "summary": f.summary} for f in FAULTS.values()]
            case b"POST", "script":
                self.script = decode(request.body)
                return 200, {"rules": len(self.script.rules)}
            case b"POST", "reset":
                self.reset()
                return 200, {"ok": True}
        known = "GET served, GET requests/last, GET faults, POST script, POST reset"
        return 404, {"error": "no such control", "hint": known}
