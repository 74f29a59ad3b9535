"""What a router can be set to, and plans that are made on other rows than they are followed on."""

import numpy as np
import pytest

from freehold.measure.routing import metrics
from freehold.measure.routing.policies import Ground, choices, near, plan, reached
from freehold.measure.routing.tables import Outcomes, Table

COST = np.array([1.0, 3.0, 10.0])


def ground(right: np.ndarray) -> Ground:
    paid = np.tile(COST, (len(right), 1))
    return Ground(right, paid, paid)


def world(rows: int, seed: int) -> tuple[np.ndarray, Ground]:
    """A third of the prompts is easy for all, a third for the second and third model, a third for the third alone."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(0, 3, rows)
    chances = np.array([[0.95, 0.95, 0.95], [0.1, 0.9, 0.9], [0.1, 0.1, 0.9]])[kind]
    return chances, ground((chance.uniform(size=chances.shape) < chances).astype(float))


def test_staying_is_a_policy_like_any_other() -> None:
    chances, here = world(90, 0)
    picks = choices(chances, here, stays=[2, 0])
    assert (picks[:, -2] == 2).all()
    assert (picks[:, -1] == 0).all()
    assert (choices(chances, here)[:, -1] == 0).all(), "the cheapest is always among them"
    paid, right = reached(picks, here)
    assert paid[:, -2].mean() == 10.0
    assert right[:, -1].mean() == here.right[:, 0].mean()


def test_only_models_that_training_put_near_the_hull_are_stayed_with() -> None:
    def column(right: int, cost: float) -> Outcomes:
        return Outcomes([1] * right + [0] * (400 - right), None, [cost] * 400)

    models = {
        "cheap": column(200, 1.0), "good": column(320, 3.0), "nearly": column(315, 3.0), "poor": column(240, 3.0),
        "dear": column(321, 9.0), "never asked": Outcomes([None] * 400, None, [0.5] * 400),
    }  # fmt: skip
    table = Table("plain", ["what"] * 400, [""] * 400, models)
    assert [list(models)[place] for place in near(table, list(models))] == ["cheap", "good", "nearly", "dear"]


def test_a_plan_keeps_its_budgets_on_other_rows_and_beats_single_models() -> None:
    chances, here = world(3000, 1)
    budgets = metrics.budgets(1.0, 10.0, 9)
    made = plan(chances, here, [0, 1, 2], budgets)
    others, there = world(3000, 2)
    cost, quality = made.followed(others, there)
    assert cost == pytest.approx(budgets, rel=0.1)
    zero = metrics.hull(there.paid.mean(axis=0), there.right.mean(axis=0))
    assert (quality > zero.at(np.maximum(cost, 1.0)) - 0.01).all()
    assert (quality - zero.at(np.maximum(cost, 1.0)))[4:7].min() > 0.03


def test_a_plan_of_chances_that_say_nothing_is_one_of_single_models() -> None:
    _, here = world(3000, 3)
    nothing = np.full(here.right.shape, 0.5)
    made = plan(nothing, here, [0, 1, 2], metrics.budgets(1.0, 10.0, 9))
    _, there = world(3000, 4)
    cost, quality = made.followed(nothing, there)
    zero = metrics.hull(there.paid.mean(axis=0), there.right.mean(axis=0))
    assert quality == pytest.approx(zero.at(np.maximum(cost, 1.0)), abs=0.02)
