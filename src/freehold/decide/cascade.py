"""When it pays to ask a cheap model first, check its answer, and ask a better one on doubt.

A cascade pays the first model for every request and the second for those whose check had doubts. With

    c1, c2   expected prices of the first and of the better model (the price of an owned model moves with its load:
             decide/price.py; below capacity it is nearly nothing), k calls of the first, more than one where samples
             are compared
    q1, q2   the probabilities that their answers are right
    fp, fd   how the check errs: it passes a wrong answer (false pass), it doubts a right one (false doubt)

    P(doubt)  d = q1 fd + (1 - q1)(1 - fp)
    price     C = k c1 + d c2
    quality   Q = q1 (1 - fd) + d q2
    time      T = k t1 + d t2

against c2, q2, t2 of asking the better one at once. So it is cheaper where d < 1 - k c1/c2: published measurements find
cascades losing to routers (arXiv 2605.06350) where c1 is rented and d large; an owned model below capacity has
c1 = 0, and then any check that ever passes saves money. What is left to ask is whether quality holds:

    Q - q2 = q1 (1 - fd)(1 - q2) - (1 - q1) fp q2

Right answers that passed gain where the better model would have failed; wrong ones that passed lose where it would have
been right. Both models are taken to fail independently given the prompt; models fail on the same prompts more often
than that, which makes q2 on doubted prompts smaller, but as much for the direct call as for the cascade.

How a check errs is learned: `Reliability` counts what was found out, upon a prior that stands for a few requests and is
pessimistic where a check looks at form only. A schema passes wrong answers nearly as often as right ones.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, structs

from freehold.config.schema_routing import Cascade
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Candidate

PRIOR_WEIGHT = 12.0
"""Requests that the prior counts for, on each side."""
TOLERANCE = 0.01
"""Of quality: what a cascade may lose against the better model at once, where it is cheaper."""
MOST_COUNTED = 10_000.0
"""Requests remembered; then all counts are halved, so that a check that changes is noticed."""

_PRIORS: dict[str, tuple[float, float]] = {
    "complete": (0.95, 0.01),
    "json": (0.95, 0.01),
    "schema": (0.85, 0.01),
    "logprobs": (0.5, 0.05),
    "extract": (0.35, 0.15),
    "agree": (0.6, 0.05),
}
"""(fp, fd) of each check. Form says little of content, and an engine that enforces a schema breaks it rarely.
`logprobs` and `agree` lie between what bench/cascade.py measures on the model in the box for lax and strict thresholds;
`extract` is a guess. All of it is soon outweighed by what is counted."""


class Reliability(Struct):
    """What became of checked answers of one model on one route. `right` and `wrong` are known of few; `passed` and
    `doubted` count all, known or not."""

    passed_right: float = 0.0
    passed_wrong: float = 0.0
    doubted_right: float = 0.0
    doubted_wrong: float = 0.0
    passed: float = 0.0
    doubted: float = 0.0

    def checked(self, passed: bool) -> None:
        """An answer was checked, and nobody knows yet whether it was right."""
        if passed:
            self.passed += 1
        else:
            self.doubted += 1
        self._forget()

    def learned(self, passed: bool, right: bool) -> None:
        """It became known whether an answer was right that was checked."""
        name = f"{'passed' if passed else 'doubted'}_{'right' if right else 'wrong'}"
        setattr(self, name, getattr(self, name) + 1)
        self._forget()

    def errs(self, rule: Cascade) -> tuple[float, float]:
        """Returns (fp, fd): the means of the Beta posteriors."""
        false_pass, false_doubt = prior(rule)
        wrong = self.passed_wrong + self.doubted_wrong
        right = self.passed_right + self.doubted_right
        return (
            (false_pass * PRIOR_WEIGHT + self.passed_wrong) / (PRIOR_WEIGHT + wrong),
            (false_doubt * PRIOR_WEIGHT + self.doubted_right) / (PRIOR_WEIGHT + right),
        )

    def doubt(self, expected: float) -> float:
        """How often the check has doubts: what was counted, upon `expected`."""
        return (expected * PRIOR_WEIGHT + self.doubted) / (PRIOR_WEIGHT + self.passed + self.doubted)

    def _forget(self) -> None:
        if self.passed + self.doubted > MOST_COUNTED:
            for name in self.__struct_fields__:
                setattr(self, name, getattr(self, name) / 2)


NOTHING = Reliability()
"""Nothing known but the prior. Not to be counted on."""


def prior(rule: Cascade) -> tuple[float, float]:
    """(fp, fd) of several checks together: one doubt is enough, and they are taken to err independently."""
    false_pass, sure = 1.0, 1.0
    for check in rule.checks:
        passes, doubts = _PRIORS[check]
        false_pass *= passes
        sure *= 1.0 - doubts
    return false_pass, 1.0 - sure


def evidence(rule: Cascade, *, passed: bool) -> float:
    """How much a verdict says of an answer's being right, as the weight of an outcome: a person's word is 1.

    A doubt says something where the check seldom doubts right answers, a pass where it seldom passes wrong ones.
    """
    false_pass, false_doubt = prior(rule)
    return MOST_WEIGHT * (1 - false_pass if passed else 1 - false_doubt)


MOST_WEIGHT = 0.3


class Expected(Struct, frozen=True):
    """What a cascade comes to: US dollars with load, probability of a right answer, seconds; None where not known."""

    doubt: float
    price: float | None
    quality: float
    seconds: float | None


def expected(first: Candidate, better: Candidate, rule: Cascade, reliability: Reliability = NOTHING) -> Expected:
    """The formula at the top of this file; unknown qualities count as a half."""
    q1 = 0.5 if first.quality is None else first.quality
    q2 = 0.5 if better.quality is None else better.quality
    false_pass, false_doubt = reliability.errs(rule)
    doubt = q1 * false_doubt + (1 - q1) * (1 - false_pass)
    quality = q1 * (1 - false_doubt) + doubt * q2
    counted = reliability.doubt(doubt)
    calls = _calls(rule)
    return Expected(counted, _sum(first.price, better.price, calls, counted), quality,
                    _sum(first.seconds, better.seconds, calls, counted))  # fmt: skip


def _sum(first: float | None, better: float | None, calls: float, doubt: float) -> float | None:
    return None if first is None or better is None else calls * first + doubt * better


def _calls(rule: Cascade) -> float:
    """Calls of the first model: samples are drawn until they decide, which halves way between the least and all."""
    return 1.0 if "agree" not in rule.checks else (2.0 + rule.samples) / 2


def most_calls(rule: Cascade) -> int:
    """Calls that one request may come to, retries apart: what must be held against limits and budgets."""
    return 2 + (rule.samples - 1 if "agree" in rule.checks else 0)


def worth(direct: Candidate, cascade: Expected, quality: float | None, *, trusted: bool = False) -> str | None:
    """Why the cascade does not pay against asking `direct` at once, in words; None where it does.

    It pays where it is cheaper and loses no more than `TOLERANCE` of quality, or keeps `quality`, where that much is
    enough; or where it is better at no higher price. An unknown price says nothing against it. `trusted`: a person has
    named who answers first, and so has judged its quality; what is asked is whether it saves money.
    """
    held = direct.quality if direct.quality is not None else 0.5
    bar = held - TOLERANCE if quality is None else min(quality, held - TOLERANCE)
    if cascade.quality < bar and not trusted:
        return f"its answers would be right with {cascade.quality:.2f}, where {bar:.2f} is wanted"
    if cascade.price is None or direct.price is None:
        return None
    if cascade.price < direct.price or (cascade.price <= direct.price and cascade.quality > held):
        return None
    return f"with doubts in {100 * cascade.doubt:.0f} % of answers it would not be cheaper"


def learned(verdicts: Iterable[tuple[str, str, str, str, float]]) -> dict[tuple[str, str], Reliability]:
    """What a ledger knows of the checks: from (call, route, deployment, source of the outcome, its value 0 to 1).

    A call that has an outcome of source `cascade` and one of a better informed source counts; of several of those the
    last. Outcomes of source `retry` and `schema` are no better informed.
    """
    checks: dict[str, tuple[str, str, bool]] = {}
    truths: dict[str, bool] = {}
    for call, route, deployment, source, value in verdicts:
        if source == "cascade":
            checks[call] = (route, deployment, value >= 0.5)
        elif source not in ("retry", "schema"):
            truths[call] = value >= 0.5
    found: dict[tuple[str, str], Reliability] = {}
    for call, (route, deployment, passed) in checks.items():
        known = found.setdefault((route, deployment), Reliability())
        known.checked(passed)
        if call in truths:
            known.learned(passed, truths[call])
    return found


class Cascaded(Struct, frozen=True):
    """`order` as it is to be tried: who answers first, and who is asked on doubt. `reason` in words."""

    order: tuple[Deployment, ...]
    candidates: tuple[Candidate, ...]
    expected: Expected | None
    reason: str


Known = Callable[[str], Reliability]
"""What is known of the check of a deployment's answers, by its name."""


