"""Words that are addresses: of people (e-mail), accounts (IBAN), coins and machines, as numbers.py finds their shapes.

IBANs: the country's length and ISO 7064 mod 97. Coins: base58check, bech32 and EIP-55. Machines: IPv6 as the standard
library reads it, and MAC addresses.
"""

import ipaddress
import re
from collections.abc import Iterator

from freehold.check.detect.around import alone
from freehold.check.detect.checks import base58check, bech32, eip55, mod97
from freehold.check.detect.expression import WORD, Expression
from freehold.check.detect.finding import Hit
from freehold.check.detect.keys import drawn
from freehold.check.detect.view import View

_EMAIL = Expression(
    rb"[A-Za-z0-9!#$%&*+/=?^_{|}~.\-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}"
)
_IBAN = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
    }.items()
    for country in countries.split()
}
"""Country: how many characters its IBANs have (SWIFT's IBAN registry)."""


class Emails:
    """The sweep over addresses; a text without `@` costs one search for it."""

    name = "emails"
    longest = 500

    def find(self, view: View) -> list[Hit]:
        data = view.data
        hits: list[Hit] = []
        if 0x40 not in data:
            return hits
        for match in _EMAIL.finditer(data, 0, len(data)):
            start, end = match.span()
            while data[start] in b"/.=?&%#*{|}!$^~-+":
                start += 1
            after = data[end : end + 2]
            path = after[:1] == b"(" or (after[:1] == b":" and after[1:] not in (b"", b" ", b"\n"))
            if data[start] != 64 and not path and data[start : start + 4] != b"git@":
                hits.append(Hit("email", start, end, "email", 0.95, 2))
        return hits


def tell_lettered(view: View, start: int, end: int) -> Iterator[Hit]:
    """Tells what a run with letters or colons is."""
    data = view.data
    value = data[start:end]
    if b":" in value or (len(value) == 17 and value.count(b"-") == 5):
        yield from _network(view, start, end)
    elif b"." in value:
        yield from _dotted(value.decode(), start, end)
    elif value[:2] == b"0x":
        if eip55(value.decode()):
            yield Hit("crypto_address", start, end, "ethereum-address", 0.9, 3)
    elif value[:3] == b"bc1" or (value[:1] in b"13" and b" " not in value):
        text = value.decode()
        if bech32(text) if value[:3] == b"bc1" else base58check(text):
            yield Hit("crypto_address", start, end, "bitcoin-address", 1.0, 3)
    else:
        yield from _iban(view, start)


_drawn = drawn(3.8)


def _dotted(value: str, start: int, end: int) -> Iterator[Hit]:
    """Keys that are told by their lengths alone: Airtable's (`pat` and two parts) and Discord's (three)."""
    if _drawn(value) is not None and any(character.isdigit() for character in value.rpartition(".")[2]):
        yield Hit("secret", start, end, "airtable-token" if value.startswith("pat") else "discord-token", 0.85, 3)


def iban_end(data: bytes, start: int) -> int | None:
    """Returns where an IBAN would end that begins here, by its country's length; None where none can stand here."""
    length = _IBAN.get(data[start : start + 2].decode().upper())
    if length is None:
        return None
    letters = 0
    for place in range(start, min(len(data), start + length + 10)):
        character = data[place]
        if character == 32:
            continue
        if character not in WORD or character == 95:
            return None
        letters += 1
        if letters == length:
            return place + 1
    return None


def _iban(view: View, start: int) -> Iterator[Hit]:
    stop = iban_end(view.data, start)
    if stop is None or not alone(view.data, start, stop):
        return
    if mod97(view.data[start:stop].replace(b" ", b"").decode().upper()):
        yield Hit("iban", start, stop, "iban", 1.0, 3)


def _network(view: View, start: int, end: int) -> Iterator[Hit]:
    data = view.data
    value = data[start:end].decode()
    if not alone(data, start, end) or (start and data[start - 1] == 58) or data[end : end + 1] == b":":
        return
    groups = re.split("[:-]", value)
    if len(groups) == 6 and all(len(group) == 2 for group in groups):
        if len(set(groups)) > 1:
            yield Hit("mac_address", start, end, "mac-address", 0.9, 3)
        return
    if "-" in value or sum(map(len, groups)) < 4 or not any(c.isdigit() for c in value):
        return
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return
    if not (address.is_loopback or address.is_unspecified or address.is_multicast):
        yield Hit("ip_address", start, end, "ipv6", 0.9, 3)
