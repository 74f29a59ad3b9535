"""The arguments of a tool call, in pieces: read as what they say, passed on as what they are.

Arguments are JSON, and JSON has more than one way to write a character: `bob\\u0040example.com` is an address too. So
the automaton reads a view of the text in which the escapes inside strings stand for what they mean, while the quotes,
colons and names around them stay, because rules look at them (`"password": "..."`). What is let go goes out as it
came.

    came    {"to": "bob\\u0040example.com", "n": 4111111111111111}
    view    {"to": "bob@example.com", "n": 4111111111111111}
    out     {"to": "[redacted email]", "n": 9999999999999999}

Whatever is replaced, JSON comes out where JSON came in: inside strings the replacement is escaped, marks between
strings stay, and the digits of a bare number become nines. JSON inside a string of JSON is read one level deeper for
`\\u` escapes. Text that is no JSON passes through the same way, as far as its quotes go.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from freehold.check.stream.channel import Channel, Cut
from freehold.check.stream.policy import Verdict

_PLAIN = re.compile(r'[^"\\]+')
_BARE = re.compile(r'[^"]+')
_ESCAPE = re.compile(
    r"\\\\u([0-9a-fA-F]{4})|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)",
    re.DOTALL,
)
_HALF = re.compile(
    r"\\(?:\\(?:u[0-9a-fA-F]{0,3})?|u(?:[0-9a-fA-F]{0,3}|[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?))?"
)
_LONGEST = 12
_MEANS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_DIGIT = re.compile("[0-9]")


class _Part(NamedTuple):
    """A stretch of the view. `raw` is what it came as, where that is not the same; then it stands for one character."""

    shown: str
    raw: str | None
    inside: bool
    """Within a string."""


class Arguments:
    """`feed` and `close` return raw text. `complete`: the outermost value has ended, nothing is held any more."""

    __slots__ = ("_channel", "_depth", "_inside", "_parts", "_rest", "changed", "choice", "complete")

    def __init__(self, channel: Channel, choice: int = 0) -> None:
        self._channel = channel
        self.choice = choice
        self._parts: list[_Part] = []
        self._rest = ""
        """An escape that has not come whole."""
        self._inside = False
        self._depth = 0
        self.complete = False
        self.changed = False

    @property
    def blocked(self) -> Verdict | None:
        return self._channel.blocked

    def feed(self, piece: str) -> str:
        shown = self._read(self._rest + piece)
        out = self._take(self._channel.feed(shown))
        if self._depth == 0 and not self._inside and not self._rest and shown.rstrip()[-1:] in ("}", "]"):
            self.complete = True
            out += self._take(self._channel.close())
        return out

    def close(self) -> str:
        rest, self._rest = self._rest, ""
        if rest:
            self._parts.append(_Part(rest, None, self._inside))
        return self._take([*self._channel.feed(rest), *self._channel.close()] if rest else self._channel.close())

    def _read(self, text: str) -> str:
        """Returns the view of `text`, noting what it stands for."""
        first = len(self._parts)
        place, end = 0, len(text)
        self._rest = ""
        while place < end:
            if text[place] == '"':
                self._parts.append(_Part('"', None, False))
                self._inside = not self._inside
                place += 1
            elif not self._inside:
                place = self._outside(text, place)
            elif text[place] == "\\":
                if end - place < _LONGEST and _HALF.fullmatch(text, place) is not None:
                    self._rest = text[place:]
                    break
                place = self._escape(text, place)
            else:
                found = _PLAIN.match(text, place)
                assert found is not None
                self._parts.append(_Part(found.group(), None, True))
                place = found.end()
        return "".join([part.shown for part in self._parts[first:]])

    def _outside(self, text: str, place: int) -> int:
        found = _BARE.match(text, place)
        assert found is not None
        marks = found.group()
        self._parts.append(_Part(marks, None, False))
        self._depth += marks.count("{") + marks.count("[") - marks.count("}") - marks.count("]")
        return found.end()

    def _escape(self, text: str, place: int) -> int:
        found = _ESCAPE.match(text, place)
        assert found is not None
        deeper, high, low, plain, mark = found.groups()
        if high is not None:
            shown = chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
        elif mark is not None:
            shown = _MEANS.get(mark, mark)
        else:
            shown = chr(int(plain or deeper, 16))
        self._parts.append(_Part(shown, found.group(), True))
        return found.end()

    def _take(self, cuts: Sequence[Cut]) -> str:
        if not cuts:
            return ""
        out: list[str] = []
        place = 0
        for cut in cuts:
            left, new = cut.length, cut.text
            if new is not None:
                self.changed = True
                new = json.dumps(new, ensure_ascii=False)[1:-1]
            while left:
                part = self._parts[place]
                if len(part.shown) > left:
                    self._parts[place] = part._replace(shown=part.shown[left:])
                    part = part._replace(shown=part.shown[:left])
                else:
                    place += 1
                left -= len(part.shown)
                if cut.text is None:
                    out.append(part.shown if part.raw is None else part.raw)
                elif not part.inside:
                    out.append(_DIGIT.sub("9", part.shown))
                elif new is not None:
                    out.append(new)
                    new = None
        del self._parts[:place]
        return "".join(out)
