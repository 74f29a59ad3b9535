"""What comes of an attempt, and how it is written down.

Several attempts of a request may be open at a time (hedge.py), so each has an `Entry` of its own. A stream is an answer
as soon as it has begun, and has failed if it then breaks: its deployment's `Watch` is told at its end (`Answer.over`).
"""

from typing import Protocol

from freehold.call.counted import Counted
from freehold.call.operation import Relay
from freehold.call.target import Target
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import FreeholdError, UpstreamLimited, UpstreamRefused

BYTES_PER_TOKEN = 4
"""Where an answer was cut off before its provider counted it."""


class Entry(Protocol):
    """One attempt as it is written down: its id, Unix time in nanoseconds, microseconds until its first content, bytes
    of what was answered."""

    call: str
    began: int
    first: int
    received: int

    def also(self, body: bytes) -> None:
        """Writes down one more body, before it is sent."""

    def end(
        self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None, lost: str = ""
    ) -> None:
        """Settles it, once: later settlements do nothing. `lost`: names of fields that were not carried across."""


class Recorder(Protocol):
    """Writes down each attempt. `begin` raises when it cannot be written: then nothing may be called. `why` says in a
    word why there is an attempt after the first, `body` is what is sent. `fetching` writes down that a server is asked
    for what a URL points at (`inline.Noted`); it raises like `begin`. `may_fetch` raises PolicyError for a URL that the
    request's label does not let out."""

    def begin(self, target: Target, attempt: int, why: str, body: bytes) -> Entry: ...

    def fetching(self, host: str, url: str) -> None: ...

    def may_fetch(self, url: str) -> None: ...


class Overtaken(FreeholdError):
    """Another attempt at the same request has answered first. Never seen by a client."""

    default_code = "hedge_lost"


class Answer:
    """What came of a plan. A whole answer has `body`; a stream has `relay`, its `first` client bytes, `connection`."""

    __slots__ = (
        "_over", "attempts", "began", "body", "connection", "content_type", "entry", "first", "losses", "passes",
        "receipt", "relay", "sent", "status", "target",
    )  # fmt: skip

    def __init__(
        self, target: Target, attempts: int, losses: Losses, entry: Entry, sent: float, passes: bool = False
    ) -> None:
        self.target = target
        self.attempts = attempts
        self.status = 0
        self.losses = losses
        self.entry = entry
        self.sent = sent
        """Loop time in seconds."""
        self.began = 0.0
        """When its first content came, loop time in seconds; 0.0 for a whole answer."""
        self.passes = passes
        """The client's own dialect was spoken upstream."""
        self.content_type: bytes | None = None
        """The client's Content-Type, where it is not the dialect's usual one."""
        self.body = b""
        self.receipt: Receipt | None = None
        self.relay: Relay | None = None
        self.first = b""
        self.connection: Counted | None = None
        self._over = False

    def started(self, now: float) -> None:
        """The first content of a stream that was committed to before has come."""
        self.began = now
        self.target.watch.streams(now - self.sent, now)

    def over(self, failure: FreeholdError | None, now: float) -> None:
        """A stream has ended, well or with `failure`; `now` is loop time. Gives its connection back. Once only."""
        connection, relay = self.connection, self.relay
        if self._over:
            return
        self._over = True
        if connection is not None:
            connection.finish()
        watch = self.target.watch
        if failure is None:
            usage = relay.usage if relay is not None else None
            if usage is not None:
                tokens = usage.output
            else:
                tokens = relay.output_bytes // BYTES_PER_TOKEN if relay is not None else 0
            watch.succeed(now, 0.0, tokens, now - (self.began or now))
        elif blamed(failure, self.target, self.status):
            watch.fail(now, self.sent, crowded=False)
        else:
            watch.leave(now, self.sent)

    def drop(self, now: float, known: int) -> None:
        """Nobody wants this answer: cuts it off and settles it. `known`: tokens of its prompt, estimated."""
        receipt, relay = self.receipt, self.relay
        if relay is not None:
            self.over(Overtaken("another answer came first"), now)
        usage = receipt.usage if receipt is not None else cut_off(relay, known)
        self.entry.end("cancelled", self.status, usage, Overtaken.default_code, receipt)


def cut_off(relay: Relay | None, known: int) -> Usage:
    """What an answer that we cut off has cost: what its provider has said so far, else the prompt and what came."""
    if relay is not None and relay.usage is not None:
        return relay.usage
    size = relay.output_bytes if relay is not None else 0
    return Usage(uncached=known, output=size // BYTES_PER_TOKEN, estimated=True)


def blamed(error: BaseException, target: Target, status: int) -> bool:
    """Whether a failure speaks against the deployment. A refused request does not, and whether an owned engine still
    works is for the steward to judge."""
    if not isinstance(error, FreeholdError) or error.fault not in ("provider", "engine"):
        return False
    if isinstance(error, UpstreamRefused | UpstreamLimited):
        return False
    return target.engine is None or status >= 500
