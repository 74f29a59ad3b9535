"""Ranks who may answer: what is predicted of each, what it costs now, how long it takes, and the rules in force.

Each candidate gets a probability that its answer is right (decide/predict), a price that moves with its load
(decide/price.py) and an expected time. Then

1. those over the price limit are dropped;
2. those that are good enough are told from the others. With a quality floor a calibrated gate decides
   (decide/floor.py). With `quality` the probability must reach it, or, where nobody's does, the best one's. With
   neither, it must reach `ENOUGH` of the best one's: a cheap model must be nearly as good, whatever the prompt;
3. the good ones are ordered by objective, then the others, the likeliest first: fallback goes through them in turn;
4. a preference of the role, the conversation's cache and a pin may move one to the front.

What is not known of a deployment is held against nobody, except its price: an unpriced one is the last resort of
`cheapest`, since nobody could say what it would cost.
"""

from collections.abc import Sequence

from msgspec import structs

from freehold.classify.facts import Facts
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Candidate, Drop
from freehold.decide.floor import Gate
from freehold.decide.policy import Policy
from freehold.decide.price import price
from freehold.decide.world import World

ENOUGH = 0.75
"""Of the best candidate's predicted quality, where the rules name none."""
NEAR = 1e-9
TURNS_AHEAD = 1.0
"""A conversation that has gone on is expected to go on for about one more turn."""

Ranked = tuple[list[Deployment], list[Candidate], list[Drop], str]


def rank(eligible: Sequence[Deployment], facts: Facts, policy: Policy, world: World, route: str = "") -> Ranked:
    """Returns deployments in order, what was thought of each, who was dropped over the price, and why the first is
    first. All of `eligible` is in one of the two. Raises ConfigError for a floor that nothing is calibrated for."""
    thoughts, dropped = _considered(eligible, facts, policy, world)
    if not thoughts:
        return [], [], dropped, "nobody is within the price"
    good, others, why = _good_enough(thoughts, policy, world, route)
    good.sort(key=_objective(policy, good))
    others.sort(key=lambda one: (-_quality(one), _price(one)))
    reason = f"{_WORDS[policy.objective]}{why}"
    if policy.prefer is not None:
        owned = policy.prefer == "owned"
        if any(one[0].owned == owned for one in good):
            good.sort(key=lambda one: one[0].owned != owned)
            reason = f"{policy.prefer} preferred, {reason}"
    ordered = good + others
    ran = world.ran
    if policy.sticky == "session" and ran is not None and _to_front(ordered, ran.deployment):
        reason = "its conversation is here"
    if policy.pin is not None:
        reason = "pinned" if _to_front(ordered, policy.pin) else f"its pin is not eligible, {reason}"
    return [one[0] for one in ordered], [one[1] for one in ordered], dropped, reason


_WORDS = {
    "cheapest": "the cheapest",
    "best": "the best",
    "fastest": "the fastest",
    "balanced": "the best balance",
}

Thought = tuple[Deployment, Candidate]


def _considered(
    eligible: Sequence[Deployment], facts: Facts, policy: Policy, world: World
) -> tuple[list[Thought], list[Drop]]:
    foresight, ran = world.foresight, world.ran
    if foresight is not None:
        qualities = foresight.quality(facts, eligible)
    else:
        qualities = [deployment.strength for deployment in eligible]
    thoughts, dropped = [], []
    for deployment, quality in zip(eligible, qualities, strict=True):
        seen = world.seen(deployment)
        cached = ran.tokens if ran is not None and ran.deployment == deployment.name and policy.sticky != "no" else 0
        priced = price(deployment, facts, seen, cached, policy.patience, ahead=TURNS_AHEAD if ran is not None else 0.0)
        dollars = priced.dollars if priced is not None else None
        if policy.price is not None and (dollars is None or dollars > policy.price):
            cost = "its price is not known" if dollars is None else f"about ${dollars:.3g} is expected"
            dropped.append(Drop(deployment.name, f"over the price limit of ${policy.price:g}: {cost}", code="price"))
            continue
        wait = max(0.0, seen.wait - policy.patience)
        seconds = None
        if seen.first is not None:
            seconds = wait + seen.first + (seen.per_token or 0.0) * facts.likely_output
        total = priced.total if priced is not None else None
        thoughts.append((deployment, Candidate(deployment.name, quality, dollars, total, seconds)))
    return thoughts, dropped


