"""All models at once: what the router reaches at each cost, beside the zero router, the baselines and the best model.

The rule is the gateway's own trade-off, swept from "quality at any price" to "the cheapest", together with staying with
one of the models that training put on the hull or near it (policies.py): the operating points of a router, ours or a
baseline. Two points can be mixed by a coin, so a curve may be joined by lines; `beaten` tells the share of budgets,
evenly by ratio between the cheapest model's cost and the best one's, at which it lies above the zero router's hull, and
`beaten_hull` the same for the curve's own hull. The zero router is told with hindsight: its hull is that of the *test*
rows, so it knows which models are best there, as a router's hull knows which of its points are. Beside it stands the
zero router that one could have built beforehand, of the models on the hull in training (`plain_zero_aiq`,
`beaten_plain`). `planned` figures have no hindsight at all on our side: which points are mixed for a budget was decided
in training.

Files rarely hold every model on every prompt, and a model that was not asked is not a model that failed. So there are
several pools: `complete`, the models asked (nearly) everywhere; one per task where other models were asked on it and
there are few tasks; and `any`, all models, each to be chosen where it was asked. There the zero router mixes a hull of
its own for each group of rows where the same models were asked: it is told the task, which the router is not.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from freehold.measure.routing import metrics, prices
from freehold.measure.routing.metrics import Floats, Hull
from freehold.measure.routing.policies import Ground, Plan, choices, near, plan, reached
from freehold.measure.routing.scores import Scorer, accuracies, matrix
from freehold.measure.routing.splits import Split
from freehold.measure.routing.tables import Table

NEARLY = 0.95
LEAST_ROWS = 60
MOST_TASKS = 3
LEADS = 11
BUDGETS = 99
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
    lead_low: list[float] = field(default_factory=list)
    """What it is at least with 97.5 %, by bootstrap over prompts of both hulls at once."""
    planned_lead: float | None = None
    """The plan's accuracy less that of the zero router with hindsight at what the plan really cost, mean of budgets."""
    planned_beaten: float | None = None
    planned_beaten_plain: float | None = None
    """Share of budgets at which the plan is above the zero router, with hindsight and built in training."""


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


def ground(pool: Pool, split: Split, *, hidden: bool = True) -> Ground:
    test = split.test.take(pool.rows).only(pool.models)
    right = matrix(test, pool.models)
    paid = np.stack([np.array(prices.realised(test, name, hidden=hidden)) for name in pool.models], axis=1)
    hoped = np.stack(
        [np.array(prices.expected(test, name, split.train, hidden=hidden)) for name in pool.models], axis=1
    )
    return Ground(right, paid, hoped)


def figures(
    pool: Pool, split: Split, routers: Mapping[str, Scorer], inner: tuple[Split, Scorer] | None = None
) -> PoolFigures:
    """Measures every router over the pool; "freehold" gets intervals and the sensitivity to hidden tokens, and, where
    `inner` gives a split of the training rows and a predictor that learnt from its first part, a plan."""
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
    grid = metrics.budgets(float(zero.cost[0]), max(best_cost, float(zero.cost[-1])), BUDGETS)
    plain = plain_zero(pool, split, here)
    rows = _alike(pool, split)
    stays = [int(here.everywhere()[i]) for i in near(rows, [pool.models[i] for i in here.everywhere()])]
    measured = {
        name: _routed(reached(choices(one, here, stays), here), zero, plain, grid, best_accuracy, best_cost)
        for name, one in chances.items()
    }
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
        ours, points = measured["freehold"], reached(choices(chances["freehold"], here, stays), here)
        ours.saved_low, ours.saved_high = _interval(points, here, split.seed)
        at = metrics.budgets(float(zero.cost[0]), float(zero.cost[-1]), LEADS)
        result.lead = _lead(metrics.hull(points[0].mean(axis=0), points[1].mean(axis=0)), zero, at)
        result.lead_low = _lead_low(points, here, at, split.seed)
        shown = ground(pool, split, hidden=False)
        if (shown.paid != here.paid).any():
            result.visible = _visible(reached(choices(chances["freehold"], shown, stays), shown), shown)
        made = _planned(pool, stays, grid, *inner) if inner is not None else None
        if made is not None:
            cost, quality = made.followed(chances["freehold"], here)
            over = quality - zero.at(np.maximum(cost, zero.cost[0]))
            result.planned_lead, result.planned_beaten = float(over.mean()), float((over > 0).mean())
            result.planned_beaten_plain = float((quality > plain.at(np.maximum(cost, plain.cost[0]))).mean())
    return result


