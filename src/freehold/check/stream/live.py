"""Where in a text a match may still be going on: the one thing a hold-back automaton has to know.

Three kinds of rules, and what each of them asks to be held:

    always        rules without a word to trigger them: the unfinished token at the end (every key, address and hash is
                  one, and most text never holds more than a word), groups of digits and the words just after them
    triggered     rules that begin with a literal (`password`, `-----BEGIN `, `born`): from the literal for as long as
                  what follows it is a prefix of a match, read off the rule's own pattern (prefixes.py)
    bounded       what neither covers: its longest match, always. None of the rules that ship is of this kind; a test
                  says so

A rule is asked about only if the policy does something about its type. How much is held at most follows from the rules
(`most`): 1,009 bytes of one unbroken token, 20,000 of a private key whose end has not come, 16,000 of a web token.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from freehold.check.detect.expression import Expression
from freehold.check.detect.finding import DEFAULT_LABELS
from freehold.check.detect.rules import Rules
from freehold.check.detect.view import View, plainer
from freehold.check.stream.prefixes import alphabet, init

TOKEN = rb"[a-z0-9!#$%&*+/=?^_{|}~.\-:@,]"
_TOKEN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&*+/=?^_{|}~.-:@,")
BACK = 140
"""Code points before what is held that can hold a literal which still matters: the rest of a rule's words."""

_RUN = rb"[+(]?[0-9](?:[ ().\-/]{0,3}[0-9])"
_NUMBERS = rb"\(|" + _RUN + rb"*[ ().\-/]{0,3}"
_NUMBER = Expression(_RUN + rb"{6,}")
_GROUPS = Expression(rb"[a-z]{2}[0-9]{2}(?: ?[a-z0-9])* ?\z")
_DIGIT = re.compile(rb"[0-9]")
_TOKEN_END = Expression(TOKEN + rb"*\z")
_AFTER = 40
"""Bytes after a number that may say what it is, its extension among them."""
_LONGEST_GROUPS = 48
_HOST_AFTER = 32
_LINK = Expression(
    rb"(?is)(?:!?\[[^\]\n]*(?:\](?:\[[^\]\n]*\]?|\(\s{0,3}<?[^\s)>]*\)?)?)?|<(?:i(?:m(?:g[^>]*>?)?)?)?)\z"
)
_LINK_OPEN = Expression(rb"\](?:\(|\[)|<img")
_LINK_LONGEST = 1700
_LINK_TEXT = 310
_ODD = rb"[a-z0-9\x80-\xff]+"
_ALWAYS = {
    "numbers": _NUMBERS,
    "emails": TOKEN + b"+",
}
"""Rows for rules that are code and no pattern: by name, what may still be a match at the end of a text."""

_TRIGGERED = {
    "url-credentials": rb"://[^\s/?#@\"'<>]{0,400}@?",
    "jwt": rb"eyj[a-z0-9_\-.]*",
    "auth-header": rb"basic [a-z0-9+/]*={0,2}|bearer [a-z0-9_~+/.\-]*={0,2}|curl [^\n]{0,420}"
    rb"|login [^\s]{0,64}|login [^\s]{1,64}\s{1,4}[passwor]{0,8}|login [^\s]{1,64}\s{1,4}password [^\s]{0,128}",
}
_ASSIGNED = (
    rb"[a-z0-9_\-]{0,24}[\"'`\])]{0,2}\s{0,3}(?:=>|:=|===|==|!=|=|::|:|,|>|is|ist|es|est|\xc3\xa9)\s{0,3}"
    rb"(?:[a-z]?[\"'`][^\"'`\n\\]{0,200}[\"'`]|[^\s\"'`,;)}\]<>]{6,200})"
)
_ID = Expression(rb"(?is)(?:\b[a-z]{1,3}[ \-]?)?(?:[0-9](?:[ .\-/+]?[0-9a-z]){0,20}[ .\-/+]?)?\z")
_ID_REACH = 130
_SLACK = 64
"""Bytes beyond the longest match for which a rule may still look at what follows."""
_NEAR = 40
"""Bytes before what is held that a trigger may begin at: it is held from its beginning once it is whole."""
_KEY = Expression(rb"(?is)-----begin [a-z0-9 ]{0,80}private key(?: block)?-----|putty-user-key-file-")
_KEY_HEAD = Expression(rb"(?is)(?:-----begin [a-z0-9 ]{0,90}-{0,5}|putty-user-key-file-.{0,60})\z")

