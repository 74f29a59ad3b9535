"""What a policy would have earned, from a log that another policy wrote. Pure arithmetic, no numpy.

A log says of each request i which action a_i was taken, with what probability p_i, and, of some, how good the answer
was, r_i. The policy in question would take action b_i. With w_i = 1 if a_i = b_i, else 0, divided by p_i, and a model
q(i, a) that predicts r:

    direct   mean q(i, b_i)                           no variance to speak of, as wrong as the model is
    ips      mean w_i r_i                             unbiased, as noisy as 1 / p (Horvitz, Thompson 1952)
    snips    sum w_i r_i / sum w_i                    a little biased, much calmer (Swaminathan, Joachims 2015)
    dr       mean q(i, b_i) + w_i (r_i - q(i, a_i))   unbiased whatever the model, calm where it is good
                                                      (Dudik, Langford, Li 2011)
    ess      (sum w_i)^2 / sum w_i^2                  how many requests the weights are worth (Kish 1965)

All but `direct` need support: b_i must have had a chance to be taken, else what it would have earned stands nowhere in
the log, and a mean over the rest is about other requests. Each request without support moves `ips` by at most 1/n, so
the share of them bounds its bias; above `MOST_UNSUPPORTED` the estimates are refused, as they are below `LEAST_ESS`.

All of them are about the requests that were rated. Whether those are like the others is not in the log.

Intervals: the percentile bootstrap over requests. For more than `GROUPS` of them, over random groups of equal size,
whose sums are as good as their members' for any figure that is made of sums, at a cost that does not grow.
"""

import math
import random
from collections.abc import Callable, Sequence

from msgspec import Struct

MOST_UNSUPPORTED = 0.01
LEAST_ESS = 30.0
GROUPS = 400
RESAMPLES = 1000
LEVEL = 0.95


class Trial(Struct, frozen=True, gc=False):
    """One rated request. `logged` and `direct` are what the model predicts of the action taken and of the policy's."""

    reward: float
    propensity: float
    same: bool
    """The policy would do what was done."""
    supported: bool
    """What the policy would do could have been done."""
    logged: float
    direct: float


class Interval(Struct, frozen=True):
    value: float
    low: float
    high: float


class Judged(Struct, frozen=True):
    """Estimates over the rated requests; None with `refused` in words where the log cannot say."""

    rated: int
    effective: float
    """Effective sample size."""
    unsupported: float
    """Share of the rated requests for which the log could not have done what the policy does."""
    refused: str | None
    ips: Interval | None = None
    snips: Interval | None = None
    doubly_robust: Interval | None = None


def judge(trials: Sequence[Trial], *, seed: int = 0, resamples: int = RESAMPLES) -> Judged:
    """Estimates what a policy would have earned. Raises ValueError for a propensity that is none."""
    if any(not 0 < trial.propensity <= 1 for trial in trials):
        raise ValueError("a propensity lies above 0 and is at most 1")
    count = len(trials)
    weights = [1 / trial.propensity if trial.same else 0.0 for trial in trials]
    squares = math.fsum(weight * weight for weight in weights)
    effective = math.fsum(weights) ** 2 / squares if squares else 0.0
    unsupported = sum(not trial.supported for trial in trials) / count if count else 0.0
    refused = _refusal(count, effective, unsupported)
    if refused is not None:
        return Judged(count, effective, unsupported, refused)
    rows = [
        (1.0, weight, weight * trial.reward, trial.direct + weight * (trial.reward - trial.logged))
        for trial, weight in zip(trials, weights, strict=True)
    ]
    ips, snips, robust = bootstrap(rows, _estimates, seed=seed, resamples=resamples)
    return Judged(count, effective, unsupported, None, ips, snips, robust)


def _estimates(sums: Sequence[float]) -> tuple[float, ...]:
    count, weights, earned, robust = sums
    return earned / count, earned / weights if weights else math.nan, robust / count


def _refusal(count: int, effective: float, unsupported: float) -> str | None:
    if not count:
        return "no request of these has been rated"
    if unsupported > MOST_UNSUPPORTED:
        return (
            f"for {100 * unsupported:.3g} % of the rated requests the policy does what the log could not have done;"
            " explore gives it the chance"
        )
    if effective < LEAST_ESS:
        return f"the rated requests are worth {effective:.3g} under this policy, fewer than {LEAST_ESS:g}"
    return None


def bootstrap(
    rows: Sequence[Sequence[float]],
    figures: Callable[[Sequence[float]], tuple[float, ...]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Interval]:
    """Returns each figure with its interval. `figures` makes them from the sums of the columns of `rows`; a resample in
    which one is not a number does not count for it."""
    columns = [math.fsum(column) for column in zip(*rows, strict=True)]
    values = figures(columns)
    source = random.Random(seed)  # noqa: S311  for statistics
    groups = _groups(rows, source)
    drawn: list[list[float]] = [[] for _ in values]
    indices = range(len(groups))
    for _ in range(resamples if len(groups) > 1 else 0):
        chosen = [groups[at] for at in source.choices(indices, k=len(groups))]
        sums = [sum(column) for column in zip(*chosen, strict=True)]
        for kept, value in zip(drawn, figures(sums), strict=True):
            if math.isfinite(value):
                kept.append(value)
    return [_interval(value, sorted(kept), level) for value, kept in zip(values, drawn, strict=True)]


def _groups(rows: Sequence[Sequence[float]], source: random.Random) -> list[tuple[float, ...]]:
    """Sums of random groups of nearly equal size."""
    if len(rows) <= GROUPS:
        return [tuple(row) for row in rows]
    shuffled = list(rows)
    source.shuffle(shuffled)
    return [tuple(math.fsum(column) for column in zip(*shuffled[at::GROUPS], strict=True)) for at in range(GROUPS)]


def _interval(value: float, drawn: list[float], level: float) -> Interval:
    if not drawn:
        return Interval(value, value, value)
    tail = (1 - level) / 2
    low, high = (drawn[min(len(drawn) - 1, max(0, round(share * (len(drawn) - 1))))] for share in (tail, 1 - tail))
    return Interval(value, low, high)
