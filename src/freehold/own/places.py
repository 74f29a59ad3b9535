"""From slots to what schedule.py decides on, and from its decisions to words."""

from collections.abc import Iterable, Mapping

from freehold.own import schedule
from freehold.own.budget import Budget
from freehold.own.engine import Adapter, State
from freehold.own.lives import relaunches
from freehold.own.memory import available, explain_refusal, shown
from freehold.own.schedule import Capacity, Decision, Demand, Need, Refuse, Wait
from freehold.own.slots import Policy, Slot, resident
from freehold.own.tally import Tally

COMING = "#next"
"""Marks the new version of a name that is served already."""


class Places:
    def __init__(self, adapters: Mapping[str, Adapter], policy: Policy, budget: Budget, tally: Tally) -> None:
        self._adapters = adapters
        self._policy = policy
        self._budget = budget
        self._tally = tally

    def decide(self, slots: Iterable[Slot], now: float) -> tuple[Decision, bool]:
        """Returns what to do, and whether somebody waits for a model that has no room yet."""
        slots = list(slots)
        demands = [demand for slot in slots if (demand := self._demand(slot, now)) is not None]
        runs = [(slot, run) for slot in slots for run in slot.runs]
        residents = [
            resident(slot, run, self._tally, self._adapters[run.spec.engine], self._policy) for slot, run in runs
        ]
        capacity = self._budget.capacity(available(), (run for _, run in runs)) if demands else Capacity()
        decision = schedule.decide(now, residents, demands, capacity)
        loaded = {action.name for action in decision.actions if isinstance(action, schedule.Load)}
        return decision, any(demand.reason == "asked" and demand.name not in loaded for demand in demands)

    def unknown(self, slots: Iterable[Slot], now: float) -> list[Slot]:
        """Returns slots that should be loaded and whose need is not known yet."""
        return [slot for slot in slots if slot.prepared is None and self._reason(slot, now) is not None]

    def explain(self, slot: Slot, action: Refuse | Wait) -> str:
        """Returns why it is not loaded, and what would fit."""
        assert slot.spec is not None
        assert slot.prepared is not None
        need = self._need(slot)
        ram = action.free if isinstance(action, Wait) else action.ram
        if ram is not None and need.ram > ram:
            return explain_refusal(slot.spec, slot.prepared.model, need.ram, ram)
        free = shown(action.gpu or 0) if isinstance(action, Refuse) else "less"
        many = "the GPU" if need.gpus == 1 else f"each of {need.gpus} GPUs"
        return f"own/{slot.name} needs about {shown(need.gpu)} of memory on {many}, {free} is free"

    def _need(self, slot: Slot) -> Need:
        assert slot.spec is not None
        assert slot.prepared is not None
        return self._budget.need(slot.spec, slot.prepared)

    def _demand(self, slot: Slot, now: float) -> Demand | None:
        reason = self._reason(slot, now)
        if reason is None or slot.prepared is None:
            return None
        changed = slot.current is not None and slot.current.state is not State.SLEEPING
        name = slot.name + COMING if changed else slot.name
        return Demand(name, self._need(slot), reason, self._tally.waiting(slot.name)[1])

    def _reason(self, slot: Slot, now: float) -> schedule.Reason | None:
        """Why something of this slot should be loaded that is not; None where all is as it should be."""
        spec, run = slot.spec, slot.current
        if spec is None or slot.coming is not None or (slot.failed and (slot.retry_at or now + 1) > now):
            return None
        if slot.failed:
            slot.failed = slot.lasting = False
        if run is not None and relaunches(run.spec, spec):
            return None if run.adapting else "preload"
        if run is not None and run.state is not State.SLEEPING:
            return None
        if self._tally.waiting(slot.name)[0]:
            return "asked"
        if slot.keep and run is None:
            return "pinned" if spec.load == "pinned" else "preload"
        return None
