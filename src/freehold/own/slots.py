"""A served name as the steward keeps it: what should run under it, what does, and what the gateway may know of that."""

import asyncio
import random
import time
from typing import Any

from msgspec import Struct

from freehold.own.engine import Adapter, EngineSpec, Published, State
from freehold.own.lives import Prepared, Run
from freehold.own.schedule import Need, Phase, Resident
from freehold.own.tally import Tally

WORTH_SENDING = 2
"""Requests for each slot of llama.cpp that one worker sends: so many keep every slot busy, and the others wait here,
where they take fair turns and can still go elsewhere."""
LOADS = 2.0
"""A model keeps its place, while others wait for it, for at least this many times what loading takes."""


class Policy(Struct, frozen=True):
    """Durations are seconds."""

    first: float = 0.2
    """Pause after the first death; it doubles with each further one."""
    longest: float = 30.0
    crashes: int = 5
    rest: float = 300.0
    stable: float = 60.0
    """A life in READY this long, or one that has answered, makes earlier deaths forgotten."""
    notice: float = 1.0
    """Between the announcement that an engine drains and its end, where some worker is not linked: it looks at the file
    this often."""
    drain: float = 30.0
    """From being told to end to being killed, when the gateway stops."""
    stay: float = 1.0
    """A model that others wait for keeps its place at least this long."""
    again: float = 30.0
    """Until a model that did not fit into memory may be tried again."""

    def pause(self, deaths: int) -> float:
        if deaths >= self.crashes:
            return self.rest
        return float(min(self.longest, self.first * 2 ** (deaths - 1))) * random.uniform(0.8, 1.2)  # noqa: S311


class Slot:
    """`spec` None: not wanted any more, what runs is leaving."""

    def __init__(self, spec: EngineSpec) -> None:
        self.name = spec.name
        self.spec: EngineSpec | None = spec
        self.current: Run | None = None
        self.coming: Run | None = None
        """Will take the place of `current` when it is ready."""
        self.leaving: list[Run] = []
        self.number = 0
        self.deaths = 0
        self.keep = spec.load != "demand"
        """Should run whether anybody asks or not. What made room or was idle is kept no more."""
        self.prepared: Prepared | None = None
        self.preparing: asyncio.Task[None] | None = None
        self.error: str | None = None
        self.failed = False
        self.lasting = False
        self.retry_at: float | None = None
        """`time.monotonic()`."""
        self.since = time.time()
        self.capabilities: list[str] = []
        self.fields: dict[str, dict[str, object]] = {}
        self.loads_in = 0.0

    @property
    def runs(self) -> list[Run]:
        return [run for run in (self.current, self.coming, *self.leaving) if run is not None]

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """Everything that runs for it."""
        found = [self.preparing, *(run.task for run in self.runs)]
        return [task for task in found if task is not None]

    def renew(self, spec: EngineSpec) -> None:
        """From now on `spec` is wanted, and earlier failures are forgotten."""
        if spec != self.spec:
            self.prepared = None
            if self.preparing is not None:
                self.preparing.cancel()
                self.preparing = None
        self.keep = self.keep or spec.load != "demand"
        self.spec = spec
        self.deaths = 0
        self.forgive()

    def forgive(self) -> None:
        self.failed = self.lasting = False
        self.error = self.retry_at = None

    def fail(self, reason: str, *, lasting: bool, retry_at: float | None = None) -> None:
        if not self.failed or reason != self.error:
            self.since = time.time()
        self.failed, self.error, self.lasting, self.retry_at = True, reason, lasting, retry_at

    def state(self, stopping: bool) -> State:
        shown = self._shown()
        if shown is not None:
            return shown.state
        if stopping:
            return State.STOPPED
        return State.FAILED if self.failed else State.ABSENT

    def _shown(self) -> Run | None:
        """The run that the slot is published as."""
        if self.current is not None:
            return self.current
        return self.leaving[-1] if self.leaving and not self.failed else None

    def published(self, stopping: bool) -> Published:
        spec = self.spec or (self.runs[-1].spec if self.runs else None)
        run = self._shown()
        life, plan = (run.life, run.plan) if run is not None else (None, None)
        reachable = run is not None and run.state in (State.READY, State.DRAINING) and life is not None
        wait = None if self.retry_at is None else self.retry_at - time.monotonic()
        return Published(
            state=self.state(stopping),
            base_url=f"{life.origin}/v1" if reachable and life else "",
            api_key=plan.api_key if reachable and plan else "",
            pid=life.pid if life else None,
            since=run.since if run is not None else self.since,
            context=spec.context if spec else None,
            capabilities=self.capabilities,
            error=self.error,
            engine=spec.engine if spec else "",
            fields=self.fields,
            number=run.number if run is not None else 0,
            slots=_slots(spec) if spec else 0,
            load=spec.load if spec else "start",
            lasting=self.failed and self.lasting,
            retry_at=None if wait is None or not self.failed else round(time.time() + wait, 1),
            loads_in=round(self.loads_in, 2),
        )


def resident(slot: Slot, run: Run, tally: Tally, adapter: Adapter, policy: Policy) -> Resident:
    """Returns a run as schedule.py sees it."""
    spec = run.spec
    waiting = tally.waiting(slot.name)[0] if run is slot.current else 0
    name = slot.name if run is slot.current or spec.port else f"{slot.name}#{run.number}"
    return Resident(
        name,
        run.need,
        _phase(slot, run),
        run.on,
        busy=tally.inflight(run.name, run.number),
        waiting=waiting,
        since=run.ready_at,
        used=max(run.ready_at, tally.used(run.name, run.number)),
        stay=max(policy.stay, LOADS * slot.loads_in),
        pinned=spec.load == "pinned",
        idle=spec.idle,
        asleep_need=_asleep(spec, run, adapter),
    )


def _phase(slot: Slot, run: Run) -> Phase:
    if run in slot.leaving or run.ending:
        return "leaving"
    if run.state is State.READY and run is slot.current:
        return "ready"
    if run.state is State.SLEEPING and run.sequence is None:
        return "asleep"
    return "loading"


def _asleep(spec: EngineSpec, run: Run, adapter: Adapter) -> Need | None:
    """What it keeps asleep: at level 1 the weights move to RAM, at level 2 they are dropped."""
    level = spec.sleep
    if level is None or level not in adapter.sleep_levels:
        return None
    weights = run.prepared.model.weights if level == 1 else 0
    return Need(run.need.ram + weights, 0, run.need.gpus)


def _slots(spec: EngineSpec) -> int:
    return WORTH_SENDING * spec.parallel if spec.engine in ("llamacpp", "llama-server") else 0
