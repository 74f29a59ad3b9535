"""Connections of one origin, kept for reuse: the newest idle one first, so that the pool shrinks to what is needed.

In strict mode those of providers go through the egress process (through.py). What goes anywhere but to this machine
without it is refused there, and in an air-gapped gateway altogether: `EGRESS` says in the environment what a process
may do. The namespaces that both modes run in would not let it through anyway; here the reason is known.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from freehold.call.transport.flight import Flight
from freehold.call.transport.through import Outlet, Through, gone
from freehold.call.transport.wire import Connection
from freehold.errors import PolicyError, UpstreamOverloaded, UpstreamTimeout, UpstreamUnreachable

EGRESS = "FREEHOLD_EGRESS"
"""Environment: `strict` or `none` where connections may lead to this machine only."""

IDLE_SECONDS = 45.0
"""An idle connection older than this is not trusted: many servers close theirs after a minute, some sooner."""
MAX_WAITING = 2000
Opened = Callable[["Origin", str, int], None]
"""Is told of a connection that will be tried: its origin, and the address and port it goes to."""


class _Untold(Exception):
    """Who must be told of a connection could not be: there is none then."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Origin(NamedTuple):
    """Scheme, host and port of an upstream, and the path that its base URL carries."""

    tls: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "Origin":
        """Splits a base URL. Raises ValueError for anything but plain http(s) with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url!r}")
        if parts.username or parts.password:
            raise ValueError("a base URL may not hold credentials")
        tls = parts.scheme == "https"
        return cls(tls, parts.hostname, parts.port or (443 if tls else 80), parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Pool:
    """At most `limit` connections to one origin; further flights wait their turn."""

    def __init__(
        self,
        origin: Origin,
        *,
        connect_timeout: float,
        limit: int,
        idle_seconds: float = IDLE_SECONDS,
        context: ssl.SSLContext | None = None,
        address: str | None = None,
        through: Through | None = None,
        kind: type[Connection] = Connection,
        opened: Opened | None = None,
    ) -> None:
        """`address` is the IP address to connect to where the name must not be resolved here (call/fetch_url.py).

        The certificate is checked against the origin's name all the same. `through` is the way to the egress process,
        which then makes the connection itself; `kind` is what connections are made of; `opened` is told of each
        address before anything is sent there, whether a connection comes of it or not, and may raise OSError.
        """
        self._opened = opened
        self.through = through
        self._kind = kind
        self.origin = origin
        self._address = address
        self._idle_seconds = idle_seconds
        self._connect_timeout = connect_timeout
        self._limit = limit
        self._context = context
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shut = False
        self.received = 0
        """Bytes of answers so far, without comments of event streams."""

    @property
    def busy(self) -> int:
        """Connections with an exchange in flight, or being opened."""
        return len(self._all) - len(self._idle) + self._opening

    def idle(self, now: float) -> Connection | None:
        """Returns a connection that waits for work, the most recently used one, or None. `now` is loop time."""
        idle = self._idle
        if idle and now - idle[-1].idle_since < self._idle_seconds:
            return idle.pop()
        return None

    async def acquire(self, flight: Flight) -> Connection:
        """Returns a connection, idle or new. Raises UpstreamUnreachable, UpstreamTimeout or the flight's failure."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        while True:
            connection = self.idle(loop.time())
            if connection is not None:
                return connection
            for stale in list(self._idle):
                stale.close()
            if len(self._all) + self._opening < self._limit:
                return await self._open(flight, loop)
            if len(self._waiting) >= MAX_WAITING:
                raise UpstreamOverloaded("too many requests wait for a connection to this provider")
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            try:
                await flight.wait(turn)
            except BaseException:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                elif turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._next()
                raise

    async def _open(self, flight: Flight, loop: asyncio.AbstractEventLoop) -> Connection:
        origin = self.origin
        self._opening += 1
        opening = loop.create_task(self._connect(loop))
        try:
            await flight.wait(opening)  # type: ignore[arg-type]
            connection = opening.result()
        except _Untold as error:
            raise error.reason from None
        except ssl.SSLError as error:
            raise UpstreamUnreachable(
                f"TLS with {origin.host} failed: {error.reason or error}",
                hint="check the CA store: freehold doctor",
                code="upstream_tls",
            ) from error
        except socket.gaierror as error:
            raise UpstreamUnreachable(f"{origin.host} has no address: {error.strerror}") from error
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"no connection to {origin.host}:{origin.port} within {self._connect_timeout:g} s",
                code="upstream_connect_timeout",
            ) from error
        except OSError as error:
            raise UpstreamUnreachable(
                f"no connection to {origin.host}:{origin.port}: {error.strerror or error}"
            ) from error
        finally:
            self._opening -= 1
            if not opening.done() or opening.cancelled() or opening.exception() is not None:
                self._next()
            elif flight.failure is not None:
                opening.result().close()
        self._all.add(connection)
        return connection

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        origin = self.origin
        through = self.through
        if through is not None:
            return await self._to_egress(loop, through)
        if EGRESS in os.environ:
            only_here(self._address or origin.host)
        async with asyncio.timeout(self._connect_timeout):
            if self._opened is None:
                return await self._connect_to(loop, self._address or origin.host)
            return await self._connect_told(loop, self._opened)

    async def _connect_to(self, loop: asyncio.AbstractEventLoop, address: str) -> Connection:
        origin = self.origin
        _, connection = await loop.create_connection(
            lambda: self._kind(self, loop),
            address,
            origin.port,
            ssl=self._tls() if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection

    async def _connect_told(self, loop: asyncio.AbstractEventLoop, opened: Opened) -> Connection:
        """Tries the host's addresses one after the other, and tells of each."""
        origin = self.origin
        found = await loop.getaddrinfo(self._address or origin.host, origin.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for number, address in enumerate(addresses, 1):
            try:
                opened(origin, address, origin.port)
            except OSError as error:
                raise _Untold(error) from error
            try:
                return await self._connect_to(loop, address)
            except ssl.SSLError:
                raise
            except OSError:
                if number == len(addresses):
                    raise
        raise OSError(f"{origin.host} has no address")

    async def _to_egress(self, loop: asyncio.AbstractEventLoop, through: Through) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, outlet = await loop.create_unix_connection(lambda: Outlet(self, loop, through), through.way.path)
        except OSError as error:
            raise gone() from error
        return outlet

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def release(self, connection: Connection) -> None:
        """Takes back a connection whose exchange is over."""
        if self._shut or self._loop is None:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._waiting:
            self._next()

    def forget(self, connection: Connection) -> None:
        """A connection is gone; somebody who waits may open another."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def shut(self) -> None:
        """No more reuse: idle connections close now, busy ones when their exchange ends."""
        self._shut = True
        for connection in list(self._idle):
            connection.close()


def only_here(host: str, instead: str | None = None) -> None:
    """Raises PolicyError where a connection would leave this machine and none may. `instead`: what to do then."""
    mode = os.environ.get(EGRESS)
    if mode not in ("strict", "none"):
        return
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    if not here:
        strict = mode == "strict"
        raise PolicyError(
            f"{host} is not on this machine, and this gateway "
            + ("reaches other machines only through its egress process" if strict else "is air-gapped"),
            code="egress_refused" if strict else "air_gapped",
            hint=instead
            or ("name it under providers" if strict else "start it without --air-gapped, or ask an owned model"),
        )
