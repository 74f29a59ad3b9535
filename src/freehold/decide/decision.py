"""What a decision comes to: who is tried in what order, who was dropped, and what was thought of each.

A Plan is data: the pipeline carries it out, and `explain`, the `x-freehold-plan` header and the ledger show it, all
from the same fields (decide/explain.py).
"""

from msgspec import Struct

from freehold.config.schema_routing import Cascade, Hedge
from freehold.decide.catalog import Deployment


class Drop(Struct, frozen=True):
    """A candidate that may not answer. `lasting` False: only its state right now stands against it, so asking again
    later may help. `code` names reasons that call for an answer of their own, such as `budget`."""

    deployment: str
    reason: str
    lasting: bool = True
    code: str = ""


class Ran(Struct, frozen=True):
    """Where a conversation ran last: `tokens` of its prompt are in that deployment's cache."""

    deployment: str
    tokens: int


class Candidate(Struct, frozen=True, gc=False):
    """What was thought of an eligible deployment; None where nothing is known.

    quality   predicted probability that its answer is right
    dollars   expected price of the call in US dollars, a cached prompt taken into account
    price     `dollars` and what its load adds: what the ranking compares (decide/price.py)
    seconds   expected until the answer is complete
    """

    name: str
    quality: float | None = None
    dollars: float | None = None
    price: float | None = None
    seconds: float | None = None
    chance: float = 0.0
    """The probability that it would be chosen, where chance is part of the choice."""
    note: str = ""
    """Why it is not among the first, where that is not its price."""


class Plan(Struct, frozen=True):
    """`attempts` in the order they are tried; `reason` says in a few words why the first is first."""

    attempts: tuple[Deployment, ...]
    reason: str
    dropped: tuple[Drop, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    """The same as `attempts`, with figures, where they were ranked."""
    route: str = ""
    """The name whose rules ranked them."""
    objective: str = ""
    propensity: float = 1.0
    """The probability with which the first was chosen, chance being part of the choice."""
    explored: bool = False
    """Chance chose, not the ranking."""
    hedge: Hedge | None = None
    cascade: Cascade | None = None
    """The first is asked first, and the others where its answer is doubtful."""
    notes: tuple[str, ...] = ()
    """What else there is to say of it."""
    ran: Ran | None = None
    """Where the conversation ran before."""
