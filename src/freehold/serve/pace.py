"""How fast an owned engine is when nothing is in its way, from what it was seen to do.

Each answer tells how long its first token and all of it took, but with whatever it waited for inside the engine. So the
estimates lean to the fast side: a sample that is better than the estimate moves it by a quarter, a worse one by a
fiftieth. They follow a machine that has become slower, within some fifty answers.
"""

from collections.abc import Iterable

from msgspec import Struct

from freehold.own.measure import Cell

QUICK, SLOW = 0.25, 0.02
USUAL = 1 / 16
LEAST_READ = 64
"""Tokens: a shorter prompt says nothing of reading speed."""

LEAST_TIME = 1e-6
"""Seconds: nothing that is shorter was measured."""


class Pace(Struct, gc=False):
    """All 0.0 while unknown."""

    reading: float = 0.0
    """Tokens of prompts read per second."""
    first: float = 0.0
    """Seconds to the first token."""
    per_token: float = 0.0
    """Seconds per output token after it."""
    whole: float = 0.0
    """Seconds that a request takes as a rule, waiting and all: the mean, not the best."""

    @classmethod
    def measured(cls, cells: Iterable[Cell]) -> "Pace":
        """Returns what `freehold bench NAME` measured with one request at a time: known before the first answer."""
        pace = cls()
        for cell in cells:
            if cell.concurrency == 1 and cell.first is not None:
                first = cell.first.p50 / 1e3
                each = cell.between.p50 / 1e3 if cell.between is not None else 0.0
                written = round(cell.tokens_per_second * cell.seconds / max(1, cell.requests - cell.failed))
                pace.learn(cell.prompt, first, written, first + each * max(0, written - 1))
        return pace

    def learn(self, read: int, first: float, written: int, total: float) -> None:
        """Takes in one answer: tokens read and written, seconds to the first token and to the end."""
        if not LEAST_TIME < first <= total:
            return
        self.whole = total if not self.whole else self.whole + USUAL * (total - self.whole)
        self.first = _low(self.first, first)
        if read >= LEAST_READ:
            self.reading = 1.0 / _low(1.0 / self.reading if self.reading else 0.0, first / read)
        if written > 1 and total > first:
            self.per_token = _low(self.per_token, (total - first) / (written - 1))


def _low(before: float, sample: float) -> float:
    if not before:
        return sample
    return before + (QUICK if sample < before else SLOW) * (sample - before)
