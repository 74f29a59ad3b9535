"""What is seen of deployments: engines through gates and the board, rented ones through attempts and their limits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.ratelimits import RateWindow
from freehold.call.transport import Flight
from freehold.classify.facts import Facts
from freehold.decide.catalog import Deployment
from freehold.decide.price import price
from freehold.serve.board import FRESH, ROWS, STEWARD, WORKERS, Board, Load
from freehold.serve.engines import EngineTable
from freehold.serve.gates import UNKNOWN_LOAD, Gate
from freehold.serve.pace import LEAST_TIME, Pace
from freehold.serve.pressure import EVERY, Pressure
from freehold.serve.published import Engine

OWNED = Deployment("own/a", "own", "a", "chat", True, input_price=0.0, output_price=0.0, slots=2)
RENTED = Deployment("groq/a", "groq", "a", "chat", input_price=1.0, output_price=1.0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Seen:
    inflight = 0
    limit = float("inf")
    first = per_token = failing = 0.0


def facts(prompt: int = 1000) -> Facts:
    return Facts("auto", frozenset(), prompt, 100)


def gate_of(tmp_path: Path, state: str = "ready", **more: Any) -> Gate:
    gate = EngineTable(tmp_path).gate("a")
    url = "http://127.0.0.1:1001/v1" if state == "ready" else ""
    gate.update(Engine(state, url, "key", number=1, engine="llamacpp", slots=4, **more))
    return gate


def flight(prompt: int = 1000) -> Flight:
    return Flight(asyncio.get_running_loop().time(), "", facts(prompt))


async def test_an_engines_requests_are_seen_at_once(tmp_path: Path) -> None:
    gate, clock = gate_of(tmp_path), Clock()
    pressure = Pressure({}, {}, clock=clock)
    assert (pressure.owned(OWNED, gate).inflight, pressure.owned(OWNED, gate).slots) == (0, 2)
    flights = [flight() for _ in range(6)]
    for one in flights[:4]:
        assert gate.enter(one) is not None
    assert pressure.owned(OWNED, gate).inflight == 4, "no time has passed"
    waiting = [asyncio.create_task(gate.wait(one, asyncio.get_running_loop().time() + 30)) for one in flights[4:]]
    await asyncio.sleep(0)
    assert (pressure.owned(OWNED, gate).inflight, pressure.owned(OWNED, gate).queue) == (4, 2)
    for one in flights[:4]:
        one.let_go()
    await asyncio.gather(*waiting)
    assert (pressure.owned(OWNED, gate).inflight, pressure.owned(OWNED, gate).queue) == (2, 0)


async def test_one_look_after_another_costs_nothing_while_nothing_changes(tmp_path: Path) -> None:
    gate, clock = gate_of(tmp_path), Clock()
    pressure = Pressure({}, {}, clock=clock)
    before = pressure.owned(OWNED, gate)
    assert pressure.owned(OWNED, gate) is before
    clock.now += 2 * EVERY
    assert pressure.owned(OWNED, gate) is not before


async def test_the_wait_is_that_for_prompts_before_and_for_places(tmp_path: Path) -> None:
    gate, clock = gate_of(tmp_path), Clock()
    pressure = Pressure({}, {}, clock=clock)
    first = flight(5000)
    life = gate.enter(first)
    assert life is not None
    assert pressure.owned(OWNED, gate).wait == 0.0, "nobody knows how fast it is"
    life.answered(1000, 2.0, 11, 4.0)  # 500 tokens a second read, 0.2 s a token written, 4 s in all
    clock.now += 1
    seen = pressure.owned(OWNED, gate)
    assert seen.wait == pytest.approx(5000 / 500)
    assert (seen.first, seen.per_token) == (pytest.approx(2.0), pytest.approx(0.2))
    first.let_go()
    flights = [flight(0) for _ in range(4)]
    for one in flights:
        gate.enter(one)
    clock.now += 60
    assert pressure.owned(OWNED, gate).wait == pytest.approx((4 - 2 + 1) / 2 * 4.0)


async def test_a_wait_that_is_over_is_not_forgotten_at_once(tmp_path: Path) -> None:
    gate, clock = gate_of(tmp_path), Clock()
    pressure = Pressure({}, {}, clock=clock)
    one = flight(5000)
    life = gate.enter(one)
    assert life is not None
    life.answered(1000, 2.0, 11, 4.0)
    clock.now += 1
    before = pressure.owned(OWNED, gate).wait
    one.let_go()
    assert pressure.owned(OWNED, gate).wait == before
    clock.now += 0.5
    assert 0.0 < pressure.owned(OWNED, gate).wait < before
    clock.now += 60
    assert pressure.owned(OWNED, gate).wait == 0.0


async def test_an_engine_that_must_load_is_worth_its_loading_time(tmp_path: Path) -> None:
    clock = Clock()
    pressure = Pressure({}, {}, clock=clock)
    gate = gate_of(tmp_path, "absent", load="demand", loads_in=12.5)
    assert pressure.owned(OWNED, gate).wait == 12.5
    gate.update(None)
    clock.now += 2 * EVERY
    assert pressure.owned(OWNED, gate).wait == UNKNOWN_LOAD
    gate.update(Engine("ready", "http://127.0.0.1:1001/v1", "key", number=2, slots=4))
    assert pressure.owned(OWNED, gate).wait == 0.0, "and nothing of it is left when it is there"


async def test_workers_see_each_others_requests_and_what_the_steward_hears(tmp_path: Path) -> None:
    clock = Clock()
    tables = [tmp_path / "one", tmp_path / "two"]
    for folder in tables:
        folder.mkdir()
    gates = [gate_of(folder) for folder in tables]
    boards = [Board(tmp_path / "board", column) for column in (1, 2)]
    steward = Board(tmp_path / "board", STEWARD)
    one, two = (Pressure({}, {}, board, clock) for board in boards)
    assert gates[0].enter(flight(700)) is not None
    assert one.owned(OWNED, gates[0]).inflight == 1
    steward.write("a", Load(cache=0.75), clock.now)
    seen = two.owned(OWNED, gates[1])
    assert (seen.inflight, seen.kv) == (1, 0.75)
    assert boards[1].others("a", clock.now).unread == 700
    clock.now += FRESH + 1
    assert two.owned(OWNED, gates[1]).inflight == 0, "who says nothing any more is gone"
    one.publish()
    clock.now += 2 * EVERY
    assert two.owned(OWNED, gates[1]).inflight == 1


async def test_work_spills_from_an_engine_that_is_busy_and_comes_back(tmp_path: Path) -> None:
    gate, clock = gate_of(tmp_path), Clock()
    pressure = Pressure({}, {}, clock=clock)

    def owned_is_cheaper() -> bool:
        owned = price(OWNED, facts(), pressure.owned(OWNED, gate))
        rented = price(RENTED, facts(), pressure.rented(RENTED))
        assert owned is not None
        assert rented is not None
        return owned.total < rented.total

    assert owned_is_cheaper()
    flights = [flight() for _ in range(4)]
    for one in flights:
        life = gate.enter(one)
        assert life is not None
        life.answered(1000, 0.5, 100, 4.0)
    assert not owned_is_cheaper()
    for one in flights:
        one.let_go()
    assert not owned_is_cheaper(), "not at the first gap"
    clock.now += 10
    assert owned_is_cheaper()


def test_a_rented_deployment_is_seen_through_its_calls_and_its_limits() -> None:
    clock, watch, window = Clock(), Seen(), RateWindow()
    pressure = Pressure({"groq/a": watch}, {"groq/a": window}, clock=clock)
    seen = pressure.rented(RENTED)
    assert (seen.slots, seen.first, seen.left) == (None, None, None)
    assert pressure.rented(RENTED) is seen
    watch.inflight, watch.limit, watch.first, watch.failing = 3, 7.9, 0.4, 0.25
    window.heard([(b"x-ratelimit-limit-requests", b"10"), (b"x-ratelimit-remaining-requests", b"1")], clock.now, 0.0)
    seen = pressure.rented(RENTED)
    assert (seen.inflight, seen.slots, seen.first, seen.failing, seen.left) == (3, 7, 0.4, 0.25, 0.1)
    assert Pressure({}, {}).rented(RENTED).left is None


def test_the_board_is_bounded_and_begins_afresh_where_it_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "board").write_bytes(b"something else")
    board, reader = Board(tmp_path / "board", 1), Board(tmp_path / "board", 2)
    for n in range(ROWS + 10):
        board.write(f"engine {n}", Load(1, 2, 3, 0.5), 10.0)
    found = [reader.others(f"engine {n}", 10.0) for n in range(ROWS + 10)]
    assert found.count(Load(1, 2, 3, 0.5)) == ROWS
    assert found.count(Load()) == 10
    Board(tmp_path / "board", WORKERS + 1).write("engine 0", Load(5), 10.0)
    assert reader.others("engine 0", 10.0) == Load(1, 2, 3, 0.5)
    board.write("engine 0", Load(1 << 40), 10.0)
    assert reader.others("engine 0", 10.0).inflight < 1 << 32
    for one in (board, reader):
        one.close()


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 100), st.integers(0, 1000), st.floats(0, 100))))
def test_speeds_stay_among_those_that_were_seen(answers: list[tuple[int, float, int, float]]) -> None:
    pace = Pace()
    for one in answers:
        pace.learn(*one)
    good = [one for one in answers if LEAST_TIME < one[1] <= one[3]]
    if not good:
        assert pace == Pace()
        return
    assert min(one[1] for one in good) * (1 - 1e-9) <= pace.first <= max(one[1] for one in good) * (1 + 1e-9)
    assert min(one[3] for one in good) * (1 - 1e-9) <= pace.whole <= max(one[3] for one in good) * (1 + 1e-9)


def test_a_pace_leans_to_what_an_engine_can_do() -> None:
    pace = Pace()
    for _ in range(50):
        pace.learn(1000, 1.0, 100, 3.0)
        pace.learn(1000, 9.0, 100, 20.0)
    assert pace.reading > 500
    assert pace.first < 2.5
    assert 9.0 < pace.whole < 14.0
