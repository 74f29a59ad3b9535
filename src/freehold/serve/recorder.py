"""One request, written down: an intent and a settlement per attempt, settled holds, one count in the metrics.

A request is mostly one call with one attempt. It may be more: attempts that run side by side (call/hedge.py), and
several calls one after another (serve/cascade.py), each a `leg` with a reason of its own. Attempts are numbered over
all of them.
"""

import contextlib
import time

from msgspec import Struct

from freehold.admit.budget import MoneyHold
from freehold.admit.keys import Principal
from freehold.admit.limits import Hold
from freehold.call.attempts import Answer, Entry
from freehold.call.operation import Operation
from freehold.call.talk import Talk
from freehold.call.target import Target
from freehold.check import Verdict
from freehold.classify import Facts
from freehold.classify.facts import GENERATES
from freehold.decide import Plan
from freehold.decide.explain import header
from freehold.decide.money import at_most, charged
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import FreeholdError
from freehold.labels import Label
from freehold.record.entries import Decided, Intent, Outcome, Settlement
from freehold.record.receipts.sent import Sink
from freehold.serve.cache.ticket import Ticket
from freehold.serve.exchange import Exchange, line
from freehold.serve.gateway import Gateway
from freehold.serve.learning import decided, in_words
from freehold.serve.lost import known as in_known_words
from freehold.serve.lost import named
from freehold.serve.outward import Source, declassified, may_fetch, outward, sink_of
from freehold.serve.quality import broke_schema
from freehold.serve.repeats import Asked
from freehold.serve.safety.checks import BLOCKED, Checked
from freehold.serve.safety.guarding import Guarding
from freehold.serve.safety.marks import names_of
from freehold.serve.safety.noted import in_request
from freehold.serve.safety.refused import refusing
from freehold.serve.sessions import cached_next
from freehold.serve.sessions import named as called

BYTES_PER_TOKEN = 4
EXPLAIN = b"x-freehold-explain"
"""A request with this header gets its plan in words."""
CHECKS = b"x-freehold-checks"
"""What was found, by type, and what was done: never the thing itself."""
_NOTHING = Usage()


class Call(Struct):
    """One attempt, written down; `call.attempts.Entry`. Several of a request may be open at a time (call/hedge.py)."""

    recorder: "RequestRecorder"
    call: str
    target: Target
    began: int
    """Unix time in nanoseconds."""
    first: int = 0
    """Microseconds until the first content of a stream came."""
    open: bool = True
    received: int = 0
    """Bytes of answers."""
    found: str = ""
    """What was found in its answer."""

    def also(self, body: bytes) -> None:
        """Writes down one more body of the same attempt; what is answered to it counts for the attempt."""
        recorder = self.recorder
        outward(recorder.gateway, "part", sink_of(recorder.gateway, self.target), recorder.source(self.call), body)

    def end(
        self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None, lost: str = ""
    ) -> None:
        """Writes the settlement, unless there is one."""
        if not self.open:
            return
        self.open = False
        recorder, target = self.recorder, self.target
        gateway = recorder.gateway
        used = usage or _NOTHING
        total = (time.time_ns() - self.began) // 1000
        cached, written, written_1h = used.cache_read, used.cache_write_5m, used.cache_write_1h
        gateway.journal.append(
            Settlement(
                self.call, outcome, status, used.uncached, cached, written, written_1h, used.output, used.reasoning,
                used.audio_input, used.audio_output, used.estimated, self.first or total, total,
                receipt.id[:200] if receipt else "", receipt.model[:200] if receipt else "", error, lost, self.received,
                False, self.found,
            )
        )  # fmt: skip
        recorder.upstream += total
        if recorder.principal.budget is not None:
            recorder.charged += charged(target.deployment, used)
        recorder.used += used.uncached + cached + written + written_1h + used.output
        gateway.metrics.attempt(target.name, outcome)
        if target.engine is not None:
            gateway.shared.rollouts.count(target.name, recorder.known.asked, outcome, status, error, total)


