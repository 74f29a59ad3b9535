"""`freehold up` in strict mode and air-gapped: the process outside of the namespace that all others run in.

    outer (this)        the namespace, the witness, the configuration with its keys; opens no connection itself
      ├─ egress         strict only: the one way out (egress/process.py), under a user of its own
      └─ inside         `freehold up` again, in a network namespace with loopback alone (serve/up.py)

It binds the port before the inside is made, since a socket stays in the namespace that it was made in, and does what
needs a network first: weights that the configuration names are pulled here. From then on it waits for signals, starts
the egress process again if that ends, reads the kernel's counters, and takes over a changed configuration: the egress
process has it before the inside is told. The inside's end is its own.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from freehold.call.providers import resolve
from freehold.call.transport.pool import EGRESS
from freehold.call.transport.ticket import KEY_BYTES
from freehold.config.checks_egress import unreachable
from freehold.config.checks_own import ATTACHED, own_name
from freehold.config.load import Loaded
from freehold.config.schema import Config
from freehold.config.watch import Watcher
from freehold.egress import namespace, scrub
from freehold.egress.pieces import full, open_piece
from freehold.egress.process import NEXT_PIECE, Orders, Start, ordered, run
from freehold.egress.records import FOLDER
from freehold.egress.witness import Run, Witness, free_user, recover, unseen
from freehold.errors import ConfigError, FreeholdError
from freehold.home import home, run_dir, write_private
from freehold.own.catalog import unpulled, words
from freehold.serve.given import Given
from freehold.serve.processes import Snapshotted, run_child
from freehold.serve.up import listen, only_one, pause, say

SOCKET = "egress.sock"
READ_EVERY = 2.0
PATIENCE = 10.0
"""Seconds that the egress process has to come up, and to take over a configuration."""
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class Outer:
    """One running gateway with a namespace. `argv` starts the inside, but for the descriptor that it is given."""

    def __init__(
        self,
        original: Path | None,
        overrides: Mapping[str, str | int],
        argv: Callable[[int], list[str]],
        *,
        witness: bool = True,
    ) -> None:
        """Raises ConfigError for what this mode cannot be started with."""
        self._original = original
        self._overrides = dict(overrides)
        self._argv = argv
        self._source = Snapshotted(original, run_dir() / "config.yaml", overrides)
        self._lock = only_one()
        self._reading = run_dir() / "config.inside.yaml"
        self._versions: list[str] = []
        self._orders, self._env = self._taken()
        self._strict = self._orders.config.server.egress == "strict"
        self._key = secrets.token_bytes(KEY_BYTES) if self._strict else b""
        self._run = Run(time.strftime("%Y%m%dT%H%M%S") + f"-{os.getpid()}", os.getpid(), time.time_ns())
        self._witness = self._witnessed() if self._strict and witness else None
        self._listener = listen(self._orders.config.server.host, self._orders.config.server.port)
        self._egress_listener: socket.socket | None = None
        self._egress = 0
        self._control: socket.socket | None = None
        self._inside = 0
        self._failures = 0
        self._due = 0.0
        self._read_at = 0.0

    def run(self) -> int:
        """Runs until a signal says stop, or the inside ends; returns the exit status."""
        if self._strict:
            _pull(self._orders.config)
        self._announce()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if self._strict:
                self._egress_listener = _listen_here()
                self._start_egress()
            self._start_inside()
            return self._watch()
        finally:
            self._end()

    # the configuration

    def _taken(self) -> tuple[Orders, dict[str, str]]:
        """What is in force from now on, for the egress process and for the inside. Raises ConfigErrors, ConfigError."""
        content = self._original.read_bytes() if self._original is not None else b""
        real = self._source.check(content)
        _attached(real.config)
        secret = scrub.variables(real)
        whole = resolve(msgspec.structs.replace(real.config, server=_opened(real)), os.environ)
        env = scrub.environment(os.environ, secret, whole, scrub.used(real))
        if real.config.server.egress == "strict":
            scrub.absent(content, real, os.environ, secret)
        if self._versions:
            scrub.unseen_before(os.environ, self._env, secret)
        shown = scrub.text(content, real) if content else b""
        inside = Snapshotted(self._original, run_dir() / "config.yaml", self._overrides, env=env).check(shown)
        scrub.check(real, inside)
        write_private(self._reading, shown)
        self._versions = [inside.version, *(one for one in self._versions[:1] if one != inside.version)]
        return Orders(real.config, whole, list(self._versions)), env

    def _reload(self) -> None:
        before = ordered(self._orders)
        try:
            orders, _ = self._taken()
        except (FreeholdError, OSError) as error:
            say(f"the configuration was not reloaded, {self._versions[0]} stays in force\n{error}")
            return
        if orders.config.server.egress != self._orders.config.server.egress:
            say("server.egress takes effect at the next start")
        self._orders = orders
        # A key that has changed is no other version to the inside, which cannot see it.
        if ordered(orders) != before and self._control is not None and not self._tell():
            say("the egress process did not take the configuration over; it is started again")
            os.kill(self._egress, signal.SIGKILL)
        if self._inside:
            os.kill(self._inside, signal.SIGHUP)

    def _tell(self) -> bool:
        """Hands the orders to the egress process; returns whether they are in force there."""
        assert self._control is not None
        try:
            self._control.sendall(ordered(self._orders))
            return self._control.recv(1) == b"+"
        except OSError:
            return False

    # processes

    def _start_egress(self) -> None:
        """Starts the egress process and waits until it answers. Raises ConfigError where it does not."""
        assert self._egress_listener is not None
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        folder = home() / FOLDER
        record = open_piece(folder, self._run.name)
        start = Start(
            self._egress_listener, record, theirs, self._key, os.geteuid(),
            self._witness.user if self._witness is not None else None, self._orders,
        )  # fmt: skip

        def child() -> None:
            ours.close()
            self._listener.close()
            os.close(self._lock)
            run(start, os.environ)

        pid = os.fork()
        if pid == 0:
            run_child(child, _SIGNALS)
        os.close(record)
        theirs.close()
        if self._control is not None:
            self._control.close()
        self._control = ours
        self._egress = pid
        self._run.starts += 1
        try:
            ready = ours.recv(1) == b"+"
        except OSError:
            ready = False
        if not ready:
            raise ConfigError("the egress process did not start; its reason stands above", key="server.egress")

    def _start_inside(self) -> None:
        self._listener.set_inheritable(True)
        given = Given(
            self._listener.fileno(), os.getpid(), str(self._reading) if self._original is not None else "",
            str(run_dir() / SOCKET) if self._strict else "", self._key,
        ).written()  # fmt: skip
        env = self._env | {EGRESS: "strict" if self._strict else "none"}
        self._inside = namespace.start(self._argv(given), env, _SIGNALS)
        os.close(given)
        self._listener.close()

    def _watch(self) -> int:
        paths = [path for path in (self._original, self._source.deployed) if path is not None]
        watchers = [Watcher(path, os.environ) for path in paths]
        while True:
            received = signal.sigtimedwait(_SIGNALS, 1.0)
            number = received.si_signo if received else 0
            if number in (signal.SIGTERM, signal.SIGINT):
                os.kill(self._inside, signal.SIGTERM)
            if (status := self._reaped()) is not None:
                return status
            if number == signal.SIGHUP or any(watcher.changed() for watcher in watchers):
                self._reload()
            if self._strict and not self._egress and time.monotonic() >= self._due:
                self._restart_egress()
            if time.monotonic() - self._read_at > READ_EVERY:
                self._count()
                self._turn()

    def _turn(self) -> None:
        """Lets the record go on in another file when one is full."""
        folder = home() / FOLDER
        if not self._strict or not self._egress or self._control is None:
            return
        try:
            if not full(folder, self._run.name):
                return
            piece = open_piece(folder, self._run.name)
            try:
                socket.send_fds(self._control, [NEXT_PIECE], [piece])
            finally:
                os.close(piece)
            if self._control.recv(1) == b"+":
                return
            reason = "it could not write"
        except OSError as error:
            reason = str(error.strerror or error)
        say(f"the egress process did not go on in another file ({reason}); it is started again")
        os.kill(self._egress, signal.SIGKILL)

    def _restart_egress(self) -> None:
        try:
            self._start_egress()
            self._failures = 0
        except ConfigError as error:
            self._failures += 1
            self._due = time.monotonic() + pause(self._failures)
            say(str(error))

    def _reaped(self) -> int | None:
        """Returns the inside's exit status when it has ended."""
        status = None
        while True:
            try:
                pid, ended = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            code = os.waitstatus_to_exitcode(ended)
            if pid == self._inside:
                self._inside = 0
                status = code if code >= 0 else 128 - code
            elif pid == self._egress:
                self._egress = 0
                say(f"the egress process ended ({code}), starting it again")
        return status

    # the witness

    def _witnessed(self) -> Witness:
        folder = home() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        recover(folder)
        if os.geteuid() != 0:
            raise unseen("only root can count by user", "start freehold as root")
        return Witness(free_user(), os.getpid())

    def _count(self) -> None:
        """Keeps the counters as they are now."""
        self._read_at = time.monotonic()
        if not self._strict:
            return
        run = self._run
        try:
            if self._witness is not None:
                run.witnessed, run.user = True, self._witness.user
                run.counted = self._witness.read()
            run.save(home() / FOLDER)
        except (ConfigError, OSError) as error:
            say(f"the kernel's counters could not be kept: {error}")

    def _announce(self) -> None:
        folder = home() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._strict:
            self._count()
            if self._witness is None:
                say("strict egress without a witness: the kernel counts nothing, see docs/egress.md")
            return
        left = sorted(name for name, one in self._orders.endpoints.items() if one.unavailable is None)
        if left:
            say(f"air-gapped: no call leaves this machine; left aside: {', '.join(left)}")

    # the end

    def _end(self) -> None:
        self._listener.close()
        for pid, patience in ((self._inside, 60.0), (self._egress, PATIENCE)):
            if pid:
                _stop(pid, patience)
        if self._strict:
            self._count()
            self._run.ended = time.time_ns()
            self._run.save(home() / FOLDER)
            (run_dir() / SOCKET).unlink(missing_ok=True)
        if self._witness is not None:
            self._witness.end()
        os.close(self._lock)


