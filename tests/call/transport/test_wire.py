"""The HTTP client against a raw server: what it reads, what it refuses, when it lets go of a connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.call.transport import Flight, Origin, Pool, fetch, request_head
from freehold.call.transport.ticker import Ticker
from freehold.call.transport.wire import HIGH_WATER, Connection
from freehold.errors import ClientGone, FreeholdError, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.gone.set()
            writer.close()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[tuple[Pool, Server]]:
    server = Server(serve)
    listener = await asyncio.start_server(server, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    pool = Pool(Origin.parse(f"http://127.0.0.1:{port}"), connect_timeout=2.0, limit=4)
    try:
        yield pool, server
    finally:
        pool.shut()
        listener.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def flight() -> Flight:
    return Flight(asyncio.get_running_loop().time())


async def send(pool: Pool, body: bytes = b"{}") -> tuple[Flight, Connection]:
    going = flight()
    connection = await pool.acquire(going)
    connection.send(going, request_head("POST", "x", "/", []) + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return going, connection


def answering(*answers: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await request(reader)
            writer.write(answer)
            await writer.drain()

    return serve


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


async def test_a_connection_given_back_twice_serves_one_flight_at_a_time() -> None:
    """An answer that is read whole and then found to be no completion ends its exchange twice."""
    async with serving(answering(WHOLE, WHOLE)) as (pool, server):
        _, connection = await send(pool)
        assert await connection.read(100) == b"hello"
        connection.finish()
        connection.finish()
        _, first = await send(pool)
        _, second = await send(pool)
        assert first is not second
        assert await first.read(100) == await second.read(100) == b"hello"
        assert server.connections == 2


async def test_a_connection_serves_one_exchange_after_the_other() -> None:
    async with serving(answering(WHOLE, CHUNKED, WHOLE)) as (pool, server):
        for _ in range(3):
            _, connection = await send(pool)
            assert await connection.read(100) == b"hello"
            assert connection.status == 200
            connection.finish()
        assert server.connections == 1


async def test_headers_are_lower_case_and_interim_answers_are_skipped() -> None:
    async with serving(answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + WHOLE)) as (pool, _):
        _, connection = await send(pool)
        assert await connection.head() == 200
        assert connection.fields()[b"x-a"] == b"b"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhel\r\n", "broken HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "broken HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000, "64 KiB"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 300 + b"\r\n", "broken HTTP"),
    ],
)
async def test_a_cut_or_broken_answer_is_an_error_never_an_end(answer: bytes, message: str) -> None:
    async with serving(answering(answer)) as (pool, _):
        _, connection = await send(pool)
        with pytest.raises(UpstreamBroken, match=message):
            await connection.read(1000)
        connection.finish()
        assert pool.busy == 0


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\nhello")) as (pool, _):
        _, connection = await send(pool)
        assert await connection.read(100) == b"hello"


async def test_a_body_over_the_limit_is_refused() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789")) as (pool, _):
        _, connection = await send(pool)
        with pytest.raises(UpstreamBroken, match="over 5 bytes"):
            await connection.read(5)


async def test_bytes_after_an_answer_are_never_taken_for_the_next_one() -> None:
    async with serving(answering(WHOLE + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", WHOLE)) as (
        pool,
        server,
    ):
        _, connection = await send(pool)
        assert await connection.read(100) == b"hello"
        connection.finish()
        _, connection = await send(pool)
        assert b"forged" not in await connection.read(100)


async def test_an_answer_not_read_to_its_end_closes_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel")
        await reader.read()

    async with serving(serve) as (pool, server):
        _, connection = await send(pool)
        assert await connection.chunk() == b"hel"
        connection.finish()
        await asyncio.wait_for(server.gone.wait(), 2)
        assert pool.busy == 0


async def test_chunks_come_as_they_arrive_and_end_with_nothing() -> None:
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await writer.drain()
        await go.wait()
        writer.write(b"1\r\nb\r\n0\r\n\r\n")
        await writer.drain()

    async with serving(serve) as (pool, _):
        _, connection = await send(pool)
        assert await connection.chunk() == b"a"
        go.set()
        assert await connection.chunk() == b"b"
        assert await connection.chunk() == b""


async def test_an_unread_stream_is_held_back_at_the_sender() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 1024 * 1024))
        for _ in range(1024):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with serving(serve) as (pool, _):
        _, connection = await send(pool)
        await connection.head()
        for _ in range(200):
            await asyncio.sleep(0)
        assert connection._buffered <= 4 * HIGH_WATER
        total = 0
        while chunk := await connection.chunk():
            total += len(chunk)
        assert total == 64 * 1024 * 1024


async def test_an_abort_ends_every_kind_of_wait_and_cuts_the_upstream() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await reader.read()

    async with serving(serve) as (pool, server):
        going, connection = await send(pool)
        asyncio.get_running_loop().call_soon(going.abort, ClientGone("left"))
        with pytest.raises(ClientGone):
            await connection.read(10)
        connection.finish()
        await asyncio.wait_for(server.gone.wait(), 2)
        with pytest.raises(ClientGone):
            await pool.acquire(Flight(0.0)) and await going.wait(asyncio.get_running_loop().create_future())


async def test_flights_over_the_limit_wait_their_turn() -> None:
    async with serving(answering(WHOLE, WHOLE, WHOLE)) as (pool, server):
        busy = [await send(pool) for _ in range(4)]
        waiting = asyncio.ensure_future(pool.acquire(flight()))
        left = flight()
        gone = asyncio.ensure_future(pool.acquire(left))
        await asyncio.sleep(0)
        left.abort(ClientGone("left"))
        with pytest.raises(ClientGone):
            await gone
        assert await busy[0][1].read(10) == b"hello"
        busy[0][1].finish()
        assert await asyncio.wait_for(waiting, 2) is busy[0][1]
        assert server.connections == 4


async def test_a_closed_port_and_an_unknown_host_are_unreachable() -> None:
    with pytest.raises(UpstreamUnreachable):
        await fetch("GET", "http://127.0.0.1:1/")
    with pytest.raises(FreeholdError):
        await fetch("GET", "http://name.invalid/")


async def test_fetch_gives_up_after_its_timeout() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(serve) as (pool, server):
        with pytest.raises(UpstreamTimeout):
            await fetch("GET", f"http://127.0.0.1:{pool.origin.port}/x?y=1", timeout=0.05)
        await asyncio.wait_for(server.gone.wait(), 2)


async def test_the_ticker_aborts_what_is_late_and_leaves_the_rest() -> None:
    ticker = Ticker()
    late, lasting = flight(), flight()
    late.deadline = late.started
    ticker.add(late)
    ticker.add(lasting)
    with pytest.raises(UpstreamTimeout):
        await late.wait(asyncio.get_running_loop().create_future())
    assert lasting.failure is None
    ticker.flights.clear()


@pytest.mark.parametrize("bad", [b"a\r\nX-Evil: 1", b"a\n", b"\0"])
def test_a_header_value_cannot_start_another_header(bad: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head("POST", "host", "/", [(b"x", bad)])


@pytest.mark.parametrize("url", ["ftp://x", "http://", "file:///etc/passwd", "http://user:pw@host/"])
def test_odd_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"http|credentials"):
        Origin.parse(url)


class NoTransport:
    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([WHOLE, CHUNKED, WHOLE[:30], b"\r\n"])), max_size=8))
def test_no_bytes_from_upstream_make_the_parser_raise(pieces: list[bytes]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(Pool(Origin.parse("http://127.0.0.1:1"), connect_timeout=1, limit=1), loop)
        connection.connection_made(NoTransport())  # type: ignore[arg-type]
        connection.send(flight(), b"")
        for piece in pieces:
            if not connection.closed:
                connection.data_received(piece)
        connection.connection_lost(None)
        try:
            body = await connection.read(10_000)
        except FreeholdError:
            return
        assert connection.complete
        assert isinstance(body, bytes)

    asyncio.run(run())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([WHOLE, CHUNKED]), st.lists(st.integers(1, 90), max_size=12))
def test_cuts_between_packets_change_nothing(answer: bytes, cuts: list[int]) -> None:
    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        connection = Connection(Pool(Origin.parse("http://127.0.0.1:1"), connect_timeout=1, limit=1), loop)
        connection.connection_made(NoTransport())  # type: ignore[arg-type]
        connection.send(flight(), b"")
        edges = sorted({0, len(answer), *(c for c in cuts if c < len(answer))})
        for begin, end in zip(edges, edges[1:], strict=False):
            connection.data_received(answer[begin:end])
        return await connection.read(100)

    assert asyncio.run(run()) == b"hello"
