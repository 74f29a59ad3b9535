"""Regular expressions of RE2 over bytes, and where a word begins. What all detectors stand on."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import re2
from re2 import _re2

WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ESCAPED = frozenset(b"nrt")
_AT = _re2.RE2.Anchor.ANCHOR_START
_ANYWHERE = _re2.RE2.Anchor.UNANCHORED


class Found:
    """A match: `span(n)` is (-1, -1) and `group(n)` empty for a group that took no part."""

    __slots__ = ("_data", "_spans")

    def __init__(self, data: bytes, spans: Sequence[tuple[int, int]]) -> None:
        self._data = data
        self._spans = spans

    def span(self, group: int = 0) -> tuple[int, int]:
        return self._spans[group]

    def start(self) -> int:
        return self._spans[0][0]

    def end(self) -> int:
        return self._spans[0][1]

    def group(self, group: int = 0) -> bytes:
        start, end = self._spans[group]
        return self._data[start:end] if start >= 0 else b""


class Expression:
    """A compiled expression. Places before `start` and after `end` are seen by `\\b` and otherwise not read.

    It stands on the compiled half of the package `re2`, whose Python half costs three times what a failed match does
    (2.4 against 0.8 us, and most matches asked for fail). A test holds the two together.

    An expression with groups is compiled twice, once without them: RE2 finds out by its automaton, a few instructions a
    byte, whether there is a match at all, but walks the groups of one ten times as slowly, and most of what it is asked
    about does not match.
    """

    def __init__(self, pattern: bytes) -> None:
        """Raises ValueError for a pattern that RE2 does not read."""
        compiled = _compiled(pattern, groups=True)
        self.pattern = pattern
        self._match = compiled.Match
        self._grouped = compiled.NumberOfCapturingGroups() > 0
        self._look = _compiled(pattern, groups=False).Match if self._grouped else self._match

    def match(self, data: bytes, start: int, end: int) -> Found | None:
        """Returns the match that begins at `start`."""
        spans = self._look(_AT, data, start, end)
        if spans[0][0] < 0:
            return None
        return Found(data, self._match(_AT, data, start, end) if self._grouped else spans)

    def search(self, data: bytes, start: int, end: int) -> Found | None:
        spans = self._look(_ANYWHERE, data, start, end)
        if spans[0][0] < 0:
            return None
        return Found(data, self._match(_ANYWHERE, data, start, end) if self._grouped else spans)

    def span(self, data: bytes, start: int, end: int) -> tuple[int, int]:
        """Returns where the next match is, (-1, -1) where there is none."""
        where: tuple[int, int] = self._look(_ANYWHERE, data, start, end)[0]
        return where

    def finditer(self, data: bytes, start: int, end: int) -> Iterator[Found]:
        """Yields the matches one after the other. An empty match is none."""
        while start < end:
            found = self.search(data, start, end)
            if found is None or found.end() <= found.start():
                return
            yield found
            start = found.end()


def _compiled(pattern: bytes, *, groups: bool) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.never_capture = not groups
    compiled = _re2.RE2(pattern, options)
    if not compiled.ok():
        raise ValueError(f"{pattern!r}: {compiled.error()}")
    return compiled


def longest(pattern: bytes) -> int | None:
    """Returns how many bytes the longest match of a pattern has, None where there is no longest."""
    parser = re._parser  # type: ignore[attr-defined]
    _, most = parser.parse(pattern).getwidth()
    return None if most >= parser.MAXREPEAT or most > 1 << 20 else most


def starts_word(data: bytes, place: int) -> bool:
    """Whether no word goes on at `place`. What an escape such as `\\n` in quoted text left behind is no word."""
    if place == 0 or data[place - 1] not in WORD:
        return True
    return data[place - 1] in _ESCAPED and place > 1 and data[place - 2] == 0x5C


def quoted(literal: bytes) -> bytes:
    """Returns the expression of just these bytes."""
    return b"".join(bytes([c]) if c > 127 or chr(c).isalnum() else b"\\" + bytes([c]) for c in literal)
