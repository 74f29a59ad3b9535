"""Texts and answers made comparable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check.agreement import decided, needed, said
from freehold.check.confidence import confidence
from freehold.check.extracted import MOST_LEAVES, not_found
from freehold.check.pattern import Unsupported
from freehold.check.words import normalised, number, numbers
from freehold.dialects.conversation import Choice, Text, Thinking, ToolCall


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1,234.50 EUR", {"1234.5"}),
        ("1.234,50 EUR", {"1234.5"}),
        ("1 234", {"1234"}),
        ("1'234.5", {"1234.5"}),
        ("-7 or \u22128", {"-7", "7", "-8", "8"}),
        ("2026-05-02", {"2026", "5", "2"}),
        ("3.10", {"3.1"}),
        (".5", {"0.5"}),
        ("1.234", {"1.234", "1234"}),
    ],
)
def test_numbers_in_every_way_of_writing(text: str, holds: set[str]) -> None:
    assert holds <= numbers(text)


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_found_where_it_is_written(value: float) -> None:
    made = number(value)
    if made is not None and abs(value) < 1e15 and "e" not in repr(value):
        assert made in numbers(f"it costs {value!r} a piece")


@pytest.mark.parametrize("value", ["nan", "inf", "word", "1e999999999", ""])
def test_what_is_no_number(value: str) -> None:
    assert number(value) is None


@given(st.text(), st.text(alphabet="abc \u00e9\u2019"))
def test_a_word_of_the_source_is_found(before: str, word: str) -> None:
    assert not_found([word], f"{before} {word} after") is None


@pytest.mark.parametrize("values", [["art"], ["of cat"], [12], ["2"]])
def test_parts_of_words_and_numbers_are_not(values: list[object]) -> None:
    assert not_found(values, "a part of catalogue 123") is not None


def test_what_is_too_large_to_compare_is_said_so() -> None:
    with pytest.raises(Unsupported):
        not_found(["a"] * (MOST_LEAVES + 1), "a")


def test_normalised() -> None:
    assert normalised("  \u201cHELLO\u201d\u00a0\n W\u00f6rld\u2014x ") == '"hello" w\u00f6rld-x'


def choice(text: str = "", *parts: ToolCall) -> Choice:
    return Choice([Thinking("hm"), Text(text), *parts])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": 2}', ' {"b": 2.0, "a": 1}'),
        ("The answer is 42.", "So we get 6 * 7 = 42\n#### 42"),
        ("Final answer: **B**", "I think (C) is wrong. Answer: B"),
        (r"thus \boxed{1,000}", "The final answer is $1000."),
        ("Paris", " paris. "),
        ("42", "42.0"),
        ("refund request", "Refund-request!"),
    ],
)
def test_answers_that_say_the_same(one: str, other: str) -> None:
    assert said(choice(one)) == said(choice(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": "1"}'),
        ("The answer is 42.", "The answer is 24."),
        ("Answer: A", "Answer: B"),
        ("yes", "no"),
        ("42", "-42"),
    ],
)
def test_answers_that_do_not(one: str, other: str) -> None:
    assert said(choice(one)) != said(choice(other))


def test_calls_are_compared_in_any_order_and_by_arguments() -> None:
    a, b = ToolCall("1", "f", '{"x": 1, "y": 2}'), ToolCall("2", "g", "{}")
    c, d = ToolCall("8", "g", ""), ToolCall("9", "f", '{"y":2,"x":1}')
    assert said(choice("", a, b)) == said(choice("Let me see.", c, d))
    assert said(choice("", a)) != said(choice("", b))


def test_nothing_said_agrees_with_nobody() -> None:
    assert said(choice("  ")) is None


@given(st.integers(2, 9), st.floats(0.01, 0.99), st.lists(st.booleans(), min_size=9, max_size=9))
def test_sampling_ends_as_soon_as_it_is_decided(samples: int, share: float, same: list[bool]) -> None:
    """Whatever is drawn early, the verdict is that of all samples together."""
    drawn = same[: samples - 1]
    whole = 1 + sum(drawn) >= needed(samples, share)
    agree, differ = 1, 0
    for one in drawn:
        if (early := decided(agree, differ, samples, share)) is not None:
            assert early == whole
            return
        agree, differ = agree + one, differ + (not one)
    assert decided(agree, differ, samples, share) == whole


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=400), st.integers(2, 5))
def test_confidence_does_not_move_with_length(values: list[float], times: int) -> None:
    """The same tokens several times over are as sure; their sum would say otherwise."""
    once = confidence({"content": [{"token": "t", "logprob": value} for value in values]})
    often = confidence({"content": [{"token": "t", "logprob": value} for value in values * times]})
    assert once is not None
    assert often is not None
    assert min(values) <= once.least <= sorted(values)[len(values) // 20]
    assert abs(sorted(values * times).index(often.least) - 0.05 * len(values) * times) <= times + 1
