"""Reading a prompt: any text is read, spelling is folded, and length is bounded."""

import math

from hypothesis import given
from hypothesis import strategies as st

from freehold.decide.predict.look import HEAD, LADDERS, TAIL, look

TEXT = st.text(max_size=400)


@given(TEXT, st.booleans(), st.integers(-3, 10_000))
def test_any_text_is_read(text: str, tools: bool, turns: int) -> None:
    seen = look(text, tools=tools, turns=turns)
    assert len(seen.measures) == len(LADDERS)
    assert all(math.isfinite(measure) for measure in seen.measures)


@given(st.text(st.characters(codec="ascii"), max_size=300))
def test_case_and_white_space_say_nothing_about_the_words(text: str) -> None:
    assert look(text.upper()).words == look(text.lower()).words == look(f"  {text}\n\n").words


def test_spelling_is_folded() -> None:
    plain = "it's the file of naïve ÜSERS"
    odd = "it\u2019s the \ufb01le\u200b of nai\u0308ve \u00fcs\u00aders"
    assert look(plain).words == look(odd).words


def test_line_ends_of_every_system_are_the_same() -> None:
    assert look("one\r\ntwo\rthree") == look("one\ntwo\nthree")


def test_lone_surrogates_are_no_trouble() -> None:
    assert look("a \ud800 b").words == {b"a", b"b"}


def test_of_a_long_text_the_head_and_the_tail_are_read() -> None:
    head, tail = "first " * HEAD, " last" * TAIL
    one = look(head + "x" * 100_000 + tail)
    other = look(head + "y" * 100_000 + tail)
    assert one == other
    assert {b"first", b"last"} <= one.words
    assert len(one.pairs) <= 96
    assert one.measures[0] > 16


def test_options_of_a_question_are_told_from_it() -> None:
    names = list(LADDERS)
    seen = dict(zip(names, look("Which is it?\nA. one\nB. two 2\n(C) three three\nAnswer:").measures, strict=True))
    assert seen["options"] == 3
    assert seen["question"] == math.log2(1 + len("Which is it?\n"))
    assert seen["option length"] == math.log2(1 + sum(map(len, ("A. one", "B. two 2", "(C) three three"))) / 3)
