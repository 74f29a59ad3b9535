"""Kept connections that the provider closes when it likes: nobody is blamed, and nothing is sent twice.

The provider may have read the request before it hung up, and would be paid twice. So the client is told, once.
"""

import json
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

from running import KEY, config_for, started

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()


def serve(listener: socket.socket) -> None:
    """Answers the first request of each connection, and hangs up on the second."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(connection,), daemon=True).start()


def _talk(connection: socket.socket) -> None:
    with connection:
        data = b""
        while b'"messages"' not in data:
            if not (piece := connection.recv(65536)):
                return
            data += piece
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
        connection.sendall(head + ANSWER)
        connection.recv(65536)


def test_a_connection_closed_between_two_requests_trips_no_breaker(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = tmp_path / "freehold.yaml"
        config.write_text(config_for(url, "breaker: {failures: 1, cooldown: 60}"))
        with started("up", "--config", str(config), home=tmp_path / "home", UPSTREAM_KEY="secret") as gateway:
            body = json.dumps({"model": "openai/m", "messages": [{"role": "user", "content": "hi"}]}).encode()
            told = []
            for _ in range(4):
                request = urllib.request.Request(
                    gateway.url + "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}"}
                )
                try:
                    with urllib.request.urlopen(request, timeout=20) as answer:
                        told.append(answer.status)
                except urllib.error.HTTPError as error:
                    told.append(error.code)
            assert told == [200, 502, 200, 502], "one answer a connection, and no 503: the breaker stays closed"
