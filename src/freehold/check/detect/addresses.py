"""Words that are addresses: of people (e-mail), accounts (IBAN), coins and machines. What the shapes in numbers.py find.

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
from freehold.check.detect.view import View

_EMAIL = Expression(
    rb"[A-Za-z0-9!#$%&*+/=?^_{|}~.\-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}"
)
_IBAN = dict(
    pair.split(":")
    for pair in [
        "AD:24",
        "AE:23",
        "AL:28",
        "AT:20",
        "AZ:28",
        "BA:20",
        "BE:16",
        "BG:22",
        "BH:22",
        "BR:29",
        "BY:28",
        "CH:21",
        "CR:22",
        "CY:28",
        "CZ:24",
        "DE:22",
        "DK:18",
        "DO:28",
        "EE:20",
        "EG:29",
        "ES:24",
        "FI:18",
        "FO:18",
        "FR:27",
        "GB:22",
        "GE:22",
        "GI:23",
        "GL:18",
        "GR:27",
        "GT:28",
        "HR:21",
        "HU:28",
        "IE:22",
        "IL:23",
        "IQ:23",
        "IS:26",
        "IT:27",
        "JO:30",
        "KW:30",
        "KZ:20",
        "LB:28",
        "LC:32",
        "LI:21",
        "LT:20",
        "LU:20",
        "LV:21",
        "LY:25",
        "MC:27",
        "MD:24",
        "ME:22",
        "MK:19",
        "MR:27",
        "MT:31",
        "MU:30",
        "NL:18",
        "NO:15",
        "PK:24",
        "PL:28",
        "PS:29",
        "PT:25",
        "QA:29",
        "RO:24",
        "RS:22",
        "SA:24",
        "SC:31",
        "SD:18",
        "SE:24",
        "SI:19",
        "SK:24",
        "SM:27",
        "ST:25",
        "SV:28",
        "TL:23",
        "TN:24",
        "TR:26",
        "UA:29",
        "VA:22",
        "VG:24",
        "XK:20",
    ]
)
"""Country: how many characters its IBANs have (SWIFT's IBAN registry)."""


class Emails:
    """The sweep over addresses; a text without `@` costs one search for it."""

    name = "emails"
    longest = 500

    def find(self, view: View) -> Iterator[Hit]:
        data = view.data
        if b"@" not in data:
            return
        for match in _EMAIL.finditer(data, 0, len(data)):
            start, end = match.span()
            while data[start] in b"/.=?&%#*{|}!$^~-+":
                start += 1
            after = data[end : end + 2]
            path = after[:1] == b"(" or (after[:1] == b":" and after[1:] not in (b"", b" ", b"\n"))
            if data[start] != 64 and not path and data[start : start + 4] != b"git@":
                yield Hit("email", start, end, "email", 0.95, 2)


def tell_lettered(view: View, start: int, end: int) -> Iterator[Hit]:
    """Tells what a run with letters or colons is."""
    data = view.data
    value = data[start:end]
    if b":" in value or (len(value) == 17 and value.count(b"-") == 5):
        yield from _network(view, start, end)
    elif value[:2] == b"0x":
        if eip55(value.decode()):
            yield Hit("crypto_address", start, end, "ethereum-address", 0.9, 3)
    elif value[:3] == b"bc1" or (value[:1] in b"13" and b" " not in value):
        text = value.decode()
        if bech32(text) if value[:3] == b"bc1" else base58check(text):
            yield Hit("crypto_address", start, end, "bitcoin-address", 1.0, 3)
    else:
        yield from _iban(view, start, end)


def _iban(view: View, start: int, end: int) -> Iterator[Hit]:
    data = view.data
    length = int(_IBAN.get(data[start : start + 2].decode().upper(), 0))
    if not length:
        return
    letters = 0
    for place in range(start, min(len(data), start + length + 10)):
        character = data[place]
        if character == 32:
            continue
        if character not in WORD or character == 95:
            return
        letters += 1
        if letters == length:
            stop = place + 1
            text = data[start:stop].replace(b" ", b"").decode().upper()
            if alone(data, start, stop) and mod97(text):
                yield Hit("iban", start, stop, "iban", 1.0, 3)
            return


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
