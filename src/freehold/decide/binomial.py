"""The exact bound of Clopper and Pearson (1934) for a rate of failures, in pure Python.

Of `of` requests `failed` failed. `upper` is the rate above which so few failures would have a chance below `delta`;
`lower` the rate below which so many would. Both are quantiles of a beta distribution, found by bisection on the
regularised incomplete beta function I_x(a, b), which is computed by its continued fraction (DLMF 8.17.22).
"""

import math


def upper(failed: int, of: int, delta: float) -> float:
    """Returns Clopper and Pearson's upper bound: a failure rate above it gives so few failures with chance < delta."""
    if failed >= of:
        return 1.0
    return _bisected(failed + 1, of - failed, 1.0 - delta)


def shown(failed: int, of: int, alpha: float, delta: float) -> bool:
    """Returns whether so few failures show a rate of at most `alpha`: `upper(...) <= alpha`, with one evaluation."""
    return failed < of and beta(1.0 - alpha, of - failed, failed + 1) <= delta


def lower(failed: int, of: int, delta: float) -> float:
    """Returns the lower bound at the same one-sided `delta`."""
    if failed <= 0:
        return 0.0
    return _bisected(failed, of - failed + 1, delta)


def least(alpha: float, delta: float) -> int:
    """Returns how many routed calibration requests, none failing, show a rate of at most `alpha`: fewer never can."""
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9)


def _bisected(a: float, b: float, area: float) -> float:
    """The x at which the regularised incomplete beta function I_x(a, b) is `area`."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if beta(middle, a, b) < area:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta(x: float, a: float, b: float) -> float:
    """Returns I_x(a, b), the regularised incomplete beta function (DLMF 8.17.22, by Lentz's method)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 10_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + step * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + step / c
            c = c if abs(c) > tiny else tiny
            fraction *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return math.exp(log_front) * fraction / a
