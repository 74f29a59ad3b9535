"""What comes out of a child process: its first line, its last lines, its log, its end.

The pipes are read all the time (a full one would stop the child) into a log that cannot grow past two files of
`LOG_LIMIT` bytes. The last lines are kept in memory to explain a death.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections import deque
from pathlib import Path

LOG_LIMIT = 1 << 20
LAST_LINES = 30
MAX_LINE = 500
FIRST_WORDS = 64 << 10


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


class Pipes(asyncio.SubprocessProtocol):
    """`ended` is set when the process ends, even if a grandchild holds its pipes; `closed` when stderr does.

    With `speaks`, the first line on stdout is a message to us; without it, stdout is log like stderr.
    """

    def __init__(self, log: BoundedLog, *, speaks: bool) -> None:
        loop = asyncio.get_running_loop()
        self.first_line: asyncio.Future[bytes] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.last_lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._log = log
        self._speaks = speaks
        self._words = b""
        self._rest = {1: b"", 2: b""}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1 and self._speaks:
            self._listen(data)
            return
        self._log.write(data)
        *lines, rest = (self._rest[fd] + data).split(b"\n")
        self._rest[fd] = rest[-MAX_LINE:]
        self.last_lines.extend(line for line in lines if line.strip())

    def _listen(self, data: bytes) -> None:
        if not self.first_line.done():
            self._words += data
            if b"\n" in self._words or len(self._words) > FIRST_WORDS:
                self.first_line.set_result(self._words.partition(b"\n")[0])
                self._words = b""

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1 and not self.first_line.done():
            self.first_line.set_result(b"")
        if fd in self._rest and self._rest[fd].strip():
            self.last_lines.append(self._rest[fd])
            self._rest[fd] = b""
        if fd == 2 and not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def reason(self) -> str:
        """Returns the line that best explains a death: the last exception by name, else the first sign of trouble."""
        lines = [_plain(line) for line in self.last_lines]
        raised = next((line for line in reversed(lines) if _RAISED.search(line)), None)
        return raised or next((line for line in lines if _TROUBLE.search(line)), "")

    def says(self, pattern: "re.Pattern[str]") -> bool:
        return any(pattern.search(_plain(line)) for line in self.last_lines)


_RAISED = re.compile(r"^(?:[a-z_0-9.]+\.)?[A-Z][A-Za-z]*(?:Error|Exception): ")
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
