"""Learns heads from readings and outcomes: logistic regression with what models have in common as its prior.

For a model with few labels the prior is the family (decide/predict/heads.py): weights as its ability says, give or take
the spread seen among known models; the ability itself as its declared strength says, give or take DECLARED. The
maximum a posteriori is found by Newton's method, and its curvature says how much is still in doubt (Laplace). With no
labels that is the prior, with thousands it is plain logistic regression, and every label in between moves it as far as
it weighs, so nobody has to choose between "ability only" and "a full head".
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from freehold.decide.predict.heads import LEAST_SLOPE, Family, Head

Floats = NDArray[np.float64]

DECLARED = 0.4
UNDECLARED = 1.0
"""Standard deviation of an ability around that of a declared strength, and around the middle where none is declared;
abilities themselves have a standard deviation of one."""
ALONE = 0.3
"""Standard deviation of weights where there are too few models to learn it from."""
ROUNDS = 25
LEAST_KNOWN = 150
"""Labels with which a model helps to learn the family."""


def learn_family(z: Floats, outcomes: Mapping[str, Floats]) -> Family:
    """`z` (rows, width); `outcomes` per model (rows), NaN where not tried."""
    width = z.shape[1] + 1
    flat = np.full(width, ALONE)
    flat[-1] = 3.0
    known = {name: y for name, y in outcomes.items() if np.isfinite(y).sum() >= LEAST_KNOWN} or dict(outcomes)
    weights = np.array([_plain(z, y, flat) for y in known.values()])
    mean = np.append(z.mean(0), 1.0)
    level = weights @ mean
    spread = float(level.std())
    if len(known) < 2 or spread < 1e-6:
        slope = np.zeros(width)
        slope[-1] = 1.0
        doubt = np.append(np.full(width - 1, ALONE), 0.5)
        return _family(weights.mean(0), slope, doubt, np.array([-1.5, 0.0, 1.5]))
    ability = (level - level.mean()) / spread
    base = weights.mean(0)
    slope = (ability @ (weights - base)) / (ability @ ability)
    rest = weights - base - np.outer(ability, slope)
    freedom = max(1, len(known) - 2)
    apart = np.sqrt(((rest**2).sum(0) + 2 * ALONE**2 / 4) / (freedom + 2))
    return _family(
        base,
        slope,
        apart,
        np.quantile(ability, np.linspace(0, 1, 11))
        if len(known) > 3
        else np.linspace(float(ability.min()), float(ability.max()), 11),
    )


def _family(base: Floats, slope: Floats, spread: Floats, abilities: Floats) -> Family:
    doubt = float(np.sqrt((spread**2).sum() + DECLARED**2 * float(slope[-1]) ** 2))
    return Family(_tuple(base), _tuple(slope), _tuple(spread), _tuple(abilities), round(doubt, 6))


def _plain(z: Floats, y: Floats, spread: Floats) -> Floats:
    here = np.isfinite(y)
    rows = np.column_stack([z[here], np.ones(int(here.sum()))])
    start = np.zeros(rows.shape[1])
    weights, _ = _newton(rows, y[here], np.zeros(len(rows)), spread, start)
    return weights


def learn_head(name: str, z: Floats, y: Floats, family: Family, strength: float | None = None) -> Head:
    """`z` (rows, width) and `y` (rows) in 0..1, without gaps; a share between counts as that share of a success."""
    base, slope = np.array(family.base), np.array(family.slope)
    expected = family.ability(0.5 if strength is None else strength)
    ones = np.column_stack([z, np.ones(len(z))])
    steep = np.maximum(LEAST_SLOPE, ones @ slope)
    offset = ones @ base + expected * steep
    rows = np.column_stack([ones, steep])
    spread = np.append(np.array(family.spread), UNDECLARED if strength is None else DECLARED)
    found, covariance = _newton(rows, y, offset, spread, np.zeros(rows.shape[1]))
    ability = expected + float(found[-1])
    weights = base + ability * slope + found[:-1]
    doubt = float(np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows).mean())) if len(rows) else family.doubt
    return Head(name, round(float(weights[-1]), 5), _tuple(weights[:-1]), len(y), round(doubt, 5), round(ability, 5))


def _newton(rows: Floats, y: Floats, offset: Floats, spread: Floats, start: Floats) -> tuple[Floats, Floats]:
    """The most likely weights under independent normal priors around zero, and their covariance."""
    precision = np.diag(1.0 / np.maximum(spread, 1e-4) ** 2)
    weights = start
    curve = precision
    for _ in range(ROUNDS):
        score = np.clip(offset + rows @ weights, -30, 30)
        p = 1.0 / (1.0 + np.exp(-score))
        slope = rows.T @ (y - p) - precision @ weights
        curve = (rows * (p * (1 - p))[:, None]).T @ rows + precision
        step = np.linalg.solve(curve, slope)
        longest = float(np.abs(step).max())
        weights = weights + step * min(1.0, 2.0 / max(longest, 1e-9))
        if longest < 1e-6:
            break
    return weights, np.asarray(np.linalg.inv(curve), np.float64)


def matrix(readings: Sequence[Sequence[float]], width: int) -> Floats:
    """Readings as one array. Raises ValueError where one has another width."""
    z = np.array(readings, np.float64) if len(readings) else np.zeros((0, width))
    if z.ndim != 2 or z.shape[1] != width or not np.isfinite(z).all():
        raise ValueError(f"readings must all have {width} finite numbers")
    return z


def _tuple(numbers: Floats) -> tuple[float, ...]:
    return tuple(round(float(number), 5) for number in numbers)
