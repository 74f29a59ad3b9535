"""The HTTP server over real sockets: what a client may send, and what it gets when it sends something else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from freehold.errors import ClientGone, FreeholdError, TooLarge
from freehold.serve import http
from freehold.serve.exchange import Exchange, line
from freehold.serve.http import HttpConnection, sweep


class Served:
    """A server whose application echoes; `/stream` sends three pieces, `/wait` until `release`, `/deaf` never reads."""

    def __init__(self) -> None:
        self.connections: set[HttpConnection] = set()
        self.seen: list[Exchange] = []
        self.release = asyncio.Event()
        self.failures: list[FreeholdError] = []
        self.port = 0

    async def application(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        try:
            if exchange.path == "/deaf":
                exchange.answer(401, b"", b"no")
            elif exchange.path == "/stream":
                exchange.begin(200, b"content-type: text/plain\r\n")
                for piece in (b"one ", b"two ", b"three"):
                    exchange.write(piece)
                exchange.end()
            elif exchange.path == "/wait":
                exchange.begin(200, b"")
                await asyncio.wait_for(exchange.gone(), 5)
            else:
                body = await exchange.read(100_000)
                exchange.answer(200, b"x-path: %b\r\n" % exchange.path.encode(), body)
        except FreeholdError as error:
            self.failures.append(error)
            if not exchange.disconnected:
                exchange.answer(error.status, b"", error.message.encode())

    async def talk(self, *pieces: bytes, close: bool = True) -> bytes:
        """Sends the pieces one by one; returns everything that comes back until the server closes or falls silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = b""
        try:
            while data := await asyncio.wait_for(reader.read(65536), 0.25):
                answer += data
        except TimeoutError:
            pass
        writer.close()
        return answer


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    served = Served()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: HttpConnection(served.application, loop, served.connections), "127.0.0.1", 0
    )
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for connection in list(served.connections):
            connection.abort()
        await asyncio.sleep(0)


def post(path: str, body: bytes, *lines: str, version: str = "1.1") -> bytes:
    head = "".join(f"{text}\r\n" for text in (f"content-length: {len(body)}", *lines))
    return f"POST {path} HTTP/{version}\r\nhost: x\r\n{head}\r\n".encode() + body


async def test_a_body_in_any_number_of_pieces() -> None:
    async with serving() as served:
        request = post("/echo", b"hello world")
        whole = await served.talk(request)
        split = await served.talk(*(request[i : i + 7] for i in range(0, len(request), 7)))
    assert whole == split
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert whole.endswith(b"\r\n\r\nhello world")
    assert b"content-length: 11\r\n" in whole


