"""How much a stretch of text is like an injection, where no phrase says it in so many words.

phrases.py knows wordings; most attacks have one of their own. So a small linear model looks at what is meant instead:
concepts (`likeness.txt`: set aside, rules, yours, show, hidden, no limits, without telling the user ...) with words in
some twenty languages, and how they stand to each other:

    DISMISS           it is there
    DISMISS>ORDERS    the second within four concepts after the first, in the same sentence
    DISMISS+YOUR      the second right after the first
    DISMISS&MAIL      one of an attack with one that speaks for a harmless reading, anywhere in the stretch

Some concepts wake it: their words are literals of the prefilter, so most texts never pay for it. A stretch is what
stands within REACH bytes of such words. What it was learnt from, how good it is, and what it cannot see:
models/injection.md. A score is a probability by Platt's scaling; under LEAST it is no hit.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import exp
from typing import Any
from zlib import decompress

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from freehold.check.detect.expression import Expression, quoted
from freehold.check.detect.finding import Hit
from freehold.check.detect.injection import LIKENESS
from freehold.check.detect.view import View

_LONGEST_WORD = 40
REACH = 170
"""Bytes before and after a word that wakes the model that belong to its stretch."""
MOST = 560
"""Bytes of a stretch at most."""
SHORT = 300
"""Bytes of a text that is read whole."""
LEAST = 0.5
AHEAD = 4
NEAR = 46
"""Bytes between two concepts that are near each other."""
ATTACKS = (
    "DISMISS", "TELL", "ORDERS", "PROMPT", "NOWON", "PERSONA", "UNBOUND", "EVADE", "SECRET", "VERBATIM", "WHOSET",
    "AUTH", "TOAI", "HIDEUSER", "RATE", "ACTION", "GOODS", "DEST", "PWNED", "FORGED", "DECODE", "OBEYIT", "STEER",
    "HARM",
)  # fmt: skip
READINGS = (
    "ABOUT", "LEARN", "MAIL", "CODING", "DAILY", "FICTION", "TASKROLE", "NEG", "IFUSER", "THEUSER", "PRIOR", "YOUR",
    "YOU", "YOUARE",
)  # fmt: skip
NAMES = (*ATTACKS, *READINGS, "QUOTE", "ASK", "STOP")
"""All concepts; the last three are marks of a sentence."""
ATTACK = frozenset(range(len(ATTACKS)))
HARMLESS = frozenset(range(len(ATTACKS), len(NAMES) - 1))
QUOTE, ASK, STOP = range(len(NAMES) - 3, len(NAMES))
_ENDS = ASK
_POINTS = frozenset((QUOTE, ASK, STOP))
_COMMON = frozenset(
    NAMES.index(name)
    for name in ("ORDERS", "TELL", "ACTION", "GOODS", "DEST", "VERBATIM", "DISMISS", "HARM", "DECODE", "RATE")
)
"""What is no attack without another concept of one: ordinary text is full of them."""
_PROMPT, _YOUR = frozenset((NAMES.index("PROMPT"),)), NAMES.index("YOUR")
"""A prompt of nobody's says nothing: people ask for prompts all day."""
_WIDTH = 6
_MASK = (1 << _WIDTH) - 1
_THEN, _NEXT, _WITH = (1 << 2 * _WIDTH + sign for sign in range(3))
_ONLY_WAKES = "WAKE"
_FIELDS = re.compile(rb'(?:(?<=[:\[{,])|(?<=[:\[{,] ))"|"(?= ?[,:}\]])')
"""Quotation marks of JSON: they part fields and quote nothing."""
_FIELD = re.compile(rb'"prompt" ?:|(?:^|(?<=\n))prompt = ')
"""The field of the APIs that holds what is said, in JSON and as check/body.py writes that of a form."""
_SPACED = bytes.maketrans(b"*#|`~", b" " * 5)
_LETTERS = frozenset(range(0x80, 0x100)) | frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0600-\u06ff]")
_LINE = re.compile(r"(!?)([A-Z]+): *(.*)")
_MARKS = {
    b".": STOP,
    b"!": STOP,
    b"?": ASK,
    b";": STOP,
    b'"': QUOTE,
    "“".encode(): QUOTE,
    "「".encode(): QUOTE,
    "。".encode(): STOP,
}

Item = tuple[int, int, int]
"""A concept by its place in NAMES, and from where to where its word stands in the stretch."""


