"""Bounded exploration: a small share of the requests goes to another candidate, with a probability that is kept.

What is never tried is never learned of, and a log in which each request had one possible answer can only be replayed
under the policy that wrote it. So with `explore` on, the usual choice keeps `1 - share` of the requests, and the rest
is spread over the candidates that the rules allow:

    allowed   predicted at most `quality` below the usual choice, expected to cost at most `price` US dollars more
    chance    share * (EVEN / n + (1 - EVEN) * softmax of predicted quality at TEMPERATURE)

The even part keeps every chance above `share * EVEN / n`, and so the weights 1 / chance of an off-policy estimate
(measure/routing/offpolicy.py) bounded. One random number decides both whether and what, and the chances are a function
of what is recorded, so a propensity is exact, not estimated. Nobody allowed, or no `explore`: the usual choice has 1.

What is not known counts as not allowed where a rule asks for it: an unpriced candidate is not explored under a limit of
price, and one without a prediction not beside one that has it.
"""

import math
from collections.abc import Callable, Sequence

from msgspec import structs

from freehold.config.schema_routing import Explore
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Candidate

EVEN = 0.5
"""Of the explored share, what is spread evenly."""
TEMPERATURE = 0.1
"""Of predicted probability: a candidate that much likelier to be right is explored e times as often."""
_NEAR = 1e-12


def chances(candidates: Sequence[Candidate], rules: Explore | None, *, refused: bool = True) -> tuple[float, ...]:
    """Returns the probability of each candidate to be chosen, given the usual order; the sum is 1.

    `refused` False: those that carry a note, because something stands against them such as the gate of a quality floor,
    are not explored.
    """
    if not candidates:
        return ()
    usual, *others = candidates
    allowed = [] if rules is None else [one for one in others if _allowed(one, usual, rules, refused)]
    if rules is None or not allowed:
        return (1.0, *(0.0 for _ in others))
    best = max(one.quality or 0.0 for one in allowed)
    weights = {one.name: math.exp(((one.quality or 0.0) - best) / TEMPERATURE) for one in allowed}
    total, even = sum(weights.values()), EVEN / len(allowed)
    spread = {name: rules.share * (even + (1 - EVEN) * weight / total) for name, weight in weights.items()}
    return (1.0 - rules.share, *(spread.get(one.name, 0.0) for one in others))


def explored(
    order: Sequence[Deployment],
    candidates: Sequence[Candidate],
    rules: Explore | None,
    chance: Callable[[], float],
    *,
    refused: bool = True,
) -> tuple[list[Deployment], list[Candidate], float, bool]:
    """Returns deployments and candidates with the chosen one first and the others as they were, the probability with
    which it was chosen, and whether it is another than the usual one. Each candidate carries its `chance`.

    `order` and `candidates` are in the usual order, one for one. `chance` is asked once, for a number from 0 to 1 that
    must not depend on anything that the order was made from.
    """
    odds = chances(candidates, rules, refused=refused)
    shown = [structs.replace(one, chance=odd) for one, odd in zip(candidates, odds, strict=True)]
    chosen = _drawn(odds, chance()) if rules is not None and len(odds) > 1 and odds[0] < 1.0 else 0
    deployments = list(order)
    if chosen:
        deployments.insert(0, deployments.pop(chosen))
        shown.insert(0, shown.pop(chosen))
    return deployments, shown, odds[chosen] if odds else 1.0, chosen > 0


def _allowed(one: Candidate, usual: Candidate, rules: Explore, refused: bool) -> bool:
    if one.note and not refused:
        return False
    if usual.quality is not None and (one.quality is None or one.quality < usual.quality - rules.quality - _NEAR):
        return False
    if rules.price is None:
        return True
    return one.dollars is not None and one.dollars - (usual.dollars or 0.0) <= rules.price + _NEAR


def _drawn(odds: Sequence[float], drawn: float) -> int:
    """The place whose interval holds `drawn`; what rounding leaves over belongs to the usual choice."""
    upper = 0.0
    for place, odd in enumerate(odds):
        upper += odd
        if drawn < upper:
            return place
    return 0
