"""The bill: exact, in order, and honest about clients that leave."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import ConfigError
from freehold.fake import FakeProvider

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def post(body: Any, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: f\r\ncontent-length: {len(data)}\r\n{lines}\r\n".encode() + data


async def response(reader: asyncio.StreamReader) -> tuple[bytes, Any]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    body = await asyncio.wait_for(reader.readexactly(length), 5)
    return head, json.loads(body) if body else None


async def control(fake: FakeProvider, method: str, path: str, body: bytes = b"") -> tuple[bytes, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(
        f"{method} /__fake__/{path} HTTP/1.1\r\nhost: f\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )
    seen = await response(reader)
    writer.close()
    return seen


async def test_a_client_that_leaves_is_noticed_when_it_leaves(fake: FakeProvider) -> None:
    for reset, word in ((False, "client_fin"), (True, "client_rst")):
        _, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        writer.write(post(CHAT, x_fake="latency=60000"))
        count = fake.served.totals.requests
        await fake.until(lambda served, count=count: served.totals.requests == count + 1)
        await asyncio.sleep(0.03)
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()
        await fake.until(lambda served, count=count: served.totals.cancelled == count + 1)
        row = fake.served.rows[-1]
        assert row.ended == word
        assert row.cancelled_after_ms is not None
        assert 25 < row.cancelled_after_ms < 5000
        assert (row.complete, row.output_tokens) == (False, 0)
        assert row.input_tokens > 0


async def test_what_was_streamed_before_the_client_left_is_billed(fake: FakeProvider) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(post({**CHAT, "stream": True}, x_fake="events=100; event=5; text=word "))
    full = None
    seen = b""
    while seen.count(b"word") < 20:
        seen += await asyncio.wait_for(reader.read(1000), 5)
        full = full or fake.served.rows[-1].output_tokens
    writer.close()
    await fake.until(lambda served: served.totals.cancelled == 1)
    row = fake.served.rows[-1]
    assert full
    assert 0.15 * full < row.output_tokens < 0.9 * full
    assert fake.served.totals.output_tokens == row.output_tokens


async def test_a_complete_reply_is_not_cancelled_by_a_later_close(fake: FakeProvider) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(post(CHAT))
    await response(reader)
    writer.close()
    await writer.wait_closed()
    assert (fake.served.totals.complete, fake.served.totals.cancelled) == (1, 0)


async def test_the_file_has_the_row_before_the_client_has_the_reply(tmp_path: Path) -> None:
    file = tmp_path / "served.jsonl"
    async with FakeProvider(served_file=file) as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        for number, fault in enumerate(("comments", "comments", "cut_before_headers"), 1):
            body = {**CHAT, "stream": True}
            writer.write(post(body, x_client_request_id=f"r{number}", x_fake=f"fault={fault}"))
            assert bool(await reader.read(1 << 16)) == (number < 3)
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            assert [row["seq"] for row in rows] == list(range(1, number + 1))
            assert (rows[-1]["client_request_id"], rows[-1]["path"]) == (f"r{number}", "/v1/chat/completions")
            await fake.until(lambda served: served.rows[-1].ended != "open")
            with contextlib.suppress(TimeoutError):
                while number < 3 and await asyncio.wait_for(reader.read(1 << 16), 0.05):
                    pass
        writer.close()
        await writer.wait_closed()
    with pytest.raises(ConfigError):
        FakeProvider(served_file=tmp_path / "none" / "x")


async def test_totals_stay_exact_when_old_rows_are_dropped() -> None:
    async with FakeProvider(keep=5) as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        for _ in range(12):
            writer.write(post(CHAT))
            await response(reader)
        report = (await control(fake, "GET", "served"))[1]
        assert report["totals"]["requests"] == report["totals"]["complete"] == 12
        assert report["oldest"] == 8
        assert [row["seq"] for row in report["rows"]] == [8, 9, 10, 11, 12]
        assert report["totals"]["input_tokens"] == 12 * report["rows"][0]["input_tokens"]
        assert [row["seq"] for row in (await control(fake, "GET", "served?since=10"))[1]["rows"]] == [11, 12]
        writer.close()


async def test_the_last_request_is_shown_without_its_secrets(fake: FakeProvider) -> None:
    assert b"404" in (await control(fake, "GET", "requests/last"))[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(post(CHAT, "/v1/chat/completions?key=sekrit&x=1", Authorization="Bearer sk-sekrit", X_Trace="abc"))
    await response(reader)
    _, last = await control(fake, "GET", "requests/last")
    assert "sekrit" not in json.dumps(last)
    assert last["method"] == "POST"
    assert last["path"] == "/v1/chat/completions?x=1"
    assert last["headers"]["x-trace"] == "abc"
    assert last["auth"]["authorization"]["present"]
    assert not last["auth"]["x-api-key"]["present"]
    assert last["body"] == CHAT
    writer.write(post(CHAT, "/v1/messages", x_api_key="sk-sekrit"))
    await response(reader)
    again = (await control(fake, "GET", "requests/last"))[1]
    assert again["auth"]["x-api-key"]["sha256"] == last["auth"]["authorization"]["sha256"]
    writer.close()


async def test_control(fake: FakeProvider) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    assert (await control(fake, "POST", "script", b"rules: [{times: 1, reply: {text: first}}]"))[1] == {"rules": 1}

    async def said() -> str:
        writer.write(post(CHAT))
        text: str = (await response(reader))[1]["choices"][0]["message"]["content"]
        return text

    assert await said() == "first"
    assert await said() != "first"
    await control(fake, "POST", "reset")
    assert fake.served.totals.requests == len(fake.served.rows) == 0
    assert await said() == "first"
    head, wrong = await control(fake, "POST", "script", b"rules: [{reply: {txt: a}}]")
    assert b"http/1.1 400" in head
    assert "txt" in wrong["error"]
    assert b"404" in (await control(fake, "GET", "nothing"))[0]
    assert b"400" in (await control(fake, "GET", "served?since=x"))[0]
    assert len((await control(fake, "GET", "faults"))[1]) > 40
    assert fake.served.totals.requests == 1
    writer.close()


async def test_responses_of_an_old_bill_do_not_enter_the_new_one(fake: FakeProvider) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(post(CHAT, x_fake="latency=60000"))
    await fake.until(lambda served: served.totals.requests == 1)
    fake.reset()
    writer.close()
    await writer.wait_closed()
    reader, other = await asyncio.open_connection("127.0.0.1", fake.port)
    other.write(post(CHAT))
    await response(reader)
    other.close()
    totals = fake.served.totals
    assert (totals.requests, totals.complete, totals.cancelled) == (1, 1, 0)


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("/v1/chat/completions", {"authorization": "Bearer k1"}, {"x_api_key": "k1"}),
        ("/v1/chat/completions", {"api_key": "k1"}, {}),
        ("/v1/messages", {"x_api_key": "k1"}, {"api_key": "k1"}),
        ("/v1/messages", {"authorization": "Bearer k1"}, {"x_api_key": "k2"}),
        ("/v1beta/models/m:generateContent", {"x_goog_api_key": "k1"}, {"x_api_key": "k1"}),
        ("/v1beta/models/m:generateContent?key=k1", {}, None),
        ("/v1beta/models/m:generateContent", {"authorization": "Bearer k1"}, {"authorization": "k2"}),
    ],
)
async def test_a_key_is_asked_for_in_the_dialects_way(path: str, good: Any, bad: Any) -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [], "contents": []}
    async with FakeProvider(key="k1") as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        writer.write(post(body, path, **good))
        assert b"http/1.1 200" in (await response(reader))[0]
        if bad is not None:
            writer.write(post(body, path, **bad))
            head, value = await response(reader)
            assert b"http/1.1 401" in head
            assert "k1" not in json.dumps(value)
        writer.close()


def exchanges(folder: Path) -> Path:
    stream = "".join(f'data: {{"n":{n},"t":"ü"}}\n\n' for n in range(40)) + "data: [DONE]\n\n"
    common = {"host": "api.openai.com", "method": "POST", "uri": "https://api.openai.com/v1/chat/completions"}
    rows: list[dict[str, Any]] = [
        {"source": "a", "index": 0, **common, "request": CHAT, "status": 200, "content_type": "application/json",
         "response": {"first": 1}, "response_text": None},
        {"source": "a", "index": 1, **common, "request": CHAT, "status": 429, "content_type": "application/json",
         "response": {"second": 2}, "response_text": None},
        {"source": "b", "index": 0, **common, "host": "api.groq.com", "request": {**CHAT, "stream": True},
         "status": 200, "content_type": "text/event-stream; charset=utf-8", "response": None, "response_text": stream},
    ]  # fmt: skip
    file = folder / "x.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return file


async def test_replay(tmp_path: Path) -> None:
    async with FakeProvider(replay=exchanges(tmp_path)) as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)

        async def ask(body: Any, path: str = "/v1/chat/completions", **headers: str) -> tuple[bytes, Any]:
            writer.write(post(body, path, **headers))
            return await response(reader)

        renamed = {**CHAT, "model": "other", "stream": False}
        assert (await ask(renamed))[1] == {"first": 1}
        head, value = await ask(CHAT, "/chat/completions")
        assert (b"http/1.1 429" in head, value) == (True, {"second": 2})
        assert (await ask(CHAT))[1] == {"second": 2}
        assert (await ask({"anything": 1}, x_fake_replay="a:0"))[1] == {"first": 1}
        assert b"http/1.1 404" in (await ask(CHAT, x_fake_host="api.groq.com"))[0]
        assert b"http/1.1 404" in (await ask({**CHAT, "temperature": 1}))[0]
        assert b"http/1.1 404" in (await ask(CHAT, x_fake_replay="a:7"))[0]
        writer.close()


@pytest.mark.parametrize("rechunk", [None, 1, 2])
async def test_replayed_streams_are_whole_however_they_are_cut(rechunk: int | None, tmp_path: Path) -> None:
    async with FakeProvider(replay=exchanges(tmp_path), rechunk=rechunk) as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        writer.write(post({**CHAT, "stream": True, "stream_options": {"include_usage": True}}))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"text/event-stream" in head
        body, sizes = b"", []
        while size := int(await reader.readline(), 16):
            sizes.append(size)
            body += (await reader.readexactly(size + 2))[:-2]
        assert body.decode().count("data: ") == 41
        natural = [len(event) + 2 for event in body.split(b"\n\n")[:-1]]
        assert (sizes == natural) == (rechunk is None)
        writer.close()


def test_a_bad_replay_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"source": 1}\n')
    for name in ("x.jsonl", "none.jsonl.gz"):
        with pytest.raises(ConfigError) as caught:
            FakeProvider(replay=tmp_path / name)
        assert name in caught.value.where


async def test_real_recordings_replay() -> None:
    file = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"
    if not file.exists():
        pytest.skip("../shared/recorded is not here")
    async with FakeProvider(replay=file) as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        whole = [row for row in rows if row["method"] == "POST" and row["response"] is not None and row["request"]]
        for row in whole[::40]:
            writer.write(post({}, x_fake_replay=f"{row['source']}:{row['index']}"))
            assert (await response(reader))[1] == row["response"]
        writer.close()
