"""What was found, what it makes of a text's label, and which of two findings about the same characters stands.

Offsets count Unicode code points of the text that was given, as Python slices do: `text[finding.start:finding.end]`.

Two findings may name the same characters: an e-mail address in a URL with a password, a card number that also looks
like a phone number. Among findings about what a text says (secrets, personal data) one stands for each character: the
most specific rule, then the longest, then the surest. Findings about what a text does (injection, hidden characters,
exfiltration) stand beside them and beside each other: a link that carries a key away is both.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from freehold.labels import Label

DEFAULT_LABELS: Mapping[str, str] = {
    "secret": "restricted",
    "credit_card": "confidential+pci",
    "bank_account": "confidential",
    "iban": "confidential",
    "us_ssn": "restricted",
    "national_id": "restricted",
    "passport": "restricted",
    "driver_license": "restricted",
    "health_id": "restricted+phi",
    "date_of_birth": "confidential",
    "email": "confidential",
    "phone": "confidential",
    "ip_address": "internal",
    "mac_address": "internal",
    "hostname": "internal",
    "crypto_address": "internal",
    "prompt_injection": "public",
    "hidden_unicode": "public",
    "exfiltration": "public",
    "detector_error": "restricted",
}
"""Every type there is, and the label that what it names carries. `public` adds nothing: it is the lowest label.

Whether an attack is blocked is a matter of rules and actions, not of how sensitive a text is.
"""

ATTACKS = frozenset({"prompt_injection", "hidden_unicode", "exfiltration"})
ERROR = "detector_error"


class Hit(NamedTuple):
    """What a detector says: `start` and `end` are bytes of its view. Of two overlapping hits the higher `rank`
    stands.
    """

    type: str
    start: int
    end: int
    rule: str
    score: float
    rank: int = 1


class Finding(Struct, frozen=True, gc=False):
    """`start` and `end` are code points of the text; `score` is 0 to 1, how sure the rule is."""

    type: str
    start: int
    end: int
    rule: str
    score: float
    label: Label


def settled(hits: Iterable[Hit]) -> list[Hit]:
    """Returns the hits that stand, in the order of the text."""
    best = sorted(hits, key=_weight)
    taken = {kind: _Taken() for kind in ("", *ATTACKS)}
    standing = [hit for hit in best if hit.type == ERROR or taken[hit.type if hit.type in ATTACKS else ""].take(hit)]
    standing.sort(key=lambda hit: (hit.start, hit.end, hit.type))
    return standing


def _weight(hit: Hit) -> tuple[int, int, float, int, str]:
    return -hit.rank, hit.start - hit.end, -hit.score, hit.start, hit.rule


def label_of(findings: Iterable[Finding]) -> Label:
    """Returns the label of a text with these findings: the join of theirs."""
    label = Label()
    for finding in findings:
        label |= finding.label
    return label


class _Taken:
    """Which characters are spoken for. Disjoint intervals in order, so that taking one costs a binary search."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def take(self, hit: Hit) -> bool:
        place = bisect_right(self._starts, hit.start)
        if place and self._ends[place - 1] > hit.start:
            return False
        if place < len(self._starts) and self._starts[place] < hit.end:
            return False
        self._starts.insert(place, hit.start)
        self._ends.insert(place, hit.end)
        return True
