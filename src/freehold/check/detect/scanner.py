"""One pass over a text, then a closer look where there is something to look at.

    text ── UTF-8 ── lower case ── Aho-Corasick over the literals of all detectors ── places per detector
              └─────────────────── one RE2 over the shapes of numbers and addresses ── candidates

Clean text costs these two passes and nothing else. A detector is asked only when one of its literals was seen, with all
the places where; it looks around them and never further than its longest match, and where places lie close together it
reads the stretch once. So the whole is linear in the text, however the text is made.

A detector that raises is a hit of its own (`detector_error`): what was not looked at is not clean.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from freehold.check.detect.finding import ERROR, Hit
from freehold.check.detect.view import View


class Detector(Protocol):
    """`literals` are bytes in lower case as View.low has them, or, where `exact`, as View.data has them.

    `longest` is how many bytes what it finds can span.
    """

    @property
    def name(self) -> str: ...
    @property
    def literals(self) -> Sequence[bytes]: ...
    @property
    def exact(self) -> bool: ...
    @property
    def longest(self) -> int: ...

    def find(self, view: View, places: Sequence[int]) -> Iterable[Hit]: ...


class Sweep(Protocol):
    """A detector without literals: it reads every text, once, in linear time."""

    @property
    def name(self) -> str: ...
    @property
    def longest(self) -> int: ...

    def find(self, view: View) -> Iterable[Hit]: ...


class Scanner:
    """Detectors that are `weak` say nothing alone, so they are asked only where a strong one of their type found
    something: their words stand in ordinary text, and cost nothing there.

    Raises ValueError for a literal that is empty.
    """

    def __init__(self, detectors: Sequence[Detector], sweeps: Sequence[Sweep]) -> None:
        self._sweeps = sweeps
        weak = [one for one in detectors if getattr(one, "weak", False)]
        self._words = _Words([one for one in detectors if one not in weak])
        self._weak = _Words(weak)
        self._weak_types = frozenset(getattr(one, "type", "") for one in weak)

    def hits(self, view: View) -> list[Hit]:
        """Returns what all detectors find, in no order, overlaps and all."""
        hits: list[Hit] = []
        woken = self._words.woken(view)
        if woken:
            _ask(woken, view, hits)
            if hits and not self._weak_types.isdisjoint([hit.type for hit in hits]):
                _ask(self._weak.woken(view), view, hits)
        for sweep in self._sweeps:
            try:
                hits += sweep.find(view)
            except Exception:
                hits.append(_failed(sweep.name, view))
        return hits


class _Words:
    """The literals of some detectors, sought together."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        owners: dict[bytes, list[tuple[bytes, Detector]]] = {}
        for detector in detectors:
            for literal in _first(detector.literals):
                exact = literal if detector.exact and literal != literal.lower() else b""
                owners.setdefault(literal.lower(), []).append((exact, detector))
        self._owners = list(owners.values())
        find = None
        if owners:
            find = BytesAhoCorasick(
                list(owners), matchkind=MatchKind.Standard, implementation=Implementation.DFA
            ).find_matches_as_indexes
        self._find = find

    def woken(self, view: View) -> dict[Detector, list[int]]:
        """Returns the places where each detector's literals begin, in the order of the text."""
        found: dict[Detector, list[int]] = {}
        if self._find is None or not (matches := self._find(view.low, True)):
            return found
        data, owners = view.data, self._owners
        for number, start, end in matches:
            for exact, detector in owners[number]:
                if exact and data[start:end] != exact:
                    continue
                places = found.get(detector)
                if places is None:
                    found[detector] = [start]
                else:
                    places.append(start)
        return found


def _ask(woken: dict[Detector, list[int]], view: View, hits: list[Hit]) -> None:
    for detector, places in woken.items():
        if len(places) > 1:
            places.sort()  # they come in the order of their ends
        try:
            hits += detector.find(view, places)
        except Exception:
            hits.append(_failed(detector.name, view))


def _first(literals: Sequence[bytes]) -> list[bytes]:
    """Returns the literals without those that begin with another one: that one tells of the same places."""
    found: list[bytes] = []
    for literal in sorted(set(literals), key=len):
        if not literal.startswith(tuple(found)):
            found.append(literal)
    return found


def _failed(name: str, view: View) -> Hit:
    return Hit(ERROR, 0, len(view.data), name, 1.0)
