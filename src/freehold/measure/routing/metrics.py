"""The definitions: how good a choice between models is, apart from how it is made.

Between a weak and a strong model (RouteLLM, arXiv 2406.18665). A score orders the prompts; the share c of them with the
highest scores goes to the strong model. With A(c) the accuracy then reached,

    PGR(c)  = (A(c) - A_weak) / (A_strong - A_weak)          performance gap recovered
    APGR    = area of PGR over c from 0 to 1                  0.5 for a random order; above 1 is possible
    CPT(x)  = least c with PGR(c) >= x                        calls to the strong model needed
    cost    the same with the share of the *extra dollars* instead of the share of calls: calls are not dollars

Prompts with equal scores are taken in random order: in expectation that is a straight line between the points before
and after them, which is what is integrated, so a constant score gives exactly 0.5.

Among many models (RouterBench, arXiv 2403.12031). A set of policies is a set of points (mean cost, mean accuracy).
Tossing a coin between two policies reaches every point between them, and money need not be spent, so what is reachable
is their non-decreasing convex (upper) hull.

    AIQ     mean height of the hull over costs from lo to hi
    zero    the hull of the single models: a router that never looks at the prompt

Intervals: bootstrap over prompts; for a share of failures Clopper-Pearson (decide/floor.py).
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_GAP = 0.005
"""Two models closer than this in accuracy are as good as equal: a share of nothing cannot be recovered."""


class Curve(Struct):
    """A curve from all-weak (0, 0) to all-strong (1, 1): `share` of calls or of extra dollars, `recovered` of the
    gap."""

    share: Floats
    recovered: Floats

    def area(self) -> float:
        return float(np.trapezoid(self.recovered, self.share))

    def needed(self, recovered: float) -> float:
        """Returns the least share with at least `recovered` of the gap (CPT), crossings on straight pieces included."""
        above = np.flatnonzero(self.recovered >= recovered - 1e-12)
        if not len(above):
            return 1.0
        at = int(above[0])
        if at == 0:
            return float(self.share[0])
        low, high = self.recovered[at - 1], self.recovered[at]
        part = (recovered - low) / (high - low)
        return float(self.share[at - 1] + min(max(part, 0.0), 1.0) * (self.share[at] - self.share[at - 1]))


def pgr_curve(score: Floats, weak: Floats, strong: Floats) -> Curve | None:
    """Returns PGR over the share of strong calls; None where there is no gap to recover.

    `score` is higher where the strong model should be called; `weak` and `strong` are 1 right, 0 wrong, per prompt.
    """
    return _curve(score, strong - weak, np.ones(len(score)))


def cost_curve(score: Floats, weak: Floats, strong: Floats, extra: Floats) -> Curve | None:
    """Returns PGR over the share of the extra dollars (`extra`: strong less weak, per prompt)."""
    return _curve(score, strong - weak, extra)


def _curve(score: Floats, gain: Floats, spent: Floats) -> Curve | None:
    if not len(score) or gain.mean() < LEAST_GAP or spent.sum() <= 0:
        return None
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    recovered = np.cumsum(gain[order])[ends] / gain.sum()
    share = np.cumsum(spent[order])[ends] / spent.sum()
    return Curve(np.concatenate(([0.0], share)), np.concatenate(([0.0], recovered)))


def auc(score: Floats, label: Floats) -> float | None:
    """Returns the probability that a random 1 is scored above a random 0, ties counting half; None without both."""
    ones = int(label.sum())
    if not 0 < ones < len(label):
        return None
    _, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[at]
    return float((ranks[label > 0].sum() - ones * (ones + 1) / 2) / (ones * (len(label) - ones)))


class Hull(Struct):
    """The non-decreasing upper hull of points; `members` says which points are its corners."""

    cost: Floats
    quality: Floats
    members: list[int]

    def at(self, budget: Floats) -> Floats:
        """Returns the best quality within each mean budget; -inf below the cheapest corner."""
        found: Floats = np.interp(budget, self.cost, self.quality)
        found[budget < self.cost[0] * (1 - 1e-12)] = -np.inf
        return found

    def price_of(self, quality: float) -> float | None:
        """Returns the least mean cost of at least `quality`; None where it is out of reach."""
        if quality > self.quality[-1] + 1e-12:
            return None
        if quality <= self.quality[0]:
            return float(self.cost[0])
        return float(np.interp(min(quality, self.quality[-1]), self.quality, self.cost))

    def aiq(self, lo: float, hi: float) -> float:
        """Returns the mean height over costs from `lo` to `hi`, which must not begin below the hull."""
        corners = self.cost[(self.cost > lo) & (self.cost < hi)]
        grid = np.concatenate(([lo], corners, [hi]))
        height = np.interp(grid, self.cost, self.quality)
        return float(np.trapezoid(height, grid) / (hi - lo)) if hi > lo else float(height[0])


def hull(cost: Sequence[float] | Floats, quality: Sequence[float] | Floats) -> Hull:
    """Returns the non-decreasing upper hull of (cost, quality) points, cheapest first."""
    costs, qualities = np.asarray(cost, float), np.asarray(quality, float)
    corners: list[int] = []
    for i in np.lexsort((-qualities, costs)):
        if corners and qualities[i] <= qualities[corners[-1]]:
            continue
        while len(corners) > 1 and _below(corners[-2], corners[-1], int(i), costs, qualities):
            corners.pop()
        if corners and costs[corners[-1]] == costs[i]:
            continue
        corners.append(int(i))
    return Hull(costs[corners], qualities[corners], corners)


def _below(a: int, b: int, c: int, cost: Floats, quality: Floats) -> bool:
    """Whether b lies on or under the line from a to c."""
    return bool((quality[b] - quality[a]) * (cost[c] - cost[a]) <= (quality[c] - quality[a]) * (cost[b] - cost[a]))


def budgets(lo: float, hi: float, count: int = 99) -> Floats:
    """Returns budgets strictly between two costs, evenly by ratio: prices differ by a hundred, a line would see one
    end."""
    if not 0 < lo < hi:
        return np.zeros(0)
    grid: Floats = np.exp(np.linspace(np.log(lo), np.log(hi), count + 2))[1:-1]
    return grid


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Returns the middle `level` of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
