"""The world outside: providers, web servers and a name server that keep every byte they are sent.

A sink is the fake provider (freehold.fake) behind TLS, with a clearance that this file states by itself: what may
reach it is worked out here in a few lines and not asked of `may_flow`, which is what is being tested. Two answers are
added to the fake's own: a mirror, which sends back as an error all that it was asked, as real providers do in part;
and a redirect to a sink that is cleared for less.
"""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from authority import issue

from freehold.fake import FakeProvider
from freehold.fake.ask import Request
from freehold.fake.connection import Connection

LEVELS = ("public", "internal", "confidential", "restricted")


class Sink(NamedTuple):
    """`level` to `regions`: what it is cleared for; None: all. `owned`: it runs on one's own machines."""

    name: str
    level: str
    compartments: frozenset[str] | None = frozenset()
    regions: frozenset[str] | None = frozenset()
    owned: bool = False

    def cleared(self, label: str) -> bool:
        """Whether what has this label, written as `confidential+phi+region:eu`, may be seen here."""
        level, *marks = label.split("+")
        regions = {mark.removeprefix("region:") for mark in marks if mark.startswith("region:")}
        compartments = {mark for mark in marks if not mark.startswith("region:")}
        return (
            LEVELS.index(level) <= LEVELS.index(self.level)
            and (self.regions is None or regions <= self.regions)
            and (self.compartments is None or compartments <= self.compartments)
        )

    def __str__(self) -> str:
        if self.compartments is None:
            return "everything"
        return "+".join((self.level, *sorted(self.compartments), *(f"region:{one}" for one in self.regions or ())))


EU = frozenset({"eu"})
PROVIDERS = (
    Sink("public", "public"),
    Sink("internal", "internal"),
    Sink("confidential", "confidential"),
    Sink("phi", "confidential", frozenset({"phi"})),
    Sink("eu", "confidential", frozenset(), EU),
    Sink("full", "restricted", frozenset({"phi", "pci"}), EU),
    Sink("owned", "restricted", None, None, owned=True),
)
WEB = Sink("web", "internal")
"""What image and file URLs point at: a stranger, to whom `internal` requests are let go (`labels.sinks.fetch`)."""
NAMES = Sink("names", "internal")
"""The name server, which sees each name that is asked for."""
LABELS = (
    "public", "internal", "confidential", "restricted", "confidential+phi", "restricted+pci", "confidential+region:eu",
)  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)


class Kept:
    """What reached one sink. Raw bytes as TLS gave them out, and each request whole."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.requests: list[bytes] = []
        self.names: set[str] = set()
        self.lock = threading.Lock()

    def all(self) -> Iterator[bytes]:
        yield from self.requests
        yield b"".join(self.raw)
        yield "\n".join(sorted(self.names)).encode()


class _Keeping(Connection):
    """A connection of the fake that keeps what comes, and mirrors or redirects where the model's name says so."""

    def __init__(self, provider: "KeepingProvider") -> None:
        super().__init__(provider)
        self._kept = provider.kept
        self._elsewhere = provider.elsewhere

    def data_received(self, data: bytes) -> None:
        self._kept.raw.append(data)
        super().data_received(data)

    def _begin(self, request: Request) -> None:
        head = b"\n".join(b"%b: %b" % pair for pair in request.headers.items())
        self._kept.requests.append(request.url + b"\n" + head + b"\n\n" + request.body)
        everything = request.url + request.body
        if b"fake-mirror-" in everything:
            at = everything.index(b"fake-mirror-") + len(b"fake-mirror-")
            self._whole(int(everything[at : at + 3]), _mirrored(request), b"")
        elif b"fake-moved" in everything:
            self._whole(307, b"", b"location: %b%b\r\n" % (self._elsewhere, request.url))
        elif request.url.startswith(b"/pictures/"):
            self._whole(200, PNG, b"content-type: image/png\r\n")
        else:
            super()._begin(request)

    def _whole(self, status: int, body: bytes, lines: bytes) -> None:
        head = b"HTTP/1.1 %d Mirrored\r\n%bcontent-length: %d\r\n\r\n" % (status, lines, len(body))
        self._transport.write(head + body)


