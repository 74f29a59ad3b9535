"""From facts to a plan: drop who cannot or must not answer, rank who is left, say why.

Eligibility first, then rank: fallback and retry choose from `attempts` only, so a failure never widens the set.
"""

from collections.abc import Callable

from freehold.classify.facts import Facts
from freehold.decide.catalog import REASONS, Choice, Deployment, Drop, Plan

Health = Callable[[Deployment], str | None]
"""Returns why a deployment cannot be called right now, None when it can."""


def plan(facts: Facts, choice: Choice, health: Health) -> Plan:
    """Decides. An empty `attempts` means that nobody may answer; `dropped` then says why for each."""
    members = choice.members
    if choice.alone is not None and cannot(members[0], facts) is None and health(members[0]) is None:
        return choice.alone
    eligible: list[Deployment] = []
    dropped: list[Drop] = []
    for deployment in members:
        reason = cannot(deployment, facts)
        if reason is not None:
            dropped.append(Drop(deployment.name, reason))
        elif (state := health(deployment)) is not None:
            dropped.append(Drop(deployment.name, state, lasting=False))
        else:
            eligible.append(deployment)
    if choice.kind != "auto" or len(eligible) < 2:
        reason = REASONS[choice.kind] if eligible else "nobody is eligible"
        if dropped and eligible:
            reason += f", {len(dropped)} dropped"
        return Plan(tuple(eligible), reason, tuple(dropped))
    ranked, reason = rank(eligible, facts, choice.objective)
    return Plan(tuple(ranked), reason, tuple(dropped))


_OTHER = frozenset({"embeddings", "rerank", "moderations", "image_generation", "speech", "transcription"})
"""A model that can do nothing else is none for a conversation."""
_UNFIT: dict[str, frozenset[str]] = {"chat": _OTHER | {"completions"}, "completions": _OTHER}
"""What is not enough for the kind. A chat model answers completions by translation."""


def cannot(deployment: Deployment, facts: Facts) -> str | None:
    """Returns what makes `deployment` unable to answer, whatever its state; None when nothing is known against it."""
    can = deployment.can
    unfit = _UNFIT.get(facts.kind)
    if can is not None:
        if unfit is None:
            return None if facts.kind in can else f"cannot do {facts.kind.replace('_', ' ')}"
        if can and can <= unfit:
            return f"only does {', '.join(sorted(can)).replace('_', ' ')}"
        if not facts.needs <= can:
            return "cannot do " + ", ".join(sorted(facts.needs - can))
    context = deployment.context
    # The other kinds take many inputs at once, and the limit is one of each.
    if context is not None and facts.input_tokens > context and unfit is not None:
        return f"context of {context} tokens, the prompt is about {facts.input_tokens}"
    return None


def cost(deployment: Deployment, facts: Facts) -> float | None:
    """Returns the expected price of the call in US dollars, None when a rate is unknown."""
    if deployment.input_price is None or deployment.output_price is None:
        return None
    return (facts.input_tokens * deployment.input_price + facts.output_tokens * deployment.output_price) / 1e6


def rank(eligible: list[Deployment], facts: Facts, objective: str) -> tuple[list[Deployment], str]:
    """Orders for `auto`: those strong enough for the prompt by objective, then the others, strongest first.

    cheapest: by expected cost, unknown prices last. best: by strength. balanced: by strength per cost, that is,
    the cheapest among the stronger half of those that are strong enough.
    """
    hard = facts.difficulty or 0.0
    strong = [d for d in eligible if d.strength >= hard]
    weak = sorted((d for d in eligible if d.strength < hard), key=lambda d: -d.strength)
    level = f"difficulty {hard:.2f}" + (f" ({', '.join(facts.signs)})" if facts.signs else "")
    if not strong:
        return weak, f"{level}: none is declared strong enough, the strongest first"

    def price(deployment: Deployment) -> tuple[bool, float, float]:
        expected = cost(deployment, facts)
        return (expected is None, expected or 0.0, -deployment.strength)

    if objective == "best":
        strong.sort(key=lambda d: (-d.strength, price(d)))
        return strong + weak, f"{level}: the strongest"
    strong.sort(key=price)
    if objective == "balanced" and len(strong) > 1:
        half = sorted((d.strength for d in strong), reverse=True)[(len(strong) - 1) // 2]
        strong.sort(key=lambda d: (d.strength < half, price(d)))
        return strong + weak, f"{level}: the cheapest of the stronger half"
    return strong + weak, f"{level}: the cheapest that is strong enough"