def _opened(loaded: Loaded) -> "msgspec.Struct":
    return msgspec.structs.replace(loaded.config.server, egress="open")


def _attached(config: Config) -> None:
    for owned in config.own:
        if owned.engine in ATTACHED:
            message, hint = unreachable(own_name(owned), owned.engine)
            raise ConfigError(message, key="own", hint=hint)


def _listen_here() -> socket.socket:
    """The egress process's socket: a file for this user only, so that the inside reaches it from its namespace."""
    folder = os.open(run_dir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    (run_dir() / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
    finally:
        os.umask(mask)
        os.close(folder)
    listener.listen(2048)
    return listener


def _pull(config: Config) -> None:
    """Brings the weights that are not there yet, while there is a network."""
    for name, reference in unpulled(config).items():
        say(f"pulling {name} before the start: nothing can be pulled from inside")
        command = [sys.executable, "-m", "freehold", "pull", reference, "--name", name]
        done = subprocess.run([*command, *words(config).get(name, ())], stdout=sys.stderr)  # noqa: S603
        if done.returncode != 0:
            say(f"{name} was not pulled and is not served; freehold pull, elsewhere, brings it at any time")


def _stop(pid: int, patience: float) -> None:
    """Asks politely, waits, then insists."""
    deadline = time.monotonic() + patience
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return
