"""National identity and tax numbers of persons, checked by `python-stdnum` (extra `pii`).

Most are bare digits with one check digit, so one number in ten or eleven passes: they count only after a word that
names them, such as `PESEL` or `Steuer-ID`, in the country's language or English. Few have a shape that needs no word
(Italy's codice fiscale, Brazil's punctuated CPF, China's 18 digits with a date inside, Switzerland's 756.).

Without python-stdnum none of these rules runs. That is not kept quiet: `installed` is False, `Rules.absent` names the
rules and the command that installs what they need, and `freehold scan` says so on stderr.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from freehold.check.detect.expression import Expression, quoted, starts_word
from freehold.check.detect.finding import Hit
from freehold.check.detect.view import View


class Country(NamedTuple):
    module: str
    """Under `stdnum.`."""
    words: str
    """What names the number, in lower case, separated by |."""
    shape: str
    type: str = "national_id"


_ELEVEN = r"\d{11}"
COUNTRIES = (
    Country("us.itin", "itin|individual taxpayer", r"9\d\d-?\d\d-?\d{4}"),
    Country("gb.nhs", "nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", "health_id"),
    Country("es.dni", "dni|nif|documento nacional|identidad", r"\d{8}[ -]?[A-Z]"),
    Country("es.nie", "nie:|nie |extranjero", r"[XYZ][ -]?\d{7}[ -]?[A-Z]"),
    Country("fr.nir", "nir:|nir |insee|sécurité sociale|securite sociale|carte vitale",
            r"[12378] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d"),
    Country("fr.nif", "numéro fiscal|numero fiscal|spi", r"[0-3]\d ?\d\d ?\d{3} ?\d{3} ?\d{3}"),
    Country("de.idnr", "steuer|steueridentifikationsnummer|identifikationsnummer|idnr|tax id",
            r"\d{2} ?\d{3} ?\d{3} ?\d{3}"),
    Country("it.codicefiscale", "codice fiscale|c.f.|cod. fisc", r"[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]"),
    Country("nl.bsn", "bsn|burgerservice|sofinummer", r"\d{4}[. ]?\d\d[. ]?\d{3}|\d{9}"),
    Country("be.nn", "rijksregister|registre national|national register|nationaal nummer|niss|insz",
            r"\d\d\.?\d\d\.?\d\d-?\d{3}\.?\d\d"),
    Country("pl.pesel", "pesel", _ELEVEN),
    Country("pt.nif", "nif|contribuinte", r"\d{3} ?\d{3} ?\d{3}"),
    Country("pt.cc", "cartão de cidadão|cartao de cidadao|citizen card", r"\d{8} ?\d ?[A-Z0-9]{2} ?\d"),
    Country("se.personnummer", "personnummer|personal number|samordningsnummer", r"(?:\d\d)?\d{6}[-+ ]?\d{4}"),
    Country("no.fodselsnummer", "fødselsnummer|fodselsnummer|personnummer|birth number", r"\d{6} ?\d{5}"),
    Country("dk.cpr", "cpr|personnummer", r"\d{6}-?\d{4}"),
    Country("fi.hetu", "hetu|henkilötunnus|henkilotunnus|personal identity code", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"),
    Country("is_.kennitala", "kennitala", r"\d{6}-?\d{4}"),
    Country("ch.ssn", "ahv|avs|sozialversicherung|ssn", r"756\.\d{4}\.\d{4}\.\d\d|756\d{10}"),
    Country("at.vnr", "sozialversicherungsnummer|svnr|sv-nummer", r"\d{4} ?\d{6}"),
    Country("cz.rc", "rodné číslo|rodne cislo|rodné čislo|birth number", r"\d{6}/?\d{3,4}"),
    Country("ro.cnp", "cnp|cod numeric personal", r"\d{13}"),
    Country("bg.egn", "egn|егн", r"\d{10}"),
    Country("hr.oib", "oib", _ELEVEN),
    Country("si.emso", "emšo|emso|jmbg", r"\d{13}"),
    Country("lt.asmens", "asmens kod", _ELEVEN),
    Country("ee.ik", "isikukood|personal code", _ELEVEN),
    Country("gr.amka", "amka|αμκα", _ELEVEN),
    Country("tr.tckimlik", "kimlik|tckn", _ELEVEN),
    Country("br.cpf", "cpf", r"\d{3}\.?\d{3}\.?\d{3}-?\d\d"),
    Country("mx.curp", "curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d"),
    Country("mx.rfc", "rfc", r"[A-Z&]{4}\d{6}[A-Z0-9]{3}"),
    Country("cl.rut", "rut:|rut |run:", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]"),
    Country("ec.ci", "cédula|cedula", r"\d{10}"),
    Country("do.cedula", "cédula|cedula", r"\d{3}-?\d{7}-?\d"),
    Country("ca.sin", "sin:|sin is|sin number|sin no|sin #|social insurance|assurance sociale",
            r"\d{3}[ -]?\d{3}[ -]?\d{3}"),
    Country("in_.aadhaar", "aadhaar|aadhar|uidai|आधार", r"\d{4}[ -]?\d{4}[ -]?\d{4}"),
    Country("in_.pan", "pan:|pan card|pan number|pan no|pan is|permanent account", r"[A-Z]{5}\d{4}[A-Z]"),
    Country("pk.cnic", "cnic", r"\d{5}-?\d{7}-?\d"),
    Country("cn.ric", "身份证|公民身份|id card|identity card|resident id", r"\d{17}[\dXx]"),
    Country("kr.rrn", "주민등록번호|resident registration|rrn", r"\d{6}-?\d{7}"),
    Country("jp.in_", "マイナンバー|個人番号|my number", r"\d{4}[ -]?\d{4}[ -]?\d{4}"),
    Country("th.pin", "บัตรประชาชน|thai id", r"\d-?\d{4}-?\d{5}-?\d\d-?\d"),
    Country("my.nric", "mykad|nric|kad pengenalan", r"\d{6}-?\d\d-?\d{4}"),
    Country("id.nik", "nik:|nik |ktp", r"\d{16}"),
    Country("za.idnr", "id number|identity number|rsa id|south african id", r"\d{13}"),
    Country("il.idnr", "teudat zehut|תעודת זהות|ת.ז", r"\d{9}"),
    Country("au.tfn", "tfn|tax file", r"\d{3} ?\d{3} ?\d{2,3}"),
    Country("nz.ird", "ird ", r"\d{2,3}-?\d{3}-?\d{3}"),
    Country("ie.pps", "pps|ppsn", r"\d{7}[A-W][A-IWTX]?"),
    Country("ua.rntrc", "рнокпп|іпн", r"\d{10}"),
    Country("ru.inn", "инн", r"\d{12}"),
)  # fmt: skip


_SHAPED = tuple(
    (module, re.compile(shape))
    for module, shape in (
        ("it.codicefiscale", rb"[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]"),
        ("mx.curp", rb"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d"),
        ("cn.ric", rb"\d{17}[\dXx]"),
        ("br.cpf", rb"\d{3}\.\d{3}\.\d{3}-\d\d"),
        ("ch.ssn", rb"756\.\d{4}\.\d{4}\.\d\d"),
    )
)
"""Numbers that need no word beside them."""


def shaped(view: View, start: int, end: int) -> Hit | None:
    """Returns the hit of a number whose shape and check digits are a country's own. Raises ImportError as `valid`."""
    value = view.data[start:end]
    for module, shape in _SHAPED:
        if shape.fullmatch(value) and valid(module, value.decode().upper()):
            return Hit("national_id", start, end, module.replace("_", ""), 0.85, 3)
    return None


