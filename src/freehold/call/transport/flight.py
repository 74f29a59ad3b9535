"""The flight: one exchange with an upstream as its waiter sees it.

A flight carries the whole clock and cancellation logic of a request in two fields: `deadline`, read by a ticker that
looks at all flights together (no timer per request), and `waiter`, the one future its task is waiting on. `abort`
makes that wait end with an error, whatever it was: a connection, a response head, a body chunk, a pause.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from freehold.errors import FreeholdError

if TYPE_CHECKING:
    from freehold.call.retries import Fate
    from freehold.call.transport.wire import Connection


class Hold(Protocol):
    """A place among the requests of an owned engine."""

    reason: str
    """Why the engine was ended in the middle of its work; empty while nobody knows."""

    def leave(self, flight: "Flight") -> None:
        """The request is over."""

    def pass_on(self, old: "Flight", new: "Flight") -> None:
        """The place belongs to another flight of the same request from now on."""

    def answered(self, read: int, first: float, written: int, total: float) -> None:
        """A request was answered: tokens read, seconds to the first byte, tokens written, seconds to the end."""


class Known(Protocol):
    """What is known of a request: tokens, estimated, and whether its answer is streamed."""

    input_tokens: int
    output_tokens: int
    stream: bool


class Flight:
    """One request on its way: what may interrupt it, and when."""

    __slots__ = ("connection", "deadline", "failure", "fate", "hold", "key", "known", "sent", "started", "waiter")

    def __init__(self, started: float, key: str = "", known: Known | None = None) -> None:
        """`key`: whose request it is, for fair turns."""
        self.started = started
        """Loop time in seconds."""
        self.deadline = float("inf")
        self.waiter: asyncio.Future[None] | None = None
        self.failure: FreeholdError | None = None
        self.connection: Connection | None = None
        self.key = key
        self.known = known
        self.hold: Hold | None = None
        self.sent = 0.0
        """When the last attempt began, loop time in seconds."""
        self.fate: Fate = "unsent"
        """What became of the body of the last attempt that failed (call/retries.py)."""

    def let_go(self) -> None:
        """Gives back the place it holds at an engine, if any."""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold.leave(self)

    def abort(self, error: FreeholdError) -> None:
        """Ends the flight: what its task waits for, now or next, raises `error`; the upstream is cut off.

        A client that has left is not forgotten for anything else that ended an attempt.
        """
        if self.failure is None or error.fault == "caller":
            self.failure = error
        if self.connection is not None:
            self.connection.close()
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            if isinstance(waiter, asyncio.Task):
                waiter.cancel()
            else:
                waiter.set_exception(error)

    def interrupt(self, error: FreeholdError) -> None:
        """What its task waits for right now raises `error`; nothing else happens."""
        waiter = self.waiter
        if waiter is not None and not waiter.done() and not isinstance(waiter, asyncio.Task):
            waiter.set_exception(error)

    def recover(self) -> bool:
        """Takes the flight up again when only an attempt was ended, by a timeout or by another that was faster.
        Returns False when the request itself is over."""
        if self.failure is None or self.failure.fault == "caller":
            return self.failure is None
        self.failure = None
        self.deadline = float("inf")
        return True

    def take_over(self, other: "Flight") -> None:
        """Goes on with what `other`, a flight of the same request, has in hand: its connection, its place, its time.
        Raises the failure of a flight that is over."""
        if not self.recover():
            raise self.failure  # type: ignore[misc]
        self.deadline, self.sent = other.deadline, other.sent
        self.let_go()
        hold, other.hold = other.hold, None
        if hold is not None:
            hold.pass_on(other, self)
            self.hold = hold
        if other.connection is not None:
            other.connection.pass_on(self)

    async def wait(self, future: "asyncio.Future[None]") -> None:
        """Waits for `future`, so that `abort` can interrupt it."""
        if self.failure is not None:
            future.cancel()
            raise self.failure
        self.waiter = future
        try:
            await future
        except asyncio.CancelledError:
            if self.failure is not None:
                raise self.failure from None
            raise
        finally:
            self.waiter = None
