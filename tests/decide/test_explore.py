"""Exploration: bounded, only where the rules allow, and with propensities that are exactly what happens."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.schema_routing import Explore
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Candidate
from freehold.decide.explore import EVEN, chances, explored

SHARES = st.floats(0.001, 0.2)
MAYBE = st.none() | st.floats(0, 1)
CANDIDATES = st.lists(
    st.tuples(MAYBE, st.none() | st.floats(0, 0.1), st.sampled_from(["", "predicted below 0.80"])),
    min_size=1,
    max_size=8,
).map(lambda rows: [Candidate(f"p/{i}", q, dollars, dollars, note=note) for i, (q, dollars, note) in enumerate(rows)])
RULES = st.builds(Explore, share=SHARES, price=st.none() | st.floats(0, 0.05), quality=st.floats(0, 1))


def deployments(candidates: list[Candidate]) -> list[Deployment]:
    return [Deployment(one.name, "p", one.name.partition("/")[2], "chat") for one in candidates]


@given(candidates=CANDIDATES, rules=RULES, refused=st.booleans())
def test_the_chances_are_a_distribution_within_the_rules(
    candidates: list[Candidate], rules: Explore, refused: bool
) -> None:
    odds = chances(candidates, rules, refused=refused)
    usual = candidates[0]
    assert math.isclose(math.fsum(odds), 1.0)
    assert odds[0] in (1.0, 1.0 - rules.share)
    others = [(one, odd) for one, odd in zip(candidates[1:], odds[1:], strict=True) if odd > 0]
    for one, odd in others:
        assert odd >= rules.share * EVEN / len(others) - 1e-12
        assert refused or not one.note
        if usual.quality is not None:
            assert one.quality is not None
            assert one.quality >= usual.quality - rules.quality - 1e-9
        if rules.price is not None:
            assert one.dollars is not None
            assert one.dollars - (usual.dollars or 0) <= rules.price + 1e-9


@given(candidates=CANDIDATES, rules=RULES, drawn=st.floats(0, 1, exclude_max=True))
def test_the_propensity_is_the_chance_of_the_chosen_one_and_nobody_is_lost(
    candidates: list[Candidate], rules: Explore, drawn: float
) -> None:
    order, shown, propensity, by_chance = explored(deployments(candidates), candidates, rules, lambda: drawn)
    assert [one.name for one in order] == [one.name for one in shown]
    assert sorted(one.name for one in order) == sorted(one.name for one in candidates)
    assert shown[0].chance == propensity > 0
    assert by_chance == (shown[0].name != candidates[0].name)
    assert [one.name for one in shown[1:]] == [one.name for one in candidates if one.name != shown[0].name]


def test_what_is_written_down_is_what_happens() -> None:
    candidates = [Candidate("p/a", 0.8, 0.01), Candidate("p/b", 0.79, 0.01), Candidate("p/c", 0.72, 0.01)]
    rules = Explore(share=0.2, quality=0.1)
    draw = random.Random(7).random
    seen: Counter[str] = Counter()
    written: dict[str, float] = {}
    for _ in range(20_000):
        order, _, propensity, _ = explored(deployments(candidates), candidates, rules, draw)
        seen[order[0].name] += 1
        written[order[0].name] = propensity
    for name, count in seen.items():
        share = written[name]
        assert abs(count / 20_000 - share) < 4 * math.sqrt(share * (1 - share) / 20_000)
    assert written["p/b"] > written["p/c"]


def test_nothing_is_explored_that_the_rules_exclude() -> None:
    usual = Candidate("p/a", 0.9, 0.001)
    worse, dear, unpriced = Candidate("p/b", 0.7, 0.001), Candidate("p/c", 0.9, 1.0), Candidate("p/d", 0.9)
    unforeseen, refused = Candidate("p/e", None, 0.001), Candidate("p/f", 0.9, 0.001, note="the gate refuses it")
    rules = Explore(share=0.2, price=0.01, quality=0.1)
    assert chances([usual, worse, dear, unpriced, unforeseen], rules) == (1.0, 0.0, 0.0, 0.0, 0.0)
    assert chances([usual, refused], rules) == pytest.approx((0.8, 0.2))
    assert chances([usual, refused], rules, refused=False) == (1.0, 0.0)
    assert chances([usual, refused], None) == (1.0, 0.0)


def test_chance_is_asked_once_and_only_where_there_is_a_choice() -> None:
    asked: list[float] = []

    def chance() -> float:
        asked.append(0.999)
        return asked[-1]

    one, other = Candidate("p/a", 0.5), Candidate("p/b", 0.5)
    explored(deployments([one]), [one], Explore(), chance)
    explored(deployments([one, other]), [one, other], None, chance)
    assert not asked
    order, *_ = explored(deployments([one, other]), [one, other], Explore(), chance)
    assert len(asked) == 1
    assert order[0].name == "p/b"
