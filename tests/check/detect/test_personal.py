"""Personal data and addresses: what is found, what it is called, and what only looks like it."""

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check.detect import Rules, label_of, scan

RULES = Rules()
BECH32 = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
ETHEREUM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
stdnum = pytest.mark.skipif(importlib.util.find_spec("stdnum") is None, reason="python-stdnum is not installed")


def found(text: str) -> list[tuple[str, str]]:
    return [(one.type, text[one.start : one.end]) for one in scan(text, RULES)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to anna.b+news@mail.example.co.uk, please", ("email", "anna.b+news@mail.example.co.uk")),
        ("Kontakt: müller [at] example [dot] de oder max (at) example.org", ("email", "max (at) example.org")),
        ("call +49 (0)30 901820-15 tomorrow", ("phone", "+49 (0)30 901820-15")),
        ("(555) 010-9999 x123 no", ("phone", "(555) 010-9999 x123")),
        ("reach me at 415-555-2671 ext. 12", ("phone", "415-555-2671 ext. 12")),
        ("Tel: 01.84.17.61.18", ("phone", "01.84.17.61.18")),
        ("my number is 079 2718 1155", ("phone", "079 2718 1155")),
        ("phone 450 0840", ("phone", "450 0840")),
        ("order 450 0840", None),
        ("Copyright 1999-2001 by the authors", None),
        ("on 2024-03-02 10:00 and 02/03/2024", None),
        ("card 4111 1111 1111 1111", ("credit_card", "4111 1111 1111 1111")),
        ("paid with 378282246310005", ("credit_card", "378282246310005")),
        ("5555-5555-5555-4444", ("credit_card", "5555-5555-5555-4444")),
        ("4111 1111 1111 1112", None),
        ("timestamp 1712345678901", None),
        ("IBAN DE89 3704 0044 0532 0130 00.", ("iban", "DE89 3704 0044 0532 0130 00")),
        ("gb82west12345698765432", ("iban", "gb82west12345698765432")),
        ("DE89 3704 0044 0532 0130 01", None),
        ("ssn 536-90-4399", ("us_ssn", "536-90-4399")),
        ("000-12-3456 and 666-12-3456", None),
        ("server 10.20.30.40 is down", ("ip_address", "10.20.30.40")),
        ("version 1.2.3.4 of the library", None),
        ("localhost 127.0.0.1, mask 255.255.255.0", None),
        ("address 2001:db8:85a3::8a2e:370:7334 here", ("ip_address", "2001:db8:85a3::8a2e:370:7334")),
        ("std::vector<int> and 12:34:56:78", None),
        ("mac 00-11-22-33-44-55", ("mac_address", "00-11-22-33-44-55")),
        ("MAC 3c:22:fb:1a:2b:3c", ("mac_address", "3c:22:fb:1a:2b:3c")),
        ("ssh db-01.prod.internal", ("hostname", "db-01.prod.internal")),
        ("self.local = threading.local()", None),
        ("born on 12 March 1984 in Rome", ("date_of_birth", "12 March 1984")),
        ("Geburtsdatum: 03.02.1971", ("date_of_birth", "03.02.1971")),
        ("DOB 1971-02-03", ("date_of_birth", "1971-02-03")),
        ("passport number C01X00T47", ("passport", "C01X00T47")),
        ("the passport is green", None),
        ("driver's license number is F162823540116", ("driver_license", "F162823540116")),
        ("MRN: 00482913", ("health_id", "00482913")),
        ("account number 12345678", ("bank_account", "12345678")),
        (f"pay to {BECH32}", ("crypto_address", BECH32)),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ("crypto_address", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", None),
        (ETHEREUM, ("crypto_address", ETHEREUM)),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", None),
    ],
)  # fmt: skip
def test_what_is_found(text: str, expected: tuple[str, str] | None) -> None:
    assert (expected in found(text)) if expected else not found(text)


