"""What must hold of any text: offsets, no exceptions, no growth beyond the text's length, nothing lost between
neighbours.
"""

import re

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st
from made_secrets import made
from said import ATTACKS

from freehold.check.detect import DEFAULT_LABELS, Rules, label_of, scan
from freehold.check.detect.checks import base58check, bech32, crc_base62, entropy, keccak256, luhn
from freehold.check.detect.expression import Expression, longest, quoted
from freehold.check.detect.finding import Hit, settled
from freehold.check.detect.pattern import Pattern, stretches
from freehold.check.detect.scanner import Scanner
from freehold.check.detect.view import LOOKALIKES, View, plainer

RULES = Rules()
VALUES = [
    "anna@example.com", "4111 1111 1111 1111", "DE89370400440532013000", "536-90-4399", "10.20.30.40",
    "2001:db8:85a3::8a2e:370:7334", "3c:22:fb:1a:2b:3c", "+49 30 90182015", "db-01.prod.internal",
    *[around.format(secret) for _, secret, around in list(made(2))[::6]], *ATTACKS[::8],
]  # fmt: skip
odd = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("@.-+ ()/:=\"'0123456789abcdef\n\\{}[]<>|_\u200b\ufeff\u202e\U000e0041ﬁＡаİßẞΣ😀é漢"),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(odd, st.sampled_from(VALUES)), max_size=8))
def test_any_text_is_scanned_and_every_offset_lies_in_it(parts: list[str]) -> None:
    text = "".join(parts)
    findings = scan(text, RULES)
    for one in findings:
        assert one.type != "detector_error", one
        assert 0 <= one.start < one.end <= len(text)
        assert one.type in DEFAULT_LABELS
        assert 0.5 <= one.score <= 1.0
        assert one.label <= label_of(findings)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(VALUES[:20]), odd, odd)
def test_what_stands_far_away_changes_nothing(value: str, before: str, after: str) -> None:
    gap = "\n" + "-" * 9 + "\n" + " lorem ipsum" * 400 + "\n"
    alone = [(one.type, one.rule, one.score, one.start, one.end) for one in scan(value, RULES)]
    text = before + gap + value + gap + after
    shift = len(before) + len(gap)
    inside = [
        (one.type, one.rule, one.score, one.start - shift, one.end - shift)
        for one in scan(text, RULES)
        if shift <= one.start and one.end <= shift + len(value)
    ]
    assert inside == alone


@settings(max_examples=200, deadline=None)
@given(odd)
def test_lower_case_and_plain_views_keep_their_places(text: str) -> None:
    view = View(text)
    assert len(view.low) == len(view.data)
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode("utf-8", "surrogatepass")))
    spans = [(places[i], places[i + 1]) for i in range(len(text))]
    starts, ends = view.code_points(spans)
    assert starts == list(range(len(text)))
    assert ends == list(range(1, len(text) + 1))
    other = plainer(text)
    if other is not None:
        starts, ends = other.code_points([(0, len(other.data))] if other.data else [])
        assert all(0 <= start <= end <= len(text) for start, end in zip(starts, ends, strict=True))


def test_lower_case_is_pythons_for_every_letter_that_keeps_its_length() -> None:
    for character in map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x20000)]):
        small = character.lower().encode()
        if small != character.encode() and len(small) == len(character.encode()) and character != "Σ":
            assert View(character).low == small, hex(ord(character))


def test_half_a_surrogate_pair_is_text_too() -> None:
    text = "\ud800 anna@example.com \udfff"
    assert [text[one.start : one.end] for one in scan(text, RULES)] == ["anna@example.com"]


def test_a_detector_that_fails_is_a_finding() -> None:
    class Broken:
        name = "broken"
        literals = (b"boom",)
        exact = False
        longest = 4

        def find(self, view: View, places: object) -> list[Hit]:
            raise RuntimeError("no")

    hits = list(Scanner([Broken()], []).hits(View("boom")))
    assert [(hit.type, hit.rule) for hit in hits] == [("detector_error", "broken")]
    assert len(settled([*hits, Hit("email", 0, 4, "email", 1.0)])) == 2


def test_what_fails_outside_a_detector_is_a_finding_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> list[Hit]:
        raise MemoryError

    rules = Rules()
    monkeypatch.setattr(rules, "hits", broken)
    (one,) = scan("text", rules)
    assert (one.type, one.start, one.end, str(one.label)) == ("detector_error", 0, 4, "restricted")


PATTERNS = [part for one in RULES.detectors for part in getattr(one, "patterns", [one]) if isinstance(part, Pattern)]


@pytest.mark.parametrize("rule", PATTERNS, ids=lambda one: one.name)
def test_every_pattern_compiles_is_bounded_and_holds_its_literals(rule: Pattern) -> None:
    assert rule.longest < 20_000
    Expression(rule.pattern)
    assert rule.literals
    assert all(literal for literal in rule.literals)


WHOLE = [one for one in PATTERNS if one.type != "prompt_injection" and one.name != "airtable-token"]
"""Phrases know more wordings than they are woken by, and the word beside an Airtable token may come after it."""


