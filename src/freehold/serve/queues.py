"""Requests that wait for one model, taken in turns by key.

Each key has its own line, and keys take turns: one who sends a thousand requests delays the others by one at a time.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from freehold.call.transport import Flight
from freehold.errors import FreeholdError

if TYPE_CHECKING:
    from freehold.serve.gates import Life


class Waiter:
    """One request. Its `future` is done when there is a `life` for it, or an `error`."""

    __slots__ = ("error", "flight", "future", "key", "life", "since")

    def __init__(self, flight: Flight, since: float, future: "asyncio.Future[None]") -> None:
        self.flight = flight
        self.key = flight.key
        self.since = since
        """`time.monotonic()`."""
        self.future = future
        self.life: Life | None = None
        self.error: FreeholdError | None = None

    def end(self, error: FreeholdError) -> None:
        if not self.future.done():
            self.error = error
            self.future.set_result(None)


class FairQueue:
    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter]:
        for line in self._lines.values():
            yield from line

    @property
    def oldest(self) -> float:
        """Since when the longest waiting has waited, 0.0 where nobody does: each line is in order of arrival."""
        return min((line[0].since for line in self._lines.values()), default=0.0)

    def push(self, waiter: Waiter) -> None:
        self._lines.setdefault(waiter.key, deque()).append(waiter)
        self._length += 1

    def pop(self) -> Waiter | None:
        """Takes the first of the key whose turn it is; that key is last then."""
        while self._lines:
            key, line = self._lines.popitem(last=False)
            waiter = line.popleft()
            if line:
                self._lines[key] = line
            self._length -= 1
            if not waiter.future.done():
                return waiter
        return None

    def remove(self, waiter: Waiter) -> None:
        """Does nothing where it has been taken already."""
        line = self._lines.get(waiter.key)
        if line is None or waiter not in line:
            return
        line.remove(waiter)
        self._length -= 1
        if not line:
            del self._lines[waiter.key]
