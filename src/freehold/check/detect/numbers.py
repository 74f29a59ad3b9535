"""Numbers that their shape gives away: cards, telephone numbers, social security numbers, IPv4 addresses.

One pass of RE2 over the text finds what has a shape: seven digits and more with the usual marks between, hex groups
with colons, IBAN-like and base58 words, and the two kinds of keys that have nothing but points in the right places.
What it is is then told from the found characters alone, by ranges and checksums, and where these do not settle it (a
bare `450 0840`), by words close by.

Cards: Luhn and the issuers' ranges (ISO/IEC 7812). A run of 12 or 13 digits passes Luhn one time in ten, so it needs
the words too. Telephone numbers: E.164 (at most 15 digits), the North American plan's rule for areas and exchanges,
and for other countries the way they are written: a leading 0, groups of two to four.
"""

import re
from collections.abc import Iterator, Sequence

from freehold.check.detect.addresses import iban_end, tell_lettered
from freehold.check.detect.around import alone, ends_with, near
from freehold.check.detect.checks import luhn
from freehold.check.detect.expression import WORD, Expression
from freehold.check.detect.finding import Hit
from freehold.check.detect.keys import AIRTABLE, DISCORD
from freehold.check.detect.national import shaped
from freehold.check.detect.view import View

_SHAPES = Expression(
    rb"\b(?:[0-9]{17}[0-9Xx]|[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]|[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[A-Z0-9][0-9])\b"
    rb"|\b[A-Za-z]{2}[0-9]{2} ?[A-Za-z0-9]{4}(?: ?[A-Za-z0-9]{1,4}){2,7}"
    rb"|"
    + AIRTABLE
    + rb"|"
    + DISCORD
    + rb"|\b(?:0x[0-9a-fA-F]{40}|bc1[a-z0-9]{25,87}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b"
    rb"|\b(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}|\b[0-9A-Fa-f]{1,4}::[0-9A-Fa-f]{1,4}\b"
    rb"|\b[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}\b"
    rb"|[+(]?[0-9](?:[ ().\-/]{0,3}[0-9]){6,60}"
    rb"|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b"
)
_SSN = rb"(?P<ssn>\d{3}(?P<sep>[- ])\d{2}(?P=sep)\d{4}(?!\d))"
_IN_RUN = re.compile(
    rb"(?<!\d)(?<!\d[-.])"
    + _SSN
    + rb"|(?P<card>(?<!\d)(?:\d{4}(?P<by>[ -])\d{4}(?P=by)\d{4}(?P=by)\d{1,4}(?:(?P=by)?\d{3})?"
    rb"|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{12,19})(?!\d))"
    rb"|(?P<date>(?<!\d)(?:(?:19|20)\d\d(?P<d>[-/.])\d{1,2}(?P=d)\d{1,2}|\d{1,2}(?P<e>[/.])\d{1,2}(?P=e)(?:19"
    rb"|20)\d\d)(?!\d))"
    rb"|(?P<ip>(?<!\d)(?<!\d\.)(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?!\.?\d))"
    rb"|(?P<phone>[+(]?\d(?:[ ().\-/]{0,3}\d){6,17})"
)
_BOUNDED = (
    re.compile(
        rb"(?P<card>(?:\d{4}(?P<by>[ -])\d{4}(?P=by)\d{4}(?P=by)\d{1,4}|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{13,19})(?!\d))"
        rb"|" + _SSN
    ),
    re.compile(rb"(?P<phone>(?:\+?1[ .\-])?\(?[2-9]\d{2}\)?[ .\-][2-9]\d{2}[ .\-]\d{4}(?!\d))"),
)
"""What says itself where it ends, so that it is found in the middle of other digits; the surer first."""
_GROUP = re.compile(rb"(?<!\d)[+(]?\d")
_EXTENSION = re.compile(rb" ?(?:x|ext\.? ?|#)\d{1,6}\b")
_NANP = re.compile(rb"(?:\+?1[ .\-]?|001[ .\-])?\(?[2-9]\d{2}\)?[ .\-]?[2-9]\d{2}[.\- ]\d{4}")
_NANP_LIKE = re.compile(rb"(?:001-)?(?:\d{3}[-.]|\(\d{3}\) ?)\d{3}[-.]\d{4}")
_NATIONAL = re.compile(
    rb"\(?0[1-9]\d{0,4}\)?(?:[ \-/]{0,2}\d{2,4}){2,4}|0[1-9](?:\.\d\d){4}|\(0[1-9]\d{0,3}\) ?\d{4,8}"
)

