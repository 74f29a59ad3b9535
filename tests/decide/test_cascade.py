"""When asking a cheap model first pays: the formula against a simulation, its limits, and who answers first."""

import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from freehold.config.schema_routing import Cascade
from freehold.decide.cascade import (
    MOST_COUNTED,
    NOTHING,
    Cascaded,
    Reliability,
    cascaded,
    evidence,
    expected,
    learned,
    prior,
    worth,
)
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Candidate

SHARES = st.floats(0.01, 0.99)
PRICES = st.floats(0, 1)
RULE = Cascade(checks=["logprobs"])


def sure(false_pass: float, false_doubt: float) -> Reliability:
    """A check of which so much is known that the prior is nothing."""
    many = 1e9
    return Reliability(many * (1 - false_doubt), many * false_pass, many * false_doubt, many * (1 - false_pass))


def candidate(name: str, quality: float | None, price: float | None, seconds: float | None = 1.0) -> Candidate:
    return Candidate(name, quality, price, price, seconds)


@pytest.mark.parametrize(
    ("q1", "q2", "fp", "fd"), [(0.9, 0.95, 0.3, 0.1), (0.5, 0.9, 0.05, 0.4), (0.8, 0.8, 1.0, 0.0), (0.7, 0.9, 0.0, 1.0)]
)
def test_the_formula_is_what_happens(q1: float, q2: float, fp: float, fd: float) -> None:
    """200,000 requests thrown: doubts, price and right answers come out as computed."""
    draw = random.Random(1).random
    requests, doubts, rights = 200_000, 0, 0
    for _ in range(requests):
        first_right = draw() < q1
        doubted = draw() < (fd if first_right else 1 - fp)
        doubts += doubted
        rights += (draw() < q2) if doubted else first_right
    found = expected(candidate("a", q1, 0.1), candidate("b", q2, 1.0), RULE, sure(fp, fd))
    assert found.quality == pytest.approx(rights / requests, abs=0.005)
    counted = sure(fp, fd)
    counted.passed, counted.doubted = requests - doubts, doubts
    found = expected(candidate("a", q1, 0.1), candidate("b", q2, 1.0), RULE, counted)
    assert found.price == pytest.approx(0.1 + doubts / requests, abs=0.005)


@given(SHARES, SHARES, PRICES, SHARES, SHARES)
def test_a_free_first_model_saves_whatever_passes(q1: float, q2: float, c2: float, fp: float, fd: float) -> None:
    assume(c2 > 1e-6)
    found = expected(candidate("own/a", q1, 0.0), candidate("b", q2, c2), RULE, sure(fp, fd))
    assert found.price is not None
    assert found.price <= c2
    assert found.price == pytest.approx(found.doubt * c2)


@given(SHARES, SHARES, SHARES, SHARES)
def test_a_perfect_check_loses_nothing(q1: float, q2: float, c1: float, c2: float) -> None:
    found = expected(candidate("a", q1, c1), candidate("b", q2, c2), RULE, sure(0.0, 0.0))
    assert found.quality >= q2 - 1e-6
    assert worth(candidate("b", q2, c2), found, None) is None or (found.price or 0) >= c2


def test_a_rented_first_model_that_is_doubted_often_does_not_pay() -> None:
    """arXiv 2605.06350: the cheap call is paid before every escalation."""
    first, better = candidate("rented/a", 0.5, 0.3), candidate("rented/b", 0.9, 1.0)
    found = expected(first, better, RULE, Reliability(passed=10.0, doubted=990.0))
    assert "would not be cheaper" in str(worth(better, found, 0.5))


def test_an_owned_model_below_capacity_pays_and_beyond_it_does_not() -> None:
    better = candidate("rented/b", 0.9, 1.0)
    rule = Cascade(checks=["extract"])
    for load, pays in ((0.0, True), (2.0, False)):
        found = expected(candidate("own/a", 0.88, load), better, rule)
        assert (worth(better, found, 0.8) is None) == pays


def test_a_check_of_form_cannot_save_a_weak_model_unless_a_person_says_so() -> None:
    first, better, rule = candidate("own/a", 0.3, 0.0), candidate("b", 0.9, 1.0), Cascade(checks=["schema"])
    found = expected(first, better, rule)
    assert "is wanted" in str(worth(better, found, None))
    assert worth(better, found, None, trusted=True) is None


def test_samples_are_calls_too() -> None:
    first, better = candidate("a", 0.9, 0.1), candidate("b", 0.9, 1.0)
    one = expected(first, better, Cascade(checks=["extract"]))
    several = expected(first, better, Cascade(checks=["extract", "agree"], samples=4))
    assert one.price is not None
    assert several.price is not None
    assert several.price > one.price + 0.1


def test_unknown_prices_stay_unknown() -> None:
    found = expected(candidate("a", None, None, None), candidate("b", None, 1.0), RULE)
    assert (found.price, found.seconds) == (None, None)
    assert found.quality > 0


# Reliability


