"""All models at once: what the router reaches at each cost, beside the zero router, the baselines and the best model.

The rule is the gateway's own trade-off: of the models in the pool, the one with the largest

    P(right) - weight * expected dollars

and a sweep of `weight` from "quality at any price" to "the cheapest" draws the router's curve. Two neighbouring points
of the curve can be mixed by a coin, so it may be joined by lines; `beaten` tells the share of budgets, evenly by ratio
between the cheapest model's cost and the best one's, at which it lies above the zero router's hull, and `beaten_hull`
the same for the curve's own hull. The zero router is told with hindsight: its hull is that of the *test* rows, so it
knows which models are best there. Beside it stands the zero router that one could have built beforehand, of the models
on the hull in training (`plain_zero_aiq`, `beaten_plain`).

Files rarely hold every model on every prompt, and a model that was not asked is not a model that failed. So there are
several pools: `complete`, the models asked (nearly) everywhere; one per task where other models were asked on it and
there are few tasks; and `any`, all models, each to be chosen where it was asked. There the zero router mixes a hull of
its own for each group of rows where the same models were asked: it is told the task, which the router is not.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from freehold.measure.routing import metrics, prices
from freehold.measure.routing.metrics import Floats, Hull
from freehold.measure.routing.scores import Scorer, accuracies, matrix
from freehold.measure.routing.splits import Split
from freehold.measure.routing.tables import Table

NEARLY = 0.95
LEAST_ROWS = 60
MOST_TASKS = 3
WEIGHTS = 96
LEADS = 11
RESAMPLES = 400


class Pool(Struct):
    """Models to choose among, on rows of the test. `everywhere`: each of them was asked on each row."""

    name: str
    models: list[str]
    rows: list[int]
    everywhere: bool = True


class Point(Struct):
    """A corner of a router's hull: mean cost in dollars per 1,000 requests, and accuracy."""

    cost: float
    accuracy: float


class Routed(Struct):
    """One router over a pool. `saved`: of the best single model's cost, at its accuracy; 0 where it is not reached."""

    aiq: float
    beaten: float
    """Share of budgets at which the curve lies above the zero router."""
    beaten_hull: float
    beaten_plain: float
    """Share of budgets at which its hull lies above the zero router built in training."""
    saved: float
    saved99: float
    """The same at 99 % of the best single model's accuracy."""
    reached: bool
    top_cost: float
    top_accuracy: float
    """Where the router's accuracy is highest."""
    curve: list[Point] = field(default_factory=list)
    saved_low: float | None = None
    saved_high: float | None = None
    """95 % by bootstrap over prompts, of the pool's best model and of the curve at once."""


class PoolFigures(Struct):
    """One pool on one split. `oracle`: some model was right; a footnote, for with many models luck makes it high."""

    pool: str
    models: int
    rows: int
    best_model: str
    best_cost: float
    best_accuracy: float
    cheapest_cost: float
    cheapest_accuracy: float
    zero_aiq: float
    plain_zero_aiq: float
    zero_saved: float
    hull: list[str]
    """Models on the zero router's hull, cheapest first."""
    routers: dict[str, Routed]
    oracle: float
    visible: float | None = None
    """`saved` of ours when tokens that were billed and not shown are left out of all prices."""
    lead: list[float] = field(default_factory=list)
    """Our hull less the zero router's, in accuracy, at `LEADS` budgets from the cheapest to the best, evenly by
    ratio."""


def pools(test: Table, trained: Sequence[str]) -> list[Pool]:
    """Returns the pools of a test table, of models that training knew; none where fewer than two were asked."""
    names = [name for name in test.models if name in set(trained)]
    right = matrix(test, names)
    asked = ~np.isnan(right)
    everything = np.arange(len(test))
    found = []
    complete = _complete("complete", names, asked, everything)
    if complete is not None:
        found.append(complete)
    tasks = sorted(set(test.tasks))
    if 1 < len(tasks) <= MOST_TASKS:
        labels = np.array(test.tasks)
        for task in tasks:
            pool = _complete(f"task {task}", names, asked, np.flatnonzero(labels == task))
            if pool is not None and (complete is None or set(pool.models) != set(complete.models)):
                found.append(pool)
    some = [i for i in range(len(names)) if asked[:, i].any()]
    if (complete is None or len(some) > len(complete.models)) and len(some) > 1:
        rows = np.flatnonzero(asked[:, some].sum(axis=1) > 1) if complete is None else np.array(complete.rows)
        if len(rows) >= LEAST_ROWS:
            found.append(Pool("any", [names[i] for i in some], rows.tolist(), everywhere=False))
    return found


def _complete(name: str, names: Sequence[str], asked: NDArray[np.bool_], rows: NDArray[np.intp]) -> Pool | None:
    models = [i for i in range(len(names)) if asked[rows, i].mean() >= NEARLY] if len(rows) else []
    kept = rows[asked[rows][:, models].all(axis=1)] if models else rows[:0]
    if len(models) < 2 or len(kept) < LEAST_ROWS:
        return None
    return Pool(name, [names[i] for i in models], kept.tolist())


