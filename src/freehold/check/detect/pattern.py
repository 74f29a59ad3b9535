"""A rule that is a pattern: literals that tell where to look, a regular expression of RE2, and a check of what it
found.

Patterns are bytes, read as Latin-1, which is the fastest that RE2 has; a letter beyond ASCII is its UTF-8 bytes, and
must not stand in a class. Every pattern has a longest match (`longest`): RE2 reads in linear time whatever the
pattern, but only a bounded one also bounds how far it reads past the end of a match, and so the sum over all matches.
It is also how many bytes a stream has to be held back. A test asks it of all of them.

Patterns are compiled when they are first wanted: most never are, and hundreds would cost a start half a second.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from freehold.check.detect.expression import Expression, Found, longest, starts_word
from freehold.check.detect.finding import Hit
from freehold.check.detect.view import View

Check = Callable[[str], float | None]
"""Takes the found value, returns its score or None where it is nothing."""

_NO_DIGITS = b"etaoinshrdlcumwfgypbvkjxqz ,.\n'\"-:;()_[]{}/!?*#&@$%+=<>|~^`\t"
"""What stands between a word and a number in most text, in lower case, the commonest first."""
_MANY = 24
"""From how many places on one pass over the text costs less than a look at each."""


class Pattern:
    """A detector of one kind of value.

    `literals` are what every match holds, in lower case; where `exact`, the match begins with one of them, in its own
    case. Otherwise it begins at most `before` bytes earlier. `group` is the part of the match that is the value.
    `needs` are literals of which the text must hold one somewhere, where any are given. `joined` says that the value
    may follow a letter or digit without a break. `leads` says of a rule that is not exact that every match begins with
    a literal and has a digit among so many bytes: then each place is looked at by itself, and only where there is one.
    `weak` says that a hit means nothing where no other rule of its type has one.
    """

    def __init__(
        self,
        kind: str,
        rule: str,
        pattern: bytes,
        literals: Sequence[bytes],
        check: Check | None = None,
        *,
        score: float = 0.9,
        rank: int = 3,
        group: int = 0,
        exact: bool = True,
        before: int = 0,
        joined: bool = False,
        low: bool = False,
        leads: int = 0,
        needs: Sequence[bytes] = (),
        weak: bool = False,
    ) -> None:
        self.name = rule
        self.type = kind
        self.pattern = pattern
        self.exact = exact
        self.literals = tuple(literals)
        self.needs = tuple(needs)
        self.weak = weak
        self._check = check
        self._score = score
        self._rank = rank
        self._group = group
        self.before = before
        self._joined = joined
        self._low = low
        self._leads = leads

    @cached_property
    def longest(self) -> int:
        """Raises ValueError for a pattern without a longest match."""
        width = longest(self.pattern)
        if width is None:
            raise ValueError(f"{self.name}: the pattern has no longest match")
        return width + self.before

    @cached_property
    def _find(self) -> Expression:
        return Expression(self.pattern)

    def find(self, view: View, places: Sequence[int]) -> Sequence[Hit]:
        """Returns the hits around `places`, where literals begin, in ascending order.

        Most look-ups find nothing, so this is written out flat: a chain of generators costs more than RE2's answer.
        """
        data = view.low if self._low else view.data
        if self.needs and not any(view.low.find(word) >= 0 for word in self.needs):
            return ()
        if len(places) < _MANY and (self.exact or self._leads):
            return self._at(view, data, places)
        hits: list[Hit] = []
        for start, end in stretches(places, self.before, self.longest, len(data)):
            match = self._find.search(data, start, end)
            while match is not None:
                start = match.end()
                if not self.exact or self._joined or starts_word(data, match.start()):
                    self._take(view, match, hits)
                match = self._find.search(data, start, end)
        return hits

    def _at(self, view: View, data: bytes, places: Sequence[int]) -> Sequence[Hit]:
        hits: list[Hit] = []
        free, leads = self._joined or not self.exact, self._leads
        most, length = self.longest, len(data)
        done = 0
        for place in places:
            if place >= done and (free or starts_word(data, place)):
                done = place + 1  # two literals may begin at one place
                if leads and not view.low[place : place + leads].lstrip(_NO_DIGITS):
                    continue
                end = place + most
                match = self._find.match(data, place, end if end < length else length)
                if match is not None:
                    done = match.end()
                    self._take(view, match, hits)
        return hits

    def _take(self, view: View, match: Found, hits: list[Hit]) -> None:
        start, end = match.span(self._group)
        score: float | None = self._score
        if self._check is not None:
            score = self._check(view.data[start:end].decode("utf-8", "replace"))
        if score is not None:
            hits.append(Hit(self.type, start, end, self.name, score, self._rank))


class Alternatives:
    """Patterns of one type with the same literals, asked together first: where none of them matches, one look says so
    for all."""

    exact = False

    def __init__(self, name: str, patterns: Sequence[Pattern]) -> None:
        self.name = name
        self.type = patterns[0].type
        self.patterns = tuple(patterns)
        self.literals = patterns[0].literals
        self.weak = all(pattern.weak for pattern in patterns)
        self._before = max(pattern.before for pattern in patterns)

    @cached_property
    def longest(self) -> int:
        return max(pattern.longest for pattern in self.patterns)

    @cached_property
    def _any(self) -> Expression:
        return Expression(b"|".join(b"(?:" + pattern.pattern + b")" for pattern in self.patterns))

    def find(self, view: View, places: Sequence[int]) -> Sequence[Hit]:
        low = view.low
        for start, end in stretches(places, self._before, self.longest, len(low)):
            if self._any.search(low, start, end) is not None:
                return [hit for pattern in self.patterns for hit in pattern.find(view, places)]
        return ()


def stretches(places: Sequence[int], before: int, after: int, length: int) -> Sequence[tuple[int, int]]:
    """Returns what lies around the places, joined where it overlaps: together never more than the text."""
    if len(places) == 1:
        return ((max(0, places[0] - before), min(length, places[0] + after)),)
    found: list[tuple[int, int]] = []
    start = end = -1
    for place in places:
        if end < 0 or place - before > end:
            if end >= 0:
                found.append((start, end))
            start = max(0, place - before)
        end = min(length, max(end, place + after))
    if end >= 0:
        found.append((start, end))
    return found
