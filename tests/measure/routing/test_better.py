"""Better than the one in force: a gain beyond chance, on answers counted by their weights, with every floor kept."""

import numpy as np
import pytest

from freehold.decide.floor import Certificate
from freehold.measure.routing.better import LEAST, compare, lost_floors


def column(values: list[float]) -> np.ndarray:
    return np.array(values, float)[:, None]


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Chances, and what came out by them."""
    chance = np.random.default_rng(seed)
    chances = chance.uniform(0.05, 0.95, (count, 1))
    return chances, (chance.uniform(size=(count, 1)) < chances).astype(float)


def test_who_knows_the_chances_is_better_than_who_knows_their_mean() -> None:
    chances, truth = drawn(400)
    found = compare(np.full_like(chances, 0.5), chances, truth, np.ones_like(truth))
    assert found.better
    assert found.gain == pytest.approx(found.before - found.after)
    assert 0 < found.low < found.gain
    back = compare(chances, np.full_like(chances, 0.5), truth, np.ones_like(truth))
    assert not back.better
    assert back.gain == pytest.approx(-found.gain)


def test_equals_are_not_better_and_few_rows_show_nothing() -> None:
    chances, truth = drawn(400)
    assert not compare(chances, chances, truth, np.ones_like(truth)).better
    few = compare(np.full((LEAST - 1, 1), 0.5), truth[: LEAST - 1], truth[: LEAST - 1], np.ones((LEAST - 1, 1)))
    assert not few.better
    assert f"{LEAST - 1} judged requests" in few.why


def test_answers_count_by_their_weights() -> None:
    """The new one is right about the rows of weight one and wrong about the others."""
    truth = column([1.0] * 200 + [0.0] * 200)
    before, after = np.full((400, 1), 0.5), np.full((400, 1), 0.9)
    assert compare(before, after, truth, column([1.0] * 200 + [0.05] * 200)).better
    assert not compare(before, after, truth, column([0.05] * 200 + [1.0] * 200)).better
    assert compare(before, after, truth, column([1.0] * 200 + [0.0] * 200)).requests == 200


def test_a_floor_that_is_certified_no_more_is_lost() -> None:
    def certificate(alpha: float, threshold: float | None) -> Certificate:
        return Certificate(
            alpha=alpha, delta=0.05, threshold=threshold, calibrated=100, routed=50, failed=0, bound=alpha, edges=(),
            counts=(100,), strong="large", cheaper=("small",), predictor="p", source="", made="2026-11-21",
        )  # fmt: skip

    old = [certificate(0.05, 0.1), certificate(0.1, 0.2), certificate(0.01, None)]
    assert lost_floors(old, old) == []
    assert lost_floors(old, [certificate(0.1, 0.3), certificate(0.05, None)]) == ["0.95 of small for large"]
