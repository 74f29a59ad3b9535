"""How alike two questions are by their words, and what must be the same in both whatever their likeness.

Likeness is the Jaccard index of two sets of features: letters in threes, word stems, neighbouring words. A set is kept
as one integer of `BITS` bits, each feature a few bits of it by its hash, more of them where it says more (a rare word
more than "the"), so that the index of the integers is nearly a weighted one and costs two machine-wide operations, not
a loop. Bits are chosen under a secret, and words cannot be read back from them.

Likeness does not see what turns an answer around: "can I" and "can't I", 10 and 100, Anna and
Otto. So these are the `guard`, compared as they are: numbers and dates, negations, question words, names (capitals
within a sentence, words with digits in them), code, quotations, links and addresses. Two questions with other guards
are never alike.
"""

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise

from msgspec import Struct

BY = "words 1"
"""Names this way of telling likeness; a calibration by another one does not hold."""
BITS = 4096
MOST = 2_000
"""Characters of a question; longer ones are alike to none."""
_TYPED = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")
_CODE = re.compile(
    r"```.*?```|`[^`]+`|\"[^\"]{1,200}\"|https?://\S+|\S+@\S+\.\S+|[\w./\\-]*[/\\_][\w./\\-]*|[{}<>=;$]+", re.DOTALL
)
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*|[%€$£¥]")
_NAME = re.compile(
    r"(?<![.!?:]\s)(?<!^)(?<=\s)[^\W\d_a-z]\w*|\b\w*[a-z][A-Z]\w*\b|\b\w*(?:\d[^\W\d_]|[^\W\d_]\d)\w*\b",
    re.MULTILINE,
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NEGATIONS = _set(
    "no not none never neither nor without nothing nobody nowhere cannot except unless hardly isnt arent wasnt werent"
    " dont doesnt didnt wont wouldnt cant couldnt shouldnt hasnt havent hadnt mustnt aint nicht kein keine nie ohne pas"
    " jamais sans sin nunca non"
)
_NUMERALS = _set(
    "zero one two three four five six seven eight nine ten eleven twelve hundred thousand million first second third"
    " once twice double half"
)
_ASKING = _set("how what when where which who whom whose why")
_USUAL = _set(
    "a an and any are as at be been being but by can could did do does for from get got had has have he her him his how"
    " i if in is it its just like may me might must my need of on or our out please she should so some that the their"
    " them then there these they this those to up us want was we were what when where which who why will with would you"
    " your hi hello hey thanks thank know tell im ive id"
)


class Looked(Struct, frozen=True):
    """A question: its features, how many bits of them are set, and a digest of what must be the same."""

    bits: int
    size: int
    guard: bytes


class Words:
    """Reads questions under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]
        self._known: dict[str, int] = {}

    def look(self, text: str, *, guarded: bool = True) -> Looked | None:
        """Returns what a question is compared by, None for one that is too long or has no words.

        `guarded` False leaves the guard out, to measure what it is worth.
        """
        if len(text) > MOST:
            return None
        text = unicodedata.normalize("NFKC", text).translate(_TYPED)
        words = [word.replace("'", "") for word in _WORD.findall(text.casefold())]
        if not words:
            return None
        bits = 0
        for feature, weight in _features(words):
            bits |= self._bits(feature, weight)
        guard = "\n".join(sorted(_guard(text, words))) if guarded else ""
        digest = blake2b(guard.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=8).digest()
        return Looked(bits, bits.bit_count(), digest)

    def _bits(self, feature: str, weight: int) -> int:
        found = self._known.get(feature)
        if found is None:
            if len(self._known) > 50_000:
                self._known.clear()
            digest = blake2b(
                feature.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=2 * weight
            ).digest()
            found = 0
            for place in range(weight):
                found |= 1 << int.from_bytes(digest[2 * place : 2 * place + 2], "little") % BITS
            self._known[feature] = found
        return found


def alike(one: Looked, other: Looked) -> float:
    """Returns the Jaccard index of two questions, 0 where their guards differ."""
    if one.guard != other.guard:
        return 0.0
    both = (one.bits & other.bits).bit_count()
    return both / (one.size + other.size - both)


def stem(word: str) -> str:
    """The word without the commonest endings of English; crude, and the same for all."""
    for ending in ("ing", "ies", "ied", "es", "ed", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _features(words: list[str]) -> Iterator[tuple[str, int]]:
    stems = [stem(word) for word in words]
    for word, short in zip(words, stems, strict=True):
        usual = word in _USUAL
        yield "w" + short, 1 if usual else 6
        if not usual:
            padded = f" {word} "
            for start in range(len(padded) - 2):
                yield "c" + padded[start : start + 3], 1
    for pair in pairwise(stems):
        yield "p" + " ".join(pair), 1 if pair[0] in _USUAL and pair[1] in _USUAL else 2


def _guard(text: str, words: list[str]) -> Iterator[str]:
    for match in _CODE.findall(text):
        yield "code " + match
    for match in _NUMBER.findall(text):
        yield "number " + match
    for match in _NAME.findall(text):
        if match.casefold().replace("'", "") not in _USUAL:
            yield "name " + match.casefold()
    for word in words:
        if word in _NEGATIONS or word in _NUMERALS:
            yield "word " + word
    for word in {word for word in words if word in _ASKING}:
        yield "asks " + word
