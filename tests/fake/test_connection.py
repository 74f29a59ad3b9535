"""HTTP as clients really send it: pipelined, chunked, cut anywhere, HTTP/1.0, and no HTTP at all."""

import asyncio
import contextlib
import json
import socket
import struct
from typing import Any

import pytest
import uvloop

from freehold.fake import FakeProvider

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


def post(extra: bytes = b"", body: bytes = BODY, version: bytes = b"1.1") -> bytes:
    return b"POST /v1/chat/completions HTTP/%b\r\nhost: f\r\n%bcontent-length: %d\r\n\r\n%b" % (
        version, extra, len(body), body,
    )  # fmt: skip


async def talk(fake: FakeProvider, *pieces: bytes, pause: float = 0.0, until: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    seen = b""
    for piece in pieces:
        writer.write(piece)
        if pause:
            await asyncio.sleep(pause)
    while data := await asyncio.wait_for(reader.read(1 << 16), 5):
        seen += data
        if until and until in seen:
            break
    writer.close()
    return seen


CLOSE = b"connection: close\r\n"


async def test_pipelined_requests_are_answered_in_order(fake: FakeProvider) -> None:
    texts = [f"text={i}" for i in range(200)]
    delays = ["; latency=5" if i % 50 == 0 else "" for i in range(200)]
    requests = [post(f"x-fake: {t}{d}\r\n".encode()) for t, d in zip(texts, delays, strict=True)]
    seen = await talk(fake, b"".join(requests), post(CLOSE))
    answers = [part.partition(b"\r\n\r\n")[2] for part in seen.split(b"HTTP/1.1 200 OK")[1:]]
    said = [json.loads(answer)["choices"][0]["message"]["content"] for answer in answers]
    assert said[:-1] == [str(i) for i in range(200)]
    assert [row.seq for row in fake.served.rows] == list(range(1, 202))


async def test_a_stream_and_a_pipelined_request(fake: FakeProvider) -> None:
    streamed = post(b"x-fake: event=1\r\n", BODY[:-1] + b',"stream":true}')
    seen = await talk(fake, streamed + post(CLOSE))
    first, second = seen.split(b"0\r\n\r\nHTTP/1.1")
    assert b"[DONE]" in first
    assert b'"object":"chat.completion"' in second


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_requests_cut_anywhere(size: int, fake: FakeProvider) -> None:
    data = post(CLOSE)
    seen = await talk(fake, *(data[i : i + size] for i in range(0, len(data), size)), pause=0.0002)
    assert b"200 OK" in seen


async def test_chunked_bodies_and_continue(fake: FakeProvider) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(BODY[i : i + 9]), BODY[i : i + 9]) for i in range(0, len(BODY), 9))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: f\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n"
    seen = await talk(fake, head + CLOSE + b"\r\n", chunks + b"0\r\n\r\n", pause=0.01)
    assert seen.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert fake.served.rows[-1].bytes_in == len(BODY)


async def test_http_10_gets_no_chunks(fake: FakeProvider) -> None:
    streamed = BODY[:-1] + b',"stream":true}'
    for extra in (b"", b"connection: keep-alive\r\n"):
        seen = await talk(fake, post(extra, streamed, b"1.0"))
        body = seen.partition(b"\r\n\r\n")[2]
        assert body.startswith(b"data: {")
        assert body.endswith(b"data: [DONE]\n\n")
    assert fake.served.totals.complete == 2


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"])
async def test_what_is_no_http_is_refused(garbage: bytes, fake: FakeProvider) -> None:
    seen = await talk(fake, garbage)
    assert seen.startswith(b"HTTP/1.1 400 ")
    assert b"200 OK" in await talk(fake, post(CLOSE))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"model":3,"messages":[]}', "model"),
        (b'{"messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":[],"n":1000000000}', "n must be"),
        (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"model":"\xff","messages":[]}', ""),
    ],
)
async def test_bodies_no_provider_accepts(body: bytes, word: str, fake: FakeProvider) -> None:
    for path in (b"/v1/chat/completions", b"/v1/messages"):
        request = post(CLOSE, body).replace(b"/v1/chat/completions", path)
        seen = await talk(fake, request)
        assert b" 400 " in seen[:20]
        error = json.loads(seen.partition(b"\r\n\r\n")[2])["error"]
        assert error["type"] == "invalid_request_error"
        if path == b"/v1/chat/completions":
            assert word in error["message"]
    assert fake.served.totals.errors == 2
    assert fake.served.totals.input_tokens == 0


