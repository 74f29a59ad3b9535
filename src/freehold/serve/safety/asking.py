"""A call in an answer about which a person is asked (`action: ask` in `checks.tools`).

A stream is read on to its end while the call is kept back, with all that comes behind it; then the person is asked, and
the client's connection is kept alive. What was read is read once more, by rules under which the call is approved: up to
the call that gives what has been shown already, and from there on it is new. Denied, expired or not to be asked: the
answer ends before the call, as a blocked one does.

A whole answer waits the same way, and is written anew where the person has said yes.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from freehold.admit.keys import Principal
from freehold.call.talk import Translation
from freehold.check.stream import EventGuard, Verdict
from freehold.classify import Facts
from freehold.dialects.conversation import Event, Finished
from freehold.errors import ClientGone, PolicyError
from freehold.labels import Label
from freehold.serve.exchange import Exchange
from freehold.serve.safety.approvals import Question

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

Ask = Callable[[Sequence[Verdict]], Awaitable[bool]]
"""Whether a person lets a call through that these verdicts stopped."""


def asker(gateway: "Gateway", exchange: Exchange, principal: Principal, known: Facts) -> Ask:
    """Returns what asks about the answer to one request."""

    async def ask(verdicts: Sequence[Verdict]) -> bool:
        kinds = sorted({verdict.type for verdict in verdicts})
        label = known.label or Label()
        question = Question(kinds, label, label, (), known.asked, about="a tool's call in the answer")
        try:
            await gateway.shared.approvals.ask(gateway, exchange, principal, question, exchange.body)
        except ClientGone:
            raise
        except PolicyError:
            return False
        return True

    return ask


def stopped(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts about which a person is to be asked."""
    return [verdict for verdict in verdicts if verdict.action == "ask"]


class AskingReader:
    """A StreamReader behind a guard, like `check.stream.GuardedReader`; `settle` is to be called at its end. `make`
    makes the guard, with or without approval of the calls that are asked about."""

    def __init__(self, reader: Any, make: Callable[[bool], EventGuard], ask: Ask) -> None:
        self._reader = reader
        self._make = make
        self._ask = ask
        self._current = make(False)
        self._events: list[Event] = []
        """All that was read."""
        self._shown = 0
        """How many of the events that came of it were let go."""
        self.waiting = False
        """A call is kept back, and whoever reads this has more to say once a person has been asked."""
        self.check: Callable[[list[Event]], list[Event]] | None = None
        """What else looks at events that were kept back."""

    @property
    def guard(self) -> "AskingReader":
        return self

    @property
    def blocked(self) -> Verdict | None:
        """What has ended the answer; None while a person may still be asked."""
        return None if self.waiting else self._current.blocked

    @property
    def complete(self) -> bool:
        return self.blocked is not None or bool(self._reader.complete)

    def feed(self, chunk: bytes) -> list[Event]:
        return self._passed(self._reader.feed(chunk))

    def close(self) -> list[Event]:
        out = self._passed([] if self.blocked is not None else self._reader.close())
        return out if self.waiting else out + self._current.close()

    def _passed(self, events: list[Event]) -> list[Event]:
        self._events += events
        if self.waiting:
            return []
        out = self._current.feed(events)
        verdict = self._current.blocked
        if verdict is not None and verdict.action == "ask":
            self.waiting = True
            ends = (at for at, one in enumerate(out) if isinstance(one, Finished) and one.finish == "content_filter")
            out = out[: next(ends, len(out))]
        self._shown += len(out)
        return out

    async def settle(self, relay: Translation) -> bytes:
        """Asks where something is to be asked; returns what more the client gets. Raises ClientGone."""
        if not self.waiting:
            return b""
        granted = await self._ask(stopped(self._current.verdicts))
        guard = self._current if not granted else self._make(True)
        out = guard.feed(self._events) if granted else self._make(False).feed(self._events)
        out = [*out[self._shown :], *guard.close()]
        self.waiting, self._current = False, guard
        return relay.resumed(out if self.check is None else self.check(out))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current if name in _OF_GUARD else self._reader, name)


_OF_GUARD = frozenset({"bytes", "figures", "label", "unchecked", "verdicts"})