class Ground(Struct):
    """What a router is measured on: each model on each row. `right` is nan where it was not asked."""

    right: Floats
    paid: Floats
    hoped: Floats


def ground(pool: Pool, split: Split, *, hidden: bool = True) -> Ground:
    test = split.test.take(pool.rows).only(pool.models)
    right = matrix(test, pool.models)
    paid = np.stack([np.array(prices.realised(test, name, hidden=hidden)) for name in pool.models], axis=1)
    hoped = np.stack(
        [np.array(prices.expected(test, name, split.train, hidden=hidden)) for name in pool.models], axis=1
    )
    return Ground(right, paid, hoped)


def figures(pool: Pool, split: Split, routers: Mapping[str, Scorer]) -> PoolFigures:
    """Measures every router over the pool; "freehold" gets an interval and the sensitivity to hidden tokens."""
    test = split.test.take(pool.rows).only(pool.models)
    here = ground(pool, split)
    zero = zero_hull(here)
    asked = ~np.isnan(here.right)
    means = np.nanmean(here.right, axis=0)
    costs = np.nanmean(np.where(asked, here.paid, np.nan), axis=0)
    everywhere = np.flatnonzero(asked.all(axis=0))
    if not pool.everywhere and not len(everywhere):
        best_accuracy, best_cost, best_name = float(zero.quality[-1]), float(zero.cost[-1]), "a mix"
    else:
        best_index = int(everywhere[np.lexsort((costs[everywhere], -means[everywhere]))[0]])
        best_accuracy, best_cost, best_name = (
            float(means[best_index]),
            float(costs[best_index]),
            pool.models[best_index],
        )
    chances = {name: scorer(test, pool.models) for name, scorer in routers.items()}
    grid = metrics.budgets(float(zero.cost[0]), max(best_cost, float(zero.cost[-1])))
    plain = plain_zero(pool, split, here)
    measured = {name: _routed(one, here, zero, plain, grid, best_accuracy, best_cost) for name, one in chances.items()}
    result = PoolFigures(
        pool.name,
        len(pool.models),
        len(pool.rows),
        best_name,
        best_cost * 1000,
        best_accuracy,
        float(zero.cost[0]) * 1000,
        float(zero.quality[0]),
        zero.aiq(float(zero.cost[0]), best_cost),
        plain.aiq(max(float(zero.cost[0]), float(plain.cost[0])), best_cost),
        saved(zero, best_accuracy, best_cost),
        [pool.models[i] for i in zero.members] if pool.everywhere else [],
        measured,
        float(np.nanmax(here.right, axis=1).mean()),
    )
    if "freehold" in chances:
        ours = measured["freehold"]
        ours.saved_low, ours.saved_high = _interval(chances["freehold"], here, split.seed)
        result.lead = _lead(chances["freehold"], here, zero)
        shown = ground(pool, split, hidden=False)
        if (shown.paid != here.paid).any():
            result.visible = _visible(chances["freehold"], shown, best_accuracy)
    return result


def choices(chances: Floats, here: Ground) -> NDArray[np.intp]:
    """Returns which model each row goes to, one column per weight, from quality alone to cost alone.

    Of equals the cheapest is taken. Only rows' *expected* costs are looked at.
    """
    worth = np.where(np.isnan(here.right), -np.inf, chances)
    price = np.where(np.isnan(here.right), np.inf, here.hoped)
    finite = price[np.isfinite(price)]
    low, high = float(finite.min()), float(finite.max())
    weights = np.concatenate(([0.0], np.geomspace(1e-4 / high, 1e3 / max(low, 1e-12), WEIGHTS)))
    order = np.argsort(price, axis=1, kind="stable")
    worth = np.take_along_axis(worth, order, axis=1)
    price = np.take_along_axis(np.where(np.isfinite(price), price, 0.0), order, axis=1)
    picks = [np.argmax(worth - weight * price, axis=1) for weight in weights]
    picks.append(np.zeros(len(worth), dtype=np.intp))
    return np.stack([np.take_along_axis(order, pick[:, None], axis=1)[:, 0] for pick in picks], axis=1)


def reached(picks: NDArray[np.intp], here: Ground) -> tuple[Floats, Floats]:
    """Returns, per row and weight, what was paid and whether the answer was right."""
    return np.take_along_axis(here.paid, picks, axis=1), np.take_along_axis(here.right, picks, axis=1)


def zero_hull(here: Ground) -> Hull:
    """Returns what mixing models without looking reaches: one hull, or one per group of rows with the same models."""
    asked = ~np.isnan(here.right)
    patterns, group = np.unique(asked, axis=0, return_inverse=True)
    parts = []
    for number, pattern in enumerate(patterns):
        rows = group.reshape(-1) == number
        models = np.flatnonzero(pattern)
        inside = metrics.hull(
            here.paid[np.ix_(rows, models)].mean(axis=0), here.right[np.ix_(rows, models)].mean(axis=0)
        )
        parts.append((float(rows.mean()), Hull(inside.cost, inside.quality, [int(models[i]) for i in inside.members])))
    return parts[0][1] if len(parts) == 1 else together(parts)


