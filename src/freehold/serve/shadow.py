"""Shadow copies: what another owned model would have answered, asked for on the side and thrown away.

A copy is made when the client has its answer, and only into free places of an engine that is loaded: it waits for
nothing, loads nothing, and at most `MOST` run at a time in one worker. It is written into the journal like any call,
with the reason `shadow of own/NAME`, so that its tokens, times and failures can be compared; nobody reads its answer.
A copy goes only where `own.rollout.check_shadow` lets it: to models on this host.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from freehold.call.attempts import call
from freehold.call.operation import Operation
from freehold.call.target import Target
from freehold.call.transport import Flight
from freehold.classify import Facts
from freehold.decide import Deployment
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import FreeholdError, InternalError, UpstreamBroken
from freehold.labels import Kind
from freehold.own.rollout import check_shadow
from freehold.record.entries import Intent, Settlement
from freehold.record.receipts.sent import Sink
from freehold.serve.learning import in_words
from freehold.serve.outward import Source, declassified, may_fetch, outward, sink_of

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

MOST = 4


class Rule(Struct, frozen=True):
    """Of the requests that a deployment has answered, `percent` are copied to the deployment `to`."""

    to: str
    percent: float


class Shadows:
    """The copies of one worker. `rules` is by the name of the deployment that answered, such as `own/qwen3-8b`."""

    def __init__(self, rules: Mapping[str, Rule], chance: Callable[[], float] = random.random) -> None:
        """Raises Forbidden for a rule whose sink is not cleared: better no gateway than a leak."""
        for rule in rules.values():
            check_shadow(rule.to)
        self._rules = rules
        self._chance = chance
        self._running: set[asyncio.Task[None]] = set()

    def copy(
        self, gateway: "Gateway", answered: Deployment, operation: Operation, known: Facts, key: str, request_id: str
    ) -> None:
        """Makes a copy where a rule says so and there is room. Never raises and never waits."""
        rule = self._rules.get(answered.name)
        if rule is None or len(self._running) >= MOST or self._chance() * 100 >= rule.percent:
            return
        choice = gateway.catalog.find(rule.to)
        if choice is None or not _may(gateway, choice.members[0], known) or not _room(gateway, choice.members[0]):
            return
        recorder = ShadowRecorder(gateway, answered.name, known, key, request_id)
        task = asyncio.get_running_loop().create_task(_ask(gateway, choice.members[0], operation, known, recorder))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Ends the copies that still run."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def _may(gateway: "Gateway", deployment: Deployment, known: Facts) -> bool:
    """Whether a request may be copied there: under the label under which it came, since a copy gets no placeholders."""
    rules = gateway.rulebook.rules
    place = rules.clearance(deployment.provider, deployment.owned, deployment.region)
    return known.label is not None and rules.barred(known.label, Kind.SHADOWS, place) is None


def _room(gateway: "Gateway", deployment: Deployment) -> bool:
    """Whether an engine is loaded, works on less than half of what it can, and nobody waits for it."""
    if gateway.health(deployment) is not None:
        return False
    gate = gateway.gate(deployment)
    life = gate.life
    return life is not None and not gate.queue and 2 * len(life.flights) < life.limit


async def _ask(
    gateway: "Gateway", deployment: Deployment, operation: Operation, known: Facts, recorder: "ShadowRecorder"
) -> None:
    flight = Flight(gateway.now(), "shadow", known)
    total = gateway.config.timeouts.total
    try:
        async with asyncio.timeout(total):
            answer = await call([gateway.target(deployment)], operation, flight, recorder, retries=0, total=total)
            relay, connection = answer.relay, answer.connection
            if relay is None or connection is None:
                recorder.end("ok", answer.status, answer.receipt.usage if answer.receipt else None, "", answer.receipt)
                return
            failure: FreeholdError | None = InternalError("a copy was not read to its end")
            try:
                while relay.failed is None and (chunk := await connection.chunk()):
                    relay.feed(chunk)
                relay.close()
                failure = None
            finally:
                answer.over(failure, gateway.now())
            sound = relay.failed is None and relay.complete
            recorder.end(
                "ok" if sound else "failed",
                answer.status,
                relay.usage,
                "" if sound else UpstreamBroken.default_code,
                None,
            )
    except FreeholdError as error:
        recorder.end("failed", error.status, None, error.code, None)
    except TimeoutError:
        recorder.end("failed", 0, None, "timeout", None)
    finally:
        flight.let_go()
        recorder.end("cancelled", 0, None, InternalError.default_code, None)


class ShadowRecorder:
    """Implements `call.attempts.Recorder` and the `Entry` of its one attempt: journal only, no limits and no request
    metrics. `end` counts once."""

    def __init__(self, gateway: "Gateway", answered: str, known: Facts, key: str, request_id: str) -> None:
        self._gateway = gateway
        self._reason = f"shadow of {answered}"
        self._known = known
        self._key = key
        self._request = f"{request_id}-shadow"
        self.call = ""
        self._open = False
        self.began = 0
        self.first = 0
        self.received = 0
        self._sink = Sink("")

    def begin(self, target: Target, attempt: int, why: str, body: bytes) -> "ShadowRecorder":
        """Writes the intent."""
        known, deployment = self._known, target.deployment
        declassifier = declassified(self._gateway, target, known)
        self._sink = sink_of(self._gateway, target)
        self.began = time.time_ns()
        self.call, self._open = f"{self._request}-{attempt}", True
        self._gateway.journal.append(
            Intent(
                self.call, self._request, self.began, attempt, self._key, known.asked, deployment.name,
                deployment.provider, deployment.model, known.kind, deployment.owned, known.stream, 0,
                self._gateway.version, self._reason, in_words(known.label), None,
                self._gateway.journal.sent(self._sink, self.call, body, declassifier),
            )
        )  # fmt: skip
        return self

    def also(self, body: bytes) -> None:
        """Writes down one more body of the attempt."""
        outward(self._gateway, "part", self._sink, self._source(self.call), body)

    def fetching(self, host: str, url: str) -> None:
        """Writes down that a server is asked for what a URL points at."""
        outward(self._gateway, "fetch", Sink(host), self._source(self._request), url.encode())

    def may_fetch(self, url: str) -> None:
        """Raises PolicyError where the request's label does not let its URLs out."""
        may_fetch(self._gateway, self._known.label)

    def _source(self, name: str) -> Source:
        return Source(name, self._request, self._key, in_words(self._known.label))

    def end(
        self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None, lost: str = ""
    ) -> None:
        """Writes the settlement, if there is an intent without one."""
        if not self._open:
            return
        self._open = False
        used = usage or Usage()
        total = (time.time_ns() - self.began) // 1000
        self._gateway.journal.append(
            Settlement(
                self.call, outcome, status, used.uncached, used.cache_read, used.cache_write_5m, used.cache_write_1h,
                used.output, used.reasoning, used.audio_input, used.audio_output, used.estimated, total, total,
                receipt.id[:200] if receipt else "", receipt.model[:200] if receipt else "", error, lost, self.received,
            )
        )  # fmt: skip
