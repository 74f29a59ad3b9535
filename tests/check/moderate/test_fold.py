"""Texts as the model reads them: disguises come off, and what is none stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check.moderate.fold import MOST, entry, fold

WORDS = {b"kill", b"you", b"yourself", b"vermin", b"make", b"bomb", b"fucking", b"moron", b"hate", b"suicide", b"now"}


def known(word: bytes) -> bool:
    return word in WORDS


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Kill YOU", " kill  you "),
        ("k1ll y0u", " kill  you "),
        ("h@te", " hate "),
        ("su1c1de", " suicide "),
        ("k!ll you!", " kill  you  . "),
        ("kiiiiill you", " kill  you "),
        ("k.i.l.l you", " kill  you "),
        ("k-i-l-l you", " kill  you "),
        ("k i l l   y o u", " kill  you "),
        ("k i l l y o u r s e l f", " kill  yourself "),
        ("k\u200bi\u200bll you", " kill  you "),
        ("kіll you", " kill  you "),  # a Cyrillic letter
        ("ｋｉｌｌ you", " kill  you "),
        ("kíll yoü", " kill  you "),
        ("**kill** you", " kill  you "),
        ("v3rm1n", " vermin "),
        ("Don’t kill!", " dont  kill  . "),
        ('He said "kill".', ' he  said  "  kill  "  . '),
        ("¿Kill?", " ?  kill  ? "),
        ("", "  "),
    ],
)
def test_disguises_come_off(text: str, folded: str) -> None:
    assert fold(text, known) == folded.encode()


@pytest.mark.parametrize("text", ["i18n 3d mp3", "r2d2", "x86 arm64", "e g u s", "www 000", "a1 b2 c3"])
def test_what_is_no_disguise_stays(text: str) -> None:
    assert fold(text, known).split() == text.encode().split()


def test_case_and_signs_of_other_scripts_are_read() -> None:
    assert fold("Убить。Всех", known).decode() == " убить  .  всех "
    assert fold("İŞ", known) == b" is "


def test_an_entry_is_folded_as_a_text_is() -> None:
    for text in ("don't want to", "Töten", "f**k you", "un été", "йод", "杀死"):
        assert fold(text, known).strip() == entry(text)


@given(st.text())
def test_anything_is_read(text: str) -> None:
    folded = fold(text, known)
    assert folded.startswith(b" ")
    assert folded.endswith(b" ")
    assert folded == folded.lower()


@given(st.text(alphabet="kil yous.-_*1!@$\u200bі", max_size=400))
def test_disguises_in_any_order_are_read(text: str) -> None:
    fold(text, known)


def test_a_long_text_is_read_in_its_head_only() -> None:
    assert b"kill" not in fold("a " * (MOST // 2) + "kill", known)


def test_lone_surrogates_are_read() -> None:
    assert fold("kill \ud800 you", known).split()[0] == b"kill"
