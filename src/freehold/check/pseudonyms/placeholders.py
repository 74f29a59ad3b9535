"""What a placeholder looks like, and how one is found again.

A placeholder is one word: a tag that tells a model what it stands for, and eight characters, `PHONE7F3K2MQX`. Why so:

- letters and digits only. Markdown gives `_` and `*` a meaning and models escape them (`PERSON\\_1`), hyphens are
  where lines break, brackets are dropped or translated, and in URLs, JSON and file names everything else is escaped;
- no letter's case counts, because headings, names and code change it;
- the alphabet has no vowels, so no code spells a word that a model would put right, and none of I, L, O, U, 0 and 1,
  which get mistaken for each other;
- the tag is a plain English word, so that the model writes to an `EMAIL` and calls a `PHONE`.

Only addresses of mail keep their form, `email7f3k2mqx@private.invalid`: it is the one form that tool schemas and code
check. `.invalid` is nobody's (RFC 2606). Numbers keep none: models regroup, add up and localise numbers, but copy
words.

The first five characters follow from the value whatever its spelling, the last three from the spelling, so that two
spellings of one address look alike and each comes back as it was. All come from an HMAC under the conversation's own
secret.

On the way back a placeholder may have changed case, been parted from its tag, lost its domain, or got `\\`, `*`, `_`,
a backtick or invisible characters inside. It is found by its eight characters, these left aside, wherever they stand:
that a text holds those of a given vault by chance is one in 10^11 for each place.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick, MatchKind

ALPHABET = "23456789BCDFGHJKMNPQRSTVWXYZ"
LENGTH = 8
SAME = 5
"""Characters of a code that all spellings of a value have in common."""
DOMAIN = "private.invalid"
TAGS: Mapping[str, str] = {
    "email": "EMAIL",
    "phone": "PHONE",
    "credit_card": "CARD",
    "iban": "IBAN",
    "bank_account": "ACCOUNT",
    "us_ssn": "SSN",
    "national_id": "NATIONALID",
    "passport": "PASSPORT",
    "driver_license": "LICENSE",
    "health_id": "HEALTHID",
    "date_of_birth": "BIRTHDATE",
    "ip_address": "IP",
    "mac_address": "MAC",
    "hostname": "HOST",
    "crypto_address": "WALLET",
    "secret": "SECRET",
    "person": "PERSON",
    "address": "ADDRESS",
}
OTHER = "VALUE"
_TAGS = tuple(sorted({*(tag.lower() for tag in TAGS.values()), OTHER.lower()}, key=len, reverse=True))
LONGEST_TAG = len(_TAGS[0])

MARKS = "\\*_`~"
"""What Markdown may put inside a word."""
_INVISIBLE = "\u200b\u200c\u200d\u2060\u00ad\ufeff"
_NOISE = frozenset(MARKS + _INVISIBLE)
_DROP = {ord(character): None for character in MARKS + _INVISIBLE}
_AROUND = "@" + DOMAIN, "%40" + DOMAIN
_EMPHASIS = re.compile("[*_`~]")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
LONGEST = 160
"""Characters of a placeholder, with everything that may have got into it."""
TAIL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@.%-" + MARKS + _INVISIBLE
"""All characters that can stand in a placeholder, or in what became of one."""


class Placed(NamedTuple):
    """A placeholder in a text: from `start` to `end`, whose eight characters are `code`.

    `marks` is what Markdown put inside it; `escaped` says that its `@` was written `%40`, as in a URL.
    """

    start: int
    end: int
    code: str
    marks: str
    escaped: bool


def written(kind: str, code: str) -> str:
    """Returns the placeholder of a value of type `kind`."""
    tag = TAGS.get(kind, OTHER)
    return f"{tag}{code}@{DOMAIN}".lower() if kind == "email" else tag + code


class Codes:
    """Finds the placeholders of some codes, in one pass however many there are."""

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes = [code.lower() for code in codes]
        self._automaton = AhoCorasick(self._codes, matchkind=MatchKind.Standard) if self._codes else None

    def find(self, text: str) -> Iterator[Placed]:
        """Yields the placeholders in `text`, in order."""
        if self._automaton is None:
            return
        plain, places = _without_noise(text)
        done = 0
        for number, start, end in self._automaton.find_matches_as_indexes(plain):
            if start < done:
                continue
            start = max(done, _with_tag(plain, start))
            after = next((around for around in _AROUND if plain.startswith(around, end)), "")
            end = done = end + len(after)
            first, last = (start, end) if places is None else (places[start], places[end - 1] + 1)
            marks = "" if places is None else "".join(_EMPHASIS.findall(_ESCAPED.sub("", text[first:last])))
            yield Placed(first, last, self._codes[number].upper(), marks, after.startswith("%"))


def _without_noise(text: str) -> tuple[str, list[int] | None]:
    """Returns the text in lower case without what Markdown may have put in, and where each character stood, if any
    did."""
    plain = _lower(text)
    if _NOISE.isdisjoint(plain):
        return plain, None
    return plain.translate(_DROP), [place for place, character in enumerate(plain) if character not in _NOISE]


def _lower(text: str) -> str:
    """Lower case with every character where it was."""
    if text.isascii():
        return text.lower()
    low = text.lower()
    return low if len(low) == len(text) else "".join(one if len(one := c.lower()) == 1 else c for c in text)


def _with_tag(plain: str, start: int) -> int:
    """Returns where the tag before a code begins; where there is none, the code's own place."""
    for gap in (0, 1):
        if gap and plain[start - 1 : start] not in (" ", "-"):
            break
        for tag in _TAGS:
            if plain.endswith(tag, 0, start - gap):
                return start - gap - len(tag)
    return start


def still_open(text: str) -> int:
    """Returns where the end of `text` begins that may yet become a placeholder, or more of one."""
    start = max(len(text.rstrip(TAIL)), len(text) - LONGEST)
    if text[start - 1 : start] == " ":
        first = max(0, start - 1 - 3 * LONGEST_TAG)
        plain, places = _without_noise(text[first : start - 1])
        for tag in _TAGS:
            if plain.endswith(tag):
                at = len(plain) - len(tag)
                return first + (at if places is None else places[at])
    return start


_LIKE = re.compile(f"(?:{'|'.join(_TAGS)})([{ALPHABET.lower()}]{{{LENGTH}}})(?![a-z0-9])")
_ONE = re.compile(_LIKE.pattern + "(?:(?:@|%40)" + re.escape(DOMAIN) + ")?")


def codes_like(text: str) -> list[str]:
    """Returns the codes of what looks like a placeholder with its tag, known or not."""
    return [code.upper() for code in _LIKE.findall(_without_noise(text)[0])]


def is_like(text: str) -> bool:
    """Whether the whole text is what a placeholder with its tag looks like, known or not: nobody's data."""
    return _ONE.fullmatch(_without_noise(text)[0]) is not None


def without_like(text: str) -> str:
    """Returns the text in lower case without all that looks like a placeholder with its tag."""
    return _LIKE.sub("", _without_noise(text)[0])


def normal(value: str) -> str:
    """Returns what all spellings of a value have in common: letters and digits, in one case; only digits of numbers."""
    folded = unicodedata.normalize("NFKC", value).casefold()
    digits = [character for character in folded if character.isdigit()]
    letters = sum(character.isalpha() for character in folded)
    if letters <= 2 and len(digits) >= 6:
        return "".join(digits)
    return "".join(character for character in folded if character.isalnum() or character == "@")
