"""A stand-in for a running gateway: answers what a test tells it to, and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "fh-0123456789abcdef"
WHO = {"x-freehold-deployment": "openai/gpt-4o-mini", "x-freehold-reason": "first of its alias"}


def _chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event of a chat stream."""
    delta = {"content": text} if text is not None else {}
    return {"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


class StubGateway:
    """Set `status`, `headers` and `body` (bytes), or `events` (dicts, sent as SSE, closed by [DONE] if `done`)."""

    key = KEY
    chunk = staticmethod(_chunk)

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = dict(WHO)
        self.body: bytes | None = None
        self.events: list[dict[str, Any]] = []
        self.done = True
        self.hold = threading.Event()
        """Where `held` is set, a stream waits for this before its end."""
        self.held = False
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({"path": self.path})

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                self._answer(json.loads(self.rfile.read(length)))

            def _answer(self, asked: dict[str, Any]) -> None:
                stub.asked.append(asked)
                stub.keys.append(self.headers["authorization"])
                self.send_response(stub.status)
                for name, value in stub.headers.items():
                    self.send_header(name, value)
                if stub.body is not None:
                    self.send_header("content-length", str(len(stub.body)))
                    self.end_headers()
                    self.wfile.write(stub.body)
                    return
                self.send_header("connection", "close")
                self.end_headers()
                for event in stub.events:
                    self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                    self.wfile.flush()
                if stub.held:
                    stub.hold.wait(20)
                if stub.done:
                    self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def says(self, *texts: str, **usage: int) -> None:
        """Streams `texts`, then the end and the usage."""
        counts = {"prompt_tokens": 12, "completion_tokens": 3} | usage
        self.events = [*(_chunk(text) for text in texts), _chunk(finish="stop"), {"choices": [], "usage": counts}]

    def answers(self, value: Any, status: int = 200) -> None:
        """Answers with one JSON value."""
        self.status = status
        self.body = json.dumps(value).encode()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own, an empty working folder, and no variable that names a gateway or a provider."""
    import os

    for name in os.environ:
        if name.startswith(("FREEHOLD_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("FREEHOLD_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def stub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubGateway]:
    """A stand-in that the environment names."""
    stub = StubGateway()
    monkeypatch.setenv("FREEHOLD_URL", stub.url)
    monkeypatch.setenv("FREEHOLD_API_KEY", KEY)
    yield stub
    stub.close()
