"""A policy tried on the ledger: what past requests would have cost, how long they would have taken, how good their
answers would have been, and what would have left the house. Nobody is called.

Every request of a window is decided again by the code that routes (again.py). Where the first choice is the same, what
happened stands. Where it is another,

    cost      its prices on the tokens that were used; tokens read from a prompt cache count as cached, because a policy
              that sends a conversation elsewhere lets it be cached there
    seconds   the medians of its own calls in the window: time to the first token, and per token after it
    quality   what is foreseen, for all requests that left a reading (`direct`); and, of those that were rated, what the
              log itself says, as far as it can (offpolicy.py)

Compared are the same requests on both sides: those of which a figure is known for both. How many were left out, and
why, is part of the report. Failures and fallbacks of other choices are not foreseen; a cascade costs its first answer.
"""

import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from freehold.decide import Catalog, Deployment, Plan
from freehold.decide.money import charged
from freehold.decide.signals import Signals
from freehold.dialects.conversation import Usage
from freehold.measure.routing.again import Again, Book
from freehold.measure.routing.offpolicy import Interval, Judged, Trial, bootstrap, judge
from freehold.record.outcomes import Past

MOST = 50_000
"""Requests that are decided again; of more, a random sample."""
LEAST_TIMES = 5
"""Calls of a deployment below which their times say nothing of the next."""
MOST_REASONS = 10


class Compared(Struct, frozen=True):
    """A figure of the log and of the policy, over `requests` of which both are known; `change` is the difference."""

    requests: int
    log: Interval
    policy: Interval
    change: Interval


class Seconds(Struct, frozen=True):
    """Seconds until answers were complete."""

    requests: int
    log_median: float
    policy_median: float
    log_p95: float
    policy_p95: float
    change: Interval
    """Of the mean."""


class Moved(Struct):
    """Requests and tokens (in and out) of one label, by where they were and would have been answered."""

    label: str
    leave: int = 0
    """Owned before, rented now."""
    leave_tokens: int = 0
    stay: int = 0
    """Rented before, owned now."""
    stay_tokens: int = 0
    rented_before: int = 0
    rented_now: int = 0
    requests: int = 0


class Reason(Struct, frozen=True):
    why: str
    requests: int


class Replayed(Struct):
    """The report. Money is US dollars, per request unless a name says otherwise."""

    requests: int
    """In the window."""
    decided: int
    """Of them, decided again: all, or a random sample."""
    from_readings: int
    """Of those, the ones that a route had decided, whose facts and predictions are in the ledger."""
    changed: int
    """Whose first choice is another."""
    cost: Compared | None
    cost_total: Interval | None
    """What the policy would have changed in the whole window, below 0: saved."""
    unpriced: int
    seconds: Seconds | None
    untimed: int
    direct: Compared | None
    """Predicted quality."""
    unforeseen: int
    rated: Judged
    rated_log: float | None
    """Mean of what was rated, as it was."""
    predicted_log: float | None
    """Mean of what is predicted of the same answers: how far `direct` is off where it can be checked."""
    moved: list[Moved] = field(default_factory=list)
    nobody: int = 0
    """Requests that nobody could answer."""
    reasons: list[Reason] = field(default_factory=list)
    choices: dict[str, tuple[int, int]] = field(default_factory=dict)
    """First choices: requests before, requests now."""
    cascades: int = 0
    """Requests that would have begun a cascade."""
    split: bool = False
    """Chance is part of the policy."""


class _Case(Struct, gc=False):
    """One request, as it was and as it would be; None: not known."""

    past: Past
    was: str
    now: str
    owned: bool
    same: bool
    costs: tuple[float, float] | None
    seconds: tuple[float, float] | None
    qualities: tuple[float, float] | None


