"""What is seen of every deployment right now, put together for the decision (decide/signals.py).

    an owned engine   requests in flight and waiting, of this worker from its gate and of the others from the board;
                      the cache's use, which the steward asks the engine for (board.py); speeds from its own answers
                      (pace.py)
    any other         calls in flight, speeds and failures as the attempts see them (call/watch.py), and what is left of
                      the rate limit by the headers of its answers (call/ratelimits.py)

The expected wait for an engine is the longer of two: prompts are read one after another, so that one more waits for all
that nobody has had a byte of yet; and where every place is taken, one more than wait already must end. It rises at once
and falls slowly (`decide.price.eased`), so that work which went elsewhere does not come back all at once.

Figures are renewed every `EVERY` seconds, and at once when this worker's count of requests has moved: a burst that
comes within that time must not find the engine empty twice. A look costs less than a microsecond otherwise.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from freehold.call.ratelimits import RateWindow
from freehold.decide.catalog import Deployment
from freehold.decide.price import eased
from freehold.decide.signals import Signals
from freehold.serve.board import Board, Load
from freehold.serve.gates import UNKNOWN_LOAD, Gate, Life

EVERY = 0.05
FEW = 32
"""Requests in flight up to which their prompts are counted again whenever one comes or goes."""
SENT = 2
"""Requests that a gate sends for each place of an engine: `WORTH_SENDING` of own/slots.py."""
MOST_KEPT = 2000


class Figures(Protocol):
    """What the attempts of this worker know of a deployment (call/watch.py); 0.0: unknown."""

    inflight: int
    limit: float
    first: float
    per_token: float
    failing: float


class Pressure:
    """One per worker; it outlives configurations."""

    def __init__(
        self,
        watches: Mapping[str, Figures],
        windows: Mapping[str, RateWindow],
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`watches` and `windows` are by name of the deployment; `board` None: there are no other workers, and nobody
        asks engines how full they are."""
        self._watches = watches
        self._windows = windows
        self._board = board
        self._clock = clock
        self._rented: dict[str, _Rented] = {}
        self._owned: dict[str, _Owned] = {}

    def rented(self, deployment: Deployment) -> Signals:
        """Returns the signals of a deployment that has no gate."""
        name = deployment.name
        kept = self._rented.get(name)
        now = self._clock()
        if kept is None:
            if len(self._rented) >= MOST_KEPT:
                self._rented.clear()
            kept = self._rented[name] = _Rented()
        watch = self._watches.get(name)
        if now >= kept.due or (watch is not None and watch.inflight != kept.signals.inflight):
            kept.renew(now, watch, self._windows.get(name))
        return kept.signals

    def owned(self, deployment: Deployment, gate: Gate) -> Signals:
        """Returns the signals of an owned model, whose engine `gate` leads to."""
        name = deployment.name
        kept = self._owned.get(name)
        now = self._clock()
        if kept is None or kept.gate is not gate:
            if len(self._owned) >= MOST_KEPT:
                self._owned.clear()
            kept = self._owned[name] = _Owned(gate)
        if now >= kept.due or kept.moved():
            kept.renew(now, deployment, self._board, self._watches.get(name))
        return kept.signals

    def publish(self) -> None:
        """Renews this worker's cells on the board. Call it several times within `board.FRESH` seconds."""
        if self._board is None:
            return
        now = self._clock()
        for gate in {kept.gate.name: kept.gate for kept in self._owned.values()}.values():
            self._board.write(gate.name, mine(gate), now)


def mine(gate: Gate) -> Load:
    """Returns what this worker has at an engine."""
    life = gate.life
    if life is None:
        return Load(waiting=len(gate.queue))
    return Load(len(life.flights), len(gate.queue), unread(life))


def unread(life: Life) -> int:
    """Returns the tokens of prompts in flight that had no byte of an answer yet."""
    total = 0
    for flight in life.flights:
        connection, known = flight.connection, flight.known
        if known is not None and (connection is None or not connection.heard):
            total += known.input_tokens
    return total


class _Rented:
    __slots__ = ("due", "signals")

    def __init__(self) -> None:
        self.due = 0.0
        self.signals = Signals()

    def renew(self, now: float, watch: Figures | None, window: RateWindow | None) -> None:
        self.due = now + EVERY
        left, reset = window.left(now) if window is not None else (None, None)
        if watch is None:
            self.signals = Signals(left=left, reset=reset)
            return
        self.signals = Signals(
            inflight=watch.inflight,
            slots=int(watch.limit) if watch.limit < 1e9 else None,
            first=watch.first or None,
            per_token=watch.per_token or None,
            left=left,
            reset=reset,
            failing=watch.failing,
        )


class _Owned:
    __slots__ = ("_begun", "_there", "_unread", "_waiting", "at", "due", "gate", "life", "others", "signals")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.life: Life | None = None
        self.due = 0.0
        self.at = 0.0
        self.others = Load()
        self.signals = Signals()
        self._begun = self._there = self._unread = self._waiting = 0

    def moved(self) -> bool:
        """Whether a request has come or gone since the last look, or the engine has."""
        life = self.gate.life
        if life is not self.life:
            return True
        if len(self.gate.queue) != self._waiting:
            return True
        return life is not None and (life.begun != self._begun or len(life.flights) != self._there)

    def renew(self, now: float, deployment: Deployment, board: Board | None, watch: Figures | None) -> None:
        gate, life = self.gate, self.gate.life
        due = now >= self.due
        if due:
            self.due = now + EVERY
            if board is not None:
                self.others = board.others(gate.name, now)
        before = self.signals.wait if life is self.life else 0.0
        elapsed, self.at = now - self.at, now
        flights = len(life.flights) if life is not None else 0
        if life is None:
            self._unread = 0
        elif due or flights <= FEW or life is not self.life:
            self._unread = unread(life)
        self.life, self._there, self._waiting = life, flights, len(gate.queue)
        self._begun = life.begun if life is not None else 0
        if due and board is not None:
            board.write(gate.name, Load(flights, self._waiting, self._unread), now)
        pace, others = gate.pace, self.others
        queue = self._waiting + others.waiting
        inflight = flights + others.inflight
        slots = deployment.slots or _places(gate)
        wait = loading(gate) if life is None else 0.0
        if life is not None:
            if pace.reading:
                wait = (self._unread + others.unread) / pace.reading
            if slots is not None and inflight + queue >= slots:
                wait = max(wait, (inflight + queue - slots + 1) / slots * pace.whole)
            wait = eased(before, wait, elapsed)
        self.signals = Signals(
            inflight=inflight,
            slots=slots,
            queue=queue,
            kv=others.cache,
            first=pace.first or None,
            per_token=pace.per_token or None,
            wait=wait,
            failing=watch.failing if watch is not None else 0.0,
        )


def loading(gate: Gate) -> float:
    """Returns the seconds until a closed gate opens, as far as anybody knows: what loading took last."""
    entry = gate.entry
    if entry is None:
        return UNKNOWN_LOAD
    seconds = entry.loads_in or UNKNOWN_LOAD
    if entry.retry_at is not None:
        seconds += max(0.0, entry.retry_at - time.time())
    return seconds


def _places(gate: Gate) -> int | None:
    entry = gate.entry
    return max(1, entry.slots // SENT) if entry is not None and entry.slots else None
