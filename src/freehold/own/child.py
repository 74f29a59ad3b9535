"""An engine that is a process of ours, from spawn to exit: our own worker, or somebody else's server.

A worker says where it listens. A server is given a port that was free a moment ago, is asked until it is ready, and is
given another port if somebody was faster; that it is our process that answers, and on loopback only, is looked up in
the kernel's tables where it shows them (Linux). A server runs below a keeper (engines/keeper.py), which adopts what
escapes from the group.

Every process carries a mark in its environment. `end` kills the group, all descendants, and whatever still carries the
mark.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import cast

import msgspec

from freehold.errors import EngineError, Retry
from freehold.own import processes
from freehold.own.asking import ask, send
from freehold.own.engine import LaunchPlan, Probe
from freehold.own.engines import keeper
from freehold.own.pipes import BoundedLog, Pipes, describe
from freehold.own.processes import Used

LAST_WORDS_WAIT = 0.5
"""Seconds that the stderr of a dead child may stay open: a grandchild may hold it."""
PORTS = 4
"""Ports that are tried."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between questions whether it is ready: the pause grows, so that a quick start is seen quickly."""
ONE_QUESTION = 5.0
USAGE = 2
"""The exit status by which argparse and click say that the command line is wrong."""
_TAKEN = re.compile(
    r"(?i)address (?:is )?already in use|EADDRINUSE|port \S+ (?:is |was )?(?:already )?(?:in use|occupied|taken)"
    r"|(?:couldn't|failed to|cannot) bind"
)


class _PortTaken(Exception):
    pass


