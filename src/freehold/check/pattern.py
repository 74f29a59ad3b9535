"""Regular expressions that match in time linear in the text, whatever the pattern and whatever the text.

A JSON schema's `pattern` comes from one stranger and the text it is tried on from another. `re` backtracks: a pattern
such as `(a+)+$` keeps it busy for years on thirty letters, and the worker with it. Here all ways through the pattern
are walked at once, one character at a time (Thompson's construction, CACM 11(6), 1968), so a text of n characters costs
at most n times the number of states, which is bounded.

Understood is what schemas use: characters, `.`, classes with escapes, groups, `|`, `* + ? {m,n}` (greedy or lazy is the
same to a test), `^`, `$`, `\\b`. Look-around, back-references and Unicode properties are not: `Unsupported`. What one
character may be is left to `re`, which knows classes and escapes and cannot backtrack over a single character.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

MOST_STATES = 5_000
"""Of one pattern, its counted repetitions written out."""
MOST_DEPTH = 50
"""Groups inside groups."""
MOST_STEPS = 2_000_000
"""States times characters of one test: some tenths of a second at the very worst."""


class Unsupported(Exception):
    """The pattern, or the schema it stands in, says something that is not understood here."""


Test = Callable[[str], object]

_CHARACTER: Final = 0
_SPLIT: Final = 1
_BEGIN: Final = 2
_END: Final = 3
_BOUNDARY: Final = 4
_MATCH: Final = 5
_ESCAPES = frozenset("dDwWsStnrfv0")
_PUNCTUATION = frozenset("\\^$.*+?()[]{}|/-,:;=!<>@#%&~'\"`_ ")


class _State:
    """`test` is a character's; `out` are the states that follow."""

    __slots__ = ("kind", "out", "test")

    def __init__(self, kind: int, test: Test | None = None) -> None:
        self.kind = kind
        self.test = test
        self.out: list[_State] = []


class Pattern:
    """A compiled pattern. `search` says whether it fits anywhere in a text."""

    __slots__ = ("_start", "_states")

    def __init__(self, text: str) -> None:
        """Raises Unsupported for what is not understood, malformed or too large."""
        parser = _Parser(text)
        self._start, last = parser.whole()
        last.out.append(_State(_MATCH))
        self._states = parser.states + 1

    def search(self, text: str) -> bool:
        """Raises Unsupported where the text is too long for a pattern of this size."""
        if self._states * (len(text) + 1) > MOST_STEPS:
            raise Unsupported("the text is too long for this pattern")
        present: set[_State] = set()
        for at in range(len(text) + 1):
            if self._follow(self._start, present, text, at):
                return True
            if at == len(text):
                break
            character = text[at]
            later: set[_State] = set()
            for state in present:
                if state.test is not None and state.test(character):
                    for following in state.out:
                        if self._follow(following, later, text, at + 1):
                            return True
            present = later
        return False

    @staticmethod
    def _follow(state: _State, into: set[_State], text: str, at: int) -> bool:
        """Adds `state` and what can be reached from it without a character; True where that is the end."""
        waiting = [state]
        while waiting:
            state = waiting.pop()
            if state in into:
                continue
            if state.kind == _MATCH:
                return True
            if state.kind in (_BEGIN, _END, _BOUNDARY) and not _holds(state.kind, text, at):
                continue  # not remembered: elsewhere it may hold
            into.add(state)
            if state.kind != _CHARACTER:
                waiting += state.out
        return False


def _holds(kind: int, text: str, at: int) -> bool:
    if kind == _BEGIN:
        return at == 0
    if kind == _END:
        return at == len(text)
    return (at > 0 and _word(text[at - 1])) != (at < len(text) and _word(text[at]))


def _word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """Returns the pattern, which schemas repeat from request to request. Raises Unsupported."""
    return Pattern(text)


@lru_cache(maxsize=1024)
def _single(text: str) -> Test:
    """The test of one character: `text` is a class or an escape."""
    try:
        return re.compile(text, re.ASCII).fullmatch
    except (re.error, RecursionError, OverflowError):
        raise Unsupported(f"the pattern has {text[:40]!r}, which is not understood") from None


_Piece = tuple[_State, _State]
"""Where it begins and ends."""


