"""Learns heads from readings and outcomes: logistic regression with what models have in common as its prior.

For a model with few labels the prior is the family (decide/predict/heads.py): weights as its ability says, give or take
the spread seen among known models; the ability itself as its declared strength says, give or take DECLARED. The
maximum a posteriori is found by Newton's method, and its curvature says how much is still in doubt (Laplace). With no
labels that is the prior, with thousands it is plain logistic regression, and every label in between moves it as far as
it weighs, so nobody has to choose between "ability only" and "a full head".

The spread is what keeps a choice among many models honest. Each head has errors, and who takes the best of sixty takes
the luckiest errors too (the winner's curse). Weights as far apart as the heads seem to be would keep all of the luck,
so the spread is that of the true weights, with what the errors add taken out: empirical Bayes, by expectation and
maximisation (Dempster, Laird and Rubin 1977).

`stiff` (width + 1 squared) is the mean square by which a reading moves when something is put around a prompt
(fit_disturb.py). STIFF of it per label is charged for weights that answer to such moves.
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
STIFF = 0.8
"""Chosen on training rows alone; see models/routing.md."""
ROUNDS = 25
LEAST_KNOWN = 150
"""Labels with which a model helps to learn the family."""
LEAST_MANY = 8
"""Models of which a spread can be learnt."""
REFINED = 8
"""Rounds of expectation and maximisation; with twelve, choices among ZeroEval's models were as good."""


def learn_family(z: Floats, outcomes: Mapping[str, Floats], stiff: Floats | None = None) -> Family:
    """`z` (rows, width); `outcomes` per model (rows), NaN where not tried."""
    width = z.shape[1] + 1
    flat = np.full(width, ALONE)
    flat[-1] = 3.0
    known = {name: y for name, y in outcomes.items() if np.isfinite(y).sum() >= LEAST_KNOWN} or dict(outcomes)
    weights = np.array([_plain(z, y, flat, stiff) for y in known.values()])
    mean = np.append(z.mean(0), 1.0)
    if len(known) < 2 or float((weights @ mean).std()) < 1e-6:
        slope = np.zeros(width)
        slope[-1] = 1.0
        doubt = np.append(np.full(width - 1, ALONE), 0.5)
        return _family(weights.mean(0), slope, doubt, np.array([-1.5, 0.0, 1.5]))
    base, slope, ability = _line(weights, mean)
    rest = weights - base - np.outer(ability, slope)
    freedom = max(1, len(known) - 2)
    apart = np.sqrt(((rest**2).sum(0) + 2 * ALONE**2 / 4) / (freedom + 2))
    if len(known) >= LEAST_MANY:
        base, slope, ability, apart = _refined(z, list(known.values()), base, slope, ability, apart, stiff)
    steps = np.linspace(0, 1, 11)
    few = np.linspace(float(ability.min()), float(ability.max()), 11)
    return _family(base, slope, apart, np.quantile(ability, steps) if len(known) > 3 else few)


def _line(weights: Floats, mean: Floats) -> tuple[Floats, Floats, Floats]:
    """What weights (models, width) have in common, how they change with ability, and the abilities: levels at the mean
    prompt, in their standard deviations."""
    level = weights @ mean
    ability = (level - level.mean()) / max(float(level.std()), 1e-9)
    base = weights.mean(0)
    return base, (ability @ (weights - base)) / (ability @ ability), ability


