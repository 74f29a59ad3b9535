"""The way to an owned engine: fair turns, deadlines, what is told to whom, and that nobody keeps a place in vain."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.transport import Flight
from freehold.errors import ClientGone, EngineError
from freehold.own.events import Absent
from freehold.own.link import Report, Row, Server
from freehold.serve.engines import EngineTable
from freehold.serve.gates import Gate
from freehold.serve.published import Engine
from freehold.serve.queues import FairQueue, Waiter


def entry(state: str = "ready", number: int = 1, **more: Any) -> Engine:
    url = f"http://127.0.0.1:{1000 + number}/v1" if state in ("ready", "draining") else ""
    return Engine(state, url, "key", number=number, engine="llamacpp", **more)


def gate_of(tmp_path: Path, **settings: Any) -> Gate:
    return EngineTable(tmp_path, **settings).gate("a")


def flight(key: str = "") -> Flight:
    return Flight(asyncio.get_running_loop().time(), key)


def soon() -> float:
    return asyncio.get_running_loop().time() + 30.0


async def test_an_open_gate_keeps_nobody_waiting(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    gate.update(entry())
    one = flight()
    life = gate.enter(one)
    assert life is not None
    assert (life.row("a", 1.0).inflight, life.row("a", 1.0).begun) == (1, 1)
    one.let_go()
    one.let_go()
    assert (life.row("a", 1.0).inflight, life.row("a", 1.0).begun) == (0, 1)


async def test_a_model_that_is_being_pulled_says_so_and_when_to_come_again(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    waiting = asyncio.create_task(gate.wait(flight(), soon()))
    await asyncio.sleep(0)
    why = Absent("its weights are being pulled from acme/x", pulling=True).published()
    gate.update(msgspec.json.decode(msgspec.json.encode(why), type=Engine))
    for task in (waiting, asyncio.create_task(gate.wait(flight(), soon()))):
        with pytest.raises(EngineError) as caught:
            await task
        assert caught.value.code == "weights_pulling"
        assert caught.value.status == 503
        assert caught.value.retry_after
        assert "its weights are being pulled from acme/x" in caught.value.message
        assert "failed" not in caught.value.message
    assert gate.hopeless == "its weights are being pulled from acme/x"
    gate.update(entry())
    assert gate.enter(flight()) is not None


async def test_who_waits_is_let_in_when_the_engine_is_ready(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    waiting = [asyncio.create_task(gate.wait(flight(), soon())) for _ in range(5)]
    await asyncio.sleep(0)
    assert gate.report(1.0)[1] is not None
    for state in ("starting", "warming"):
        gate.update(entry(state))
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
    gate.update(entry())
    lives = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert {id(life) for life in lives} == {id(gate.life)}
    assert lives[0].row("a", 1.0).inflight == 5


async def test_no_more_than_the_engine_can_use_and_the_next_when_one_is_done(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    gate.update(entry(slots=2))
    first, second, third = flight(), flight(), flight()
    assert gate.enter(first)
    assert gate.enter(second)
    assert gate.enter(third) is None
    waiting = asyncio.create_task(gate.wait(third, soon()))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.let_go()
    assert await asyncio.wait_for(waiting, 5) is gate.life
    late = flight()
    assert gate.enter(late) is None, "a newcomer does not overtake"
    second.let_go()
    assert gate.enter(late) is not None


async def test_keys_take_turns(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    order: list[str] = []

    async def one(key: str, number: int) -> None:
        mine = flight(key)
        await gate.wait(mine, soon())
        order.append(f"{key}{number}")
        mine.let_go()

    tasks = [asyncio.create_task(one("greedy", n)) for n in range(6)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(one(key, n)) for n in range(2) for key in ("b", "c")]
    await asyncio.sleep(0)
    gate.update(entry(slots=1))
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert order == ["greedy0", "b0", "c0", "greedy1", "b1", "c1", "greedy2", "greedy3", "greedy4", "greedy5"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_the_queue_is_fair_and_loses_nobody(steps: list[tuple[str, bool]]) -> None:
    loop = asyncio.new_event_loop()
    queue = FairQueue()
    pushed: list[Waiter] = []
    for number, (key, leaves) in enumerate(steps):
        waiter = Waiter(Flight(0.0, key), float(number), loop.create_future())
        queue.push(waiter)
        pushed.append(waiter)
        if leaves:
            queue.remove(waiter)
            queue.remove(waiter)
            pushed.remove(waiter)
    assert len(queue) == len(pushed)
    assert queue.oldest == min((waiter.since for waiter in pushed), default=0.0)
    taken: list[Waiter] = []
    while (waiter := queue.pop()) is not None:  # type: ignore[assignment]
        taken.append(waiter)
    assert sorted(map(id, taken)) == sorted(map(id, pushed))
    for key in "abc":
        mine = [waiter.since for waiter in taken if waiter.key == key]
        assert mine == sorted(mine), "in order of arrival"
    for place, waiter in enumerate(taken):
        before = [other.key for other in taken[:place]]
        rivals = {other.key for other in taken[place:]}
        for rival in rivals:
            assert before.count(waiter.key) <= before.count(rival) + 1, "turns"
    loop.close()


async def test_a_wait_ends_with_a_reason_and_a_time_to_come_again(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, patience=0.05)
    gate.update(entry("starting", loads_in=7.0))
    with pytest.raises(EngineError) as caught:
        await gate.wait(flight(), soon())
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("engine_loading", 503, 7.0)
    assert caught.value.retry == "other"
    assert "is starting" in caught.value.message
    assert len(gate.queue) == 0


async def test_the_clients_own_patience_counts_too(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, patience=60.0)
    with pytest.raises(EngineError):
        await asyncio.wait_for(gate.wait(flight(), asyncio.get_running_loop().time() + 0.02), 5)


async def test_too_many_are_told_so_at_once(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, most_waiting=2)
    waiting = [asyncio.create_task(gate.wait(flight(), soon())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EngineError) as caught:
        await gate.wait(flight(), soon())
    assert caught.value.code == "engine_queue_full"
    assert caught.value.retry_after
    gate.update(entry())
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_nobody_waits_for_what_cannot_be(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    waiting = asyncio.create_task(gate.wait(flight(), soon()))
    await asyncio.sleep(0)
    gate.update(entry("failed", lasting=False, retry_at=time.time() + 1))
    await asyncio.sleep(0)
    assert not waiting.done(), "it is tried again within the time"
    gate.update(entry("failed", lasting=True, error="this is no model"))
    with pytest.raises(EngineError, match="this is no model") as caught:
        await waiting
    assert caught.value.code == "engine_failed"
    assert "this is no model" in (gate.hopeless or "")
    gate.update(entry("failed", retry_at=time.time() + 300, error="crashes"))
    assert "crashes" in (gate.hopeless or "")
    gate.update(entry("absent"))
    assert gate.hopeless is None


async def test_a_client_that_leaves_takes_nobodys_place(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    gone = flight()
    waiting = asyncio.create_task(gate.wait(gone, soon()))
    await asyncio.sleep(0)
    gone.abort(ClientGone("left"))
    with pytest.raises(ClientGone):
        await waiting
    assert len(gate.queue) == 0
    gate.update(entry(slots=1))
    assert gate.enter(flight()) is not None


async def test_one_that_is_cancelled_at_the_moment_of_its_turn(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    waiting = asyncio.create_task(gate.wait(flight(), soon()))
    await asyncio.sleep(0)
    gate.update(entry(slots=1))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gate.life is not None
    assert not gate.life.flights


async def test_a_swap_waits_for_those_who_are_inside(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    gate.update(entry())
    inside = flight()
    old = gate.enter(inside)
    gate.update(entry("draining"))
    assert gate.life is None
    rows, _ = gate.report(1.0)
    assert [(row.number, row.inflight) for row in rows] == [(1, 1)]
    gate.update(entry(number=2))
    assert gate.life is not None
    assert gate.life is not old
    inside.let_go()
    assert gate.closed == []


async def test_the_same_life_after_the_link_was_lost(tmp_path: Path) -> None:
    table = EngineTable(tmp_path)
    gate = table.gate("a")
    gate.update(entry())
    inside = flight()
    life = gate.enter(inside)
    table._lost()
    assert gate.enter(flight()) is None
    gate.update(entry())
    assert gate.life is life, "counts go on"
    table._lost()
    gate.update(msgspec.structs.replace(entry(), api_key="of another steward"))
    assert gate.life is not life


# The worker's end of the link, against the steward's end.


async def test_the_table_is_followed_and_answered(tmp_path: Path) -> None:
    heard: asyncio.Queue[tuple[int, Report]] = asyncio.Queue()
    server = Server(lambda worker, report: heard.put_nowait((worker, report)), lambda _worker: None)
    await server.start(tmp_path)
    table = EngineTable(tmp_path)
    following = asyncio.create_task(table.follow())

    async def until(met: Any) -> Report:
        async with asyncio.timeout(10):
            while not met(report := (await heard.get())[1]):
                pass
        return report

    def push(sequence: int, engines: dict[str, Engine], contended: bool = False) -> None:
        server.push(msgspec.json.encode({"sequence": sequence, "contended": contended, "engines": engines}))

    try:
        push(7, {"a": entry("absent", load="demand")})
        await until(lambda report: report.seen == 7)
        assert table.changed
        waiting = asyncio.create_task(table.gate("a").wait(flight(), soon()))
        want = (await until(lambda report: report.wants)).wants[0]
        assert (want.name, want.waiting) == ("a", 1)
        assert abs(want.oldest - time.monotonic()) < 5
        push(8, {"a": entry(number=3)}, contended=True)
        await asyncio.wait_for(waiting, 10)
        report = await until(lambda report: report.seen == 8 and report.rows)
        assert (report.rows[0].name, report.rows[0].number, report.rows[0].inflight) == ("a", 3, 1)
        assert [want.waiting for want in report.wants] == [0]
        life = table.gate("a").life
        assert life is not None
        push(9, {"a": entry("draining", number=3)})
        await until(lambda report: report.seen == 9)
        for one in list(life.flights):
            one.let_go()
        assert isinstance((await until(lambda report: report.rows)).rows[0], Row)
        await server.close()
        await asyncio.sleep(0.05)
        assert table.sequence == 0
        again = Server(lambda worker, report: heard.put_nowait((worker, report)), lambda _worker: None)
        await again.start(tmp_path)
        again.push(msgspec.json.encode({"sequence": 1, "contended": False, "engines": {"a": entry(number=1)}}))
        await until(lambda report: report.seen == 1)
        assert table.gate("a").life is not None
        await again.close()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_without_a_link_the_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "engines.json"
    file.write_bytes(msgspec.json.encode({"a": entry()}))
    table = EngineTable(tmp_path)
    assert table.gate("a").life is not None
    file.write_bytes(msgspec.json.encode({"a": entry("failed", lasting=True, error="gone")}))
    table._unlinked = time.monotonic() - 10
    table.refresh()
    assert "gone" in (table.gate("a").hopeless or "")
