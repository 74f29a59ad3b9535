"""A connection to a provider whose answer is passed on as it comes, byte for byte.

The parser runs along only to know where an answer ends, so that the connection can serve another request. What comes
is written to the worker's connection at once; when that one is full, nothing more is read here until it is not.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from freehold.call.transport import Connection, Pool

if TYPE_CHECKING:
    from freehold.call.transport import Flight


class Hearer(Protocol):
    """Who gets an answer (relay.py)."""

    def heard(self, data: bytes) -> None:
        """Bytes of the answer."""

    def over(self, upstream: "Upstream") -> None:
        """The answer has ended as it should, or the connection has."""


class Upstream(Connection):
    """`hearer` gets the present answer."""

    __slots__ = ("_reading", "hearer", "received")

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(pool, loop)
        self.hearer: Hearer | None = None
        self.received = 0
        """Bytes of the present answer."""
        self._reading = True

    def begin(self, hearer: Hearer, flight: "Flight", data: bytes) -> None:
        """Sends a request whose answer goes to `hearer`."""
        self.hearer = hearer
        self.received = 0
        self.send(flight, data)

    def data_received(self, data: bytes) -> None:
        hearer = self.hearer
        if hearer is None or self.complete:
            self.close()
            return
        self.received += len(data)
        hearer.heard(data)
        super().data_received(data)
        if self.complete or self.closed:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end()

    def _end(self) -> None:
        hearer, self.hearer = self.hearer, None
        if hearer is not None:
            self.read_on()
            hearer.over(self)

    def on_body(self, body: bytes) -> None:
        """Nothing is kept here."""

    def hold(self) -> None:
        """Reads nothing until `read_on`: the worker is slower than the provider."""
        if self._reading and self._transport is not None and not self.closed:
            self._reading = False
            self._transport.pause_reading()

    def read_on(self) -> None:
        if not self._reading:
            self._reading = True
            if self._transport is not None and not self.closed:
                self._transport.resume_reading()
