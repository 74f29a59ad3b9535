"""How verbs talk to a running gateway: as any client does, over HTTP with a key.

`find` says where it is: --url or FREEHOLD_URL, else the address that `freehold up` left in FREEHOLD_HOME/run/up.json.
`get` reads one JSON answer. `converse` asks one question in OpenAI's chat dialect and hands text on as it comes.
The local key is sent to the local gateway only, never to another URL.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from freehold.call.transport import Connection, Flight, Origin, Pool, request_head
from freehold.config import load as config
from freehold.dialects.sse import DONE, SseParser
from freehold.errors import (
    BadRequest,
    CallerError,
    FreeholdError,
    NotFound,
    ProviderError,
    Unauthorized,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from freehold.home import run_dir

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 930.0
"""A little more than the gateway's own limit on a request, so that its error is seen rather than ours."""
MAX_ANSWER = 64 << 20

T = TypeVar("T")


class Running(Struct):
    """A gateway that can be asked. Read from run/up.json, which `freehold up` writes."""

    url: str
    key: str | None = None
    pid: int = 0
    config: str | None = None
    """The configuration file it runs with, where it says so."""


class Usage(Struct):
    """Tokens, as the chat dialect counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(Struct):
    """One whole answer, and what the gateway's headers say of it."""

    text: str = ""
    model: str = ""
    deployment: str = ""
    reason: str = ""
    attempts: int = 1
    lost: list[str] = field(default_factory=list)
    finish: str | None = None
    usage: Usage | None = None
    seconds: float = 0.0

    def line(self) -> str:
        """Who answered, why, and what it took, for a person."""
        parts = [f"{self.deployment or self.model or 'the gateway'} answered"]
        if self.reason:
            parts.append(f"({self.reason})")
        counts = [f"{self.usage.prompt_tokens} tokens in, {self.usage.completion_tokens} out"] if self.usage else []
        if self.attempts > 1:
            counts.append(f"{self.attempts} attempts")
        counts.append(f"{self.seconds:.1f} s")
        return " ".join(parts) + ": " + ", ".join(counts)


