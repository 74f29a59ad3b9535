"""What a worker sees of one deployment: calls on their way, how long answers take, how often they fail.

Written to at the beginning and the end of every call, so it is a handful of additions; read by the ranker (as Signals),
by hedges (learned delays), by the breaker, the outlier rule and the concurrency limit that belong to it. Averages are
exponential: `first += (x - first) / 16`. Quantiles come from a histogram whose buckets grow by 19 % each, so a quantile
is off by at most that; when it is full it is halved, and old answers fade.
"""

import math
from bisect import bisect_left
from itertools import accumulate

from freehold.call.breaker import Breaker
from freehold.call.concurrency import Limit, Room
from freehold.call.outliers import DEAD, NOTICED, SLOWER, Window
from freehold.call.retries import Budget

_BOUNDS = tuple(0.001 * 2 ** (step / 4) for step in range(80))
"""Upper bounds in seconds: 1 ms to a quarter of an hour."""
FULL = 4000
"""Answers in a histogram before it is halved."""
ENOUGH = 20
"""Answers below which there is no quantile."""
_SHORT, _LONG = 16, 256
"""Answers that an average goes back, more or less: for what is now, and for what is usual."""


class Times:
    """A histogram of seconds that forgets. What is appended to `fresh` counts when somebody asks, or at `settle`."""

    __slots__ = ("_asked", "_counts", "_known", "_seen", "fresh", "total")

    def __init__(self) -> None:
        self.fresh: list[float] = []
        self._counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0
        self._asked = 0.0
        self._known = 0.0
        self._seen = 0

    def settle(self) -> None:
        """Sorts what is fresh into the histogram."""
        counts = self._counts
        for seconds in self.fresh:
            counts[bisect_left(_BOUNDS, seconds)] += 1
        self.total += len(self.fresh)
        self.fresh.clear()
        if self.total >= FULL:
            self._counts = [count // 2 for count in counts]
            self.total = sum(self._counts)

    def at(self, quantile: float) -> float | None:
        """Returns the bound below which this share of the times lies, None before `ENOUGH` of them.

        Asked for by every hedged request, so the last result is good until an eighth more has come.
        """
        if len(self.fresh) >= ENOUGH or not self._seen:
            self.settle()
        total = self.total
        if total < ENOUGH:
            return None
        if quantile == self._asked and 0 <= total - self._seen < self._seen / 8:
            return self._known
        bucket = bisect_left(list(accumulate(self._counts)), quantile * total)
        self._asked, self._seen = quantile, total
        self._known = _BOUNDS[min(bucket, len(_BOUNDS) - 1)]
        return self._known


class Watch:
    """One deployment, as one worker sees it. Times are seconds; 0.0 where nothing is known."""

    __slots__ = (
        "_limit", "_trouble", "_usual", "_window", "answered", "begun", "breaker", "budget", "failed", "failing",
        "first", "first_times", "inflight", "limit", "outlier", "per_token", "room", "share", "volume", "whole",
        "whole_times",
    )  # fmt: skip

    def __init__(self, breaker: Breaker | None = None, *, share: float = 0.5, volume: int = 20, owned: bool = False):
        """`share`: of at least `volume` recent calls that must fail for it to stand back (outliers.py). `owned`: its
        times tell how much it can take (concurrency.py)."""
        self.breaker = breaker or Breaker(5, 15.0)
        self.outlier = Breaker(1, self.breaker.cooldown)
        """Tripped: it stands back behind the others; it may be called all the same."""
        self.inflight = 0
        """Calls on their way; a stream until its end."""
        self.begun = 0
        """Calls since the start."""
        self.answered = 0
        """Calls that were answered well, streams to their end."""
        self.failed = 0
        """Calls that failed through its fault."""
        self.first = 0.0
        """To the first content of a stream, lately."""
        self.whole = 0.0
        """To the end of an answer that was not streamed, lately."""
        self.per_token = 0.0
        """Per token of output after the first; of whole answers, where no stream was seen, per token."""
        self.failing = 0.0
        """Share of failures lately."""
        self._limit = Limit(owned)
        self.limit = self._limit.value
        """Calls it may have on its way."""
        self.room = Room()
        self.budget = Budget()
        self.first_times = Times()
        self.whole_times = Times()
        self.share = share
        self.volume = volume
        self._usual = 0.0
        self._trouble = False
        """A success is told to whom it may concern: something failed lately, or a limit is in force."""
        self._window = Window()

    @property
    def full(self) -> bool:
        """Whether it has as much to do as it may."""
        return self.inflight >= self.limit

    def first_at(self, quantile: float) -> float | None:
        """Seconds within which this share of streams had begun; None while too little is known."""
        return self.first_times.at(quantile)

    def whole_at(self, quantile: float) -> float | None:
        """Seconds within which this share of answers that were not streamed were there; None while too little is
        known."""
        return self.whole_times.at(quantile)

    def ejected(self, now: float) -> str | None:
        """Why it stands back behind others, None where it does not."""
        if not self.outlier.tripped or not (seconds := self.outlier.blocks(now)):
            return None
        return f"stands back for {seconds:.0f} s: it fails too often, or has become slow"

    # A call, in order: `begin`, then `streams` if a stream has begun, then exactly one of the other three.

    def begin(self, now: float) -> None:
        self.inflight += 1
        self.begun += 1
        if self._trouble:
            if self.breaker.tripped:
                self.breaker.begin(now)
            if self.outlier.tripped and not self.outlier.blocks(now):
                self.outlier.begin(now)

    def streams(self, seconds: float, now: float) -> None:
        """The first content of a stream has come after `seconds`."""
        first, usual = self.first, self._usual
        self.first = first + (seconds - first) / _SHORT if first else seconds
        self._usual = usual + (seconds - usual) / _LONG if usual else seconds
        self.first_times.fresh.append(seconds)
        if seconds > SLOWER * usual and usual:
            self._slow(now)
        if self._limit.gradient:
            self._limit.took(seconds, now, self.inflight)
            self._limited()
        if self._trouble and self.breaker.tripped:
            self.breaker.begun()

    def succeed(self, now: float, whole: float = 0.0, tokens: int = 0, writing: float = 0.0) -> None:
        """The answer is complete: after `whole` seconds, if it was not a stream; it has `tokens` of output, written in
        `writing` seconds."""
        if self._trouble:
            self._well(now)
        self.inflight -= 1
        self.answered = answered = self.answered + 1
        if not answered & 63:
            self.first_times.settle()
            self.whole_times.settle()
        if whole:
            average = self.whole
            self.whole = average + (whole - average) / _SHORT if average else whole
            self.whole_times.fresh.append(whole)
            if self.first:
                return  # what streams say of its speed is better
            writing = whole
        if tokens:
            average = self.per_token
            self.per_token = average + (writing / tokens - average) / _SHORT if average else writing / tokens

    def _well(self, now: float) -> None:
        """A call went well where not all of them did."""
        if self.limit != math.inf:
            self._limit.answered(now, self.inflight)
            self._limited()
            self.room.freed(self.limit - self.inflight + 1)
        self.failing = self.failing * (1 - 1 / _SHORT) if self.failing > 1e-3 else 0.0
        if self.breaker.failures:
            self.breaker.succeed()
        if self.outlier.failures and self.outlier.rested(now):
            self.outlier.succeed()
        self._trouble = bool(self.failing or self.outlier.failures or self.limit != math.inf)

    def _limited(self) -> None:
        self.limit = self._limit.value
        self._trouble = self._trouble or self.limit != math.inf

    def fail(self, now: float, began: float, *, crowded: bool) -> None:
        """The call has failed through the deployment's fault. `crowded`: it may have had too much to do."""
        self._left(now, began, crowded)
        self._trouble = True
        self.failed += 1
        self.failing += (1 - self.failing) / _SHORT
        self.breaker.fail(now)
        share, calls = self._window.failed(now, self.answered, self.failed)
        if share >= DEAD and calls >= max(self.volume, self.breaker.limit):
            self.breaker.trip(now)
        elif self.outlier.tripped or (share >= self.share and calls >= self.volume):
            self.outlier.trip(now)

    def leave(self, now: float, began: float, *, crowded: bool = False, well: bool = False) -> None:
        """The call is over and says nothing of the deployment's health (its client left), or only that it is `well`."""
        self._left(now, began, crowded)
        if well:
            self.breaker.succeed()
        else:
            self.breaker.abandon()
        self.outlier.abandon()

    def _left(self, now: float, began: float, crowded: bool) -> None:
        if crowded:
            self._limit.refused(began, now, self.inflight)
            self._limited()
        self.inflight -= 1
        if self.room.waiting:
            self.room.freed(self.limit - self.inflight)

    def _slow(self, now: float) -> None:
        if self.first > SLOWER * self._usual and self.first - self._usual > NOTICED:
            self._trouble = True
            self.outlier.trip(now)
