"""`freehold up`: the parent of all processes. It owns the socket, starts workers and steward, and keeps them alive.

    up (this) ── worker 0..N-1   answer requests; share nothing but files under FREEHOLD_HOME
              └─ steward         engines, ledger, metrics of the dead

In strict mode and air-gapped it runs inside a network namespace, started by outer.py, which hands it what it needs
(`Given`) and tells it when the configuration has changed.

The parent does as little as possible, so that it has no reason to die: it waits for signals. A child that ends by
itself is started again, after a growing pause when it keeps ending. SIGTERM or SIGINT: the socket closes here, the
workers drain, then the steward writes down what they left and stops the engines, and the parent exits with 0.
"""

import errno
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from freehold.config.load import Loaded
from freehold.config.watch import Watcher
from freehold.errors import ConfigError, FreeholdError
from freehold.home import run_dir, write_private
from freehold.record.metrics import forget
from freehold.serve.given import Given
from freehold.serve.processes import Snapshotted, die_with_parent, run_child

BACKLOG = 2048
MAX_PAUSE = 10.0
"""Seconds before a process that never came as far as serving is started again, at most."""
MAX_PAUSE_SERVING = 1.0
"""The same for one that had come that far: whatever ends it, somebody should soon be there to answer."""
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def pause(failures: int, longest: float = MAX_PAUSE) -> float:
    """Returns the seconds before the next start of what has failed so many times in a row, once at least."""
    return min(longest, 0.1 * (1 << min(failures, 16)))


class Child:
    """A process that should always be there."""

    def __init__(self, name: str, start: Callable[[], tuple[int, bool]]) -> None:
        self.name = name
        self._start = start
        self.pid = 0
        self.began = False
        """Whether the last start came as far as it should."""
        self.failures = 0
        self.due = 0.0
        self._since = 0.0

    def start(self) -> None:
        self._since = time.monotonic()
        self.pid, self.began = self._start()

    def ended(self, status: int) -> None:
        """Plans the next start: at once, but later and later for one that ends within a second again and again."""
        now = time.monotonic()
        self.failures = 0 if self.began and now - self._since > 1.0 else self.failures + 1
        longest = MAX_PAUSE_SERVING if self.began else MAX_PAUSE
        wait = pause(self.failures, longest) if self.failures else 0.0
        self.due = now + wait
        self.pid = 0
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        say(f"{self.name} ended ({how}), starting it again" + (f" in {wait:.1f} s" if wait else ""))


