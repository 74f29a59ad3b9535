"""Prefix languages: the regular expression of everything that may still become a match of another one.

A stream may let go of a character when no suffix of what has come, beginning at or before it, is a prefix of a match.
For a pattern R the prefixes are a regular language too, and it is read off R's syntax tree (J. Hopcroft, R. Motwani
and J. Ullman, Introduction to Automata Theory, 4.2: regular languages are closed under Init):

    Init(c)       = c?                          Init(R | S) = Init(R) | Init(S)
    Init(R S)     = Init(R) | R Init(S)         Init(R{m,n}) = R{0,n-1} Init(R)

Where the exact language would make a large automaton it is widened, never narrowed: a repetition of more than `_WIDE`
times is read as one without end, boundaries are dropped, letters have no case. Widening holds text longer and lets
nothing go.
"""

import re
from collections.abc import Iterable
from typing import Any

_OPS = re._constants  # type: ignore[attr-defined]
_WIDE = 24
_EMPTY = (_OPS.AT, _OPS.ASSERT, _OPS.ASSERT_NOT)
_REPEATS = (_OPS.MAX_REPEAT, _OPS.MIN_REPEAT)
_CATEGORIES = {
    _OPS.CATEGORY_DIGIT: rb"\d",
    _OPS.CATEGORY_NOT_DIGIT: rb"\D",
    _OPS.CATEGORY_SPACE: rb"\s",
    _OPS.CATEGORY_NOT_SPACE: rb"\S",
    _OPS.CATEGORY_WORD: rb"\w",
    _OPS.CATEGORY_NOT_WORD: rb"\W",
}

Tree = Iterable[tuple[Any, Any]]


def parsed(pattern: bytes) -> list[tuple[Any, Any]]:
    """Returns the syntax tree of a pattern. Raises re.error for one that is none."""
    return list(re._parser.parse(pattern))  # type: ignore[attr-defined]


def init(pattern: bytes) -> bytes:
    """Returns the pattern, for RE2 with the flags `is`, of all prefixes of matches, the whole ones and none included.

    Raises ValueError for what has no such pattern, a reference back.
    """
    return _inits(parsed(pattern))


def alphabet(pattern: bytes) -> frozenset[int]:
    """Returns the bytes, in lower case, that a match can hold."""
    found: set[int] = set()
    _letters(parsed(pattern), found)
    return frozenset(bytes(found).lower())


def _letters(tree: Tree, found: set[int]) -> None:
    for kind, value in tree:
        if kind is _OPS.LITERAL:
            found.add(value)
        elif kind is _OPS.IN:
            member = re.compile(_set(value), re.DOTALL)
            found.update(c for c in range(256) if member.match(bytes([c])))
        elif kind in (_OPS.NOT_LITERAL, _OPS.ANY):
            found.update(range(256))
        else:
            for branch in _inner(kind, value):
                _letters(branch, found)


def _inner(kind: Any, value: Any) -> list[Tree]:
    """Returns what stands inside a node."""
    if kind is _OPS.BRANCH:
        return list(value[1])
    if kind is _OPS.SUBPATTERN:
        return [value[3]]
    if kind in _REPEATS:
        return [value[2]]
    if kind in _EMPTY:
        return []
    raise ValueError(f"{kind} has no language of prefixes")


def _set(items: Tree) -> bytes:
    out, start = b"", b"["
    for kind, value in items:
        if kind is _OPS.NEGATE:
            start = b"[^"
        elif kind is _OPS.LITERAL:
            out += _byte(value)
        elif kind is _OPS.RANGE:
            out += _byte(value[0]) + b"-" + _byte(value[1])
        else:
            out += _CATEGORIES[value]
    return start + out + b"]"


def _byte(value: int) -> bytes:
    return b"\\x%02x" % value


def _whole(kind: Any, value: Any) -> bytes:
    if kind is _OPS.LITERAL:
        return _byte(value)
    if kind is _OPS.NOT_LITERAL:
        return b"[^" + _byte(value) + b"]"
    if kind is _OPS.ANY:
        return b"."
    if kind is _OPS.IN:
        return _set(value)
    inner = b"|".join(b"".join(_whole(*node) for node in branch) for branch in _inner(kind, value))
    if kind in _REPEATS:
        return b"(?:" + inner + b")" + _times(value[0], value[1])
    return b"(?:" + inner + b")"


def _times(least: int, most: int) -> bytes:
    return b"{%d,%d}" % (least, most) if most <= _WIDE else b"*" if not least else b"+"


def _init(kind: Any, value: Any) -> bytes:
    if kind in (_OPS.LITERAL, _OPS.NOT_LITERAL, _OPS.ANY, _OPS.IN):
        return _whole(kind, value) + b"?"
    inner = b"(?:" + b"|".join(_inits(branch) for branch in _inner(kind, value)) + b")"
    if kind in _REPEATS and value[1] > 1:
        most = value[1] - 1 if value[1] <= _WIDE else value[1]
        return b"(?:" + b"".join(_whole(*node) for node in value[2]) + b")" + _times(0, most) + inner
    return inner


def _inits(tree: Tree) -> bytes:
    out, close = b"", b""
    nodes = [node for node in tree if node[0] not in _EMPTY]
    for place, node in enumerate(nodes):
        if place == len(nodes) - 1:
            out += _init(*node)
        else:
            out += b"(?:" + _init(*node) + b"|" + _whole(*node)
            close += b")"
    return out + close
