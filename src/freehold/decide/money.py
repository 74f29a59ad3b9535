"""What a call may cost, held against what is left of a key's budget.

The worst case counts: a call is let through only where its longest allowed answer can be paid for. What is left comes
from outside, in US dollars; NaN stands for "nobody knows", and then only what costs nothing, or runs on one's own
machines, may answer. Where a price is not known, no budget could be kept to, so a key with a budget does not get it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from freehold.classify.facts import Facts
from freehold.config.budgets import Budget, ends
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Drop
from freehold.dialects.conversation import Usage
from freehold.errors import RateLimited

BUDGET = "budget"
"""The code of a `Drop` for want of money."""
Denial = tuple[str, bool, str]
"""Reason, whether it lasts, code."""

_UNKNOWN: Denial = (
    "what the key has spent of its budget is not known right now, so only what is free or owned may answer",
    False,
    "spending_unknown",
)
_UNPRICED: Denial = ("its price is not known, so the key's budget could not be kept to", True, "price_unknown")


def at_most(deployment: Deployment, facts: Facts) -> float | None:
    """Returns the most that the call may cost in US dollars, None where a price is not known."""
    into, out = deployment.input_price, deployment.output_price
    if into is None or (out is None and facts.output_tokens):
        return None
    return (facts.input_tokens * into + facts.output_tokens * (out or 0.0)) / 1e6


def charged(deployment: Deployment, usage: Usage) -> float:
    """Returns about what a finished call cost in US dollars. The ledger's own figure replaces it within seconds."""
    into, out, cached = deployment.input_price or 0.0, deployment.output_price or 0.0, deployment.cached_price
    written = usage.cache_write_5m + usage.cache_write_1h
    read = usage.cache_read * (into if cached is None else cached)
    return ((usage.uncached + written) * into + read + usage.output * out) / 1e6


def unaffordable(deployment: Deployment, facts: Facts, left: float) -> Denial | None:
    """Returns why a key with `left` dollars of its budget may not use `deployment`, None when it may."""
    dollars = at_most(deployment, facts)
    if dollars is None:
        return None if deployment.owned else _UNPRICED
    if dollars == 0.0 or dollars <= left:
        return None
    if left != left:
        return None if deployment.owned else _UNKNOWN
    has = f"has {in_dollars(left)} left" if left > 0 else "is spent"
    return f"the key's budget {has}, this may cost {in_dollars(dollars)}", True, BUDGET


def short_of_money(dropped: Iterable[Drop]) -> bool:
    """Whether money alone keeps the request from being answered: somebody could, and waiting would not help."""
    codes = [drop.code for drop in dropped if drop.code == BUDGET or not drop.lasting]
    return bool(codes) and all(code == BUDGET for code in codes)


def quota_spent(asked: str, reasons: str, budget: Budget, now: float) -> RateLimited:
    """Returns the error for it: OpenAI's `insufficient_quota`, which no SDK repeats. `now` is Unix time in seconds."""
    again = datetime.fromtimestamp(ends(budget.period, now), UTC)
    return RateLimited(
        f"nobody can answer as {asked!r} within the key's budget of {budget} ({reasons})",
        hint=f"it begins anew on {again:%Y-%m-%d} at 00:00 UTC; a cheaper or an owned model may still answer",
        code="insufficient_quota",
        retry="no",
    )


def in_dollars(dollars: float) -> str:
    """Returns an amount with the two digits that say most: `$12.40`, `$0.0031`."""
    if dollars >= 1:
        return f"${dollars:,.2f}"
    text = f"{dollars:.2g}" if dollars >= 1e-4 else f"{dollars:.6f}".rstrip("0").rstrip(".")
    return f"${text}"
