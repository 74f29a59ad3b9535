"""Versions of an owned model: which one a request goes to, when a canary has passed, and how one replaces another.

`own/NAME` is the current version, `own/NAME@v4` that one. A canary gets a share of the requests for `own/NAME`, picked
by chance, or by the conversation where the client names one, so that a conversation stays with one version.

A canary is compared with what the present version did in the same time, for requests are alike only then. Counts are
small, so shares are bounded by Clopper and Pearson's exact intervals (https://doi.org/10.1093/biomet/26.4.404) and
medians by order statistics, which assume nothing of how times are spread:

    roll back   at any time, when it is worse by more than allowed even at the bounds that favour it
    promote     after `requests` of its own, when nothing failed, or when it is not worse by more than allowed at a
                bound that is as likely as not to be against it (SUPPORT), and its median is not too slow
    wait        otherwise; at PATIENCE times `requests` the doubt counts against it

A canary is looked at again and again, and each look could be fooled by chance: the bounds for rolling back are
therefore wide (FALSE_ALARM).

Everything here is pure: randomness and time are handed in.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct, field

from freehold.config.schema import Canary
from freehold.errors import Forbidden

FALSE_ALARM = 0.001
"""One-sided, for each look."""
SUPPORT = 0.2
"""One-sided: the chance that a bound for promoting is too kind."""
PATIENCE = 20
FEW_TIMES = 20
"""Answers timed, of each version, before their medians say anything."""
KEPT_TIMES = 1000


class Share(Struct, frozen=True):
    """Of the requests for `own/NAME`, `percent` go to `version`."""

    version: str
    percent: float


class Tally(Struct):
    """What one version did while the canary was tried. `times` are seconds of the youngest answers that went well.

    `signals` are further reasons to like an answer or not, by name: how many were bad, of how many judged; such as
    answers that broke their JSON schema, or that people marked as bad.
    """

    requests: int = 0
    """Answered or failed; without those that the client gave up or got wrong."""
    failed: int = 0
    times: list[float] = field(default_factory=list)
    signals: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Takes in what another process has counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.times = [*self.times, *other.times][-KEPT_TIMES:]
        for name, (bad, judged) in other.signals.items():
            mine = self.signals.get(name, (0, 0))
            self.signals[name] = (mine[0] + bad, mine[1] + judged)


class Decision(Struct, frozen=True):
    """`why` is a clause for people, with the counts it rests on."""

    action: Literal["promote", "roll back", "wait"]
    why: str


def picks(share: Share, name: str, conversation: bytes | None, chance: float) -> bool:
    """Returns whether a request for `own/NAME` goes to the canary.

    `conversation` is what the client calls its conversation, None where it does not; `chance` is uniform in [0, 1).
    """
    if conversation is not None:
        seed = f"{name}@{share.version}:".encode() + conversation
        chance = int.from_bytes(hashlib.blake2b(seed, digest_size=7).digest()) / (1 << 56)
    return chance * 100 < share.percent


def decide(canary: Canary, present: Tally, tried: Tally) -> Decision:
    """Returns what becomes of the canary."""
    doubts = []
    rows = [("failed", (present.failed, present.requests), (tried.failed, tried.requests))]
    rows += [(name, present.signals.get(name, (0, 0)), counts) for name, counts in sorted(tried.signals.items())]
    for name, before, after in rows:
        verdict, why = _shares(name, before, after, canary.errors)
        if verdict == "worse":
            return Decision("roll back", why)
        if verdict == "doubt":
            doubts.append(why)
    verdict, why = _medians(present.times, tried.times, canary.slower)
    if verdict == "worse":
        return Decision("roll back", why)
    if verdict == "doubt":
        doubts.append(why)
    if tried.requests < canary.requests:
        return Decision("wait", f"{tried.requests} of {canary.requests} requests")
    if not doubts:
        return Decision("promote", _record(tried, canary.errors))
    if tried.requests >= PATIENCE * canary.requests:
        return Decision("roll back", f"after {tried.requests} requests still in doubt: " + "; ".join(doubts))
    return Decision("wait", "; ".join(doubts))


def _shares(name: str, before: tuple[int, int], after: tuple[int, int], margin: float) -> tuple[str, str]:
    """Compares the shares of bad answers, each as (bad, of). Returns worse, doubt or fine, and the counts in words."""
    (bad_before, of_before), (bad, of) = before, after
    words = f"{name}: {bad} of {of}, the present version {bad_before} of {of_before}"
    if not bad:
        return "fine", words
    known = bad_before / of_before if of_before else 0.0
    share = bad / of
    difference = share - known
    if difference > margin:
        worse = lower(bad, of, FALSE_ALARM) > upper(bad_before, of_before, SUPPORT, none=0.0) + margin
        return ("worse" if worse else "doubt"), words
    # Newcombe's way of joining two intervals into one of the difference (https://doi.org/10.1002/sim.2009).
    reach = math.hypot(upper(bad, of, SUPPORT) - share, known - lower(bad_before, of_before, SUPPORT))
    return ("fine" if difference + reach <= margin else "doubt"), words


def _medians(before: Sequence[float], after: Sequence[float], slower: float) -> tuple[str, str]:
    """Compares median times. Returns worse, doubt or fine, and the medians in words."""
    if len(before) < FEW_TIMES or len(after) < FEW_TIMES:
        return "fine", "too few answers to compare their times"
    first, second = sorted(before), sorted(after)
    old, new = first[len(first) // 2], second[len(second) // 2]
    words = f"median time: {new:.2f} s, the present version {old:.2f} s"
    if new <= slower * old:
        return "fine", words
    worse = median_bounds(second, FALSE_ALARM)[0] > slower * median_bounds(first, SUPPORT)[1]
    return ("worse" if worse else "doubt"), words


def _record(tried: Tally, margin: float) -> str:
    most = upper(tried.failed, tried.requests, 0.05)
    words = f"{tried.failed} of {tried.requests} requests failed"
    return words if most <= margin else f"{words}; up to {100 * most:.1f} % cannot be excluded after so few"


# bounds


def lower(bad: int, of: int, risk: float) -> float:
    """Returns the lower bound of the share of bad ones, too high with probability `risk` at most."""
    if not bad:
        return 0.0
    return _solve(lambda share: _at_most(bad - 1, of, share) > 1 - risk)


def upper(bad: int, of: int, risk: float, none: float = 1.0) -> float:
    """Returns the upper bound, too low with probability `risk` at most; `none` where nothing was counted."""
    if not of:
        return none
    if bad >= of:
        return 1.0
    return _solve(lambda share: _at_most(bad, of, share) > risk)


def median_bounds(ordered: Sequence[float], risk: float) -> tuple[float, float]:
    """Returns bounds of the median that each fail with probability `risk` at most; minus and plus infinity where
    there are too few values to say.

    The number of values below the median is binomial with one half, whatever they are spread like.
    """
    count = len(ordered)
    rank = -1
    total = 0.0
    while rank + 1 < count:
        total += math.exp(_log_term(rank + 1, count, 0.5))
        if total > risk:
            break
        rank += 1
    return (ordered[rank], ordered[count - 1 - rank]) if rank >= 0 else (-math.inf, math.inf)


def _solve(below: Callable[[float], bool]) -> float:
    """Returns the share up to which `below` holds, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def _at_most(bad: int, of: int, share: float) -> float:
    """Returns the probability of `bad` or fewer of `of`. Sums from the largest term of the shorter tail outward."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 1.0 if bad >= of else 0.0
    if bad < of * share:
        return _tail(range(bad, -1, -1), of, share)
    return 1.0 - _tail(range(bad + 1, of + 1), of, share)


def _tail(counts: range, of: int, share: float) -> float:
    """Returns the sum of the binomial terms of `counts`, which fall away from the first."""
    first = counts[0] if counts else 0
    term = math.exp(_log_term(first, of, share)) if counts else 0.0
    odds = share / (1 - share)
    total = 0.0
    for count in counts:
        total += term
        if term < total * 1e-12:
            break
        term *= (of - count) / (count + 1) * odds if counts.step > 0 else count / (of - count + 1) / odds
    return min(1.0, total)


def _log_term(count: int, of: int, share: float) -> float:
    ways = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    return ways + count * math.log(share) + (of - count) * math.log1p(-share)


# copies


def check_shadow(name: str) -> None:
    """Raises Forbidden unless copies of requests may go to the deployment `name`.

    A copy is read by nobody who asked for it, so it may only go where it can do no harm: to a model on this host. A
    rented deployment is another sink and needs a clearance, which nothing can grant yet.
    """
    if not name.startswith("own/"):
        raise Forbidden(
            f"copies of requests may not go to {name}: it is not a model that runs on this host",
            code="sink_not_cleared",
            hint="shadow an owned model, own/NAME",
        )