def _mirrored(request: Request) -> bytes:
    said = {"message": request.body.decode("utf-8", "replace"), "type": "invalid_request_error", "code": "mirrored"}
    return json.dumps({"error": said, "type": "error", "message": said["message"]}).encode()


class KeepingProvider(FakeProvider):
    """`elsewhere`: the URL that it redirects to."""

    def __init__(self, elsewhere: bytes, **options: Any) -> None:
        super().__init__(**options)
        self.kept = Kept()
        self.elsewhere = elsewhere

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(lambda: _Keeping(self), sock=sock, ssl=context, backlog=256)
        self.port = sock.getsockname()[1]


class World(NamedTuple):
    """`bases`: the https URL of each sink. `fetches`: where pictures can be fetched from, "" where nothing can be."""

    bases: dict[str, str]
    providers: dict[str, KeepingProvider]
    authority: Path
    fetches: str
    asked: Kept
    """Names that were asked for."""


HOST = "{}.sinks.example"
PUBLIC_ADDRESS = "93.184.216.34"
"""Any address that is public: only inside of a network namespace does it lead to the web server here."""


@contextmanager
def world(folder: Path, *, apart: bool) -> Iterator[World]:
    """All sinks. `apart`: in a network namespace of one's own, where hosts have names and port 443 is free."""
    names = [sink.name for sink in (*PROVIDERS, WEB)]
    papers = issue(folder / "papers", [HOST.format("*"), "*.pictures.example", "127.0.0.1"])
    sockets, bases = {}, {}
    for number, name in enumerate(names):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = PUBLIC_ADDRESS if name == WEB.name else f"127.0.1.{number + 1}"
        sock.bind((address, 443) if apart else ("127.0.0.1", 0))
        sockets[name] = sock
        bases[name] = f"https://{HOST.format(name)}" if apart else f"https://127.0.0.1:{sock.getsockname()[1]}"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="world")
    thread.start()
    providers = {name: KeepingProvider(bases["public"].encode(), key=None) for name in names}
    asked = Kept()

    async def start() -> None:
        for name, provider in providers.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(papers.certificate, papers.key)
            context.sni_callback = lambda _, host, __, kept=provider.kept: kept.names.add(host or "")
            await provider.listen(sockets[name], context)
        if apart:
            addresses = {HOST.format(name): sockets[name].getsockname()[0] for name in names}
            await loop.create_datagram_endpoint(lambda: NameServer(addresses, asked), local_addr=("127.0.0.1", 53))

    async def stop() -> None:
        for provider in providers.values():
            await provider.stop()

    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(20)
        fetches = "https://{}.pictures.example/pictures/" if apart else ""
        yield World(bases, providers, papers.authority, fetches, asked)
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class NameServer(asyncio.DatagramProtocol):
    """Answers A for every name: sinks have their own address, all else leads to the web server."""

    def __init__(self, addresses: dict[str, str], asked: Kept) -> None:
        self._addresses = addresses
        self._asked = asked
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._asked.raw.append(data)
        words, at = [], 12
        while data[at]:
            words.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
            at += 1 + data[at]
        name, kind = ".".join(words).lower(), int.from_bytes(data[at + 1 : at + 3], "big")
        self._asked.names.add(name)
        address = socket.inet_aton(self._addresses.get(name, PUBLIC_ADDRESS)) if kind == 1 else b""
        answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + address if address else b""
        head = data[:2] + b"\x81\x80\x00\x01\x00" + (b"\x01" if answer else b"\x00") + bytes(4)
        self._transport.sendto(head + data[12 : at + 5] + answer, addr)