class Leg:
    """Implements `call.attempts.Recorder` for one call of several. Its first attempt was made for `reason`."""

    __slots__ = ("_reason", "_recorder")

    def __init__(self, recorder: "RequestRecorder", reason: str) -> None:
        self._recorder = recorder
        self._reason = reason

    def begin(self, target: Target, attempt: int, why: str, body: bytes) -> Call:
        return self._recorder.write(target, self._reason if attempt == 1 else why, body)

    def fetching(self, host: str, url: str) -> None:
        self._recorder.fetching(host, url)

    def may_fetch(self, url: str) -> None:
        self._recorder.may_fetch(url)


class RequestRecorder:
    """Implements `call.attempts.Recorder` and `cascade.Legs`. `close` must run at the end, whatever happened."""

    __slots__ = (
        "_decided",
        "_decision",
        "_earlier",
        "_endpoint",
        "_exchange",
        "_hold",
        "_last",
        "_money",
        "_told",
        "asked",
        "asking",
        "begun",
        "charged",
        "gateway",
        "guarding",
        "known",
        "learns",
        "principal",
        "seen",
        "ticket",
        "upstream",
        "used",
    )

    def __init__(
        self,
        gateway: Gateway,
        client: str,
        exchange: Exchange,
        principal: Principal,
        known: Facts,
        decision: Plan,
        hold: Hold | None,
    ) -> None:
        self.gateway = gateway
        self._endpoint = client
        self._exchange = exchange
        self.principal = principal
        self.known = known
        self._decision = decision
        self._hold = hold
        self.upstream = 0
        """Microseconds spent waiting for providers."""
        self.used = 0
        """Tokens."""
        self._last: Call | None = None
        self._earlier: list[Call] = []
        """Attempts that were open when the last one began."""
        self.begun = 0
        """Attempts so far."""
        self._told = decision.reason
        """What the client is told of the reason."""
        self._decided: Decided | None = None
        self.asked: Asked | None = None
        self.learns = bool(decision.route) and gateway.learns(known.label)
        """Whether a route has decided, and something may be learned from it."""
        if decision.route:
            learns = self.learns and known.reading is not None
            predictor = gateway.rulebook.foresight.predictor.id if learns else None
            self._decided = decided(decision, known, ran=decision.ran, predictor=predictor)
        self.seen: Checked | None = None
        """What was found in the request."""
        self.guarding: Guarding | None = None
        """What looks at the answer."""
        self.asking: Operation | None = None
        """What is asked, where what is found in the answer raises the label of its conversation."""
        self.ticket: Ticket | None = None
        """Its part in the response cache."""
        self.charged = 0.0
        """US dollars, by the rates known here; the ledger does its own sums."""
        self._money: MoneyHold | None = None
        if principal.budget is not None:
            worst = at_most(decision.attempts[0], known)
            self._money = gateway.shared.budgets.hold(principal, worst or 0.0)

    def begin(self, target: Target, attempt: int, why: str, body: bytes) -> Call:
        """Writes the intent. Raises when it cannot be written: then nothing may be called."""
        return self.write(target, self._decision.reason if attempt == 1 else why, body)

    def fetching(self, host: str, url: str) -> None:
        """Writes down that `host` is asked for what a URL of this request points at."""
        outward(self.gateway, "fetch", Sink(host), self.source(self._exchange.request_id), url.encode())

    def may_fetch(self, url: str) -> None:
        """Raises PolicyError where the request's label does not let its URLs out."""
        with refusing(self.seen, self.known.label):
            may_fetch(self.gateway, self.known.label)

    def source(self, name: str) -> Source:
        """Returns for whom something is sent besides the attempts themselves."""
        return Source(name, self._exchange.request_id, self.principal.name, in_words(self.known.label))

    def leg(self, reason: str, told: str = "") -> Leg:
        """For the attempts of one more call, made for `reason`; `told` is what the client is told of it, if more."""
        self._told = told or reason
        return Leg(self, reason)

    def write(self, target: Target, reason: str, body: bytes) -> Call:
        """Writes the intent of one more attempt."""
        self.begun += 1
        request_id = self._exchange.request_id
        call = f"{request_id}-{self.begun}"
        known, gateway, deployment = self.known, self.gateway, target.deployment
        declassifier = "" if known.label in target.cleared else declassified(gateway, target, known)
        now = time.time_ns()
        gateway.journal.append(
            Intent(
                call, request_id, now, self.begun, self.principal.name, known.asked, deployment.name,
                deployment.provider, deployment.model, self._endpoint, deployment.owned, known.stream,
                known.input_tokens + known.output_tokens, gateway.version, reason, in_words(known.label), self._decided,
                gateway.journal.sent(target.sink or sink_of(gateway, target), call, body, declassifier),
                "" if self.seen is None else in_request(self.seen, declassifier),
            )
        )  # fmt: skip
        self._decided = None
        last = self._last
        if last is not None and last.open:
            self._earlier.append(last)
        self._last = last = Call(self, call, target, now)
        return last

    def first(self, answer: Answer) -> None:
        """The first content of a stream has come."""
        call = answer.entry
        call.first = (time.time_ns() - call.began) // 1000

    def finish(self, answer: Answer, failure: FreeholdError | None = None) -> None:
        """Settles the attempt that answered, and counts the request."""
        entry = answer.entry
        usage = self._settled(answer, failure)
        if self.guarding is not None and self.seen is not None:
            self.seen.told += tuple(self.guarding.count(answer, self.gateway.metrics.check))
            if self.asking is not None and not self.seen.ruling.monitor:
                self._raise_mark(self.guarding.label(answer), self.asking)
        status = "200"
        if failure is not None:
            status = str(failure.status)
            failure.counted = True
        else:
            if answer.target.engine is not None and usage is not None and not usage.estimated:
                self._tell_engine(usage, entry)
            self._judge(answer, entry.call)
            if self.known.session and usage is not None:
                deployment = answer.target.deployment
                tokens = cached_next(deployment.provider, usage)
                self.gateway.shared.sessions.note(self.known.session, deployment.name, tokens, time.time())
        gateway, deployment = self.gateway, answer.target.deployment
        gateway.metrics.observe(
            (deployment.name, deployment.provider, self._endpoint, status),
            int((gateway.now() - self._exchange.started) * 1e6),
            self.upstream,
            entry.first,
            usage,
        )

    def set_aside(self, answer: Answer, failure: FreeholdError | None) -> None:
        """Settles an answer that the client does not get, and bills it; `failure` says what was wrong with it."""
        self._settled(answer, failure)

    def _settled(self, answer: Answer, failure: FreeholdError | None) -> Usage | None:
        """Settles an answer from its provider's own count or, where it gave none, our estimate."""
        entry, relay = answer.entry, answer.relay
        receipt = answer.receipt if relay is None else Receipt(relay.id, relay.model, relay.usage, None, None)
        usage = receipt.usage if receipt else None
        if usage is None:
            size = len(answer.body) if relay is None else relay.output_bytes
            if failure is None or size:
                output = size // BYTES_PER_TOKEN if self.known.kind in GENERATES else 0
                usage = Usage(uncached=self.known.input_tokens, output=output, estimated=True)
        lost = ""
        if not answer.passes:
            lost = in_known_words(answer.losses, getattr(getattr(relay, "writer", None), "losses", ()))
        elif answer.losses:
            lost = in_known_words(answer.losses)
        guarding = self.guarding
        if guarding is not None:
            self.note(answer, guarding.noted(answer))
        if (guarding is not None and guarding.blocked(answer)) or (failure is not None and failure.code == BLOCKED):
            entry.end("blocked", answer.status, usage, BLOCKED, receipt, lost)
        elif failure is None:
            entry.end("ok", answer.status, usage, "", receipt, lost)
        else:
            outcome = "cancelled" if failure.status == 499 else "failed"
            entry.end(outcome, answer.status, usage, failure.code, receipt, lost)
        return usage

    def note(self, answer: Answer, found: str) -> None:
        """Writes down what was found in an answer, once it is settled."""
        entry = answer.entry
        if found and isinstance(entry, Call):
            entry.found = f"{entry.found},{found}" if entry.found else found

    def checked(self, answer: Answer, verdict: Verdict, weight: float) -> None:
        """A cascade's first answer was checked; `weight` is how much that says of its being right."""
        self._told = f"cascade: {verdict.words}"
        value, brief = float(verdict.passed), verdict.brief[:200]
        self.gateway.journal.append(Outcome(answer.entry.call, "cascade", value, weight, time.time_ns(), "", brief))

    def _raise_mark(self, found: Label, operation: Operation) -> None:
        """What was found in the answer is from now on part of its conversation."""
        known, gateway = self.known, self.gateway
        label = found if known.label is None else known.label | found
        if label == known.label:
            return
        conversation = None
        if isinstance(operation, Talk):
            with contextlib.suppress(FreeholdError):  # what cannot be read is known by what the client calls it
                conversation = operation.conversation
        names = names_of(called(self._exchange.headers), conversation)
        gateway.shared.marks.note(self.principal.name, names.note, label, gateway.rulebook.rules, time.time())

    def _judge(self, answer: Answer, call: str) -> None:
        """What the answer shows of its own quality, for canaries and for learning."""
        learning, routed = self.gateway.shared.learning, self.learns
        if routed:
            learning.answered(self.asked, call, self.gateway.now())
        owned = answer.target.engine is not None
        if answer.relay is None and (owned or routed) and "schema" in self.known.needs:
            broken = broke_schema(answer.body)
            if broken is not None and owned:
                self.gateway.shared.rollouts.signal(answer.target.name, "schema", bad=broken)
            if broken is not None and routed:
                learning.schema(call, broken=broken)

    def _tell_engine(self, usage: Usage, entry: Entry) -> None:
        flight = self._exchange.flight
        if flight is not None and flight.hold is not None:
            total = (time.time_ns() - entry.began) / 1e9
            flight.hold.answered(usage.uncached, entry.first / 1e6 or total, usage.output, total)

    def lines(self, answer: Answer) -> bytes:
        """Header lines: who answered, why, and what was lost on the way."""
        target, reason = answer.target, self._told
        lines = target.said.get(reason)
        if lines is None:
            if len(target.said) > 100:
                target.said.clear()
            lines = target.said[reason] = line(b"x-freehold-deployment", target.name.encode("ascii", "replace")) + line(
                b"x-freehold-reason", reason.encode("ascii", "replace")
            )
        if answer.attempts > 1:
            lines += b"x-freehold-attempts: %d\r\n" % answer.attempts
        if answer.losses:
            lines += line(b"x-freehold-lost", named(answer.losses).encode())
        if EXPLAIN in self._exchange.headers:
            lines += line(b"x-freehold-plan", header(self._decision))
        if self.seen is not None and self.seen.told:
            lines += line(CHECKS, ", ".join(self.seen.told).encode())
        if self.ticket is not None:
            lines += self.ticket.header
        return lines

    def close(self) -> None:
        """Settles what is still open; safe to call after everything went well."""
        if self.ticket is not None:
            self.ticket.close()
        last, self._last = self._last, None  # else the two would keep each other, and the request, alive
        if last is not None and last.open:
            last.end("failed", 0, None, "internal_error", None)
        for earlier in self._earlier:
            earlier.end("failed", 0, None, "internal_error", None)
        self._earlier = []
        if self._hold is not None:
            self._hold.settle(self.used)
