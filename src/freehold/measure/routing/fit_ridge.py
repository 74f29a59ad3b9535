"""Ridge regression of several targets on terms and measures at once, by conjugate gradients.

    minimise  sum over rows with mask of (y - mean - f(row))^2  +  penalty * (|b|^2 + |c|^2)
              + STILL * sum over rows of the mean over its disturbed copies of (f(copy) - f(row))^2
    f(row)  = X b + (STRENGTH * S) c

X is the sparse matrix of terms, S the standardised measures. Measures are scaled by STRENGTH: they count as much as a
word of that weight, which was found on held-out domains (models/routing.md). Each target may have its own rows. The
second line is what keeps the answer still when something is put around a prompt (fit_disturb.py).
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.measure.routing.fit_terms import Floats, Matrix

STRENGTH = np.float32(0.05)
STILL = np.float32(3.0)
"""Chosen on training rows alone: three times as much moved decisions hardly less, and cost accuracy."""
ROUNDS = 50
CLOSE = 3e-3
"""Residual of the normal equations, relative to the right side: closer than this changes no decision."""


class Solution(Struct):
    """`terms` (columns, k), `measures` (measures, k), `means` (k): y = means + X terms + S measures."""

    terms: Floats
    measures: Floats
    means: Floats

    def predict(self, matrix: Matrix, measures: Floats) -> Floats:
        """(rows, k)."""
        return np.asarray(self.means + matrix.times(self.terms) + measures @ self.measures, np.float32)


class Copies(Struct):
    """Disturbed copies of the prompts: row i is of prompt i modulo their number."""

    matrix: Matrix
    measures: Floats


def ridge(
    matrix: Matrix,
    measures: Floats,
    targets: Floats,
    mask: NDArray[np.bool_],
    penalty: float,
    copies: Copies | None = None,
) -> Solution:
    """`targets` (rows, k); `mask` (rows, k): which entries count; the others may hold anything finite. Copies count
    for rows that have an entry that does."""
    weight = mask.astype(np.float32)
    rows = np.maximum(weight.sum(0), 1.0)
    means = ((targets * weight).sum(0) / rows).astype(np.float32)
    scaled = measures * STRENGTH
    split = matrix.shape[1]
    lam = np.float32(penalty)

    def forward(both: Floats) -> Floats:
        return np.asarray(matrix.times(both[:split]) + scaled @ both[split:], np.float32)

    def backward(residual: Floats) -> Floats:
        return np.concatenate([matrix.back(residual), scaled.T @ residual])

    still = _Still(copies, mask) if copies is not None else None

    def curve(both: Floats) -> Floats:
        here = forward(both)
        if still is None:
            return backward(here * weight) + lam * both
        away = still.moved(both, here)
        return backward(here * weight - still.by_row(away)) + still.backward(away) + lam * both

    right = backward((targets - means) * weight)
    found = np.zeros_like(right)
    rest = right.copy()
    direction = rest.copy()
    size = (rest * rest).sum(0)
    enough = CLOSE * CLOSE * np.maximum(size, 1e-12)
    for _ in range(ROUNDS):
        if (size <= enough).all():
            break
        turned = curve(direction)
        step = size / np.maximum((direction * turned).sum(0), 1e-20)
        found += step * direction
        rest -= step * turned
        before, size = size, (rest * rest).sum(0)
        direction = rest + (size / np.maximum(before, 1e-20)) * direction
    return Solution(found[:split], found[split:] * STRENGTH, means)


class _Still:
    """How far copies move under a solution, weighed as the objective does."""

    def __init__(self, copies: Copies, mask: NDArray[np.bool_]) -> None:
        self._matrix, self._scaled = copies.matrix, copies.measures * STRENGTH
        self._split = copies.matrix.shape[1]
        self._rounds = copies.matrix.shape[0] // len(mask)
        counts = np.asarray(mask.any(axis=1), np.float32).reshape(-1, 1)
        self._weight = np.tile(np.asarray(counts * STILL / np.float32(self._rounds)), (self._rounds, 1))

    def moved(self, both: Floats, here: Floats) -> Floats:
        there = self._matrix.times(both[: self._split]) + self._scaled @ both[self._split :]
        return np.asarray((there - np.tile(here, (self._rounds, 1))) * self._weight, np.float32)

    def by_row(self, moved: Floats) -> Floats:
        return np.asarray(moved.reshape(self._rounds, -1, moved.shape[1]).sum(0), np.float32)

    def backward(self, moved: Floats) -> Floats:
        return np.concatenate([self._matrix.back(moved), self._scaled.T @ moved])