def test_what_is_counted_outweighs_the_prior() -> None:
    known = Reliability()
    assert known.errs(RULE) == pytest.approx(prior(RULE))
    for _ in range(400):
        known.learned(passed=True, right=True)
        known.learned(passed=False, right=False)
    false_pass, false_doubt = known.errs(RULE)
    assert false_pass < 0.02
    assert false_doubt < 0.02
    assert Reliability() == NOTHING, "the prior was not counted on"


def test_old_counts_fade() -> None:
    known = Reliability()
    for _ in range(int(3 * MOST_COUNTED)):
        known.checked(True)
    for _ in range(int(MOST_COUNTED)):
        known.checked(False)
    assert known.passed + known.doubted <= MOST_COUNTED + 1
    assert known.doubt(0.0) > 0.4


@given(
    st.lists(st.sampled_from(["complete", "json", "schema", "logprobs", "extract", "agree"]), min_size=1, unique=True)
)
def test_more_checks_let_less_through(checks: Any) -> None:
    false_pass, false_doubt = prior(Cascade(checks=checks))
    fewer = prior(Cascade(checks=checks[:1]))
    assert 0 < false_pass <= fewer[0] + 1e-12
    assert 1 > false_doubt >= fewer[1] - 1e-12


def test_evidence_of_form_is_weak() -> None:
    form, content = Cascade(checks=["schema"]), Cascade(checks=["extract"])
    assert evidence(form, passed=True) < evidence(content, passed=True) < evidence(form, passed=False) < 1


def test_learned_from_a_ledger() -> None:
    rows = [
        ("c1", "r", "own/a", "cascade", 1.0), ("c1", "r", "own/a", "feedback", 0.0),
        ("c2", "r", "own/a", "cascade", 0.0), ("c2", "r", "own/a", "judge", 1.0),
        ("c3", "r", "own/a", "cascade", 1.0), ("c3", "r", "own/a", "retry", 0.0),
        ("c4", "r", "own/a", "feedback", 1.0),
    ]  # fmt: skip
    assert learned(rows) == {("r", "own/a"): Reliability(0, 1, 1, 0, passed=2, doubted=1)}


# Who answers first


def deployment(name: str) -> Deployment:
    return Deployment(name, name.partition("/")[0], name.partition("/")[2], "chat", owned=name.startswith("own/"))


ORDER = [deployment(name) for name in ("rented/best", "own/b", "rented/next", "own/a")]
THOUGHTS = [
    candidate("rented/best", 0.95, 1.0), candidate("own/b", 0.8, 0.2), candidate("rented/next", 0.85, 0.5),
    candidate("own/a", 0.9, 0.01),
]  # fmt: skip


def names(found: Cascaded | str) -> list[str]:
    assert isinstance(found, Cascaded), found
    assert [one.name for one in found.order] == [one.name for one in found.candidates]
    return [one.name for one in found.order]


def test_the_cheapest_owned_model_is_first_and_the_best_ranked_better_one_is_next() -> None:
    found = cascaded(ORDER, THOUGHTS, Cascade(checks=["extract"]), quality=0.8)
    assert names(found) == ["own/a", "rented/best", "own/b", "rented/next"]
    assert isinstance(found, Cascaded)
    assert found.reason == "cascade: first own/a, checked by extract, on doubt rented/best"
    assert found.candidates[1].note == "asked on doubt"


def test_the_one_that_is_named_is_first() -> None:
    found = cascaded(ORDER, THOUGHTS, Cascade(first="rented/next", checks=["extract"]))
    assert names(found)[:2] == ["rented/next", "rented/best"]


def test_a_worse_model_is_not_asked_on_doubt_before_a_better_one() -> None:
    order = [ORDER[1], ORDER[0], ORDER[3]]
    thoughts = [THOUGHTS[1], THOUGHTS[0], THOUGHTS[3]]
    assert names(cascaded(order, thoughts, Cascade(first="own/a", checks=["extract"]))) == [
        "own/a", "rented/best", "own/b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "rule", "why"),
    [
        ([0], Cascade(), "nobody could be asked on doubt"),
        ([0, 2], Cascade(), "no owned model is eligible"),
        ([0, 2], Cascade(first="own/a"), "own/a is not eligible"),
        ([0, 1], Cascade(floor=0.9), "own/b is predicted to be right with 0.80, below 0.9"),
    ],
)
def test_why_there_is_no_cascade(order: list[int], rule: Cascade, why: str) -> None:
    assert cascaded([ORDER[i] for i in order], [THOUGHTS[i] for i in order], rule) == why


def test_what_is_known_of_the_check_decides() -> None:
    """The same candidates: a check that was seen to pass wrong answers ends the cascade."""
    rule = Cascade(checks=["logprobs"])
    order, thoughts = [ORDER[0], ORDER[1]], [THOUGHTS[0], THOUGHTS[1]]
    good, bad = sure(0.05, 0.05), sure(0.99, 0.05)
    assert isinstance(cascaded(order, thoughts, rule, lambda _: good), Cascaded)
    assert "does not pay" in str(cascaded(order, thoughts, rule, lambda _: bad))
