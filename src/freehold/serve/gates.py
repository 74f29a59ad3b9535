"""The way to each owned engine, as one worker sees it: who may be asked now, who waits, what is in flight.

While a `Gate` is open a request goes through it without waiting; all that is kept is in whose set of flights it is. A
gate is closed while its engine is not loaded, starts, drains or has died: then requests wait in turns by key, at most
`engines.queue` seconds and `engines.waiting` of them, and the steward is told that somebody waits. A wait holds no
connection and no breaker. It ends with the engine, or with an EngineError after which the request goes to the next
deployment of its plan:

    engine_queue_full   so many wait already
    engine_loading      the time is over (engine_busy: all that time the engine had as much to do as it can)
    engine_failed       loading cannot succeed, and why
    weights_pulling     there is nothing to load yet

A gate is also closed to more requests than the engine can use (`slots`), so that they wait here, where turns are fair.
"""

import asyncio
import time
from typing import Protocol

from freehold.call.target import Address
from freehold.call.transport import Flight, Origin, Pool
from freehold.errors import EngineError
from freehold.own.link import Answered, Row, Want
from freehold.serve.pace import Pace
from freehold.serve.published import Engine
from freehold.serve.queues import FairQueue, Waiter

LLAMA_CONNECTIONS = 128
"""llama.cpp's server has a thread per connection."""
CONNECTIONS = 1000
IDLE = 4.0
"""Seconds. llama.cpp's server and uvicorn, on which most others stand, close an idle connection after five."""
LLAMA = ("llamacpp", "llama-server")
OWN_PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "rerank": "/rerank",
    "transcriptions": "/audio/transcriptions",
}
NOWHERE = Address(Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1), OWN_PATHS, [])
"""Where an engine is that is not loaded: nothing is ever sent there, but a request can be made ready to be checked."""
SOON = 1.0
"""Seconds that the steward may take to say something before its silence is taken for an answer."""
PULLING = 10.0
"""Seconds after which a client is asked to come again while weights are being pulled, however long that takes."""
UNKNOWN_LOAD = 5.0
"""Seconds after which a client is asked to come again where nobody knows how long loading takes."""


class Table(Protocol):
    """What a gate needs of the table it belongs to (engines.py)."""

    patience: float
    most_waiting: int
    connect: float
    sequence: int
    watched: bool

    def report_soon(self) -> None: ...

    def farewell(self, row: Row) -> None: ...


def address_of(entry: Engine, connect: float) -> Address:
    """Returns where an engine that serves is, with connections of its own."""
    llama = entry.engine in LLAMA
    pool = Pool(
        Origin.parse(entry.base_url),
        connect_timeout=connect,
        limit=LLAMA_CONNECTIONS if llama else CONNECTIONS,
        idle_seconds=IDLE,
    )
    key = [(b"authorization", b"Bearer " + entry.api_key.encode())] if entry.api_key else []
    return Address(pool, OWN_PATHS, key)


class Life:
    """One life of an engine: where it is and who is asking it."""

    __slots__ = (
        "address", "begun", "can", "fields", "flights", "gate", "identity", "last_answer", "last_byte", "limit",
        "number", "reason", "received", "reported",
    )  # fmt: skip

    def __init__(self, gate: "Gate", entry: Engine, address: Address) -> None:
        self.gate = gate
        self.number = entry.number
        self.identity = _identity(entry)
        self.address = address
        self.fields = entry.fields
        """What a request must hold, by served name."""
        self.can = entry.capabilities
        self.limit = entry.slots or CONNECTIONS
        self.flights: set[Flight] = set()
        self.begun = 0
        self.last_byte = 0.0
        self.received = 0
        self.reason = ""
        """Why it was ended in the middle of its work."""
        self.reported: Row | None = None
        self.last_answer: tuple[int, float, int, float] | None = None

    def answered(self, read: int, first: float, written: int, total: float) -> None:
        """Keeps how fast it was, for decisions, and for the steward's judge of wedged engines: the last is enough."""
        self.last_answer = (read, first, written, total)
        self.gate.pace.learn(read, first, written, total)

    def leave(self, flight: Flight) -> None:
        """The request is over, however it ended."""
        self.flights.discard(flight)
        gate = self.gate
        if gate.queue or gate.life is not self or gate.engines.watched:
            gate.left(self)

    def pass_on(self, old: Flight, new: Flight) -> None:
        """A place belongs to another flight of the same request from now on."""
        self.flights.discard(old)
        self.flights.add(new)

    def cut(self, reason: str) -> None:
        """It has failed: nobody waits for its answers any longer."""
        self.reason = reason
        for flight in list(self.flights):
            if flight.connection is not None:
                flight.connection.cut("the engine was taken out of service while it answered")

    def row(self, name: str, now: float) -> Row:
        """Returns what the steward is told of it."""
        received = self.address.pool.received
        if received != self.received:
            self.received, self.last_byte = received, now
        streaming = prompt = unseen = 0
        started = 0.0
        for flight in self.flights:
            known = flight.known
            started = max(started, flight.sent)
            if flight.connection is not None and flight.connection.heard:
                streaming += 1
            elif known is not None:
                prompt = max(prompt, known.input_tokens)
            if known is not None and not known.stream:
                unseen = max(unseen, known.output_tokens)
        return Row(
            name,
            self.number,
            len(self.flights),
            self.begun,
            received,
            self.last_byte,
            started,
            streaming,
            prompt,
            unseen,
        )


