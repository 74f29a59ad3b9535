"""What tools may be called with, through the gateway: every client dialect and provider, whole and in pieces."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from canaries import ENDPOINTS, House, canary_house
from dialogue import PROVIDERS, body_of, said

CLIENTS = ("chat", "responses", "messages", "gemini", "ollama", "cohere", "mistral")
PIECES = (1, 3, 7, 40, 400)
ARGUMENTS = {
    "good": {"url": "https://ok.example/a", "note": 'with "quotes" and {braces}'},
    "evil": {"url": "https://evil.example/?q=everything", "note": "x"},
    "inner": {"url": "http://169.254.169.254/latest", "note": "x"},
}
RULES = [
    {
        "match": {"model": f"{name}-{size}"},
        "reply": {"tool_calls": [{"name": "fetch", "arguments": arguments}], "chunk": size},
    }
    for name, arguments in ARGUMENTS.items()
    for size in PIECES
]
RULES += [{"match": {"model": "delete"}, "reply": {"tool_calls": [{"name": "delete_all", "arguments": {"a": "b"}}]}}]
CONFIG = """
  - {name: watch, key: fh-watch-0123456789abcd}
checks:
  keys: {watch: {mode: monitor}}
  tools:
    deny: ["delete_*"]
    rules:
      fetch: {hosts: [ok.example], action: redact}
      "f*": {inner: false}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("tools"), CONFIG, {"rules": RULES}) as house:
        yield house


def offering(client: str, *names: str) -> dict[str, Any]:
    body = body_of(client, "hi")
    schema = {"type": "object", "properties": {"url": {"type": "string"}}}
    if client == "gemini":
        body["tools"] = [{"functionDeclarations": [{"name": name, "parameters": schema} for name in names]}]
    elif client == "messages":
        body["tools"] = [{"name": name, "input_schema": schema} for name in names]
    elif client == "responses":
        body["tools"] = [{"type": "function", "name": name, "parameters": schema} for name in names]
    else:
        body["tools"] = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]
    return body


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_calls_are_judged_in_every_dialect(house: House, client: str, provider: str) -> None:
    for stream in (False, True):
        size = random.Random(f"{client}{provider}{stream}").choice(PIECES)
        for name in ARGUMENTS:
            told = house.ask(
                ENDPOINTS[client], offering(client, "fetch"), stream=stream, model=f"{provider}/{name}-{size}"
            )
            text = said(told.body)
            where = (name, stream, size, told)
            assert told.status == 200, where
            if name == "good":
                assert "ok.example" in text, where
                assert "redacted" not in text, where
            elif name == "evil":
                assert "evil.example" not in text, where
                assert "[redacted tool_host]" in text, where
            else:
                assert "169.254" not in text, where
                assert "latest" not in text, where


@pytest.mark.parametrize("client", CLIENTS)
def test_a_denied_tool_is_neither_offered_nor_called(house: House, client: str) -> None:
    house.kept.clear()
    told = house.ask(ENDPOINTS[client], offering(client, "fetch", "delete_all"), model="openai/delete")
    assert told.status == 400
    assert b"delete_all" in told.body
    assert not house.kept
    for stream in (False, True):
        told = house.ask(ENDPOINTS[client], offering(client, "fetch"), model="openai/delete", stream=stream)
        assert told.status == 200, told
        assert "delete_all" not in said(told.body), told


def test_what_was_done_is_told_and_counted(house: House) -> None:
    told = house.ask(ENDPOINTS["chat"], offering("chat", "fetch"), model="openai/evil-7")
    assert told.headers["x-freehold-checks"] == "answer tool_host=redact"
    arguments = json.loads(told.body)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"url": "[redacted tool_host]", "note": "x"}
    before = house.counted("answer", "tool_host", "would redact")
    for stream in (False, True):
        told = house.ask(
            ENDPOINTS["chat"], offering("chat", "fetch"), model="openai/evil-7", stream=stream,
            key="fh-watch-0123456789abcd",
        )  # fmt: skip
        assert "evil.example" in said(told.body)
    assert house.counted("answer", "tool_host", "would redact") == before + 2
    told = house.ask(ENDPOINTS["chat"], offering("chat", "fetch"), model="openai/good-7")
    assert "x-freehold-checks" not in told.headers


ASKING = """
  - {name: boss, key: fh-boss-00123456789abcd}
checks:
  ask: {seconds: 20, approvers: [boss]}
  tools: {rules: {fetch: {hosts: [ok.example], action: ask}}}
"""


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("asking"), ASKING, {"rules": RULES}) as house:
        yield house


@pytest.fixture
def verdict(asking: House) -> Iterator[Any]:
    """Lets a test say what the person says, who looks at questions until there is one."""
    threads: list[threading.Thread] = []

    def says(what: str) -> None:
        def look() -> None:
            headers = {"authorization": "Bearer fh-boss-00123456789abcd", "content-type": "application/json"}
            host = urlsplit(asking.gateway.url).netloc
            with closing(http.client.HTTPConnection(host, timeout=20)) as connection:
                for _ in range(200):
                    connection.request("GET", "/v1/approvals", headers=headers)
                    waiting = json.loads(connection.getresponse().read())["data"]
                    if waiting:
                        assert "evil.example" not in json.dumps(waiting)
                        connection.request("POST", f"/v1/approvals/{waiting[0]['id']}/{what}", b"{}", headers)
                        assert connection.getresponse().read()
                        return
                    time.sleep(0.05)

        threads.append(threading.Thread(target=look))
        threads[-1].start()

    yield says
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("what", ["approve", "deny"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", ["chat", "messages", "gemini"])
def test_a_person_is_asked_about_a_call(asking: House, verdict: Any, client: str, stream: bool, what: str) -> None:
    verdict(what)
    told = asking.ask(ENDPOINTS[client], offering(client, "fetch"), stream=stream, model="openai/evil-7")
    assert told.status == 200, told
    assert ("evil.example" in said(told.body)) == (what == "approve"), told
    if client == "chat":
        assert ("content_filter" in said(told.body)) == (what == "deny"), told
        assert not stream or told.body.rstrip().endswith(b"[DONE]")
    told = asking.ask(ENDPOINTS[client], offering(client, "fetch"), stream=stream, model="openai/good-7")
    assert "ok.example" in said(told.body), "nobody has to be asked"
