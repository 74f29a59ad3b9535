"""A plan with a cascade, carried out: the first model answers, its answer is checked, on doubt the others are asked.

The first answer is held back until it has been checked (check/answers.py): a whole one as it is, a stream with every
byte that the client would have got, in its own dialect. If it passes it goes out, a stream all at once. On doubt, or
when the first model fails, the rest of the plan is carried out like any other, streaming as it comes. What holds:

- No answer of the first model reaches the client unless it has passed every check. A check that cannot be made is
  doubt; so is one whose answer is over `MOST_HELD` bytes. When everybody else fails then, the client gets that error,
  not the doubtful answer.
- Every call is journalled and billed, with its reason: `cascade: first`, `cascade: sample`, `cascade: doubt: schema`.
  What exactly was doubted (`$.amount is a string, not a number`) goes with the verdict, to the header and the outcome.
  Neither holds what an answer says.
- One deadline covers it all. The first model, its samples included, gets `FIRST_SHARE` of what is left of it, so that
  there is time to ask somebody else. A client that leaves ends whatever runs.
- What must not be done twice is not: see `excluded`. Such a request goes to the better models at once, and to the
  first one only when they have all failed.

While a stream is held back its client hears nothing, so a cascade's first model should be quick.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from freehold.call.attempts import Answer, Recorder, call
from freehold.call.heard import Heard, can_hear, gives_logprobs
from freehold.call.operation import Operation
from freehold.call.sample import Sample
from freehold.call.talk import Talk
from freehold.call.target import Target
from freehold.call.transport import Flight
from freehold.check import Verdict, judge
from freehold.check.agreement import decided, said
from freehold.config.schema import Early
from freehold.config.schema_routing import Cascade
from freehold.decide.cascade import Reliability, evidence
from freehold.decide.decision import Plan
from freehold.dialects.conversation import Conversation, Reply
from freehold.errors import FreeholdError, InternalError, ProviderError, UpstreamBroken, UpstreamTimeout

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

FIRST_SHARE = 0.5
"""Of the time that is left when the first model is asked."""
MOST_HELD = 16 * 1024 * 1024
MOST_KNOWN = 1_000
"""Pairs of route and first model whose checks are counted."""


class Legs(Recorder, Protocol):
    """What must be written down of a request that is made in several calls (serve/recorder.py)."""

    @property
    def begun(self) -> int:
        """Attempts so far, of all legs."""

    def leg(self, reason: str, told: str = "") -> Recorder:
        """For the attempts of the next `call`: they are counted on from those before, and made for `reason`. `told` is
        what the client is told of it, where that is more."""

    def set_aside(self, answer: Answer, failure: FreeholdError | None) -> None:
        """Settles an answer that the client does not get, and bills it; `failure` says what was wrong with it."""

    def checked(self, answer: Answer, verdict: Verdict, weight: float) -> None:
        """An answer was checked; `weight` is how much that says of its being right (see record/entries.py)."""


async def carry_out(
    gateway: "Gateway",
    decision: Plan,
    operation: Operation,
    flight: Flight,
    recorder: Legs,
    *,
    retries: int,
    total: float,
    early: Early,
) -> Answer:
    """Returns what the client gets, and raises, as `call` does. For plans without a cascade it is that."""
    targets = [gateway.target(deployment) for deployment in decision.attempts]
    rule = decision.cascade
    if rule is None or len(targets) < 2:
        return await call(targets, operation, flight, recorder, retries=retries, total=total, early=early)
    reason = excluded(operation, targets[0], rule)
    if reason is not None or not isinstance(operation, Talk):
        leg = recorder.leg(f"no cascade: {reason}")
        order = [*targets[1:], targets[0]]
        return await call(order, operation, flight, leg, retries=retries, total=total, early=early)
    first = _First(targets[0], operation, flight, recorder, rule, total)
    answer, verdict = await first.answer()
    if answer is not None:
        recorder.checked(answer, verdict, evidence(rule, passed=verdict.passed))
        gateway.shared.reliabilities.of(decision.route, targets[0].name).checked(verdict.passed)
        if verdict.passed:
            return answer
        _drop(answer, recorder, verdict)
    flight.let_go()
    flight.deadline = flight.started + total
    leg = recorder.leg(f"cascade: {verdict.brief}", f"cascade: {verdict.words}")
    better = await call(targets[1:], operation, flight, leg, retries=retries, total=total, early=early)
    better.attempts = recorder.begun
    return better


def excluded(operation: Operation, target: Target, rule: Cascade) -> str | None:
    """Why a request may not be answered by `target` first and by somebody else then, in words; None where it may.

    Nothing is asked twice that leaves something behind: answers that a provider stores (`store`, which OpenAI's
    Responses do unless told not to), responses in the background or in a stored conversation, tools that run at the
    provider. And there is no point in asking for an answer that cannot be checked.
    """
    if not isinstance(operation, Talk):
        return "only conversations are checked"
    conversation = operation.conversation
    wanted = {*(conversation.modalities or ())} - {"text"}
    if wanted:
        return f"{' and '.join(sorted(wanted))} cannot be checked"
    if any(tool.opaque is not None for tool in conversation.tools):
        return "its tools run at the provider, and would run twice"
    if conversation.previous is not None or conversation.unknown.keys() & _LASTING:
        return "it goes on from what a provider keeps"
    if not target.deployment.owned and _stored(conversation, target):
        return "its answer would be stored twice"
    if not can_hear(conversation, target):
        return f"answers of {target.name} cannot be read in this dialect"
    if "logprobs" in rule.checks and not gives_logprobs(conversation, target):
        return f"{target.name} gives no log-probabilities"
    if "agree" in rule.checks and conversation.n > 1:
        return "several answers were asked for, which are not compared with further ones"
    return None


_LASTING = frozenset({"background", "conversation", "prompt"})
"""Fields of Responses requests."""


def _stored(conversation: Conversation, target: Target) -> bool:
    if conversation.store is not None:
        return conversation.store
    return conversation.dialect == "responses" and target.speaks("responses")


class _First:
    """The first model's part in one request."""

    def __init__(
        self, target: Target, operation: Talk, flight: Flight, recorder: Legs, rule: Cascade, total: float
    ) -> None:
        self._target = target
        self._operation = operation
        self._flight = flight
        self._recorder = recorder
        self._rule = rule
        now = asyncio.get_running_loop().time()
        self._end = now + FIRST_SHARE * (flight.started + total - now)

    async def answer(self) -> tuple[Answer | None, Verdict]:
        """The answer, complete and held back, with the verdict on it; no answer where there was none.

        Raises only what ends the request: the client left, or this gateway was stopped.
        """
        heard = Heard(self._operation, logprobs="logprobs" in self._rule.checks)
        try:
            answer = await self._call(heard, "cascade: first")
        except FreeholdError as error:
            return None, self._failed(error)
        try:
            if answer.relay is not None:
                await self._hold_back(answer)
            verdict = await self._verdict(heard.answered())
        except FreeholdError as error:
            try:
                verdict = self._failed(error)
            except FreeholdError:
                _finish(answer, error)
                self._recorder.set_aside(answer, error)
                raise
        except BaseException:
            _finish(answer, InternalError("a held back answer was not read to its end"))
            raise
        return answer, verdict

    async def _call(self, operation: Operation, reason: str) -> Answer:
        leg = self._recorder.leg(reason)
        left = self._end - self._flight.started
        return await call([self._target], operation, self._flight, leg, retries=0, total=left)

    def _failed(self, error: FreeholdError) -> Verdict:
        """The doubt that a failure is. Raises it where nobody is left to answer to.

        A timeout aborts the flight; as there is time left for others, it goes on.
        """
        failure = self._flight.failure
        if failure is not None:
            if not isinstance(failure, UpstreamTimeout) or not self._flight.recover():
                raise failure
            self._flight.deadline = self._end
        return Verdict(False, "answer", f"{self._target.name} failed ({error.code})")

    async def _hold_back(self, answer: Answer) -> None:
        """Reads a stream to its end; what the client will get of it is then in `answer.first`."""
        relay, connection, flight = answer.relay, answer.connection, self._flight
        if relay is None or connection is None:
            return
        now = asyncio.get_running_loop().time
        held = [answer.first]
        size = len(answer.first)
        while relay.failed is None and (chunk := await connection.chunk()):
            flight.deadline = min(self._end, now() + self._target.timeouts.idle)
            held.append(relay.feed(chunk))
            size += len(held[-1])
            if size > MOST_HELD:
                raise UpstreamBroken(f"the answer is over {MOST_HELD} bytes, too long to be held back")
        if relay.failed is not None:
            raise UpstreamBroken(f"the provider failed in the middle of its answer: {relay.failed.message}")
        answer.first = b"".join(held)

    async def _verdict(self, reply: Reply) -> Verdict:
        verdict = judge(self._operation.conversation, reply, self._rule)
        if not verdict.passed or "agree" not in self._rule.checks:
            return verdict
        doubt = await self._disagreement(reply)
        if doubt is not None:
            return Verdict(False, "agree", doubt)
        return Verdict(True, f"{verdict.check}, agree" if verdict.check else "agree")

    async def _disagreement(self, reply: Reply) -> str | None:
        """Draws samples until it is decided whether they say what `reply` says; why they do not, None where they do."""
        rule, agree, differ = self._rule, 1, 0
        judged = said(reply.choices[0])
        if judged is None:
            return "it says nothing that could be compared"
        for number in range(1, rule.samples + 1):
            passes = decided(agree, differ, rule.samples, rule.agreement)
            if passes is not None:
                return None if passes else f"{agree} of {agree + differ} samples say the same"
            if await self._sampled(number) == judged:
                agree += 1
            else:
                differ += 1
        return f"{agree} of {agree + differ} samples say the same"

    async def _sampled(self, number: int) -> bytes | None:
        """What a further answer comes to; None where there was none."""
        self._flight.let_go()
        sample = Sample(self._operation, number)
        try:
            answer = await self._call(sample, "cascade: sample")
        except FreeholdError as error:
            self._failed(error)
            return None
        self._recorder.set_aside(answer, None)
        return said(sample.answered().choices[0])


def _drop(answer: Answer, recorder: Legs, verdict: Verdict) -> None:
    _finish(answer, None)  # that the answer is doubtful says nothing of how the deployment works
    recorder.set_aside(answer, ProviderError(verdict.words, code="cascade_doubt"))


def _finish(answer: Answer, failure: FreeholdError | None) -> None:
    """A stream that goes no further is over; a whole answer was when it came."""
    if answer.relay is not None:
        answer.over(failure, asyncio.get_running_loop().time())


class Reliabilities:
    """How the checks of a worker's cascades turned out, by route and first model. Nothing here outlives the worker."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Reliability] = {}

    def of(self, route: str, deployment: str) -> Reliability:
        key = (route, deployment)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = Reliability()
        return known

    def names(self) -> Sequence[tuple[str, str]]:
        """The pairs that something is known of."""
        return list(self._known)
