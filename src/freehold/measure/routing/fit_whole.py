"""The way of a fit, from texts to a predictor; see fit.py."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from freehold.decide.predict.basis import KEPT, LIMIT
from freehold.decide.predict.file import identity
from freehold.decide.predict.look import LADDERS, look
from freehold.decide.predict.predictor import Predictor
from freehold.measure.routing import fit_heads
from freehold.measure.routing.fit_basis import assemble, rungs
from freehold.measure.routing.fit_ridge import Solution, ridge
from freehold.measure.routing.fit_targets import Targets, directions
from freehold.measure.routing.fit_terms import Floats, Matrix, collect

FOLDS = 3
PENALTIES = (2.5, 5.0, 10.0, 20.0, 40.0)
_KEPT = [list(LADDERS).index(name) for name in KEPT]


def learn(
    texts: Sequence[str],
    table: Mapping[str, NDArray[np.float64]],
    *,
    seed: int,
    tasks: Sequence[str] | None,
    lanes: int,
    made: str,
) -> Predictor:
    """Arguments as checked by `fit.fit`."""
    looks = [look(text) for text in texts]
    terms, matrix = collect(looks)
    steps = rungs(looks)
    measures = steps.measures
    targets = directions(np.stack(list(table.values()), 1).astype(np.float32), lanes)
    rng = np.random.default_rng(seed)
    folds = rng.integers(0, FOLDS, len(texts))
    penalty = choose_penalty(matrix, measures, targets, folds, _task_folds(tasks, rng))
    aside = np.zeros_like(targets.values)
    for fold in range(FOLDS):
        out = folds == fold
        part = ridge(matrix, measures, targets.values, targets.mask & ~out[:, None], penalty)
        aside[out] = part.predict(matrix, measures)[out]
    centre, spread = aside.mean(0), np.maximum(aside.std(0), 1e-6)
    solution = ridge(matrix, measures, targets.values, targets.mask, penalty)
    basis, tables = assemble(terms, steps, solution, centre, spread)
    z = np.column_stack([np.clip((aside - centre) / spread, -LIMIT, LIMIT), measures[:, _KEPT]]).astype(np.float64)
    family = fit_heads.learn_family(z, table)
    heads = {}
    for name, y in table.items():
        here = np.isfinite(y)
        if here.any():
            heads[name] = fit_heads.learn_head(name, z[here], y[here], family)
    return Predictor(basis, family, heads, id=identity(tables), made=made, tables=tables)


def choose_penalty(
    matrix: Matrix, measures: Floats, targets: Targets, folds: NDArray[np.intp], by_task: NDArray[np.bool_] | None
) -> float:
    """The penalty that explains most of the targets on rows held out: at random, and as whole tasks where known."""
    held = [folds == 0] + ([by_task] if by_task is not None else [])
    best, most = PENALTIES[0], -np.inf
    for penalty in PENALTIES:
        gained = 0.0
        for out in held:
            part = ridge(matrix, measures, targets.values, targets.mask & ~out[:, None], penalty)
            gained += _explained(part.predict(matrix, measures), part, targets, out)
        if gained > most:
            best, most = penalty, gained
    return best


def _explained(predicted: Floats, part: Solution, targets: Targets, out: NDArray[np.bool_]) -> float:
    here = targets.mask & out[:, None]
    missed = (((targets.values - predicted) ** 2) * here).sum()
    plain = (((targets.values - part.means) ** 2) * here).sum()
    return float(1.0 - missed / max(float(plain), 1e-9))


def _task_folds(tasks: Sequence[str] | None, rng: np.random.Generator) -> NDArray[np.bool_] | None:
    names = sorted(set(tasks)) if tasks is not None else []
    if tasks is None or len(names) < FOLDS:
        return None
    held = {names[i] for i in rng.permutation(len(names))[: max(1, len(names) // FOLDS)]}
    return np.array([task in held for task in tasks])
