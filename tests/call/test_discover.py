"""Finding servers on this machine without mistaking others for them. Sockets are real, ports are not the usual ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold.call import discover
from freehold.call.discover import LocalServer, Offered, endpoints, from_environment, probe_local
from freehold.call.providers import resolve
from freehold.config.schema import Config
from freehold.errors import UpstreamTimeout

Answers = dict[int, tuple[int, dict[bytes, bytes], bytes]]


def listing(*models: str, owner: str = "") -> bytes:
    return json.dumps(
        {"object": "list", "data": [{"id": m, "object": "model", "owned_by": owner} for m in models]}
    ).encode()


class Machine:
    """Stands in for `fetch`: what answers on which port; everything else refuses."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def fetch(
        self, method: str, url: str, headers: dict[str, str], body: bytes = b"", *, timeout: float, limit: int
    ) -> tuple[int, Mapping[bytes, bytes], bytes]:
        self.asked.append(f"{method} {url}")
        port = int(url.split(":")[2].split("/")[0])
        if port not in self.answers:
            raise ConnectionRefusedError
        status, found, data = self.answers[port]
        return status, found, data[:limit]


async def probe(answers: Answers, **options: Any) -> list[LocalServer]:
    return await probe_local(Machine(answers).fetch, **options)


async def test_each_server_is_known_by_what_it_says() -> None:
    found = await probe(
        {
            8000: (200, {}, listing("qwen", owner="vllm")),
            30000: (200, {}, listing("llama", owner="sglang")),
            8080: (200, {b"server": b"llama.cpp"}, listing("a.gguf", owner="llamacpp")),
            11434: (200, {}, listing("gemma3:4b", "qwen3:8b", owner="library")),
            1234: (200, {}, listing("local-model", owner="organization_owner")),
        }
    )
    assert {server.provider: server.models for server in found} == {
        "vllm": ["qwen"],
        "sglang": ["llama"],
        "llamacpp": ["a.gguf"],
        "ollama": ["gemma3:4b", "qwen3:8b"],
        "lmstudio": ["local-model"],
    }
    assert found[0].base_url == "http://127.0.0.1:8000/v1"


async def test_servers_that_share_a_port_or_moved_are_told_apart() -> None:
    assert [s.provider for s in await probe({8000: (200, {}, listing("m", owner="tensorrt_llm"))})] == ["trtllm"]
    assert [s.provider for s in await probe({8080: (200, {}, listing("m", owner="vllm"))})] == ["vllm"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>a web server</html>"),
        (200, {}, b"[]"),
        (200, {}, b'{"data": []}'),
        (200, {}, b'{"object": "list", "data": [{"name": "no id"}]}'),
        (200, {}, b'{"object": "list", "data": 5}'),
        (200, {}, b"[" * 50_000),
        (200, {}, b"\xff\xfe"),
        (200, {}, b""),
        (200, {}, listing("m", owner="somebody")),
        (401, {}, listing("m", owner="vllm")),
        (404, {}, b"{}"),
        (302, {b"location": b"http://elsewhere.example"}, b""),
        (200, {b"server": b"freehold"}, listing("own/banking77", owner="vllm")),
        (200, {b"x-freehold-version": b"0.1.0"}, listing("own/banking77", owner="vllm")),
        (200, {}, listing("own/banking77", owner="freehold")),
        (200, {}, listing(*("m" * 1000 for _ in range(1000)), owner="vllm")),
    ],
    ids=range(16),
)
async def test_nothing_else_is_mistaken_for_a_model_server(answer: tuple[int, dict[bytes, bytes], bytes]) -> None:
    assert await probe(dict.fromkeys((8000, 8080, 30000), answer)) == []


async def test_our_own_port_is_not_asked() -> None:
    machine = Machine({8080: (200, {}, listing("m", owner="llamacpp"))})
    assert await probe_local(machine.fetch, skip=frozenset({8080})) == []
    assert all(":8080/" not in url for url in machine.asked)


async def test_every_probe_stays_on_loopback_and_asks_each_port_once() -> None:
    machine = Machine({})
    assert await probe_local(machine.fetch) == []
    assert sorted(machine.asked) == sorted(
        f"GET http://127.0.0.1:{port}/v1/models" for port in (8000, 30000, 8080, 11434, 1234)
    )


async def test_errors_of_the_transport_are_no_server() -> None:
    async def fetch(*args: Any, **options: Any) -> tuple[int, dict[bytes, bytes], bytes]:
        raise UpstreamTimeout("no answer")

    assert await probe_local(fetch) == []


async def test_a_server_that_never_answers_costs_no_more_than_the_timeout() -> None:
    async def fetch(*args: Any, **options: Any) -> tuple[int, dict[bytes, bytes], bytes]:
        await asyncio.Event().wait()
        raise AssertionError

    assert await probe_local(fetch, timeout=0.01) == []


@asynccontextmanager
async def listening(body: bytes) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body))
        writer.write(b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_with_the_real_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.call.transport.fetch import fetch

    async with listening(listing("gemma3:4b", owner="library")) as port:
        row = discover.rows()["ollama"]
        moved = type(row)(title="Ollama", dialect="chat", base_url=row.base_url, auth="bearer", paths={}, ports=[port])
        monkeypatch.setattr(discover, "rows", lambda: {"ollama": moved})
        found = await probe_local(fetch, timeout=5)
    assert found == [LocalServer("ollama", f"http://127.0.0.1:{port}/v1", ["gemma3:4b"])]


def test_what_was_found_becomes_an_endpoint() -> None:
    found = [
        LocalServer("vllm", "http://127.0.0.1:8000/v1", ["a"]),
        LocalServer("vllm", "http://127.0.0.1:8080/v1", ["b"]),
    ]
    assert endpoints(found) == [("vllm", "http://127.0.0.1:8000/v1")]
    endpoint = resolve(Config(), {}, local=endpoints(found))["vllm"]
    assert (endpoint.base_url, endpoint.unavailable) == ("http://127.0.0.1:8000/v1", None)


def test_keys_in_the_environment_are_offered_with_their_variable() -> None:
    env = {"OPENAI_API_KEY": "sk", "GEMINI_API_KEY": "g", "GROQ_API_KEY": " ", "OLLAMA_API_KEY": "o"}
    assert from_environment(env) == [Offered("openai", "OPENAI_API_KEY"), Offered("gemini", "GEMINI_API_KEY")]
