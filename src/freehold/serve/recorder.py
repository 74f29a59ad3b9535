"""One request, written down: an intent and a settlement per attempt, one settled hold, one count in the metrics."""

import re
import time
from collections.abc import Sequence

from freehold.admit.keys import Principal
from freehold.admit.limits import Hold
from freehold.call.attempts import Answer
from freehold.call.target import Target
from freehold.classify import Facts
from freehold.classify.facts import GENERATES
from freehold.decide import Plan
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import FreeholdError
from freehold.record.entries import Intent, Settlement
from freehold.serve.exchange import Exchange, line
from freehold.serve.gateway import Gateway
from freehold.serve.quality import broke_schema

BYTES_PER_TOKEN = 4
_NOTHING = Usage()
_UNPRINTABLE = re.compile(r"[^ -~]")
"""Names of lost fields come from the client, and a header is a line of printable ASCII."""


def _named(*losses: Sequence[str]) -> str:
    """Each name once, in printable ASCII, at most 2,000 characters."""
    names = dict.fromkeys(name for some in losses for name in some)
    return _UNPRINTABLE.sub("?", ", ".join(names)[:2000])


class RequestRecorder:
    """Implements `call.attempts.Recorder`. `close` must run at the end, whatever happened."""

    __slots__ = (
        "_began",
        "_call",
        "_decision",
        "_endpoint",
        "_exchange",
        "_first",
        "_gateway",
        "_hold",
        "_known",
        "_principal",
        "_target",
        "_upstream",
        "_used",
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
        self._gateway = gateway
        self._endpoint = client
        self._exchange = exchange
        self._principal = principal
        self._known = known
        self._decision = decision
        self._hold = hold
        self._call = ""
        self._began = 0
        self._first = 0
        self._upstream = 0
        self._used = 0
        self._target: Target | None = None

    def begin(self, target: Target, attempt: int) -> str:
        """Writes the intent and returns the call's id. Raises when it cannot be written: then nothing may be called."""
        request_id = self._exchange.request_id
        self._call = call = f"{request_id}-{attempt}"
        self._target = target
        known, gateway, deployment = self._known, self._gateway, target.deployment
        now = time.time_ns()
        gateway.journal.append(
            Intent(
                call,
                request_id,
                now,
                attempt,
                self._principal.name,
                known.asked,
                deployment.name,
                deployment.provider,
                deployment.model,
                self._endpoint,
                deployment.owned,
                known.stream,
                known.input_tokens + known.output_tokens,
                gateway.version,
                self._decision.reason if attempt == 1 else "fallback",
            )
        )
        self._began = now
        self._first = 0
        return call

    def first(self) -> None:
        """The first content of a stream has come."""
        self._first = (time.time_ns() - self._began) // 1000

    def end(
        self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None, lost: str = ""
    ) -> None:
        """Writes the settlement of the attempt that `begin` started."""
        call, target = self._call, self._target
        if not call or target is None:
            return
        used = usage or _NOTHING
        total = (time.time_ns() - self._began) // 1000
        cached, written, written_1h = used.cache_read, used.cache_write_5m, used.cache_write_1h
        self._gateway.journal.append(
            Settlement(
                call,
                outcome,
                status,
                used.uncached,
                cached,
                written,
                written_1h,
                used.output,
                used.reasoning,
                used.audio_input,
                used.audio_output,
                used.estimated,
                self._first or total,
                total,
                receipt.id[:200] if receipt else "",
                receipt.model[:200] if receipt else "",
                error,
                lost,
            )
        )
        self._call = ""
        self._upstream += total
        self._used += used.uncached + cached + written + written_1h + used.output
        self._gateway.metrics.attempt(target.name, outcome)
        if target.engine is not None:
            self._gateway.shared.rollouts.count(target.name, self._known.asked, outcome, status, error, total)

    def finish(self, answer: Answer, failure: FreeholdError | None = None) -> None:
        """Settles the attempt that answered, from the provider's own count or, where it gave none, our estimate."""
        relay = answer.relay
        receipt = answer.receipt if relay is None else Receipt(relay.id, relay.model, relay.usage, None, None)
        usage = receipt.usage if receipt else None
        if usage is None:
            size = len(answer.body) if relay is None else relay.output_bytes
            if failure is None or size:
                output = size // BYTES_PER_TOKEN if self._known.kind in GENERATES else 0
                usage = Usage(uncached=self._known.input_tokens, output=output, estimated=True)
        lost = ""
        if not answer.passes:
            lost = _named(answer.losses, getattr(getattr(relay, "writer", None), "losses", ()))
        elif answer.losses:
            lost = _named(answer.losses)
        if failure is None:
            status = "200"
            self.end("ok", answer.status, usage, "", receipt, lost)
        else:
            status = str(failure.status)
            outcome = "cancelled" if failure.status == 499 else "failed"
            self.end(outcome, answer.status, usage, failure.code, receipt, lost)
        if answer.target.engine is not None and failure is None:
            if usage is not None and not usage.estimated:
                self._tell_engine(usage)
            if relay is None and "schema" in self._known.needs and (broken := broke_schema(answer.body)) is not None:
                self._gateway.shared.rollouts.signal(answer.target.name, "schema", bad=broken)
        gateway, deployment = self._gateway, answer.target.deployment
        gateway.metrics.observe(
            (deployment.name, deployment.provider, self._endpoint, status),
            int((gateway.now() - self._exchange.started) * 1e6),
            self._upstream,
            self._first,
            usage,
        )

    def _tell_engine(self, usage: Usage) -> None:
        flight = self._exchange.flight
        if flight is not None and flight.hold is not None:
            total = (time.time_ns() - self._began) / 1e9
            flight.hold.answered(usage.uncached, self._first / 1e6 or total, usage.output, total)

    def lines(self, answer: Answer) -> bytes:
        """Header lines: who answered, why, and what was lost on the way."""
        target, reason = answer.target, self._decision.reason
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
            lines += line(b"x-freehold-lost", _named(answer.losses).encode())
        return lines

    def close(self) -> None:
        """Settles what is still open; safe to call after everything went well."""
        if self._call:
            self.end("failed", 0, None, "internal_error", None)
        if self._hold is not None:
            self._hold.settle(self._used)
