"""The programs that run in other people's containers, run here as there: by a bare Python or a shell."""

import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import freehold.own.render.payload

PAYLOAD = Path(freehold.own.render.payload.__file__).parent
CONTENT = bytes(range(256)) * 5000
SHA = hashlib.sha256(CONTENT).hexdigest()
KEY = "engine-key-for-tests"


class Origin:
    """A server that does to each path what `on` says: a function of the handler."""

    def __init__(self) -> None:
        self.on: dict[str, Callable[[Any], None]] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                origin.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                origin.on[self.path](self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    yield server
    server.close()


@pytest.fixture
def elsewhere() -> Iterator[Origin]:
    server = Origin()
    yield server
    server.close()


def send(handler: Any, status: int = 200, body: bytes = CONTENT, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def fetch(
    folder: Path, url: str, name: str = "a/model.gguf", sha256: str = SHA, **env: str
) -> "subprocess.CompletedProcess[str]":
    listed = folder / "files.json"
    listed.write_text(json.dumps([{"name": name, "url": url, "sha256": sha256, "size": len(CONTENT)}]))
    words = [sys.executable, "-I", str(PAYLOAD / "fetch.py"), str(listed), str(folder / "models")]
    return subprocess.run(words, capture_output=True, text=True, env=env, timeout=60)


def test_a_file_is_brought_once(origin: Origin, tmp_path: Path) -> None:
    origin.on["/f"] = send
    assert fetch(tmp_path, origin.url + "/f").returncode == 0
    assert (tmp_path / "models/a/model.gguf").read_bytes() == CONTENT
    assert fetch(tmp_path, origin.url + "/f").returncode == 0
    assert len(origin.asked) == 1


def test_a_broken_transfer_is_taken_up_where_it_ended(origin: Origin, tmp_path: Path) -> None:
    half = len(CONTENT) // 2

    def first_half_then_rest(handler: Any) -> None:
        start = handler.headers.get("Range")
        if start is None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(CONTENT)))
            handler.end_headers()
            handler.wfile.write(CONTENT[:half])
            handler.close_connection = True
            return
        send(handler, 206, CONTENT[int(start.removeprefix("bytes=").rstrip("-")) :])

    origin.on["/f"] = first_half_then_rest
    assert fetch(tmp_path, origin.url + "/f").returncode == 0
    assert (tmp_path / "models/a/model.gguf").read_bytes() == CONTENT
    assert [asked[1].get("range") for asked in origin.asked] == [None, f"bytes={half}-"]


def test_another_content_never_reaches_the_engine(origin: Origin, tmp_path: Path) -> None:
    origin.on["/f"] = lambda handler: send(handler, body=bytes(len(CONTENT)))
    done = fetch(tmp_path, origin.url + "/f")
    assert done.returncode == 1
    assert f"not {SHA}" in done.stderr
    assert [path for path in (tmp_path / "models").rglob("*") if path.is_file()] == []


def test_a_damaged_file_on_the_volume_is_replaced(origin: Origin, tmp_path: Path) -> None:
    origin.on["/f"] = send
    target = tmp_path / "models/a/model.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"\0" * len(CONTENT))
    assert fetch(tmp_path, origin.url + "/f").returncode == 0
    assert target.read_bytes() == CONTENT


def test_the_token_goes_to_the_hub_and_not_to_its_storage(origin: Origin, elsewhere: Origin, tmp_path: Path) -> None:
    origin.on["/f"] = lambda handler: send(handler, 302, b"", Location=elsewhere.url + "/blob?signature=x")
    elsewhere.on["/blob?signature=x"] = send
    assert fetch(tmp_path, origin.url + "/f", HF_TOKEN="hf_0123456789").returncode == 0
    assert origin.asked[0][1]["authorization"] == "Bearer hf_0123456789"
    assert "authorization" not in elsewhere.asked[0][1]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_asked_again(status: int, origin: Origin, tmp_path: Path) -> None:
    origin.on["/f?secret=1"] = lambda handler: send(handler, status, b"no")
    done = fetch(tmp_path, origin.url + "/f?secret=1")
    assert done.returncode == 1
    assert str(status) in done.stderr
    assert "secret" not in done.stderr
    assert len(origin.asked) == 1


def probe(origin: Origin, state: Path, shell: bool, *counters: str) -> "subprocess.CompletedProcess[str]":
    program = ["sh", str(PAYLOAD / "probe.sh")] if shell else [sys.executable, "-I", str(PAYLOAD / "probe.py")]
    path = {"PATH": "/usr/bin:/bin"}
    env = {**path, "TMPDIR": str(state), "FREEHOLD_ENGINE_KEY": KEY}
    words = [*program, str(origin.port), "tiny", *counters]
    return subprocess.run(words, capture_output=True, text=True, env=env, timeout=60)


@pytest.fixture(params=["python", "shell"])
def shell(request: pytest.FixtureRequest) -> bool:
    if request.param == "shell" and shutil.which("curl", path="/usr/bin:/bin") is None:
        pytest.skip("curl is not installed")
    return bool(request.param == "shell")


def test_a_token_is_work(origin: Origin, tmp_path: Path, shell: bool) -> None:
    origin.on["/v1/completions"] = lambda handler: send(handler, body=b'{"choices": [{"text": "a"}]}')
    assert probe(origin, tmp_path, shell).returncode == 0
    _, headers, body = origin.asked[0]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(body)["max_tokens"] == 1
    assert json.loads(body)["model"] == "tiny"


@pytest.mark.parametrize("answer", [(200, b"{}"), (500, b'{"choices": [1]}'), (200, b"garbage")])
def test_anything_else_is_not(answer: tuple[int, bytes], origin: Origin, tmp_path: Path, shell: bool) -> None:
    origin.on["/v1/completions"] = lambda handler: send(handler, *answer)
    assert probe(origin, tmp_path, shell).returncode == 1


def test_moving_counters_are_work_even_when_no_slot_is_free(origin: Origin, tmp_path: Path, shell: bool) -> None:
    count = iter(range(100))
    text = "# HELP x\nengine:tokens_total {}\nengine:other 1\n"
    origin.on["/metrics"] = lambda handler: send(handler, body=text.format(next(count)).encode())
    origin.on["/v1/completions"] = lambda handler: send(handler, 503, b"busy")
    assert probe(origin, tmp_path, shell, "engine:tokens_total").returncode == 1  # nothing to compare with yet
    assert probe(origin, tmp_path, shell, "engine:tokens_total").returncode == 0
    assert probe(origin, tmp_path, shell, "engine:tokens_total").returncode == 0


def test_counters_that_stand_still_need_a_token(origin: Origin, tmp_path: Path, shell: bool) -> None:
    origin.on["/metrics"] = lambda handler: send(handler, body=b"engine:tokens_total 7\n")
    origin.on["/v1/completions"] = lambda handler: send(handler, 500, b"wedged")
    for _ in range(3):
        assert probe(origin, tmp_path, shell, "engine:tokens_total").returncode == 1
    origin.on["/v1/completions"] = lambda handler: send(handler, body=b'{"choices": [{"text": "a"}]}')
    assert probe(origin, tmp_path, shell, "engine:tokens_total").returncode == 0


def test_nobody_there_is_said(tmp_path: Path, shell: bool) -> None:
    server = Origin()
    server.close()
    done = probe(server, tmp_path, shell, "engine:tokens_total")
    assert done.returncode == 1
    assert done.stderr