class Words:
    """The concepts and their words. `id` is of them all: a model fits only those it was learnt with."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a line that is neither a concept nor goes on with one, and for a word that is too short
        to wake: ordinary text would.
        """
        self.concepts: dict[str, list[str]] = {}
        wakes: list[str] = []
        concept, waking = "", False
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            if (match := _LINE.fullmatch(line)) is not None:
                concept, waking, line = match[2], bool(match[1]), match[3]
            elif not line.startswith(" ") or not concept:
                raise ValueError(f"line {number} is neither `CONCEPT: ...` nor goes on with one")
            words = [word.strip() for word in line.split(",") if word.strip()]
            if concept != _ONLY_WAKES:
                self.concepts.setdefault(concept, []).extend(word.lstrip("!") for word in words)
            wakes += [word.lstrip("!") for word in words if waking or word.startswith("!")]
        if short := [word for word in wakes if len(word.encode()) < 3]:
            raise ValueError(f"{short[0]!r} is too short to wake the model")
        self.id = sha256(text.encode()).hexdigest()[:16]
        self.waking = _fewest(word.rstrip("*").encode() for word in wakes)
        """What is sought in every text. Most stand for longer words, so `wakes` is asked where one was seen."""
        self._waking = Expression(b"|".join(_bounded(word) for word in sorted(wakes, key=len, reverse=True)))
        self._entries: dict[bytes, int] = {}
        self._open: set[bytes] = set()
        """Entries after which a word may go on."""
        for name, some in self.concepts.items():
            kind = NAMES.index(name)
            for word in some:
                entry = unicodedata.normalize("NFC", word.rstrip("*")).encode()
                if self._entries.setdefault(entry, kind) == kind and (word.endswith("*") or _UNSPACED.search(word)):
                    self._open.add(entry)
        entries = {**self._entries, **_MARKS}
        self._bounds = [(kind, *self._bounded(entry)) for entry, kind in entries.items()]
        """By entry: its concept, and whether a word must begin where it does, and end where it does."""
        self._automaton = BytesAhoCorasick(
            list(entries), matchkind=MatchKind.LeftmostLongest, implementation=Implementation.ContiguousNFA
        )

    def _bounded(self, entry: bytes) -> tuple[bool, bool]:
        if entry in _MARKS or _UNSPACED.search(entry.decode()):
            return False, False
        return entry[0] in _LETTERS, entry[-1] in _LETTERS and entry not in self._open

    def wakes(self, low: bytes, place: int) -> bool:
        """Whether a word that wakes stands around a place where one of `waking` begins."""
        before = max(0, place - _LONGEST_WORD)
        return self._waking.span(low, before, min(len(low), place + _LONGEST_WORD))[0] >= 0

    def items(self, plain: bytes) -> list[Item]:
        """Returns the concepts of a stretch, in its order, nothing twice."""
        found: list[Item] = []
        bounds, letters, length = self._bounds, _LETTERS, len(plain)
        for number, start, end in self._automaton.find_matches_as_indexes(plain):
            kind, begins, ends = bounds[number]
            if begins and start and plain[start - 1] in letters:
                continue
            if ends and end < length and plain[end] in letters:
                shorter = self._shorter(plain[start:end])
                if shorter:
                    found.append((self._entries[shorter], start, start + len(shorter)))
                continue
            found.append((kind, start, end))
        return found

    def _shorter(self, word: bytes) -> bytes:
        """Returns the longest entry that `word` begins with and that ends where a word of it does, else nothing."""
        while word:
            word = word.rpartition(b" ")[0]
            if word in self._entries:
                return word
        return b""


def plain(low: bytes) -> bytes:
    """Returns a stretch as its words are sought: one space between words, straight apostrophes, no marks of JSON."""
    if b"prompt" in low:
        low = _FIELD.sub(b";", low)
    text = b" ".join(low.translate(_SPACED).split())
    if not text.isascii():
        text = text.replace("’".encode(), b"'")
    return _FIELDS.sub(b";", text) if 0x22 in text else text


def features(items: Sequence[Item]) -> set[int]:
    """Of one stretch; empty where too little in it belongs to an attack. `named` names them."""
    found = {item[0] for item in items}
    attack = found & ATTACK
    if len(attack) < 2 and (
        attack <= _COMMON or len(found - _POINTS) < 2 or (attack == _PROMPT and _YOUR not in found)
    ):
        return set()
    harmless = found & HARMLESS
    found.discard(STOP)
    after: list[tuple[int, int]] = []
    for first, start, end in items:
        if first >= _ENDS:
            after.clear()
            continue
        if first == QUOTE:
            continue
        for before, since in after:
            if start - since <= NEAR:
                found.add(before << _WIDTH | first | _THEN)
                if start - since <= 1:
                    found.add(before << _WIDTH | first | _NEXT)
        after.append((first, end))
        del after[:-AHEAD]
    for one in attack:
        one <<= _WIDTH
        for other in harmless:
            found.add(one | other | _WITH)
    return found


