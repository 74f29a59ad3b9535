"""What a router over a pool can be set to: its trade-off at every weight, and staying with one model.

    route    of the models, the one with the largest  P(right) - weight * expected dollars
    stay     one model, whatever the prompt: an alias or a pin, for which nothing is predicted

A policy is one of these, or a coin between two of them (a `split`). Staying belongs to it because nobody has to route
where routing loses; but only with models that training rows put on the hull of cost and accuracy or within one
standard error of it, so that a test's luck names none of them.

`Plan` is a curve without hindsight: which two policies are mixed for a budget is decided on rows that neither the test
nor the predictor of that decision has seen, and then followed on the test.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.measure.routing import metrics, prices
from freehold.measure.routing.metrics import Floats
from freehold.measure.routing.scores import accuracies
from freehold.measure.routing.tables import Table

WEIGHTS = 96


class Ground(Struct):
    """What a router is measured on: each model on each row. `right` is nan where it was not asked."""

    right: Floats
    paid: Floats
    hoped: Floats

    def everywhere(self) -> NDArray[np.intp]:
        """Models that were asked on every row."""
        return np.flatnonzero(~np.isnan(self.right).any(axis=0))


def near(train: Table, names: Sequence[str]) -> list[int]:
    """Returns the places of those of `names` that were on the hull in training, or nearly; none that was never asked
    there."""
    cost = np.array([float(np.mean(prices.realised(train, name))) for name in names])
    quality = accuracies(train, names)
    asked = np.array([sum(one is not None for one in train.models[name].ok) for name in names])
    known = np.flatnonzero(asked > 0)
    if not len(known):
        return []
    error = np.sqrt(quality * (1 - quality) / np.maximum(asked, 1))
    height = metrics.hull(cost[known], quality[known]).at(cost[known])
    return [int(place) for place in known[(quality + error)[known] >= height]]


def weights_of(here: Ground) -> Floats:
    """Returns weights from quality alone to, nearly, cost alone."""
    price = here.hoped[~np.isnan(here.right)]
    low, high = float(price.min()), float(price.max())
    return np.concatenate(([0.0], np.geomspace(1e-4 / high, 1e3 / max(low, 1e-12), WEIGHTS)))


def choices(
    chances: Floats, here: Ground, stays: Sequence[int] = (), weights: Floats | None = None
) -> NDArray[np.intp]:
    """Returns which model each row goes to, one column per policy: the weights, the cheapest, and each of `stays`.

    Of equals the cheapest is taken. Only rows' *expected* costs are looked at.
    """
    worth = np.where(np.isnan(here.right), -np.inf, chances)
    price = np.where(np.isnan(here.right), np.inf, here.hoped)
    order = np.argsort(price, axis=1, kind="stable")
    worth = np.take_along_axis(worth, order, axis=1)
    price = np.take_along_axis(np.where(np.isfinite(price), price, 0.0), order, axis=1)
    swept = weights_of(here) if weights is None else weights
    picks = [np.argmax(worth - weight * price, axis=1) for weight in swept]
    picks.append(np.zeros(len(worth), dtype=np.intp))
    routed = np.stack([np.take_along_axis(order, pick[:, None], axis=1)[:, 0] for pick in picks], axis=1)
    return np.column_stack([routed, *(np.full(len(worth), model) for model in stays)])


def reached(picks: NDArray[np.intp], here: Ground) -> tuple[Floats, Floats]:
    """Returns, per row and policy, what was paid and whether the answer was right."""
    return np.take_along_axis(here.paid, picks, axis=1), np.take_along_axis(here.right, picks, axis=1)


class Plan(Struct):
    """For each of `budgets`: the policies `low` and `high`, and the share of requests that goes by `high`."""

    budgets: Floats
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: Floats
    weights: Floats
    stays: list[int]

    def followed(self, chances: Floats, here: Ground) -> tuple[Floats, Floats]:
        """Returns what it costs and how often it is right on other rows, budget by budget."""
        paid, right = reached(choices(chances, here, self.stays, self.weights), here)
        cost, quality = paid.mean(axis=0), right.mean(axis=0)
        return self._mixed(cost), self._mixed(quality)

    def _mixed(self, values: Floats) -> Floats:
        return np.asarray((1 - self.share) * values[self.low] + self.share * values[self.high])


def plan(chances: Floats, here: Ground, stays: Sequence[int], budgets: Floats) -> Plan:
    """Decides by rows that `chances` was not learnt from, whose luck is in it: they should be many."""
    weights = weights_of(here)
    paid, right = reached(choices(chances, here, stays, weights), here)
    best = metrics.hull(paid.mean(axis=0), right.mean(axis=0))
    corners = np.array(best.members)
    high = np.clip(np.searchsorted(best.cost, budgets, side="right"), 1, max(1, len(corners) - 1))
    if len(corners) == 1:
        none = np.zeros(len(budgets), np.intp)
        return Plan(budgets, corners[none], corners[none], np.zeros(len(budgets)), weights, list(stays))
    between = (budgets - best.cost[high - 1]) / (best.cost[high] - best.cost[high - 1])
    return Plan(budgets, corners[high - 1], corners[high], np.clip(between, 0.0, 1.0), weights, list(stays))