Alive = Callable[[bytes, int], int]
"""Takes a text in lower case and where a literal begins; returns where what must be held begins, or its length."""

_TYPES = {
    "numbers": ("credit_card", "us_ssn", "ip_address", "mac_address", "iban", "crypto_address", "phone"),
    "emails": ("email",),
    "markdown-exfiltration": ("exfiltration",),
    "internal-host": ("hostname",),
    "national-id": ("national_id", "health_id", "us_ssn"),
    "encoded-injection": ("prompt_injection",),
    **dict.fromkeys(("url-credentials", "jwt", "auth-header", "assigned-secret", "private-key"), ("secret",)),
}
"""What rules find that are code and no pattern."""


class Live:
    """What must be held for the findings of some types. Making one costs milliseconds; keep it."""

    def __init__(self, rules: Rules, types: Collection[str]) -> None:
        always: list[bytes] = []
        token = False
        literals: dict[bytes, list[Alive | None]] = {}
        reaches: dict[bytes, int] = {}
        self.bounded = 0
        """Bytes always held for rules whose live prefixes nobody has said."""
        self.sweeps = False
        self._ends: list[Callable[[bytes], int]] = []
        self.most = 0
        """Bytes held at most."""
        self._cap = 600
        """Bytes that rules without a trigger hold at most."""
        self._hidden = "hidden_unicode" in types
        for detector in parts(rules):
            if not types_of(detector) & frozenset(types):
                continue
            self.most = max(self.most, detector.longest)
            alive: Alive | None = None
            pattern: bytes | None = getattr(detector, "pattern", None)
            words: Sequence[bytes] = getattr(detector, "literals", ())
            if not words:
                self.sweeps = True
            if detector.name == "numbers":
                self._ends.append(_number_alive)
            elif detector.name == "markdown-exfiltration":
                self._ends.append(_link_alive)
            if detector.name in _ALWAYS:
                always.append(_ALWAYS[detector.name])
                self._cap = max(self._cap, detector.longest)
            elif detector.name in _TRIGGERED:
                alive = _matching(_TRIGGERED[detector.name], detector.longest)
            elif detector.name == "assigned-secret":
                alive = _matching(b"(?:" + b"|".join(_hex(word) for word in words) + b")" + _ASSIGNED, detector.longest)
            elif detector.name == "internal-host":
                token, alive = True, _host_alive
            elif detector.name == "private-key":
                alive = _key_alive
            elif detector.name == "national-id":
                alive = _id_alive
            elif pattern is not None and alphabet(pattern) <= _TOKEN_BYTES:
                token = True
                self._cap = max(self._cap, detector.longest)
            elif pattern is not None and not getattr(detector, "before", 0):
                alive = _matching(pattern, detector.longest)
            elif pattern is not None:
                always.append(init(pattern))
                self._cap = max(self._cap, detector.longest)
            elif detector.name != "markdown-exfiltration":
                self.bounded = max(self.bounded, detector.longest)
            for word in words:
                literals.setdefault(word.lower(), []).append(alive)
                reach = BACK if alive is _id_alive else max(_NEAR, self.bounded)
                reaches[word.lower()] = max(reach, reaches.get(word.lower(), 0))
        if token:
            always.append(TOKEN + b"+")
        if self._hidden:
            always.append(_ODD)
        self._always = Expression(b"(?is)(?:" + b"|".join(always) + rb")\z") if always else None
        self._alive = list(literals.values())
        self._reaches = [reaches[word] for word in literals]
        self._automaton = (
            BytesAhoCorasick(list(literals), matchkind=MatchKind.Standard, implementation=Implementation.DFA)
            if literals
            else None
        )

    def look(self, text: str, released: int) -> tuple[int, bool]:
        """Returns from where on `text` must be held, in code points, and whether its end, from `released` on, can hold
        a finding at all (else nobody needs to look for one). At least `BACK` code points before `released` are given,
        where there are so many."""
        if text.isascii():
            data = text.encode().lower()
            start, hit = self._look(data, released)
            return start, hit or (self.sweeps and _may_sweep(data, released))
        view = View(text)
        data = view.low
        start, hit = self._look(data, len(text[:released].encode("utf-8", "surrogatepass")))
        start = len(data[:start].translate(None, _CONTINUING))
        plain = plainer(text)
        if plain is not None:
            hit = True
            other, _ = self._look(plain.low, 0)
            if other < len(plain.low):
                start = min(start, plain.code_points([(other, other)])[0][0])
            while start and plainer(text[start - 1]) is not None:
                start -= 1
        return start, hit or self._hidden or (self.sweeps and _may_sweep(data, 0))

    def _look(self, data: bytes, released: int) -> tuple[int, bool]:
        end = len(data)
        start = max(0, end - self.bounded)
        if self._always is not None:
            found = self._always.search(data, 0, end)
            if found is not None:
                start = min(start, max(found.start(), end - self._cap))
        for alive_at_end in self._ends:
            start = min(start, alive_at_end(data))
        hit = False
        if self._automaton is not None:
            reaches = self._reaches
            for number, place, _ in self._automaton.find_matches_as_indexes(data, overlapping=True):
                if place >= released - reaches[number]:
                    hit = True
                    if place < start:
                        for alive in self._alive[number]:
                            if alive is not None:
                                start = min(start, alive(data, place))
        return start, hit


