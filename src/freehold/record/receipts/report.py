"""What went where in a time: receipts summed by label and sink, and by version of the rules.

Made in the walk that verifies the log, so a report is never of lines that nobody has checked. What was tried that must
not work, the negative tests, is read from a file that `make test-noninterference` writes (`Tests`).
"""

from pathlib import Path

import msgspec
from msgspec import Struct, field

from freehold.errors import BadRequest
from freehold.record.receipts.leaf import Call, Leaf


class Flow(Struct, frozen=True):
    """What kind of call a sum is of."""

    label: str
    owned: bool
    provider: str
    region: str
    model: str
    host: str
    clearance: str
    key: str
    via: str
    declassifier: str


class Sum(Struct):
    """Calls, bytes of bodies out and in, and how they ended."""

    calls: int = 0
    out: int = 0
    back: int = 0
    failed: int = 0
    """Calls that brought no answer: what was sent was sent all the same."""

    def add(self, leaf: Call) -> None:
        self.calls += 1
        self.out += leaf.out
        self.back += leaf.back
        self.failed += leaf.outcome not in ("ok", "sent", "blocked")


class Rules(Struct):
    """The time in which one version of the configuration was in force, as far as calls show it. Nanoseconds."""

    calls: int = 0
    first: int = 0
    last: int = 0


class Row(Struct):
    """One line of a report."""

    flow: Flow
    sum: Sum


class Summary(Struct):
    """Sums of the receipts from `since` until before `until`, Unix nanoseconds; None: from the first, to the last."""

    since: int | None = None
    until: int | None = None
    flows: dict[Flow, Sum] = field(default_factory=dict)
    policies: dict[str, Rules] = field(default_factory=dict)

    def add(self, leaf: Leaf) -> None:
        """Adds a line of the log, if it is a receipt of the time."""
        if not isinstance(leaf, Call):
            return
        if (self.since is not None and leaf.at < self.since) or (self.until is not None and leaf.at >= self.until):
            return
        flow = Flow(
            leaf.label, leaf.owned, leaf.provider, leaf.region, leaf.model, leaf.host, leaf.clearance, leaf.key,
            leaf.via, leaf.declassifier,
        )  # fmt: skip
        found = self.flows.get(flow)
        if found is None:
            found = self.flows[flow] = Sum()
        found.add(leaf)
        rules = self.policies.setdefault(leaf.policy, Rules(first=leaf.at, last=leaf.at))
        rules.calls += 1
        rules.first, rules.last = min(rules.first, leaf.at), max(rules.last, leaf.at)

    def rows(self) -> list[Row]:
        """Returns the sums, the most bytes out first."""
        found = [Row(flow, one) for flow, one in self.flows.items()]
        return sorted(found, key=lambda row: (-row.sum.out, -row.sum.calls, row.flow.label, row.flow.provider))


class Tests(Struct):
    """The negative tests: canaries sent through every endpoint and channel with faults on, and looked for in every sink
    that is not cleared for them."""

    at: str
    """When they ended, RFC 3339."""
    version: str
    """Version of Freehold."""
    passed: int
    failed: int
    canaries: int = 0
    """Canaries sent."""
    sinks: list[str] = field(default_factory=list)
    """Where they were looked for."""
    failures: list[str] = field(default_factory=list)
    scope: str = ""
    """How much was run: `full`, `short`, or the parts, such as `only direct`; besides, whether it was in strict
    mode, and what the machine did not allow. Empty in files from before it was written down."""


def read_tests(path: Path) -> Tests | None:
    """Returns what a file says of the negative tests, None where there is none. Raises BadRequest, OSError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tests)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise BadRequest(
            f"{path} does not hold results of negative tests: {error}",
            code="audit_tests",
            hint="make test-noninterference writes it again",
        ) from error
