"""Calls without a receipt: holes in the workers' own counts.

A worker numbers its calls from 1, and receipts come in the order in which calls end. So a number that is missing below
one that has come belongs to a call that still runs, for a while; when its worker has ended, or a day later, or when ten
thousand later ones have come, it is a receipt that is missing. What is remembered is one number for each worker and
those that came early: as many as there are calls at once.
"""

from collections.abc import Callable
from typing import Final

from freehold.record.receipts.leaf import Call

LATE: Final = 86_400 * 10**9
"""Nanoseconds that a call may take."""
MOST_EARLY: Final = 10_000
"""Calls of one worker that may run at once."""


class _Count:
    """The calls of one worker that lives."""

    __slots__ = ("early", "next")

    def __init__(self) -> None:
        self.next = 1
        """All numbers below it have come, or have been told as missing."""
        self.early: dict[int, int] = {}
        """Numbers from `next` on that have come, and when their calls began."""


class Gaps:
    """Holes, told to `found` as (where, what)."""

    def __init__(self, found: Callable[[str, str], None]) -> None:
        self._found = found
        self._workers: dict[str, _Count] = {}

    def call(self, leaf: Call) -> None:
        """A receipt. One without a number is of a call whose intent was damaged: that is told, and leaves a hole."""
        if not leaf.seq:
            return
        count = self._workers.get(leaf.worker)
        if count is None:
            count = self._workers[leaf.worker] = _Count()
        if leaf.seq < count.next or leaf.seq in count.early:
            self._found(f"line {leaf.n:,}", f"call {leaf.seq} of {leaf.worker} is there twice, or too late")
            return
        if leaf.seq == count.next and not count.early:
            count.next += 1
            return
        count.early[leaf.seq] = leaf.at
        _advance(count)
        if len(count.early) > MOST_EARLY:
            self._missing(leaf.worker, count)

    def ended(self, worker: str) -> None:
        """All calls of a worker have come."""
        count = self._workers.pop(worker, None)
        while count is not None and count.early:
            self._missing(worker, count)

    def running(self, now: int) -> int:
        """Returns how many calls have not ended at the log's end; `now` is the time of its last line."""
        total = 0
        for worker, count in self._workers.items():
            while count.early and now - min(count.early.values()) > LATE:
                self._missing(worker, count)
            if count.early:
                total += max(count.early) - count.next + 1 - len(count.early)
        return total

    def _missing(self, worker: str, count: _Count) -> None:
        """Tells the first hole, and goes on behind it."""
        first = min(count.early)
        which = f"call {count.next}" if first == count.next + 1 else f"calls {count.next} to {first - 1}"
        self._found(f"worker {worker}", f"there is no receipt of {which}")
        count.next = first
        _advance(count)


def _advance(count: _Count) -> None:
    while count.next in count.early:
        del count.early[count.next]
        count.next += 1