def _planned(pool: Pool, stays: Sequence[int], grid: Floats, inner: Split, scorer: Scorer) -> Plan | None:
    """Decided on the second part of `inner`; None where too few of its rows have all models of the pool."""
    names = list(pool.models)
    if not pool.everywhere or not len(grid) or any(name not in inner.train.models for name in names):
        return None
    asked = ~np.isnan(matrix(inner.test, names)).any(axis=1)
    there = msgspec.structs.replace(pool, rows=np.flatnonzero(asked).tolist())
    if len(there.rows) < LEAST_ROWS:
        return None
    chances = scorer(inner.test.take(there.rows).only(names), names)
    return plan(chances, ground(there, inner), stays, grid)


def _alike(pool: Pool, split: Split) -> Table:
    """Training rows of the pool's tasks, where there are enough of them, else all."""
    tasks = {split.test.tasks[i] for i in pool.rows}
    same = [i for i, task in enumerate(split.train.tasks) if task in tasks]
    return split.train.take(same) if len(same) >= LEAST_ROWS else split.train


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
    train, everywhere = _alike(pool, split), here.everywhere()
    names = [pool.models[i] for i in everywhere]
    cost = [float(np.mean(prices.realised(train, name))) for name in names]
    corners = everywhere[metrics.hull(cost, accuracies(train, names)).members]
    return metrics.hull(here.paid[:, corners].mean(axis=0), here.right[:, corners].mean(axis=0))


def _lead(own: Hull, zero: Hull, at: Floats) -> list[float]:
    height = np.where(at < own.cost[0], own.quality[0], own.at(np.maximum(at, own.cost[0])))
    return [float(one) for one in height - zero.at(np.maximum(at, zero.cost[0]))]


def _lead_low(points: tuple[Floats, Floats], here: Ground, at: Floats, seed: int) -> list[float]:
    if not len(at) or len(here.everywhere()) < here.right.shape[1]:
        return []
    several = [
        _lead(metrics.hull(each @ points[0], each @ points[1]), metrics.hull(each @ here.paid, each @ here.right), at)
        for each in _resampled(len(here.right), seed)
    ]
    return [float(low) for low in np.quantile(several, 0.025, axis=0)]


def _resampled(count: int, seed: int) -> Iterator[Floats]:
    """Weights of rows drawn with replacement."""
    generator = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.bincount(generator.integers(0, count, count), minlength=count) / count


def _routed(
    points: tuple[Floats, Floats], zero: Hull, plain: Hull, grid: Floats, accuracy: float, cost: float
) -> Routed:
    costs, accuracies = points[0].mean(axis=0), points[1].mean(axis=0)
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


def _interval(points: tuple[Floats, Floats], here: Ground, seed: int) -> tuple[float, float] | tuple[None, None]:
    everywhere = here.everywhere()
    if not len(everywhere):
        return None, None
    several = []
    for each in _resampled(len(here.right), seed):
        single, price = each @ here.right[:, everywhere], each @ here.paid[:, everywhere]
        best = np.lexsort((price, -single))[0]
        own = metrics.hull(each @ points[0], each @ points[1])
        several.append(saved(own, float(single[best]), float(price[best])))
    return metrics.interval(np.array(several))


def _visible(points: tuple[Floats, Floats], here: Ground) -> float:
    everywhere = here.everywhere()
    if not len(everywhere):
        return 0.0
    means, costs = here.right[:, everywhere].mean(axis=0), here.paid[:, everywhere].mean(axis=0)
    best = int(np.lexsort((costs, -means))[0])
    own = metrics.hull(points[0].mean(axis=0), points[1].mean(axis=0))
    return saved(own, float(means[best]), float(costs[best]))
