"""The way of a fit, from texts to a predictor; see fit.py."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.decide.predict.basis import KEPT, LIMIT
from freehold.decide.predict.file import identity
from freehold.decide.predict.look import LADDERS, look
from freehold.decide.predict.predictor import Predictor
from freehold.measure.routing import fit_heads
from freehold.measure.routing.fit_basis import assemble, on_rungs, rungs
from freehold.measure.routing.fit_disturb import disturbed
from freehold.measure.routing.fit_ridge import Copies, Solution, ridge
from freehold.measure.routing.fit_targets import Targets, directions
from freehold.measure.routing.fit_terms import Floats, Matrix, collect, occurring

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
    around = [look(text) for text in disturbed(texts, [word.decode("utf-8", "replace") for word in terms.words], seed)]
    copies = Copies(occurring(terms, around), on_rungs(steps, around))
    targets = directions(np.stack(list(table.values()), 1).astype(np.float32), lanes)
    rng = np.random.default_rng(seed)
    folds = rng.integers(0, FOLDS, len(texts))
    data = _Data(matrix, measures, targets, copies)
    penalty = choose_penalty(data, folds, _task_folds(tasks, rng))
    aside = np.zeros_like(targets.values)
    moved = np.zeros((len(around), aside.shape[1]), np.float32)
    of = np.arange(len(around)) % len(texts)
    for fold in range(FOLDS):
        out = folds == fold
        part = data.solve(penalty, out)
        aside[out] = part.predict(matrix, measures)[out]
        moved[out[of]] = part.predict(copies.matrix, copies.measures)[out[of]]
    centre, spread = aside.mean(0), np.maximum(aside.std(0), 1e-6)
    basis, tables = assemble(terms, steps, data.solve(penalty), centre, spread)
    z = _readings(aside, measures, centre, spread)
    stiff = _stiffness(_readings(moved, copies.measures, centre, spread) - z[of])
    family = fit_heads.learn_family(z, table, stiff)
    heads = {}
    for name, y in table.items():
        here = np.isfinite(y)
        if here.any():
            heads[name] = fit_heads.learn_head(name, z[here], y[here], family, stiff=stiff)
    return Predictor(basis, family, heads, id=identity(tables), made=made, tables=tables)


class _Data(Struct):
    """What a ridge is fitted to."""

    matrix: Matrix
    measures: Floats
    targets: Targets
    copies: Copies

    def solve(self, penalty: float, out: NDArray[np.bool_] | None = None) -> Solution:
        """Without the rows `out`."""
        mask = self.targets.mask if out is None else self.targets.mask & ~out[:, None]
        return ridge(self.matrix, self.measures, self.targets.values, mask, penalty, self.copies)


def _readings(lanes: Floats, measures: Floats, centre: Floats, spread: Floats) -> NDArray[np.float64]:
    clipped = np.clip((lanes - centre) / spread, -LIMIT, LIMIT)
    return np.column_stack([clipped, measures[:, _KEPT]]).astype(np.float64)


def _stiffness(moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean square of moves of readings, with a row and a column for the bias, which nothing moves."""
    return np.pad(moves.T @ moves / len(moves), (0, 1))


def choose_penalty(data: _Data, folds: NDArray[np.intp], by_task: NDArray[np.bool_] | None) -> float:
    """The penalty that explains most of the targets on rows held out: at random, and as whole tasks where known."""
    held = [folds == 0] + ([by_task] if by_task is not None else [])
    best, most = PENALTIES[0], -np.inf
    for penalty in PENALTIES:
        gained = 0.0
        for out in held:
            part = data.solve(penalty, out)
            gained += _explained(part.predict(data.matrix, data.measures), part, data.targets, out)
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
