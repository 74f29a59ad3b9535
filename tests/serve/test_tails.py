"""Slow and dying deployments, through a running gateway: hedges and what they cost in the ledger, streams that break,
early windows, and requests that must not be carried out twice."""

import json
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import KEY, Running, clean_environment, started

RULES = """
server: {port: 0, drain_seconds: 5}
box: false
discover: false
retries: 2
early: {bytes: 4000}
breaker: {failures: 3, cooldown: 30}
providers:
  openai:
    base_url: URL/v1
    api_key: sk-upstream-secret-000
    models:
      fake-latency-3000: {input: 1, output: 1, strength: 0.9}
      fake-latency-2500: {input: 2, output: 2, strength: 0.9}
      fake: {input: 3, output: 3, strength: 0.9}
  anthropic: {base_url: URL, api_key: sk-upstream-secret-000, models: {fake: {input: 4, output: 4, strength: 0.9}}}
models:
  steady: {among: [openai/fake-latency-3000, anthropic/fake], hedge: {after: 0.15, share: 1}}
  stuck: {among: [openai/fake-latency-3000, openai/fake-latency-2500], hedge: {after: 0.1, share: 1}}
  plain: {among: [openai/fake-latency-3000, anthropic/fake]}
  cut: [openai/fake-fault-cut-before-headers, anthropic/fake]
  dying: [openai/fake-fault-cut-between-events+events-12, anthropic/fake]
keys:
  - {name: tests, key: TOKEN}
"""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started("fake", home=tmp_path_factory.mktemp("tails") / "fake") as fake:
        yield fake


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, provider: Running) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tails")
    config = folder / "freehold.yaml"
    config.write_text(RULES.replace("URL", provider.url).replace("TOKEN", KEY))
    with started("up", "--config", str(config), home=folder / "home") as running:
        yield running


@pytest.fixture
def bill(provider: Running) -> Running:
    """The provider, as if nothing had been asked of it yet."""
    script(provider, {})
    tell(provider, "reset", b"")
    return provider


def tell(provider: Running, what: str, body: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(f"{provider.url}/__fake__/{what}", body), timeout=10) as done:
        done.read()


def script(provider: Running, rules: dict[str, Any]) -> None:
    tell(provider, "script", json.dumps(rules).encode())


