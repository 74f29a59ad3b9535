"""Places in memory: rules by example, then a machine with more models than memory, run for a long time."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.own.schedule import (
    Capacity,
    Decision,
    Demand,
    Evict,
    Load,
    Need,
    Refuse,
    Resident,
    Rules,
    Wait,
    decide,
)

RULES = Rules(linger=0.05)


def ready(name: str, ram: int, **more: object) -> Resident:
    return Resident(name, Need(ram), "ready", **more)  # type: ignore[arg-type]


def asked(name: str, ram: int, since: float = 0.0) -> Demand:
    return Demand(name, Need(ram), "asked", since)


def test_what_fits_is_loaded() -> None:
    found = decide(10.0, [ready("a", 40, busy=1, since=9.9)], [asked("b", 50), asked("c", 20)], Capacity(100))
    assert found.actions == (Load("b"),), "c would not fit beside both"
    assert decide(10.0, [], [asked("b", 1 << 60)], Capacity()).actions == (Load("b"),), "unknown memory refuses nothing"


def test_an_idle_model_makes_room_the_longest_unused_first() -> None:
    residents = [ready("a", 40, used=8.0), ready("b", 40, used=5.0)]
    assert decide(10.0, residents, [asked("c", 50)], Capacity(100)).actions == (Evict("b"),)


def test_nobody_goes_in_vain() -> None:
    """`a` is older, but without `b` it is not enough, and with `b` it is not needed."""
    residents = [ready("a", 10, used=1.0), ready("b", 80, used=2.0)]
    assert decide(10.0, residents, [asked("c", 85)], Capacity(100)).actions == (Evict("b"),)


def test_a_pause_of_a_moment_is_not_idleness() -> None:
    found = decide(10.0, [ready("a", 80, used=9.98)], [asked("b", 80)], Capacity(100), RULES)
    assert found == Decision((), 9.98 + RULES.linger)


def test_a_busy_model_keeps_its_place_for_a_while() -> None:
    busy = ready("a", 80, busy=3, since=9.5, stay=2.0)
    assert decide(10.0, [busy], [asked("b", 80)], Capacity(100)) == Decision((), 11.5)
    assert decide(11.5, [busy], [asked("b", 80)], Capacity(100)).actions == (Evict("a"),)


def test_who_leaves_is_waited_for() -> None:
    leaving = Resident("a", Need(80), "leaving", busy=2)
    assert decide(10.0, [leaving], [asked("b", 80)], Capacity(100)) == Decision(())


def test_small_models_that_come_and_go_do_not_keep_a_large_one_out() -> None:
    """`b` is still loading; when it has had its stay it must go for `c`, so `d` may not take its place."""
    residents = [ready("a", 50, busy=1, since=0.0), Resident("b", Need(40), "loading")]
    found = decide(99.0, residents, [asked("c", 90, since=1.0), asked("d", 10, since=2.0)], Capacity(100))
    assert found.actions == (Load("d"),), "which fits beside c"
    found = decide(99.0, residents, [asked("c", 95, since=1.0), asked("d", 10, since=2.0)], Capacity(100))
    assert found.actions == ()


def test_pinned_and_loading_stay() -> None:
    residents = [ready("a", 50, pinned=True), Resident("b", Need(40), "loading")]
    assert decide(99.0, residents, [asked("c", 50)], Capacity(100)).actions == ()


def test_what_can_never_fit_is_refused() -> None:
    assert decide(0.0, [ready("a", 80)], [asked("b", 120)], Capacity(100)).actions == (Refuse("b", 100, None),)
    pinned = ready("a", 60, pinned=True)
    assert decide(0.0, [pinned], [asked("b", 50)], Capacity(100)).actions == (Refuse("b", 40, None),)


def test_a_preload_sends_nobody_away() -> None:
    demand = Demand("b", Need(50), "preload")
    assert decide(99.0, [ready("a", 80)], [demand], Capacity(100)).actions == (Wait("b", 20),)


def test_the_longest_waiting_goes_first_and_the_small_one_fills_in() -> None:
    """`d` fits beside `c`, now and later; `e` would take the place that `c` needs."""
    residents = [ready("a", 60, busy=1, since=9.9)]
    demands = [asked("d", 10, since=3.0), asked("c", 80, since=1.0), asked("e", 30, since=2.0)]
    found = decide(10.0, residents, demands, Capacity(100))
    assert found.actions == (Load("d"),)


def test_idle_models_go_when_their_time_is_over() -> None:
    resident = ready("a", 10, used=5.0, idle=60.0)
    assert decide(10.0, [resident], [], Capacity()) == Decision((), 65.0)
    assert decide(65.0, [resident], [], Capacity()).actions == (Evict("a"),)
    assert decide(65.0, [ready("a", 10, used=5.0, idle=60.0, busy=1)], [], Capacity()).actions == ()
    assert decide(65.0, [ready("a", 10, used=5.0, idle=60.0, pinned=True)], [], Capacity()).actions == ()
    sleepy = ready("a", 10, used=5.0, idle=60.0, asleep_need=Need(5))
    assert decide(65.0, [sleepy], [], Capacity()).actions == (Evict("a", sleep=True),)


def gpu_resident(name: str, on: int, **more: object) -> Resident:
    return Resident(name, Need(5, 60), "ready", (on,), **more)  # type: ignore[arg-type]


def test_the_emptiest_gpu_is_taken() -> None:
    capacity = Capacity(100, (80, 80))
    demand = Demand("b", Need(5, 70), "asked")
    assert decide(9.0, [gpu_resident("a", 0)], [demand], capacity).actions == (Load("b", (1,)),)
    two = Demand("b", Need(5, 70, gpus=2), "asked")
    assert decide(9.0, [], [two], capacity).actions == (Load("b", (0, 1)),)
    assert decide(9.0, [gpu_resident("a", 0)], [two], capacity).actions == (Evict("a"),)
    chosen = Demand("b", Need(5, 70, on=(0,)), "asked")
    assert decide(9.0, [gpu_resident("a", 0)], [chosen], capacity).actions == (Evict("a"),)
    assert decide(9.0, [], [Demand("b", Need(5, 90), "asked")], capacity).actions == (Refuse("b", 100, 80),)


def test_who_can_sleep_leaves_the_gpu_and_not_the_machine() -> None:
    capacity = Capacity(100, (80,))
    sleepy = gpu_resident("a", 0, asleep_need=Need(40))
    assert decide(9.0, [sleepy], [Demand("b", Need(5, 70), "asked")], capacity).actions == (Evict("a", sleep=True),)
    short = decide(9.0, [sleepy], [Demand("b", Need(98, 70), "asked")], capacity)
    assert short.actions == (Evict("a"),), "asleep it would still have too much RAM"


def test_one_that_sleeps_is_woken_when_there_is_room() -> None:
    capacity = Capacity(100, (80,))
    asleep = Resident("a", Need(5, 60), "asleep", (0,), asleep_need=Need(40))
    demand = Demand("a", Need(5, 60), "asked")
    assert decide(9.0, [asleep], [demand], capacity).actions == (Load("a", (0,)),)
    assert decide(9.0, [asleep, gpu_resident("b", 0)], [demand], capacity).actions == (Evict("b"),)


# A machine run for a long time: time goes in steps; requests come; engines load, answer, drain.


@dataclass
class Model:
    name: str
    ram: int
    load_time: float
    pinned: bool = False
    phase: str = "absent"
    until: float = 0.0
    since: float = 0.0
    used: float = 0.0
    queue: deque[float] = field(default_factory=deque)
    running: list[tuple[float, float]] = field(default_factory=list)
    loads: int = 0


class Machine:
    """`slots` requests are answered at a time by each model, each for `work` seconds."""

    STEP = 0.05

    def __init__(self, capacity: int, models: list[Model], work: float, stay: float) -> None:
        self.capacity = capacity
        self.models = {model.name: model for model in models}
        self.work = work
        self.stay = stay
        self.now = 0.0
        self.longest = 0.0
        self.answered = 0
        self.refused: set[str] = set()

    def step(self) -> None:
        self.now = round(self.now + self.STEP, 6)
        for model in self.models.values():
            for request in [one for one in model.running if one[1] <= self.now]:
                model.running.remove(request)
                model.used = self.now
                self.answered += 1
            if model.phase == "loading" and model.until <= self.now:
                model.phase, model.since, model.used = "ready", self.now, self.now
            if model.phase == "leaving" and not model.running:
                model.phase = "absent"
            while model.phase == "ready" and model.queue and len(model.running) < 4:
                came = model.queue.popleft()
                self.longest = max(self.longest, self.now - came)
                model.running.append((came, self.now + self.work))
                model.used = self.now
        self.decide()

    def decide(self) -> None:
        residents = [
            Resident(
                model.name, Need(model.ram), model.phase,  # type: ignore[arg-type]
                busy=len(model.running), waiting=len(model.queue), since=model.since, used=model.used,
                stay=self.stay, pinned=model.pinned,
            )
            for model in self.models.values()
            if model.phase != "absent"
        ]  # fmt: skip
        demands = [
            Demand(
                model.name, Need(model.ram), "pinned" if model.pinned else "asked", model.queue[0] if model.queue else 0
            )
            for model in self.models.values()
            if model.phase in ("absent", "leaving") and (model.queue or model.pinned) and model.name not in self.refused
        ]
        for action in decide(self.now, residents, demands, Capacity(self.capacity), RULES).actions:
            model = self.models[action.name]
            match action:
                case Load():
                    assert model.phase == "absent"
                    model.phase, model.until = "loading", self.now + model.load_time
                    model.loads += 1
                case Evict():
                    assert model.phase == "ready"
                    assert not model.pinned, "pinned models stay"
                    model.phase = "leaving"
                case Refuse():
                    self.refused.add(model.name)
                    model.queue.clear()
                case Wait():
                    raise AssertionError("nothing is preloaded here")
        in_use = sum(model.ram for model in self.models.values() if model.phase != "absent")
        assert in_use <= self.capacity, "memory is never promised twice"


@settings(max_examples=25)
@given(st.data())
def test_every_request_is_answered_and_memory_never_exceeded(data: st.DataObject) -> None:
    """Starvation-free: with N models that want the same place, nobody waits longer than N rounds of
    (stay + work + load)."""
    capacity = 100
    count = data.draw(st.integers(1, 5))
    models = [
        Model(f"m{n}", data.draw(st.integers(5, 120)), data.draw(st.sampled_from([0.1, 0.5, 1.0])))
        for n in range(count)
    ]
    if data.draw(st.booleans()):
        models.append(Model("pinned", data.draw(st.integers(5, 40)), 0.1, pinned=True))
    work, stay = data.draw(st.sampled_from([0.05, 0.3, 1.0])), 1.0
    machine = Machine(capacity, models, work, stay)
    asked = 0
    for _ in range(data.draw(st.integers(20, 200))):
        for model in data.draw(st.lists(st.sampled_from(models), max_size=3)):
            if model.name not in machine.refused:
                model.queue.append(machine.now)
                asked += 1
        machine.step()
    for _ in range(2000):
        if not any(model.queue or model.running for model in models):
            break
        machine.step()
    left = {model.name: len(model.queue) for model in models if model.queue}
    assert not left, "somebody starved"
    slots = asked / 4 * work + work  # the queue of one model is worked off in so many seconds
    assert machine.longest <= (len(models) + 1) * (stay + 2 * work + 1.0 + 0.5) + 2 * slots
    pinned = machine.models.get("pinned")
    assert {
        model.name for model in models if model.ram + (pinned.ram if pinned and model is not pinned else 0) > 100
    } >= (machine.refused)


@settings(max_examples=8)
@given(st.integers(2, 5), st.sampled_from([0.2, 0.5]), st.sampled_from([1.0, 2.0]))
def test_models_that_do_not_fit_together_do_not_thrash(count: int, load_time: float, stay: float) -> None:
    """Everybody asks for all of them, all the time: places change once per stay, and not with every request."""
    models = [Model(f"m{n}", 80, load_time) for n in range(count)]
    machine = Machine(100, models, 0.1, stay)
    seconds = 30
    for _ in range(int(seconds / machine.STEP)):
        for model in models:
            while len(model.queue) < 8:
                model.queue.append(machine.now)
        machine.step()
    loads = sum(model.loads for model in models)
    assert loads <= seconds / (stay + load_time) + 2
    assert loads >= seconds / (stay + load_time + 1.0) - 2, "and nobody is kept out"
    assert max(model.loads for model in models) - min(model.loads for model in models) <= 1, "fair turns"
    assert machine.answered > 0.8 * (seconds * stay / (stay + load_time + 0.5)) / 0.1 * 4 * 0.5