def together(parts: Sequence[tuple[float, Hull]]) -> Hull:
    """Returns the best mix of several hulls, each for its share of the rows: dollars go where they buy most."""
    cost = sum(share * float(one.cost[0]) for share, one in parts)
    quality = sum(share * float(one.quality[0]) for share, one in parts)
    steps = [
        (float(dq / dc), share * float(dc), share * float(dq))
        for share, one in parts
        for dc, dq in zip(np.diff(one.cost), np.diff(one.quality), strict=True)
    ]
    corners = [(cost, quality)]
    for _, more, better in sorted(steps, reverse=True):
        cost, quality = cost + more, quality + better
        corners.append((cost, quality))
    return Hull(np.array([one[0] for one in corners]), np.array([one[1] for one in corners]), [])


def plain_zero(pool: Pool, split: Split, here: Ground) -> Hull:
    """Returns the hull, on the test rows, of the models that were on the hull in training.

    Where the pool is one task, of training rows of that task, if there are any. Where models were asked on different
    rows, of those asked everywhere in the test.
    """
    train = split.train
    tasks = {split.test.tasks[i] for i in pool.rows}
    same = [i for i, task in enumerate(train.tasks) if task in tasks]
    train = train.take(same) if len(same) >= LEAST_ROWS else train
    everywhere = np.flatnonzero((~np.isnan(here.right)).all(axis=0))
    names = [pool.models[i] for i in everywhere]
    cost = [float(np.mean(prices.realised(train, name))) for name in names]
    corners = everywhere[metrics.hull(cost, accuracies(train, names)).members]
    return metrics.hull(here.paid[:, corners].mean(axis=0), here.right[:, corners].mean(axis=0))


def _lead(chances: Floats, here: Ground, zero: Hull) -> list[float]:
    paid, right = reached(choices(chances, here), here)
    own = metrics.hull(paid.mean(axis=0), right.mean(axis=0))
    grid = metrics.budgets(float(zero.cost[0]), float(zero.cost[-1]), LEADS)
    height = np.where(grid < own.cost[0], own.quality[0], own.at(np.maximum(grid, own.cost[0])))
    return [float(one) for one in height - zero.at(grid)]


def _routed(
    chances: Floats, here: Ground, zero: Hull, plain: Hull, grid: Floats, accuracy: float, cost: float
) -> Routed:
    paid, right = reached(choices(chances, here), here)
    costs, accuracies = paid.mean(axis=0), right.mean(axis=0)
    own = metrics.hull(costs, accuracies)
    order = np.argsort(costs, kind="stable")
    joined = np.interp(grid, costs[order], np.maximum.accumulate(accuracies[order]))
    joined[grid < costs.min()] = -np.inf
    floor = zero.at(grid) if len(grid) else grid
    top = int(np.argmax(accuracies))
    price = own.price_of(accuracy)
    return Routed(
        own.aiq(max(float(zero.cost[0]), float(own.cost[0])), cost),
        float((joined > floor).mean()) if len(grid) else 0.0,
        float((own.at(grid) > floor).mean()) if len(grid) else 0.0,
        float((own.at(grid) > plain.at(grid)).mean()) if len(grid) else 0.0,
        saved(own, accuracy, cost),
        saved(own, 0.99 * accuracy, cost),
        price is not None,
        float(costs[top]) * 1000,
        float(accuracies[top]),
        [Point(float(c) * 1000, float(q)) for c, q in zip(own.cost, own.quality, strict=True)],
    )


def saved(one: Hull, accuracy: float, cost: float) -> float:
    """Of `cost`, at `accuracy`; never less than nothing, since the best single model may always be asked itself."""
    price = one.price_of(accuracy)
    return 0.0 if price is None or cost <= 0 else max(0.0, 1.0 - price / cost)


def _interval(chances: Floats, here: Ground, seed: int) -> tuple[float, float] | tuple[None, None]:
    asked = ~np.isnan(here.right)
    everywhere = np.flatnonzero(asked.all(axis=0))
    if not len(everywhere):
        return None, None
    paid, right = reached(choices(chances, here), here)
    generator = np.random.default_rng(seed)
    count = len(paid)
    several = []
    for _ in range(RESAMPLES):
        weights = np.bincount(generator.integers(0, count, count), minlength=count) / count
        single, price = weights @ here.right[:, everywhere], weights @ here.paid[:, everywhere]
        best = np.lexsort((price, -single))[0]
        several.append(saved(metrics.hull(weights @ paid, weights @ right), float(single[best]), float(price[best])))
    return metrics.interval(np.array(several))


def _visible(chances: Floats, here: Ground, accuracy: float) -> float:
    asked = ~np.isnan(here.right)
    everywhere = np.flatnonzero(asked.all(axis=0))
    if not len(everywhere):
        return 0.0
    means, costs = here.right[:, everywhere].mean(axis=0), here.paid[:, everywhere].mean(axis=0)
    best = int(np.lexsort((costs, -means))[0])
    paid, right = reached(choices(chances, here), here)
    return saved(metrics.hull(paid.mean(axis=0), right.mean(axis=0)), float(means[best]), float(costs[best]))
