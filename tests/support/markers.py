"""Canaries that are found again in whatever form they come back: made by label, searched for in bytes.

A canary is 30 letters and digits: a mark, 14 characters that say which request and place it was put into, another mark.
Both marks are of 40 random bits and stand for the canary's label, so that half a canary gives it away as well. They are
made anew for each run; with the 30 bits between them that nobody can guess, a canary has over 110 random bits, and the
rest tells canaries apart. Nothing but a copy of it makes a mark turn up somewhere: the forms that are searched for have
nine characters at the least.
"""

import base64
import secrets
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
MARK = 8
_GZIP = b"\x1f\x8b\x08"
_MOST_UNPACKED = 1 << 26


class Hit(NamedTuple):
    label: str
    form: str
    """How it was written: plain, base64, ..."""
    at: int
    request: int | None
    """Which request it was made for, where the form says that."""


def _word(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _number(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> 5 * place & 31] for place in reversed(range(length)))


class Markers:
    """The marks of one run."""

    def __init__(self, labels: Iterable[str]) -> None:
        self.marks = {label: (_word(MARK), _word(MARK)) for label in labels}
        forms: dict[bytes, tuple[str, str, bool]] = {}
        for label, marks in self.marks.items():
            for head, mark in zip((True, False), marks, strict=True):
                for form, pattern in written(mark):
                    forms.setdefault(pattern, (label, form, head))
        self._known = list(forms.values())
        self._search = BytesAhoCorasick(list(forms))

    def canary(self, label: str, request: int, place: int = 0) -> str:
        """Returns a canary: letters and digits only, so that it is the same in a header, a path, a host name."""
        head, tail = self.marks[label]
        return head + _number(request, 5) + _number(place, 3) + _word(6) + tail

    def find(self, data: bytes) -> Iterator[Hit]:
        """Every mark in `data`, in each form, and in what is compressed there."""
        for index, start, end in self._search.find_matches_as_indexes(data, overlapping=True):
            label, form, head = self._known[index]
            yield Hit(label, form, start, _asked(data, start, end) if form == "plain" and head else None)
        start = data.find(_GZIP)
        while start >= 0:
            for hit in self.find(_unpacked(data[start:])):
                yield hit._replace(form=f"gzip, {hit.form}", at=start)
            start = data.find(_GZIP, start + 1)

    def labels_in(self, data: bytes) -> set[str]:
        return {hit.label for hit in self.find(data)}


def _asked(data: bytes, start: int, end: int) -> int | None:
    number = 0
    for letter in data[end : end + 5].decode("latin-1"):
        if letter not in ALPHABET:
            return None
        number = number << 5 | ALPHABET.index(letter)
    return number if end + 5 <= len(data) else None


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return b""


def written(mark: str) -> Iterator[tuple[str, bytes]]:
    """Each form of a mark that a sink may have it in, with its name."""
    plain = mark.encode()
    yield "plain", plain
    yield "capitals", plain.upper()
    yield "backwards", plain[::-1]
    yield "utf-16", mark.encode("utf-16-le")
    for form, each in (("json", "\\u%04x"), ("json twice", "\\\\u%04x"), ("url", "%%%02x"), ("hex", "%02x")):
        text = "".join(each % letter for letter in plain)
        yield form, text.encode()
        if text != (capitals := text.upper().replace("\\U", "\\u")):
            yield form, capitals.encode()
    for once in inside_base64(plain):
        yield "base64", once
        for twice in inside_base64(once):
            yield "base64 twice", twice
    for escaped in [form for name, form in written_plainly(mark)]:
        for once in inside_base64(escaped):
            yield "base64 of an escape", once


def written_plainly(mark: str) -> Iterator[tuple[str, bytes]]:
    yield "json", "".join(f"\\u{ord(letter):04x}" for letter in mark).encode()
    yield "url", "".join(f"%{ord(letter):02x}" for letter in mark).encode()


def inside_base64(data: bytes) -> Iterator[bytes]:
    """What base64 of anything that has `data` in it must hold: one for each way in which it can be aligned."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data)
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        yield coded[first:last]
