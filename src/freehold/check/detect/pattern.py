"""A rule that is a pattern: literals that tell where to look, a regular expression of RE2, and a check of what it found.

Patterns are bytes, read as Latin-1, which is the fastest that RE2 has; a letter beyond ASCII is its UTF-8 bytes, and must
not stand in a class. Every pattern has a longest match (`longest`): RE2 reads in linear time whatever the pattern, but
only a bounded one also bounds how far it reads past the end of a match, and so the sum over all matches. It is also how
many bytes a stream has to be held back. A test asks it of all of them.

Patterns are compiled when they are first wanted: most never are, and hundreds would cost a start half a second.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import re2
from re2 import Options

from freehold.check.detect.finding import Hit
from freehold.check.detect.view import View

Check = Callable[[str], float | None]
"""Takes the found value, returns its score or None where it is nothing."""

_MANY = 24
"""From how many places on one pass over the text costs less than a look at each."""
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ESCAPED = frozenset(b"nrt")


def compiled(pattern: bytes) -> "re2._Regexp":
    """Returns the compiled pattern. Raises ValueError for one that RE2 does not read."""
    options = Options()
    options.encoding = Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"{pattern!r}: {error}") from error


def longest(pattern: bytes) -> int | None:
    """Returns how many bytes the longest match of a pattern has, None where there is no longest."""
    parser = re._parser  # type: ignore[attr-defined]
    _, most = parser.parse(pattern).getwidth()
    return None if most >= parser.MAXREPEAT or most > 1 << 20 else most


def starts_word(data: bytes, place: int) -> bool:
    """Whether no word goes on at `place`. What an escape such as `\\n` in quoted text left behind is no word."""
    if place == 0 or data[place - 1] not in _WORD:
        return True
    return data[place - 1] in _ESCAPED and place > 1 and data[place - 2] == 0x5C


class Pattern:
    """A detector of one kind of value.

    `literals` are what every match holds, in lower case; where `exact`, the match begins with one of them, in its own
    case. Otherwise it begins at most `before` bytes earlier. `group` is the part of the match that is the value.
    `joined` says that the value may follow a letter or digit without a break.
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
    ) -> None:
        self.name = rule
        self.type = kind
        self.pattern = pattern
        self.exact = exact
        self.literals = tuple(literals)
        self._check = check
        self._score = score
        self._rank = rank
        self._group = group
        self._before = before
        self._joined = joined
        self._low = low

    @cached_property
    def longest(self) -> int:
        """Raises ValueError for a pattern without a longest match."""
        width = longest(self.pattern)
        if width is None:
            raise ValueError(f"{self.name}: the pattern has no longest match")
        return width + self._before

    @cached_property
    def _find(self) -> "re2._Regexp":
        return compiled(self.pattern)

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        """Yields the hits around `places`, where literals begin, in ascending order."""
        data = view.low if self._low else view.data
        if self.exact and len(places) < _MANY:
            matches = self._at(data, places)
        else:
            matches = self._around(data, places)
        for match in matches:
            start, end = match.span(self._group)
            score: float | None = self._score
            if self._check is not None:
                score = self._check(view.data[start:end].decode("utf-8", "replace"))
            if score is not None:
                yield Hit(self.type, start, end, self.name, score, self._rank)

    def _at(self, data: bytes, places: Sequence[int]) -> "Iterator[re2._Match]":
        done = 0
        for place in places:
            if place >= done and (self._joined or starts_word(data, place)):
                match = self._find.match(data, place, len(data))
                if match is not None:
                    done = match.end()
                    yield match

    def _around(self, data: bytes, places: Sequence[int]) -> "Iterator[re2._Match]":
        for start, end in stretches(places, self._before, self.longest, len(data)):
            for match in self._find.finditer(data, start, end):
                if not self.exact or self._joined or starts_word(data, match.start()):
                    yield match


def stretches(places: Iterable[int], before: int, after: int, length: int) -> Iterator[tuple[int, int]]:
    """Yields what lies around the places, joined where it overlaps: together never more than the text."""
    start = end = -1
    for place in places:
        if place - before > end:
            if end >= 0:
                yield start, end
            start = max(0, place - before)
        end = min(length, max(end, place + after))
    if end >= 0:
        yield start, end