def _refined(
    z: Floats,
    outcomes: Sequence[Floats],
    base: Floats,
    slope: Floats,
    ability: Floats,
    apart: Floats,
    stiff: Floats | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """The family that makes the outcomes likeliest, by expectation and maximisation from a first guess."""
    ones = np.column_stack([z, np.ones(len(z))])
    mean = ones.mean(0)
    tried = [np.isfinite(y) for y in outcomes]
    for _ in range(REFINED):
        found, squares = [], []
        for y, here, expected in zip(outcomes, tried, ability, strict=True):
            own, covariance, _ = _posterior(ones[here], y[here], base, slope, float(expected), apart, DECLARED, stiff)
            found.append(base + (expected + own[-1]) * slope + own[:-1])
            squares.append(own[:-1] ** 2 + np.diag(covariance)[:-1])
        apart = np.sqrt(np.mean(squares, axis=0))
        base, slope, ability = _line(np.array(found), mean)
    return base, slope, ability, apart


def _family(base: Floats, slope: Floats, spread: Floats, abilities: Floats) -> Family:
    doubt = float(np.sqrt((spread**2).sum() + DECLARED**2 * float(slope[-1]) ** 2))
    return Family(_tuple(base), _tuple(slope), _tuple(spread), _tuple(abilities), round(doubt, 6))


def _plain(z: Floats, y: Floats, spread: Floats, stiff: Floats | None) -> Floats:
    here = np.isfinite(y)
    rows = np.column_stack([z[here], np.ones(int(here.sum()))])
    charge = np.zeros((rows.shape[1], rows.shape[1])) if stiff is None else STIFF * len(rows) * stiff
    none = np.zeros(rows.shape[1])
    weights, _ = _newton(rows, y[here], np.zeros(len(rows)), np.diag(1.0 / spread**2) + charge, none, None)
    return weights


def learn_head(
    name: str,
    z: Floats,
    y: Floats,
    family: Family,
    strength: float | None = None,
    *,
    weights: Floats | None = None,
    stiff: Floats | None = None,
) -> Head:
    """`z` (rows, width) and `y` (rows) in 0..1, without gaps; a share between counts as that share of a success.
    `weights` (rows): what each label counts, 1 where none is given."""
    base, slope = np.array(family.base), np.array(family.slope)
    expected = family.ability(0.5 if strength is None else strength)
    ones = np.column_stack([z, np.ones(len(z))])
    sure = UNDECLARED if strength is None else DECLARED
    spread = np.array(family.spread)
    found, covariance, rows = _posterior(ones, y, base, slope, expected, spread, sure, stiff, weights)
    ability = expected + float(found[-1])
    own = base + ability * slope + found[:-1]
    doubt = float(np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows).mean())) if len(rows) else family.doubt
    return Head(name, round(float(own[-1]), 5), _tuple(own[:-1]), len(y), round(doubt, 5), round(ability, 5))


def _posterior(
    ones: Floats,
    y: Floats,
    base: Floats,
    slope: Floats,
    expected: float,
    spread: Floats,
    sure: float,
    stiff: Floats | None,
    weights: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Own weights and, last, how far the ability is from `expected`; their covariance; the rows they apply to."""
    steep = np.maximum(LEAST_SLOPE, ones @ slope)
    offset = ones @ base + expected * steep
    rows = np.column_stack([ones, steep])
    precision = np.diag(1.0 / np.maximum(np.append(spread, sure), 1e-4) ** 2)
    pull = np.zeros(len(precision))
    if stiff is not None:
        whole = np.column_stack([np.eye(len(base)), slope])
        charge = STIFF * float(len(y) if weights is None else weights.sum()) * stiff
        precision = precision + whole.T @ charge @ whole
        pull = whole.T @ charge @ (base + expected * slope)
    found, covariance = _newton(rows, y, offset, precision, pull, weights)
    return found, covariance, rows


def _newton(
    rows: Floats, y: Floats, offset: Floats, precision: Floats, pull: Floats, counts: Floats | None
) -> tuple[Floats, Floats]:
    """The weights w with the most of log-likelihood - w' precision w / 2 - pull' w, and the inverse curvature there."""
    weights = np.zeros(rows.shape[1])
    curve = precision
    each = np.ones(len(rows)) if counts is None else counts
    for _ in range(ROUNDS):
        score = np.clip(offset + rows @ weights, -30, 30)
        p = 1.0 / (1.0 + np.exp(-score))
        slope = rows.T @ (each * (y - p)) - precision @ weights - pull
        curve = (rows * (each * p * (1 - p))[:, None]).T @ rows + precision
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