def _good_enough(
    thoughts: list[Thought], policy: Policy, world: World, route: str
) -> tuple[list[Thought], list[Thought], str]:
    """The good ones, the others, and the rule in words."""
    best = max(thoughts, key=lambda one: (_quality(one), -_price(one)[1]))
    highest = _quality(best)
    if policy.floor is not None and world.foresight is not None:
        gate = world.foresight.gate(policy.floor, policy.confidence, route)
        return *_kept(thoughts, gate), f" that keeps the floor of {policy.floor:g}"
    if policy.quality is not None:
        bar = min(policy.quality, highest)
        rule = f" with a predicted quality of {policy.quality:g}"
        if bar < policy.quality:
            rule += ", which nobody reaches"
    elif policy.objective == "best":
        return thoughts, [], "" if policy.price is None else f" within ${policy.price:g}"
    else:
        bar = enough([one[1] for one in thoughts])
        rule = " that is good enough"
    good = [one for one in thoughts if _quality(one) >= bar - NEAR]
    others = [_noted(one, f"predicted below {bar:.2f}") for one in thoughts if _quality(one) < bar - NEAR]
    return good, others, rule


def enough(candidates: Sequence[Candidate]) -> float:
    """The predicted quality that is good enough where the rules name none."""
    return ENOUGH * max((one.quality or 0.0 for one in candidates), default=0.0)


def _kept(thoughts: list[Thought], gate: Gate) -> tuple[list[Thought], list[Thought]]:
    """The strong model that the floor is measured by, with those that the gate lets answer in its place; the others.

    While the strong model cannot answer, it could not have done better either, and the others are all there is."""
    strong = next((one for one in thoughts if one[0].name == gate.strong), None)
    if strong is None:
        return thoughts, []
    good, others = [strong], []
    for one in thoughts:
        if one is strong:
            continue
        if _price(one) < _price(strong):
            refused = gate.refuses(one[0].name, gate.strong, (_quality(one), _quality(strong)))
        else:
            refused = f"no cheaper than {gate.strong}, which the floor is measured by"
        if refused is None:
            good.append(one)
        else:
            others.append(_noted(one, refused))
    return good, others


def _objective(policy: Policy, good: Sequence[Thought]):  # type: ignore[no-untyped-def]
    """Returns the sort key of the objective."""
    if policy.objective == "best":
        return lambda one: (-_quality(one), _price(one))
    if policy.objective == "cheapest":
        return lambda one: (_price(one), -_quality(one))
    times = sorted(one[1].seconds for one in good if one[1].seconds is not None)
    usual = times[len(times) // 2] if times else 1.0

    def seconds(one: Thought) -> float:
        return one[1].seconds if one[1].seconds is not None else usual

    if policy.objective == "fastest":
        return lambda one: (seconds(one), _price(one))
    weights = policy.weights
    dearest = max((one[1].price or 0.0 for one in good), default=0.0) or 1.0
    slowest = max((seconds(one) for one in good), default=0.0) or 1.0

    def worth(one: Thought) -> float:
        known = one[1].price
        cost = 1.0 if known is None else known / dearest
        return weights.quality * _quality(one) - weights.cost * cost - weights.latency * seconds(one) / slowest

    return lambda one: (-worth(one), _price(one))


def _quality(one: Thought) -> float:
    return one[1].quality or 0.0


def _price(one: Thought) -> tuple[bool, float]:
    known = one[1].price
    return (True, 0.0) if known is None else (False, known)


def _noted(one: Thought, note: str) -> Thought:
    return one[0], structs.replace(one[1], note=note)


def _to_front(ordered: list[Thought], name: str) -> bool:
    for index, one in enumerate(ordered):
        if one[0].name == name:
            ordered.insert(0, ordered.pop(index))
            return True
    return False