def ask(house: Running, model: str, path: str = "/v1/chat/completions", **more: Any) -> tuple[int, Any, str]:
    """Returns status, headers and body."""
    headers = {"authorization": f"Bearer {KEY}", **more.pop("headers", {})}
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], **more}
    request = urllib.request.Request(house.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def served(bill: Running) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = bill.get("/__fake__/served")["rows"]
    return rows


def ended(bill: Running, requests: int) -> list[dict[str, Any]]:
    """What was served, once that many requests have ended."""
    rows = served(bill)
    return rows if sum(row["ended"] != "open" for row in rows) == requests else []


def eventually(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return result


def ledger(home: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "freehold", "usage", "--json"]
    subprocess.run(
        command, env=clean_environment(FREEHOLD_HOME=str(home)), stdout=subprocess.DEVNULL, timeout=60, check=True
    )
    with sqlite3.connect(home / "freehold.db") as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM ledger ORDER BY at")]
    connection.close()
    return rows


HELLO = "Hello from the fake provider"


@pytest.mark.parametrize(
    ("path", "stream"), [("/v1/chat/completions", False), ("/v1/chat/completions", True), ("/v1/messages", True)]
)
def test_a_hedge_answers_and_both_calls_are_in_the_ledger(
    house: Running, bill: Running, path: str, stream: bool
) -> None:
    began = time.monotonic()
    status, headers, body = ask(house, "steady", path, stream=stream)
    assert status == 200
    assert time.monotonic() - began < 2.5
    assert HELLO.split()[0] in body
    assert headers["x-freehold-deployment"] == "anthropic/fake"
    assert headers["x-freehold-attempts"] == "2"
    rows = eventually(lambda: ended(bill, 2))
    assert {row["model"]: row["complete"] for row in rows} == {"fake-latency-3000": False, "fake": True}
    asked = headers["x-request-id"]
    calls = eventually(lambda: [call for call in ledger(house.home) if call["request"] == asked])
    assert len(calls) == 2
    lost, won = sorted(calls, key=lambda call: str(call["outcome"]))
    assert (lost["outcome"], lost["error"], lost["deployment"]) == (
        "cancelled",
        "hedge_lost",
        "openai/fake-latency-3000",
    )
    assert (won["outcome"], won["reason"]) == ("ok", "hedge")
    assert lost["uncached"] > 0, "its provider has read the prompt"
    assert lost["output"] == 0
    assert {lost["call"], won["call"]} == {row["client_request_id"] for row in rows}


def test_without_a_hedge_the_slow_one_is_waited_for(house: Running, bill: Running) -> None:
    status, headers, _ = ask(house, "plain")
    assert (status, headers["x-freehold-deployment"]) == (200, "openai/fake-latency-3000")
    assert len(served(bill)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_both_at_the_same_time(house: Running, bill: Running, stream: bool) -> None:
    body = json.dumps({"model": "stuck", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        eventually(lambda: len(served(bill)) == 2)
    rows = eventually(lambda: ended(bill, 2))
    ends = [row["at"] + row["cancelled_after_ms"] for row in rows]
    assert abs(ends[0] - ends[1]) < 100
    assert sum(row["output_tokens"] for row in rows) == 0


def test_a_stream_that_dies_in_its_first_bytes_is_answered_by_another(house: Running, bill: Running) -> None:
    status, headers, body = ask(house, "dying", stream=True)
    assert status == 200
    assert headers["x-freehold-deployment"] == "anthropic/fake"
    assert "[DONE]" in body
    assert '"error"' not in body
    assert len(served(bill)) == 2


def test_streams_that_break_open_the_breaker(tmp_path: Path, bill: Running) -> None:
    config = tmp_path / "freehold.yaml"
    rules = RULES.replace("URL", bill.url).replace("TOKEN", KEY).replace("early: {bytes: 4000}", "")
    config.write_text(rules)
    model = "openai/fake-fault-cut-between-events+events-12"
    with started("up", "--config", str(config), home=tmp_path / "home") as house:
        for _ in range(3):
            status, _, body = ask(house, model, stream=True)
            assert status == 200
            assert '"error"' in body
        status, headers, body = ask(house, model, stream=True)
        assert status == 503
        assert "resting" in body
        assert int(headers["retry-after"]) <= 30
        assert len(served(bill)) == 3


def test_a_body_that_may_have_been_accepted_goes_to_another_but_not_with_an_idempotency_key(
    house: Running, bill: Running
) -> None:
    status, headers, _ = ask(house, "cut")
    assert (status, headers["x-freehold-deployment"]) == (200, "anthropic/fake")
    assert [row["model"] for row in served(bill)] == ["fake-fault-cut-before-headers", "fake"]
    status, _, _ = ask(house, "cut", headers={"idempotency-key": "order-17"})
    assert status == 502
    assert len(served(bill)) == 3
    status, _, _ = ask(house, "openai/fake-fault-cut-before-headers")
    assert status == 502
    assert len(served(bill)) == 4, "never twice to the same place, whatever `retries` says"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_one_that_refuses_is_given_less_and_who_comes_then_is_told_when_to_return(
    house: Running, bill: Running, path: str
) -> None:
    model = f"openai/crowded{len(path)}"
    repeats = {"x-stainless-retry-count": "1"}  # the client's SDK is repeating: we do not

    def crowd(requests: int) -> list[tuple[int, Any, str]]:
        with ThreadPoolExecutor(requests) as pool:
            return list(pool.map(lambda _: ask(house, model, path, headers=repeats), range(requests)))

    script(bill, {"rules": [{"reply": {"status": 429, "latency_ms": 300, "headers": {"retry-after": "1"}}}]})
    assert {status for status, _, _ in crowd(12)} == {429}
    script(bill, {"rules": [{"reply": {"latency_ms": 3000}}]})
    answers = crowd(30)
    assert {status for status, _, _ in answers} == {200, 503}
    for status, headers, body in answers:
        if status == 503:
            assert int(headers["retry-after"]) >= 1
            assert "at a time" in body
            assert ("overloaded_error" in body) == (path == "/v1/messages")