class _Message(Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Fault(Struct):
    message: str = ""
    code: str | int | None = None


class _Completion(Struct):
    """A chat completion or a chunk of one, as far as it is shown."""

    model: str = ""
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: _Fault | None = None


class _Refusal(Struct):
    error: _Fault


def running() -> Running | None:
    """Returns the gateway that runs from this FREEHOLD_HOME, None when there is none."""
    try:
        found = msgspec.json.decode((run_dir() / "up.json").read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None
    return found if _lives(found.pid) else None


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


def reload_running() -> bool:
    """Tells the gateway that runs from this FREEHOLD_HOME to read its configuration again; whether there is one."""
    gateway = running()
    if gateway is None:
        return False
    try:
        os.kill(gateway.pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True


def named() -> bool:
    """Whether the environment names a gateway."""
    return bool(os.environ.get("FREEHOLD_URL"))


def configuration(path: Path | None) -> Path | None:
    """Returns the file a command is about: `--config`, else the running gateway's, else the one in the usual places."""
    gateway = running() if path is None else None
    if gateway is not None and gateway.config:
        path = Path(gateway.config)
    return config.find(path)


def find(url: str | None = None, key: str | None = None) -> Running:
    """Returns the gateway to ask and the key for it.

    Raises NotFound when none runs and none is named, Unauthorized when there is no key to send, BadRequest for a URL
    that is none.
    """
    url = url or os.environ.get("FREEHOLD_URL")
    key = key or os.environ.get("FREEHOLD_API_KEY")
    local = running()
    if url is None and local is None:
        raise NotFound(
            f"no gateway runs from {run_dir().parent}",
            hint="start one with: freehold up (or name one with --url or FREEHOLD_URL)",
            code="not_running",
        )
    base = (url or (local.url if local else "")).rstrip("/").removesuffix("/v1")
    try:
        Origin.parse(base)
    except ValueError as error:
        raise BadRequest(str(error), hint="write it like http://127.0.0.1:8484", param="--url") from error
    if key is None and local is not None and base == local.url:
        key = local.key
    if key is None:
        raise Unauthorized(
            f"there is no key to send to {base}",
            hint="give --key or FREEHOLD_API_KEY; freehold keys add NAME makes one",
            code="missing_api_key",
        )
    return Running(base, key, local.pid if local and base == local.url else 0)


async def get(gateway: Running, path: str, kind: type[T], *, timeout: float = 10.0) -> T:
    """Returns the JSON answer to GET `path`. Raises FreeholdError in the gateway's words, or UpstreamBroken."""
    async with _exchange(gateway, "GET", path, b"", timeout) as connection:
        body = await connection.read(MAX_ANSWER)
        return _decoded(body, kind)


async def converse(gateway: Running, request: dict[str, Any], on_text: Callable[[str], None]) -> Answer:
    """Asks with a body of the chat dialect, streamed if it says so; `on_text` gets text as it comes.

    Raises FreeholdError: the gateway's own, or UpstreamBroken when an answer ends too early.
    """
    began = time.monotonic()
    body = msgspec.json.encode(request)
    answer = Answer()
    async with _exchange(gateway, "POST", "/v1/chat/completions", body, ANSWER_SECONDS) as connection:
        headers = {name: value.decode("latin-1") for name, value in connection.fields().items()}
        answer.deployment = headers.get(b"x-freehold-deployment", "")
        answer.reason = headers.get(b"x-freehold-reason", "")
        answer.attempts = int(headers.get(b"x-freehold-attempts", "1"))
        answer.lost = [name for name in headers.get(b"x-freehold-lost", "").split(", ") if name]
        if request.get("stream"):
            await _read_stream(connection, answer, on_text)
        else:
            _add(answer, _decoded(await connection.read(MAX_ANSWER), _Completion), on_text)
    answer.seconds = time.monotonic() - began
    return answer


async def _read_stream(connection: Connection, answer: Answer, on_text: Callable[[str], None]) -> None:
    parser = SseParser()
    while chunk := await connection.chunk():
        for _, data in parser.feed(chunk):
            if data == DONE:
                await connection.read(MAX_ANSWER)
                return
            _add(answer, _decoded(data, _Completion), on_text)
    raise UpstreamBroken("the gateway's answer ended before it was complete")


def _add(answer: Answer, part: _Completion, on_text: Callable[[str], None]) -> None:
    if part.error is not None:
        raise _worded(part.error, 502)
    answer.model = part.model or answer.model
    answer.usage = part.usage or answer.usage
    for choice in part.choices:
        message = choice.delta or choice.message or _Message()
        text = (message.content or "") + (message.refusal or "")
        answer.finish = choice.finish_reason or answer.finish
        if text:
            answer.text += text
            on_text(text)


@asynccontextmanager
async def _exchange(gateway: Running, method: str, path: str, body: bytes, timeout: float) -> AsyncIterator[Connection]:
    """Sends one request on a connection of its own; the response head has come when this yields."""
    origin = Origin.parse(gateway.url)
    headers = [(b"Accept", b"application/json, text/event-stream"), (b"Connection", b"close")]
    if gateway.key:
        headers.append((b"Authorization", b"Bearer " + gateway.key.encode()))
    if body:
        headers.append((b"Content-Type", b"application/json"))
    try:
        head = request_head(method, origin.authority, origin.prefix + path, headers)
    except ValueError as error:
        raise BadRequest("the key holds a line break", param="--key") from error
    loop = asyncio.get_running_loop()
    flight = Flight(loop.time())
    pool = Pool(origin, connect_timeout=CONNECT_SECONDS, limit=1)
    late = UpstreamTimeout(f"the gateway did not answer within {timeout:g} s", hint="freehold doctor")
    alarm = loop.call_later(timeout, flight.abort, late)
    try:
        connection = await pool.acquire(flight)
        connection.send(flight, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        try:
            status = await connection.head()
            if status != 200:
                raise _refusal(status, await connection.read(MAX_ANSWER))
            yield connection
        finally:
            connection.close()
    except UpstreamUnreachable as error:
        cause = error.__cause__
        why = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else error.message
        raise UpstreamUnreachable(
            f"no gateway answers at {gateway.url}: {why}", hint="start one with: freehold up", code="not_running"
        ) from error
    except UpstreamBroken as error:
        raise UpstreamBroken(error.message.replace("the provider", "the gateway"), hint=error.hint) from error
    finally:
        alarm.cancel()
        pool.shut()


def _refusal(status: int, body: bytes) -> FreeholdError:
    """Returns what the gateway says with a status that is not 200."""
    try:
        fault = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        fault = _Fault(f"the gateway answered with status {status}")
    return _worded(fault, status)


def _worded(fault: _Fault, status: int) -> FreeholdError:
    """Returns the gateway's error as ours: the hint it carries in its text becomes a hint again."""
    message, _, hint = fault.message.partition(" (hint: ")
    kind = CallerError if status < 500 else ProviderError
    code = str(fault.code) if fault.code is not None else None
    return kind(message, hint=hint.removesuffix(")") or None, status=status, code=code)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise UpstreamBroken(f"the gateway's answer cannot be read: {error}", hint="is --url a Freehold?") from error
