"""The egress process's work on real sockets, in this process: answers pass as they are, all else is refused."""

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from freehold.call.fetch_through import fetch_through
from freehold.call.fetch_url import Fetched, UrlLimits
from freehold.call.inline import Noted
from freehold.call.providers import resolve
from freehold.call.transport import Flight, Origin, Pool, Through, Way, request_head
from freehold.call.transport.ticket import Reader, Writer, framed
from freehold.classify import Facts
from freehold.config.load import loads
from freehold.egress import fetching
from freehold.egress.gate import Gate
from freehold.egress.records import Back, Line, Opened, Records, RefusedLine, Sent, lines
from freehold.egress.records import Fetched as FetchedLine
from freehold.egress.relay import Egress, Peer
from freehold.errors import (
    BadRequest,
    FreeholdError,
    InternalError,
    PolicyError,
    UpstreamCut,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from freehold.labels import Label

KEY = bytes(range(32))
SECRET = "sk-upstream-secret-000"
VERSION = "v1"
KNOWN = Facts(asked="m", needs=frozenset(), input_tokens=1, output_tokens=1, label=Label(1))

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that tells what it got, for as long as anybody asks."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = head + await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nx-seen: 1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


class World:
    """An egress process without a process: what workers need, and what it wrote down."""

    def __init__(self, folder: Path, egress: Egress, way: Way, url: str, record: Path) -> None:
        self.folder, self.egress, self.way, self.url, self.record = folder, egress, way, url, record
        self.pool = self.way_to("house")

    def way_to(self, provider: str, limit: int = 10) -> Pool:
        through = Through(self.way, provider, f"{provider}/m")
        return Pool(Origin.parse(self.url), connect_timeout=2.0, limit=limit, through=through)

    async def ask(
        self, body: bytes = b'{"a": 1}', *, pool: Pool | None = None, path: str = "/v1/chat/completions",
        known: Facts | None = KNOWN, call: bytes = b"req_1-1",
    ) -> tuple[int, bytes]:  # fmt: skip
        pool = pool or self.pool
        flight = Flight(asyncio.get_running_loop().time(), "key", known)
        head = request_head(
            "POST", pool.origin.authority, path, [(b"Authorization", b"Bearer held-by-egress"), (b"X-Kept", b"yes")]
        )
        connection = await pool.acquire(flight)
        connection.send(
            flight, b"%bx-client-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (head, call, len(body), body)
        )
        try:
            status = await connection.head()
            return status, await connection.read(1 << 30)
        finally:
            connection.finish()

    def written(self) -> list[Line]:
        self.egress.records.flush()
        return [line for line in lines(self.record) if line is not None]


@asynccontextmanager
async def world(folder: Path, serve: Serve = answering, *, extra: str = "", since: int = 0) -> AsyncIterator[World]:
    provider = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}"
    text = f'discover: false\nproviders:\n  house: {{base_url: "{url}/v1", api_key: "{SECRET}"}}\n{extra}'
    config = loads(text.encode(), {}, providers=[]).config
    record = folder / "run.jsonl"
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    egress = Egress(
        Gate(config, resolve(config, {}), frozenset({VERSION})),
        Reader(KEY, time.monotonic_ns, since),
        Records(descriptor),
        lambda _: pytest.fail("nothing is signed here"),
        user=os.getuid(),
        max_body=1 << 26,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Peer(egress, loop), folder / "egress.sock")
    way = Way(folder / "egress.sock", KEY)
    way.version = VERSION
    try:
        yield World(folder, egress, way, url, record)
    finally:
        server.close()
        egress.close()
        way.close()
        provider.close()
        await asyncio.sleep(0.02)
        os.close(descriptor)


async def test_an_answer_passes_with_the_real_key_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        status, seen = await here.ask()
        assert status == 200
        assert f"Authorization: Bearer {SECRET}".encode() in seen
        assert b"held-by-egress" not in seen
        assert b"X-Kept: yes" in seen
        assert b"x-client-request-id: req_1-1" in seen
        opened, sent, back = here.written()
        assert isinstance(opened, Opened)
        assert (opened.address, f"http://{opened.host}") == ("127.0.0.1", here.url)
        assert isinstance(sent, Sent)
        assert (sent.call, sent.out, sent.label) == ("req_1-1", 8, "internal")
        assert sent.head + sent.out == len(seen)
        assert isinstance(back, Back)
        assert back.whole


