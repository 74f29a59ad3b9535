"""Patterns: they match what `re` matches, and no text makes them slow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check.pattern import MOST_STATES, Pattern, Unsupported, compiled

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "0", r"\.", "-", "^", "$", r"\b", "[a-c_-]", "{"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{0,}", "*?"])


@st.composite
def patterns(draw: st.DrawFn, depth: int = 2) -> str:
    pieces = []
    for _ in range(draw(st.integers(0, 4))):
        atom = draw(ATOMS)
        if depth and draw(st.booleans()):
            atom = f"({draw(st.sampled_from(['', '?:']))}{draw(patterns(depth=depth - 1))})"
        repeat = draw(REPEATS)
        if repeat and atom in ("^", "$", r"\b", "{"):
            repeat = ""  # `re` and JavaScript differ on what repeats nothing
        pieces.append(atom + repeat)
        if draw(st.integers(0, 5)) == 0:
            pieces.append("|")
    return "".join(pieces)


@given(patterns(), st.text("ab0.-_{ \n", max_size=8))
def test_matches_what_re_matches(pattern: str, text: str) -> None:
    try:
        theirs = re.compile(pattern.replace("$", r"\Z"), re.ASCII)
        ours = Pattern(pattern)
    except (re.error, Unsupported):
        return
    assert ours.search(text) == (theirs.search(text) is not None)


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        (r"^[A-Z]{2}\d{4}$", "AB1234", "AB12345"),
        (r"^\d{3}-\d{2}$", "123-45", "12-345"),
        (r"^(red|green|blue)$", "green", "greens"),
        (r"^#[0-9a-fA-F]{6}$", "#a1B2c3", "#a1b2c"),
        (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "a@b.co", "a@b"),
        (r"^v?\d+(\.\d+){2}$", "v1.20.3", "1.2"),
        (r"^(?<year>\d{4})$", "2026", "26"),
        (r"[\[\]&|~]", "a|b", "ab"),
        ("\\u0041$", "bA", "b"),
        (r"^$", "", "a"),
        (r"^[\u00e0-\u00ff]+$", "éà", "ea"),
    ],
)
def test_what_schemas_say(pattern: str, fits: str, does_not: str) -> None:
    assert compiled(pattern).search(fits)
    assert not compiled(pattern).search(does_not)


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)b", "(?!a)b", "(?<=a)b", r"(a)\1", r"\p{L}", r"[\p{L}]", "(a", "a)", "[a", "a{3,2}", "*a", "[]a]", "a\\",
     r"\x4", "(?i)a", "(" * 60 + ")" * 60, f"a{{{MOST_STATES + 1}}}", "((a{99}){99}){99}", "[z-a]"],
)  # fmt: skip
def test_what_is_not_understood_is_said_so(pattern: str) -> None:
    with pytest.raises(Unsupported):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*a){12}$", "a*a*a*a*a*b"])
def test_no_pattern_goes_back(pattern: str) -> None:
    """`re` needs longer than anybody lives for the first three; here the work is states times characters."""
    assert not compiled(pattern).search("a" * 2_000 + "!")


def test_what_would_take_long_is_refused() -> None:
    with pytest.raises(Unsupported, match="too long"):
        compiled("a{0,1500}b").search("a" * 100_000)
