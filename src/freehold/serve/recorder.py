"""One request, written down: an intent and a settlement per attempt, one settled hold, one count in the metrics."""

import re
import time

from freehold.admit.keys import Principal
from freehold.admit.limits import Hold
from freehold.call.attempts import Answer
from freehold.call.target import Target
from freehold.classify import Facts
from freehold.decide import Plan
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import FreeholdError
from freehold.record.entries import Intent, Settlement
from freehold.serve.gateway import Gateway
from freehold.serve.snapshot import Snapshot

BYTES_PER_TOKEN = 4
_NOTHING = Usage()
_UNPRINTABLE = re.compile(r"[^ -~]")
"""Names of lost fields come from the client, and a header is a line of printable ASCII."""


class RequestRecorder:
    """Implements `call.attempts.Recorder`. `close` must run at the end, whatever happened."""

    __slots__ = (
        "_began",
        "_call",
        "_decision",
        "_endpoint",
        "_first",
        "_gateway",
        "_hold",
        "_known",
        "_principal",
        "_snapshot",
        "_target",
        "_upstream",
        "_used",
    )

    def __init__(
        self,
        gateway: Gateway,
        client: str,
        snapshot: Snapshot,
        principal: Principal,
        known: Facts,
        decision: Plan,
        hold: Hold | None,
    ) -> None:
        self._gateway = gateway
        self._endpoint = client
        self._snapshot = snapshot
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
        self._call = call = f"{self._snapshot.request_id}-{attempt}"
        self._target = target
        known = self._known
        now = time.time_ns()
        deployment = target.deployment
        self._gateway.journal.append(
            Intent(
                call,
                self._snapshot.request_id,
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
                known.held,
                self._gateway.version,
                self._decision.reason if attempt == 1 else "fallback",
            )
        )
        self._began = now
        self._first = 0
        return call

    def first(self) -> None:
        """The first content of a stream has come."""
        self._first = (time.time_ns() - self._began) // 1000

    def end(self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None) -> None:
        """Writes the settlement of the attempt that `begin` started."""
        if not self._call:
            return
        used = usage or _NOTHING
        total = (time.time_ns() - self._began) // 1000
        self._gateway.journal.append(
            Settlement(
                self._call,
                outcome,
                status,
                used.uncached,
                used.cache_read,
                used.cache_write_5m,
                used.cache_write_1h,
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
            )
        )
        self._call = ""
        self._upstream += total
        self._used += used.input + used.output
        if self._target is not None:
            self._gateway.metrics.attempt(self._target.name, outcome)

    def finish(self, answer: Answer, failure: FreeholdError | None = None) -> None:
        """Settles the attempt that answered, from the provider's own count or, where it gave none, our estimate."""
        relay = answer.relay
        if relay is None:
            receipt = answer.receipt
            usage = receipt.usage if receipt else None
            size = len(answer.body)
        else:
            receipt = Receipt(relay.id, relay.model, relay.usage, None, None)
            usage = relay.usage
            size = relay.output_bytes
        if usage is None and (failure is None or size):
            output = 0 if self._endpoint == "embeddings" else size // BYTES_PER_TOKEN
            usage = Usage(uncached=self._known.input_tokens, output=output, estimated=True)
        if failure is None:
            self.end("ok", answer.status, usage, "", receipt)
        else:
            outcome = "cancelled" if failure.status == 499 else "failed"
            self.end(outcome, answer.status, usage, failure.code, receipt)
        gateway, deployment = self._gateway, answer.target.deployment
        status = "200" if failure is None else str(failure.status)
        gateway.metrics.observe(
            (deployment.name, deployment.provider, self._endpoint, status),
            int((gateway.now() - self._snapshot.started) * 1e6),
            self._upstream,
            self._first,
            usage,
        )

    def headers(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        """Who answered, why, and what was lost on the way."""
        headers = [
            (b"x-freehold-deployment", answer.target.name.encode("ascii", "replace")),
            (b"x-freehold-reason", self._decision.reason.encode("ascii", "replace")),
        ]
        if answer.attempts > 1:
            headers.append((b"x-freehold-attempts", b"%d" % answer.attempts))
        if answer.losses:
            lost = ", ".join(dict.fromkeys(answer.losses))
            headers.append((b"x-freehold-lost", _UNPRINTABLE.sub("?", lost[:2000]).encode()))
        return headers

    def close(self) -> None:
        """Settles what is still open; safe to call after everything went well."""
        if self._call:
            self.end("failed", 0, None, "internal_error", None)
        if self._hold is not None:
            self._hold.settle(self._used)
