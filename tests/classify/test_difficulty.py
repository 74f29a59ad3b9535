"""Difficulty: signs are named, scores are bounded, odd input is harmless."""

from hypothesis import given
from hypothesis import strategies as st

from freehold.classify import difficulty, facts
from freehold.dialects.peek import Peek


def test_plain_questions_look_easy_and_work_looks_hard() -> None:
    easy = difficulty("What are your opening hours?")
    hard = difficulty(
        "Prove step by step that the algorithm is correct, then refactor it:\n```python\ndef f(x): ...\n```"
    )
    assert easy.score <= 0.2
    assert easy.signs == ()
    assert hard.score >= 0.8
    assert {"proof", "code"} <= set(hard.signs)


def test_length_tools_and_turns_add() -> None:
    assert difficulty("word " * 1000).score > difficulty("word").score
    assert difficulty("hello", tools=True, turns=9).score > difficulty("hello").score


@given(st.text(max_size=400), st.integers(0, 50), st.booleans())
def test_any_text_gives_a_bounded_score(text: str, turns: int, tools: bool) -> None:
    estimate = difficulty(text, turns=turns, tools=tools)
    assert 0.0 <= estimate.score <= 1.0


def test_long_adversarial_text_stays_cheap_to_read() -> None:
    for text in ("a" * 300_000, "{;" * 100_000, "1. \n" * 100_000, "select " * 50_000, "```" * 100_000):
        assert difficulty(text).score <= 1.0


def test_facts_hold_the_worst_case() -> None:
    known = facts(Peek("m", max_tokens=50, n=2, input_bytes=400, tools=True))
    assert known.needs == {"tools"}
    assert known.held == 101 + 100
    assert facts(Peek("m", input_bytes=4), "embeddings").output_tokens == 0