class Up:
    """One running gateway. `on_ready` gets its URL when requests can come and engines are up or have failed."""

    def __init__(
        self,
        loaded: Loaded,
        source: Snapshotted,
        *,
        host: str,
        port: int,
        workers: int,
        on_ready: Callable[[str], None],
        given: Given | None = None,
    ) -> None:
        self._given = given
        self._source = source
        self._loaded = loaded
        self._workers = workers
        self._on_ready = on_ready
        self._lock = only_one() if given is None else -1
        self._listener = listen(host, port) if given is None else given.listening()
        address = self._listener.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.url = f"http://{shown}:{address[1]}"
        self._children: list[Child] = []
        self._stopping = False

    def run(self) -> int:
        """Runs until a signal says stop; returns the exit status."""
        # Imported before the fork: once for all children, and their pages are shared.
        import freehold.serve.steward
        import freehold.serve.worker  # noqa: F401

        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._given is not None:
            die_with_parent(signal.SIGTERM)
        forget(run_dir())
        (run_dir() / "engines.json").unlink(missing_ok=True)
        steward = Child("steward", self._fork_steward)
        steward.start()
        self._children.append(steward)
        for index in range(self._workers):
            worker = Child(f"worker {index}", self._fork_worker(index))
            worker.start()
            self._children.append(worker)
        if not all(child.began for child in self._children):
            say("a worker did not start, its reason stands above")
            self._stop()
            return 1
        watched = [path for path in (self._source.original, self._source.deployed) if path is not None]
        watchers = [Watcher(path, os.environ) for path in watched if self._given is None]
        announced = False
        while True:
            received = signal.sigtimedwait(_SIGNALS, 1.0 if announced else 0.02)
            number = received.si_signo if received else 0
            if number in (signal.SIGTERM, signal.SIGINT):
                return self._stop()
            self._reap()
            if number == signal.SIGHUP or any(watcher.changed() for watcher in watchers):
                self._reload()
            if not announced and self._engines_settled():
                announced = True
                self._on_ready(self.url)

    # children

    def _fork_worker(self, index: int) -> Callable[[], tuple[int, bool]]:
        def start() -> tuple[int, bool]:
            reader, writer = os.pipe()
            pid = self._fork(lambda: _worker(index, self._listener, self._source, writer, self._given))
            os.close(writer)
            began = os.read(reader, 1) == b"+"
            os.close(reader)
            return pid, began

        return start

    def _fork_steward(self) -> tuple[int, bool]:
        listener = self._listener

        def body() -> None:
            listener.close()
            from freehold.serve import steward

            steward.run(self._source)

        return self._fork(body), True

    def _fork(self, body: Callable[[], None]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()

        def child() -> None:
            if self._lock >= 0:
                os.close(self._lock)
            body()

        pid = os.fork()
        if pid == 0:
            run_child(child, _SIGNALS)
        return pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for child in self._children:
                if child.pid == pid:
                    child.ended(os.waitstatus_to_exitcode(status))
        now = time.monotonic()
        for child in self._children:
            if child.pid == 0 and child.due <= now:
                child.start()

    # configuration

    def _reload(self) -> None:
        try:
            loaded = self._source.take()
        except (FreeholdError, OSError) as error:
            say(f"the configuration was not reloaded, {self._loaded.version} stays in force\n{error}")
            return
        if loaded.version == self._loaded.version:
            return
        old, new = self._loaded.config.server, loaded.config.server
        if (old.host, old.port, old.workers) != (new.host, new.port, new.workers):
            say("server.host, server.port and server.workers take effect at the next start")
        self._loaded = loaded
        say(f"configuration {loaded.version} is in force")
        for child in self._children:
            if child.pid:
                os.kill(child.pid, signal.SIGHUP)

    def _engines_settled(self) -> bool:
        """Whether every engine that should run with the gateway is up or has failed."""
        from freehold.own.catalog import engine_specs
        from freehold.serve.published import Engines, Published

        specs = engine_specs(self._loaded.config, self._loaded.path, [])
        wanted = {spec.name for spec in specs if spec.load != "demand"}
        engines = Published(run_dir() / "engines.json", Engines).value
        return all(name in engines and engines[name].settled for name in wanted)

    # the end

    def _stop(self) -> int:
        self._listener.close()
        workers = [child for child in self._children if child.name != "steward"]
        patience = self._loaded.config.server.drain_seconds + 5.0
        _end(workers, patience)
        _end([child for child in self._children if child.name == "steward"], 45.0)
        if self._lock >= 0:
            os.close(self._lock)
        return 0


def _worker(index: int, listener: socket.socket, source: Snapshotted, ready: int, given: Given | None) -> None:
    from freehold.serve import worker

    worker.run(index, listener, source, ready, given.way if given is not None and given.key else None)


def _end(children: list[Child], patience: float) -> None:
    """Asks politely, waits, then insists."""
    running = {child.pid for child in children if child.pid}
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while running and time.monotonic() < deadline:
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        running -= _ended(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _ended(pids: set[int]) -> set[int]:
    done = set()
    for pid in pids:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                done.add(pid)
        except ChildProcessError:
            done.add(pid)
    return done


def listen(host: str, port: int) -> socket.socket:
    """Raises ConfigError when the address cannot be had, naming what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use",
                key="server.port",
                hint=f"freehold up --port {port + 1}, or --port 0",
            ) from error
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", key="server.host") from error
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


def only_one() -> int:
    """Returns a lock held for the life of the process. Raises ConfigError when another gateway uses this home."""
    path = run_dir() / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise ConfigError(
            f"another freehold up, process {pid}, uses {path.parent.parent}",
            hint="stop it, or set FREEHOLD_HOME to another folder",
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def announce(url: str, key: str | None, config: Path | None, pid: int) -> None:
    """Leaves the address (and a key, where one may be kept) for `freehold ask` and its kin, owner-readable only."""
    where = str(config.resolve()) if config else None
    content = {"url": url, "key": key, "pid": pid, "config": where}
    write_private(run_dir() / "up.json", msgspec.json.encode(content))


def withdraw() -> None:
    (run_dir() / "up.json").unlink(missing_ok=True)


def say(text: str) -> None:
    sys.stderr.write(f"freehold: {text}\n")
    sys.stderr.flush()
