"""`HubServer`: two ports, the hub and its storage, byte ranges, faults, and the list of what was asked.

Threads and the standard library, so that it serves blocking clients (the official one) and asyncio alike, inside a test
without an event loop. It is a hub for tests and demonstrations: correct before fast.
"""

import contextlib
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct, field

from freehold.errors import ConfigError
from freehold.fake.hub import huggingface, registry
from freehold.fake.hub.messages import Answer, Asked, Fault, Seen, as_json
from freehold.fake.hub.repositories import Blob, Repository

CHUNK = 1 << 16
MAX_BODY = 1 << 20
SETTINGS = "hub.json"
_IN_THE_API = ("size", "hash", "bare")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Settings(Struct, forbid_unknown_fields=True):
    """`FOLDER/hub.json`, for the fake as a command. `tokens`: the repositories (or `*`) that each token may read."""

    gated: dict[str, str] = field(default_factory=dict)
    private: list[str] = field(default_factory=list)
    tokens: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class HubServer:
    """Serves `folder`/ORG/NAME as a hub. Start it with `with`, or `start` and `stop`.

    `tokens` maps a token to the repositories, gated or private, that it may read. `faults` may be added to at any time.
    `seen` holds every request in the order in which they came.

    Raises:
        ConfigError: `folder` is no folder, or its hub.json cannot be read.
        OSError: the address cannot be bound.
    """

    def __init__(self, folder: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = Path(folder)
        self.host = host
        self.port = port
        self.tokens: dict[str, set[str]] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.stopping = threading.Event()
        self._repositories: dict[str, Repository] = {}
        self._lock = threading.RLock()
        self._servers: list[_Listener] = []
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is no folder", hint="a hub serves FOLDER/ORG/NAME/files")
        self._configure()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT and OLLAMA_REGISTRY are set to."""
        return f"http://{self.host}:{self.port}"

    @property
    def storage_url(self) -> str:
        return f"http://{self.host}:{self._servers[1].server_port}"

    def start(self) -> Self:
        for port in (self.port, 0):
            listener = _Listener((self.host, port), self, storage=bool(self._servers))
            self._servers.append(listener)
            threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.port = self._servers[0].server_port
        return self

    def stop(self) -> None:
        """Ends every connection and closes both ports."""
        self.stopping.set()
        for listener in self._servers:
            listener.shutdown()
            listener.end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What it serves

    def add(self, name: str, files: dict[str, bytes | None]) -> str:
        """Writes files of a repository, which is made when it is new; None removes one. Returns the new commit."""
        with self._lock:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            repository = self.repository(name)
            if repository is None:
                raise ConfigError(f"{name!r} is no name of a repository", hint="ORG/NAME")
            return repository.put(files)

    def names(self) -> list[str]:
        found = [*self.folder.glob("*/*"), *self.folder.glob("*")]
        whole = {path.name for path in found if path.is_dir() and (path / "config.json").is_file()}
        names = {
            str(path.relative_to(self.folder))
            for path in found
            if path.is_dir() and (path.parent != self.folder or path.name in whole)
        }
        return sorted(name for name in names if not name.startswith(".") and name.partition("/")[0] not in whole)

    def repository(self, name: str) -> Repository | None:
        with self._lock:
            found = self._repositories.get(name)
            folder = self.folder / name
            plain = name and not any(part.startswith(".") or not part for part in name.split("/"))
            if found is None and plain and folder.is_dir():
                found = self._repositories[name] = Repository(name, folder)
            return found

    def stored(self, sha256: str) -> Blob | None:
        for repository in list(self._repositories.values()):
            for tree in list(repository.commits.values()):
                for blob in tree.values():
                    if blob.sha256 == sha256:
                        return blob
        return None

    def may(self, token: str | None, name: str) -> bool:
        """Whether a token may read a repository that not everybody may read."""
        return token is not None and bool({name, "*"} & self.tokens.get(token, set()))

    # Faults

    def lies(self, kind: str, path: str) -> bool:
        return any(fault.kind == kind and fnmatch(path, fault.path) for fault in self.faults)

    def take(self, name: str) -> Fault | None:
        """The next fault for a file or for the API, which is used up by it."""
        with self._lock:
            for fault in self.faults:
                if fault.kind not in _IN_THE_API and fault.times > 0 and name and fnmatch(name, fault.path):
                    fault.times -= 1
                    return fault
        return None

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            found = huggingface.route(self, asked) or registry.route(self, asked)
        if found is None:
            return as_json({"error": "Sorry, we can't find the page you are looking for."}, 404)
        return found

    def move(self, fault: Fault) -> None:
        for name in [fault.repo] if fault.repo else list(self._repositories):
            self.add(name, {path: text.encode() for path, text in fault.files.items()})

    def _configure(self) -> None:
        path = self.folder / SETTINGS
        if not path.is_file():
            return
        try:
            settings = msgspec.json.decode(path.read_bytes(), type=Settings)
        except msgspec.DecodeError as error:
            raise ConfigError(str(error), where=str(path), hint="see freehold.fake.hub.server.Settings") from None
        self.tokens = {token: set(names) for token, names in settings.tokens.items()}
        self.faults = settings.faults
        for name in {*settings.gated, *settings.private, *settings.tags}:
            repository = self.repository(name)
            if repository is None:
                raise ConfigError(f"{name} is not there", where=str(path))
            repository.gated = settings.gated.get(name, False)
            repository.private = name in settings.private
            repository.tags = {
                tag: repository.head if commit == "main" else commit
                for tag, commit in settings.tags.get(name, {}).items()
            }


def serve(hub: HubServer, ready: Callable[[HubServer], None]) -> None:
    """Runs until SIGTERM or SIGINT; `ready` is called once, when both ports are open. For the main thread only.

    Raises:
        ConfigError: the address cannot be bound.
    """
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        hub.start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {hub.host} port {hub.port}: {error.strerror or error}",
            hint="choose another --port, or 0 for any free one",
        ) from None
    try:
        ready(hub)
        ended.wait()
    finally:
        hub.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], hub: HubServer, *, storage: bool) -> None:
        self.hub = hub
        self.storage = storage
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to print."""

    def end(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Cut(Exception):  # not an error: the fault that was asked for
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        hub = self.server.hub
        asked = self._asked()
        answer = hub.answer(asked)
        api = asked.path[:2] == ["api", "models"] or "manifests" in asked.path
        redirects = 300 <= answer.status < 400
        # A fault belongs to what really serves the bytes, not to the redirect that leads there.
        fault = None if redirects or asked.method == "HEAD" else hub.take("api" if api else answer.name)
        if fault is not None and fault.kind == "move":
            hub.move(fault)
            answer, fault = hub.answer(asked), None
        if fault is not None and fault.kind in ("status", "garbage", "unsatisfiable"):
            answer = _failing(fault, answer)
        status, start, end = _ranged(answer, asked, fault)
        hub.seen.append(
            Seen(
                asked.method, self.path, asked.headers.get("range"), "authorization" in asked.headers,
                self.server.storage, status,
            )
        )  # fmt: skip
        self._head(answer, status, start, end)
        if asked.method == "HEAD" or status == 416:
            return
        try:
            for piece in _bent(_pieces(answer, start, end), fault, hub.stopping):
                self.wfile.write(piece)
        except (_Cut, OSError):
            self.close_connection = True

    def _asked(self) -> Asked:
        parts = urlsplit(self.path)
        length = self.headers.get("content-length", "0")
        body = self.rfile.read(min(int(length), MAX_BODY)) if length.isdecimal() else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = [unquote(piece) for piece in parts.path.strip("/").split("/")]
        return Asked(self.command, path, parts.query, headers, body, self.server.storage)

    def _head(self, answer: Answer, status: int, start: int, end: int) -> None:
        self.send_response(status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        size = _size(answer)
        if status == 206:
            self.send_header("content-range", f"bytes {start}-{end - 1}/{size}")
        elif status == 416:
            self.send_header("content-range", f"bytes */{size}")
        self.send_header("content-length", "0" if status == 416 else str(end - start))
        self.end_headers()


def _size(answer: Answer) -> int:
    return len(answer.body) if isinstance(answer.body, bytes) else answer.body.stat().st_size


def _failing(fault: Fault, answer: Answer) -> Answer:
    if fault.kind == "garbage":
        return Answer(
            200, {"content-type": "text/html"}, b"<html>Please log in to this network</html>", name=answer.name
        )
    status = 416 if fault.kind == "unsatisfiable" else fault.status
    failing = as_json({"error": "so it was asked for"}, status)
    if fault.retry_after is not None:
        failing.headers["retry-after"] = f"{fault.retry_after:g}"
    return failing


def _ranged(answer: Answer, asked: Asked, fault: Fault | None) -> tuple[int, int, int]:
    """Returns (status, first byte, byte after the last)."""
    size = _size(answer)
    wanted = _RANGE.fullmatch(asked.headers.get("range", ""))
    if not answer.ranges or answer.status != 200 or wanted is None or (fault is not None and fault.kind == "whole"):
        return answer.status, 0, size
    condition = asked.headers.get("if-range")
    if condition is not None and condition != answer.headers.get("etag"):
        return 200, 0, size
    first, last = wanted.groups()
    if not first:
        return 206, max(0, size - int(last or 0)), size
    start, end = int(first), min(int(last) + 1 if last else size, size)
    return (416, 0, size) if start >= size or end <= start else (206, start, end)


def _pieces(answer: Answer, start: int, end: int) -> Iterator[bytes]:
    if isinstance(answer.body, bytes):
        yield answer.body[start:end]
        return
    with answer.body.open("rb") as file:
        file.seek(start)
        left = end - start
        while left > 0 and (piece := file.read(min(CHUNK, left))):
            left -= len(piece)
            yield piece


def _bent(pieces: Iterator[bytes], fault: Fault | None, stopping: threading.Event) -> Iterator[bytes]:
    """The bytes as the fault has them. Raises _Cut where the connection is to end."""
    if fault is None or fault.kind not in ("cut", "stall", "slow", "wrong"):
        yield from pieces
        return
    sent = 0
    for piece in pieces:
        before, after = piece[: max(0, fault.after - sent)], piece[max(0, fault.after - sent) :]
        sent += len(piece)
        if before:
            yield before
        if not after:
            continue
        if fault.kind == "wrong":
            yield bytes([after[0] ^ 0xFF]) + after[1:] if sent - len(after) == fault.after else after
        elif fault.kind == "slow":
            yield from _slowly(after, fault.rate, stopping)
        else:
            if fault.kind == "stall":
                stopping.wait()
            raise _Cut


def _slowly(data: bytes, rate: int, stopping: threading.Event) -> Iterator[bytes]:
    """Twenty pieces a second, as long as the server runs."""
    step = max(1, rate // 20)
    for start in range(0, len(data), step):
        if stopping.wait(0.05):
            raise _Cut
        yield data[start : start + step]
