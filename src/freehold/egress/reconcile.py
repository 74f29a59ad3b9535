"""Three accounts of the same run, held against each other: what `freehold audit reconcile` does. Pure.

    receipts   what the workers say they asked to be sent, in a signed log that shows every change (record/receipts)
    record     what the egress process says it sent (records.py)
    counters   what the kernel saw leave, by address and port (witness.py)

Whoever would hide a call has to make all three say the same, and nobody writes more than one of them. Checked are:
every call that was sent has a receipt, and every receipt with an answer was sent; to the same host, the same number of
bytes; the kernel saw no place that the record does not have, no protocol but TCP and the resolver's, no fewer bytes
than were written down, and not more than what TCP and TLS add to them.

How much that may be. A packet's headers are counted with it, so what was carried lies between
`bytes - most headers x packets` and `bytes - fewest headers x packets`; the fewest are 40 bytes (IPv4 and TCP without
options; 60 with IPv6), the most 80 (100). What the record has must not be more than the upper bound, and the lower
bound not more than `SHARE` times the record and `REQUEST` for each request (a TLS record adds 22 to 29 bytes to at most
16 KiB, RFC 8446, section 5) and `CONNECTION` for each connection (a TLS handshake; with a client's certificate more).
Segments sent again count twice with the kernel: that is what the rest of `SHARE` is for.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from freehold.egress.records import Back, Fetched, Line, Opened, Own, RefusedLine, Sent
from freehold.egress.witness import Counted, Flow
from freehold.record.receipts.leaf import Call, Leaf

SHARE: Final = 1.05
REQUEST: Final = 64
CONNECTION: Final = 8 * 1024
LEDGER: Final = 60_000_000_000
"""Nanoseconds after which what has ended is expected to have its receipt."""
DNS: Final = 53
MOST_TOLD: Final = 100
_FEWEST: Final = {4: 40, 6: 60}
_MOST: Final = {4: 80, 6: 100}
_PART: Final = "part"
_ANSWERED: Final = ("ok", "blocked", "sent")
_ASIDE: Final = frozenset({"kept"})
"""Outward entries, besides fetches, whose request the egress process sends without a call's id."""


class Difference(Struct, frozen=True):
    """One thing that does not agree. `where`: a call, a host, an address."""

    where: str
    what: str


class Reconciled(Struct):
    """What came of it; bytes are of bodies where nothing else is said."""

    run: str
    witnessed: bool
    receipts: int = 0
    """Of the run, for calls that went outward."""
    receipts_out: int = 0
    sent: int = 0
    sent_out: int = 0
    heads_out: int = 0
    """Bytes of request lines and header lines."""
    fetched: int = 0
    own: int = 0
    """What the egress process asked for itself: tokens."""
    refused: int = 0
    unsent: int = 0
    """Receipts of calls that never left: no connection, refused, given up before."""
    running: int = 0
    """Calls whose receipt is not there yet, since they have not ended or the ledger is behind."""
    connections: int = 0
    damaged: int = 0
    """Lines of the record that cannot be read."""
    kernel_bytes: int = 0
    kernel_packets: int = 0
    resolver_bytes: int = 0
    carried: tuple[int, int] = (0, 0)
    """Bytes that TCP carried, at least and at most, by the kernel's count."""
    allowed: int = 0
    """Bytes that may have been carried at most, by the record."""
    places: list[Flow] = field(default_factory=list)
    hosts: dict[str, int] = field(default_factory=dict)
    """Bytes of bodies by host."""
    differences: list[Difference] = field(default_factory=list)
    more: int = 0

    def found(self, where: str, what: str) -> None:
        if len(self.differences) < MOST_TOLD:
            self.differences.append(Difference(where, what))
        else:
            self.more += 1

    @property
    def agrees(self) -> bool:
        return not self.differences


class _Of(Struct):
    """What one account says of a call."""

    host: str = ""
    bodies: int = 0
    out: int = 0
    answered: bool = False
    ended: bool = False
    at: int = 0


def reconcile(
    name: str,
    receipts: Iterable[Leaf],
    record: Iterable[Line | None],
    counted: Counted | None,
    *,
    began: int,
    ended: int,
    now: int = 0,
    current: bool = True,
) -> Reconciled:
    """Compares the accounts of one run. `began`, `ended` and `now` are Unix nanoseconds; `ended` 0 while it runs: then
    a call that is too young for a receipt is no difference. `counted` is None where there was no witness, and not
    `current` where it may be older than the record."""
    result = Reconciled(name, counted is not None)
    sent, asked, seen = _record(record, result)
    kept, aside = _receipts(receipts, sent, result, began, ended)
    for call, one in sent.items():
        receipt = kept.get(call)
        if receipt is None:
            if ended or (one.ended and one.at < now - LEDGER):
                result.found(call, f"{one.out:,} bytes were sent to {one.host}, and there is no receipt")
            else:
                result.running += 1
        else:
            _compare(call, receipt, one, result)
    for call, receipt in kept.items():
        if call not in sent:
            if receipt.answered:
                result.found(call, f"its receipt says {receipt.host} answered, and the egress process never sent it")
            else:
                result.unsent += 1
    for host in sorted(asked.keys() | aside.keys()):
        if ended and asked[host] > aside[host]:
            result.found(host, f"{asked[host]:,} requests of our own were sent, and there are {aside[host]:,} receipts")
    if counted is not None:
        _kernel(counted, seen, result, current)
    return result


