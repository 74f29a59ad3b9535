"""Recorded provider answers, replayed as the upstream and read over HTTP through the gateway in each client dialect.

Whatever the provider's dialect and wherever its bytes were cut on the way: text, reasoning, tool calls, finish reason
and usage must be what a direct reading of the recording says (support/readings.py, which shares no code with the
product). tests/conformance does the same without sockets, for every recording; here a few of each kind go the whole
way, or all of them with FREEHOLD_FIDELITY=all (`make fidelity`).
"""

import asyncio
import http.client
import os
import random
import re
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from readings import STREAM, WHOLE, Failure
from recorded import FILE, Recording, recordings
from replaying import CLIENTS, ask, shown
from running import KEY, Running, started

from freehold.call.providers import rows

EACH = 10_000 if os.environ.get("FREEHOLD_FIDELITY") == "all" else 3
"""Recordings of a kind: provider, dialect, whole or streamed, answered or refused."""

pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason="../shared/recorded is absent: recorded exchanges not replayed"
)


class Replay:
    """An upstream that answers model `rec-N` with recording N, its bytes cut at random places."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        self._known = {recording.number: recording for recording in recordings()}
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        body = await reader.readexactly(length)
        number = int(re.search(rb"rec-(\d+)", head + body)[1])  # type: ignore[index]
        recording = self._known[number]
        cut = random.Random(number)
        writer.write(b"HTTP/1.1 %d Recorded\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" % recording.status)
        writer.write(f"Content-Type: {recording.content_type}\r\n\r\n".encode())
        rest = recording.body.encode()
        while rest:
            piece, rest = rest[: (size := cut.choice([1, 7, 60, 700, 5000]))], rest[size:]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if cut.random() < 0.1:
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()


CHAT_ONLY = "together"
"""A provider in whose row no other dialect stands, so that every other client is translated for."""
SPEAKS = {"responses": "openai", "messages": "anthropic", "gemini": "gemini", "converse": "bedrock"}


def provider_of(recording: Recording, client: str) -> str:
    """The configured provider that speaks the recording's dialect, and not the client's if that is another."""
    if recording.dialect != "chat":
        return SPEAKS.get(recording.dialect, recording.provider)
    row = rows().get(recording.provider)
    alone = row is not None and row.dialect in ("chat", "mistral") and (client == "chat" or client not in row.paths)
    return recording.provider if alone else CHAT_ONLY


def config(url: str) -> str:
    """Every provider of the recordings, at one address."""
    names = {provider_of(recording, client) for recording in recordings() for client in CLIENTS}
    lines = [
        "server: {port: 0}",
        "box: false",
        "discover: false",
        "retries: 0",
        "breaker: {failures: 100000}",
        f"keys: [{{name: ci, key: {KEY}}}]",
        "providers:",
    ]
    for name in sorted(names):
        more = ", region: us-east-1" if name == "bedrock" else ""
        lines.append(f'  {name}: {{base_url: "{url}", api_key: "${{UPSTREAM_KEY}}"{more}}}')
    return "\n".join(lines)


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    upstream = Replay()
    folder = tmp_path_factory.mktemp("recorded")
    file = folder / "freehold.yaml"
    file.write_text(config(f"http://127.0.0.1:{upstream.port}"))
    home = folder / "home"
    with started("up", "--config", str(file), home=home, UPSTREAM_KEY="sk-upstream-secret-000") as running:
        yield running
    upstream.stop()


@pytest.fixture(scope="module")
def gateway(replaying: Running) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(replaying.url).netloc, timeout=30)
    yield connection
    connection.close()


def kinds() -> dict[str, list[Recording]]:
    """A few recordings of each kind, spread over the file: the same ones each time."""
    found: dict[str, list[Recording]] = {}
    for recording in recordings():
        form = "stream" if recording.streamed else "whole"
        end = "failed" if recording.truth is None else recording.truth.finish
        found.setdefault(f"{recording.provider}.{recording.dialect}-{form}-{end}", []).append(recording)
    return {kind: members[:: max(1, len(members) // EACH)][:EACH] for kind, members in found.items()}


KINDS = kinds()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_clients_read_what_the_provider_said(gateway: http.client.HTTPConnection, kind: str, client: str) -> None:
    for recording in KINDS[kind]:
        provider = provider_of(recording, client)
        # OpenAI's codex models are only in the Responses API.
        model = ("codex-" if recording.dialect == "responses" else "") + f"rec-{recording.number}"
        status, answer = send(gateway, client, f"{provider}/{model}", recording.streamed)
        read = (STREAM if recording.streamed else WHOLE)[client]
        spoken = recording.dialect if recording.dialect != "chat" else rows()[provider].dialect
        want = None if recording.truth is None else shown(recording.truth, client, spoken)
        if want is not None:
            assert status == 200, answer
            assert read(answer) == want, recording.name
        elif status == 200:
            with pytest.raises(Failure):
                read(answer)
        else:
            assert status == (recording.status if recording.status >= 400 else 502)
            assert "error" in answer


def send(gateway: http.client.HTTPConnection, client: str, model: str, stream: bool) -> tuple[int, str]:
    path, body = ask(client, model, stream)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    gateway.request("POST", path, body, headers)
    answer = gateway.getresponse()
    return answer.status, answer.read().decode()