def parts(rules: Rules) -> list[Any]:
    """Returns the detectors of `rules`, those that are several asked together apart."""
    return [part for detector in rules.detectors for part in getattr(detector, "patterns", (detector,))]


def types_of(detector: Any) -> frozenset[str]:
    """Returns the types of finding that a detector makes; all of them where nobody has said which."""
    kind: str | None = getattr(detector, "type", None)
    return frozenset((kind,) if kind is not None else _TYPES.get(detector.name, DEFAULT_LABELS))


def _matching(pattern: bytes, longest: int) -> Alive:
    expression = Expression(b"(?is)" + init(pattern) + rb"\z")

    def alive(data: bytes, place: int) -> int:
        end = len(data)
        if end - place > longest + _SLACK:
            return end
        return place if expression.match(data, place, end) is not None else end

    return alive


def _number_alive(data: bytes) -> int:
    """Where a number begins that what comes next may still make into something: its words, its further groups."""
    end = len(data)
    if _DIGIT.search(data, max(0, end - _LONGEST_GROUPS), end) is None:
        return end
    found = _GROUPS.search(data, max(0, end - _LONGEST_GROUPS), end)
    start = end if found is None else found.start()
    for number in _NUMBER.finditer(data, max(0, end - 400), end):
        if number.end() >= end - _AFTER:
            return min(start, number.start())
    return start


def _link_alive(data: bytes) -> int:
    end = len(data)
    found = _LINK.search(data, max(0, end - _LINK_LONGEST), end)
    if found is not None and end - found.start() > _LINK_TEXT and _LINK_OPEN.search(data, found.start(), end) is None:
        found = _LINK.search(data, end - _LINK_TEXT, end)
    return end if found is None else found.start()


def _host_alive(data: bytes, place: int) -> int:
    if len(data) - place > _HOST_AFTER:
        return len(data)
    before = data[max(0, place - 260) : place]
    found = _TOKEN_END.search(before, 0, len(before))
    return place if found is None else place - len(before) + found.start()


def _key_alive(data: bytes, place: int) -> int:
    head = _KEY.match(data, place, len(data))
    if head is None:
        return place if _KEY_HEAD.match(data, place, len(data)) is not None else len(data)
    tail = data.find(b"-----end ", head.end(), place + 20_000)
    if len(data) - place >= 20_000 or (tail >= 0 and data.find(b"-----", tail + 9) >= 0):
        return len(data)
    return place


def _id_alive(data: bytes, place: int) -> int:
    if len(data) - place > _ID_REACH:
        return len(data)
    found = _ID.search(data, place, len(data))
    return len(data) if found is None else found.start()


_SWEPT = re.compile(rb"[0-9@]|:[0-9a-f]{0,4}:")


def _may_sweep(data: bytes, released: int) -> bool:
    """Whether there is something from `released` on that a sweep could find: a digit, an @, colons side by side."""
    return _SWEPT.search(data, max(0, released - 3)) is not None


def _hex(word: bytes) -> bytes:
    return b"".join(b"\\x%02x" % c for c in word)


_CONTINUING = bytes(range(0x80, 0xC0))
