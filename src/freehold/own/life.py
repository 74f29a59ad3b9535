"""One child process from spawn to exit: its pipes, its first words, its last words, its end.

The child leads a process group of its own, so that whatever it started ends with it. Its stderr is read all the time
(a full pipe would stop it) into a log that cannot grow past two files of `LOG_LIMIT` bytes; the last lines are kept to
explain a death.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections import deque
from pathlib import Path

import msgspec

from freehold.call.transport import fetch
from freehold.errors import EngineError, ProviderError, Retry
from freehold.own.engine import LaunchPlan, Probe

LOG_LIMIT = 1 << 20
LAST_LINES = 12
MAX_LINE = 500
FIRST_WORDS = 64 << 10
LAST_WORDS_WAIT = 0.5
"""Seconds that the stderr of a dead child may stay open: a grandchild may hold it."""


class BoundedLog:
    """Appends to `path`; a full file becomes `path.1`, replacing the one before. Trouble with the disk is ignored."""

    def __init__(self, path: Path, limit: int = LOG_LIMIT) -> None:
        self._path = path
        self._limit = limit

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, data[-self._limit :])
                full = os.fstat(descriptor).st_size >= self._limit
            finally:
                os.close(descriptor)
            if full:
                self._path.replace(self._path.with_name(self._path.name + ".1"))


class _Pipes(asyncio.SubprocessProtocol):
    """What comes out of the child. `ended` is set when the process ends, even if a grandchild holds its pipes."""

    def __init__(self, log: BoundedLog) -> None:
        loop = asyncio.get_running_loop()
        self.first_line: asyncio.Future[bytes] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.last_lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._log = log
        self._words = self._rest = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._log.write(data)
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = rest[-MAX_LINE:]
            self.last_lines.extend(line for line in lines if line.strip())
        elif not self.first_line.done():
            self._words += data
            if b"\n" in self._words or len(self._words) > FIRST_WORDS:
                self.first_line.set_result(self._words.partition(b"\n")[0])

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1 and not self.first_line.done():
            self.first_line.set_result(b"")
        if fd == 2 and not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Life:
    """A running child; `origin` is where it listens once `answering` has returned."""

    def __init__(self, transport: asyncio.SubprocessTransport, pipes: _Pipes, plan: LaunchPlan) -> None:
        self._transport = transport
        self._pipes = pipes
        self._plan = plan
        self.pid = transport.get_pid()
        self.origin = ""

    @classmethod
    async def spawn(cls, plan: LaunchPlan, log: BoundedLog) -> "Life":
        """Starts the process and hands it its message. Raises EngineError when the system will not."""
        loop = asyncio.get_running_loop()
        try:
            transport, pipes = await loop.subprocess_exec(
                lambda: _Pipes(log), *plan.argv, env=plan.env, start_new_session=True
            )
        except OSError as error:
            raise EngineError(f"{plan.argv[0]} cannot be started: {error.strerror}") from error
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        stdin.write(plan.message)
        return cls(transport, pipes, plan)

    async def answering(self) -> str:
        """Waits for the child's first words and returns the origin it listens on, `http://127.0.0.1:PORT`.

        Raises EngineError: code engine_refused (retry no) when it says it never will, engine_unavailable when it died
        or said nothing in time.
        """
        try:
            async with asyncio.timeout(self._plan.ready_timeout):
                line = await asyncio.shield(self._pipes.first_line)
        except TimeoutError:
            raise EngineError(f"it did not listen within {self._plan.ready_timeout:g} s" + self.last_words()) from None
        if not line:
            raise EngineError(f"it ended while starting ({describe(await self.exited())})" + self.last_words())
        try:
            words = msgspec.json.decode(line, type=dict[str, str])
        except msgspec.DecodeError:
            raise EngineError("its first line is not what a worker says") from None
        if "url" not in words:
            await self.exited()
            retry: Retry = "same" if words.get("kind") == "port" else "no"
            reason = words.get("error", "it gave no reason")
            raise EngineError(reason + self.last_words(), code="engine_refused", retry=retry)
        self.origin = words["url"]
        if not self.origin.startswith("http://127.0.0.1:"):
            raise EngineError("it listens elsewhere than on loopback", code="engine_refused", retry="no")
        return self.origin

    async def ask(self, probe: Probe) -> bytes:
        """Returns the answer to `probe`. Raises EngineError unless it is a 200 in time."""
        headers = {"authorization": f"Bearer {self._plan.api_key}", "content-type": "application/json"}
        method = "GET" if probe.body is None else "POST"
        try:
            status, _, body = await fetch(
                method, self.origin + probe.path, headers, probe.body or b"", timeout=probe.timeout
            )
        except ProviderError as error:
            raise EngineError(f"{probe.path}: {error.message}" + self.last_words()) from error
        if status != 200:
            raise EngineError(f"{probe.path} answered {status}: {body[:200].decode(errors='replace')}")
        return body

    async def exited(self) -> int:
        """Waits for the end; returns the exit status, negative for a signal."""
        await asyncio.shield(self._pipes.ended)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._pipes.closed), LAST_WORDS_WAIT)
        status = self._transport.get_returncode()
        return 0 if status is None else status

    async def stop(self, patience: float) -> None:
        """Asks it to end (SIGTERM), and kills it if it has not after `patience` seconds."""
        if not self._pipes.ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._transport.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._pipes.ended), patience)
        self.kill()

    async def end(self) -> None:
        """Kills what is left of the group, waits for that, and closes the pipes."""
        self.kill()
        await asyncio.shield(self._pipes.ended)
        self._transport.close()

    def kill(self) -> None:
        """SIGKILL to the whole group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The first of its last lines that looks like a reason, as a clause to append; empty when none does."""
        lines = (_plain(line) for line in self._pipes.last_lines)
        return next((f"; its last words: {line}" for line in lines if _TROUBLE.search(line)), "")


_TROUBLE = re.compile(r"^E |(?i:error|fail|assert|abort|invalid|cannot|couldn't)")
_STAMP = re.compile(r"^[0-9.]+ ")
"""llama.cpp begins its lines with a time."""


def _plain(line: bytes) -> str:
    return _STAMP.sub("", line[:MAX_LINE].decode(errors="replace").strip())


def describe(status: int) -> str:
    """Returns an exit status in words."""
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        return f"killed by {name}"
    return f"exit status {status}"
