"""Heads: from the numbers of a reading to the probability that one model answers well.

    p = 1 / (1 + exp(-(bias + weights . z)))

A head is learnt on readings whose words it had not been learnt from, which is what makes p calibrated (measured in
models/routing.md). Heads of many models have much in common. The family says what: a model of ability t, in standard
deviations among the known models, is expected to have

    bias + weights . z  =  base(z) + t * max(LEAST_SLOPE, slope(z))

so that one of which nothing is known but a declared strength has a place, a stronger one is never predicted to be
worse, and few labels move a head by as much as they can show and no further (measure/routing/fit_heads.py).
"""

from collections.abc import Sequence
from math import exp, sqrt
from operator import mul

from msgspec import Struct

LEAST_SLOPE = 0.05
MOST_LOGIT = 12.0


class Head(Struct, frozen=True):
    """One model. `doubt`: the standard error of its log-odds at a usual prompt; `labels`: how many it saw."""

    name: str
    bias: float
    weights: tuple[float, ...]
    labels: int = 0
    doubt: float = 0.0
    ability: float = 0.0
    """Among the known models, in their standard deviations."""

    def score(self, z: Sequence[float]) -> float:
        """Log-odds."""
        total: float = sum(map(mul, self.weights, z), self.bias)
        return total


class Family(Struct, frozen=True):
    """What heads have in common; `base` and `slope` end with their bias. `abilities` are those of strengths 0 to 1.

    `spread`: how far a head's weights are from what its ability says, a standard deviation for each. `doubt`: the
    standard error of the log-odds of a model with a strength and no labels.
    """

    base: tuple[float, ...]
    slope: tuple[float, ...]
    spread: tuple[float, ...]
    abilities: tuple[float, ...]
    doubt: float = 1.0

    def ability(self, strength: float) -> float:
        """Of a declared strength: 0.8 is as able as the known model that 80 % of them do not surpass."""
        last = len(self.abilities) - 1
        at = min(1.0, max(0.0, strength)) * last
        low = min(int(at), last - 1) if last else 0
        high = min(low + 1, last)
        return self.abilities[low] + (at - low) * (self.abilities[high] - self.abilities[low])

    def score(self, z: Sequence[float], ability: float) -> float:
        """Log-odds of a model with no labels."""
        slope: float = sum(map(mul, self.slope, z), self.slope[-1])
        base: float = sum(map(mul, self.base, z), self.base[-1])
        return base + ability * max(LEAST_SLOPE, slope)


class Estimate(Struct, frozen=True):
    """`p` is calibrated; `sigma` its standard error; `head` the known model that was used, empty where none was."""

    p: float
    sigma: float
    labels: int = 0
    head: str = ""


def probability(score: float) -> float:
    """Of log-odds; never 0 or 1."""
    return 1.0 / (1.0 + exp(-min(MOST_LOGIT, max(-MOST_LOGIT, score))))


def moderated(score: float, doubt: float) -> float:
    """The mean probability where the log-odds are only known within `doubt` (MacKay 1992)."""
    return score / sqrt(1.0 + 0.3926990817 * doubt * doubt)
