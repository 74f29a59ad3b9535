"""Hedged requests: a second deployment is asked when the first has not begun to answer after a while.

    first  ---------------------------- slow ----- X cut off, settled as cancelled
    second            (delay) ----- first content -----------> the client's answer

The delay is that of the rule, or learned: the time within which `quantile` of this deployment's answers had begun, as
this worker has seen them (Dean and Barroso, The Tail at Scale, 2013: the 95th percentile costs 5 % more calls). Before
enough has been seen there are no hedges. A streamed answer has begun with its first content, any other when it is
there. The first useful answer wins; the other is cut off in the same moment, and what it has cost until then is booked
under its own call id: its provider's count where there is one, else the prompt and what came of the answer, estimated.

At most `share` of the requests under a rule are hedged, whatever happens: a token bucket that each request fills by
`share` and a hedge empties by one, so that a provider which is slow altogether does not double the bill. A hedge that
could cost more than `price`, or of unknown price where one is set, is not made. Nor is one of a request that must not
be carried out twice (`HEDGED` in retries.py), or to a deployment that rests or has no room.

Both run on flights of their own: a client that leaves ends the first, which ends the second in the same turn of the
event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from freehold.call.answer import Answer, Overtaken
from freehold.call.retries import Fate
from freehold.call.target import Target
from freehold.call.transport import Flight
from freehold.call.transport.ticker import Ticker
from freehold.call.watch import Watch
from freehold.config.schema_routing import Hedge
from freehold.errors import FreeholdError

BURST = 5.0
"""Hedges that may be saved up."""
Ask = Callable[[Target, Flight, int], Awaitable[Answer]]
"""Makes an attempt: target, flight, its number."""


class Hedging:
    """Hedges under one rule, in one worker; kept for as long as the rule."""

    def __init__(self, rule: Hedge) -> None:
        self.rule = rule
        self.made = 0
        self.won = 0
        self._saved = 1.0
        self._ticker = Ticker()

    def delay(self, watch: Watch, stream: bool) -> float | None:
        """Counts a request, and returns after how many seconds it is hedged; None: never."""
        rule = self.rule
        self._saved = min(BURST, self._saved + rule.share)
        if self._saved < 1:
            return None
        if rule.after != "learned":
            return rule.after
        return watch.first_at(rule.quantile) if stream else watch.whole_at(rule.quantile)

    def take(self, target: Target, flight: Flight, now: float) -> bool:
        """Asks for one hedge at `target`."""
        watch = target.watch
        if self._saved < 1 or watch.full or (watch.breaker.tripped and watch.breaker.blocks(now)):
            return False
        if target.engine is not None and not target.engine.free:
            return False  # nothing is loaded, and nobody queued, for the sake of a hedge
        if self.rule.price is not None:
            dollars = most(target, flight)
            if dollars is None or dollars > self.rule.price:
                return False
        self._saved -= 1
        self.made += 1
        return True

    def watch(self, flight: Flight) -> None:
        """Keeps the deadlines of a flight."""
        self._ticker.add(flight)

    def forget(self, flight: Flight) -> None:
        self._ticker.flights.discard(flight)


def most(target: Target, flight: Flight) -> float | None:
    """The most that a call can cost in US dollars, by the tokens held for it; None where that is not known."""
    deployment, known = target.deployment, flight.known
    if deployment.owned:
        return 0.0
    if known is None or deployment.input_price is None or deployment.output_price is None:
        return None
    return (known.input_tokens * deployment.input_price + known.output_tokens * deployment.output_price) / 1e6


class Failed(NamedTuple):
    target: Target
    error: FreeholdError
    became: Fate


class Race(NamedTuple):
    """How it went: an answer, and why attempts have failed. `made`: attempts, one or two."""

    answer: Answer | None
    failed: tuple[Failed, ...]
    made: int


async def race(hedging: Hedging, delay: float, first: Target, second: Target, flight: Flight, ask: Ask) -> Race:
    """Asks `first`, and after `delay` seconds `second` as well. Raises only what ends the request: its client left, or
    this gateway stops."""
    other = _Other(hedging, second, flight, ask)
    timer = asyncio.get_running_loop().call_later(delay, other.start)
    failed: list[Failed] = []
    answer: Answer | None = None
    try:
        try:
            answer = await ask(first, flight, 1)
        except Overtaken:
            pass
        except FreeholdError as error:
            failed.append(Failed(first, error, flight.fate))
            if flight.failure is not None and not flight.recover():
                raise
            other.alone = True
        timer.cancel()
        if other.task is None:
            return Race(answer, tuple(failed), 1)
        if answer is None and not other.won:
            flight.deadline = float("inf")  # the other flight has one
            await flight.wait(other.task)
        elif answer is not None and other.won:  # both in one turn of the loop: the first was cut off already
            answer.drop(asyncio.get_running_loop().time(), _known(flight))
        elif answer is not None:
            return Race(answer, (), 2)
        if other.error is not None:
            failed.append(other.error)
        return Race(other.adopted(), tuple(failed), 2)
    finally:
        timer.cancel()
        await other.end()


class _Other:
    """The second attempt, in a task of its own."""

    def __init__(self, hedging: Hedging, target: Target, flight: Flight, ask: Ask) -> None:
        self._hedging = hedging
        self._target = target
        self._parent = flight
        self._flight = Flight(flight.started, flight.key, flight.known)
        self._ask = ask
        self._answer: Answer | None = None
        self.task: asyncio.Task[None] | None = None
        self.error: Failed | None = None
        self.won = False
        self.alone = False
        """The first has failed."""
        self._late = False
        """The first has answered."""

    def start(self) -> None:
        """The delay is over."""
        loop = asyncio.get_running_loop()
        if self._hedging.take(self._target, self._parent, loop.time()):
            self._hedging.watch(self._flight)
            self.task = loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            answer = await self._ask(self._target, self._flight, 2)
        except FreeholdError as error:
            self.error = Failed(self._target, error, self._flight.fate)
            return
        finally:
            self._hedging.forget(self._flight)
        if self._late or self._flight.failure is not None:
            answer.drop(asyncio.get_running_loop().time(), _known(self._flight))
            self._flight.let_go()
            return
        self._answer = answer
        self.won = True
        self._hedging.won += 1
        if not self.alone:
            self._parent.abort(Overtaken("another deployment has answered first"))

    def adopted(self) -> Answer | None:
        """Its answer, which from now on belongs to the request's own flight."""
        answer = self._answer
        if answer is not None:
            self._parent.take_over(self._flight)
            self._answer = None
        return answer

    async def end(self) -> None:
        """Cuts it off, unless its answer was adopted, and returns when it has been settled."""
        self._late = True
        task = self.task
        if task is None:
            return
        if not task.done():
            self._flight.abort(self._parent.failure or Overtaken("the first deployment has answered after all"))
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # is in its settlement; whoever waits for the other answer has no use for it
        if self._answer is not None:
            self._answer.drop(asyncio.get_running_loop().time(), _known(self._flight))
            self._flight.let_go()
            self._answer = None


def _known(flight: Flight) -> int:
    return flight.known.input_tokens if flight.known is not None else 0
