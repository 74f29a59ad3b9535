"""What is looked at in a prompt: its words, pairs of neighbours, marks, and some twenty measures of its shape.

Everything here is chosen for two ends. It must be cheap: about 35 us for 1 KB, so bytes are used where the standard
library is fastest on bytes, and a long prompt is read at its head and its tail only. And it must be hard to sway: a
word counts once however often it stands there, spelling is folded (NFKC, lower case, white space, typographic quotes,
invisible characters), and every measure is read off a ladder of fixed steps, so that it has
bounds and a small change of the text rarely moves it.
"""

import math
import re
import unicodedata
from itertools import islice, pairwise

from msgspec import Struct

HEAD = 5_120
TAIL = 3_072
"""Characters read at either end of a prompt; what lies between counts for its length alone."""
PAIRED_HEAD = 64
PAIRED_TAIL = 32
"""Words at either end whose neighbours are looked at: pairs are a third of the time of a reading."""
MOST_LINES = 160
MOST_OPTIONS = 12


def _steps(first: float, last: float, step: float) -> tuple[float, ...]:
    return tuple(round(first + i * step, 6) for i in range(round((last - first) / step) + 1))


LADDERS: dict[str, tuple[float, ...]] = {
    "length": _steps(3.5, 17, 0.5),
    "question": _steps(3.5, 14, 0.5),
    "options": (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 7.5, 9.5),
    "option length": _steps(1, 8.5, 0.5),
    "digits": (0.003, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
    "capitals": (0.003, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.35),
    "word length": _steps(3.5, 9, 0.5),
    "marks": (0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.25),
    "questions": (0.5, 1.5, 2.5),
    "negation": (0.5,),
    "latex": (0.02, 0.5, 1, 2, 4, 8),
    "code": (0.5, 1.5, 2.5),
    "sentences": (0.5, 1.3, 1.8, 2.2, 2.5, 3, 3.5, 4, 5),
    "commas": (0.25, 0.5, 1, 1.5, 2, 3, 5),
    "variety": _steps(0.3, 0.9, 0.1),
    "blanks": (0.5, 1.5),
    "equations": (0.5, 1.5, 3.5, 7.5),
    "brackets": (0.5, 1.5, 3.5, 7.5),
    "quotes": (0.5, 2.5, 6.5),
    "first person": (0.5,),
    "lines": (1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7),
    "foreign": (0.005, 0.02, 0.1, 0.3, 0.6),
    "tools": (0.5,),
    "turns": (0.5, 1.2, 1.8, 2.5, 3.5),
}
"""Each measure and the steps between its rungs, in the order of `Look.measures`. Part of the file format."""

_DIGITS = b"0123456789"
_LETTERS = bytes(range(97, 123))
_TABLE = bytes(
    c + 32 if 65 <= c <= 90 else c if c in _LETTERS + _DIGITS + b"\n" or c >= 128 else 32 for c in range(256)
)
"""Letters become small, all else of ASCII but digits and line ends a space. Apostrophes go first: `don't` is a word."""
_WORDY = _LETTERS + _LETTERS.upper() + _DIGITS + bytes(range(33)) + bytes(range(127, 256))
_ASCII = bytes(range(128))
_NOT_CAPITAL = bytes(c for c in range(256) if not 65 <= c <= 90)
_NOT_DIGIT = bytes(c for c in range(256) if c not in _DIGITS)
_FOLD = (
    ("‘", "'"), ("’", "'"), ("“", '"'), ("”", '"'), ("–", "-"), ("—", " - "),
    ("\u200b", ""), ("\u200c", ""), ("\u200d", ""), ("\u2060", ""), ("\ufeff", ""), ("\u00ad", ""),
)  # fmt: skip
_NEGATIONS = frozenset((b"not", b"except", b"never", b"least", b"false", b"incorrect", b"neither", b"none"))
_FIRST = frozenset((b"i", b"my", b"me", b"we", b"our"))
_OPTION = re.compile(rb"\n ?(?:[0-9A-Za-z][.):]|\([^\n]\))")
"""Begins with a character of its own, which makes the search for it five times as fast."""
_LATEX = frozenset(b"\\$")
_CODED = frozenset(b"{;`")
_CODE = frozenset((b"def", b"printf", b"println", b"struct", b"elif", b"malloc", b"stdin", b"sql", b"json", b"regex"))


class Look(Struct, gc=False):
    """`words` that occur, folded; `pairs` that follow each other near the beginning or the end; `marks` the punctuation
    that occurs; `measures` as in `LADDERS`."""

    words: set[bytes]
    pairs: set[tuple[bytes, bytes]]
    marks: set[int]
    measures: list[float]


def look(text: str, *, tools: bool = False, turns: int = 1) -> Look:
    """Reads a prompt of any length and content; never raises. `turns` counts the messages of the conversation."""
    left_out = len(text) - HEAD - TAIL
    if left_out > 0:
        text = text[:HEAD] + "\n" + text[-TAIL:]
    raw = _folded(text)
    small = raw if raw.isascii() else raw.decode("utf-8", "replace").lower().encode()
    small = small.translate(_TABLE, b"'")
    words = small.split()
    question, mean = len(raw), 0.0
    options = _options(raw)
    if options:
        question = options[0][0] or question
        mean = sum([end - begin for begin, end in options]) / len(options)
    size = len(raw) + (left_out if left_out > 0 else 0)
    distinct = set(words)
    count = len(words) or 1
    letters = len(raw) or 1
    punctuation = raw.translate(None, _WORDY)
    marks = set(punctuation)
    code = len(distinct & _CODE)
    if marks & _CODED:
        code += (b"```" in raw) + (b"{\n" in raw) + (b";\n" in raw) + (b"()" in raw)
    log = math.log2
    measures = [
        log(1 + size),
        log(1 + question),
        len(options),
        log(1 + mean),
        len(raw.translate(None, _NOT_DIGIT)) / letters,
        len(raw.translate(None, _NOT_CAPITAL)) / letters,
        letters / count,
        len(punctuation) / letters,
        raw.count(b"?") if 63 in marks else 0,
        not distinct.isdisjoint(_NEGATIONS),
        (raw.count(b"\\") + raw.count(b"$")) * 100 / letters if marks & _LATEX else 0.0,
        code,
        log(1 + raw.count(b". ", 0, question)),
        raw.count(b",", 0, question) * 50 / (question + 1),
        len(distinct) / count,
        raw.count(b"__") if 95 in marks else 0,
        raw.count(b"=") if 61 in marks else 0,
        raw.count(b"(") if 40 in marks else 0,
        raw.count(b'"') if 34 in marks else 0,
        not distinct.isdisjoint(_FIRST),
        log(2 + min(raw.count(b"\n"), MOST_LINES)),
        0.0 if raw.isascii() else len(raw.translate(None, _ASCII)) / letters,
        tools,
        log(turns) if turns > 1 else 0.0,
    ]
    if len(words) > PAIRED_HEAD + PAIRED_TAIL:
        pairs = {*pairwise(words[:PAIRED_HEAD]), *pairwise(words[-PAIRED_TAIL:])}
    else:
        pairs = set(pairwise(words))
    return Look(distinct, pairs, marks, measures)


def _folded(text: str) -> bytes:
    """One spelling of what can be spelt in several ways; letters keep their case."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        for odd, plain in _FOLD:
            if odd in text:
                text = text.replace(odd, plain)
    raw = text.encode("utf-8", "replace").strip()
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\t" in raw:
        raw = raw.replace(b"\t", b" ")
    while b"  " in raw:
        raw = raw.replace(b"  ", b" ")
    return raw


def _options(raw: bytes) -> list[tuple[int, int]]:
    """Where lines begin and end that start like an answer option: `A.`, `b)`, `(3)`, `D:`."""
    starts = [match.start() + 1 for match in islice(_OPTION.finditer(raw), MOST_OPTIONS)]
    if _OPTION.match(b"\n" + raw[:4]):
        starts = [0, *starts[: MOST_OPTIONS - 1]]
    ends = (raw.find(b"\n", start) for start in starts)
    return [(start, end if end >= 0 else len(raw)) for start, end in zip(starts, ends, strict=True)]
