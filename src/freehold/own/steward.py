"""The steward's engine half: what should run, runs, within the memory there is, and nobody's request is lost.

One task, `Steward.run`, owns all state. Everybody else only posts events to it: `apply` (what should run), workers
(what waits, what is in flight), the tasks that each live one life (lives.py), timers. So there are no locks, and no two
transitions at once. The transitions themselves stand in transitions.py; here are the loop, the link to the workers, and
what is published. After each batch of events: engines are started and ended as memory allows (`settle`), the workers
are told (`_publish`), and what nobody needs any more ends (`drain`).

A life that ends is followed by another: soon after the first death, later and later after that, and after `crashes`
deaths without a good life between them only every `rest` seconds (the crash-loop breaker). What cannot get better by
itself, such as a broken file, is not tried again until `apply` is called. READY means that a token has been generated.

run/engines.json holds what workers are told, for other processes. It is replaced in one step and readable by the owner
only, because it holds the engines' keys.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from freehold.home import write_private
from freehold.own.budget import Budget
from freehold.own.engine import Adapter, EngineSpec, Progress, Published
from freehold.own.events import Absent, Event, Heard, Stop, Tick, Wanted, Wedged
from freehold.own.link import Server, Table, claim
from freehold.own.slots import Policy
from freehold.own.tally import Tally
from freehold.own.transitions import Transitions
from freehold.own.watch import Watch

__all__ = ["FILE", "Policy", "Steward"]

FILE = "engines.json"


class Steward:
    """Keeps `specs` running from `run` until its `stop` event is set. `workers` gateway workers should be linked."""

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        run_dir: Path,
        log_dir: Path | None = None,
        *,
        adapters: Mapping[str, Adapter] | None = None,
        policy: Policy | None = None,
        budget: Budget | None = None,
        workers: int = 1,
        stall: float = 30.0,
        gauge: Callable[[str, Progress], None] | None = None,
    ) -> None:
        """`gauge` is told about once a second what a working engine says of its cache."""
        policy = policy or Policy()
        if adapters is None:
            from freehold.own.engines import adapters as all_adapters

            adapters = all_adapters(drain=policy.drain)
        self._folder = run_dir
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._helpers: set[asyncio.Task[None]] = set()
        self._workers = workers
        self.budget = budget or Budget(run_dir.parent)
        tally = Tally()
        self._watch = Watch(tally, stall, lambda run, why: self._tell(Wedged(run, why)), self._begin, gauge)
        self._adapters = adapters
        self._transitions = Transitions(
            adapters, policy, self.budget, tally, self._watch, log_dir or run_dir, self._tell, self._begin, self._tick
        )
        self._server = Server(lambda worker, report: self._tell(Heard(worker, report)), self._worker_gone)
        self._sequence = 0
        self._told = b""
        self._written = False
        self._ticks: dict[str, asyncio.TimerHandle] = {}
        self.apply(specs)

    def apply(self, specs: Iterable[EngineSpec], absent: Mapping[str, Absent] | None = None) -> None:
        """From now on these are wanted: new ones start, others drain, unchanged ones go on, failed ones try again.

        `absent`: names that should be served and cannot be yet, such as weights on their way.
        """
        self._tell(Wanted(tuple(specs), dict(absent or {})))

    def configure(self, *, stall: float, workers: int) -> None:
        self._watch.stall = stall
        self._workers = workers

    def published(self) -> dict[str, Published]:
        """Returns what engines.json holds."""
        return self._transitions.published()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set and every engine has ended. Cancelled, it kills them.

        Raises EngineError when another steward has this folder.
        """
        lock = claim(self._folder)
        try:
            await self._link()
            await self._run(stop)
        finally:
            await self._server.close()
            os.close(lock)

    async def _link(self) -> None:
        """Without a socket the workers read the file, more slowly."""
        try:
            await self._server.start(self._folder)
        except OSError:
            return

    async def _run(self, stop: asyncio.Event) -> None:
        beside = [asyncio.create_task(self._stop_when(stop)), asyncio.create_task(self._look_after())]
        transitions = self._transitions
        try:
            while not transitions.over:
                transitions.handle(await self._events.get())
                while not self._events.empty():
                    transitions.handle(self._events.get_nowait())
                transitions.settle()
                self._publish()
                linked = self._server.workers
                transitions.drain(linked, all_linked=len(linked) >= self._workers)
        finally:
            for run in transitions.runs:
                if run.life is not None:
                    run.life.kill()
            rest: list[asyncio.Task[Any]] = [*beside, *self._helpers, *transitions.tasks]
            for task in rest:
                task.cancel()
            for timer in self._ticks.values():
                timer.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._tell(Stop())

    async def _look_after(self) -> None:
        """Judges whether engines that are ready still work."""
        while True:
            await asyncio.sleep(self._watch.period)
            for run in self._transitions.runs:
                if run.serves:
                    self._watch.look(run, self._adapters[run.spec.engine])

    def _tell(self, event: Event) -> None:
        self._events.put_nowait(event)

    def _worker_gone(self, worker: int) -> None:
        self._tell(Heard(worker, None))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    def _tick(self, what: str, at: float) -> None:
        """Wakes the steward at `at` (`time.monotonic()`); one timer for each `what`."""
        if (timer := self._ticks.pop(what, None)) is not None:
            timer.cancel()
        delay = max(0.0, at - time.monotonic())
        self._ticks[what] = asyncio.get_running_loop().call_later(delay, self._events.put_nowait, Tick())

    def _publish(self) -> None:
        """Tells whoever must know, if there is anything new. A full disk must not end the steward: workers are told
        over the link, and the file is written as soon as there is room."""
        transitions = self._transitions
        engines = transitions.published()
        told = msgspec.json.encode((transitions.contended, engines))
        if told != self._told:
            self._told = told
            self._sequence += 1
            self._server.push(msgspec.json.encode(Table(self._sequence, transitions.contended, engines)))
            self._written = False
        if not self._written:
            try:
                write_private(self._folder / FILE, msgspec.json.encode(engines))
                self._written = True
            except OSError:
                self._tick("file", time.monotonic() + 1.0)
        transitions.announced(self._sequence)
