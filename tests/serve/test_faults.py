"""Every fault of the fake, through the gateway, in both client dialects, from each provider dialect.

Whatever a provider does, its client gets a whole answer, a typed error in its own dialect, or a stream that ends with
an error event; never a hang, half an event or a truncated answer that looks complete. All faults of a pair run at
once, so that a connection spoilt by one of them would show in the answer to another.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any

import pytest
from running import KEY, Running, started

from freehold.fake.faults import FAULTS

FULL = len("Hello from the fake provider: nobody was billed for this.")
OTHER_TEXT = {"invalid_utf8", "split_utf8", "long_line", "duplicate_start", "double_done", "empty_choices"}
"""Faults that change how much text a whole answer has."""
ENDS = ("stop", "end_turn", "tool_calls", "tool_use", "max_tokens", "length")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
PAIRS = [(client, provider) for client in PATHS for provider in ("openai", "anthropic", "gemini")]
PAIRS += [("chat", "bedrock"), ("chat", "cohere"), ("messages", "mistral"), ("messages", "ollama")]
CONFIG = """
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
retries: 0
breaker: {{failures: 100000}}
timeouts: {{connect: 5, first_byte: 3, idle: 3, total: 20}}
providers:
  openai:    {{base_url: "{url}/v1", api_key: "sk-upstream-secret-000"}}
  anthropic: {{base_url: "{url}", api_key: "sk-upstream-secret-000"}}
  gemini:    {{base_url: "{url}", api_key: "sk-upstream-secret-000"}}
  bedrock:   {{base_url: "{url}", api_key: "sk-upstream-secret-000", region: eu-west-1}}
  cohere:    {{base_url: "{url}", api_key: "sk-upstream-secret-000"}}
  mistral:   {{base_url: "{url}/mistral", api_key: "sk-upstream-secret-000"}}
  ollama:    {{base_url: "{url}/ollama", api_key: "sk-upstream-secret-000"}}
keys:
  - {{name: ci, key: "{key}"}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("faults")
    with started("fake", home=folder / "fake") as fake:
        (folder / "freehold.yaml").write_text(CONFIG.format(url=fake.url, key=KEY))
        with started("up", "--config", str(folder / "freehold.yaml"), home=folder / "home") as running:
            yield running


@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_no_fault_hangs_crashes_or_passes_for_an_answer(gateway: Running, client: str, provider: str) -> None:
    cases = [
        (fault.name, stream)
        for fault in FAULTS.values()
        for stream in (False, True)
        if fault.applies == "any" or stream == (fault.applies != "whole")
    ]

    def ask(case: tuple[str, bool]) -> str | None:
        fault, stream = case
        body = {
            "model": f"{provider}/fake-fault-{fault.replace('_', '-')}",
            "max_tokens": 100,
            "stream": stream,
            "messages": [{"role": "user", "content": "hi"}],
        }
        request = urllib.request.Request(gateway.url + PATHS[client], json.dumps(body).encode(), {"x-api-key": KEY})
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return _wrong_answer(client, fault, stream, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _wrong_error(client, error.status, error.headers, error.read())
        except Exception as error:
            return f"unreadable for a client: {error!r}"

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(ask, cases))
    wrong = {case: verdict for case, verdict in zip(cases, found, strict=True) if verdict}
    assert wrong == {}


def _wrong_answer(client: str, fault: str, stream: bool, content: bytes) -> str | None:
    text = content.decode("utf-8", "replace" if fault == "invalid_utf8" else "strict")
    text = text.removeprefix("\ufeff")  # as parsers of bytes, the SDKs' too, take it
    return _wrong_stream(client, fault, text) if stream else _wrong_whole(client, fault, text)


def _wrong_error(client: str, status: int, headers: Message, content: bytes) -> str | None:
    body = json.loads(content)
    error = body["error"]
    typed = isinstance(error["type"], str) and error["message"]
    if client == "messages":
        typed = typed and body["type"] == "error" and body["request_id"] == headers["request-id"]
    else:
        typed = typed and error["code"] and error["request_id"] == headers["x-request-id"]
    return None if typed and status >= 400 else f"{status} {body}"


def _wrong_whole(client: str, fault: str, content: str) -> str | None:
    body = json.loads(content)
    if client == "chat":
        text, finish = body["choices"][0]["message"]["content"] or "", body["choices"][0]["finish_reason"]
    else:
        text, finish = "".join(block.get("text", "") for block in body["content"]), body["stop_reason"]
        _ = body["usage"]["output_tokens"]
    whole = finish in ENDS and (len(text) == FULL or fault in OTHER_TEXT)
    return None if whole else f"{finish} after {text!r}"


def _wrong_stream(client: str, fault: str, content: str) -> str | None:
    """Reads events as the SDKs do: each is JSON or [DONE], and what they add up to must be whole or end in an error."""
    text, finish, done, failed = "", None, False, False
    for event in content.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:"))
        if not data:
            continue
        if failed:
            return f"{data[:80]!r} after an error"
        if data == "[DONE]":
            done = True
            continue
        value: dict[str, Any] = json.loads(data.lstrip("\ufeff"))
        if "error" in value:
            failed = bool(value["error"]["message"])
        elif client == "chat":
            for choice in value["choices"]:
                text += choice["delta"].get("content") or ""
                finish = choice["finish_reason"] or finish
        elif value["type"] == "content_block_delta":
            text += value["delta"].get("text", "")
        elif value["type"] == "message_delta":
            finish, _ = value["delta"]["stop_reason"], value["usage"]["output_tokens"]
        elif value["type"] == "message_stop":
            done = True
    if failed:
        return "an error after the end" if done else None
    whole = done and finish in ENDS and (len(text) == FULL or fault in OTHER_TEXT)
    return None if whole else f"{finish}, done: {done}, after {len(text)} characters"
