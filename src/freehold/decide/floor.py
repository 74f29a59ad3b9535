"""The quality floor: a gate with a guarantee, a certificate of it, and a watch over whether it still holds.

What is promised. A route has a strong model and cheaper ones. With v = 1 where the cheaper model that was chosen fails
and the strong one would not have failed,

    P( E[v | the request went to a cheaper model] <= alpha ) >= 1 - delta

the outer probability being over the draw of the calibration requests. The population is the requests *sent to a cheaper
model*, not all requests: of the latter a smaller share still fails. It holds for requests drawn like the calibration
ones (exchangeable with them), for the whole stream and not for each topic in it, and for the predictor, the strong
model and the cheaper ones that the certificate names. It says nothing of prompts of another kind: the watch does.

How. `risk(p_cheap, p_strong)` orders candidates, and a request goes to the first candidate, cheapest first, whose risk
is at most a threshold. The larger the threshold, the more requests; the chosen one must be safe although it is chosen
by looking. This is fixed sequence testing (Angelopoulos et al., "Learn then test", arXiv 2110.01052): thresholds are
put in an order before a calibration outcome is seen (`grid`, from other requests), then tested one after the other,
from the strictest on, each by the exact binomial bound of Clopper and Pearson. What chance of error a test may use is
what the test before it had, if that one succeeded, plus half of delta at the first test and a quarter each at a third
and two thirds of the list (the fallback procedure of Wiens and Dmitrienko, 2005), so that bad luck with the few
requests of the strictest thresholds does not end it all. The chance that any unsafe threshold is accepted is at most
delta; of the accepted ones the last is taken. Requests that nobody may answer cheaply go to the strong model, which
costs money and harms nobody.

The watch. Outcomes of routed requests feed e-detectors (Shin, Ramdas and Rinaldo, arXiv 2203.03532): as long as v is at
most alpha in expectation, `PATIENCE` routed requests pass on average before a false alarm, however often one looks. The
risks of all requests, whose outcomes need not be known, are compared with those at calibration in blocks (population
stability index, less what chance alone gives). After an alarm the gate refuses everybody: all goes to the strong model
until somebody calibrates again.

Pure Python; the binomial bound is in binomial.py.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct, field

from freehold.decide.binomial import least, lower, shown, upper
from freehold.errors import ConfigError

__all__ = [
    "Certificate", "Gate", "Level", "Trial", "Watch", "certify", "find", "grid", "histogram", "least", "levels",
    "lower", "named", "risk", "safe", "shown", "stability", "upper",
]  # fmt: skip

Open = Annotated[float, Meta(gt=0, lt=1)]
PATIENCE = 10_000
"""Routed requests before a false alarm, on average, when the floor is kept only just."""
BLOCK = 500
"""Requests per comparison of the risks' distribution."""
SHIFTED = 0.25
"""A population stability index over this is commonly called a major shift."""
BINS = 10
STEPS = 40
STARTS = (1 / 2, 1 / 4, 1 / 4)
"""Shares of delta that come in fresh at the first test, and so on, evenly down the list."""
BETS = (0.15, 0.35, 0.7)
"""How much of what could be lost the e-detectors stake, small changes to large ones."""


def risk(cheap: float, strong: float) -> float:
    """Returns the probability that the cheap model fails and the strong one does not, as if they failed independently.

    Only its order matters: the guarantee comes from calibration, not from this number.
    """
    return strong * (1.0 - cheap)


# --- calibration -------------------------------------------------------------------------------------------------

Trial = Sequence[tuple[float, bool]]
"""A calibration request: (risk, whether it failed where the strong model did not) of each cheaper model, cheapest
first."""


class Level(Struct, frozen=True):
    """What a threshold did to the calibration requests: so many went to a cheaper model, so many of those failed."""

    threshold: float
    routed: int
    failed: int


class Certificate(Struct, frozen=True):
    """That a floor was shown to be kept, for whom and from what. Plain data, stored with the predictor.

    `threshold` None: no threshold could be shown to be safe, so everything goes to the strong model.
    """

    alpha: Open
    delta: Open
    threshold: float | None
    strong: str
    cheaper: tuple[str, ...]
    predictor: str
    """Which predictor's risks were calibrated: `named` of its file."""
    calibrated: int
    """Calibration requests in all."""
    routed: int
    failed: int
    bound: float
    """The upper bound shown for the failure rate of routed requests."""
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """Histogram of the calibration requests' least risk: counts[i] from edges[i-1] up to edges[i]."""
    source: str
    """From what: files, or the ledger and its dates."""
    made: str
    """ISO 8601 date."""