_NEAR_PHONE = Expression(
    rb"phone|\btel|t\xc3\xa9l|fono|mobil|m\xc3\xb3vil|\bcell|\bfax|\bcall|\bring\b|dial|\btext\b|\bsms\b|whats"
    rb"|reach|contact"
    rb"|answering|hotline|handy\b|\bdesk\b|office:|messages to|(?:my|new|our|your|his|her|their) number"
    rb"|registered|num\xc3\xa9ro"
    rb"|\bport\xc3\xa1til|celular|rufnummer|\xd1\x82\xd0\xb5\xd0\xbb|\xe9\x9b\xbb\xe8\xa9\xb1|\xe7\x94\xb5\xe8\xaf\x9d"
)
_OFFICE = Expression(rb"[ \-]{1,3}office")
_NOT_PHONE = Expression(
    rb"(?:order|invoice|address|located|street|account|acct|ticket|case|ref\w*|tracking|serial|zip|post\w*|card"
    rb"|booking|isbn|issn|doi|part|model|"
    rb"version|port|pin|code|bug|issue|id|sku|vat|tax|license|licence|patent|ssn|passport"
    rb"|iban)\W{0,4}(?:\w{1,6}\W{0,3})?$"
)
_NEAR_CARD = Expression(
    rb"card|\bcc\b|credit|debit|visa|master|amex|maestro|\bpay|paid|charge|karte|carte|tarjeta|cart\xc3\xa3o"
    rb"|carta|\bpan\b"
)
_NEAR_SSN = Expression(rb"\bssn\b|social sec|\bss#|soc\.? ?sec|taxpayer|\btin\b|\bitin\b")
_VERSION = Expression(rb"(?:\bv|version|release|ver\.|==|>=|<=|~=|oid|section|chapter)\W{0,3}$")

_CARDS = tuple(
    (int(low), int(high), frozenset(map(int, lengths.split(","))))
    for low, high, lengths in (
        ("4", "4", "13,16,19"), ("51", "55", "16"), ("2221", "2720", "16"), ("34", "34", "15"), ("37", "37", "15"),
        ("6011", "6011", "16,19"), ("644", "649", "16,19"), ("65", "65", "16,19"), ("300", "305", "14,16,19"),
        ("3095", "3095", "14,16,19"), ("36", "36", "14,19"), ("38", "39", "14,16,19"), ("3528", "3589", "16,17,18,19"),
        ("1800", "1800", "15"), ("2131", "2131", "15"), ("62", "62", "16,17,18,19"), ("2200", "2204", "16,17,18,19"),
        ("50", "50", "12,13,14,15,16,17,18,19"), ("56", "58", "12,13,14,15,16,17,18,19"), ("60", "60", "16"),
        ("6304", "6304", "12,13,14,15,16,17,18,19"), ("6759", "6763", "12,13,14,15,16,17,18,19"), ("81", "82", "16"),
    )
)  # fmt: skip
"""Ranges of first digits and the lengths there are: Visa, Mastercard, American Express, Discover, Diners Club, JCB,
UnionPay, Mir, Maestro, RuPay."""


