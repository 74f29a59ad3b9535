"""Recorded provider answers, replayed as the upstream and read through the gateway in both client dialects.

Whatever the provider's dialect and wherever its bytes were cut on the way: text, tool calls, finish reason and usage
must be what a direct reading of the recording says (support/recorded.py, which shares no code with the product).
"""

import asyncio
import json
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from recorded import FILE, Exchange, exchanges
from running import KEY, Running, gateway_for

EXCHANGES = list(exchanges())
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

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
        exchange = EXCHANGES[number]
        cut = random.Random(number)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n")
        writer.write(f"Content-Type: {exchange.content_type}\r\n\r\n".encode())
        rest = exchange.body
        while rest:
            piece, rest = rest[: (size := cut.choice([1, 7, 60, 700, 5000]))], rest[size:]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if cut.random() < 0.1:
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    upstream = Replay()
    folder: Path = tmp_path_factory.mktemp("recorded")
    with gateway_for(folder, f"http://127.0.0.1:{upstream.port}", "retries: 0") as running:
        yield running
    upstream.stop()


def cases() -> list[Any]:
    return [pytest.param(number, exchange, id=exchange.name) for number, exchange in enumerate(EXCHANGES)]


@pytest.fixture(scope="module")
def chat(replaying: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=replaying.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def messages(replaying: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=replaying.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(("number", "exchange"), cases())
def test_both_clients_read_what_the_provider_said(
    chat: openai.OpenAI, messages: anthropic.Anthropic, number: int, exchange: Exchange
) -> None:
    truth = exchange.truth
    model = f"{exchange.provider}/rec-{number}"
    stream = exchange.content_type == "text/event-stream"

    text, calls, finish, usage = (read_chat_stream if stream else read_chat)(chat, model)
    assert text == truth.text
    assert calls == truth.calls
    assert finish == truth.finish
    assert usage == (truth.input, truth.output, truth.cached)

    text, calls, finish, usage = read_messages(messages, model, stream)
    assert text == truth.text
    assert calls == truth.calls
    if exchange.provider != "anthropic":
        assert finish == _STOP[truth.finish]
    assert usage == (truth.input, truth.output, truth.cached)


Read = tuple[str, list[tuple[str, Any]], str, tuple[int, int, int]]


def read_chat(client: openai.OpenAI, model: str) -> Read:
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    choice, usage = reply.choices[0], reply.usage
    assert usage is not None
    calls = [
        (call.function.name, json.loads(call.function.arguments or "{}"))
        for call in choice.message.tool_calls or []
        if call.type == "function"
    ]
    cached = (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0
    counted = (usage.prompt_tokens, usage.completion_tokens, cached)
    return choice.message.content or "", calls, choice.finish_reason, counted


def read_chat_stream(client: openai.OpenAI, model: str) -> Read:
    text, finish, counted = "", "", (0, 0, 0)
    calls: dict[int, list[str]] = {}
    for chunk in client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "x"}], stream=True, stream_options={"include_usage": True}
    ):
        if chunk.usage is not None:
            details = chunk.usage.prompt_tokens_details
            counted = (
                chunk.usage.prompt_tokens,
                chunk.usage.completion_tokens,
                (details and details.cached_tokens) or 0,
            )
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                entry = calls.setdefault(call.index, ["", ""])
                assert call.function is not None
                entry[0] += call.function.name or ""
                entry[1] += call.function.arguments or ""
    return text, [(name, json.loads(arguments or "{}")) for name, arguments in calls.values()], finish, counted


def read_messages(client: anthropic.Anthropic, model: str, stream: bool) -> Read:
    asked: dict[str, Any] = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}
    if stream:
        with client.messages.stream(**asked) as events:
            reply = events.get_final_message()
    else:
        reply = client.messages.create(**asked)
    text = "".join(block.text for block in reply.content if block.type == "text")
    calls = [(block.name, block.input) for block in reply.content if block.type == "tool_use"]
    usage = reply.usage
    cached = usage.cache_read_input_tokens or 0
    total = usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0)
    return text, calls, str(reply.stop_reason), (total, usage.output_tokens, cached)
