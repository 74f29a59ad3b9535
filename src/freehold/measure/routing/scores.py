"""The predictor under test and the baselines, all as one thing: a matrix of P(model answers the prompt right).

The predictor is fitted and asked only through the functions that the gateway routes with (fit.py and decide/predict),
so what is measured is what routes. The baselines know less, each in its own way:

    length      the model's accuracy on prompts of about this length (ten bins of the training prompts)
    task mean   the model's accuracy on this task, where training had the task: its *label*, which no gateway is told
    constant    the model's accuracy: choosing by it is the zero router, and between two models it is random

A model that training never saw has no accuracy; it gets the mean of the others.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from freehold.errors import BadRequest
from freehold.measure.routing.metrics import Floats
from freehold.measure.routing.tables import Table

if TYPE_CHECKING:
    from freehold.decide.predict import Predictor, Reading

BINS = 10
SHRINK = 5.0
"""A mean over few rows is drawn towards the model's overall accuracy as if by so many rows of it."""

Learner = Callable[[Table, int], "Predictor"]
"""Trains on a table with a seed."""


class Scorer(Protocol):
    def __call__(self, table: Table, names: Sequence[str]) -> Floats:
        """Returns the probabilities, one row per prompt and one column per name."""


def learned(train: Table, seed: int) -> "Predictor":
    """The predictor that routes, trained on a table. Raises BadRequest where nothing can be learnt from it."""
    from freehold.measure.routing.fit import fit

    named = train.tasks if len(set(train.tasks)) > 1 else None
    try:
        return fit(train.prompts, train.outcomes(), seed=seed, tasks=named)
    except ValueError as error:
        raise BadRequest(f"nothing can be learnt from these rows: {error}") from error


def ask(predictor: "Predictor", readings: "Sequence[Reading]", names: Sequence[str]) -> Floats:
    """Returns P(right), one row per reading and one column per name."""
    rows = [[one.p for one in predictor.quality(reading, names)] for reading in readings]
    return np.array(rows, float).reshape(len(readings), len(names))


def router(predictor: "Predictor") -> Scorer:
    """The predictor under test. Each prompt is read once, however many figures ask about it."""
    readings: dict[str, Reading] = {}

    def score(table: Table, names: Sequence[str]) -> Floats:
        for text in table.prompts:
            if text not in readings:
                readings[text] = predictor.read(text)
        return ask(predictor, [readings[text] for text in table.prompts], names)

    return score


def known(table: Table, name: str) -> Floats:
    """Returns 1.0 right, 0.0 wrong, nan not asked, per row."""
    column = table.models.get(name)
    if column is None:
        return np.full(len(table), np.nan)
    return np.array([np.nan if one is None else float(one) for one in column.ok], float)


def matrix(table: Table, names: Sequence[str]) -> Floats:
    return np.stack([known(table, name) for name in names], axis=1) if names else np.zeros((len(table), 0))


def accuracies(table: Table, names: Sequence[str]) -> Floats:
    """Returns each model's share of right answers where it was asked; the others' mean where it never was."""
    found = np.array([_mean(known(table, name)) for name in names], float)
    usual = _mean(found)
    return np.where(np.isnan(found), 0.5 if np.isnan(usual) else usual, found)


def constant(train: Table) -> Scorer:
    return lambda table, names: np.tile(accuracies(train, names), (len(table), 1))


def by_length(train: Table) -> Scorer:
    sizes = sorted(len(prompt) for prompt in train.prompts)
    edges = [sizes[len(sizes) * i // BINS] for i in range(1, BINS)]
    return _grouped(train, [str(bisect_right(edges, len(prompt))) for prompt in train.prompts], lambda table: [
        str(bisect_right(edges, len(prompt))) for prompt in table.prompts
    ])  # fmt: skip


def by_task(train: Table) -> Scorer:
    return _grouped(train, train.tasks, lambda table: table.tasks)


def _grouped(train: Table, groups: Sequence[str], of: Callable[[Table], Sequence[str]]) -> Scorer:
    places: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        places.setdefault(group, []).append(i)

    def score(table: Table, names: Sequence[str]) -> Floats:
        usual = accuracies(train, names)
        right = matrix(train, names)
        means = {}
        for group, rows in places.items():
            cells = right[rows]
            asked = (~np.isnan(cells)).sum(axis=0)
            means[group] = (np.nansum(cells, axis=0) + SHRINK * usual) / (asked + SHRINK)
        return np.array([means.get(group, usual) for group in of(table)]).reshape(len(table), len(names))

    return score


def _mean(values: Floats) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
