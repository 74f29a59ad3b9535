"""What goes outward: whether it may, and what receipts have of it.

An attempt's receipt comes from its intent and settlement (recorder.py, shadow.py). Further bodies of an attempt, and
calls that are no attempt (the fetch of a URL, a token, a response that a provider keeps), are each one entry, written
before the first byte leaves. A fetch has no body; what can carry something outward is its URL, so that is what is
counted and digested.

Whether it may go there is asked here once more, right before it is written down, whoever has planned it: what is not
written down is not sent, so nothing is sent that was not asked about.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from freehold.call.target import Target
from freehold.call.transport.fetch import fetch
from freehold.classify import Facts
from freehold.errors import InternalError, PolicyError
from freehold.labels import UNKNOWN, Kind, Label, may_flow
from freehold.labels.rules import written
from freehold.record.entries import Entry
from freehold.record.receipts.sent import Outward, Sink

if TYPE_CHECKING:
    from freehold.record.journal import Journal
    from freehold.serve.gateway import Gateway

MOST_CLEARED = 64
"""Labels that are remembered for a target: clients choose what they claim."""


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


def declassified(gateway: "Gateway", target: Target, known: Facts) -> str:
    """Returns what has lowered the label under which a request goes to a target, "" where nothing has.

    Raises InternalError where it may not go there under that label: whoever planned the call has made a mistake.
    """
    label = known.label
    if label in target.cleared:
        return ""
    deployment, rules = target.deployment, gateway.rulebook.rules
    lowered = known.leaving(deployment.name) if known.leaving is not None else None
    if lowered is not None:
        label, declassifier = lowered
    else:
        label, declassifier = label or UNKNOWN, ""
    barred = may_flow(label, rules.clearance(deployment.provider, deployment.owned, deployment.region))
    if barred is not None:
        raise InternalError(
            f"{target.name} was to be asked, which it may not: {barred}", code="label_refused", hint="report this"
        )
    if lowered is None:
        if len(target.cleared) >= MOST_CLEARED:
            target.cleared.clear()
        target.cleared.add(label)
    return declassifier


def may_fetch(gateway: "Gateway", label: Label | None) -> None:
    """Raises PolicyError where the URLs of a request with this label may not be fetched. A placeholder is no help: a
    URL goes out as it came."""
    barred = gateway.rulebook.rules.barred(label or UNKNOWN, Kind.FETCH)
    if barred is not None:
        raise PolicyError(
            f"a URL of the request cannot be fetched: {barred}",
            hint="send the data itself, or set labels: {sinks: {fetch: ...}}",
            code="label",
        )


def outward(gateway: "Gateway", kind: str, sink: Sink, source: Source, payload: bytes) -> None:
    """Writes the one entry of a call. Raises JournalError: then it must not be made."""
    note(gateway.journal, gateway.version, kind, sink, source, payload)


def note(journal: "Journal", version: str, kind: str, sink: Sink, source: Source, payload: bytes) -> None:
    """As `outward`, for what no gateway has caused. `version` is that of the configuration in force."""
    call = f"{source.name}-{kind}{journal.calls + 1}"
    sent = journal.sent(sink, call, payload)
    entry: Entry = Outward(kind, call, source.request, time.time_ns(), source.key, source.label, version, sent)
    journal.append(entry)


class Receipted:
    """`call.transport.fetch.fetch`, with a receipt for each exchange, written when its connection stands.

    For calls that carry nothing of any request: tokens of clouds, the search for model servers. `journal` returns the
    process's journal, `version` the version of the configuration in force; `name` is the process's.
    """

    def __init__(self, journal: "Callable[[], Journal]", kind: str, name: str, version: Callable[[], str]) -> None:
        self._journal = journal
        self._kind = kind
        self._name = name
        self._version = version

    async def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        timeout: float = 10.0,
        limit: int = 1 << 20,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Raises as `fetch`, and JournalError where it cannot be written down."""

        def write() -> None:
            source = Source(f"{self._name}-{time.time_ns():x}", "", "", str(Label()))
            note(self._journal(), self._version(), self._kind, Sink(urlsplit(url).netloc), source, body or url.encode())

        return await fetch(method, url, headers, body, timeout=timeout, limit=limit, sending=write)
