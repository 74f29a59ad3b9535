"""What is seen of a deployment right now: the one thing a decision knows that the configuration does not.

Filled by serve/pressure.py from engines, attempts and the rate-limit headers of providers; read by the ranker. Every
field has a value that means "nothing known", and what is not known is held against nobody.
"""

from collections.abc import Callable

from msgspec import Struct

from freehold.decide.catalog import Deployment


class Signals(Struct, gc=False):
    """Times are seconds, shares 0 to 1."""

    inflight: int = 0
    """Requests it works on, as far as this process knows."""
    slots: int | None = None
    """Requests it can work on at a time: an engine's places, or what was learned of a provider."""
    queue: int = 0
    """Requests that wait for it."""
    kv: float = 0.0
    """Share of an engine's key-value cache in use."""
    first: float | None = None
    """Expected time to the first token when nothing waits."""
    per_token: float | None = None
    """Expected time per output token after it."""
    wait: float = 0.0
    """Expected time until it begins to work on one more request: its queue, or the loading of its engine."""
    left: float | None = None
    """Share of the provider's rate limit that is left."""
    reset: float | None = None
    """Time until the rate limit is whole again."""
    failing: float = 0.0
    """Share of its recent calls that failed."""


NOTHING = Signals()
Seen = Callable[[Deployment], Signals]
"""Returns the signals of a deployment."""