def named(feature: int) -> str:
    """Returns how a feature is written: `DISMISS`, `DISMISS>ORDERS`, `DISMISS+YOUR`, `DISMISS&MAIL`."""
    for sign, mark in ((_THEN, ">"), (_NEXT, "+"), (_WITH, "&")):
        if feature & sign:
            return NAMES[feature >> _WIDTH & _MASK] + mark + NAMES[feature & _MASK]
    return NAMES[feature]


def numbered(name: str) -> int:
    """Raises ValueError for a name that is no feature's."""
    for sign, mark in ((_THEN, ">"), (_NEXT, "+"), (_WITH, "&")):
        if mark in name:
            first, _, second = name.partition(mark)
            return NAMES.index(first) << _WIDTH | NAMES.index(second) | sign
    return NAMES.index(name)


class Model:
    """A weight for each feature. Raises ValueError where the words are not those it was learnt with."""

    def __init__(self, words: Words, learnt: Mapping[str, Any]) -> None:
        if learnt.get("words") != words.id:
            raise ValueError("the injection model was learnt with other words: run models/train_injection.py")
        self.words = words
        self._bias = learnt["bias"]
        self._weights = {numbered(name): weight for name, weight in learnt["weights"].items()}

    def judge(self, low: bytes) -> float | None:
        """Returns the probability that a stretch in lower case is an injection, None where it says too little."""
        found = features(self.words.items(plain(low)))
        return self.score(found) if found else None

    def score(self, found: Iterable[int]) -> float:
        """Returns the probability that a stretch with these features is an injection."""
        logit = sum(filter(None, map(self._weights.get, found))) + self._bias
        return 1.0 / (1.0 + exp(-max(-30.0, min(30.0, logit))))


class Likeness:
    """The detector."""

    name = LIKENESS
    exact = False
    longest = MOST
    type = "prompt_injection"

    def __init__(self, model: Model) -> None:
        self._model = model
        self.literals = model.words.waking

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        low = view.low
        wakes = self._model.words.wakes
        places = [place for place in places if wakes(low, place)]
        for start, end in spans(low, places):
            score = self._model.judge(low[start:end])
            if score is not None and score >= LEAST:
                yield Hit(self.type, start, end, LIKENESS, round(score, 3), 1)


class Short:
    """The sweep over texts so short that the model may read them whole, whether a word wakes it or not."""

    name = "injection-likeness-of-short-texts"
    longest = MOST
    type = "prompt_injection"

    def __init__(self, model: Model) -> None:
        self._model = model

    def find(self, view: View) -> list[Hit]:
        if len(view.low) > SHORT:
            return []
        score = self._model.judge(view.low)
        return (
            [] if score is None or score < LEAST else [Hit(self.type, 0, len(view.low), LIKENESS, round(score, 3), 1)]
        )


def spans(low: bytes, places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields the stretches around words that wake the model, which are in order: whole words, each of MOST bytes at
    most.
    """
    index = 0
    while index < len(places):
        place = last = places[index]
        start = max(0, place - REACH)
        while index < len(places) and places[index] <= start + MOST - REACH:
            last = max(last, places[index])
            index += 1
        end = min(len(low), last + REACH, start + MOST)
        while 0 < start < place and low[start - 1] in _LETTERS:
            start += 1
        while place < end < len(low) and low[end] in _LETTERS and low[end - 1] in _LETTERS:
            end -= 1
        yield start, end


def _bounded(word: str) -> bytes:
    """Returns the expression of a word, whole, or of what begins with it."""
    entry = word.rstrip("*").encode()
    start = rb"\b" if entry[0] in _LETTERS and entry[0] < 0x80 else b""
    end = rb"\b" if entry == word.encode() and entry[-1] in _LETTERS and entry[-1] < 0x80 else b""
    return start + quoted(entry) + end


def _fewest(literals: Iterable[bytes]) -> tuple[bytes, ...]:
    """Returns the literals without those that hold another one."""
    found: list[bytes] = []
    for literal in sorted(set(literals), key=lambda one: (len(one), one)):
        if not any(other in literal for other in found):
            found.append(literal)
    return tuple(found)


@cache
def words() -> Words:
    """The words that ship."""
    return Words(files(__package__).joinpath("likeness.txt").read_text(encoding="utf-8"))


@cache
def shipped() -> Model:
    """The model that ships. Raises ValueError where it is broken or was learnt with other words."""
    packed = files(__package__).joinpath("likeness.bin").read_bytes()
    return Model(words(), json.loads(decompress(packed)))
