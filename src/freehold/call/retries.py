"""Which failed attempts may be made again, and where: one table, and the budget of repeats.

The rule: once the body of a request may have been accepted, the same provider does not get it again, because the first
one may still be running there and will be billed, and nobody would read its answer. Another deployment may get it: that
is a second paid call too, but it gives the client its answer, and there are never more of them than deployments in the
plan. So what counts is what became of the body (`Fate`) and what doing the work twice would mean (`Effects`):

              none                     cost                     keeps            acts
              embeddings, rerank,      a conversation           images, sound,   tools the provider runs itself,
              moderations, counts                               a stored answer  jobs, an Idempotency-Key
    unsent    same and other place     same and other           same and other   same and other
    refused   same and other           same and other           same and other   same and other
    failed    same and other           same and other           other            nowhere
    unknown   same and other           other                    other            nowhere
    answered  same and other           other                    other            nowhere
    hedged    yes                      yes                      no               no

The table says what may be done at all. Whether it can help is the error's own word (`FreeholdError.retry`): a context
that is too long is not sent to the same place again although it was plainly refused. What it never says is more than
`retries` and the budget allow. Owned engines are another matter: an engine is ours, so is its death, and a body that
died with it costs nothing; see `REPLAYS` in attempts.py.

unsent    no connection, no name, no TLS, no credentials, no room: nothing left this host
refused   the provider says that it did not take the work: 3xx, 4xx, 429, 503, 529
failed    the provider took it and says that it has failed: 500, an error in place of an answer. Nothing runs any more
unknown   silence, a cut, or what a proxy in between says (502, 504, 52x): the work may be going on
answered  a whole answer that is of no use

A kept connection that the server closes just when it is used looks like a cut, and is treated as one: nobody can tell
it from a server that read the request and died. Connections are given up before servers do so (pool.IDLE_SECONDS).

`Idempotency-Key`: a client that sends one asks for at most one execution. Such a request counts as `acts`, whatever it
is: it is sent out again only while it is sure that nobody took it. The key itself is neither stored nor passed on, and
no provider we know honours one on these paths; keys that an SDK makes up by itself (`stainless-...`) mean nothing.
"""

import random
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from freehold.errors import (
    CallerError,
    EngineError,
    FreeholdError,
    LossRefused,
    PolicyError,
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)

Fate = Literal["unsent", "refused", "failed", "unknown", "answered"]
Effects = Literal["none", "cost", "keeps", "acts"]

_ALL = frozenset[Effects]({"none", "cost", "keeps", "acts"})
_SAME: Mapping[Fate, frozenset[Effects]] = {
    "unsent": _ALL,
    "refused": _ALL,
    "failed": frozenset({"none", "cost"}),
    "unknown": frozenset({"none"}),
    "answered": frozenset({"none"}),
}
_OTHER: Mapping[Fate, frozenset[Effects]] = {
    "unsent": _ALL,
    "refused": _ALL,
    "failed": frozenset({"none", "cost", "keeps"}),
    "unknown": frozenset({"none", "cost", "keeps"}),
    "answered": frozenset({"none", "cost", "keeps"}),
}
HEDGED = frozenset[Effects]({"none", "cost"})
"""What may be asked twice at a time."""

_PLAIN = (500, 501, 505)
"""Server errors that the provider itself has sent, not a proxy before it."""


def fate(error: BaseException, *, sent: bool, status: int, told: bool = False) -> Fate:
    """What became of a body, as far as a failed attempt shows.

    `sent`: it was written to a connection. `status`: of the upstream's answer, 0 if none came. `told`: in a 200 the
    provider has itself reported a failure.
    """
    if not sent or isinstance(error, UpstreamUnreachable) or getattr(error, "code", "") == "upstream_connect_timeout":
        return "unsent"  # with an egress process in between, that there is no connection shows only after sending
    if isinstance(error, UpstreamRefused | UpstreamLimited | UpstreamAuth | UpstreamOverloaded) or status == 408:
        return "refused"
    if told or status in _PLAIN:
        return "failed"
    if status == 200 and isinstance(error, UpstreamBroken) and type(error) is UpstreamBroken:
        return "answered"
    return "refused" if 300 <= status < 500 else "unknown"


class Verdict(NamedTuple):
    """`same`: the same deployment may be asked again. `other`: another one may be."""

    same: bool
    other: bool


NOWHERE = Verdict(False, False)


def verdict(error: FreeholdError, became: Fate, effects: Effects) -> Verdict:
    """What may be done after a failed attempt, by the table above and by what can help."""
    if isinstance(error, LossRefused):
        return Verdict(False, True)  # what one cannot carry, another may
    if isinstance(error, CallerError | PolicyError) or error.retry == "no":
        return NOWHERE
    if isinstance(error, EngineError):
        return Verdict(error.retry == "same", True)
    if not isinstance(error, ProviderError):
        return NOWHERE
    return Verdict(effects in _SAME[became] and _passes(error, became), effects in _OTHER[became])


def _passes(error: ProviderError, became: Fate) -> bool:
    """Whether the same place may do better a moment later."""
    if error.retry == "same":
        return True
    if became == "unsent":
        return error.code in (UpstreamUnreachable.default_code, "upstream_connect_timeout")
    return isinstance(error, UpstreamBroken | UpstreamTimeout)


class Budget:
    """Repeats that a deployment may get: `share` of its recent calls, and `least` per second whatever they are.

    Without it `retries` multiply what a struggling provider has to do just when it can do least. A token bucket that
    is filled when it is asked, so that calls which succeed cost nothing (after Finagle's RetryBudget: 20 % of requests
    plus a few per second, over ten seconds).
    """

    __slots__ = ("_at", "_calls", "_least", "_most", "_share", "_tokens")

    def __init__(self, share: float = 0.2, least: float = 1.0, most: float = 20.0) -> None:
        """`most`: repeats that may be saved up."""
        self._share = share
        self._least = least
        self._most = self._tokens = most
        self._calls = 0
        self._at = 0.0

    def take(self, calls: int, now: float) -> bool:
        """Asks for one repeat. `calls`: begun since the start, repeats included; `now`: loop time in seconds."""
        earned = self._share * (calls - self._calls) + self._least * (now - self._at)
        self._tokens = min(self._most, self._tokens + earned)
        self._calls, self._at = calls, now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def pause(failure: FreeholdError, repeats: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds until a repeat: as long as the provider asked for, else half a second doubled each time; with jitter, so
    that those who failed together do not come back together."""
    if failure.retry_after is not None:
        return failure.retry_after * (1 + chance() / 4)
    return min(8.0, 0.5 * 2.0**repeats) * (0.5 + chance() / 2)
