"""Judging, without any model: what counts as the same, and what does not."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.own.parity.answers import Answers, Ends, Passage, Position, Questions, Rendered
from freehold.own.parity.compare import Report, compare, divergence, near
from freehold.own.parity.limits import TABLE, Limits, limits, looser

ASKED = Questions(["a b"], [], continuation=2, window=2)
EXACT = limits("F32")


def position(at: int, *pairs: tuple[int, float]) -> Position:
    best = sorted(pairs, key=lambda pair: -pair[1])
    return Position(at, [token for token, _ in best], [math.log(p) for _, p in best])


def answers(**changes: Any) -> Answers:
    passage = Passage(
        "a b", [1, 2], [3, 4], False, [position(at, (at + 1, 0.7), (9, 0.2), (8, 0.05)) for at in (1, 2, 3, 4)]
    )
    passage = Passage(
        **{name: getattr(passage, name) for name in passage.__struct_fields__} | changes.pop("passage", {})
    )
    chats = changes.pop("chats", [Rendered("single turn", "<s>hi", "<s>", [0, 5])])
    ends = changes.pop("ends", Ends([7], [0, 7], 7))
    return Answers("somebody", [passage], chats, ends, changes.pop("template", True))


def judged(theirs: Answers, ours: Answers, allowed: Limits = EXACT) -> Report:
    return compare(theirs, ours, ASKED, allowed, "F32")


def failing(report: Report) -> list[str]:
    return [check.name for check in report.checks if check.passed is False]


def test_the_same_answers_pass() -> None:
    report = judged(answers(), answers())
    assert report.passed
    assert report.figures.mean_kl == 0
    assert (report.figures.top1, report.figures.greedy, report.figures.positions) == (1.0, 1.0, 4)


@st.composite
def distributions(draw: st.DrawFn) -> Position:
    weights = draw(st.lists(st.floats(0.01, 1), min_size=5, max_size=5))
    whole = sum(weights)
    return position(1, *((token, weight / whole) for token, weight in enumerate(weights)))


@given(distributions(), distributions(), st.integers(1, 5), st.integers(1, 5))
def test_a_divergence_is_never_below_zero_nor_above_the_whole_one(
    p: Position, q: Position, kept: int, told: int
) -> None:
    def cut(one: Position, count: int) -> Position:
        return Position(one.at, one.ids[:count], one.logprobs[:count])

    whole = divergence(p, q)
    assert divergence(p, p) == pytest.approx(0, abs=1e-9)
    assert 0 <= divergence(cut(p, kept), q) <= whole + 1e-9
    assert divergence(p, cut(q, told)) >= 0


def test_a_token_that_the_artefact_does_not_list_counts_as_its_least() -> None:
    p, q = position(1, (1, 0.9)), position(1, (2, 0.9), (3, 0.05))
    assert divergence(p, q) > 0.9 * math.log(0.9 / 0.05) - 0.5


def test_another_token_is_the_same_where_the_original_hardly_knows() -> None:
    close = position(2, (3, 0.4), (4, 0.399), (5, 0.1))
    assert near(close, 0.02) == [3, 4]
    assert near(position(2, (3, 0.4), (4, 0.3)), 0.02) == [3]


def test_greedy_tokens_must_be_the_same() -> None:
    report = judged(answers(), answers(passage={"continuation": [3, 5]}))
    assert failing(report) == ["greedy"]
    assert report.findings[0].at == 3


def test_greedy_tokens_may_differ_after_a_tie() -> None:
    tie = [position(at, (at + 1, 0.4), (9, 0.3999)) for at in (1, 2, 3, 4)]
    theirs = answers(passage={"positions": tie})
    assert judged(theirs, answers(passage={"positions": tie, "continuation": [9, 1]})).passed


def test_an_end_that_the_original_does_not_have_is_a_difference() -> None:
    assert failing(judged(answers(), answers(passage={"continuation": [3], "ended": True}))) == ["greedy"]


def test_a_quantised_file_may_say_something_else() -> None:
    report = judged(answers(), answers(passage={"continuation": [3, 5]}), limits("Q4_K_M"))
    assert report.passed
    assert report.figures.greedy == 0


def test_other_tokens_for_a_text_are_shown() -> None:
    report = judged(answers(), answers(passage={"ids": [1, 6]}))
    assert failing(report) == ["tokens"]
    assert (report.findings[0].at, report.findings[0].expected, report.findings[0].got) == (1, "[2]", "[6]")


def test_a_space_may_be_missing_where_conversations_are_right() -> None:
    ours = {"ids": [2], "spaced": [1, 2]}
    report = judged(answers(), answers(passage=ours))
    assert report.passed
    assert "no space" in report.notes[0]
    wrong = [Rendered("single turn", "hi", "", [0, 6])]
    assert failing(judged(answers(), answers(passage=ours, chats=wrong))) == ["tokens", "template"]
    assert failing(judged(answers(template=False), answers(passage=ours, template=False))) == ["tokens"]


@pytest.mark.parametrize(
    ("text", "ids", "right"),
    [
        ("<s>hi", [0, 5], True),
        ("hi", [0, 5], True),  # llama.cpp leaves the beginning out of the text and puts it into the tokens
        ("hi ", [0, 5], False),
        ("hi", [0, 6], False),
        ("hi", [5], False),
    ],
)
def test_templates_are_compared_by_text_and_tokens(text: str, ids: list[int], right: bool) -> None:
    report = judged(answers(), answers(chats=[Rendered("single turn", text, "", ids)]))
    assert report.passed is right


def test_a_beginning_that_only_the_engine_adds_is_forgiven() -> None:
    theirs = answers(chats=[Rendered("single turn", "hi", "", [5])])
    assert judged(theirs, answers(chats=[Rendered("single turn", "hi", "", [0, 5])])).passed
    assert not judged(theirs, answers(chats=[Rendered("single turn", "hi", "", [4, 5])])).passed


def test_what_the_template_itself_refuses_is_noted() -> None:
    theirs = answers(chats=[Rendered("system", error="no system role")])
    report = judged(theirs, answers(chats=[Rendered("system", "anything")]))
    assert report.passed
    assert "no system role" in report.notes[0]


def test_what_only_the_engine_refuses_fails() -> None:
    assert failing(judged(answers(), answers(chats=[Rendered("single turn", error="unknown filter")]))) == ["template"]


def test_tools_count_only_where_the_template_shows_them() -> None:
    same = [Rendered(name, "hi", "", [5]) for name in ("single turn", "tools", "tool result")]
    other = [same[0], Rendered("tools", "tools! hi", "", [6, 5]), Rendered("tool result", "x", "", [6])]
    assert judged(answers(chats=same), answers(chats=other)).passed
    shown = [same[0], Rendered("tools", "tools: hi", "", [6, 5]), same[2]]
    assert failing(judged(answers(chats=shown), answers(chats=other))) == ["template"]


def test_a_template_that_is_lost_or_invented_fails() -> None:
    assert failing(judged(answers(), answers(template=False))) == ["template"]
    assert failing(judged(answers(template=False), answers())) == ["template"]
    assert judged(answers(template=False), answers(template=False)).passed


@pytest.mark.parametrize(
    ("ends", "right"),
    [
        (Ends([7], [], 7), True),
        (Ends([7, 0], [], 7), True),  # one more special token ends: noted
        (Ends([], [], 7), False),
        (Ends([7, 5], [], 7), False),
        (Ends([7], [], 5), False),
        (Ends([7], [], None), True),
    ],
)
def test_the_same_tokens_must_end_an_answer(ends: Ends, right: bool) -> None:
    assert judged(answers(), answers(ends=ends)).passed is right


def test_a_mixture_of_experts_may_stray_in_few_places() -> None:
    far = position(4, (1, 0.9), (2, 0.05))
    theirs = answers()
    theirs.passages[0].positions *= 10
    ours = answers()
    ours.passages[0].positions = [*ours.passages[0].positions * 9, *ours.passages[0].positions[:3], far]
    assert failing(judged(theirs, ours)) == ["top-1", "divergence"]
    assert judged(theirs, ours, limits("F32", experts=4)).passed


def test_the_table_gives_way_in_order() -> None:
    assert limits("q4_k_m") == TABLE["Q4_K"]
    assert limits("IQ2_XXS").kl > limits("Q3_K_S").kl > limits("Q4_K_M").kl > limits("Q6_K").kl > limits("F16").kl
    assert looser(limits("F16"), limits("Q8_0")) == TABLE["Q8_0"]
    assert limits("F32").tie(1.0) == limits("F32").tie(limits("F32").kl)
    assert limits("F32").tie(0.0) == 0.02
