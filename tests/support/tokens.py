"""Token endpoints on loopback, for a gateway in another process: remembers every form it was sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl


class TokenEndpoint:
    """`asked` holds path and form of each request; `refusals` maps a beginning of a path to status and JSON answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.refusals: dict[str, tuple[int, object]] = {}

    def forms(self, path: str) -> list[dict[str, str]]:
        return [form for asked, form in self.asked if asked.startswith(path)]


@contextmanager
def token_endpoint() -> Iterator[TokenEndpoint]:
    """Gives `token-for-SEGMENT`, SEGMENT being the first one of the path."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            endpoint.asked.append((self.path, form))
            segment = self.path.split("/")[1]
            status, value = endpoint.refusals.get(
                f"/{segment}", (200, {"access_token": f"token-for-{segment}", "expires_in": 3600})
            )
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = TokenEndpoint(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
