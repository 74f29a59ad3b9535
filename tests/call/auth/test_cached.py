"""What expires is fetched once for all, renewed early, and its failures are heard where they matter."""

import asyncio

import pytest

from freehold.call.auth.cached import EARLY, HUSH, LATE, PAUSE, Cached
from freehold.errors import UpstreamAuth


class Source:
    """Gives 1, 2, 3, ... for an hour each, or raises; waits for `gate` where there is one."""

    def __init__(self, life: float = 3600.0) -> None:
        self.now = 1000.0
        self.life = life
        self.fetched = 0
        self.failing = False
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> tuple[int, float]:
        self.fetched += 1
        number = self.fetched
        if self.gate is not None:
            await self.gate.wait()
        if self.failing:
            raise UpstreamAuth(f"no {number}")
        return number, self.now + self.life

    def cached(self) -> Cached[int]:
        return Cached(self, lambda: self.now)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_fetch_for_all_who_wait() -> None:
    source = Source()
    source.gate = asyncio.Event()
    cached = source.cached()
    assert cached.get(1000) is None
    waiting = [asyncio.create_task(cached.wait(1000)) for _ in range(20)]
    await settled()
    source.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 20
    assert source.fetched == 1
    assert cached.get(1001) == 1


async def test_one_who_leaves_takes_nothing_away() -> None:
    source = Source()
    source.gate = asyncio.Event()
    cached = source.cached()
    first, second = asyncio.create_task(cached.wait(1000)), asyncio.create_task(cached.wait(1000))
    await settled()
    first.cancel()
    await settled()
    source.gate.set()
    assert await second == 1
    assert first.cancelled()


async def test_it_is_renewed_behind_the_scenes() -> None:
    source = Source()
    cached = source.cached()
    await cached.wait(1000)
    end = 1000 + 3600
    assert cached.get(end - EARLY - 1) == 1
    await settled()
    assert source.fetched == 1
    source.now = end - EARLY + 1
    assert cached.get(source.now) == 1  # nobody waits
    assert cached.get(source.now) == 1
    await settled()
    assert source.fetched == 2
    assert cached.get(source.now) == 2


async def test_a_failing_renewal_is_tried_again_and_serves_to_the_end() -> None:
    source = Source()
    cached = source.cached()
    await cached.wait(1000)
    source.failing = True
    due, end = 4600 - EARLY, 4600.0
    for step in range(3):
        source.now = due + step * PAUSE
        assert cached.get(source.now) == 1
        assert cached.get(source.now + PAUSE / 2) == 1
        await settled()
        assert source.fetched == 2 + step
    assert cached.get(end - LATE - 1) == 1
    assert cached.get(end - LATE) is None
    source.now = end - LATE
    with pytest.raises(UpstreamAuth):
        await cached.wait(source.now)
    source.failing, source.now = False, source.now + HUSH
    await settled()
    assert await cached.wait(source.now) == source.fetched


async def test_a_failure_is_not_asked_for_again_at_once() -> None:
    source = Source()
    source.failing = True
    cached = source.cached()
    for _ in range(5):
        with pytest.raises(UpstreamAuth, match="no 1"):
            await cached.wait(source.now + HUSH / 2)
    assert source.fetched == 1
    source.now += HUSH
    with pytest.raises(UpstreamAuth, match="no 2"):
        await cached.wait(source.now)


async def test_what_lives_shortly_is_used_for_most_of_its_life() -> None:
    source = Source(life=100)
    cached = source.cached()
    await cached.wait(1000)
    assert cached.get(1049) == 1
    await settled()
    assert source.fetched == 1
    assert cached.get(1089) == 1
    await settled()
    assert source.fetched == 2
    source = Source(life=0)
    cached = source.cached()
    assert await cached.wait(1000) == 1  # the one who waited may use it
    assert cached.get(1000) is None


async def test_what_never_expires() -> None:
    source = Source(life=float("inf"))
    cached = source.cached()
    await cached.wait(1000)
    assert cached.get(1e12) == 1
    assert source.fetched == 1


def test_a_second_event_loop_is_no_trouble() -> None:
    source = Source()
    source.gate = asyncio.Event()
    cached = source.cached()

    async def leave() -> None:
        task = asyncio.create_task(cached.wait(1000))
        await settled()
        task.cancel()

    asyncio.run(leave())
    source.gate = None
    assert asyncio.run(cached.wait(1000)) == 2


async def test_closing_gives_up() -> None:
    source = Source()
    source.gate = asyncio.Event()
    cached = source.cached()
    cached.close()
    waiting = asyncio.create_task(cached.wait(1000))
    await settled()
    cached.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