async def test_connections_are_kept_on_both_sides(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for number in range(20):
            await here.ask(call=b"req_%d-1" % number)
        assert sum(isinstance(line, Opened) for line in here.written()) == 1
        assert len(here.egress.peers) == 1


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
async def test_any_size_passes(tmp_path: Path, size: int) -> None:
    async with world(tmp_path) as here:
        body = os.urandom(size // 2).hex().encode()
        _, seen = await here.ask(body)
        assert seen.endswith(b"\r\n\r\n" + body)


async def refusal(here: World, **asked: Any) -> FreeholdError:
    with pytest.raises(FreeholdError) as caught:
        await here.ask(**asked)
    return caught.value


async def test_what_is_refused_is_raised_here_as_what_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        label = Facts(asked="m", needs=frozenset(), input_tokens=1, output_tokens=1, label=Label(3))
        for asked, code in (
            ({"path": "/v1/files"}, "egress_refused"),
            ({"pool": here.way_to("nobody")}, "egress_refused"),
            ({"known": label}, "egress_label"),
            ({"known": None}, "egress_label"),
        ):
            error = await refusal(here, **asked)
            assert isinstance(error, PolicyError)
            assert (error.code, error.status) == (code, 403)
        here.way.version = "v2"
        error = await refusal(here)
        assert isinstance(error, InternalError)
        assert (error.code, error.status, error.retry) == ("egress_version", 503, "same")
        written = here.written()
        assert [line.code for line in written if isinstance(line, RefusedLine)] == [
            "egress_refused", "egress_refused", "egress_label", "egress_label", "egress_version",
        ]  # fmt: skip
        assert not any(isinstance(line, Sent | Opened) for line in written)
        here.way.version = VERSION
        assert (await here.ask())[0] == 200


async def test_what_was_declassified_for_a_deployment_goes_under_what_is_left(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        known = Facts(
            asked="m", needs=frozenset(), input_tokens=1, output_tokens=1, label=Label(3),
            leaving=lambda name: (Label(1), "pseudonyms") if name == "house/m" else None,
        )  # fmt: skip
        assert (await here.ask(known=known))[0] == 200
        assert [line.label for line in here.written() if isinstance(line, Sent)] == ["internal"]


async def test_another_key_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.way.writer = Writer(bytes(32))
        assert (await refusal(here)).code == "egress_ticket"


async def test_a_ticket_that_was_used_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        first: list[bytes] = []
        here.way.writer = _Again(here.way.writer, first)  # type: ignore[assignment]
        await here.ask()
        assert (await refusal(here)).code == "egress_ticket"
        assert sum(isinstance(line, Sent) for line in here.written()) == 1


class _Again:
    """Writes the first ticket over and over."""

    def __init__(self, writer: Writer, first: list[bytes]) -> None:
        self._writer, self._first = writer, first

    def nonce(self) -> bytes:
        return self._writer.nonce()

    def sealed(self, ticket: Any) -> bytes:
        self._first[:] = self._first or [self._writer.sealed(ticket)]
        return self._first[0]


async def test_an_egress_process_that_has_just_begun_gets_another_ticket(tmp_path: Path) -> None:
    clock = time.monotonic_ns()
    async with world(tmp_path, since=clock) as here:
        once = iter([clock - 10**9])
        here.way.clock = lambda: next(once, 0) or time.monotonic_ns()
        assert (await here.ask())[0] == 200
        assert [line.code for line in here.written() if isinstance(line, RefusedLine)] == ["egress_ticket"]


async def test_no_egress_process(tmp_path: Path) -> None:
    (tmp_path / "egress.sock").touch()
    way = Way(tmp_path / "egress.sock", KEY)
    pool = Pool(
        Origin.parse("http://127.0.0.1:1"), connect_timeout=1, limit=1, through=Through(way, "house", "house/m")
    )
    with pytest.raises(InternalError) as caught:
        await pool.acquire(Flight(0.0))
    assert (caught.value.code, caught.value.status) == ("egress_down", 503)
    way.close()


async def test_an_egress_process_that_dies_in_the_middle(tmp_path: Path) -> None:
    async with world(tmp_path, _silent) as here:
        asking = asyncio.create_task(here.ask())
        await _until(lambda: any(isinstance(line, Sent) for line in here.written()))
        for peer in list(here.egress.peers):
            peer.cut()
        with pytest.raises(InternalError) as caught:
            await asking
        assert caught.value.code == "egress_down"


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_worker_that_leaves_cuts_the_provider_off(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    async with world(tmp_path, serve) as here:
        flight = Flight(asyncio.get_running_loop().time(), "key", KNOWN)
        asking = asyncio.create_task(_with(here, flight))
        await _until(lambda: any(isinstance(line, Sent) for line in here.written()))
        flight.abort(UpstreamTimeout("the client has left"))
        with pytest.raises(UpstreamTimeout):
            await asking
        await asyncio.wait_for(left.wait(), 5)
        assert any(isinstance(line, Back) and not line.whole for line in here.written())


async def _with(here: World, flight: Flight) -> None:
    connection = await here.pool.acquire(flight)
    head = request_head("POST", here.pool.origin.authority, "/v1/chat/completions", [])
    try:
        connection.send(flight, head + b"content-length: 2\r\n\r\n{}")
        await connection.head()
    finally:
        connection.finish()


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        gone = await asyncio.start_server(answering, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{gone.sockets[0].getsockname()[1]}"
        gone.close()
        await gone.wait_closed()
        text = f'discover: false\nproviders: {{house: {{base_url: "{url}/v1", api_key: "{SECRET}"}}}}\n'
        config = loads(text.encode(), {}, providers=[]).config
        here.egress.replace(Gate(config, resolve(config, {}), frozenset({VERSION})))
        here.url = url
        error = await refusal(here, pool=here.way_to("house"))
        assert isinstance(error, UpstreamUnreachable)


@pytest.mark.parametrize("before", [0, 1])
async def test_a_provider_that_closes_without_an_answer(tmp_path: Path, before: int) -> None:
    """Where the connection was new it says something of the provider; a kept one may have been closed by chance."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            while served < before:
                await reader.readuntil(b'{"a": 1}')
                served += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await reader.readuntil(b'{"a": 1}')
        finally:
            writer.close()

    async with world(tmp_path, serve) as here:
        for _ in range(before):
            assert await here.ask() == (200, b"ok")
        flight = Flight(asyncio.get_running_loop().time(), "key", KNOWN)
        connection = await here.pool.acquire(flight)
        head = request_head("POST", here.pool.origin.authority, "/v1/chat/completions", [])
        connection.send(flight, head + b'content-length: 8\r\n\r\n{"a": 1}')
        with pytest.raises(UpstreamCut):
            await connection.head()
        assert (connection.used > 1) == bool(before)
        connection.finish()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 11\r\n\r\nhello world",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello worldHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    ],
)
@pytest.mark.parametrize("pieces", [False, True])
async def test_every_form_of_answer(tmp_path: Path, answer: bytes, pieces: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a": 1}')
        for place in range(len(answer)) if pieces else ():
            writer.write(answer[place : place + 1])
            await writer.drain()
        if not pieces:
            writer.write(answer)
        await writer.drain()
        writer.close()

    async with world(tmp_path, serve) as here:
        for _ in range(2):
            assert await here.ask() == (200, b"hello world")


async def test_an_answer_that_is_cut_is_cut_here_too(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a": 1}')
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with world(tmp_path, serve) as here:
        with pytest.raises(UpstreamCut):
            await here.ask()


async def test_a_slow_worker_slows_the_provider_down(tmp_path: Path) -> None:
    """What a worker does not read stays with the provider: a few buffers hold it, not this process."""
    gone = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal gone
        await reader.readuntil(b'{"a": 1}')
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while gone < 200:
                writer.write(bytes(1 << 20))
                await writer.drain()
                gone += 1
        except ConnectionError:
            pass
        writer.close()

    async with world(tmp_path, serve) as here:
        flight = Flight(asyncio.get_running_loop().time(), "key", KNOWN)
        connection = await here.pool.acquire(flight)
        head = request_head("POST", here.pool.origin.authority, "/v1/chat/completions", [])
        connection.send(flight, head + b'content-length: 8\r\n\r\n{"a": 1}')
        assert await connection.head() == 200
        before = -1
        while before != gone:
            before = gone
            await asyncio.sleep(0.1)
        assert gone < 100
        size = 0
        while piece := await connection.chunk():
            size += len(piece)
        assert size == 200 << 20
        connection.finish()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(12), b"\xff" * 12, framed(b"x" * 33, b"", b"")])
async def test_garbage_gets_no_further(tmp_path: Path, garbage: bytes) -> None:
    async with world(tmp_path) as here:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "egress.sock")
        writer.write(garbage)
        answer = await asyncio.wait_for(reader.read(1), 5)
        assert answer in (b"", b"\1")
        writer.close()
        assert not any(isinstance(line, Sent | Opened) for line in here.written())


async def test_somebody_elses_processes_are_not_heard(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.egress.user = os.getuid() + 1
        assert (await refusal(here)).code == "egress_down"


async def test_nothing_is_sent_that_cannot_be_written_down(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.ask()
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, here.egress.records._descriptor)
        os.close(full)
        error = await refusal(here)
        assert (error.code, error.status) == ("egress_record", 503)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


async def pictures(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of pictures: `/moved` leads to `/a.png`."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET /moved"):
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /a.png\r\ncontent-length: 0\r\n\r\n")
    elif head.startswith(b"GET /a.png"):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(PNG) + PNG)
    else:
        writer.write(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


def here_too(monkeypatch: pytest.MonkeyPatch, url: str) -> UrlLimits:
    """Limits under which the egress process fetches from this machine, as it never does."""
    limits = UrlLimits(http=True, ports=frozenset({int(url.rpartition(":")[2])}), allowed=lambda _: True)
    fields = {"http": True, "ports": limits.ports, "allowed": limits.allowed}
    monkeypatch.setattr(fetching, "UrlLimits", functools.partial(UrlLimits, **fields))
    return limits


async def test_a_picture_is_fetched_over_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, pictures) as here:
        limits = here_too(monkeypatch, here.url)
        told: list[tuple[str, str]] = []
        noted = Noted(
            **{name: getattr(limits, name) for name in UrlLimits.__struct_fields__ if name != "through"},
            through=Through(here.way, ""), note=lambda *words: told.append(words), known=KNOWN, may=lambda _: None,
        )  # fmt: skip
        found = await noted.fetch(f"{here.url}/moved", limits=noted)
        assert found == Fetched("image/png", PNG)
        authority = here.url.removeprefix("http://")
        assert told == [(authority, f"{here.url}/moved"), (authority, "")]
        lines = here.written()
        assert [line.host for line in lines if isinstance(line, FetchedLine)] == [authority, authority]
        assert sum(isinstance(line, Opened) for line in lines) == 2
        with pytest.raises(BadRequest, match="404"):
            await noted.fetch(f"{here.url}/none", limits=noted)


async def test_what_leads_inside_is_judged_over_there(tmp_path: Path) -> None:
    async with world(tmp_path, pictures) as here:
        limits = UrlLimits(through=Through(here.way, ""))
        assert limits.through is not None
        with pytest.raises(BadRequest, match="no public host"):
            await fetch_through("https://127.0.0.1/a.png", limits, limits.through, KNOWN)
        assert not any(isinstance(line, Opened) for line in here.written())


async def test_a_url_of_a_sensitive_request_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, pictures) as here:
        limits = here_too(monkeypatch, here.url)
        known = Facts(asked="m", needs=frozenset(), input_tokens=1, output_tokens=1, label=Label(3))
        for one in (known, None):
            with pytest.raises(PolicyError) as caught:
                await fetch_through(f"{here.url}/a.png", limits, Through(here.way, ""), one)
            assert caught.value.code == "egress_label"
        assert not any(isinstance(line, FetchedLine | Opened) for line in here.written())