def cascaded(
    order: Sequence[Deployment],
    candidates: Sequence[Candidate],
    rule: Cascade,
    known: Known = lambda _: NOTHING,
    *,
    quality: float | None = None,
) -> Cascaded | str:
    """Puts who answers first to the front of the ranked `order`, or says why there is no cascade for this request.

    `candidates` are the thoughts on `order`, one each. `quality` is the predicted quality that the rules ask for. The
    better model is the best ranked of the others that is predicted to be better than the first, else the next.
    """
    if len(order) < 2:
        return "nobody could be asked on doubt"
    at = _first(order, candidates, rule)
    if isinstance(at, str):
        return at
    first = candidates[at]
    if rule.floor and (first.quality is None or first.quality < rule.floor):
        told = "unknown" if first.quality is None else f"{first.quality:.2f}"
        return f"{order[at].name} is predicted to be right with {told}, below {rule.floor:g}"
    rest = [index for index in range(len(order)) if index != at]
    better = next((index for index in rest if (candidates[index].quality or 0.0) > (first.quality or 0.0)), rest[0])
    rest.sort(key=lambda index: index != better)
    found = expected(first, candidates[better], rule, known(order[at].name))
    refused = worth(candidates[better], found, quality, trusted=rule.first is not None)
    if refused is not None:
        return f"{order[at].name} first does not pay: {refused}"
    places = [at, *rest]
    return Cascaded(
        tuple(order[index] for index in places),
        tuple(
            structs.replace(candidates[index], note="asked on doubt") if index == better else candidates[index]
            for index in places
        ),
        found,
        f"cascade: first {order[at].name}, checked by {', '.join(rule.checks)}, on doubt {order[better].name}",
    )


def _first(order: Sequence[Deployment], candidates: Sequence[Candidate], rule: Cascade) -> int | str:
    """The place of who answers first, or why nobody does."""
    if rule.first is not None:
        found = next((index for index, one in enumerate(order) if one.name == rule.first), None)
        return f"{rule.first} is not eligible" if found is None else found
    owned = [index for index, one in enumerate(order) if one.owned]
    if not owned:
        return "no owned model is eligible"
    priced = [(price, index) for index in owned if (price := candidates[index].price) is not None]
    return min(priced)[1] if priced else owned[0]
