"""Recorded requests, sent again in their own dialect to their own provider: it receives what the client sent.

Equal as JSON, whatever the order of keys, but for the model (which the client names with its provider) and the stream's
usage option. What cannot be sent stands in support/resending.py, with its reason.
"""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from recorded import FILE, rows
from resending import REFUSED, Sent, differences, plain, requests, unsent
from running import KEY, started

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: recorded requests not sent")


class Capture(BaseHTTPRequestHandler):
    """Keeps the body and refuses."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
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
    names = {request.provider for request, _ in requests()}
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


def received(link: Link, request: Sent) -> tuple[Any, str]:
    """What the provider received, parsed, or None and the code of the gateway's refusal."""
    link.got.clear()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    link.gateway.request("POST", request.path, json.dumps(request.body, ensure_ascii=False).encode(), headers)
    answer = link.gateway.getresponse()
    told = answer.read()
    if not link.got:
        return None, json.loads(told)["error"]["code"]
    assert len(link.got) == 1, request.name
    return json.loads(link.got[0][1]), ""


def test_providers_receive_what_clients_send(link: Link) -> None:
    for request, row in requests():
        got, refused = received(link, request)
        if got is None:
            assert refused in REFUSED, request.name
            assert refused != "no_candidate" or row["status"] >= 400, request.name
            continue
        assert not differences(plain(row["request"]), plain(got)), request.name


def test_the_model_and_the_path_are_the_providers_own(link: Link) -> None:
    for request, row in requests()[::20]:
        got, refused = received(link, request)
        if refused:
            continue
        if "model" in row["request"]:
            assert got["model"] == row["request"]["model"]
        recorded = urlsplit(row["uri"]).path.rpartition("/")[2].replace("%3A", ":")
        assert urlsplit(link.got[0][0]).path.rpartition("/")[2] == recorded or request.provider == "gemini"


def test_most_requests_can_be_sent() -> None:
    reasons = Counter(reason for row in rows() if (reason := unsent(row)) is not None)
    assert len(requests()) + sum(reasons.values()) == len(rows())
    assert len(requests()) >= 773
    assert reasons.keys() <= {
        "it has no JSON body",
        "the gateway has no such operation",
        "counted here: nobody is asked",
        "no client speaks Bedrock's dialects here",
        "no client speaks Cohere's embed here",
        "its row in providers.toml has no Responses API",
    }