def _identity(entry: Engine) -> tuple[int, str, str]:
    """What no two lives have in common, not even those of two stewards."""
    return entry.number, entry.base_url, entry.api_key


class Gate:
    """The way to one engine. `life` is the one that may be asked; None: closed."""

    def __init__(self, engines: "Table", name: str) -> None:
        self.engines = engines
        self.name = name
        self.life: Life | None = None
        self.closed: list[Life] = []
        """Lives that take no more, with requests that are not over."""
        self.queue = FairQueue()
        self.entry: Engine | None = None
        self.reported = Want(name, 0)
        self.pace = Pace()
        """Of this engine, whichever life."""
        self._born = time.monotonic()

    @property
    def free(self) -> bool:
        """Whether a request would go through without waiting."""
        life = self.life
        return life is not None and len(life.flights) < life.limit and not self.queue

    def enter(self, flight: Flight) -> Life | None:
        """Lets a request through if it need not wait. It leaves with `flight.let_go`."""
        life = self.life
        if life is None or len(life.flights) >= life.limit or self.queue:
            return None
        life.flights.add(flight)
        life.begun += 1
        flight.hold = life
        if self.engines.watched and len(life.flights) == 1:
            self.engines.report_soon()
        return life

    async def wait(self, flight: Flight, end: float) -> Life:
        """Waits for a turn until `end` (loop time) at most. Raises EngineError, or the flight's own failure."""
        engines = self.engines
        loop = asyncio.get_running_loop()
        if (trouble := self.hopeless) is not None:
            raise self._failed(trouble)
        if len(self.queue) >= engines.most_waiting:
            raise EngineError(
                f"{len(self.queue)} requests wait for own/{self.name} already",
                code="engine_queue_full",
                hint="try again in a moment; engines.waiting sets how many may wait",
                retry_after=self._expected(),
            )
        waiter = Waiter(flight, time.monotonic(), loop.create_future())
        self.queue.push(waiter)
        timer = loop.call_later(max(0.0, min(engines.patience, end - loop.time())), self._late, waiter)
        flight.deadline = float("inf")
        engines.report_soon()
        try:
            await flight.wait(waiter.future)
        except BaseException:
            self.queue.remove(waiter)
            flight.let_go()
            engines.report_soon()
            raise
        finally:
            timer.cancel()
        if waiter.life is None:
            raise waiter.error or self._failed("it is gone")
        return waiter.life

    @property
    def hopeless(self) -> str | None:
        """Why it is pointless to wait; None where it is open or may open."""
        return None if self.life is not None else self._trouble()

    @property
    def state(self) -> str:
        """What a status page shows."""
        if self.life is not None:
            return "ready"
        return self.entry.state if self.entry is not None else "not started yet"

    def _trouble(self) -> str | None:
        entry = self.entry
        if entry is None:
            known = self.engines.sequence and time.monotonic() - self._born > SOON
            return "no engine is known for it; freehold doctor checks engines" if known else None
        if entry.state == "pulling":
            return entry.error or "its weights are being pulled"
        if entry.state != "failed":
            return None
        if entry.lasting or (entry.retry_at is not None and entry.retry_at - time.time() > self.engines.patience):
            return "its engine has failed" + (f": {entry.error}" if entry.error else "")
        return None

    def update(self, entry: Engine | None) -> None:
        """Takes over what the steward says now."""
        self.entry = entry
        life = self.life
        serves = entry is not None and entry.ready and bool(entry.base_url)
        if life is not None and (entry is None or not serves or life.identity != _identity(entry)):
            self.close()
            if entry is not None and entry.state == "failed":
                life.cut(entry.error or "")
        if entry is not None and serves:
            if self.life is None:
                self.life = self._known(entry) or Life(self, entry, address_of(entry, self.engines.connect))
            self.life.fields, self.life.can = entry.fields, entry.capabilities
            self.admit()
        elif self.queue and (trouble := self._trouble()) is not None:
            while (waiter := self.queue.pop()) is not None:
                waiter.end(self._failed(trouble))

    def _known(self, entry: Engine) -> Life | None:
        """The life that was closed because the link was lost, where it is the same."""
        for life in self.closed:
            if life.identity == _identity(entry):
                self.closed.remove(life)
                return life
        return None

    def close(self) -> None:
        """Nobody else may ask the life that serves now."""
        life, self.life = self.life, None
        if life is not None:
            self.closed.append(life)
            if not life.flights:
                self._forget(life)

    def left(self, life: Life) -> None:
        """A request of `life` is over and somebody cares."""
        self.admit()
        if not life.flights:
            if life is not self.life:
                self._forget(life)
            self.engines.report_soon()

    def admit(self) -> None:
        """Lets those who wait through, as many as there is room for. Places are taken at once; tasks run later."""
        life = self.life
        while life is not None and self.queue and len(life.flights) < life.limit:
            waiter = self.queue.pop()
            if waiter is None:
                return
            life.flights.add(waiter.flight)
            life.begun += 1
            waiter.flight.hold = waiter.life = life
            waiter.future.set_result(None)

    def report(self, now: float) -> tuple[list[Row], Want | None]:
        """Returns what has changed since the last report."""
        rows = []
        lives = [*self.closed, self.life] if self.life is not None else list(self.closed)
        for life in lives:
            row = life.row(self.name, now)
            if row != life.reported:
                life.reported = row
                rows.append(row)
        want = Want(self.name, len(self.queue), self.queue.oldest)
        if want == self.reported:
            return rows, None
        self.reported = want
        return rows, want

    def answer(self) -> Answered | None:
        """Returns how fast the engine was with a request since the last report."""
        life = self.life
        if life is None or life.last_answer is None:
            return None
        found, life.last_answer = life.last_answer, None
        return Answered(self.name, *found)

    def forget_reports(self) -> None:
        self.reported = Want(self.name, 0)
        for life in (*self.closed, self.life):
            if life is not None:
                life.reported = None

    def _forget(self, life: Life) -> None:
        if life in self.closed:
            self.closed.remove(life)
            life.address.pool.shut()
            if life.reported is not None and life.reported.inflight:
                self.engines.farewell(life.row(self.name, time.monotonic()))

    def _late(self, waiter: Waiter) -> None:
        self.queue.remove(waiter)
        entry = self.entry
        if self.life is not None:
            state = "is busy"
        elif entry is None:
            state = "is not started yet"
        else:
            state = f"is {entry.state}" + (f": {entry.error}" if entry.error else "")
        waiter.end(
            EngineError(
                f"own/{self.name} {state}, after {time.monotonic() - waiter.since:.0f} s of waiting",
                code="engine_loading" if self.life is None else "engine_busy",
                hint="try again; engines.queue sets how long a request waits",
                retry_after=self._expected(),
            )
        )
        self.engines.report_soon()

    def _failed(self, trouble: str) -> EngineError:
        if self.entry is not None and self.entry.state == "pulling":
            return EngineError(
                f"own/{self.name} cannot answer yet: {trouble}",
                code="weights_pulling",
                hint="try again later; freehold models says how it stands",
                retry_after=PULLING,
            )
        return EngineError(f"own/{self.name} cannot answer: {trouble}", code="engine_failed")

    def _expected(self) -> float:
        """Seconds after which it may be worth trying again."""
        known = self.entry.loads_in if self.entry is not None else 0.0
        return max(1.0, known or UNKNOWN_LOAD)