@stdnum
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RCCMNL83S18D969H", ("national_id", "RCCMNL83S18D969H")),
        ("RCCMNL83S18D969X", None),
        ("is 390.533.447-05 yours?", ("national_id", "390.533.447-05")),
        ("756.9217.0769.85", ("national_id", "756.9217.0769.85")),
        ("11010519491231002X", ("national_id", "11010519491231002X")),
        ("PESEL: 44051401359", ("national_id", "44051401359")),
        ("PESEL: 44051401358", None),
        ("codice fiscale RCCMNL83S18D969H", ("national_id", "RCCMNL83S18D969H")),
        ("Steuer-ID 36 574 261 809", ("national_id", "36 574 261 809")),
        ("DNI 54362315K", ("national_id", "54362315K")),
        ("BSN 111222333", ("national_id", "111222333")),
        ("CPF 390.533.447-05", ("national_id", "390.533.447-05")),
        ("NHS number 943 476 5870", ("health_id", "943 476 5870")),
        ("身份证 11010519491231002X", ("national_id", "11010519491231002X")),
    ],
)
def test_national_numbers(text: str, expected: tuple[str, str] | None) -> None:
    assert (expected in found(text)) if expected else not [one for one in found(text) if one[0] == "national_id"]


@stdnum
def test_a_checker_that_fails_has_not_refused_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.check.detect import national

    def broken(number: str) -> bool:
        raise KeyError(number)

    monkeypatch.setattr(national, "_checker", lambda module: broken)
    assert ("national_id", "44051401358") in found("PESEL: 44051401358")


def test_what_is_missing_is_named_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.check.detect import national

    monkeypatch.setattr(national, "installed", lambda: False)
    rules = Rules()
    (absent,) = rules.absent
    assert absent.package == "python-stdnum"
    assert "pl.pesel" in absent.rules
    assert "pip install" in absent.hint
    assert not [one for one in scan("PESEL: 44051401359", rules) if one.type == "national_id"]


def test_labels_join_and_can_be_set() -> None:
    findings = scan("card 4111 1111 1111 1111, mail a@example.com", RULES)
    assert str(label_of(findings)) == "confidential+pci"
    assert str(label_of([])) == "public"
    assert str(label_of(scan("a@example.com", Rules({"email": "restricted"})))) == "restricted"


def test_unknown_types_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="no finding of type 'emial'"):
        Rules({"emial": "restricted"})
    with pytest.raises(ValueError, match="no label"):
        Rules({"email": "secretish"})


def test_rules_and_types_can_be_left_out() -> None:
    assert not scan("a@example.com", Rules(off=["email"]))
    assert not scan("a@example.com", Rules(minimum=0.99))


SIDE_BY_SIDE = {
    "4111 1111 1111 1111": "credit_card",
    "5500-0000-0000-0004": "credit_card",
    "378282246310005": "credit_card",
    "212-555-0187": "phone",
    "(415) 555-0123": "phone",
    "+49 30 901820": "phone",
    "536-90-4399": "us_ssn",
    "DE89 3704 0044 0532 0130 00": "iban",
}


@given(
    st.lists(st.sampled_from(sorted(SIDE_BY_SIDE)), min_size=2, max_size=9),
    st.sampled_from([" ", " / ", ", ", "\n", "  ", " and "]),
)
def test_numbers_side_by_side_do_not_hide_each_other(values: list[str], between: str) -> None:
    kinds = [(SIDE_BY_SIDE[value], value) for value in values]
    assert found("my phone, ssn and card: " + between.join(values)) == kinds


def test_a_word_like_the_start_of_an_account_takes_no_card_along() -> None:
    assert found("ref ab12 4111 1111 1111 1111") == [("credit_card", "4111 1111 1111 1111")]
    assert found("de12 3456 phone 212-555-0187") == [("phone", "212-555-0187")]


@pytest.mark.parametrize(
    "text",
    [
        "2001 2002 2003 2004 2005 2006 2007 2008 2009",
        "2021-01-02 2022-02-03 2023-04-05",
        "100.0 200.5 300.1 400.2 500.7 600.12",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
    ],
)
def test_rows_of_numbers_are_nothing(text: str) -> None:
    assert found(text) == []


@given(st.text("0123456789 .-/()+:", max_size=300))
def test_any_run_of_digits_and_marks_is_read_to_its_end(text: str) -> None:
    after = " card 5500-0000-0000-0004"
    assert ("credit_card", "5500-0000-0000-0004") in found(text + " x" + after)
