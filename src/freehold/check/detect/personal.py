"""Personal data that words give away: dates of birth, papers, health and bank numbers, names of machines.

The number of a passport or a licence looks like any other; only `passport` before it tells. So each rule here is
words in a few languages, at most a few more words between, and a value with enough digits. What a text says in other
words, or in a table whose head is far away, these rules do not see.
"""

from collections.abc import Iterator, Sequence

from freehold.check.detect.around import near
from freehold.check.detect.expression import Expression, quoted
from freehold.check.detect.finding import Hit
from freehold.check.detect.pattern import Pattern
from freehold.check.detect.view import View

_MONTH = (
    rb"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|m\xc3\xa4r|mai|okt|dez|ene|abr|ago|dic|janv"
    rb"|f\xc3\xa9v|avr|juin|juil"
    rb"|ao\xc3\xbb|d\xc3\xa9c|gen|mag|giu|lug|set|ott)[a-z]{0,7}\.?"
)
_DATE = (
    rb"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2} ?[-/.] ?[0-9]{1,2} ?[-/.] ?(?:[0-9]{4}|[0-9]{2})\b"
    rb"|[0-9]{1,2}(?:st|nd|rd|th|\.|er)? (?:of |de )?" + _MONTH + rb"(?: de)?,? [0-9]{4}"
    rb"|" + _MONTH + rb" [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4})"
)
_WORDS = rb"[^0-9\n]{0,24}"
_PAPER = (
    rb"[^0-9A-Za-z\n]{1,4}(?:(?:number|no|nr|num|id|is|was|card|#|n\xc2\xb0|n\xc2\xba|licen[cs]e|my|the|of)"
    rb"[^0-9A-Za-z\n]{1,4}){0,4}"
)


def _after(
    kind: str, rule: str, words: str, between: bytes, value: bytes, digits: int, score: float = 0.8, leads: int = 1000
) -> Pattern:
    """`leads`: among how many bytes the first digit comes, those of the longest word and of what may stand between."""
    literals = [word.encode() for word in words.split("|")]
    pattern = b"(?:" + b"|".join(quoted(literal) for literal in literals) + rb")" + between + b"(" + value + b")"

    def check(found: str) -> float | None:
        return score if sum(character.isdigit() for character in found) >= digits else None

    return Pattern(kind, rule, pattern, literals, check, rank=3, group=1, exact=False, low=True, leads=leads)


PERSONAL = (
    _after("date_of_birth", "date-of-birth", "born|birthday|birth|dob|d.o.b", _WORDS, _DATE, 4, 0.85, leads=44),
    _after("date_of_birth", "date-of-birth",
           "geboren|geburtsdatum|geb.|née le|né le|naissance|nacid|nacimiento|nascid|nascimento|nato il|nata il|"
           "nascita|geboortedatum|född|urodzon|дата рождения|生年月日|出生",
           _WORDS, _DATE, 4, 0.85, leads=61),
    _after("passport", "passport", "passport|reisepass|passeport|pasaporte|passaporto|passaporte|paspoort|паспорт|护照",
           rb"[a-z]{0,6}" + _PAPER, rb"[a-z]{0,3}[0-9][0-9a-z]{5,9}\b", 5),
    _after("driver_license", "driver-license",
           "driver's license|drivers license|driver license|driver’s license|driver's licence|driving licence|"
           "driving license|drivers licence|driver licence|driver's licence|dl number|dl no|dl#|führerschein|"
           "permis de conduire|licencia de conducir|permiso de conducir|patente di guida|rijbewijs"
           "|carteira de motorista",
           rb"[a-z]{0,6}" + _PAPER, rb"[a-z]{0,5}[0-9][0-9a-z]{0,4}(?:[\- ]?[0-9a-z]{1,8}){1,4}\b", 5),
    _after("health_id", "health-record",
           "medical record|mrn|patient id|patient number|health insurance|medicare|medicaid|krankenversicherungsnummer|"
           "health card|member id|chart number", rb"[a-z]{0,8}" + _PAPER,
           rb"[a-z]{0,4}[\- ]?[0-9][0-9a-z\-]{4,14}\b", 5, 0.7),
    _after("bank_account", "bank-account",
           "account number|account no|acct|routing number|routing no|aba number|sort code|kontonummer|numéro de compte|"
           "número de cuenta|rekeningnummer|bank account", rb"[a-z]{0,4}" + _PAPER,
           rb"[0-9]{2}-[0-9]{2}-[0-9]{2}\b|[0-9](?:[ \-]?[0-9]){5,17}\b", 6, 0.7),
    Pattern("email", "email-spelt-out",
            rb"\b[a-z0-9._%+\-]{1,64} ?[\[({]at[\])}] ?(?:[a-z0-9\-]{1,63}(?: ?[\[({]dot[\])}] ?"
            rb"|\.)){1,4}[a-z]{2,24}\b",
            (b"[at]", b"(at)", b"{at}"), score=0.8, rank=2, exact=False, before=66, low=True),
)  # fmt: skip


_NEAR_HOST = Expression(rb"\bhost|server|\bssh\b|ping|://|connect|machine|node|\bdns\b|database|\bdb\b|cluster")


class Hosts:
    """Names of machines inside: `db-01.prod.internal`, `ip-10-0-3-7.ec2.internal`, `nas.local`.

    A name under a suffix that code uses too (`.local` as an attribute) needs a digit, a hyphen, or a word such as
    `host`.
    """

    name = "internal-host"
    exact = False
    longest = 260
    literals = (
        b".internal", b".local", b".lan", b".corp", b".intra", b".intranet", b".home.arpa", b".localdomain",
        b".private",
        b".svc.cluster",
    )  # fmt: skip
    _find = Expression(
        rb"\b(?:[a-z0-9](?:[a-z0-9\-]{0,40}[a-z0-9])?\.){1,5}"
        rb"(?:internal|local|lan|corp|intra|intranet|home\.arpa|localdomain|private)\b"
    )

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        low = view.low
        done = 0
        for place in places:
            if place < done:
                continue
            for match in self._find.finditer(low, max(done, place - 200), min(len(low), place + 14)):
                start, end = match.span()
                done = max(done, end)
                value = match.group()
                if low[end : end + 1] in (b"(", b"_", b"=", b"[") or (start and low[start - 1] in b"._/$@"):
                    continue
                head = value.rpartition(b".")[0]
                telling = any(48 <= c <= 57 for c in head) or b"-" in head
                if telling or near(view, start, end, _NEAR_HOST, 40, 12):
                    yield Hit("hostname", start, end, self.name, 0.8 if telling else 0.6, 1)
