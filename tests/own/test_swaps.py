"""Engines that change places, with a gateway worker linked that says what waits and what is in flight."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standing_in import Bench, LinkedWorker, StandIn, zombie

from freehold.own import places
from freehold.own.budget import Budget
from freehold.own.engine import EngineSpec, Lora
from freehold.own.events import Absent
from freehold.own.lives import prepare
from freehold.own.processes import Used
from freehold.own.steward import Policy

MIB = 1 << 20
FAST = Policy(first=0.02, longest=0.05, crashes=3, rest=300.0, notice=0.05, drain=5.0, stay=0.2, again=0.3)


class House(Bench):
    """A steward with memory for 150 MiB of engines, and one worker."""

    def __init__(self, folder: Path, model: Path, stall: float = 30.0) -> None:
        super().__init__(folder, model, StandIn(folder), FAST, stall)
        self.budget.limit(150 * MIB, None)
        self.worker = LinkedWorker(self.run_dir)
        self.memory: dict[str, int] = {}

    def spec(self, name: str, **changes: Any) -> EngineSpec:
        """What is declared is not corrected by what is measured."""
        return super().spec(name, memory=self.memory.get(name, 100 * MIB), **changes)


@pytest.fixture
async def house(tmp_path: Path, tiny: Path) -> AsyncIterator[House]:
    house = House(tmp_path, tiny)
    async with house.worker:
        yield house
    house.stop.set()
    await asyncio.wait_for(house.task, 15)
    left = [pid for starts in tmp_path.glob("*.starts") for pid in starts.read_text().split() if pid.isdigit()]
    assert not [pid for pid in left if Path(f"/proc/{pid}/stat").exists() and not zombie(pid)], "a child outlived it"


async def test_what_nobody_asks_for_is_not_loaded(house: House) -> None:
    house.steward.apply([house.spec("a", load="demand"), house.spec("b")])
    await house.worker.state("b", "ready")
    assert house.worker.engines["a"]["state"] == "absent"
    assert house.adapter.starts("a") == []


async def test_many_who_wait_are_one_load(house: House) -> None:
    house.steward.apply([house.spec("a", load="demand")])
    await house.worker.state("a", "absent")
    for waiting in range(1, 50):
        house.worker.want("a", waiting)
    engine = await house.worker.state("a", "ready")
    house.worker.want("a", 0)
    assert len(house.adapter.starts("a")) == 1
    assert house.worker.seen("a")[-4:] == ["absent", "starting", "warming", "ready"]
    assert engine["loads_in"] > 0


async def test_two_that_do_not_fit_together_change_places(house: House) -> None:
    house.steward.apply([house.spec("a", load="demand"), house.spec("b", load="demand")])
    await house.worker.state("b", "absent")
    for name, other in (("a", "b"), ("b", "a"), ("a", "b")):
        house.worker.want(name)
        await house.worker.state(name, "ready")
        house.worker.want(name, 0)
        assert house.worker.engines[other]["state"] == "absent"
    assert house.worker.seen("a")[-5:] == ["draining", "absent", "starting", "warming", "ready"]
    assert len([pid for pid in house.adapter.starts("a") if pid.isdigit()]) == 2


async def test_requests_in_flight_are_never_cut_off_by_a_swap(house: House) -> None:
    house.steward.apply([house.spec("a", load="demand"), house.spec("b", load="demand")])
    house.worker.want("a")
    first = await house.worker.state("a", "ready")
    house.worker.want("a", 0)
    house.worker.busy("a", 2)
    house.worker.want("b")
    await house.worker.state("a", "draining")
    await asyncio.sleep(0.5)
    assert house.worker.engines["a"]["state"] == "draining"
    assert not zombie(str(first["pid"]))
    assert house.worker.engines["b"]["state"] == "absent"
    house.worker.rows[("a", first["number"])].inflight = 0
    house.worker.report()
    await house.worker.state("b", "ready")


async def test_a_worker_that_does_not_act_yet_is_waited_for(house: House) -> None:
    """It might still send something, on the strength of the table before."""
    house.steward.apply([house.spec("a", load="demand"), house.spec("b", load="demand")])
    house.worker.want("a")
    first = await house.worker.state("a", "ready")
    house.worker.want("a", 0)
    house.worker.want("b")
    house.worker.deaf = True
    await house.worker.state("a", "draining")
    await asyncio.sleep(0.3)
    assert not zombie(str(first["pid"]))
    house.worker.deaf = False
    house.worker.report()
    await house.worker.state("b", "ready")


async def test_a_busy_model_has_its_stay_and_then_its_turn_is_over(house: House) -> None:
    """Requests for `a` never cease: it goes all the same, and comes back when `b` has had its turn."""
    house.steward.apply([house.spec("a", load="demand"), house.spec("b", load="demand")])
    house.worker.want("a")
    first = await house.worker.state("a", "ready")
    house.worker.busy("a", 1)
    house.worker.want("b")
    await house.worker.state("a", "draining")
    house.worker.want("a", 3)
    house.worker.rows[("a", first["number"])].inflight = 0
    house.worker.report()
    await house.worker.state("b", "ready")
    house.worker.want("b", 0)
    house.worker.busy("b", 1)
    await house.worker.state("b", "draining")
    house.worker.rows[("b", house.worker.engines["b"]["number"])].inflight = 0
    house.worker.report()
    await house.worker.state("a", "ready")


async def test_pinned_stays_and_the_others_take_turns_beside_it(house: House) -> None:
    house.memory = {"p": 60 * MIB, "a": 80 * MIB, "b": 80 * MIB, "c": 100 * MIB}
    specs = [house.spec(name, load="demand") for name in ("a", "b", "c")]
    house.steward.apply([house.spec("p", load="pinned"), *specs])
    pinned = await house.worker.state("p", "ready")
    for name in ("a", "b", "a"):
        house.worker.want(name)
        await house.worker.state(name, "ready")
        house.worker.want(name, 0)
    house.worker.want("c")
    failed = await house.worker.state("c", "failed")
    assert "needs about 100.0 MiB of memory" in failed["error"]
    assert "90.0 MiB are free" in failed["error"]
    assert failed["lasting"]
    house.worker.want("c", 0)
    assert house.worker.engines["p"]["pid"] == pinned["pid"]


async def test_a_refused_model_is_tried_again_later(house: House) -> None:
    house.budget.limit(50 * MIB, None)
    house.steward.apply([house.spec("a", load="demand")])
    house.worker.want("a")
    failed = await house.worker.state("a", "failed")
    assert failed["lasting"]
    assert house.adapter.starts("a") == []
    house.budget.limit(150 * MIB, None)
    await house.worker.state("a", "ready")


async def test_idle_models_leave(house: House) -> None:
    house.steward.apply([house.spec("a", idle=0.3)])
    await house.worker.state("a", "ready")
    house.worker.busy("a", 1)
    await asyncio.sleep(0.5)
    assert house.worker.engines["a"]["state"] == "ready", "it has work"
    house.worker.busy("a", 0)
    await house.worker.state("a", "absent")
    house.worker.want("a")
    await house.worker.state("a", "ready")


async def test_an_engine_that_can_sleeps_and_is_woken(house: House) -> None:
    house.adapter.sleep_levels = (1,)
    house.steward.apply([house.spec("a", idle=0.2, sleep=1)])
    first = await house.worker.state("a", "ready")
    await house.worker.state("a", "sleeping")
    house.worker.want("a")
    again = await house.worker.state("a", "ready")
    assert again["pid"] == first["pid"]
    assert house.adapter.starts("a") == [str(first["pid"]), "sleep", "wake"]


async def test_a_change_starts_beside_and_takes_over_when_ready(house: House) -> None:
    house.memory = {"a": 60 * MIB}
    house.steward.apply([house.spec("a")])
    old = await house.worker.state("a", "ready")
    house.worker.busy("a", 1)
    house.steward.apply([house.spec("a", threads=2)])
    new = (await house.worker.until(lambda engines: engines["a"]["number"] == 2))["a"]
    assert house.worker.seen("a")[-3:] == ["starting", "warming", "ready"], "it was ready all the time"
    assert new["state"] == "ready"
    assert not zombie(str(old["pid"])), "it has a request"
    house.worker.rows[("a", 1)].inflight = 0
    house.worker.report()
    async with asyncio.timeout(5):
        while not zombie(str(old["pid"])):
            await asyncio.sleep(0.01)


async def test_a_change_that_does_not_fit_beside_comes_after(house: House) -> None:
    house.steward.apply([house.spec("a")])
    await house.worker.state("a", "ready")
    house.steward.apply([house.spec("a", threads=2)])
    await house.worker.until(lambda engines: engines["a"]["number"] == 2 and engines["a"]["state"] == "ready")
    assert "draining" in house.worker.seen("a")


async def test_a_change_that_does_not_start_leaves_the_old_one_in_place(house: House) -> None:
    house.memory = {"a": 60 * MIB}
    house.steward.apply([house.spec("a")])
    old = await house.worker.state("a", "ready")
    house.adapter.modes["a"] = "refuses"
    house.steward.apply([house.spec("a", threads=2)])
    found = (await house.worker.until(lambda engines: engines["a"]["error"]))["a"]
    assert (found["state"], found["pid"]) == ("ready", old["pid"])
    assert "the new version did not start: this is no model" in found["error"]


async def test_lora_weights_come_and_go_without_a_launch(house: House) -> None:
    house.adapter.loras = "runtime"
    house.steward.apply([house.spec("a")])
    first = await house.worker.state("a", "ready")
    lora = Lora("polite", Path("polite"))
    house.steward.apply([house.spec("a", adapters=(lora,))])
    found = (await house.worker.until(lambda engines: "polite" in engines["a"]["fields"]))["a"]
    assert found["fields"] == {"a": {"model": "a"}, "polite": {"model": "polite"}}
    assert found["pid"] == first["pid"]


async def test_a_killed_engine_is_back_and_its_number_is_another(house: House) -> None:
    house.steward.apply([house.spec("a", load="demand")])
    house.worker.want("a")
    first = await house.worker.state("a", "ready")
    os.kill(first["pid"], signal.SIGKILL)
    again = (await house.worker.until(lambda e: e["a"]["state"] == "ready" and e["a"]["number"] == 2))["a"]
    assert again["pid"] != first["pid"]
    house.worker.want("a", 0)
    os.kill(again["pid"], signal.SIGKILL)
    await house.worker.state("a", "absent")


async def test_an_engine_that_answers_between_its_deaths_is_not_left_alone(house: House) -> None:
    """The crash-loop breaker is for engines that never work, not for `kill -9`."""
    house.steward.apply([house.spec("a")])
    for number in range(1, 7):
        engine = (await house.worker.until(lambda e, n=number: e.get("a", {}).get("number") == n and e["a"]["pid"]))[
            "a"
        ]
        engine = (await house.worker.until(lambda e: e["a"]["state"] == "ready"))["a"]
        house.worker.busy("a", 1, received=100)
        await asyncio.sleep(0.05)
        os.kill(engine["pid"], signal.SIGKILL)
        house.worker.rows.clear()
    await house.worker.until(lambda e: e["a"]["number"] == 7 and e["a"]["state"] == "ready")


async def test_a_wedged_engine_is_found_out_and_replaced(tmp_path: Path, tiny: Path) -> None:
    """/health says 200 all the time."""
    house = House(tmp_path, tiny, stall=1.0)
    async with house.worker:
        house.steward.apply([house.spec("a")])
        first = await house.worker.state("a", "ready")
        house.worker.busy("a", 1, streaming=1, received=10, last_byte=0.0)
        house.adapter.stick("a")
        failed = await house.worker.state("a", "failed")
        assert failed["error"].startswith("wedged: no byte for")
        assert not failed["lasting"]
        house.adapter.unstick("a")
        house.worker.rows.clear()
        again = await house.worker.state("a", "ready")
        assert again["pid"] != first["pid"]
        assert zombie(str(first["pid"]))
    house.stop.set()
    await asyncio.wait_for(house.task, 15)


async def test_a_slow_engine_that_answers_the_probe_is_left_alone(tmp_path: Path, tiny: Path) -> None:
    house = House(tmp_path, tiny, stall=0.4)
    async with house.worker:
        house.steward.apply([house.spec("a")])
        first = await house.worker.state("a", "ready")
        house.worker.busy("a", 1)
        await asyncio.sleep(1.5)
        assert house.worker.engines["a"]["pid"] == first["pid"]
        assert "failed" not in house.worker.seen("a")
    house.stop.set()
    await asyncio.wait_for(house.task, 15)


async def test_a_worker_that_dies_holds_nobody_up(house: House) -> None:
    house.steward.apply([house.spec("a", load="demand"), house.spec("b", load="demand")])
    house.worker.want("a")
    await house.worker.state("a", "ready")
    house.worker.want("a", 0)
    async with LinkedWorker(house.run_dir) as other:
        await other.state("a", "ready")
        other.busy("a", 5)
        house.worker.want("b")
        await house.worker.state("a", "draining")
    await house.worker.state("b", "ready")


async def test_what_was_seen_to_be_used_corrects_the_estimate(house: House, tmp_path: Path, tiny: Path) -> None:
    """140 MiB are said to be needed, a tenth of that is used: now two fit, and after a restart as well."""
    house.adapter.memory = {"a": 140 * MIB, "b": 140 * MIB}
    specs = [EngineSpec(name, tiny, 512, engine="stand-in", load="demand", threads=2) for name in ("a", "b")]
    house.steward.apply(specs)
    house.worker.want("a")
    await house.worker.state("a", "ready")
    house.worker.want("a", 0)
    budget = Budget(tmp_path)
    prepared = prepare(specs[1], house.adapter, ())
    assert budget.need(specs[1], prepared).ram == 70 * MIB, "half of the estimate, and never less"
    assert budget.need(house.spec("a"), prepare(house.spec("a"), house.adapter, ())).ram == 100 * MIB


def test_what_was_remembered_and_is_broken_is_forgotten(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "engines-memory.json").write_bytes(b"{garbage")
    spec = EngineSpec("a", tiny, 512, engine="stand-in")
    budget = Budget(tmp_path)
    prepared = prepare(spec, StandIn(tmp_path), ())
    assert budget.need(spec, prepared) == prepared.need
    budget.saw(spec, Used(300 * MIB, 0))
    budget.saw(spec, Used(1 * MIB, 0))
    assert Budget(tmp_path).need(spec, prepared).ram == int(300 * MIB * 1.1), "the most that was ever seen"


async def test_memory_that_others_take_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "available", lambda: 90 * MIB)
    house.steward.apply([house.spec("a", load="demand")])
    house.worker.want("a")
    assert "90.0 MiB are free" in (await house.worker.state("a", "failed"))["error"]


async def test_names_that_are_not_there_yet_say_why(house: House) -> None:
    house.steward.apply(
        [], {"a": Absent("its file is gone"), "b": Absent("its weights are being pulled", pulling=True)}
    )
    found = await house.worker.state("a", "failed")
    assert (found["error"], found["lasting"]) == ("its file is gone", True)
    found = await house.worker.state("b", "pulling")
    assert found["error"] == "its weights are being pulled"
    house.steward.apply([house.spec("a")])
    await house.worker.state("a", "ready")