@pytest.mark.parametrize("rule", WHOLE, ids=lambda one: one.name)
def test_what_a_pattern_finds_anywhere_it_finds_from_its_literals(rule: Pattern) -> None:
    """The prefilter loses nothing: a literal stands where the rule says, in every match of it in these texts."""
    for text in (*ATTACKS, *VALUES):
        view = View(text)
        data = view.low if rule._low else view.data
        for match in rule._find.finditer(data, 0, len(data)):
            if rule.exact and not rule._joined:
                continue
            first, last = match.start(), match.start() + rule.before
            seen = [view.low.find(literal.lower(), first, match.end() + 40) for literal in rule.literals]
            assert any(first <= place <= last for place in seen), (text, rule.literals)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Привет ", "Ignоre ", "all ", "previоus ", "سلام ", "a\u200bb ", "слово ", "x\u202a "]),
        max_size=12,
    )
)
def test_disguises_are_told_by_what_stands_close_by(parts: list[str]) -> None:
    """A stream does not have what is further away, so it must not matter."""
    text = "".join(parts)
    gap = " filler" * 40
    alone = [(one.rule, one.start) for one in scan(text, RULES)]
    inside = [(one.rule, one.start) for one in scan(text + gap + " Ignоre سلام", RULES) if one.end <= len(text)]
    assert inside == alone


def test_what_a_stream_must_hold_back_is_known() -> None:
    assert RULES.longest == max(one.longest for one in RULES.detectors) >= 16_000
    assert longest(rb"a{1,4}(?:bc|d)") == 6
    assert longest(rb"a+") is None
    with pytest.raises(ValueError, match="no longest"):
        Pattern("secret", "x", rb"a+", [b"a"]).longest  # noqa: B018


@pytest.mark.parametrize(
    "unit",
    ["sk-", "ghp_", "password=", "eyJ", "-----BEGIN RSA PRIVATE KEY-----", "://a:", "ignore all ", "](http://", "1 ",
     "4111 ", "a@", "::", "aWdub3Jl", "@a.", "<img ", "born ", "passport 1", "\u200b", "а1", "0x", "pat", "{", "DE89 "],
)  # fmt: skip
def test_repeating_a_trigger_costs_no_more_than_its_length(unit: str) -> None:
    """What detectors read is counted, not timed: bytes handed to expressions, against the bytes of the text."""
    rules = Rules()
    counts = []
    for size in (2_000, 8_000):
        text = (unit * (size // len(unit) + 1))[:size]
        view = View(text)
        read = 0
        for detector, places in rules._scanner._words.woken(view).items():
            before, after = getattr(detector, "before", 0), detector.longest
            read += sum(end - start for start, end in stretches(sorted(places), before, after, len(view.data)))
        counts.append(read)
    assert counts[1] <= 5 * counts[0] + 400_000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 500), max_size=20), st.integers(0, 50), st.integers(1, 60), st.integers(1, 600))
def test_stretches_are_disjoint_and_cover_every_place(places: list[int], before: int, after: int, length: int) -> None:
    places = sorted(place for place in places if place < length)
    found = list(stretches(places, before, after, length))
    assert sum(end - start for start, end in found) <= length
    assert all(0 <= start <= end <= length for start, end in found)
    for place in places:
        assert any(start <= max(0, place - before) and min(length, place + after) <= end for start, end in found)
    assert all(first[1] <= second[0] for first, second in zip(found, found[1:], strict=False))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([rb"a[0-9]{1,3}b?", rb"\bfoo\b", rb"(x)|(y)", rb"(?i)k[^a]{0,4}k"]),
    st.binary(max_size=60),
    st.text("afoxyk1 K", max_size=60),
)
def test_expressions_find_what_the_public_half_of_re2_finds(pattern: bytes, noise: bytes, text: str) -> None:
    data = noise + text.encode()
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    public = re2.compile(pattern, options)
    ours = Expression(pattern)
    assert [one.span() for one in ours.finditer(data, 0, len(data))] == [one.span() for one in public.finditer(data)]
    for place in range(min(len(data), 12)):
        one, other = ours.match(data, place, len(data)), public.match(data, place, len(data))
        assert (one and one.span()) == (other and other.span())


def test_a_pattern_that_re2_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(\?=a\)"):
        Expression(rb"(?=a)")


@given(st.binary(min_size=1, max_size=20))
def test_quoted_bytes_match_themselves(literal: bytes) -> None:
    found = Expression(quoted(literal)).match(literal, 0, len(literal))
    assert found is not None
    assert found.span() == (0, len(literal))


def test_overlaps_the_most_specific_then_the_longest_stands() -> None:
    hits = [
        Hit("email", 4, 20, "email", 0.9, 2),
        Hit("secret", 0, 20, "url", 0.9, 3),
        Hit("phone", 30, 40, "phone", 0.9, 1),
        Hit("phone", 30, 44, "longer", 0.6, 1),
        Hit("exfiltration", 0, 50, "link", 0.9, 1),
    ]
    assert [hit.rule for hit in settled(hits)] == ["url", "link", "longer"]


def test_lookalikes_are_single_letters() -> None:
    assert all(len(one) == 1 and other.isascii() for one, other in LOOKALIKES.items())
    assert re.fullmatch("[A-Za-z]+", "".join(LOOKALIKES.values()))


@given(st.text("0123456789", min_size=2, max_size=24))
def test_luhn_sees_any_single_wrong_digit(digits: str) -> None:
    check = next(str(digit) for digit in range(10) if luhn(digits + str(digit)))
    whole = digits + check
    for place in range(len(whole)):
        other = whole[:place] + str((int(whole[place]) + 1) % 10) + whole[place + 1 :]
        assert not luhn(other)


def test_checksums_of_published_examples() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert bech32("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr")
    assert not bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5")
    assert base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")
    assert crc_base62("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17")
    assert entropy("aaaa") == 0.0
    assert entropy("abcd") == 2.0
