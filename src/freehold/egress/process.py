"""The egress process: outside the namespace, alone with the providers' keys, the one way out.

The parent (serve/outer.py) forks it with what it needs already open: the listening socket, the file of its record, and
a pipe on which configurations come. So it can be a user of its own who may read nothing else. It answers workers only
(SO_PEERCRED, the ticket's signature), resolves names, makes connections, verifies certificates.
"""

import asyncio
import gc
import importlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
import uvloop
from msgspec import Struct

from freehold.call.auth.oauth import Fetch
from freehold.call.clouds import make_auth
from freehold.call.providers import Endpoint
from freehold.call.transport import fetch
from freehold.call.transport.ticket import LENGTH, Reader
from freehold.config.schema import Config
from freehold.egress import kernel
from freehold.egress.gate import Gate
from freehold.egress.records import Began, Own, Records
from freehold.egress.relay import Egress, Peer

BACKLOG = 2048
FLUSH = 0.5
"""Seconds after which lines of the record that could wait are written."""


class Orders(Struct):
    """What is in force: the real configuration, the providers it makes, and the versions that workers know it by."""

    config: Config
    endpoints: dict[str, Endpoint]
    versions: list[str]


def ordered(orders: Orders) -> bytes:
    """Returns the bytes of orders for the pipe."""
    words = msgspec.msgpack.encode(orders)
    return LENGTH.pack(len(words)) + words


_ORDERS = msgspec.msgpack.Decoder(Orders)


class Start(Struct):
    """What the parent hands over."""

    listener: socket.socket
    record: int
    """Descriptor, opened for appending."""
    orders: socket.socket
    key: bytes
    workers: int
    """The user that workers run as."""
    user: int | None
    """The user to become; None: none of its own."""
    first: Orders


NEXT_PIECE = LENGTH.pack(0)
"""Comes with a descriptor, in the place of orders: the file in which the record goes on."""


def run(start: Start, env: Mapping[str, str]) -> None:
    """Serves until SIGTERM, which comes when the workers have ended. Raises OSError where it cannot become `user`."""
    kernel.die_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when
    _ready_for_little()
    context = ssl.create_default_context()
    if start.user is not None:
        signs = any(one.signs is not None and one.unavailable is None for one in start.first.endpoints.values())
        kernel.become(start.user, {kernel.DAC_READ_SEARCH} if signs else ())
        kernel.die_with_parent(signal.SIGTERM)  # a new user is nobody's child in this respect
    else:
        kernel.no_new_privileges()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(start, env, context))


def _ready_for_little() -> None:
    """Imports now what Python would look for later, in files that this process may not be able to read by then."""
    for name in ("encodings.idna", "stringprep", "freehold.call.auth.aws", "freehold.call.auth.google"):
        importlib.import_module(name)


def _gate(orders: Orders) -> Gate:
    return Gate(orders.config, orders.endpoints, frozenset(orders.versions))


async def _serve(start: Start, env: Mapping[str, str], context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    records = Records(start.record)
    egress = Egress(
        _gate(start.first),
        Reader(start.key, time.monotonic_ns, time.monotonic_ns()),
        records,
        lambda signing: make_auth(signing, env, _written(records)),
        user=start.workers,
        max_body=4 * start.first.config.server.max_body_mb * 1024 * 1024,
        context=context,
    )
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    records.write(Began(records.now(), os.getpid(), os.getuid(), start.first.versions[0]))
    server = await loop.create_unix_server(lambda: Peer(egress, loop), sock=start.listener, backlog=BACKLOG)
    listening = loop.create_task(_listen(start.orders, egress))
    flushing = loop.create_task(_flush(records))
    gc.collect()
    gc.freeze()
    start.orders.send(b"+")
    await stopped.wait()
    server.close()
    for task in (listening, flushing):
        task.cancel()
    egress.close()
    await asyncio.sleep(0)
    records.flush()


def _written(records: Records) -> Fetch:
    """Returns `fetch` for what the process asks for itself, tokens: each exchange is written down before it is made."""

    async def exchange(
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        timeout: float = 10.0,
        limit: int = 1 << 20,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        def write() -> None:
            records.write(Own(records.now(), "token", urlsplit(url).netloc, len(body) + len(url)))

        return await fetch(
            method, url, headers, body, timeout=timeout, limit=limit, sending=write, opened=records.opened
        )

    return exchange


async def _listen(orders: socket.socket, egress: Egress) -> None:
    """Puts each configuration that comes in force, goes on in each file that comes, and says so with one byte."""
    orders.setblocking(False)
    loop = asyncio.get_running_loop()
    while True:
        head, descriptors = await _begun(loop, orders)
        (length,) = LENGTH.unpack(head)
        said = b"+"
        if length:
            egress.replace(_gate(_ORDERS.decode(await _exactly(loop, orders, length))))
        for descriptor in descriptors:
            try:
                egress.records.go_on(descriptor)
            except OSError:
                os.close(descriptor)
                said = b"-"
        await loop.sock_sendall(orders, said)


async def _begun(loop: asyncio.AbstractEventLoop, orders: socket.socket) -> tuple[bytes, list[int]]:
    """Returns the beginning of what comes next, and the descriptors that came with it."""
    readable = asyncio.Event()
    loop.add_reader(orders, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(orders)
    head, descriptors, _, _ = socket.recv_fds(orders, LENGTH.size, 1)
    if not head:
        await asyncio.Event().wait()  # the parent has gone; the kernel's signal is on its way
    return head + await _exactly(loop, orders, LENGTH.size - len(head)), descriptors


async def _exactly(loop: asyncio.AbstractEventLoop, orders: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(orders, size - len(data))
        if not piece:
            await asyncio.Event().wait()  # the parent has gone; the kernel's signal is on its way
        data += piece
    return data


async def _flush(records: Records) -> None:
    while True:
        await asyncio.sleep(FLUSH)
        records.flush()
