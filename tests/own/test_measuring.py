"""The sender against a scripted endpoint: what it sends, what it makes of streams, breaks and refusals."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from freehold.errors import BadRequest, EngineError
from freehold.own.measure import Grid
from freehold.own.measuring import Target, run


class Endpoint:
    """Streams `tokens` contents `gap` seconds apart, or does what `refuse` says."""

    def __init__(self) -> None:
        self.tokens = 4
        self.gap = 0.0
        self.refuse: Callable[[str, dict[str, Any]], tuple[int, bytes] | None] = lambda path, body: None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.busy = self.most = 0
        lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    endpoint.asked.append((self.path, body))
                    endpoint.busy += 1
                    endpoint.most = max(endpoint.most, endpoint.busy)
                try:
                    endpoint.answer(self, body)
                finally:
                    with lock:
                        endpoint.busy -= 1

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.target = Target(f"http://127.0.0.1:{self.server.server_address[1]}", "key", "own/m")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: Any, body: dict[str, Any]) -> None:
        refusal = self.refuse(handler.path, body)
        handler.send_response(refusal[0] if refusal else 200)
        handler.end_headers()
        if refusal:
            handler.wfile.write(refusal[1])
            return
        chat = "messages" in body
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        for _ in range(min(self.tokens, body["max_tokens"])):
            time.sleep(self.gap)
            choice = {"delta": {"content": "x"}} if chat else {"text": "x"}
            handler.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
            handler.wfile.flush()
        usage = {"prompt_tokens": 2 * len(prompt.split()), "completion_tokens": min(self.tokens, body["max_tokens"])}
        handler.wfile.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


async def test_cells_are_measured_as_asked(endpoint: Endpoint) -> None:
    endpoint.gap = 0.02  # else a quick machine has answered the first before the third is asked
    ended: list[float] = []
    cells = await run(endpoint.target, Grid((1, 3), (20,), requests=16, output=4), ended.append)
    assert [(cell.concurrency, cell.wanted, cell.prompt, cell.requests, cell.failed) for cell in cells] == [
        (1, 20, 20, 4, 0),
        (3, 20, 20, 12, 0),
    ]
    assert len(ended) == 16
    assert endpoint.most == 3
    path, body = endpoint.asked[-1]
    assert path == "/v1/completions"
    assert (body["model"], body["max_tokens"], body["stream"], body["temperature"]) == ("own/m", 4, True, 0)
    assert all(cell.first and cell.between for cell in cells)


async def test_prompts_differ_so_that_no_cache_answers(endpoint: Endpoint) -> None:
    await run(endpoint.target, Grid((1,), (40,), requests=6, output=2))
    prompts = [body["prompt"] for _, body in endpoint.asked]
    assert len(set(prompts)) == len(prompts)


async def test_a_model_without_completions_is_asked_as_a_chat(endpoint: Endpoint) -> None:
    endpoint.refuse = lambda path, body: (404, b"no") if path == "/v1/completions" else None
    (cell,) = await run(endpoint.target, Grid((1,), (8,), requests=3, output=2))
    assert (cell.failed, endpoint.asked[-1][0]) == (0, "/v1/chat/completions")


async def test_one_that_answers_neither_is_an_error(endpoint: Endpoint) -> None:
    endpoint.refuse = lambda path, body: (503, b"loading")
    with pytest.raises(EngineError, match="status 503: loading"):
        await run(endpoint.target, Grid((1,), (8,)))


async def test_errors_inside_a_stream_and_garbage_fail_the_request(endpoint: Endpoint) -> None:
    def refuse(path: str, body: dict[str, Any]) -> tuple[int, bytes] | None:
        if body["max_tokens"] == 1:
            return None
        number = len(endpoint.asked)
        return (
            (200, b'data: {"error": {"message": "out of cache"}}\n\n') if number % 2 else (200, b"data: {garbage\n\n")
        )

    endpoint.refuse = refuse
    (cell,) = await run(endpoint.target, Grid((1,), (8,), requests=4, output=2))
    assert (cell.failed, cell.requests, cell.tokens_per_second) == (4, 4, 0.0)
    assert cell.error


async def test_it_ends_when_its_time_is_over(endpoint: Endpoint) -> None:
    endpoint.gap = 0.02
    began = time.monotonic()
    cells = await run(endpoint.target, Grid((1, 2, 4), (8, 16), requests=100_000, seconds=0.5, output=4))
    assert time.monotonic() - began < 10
    assert 1 <= len(cells) < 6


async def test_only_this_machine_is_measured() -> None:
    with pytest.raises(BadRequest, match="not on this machine"):
        await run(Target("http://192.0.2.1:8000", "", "m"), Grid((1,), (8,)))
