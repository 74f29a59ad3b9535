"""Traps that show only on a socket: a running gateway between real clients and a provider that does as it likes.

One gateway serves all of them. What the provider does stands in the name of the model: `SCRIPTS`.
"""

import json
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from running import KEY, Running, started
from trap_streams import CHAT, MESSAGES
from trapping import Upstream, asked, sse

from freehold.config.schema import Timeouts
from freehold.dialects.sse import SseParser
from freehold.serve.answer import HEARTBEATS
from freehold.serve.exchange import QUIET, Exchange

SECRET = "sk-upstream-secret-000"
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
}
CONFIG = """
server: {{port: 0, drain_seconds: 5, max_body_mb: 1}}
box: false
discover: false
retries: 1
breaker: {{failures: 100000}}
timeouts: {{connect: 2, first_byte: 5, idle: 5, total: 30}}
providers:
  openai:    {{base_url: "{url}/v1", api_key: "{secret}"}}
  anthropic: {{base_url: "{url}", api_key: "{secret}"}}
  gemini:    {{base_url: "{url}", api_key: "{secret}"}}
  hasty:     {{base_url: "{url}/v1", api_key: "{secret}", dialect: chat, timeouts: {{idle: 1}}}}
models:
  both: [anthropic/plain, openai/plain]
keys:
  - {{name: ci, key: "{key}"}}
"""
HELD = threading.Event()
"""Lets the provider that holds back its answer go on."""


