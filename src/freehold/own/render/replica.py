"""One replica elsewhere: an engine run by the same adapter as here, and its OpenAI routes passed through byte for byte.

Knows nothing of Ray; ray_app.py gives it Ray's shape. `Replica.start` returns when a token has come, `check` says
whether tokens still come, `answer` passes a request on.
"""

import asyncio
import hmac
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from freehold.call.transport import Flight, Origin, Pool, request_head
from freehold.errors import EngineError, FreeholdError
from freehold.own.alone import Alone, start
from freehold.own.engine import EngineSpec, Lora, Progress

KEY_VARIABLE = "FREEHOLD_ENGINE_KEY"
"""Where it is set, requests must carry it."""
MAX_BODY = 50 << 20
ROUTES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/responses"})
PASSED = frozenset({"content-type", "accept"})


class Adapted(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    path: str
    scale: float = 1.0


class Pull(Struct, frozen=True, forbid_unknown_fields=True):
    """`files` maps each file's name to the sha256 that it must have."""

    reference: str
    files: dict[str, str]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """What a Ray Serve config gives: the deployment. `path` is on the replica's own disk; `pull` brings what is not."""

    name: str
    context: int
    engine: str = "llamacpp"
    parallel: int = 4
    path: str | None = None
    projector: str | None = None
    pull: Pull | None = None
    threads: int | None = None
    gpu_layers: int = 0
    args: list[str] = field(default_factory=list)
    adapters: list[Adapted] = field(default_factory=list)
    remote_code: bool = False


class Answered(Struct):
    """`body` yields the bytes of the answer as they come; closing it early cuts the engine's request off."""

    status: int
    content_type: str
    body: AsyncIterator[bytes]


class Replica:
    """One engine. `start` first; after an error of `check` it is of no more use."""

    def __init__(self, args: Args) -> None:
        self._args = args
        self._alone: Alone | None = None
        self._pool: Pool | None = None
        self._progress = Progress()
        self._log = Path(tempfile.mkdtemp(prefix="freehold-replica-")) / "engine.log"

    async def start(self) -> None:
        """Returns when the engine has answered with a token. Raises EngineError, or OSError for files."""
        self._alone = await start(await asyncio.to_thread(self._spec), self._log)
        origin = Origin.parse(self._alone.origin)
        self._pool = Pool(origin, connect_timeout=5.0, limit=max(64, 4 * self._args.parallel))

    async def check(self) -> None:
        """Raises EngineError unless the engine has worked since the last look, or gives a token now."""
        alone = self._started()
        metrics = alone.adapter.metrics
        if metrics is not None:
            earlier, self._progress = self._progress, alone.adapter.progress(await alone.life.ask(metrics))
            if earlier.counts != (None, None, None) and self._progress.moved(earlier):
                return
        await alone.life.ask(alone.token)

    async def stop(self) -> None:
        """Ends the engine once its requests are done, or after 30 s."""
        if self._pool is not None:
            self._pool.shut()
        if self._alone is not None:
            await self._alone.end()
            self._alone = None

    async def answer(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Answered:
        """Returns the engine's answer to a request, or our refusal of it. Never raises for what a client sent."""
        given = {name.lower(): value for name, value in headers}
        if refusal := self._refusal(method, path, given, body):
            return refusal
        if method == "GET":
            held = [{"id": name, "object": "model", "owned_by": "freehold"} for name in self._started().fields]
            return _whole(200, {"object": "list", "data": held})
        try:
            return await self._passed_on(path, given, self._adjusted(body))
        except msgspec.DecodeError as error:
            return _error(400, "invalid_json", f"the body is not a JSON object: {error}")
        except KeyError as error:
            here = ", ".join(self._started().fields)
            return _error(404, "model_not_found", f"{error.args[0]} is not here; {here} is")
        except FreeholdError as error:
            return _error(503, error.code, error.text)

    def _started(self) -> Alone:
        if self._alone is None:
            raise EngineError("the engine has not started")
        return self._alone

    def _refusal(self, method: str, path: str, given: dict[str, str], body: bytes) -> Answered | None:
        key = os.environ.get(KEY_VARIABLE)
        if key and not hmac.compare_digest(given.get("authorization", "").encode(), f"Bearer {key}".encode()):
            return _error(401, "invalid_api_key", "the key is missing or wrong")
        if path != "/v1/models" and path not in ROUTES:
            return _error(404, "unknown_path", f"{path} is not served here")
        if method != ("GET" if path == "/v1/models" else "POST"):
            return _error(405, "method_not_allowed", f"{path} does not take {method}")
        return _error(413, "too_large", f"the body is over {MAX_BODY >> 20} MiB") if len(body) > MAX_BODY else None

    def _adjusted(self, body: bytes) -> bytes:
        """Returns the body with what makes the engine use the model asked for. Raises DecodeError, KeyError."""
        request = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        name = msgspec.json.decode(request.get("model", msgspec.Raw(b"null")), type=str | None) or self._args.name
        fields = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in self._started().fields[name].items()}
        return msgspec.json.encode(request | fields)

    async def _passed_on(self, path: str, given: dict[str, str], body: bytes) -> Answered:
        life, pool = self._started().life, self._pool
        assert pool is not None
        lines = [(name.encode(), given[name].encode("latin-1")) for name in PASSED if name in given]
        lines.append((b"Connection", b"close"))
        if life.api_key:
            lines.append((b"Authorization", f"Bearer {life.api_key}".encode()))
        head = request_head("POST", pool.origin.authority, path, lines)
        flight = Flight(asyncio.get_running_loop().time())
        connection = await pool.acquire(flight)
        try:
            connection.send(flight, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            status = await connection.head()
        except BaseException:
            connection.close()
            raise

        async def rest() -> AsyncIterator[bytes]:
            try:
                while chunk := await connection.chunk():
                    yield chunk
            finally:
                connection.close()

        content_type = connection.fields().get(b"content-type", b"application/json")
        return Answered(status, content_type.decode("latin-1"), rest())

    def _spec(self) -> EngineSpec:
        args = self._args
        path = _pulled(args.name, args.pull) if args.pull is not None else Path(args.path or "")
        state = path.stat()
        beside = path if path.is_dir() else path.parent
        return EngineSpec(
            name=args.name,
            path=path,
            context=args.context,
            parallel=args.parallel,
            threads=args.threads,
            gpu_layers=args.gpu_layers,
            stamp=(state.st_size, state.st_mtime_ns),
            engine=args.engine,
            projector=beside / args.projector if args.projector else None,
            adapters=tuple(Lora(one.name, Path(one.path), one.scale) for one in args.adapters),
            args=tuple(args.args),
            remote_code=args.remote_code,
        )


def _pulled(name: str, pull: Pull) -> Path:
    """Pulls into this machine's store and returns what the engine opens. Blocking.

    Raises EngineError when the pull fails, or what came is not what was pinned.
    """
    import subprocess

    from freehold.own.weights.store import open_store

    store = open_store()
    words = [sys.executable, "-m", "freehold", "pull", pull.reference, "--name", name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 our own command, no shell
    if done.returncode:
        raise EngineError(f"freehold pull {pull.reference}: {done.stderr.strip()[-500:]}", code="not_pulled")
    for version in reversed(store.versions(name)):
        for artefact in version.artefacts:
            if pull.files.items() >= {file: ref.sha256 for file, ref in artefact.files.items()}.items():
                store.check_unchanged(version, artefact)
                return store.model_path(version, artefact)
    raise EngineError(f"{pull.reference} has not the files that were pinned", code="weights_changed", retry="no")


def _whole(status: int, value: Any) -> Answered:
    async def once() -> AsyncIterator[bytes]:
        yield msgspec.json.encode(value)

    return Answered(status, "application/json", once())


def _error(status: int, code: str, message: str) -> Answered:
    """In the chat dialect's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return _whole(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})
