"""An answer that may be changed or ended on its way to the client because of what is in it.

So may a request: what may not be seen where it goes has something else in its place (`Cover`), and the operation makes
what it sends of that, for each target anew: there is no other way to a conversation that goes out than `seen_by`.

What is looked for is said elsewhere (`check/stream`); here stands where it takes hold: on the canonical reply or
events, between the provider's dialect and the client's. An answer that would have passed through as it came is
therefore read and, as a stream or where something was changed, written anew in its own dialect.
"""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from freehold.call.operation import Prepared, Relay, Ways
from freehold.decide.catalog import Deployment
from freehold.dialects.conversation import Conversation, Reply
from freehold.dialects.embeddings import EmbeddingRequest
from freehold.dialects.receipt import Receipt


class Guard(Protocol):
    """One request's. `reply` returns the reply as it may be shown, the same object where nothing was changed; `reader`
    a StreamReader that lets through what may be seen. `seen` is `reply` for who only wants to know. `again` is set to
    what reads the last whole answer once more."""

    again: Callable[[], bytes] | None

    def reply(self, reply: Reply) -> Reply: ...

    def seen(self, reply: Reply) -> Reply: ...

    def reader(self, reader: Any) -> Any: ...


class Cover(Protocol):
    """What stands in the place of a request for whoever may not see it as it is. One request's."""

    guard: Guard
    """What the answers of those are read through, so that the client gets back what it has sent."""

    @property
    def conversation(self) -> Conversation: ...

    @property
    def texts(self) -> EmbeddingRequest:
        """In the place of a request for embeddings."""

    def hides(self, deployment: Deployment) -> bool:
        """Whether `deployment` may only see this."""


def opened(
    prepared: Prepared,
    language: ModuleType,
    guard: Guard,
    ways: Ways,
    translation: Callable[[Any, Callable[[str, str], Any]], Relay],
    model: str,
    *,
    include: bool,
) -> Prepared:
    """`prepared`, a passed-through attempt in `language`, with its answer read through `guard`. `translation` makes a
    relay of a reader and what makes a writer; `include`: whether the client wants the usage in its stream."""
    pass_on = prepared.read

    def read(answer: bytes) -> tuple[bytes, Receipt]:
        passed, receipt = pass_on(answer)
        reply = language.read_reply(answer)
        guard.again = lambda: read(answer)[0]
        shown = guard.reply(reply)
        if shown is reply:
            return passed, receipt
        shown.model = shown.model or model
        return language.write_reply(shown, prepared.losses, int(time.time()), **ways.write), receipt

    def relay() -> Relay:
        created = int(time.time())

        def writer(identity: str, named: str) -> Any:
            return language.StreamWriter(identity, named or model, created, include, **ways.write, **ways.stream)

        return translation(guard.reader(language.StreamReader()), writer)

    prepared.read, prepared.relay = read, relay
    return prepared
