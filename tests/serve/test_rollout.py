"""Canaries through both halves: workers pick and count, the referee decides, and no restart changes its mind."""

import os
import random
import subprocess
from pathlib import Path

import msgspec
import pytest

from freehold.config.schema import Canary
from freehold.decide import Choice, Deployment, Plan
from freehold.errors import EngineError
from freehold.serve.rollout import FILE, Referee, Rollouts, Wanted, read_trials, try_again

CANARY = Wanted("m", Canary("v4", percent=10, requests=50), "v3")
OLD = Deployment("own/m", "own", "m", "chat", owned=True)
NEW = Deployment("own/m@v4", "own", "m@v4", "chat", owned=True)
RENTED = Deployment("openai/m", "openai", "m", "chat")
PLAN = Plan((OLD, RENTED), "first of its alias")


class Host:
    """A run folder with one worker and a referee."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir(exist_ok=True)
        self.memory = folder / FILE
        self.promoted: list[tuple[str, str]] = []
        self.now = 0.0
        self.referee = self.new_referee()
        self.worker = self.new_worker()

    def new_referee(self) -> Referee:
        return Referee(self.run, self.memory, lambda name, version: self.promoted.append((name, version)))

    def new_worker(self) -> Rollouts:
        return Rollouts(self.run, "w0", random.Random(1).random)

    def wants(self, *wanted: Wanted) -> None:
        self.referee.configure(list(wanted))
        self.step()

    def step(self, **failures: str) -> bool:
        self.worker.save()
        self.now += 1
        changed = self.referee.step(self.now, {name.replace("_", "@"): why for name, why in failures.items()})
        self.worker.refresh()
        return changed

    def answers(self, deployment: str, good: int, bad: int = 0, seconds: float = 1.0) -> None:
        for _ in range(good):
            self.worker.count(deployment, "m", "ok", 200, "", int(seconds * 1e6))
        for _ in range(bad):
            self.worker.count(deployment, "m", "failed", 0, "engine_died", 1000)

    def route(self, plan: Plan = PLAN, conversation: bytes | None = None, health: str | None = None) -> Plan:
        found = {"own/m@v4": Choice("direct", (NEW,))}
        return self.worker.route(plan, found.get, lambda deployment: health, conversation)

    @property
    def state(self) -> str:
        return read_trials(self.run)["m"].state


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_without_canaries_nothing_happens(host: Host) -> None:
    host.wants()
    assert host.route() is PLAN
    host.answers("own/m", 3)
    host.step()
    assert list(host.run.glob("*.trials")) == []


def test_the_canary_gets_its_share_and_the_present_version_stays_behind_it(host: Host) -> None:
    host.wants(CANARY)
    plans = [host.route() for _ in range(2000)]
    picked = [plan for plan in plans if plan.attempts[0] is NEW]
    assert len(picked) == pytest.approx(200, abs=50)
    assert picked[0].attempts == (NEW, OLD, RENTED)
    assert picked[0].reason == "canary v4, 10 % of own/m"
    assert {plan.attempts[0].name for plan in (host.route(conversation=b"one") for _ in range(50))} != {
        "own/m",
        "own/m@v4",
    }


def test_a_canary_that_cannot_be_called_is_not_picked(host: Host) -> None:
    host.wants(msgspec.structs.replace(CANARY, canary=Canary("v4", percent=100)))
    assert host.route().attempts[0] is NEW
    assert host.route(health="its engine is starting").attempts == PLAN.attempts
    assert host.worker.route(PLAN, lambda name: None, lambda deployment: None) is PLAN
    rented = Plan((RENTED, OLD), "cheapest")
    assert host.route(rented) is rented, "only who would have got the present version can get the canary"


def test_a_good_canary_takes_over(host: Host) -> None:
    host.wants(CANARY)
    host.answers("own/m", 900, 2)
    host.answers("own/m@v4", 49)
    assert not host.step()
    assert read_trials(host.run)["m"].why == "49 of 50 requests"
    host.answers("own/m@v4", 1)
    assert host.step()
    assert host.promoted == [("m", "v4")]
    assert host.state == "promoted"
    assert all(host.route().attempts[0] is NEW for _ in range(50)), "until the engine of own/m has followed"
    assert not host.step(), "once"
    host.wants(Wanted("m", CANARY.canary, "v4"))
    assert read_trials(host.run) == {}
    assert host.route() is PLAN


def test_a_bad_canary_is_taken_back_and_stays_so(host: Host) -> None:
    host.wants(CANARY)
    host.answers("own/m", 100)
    host.answers("own/m@v4", 2, 4)
    host.step()
    assert host.state == "rolled back"
    assert read_trials(host.run)["m"].why.startswith("failed: 4 of 6")
    assert host.route() is PLAN
    host.referee = host.new_referee()
    host.wants(CANARY)
    assert host.state == "rolled back", "a restart is no reason to try again"
    host.wants(msgspec.structs.replace(CANARY, canary=Canary("v5", requests=50)))
    assert host.state == "running"
    host.wants(CANARY)
    assert host.state == "running", "asked for anew"


def test_it_is_tried_again_when_a_person_asks(host: Host) -> None:
    host.wants(CANARY)
    host.answers("own/m@v4", 0, 5)
    host.step()
    assert host.state == "rolled back"
    host.step()
    try_again(host.run, "m")
    host.step()
    assert host.state == "running"
    assert read_trials(host.run)["m"].tried.requests == 0


def test_an_engine_that_does_not_run_takes_its_canary_back(host: Host) -> None:
    host.wants(CANARY)
    host.step(m_v4="a tensor is missing")
    assert host.state == "rolled back"
    assert read_trials(host.run)["m"].why == "its engine does not run: a tensor is missing"


def test_a_person_may_want_to_promote(host: Host) -> None:
    careful = msgspec.structs.replace(CANARY, canary=Canary("v4", requests=50, promote=False))
    host.wants(careful)
    host.answers("own/m@v4", 60)
    assert not host.step()
    assert host.state == "passed"
    assert host.promoted == []
    assert "freehold deploy m --promote" in read_trials(host.run)["m"].why
    host.answers("own/m@v4", 0, 60)
    host.step()
    assert host.state == "rolled back", "it is still watched"


def test_a_version_that_a_person_wrote_down_is_not_replaced_in_the_store(host: Host) -> None:
    host.wants(msgspec.structs.replace(CANARY, pinned=True))
    host.answers("own/m@v4", 60)
    host.step()
    assert host.promoted == []
    assert host.state == "promoted"
    assert host.route().attempts[0] is NEW


def test_a_pinned_store_leaves_it_at_passed(host: Host, tmp_path: Path) -> None:
    def refuse(name: str, version: str) -> None:
        raise EngineError("m is pinned to v3", code="pinned")

    host.referee = Referee(host.run, host.memory, refuse)
    host.wants(CANARY)
    host.answers("own/m@v4", 60)
    assert not host.step()
    assert host.state == "passed"
    assert "m is pinned to v3" in read_trials(host.run)["m"].why


def test_going_back_by_hand_is_respected(host: Host) -> None:
    host.wants(CANARY)
    host.answers("own/m@v4", 60)
    host.step()
    host.wants(Wanted("m", CANARY.canary, "v4"))
    host.wants(CANARY)
    assert host.state == "rolled back"
    assert host.route() is PLAN


def test_what_is_nobodys_fault_or_sample_does_not_count(host: Host) -> None:
    host.wants(CANARY)
    count = host.worker.count
    count("own/m@v4", "own/m@v4", "ok", 200, "", 1000)
    count("own/m@v4", "m", "cancelled", 200, "client_gone", 1000)
    count("own/m@v4", "m", "failed", 400, "upstream_refused", 1000)
    count("own/m@v4", "m", "failed", 200, "internal_error", 1000)
    count("own/other", "m", "ok", 200, "", 1000)
    host.step()
    assert read_trials(host.run)["m"].tried.requests == 0
    host.worker.signal("own/m@v4", "schema", bad=True)
    host.step()
    assert read_trials(host.run)["m"].tried.signals == {"schema": (1, 1)}


def test_counts_of_a_dead_worker_are_kept_and_counted_once(host: Host) -> None:
    host.wants(CANARY)
    host.answers("own/m@v4", 20)
    host.worker.save()
    [mine] = host.run.glob("*.trials")
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    dead = host.run / f"w0-1-{ended.pid}.trials"
    dead.write_bytes(mine.read_bytes())
    (host.run / f"w0-2-{os.getppid()}.trials").write_bytes(b"garbage")
    for _ in range(3):
        host.step()
        assert read_trials(host.run)["m"].tried.requests == 40
    assert not dead.exists()
    host.referee = host.new_referee()
    host.wants(CANARY)
    assert read_trials(host.run)["m"].tried.requests == 40


def test_another_percentage_is_the_same_trial_and_other_rules_are_not(host: Host) -> None:
    more = msgspec.structs.replace(CANARY, canary=Canary("v4", percent=50, requests=50))
    other = msgspec.structs.replace(CANARY, canary=Canary("v4", percent=10, requests=500))
    assert more.trial == CANARY.trial
    assert other.trial != CANARY.trial


def test_damaged_files_are_no_files(host: Host) -> None:
    host.memory.write_bytes(b"{")
    (host.run / FILE).write_bytes(b"nonsense")
    assert host.new_worker().route(PLAN, lambda name: None, lambda deployment: None) is PLAN
    host.referee = host.new_referee()
    host.wants(CANARY)
    assert host.state == "running"
