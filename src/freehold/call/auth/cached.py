"""Something that expires: fetched once for all who wait for it, and renewed in the background before it does.

    ---- used ------------------------- | renewed in the background | not used any more | expired
                                        300 s before the end          30 s before the end

For what lives shorter than ten minutes the two are half and nine tenths of its life. While a renewal fails the old
value serves to its end, and the renewal is tried again every `PAUSE` seconds; when there is no value left, those who
ask hear the error, and for `HUSH` seconds the same one, so that a token endpoint in trouble is not asked by every
request.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from freehold.errors import FreeholdError

T = TypeVar("T")

EARLY = 300.0
LATE = 30.0
PAUSE = 10.0
HUSH = 1.0
"""Seconds, all of them."""


class Cached(Generic[T]):
    """`fetch` returns a value and the Unix time at which it expires (inf: never)."""

    __slots__ = ("_again", "_clock", "_due", "_end", "_failed_at", "_failure", "_fetch", "_task", "_value")

    def __init__(self, fetch: Callable[[], Awaitable[tuple[T, float]]], clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._value: T | None = None
        self._due = self._end = 0.0
        self._again = 0.0
        self._failure: FreeholdError | None = None
        self._failed_at = 0.0
        self._task: asyncio.Task[T] | None = None

    def get(self, now: float) -> T | None:
        """The value if it can be used at `now`. Starts a renewal when one is due; must run on the event loop then."""
        if now < self._due:
            return self._value
        if now >= self._end:
            return None
        if now >= self._again:
            self._again = now + PAUSE
            self._start()
        return self._value

    async def wait(self, now: float) -> T:
        """The value, fetched where there is none. Raises what `fetch` raised."""
        value = self.get(now)
        if value is not None:
            return value
        if self._failure is not None and 0 <= now - self._failed_at < HUSH:
            raise self._failure.with_traceback(None)
        # One who leaves does not take the answer away from the others.
        return await asyncio.shield(self._start())

    def close(self) -> None:
        """Gives up a renewal under way."""
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> "asyncio.Task[T]":
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or task.done() or task.get_loop() is not loop:
            task = self._task = loop.create_task(self._renew())
            task.add_done_callback(_heard)
        return task

    async def _renew(self) -> T:
        try:
            value, end = await self._fetch()
        except FreeholdError as failure:
            self._failure, self._failed_at = failure, self._clock()
            raise
        now = self._clock()
        life = max(end - now, 0.0)
        self._value = value
        self._due = end - min(EARLY, life / 2)
        self._end = end - min(LATE, life / 10)
        self._again = 0.0
        self._failure = None
        return value


def _heard(task: "asyncio.Task[T]") -> None:
    """A failure in the background is kept in `_failure`; nobody else needs to hear of it."""
    if not task.cancelled():
        task.exception()