class Numbers:
    """The sweep over shapes."""

    name = "numbers"
    longest = 260

    def __init__(self, *, national_ids: bool) -> None:
        """`national_ids`: whether python-stdnum is there to check them with."""
        self._national_ids = national_ids

    def find(self, view: View) -> list[Hit]:
        data = view.data
        hits: list[Hit] = []
        length = len(data)
        start, end = _SHAPES.span(data, 0, length)
        while start >= 0:
            value = data[start:end]
            if value[4:8:3] == b"--" and end - start < 14:
                pass  # a date, and perhaps the hour after it
            elif self._national_ids and 14 <= end - start <= 18 and (hit := shaped(view, start, end)) is not None:
                hits.append(hit)
            elif value.isdigit():
                hits += _plain_digits(view, start, end)
            elif not value.translate(None, _MARKS) and value[2:17:3] != b"-----":
                found = list(_marked_digits(view, start, end))
                hits += found
                if end - start > _LONGEST_NUMBER and _GOES_ON.match(data, end) is not None:
                    # The run was too long for one look: what it broke off in is read again.
                    end = max(found[-1].end if found else 0, end - _LONGEST_NUMBER)
            else:
                hits += tell_lettered(view, start, end)
                if (blank := value.find(b" ")) >= 0:  # words were taken along that may be numbers of their own
                    end = iban_end(data, start) or start + blank
            start, end = _SHAPES.span(data, end, length)
        return hits


_MARKS = b"0123456789+ ().-/"
_GOES_ON = re.compile(rb"[ ().\-/]{0,3}\d")
_LONGEST_NUMBER = 40
"""Bytes of a number of these with its marks, most of them at most."""
_UNKNOWN_CARD = 0.7
"""How sure a card of no issuer's range is. Beside other digits one in ten groups of four passes for such a card."""
_LONGEST_PHONE = 15
"""Digits of a telephone number at most (E.164); with marks between, what has no more bytes is one number."""


def _plain_digits(view: View, start: int, end: int) -> Iterator[Hit]:
    """Tells what a run of nothing but digits is."""
    if start and view.data[start - 1] in WORD:
        return
    if 12 <= end - start <= 19:
        hit = _card(view, start, end)
    elif end - start < 12:
        hit = _phone(view, start, end)
    else:
        hit = None
    if hit is not None:
        yield hit


def _marked_digits(view: View, start: int, end: int) -> Iterator[Hit]:
    """Tells what a run of digits and the usual marks between them holds. One longer than any single number is first
    searched for those that say themselves where they end, else a telephone number takes half of the card beside it.
    """
    yield from _apart(view, start, end, _BOUNDED if end - start > _LONGEST_PHONE else ())


def _apart(view: View, start: int, end: int, bounded: Sequence[re.Pattern[bytes]]) -> Iterator[Hit]:
    if not bounded:
        yield from _numbers(view, start, end)
        return
    for group in _GROUP.finditer(view.data, start, end):
        match = bounded[0].match(view.data, group.start(), end) if group.start() >= start else None
        hit = _TELL[match.lastgroup or ""](view, match.start(), match.end()) if match is not None else None
        if hit is not None and (hit.type != "credit_card" or hit.score > _UNKNOWN_CARD):
            yield from _apart(view, start, hit.start, bounded[1:])
            yield hit
            start = hit.end
    yield from _apart(view, start, end, bounded[1:])


def _numbers(view: View, start: int, end: int) -> Iterator[Hit]:
    for match in _IN_RUN.finditer(view.data, start, end):
        hit = _TELL[match.lastgroup or "date"](view, match.start(), match.end())
        if hit is not None:
            yield hit


def _only_digits(value: bytes) -> str:
    return bytes(c for c in value if 48 <= c <= 57).decode()


