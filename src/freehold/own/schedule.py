"""Which engines are loaded, and which make room: a pure function of what is seen now.

Memory is a budget: the needs of all engines together, those that start and those that leave included, stay under the
capacity of RAM and of each GPU. When several models want more than that, they take turns:

    order     whoever waits longest goes next; a model's turn does not move because others are busier, so none starves
    stay      a model that others wait for keeps its place for a while (`Resident.stay`, longer for one that loads
              slowly), and answers what comes for it meanwhile: requests are collated by model, and two models that do
              not fit together change places a few times a minute and not with every request
    idle      a model nobody asks for gives its place up as soon as `linger` shows that it is really idle: a client that
              asks one question after another pauses for a few milliseconds in between
    fill      what fits beside the one who waits, now and after it has come, need not wait for it

What answers requests is never ended: it is told to take no more (`Evict`), and leaves when it has finished. What is
pinned stays. A model that could not be loaded even if all others left is refused at once.

Times are seconds of one monotonic clock, memory is bytes. The steward calls `decide` whenever something has changed and
at the time that the decision names.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct


class Need(Struct, frozen=True):
    """`gpu` bytes on each of `gpus` GPUs; `on` where a person has chosen which."""

    ram: int = 0
    gpu: int = 0
    gpus: int = 1
    on: tuple[int, ...] | None = None


class Capacity(Struct, frozen=True):
    """What all engines together may use. None: unknown, so that nothing is refused."""

    ram: int | None = None
    gpu: tuple[int, ...] | None = None


Reason = Literal["pinned", "asked", "preload"]
Phase = Literal["loading", "ready", "leaving", "asleep"]


class Resident(Struct, frozen=True):
    """An engine that has memory, or is about to.

    `busy`: requests in flight. `waiting`: requests that wait for it although it is ready. `since`: when it became
    ready. `used`: when it last had a request in flight. `idle`: seconds without a request after which it goes; None:
    never. `asleep_need` is what it keeps asleep; None where it cannot sleep.
    """

    name: str
    need: Need
    phase: Phase
    on: tuple[int, ...] = ()
    busy: int = 0
    waiting: int = 0
    since: float = 0.0
    used: float = 0.0
    stay: float = 1.0
    pinned: bool = False
    idle: float | None = None
    asleep_need: Need | None = None


class Demand(Struct, frozen=True):
    """A model that should be loaded, or woken: because it is pinned, because requests have been waiting for it since
    `since`, or because it is loaded with the gateway, in that order."""

    name: str
    need: Need
    reason: Reason
    since: float = 0.0


class Rules(Struct, frozen=True):
    linger: float = 0.05


class Load(Struct, frozen=True):
    """Start it, or wake it where it sleeps, on these GPUs."""

    name: str
    on: tuple[int, ...] = ()


class Evict(Struct, frozen=True):
    """No more requests for it; it ends when those it has are answered. `sleep`: it is to sleep and not to end."""

    name: str
    sleep: bool = False


class Refuse(Struct, frozen=True):
    """It cannot be loaded. `ram`, `gpu`: bytes that would be left for it if all others but the pinned were gone."""

    name: str
    ram: int | None
    gpu: int | None


class Wait(Struct, frozen=True):
    """A preload for which there is no room beside the others; `free` is what RAM is left."""

    name: str
    free: int | None


Action = Load | Evict | Refuse | Wait


class Decision(Struct, frozen=True):
    actions: tuple[Action, ...]
    again: float | None = None
    """When to ask again if nothing happens before."""


_RANK: dict[Reason, int] = {"pinned": 0, "asked": 1, "preload": 2}


def decide(
    now: float,
    residents: Sequence[Resident],
    demands: Iterable[Demand],
    capacity: Capacity,
    rules: Rules = Rules(),  # noqa: B008  frozen
) -> Decision:
    """Returns what to do now. Evicting and loading take time: what does not happen at once is asked for again."""
    plan = _Plan(now, residents, capacity, rules)
    for demand in sorted(demands, key=lambda one: (_RANK[one.reason], one.since, one.name)):
        plan.place(demand)
    plan.dismiss_idle()
    return Decision(tuple(plan.actions), plan.again)


class _Use:
    """Memory in use, by pool."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._ram = 0
        self._gpu = [0] * len(capacity.gpu or ())

    def add(self, need: Need, on: Sequence[int], sign: int = 1) -> None:
        self._ram += sign * need.ram
        for index in on:
            if index < len(self._gpu):
                self._gpu[index] += sign * need.gpu

    @property
    def free_ram(self) -> int | None:
        return None if self._capacity.ram is None else self._capacity.ram - self._ram

    @property
    def free_gpu(self) -> list[int] | None:
        total = self._capacity.gpu
        return None if total is None else [most - used for most, used in zip(total, self._gpu, strict=True)]

    def place(self, need: Need) -> tuple[int, ...] | None:
        """Returns the GPUs it would go to (the emptiest), None where it does not fit."""
        free = self.free_ram
        if free is not None and need.ram > free:
            return None
        if not need.gpu:
            return ()
        gpu = self.free_gpu
        if gpu is None:
            return need.on or ()
        chosen = need.on
        if chosen is None:
            chosen = tuple(sorted(range(len(gpu)), key=lambda index: (-gpu[index], index))[: need.gpus])
        known = [gpu[index] for index in chosen if index < len(gpu)]
        if len(known) < min(need.gpus, len(chosen) or 1) or any(need.gpu > left for left in known):
            return None
        return tuple(sorted(chosen))


