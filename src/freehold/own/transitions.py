"""Every transition of every engine, made by the steward's one task (steward.py) and nobody else.

A `Slot` is a served name, a `Run` one life of an engine for it. A slot has at most one run that serves, one that comes
up to replace it, and some that leave.

    a change    the new version starts beside the old one where memory allows it, and takes its place when it is ready
                (blue-green); else the old one drains first, and requests wait in the workers
    leaving     is announced; when every worker acts on that and none has a request there, the life ends. It has no
                deadline, because requests have theirs; only the end of the gateway has one
    death       is followed by another life, after a growing pause; the memory is free at once
    wedged      is a death that we bring about: the workers are told first, so that they know whom to blame
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from freehold.own.asides import adapt, kill_soon, look_at, lora_changes, put_to_sleep, waken
from freehold.own.budget import Budget
from freehold.own.engine import Adapter, EngineSpec, Published, State
from freehold.own.events import Absent, Adapted, Event, Heard, Planned, Slept, Stop, Wanted, Wedged
from freehold.own.link import Report
from freehold.own.lives import (
    Answering,
    Ended,
    Run,
    Spawned,
    Warm,
    end_of,
    live,
    relaunches,
    spoken,
)
from freehold.own.places import COMING, Places
from freehold.own.schedule import Evict, Load, Refuse, Wait
from freehold.own.slots import Policy, Slot
from freehold.own.tally import Tally
from freehold.own.watch import Watch

_NEXT = -1
"""The table that is published next."""


class Transitions:
    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        policy: Policy,
        budget: Budget,
        tally: Tally,
        watch: Watch,
        logs: Path,
        tell: Callable[[Event], None],
        begin: Callable[[Coroutine[Any, Any, None]], None],
        tick: Callable[[str, float], None],
    ) -> None:
        """`tell` posts an event, `begin` runs a coroutine beside, `tick` asks to be called again at a time."""
        self._adapters = adapters
        self._policy = policy
        self._budget = budget
        self._tally = tally
        self._watch = watch
        self._places = Places(adapters, policy, budget, tally)
        self._logs = logs
        self._tell, self._begin, self._tick = tell, begin, tick
        self._slots: dict[str, Slot] = {}
        self._stopping = False
        self._absent: dict[str, Absent] = {}
        self.contended = False
        """Some model waits for room."""

    @property
    def runs(self) -> list[Run]:
        return [run for slot in self._slots.values() for run in slot.runs]

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        return [task for slot in self._slots.values() for task in slot.tasks]

    @property
    def over(self) -> bool:
        return self._stopping and not self.runs

    def published(self) -> dict[str, Published]:
        absent = {name: one.published() for name, one in self._absent.items()}
        return absent | {name: slot.published(self._stopping) for name, slot in self._slots.items()}

    def announced(self, sequence: int) -> None:
        """The table `sequence` says how things are now."""
        for run in self.runs:
            if run.sequence == _NEXT:
                run.sequence = sequence

    def handle(self, event: Event) -> None:
        match event:
            case Wanted(specs, absent):
                if not self._stopping:
                    self._absent = absent
                    self._want({spec.name: spec for spec in specs})
            case Heard(worker, None):
                self._tally.gone(worker)
            case Heard(worker, Report() as report):
                self._tally.heard(worker, report, time.monotonic())
                self._watch.learn(report.answers)
            case Planned():
                self._planned(event)
            case Spawned(run, life, plan):
                run.life, run.plan = life, plan
                if run.ending or run.state is State.DRAINING:
                    life.kill()
            case Answering(run) if run.state is State.STARTING:
                run.to(State.WARMING)
            case Warm(run) if run.state is State.WARMING:
                self._ready(event)
            case Ended(run, reason, lasting):
                self._ended(run, reason, lasting)
            case Slept(run, error):
                self._slept(run, error)
            case Adapted(run, spec, error):
                self._adapted(run, spec, error)
            case Wedged(run, why) if run.serves:
                self._eject(run, why)
            case Stop():
                self._stopping = True
                for slot in self._slots.values():
                    slot.spec = None
                    self._retire(slot)

    # what is wanted

    def _want(self, specs: dict[str, EngineSpec]) -> None:
        for name, slot in self._slots.items():
            if name not in specs and slot.spec is not None:
                slot.spec = None
                slot.forgive()
                self._retire(slot)
        for name, spec in specs.items():
            if spec.engine not in self._adapters:
                continue
            known = self._slots.get(name)
            if known is None:
                self._slots[name] = Slot(spec)
            elif known.spec != spec or known.failed:
                self._renew(known, spec)
        self._forget()

    def _renew(self, slot: Slot, spec: EngineSpec) -> None:
        changed = slot.spec is None or relaunches(slot.spec, spec)
        slot.renew(spec)
        if slot.coming is not None and changed:
            self._leave(slot, slot.coming)
        run = slot.current
        if run is None:
            return
        if not relaunches(run.spec, spec):
            run.spec = spec
        elif run.state in (State.STARTING, State.WARMING):
            self._leave(slot, run)
        else:
            self._adapt(run, spec)

    def _adapt(self, run: Run, spec: EngineSpec) -> None:
        """Changes the LoRA weights of an engine that runs, where that is all that is to be changed and it can."""
        probes = lora_changes(run, spec, self._adapters[spec.engine]) if run.serves and not run.adapting else None
        if probes is not None:
            run.adapting = True
            self._begin(adapt(run, spec, probes, self._tell))

    def _retire(self, slot: Slot) -> None:
        if slot.preparing is not None:
            slot.preparing.cancel()
            slot.preparing = None
        for run in slot.runs:
            if run not in slot.leaving:
                self._leave(slot, run)

    def _forget(self) -> None:
        if not self._stopping:
            for name in [name for name, slot in self._slots.items() if slot.spec is None and not slot.runs]:
                del self._slots[name]
                self._watch.forget(name)

    # places in memory

    def settle(self) -> None:
        """Starts, wakes, puts to sleep and sends away, as far as memory and the requests in flight allow."""
        if self._stopping:
            return
        now = time.monotonic()
        decision, self.contended = self._places.decide(self._slots.values(), now)
        for action in decision.actions:
            slot = self._slots[action.name.removesuffix(COMING)]
            coming = action.name.endswith(COMING)
            match action:
                case Load(_, on):
                    self._load(slot, on, coming=coming)
                case Evict(_, sleep):
                    self._evict(slot, sleep=sleep)
                case Refuse():
                    again = now + self._policy.again
                    slot.fail(self._places.explain(slot, action), lasting=True, retry_at=again)
                    self._tick(f"again {slot.name}", again)
                case Wait():
                    self._no_room(slot, action, coming=coming)
        for slot in self._places.unknown(self._slots.values(), now):
            self._prepare(slot)
        if decision.again is not None:
            self._tick("again", decision.again)

    def _load(self, slot: Slot, on: tuple[int, ...], *, coming: bool) -> None:
        run = slot.current
        if run is not None and not coming:
            run.to(State.WARMING)
            run.started = time.monotonic()
            self._begin(waken(run, self._adapters[run.spec.engine], slot.capabilities, self._tell))
            return
        assert slot.spec is not None
        assert slot.prepared is not None
        slot.number += 1
        run = Run(slot.name, slot.number, slot.spec, slot.prepared, on)
        run.need = self._budget.need(slot.spec, slot.prepared)
        run.to(State.STARTING)
        if coming:
            slot.coming = run
        else:
            slot.current = run
            slot.forgive()
        adapter = self._adapters[slot.spec.engine]
        run.task = asyncio.create_task(live(run, adapter, self._budget.gpus, self._logs, self._tell))
        run.task.add_done_callback(lambda task: self._tell(end_of(task, run)))

    def _evict(self, slot: Slot, *, sleep: bool) -> None:
        run = slot.current
        if run is None:
            return
        slot.keep = False
        if sleep and run.serves:
            run.level = run.spec.sleep
            run.to(State.SLEEPING)
            run.sequence = _NEXT
            run.notice = time.monotonic() + self._policy.notice
        else:
            self._leave(slot, run)

    def _no_room(self, slot: Slot, action: Wait, *, coming: bool) -> None:
        """A new version that does not fit beside the old one comes after it. What was only to be loaded in advance is
        loaded when somebody asks."""
        if coming:
            keep = slot.keep or slot.current is not None
            if slot.current is not None:
                self._leave(slot, slot.current)
            slot.keep = keep
        else:
            slot.error = self._places.explain(slot, action) + "; it is loaded when it is asked for"
            self._tick(f"room {slot.name}", time.monotonic() + self._policy.again)

    def _prepare(self, slot: Slot) -> None:
        if slot.preparing is None and slot.spec is not None:
            adapter = self._adapters[slot.spec.engine]
            slot.preparing = asyncio.create_task(look_at(slot, slot.spec, adapter, self._budget, self._tell))

    def _planned(self, event: Planned) -> None:
        slot = event.slot
        if slot.spec != event.spec:
            return
        slot.preparing = None
        if event.prepared is not None:
            slot.prepared = event.prepared
        else:
            slot.deaths += 1
            self._failed(slot, event.error, lasting=event.lasting)

    # a life

    def _ready(self, event: Warm) -> None:
        run, now = event.run, time.monotonic()
        slot = self._slots[run.name]
        run.to(State.READY)
        run.ready_at = now
        run.used = event.used
        if event.used is not None:
            self._budget.saw(run.spec, event.used)
            need = max(run.need.ram, event.used.private + event.used.mapped)
            run.need = structs.replace(run.need, ram=need)
        slot.loads_in = now - run.started
        slot.capabilities, slot.fields = event.capabilities, event.fields
        if run is slot.coming:
            slot.coming = None
            if slot.current is not None:
                self._leave(slot, slot.current)
            slot.current = run
        slot.forgive()
        self._watch.began(run, self._adapters[run.spec.engine])

    def _ended(self, run: Run, reason: str, lasting: bool) -> None:
        slot = self._slots[run.name]
        answered = self._tally.look(run.name, run.number, 0.0).received > 0
        self._tally.forget(run.name, run.number)
        run.life = run.plan = run.task = run.used = None
        if run in slot.leaving:
            slot.leaving.remove(run)
            if run.state is State.DRAINING:
                run.to(State.STOPPED)
            self._forget()
            return
        good = answered or (run.state is State.READY and time.monotonic() - run.ready_at >= self._policy.stable)
        reason = run.error or reason
        if run is slot.coming:
            slot.coming = None
            reason = f"the new version did not start: {reason}"
        elif run is slot.current:
            slot.current = None
        slot.deaths = 1 if good else slot.deaths + 1
        self._failed(slot, reason, lasting=lasting)

    def _failed(self, slot: Slot, reason: str, *, lasting: bool) -> None:
        """Plans the next try. `lasting`: there is none before `apply`."""
        if lasting:
            slot.fail(reason, lasting=True)
            return
        pause = self._policy.pause(slot.deaths)
        at = time.monotonic() + pause
        slot.fail(f"{reason}; death {slot.deaths}, next start in {pause:.1f} s", lasting=False, retry_at=at)
        self._tick(f"again {slot.name}", at)

    def _eject(self, run: Run, why: str) -> None:
        run.to(State.FAILED, why)
        run.ending = True
        slot = self._slots[run.name]
        slot.error = why
        if run.life is not None:
            self._begin(kill_soon(run.life.kill))

    def _slept(self, run: Run, error: str | None) -> None:
        if run.state is not State.SLEEPING or run.life is None:
            return
        run.ending = False
        run.sequence = None
        if error is not None:  # what cannot sleep ends, so that its memory is free all the same
            self._leave(self._slots[run.name], run)

    def _adapted(self, run: Run, spec: EngineSpec, error: str | None) -> None:
        """Where that failed, the engine stays what it was, and `settle` replaces it."""
        run.adapting = False
        slot = self._slots.get(run.name)
        if slot is not None and run is slot.current and error is None:
            run.spec = spec
            slot.fields = spoken(spec, self._adapters[spec.engine])
            if slot.spec is not None and relaunches(spec, slot.spec):
                self._adapt(run, slot.spec)

    def _leave(self, slot: Slot, run: Run) -> None:
        """No more requests for this life. One that never had any ends on the spot."""
        served = run.serves or (run.state is State.SLEEPING and run.sequence is not None)
        if run.state is not State.FAILED:
            run.to(State.DRAINING)
        if run is slot.current:
            slot.current = None
        if run is slot.coming:
            slot.coming = None
        slot.leaving.append(run)
        if served:
            run.sequence = _NEXT
            run.notice = time.monotonic() + self._policy.notice
        elif run.life is None:
            run.ending = True
            if run.task is not None:
                run.task.cancel()
        else:
            run.ending = True
            run.life.kill()

    def drain(self, linked: Iterable[int], *, all_linked: bool) -> None:
        """Ends, or puts to sleep, whoever is needed by no worker any more."""
        linked, now = set(linked), time.monotonic()
        for slot in self._slots.values():
            for run in slot.runs:
                if run.sequence is None or run.sequence == _NEXT or run.ending:
                    continue
                closed = self._tally.closed(run.name, run.number, run.sequence, linked)
                if self._stopping or (closed and (all_linked or now >= run.notice)):
                    self._finish(run, at_once=closed and all_linked and not self._stopping)
                elif closed:
                    self._tick(f"notice {run.name}#{run.number}", run.notice)

    def _finish(self, run: Run, *, at_once: bool) -> None:
        """`at_once`: nobody has a request there, so our own workers need not be asked politely."""
        if run.life is None:
            return
        run.ending = True
        if run.state is State.SLEEPING:
            self._begin(put_to_sleep(run, self._adapters[run.spec.engine], self._tell))
        elif at_once and run.plan is not None and run.plan.kind == "worker":
            run.life.kill()
        else:
            self._begin(run.life.stop(self._policy.drain))
