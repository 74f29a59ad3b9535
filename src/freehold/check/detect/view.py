"""A text as the detectors read it: bytes, their lower case, and the way back to code points.

Detectors read UTF-8. Lower case keeps every character where it is, so that both have the same offsets. Where a text
holds characters that show one thing and are another, a second view is made and read too, with these differences taken
out:

    zero width, soft hyphen, bidi controls, variation selectors, tags      left out (tags: read as what they spell)
    fullwidth, mathematical and circled letters and digits, ligatures      what NFKC makes of them
    Cyrillic and Greek letters that look Latin, AROUND scripts that mix     the Latin letter

A place in the second view is led back to the first through the list of places where the two differ.
"""

import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence

from freehold.check.detect.expression import Expression, quoted

AROUND = 100
"""Characters around a place that tell how it is to be read: what is further away a stream may not have any more."""
_NOT_LEADING = bytes(range(0x80, 0xC0))
_LEADING = bytes(set(range(256)) - set(_NOT_LEADING))

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e0fff"
)
_SHAPED = "\u2100-\u214f\u2460-\u24ff\u3000\ufb00-\ufb06\uff01-\uff5e\U0001d400-\U0001d7ff\U0001f100-\U0001f189"
_ODD = re.compile(f"[{INVISIBLE}{_SHAPED}]+")

_LOOK = (
    "аaвbсcԁdеeһhіiјjкkӏlмmпnоoрpԛqгrѕsтtцuѵvԝwхxуyАAВBСCЕEНHІIЈJКK"
    "МMОOРPЅSТTХXУYαaγyεeιiκkνvοoρpτtυuχxΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX"
)
LOOKALIKES = dict(zip(_LOOK[::2], _LOOK[1::2], strict=True))
_OTHER = "".join(LOOKALIKES)
MIXED = re.compile(f"[A-Za-z][{_OTHER}]|[{_OTHER}][A-Za-z]")
_CHANGED = re.compile(f"[{INVISIBLE}{_SHAPED}{_OTHER}]+")


_UNEVEN = re.compile(
    "([\u0130\u023a\u023e\u1e9e\u2126\u212a\u212b\u2c62\u2c64\u2c6d-\u2c70\u2c7e\u2c7f\ua78d\ua7aa-\ua7ae\ua7b0-\ua7b2\ua7c5"
    "\u03a3]+)"
)
"""Characters whose lower case has another length, and the one whose lower case depends on its place in a word."""


_DISGUISE = (
    rb"[A-Za-z][\xce-\xd5]|(?:\xce[\x80-\xbf]|\xcf[\x80-\xbf]|[\xd0-\xd5][\x80-\xbf])[A-Za-z]"
    rb"|\xc2\xad|\xcd\x8f|\xd8\x9c|\xe1(?:\x85[\x9f\xa0]|\x9e[\xb4\xb5]|\xa0[\x8b-\x8e])"
    rb"|\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xaf]|\x84[\x80-\xbf]|\x85[\x80-\x8f]|[\x91-\x93][\x80-\xbf])"
    rb"|\xef(?:\xbb\xbf|\xac[\x80-\x86]|\xbc[\x90-\x99\xa1-\xba]|\xbd[\x81-\x9a]|\xb8[\x80-\x8f]\xef\xb8)"
    rb"|\xe3\x85\xa4|\xef\xbe\xa0|\xf0(?:\x9d[\x90-\x9f]|\x9f[\x84-\x86])|\xf3\xa0"
)
"""Bytes that only a text with invisible, shaped or mixed characters has, in UTF-8."""


def _large() -> bytes:
    """Returns the expression of all letters beyond ASCII that have a lower case, in UTF-8."""
    lasts: dict[bytes, bytearray] = {}
    for point in (*range(0x80, 0x2E00), *range(0xA640, 0xABC0), *range(0xFF21, 0xFF3B), *range(0x10400, 0x10D00),
                  *range(0x118A0, 0x118C0), *range(0x16E40, 0x16E60), *range(0x1E900, 0x1E922)):  # fmt: skip
        if chr(point).lower() != chr(point):
            letter = chr(point).encode()
            lasts.setdefault(letter[:-1], bytearray()).append(letter[-1])
    return b"|".join(quoted(first) + b"[" + quoted(bytes(last)) + b"]" for first, last in lasts.items())


_NOTABLE = Expression(_DISGUISE + b"|" + _large())
_DISGUISED = Expression(_DISGUISE)
"""What most texts have nothing of: one fast look for both saves slow ones."""


