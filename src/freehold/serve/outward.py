"""What goes outward, as receipts have it: the place of a target, and calls that are no attempt of their own.

An attempt's receipt comes from its intent and settlement (recorder.py, shadow.py). Further bodies of an attempt, and
fetches of what URLs point at, are each one entry, written before the first byte leaves. A fetch has no body; what can
carry something outward is its URL, so that is what is counted and digested. No region is known of such a place, and no
clearance was asked for.
"""

import time
from typing import TYPE_CHECKING, NamedTuple

from freehold.call.target import Target
from freehold.labels.rules import written
from freehold.record.receipts.sent import Outward, Sink

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway


class Source(NamedTuple):
    """On whose behalf: `name` begins the id of the call."""

    name: str
    request: str
    key: str
    label: str


def sink_of(gateway: "Gateway", target: Target) -> Sink:
    """Returns where calls of a target go, made once for each place that it has."""
    found: Sink | None = target.sink
    if found is None:
        deployment = target.deployment
        clearance = gateway.rulebook.rules.clearance(deployment.provider, deployment.owned, deployment.region)
        found = target.sink = Sink(target.pool.origin.authority, deployment.region or "", written(clearance))
    return found


def outward(gateway: "Gateway", kind: str, sink: Sink, source: Source, payload: bytes) -> None:
    """Writes the one entry of a call. Raises JournalError: then it must not be made."""
    journal = gateway.journal
    call = f"{source.name}-{kind}{journal.calls + 1}"
    sent = journal.sent(sink, call, payload)
    journal.append(Outward(kind, call, source.request, time.time_ns(), source.key, source.label, gateway.version, sent))
