"""A text as the moderation model reads it: small letters, plain words, disguises taken off.

    "K1LL y0urs3lf!"  "k i l l   y o u r s e l f"  "kіll"  "kiiiill"   ->   " kill  yourself  . "

Words stand between two spaces each, so that two entries side by side never share one; the ends of sentences, question
marks and quotation marks are words of their own. Accents and apostrophes are gone. UTF-8 bytes, because the standard
library is fastest on those.

What is taken off, and only from a text that shows signs of it: invisible characters and look-alike letters (as the
detectors do it, detect/view.py), digits and signs that stand for letters inside a word, letters spaced out, letters
repeated. A word that is read another way is changed only where the vocabulary knows the new reading, so that `3d`,
`i18n` and `A B C` stay what they are.
"""

import re
import unicodedata
from collections.abc import Callable

from freehold.check.detect.view import plainer

MOST = 1 << 18
"""Characters of one text that are read; one that is longer is not harmless for what was read of it (moderate.py)."""

_KEPT = b"0123456789abcdefghijklmnopqrstuvwxyz$@*"
_TABLE = bytes(
    c + 32 if 65 <= c <= 90 else c if c in _KEPT or c >= 128 else 46 if c in b".!;\n" else c if c in b'?"' else 32
    for c in range(256)
)
_MARKS = {
    **dict.fromkeys(map(ord, "’‘ʼ´`'"), None),
    **dict.fromkeys(map(ord, "“”„«»「」『』"), '"'),
    **dict.fromkeys(map(ord, "。…！;؛।"), "."),
    **dict.fromkeys(map(ord, "？؟¿"), "?"),
    **dict.fromkeys(map(ord, "、，،–—·•：；（）【】"), " "),
}
_ACCENTS = re.compile("[\u0300-\u036f]+")
_LEET = bytes.maketrans(b"0134578@$", b"oieastbas")
_LEET_L = bytes.maketrans(b"0134578@$", b"oleastbas")
_JOINED = re.compile(rb"(?<![A-Za-z0-9])(?:[A-Za-z0-9$@][.\-_*,~/]){2,}[A-Za-z0-9$@](?![A-Za-z0-9])")
_SPACED = re.compile(rb"(?<![a-z0-9$@])(?:[a-z0-9$@] {1,6}){3,63}[a-z0-9$@](?![a-z0-9$@])")
_RUN = re.compile(rb"([a-z])\1+")
_RUNS = re.compile(rb"([a-z])\1{2,}")
_SIGNS = b"0123456789$@"
_STARS = re.compile(rb"(?<![A-Za-z*])\*+|\*+(?![A-Za-z*])")
_SHAPE = bytes(
    120 if (c < 128 and chr(c).isalnum()) or c in b"$@" else 45 if c in b".-_*,~/" else 32 for c in range(256)
)
_GAP = re.compile(rb" {2,}")
_LONGEST = 24


def fold(text: str, known: Callable[[bytes], bool]) -> bytes:
    """Never raises. `known` says whether a word is one of the vocabulary."""
    raw = _plain(text[:MOST])
    for sign in (b"!", b"|"):
        if sign in raw:
            raw = _inside(raw, sign)
    if b"*" in raw:
        raw = _STARS.sub(b" ", raw)
    if b"-x-" in raw.translate(_SHAPE):
        raw = _JOINED.sub(lambda match: _one(match, known), raw)
    flat = raw.translate(_TABLE, b"'")
    words = _marked(flat).split()
    if b"\1\1\1\1" in _lengths(words):
        words = _marked(_SPACED.sub(lambda match: _respaced(match.group(), known), b" " + flat + b" ")).split()
    if len(flat.translate(None, _SIGNS)) != len(flat):
        for place, word in enumerate(words):
            if not word.isalpha() and 1 < len(word) <= _LONGEST:
                words[place] = _read(word, known)
    if _tripled(b" ".join(words)):
        words = [_shortened(word, known) for word in words]
    return b" " + b"  ".join(words) + b" "


def _inside(raw: bytes, sign: bytes) -> bytes:
    """`k!ll` with the letter that the sign stands for; the sign stays at the ends of words."""
    pieces = raw.split(sign)
    for place in range(len(pieces) - 1):
        stands = pieces[place][-1:].isalpha() and pieces[place + 1][:1].isalpha()
        pieces[place] += b"i" if stands else sign
    return b"".join(pieces)


def _lengths(words: list[bytes]) -> bytes:
    try:
        return bytes(map(len, words))
    except ValueError:
        return bytes([len(word) & 255 for word in words])


def _tripled(text: bytes) -> bool:
    """Whether a byte stands three times in a row, found by subtracting the text from itself."""
    number = int.from_bytes(text, "little")
    once = number ^ number >> 8
    return b"\0" in (once | once >> 8).to_bytes(len(text), "little")[:-2]


def _marked(flat: bytes) -> bytes:
    """Marks as words of their own."""
    for mark in (b".", b"?", b'"'):
        if mark in flat:
            flat = flat.replace(mark, b" " + mark + b" ")
    return flat


def entry(text: str) -> bytes:
    """An entry of the vocabulary, folded as texts are, without the spaces at its ends."""
    return b"  ".join(_plain(text).translate(_TABLE, b"'").split())


def _plain(text: str) -> bytes:
    if text.isascii():
        return text.encode()
    view = plainer(text)
    text = (text if view is None else view.text).translate(_MARKS).lower()
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return text.replace("ß", "ss").replace("ı", "i").replace("ø", "o").replace("ł", "l").encode("utf-8", "replace")


def _one(match: "re.Match[bytes]", known: Callable[[bytes], bool]) -> bytes:
    """`k.i.l.l` as one word, where that is one."""
    joined = re.sub(rb"[^A-Za-z0-9$@]", b"", match.group()).lower()
    read = _read(joined, known)
    return read if known(read) else match.group()


def _read(word: bytes, known: Callable[[bytes], bool]) -> bytes:
    """A word with digits or signs for letters, as the letters, where that is a word of the vocabulary."""
    if word.isdigit():
        return word
    for table in (_LEET, _LEET_L):
        read = word.translate(table)
        if len(read) > 2 and read != word and known(read):
            return read
    return word


def _shortened(word: bytes, known: Callable[[bytes], bool]) -> bytes:
    if _RUNS.search(word) is None:
        return word
    for short in (_RUNS.sub(rb"\1\1", word), _RUNS.sub(rb"\1", word), _RUN.sub(rb"\1", word)):
        if known(short):
            return short
    return word


def _respaced(letters: bytes, known: Callable[[bytes], bool]) -> bytes:
    """Letters spaced out, read as words: cut where the gaps are wider, and where they are not, into known words."""
    words: list[bytes] = []
    for piece in _GAP.split(letters):
        whole = _read(piece.replace(b" ", b""), known)
        words += [whole] if known(whole) else _cut(whole, known)
    return b" ".join(words)


def _cut(letters: bytes, known: Callable[[bytes], bool]) -> list[bytes]:
    """The longest known word first, from the left; what is in no word stays single letters."""
    words = []
    at = 0
    while at < len(letters):
        for end in range(min(len(letters), at + _LONGEST), at, -1):
            if end == at + 1 or known(letters[at:end]):
                words.append(letters[at:end])
                at = end
                break
    return words
