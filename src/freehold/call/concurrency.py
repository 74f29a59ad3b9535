"""How many calls a deployment is given at a time, learned from how it takes them.

There is no limit until the deployment shows one. When it refuses work (429, 503, 529) or leaves a call without an
answer, its limit is set a little below what was on its way, and it grows again while it is used: additive increase,
multiplicative decrease, as in TCP (Chiu and Jain 1989) and in AIMDLimit of github.com/Netflix/concurrency-limits, from
which the guard is taken too that a limit which is not half used does not grow. What differs: calls last seconds, not
milliseconds, so many refusals of one moment count as one (a call that began before the last cut tells nothing new);
growth is one place per round for `GENTLE` seconds and then doubles per round; and after `FORGOTTEN` seconds without a
refusal there is no limit again.

Engines of our own hold work in a queue instead of refusing it. For them the time to the first content tells, by the
gradient of Gradient2Limit (same source):

    gradient = clamp(TOLERANCE * usual / recent, 0.5, 1)
    limit    = 0.8 * limit + 0.2 * (gradient * limit + sqrt(limit))

where `recent` is the mean of a window of `SAMPLES` answers, and `usual` follows it: downward at once, upward slowly and
only while the limit is not used, because a queue must not come to be taken for usual. At the least limit there is no
queue, so what is seen there is usual (Envoy measures its minRTT so). It is not used for rented models: when a provider
is slow because of others, fewer calls of ours would not make it faster, only leave fewer answered.

Over the limit the next deployment of the plan is asked at once. Only when none has room does a request wait, `WAIT`
seconds, and is then told when to come again.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from freehold.errors import UpstreamOverloaded

if TYPE_CHECKING:
    from freehold.call.target import Target
    from freehold.call.transport import Flight

LEAST = 4
"""A deployment that refuses even this many at a time does so for another reason than their number."""
CUT = 0.9
"""What is left of the limit after a refusal; Netflix's AIMDLimit has the same."""
GENTLE = 10.0
FORGOTTEN = 300.0
TOLERANCE = 2.0
SLOWLY = 300.0
"""Seconds in which `usual` comes up to what is seen, more or less."""
SAMPLES = 20
WAIT = 2.0
MOST_WAITING = 1000


class Limit:
    """The limit of one deployment. All times are loop time in seconds."""

    __slots__ = ("_cut_at", "_looked_at", "_most", "_recent", "_samples", "_usual", "gradient", "value")

    def __init__(self, gradient: bool = False) -> None:
        """`gradient`: slow answers tell too."""
        self.value = math.inf
        self.gradient = gradient
        self._cut_at = -math.inf
        self._looked_at = 0.0
        self._recent = 0.0
        self._samples = 0
        self._most = 0
        """Calls on their way at a time, the most of the window."""
        self._usual = 0.0

    def refused(self, began: float, now: float, inflight: int) -> None:
        """A call that began at `began` was refused, or got no answer; `inflight` were on their way, it included."""
        if began <= self._cut_at:
            return
        self._cut_at = now
        self.value = max(float(LEAST), CUT * min(self.value, inflight))

    def answered(self, now: float, inflight: int) -> None:
        """A call was answered; `inflight` were on their way, it included."""
        value = self.value
        since = now - self._cut_at
        if self.gradient:
            return  # it grows by `took`
        if since > FORGOTTEN:
            self.value = math.inf
        elif 2 * inflight >= value:
            self.value = value + (1 / value if since < GENTLE else 1.0)

    def took(self, first: float, now: float, inflight: int) -> None:
        """The first content of an answer came after `first` seconds, at `now`, while `inflight` were on their way."""
        self._recent += first
        self._samples += 1
        self._most = max(self._most, inflight)
        if self._samples < SAMPLES:
            return
        recent, most = self._recent / self._samples, self._most
        self._recent, self._samples, self._most = 0.0, 0, 0
        since, self._looked_at = now - self._looked_at, now
        if self._usual == 0.0:
            self._usual = recent
            return
        used = 2 * most >= self.value
        if recent < self._usual:
            self._usual += (recent - self._usual) / 4
        elif not used:
            self._usual += (recent - self._usual) * min(1.0, since / SLOWLY)
        elif self.value <= LEAST:
            self._usual = recent  # no queue is that short: this is how long it takes now
        gradient = max(0.5, min(1.0, TOLERANCE * self._usual / recent))
        value = self.value
        if value == math.inf:
            if gradient == 1.0:
                return
            value = float(most)
        if 2 * most < value or most < LEAST:
            return
        self.value = max(float(LEAST), 0.8 * value + 0.2 * (gradient * value + math.sqrt(value)))


class Room:
    """Requests that wait until one of several deployments has room."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()

    def freed(self, places: float) -> None:
        """`places` are free now: as many of those who wait may go on, first come, first served."""
        waiting = self.waiting
        while waiting and places >= 1:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                places -= 1


async def room(targets: Sequence["Target"], flight: "Flight", end: float) -> "Target":
    """Waits until one of `targets` has room, and returns it. Raises UpstreamOverloaded after `WAIT` seconds or at `end`
    (loop time)."""
    loop = asyncio.get_running_loop()
    late = min(end, loop.time() + WAIT)
    first = True
    while True:
        for target in targets:
            if not target.watch.full:
                return target
        now = loop.time()
        if now >= late or any(len(target.watch.room.waiting) >= MOST_WAITING for target in targets):
            raise _crowded(targets)
        turn: asyncio.Future[None] = loop.create_future()
        for target in targets:
            waiting = target.watch.room.waiting
            waiting.append(turn) if first else waiting.appendleft(turn)
        first = False
        timer = loop.call_at(late, _over, turn)
        try:
            await flight.wait(turn)
        finally:
            timer.cancel()
            for target in targets:
                if turn in target.watch.room.waiting:
                    target.watch.room.waiting.remove(turn)


def _over(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)


def _crowded(targets: Sequence["Target"]) -> UpstreamOverloaded:
    names = ", ".join(f"{target.name} ({target.watch.limit:.0f} at a time)" for target in targets)
    watch = targets[0].watch
    return UpstreamOverloaded(
        f"no more calls are given to {names} right now, because it could not take more",
        hint="try again in a moment, or give the route another deployment",
        code="upstream_crowded",
        retry_after=max(1.0, watch.whole or watch.first),
    )
