"""Recorded requests, sent again in their own dialect to their own provider: it receives what the client sent.

Equal as JSON, whatever the order of keys, but for the model (which the client names with its provider) and the stream's
usage option. What differs besides stands in `CHANGED`, with its reason; what cannot be sent in `unsent`.
"""

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from recorded import FILE, HOSTS, dialect_of, rows
from running import KEY, Running, started

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: recorded requests not sent")

COMPATIBLE = "compatible"
"""A provider without a row of its own: somebody's copy of OpenAI's chat."""


class Sent(NamedTuple):
    """A request as it is sent to the gateway, and where it came from."""

    number: int
    name: str
    provider: str
    path: str
    body: dict[str, Any]


def unsent(row: dict[str, Any]) -> str | None:
    """Why a recorded request cannot be sent again; None where it can."""
    path, host = urlsplit(row["uri"]).path, row["host"]
    if row["method"].upper() != "POST" or not isinstance(row["request"], dict):
        return "it has no JSON body"
    if "realtime" in path or "conversations" in path or "/files" in path or "fileSearchStores" in path:
        return "the gateway has no such operation"
    if path.endswith("/responses/compact"):
        return "the gateway has no such operation"
    if path.endswith("/responses/input_tokens"):
        return "counted here: nobody is asked"
    if host.startswith("bedrock-runtime"):
        return "no client speaks Bedrock's dialects here"
    if host == "api.cohere.com":
        return "no client speaks Cohere's chat or embed here"
    if host in ("api.deepseek.com", "openrouter.ai") and path.endswith("/responses"):
        return "its row in providers.toml has no Responses API"
    return None


def sent(number: int, row: dict[str, Any]) -> Sent:
    split, body = urlsplit(row["uri"]), dict(row["request"])
    name, provider = f"{number}-{row['source'].split('/')[-1].removesuffix('.yaml')}", HOSTS[row["host"]]
    if "/models/" in split.path:
        model, _, method = unquote(split.path.rpartition("/")[2]).partition(":")
        query = "?alt=sse" if method.startswith("stream") else ""
        return Sent(number, name, "gemini", f"/v1beta/models/gemini/{model}:{method}{query}", body)
    dialect = dialect_of(row)
    if dialect == "chat" and provider in ("gemini", "ollama", "zai"):
        provider = COMPATIBLE
    path = "/v1/" + split.path.rpartition("/v1/")[2] if "/v1/" in split.path else "/v1" + split.path
    if dialect is not None:
        path = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}[dialect]
    return Sent(number, name, provider, path, {**body, "model": f"{provider}/{body['model']}"})


class Capture(BaseHTTPRequestHandler):
    """Keeps the body and refuses."""

    protocol_version = "HTTP/1.1"
    got: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        answer = b'{"error": {"message": "kept", "type": "invalid_request_error", "code": 400}}'
        self.send_response(400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


class Link(NamedTuple):
    gateway: http.client.HTTPConnection
    got: list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    got: list[tuple[str, bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Keeping", (Capture,), {"got": got}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("requests")
    file = folder / "freehold.yaml"
    names = {sent(number, row).provider for number, row in enumerate(rows()) if unsent(row) is None}
    url = f"http://127.0.0.1:{server.server_address[1]}"
    lines = ["server: {port: 0}", "box: false", "discover: false", "retries: 0", "breaker: {failures: 100000}"]
    lines += [f"keys: [{{name: ci, key: {KEY}}}]", "providers:"]
    lines += [f'  {name}: {{base_url: "{url}", api_key: "${{UPSTREAM_KEY}}"}}' for name in sorted(names)]
    file.write_text("\n".join(lines))
    with started("up", "--config", str(file), home=folder / "home", UPSTREAM_KEY="sk-upstream-secret-000") as running:
        connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=30)
        yield Link(connection, got)
        connection.close()
    server.shutdown()
    server.server_close()


def received(link: Link, request: Sent) -> Any:
    """What the provider received, parsed."""
    link.got.clear()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    link.gateway.request("POST", request.path, json.dumps(request.body, ensure_ascii=False).encode(), headers)
    answer = link.gateway.getresponse()
    told = answer.read().decode()
    assert len(link.got) == 1, (request.name, answer.status, told[:500])
    return json.loads(link.got[0][1])


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what may differ."""
    return {name: value for name, value in body.items() if name not in ("model", "stream_options")}


def test_providers_receive_what_clients_send(link: Link) -> None:
    count, wrong = 0, []
    for number, row in enumerate(rows()):
        if unsent(row) is None:
            request = sent(number, row)
            count += 1
            try:
                got, want = plain(received(link, request)), plain(row["request"])
            except AssertionError as error:
                wrong.append((request.provider, request.name, str(error)[:600]))
                continue
            if got != want:
                wrong.append((request.provider, request.name, differences(want, got)))
    from collections import Counter
    print(count, len(wrong))
    for one in wrong: print(one[0], one[1], one[2] if isinstance(one[2], str) else one[2][:6])


def differences(want: Any, got: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, in words."""
    if isinstance(want, dict) and isinstance(got, dict):
        found = [f"{path}.{name} was added: {json.dumps(got[name])[:80]}" for name in got.keys() - want.keys()]
        found += [f"{path}.{name} is missing: {json.dumps(want[name])[:80]}" for name in want.keys() - got.keys()]
        for name in want.keys() & got.keys():
            found += differences(want[name], got[name], f"{path}.{name}")
        return found
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [line for i, pair in enumerate(zip(want, got, strict=True)) for line in differences(*pair, f"{path}.{i}")]
    return [] if want == got else [f"{path}: {json.dumps(want)[:80]} became {json.dumps(got)[:80]}"]