def _card(view: View, start: int, end: int) -> Hit | None:
    data = view.data
    digits = _only_digits(data[start:end])
    if not alone(data, start, end) or len(set(digits)) < 2:
        return _phone(view, start, end)
    if not luhn(digits):
        return _phone(view, start, end) if len(digits) < 16 else None
    glued = start > 1 and data[start - 1] in b"-./=" and data[start - 2] in WORD
    known = any(len(digits) in lengths and low <= int(digits[: len(str(low))]) <= high for low, high, lengths in _CARDS)
    if near(view, start, end, _NEAR_CARD) or (known and len(digits) >= 14 and not glued):
        return Hit("credit_card", start, end, "credit-card", 0.95 if known else _UNKNOWN_CARD, 3)
    return _phone(view, start, end)


def _ssn(view: View, start: int, end: int) -> Hit | None:
    value = view.data[start:end]
    area, group, serial = value[:3], value[4:6], value[7:]
    if not alone(view.data, start, end):
        return None
    named = near(view, start, end, _NEAR_SSN)
    if area in (b"000", b"666") or area >= b"900" or group == b"00" or serial == b"0000":
        return None
    if value[3:4] == b" " and not named:
        return _phone(view, start, end)
    return Hit("us_ssn", start, end, "us-ssn", 0.95 if named else 0.8, 3)


def _ip(view: View, start: int, end: int) -> Hit | None:
    data = view.data
    if not alone(data, start, end) or (start and data[start - 1] == 45):
        return None
    if ends_with(view, start, 14, _VERSION):
        return None
    value = data[start:end]
    octets = value.split(b".")
    if any(len(octet) > 1 and octet[:1] == b"0" for octet in octets):
        return None
    if octets[0] in (b"0", b"127", b"255") or int(octets[0]) >= 224 or octets[1:] == [b"0", b"0", b"0"]:
        return None
    return Hit("ip_address", start, end, "ipv4", 0.85 if int(octets[0]) > 9 else 0.6, 3)


def _phone(view: View, start: int, end: int) -> Hit | None:
    data = view.data
    value = data[start:end]
    digits = sum(48 <= c <= 57 for c in value)
    if value[:1] == b"(" and b")" not in value:
        start, value = start + 1, value[1:]
    extension = _EXTENSION.match(data, end)
    stop = extension.end() if extension else end
    if not 7 <= digits <= 15 or not alone(data, start, stop) or (start and data[start - 1] in b".-/$#"):
        return None
    after = data[stop : stop + 2]
    if (after[:1] in b"%" and after) or (after[:1] in b".-/" and after[1:2].isdigit()):
        return None
    score = _phone_like(value, digits)
    if score == 0.0 and _YEARS.fullmatch(value):
        return None
    if score < 0.8:
        if ends_with(view, start, 30, _NOT_PHONE):
            return None
        reach = (30, 8) if value.isdigit() else (70, 25)  # digits alone are most often something else
        if near(view, start, stop, _NEAR_PHONE, *reach) or _OFFICE.match(view.low, stop, len(view.low)):
            score = 0.8
    return Hit("phone", start, stop, "phone", score, 1) if score >= 0.5 else None


_DECIMAL = re.compile(rb"\+\d+\.\d+")
_YEARS = re.compile(rb"(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d")


def _phone_like(value: bytes, digits: int) -> float:
    """Returns how much a value looks like a telephone number by itself."""
    if value[:1] == b"+":
        return 0.9 if 8 <= digits <= 15 and value[1:2] != b"0" and not _DECIMAL.fullmatch(value) else 0.0
    if _NANP.fullmatch(value):
        return 0.85
    if _NANP_LIKE.fullmatch(value):
        return 0.6
    marked = any(c in b" ()-/" for c in value) or value.count(b".") == 4
    if marked and 9 <= digits <= 11 and _NATIONAL.fullmatch(value):
        return 0.55
    return 0.5 if value[:2] == b"00" and value[2:3] != b"0" and marked and digits >= 11 else 0.0


def _date(view: View, start: int, end: int) -> Hit | None:
    return None


_TELL = {
    "ssn": _ssn,
    "sep": _ssn,
    "card": _card,
    "by": _card,
    "date": _date,
    "d": _date,
    "e": _date,
    "ip": _ip,
    "phone": _phone,
}