async def test_a_chunked_body_and_a_stream_as_answer() -> None:
    async with serving() as served:
        echoed = await served.talk(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        streamed = await served.talk(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert echoed.endswith(b"abcde")
    head, _, body = streamed.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"


async def test_http_1_0_gets_no_chunks_and_the_end_of_the_connection() -> None:
    async with serving() as served:
        streamed = await served.talk(b"GET /stream HTTP/1.0\r\n\r\n")
    head, _, body = streamed.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert b"connection: close" in head
    assert body == b"one two three"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served:
        answers = await served.talk(b"".join(post(f"/{n}", b"%d" % n) for n in range(10)))
    assert [part.split(b"\r\n")[0] for part in answers.split(b"x-path: ")[1:]] == [b"/%d" % n for n in range(10)]


async def test_too_many_pipelined_requests_end_the_connection() -> None:
    async with serving() as served:
        await served.talk(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * (http.MAX_PIPELINED + 10))
        assert len(served.seen) == 1


async def test_head_and_connection_close() -> None:
    async with serving() as served:
        answer = await served.talk(b"HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        empty = served.connections == set()
    assert answer.endswith(b"connection: close\r\n\r\n")
    assert empty


async def test_expect_100_continue_is_answered_before_the_body() -> None:
    async with serving() as served:
        request = post("/", b"body", "expect: 100-continue")
        answer = await served.talk(request[:-4], request[-4:])
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_json_error_with_an_id(garbage: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    async with serving() as served:
        answer = await served.talk(garbage)
        assert served.connections == set()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: req_" in head
    assert "error" in json.loads(body)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (http.MAX_HEAD_LINES + 1) + b"\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * http.MAX_HEAD_BYTES + b"\r\n",
        b"GET /" + b"y" * (http.MAX_HEAD_BYTES + 10),
    ],
)
async def test_a_long_head_is_refused(head: bytes) -> None:
    async with serving() as served:
        answer = await served.talk(head)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert served.seen == []


async def test_an_answer_before_the_body_leaves_the_connection_usable() -> None:
    async with serving() as served:
        early = post("/deaf", b"z" * 300_000)
        answer = await served.talk(early[:200], early[200:], post("/next", b"ok"))
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert answer.endswith(b"\r\n\r\nok")


async def test_an_answer_before_the_body_reaches_a_client_that_will_close() -> None:
    """Closed at once, the connection would be reset under a client that is still sending."""
    async with serving() as served:
        head = b"POST /deaf HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head)
        assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 401 ")
        writer.write(b"z" * 300_000)
        await writer.drain()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert served.connections == set()
        writer.close()


async def test_a_silent_stream_is_kept_alive() -> None:
    async with serving() as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        while not served.seen or not served.seen[0].begun:
            await asyncio.sleep(0.005)
        served.seen[0].heartbeat = b": alive\n\n"
        now = asyncio.get_running_loop().time()
        sweep(served.connections, now)
        assert served.seen[0].active
        writer.close()
        while served.connections:
            await asyncio.sleep(0.005)


async def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_size() -> None:
    async with serving() as served:
        announced = await served.talk(post("/", b"z" * 200_000)[:500])
        chunk = b"%x\r\n%b\r\n" % (60_000, b"z" * 60_000)
        chunked = await served.talk(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, chunk)
        kinds = {type(error) for error in served.failures}
    assert announced.startswith(b"HTTP/1.1 413 ")
    assert chunked.startswith(b"HTTP/1.1 413 ")
    assert kinds == {TooLarge}


async def test_a_body_that_breaks_off_is_the_clients_fault() -> None:
    async with serving() as served:
        broken = await served.talk(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
        assert broken.startswith(b"HTTP/1.1 400 ")
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post("/", b"never all of it")[:-3])
        await writer.drain()
        while len(served.seen) < 2:
            await asyncio.sleep(0.005)
        writer.close()
        while len(served.failures) < 2:
            await asyncio.sleep(0.005)
    assert isinstance(served.failures[1], ClientGone)


async def test_a_client_that_leaves_is_noticed() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n")
        writer.close()
        task = served.seen[0].task
        assert task is not None
        await asyncio.wait_for(task, 2)
        assert served.seen[0].disconnected


async def test_slow_and_idle_clients_are_swept_but_not_those_who_wait_for_us() -> None:
    async with serving() as served:
        loop = asyncio.get_running_loop()
        _, slow = await asyncio.open_connection("127.0.0.1", served.port)
        slow.write(b"POST / HT")
        _, waiting = await asyncio.open_connection("127.0.0.1", served.port)
        waiting.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        while not served.seen or len(served.connections) < 2:
            await asyncio.sleep(0.005)
        sweep(served.connections, loop.time() + http.HEAD_SECONDS - 5)
        await asyncio.sleep(0.01)
        assert len(served.connections) == 2
        sweep(served.connections, loop.time() + 10 * http.BODY_SECONDS)
        await asyncio.sleep(0.01)
        assert [connection.current for connection in served.connections] == served.seen
        slow.close()
        waiting.close()


async def test_a_client_that_does_not_read_blocks_the_writer_only_until_it_leaves() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        exchange = served.seen[0]
        while not exchange.blocked:
            exchange.write(b"z" * 1_000_000)
            await asyncio.sleep(0)
        drained = asyncio.ensure_future(exchange.drain())
        writer.transport.abort()
        await asyncio.wait_for(drained, 5)
        assert exchange.disconnected


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\n", b"\0"])
def test_a_header_line_is_one_line(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        line(b"x", value)
