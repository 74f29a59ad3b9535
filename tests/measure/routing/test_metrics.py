"""The definitions, held to what must be true of them."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freehold.measure.routing import metrics

BITS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=20, max_size=80)


def arrays(rows: list[tuple[int, int, int]]) -> tuple[metrics.Floats, metrics.Floats, metrics.Floats]:
    weak, strong, score = (np.array(column, float) for column in zip(*rows, strict=True))
    return weak, strong, score


@settings(max_examples=40)
@given(BITS)
def test_a_constant_score_is_random_and_recovers_half(rows: list[tuple[int, int, int]]) -> None:
    weak, strong, _ = arrays(rows)
    curve = metrics.pgr_curve(np.zeros(len(rows)), weak, strong)
    assume(curve is not None)
    assert curve is not None
    assert curve.area() == pytest.approx(0.5)
    assert curve.needed(0.8) == pytest.approx(0.8)


@settings(max_examples=40)
@given(BITS)
def test_a_score_and_its_opposite_recover_the_whole_together(rows: list[tuple[int, int, int]]) -> None:
    weak, strong, score = arrays(rows)
    one, other = (metrics.pgr_curve(sign * score, weak, strong) for sign in (1, -1))
    assume(one is not None and other is not None)
    assert one is not None
    assert other is not None
    assert one.area() + other.area() == pytest.approx(1.0)


@settings(max_examples=40)
@given(BITS, st.randoms(use_true_random=False))
def test_the_order_of_rows_means_nothing(rows: list[tuple[int, int, int]], chance: object) -> None:
    weak, strong, score = arrays(rows)
    order = np.random.default_rng(1).permutation(len(rows))
    one, other = metrics.pgr_curve(score, weak, strong), metrics.pgr_curve(score[order], weak[order], strong[order])
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.area() == pytest.approx(other.area())


@settings(max_examples=40)
@given(BITS)
def test_by_cost_is_by_calls_when_every_call_costs_the_same(rows: list[tuple[int, int, int]]) -> None:
    weak, strong, score = arrays(rows)
    calls = metrics.pgr_curve(score, weak, strong)
    dollars = metrics.cost_curve(score, weak, strong, np.full(len(rows), 0.3))
    if calls is not None and dollars is not None:
        assert calls.area() == pytest.approx(dollars.area())


def test_knowing_the_outcomes_is_as_good_as_can_be() -> None:
    weak = np.array([1.0] * 50 + [0.0] * 50)
    strong = np.ones(100)
    curve = metrics.pgr_curve(strong - weak, weak, strong)
    assert curve is not None
    assert curve.area() == pytest.approx(0.75)
    assert curve.needed(0.8) == pytest.approx(0.4)


def test_there_is_nothing_to_recover_without_a_gap() -> None:
    assert metrics.pgr_curve(np.arange(4.0), np.ones(4), np.ones(4)) is None
    assert metrics.pgr_curve(np.zeros(0), np.zeros(0), np.zeros(0)) is None


POINTS = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(POINTS)
def test_the_hull_is_above_every_point_rises_and_bends_down(points: list[tuple[float, float]]) -> None:
    cost, quality = (np.array(column) for column in zip(*points, strict=True))
    one = metrics.hull(cost, quality)
    assert (one.at(cost) >= quality - 1e-9).all()
    assert (np.diff(one.cost) > 0).all()
    assert (np.diff(one.quality) > 0).all()
    slopes = np.diff(one.quality) / np.diff(one.cost)
    assert (np.diff(slopes) <= 1e-6 * np.abs(slopes[:-1])).all()
    assert [(cost[i], quality[i]) for i in one.members] == list(zip(one.cost, one.quality, strict=True))


@settings(max_examples=60)
@given(POINTS, st.floats(0, 1))
def test_the_price_of_a_quality_buys_it(points: list[tuple[float, float]], wanted: float) -> None:
    cost, quality = (np.array(column) for column in zip(*points, strict=True))
    one = metrics.hull(cost, quality)
    price = one.price_of(wanted)
    assert (price is None) == (wanted > quality.max() + 1e-12)
    if price is not None:
        assert one.at(np.array([price * (1 + 1e-9)]))[0] >= wanted - 1e-6


@settings(max_examples=60)
@given(POINTS)
def test_the_mean_height_is_between_the_ends(points: list[tuple[float, float]]) -> None:
    cost, quality = (np.array(column) for column in zip(*points, strict=True))
    one = metrics.hull(cost, quality)
    assert one.quality[0] - 1e-9 <= one.aiq(one.cost[0], one.cost[-1]) <= one.quality[-1] + 1e-9


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=2, max_size=40))
def test_auc_counts_pairs(rows: list[tuple[int, int]]) -> None:
    score, label = (np.array(column, float) for column in zip(*rows, strict=True))
    ones, zeros = score[label > 0], score[label == 0]
    found = metrics.auc(score, label)
    if not len(ones) or not len(zeros):
        assert found is None
        return
    counted = np.mean([[(a > b) + 0.5 * (a == b) for b in zeros] for a in ones])
    assert found == pytest.approx(counted)
