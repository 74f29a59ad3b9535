"""A provider over TLS in strict mode: the egress process verifies it, and what it refuses is written down all the same.

The authority is made for the test (tests/support/authority.py), and trusted where SSL_CERT_FILE says so.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apart import needs_namespace, needs_witness
from authority import Papers, issue
from faking import on_a_thread
from running import KEY, Running, clean_environment, started

from freehold.egress.records import Opened, RefusedLine, Sent, lines
from freehold.fake import FakeProvider
from freehold.fake.connection import Connection


class Sealed(FakeProvider):
    """The fake behind TLS."""

    def __init__(self, papers: Papers) -> None:
        super().__init__()
        self._papers = papers

    async def start(self, sock: socket.socket | None = None) -> "Sealed":
        self.loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._papers.certificate, self._papers.key)
        self._server = await self.loop.create_server(lambda: Connection(self), self.host, self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


@contextlib.contextmanager
def world(folder: Path, papers: Papers, trusted: Path | None, *arguments: str) -> Iterator[tuple[Running, Sealed]]:
    with on_a_thread(Sealed(papers)) as fake:
        config = folder / "freehold.yaml"
        config.write_text(
            f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
retries: 0
timeouts: {{connect: 2, first_byte: 10, idle: 10, total: 30}}
providers:
  openai: {{base_url: "https://127.0.0.1:{fake.port}/v1", api_key: "${{UPSTREAM_KEY}}"}}
  away: {{base_url: "https://127.0.0.1:9/v1", api_key: "${{UPSTREAM_KEY}}"}}
keys:
  - {{name: ci, key: "{KEY}"}}
"""
        )
        env = {"UPSTREAM_KEY": "sk-upstream-secret-000"} | ({"SSL_CERT_FILE": str(trusted)} if trusted else {})
        with started(
            "up", "--config", str(config), "--strict-egress", *arguments, home=folder / "home", **env
        ) as gateway:
            yield gateway, fake


def ask(gateway: Running, model: str = "openai/gpt-4o", **fields: Any) -> tuple[int, bytes]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi " * 2000}], **fields}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(gateway.url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def audited(home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "freehold", "audit", *words, "--json"]
    done = subprocess.run(command, capture_output=True, env=clean_environment(FREEHOLD_HOME=str(home)))
    return done.returncode, json.loads(done.stdout)


def written(home: Path) -> list[Any]:
    (path,) = (home / "egress").glob("*.jsonl")
    return list(lines(path))


@needs_witness
def test_an_authority_that_is_known(tmp_path: Path) -> None:
    papers = issue(tmp_path / "papers", ["127.0.0.1"])
    with world(tmp_path, papers, papers.authority) as (gateway, fake):
        status, answer = ask(gateway)
        assert (status, b'"choices"' in answer) == (200, True)
        status, answer = ask(gateway, stream=True)
        assert answer.rstrip().endswith(b"data: [DONE]")
        assert fake.served.last is not None
        assert fake.served.last.headers[b"authorization"] == b"Bearer sk-upstream-secret-000"
    status, result = audited(tmp_path / "home", "reconcile")
    assert status == 0, result["differences"]
    assert result["witnessed"]
    assert result["receipts"] == result["sent"] == 2
    assert result["receipts_out"] == result["sent_out"] > 12_000
    record = written(tmp_path / "home")
    assert {line.tls for line in record if isinstance(line, Opened)} == {True}
    assert audited(tmp_path / "home", "verify")[0] == 0


@needs_witness
@pytest.mark.parametrize("why", ["nobody is told of it", "another is trusted", "another host's"])
def test_who_cannot_prove_who_he_is_gets_nothing(tmp_path: Path, why: str) -> None:
    """Not a byte of a request, and not of a key; the attempt is in the record, and in the receipts as one that failed.
    The kernel has seen the handshake, and the record explains it."""
    papers = issue(tmp_path / "papers", ["192.0.2.7" if why == "another host's" else "127.0.0.1"])
    others = issue(tmp_path / "others", ["127.0.0.1"]).authority if why == "another is trusted" else papers.authority
    trusted = None if why == "nobody is told of it" else others
    with world(tmp_path, papers, trusted) as (gateway, fake):
        status, answer = ask(gateway)
        error = json.loads(answer)["error"]
        assert (status, error["code"]) == (502, "upstream_tls"), error
        assert "CERTIFICATE_VERIFY_FAILED" in error["message"]
        assert not fake.served.rows
    status, result = audited(tmp_path / "home", "reconcile")
    assert status == 0, result["differences"]
    assert (result["sent"], result["receipts"], result["unsent"]) == (0, 1, 1)
    assert result["kernel_bytes"] > 0
    record = written(tmp_path / "home")
    assert [(line.host, line.port) for line in record if isinstance(line, Opened)] == [
        (f"127.0.0.1:{fake.port}", fake.port)
    ]
    assert not [line for line in record if isinstance(line, Sent | RefusedLine)]


@needs_witness
def test_where_nobody_listens(tmp_path: Path) -> None:
    """The kernel has counted the packet that asked for a connection."""
    papers = issue(tmp_path / "papers", ["127.0.0.1"])
    with world(tmp_path, papers, papers.authority) as (gateway, _):
        assert ask(gateway, "away/gpt-4o")[0] == 502
    status, result = audited(tmp_path / "home", "reconcile")
    assert status == 0, result["differences"]
    assert [place["port"] for place in result["places"]] == [9]


@needs_namespace
def test_without_a_witness_too(tmp_path: Path) -> None:
    papers = issue(tmp_path / "papers", ["127.0.0.1"])
    with world(tmp_path, papers, papers.authority, "--no-witness") as (gateway, _):
        assert ask(gateway)[0] == 200
    with world(tmp_path, papers, None, "--no-witness") as (gateway, _):
        assert json.loads(ask(gateway)[1])["error"]["code"] == "upstream_tls"
    status, result = audited(tmp_path / "home", "reconcile")
    assert status == 0, result["differences"]