def grid(risks: Sequence[float], routed: int, calibrated: int, steps: int = STEPS) -> list[float]:
    """Returns thresholds to be tested in this order, strictest first.

    `risks`: the least risk of each of other requests than those that will calibrate. Thresholds are their quantiles,
    from the share at which about `routed` of `calibrated` requests will be sent to a cheaper model (twice `least` is
    good).
    """
    if not risks:
        raise ConfigError("there are no risks to take thresholds from", hint="more rows to train on")
    ordered = sorted(risks)
    start = min(1.0, max(routed / max(calibrated, 1), 1.0 / steps))
    shares = [start + (1.0 - start) * i / max(steps - 1, 1) for i in range(steps)]
    return sorted({ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in shares})


def levels(trials: Sequence[Trial], thresholds: Sequence[float]) -> list[Level]:
    """Counts what each threshold would have done."""
    found = []
    for threshold in thresholds:
        routed = failed = 0
        for trial in trials:
            for danger, wrong in trial:
                if danger <= threshold:
                    routed += 1
                    failed += wrong
                    break
        found.append(Level(threshold, routed, failed))
    return found


def safe(tested: Sequence[Level], alpha: float, delta: float) -> tuple[Level, float] | None:
    """Returns the last level, in the order given, that is shown to be safe, and the chance of error its test used.

    None where no level is. The fallback procedure, see above; `tested` must be in the order of `grid`.
    """
    fresh = [0.0] * len(tested)
    for i, share in enumerate(STARTS if tested else ()):
        fresh[len(tested) * i // len(STARTS)] += share * delta
    kept, left = None, 0.0
    for level, more in zip(tested, fresh, strict=True):
        left += more
        if left > 0.0 and shown(level.failed, level.routed, alpha, left):
            kept = (level, left)
        else:
            left = 0.0
    return kept


def certify(
    trials: Sequence[Trial],
    thresholds: Sequence[float],
    alpha: float,
    delta: float,
    *,
    strong: str,
    cheaper: Sequence[str],
    predictor: str,
    source: str,
    made: str,
) -> Certificate:
    """Calibrates. `thresholds` must not come from these trials: see `grid`.

    Raises ConfigError where there are too few trials for any threshold to be shown safe.
    """
    need = least(alpha, delta)
    if len(trials) < need:
        raise ConfigError(
            f"a floor of {1 - alpha:g} with confidence {1 - delta:g} needs at least {need} calibration requests with "
            f"known outcomes, there are {len(trials)}",
            hint="collect more outcomes, or lower the floor or the confidence",
        )
    found = safe(levels(trials, thresholds), alpha, delta)
    level, spent = found if found is not None else (None, delta)
    edges, counts = histogram([min((one[0] for one in trial), default=1.0) for trial in trials])
    return Certificate(
        alpha,
        delta,
        None if level is None else level.threshold,
        strong,
        tuple(cheaper),
        predictor,
        len(trials),
        0 if level is None else level.routed,
        0 if level is None else level.failed,
        0.0 if level is None else upper(level.failed, level.routed, spent),
        edges,
        counts,
        source,
        made,
    )


def histogram(risks: Sequence[float]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Returns the inner edges of `BINS` equally full bins, and how many fell into each."""
    ordered = sorted(risks)
    edges = sorted({ordered[len(ordered) * i // BINS] for i in range(1, BINS)}) if ordered else []
    counts = [0] * (len(edges) + 1)
    for one in ordered:
        counts[bisect_right(edges, one)] += 1
    return tuple(edges), tuple(counts)


def named(predictor: bytes) -> str:
    """Returns what a certificate calls the predictor of these bytes (its file): other heads give other risks."""
    return hashlib.sha256(predictor).hexdigest()[:16]


# --- the watch ---------------------------------------------------------------------------------------------------


class Watch(Struct):
    """Whether a certificate still holds. Mutable and serialisable; one per certificate and process.

    `alarm` is None while it holds, and says in words what no longer does.
    """

    certificate: Certificate
    alarm: str | None = None
    seen: list[int] = field(default_factory=list)
    """Risks of the present block, in the certificate's bins."""
    evidence: list[float] = field(default_factory=lambda: [0.0] * len(BETS))
    outcomes: int = 0
    failures: float = 0.0

    def request(self, danger: float) -> None:
        """Takes in the least risk of one request, whatever became of it."""
        certificate = self.certificate
        if not self.seen:
            self.seen = [0] * len(certificate.counts)
        self.seen[bisect_right(certificate.edges, danger)] += 1
        if sum(self.seen) >= BLOCK:
            index = stability(certificate.counts, self.seen)
            if index > SHIFTED and self.alarm is None:
                self.alarm = f"the prompts are of another kind than at calibration (stability index {index:.2f})"
            self.seen = []

    def outcome(self, failed: float) -> None:
        """Takes in the outcome of one routed request: 1 where it failed and the strong model would not have.

        What the strong model would have done is often unknown; then its predicted probability of a right answer stands
        for a failure of the cheap one, and 0 for a success.
        """
        if not 0.0 <= failed <= 1.0:
            raise ValueError(f"an outcome is between 0 and 1, not {failed}")
        alpha = self.certificate.alpha
        self.outcomes += 1
        self.failures += failed
        for i, bet in enumerate(BETS):
            self.evidence[i] = (self.evidence[i] + 1.0) * (1.0 + bet / alpha * (failed - alpha))
        if self.alarm is None and sum(self.evidence) / len(BETS) >= PATIENCE:
            self.alarm = (
                f"more requests failed at a cheaper model than the floor allows "
                f"({self.failures:.0f} of {self.outcomes} since calibration, at most {alpha:.1%})"
            )


def stability(before: Sequence[int], now: Sequence[int]) -> float:
    """Returns the population stability index of two histograms, less its expectation when nothing has changed."""
    first, second = sum(before), sum(now)
    if not first or not second:
        return 0.0
    index = 0.0
    for a, b in zip(before, now, strict=True):
        was, present = (a + 0.5) / (first + 0.5 * len(before)), (b + 0.5) / (second + 0.5 * len(now))
        index += (present - was) * math.log(present / was)
    return max(0.0, index - (len(before) - 1) * (1 / first + 1 / second))


class Gate(Struct):
    """A certificate in force. `best` in `refuses` must be the certificate's strong model: nothing else was compared."""

    watch: Watch

    @property
    def strong(self) -> str:
        return self.watch.certificate.strong

    def refuses(self, cheaper: str, best: str, qualities: tuple[float, float]) -> str | None:
        """Returns why deployment `cheaper` may not answer instead of `best`; None when it may.

        `qualities`: the predicted probability of a right answer of each.
        """
        certificate = self.watch.certificate
        if self.watch.alarm is not None:
            return f"the floor no longer holds: {self.watch.alarm}"
        if best != certificate.strong:
            return f"the floor was calibrated against {certificate.strong}"
        if cheaper not in certificate.cheaper:
            return "the floor was not calibrated for it"
        if certificate.threshold is None:
            return "no cheaper model could be shown to keep the floor"
        danger = risk(*qualities)
        if danger > certificate.threshold:
            return f"risk {danger:.3f}, the floor allows {certificate.threshold:.3f}"
        return None


def find(
    certificates: Sequence[Certificate],
    floor: float,
    confidence: float,
    strong: str,
    cheaper: Sequence[str],
    predictor: str,
) -> Certificate:
    """Returns the least strict certificate that shows at least this floor with at least this confidence.

    Raises ConfigError where nothing was calibrated for it: a floor is never kept by guessing.
    """
    alpha, delta = 1.0 - floor, 1.0 - confidence
    hint = "freehold route train calibrates floors on your own outcomes"
    mine = [one for one in certificates if one.predictor == predictor]
    if not mine:
        other = "made for another predictor" if certificates else "no calibration data"
        raise ConfigError(f"a floor of {floor:g} is asked for, and there is {other}", hint=hint)
    fit = [one for one in mine if one.strong == strong and set(cheaper) <= set(one.cheaper)]
    if not fit:
        raise ConfigError(f"no floor was calibrated for {strong} against {', '.join(cheaper)}", hint=hint)
    kept = [one for one in fit if one.alpha <= alpha + 1e-9 and one.delta <= delta + 1e-9]
    if not kept:
        most = max(1.0 - one.alpha for one in fit)
        raise ConfigError(
            f"a floor of {floor:g} with confidence {confidence:g} was not calibrated",
            hint=f"{hint}; now up to {most:g}",
        )
    return max(kept, key=lambda one: (one.alpha, one.delta))
