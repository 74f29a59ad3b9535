"""One pass over a text, then a closer look where there is something to look at.

    text ── UTF-8 ── lower case ── Aho-Corasick over the literals of all detectors ── places per detector
                          └─────── one RE2 over the shapes of numbers and addresses ── candidates

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
    """Raises ValueError for a literal that is empty."""

    def __init__(self, detectors: Sequence[Detector], sweeps: Sequence[Sweep]) -> None:
        self._sweeps = sweeps
        literals: dict[bytes, list[tuple[bytes, Detector]]] = {}
        needed: dict[bytes, list[Detector]] = {}
        for detector in detectors:
            for literal in detector.literals:
                exact = literal if detector.exact and literal != literal.lower() else b""
                literals.setdefault(literal.lower(), []).append((exact, detector))
            for literal in getattr(detector, "needs", ()):
                literals.setdefault(literal, [])
                needed.setdefault(literal, []).append(detector)
        self._owners = list(literals.values())
        self._needed = [tuple(needed.get(literal, ())) for literal in literals]
        self._needy = frozenset(detector for some in needed.values() for detector in some)
        self._automaton = BytesAhoCorasick(
            list(literals), matchkind=MatchKind.Standard, implementation=Implementation.DFA
        )

    def hits(self, view: View) -> list[Hit]:
        """Returns what all detectors find, in no order, overlaps and all."""
        hits: list[Hit] = []
        for detector, places in self._places(view).items():
            places.sort()  # they come in the order of their ends
            try:
                hits += detector.find(view, places)
            except Exception:
                hits.append(_failed(detector.name, view))
        for sweep in self._sweeps:
            try:
                hits += sweep.find(view)
            except Exception:
                hits.append(_failed(sweep.name, view))
        return hits

    def _places(self, view: View) -> dict[Detector, list[int]]:
        data = view.data
        owners = self._owners
        found: dict[Detector, list[int]] = {}
        seen: set[int] = set()
        for number, start, end in self._automaton.find_matches_as_indexes(view.low, overlapping=True):
            seen.add(number)
            for exact, detector in owners[number]:
                if exact and data[start:end] != exact:
                    continue
                places = found.get(detector)
                if places is None:
                    found[detector] = [start]
                else:
                    places.append(start)
        needy = self._needy.intersection(found)
        if needy:
            for detector in needy.difference(*(self._needed[number] for number in seen)):
                del found[detector]
        return found


def _failed(name: str, view: View) -> Hit:
    return Hit(ERROR, 0, len(view.data), name, 1.0)
