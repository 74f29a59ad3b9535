"""A model that joins: how well it is routed with no label, and after 20, 100 and 500.

Some models are taken out of training altogether, and the predictor is fitted on the others, on one half of the training
rows. Then each joins by so many of its own outcomes, drawn from the other half, through the function that learns from a
ledger (`fit_heads`): labels of one's own are of prompts that no predictor was learnt from. With no
label all that is known is what its owner declares: a strength, that is the share of known models that are not better,
here rounded to a tenth, as one would guess it from a model card.

`brier` is the mean squared error of P(right), beside that of always saying the accuracy seen in the same labels
(`constant`; with none, that of a known model of the strength); `apgr` is for routing between the newcomer and the
strongest model, `pool_aiq` and `pool_saved` for the whole pool with all newcomers at that many labels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from freehold.measure.routing import metrics
from freehold.measure.routing.metrics import Floats
from freehold.measure.routing.policies import choices, reached
from freehold.measure.routing.pools import Pool, ground, saved, zero_hull
from freehold.measure.routing.scores import Learner, accuracies, known
from freehold.measure.routing.splits import Split, random_rows
from freehold.measure.routing.tables import Table

if TYPE_CHECKING:
    from freehold.decide.predict import Predictor, Reading

LABELS = (0, 20, 100, 500)
MOST = 4
HALF = 0.5


class Newcomer(Struct):
    """Means over the newcomers of one split; `labels` None: all that the half has."""

    labels: int | None
    brier: float
    constant: float
    auc: float | None
    apgr: float | None
    pool_aiq: float | None = None
    pool_saved: float | None = None


def chosen(train: Table, models: Sequence[str]) -> list[str]:
    """Returns models of different strengths to be taken out, the strongest never among them."""
    names = [name for name in models if int((~np.isnan(known(train, name))).sum()) >= max(LABELS[:-1])]
    ranked = [names[i] for i in np.argsort(accuracies(train, names), kind="stable")][:-1]
    picks = np.unique(np.linspace(0, len(ranked) - 1, min(MOST, max(1, len(names) // 3))).round().astype(int))
    return [ranked[i] for i in picks] if ranked else []


def figures(split: Split, pool: Pool | None, models: Sequence[str], learn: Learner) -> list[Newcomer]:
    """Returns a line per number of labels; none where the files have too few models or rows for it."""
    from freehold.measure.routing.fit import LEAST, fit_heads

    halves = random_rows(split.train, split.seed, HALF)
    train, names = halves.test, chosen(split.train, models)
    if len(halves.train) < LEAST:
        return []
    others = [name for name in train.models if name not in names]
    if not names or len(others) < 2:
        return []
    base = learn(halves.train.only(others), split.seed)
    others_accuracy = accuracies(halves.train, others)
    told = {name: round(float(np.mean(others_accuracy <= accuracies(split.train, [name])[0])), 1) for name in names}
    readings = [base.read(text) for text in train.prompts]
    tested = [base.read(text) for text in split.test.prompts]
    strong = others[int(np.argmax(others_accuracy))]
    found = []
    fewest = min(int((~np.isnan(known(train, name))).sum()) for name in names)
    for labels in (*LABELS, None):
        if labels is not None and labels > fewest:
            continue
        joined, seen = base, {}
        for number, name in enumerate(names):
            rows = _drawn(train, name, labels, split.seed * 1009 + number)
            seen[name] = [train.models[name].ok[i] for i in rows]
            if rows:
                outcomes = {name: [None if one is None else float(one) for one in seen[name]]}
                joined = fit_heads(joined, [readings[i] for i in rows], outcomes, strengths=told)
        line = _measured(joined, tested, split, names, told, strong, seen, labels, others_accuracy)
        if line is not None:
            if pool is not None:
                line.pool_aiq, line.pool_saved = _in_pool(joined, tested, split, pool, told)
            found.append(line)
    return found


def _drawn(train: Table, name: str, labels: int | None, seed: int) -> list[int]:
    rows = np.flatnonzero(~np.isnan(known(train, name)))
    order: list[int] = np.random.default_rng(seed).permutation(rows).tolist()
    return order if labels is None else order[:labels]


def _measured(
    joined: "Predictor",
    tested: "Sequence[Reading]",
    split: Split,
    names: Sequence[str],
    told: dict[str, float],
    strong: str,
    seen: dict[str, list[int | None]],
    labels: int | None,
    accuracy_of_others: Floats,
) -> Newcomer | None:
    chances = _asked(joined, tested, [*names, strong], told)
    best = known(split.test, strong)
    briers, constants, aucs, areas = [], [], [], []
    for i, name in enumerate(names):
        right = known(split.test, name)
        rows = ~np.isnan(right)
        if not rows.any():
            continue
        known_labels = [one for one in seen[name] if one is not None]
        usual = float(np.mean(known_labels)) if known_labels else float(np.quantile(accuracy_of_others, told[name]))
        briers.append(float(np.mean((chances[rows, i] - right[rows]) ** 2)))
        constants.append(float(np.mean((usual - right[rows]) ** 2)))
        area = metrics.auc(chances[rows, i], right[rows])
        if area is not None:
            aucs.append(area)
        both = rows & ~np.isnan(best)
        curve = metrics.pgr_curve(chances[both, -1] - chances[both, i], right[both], best[both]) if both.any() else None
        if curve is not None:
            areas.append(curve.area())
    if not briers:
        return None
    return Newcomer(labels, _mean(briers) or 0.0, _mean(constants) or 0.0, _mean(aucs), _mean(areas))


def _in_pool(
    joined: "Predictor", tested: "Sequence[Reading]", split: Split, pool: Pool, told: dict[str, float]
) -> tuple[float, float]:
    here = ground(pool, split)
    zero = zero_hull(here)
    paid, right = reached(choices(_asked(joined, [tested[i] for i in pool.rows], pool.models, told), here), here)
    own = metrics.hull(paid.mean(axis=0), right.mean(axis=0))
    best = float(zero.quality[-1])
    cost = float(zero.cost[-1])
    return own.aiq(max(float(zero.cost[0]), float(own.cost[0])), cost), saved(own, best, cost)


def _asked(
    predictor: "Predictor", readings: "Sequence[Reading]", names: Sequence[str], told: dict[str, float]
) -> Floats:
    strengths = [told.get(name) for name in names]
    return np.array([[one.p for one in predictor.quality(reading, names, strengths)] for reading in readings])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