def replay(
    requests: Iterable[Past],
    book: Book,
    *,
    most: int = MOST,
    seed: int = 0,
    ask: str | None = None,
) -> Replayed:
    """Decides past requests again under `book`. `ask`: what conversations ask for instead of what they did."""
    sample, total = _sample(requests, most, seed)
    speeds = speeds_of(sample)
    again = Again(book, speeds, seed=seed, ask=ask)
    cases: list[_Case] = []
    reasons: Counter[str] = Counter()
    cascades, split = 0, False
    for past in sample:
        decision, why = again.plan(past)
        if decision is None or not decision.attempts:
            reasons[why or _why(decision)] += 1
            continue
        cascades += decision.cascade is not None
        split = split or decision.reason.startswith("split")
        cases.append(_case(past, decision.attempts[0], again, book.catalog, speeds))
    report = _report(cases, len(sample), total, seed)
    report.nobody = reasons.total()
    report.reasons = [Reason(why, count) for why, count in reasons.most_common(MOST_REASONS)]
    report.cascades, report.split = cascades, split
    return report


def speeds_of(sample: Sequence[Past]) -> dict[str, Signals]:
    """Returns median times of the deployments that answered often enough: of streams to the first token and per token
    after it, and where there are too few of them, of whole answers per token."""
    firsts: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    whole: dict[str, list[float]] = {}
    for past in sample:
        if not past.answered or past.attempts > 1 or past.total_us <= 0:
            continue
        if past.stream and past.output > 1:
            firsts.setdefault(past.answered, []).append(past.first_us / 1e6)
            rates.setdefault(past.answered, []).append(max(0, past.total_us - past.first_us) / 1e6 / (past.output - 1))
        elif past.output:
            whole.setdefault(past.answered, []).append(past.total_us / 1e6 / past.output)
    found = {}
    for name in firsts.keys() | whole.keys():
        if len(firsts.get(name, ())) >= LEAST_TIMES:
            found[name] = Signals(first=statistics.median(firsts[name]), per_token=statistics.median(rates[name]))
        elif len(whole.get(name, ())) >= LEAST_TIMES:
            found[name] = Signals(first=0.0, per_token=statistics.median(whole[name]))
    return found


def _sample(requests: Iterable[Past], most: int, seed: int) -> tuple[list[Past], int]:
    """A uniform random sample of at most `most` (Vitter's algorithm R), and how many there were."""
    source = random.Random(seed)  # noqa: S311  for statistics
    kept: list[Past] = []
    total = 0
    for past in requests:
        total += 1
        if len(kept) < most:
            kept.append(past)
        elif (place := source.randrange(total)) < most:
            kept[place] = past
    return kept, total


def _case(past: Past, chosen: Deployment, again: Again, catalog: Catalog, speeds: dict[str, Signals]) -> _Case:
    was, now = _first(past), chosen.name
    same = was == now
    return _Case(
        past,
        was,
        now,
        past.owned if same else chosen.owned,
        same,
        _costs(past, chosen, same=same),
        _seconds(past, now, same=same, speeds=speeds),
        _both(again.quality(past, was), again.quality(past, now)),
    )


def _first(past: Past) -> str:
    """Who was chosen, whoever answered in the end."""
    decision = past.decision
    return decision.candidates[0].name if decision is not None and decision.candidates else past.deployment


def _costs(past: Past, chosen: Deployment, *, same: bool) -> tuple[float, float] | None:
    if past.cost is None:
        return None
    before = past.cost / 1e9
    if same:
        return before, before
    if not past.answered or chosen.input_price is None or chosen.output_price is None:
        return None  # nobody knows how many tokens it would have taken
    usage = Usage(past.uncached, past.cached, past.written, output=past.output)
    return before, charged(chosen, usage)


def _seconds(past: Past, now: str, *, same: bool, speeds: dict[str, Signals]) -> tuple[float, float] | None:
    if not past.answered or not past.total_us:
        return None
    before = past.total_us / 1e6
    if same:
        return before, before
    speed = speeds.get(now)
    if speed is None:
        return None
    return before, (speed.first or 0.0) + (speed.per_token or 0.0) * past.output


def _both(before: float | None, after: float | None) -> tuple[float, float] | None:
    return None if before is None or after is None else (before, after)


