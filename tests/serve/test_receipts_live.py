"""Receipts, live: as many as requests reached the providers and the endpoints of tokens, over every endpoint and cloud.

The fakes count what they receive; nothing of what they are sent is compared here, only that each request that came has
exactly one receipt, with its host, and that no receipt stands for a request that never came.
"""

import os
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from renting import ACCESS_KEY, CLIENT_SECRET, SECRET_KEY, World, rented
from running import KEY

from freehold.record.receipts.leaf import Call, decode
from freehold.record.receipts.places import parts

HI = [{"role": "user", "content": "hi"}]
WAVE = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\0\0\0"
FORM = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nopenai/gpt-4o-transcribe\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n'
    + WAVE
    + b"\r\n--b--\r\n"
)
CHATS = (
    "openai/m", "anthropic/m", "gemini/gemini-2.5-flash", "mistral/m", "cohere/m", "groq/m", "deepseek/m", "azure/m",
    "bedrock/amazon.nova-lite-v1:0", "vertex/gemini-2.5-flash", "openai/limited", "openai/broken", "bedrock/expired",
)  # fmt: skip
OTHERS: list[tuple[str, Any]] = [
    ("/v1/embeddings", {"model": "openai/e", "input": ["a", "b"]}),
    ("/v1/embeddings", {"model": "cohere/embed-v4.0", "input": [f"text {number}" for number in range(200)]}),
    ("/v1/messages", {"model": "anthropic/m", "max_tokens": 9, "messages": HI}),
    ("/v1/messages/count_tokens", {"model": "anthropic/m", "messages": HI}),
    ("/v1beta/models/gemini%2Fgemini-2.5-flash:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
    ("/v2/rerank", {"model": "cohere/rerank-v3.5", "query": "q", "documents": ["a", "b"]}),
    ("/v1/moderations", {"model": "openai/omni-moderation-latest", "input": "hi"}),
    ("/v1/images/generations", {"model": "openai/gpt-image-1", "prompt": "a cat"}),
    ("/v1/audio/speech", {"model": "openai/tts-1", "input": "hi", "voice": "alloy"}),
    ("/v1/audio/transcriptions", FORM),
    ("/v1/responses", {"model": "openai/m", "input": "hi", "stream": True}),
    ("/v1/chat/completions", {"model": "openai/nobody-has-this", "messages": HI, "x": 1}),
]


def read(home: Path) -> list[Call]:
    lines = [line for _, path in parts(home / "receipts") for line in path.read_bytes().splitlines()]
    return [leaf for line in lines if isinstance(leaf := decode(line), Call)]


def kept(world: World, method: str, path: str) -> int:
    request = urllib.request.Request(
        world.gateway.url + path, headers={"authorization": f"Bearer {KEY}"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.skipif(os.name != "posix", reason="journals are mapped files")
def test_each_request_that_reached_somebody_has_one_receipt(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with rented(tmp_path, AZURE_CLIENT_SECRET=CLIENT_SECRET, **keys) as world:
        for model in CHATS:
            for stream in (False, True):
                world.ask("/v1/chat/completions", {"model": model, "messages": HI, "stream": stream})
        for path, body in OTHERS:
            form = "multipart/form-data; boundary=b" if isinstance(body, bytes) else "application/json"
            world.ask(path, body, form)
        identity = world.ask("/v1/responses", {"model": "openai/m", "input": "hi"}).json["id"]
        for method, below in (("GET", ""), ("GET", "/input_items?limit=2"), ("POST", "/cancel"), ("DELETE", "")):
            kept(world, method, f"/v1/responses/{identity}{below}")
        assert kept(world, "GET", "/v1/responses/resp_of_nobody") == 404
        world.ask("/v1/chat/completions", b"{")
        world.ask("/v1/chat/completions", {"model": "nobody/m", "messages": HI})
        asked, tokens = world.fake.served.totals.requests, len(world.tokens.asked)
        hosts = world.fake.url.removeprefix("http://"), world.tokens.url.removeprefix("http://")
    calls = read(tmp_path / "home")
    by_host = Counter(call.host for call in calls)
    assert (by_host[hosts[0]], by_host[hosts[1]]) == (asked, tokens), Counter(call.via or call.model for call in calls)
    assert asked > 35
    assert tokens >= 2, "Entra ID and Google"
    assert {call.via for call in calls} == {"", "token", "kept", "part"}
    assert set(by_host) <= {*hosts}
    assert len({(call.worker, call.seq) for call in calls}) == len(calls)
    assert {call.label for call in calls} == {"internal", "public"}
