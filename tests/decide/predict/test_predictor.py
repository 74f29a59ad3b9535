"""What is predicted: names, strengths, and that it follows what was learnt."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.decide.predict import Head, Predictor, Reading, default

CODE = "Please def a python function with a loop of the array and return when you compile this string for that index"
DESK = "Please sign a letter for the customer about this meeting and that contract, with the refund of the holiday"


def p(predictor: Predictor, text: str, name: str) -> float:
    return predictor.quality(predictor.read(text), [name])[0].p


def test_it_learns_who_is_good_at_what(small: Predictor) -> None:
    assert p(small, CODE, "coder") > 0.65 > 0.45 > p(small, CODE, "clerk")
    assert p(small, DESK, "clerk") > 0.65 > 0.45 > p(small, DESK, "coder")
    for text in (CODE, DESK):
        assert p(small, text, "weak") < p(small, text, "fair") < p(small, text, "strong")


@pytest.mark.parametrize("name", ["org/strong", "strong", "ORG/Strong", "anyone/strong", "router/org/strong"])
def test_a_name_is_matched_whole_then_without_its_provider(small: Predictor, name: str) -> None:
    estimate = small.quality(small.read(CODE), [name])[0]
    assert estimate.head == "org/strong"
    assert estimate.labels == 600
    assert 0 < estimate.sigma < 0.2


def test_a_whole_name_comes_before_a_part_of_it(small: Predictor) -> None:
    width = small.lanes
    more = small.with_heads({"strong": Head("strong", -9.0, (0.0,) * width, 3)})
    assert more.quality(more.read(CODE), ["org/strong"])[0].head == "org/strong"
    assert more.quality(more.read(CODE), ["strong"])[0].head == "strong"
    assert set(more.names) == {*small.names, "strong"}
    assert "strong" not in small.names


def test_a_name_nobody_knows_is_judged_by_its_strength(small: Predictor) -> None:
    reading = small.read(CODE)
    low, middle, high, undeclared = small.quality(reading, ["a/x", "b/y", "c/z", "d"], [0.1, 0.5, 0.95, None])
    assert low.p < middle.p < high.p
    assert undeclared == middle
    assert middle.head == ""
    assert middle.labels == 0
    assert middle.sigma > small.quality(reading, ["strong"])[0].sigma


@settings(max_examples=60)
@given(st.text(max_size=200), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_stronger_is_never_predicted_to_be_worse(text: str, strengths: list[float]) -> None:
    predictor = default()
    strengths.sort()
    found = [e.p for e in predictor.quality(predictor.read(text), [f"n/{i}" for i in range(len(strengths))], strengths)]
    assert found == sorted(found)
    assert all(0 < one < 1 for one in found)


def test_names_are_forgotten_before_there_are_too_many(small: Predictor) -> None:
    reading = small.read("x")
    for i in range(5_000):
        small.quality(reading, [f"client/invented-{i}"])
    assert len(small._found) <= 4_096


def test_a_reading_of_another_basis_is_refused(small: Predictor) -> None:
    with pytest.raises(ValueError, match="a reading of 3 numbers"):
        small.quality(Reading((0.0, 1.0, 2.0)), ["coder"])


@pytest.mark.parametrize("trigger", ["zx qv jklm wub trinn ov kest ", "!!!!!!!! ", "cohomology " * 40, "\u200b" * 50])
def test_a_string_put_before_a_prompt_has_bounded_say(trigger: str) -> None:
    """Repeating it changes nothing but the length, and no string takes a reading out of its bounds."""
    predictor = default()
    prompt = "A company sells 40 chairs a day at 12 dollars each. How much does it take in a week of five days? " * 4
    names = ["gpt-4o-2024-08-06", "gemma-2-9b-it"]
    plain, swayed = (
        [one.p for one in predictor.quality(predictor.read(text), names)] for text in (prompt, trigger + prompt)
    )
    assert max(abs(a - b) for a, b in zip(plain, swayed, strict=True)) < 0.2


def test_a_stored_reading_is_enough(small: Predictor) -> None:
    reading = small.read(CODE)
    assert small.quality(Reading(reading.z), ["coder"]) == small.quality(reading, ["coder"])


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("```\nprint(1)\n```", "code"),
        (r"Solve \(\frac{1}{2}x = 3\)", "maths"),
        ("Which one?\nA. x\nB. y\nC. z", "multiple choice"),
        ("why " * 2_000, "long"),
        ("hi", "short"),
    ],
)
def test_it_says_what_it_saw(small: Predictor, text: str, sign: str) -> None:
    assert sign in small.read(text).signs


def test_tools_and_turns_are_signs_too(small: Predictor) -> None:
    assert {"tools", "long conversation"} <= set(small.read("go on", tools=True, turns=9).signs)


def test_the_one_that_ships_knows_hard_from_easy() -> None:
    predictor = default()
    easy = "Tom has 3 apples and buys 2 more. How many apples does he have?"
    hard = r"Find the number of ordered pairs $(a,b)$ of complex numbers such that $a^3 b^5 = a^7 b^2 = 1$."
    for name in ("gpt-4o-2024-08-06", "gemma-2-9b-it", "nobody/knows-me"):
        assert p(predictor, easy, name) > p(predictor, hard, name) + 0.1
    assert p(predictor, hard, "openai/gpt-4o-2024-08-06") > p(predictor, hard, "gemma-2-9b-it") + 0.1
    assert default() is predictor