class _Plan:
    """`now_use` is all memory that is taken. `then_use` is what will be taken when everybody who leaves has left and
    everybody who waits has come."""

    def __init__(self, now: float, residents: Sequence[Resident], capacity: Capacity, rules: Rules) -> None:
        self._now = now
        self._rules = rules
        self._capacity = capacity
        self._residents = {resident.name: resident for resident in residents}
        self._staying: dict[str, Resident] = {}
        self._now_use, self._then_use = _Use(capacity), _Use(capacity)
        for resident in residents:
            self._now_use.add(_held(resident), resident.on)
            if resident.phase != "leaving":
                self._then_use.add(_held(resident), resident.on)
                self._staying[resident.name] = resident
        self.actions: list[Action] = []
        self.again: float | None = None

    def place(self, demand: Demand) -> None:
        asleep = self._staying.get(demand.name)
        if asleep is not None and asleep.phase != "asleep":
            return
        if self._refused(demand):
            return
        need = demand.need
        if asleep is not None:  # what it keeps asleep is part of what it needs awake
            self._now_use.add(_held(asleep), asleep.on, -1)
            self._then_use.add(_held(asleep), asleep.on, -1)
            del self._staying[demand.name]
            if asleep.need.gpu:
                need = Need(need.ram, need.gpu, need.gpus, asleep.on)
        later = self._then_use.place(need)
        on = self._now_use.place(need) if later is not None else None
        if on is not None:
            on = self._both(need) if need.gpu else on
        if on is not None and demand.name not in self._leaving():
            self._take(need, on)
            self.actions.append(Load(demand.name, on))
            return
        if demand.reason == "preload":
            self.actions.append(Wait(demand.name, self._now_use.free_ram))
            self._restore(asleep)
            return
        if later is None:
            later = self._make_room(need)
        if later is not None:  # one that must wait for those before it to come and go again holds no place
            self._then_use.add(need, later)
        if asleep is not None:
            self._now_use.add(_held(asleep), asleep.on)

    def dismiss_idle(self) -> None:
        for resident in self._staying.values():
            if resident.idle is None or resident.phase != "ready" or resident.pinned:
                continue
            if resident.busy or resident.waiting:
                continue
            due = resident.used + resident.idle
            if due <= self._now:
                self.actions.append(Evict(resident.name, sleep=resident.asleep_need is not None))
            else:
                self._ask_again(due)

    def _leaving(self) -> set[str]:
        """Names whose old engine is on its way out: it cannot come back before it is gone."""
        return {name for name, resident in self._residents.items() if resident.phase == "leaving"}

    def _both(self, need: Need) -> tuple[int, ...] | None:
        """GPUs that have room now and will have it."""
        now, then = self._now_use.free_gpu, self._then_use.free_gpu
        if now is None or then is None:
            return need.on or ()
        least = _Use(Capacity(None, tuple(min(pair) for pair in zip(now, then, strict=True))))
        return least.place(Need(0, need.gpu, need.gpus, need.on))

    def _take(self, need: Need, on: tuple[int, ...]) -> None:
        self._now_use.add(need, on)
        self._then_use.add(need, on)

    def _restore(self, asleep: Resident | None) -> None:
        if asleep is not None:
            self._take(_held(asleep), asleep.on)
            self._staying[asleep.name] = asleep

    def _refused(self, demand: Demand) -> bool:
        alone = _Use(self._capacity)
        for resident in self._residents.values():
            if resident.pinned and resident.name != demand.name and resident.phase != "leaving":
                alone.add(_held(resident), resident.on)
        if alone.place(demand.need) is not None:
            return False
        gpu = alone.free_gpu
        self.actions.append(Refuse(demand.name, alone.free_ram, max(gpu, default=0) if gpu is not None else None))
        return True

    def _make_room(self, need: Need) -> tuple[int, ...] | None:
        """Sends away who has to go, once all of them may; until then notes when that will be.

        One that still loads may have to go as well, when it has had its stay: otherwise small models that come and go
        could keep a large one out for ever.
        """
        candidates = sorted(
            (one for one in self._staying.values() if not one.pinned),
            key=lambda one: (one.phase == "loading", _active(one), one.used, one.name),
        )
        chosen: list[Resident] = []
        for candidate in candidates:
            if self._then_use.place(need) is not None:
                break
            self._then_use.add(_held(candidate), candidate.on, -1)
            chosen.append(candidate)
        for candidate in list(chosen):  # who would have gone in vain stays
            self._then_use.add(_held(candidate), candidate.on)
            if self._then_use.place(need) is None:
                self._then_use.add(_held(candidate), candidate.on, -1)
            else:
                chosen.remove(candidate)
        place = self._then_use.place(need)
        if place is None:
            for candidate in chosen:
                self._then_use.add(_held(candidate), candidate.on)
            return None
        for candidate in chosen:
            del self._staying[candidate.name]
        ripe = [self._ripe_at(candidate) for candidate in chosen]
        if all(at <= self._now for at in ripe):
            short = self._gpu_is_short(need)
            for candidate in chosen:
                asleep = candidate.asleep_need
                sleeps = short and candidate.phase == "ready" and asleep is not None and not asleep.gpu
                if sleeps and asleep is not None:
                    self._then_use.add(asleep, candidate.on)
                self.actions.append(Evict(candidate.name, sleep=sleeps))
        elif max(ripe) < float("inf"):
            self._ask_again(max(ripe))
        return place

    def _gpu_is_short(self, need: Need) -> bool:
        """Whether only GPU memory is missing, so that those who can sleep need not end."""
        free = self._now_use.free_ram
        return bool(need.gpu) and (free is None or free >= need.ram)

    def _ripe_at(self, resident: Resident) -> float:
        if resident.phase == "asleep":
            return self._now
        if resident.phase == "loading":
            return float("inf")
        if _active(resident):
            return resident.since + resident.stay
        return max(resident.used, resident.since) + self._rules.linger

    def _ask_again(self, at: float) -> None:
        self.again = at if self.again is None else min(self.again, at)


def _active(resident: Resident) -> bool:
    return bool(resident.busy or resident.waiting) and resident.phase == "ready"


def _held(resident: Resident) -> Need:
    if resident.phase == "asleep" and resident.asleep_need is not None:
        return resident.asleep_need
    return resident.need