class Child:
    """A running child; `origin` is where it listens once `answering` has returned."""

    def __init__(self, plan: LaunchPlan, log: BoundedLog) -> None:
        self._plan = plan
        self._log = log
        self._server = plan.kind == "server"
        self._mark = secrets.token_hex(8)
        self._files: Path | None = None
        self._transport: asyncio.SubprocessTransport
        self._pipes: Pipes
        self._stdin: asyncio.WriteTransport
        self.pid: int
        self.origin = ""
        self.api_key = plan.api_key

    @classmethod
    async def spawn(cls, plan: LaunchPlan, log: BoundedLog) -> "Child":
        """Starts the process and hands it its message. Raises EngineError when the system will not."""
        child = cls(plan, log)
        try:
            if plan.files:
                child._files = _write(plan.files)
            await child._start(plan.port or (free_port() if child._server else 0))
        except OSError as error:
            child._remove_files()
            raise EngineError(f"{plan.argv[0]} cannot be started: {error.strerror}", hint=plan.hint) from error
        return child

    async def _start(self, port: int) -> None:
        def filled(text: str) -> str:
            return text.replace("${PORT}", str(port)).replace("${FILES}", str(self._files or ""))

        argv = [filled(one) for one in self._plan.argv]
        if self._server:
            argv = [sys.executable, "-I", "-S", str(keeper.__file__), *argv]
        env = {name: filled(value) for name, value in self._plan.env.items()}
        self._transport, self._pipes = await asyncio.get_running_loop().subprocess_exec(
            lambda: Pipes(self._log, speaks=not self._server),
            *argv,
            env=env | {processes.MARK: self._mark},
            cwd=self._files if self._plan.inside else None,
            start_new_session=True,
        )
        self.pid = self._transport.get_pid()
        stdin = self._transport.get_pipe_transport(0)
        # uvloop's pipes have the methods of asyncio.WriteTransport without being one.
        cast("asyncio.WriteTransport", stdin).write(self._plan.message)
        self._port = port

    async def answering(self) -> str:
        """Waits until it listens and returns its origin, `http://127.0.0.1:PORT`.

        Raises EngineError: code engine_refused (retry no) when it says it never will, engine_unavailable when it died
        or said nothing in time.
        """
        try:
            async with asyncio.timeout(self._plan.ready_timeout):
                self.origin = await (self._served() if self._server else self._said())
                for probe in self._plan.setup:
                    await self.ask(probe)
        except TimeoutError:
            raise EngineError(
                f"it did not listen within {self._plan.ready_timeout:g} s" + self.last_words(), hint=self._plan.hint
            ) from None
        return self.origin

    # a worker

    async def _said(self) -> str:
        line = await asyncio.shield(self._pipes.first_line)
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
        if not words["url"].startswith("http://127.0.0.1:"):
            raise EngineError("it listens elsewhere than on loopback", code="engine_refused", retry="no")
        return words["url"]

    # a server

    async def _served(self) -> str:
        for attempt in range(PORTS):
            try:
                return await self._ready(f"http://127.0.0.1:{self._port}")
            except _PortTaken:
                if attempt + 1 < PORTS:
                    await self._again()
        raise EngineError(
            f"port {self._port} on 127.0.0.1 cannot be had", code="engine_refused", retry="same", hint=self._plan.hint
        )

    async def _again(self) -> None:
        self.kill()
        await asyncio.shield(self._pipes.ended)
        self._transport.close()
        await self._start(free_port())

    async def _ready(self, origin: str) -> str:
        assert self._plan.ready is not None
        probe = msgspec.structs.replace(self._plan.ready, timeout=min(self._plan.ready.timeout, ONE_QUESTION))
        pause = FIRST_PAUSE
        while True:
            if self._pipes.ended.done():
                raise await self._died()
            status = 0
            with contextlib.suppress(EngineError):
                status, body = await send(origin, self.api_key, probe)
            if 200 <= status < 300:
                self._check_owner()
                return origin
            if status and status not in self._plan.ready.loading:
                self._check_owner()
                reason = f"{probe.path} answered {status}: {body[:200].decode(errors='replace')}"
                raise EngineError(reason, code="engine_refused", retry="no", hint=self._plan.hint)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._pipes.ended), pause)
            pause = min(LONGEST_PAUSE, pause * 1.2)

    async def _died(self) -> Exception:
        status = await self.exited()
        if self._pipes.says(_TAKEN) or processes.listeners(self._port):
            return _PortTaken()
        reason = f"it ended while starting ({describe(status)})" + self.last_words()
        if status in (USAGE, keeper.NOT_STARTED):
            return EngineError(reason, code="engine_refused", retry="no", hint=self._plan.hint)
        return EngineError(reason, hint=self._plan.hint)

    def _check_owner(self) -> None:
        """Raises _PortTaken when another process answers, EngineError when it listens on more than loopback."""
        found = processes.listeners(self._port)
        if not found:
            return
        pids = self.pids()
        ours = found if self._plan.elsewhere else [one for one in found if processes.holds(pids, one.inode)]
        if not ours:
            raise _PortTaken
        if not all(one.loopback for one in ours):
            raise EngineError(
                "it listens elsewhere than on loopback",
                code="engine_refused",
                retry="no",
                hint="its command line must say --host 127.0.0.1",
            )

    # both

    async def ask(self, probe: Probe) -> bytes:
        """Returns the answer to `probe`. Raises EngineError unless it is good and in time."""
        try:
            return await ask(self.origin, self.api_key, probe)
        except EngineError as error:
            raise EngineError(error.message + self.last_words()) from error

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
        """Kills what is left, waits for that, closes the pipes and removes the files."""
        self.kill()
        await asyncio.shield(self._pipes.ended)
        await asyncio.to_thread(processes.kill_marked, self._mark)
        self._transport.close()
        self._remove_files()

    def kill(self) -> None:
        """SIGKILL to everything below it and to its group, at once.

        Once it has ended its number may be another's, so what it left behind is then found by its mark (`end`); where
        the system shows no marks, the group is all there is.
        """
        if self._pipes.ended.done() and sys.platform == "linux":
            return
        processes.kill_below(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def pids(self) -> list[int]:
        """Returns its processes, the first of them that which was started."""
        return [] if self._pipes.ended.done() else [self.pid, *processes.descendants(self.pid)]

    def memory(self) -> Used | None:
        """Returns what its processes use of RAM; None where the system does not say."""
        return processes.used(self.pids())

    def last_words(self) -> str:
        """What its last lines give as a reason, as a clause to append; empty when none does."""
        reason = self._pipes.reason()
        return f"; its last words: {reason}" if reason else ""

    def _remove_files(self) -> None:
        if self._files is not None:
            shutil.rmtree(self._files, ignore_errors=True)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write(files: dict[str, bytes | Path]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="freehold-engine-"))
    for name, content in files.items():
        if isinstance(content, Path):
            (folder / name).symlink_to(content)
        else:
            (folder / name).touch(0o600)
            (folder / name).write_bytes(content)
    return folder