def installed() -> bool:
    return importlib.util.find_spec("stdnum") is not None


@cache
def _checker(module: str) -> Callable[[str], bool]:
    check: Callable[[str], bool] = importlib.import_module(f"stdnum.{module}").is_valid
    return check


def valid(module: str, number: str) -> bool:
    """Whether a number is right by its country's rules. Raises ImportError without python-stdnum.

    A checker that fails on a number (some did, on odd separators) has not refused it: the word and the shape stand.
    """
    check = _checker(module)
    try:
        return check(number)
    except Exception:
        return True


class NationalIds:
    """The detector of numbers after the word that names them."""

    name = "national-id"
    exact = False
    longest = 120

    def __init__(self) -> None:
        self._by_word: dict[bytes, list[tuple[Country, re.Pattern[bytes]]]] = {}
        for country in COUNTRIES:
            shape = re.compile(rb"(?<![0-9A-Za-z])(?:" + country.shape.encode() + rb")(?![0-9A-Za-z])")
            for word in country.words.split("|"):
                self._by_word.setdefault(word.encode(), []).append((country, shape))
        self.literals = tuple(self._by_word)
        self._words = Expression(b"|".join(quoted(word) for word in sorted(self.literals, key=len, reverse=True)))
        self._near = Expression(rb"[0-9]{2}")

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        done: set[int] = set()
        for place in places:
            if not starts_word(data, place) or self._near.search(data, place, min(len(data), place + 90)) is None:
                continue
            named = self._words.match(view.low, place, len(data))
            if named is None or (named.end() < len(data) and data[named.end()] in _LETTERS and len(named.group()) < 6):
                continue
            for country, shape in self._by_word[named.group()]:
                match = shape.search(data, named.end(), min(len(data), named.end() + 60))
                if match is not None and match.start() not in done and valid(country.module, match.group().decode()):
                    done.add(match.start())
                    yield Hit(country.type, match.start(), match.end(), country.module.replace("_", ""), 0.9, 3)


_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
