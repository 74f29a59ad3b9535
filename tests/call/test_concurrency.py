"""Adaptive concurrency: where the limit goes, and who waits how long for a place."""

import asyncio
import heapq
import itertools
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call import concurrency
from freehold.call.concurrency import FORGOTTEN, GENTLE, LEAST, SAMPLES, Limit, room
from freehold.call.target import Target
from freehold.call.transport import Flight
from freehold.call.watch import Watch
from freehold.errors import ClientGone, UpstreamOverloaded


def test_there_is_no_limit_until_one_shows() -> None:
    limit = Limit()
    for _ in range(1000):
        limit.answered(1.0, 500)
    assert limit.value == math.inf


def test_refusals_of_one_moment_count_once() -> None:
    limit = Limit()
    for inflight in range(100, 50, -1):
        limit.refused(0.0, 1.0, inflight)
    assert limit.value == 90.0
    limit.refused(2.0, 3.0, 80)
    assert limit.value == pytest.approx(72.0), "a call that was begun with the new limit tells something new"


def test_a_few_are_always_let_through() -> None:
    limit = Limit()
    for moment in range(200):
        limit.refused(moment + 0.5, moment + 1.0, 1)
    assert limit.value == LEAST


def test_it_grows_gently_then_faster_and_only_while_it_is_used() -> None:
    limit = Limit()
    limit.refused(0.0, 0.0, 100)
    assert limit.value == 90.0
    for _ in range(1000):
        limit.answered(1.0, 44)
    assert limit.value == 90.0, "nobody needs more"
    for _ in range(90):
        limit.answered(1.0, 90)
    assert 90.9 < limit.value < 91.1, "one more per round"
    for _ in range(91):
        limit.answered(GENTLE + 1.0, 91)
    assert limit.value > 180, "twice as many per round"
    limit.answered(FORGOTTEN + 1.0, 1)
    assert limit.value == math.inf


def simulate(capacity: int, offered: float, seconds: float, *, gradient: bool, service: float = 1.0) -> Any:
    """A deployment with `capacity` places, and requests that come `offered` times a second to a group where another
    takes what this one has no room for. With `gradient` it queues what it has no place for, otherwise it refuses it."""
    watch = Watch(owned=gradient)
    events: list[tuple[float, int, str, float]] = []
    number = itertools.count()
    for call in range(int(offered * seconds)):
        heapq.heappush(events, (call / offered, next(number), "come", 0.0))
    busy, queue, seen = 0, [], {"sent": 0, "refused": 0, "over": 0, "waits": [], "limits": []}
    while events:
        now, _, what, began = heapq.heappop(events)
        if what == "come":
            if watch.full:
                seen["over"] += 1
                continue
            seen["sent"] += 1
            watch.begin(now)
            if busy < capacity:
                busy += 1
                heapq.heappush(events, (now + service, next(number), "done", now))
            elif gradient:
                queue.append(now)
            else:
                heapq.heappush(events, (now + 0.01, next(number), "refused", now))
        elif what == "refused":
            seen["refused"] += 1
            watch.leave(now, began, crowded=True, well=True)
        else:
            busy -= 1
            seen["waits"].append(now - began)
            watch.streams(now - began, now)
            watch.succeed(now)
            if queue:
                busy += 1
                heapq.heappush(events, (now + service, next(number), "done", queue.pop(0)))
        seen["limits"].append(watch.limit)
    return SimpleNamespace(**seen, watch=watch)


def test_one_that_refuses_is_given_about_what_it_takes() -> None:
    """Three times too much is offered; without a limit two of three requests would be refused."""
    run = simulate(50, 150.0, 60.0, gradient=False)
    assert run.refused / (run.sent + run.over) < 0.03
    assert run.sent - run.refused > 0.85 * 50 * 60, "and is not left idle"


def test_one_that_queues_is_not_driven_into_a_queue_without_end() -> None:
    """Twice too much is offered; without a limit the last of 60 seconds would wait half a minute."""
    run = simulate(20, 40.0, 120.0, gradient=True)
    late = run.waits[-200:]
    assert sum(late) / len(late) < 4.0
    assert len(run.waits) > 0.9 * 20 * 115


def test_one_with_room_is_left_alone() -> None:
    for gradient in (False, True):
        run = simulate(100, 50.0, 60.0, gradient=gradient)
        assert (run.over, run.refused) == (0, 0)


@given(st.lists(st.floats(0.01, 100.0), min_size=SAMPLES, max_size=400), st.integers(1, 500))
def test_whatever_times_it_sees_the_limit_stays_sensible(times: list[float], inflight: int) -> None:
    limit = Limit(gradient=True)
    for now, seconds in enumerate(times):
        limit.took(seconds, float(now), inflight)
    assert limit.value >= LEAST
    assert limit.value == math.inf or limit.value <= 2 * inflight + 20


# Who waits


def full(inflight: int = 4) -> tuple[Target, Watch]:
    watch = Watch()
    for _ in range(inflight):
        watch.begin(0.0)
    watch._limit.refused(0.0, 0.0, 1)
    watch._limited()
    assert watch.full
    return cast("Target", SimpleNamespace(watch=watch, name="p/m")), watch


async def test_the_first_of_several_that_has_room_is_taken() -> None:
    (one, _), (two, watch) = full(), full()
    waiting = asyncio.create_task(room([one, two], Flight(0.0), math.inf))
    await asyncio.sleep(0)
    watch.succeed(1.0)
    assert await asyncio.wait_for(waiting, 5) is two
    assert not one.watch.room.waiting


async def test_turns_are_kept() -> None:
    target, watch = full()
    order: list[int] = []

    async def one(number: int) -> None:
        await room([target], Flight(0.0), math.inf)
        order.append(number)
        watch.begin(0.0)

    tasks = [asyncio.create_task(one(number)) for number in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
        watch.leave(0.0, 0.0)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert order == [0, 1, 2, 3, 4]


async def test_after_a_while_it_is_said_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "WAIT", 0.01)
    target, watch = full()
    watch.whole = 7.5
    with pytest.raises(UpstreamOverloaded) as told:
        await room([target], Flight(0.0), math.inf)
    assert (told.value.status, told.value.code, told.value.retry_after) == (503, "upstream_crowded", 7.5)
    assert "p/m (4 at a time)" in told.value.message
    assert not watch.room.waiting


async def test_a_client_that_leaves_does_not_keep_a_turn() -> None:
    target, watch = full()
    flight = Flight(0.0)
    waiting = asyncio.create_task(room([target], flight, math.inf))
    await asyncio.sleep(0)
    flight.abort(ClientGone("left"))
    with pytest.raises(ClientGone):
        await waiting
    assert not watch.room.waiting