class View:
    """`data` is UTF-8, `low` the same in lower case, byte for byte; `plain` says that all of it is ASCII, `disguised`
    that it may hold characters that show one thing and are another.
    """

    __slots__ = ("_back", "_froms", "data", "disguised", "low", "plain", "text")

    def __init__(self, text: str, changes: "list[tuple[int, int]] | None" = None) -> None:
        """`changes` are (place here, place in the given text), in order: from that place on the two go side by side."""
        self.text = text
        self.data = data = text.encode("utf-8", "surrogatepass")
        self.plain = plain = len(data) == len(text)
        if plain or _NOTABLE.span(data, 0, len(data))[0] < 0:
            self.low = data.lower()
            self.disguised = False
        else:
            self.low = _lowered(text)
            self.disguised = _DISGUISED.span(data, 0, len(data))[0] >= 0
        self._back = changes
        self._froms = [here for here, _ in changes] if changes else None

    def code_points(self, spans: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """Returns the starts and the ends, exclusive, in code points of the given text, of spans of bytes of `data`."""
        if self.plain and self._froms is None:
            return [start for start, _ in spans], [end for _, end in spans]
        counted = self._counted({place for span in spans for place in span})
        starts = [self._led_back(counted[start]) for start, _ in spans]
        ends = [self._led_back(counted[end] - 1) + 1 if counted[end] else 0 for _, end in spans]
        return starts, ends

    def _counted(self, places: set[int]) -> dict[int, int]:
        """Returns how many code points begin before each place, in one pass over the bytes."""
        counts: dict[int, int] = {}
        last = count = 0
        for place in sorted(places):
            count += place - last - len(self.data[last:place].translate(None, _LEADING))
            counts[place] = count
            last = place
        return counts

    def _led_back(self, place: int) -> int:
        if self._froms is None or self._back is None:
            return place
        here, there = self._back[bisect_right(self._froms, place) - 1]
        return there + place - here


def _lowered(text: str) -> bytes:
    """Returns the text in lower case with every character where it was: those whose lower case is longer stay."""
    pieces = _UNEVEN.split(text)
    pieces[::2] = [piece.lower() for piece in pieces[::2]]
    return "".join(pieces).encode("utf-8", "surrogatepass")


def plainer(text: str) -> View | None:
    """Returns the view of a text without disguises, None where it has none."""
    mixed = _mixed(text)
    if not mixed and _ODD.search(text) is None:
        return None
    pieces: list[str] = []
    changes = [(0, 0)]
    length = done = 0
    for odd in (_CHANGED if mixed else _ODD).finditer(text):
        pieces.append(text[done : odd.start()])
        length += odd.start() - done
        for place, character in enumerate(odd.group(), odd.start()):
            changes.append((length, place))
            shown = _shown(character, near=_near(mixed, place))
            pieces.append(shown)
            for _ in range(1, len(shown)):
                length += 1
                changes.append((length, place))
            length += bool(shown)
        done = odd.end()
        changes.append((length, done))
    pieces.append(text[done:])
    return View("".join(pieces), changes)


def _mixed(text: str) -> list[tuple[int, int]]:
    """Returns the stretches around places where letters of two scripts stand side by side, in order, apart."""
    found: list[tuple[int, int]] = []
    for match in MIXED.finditer(text):
        start = match.start() - AROUND
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], match.end() + AROUND)
        else:
            found.append((start, match.end() + AROUND))
    return found


def _near(stretches: Sequence[tuple[int, int]], place: int) -> bool:
    index = bisect_right(stretches, (place, sys.maxsize)) - 1
    return index >= 0 and place < stretches[index][1]


def _shown(character: str, *, near: bool) -> str:
    """`near` a place where scripts mix, a letter that looks Latin is."""
    point = ord(character)
    if 0xE0020 <= point <= 0xE007E:
        return chr(point - 0xE0000)
    if character in LOOKALIKES:
        return LOOKALIKES[character] if near else character
    return _SHOWN.get(character, "")


def _folded(ranges: str) -> dict[str, str]:
    """Returns what NFKC makes of the shaped characters."""
    found = {}
    for span in re.findall(r"(.)-(.)|(.)", ranges, re.DOTALL):
        first, last = (span[0], span[1]) if span[0] else (span[2], span[2])
        for point in range(ord(first), ord(last) + 1):
            found[chr(point)] = unicodedata.normalize("NFKC", chr(point))
    return found


_SHOWN = _folded(_SHAPED)