def _record(
    record: Iterable[Line | None], result: Reconciled
) -> tuple[dict[str, _Of], dict[str, int], set[tuple[str, int]]]:
    """Returns calls by id, how many requests without one each host got, and the places that were connected to."""
    sent: dict[str, _Of] = {}
    numbers: dict[int, str] = {}
    aside: dict[str, int] = defaultdict(int)
    places: set[tuple[str, int]] = set()
    for line in record:
        match line:
            case None:
                result.damaged += 1
            case Sent():
                result.sent += 1
                result.sent_out += line.out
                result.heads_out += line.head
                result.hosts[line.host] = result.hosts.get(line.host, 0) + line.out
                if not line.call:
                    aside[line.host] += 1
                    continue
                numbers[line.number] = line.call
                one = sent.setdefault(line.call, _Of(line.host, at=line.at))
                one.bodies += 1
                one.out += line.out
            case Back():
                if (call := numbers.get(line.number)) is not None:
                    sent[call].ended = True
            case Fetched():
                result.fetched += 1
                result.heads_out += line.out
                aside[line.host] += 1
            case Own():
                result.own += 1
                result.heads_out += line.out
            case Opened():
                result.connections += 1
                places.add((line.address, line.port))
            case RefusedLine():
                result.refused += 1
            case _:
                numbers.clear()  # another process counts from 1 again
    if result.damaged:
        result.found("the record", f"{result.damaged:,} of its lines cannot be read")
    return sent, aside, places


def _receipts(
    receipts: Iterable[Leaf], sent: dict[str, _Of], result: Reconciled, began: int, ended: int
) -> tuple[dict[str, _Of], dict[str, int]]:
    kept: dict[str, _Of] = {}
    aside: dict[str, int] = defaultdict(int)
    for leaf in receipts:
        if not isinstance(leaf, Call) or leaf.at < began or (ended and leaf.at > ended) or leaf.provider == "own":
            continue
        call = leaf.call.rpartition(f"-{_PART}")[0] if leaf.via == _PART else leaf.call
        if leaf.via == _PART and call not in sent:
            continue  # a further body for an owned engine, or of a call that never left
        if leaf.via and leaf.via != _PART:
            if leaf.via == "fetch" or leaf.via in _ASIDE:
                result.receipts += 1
                aside[leaf.host] += 1
            continue
        result.receipts += 1
        result.receipts_out += leaf.out
        one = kept.setdefault(call, _Of(leaf.host))
        one.bodies += 1
        one.out += leaf.out
        if leaf.via != _PART:
            one.host, one.answered = leaf.host, leaf.outcome in _ANSWERED
    return kept, aside


def _compare(call: str, receipt: _Of, sent: _Of, result: Reconciled) -> None:
    if receipt.host and receipt.host != sent.host:
        result.found(call, f"its receipt names {receipt.host}, and it was sent to {sent.host}")
    less = sent.bodies < receipt.bodies and not receipt.answered
    if sent.out > receipt.out or (sent.out < receipt.out and not less):
        result.found(call, f"its receipt has {receipt.out:,} bytes, and {sent.out:,} were sent")


def _kernel(counted: Counted, places: set[tuple[str, int]], result: Reconciled, current: bool) -> None:
    """Holds the counters against the record."""
    result.kernel_bytes, result.kernel_packets = counted.bytes, counted.packets
    result.places = counted.flows
    low = high = total = 0
    for flow in counted.flows:
        total += flow.bytes
        where = f"{flow.protocol} {flow.address}:{flow.port}"
        if flow.port == DNS and flow.protocol in ("udp", "tcp"):
            result.resolver_bytes += flow.bytes
            continue
        if flow.protocol != "tcp":
            result.found(where, f"{flow.bytes:,} bytes left by a protocol that nothing here speaks")
            continue
        if (flow.address, flow.port) not in places:
            result.found(where, f"{flow.bytes:,} bytes left to a place that the egress process never wrote down")
        family = 6 if ":" in flow.address else 4
        low += max(0, flow.bytes - _MOST[family] * flow.packets)
        high += max(0, flow.bytes - _FEWEST[family] * flow.packets)
    if total < counted.bytes:
        result.found("the kernel", f"{counted.bytes - total:,} bytes left to places that could not be counted apart")
    result.carried = (low, high)
    written = result.sent_out + result.heads_out
    requests = result.sent + result.fetched + result.own
    result.allowed = int(SHARE * written) + REQUEST * requests + CONNECTION * result.connections
    if current and high < written:
        result.found("the kernel", f"it saw {high:,} bytes carried at most, and {written:,} were written down as sent")
    if low > result.allowed:
        result.found("the kernel", f"it saw {low:,} bytes carried at least, and the record explains {result.allowed:,}")
