"""The circuit breaker of one deployment.

    closed --`failures` in a row, or `trip`--> open --after a while--> half open: one call may try
      ^                                         ^                              |
      +-------------- it succeeds --------------+----------- it fails ---------+

The while is `cooldown`, then twice, three times as long and so on, at most `LONGEST` times, as Envoy's outlier
detection does it (base_ejection_time times the number of ejections); after as long a time without trouble it is short
again. A stream is a trial that has succeeded when its content begins, but then one that breaks is enough to open again.

A group of one has a breaker too: failing fast with a clear 503 is kinder than queueing behind a dead provider. Time
is passed in, so that a test needs no waiting.
"""

LONGEST = 4
"""Times the cooldown."""


class Breaker:
    __slots__ = ("_open_until", "_opened", "_trying_until", "cooldown", "failures", "limit", "tripped")

    def __init__(self, failures: int, cooldown: float) -> None:
        self.limit = failures
        self.cooldown = cooldown
        self._open_until = 0.0
        self._opened = 0
        """How often in a row, without a good while in between."""
        self._trying_until = 0.0
        self.failures = 0
        """In a row; 0: there is nothing to be told of a success."""
        self.tripped = False
        """Not closed: only then is there anything to ask it."""

    def blocks(self, now: float) -> float:
        """Returns for how many more seconds no call may be made, 0.0 when one may."""
        if not self.tripped:
            return 0.0
        return max(0.0, self._open_until - now, self._trying_until - now)

    def rested(self, now: float) -> bool:
        """Whether the while is over, so that a success counts."""
        return now >= self._open_until

    def begin(self, now: float) -> None:
        """A call starts. In the half-open state it is the one trial: others wait for it, at most one cooldown."""
        if self.tripped:
            self._trying_until = now + self.cooldown

    def begun(self) -> None:
        """The answer to a call has begun well, and may still break off."""
        if self.tripped:
            self._trying_until = 0.0
            self.tripped = False
            self.failures = self.limit - 1

    def succeed(self) -> None:
        if self.failures:
            self.failures = 0
            self._trying_until = 0.0
            self.tripped = False

    def fail(self, now: float) -> None:
        self.failures += 1
        self._trying_until = 0.0
        if self.failures >= self.limit:
            self.trip(now)

    def trip(self, now: float) -> None:
        """Opens it. A call that was under way when it opened and fails only now does not make the while longer."""
        self.failures = max(self.failures, self.limit)
        if self.tripped and now < self._open_until:
            return
        good = now - self._open_until if self._opened else 0.0
        self._opened = 1 if good >= LONGEST * self.cooldown else min(LONGEST, self._opened + 1)
        self.tripped = True
        self._open_until = now + self._opened * self.cooldown

    def abandon(self) -> None:
        """A call ended without telling anything of the deployment's health (the client left)."""
        self._trying_until = 0.0
