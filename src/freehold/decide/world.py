"""What a decision may ask of the world around it. Every answer is passed in, so a decision stays a function: the same
facts, rules and answers give the same plan, in the gateway, in `freehold explain` and when a policy is replayed.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from freehold.classify.facts import Facts
from freehold.decide.cascade import NOTHING as UNTRIED
from freehold.decide.cascade import Reliability
from freehold.decide.catalog import Deployment
from freehold.decide.decision import Ran
from freehold.decide.floor import Gate
from freehold.decide.signals import NOTHING, Seen

Health = Callable[[Deployment], str | None]
"""Returns why a deployment cannot be called right now, None when it can."""
Denied = Callable[[Deployment], "tuple[str, bool, str] | None"]
"""Returns why this caller's request may not go to a deployment, whether that lasts, and a code; None when it may."""


class Foresight(Protocol):
    """What is predicted of the answers to a prompt."""

    def quality(self, facts: Facts, deployments: Sequence[Deployment]) -> Sequence[float]:
        """The probability that each one's answer is right."""

    def gate(self, floor: float, confidence: float, route: str) -> Gate:
        """The gate that keeps a route's quality floor. Raises ConfigError where nothing is calibrated for it."""


def nobody(_: Deployment) -> None:
    """Denies nobody; nobody is ill."""
    return


class World(Struct):
    """`now` is Unix time in seconds; `chance` returns a random number from 0 to 1."""

    health: Health = nobody
    denied: Denied = nobody
    seen: Seen = lambda _: NOTHING
    foresight: Foresight | None = None
    ran: Ran | None = None
    reliable: Callable[[str], Reliability] = lambda _: UNTRIED
    """How the checks of a cascade did on a deployment's answers."""
    now: float = 0.0
    chance: Callable[[], float] = lambda: 0.5
    lot: Callable[[], float] | None = None
    """Instead of `chance` where requests are split: the same for all of a session, or a key."""
