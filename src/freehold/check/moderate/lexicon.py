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

from freehold.check.moderate.fold import entry

SHIPPED = Path(__file__).with_name("lexicon.txt")
STOP, ASK, QUOTE = "STOP", "ASK", "QUOTE"
"""The end of a sentence, a question mark, a quotation mark."""
MOST_ENTRIES = 65_535

_LINE = re.compile(r"([A-Z][A-Z0-9]*)(/rot13|\+)?:(.*)")
_DOUBLED = re.compile("^[^aeiou]*[aeiou][bdgklmnprt]$")
_IRREGULAR = {
    "beat": "beats beating beaten", "bite": "bites biting bit", "blow": "blows blowing blew", "buy": "buys buying bought",
    "break": "breaks breaking broke broken", "burn": "burns burning burned burnt", "cut": "cuts cutting",
    "dig": "digs digging dug", "drive": "drives driving drove", "feed": "feeds feeding fed", "flee": "flees fleeing fled",
    "get": "gets getting got", "give": "gives giving gave", "hang": "hangs hanging hung", "hide": "hides hiding hid",
    "hijack": "hijacks hijacking hijacked", "hit": "hits hitting", "hold": "holds holding held",
    "hurt": "hurts hurting", "keep": "keeps keeping kept", "lie": "lies lying lay", "make": "makes making made",
    "mug": "mugs mugging mugged", "overdose": "overdoses overdosing overdosed", "put": "puts putting",
    "read": "reads reading", "rip": "rips ripping ripped", "run": "runs running ran", "say": "says saying said",
    "sell": "sells selling sold", "set": "sets setting", "shoot": "shoots shooting shot", "slit": "slits slitting",
    "spread": "spreads spreading", "spy": "spies spying spied", "steal": "steals stealing stole stolen",
    "take": "takes taking took", "think": "thinks thinking thought", "throw": "throws throwing threw",
    "tie": "ties tying tied", "wipe": "wipes wiping wiped", "kidnap": "kidnaps kidnapping kidnapped",
    "traffic": "traffics trafficking trafficked", "embarrass": "embarrasses embarrassing embarrassed",
    "swallow": "swallows swallowing swallowed", "show": "shows showing showed", "squat": "squats squatting",
    "phish": "phishes phishing phished", "ddos": "ddoses ddosing ddosed",
}  # fmt: skip
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
                yield from ((concept, form + space + rest) for form in forms(verb))
            elif text:
                yield concept, codecs.decode(text, "rot13") if way else text


def forms(verb: str) -> tuple[str, ...]:
    """An English verb with its endings: `rob`, `robs`, `robbing`, `robbed`."""
    if verb in _IRREGULAR:
        return (verb, *_IRREGULAR[verb].split())
    third = verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z")) else "s")
    stem = verb
    if verb.endswith("e") and not verb.endswith("ee"):
        stem = verb[:-1]
    elif _DOUBLED.search(verb):
        stem = verb + verb[-1]
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, verb[:-1] + "ies", verb + "ing", verb[:-1] + "ied"
    return verb, third, stem + "ing", stem + "ed"


@cache
def default() -> Lexicon:
    """The vocabulary that ships."""
    return Lexicon(parse(SHIPPED.read_text(encoding="utf-8")))