def stream(body: bytes, kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + body


def refusal(status: int, error: Any, *headers: str) -> bytes:
    raw = json.dumps(error).encode()
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n{lines}Connection: close\r\n\r\n".encode() + raw


def oops(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


REPLY = {"id": "resp_openai1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": []}
SCRIPTS: dict[str, list[bytes | threading.Event]] = {
    "held": [stream(sse(*CHAT[:2])), HELD, sse(*CHAT[2:], done=True)],
    "endless": [stream(sse(*CHAT[:2])), threading.Event()],
    "cut": [stream(sse(*CHAT[:3]))],
    "auth": [refusal(401, oops(f"Incorrect API key provided: {SECRET}. See ?key=AIzaSyA" + "0" * 24))],
    "busy": [refusal(503, oops("Too much to do."))],
    "limited": [refusal(429, oops("Slow down.", code="rate_limit_exceeded"), "Retry-After-Ms: 90000")],
    "quota": [refusal(429, oops("You exceeded your current quota.", code="insufficient_quota"))],
    "long": [refusal(400, oops("maximum context length is 10 tokens", code="context_length_exceeded"))],
    "plain": [refusal(200, REPLY)],
}


def script(head: str, body: bytes) -> Iterator[bytes | threading.Event]:
    path = head.split(" ", 2)[1]
    model = json.loads(body).get("model") or path.rpartition("/models/")[2].partition(":")[0]
    if model == "plain" and path.endswith("/messages"):
        reply = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
        yield refusal(200, reply | {"stop_reason": "end_turn", "usage": MESSAGES[0]["message"]["usage"]})
        return
    yield from SCRIPTS[model]


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with Upstream.answering(script) as upstream:
        yield upstream
        HELD.set()


@pytest.fixture(scope="module")
def gateway(provider: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("traps")
    (folder / "freehold.yaml").write_text(CONFIG.format(url=provider.url, key=KEY, secret=SECRET))
    with started("up", "--config", str(folder / "freehold.yaml"), home=folder / "home") as running:
        yield running


def ask(gateway: Running, client: str, model: str, headers: Any = None, **extra: Any) -> tuple[int, Any, Any]:
    body = asked(client, **extra)
    if client != "gemini":
        body["model"] = model
    request = urllib.request.Request(
        gateway.url + PATHS[client].format(model=model),
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def opened(gateway: Running, model: str) -> socket.socket:
    """A connection on which a chat stream has been asked for."""
    place = urlsplit(gateway.url)
    body = json.dumps(asked("chat", True) | {"model": model}).encode()
    connection = socket.create_connection((place.hostname or "", place.port or 0), 10)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}"
    )
    connection.sendall(f"{head}\r\n\r\n".encode() + body)
    return connection


def settled(gateway: Running, model: str) -> Any:
    """The ledger's row of the only call to a model, when it is there."""
    ledger = sqlite3.connect(gateway.home / "freehold.db")
    deadline = time.monotonic() + 15
    query = "SELECT outcome, output, estimated FROM ledger WHERE model = ?"
    while (row := ledger.execute(query, (model,)).fetchone()) is None or row[0] == "unknown":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ledger.close()
    return row


def test_08_the_first_bytes_leave_at_once(gateway: Running) -> None:
    """Nothing is held back while the model thinks: no compression, no buffer of a proxy."""
    with opened(gateway, "openai/held") as connection:
        seen = b""
        while CHAT[1]["choices"][0]["delta"]["content"].encode() not in seen:
            seen += connection.recv(65536)
        assert b"x-accel-buffering: no" in seen.lower()
        assert b"content-encoding" not in seen.lower()
        assert not HELD.is_set()
        HELD.set()
        while not seen.endswith(b"0\r\n\r\n"):
            seen += connection.recv(65536)
        assert seen.count(b"[DONE]") == 1


def test_09_a_client_that_leaves_ends_the_call(gateway: Running, provider: Upstream) -> None:
    """The provider is cut off, and what it had produced is on the bill, as cancelled."""
    provider.left.clear()
    with opened(gateway, "openai/endless") as connection:
        while b"data:" not in connection.recv(65536):
            pass
    assert provider.left.wait(5)
    outcome, output, estimated = settled(gateway, "endless")
    assert (outcome, output > 0, bool(estimated)) == ("cancelled", True, True)


def test_14_silence_has_a_limit_of_its_own(gateway: Running) -> None:
    """Not the limit of the whole call, which a model that thinks for minutes may use up."""
    with opened(gateway, "hasty/endless") as connection:
        seen = b""
        while not seen.endswith(b"0\r\n\r\n"):
            seen += connection.recv(65536)
    assert b'"upstream_timeout"' in seen
    assert b"[DONE]" not in seen
    assert Timeouts().idle < Timeouts().total


class Line:
    """A client's connection that keeps what is written to it."""

    drained = None

    def __init__(self) -> None:
        self.written = b""

    def hold(self, data: bytes) -> None:
        self.written += data

    send = hold


@pytest.mark.parametrize("client", HEARTBEATS)
def test_14_a_silent_stream_says_that_it_lives(client: str) -> None:
    """Proxies cut connections that say nothing for a while; SDKs pass over what is said here."""
    connection = Line()
    exchange = Exchange(connection)  # type: ignore[arg-type]
    exchange.version = "1.0"
    exchange.begin(200, b"")
    exchange.heartbeat = HEARTBEATS[client]
    exchange.write(b"data: {}\n\n")
    said = connection.written
    for moment in (100.0, 101.0, 100.0 + QUIET - 1):
        exchange.beat(moment)
    assert connection.written == said
    exchange.beat(100.0 + QUIET)
    exchange.beat(101.0 + QUIET)
    assert connection.written == said + HEARTBEATS[client]
    parsed = SseParser().feed(HEARTBEATS[client])
    assert parsed == ([(b"ping", b'{"type": "ping"}')] if client == "messages" else [])
    exchange.beat(103.0 + 2 * QUIET)
    assert connection.written == said + 2 * HEARTBEATS[client]


def test_15_a_broken_stream_is_billed_by_estimate(gateway: Running) -> None:
    """Its usage never came."""
    with opened(gateway, "openai/cut") as connection:
        seen = b""
        while not seen.endswith(b"0\r\n\r\n"):
            seen += connection.recv(65536)
    assert b'"error"' in seen
    assert b"[DONE]" not in seen
    outcome, output, estimated = settled(gateway, "cut")
    assert (outcome, output > 0, bool(estimated)) == ("failed", True, True)


def message_of(client: str, answer: Any) -> str:
    return str(answer["error"] if client == "ollama" else answer.get("message") or answer["error"]["message"])


@pytest.mark.parametrize("provider_name", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("client", PATHS)
def test_63_errors_in_the_clients_own_shape_with_an_id(gateway: Running, client: str, provider_name: str) -> None:
    """Whatever the provider wrote, and whoever it was."""
    status, headers, answer = ask(gateway, client, f"{provider_name}/long")
    assert status == 400
    identity = headers["x-request-id"]
    assert "maximum context length" in message_of(client, answer)
    if client in ("chat", "responses"):
        assert (answer["error"]["request_id"], answer["error"]["type"]) == (identity, "invalid_request_error")
    elif client == "messages":
        assert (answer["type"], answer["request_id"], headers["request-id"]) == ("error", identity, identity)
    elif client == "gemini":
        assert (answer["error"]["code"], answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert identity in json.dumps(answer)


@pytest.mark.parametrize("client", PATHS)
def test_64_the_providers_401_is_not_the_clients(gateway: Running, client: str) -> None:
    """A client would throw its own good key away. Trap 67 beside it: the provider's text named ours."""
    status, headers, answer = ask(gateway, client, "openai/auth")
    assert status == 502
    assert SECRET not in json.dumps(answer) + str(headers)
    assert "AIza" not in json.dumps(answer)
    if client == "chat":
        assert answer["error"]["code"] == "upstream_auth"


def test_61_how_long_to_wait_is_passed_on(gateway: Running) -> None:
    """Whatever form it came in, whole seconds go out, and a wait too long to sit through is not sat through."""
    status, headers, answer = ask(gateway, "chat", "openai/limited")
    assert (status, answer["error"]["code"]) == (429, "upstream_rate_limited")
    assert int(headers["retry-after"]) in (90, 91)
    answer = ask(gateway, "gemini", "openai/limited")[2]
    assert "90s" in json.dumps(answer)


def test_65_retries_do_not_multiply(gateway: Running, provider: Upstream) -> None:
    """None of ours while an SDK repeats; none of an SDK's where no repeat can help."""
    retried = ask(gateway, "chat", "openai/quota")
    assert retried[0] == 429
    assert retried[1]["x-should-retry"] == "false"
    assert ask(gateway, "chat", "openai/limited")[1]["x-should-retry"] is None
    before = len(provider.asked)
    ask(gateway, "chat", "openai/busy", {"x-stainless-retry-count": "1"})
    again = len(provider.asked) - before
    ask(gateway, "chat", "openai/busy", {"x-stainless-retry-count": "0"})
    assert (again, len(provider.asked) - before - again) == (1, 2)
    ask(gateway, "chat", "openai/cut", {"x-stainless-retry-count": "0"}, stream=False)
    assert len(provider.asked) - before == 4, "who may have accepted it does not get it again"


def test_66_a_body_over_the_limit_is_refused_before_it_is_read(gateway: Running, provider: Upstream) -> None:
    """413 in the client's shape; one below the limit goes through whole."""
    before = len(provider.asked)
    status, _, answer = ask(gateway, "chat", "openai/long", messages=[{"role": "user", "content": "x" * 1_100_000}])
    assert (status, answer["error"]["code"], len(provider.asked)) == (413, "request_too_large", before)
    big = [{"role": "user", "content": "x" * 900_000}]
    assert ask(gateway, "chat", "openai/long", messages=big)[0] == 400
    assert len(provider.asked[-1][1]) > 900_000


def test_67_keys_travel_in_headers_alone(gateway: Running, provider: Upstream) -> None:
    """A key in a URL ends up in logs."""
    for name in ("openai", "anthropic", "gemini"):
        ask(gateway, "chat", f"{name}/long")
        head = provider.asked[-1][0]
        assert SECRET not in head.split("\r\n", 1)[0]
        assert SECRET in head
        assert KEY not in head


def test_68_what_a_provider_keeps_is_asked_of_that_provider_only(gateway: Running, provider: Upstream) -> None:
    """A response goes on where it is known, though the model's name could mean somebody else."""
    first = ask(gateway, "responses", "both", store=True)[1]
    assert first["x-freehold-deployment"] == "anthropic/plain"
    kept = ask(gateway, "responses", "openai/plain", store=True)[2]["id"]
    _, headers, _ = ask(gateway, "responses", "both", store=True, previous_response_id=kept)
    assert headers["x-freehold-deployment"] == "openai/plain"
    assert json.loads(provider.asked[-1][1])["previous_response_id"] == kept
