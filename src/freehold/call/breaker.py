"""The circuit breaker of one deployment.

    closed --`failures` in a row--> open --after `cooldown`--> half open: one call may try
      ^                               ^                             |
      +--------- it succeeds ---------+------- it fails ------------+

A group of one has a breaker too: failing fast with a clear 503 is kinder than queueing behind a dead provider. Time
is passed in, so that a test needs no waiting.
"""


class Breaker:
    __slots__ = ("_cooldown", "_failures", "_limit", "_open_until", "_trying_until", "tripped")

    def __init__(self, failures: int, cooldown: float) -> None:
        self._limit = failures
        self._cooldown = cooldown
        self._failures = 0
        self._open_until = 0.0
        self._trying_until = 0.0
        self.tripped = False
        """Not closed: only then is there anything to ask it."""

    def blocks(self, now: float) -> float:
        """Returns for how many more seconds no call may be made, 0.0 when one may."""
        if not self.tripped:
            return 0.0
        return max(0.0, self._open_until - now, self._trying_until - now)

    def begin(self, now: float) -> None:
        """A call starts. In the half-open state it is the one trial: others wait for it, at most one cooldown."""
        if self.tripped:
            self._trying_until = now + self._cooldown

    def succeed(self) -> None:
        if self._failures:
            self._failures = 0
            self._trying_until = 0.0
            self.tripped = False

    def fail(self, now: float) -> None:
        self._failures += 1
        self._trying_until = 0.0
        if self._failures >= self._limit:
            self.tripped = True
            self._open_until = now + self._cooldown

    def abandon(self) -> None:
        """A call ended without telling anything of the deployment's health (the client left)."""
        self._trying_until = 0.0