async def test_paths_with_and_without_version(fake: FakeProvider) -> None:
    paths = ("/chat/completions", "/openai/v1/chat/completions", "/openai/deployments/d/chat/completions?api-version=1")
    for path in paths:
        seen = await talk(fake, post(CLOSE).replace(b"/v1/chat/completions", path.encode()))
        assert b"200 OK" in seen
    assert [row.path for row in fake.served.rows] == [path.partition("?")[0] for path in paths]
    for path, word in (("/v1/nothing", b"invalid_request_error"), ("/v1beta/models/m:fly", b"no such path")):
        seen = await talk(fake, post(CLOSE).replace(b"/v1/chat/completions", path.encode()))
        assert b" 404 " in seen[:20]
        assert word in seen
    seen = await talk(fake, b"GET /v1/messages HTTP/1.1\r\nhost: f\r\nconnection: close\r\n\r\n")
    assert b" 405 " in seen[:20]
    assert b'"type":"error"' in seen


async def test_a_client_that_reads_slowly_gets_everything(fake: FakeProvider) -> None:
    """4 MiB in events, against a client that reads a little at a time: nothing is lost and nothing is reordered."""
    fake.script = {"default": {"text": "0123456789abcdef" * 65536, "chunk": 4096}}  # type: ignore[assignment]
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port, limit=4096)
    writer.write(post(CLOSE, BODY[:-1] + b',"stream":true,"n":4}'))
    seen = b""
    while data := await asyncio.wait_for(reader.read(2048), 5):
        seen += data
    writer.close()
    assert seen.count(b'"content":"0123456789abcdef') == 4 * 256
    assert seen.endswith(b"0\r\n\r\n")
    await fake.until(lambda served: served.totals.complete == 1)


async def test_reading_stops_when_too_many_wait(fake: FakeProvider) -> None:
    requests = post(b"x-fake: latency=30\r\n") + post() * 500 + post(CLOSE)
    seen = await talk(fake, requests)
    assert seen.count(b"HTTP/1.1 200 OK") == 502
    assert fake.served.totals.complete == 502


async def test_stopping_ends_open_responses() -> None:
    async with FakeProvider() as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        writer.write(post(b"x-fake: latency=60000\r\n"))
        await fake.until(lambda served: served.totals.requests == 1)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert fake.served.totals.cut == 1
    writer.close()


async def test_latency_and_gaps_are_kept(fake: FakeProvider) -> None:
    started = asyncio.get_running_loop().time()
    await talk(
        fake, post(CLOSE + b"x-fake: latency=40; first=20; event=10; events=5\r\n", BODY[:-1] + b',"stream":true}')
    )
    assert asyncio.get_running_loop().time() - started > 0.1


def test_it_runs_on_uvloop_too() -> None:
    async def main() -> tuple[Any, bytes, bytes]:
        async with FakeProvider() as fake:
            good = await talk(fake, post() * 100 + post(CLOSE, BODY[:-1] + b',"stream":true}'))
            try:
                cut = await talk(fake, post(b"x-fake: fault=reset_mid_stream\r\n"))
            except ConnectionResetError:
                cut = b"reset"
            _, writer = await asyncio.open_connection("127.0.0.1", fake.port)
            writer.write(post(b"x-fake: fault=stall_mid_stream\r\n"))
            await fake.until(lambda served: served.totals.requests == 103)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await fake.until(lambda served: served.totals.cancelled == 1)
            assert fake.served.rows[-1].ended == "client_rst"
            return fake.served.totals, good, cut

    totals, good, cut = uvloop.run(main())
    assert good.count(b"HTTP/1.1 200 OK") == totals.complete == 101
    assert cut == b"reset"
