"""Is a newly trained predictor better than the one in force? Asked of the newest outcomes, which it has not seen.

What is compared is the Brier score, the mean square by which P(right) is off what came out, each answer counted by the
weight of its outcomes. It is proper: nobody gains by saying anything but what they believe. Answers to one request
stay together when requests are drawn again (bootstrap), and `better` means that the gain is above nothing with
CONFIDENCE. Random rows would be easier to be good at: next week's prompts are like this week's, not like a mix of both.

Floors count too. One that is certified for the predictor in force and not for the new one would no longer be kept, and
a gateway whose routes ask for it would refuse its configuration: that is no improvement, whatever the score.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from freehold.decide.floor import Certificate
from freehold.measure.routing.metrics import Floats

CONFIDENCE = 0.95
RESAMPLES = 1_000
LEAST = 50
"""Requests; fewer show nothing."""


class Comparison(Struct, frozen=True):
    """`gain`: Brier score before less after, above 0 where the new one is better; `low`: what it is at least, with
    CONFIDENCE."""

    requests: int
    before: float
    after: float
    gain: float
    low: float
    better: bool
    why: str
    """In words."""


def compare(before: Floats, after: Floats, truth: Floats, weights: Floats, *, seed: int = 0) -> Comparison:
    """All (requests, models): probabilities, what came out (nan where nobody answered or judged), and weights."""
    known = ~np.isnan(truth) & (weights > 0)
    counts = np.where(known, weights, 0.0)
    right = np.where(known, truth, 0.0)
    mass = counts.sum(axis=1)
    rows = np.flatnonzero(mass > 0)
    if len(rows) < LEAST:
        why = f"{len(rows)} judged requests were kept to compare by, and fewer than {LEAST} show nothing"
        return Comparison(len(rows), 0.0, 0.0, 0.0, 0.0, False, why)
    old, new = (((one - right) ** 2 * counts).sum(axis=1)[rows] for one in (before, after))
    mass = mass[rows]
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        some = generator.integers(0, len(rows), len(rows))
        drawn.append(float((old - new)[some].sum() / mass[some].sum()))
    low = float(np.quantile(drawn, 1 - CONFIDENCE))
    scores = float(old.sum() / mass.sum()), float(new.sum() / mass.sum())
    gain, better = scores[0] - scores[1], low > 0
    told = (
        f"on {len(rows):,} requests kept to compare by its Brier score is {scores[1]:.4f}, that of the one in force "
        f"{scores[0]:.4f}"
    )
    why = told if better else f"{told}: with {CONFIDENCE:.0%} confidence that is no gain (at least {low:+.4f})"
    return Comparison(len(rows), *scores, gain, low, better, why)


def lost_floors(old: Sequence[Certificate], new: Sequence[Certificate]) -> list[str]:
    """Returns, in words, the floors that are certified in `old` and not in `new`."""
    kept = {(one.alpha, one.strong, one.cheaper) for one in new if one.threshold is not None}
    return [
        f"{1 - one.alpha:g} of {', '.join(one.cheaper)} for {one.strong}"
        for one in old
        if one.threshold is not None and (one.alpha, one.strong, one.cheaper) not in kept
    ]
