"""A text as the detectors read it: bytes, their lower case, and the way back to code points.

Detectors read UTF-8. Lower case is ASCII's only, so that both have the same offsets. Where a text holds characters that
show one thing and are another, a second view is made and read too, with these differences taken out:

    zero width, soft hyphen, bidi controls, variation selectors, tags      left out (tags: read as what they spell)
    fullwidth, mathematical and circled letters and digits, ligatures      what NFKC makes of them
    Cyrillic and Greek letters that look Latin, where scripts mix           the Latin letter

A place in the second view is led back to the first through the list of places where the two differ.
"""

import re
import unicodedata
from bisect import bisect_right

_NOT_LEADING = bytes(range(0x80, 0xC0))
_LEADING = bytes(set(range(256)) - set(_NOT_LEADING))

INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff"
_SHAPED = "\u2100-\u214f\u2460-\u24ff\u3000\ufb00-\ufb06\uff01-\uff5e\U0001d400-\U0001d7ff\U0001f100-\U0001f189"
_ODD = re.compile(f"[{INVISIBLE}{_SHAPED}]+")

_LOOK = "аaвbсcԁdеeһhіiјjкkӏlмmпnоoрpԛqгrѕsтtцuѵvԝwхxуyАAВBСCЕEНHІIЈJКKМMОOРPЅSТTХXУYαaγyεeιiκkνvοoρpτtυuχxΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX"
LOOKALIKES = dict(zip(_LOOK[::2], _LOOK[1::2], strict=True))
_OTHER = "".join(LOOKALIKES)
MIXED = re.compile(f"[A-Za-z][{_OTHER}]|[{_OTHER}][A-Za-z]")
_CHANGED = re.compile(f"[{INVISIBLE}{_SHAPED}{_OTHER}]+")


class View:
    """`data` is UTF-8, `low` the same in ASCII lower case. `code_point` leads a byte offset back to the given text."""

    __slots__ = ("_back", "_froms", "_plain", "_seen", "data", "low", "text")

    def __init__(self, text: str, changes: "list[tuple[int, int]] | None" = None) -> None:
        """`changes` are (place here, place in the given text), in order: from that place on the two go side by side."""
        self.text = text
        self.data = text.encode("utf-8", "surrogatepass")
        self.low = self.data.lower()
        self._plain = len(self.data) == len(text)
        self._seen = (0, 0)
        self._froms = [here for here, _ in changes] if changes else None
        self._back = changes

    def code_point(self, byte: int, *, end: bool = False) -> int:
        """Returns the code point of the given text that a byte of `data` belongs to; `end` for an exclusive end.

        Counting goes on from the last place asked for, so that asking in order costs one pass.
        """
        place = byte if self._plain else self._counted(byte)
        if self._froms is None or self._back is None:
            return place
        if end and place:
            return self._led_back(place - 1) + 1
        return self._led_back(place)

    def _led_back(self, place: int) -> int:
        assert self._froms is not None
        assert self._back is not None
        here, there = self._back[bisect_right(self._froms, place) - 1]
        return there + place - here

    def _counted(self, byte: int) -> int:
        last, count = self._seen
        if byte < last:
            last = count = 0
        count += byte - last - len(self.data[last:byte].translate(None, _LEADING))
        self._seen = byte, count
        return count


def plainer(text: str) -> View | None:
    """Returns the view of a text without disguises, None where it has none."""
    if text.isascii():
        return None
    mixed = MIXED.search(text) is not None
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
            shown = _shown(character)
            pieces.append(shown)
            for _ in range(1, len(shown)):
                length += 1
                changes.append((length, place))
            length += bool(shown)
        done = odd.end()
        changes.append((length, done))
    pieces.append(text[done:])
    return View("".join(pieces), changes)


def _shown(character: str) -> str:
    point = ord(character)
    if 0xE0020 <= point <= 0xE007E:
        return chr(point - 0xE0000)
    if character in LOOKALIKES:
        return LOOKALIKES[character]
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