def _why(decision: Plan | None) -> str:
    """Why nobody may answer, in words that many requests share: figures are made nought."""
    dropped = decision.dropped if decision is not None else ()
    text = "; ".join(f"{drop.deployment}: {_alike(drop.reason)}" for drop in dropped)
    return text or "it has no deployment"


def _alike(reason: str) -> str:
    return " ".join("N" if word.strip("$,.").replace(".", "").isdigit() else word for word in reason.split(" "))


def _report(cases: list[_Case], decided: int, total: int, seed: int) -> Replayed:
    costs = [case.costs for case in cases if case.costs is not None]
    seconds = [case.seconds for case in cases if case.seconds is not None]
    qualities = [case.qualities for case in cases if case.qualities is not None]
    cost = _compared(costs, seed)
    trials = [_trial(case) for case in cases if case.past.value is not None]
    checked = [(case.past.value, case.qualities[0]) for case in cases if case.past.value is not None and case.qualities]
    choices = Counter(case.was for case in cases), Counter(case.now for case in cases)
    return Replayed(
        requests=total,
        decided=decided,
        from_readings=sum(case.past.decision is not None for case in cases),
        changed=sum(not case.same for case in cases),
        cost=cost,
        cost_total=_scaled(cost.change, total * len(costs) / decided) if cost is not None else None,
        unpriced=len(cases) - len(costs),
        seconds=_times(seconds, seed),
        untimed=len(cases) - len(seconds),
        direct=_compared(qualities, seed),
        unforeseen=len(cases) - len(qualities),
        rated=judge(trials, seed=seed),
        rated_log=_mean([trial.reward for trial in trials]),
        predicted_log=_mean([predicted for _, predicted in checked]),
        moved=_moved(cases),
        choices={name: (choices[0][name], choices[1][name]) for name in sorted(choices[0] | choices[1])},
    )


def _compared(pairs: list[tuple[float, float]], seed: int) -> Compared | None:
    if not pairs:
        return None
    rows = [(1.0, before, after) for before, after in pairs]
    log, policy, change = bootstrap(rows, lambda s: (s[1] / s[0], s[2] / s[0], (s[2] - s[1]) / s[0]), seed=seed)
    return Compared(len(pairs), log, policy, change)


def _times(pairs: list[tuple[float, float]], seed: int) -> Seconds | None:
    compared = _compared(pairs, seed)
    if compared is None:
        return None
    before, after = sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)
    ninety_fifth = min(len(pairs) - 1, math.ceil(0.95 * len(pairs)) - 1)
    return Seconds(
        len(pairs),
        statistics.median(before),
        statistics.median(after),
        before[ninety_fifth],
        after[ninety_fifth],
        compared.change,
    )


def _scaled(interval: Interval, times: float) -> Interval:
    return Interval(interval.value * times, interval.low * times, interval.high * times)


def _trial(case: _Case) -> Trial:
    """A rated request. Predictions that are missing are the rating's own mean guess: no opinion."""
    decision = case.past.decision
    logged, direct = case.qualities or (0.5, 0.5)
    chances = {one.name: one.chance for one in decision.candidates} if decision is not None else {}
    return Trial(
        case.past.value or 0.0,
        decision.propensity if decision is not None else 1.0,
        case.same,
        case.same or chances.get(case.now, 0.0) > 0,
        logged,
        direct,
    )


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _moved(cases: list[_Case]) -> list[Moved]:
    """By label, the most moved first."""
    found: dict[str, Moved] = {}
    for case in cases:
        past = case.past
        moved = found.setdefault(past.label, Moved(past.label))
        tokens = past.uncached + past.cached + past.written + past.output
        moved.requests += 1
        moved.rented_before += not past.owned
        moved.rented_now += not case.owned
        if past.owned and not case.owned:
            moved.leave += 1
            moved.leave_tokens += tokens
        elif case.owned and not past.owned:
            moved.stay += 1
            moved.stay_tokens += tokens
    return sorted(found.values(), key=lambda moved: (-moved.leave, -moved.stay, moved.label))
