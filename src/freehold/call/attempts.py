"""A plan carried out: one attempt after another until somebody answers.

First each deployment of the plan gets its turn, in order; one that has as much to do as it can take is passed over
(concurrency.py), and those that have lately done badly come last (outliers.py). When all have failed, those whose error
says that the same place may answer later get up to `retries` more, after the pause they asked for (Retry-After) or a
growing one with jitter, as far as their budget goes. What may be sent again, and where, is one table: retries.py. A
failure never adds a deployment to the plan. Once the client has seen a byte of content nothing is tried again: a second
answer would be mixed into the first.

With a hedge the first two of the plan may run at the same time (hedge.py).

An engine that dies or is taken out of service while nothing of its answer has been seen is not the request's fault: it
is sent again, to the next deployment or to the engine's next life, up to `REPLAYS` times.
"""

import asyncio
from collections.abc import Awaitable, Sequence

from freehold.call.answer import Answer, Entry, Recorder
from freehold.call.attempt import USUAL, attempt, engine_failure
from freehold.call.concurrency import room
from freehold.call.hedge import Hedging, race
from freehold.call.operation import Operation, effects
from freehold.call.outliers import arranged
from freehold.call.retries import HEDGED, Effects, pause, verdict
from freehold.call.target import Target
from freehold.call.transport import Flight
from freehold.config.schema import Early
from freehold.errors import EngineError, FreeholdError, NoCandidate, UpstreamOverloaded

__all__ = ["Answer", "Entry", "Recorder", "call", "engine_failure"]

MAX_PAUSE = 20.0
"""Seconds. A provider that asks for more is not waited for: the client gets the error and its Retry-After at once."""
REPLAYS = 3
"""Whatever `retries` says: an engine is ours, and so is its death. But a request that kills engines is not sent for
ever."""
REPLAY_PAUSE = 0.1
"""Seconds until a request is sent again: by then it is known whether the engine has died."""


async def call(
    targets: Sequence[Target],
    operation: Operation,
    flight: Flight,
    recorder: Recorder,
    *,
    retries: int,
    total: float,
    hedge: Hedging | None = None,
    early: Early = USUAL,
    once: bool = False,
) -> Answer:
    """Tries `targets` in order. Raises the last error, which is the most telling one for the client.

    `total` is the number of seconds all attempts together may take. `once`: the client asked, by an Idempotency-Key,
    that nothing be carried out twice.
    """
    end = flight.started + total
    target = targets[0]
    if len(targets) == 1 and target.watch.inflight < target.watch.limit:
        try:
            return await attempt(target, operation, flight, recorder, 1, end, early)
        except FreeholdError as failure:
            course = _Course(targets, operation, flight, recorder, end, early, once)
            course.failed(target, failure)
    else:
        course = _Course(targets, operation, flight, recorder, end, early, once)
        answer = await course.each(hedge)
        if answer is not None:
            return answer
    return await course.again(retries)


class _Course:
    """What has come of a plan so far."""

    def __init__(
        self,
        targets: Sequence[Target],
        operation: Operation,
        flight: Flight,
        recorder: Recorder,
        end: float,
        early: Early,
        once: bool,
    ) -> None:
        self._targets = targets
        self._operation = operation
        self._flight = flight
        self._recorder = recorder
        self._end = end
        self._early = early
        self._once = once
        self._now = asyncio.get_running_loop().time
        self._made = 0
        """Attempts."""
        self._last: FreeholdError | None = None
        self._again: list[tuple[Target, FreeholdError]] = []
        """Who may be asked once more, and why."""

    @property
    def _effects(self) -> Effects:
        return "acts" if self._once else effects(self._operation)

    async def each(self, hedge: Hedging | None) -> Answer | None:
        """Gives each deployment its turn. Returns None when all have failed and some may be asked again."""
        waiting = list(arranged(self._targets, self._now()))
        if hedge is not None and len(waiting) > 1 and not waiting[0].watch.full and self._effects in HEDGED:
            delay = hedge.delay(waiting[0].watch, self._operation.peek.stream)
            if delay is not None:
                ran = await race(hedge, delay, waiting[0], waiting[1], self._flight, self._hedged)
                self._made = ran.made
                if ran.answer is not None:
                    ran.answer.attempts = ran.made
                    return ran.answer
                for target, error, self._flight.fate in ran.failed:
                    self.failed(target, error)
                waiting = waiting[ran.made :]
        crowded = []
        for target in waiting:
            if target.watch.full:
                crowded.append(target)
            elif (answer := await self._ask(target)) is not None:
                return answer
        while crowded:
            try:
                target = await room(crowded, self._flight, self._end)
            except UpstreamOverloaded as full:
                self._last = self._last or full
                break
            crowded.remove(target)
            if (answer := await self._ask(target)) is not None:
                return answer
        return None

    async def again(self, retries: int) -> Answer:
        """Asks once more those who may do better, `retries` times altogether."""
        repeats = 0
        while self._again:
            target, cause = self._again.pop(0)
            watch = target.watch
            if isinstance(cause, EngineError):
                if repeats >= max(retries, REPLAYS):
                    break
            elif repeats >= retries:
                break
            elif not watch.budget.take(watch.begun, self._now()):
                continue
            await self._pause(cause, repeats)
            repeats += 1
            if watch.full:
                await room([target], self._flight, self._end)
            if (answer := await self._ask(target)) is not None:
                return answer
        raise self._last or NoCandidate("nobody was asked")

    async def _ask(self, target: Target) -> Answer | None:
        """One attempt, and what follows from its failure."""
        if self._last is not None and self._now() >= self._end:
            raise self._last
        self._made += 1
        try:
            return await attempt(
                target, self._operation, self._flight, self._recorder, self._made, self._end, self._early
            )
        except FreeholdError as failure:
            self.failed(target, failure)
        return None

    def _hedged(self, target: Target, flight: Flight, number: int) -> Awaitable[Answer]:
        """An attempt of a race: it holds out until there is content."""
        return attempt(
            target, self._operation, flight, self._recorder, number, self._end, self._early, "hedge", patient=True
        )

    def failed(self, target: Target, failure: FreeholdError) -> None:
        """Raises `failure` where it ends the request."""
        self._made = max(self._made, 1)
        if isinstance(failure, NoCandidate):
            # The breaker has just opened: the failures that opened it say more.
            self._last = self._last or failure
            return
        self._last = failure
        flight = self._flight
        if flight.failure is not None and not flight.recover():
            raise failure
        allowed = verdict(failure, flight.fate, self._effects)
        if not allowed.other:
            raise failure
        if allowed.same:
            self._again.append((target, failure))

    async def _pause(self, failure: FreeholdError, repeats: int) -> None:
        """Waits before a repeat. Raises `failure` itself when the pause would be too long to be worth it."""
        seconds = REPLAY_PAUSE if isinstance(failure, EngineError) else pause(failure, repeats)
        if (failure.retry_after or 0) > MAX_PAUSE or self._now() + seconds >= self._end:
            raise failure
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _over, over)
        try:
            await self._flight.wait(over)
        finally:
            timer.cancel()


def _over(pause: "asyncio.Future[None]") -> None:
    if not pause.done():
        pause.set_result(None)
