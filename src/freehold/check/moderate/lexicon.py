"""The vocabulary: which words mean what, and where they stand in a text.

lexicon.txt gives some hundred concepts their words. One pass of an automaton finds all of them in a folded text, the
longest of those that overlap, whole words only (CJK entries anywhere, a stem `terroris*` at the start of a word).
"""

import codecs
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from freehold.check.moderate.english import forms
from freehold.check.moderate.fold import entry

SHIPPED = Path(__file__).with_name("lexicon.txt")
STOP, ASK, QUOTE = "STOP", "ASK", "QUOTE"
"""The end of a sentence, a question mark, a quotation mark."""
PAST = {
    "KILL": "KILLED",
    "HURT": "HURTED",
    "CRIME": "DONE",
    "HACK": "DONE",
    "BULLY": "DONE",
    "SELFKILL": "TRIED",
    "SELFCUT": "TRIED",
}
"""What was done is told more often than planned: the past of a verb is a concept of its own."""
MOST_ENTRIES = 65_535

_LINE = re.compile(r"([A-Z][A-Z0-9]*)(/rot13|\+)?:(.*)")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")


Item = tuple[str, int, int]
"""A concept found, and where: bytes from start to end of the folded text."""


class Lexicon:
    """`id` is of the concepts and their words: a model fits the vocabulary it was learnt with only."""

    def __init__(self, words: dict[str, list[str]]) -> None:
        self.words = words
        patterns: dict[bytes, str] = {b" . ": STOP, b" ? ": ASK, b' " ': QUOTE}
        known: set[bytes] = set()
        for concept, entries in words.items():
            for text in entries:
                folded = entry(text.removesuffix("*"))
                if not folded:
                    raise ValueError(f"the entry {text!r} of {concept} is empty when folded")
                patterns.setdefault(_pattern(text, folded), concept)
                known.update(folded.split())
        if len(patterns) > MOST_ENTRIES:
            raise ValueError(f"{len(patterns)} entries are more than {MOST_ENTRIES}")
        self._concepts = list(patterns.values())
        self._automaton = BytesAhoCorasick(list(patterns), matchkind=MatchKind.LeftmostLongest)
        self._known = frozenset(known)
        self.concepts = (STOP, ASK, QUOTE, *words)
        self.id = hashlib.sha256(repr(sorted(patterns.items())).encode()).hexdigest()[:16]

    def knows(self, word: bytes) -> bool:
        """Whether it is a word of some entry."""
        return word in self._known

    def items(self, folded: bytes) -> list[Item]:
        """What stands in a folded text, in its order, nothing twice."""
        concepts = self._concepts
        return [(concepts[n], start, end) for n, start, end in self._automaton.find_matches_as_indexes(folded)]

    def phrases(self, concept: str) -> list[str]:
        """The entries of a concept as they are written."""
        return self.words[concept]


def _pattern(text: str, folded: bytes) -> bytes:
    if _UNSPACED.search(text):
        return folded
    return b" " + folded + (b"" if text.endswith("*") else b" ")


def concepts(names: str) -> frozenset[str]:
    """A set of concepts, written as words."""
    return frozenset(names.split())


def parse(text: str) -> dict[str, list[str]]:
    """Raises ValueError for a line that is neither a concept nor goes on with one."""
    words: dict[str, list[str]] = {}
    for concept, entry_ in _entries(text):
        words.setdefault(concept, []).append(entry_)
    return words


def _entries(text: str) -> Iterator[tuple[str, str]]:
    concept, way = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is not None:
            concept, way, line = match[1], match[2] or "", match[3]
        elif not line.startswith(" ") or not concept:
            raise ValueError(f"line {number} is neither `CONCEPT: ...` nor goes on with one")
        for piece in line.split(","):
            text = piece.strip()
            if text and way == "+":
                verb, space, rest = text.partition(" ")
                *now, past = forms(verb)
                yield from ((concept, form + space + rest) for form in now)
                yield PAST.get(concept, concept), past + space + rest
            elif text:
                yield concept, codecs.decode(text, "rot13") if way else text


@cache
def default() -> Lexicon:
    """The vocabulary that ships."""
    return Lexicon(parse(SHIPPED.read_text(encoding="utf-8")))
