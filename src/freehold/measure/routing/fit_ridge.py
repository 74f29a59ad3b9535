"""Ridge regression of several targets on terms and measures at once, by conjugate gradients.

    minimise  sum over rows with mask of (y - mean - X b - (STRENGTH * S) c)^2  +  penalty * (|b|^2 + |c|^2)

X is the sparse matrix of terms, S the standardised measures. Measures are scaled by STRENGTH: they count as much as a
word of that weight, which was found on held-out domains (models/routing.md). Each target may have its own rows.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.measure.routing.fit_terms import Floats, Matrix

STRENGTH = np.float32(0.05)
ROUNDS = 40
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


def ridge(matrix: Matrix, measures: Floats, targets: Floats, mask: NDArray[np.bool_], penalty: float) -> Solution:
    """`targets` (rows, k); `mask` (rows, k): which entries count; the others may hold anything finite."""
    weight = mask.astype(np.float32)
    rows = np.maximum(weight.sum(0), 1.0)
    means = ((targets * weight).sum(0) / rows).astype(np.float32)
    scaled = measures * STRENGTH
    split = matrix.shape[1]
    lam = np.float32(penalty)

    def forward(both: Floats) -> Floats:
        return np.asarray((matrix.times(both[:split]) + scaled @ both[split:]) * weight, np.float32)

    def backward(residual: Floats) -> Floats:
        return np.concatenate([matrix.back(residual), scaled.T @ residual])

    right = backward((targets - means) * weight)
    found = np.zeros_like(right)
    rest = right.copy()
    direction = rest.copy()
    size = (rest * rest).sum(0)
    enough = CLOSE * CLOSE * np.maximum(size, 1e-12)
    for _ in range(ROUNDS):
        if (size <= enough).all():
            break
        turned = backward(forward(direction)) + lam * direction
        step = size / np.maximum((direction * turned).sum(0), 1e-20)
        found += step * direction
        rest -= step * turned
        before, size = size, (rest * rest).sum(0)
        direction = rest + (size / np.maximum(before, 1e-20)) * direction
    return Solution(found[:split], found[split:] * STRENGTH, means)
