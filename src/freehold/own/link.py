"""The link: what gateway workers and the steward tell each other, as it happens.

A Unix socket in run/, for this user only, one connection per worker, one JSON value per line:

    worker -> steward   Report   what it has in flight per engine, what waits for which model, the last table it acts on
    steward -> worker   Table    every engine as the gateway may know it, at once when anything changes

This is how engines change places without losing a request. The steward publishes that a life drains. Each worker closes
its gate, so that new requests wait, and answers with a Report that names that table. When every worker has done so and
has nothing in flight there, nobody needs the engine any more and it can end at once. What waits goes out when a table
says that an engine is ready.

run/engines.json holds the same table, for other processes, and for a worker whose link is down.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.engine import Published

SOCKET = "steward.sock"
LOCK = "steward.lock"
MAX_LINE = 8 << 20
"""Bytes. A table of a thousand engines is a tenth of that."""
MAX_UNSENT = 32 << 20
"""Bytes that a worker may leave unread before it is cut off; it connects again and gets the newest table."""
_PATH_LIMIT = 100
"""A Unix socket's path has about this many bytes; longer ones are reached through the folder's descriptor."""


class Row(Struct, array_like=True):
    """One life of an engine as one worker sees it. Times are `time.monotonic()`, which all processes of a host share.

    `begun` and `received` (requests sent, bytes of answers) only grow. `streaming`: requests in flight that have had a
    byte. `prompt_tokens`: the longest prompt of those that have not. `unseen_tokens`: the longest answer in flight that
    is sent whole.
    """

    name: str
    number: int
    inflight: int = 0
    begun: int = 0
    received: int = 0
    last_byte: float = 0.0
    last_start: float = 0.0
    streaming: int = 0
    prompt_tokens: int = 0
    unseen_tokens: int = 0


class Answered(Struct, array_like=True):
    """How fast an engine was with one request: tokens that it read, seconds to the first byte, tokens that it wrote,
    seconds to the end. Where it waited for a slot, the engine was faster than this says."""

    name: str
    read: int
    first: float
    written: int
    total: float


class Want(Struct, array_like=True):
    """Requests that wait for a model, the oldest since `oldest` (`time.monotonic()`)."""

    name: str
    waiting: int
    oldest: float = 0.0


class Report(Struct):
    """What has changed since the worker's last one. `seen` is the sequence of the table that it acts on. `answers`: one
    for each engine that has answered since, the last."""

    seen: int
    rows: list[Row] = []
    wants: list[Want] = []
    answers: list[Answered] = []


class Table(Struct):
    """`contended`: some model waits for room, so the steward wants to hear at once when an engine becomes idle."""

    sequence: int
    contended: bool
    engines: dict[str, Published]


class Server:
    """The steward's end. `heard(worker, report)` and `gone(worker)` are called from the event loop."""

    def __init__(self, heard: "Callable[[int, Report], None]", gone: "Callable[[int], None]") -> None:
        self._heard = heard
        self._gone = gone
        self._peers: dict[int, _Peer] = {}
        self._numbers = iter(range(1, 1 << 62))
        self._last = b""
        self._server: asyncio.Server | None = None

    @property
    def workers(self) -> set[int]:
        """The workers that are connected."""
        return set(self._peers)

    async def start(self, folder: Path) -> None:
        """Listens in `folder`. The caller holds the steward's lock, so a socket that is there is a dead one's."""
        (folder / SOCKET).unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        with reachable(folder) as path:
            mask = os.umask(0o177)
            try:
                self._server = await loop.create_unix_server(self._peer, path)
            finally:
                os.umask(mask)

    def push(self, table: bytes) -> None:
        """Sends an encoded Table to every worker; later ones get it when they connect."""
        self._last = table + b"\n"
        for peer in list(self._peers.values()):
            peer.send(self._last)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers.values()):
            peer.cut()
        await asyncio.sleep(0)  # sockets are closed by what was scheduled now

    def _peer(self) -> "_Peer":
        return _Peer(self, next(self._numbers))

    def joined(self, peer: "_Peer") -> None:
        self._peers[peer.number] = peer
        if self._last:
            peer.send(self._last)

    def left(self, peer: "_Peer") -> None:
        if self._peers.pop(peer.number, None) is not None:
            self._gone(peer.number)

    def told(self, peer: "_Peer", report: Report) -> None:
        self._heard(peer.number, report)


_REPORTS = msgspec.json.Decoder(Report)


class _Peer(asyncio.Protocol):
    """One worker's connection. One that talks nonsense is cut off: it is no worker of ours."""

    def __init__(self, server: Server, number: int) -> None:
        self.number = number
        self._server = server
        self._lines = Lines()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        try:
            for line in self._lines.feed(data):
                self._server.told(self, _REPORTS.decode(line))
        except (msgspec.DecodeError, ValueError):
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.left(self)

    def send(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.cut()
        else:
            self._transport.write(data)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Lines:
    """Cuts bytes into lines. Raises ValueError for one that is too long."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        if len(rest) > MAX_LINE:
            raise ValueError("a line that does not end")
        self._rest = rest
        return lines


@contextlib.contextmanager
def reachable(folder: Path) -> Iterator[str]:
    """Yields a path of the socket in `folder` that is short enough to be bound or connected to."""
    path = str(folder / SOCKET)
    if len(path) <= _PATH_LIMIT or not Path("/proc/self/fd").is_dir():
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def claim(folder: Path) -> int:
    """Returns a lock, held until its descriptor is closed. Raises EngineError, with whose it is, when it is held."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise EngineError(
            f"another steward, process {pid}, runs the engines of {folder.parent}",
            code="steward_runs",
            retry="same",
            hint="stop it, or set FREEHOLD_HOME to another folder",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor
