"""Injection that is written so that words are not seen: base64, hex, rot13, backwards, with digits for letters.

The prefilter looks for a few words in each of these writings (all three alignments of base64, usual cases); a stretch
around such a place is written out plainly, and the phrases are sought in it. So an encoded text is found by what it
says, not by looking encoded: pictures, keys and checksums in base64 cost nothing and find nothing.
"""

import base64
import binascii
import codecs
from collections.abc import Callable, Iterator, Sequence

from freehold.check.detect.expression import Expression, quoted
from freehold.check.detect.finding import Hit
from freehold.check.detect.pattern import stretches
from freehold.check.detect.view import View

_WORDS = (
    "ignore all",
    "ignore prev",
    "disregard",
    "instructions",
    "system prompt",
    "previous",
    "jailbreak",
    "override",
)
_REACH = 300
_LEAST = 0.35
"""What a plain text must weigh: that it was written so that it is not seen counts too."""
_LEET = bytes.maketrans(b"013457@$!|", b"oieastasil")
_B64 = Expression(rb"[A-Za-z0-9+/_\-]{1,600}={0,2}")
_HEX = Expression(rb"(?:[0-9a-f]{2}[ :,]?|\\x[0-9a-f]{2}|%[0-9a-f]{2}){8,400}")


def _base64_forms(word: str) -> Iterator[bytes]:
    """Yields what a word looks like within base64, whatever stands before it, in lower case as the prefilter reads."""
    for form in (word, word.capitalize(), word.upper()):
        for shift in range(3):
            whole = base64.b64encode(b"\0" * shift + form.encode())
            start = (0, 2, 3)[shift]
            cut = (len(form) + shift) * 8 // 6
            yield whole[start:cut].lower()


def _leet_forms(word: str) -> Iterator[bytes]:
    for vowels in ({"i": "1", "o": "0", "e": "3"}, {"i": "1", "o": "0"}, {"o": "0"}, {"i": "1"}, {"e": "3"},
                   {"o": "0", "e": "3"}, {"i": "1", "e": "3"}, {"i": "1", "o": "0", "e": "3", "s": "5", "a": "4"},
                   {"a": "4"}, {"i": "!"}, {"s": "$"}, {"a": "@"}):  # fmt: skip
        written = "".join(vowels.get(letter, letter) for letter in word)
        if written != word:
            yield written.encode()


class Encoded:
    """`judge` says how much a plain text weighs as an injection, 0 to 1."""

    name = "encoded-injection"
    exact = False
    longest = 2 * _REACH

    def __init__(self, judge: Callable[[str], float]) -> None:
        self._judge = judge
        self._ways: dict[bytes, Callable[[bytes], bytes]] = {}
        for word in _WORDS:
            for form in _base64_forms(word):
                if len(form) >= 8:
                    self._ways[form] = _from_base64
            self._ways[word.encode().hex().encode()] = _from_hex
            self._ways[" ".join(f"{c:02x}" for c in word.encode()).encode()] = _from_hex
            self._ways["".join(f"\\x{c:02x}" for c in word.encode()).encode()] = _from_hex
            self._ways[codecs.encode(word, "rot13").encode()] = _from_rot13
            self._ways[word[::-1].encode()] = _from_reverse
        for word in (
            "ignore",
            "previous",
            "instructions",
            "disregard",
            "prompt",
            "system",
            "bypass",
            "jailbreak",
            "forget",
        ):
            for form in _leet_forms(word):
                self._ways[form] = _from_leet
        self.literals = tuple(self._ways)
        self._which = Expression(b"|".join(quoted(form) for form in sorted(self.literals, key=len, reverse=True)))

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data, low = view.data, view.low
        for start, end in stretches(places, _REACH, _REACH, len(data)):
            tried = set()
            for match in self._which.finditer(low, start, end):
                way = self._ways[match.group()]
                if way in tried:
                    continue
                tried.add(way)
                first, last = _extent(data, low, way, match.start(), start, end)
                plain = way(data[first:last])
                score = self._judge(plain.decode("utf-8", "replace")) if plain else 0.0
                if score >= _LEAST:
                    yield Hit("prompt_injection", first, last, self.name, min(1.0, score + 0.1), 2)


def _extent(
    data: bytes, low: bytes, way: Callable[[bytes], bytes], place: int, start: int, end: int
) -> tuple[int, int]:
    """Returns the encoded run around a place, or the whole stretch for writings that keep spaces."""
    alphabet = _B64 if way is _from_base64 else _HEX if way is _from_hex else None
    if alphabet is not None:
        for match in alphabet.finditer(low if way is _from_hex else data, start, end):
            if match.start() <= place < match.end():
                return match.span()
    return start, end


def _from_base64(text: bytes) -> bytes:
    text = text.replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    for cut in range(4):
        part = text[cut:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        try:
            plain = base64.b64decode(part + b"=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            continue
        if sum(32 <= c < 127 or c in b"\n\r\t" for c in plain) > len(plain) * 0.85:
            return plain
    return b""


def _from_hex(text: bytes) -> bytes:
    digits = bytes(c for c in text.lower().replace(b"\\x", b"") if c in b"0123456789abcdef")
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())


def _from_rot13(text: bytes) -> bytes:
    return codecs.encode(text.decode("utf-8", "replace"), "rot13").encode()


def _from_reverse(text: bytes) -> bytes:
    return text.decode("utf-8", "replace")[::-1].encode()


def _from_leet(text: bytes) -> bytes:
    return text.translate(_LEET)