class _Parser:
    """A pattern into states, by recursive descent: alternatives of sequences of repeated atoms."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.states = 0

    def whole(self) -> _Piece:
        made = self._alternatives()
        if self._at < len(self._text):
            raise Unsupported("the pattern closes a group that it has not opened")
        return made

    def _alternatives(self) -> _Piece:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise Unsupported("the pattern is nested too deeply")
        options = [self._sequence()]
        while self._taken("|"):
            options.append(self._sequence())
        self._depth -= 1
        return options[0] if len(options) == 1 else self._either(options)

    def _sequence(self) -> _Piece:
        first = last = self._state(_SPLIT)
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            begin, end = self._repeated()
            last.out.append(begin)
            last = end
        return first, last

    def _repeated(self) -> _Piece:
        start = self._at
        piece = self._atom()
        end = self._at
        times = self._times()
        if times is None:
            return piece
        self._taken("?") or self._taken("+")
        least, most = times
        return self._copies(start, end, piece, least, most)

    def _copies(self, start: int, end: int, piece: _Piece, least: int, most: int | None) -> _Piece:
        """`piece`, whose text is [start, end), as often as wanted: each further one is read anew."""
        first = last = self._state(_SPLIT)
        after = self._at
        spare: _Piece | None = piece

        def another() -> _Piece:
            nonlocal spare
            if spare is not None:
                made, spare = spare, None
                return made
            self._at = start
            made = self._atom()
            assert self._at == end
            return made

        for _ in range(least):
            begin, finish = another()
            last.out.append(begin)
            last = finish
        if most is None:
            begin, finish = another()
            loop, leave = self._state(_SPLIT), self._state(_SPLIT)
            last.out.append(loop)
            loop.out += [begin, leave]
            finish.out.append(loop)
            last = leave
        else:
            leave = self._state(_SPLIT)
            for _ in range(most - least):
                last.out.append(leave)
                begin, finish = another()
                last.out.append(begin)
                last = finish
            last.out.append(leave)
            last = leave
        self._at = after
        return first, last

    def _times(self) -> tuple[int, int | None] | None:
        """How often the atom before stands; None where nothing is said."""
        if self._taken("*"):
            return 0, None
        if self._taken("+"):
            return 1, None
        if self._taken("?"):
            return 0, 1
        counted = _COUNT.match(self._text, self._at)
        if counted is None:
            return None
        self._at = counted.end()
        least = int(counted[1])
        most = least if counted[2] is None else int(counted[3]) if counted[3] else None
        if max(least, most or 0) > MOST_STATES or (most is not None and most < least):
            raise Unsupported(f"the pattern repeats {counted[0]} times")
        return least, most

    def _atom(self) -> _Piece:
        sign = self._text[self._at]
        self._at += 1
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._character(self._class())
        if sign == "\\":
            return self._escape()
        if sign == ".":
            return self._character("[^\\n\\r]")
        if sign in "^$":
            return self._single_state(_BEGIN if sign == "^" else _END)
        if sign in "*+?":
            raise Unsupported("the pattern repeats nothing")
        return self._character(re.escape(sign))

    def _group(self) -> _Piece:
        if self._taken("?"):
            named = _NAME.match(self._text, self._at)
            if named is not None:
                self._at = named.end()
            elif not self._taken(":"):
                raise Unsupported("the pattern looks around or changes its flags")
        made = self._alternatives()
        if not self._taken(")"):
            raise Unsupported("the pattern leaves a group open")
        return made

    def _class(self) -> str:
        made = ["[^" if self._taken("^") else "["]
        if self._text.startswith("]", self._at):
            raise Unsupported("the pattern has an empty class")  # JavaScript and Python mean different things by it
        while self._at < len(self._text) and (sign := self._text[self._at]) != "]":
            self._at += 1
            if sign == "\\":
                follows = self._text[self._at : self._at + 1]
                if follows in ("", "p", "P", "b", "B"):
                    raise Unsupported("the pattern has a class by property, or one that ends in a backslash")
                self._at += 1
                made.append(sign + follows)
            else:
                made.append("\\" + sign if sign in "[&|~" else sign)  # to `re`, two of them may become operators
        if not self._taken("]"):
            raise Unsupported("the pattern leaves a class open")
        return "".join(made) + "]"

    def _escape(self) -> _Piece:
        if self._at >= len(self._text):
            raise Unsupported("the pattern ends in a backslash")
        sign = self._text[self._at]
        self._at += 1
        if sign == "b":
            return self._single_state(_BOUNDARY)
        if sign in _ESCAPES:
            return self._character("\\" + sign)
        if sign in "xu":
            found = _HEX.match(self._text, self._at - 1)
            if found is None:
                raise Unsupported("the pattern has a malformed character number")
            self._at = found.end()
            return self._character("\\" + found[0])
        if sign in _PUNCTUATION:
            return self._character(re.escape(sign))
        raise Unsupported(f"the pattern has \\{sign}, which is not understood")

    def _either(self, options: list[_Piece]) -> _Piece:
        first, last = self._state(_SPLIT), self._state(_SPLIT)
        for begin, end in options:
            first.out.append(begin)
            end.out.append(last)
        return first, last

    def _character(self, text: str) -> _Piece:
        state = self._state(_CHARACTER, _single(text))
        after = self._state(_SPLIT)
        state.out.append(after)
        return state, after

    def _single_state(self, kind: int) -> _Piece:
        state = self._state(kind)
        return state, state

    def _state(self, kind: int, test: Test | None = None) -> _State:
        self.states += 1
        if self.states > MOST_STATES:
            raise Unsupported("the pattern is too large")
        return _State(kind, test)

    def _taken(self, sign: str) -> bool:
        if self._text.startswith(sign, self._at):
            self._at += 1
            return True
        return False


_COUNT = re.compile(r"\{(\d{1,6})(,(\d{1,6})?)?\}")
_NAME = re.compile(r"P?<[A-Za-z_]\w*>")
_HEX = re.compile(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}")
