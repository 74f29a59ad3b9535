"""A weak and a strong model: how much of the gap between them is recovered with how many strong calls, or dollars.

Which is strong is told by accuracy in training, never in the test. Rows count where both were asked. A gateway would
send a prompt to the strong model where the *difference* of the two probabilities is largest; per dollar, where the
difference per extra dollar expected is.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from freehold.errors import BadRequest
from freehold.measure.routing import metrics, prices
from freehold.measure.routing.metrics import Floats
from freehold.measure.routing.scores import Scorer, accuracies, known
from freehold.measure.routing.splits import Split
from freehold.measure.routing.tables import Table

RESAMPLES = 400
LEAST_ROWS = 30
MOST_PAIRS = 3


class Pair(Struct, frozen=True):
    weak: str
    strong: str

    @property
    def name(self) -> str:
        return f"{self.weak} / {self.strong}"


class Routed(Struct):
    """One router on one pair. CPT is the share of strong calls (or extra dollars) that recovers so much of the gap."""

    apgr: float
    cpt50: float
    cpt80: float
    cost_apgr: float | None
    cost_cpt50: float | None
    cost_cpt80: float | None
    low: float | None = None
    high: float | None = None
    """Of APGR, 95 % by bootstrap over test prompts."""


class PairFigures(Struct):
    """One pair on one split. `routers` is empty, and `note` says why, where there is no gap to recover.

    Costs are US dollars per 1,000 requests. `routers` has ours under "freehold" and the baselines beside it.
    """

    pair: Pair
    rows: int
    weak_accuracy: float
    strong_accuracy: float
    weak_cost: float
    strong_cost: float
    routers: dict[str, Routed]
    note: str = ""


def choose(train: Table, asked: Sequence[tuple[str, str]] = ()) -> list[Pair]:
    """Returns the pairs to measure: those asked for, then the informative ones of the table.

    Two models: the pair. More: the best in training, of those asked nearly everywhere, against the models on the cost
    and quality hull below it, spread evenly. Raises BadRequest for a model that is not there.
    """
    found = [ordered(train, *_there(train, one)) for one in asked]
    names = sorted(train.models)
    if len(names) == 2:
        found.append(ordered(train, names[0], names[1]))
    else:
        found += _informative(train)
    return list(dict.fromkeys(found))


def ordered(train: Table, one: str, other: str) -> Pair:
    """Returns the two as weak and strong: by training accuracy where both were asked, if that is equal by price."""
    a, b = known(train, one), known(train, other)
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.any():
        first, second = float(a[both].mean()), float(b[both].mean())
    else:
        first, second = (float(value) for value in accuracies(train, [one, other]))
    if first == second:
        first, second = prices.price(one).output, prices.price(other).output
    return Pair(one, other) if first <= second else Pair(other, one)


def _there(train: Table, asked: tuple[str, str]) -> tuple[str, str]:
    for name in asked:
        if name not in train.models:
            import difflib

            close = difflib.get_close_matches(name, train.models, 1, 0.5)
            raise BadRequest(
                f"there is no model {name!r} in the training files",
                hint=f"did you mean {close[0]!r}?" if close else "it has " + ", ".join(sorted(train.models)[:8]),
                param="--pair",
            )
    return asked


def _informative(train: Table) -> list[Pair]:
    names = [name for name in train.models if np.mean(~np.isnan(known(train, name))) >= 0.95]
    if len(names) < 2:
        return []
    quality = accuracies(train, names)
    cost = [float(np.mean(prices.realised(train, name))) for name in names]
    corners = metrics.hull(cost, quality).members
    strong = names[int(np.argmax(quality))]
    below = [names[i] for i in corners if names[i] != strong]
    if len(below) > MOST_PAIRS:
        below = below[1:]  # the cheapest of all is so weak that the pair says little
    if not below:
        return []
    picks = np.unique(np.linspace(0, len(below) - 1, min(MOST_PAIRS, len(below))).round().astype(int))
    return [Pair(below[i], strong) for i in picks]


def figures(pair: Pair, split: Split, routers: Mapping[str, Scorer], *, intervals: bool = True) -> PairFigures:
    """Measures every router on the pair. `routers` maps names to scorers; "freehold" gets an interval."""
    test = split.test
    weak, strong = known(test, pair.weak), known(test, pair.strong)
    rows = np.flatnonzero(~np.isnan(weak) & ~np.isnan(strong))
    both = test.take(rows.tolist()).only([name for name in (pair.weak, pair.strong) if name in test.models])
    result = PairFigures(pair, len(rows), 0.0, 0.0, 0.0, 0.0, {})
    if len(rows) < LEAST_ROWS:
        result.note = f"{len(rows)} test rows where both were asked: too few"
        return result
    weak, strong = weak[rows], strong[rows]
    paid = np.array([prices.realised(both, pair.weak), prices.realised(both, pair.strong)])
    hoped = np.array([prices.expected(both, name, split.train) for name in (pair.weak, pair.strong)])
    result.weak_accuracy, result.strong_accuracy = float(weak.mean()), float(strong.mean())
    result.weak_cost, result.strong_cost = (float(value) * 1000 for value in paid.mean(axis=1))
    for name, scorer in routers.items():
        chances = scorer(both, [pair.weak, pair.strong])
        gain = chances[:, 1] - chances[:, 0]
        measured = _routed(gain, weak, strong, paid[1] - paid[0], hoped[1] - hoped[0])
        if measured is None:
            result.note = "in the test the strong model is not the better one: there is no gap to recover"
            break
        if name == "freehold" and intervals:
            measured.low, measured.high = _interval(gain, weak, strong, split.seed)
        result.routers[name] = measured
    return result


def length_scorer(train: Table, pair: Pair) -> Scorer:
    """The strongest router that knows the length alone: longest or shortest first, whichever was better in training."""
    weak, strong = known(train, pair.weak), known(train, pair.strong)
    rows = ~np.isnan(weak) & ~np.isnan(strong)
    sizes = np.array([float(len(prompt)) for prompt in train.prompts])
    curve = metrics.pgr_curve(sizes[rows], weak[rows], strong[rows]) if rows.any() else None
    sign = -1.0 if curve is not None and curve.area() < 0.5 else 1.0

    def score(table: Table, names: Sequence[str]) -> Floats:
        longest = sign * np.array([float(len(prompt)) for prompt in table.prompts])
        return np.stack([np.zeros(len(longest)), longest], axis=1)

    return score


def _routed(gain: Floats, weak: Floats, strong: Floats, extra: Floats, hoped: Floats) -> Routed | None:
    curve = metrics.pgr_curve(gain, weak, strong)
    if curve is None:
        return None
    # Per dollar: only where the strong model is expected to cost more everywhere is the ratio an order.
    worth = gain / hoped if (hoped > 0).all() and np.ptp(gain) > 0 else gain
    cost = metrics.cost_curve(worth, weak, strong, extra)
    return Routed(
        curve.area(),
        curve.needed(0.5),
        curve.needed(0.8),
        None if cost is None else cost.area(),
        None if cost is None else cost.needed(0.5),
        None if cost is None else cost.needed(0.8),
    )


def _interval(gain: Floats, weak: Floats, strong: Floats, seed: int) -> tuple[float, float] | tuple[None, None]:
    generator = np.random.default_rng(seed)
    areas = []
    for _ in range(RESAMPLES):
        rows = generator.integers(0, len(gain), len(gain))
        curve = metrics.pgr_curve(gain[rows], weak[rows], strong[rows])
        if curve is not None:
            areas.append(curve.area())
    return metrics.interval(np.array(areas)) if len(areas) > RESAMPLES // 2 else (None, None)
