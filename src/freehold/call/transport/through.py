"""The worker's end of strict mode: requests go to the egress process instead of to a provider.

A pool made with a `Through` opens its connections to the egress socket, a file: those work from any network namespace,
also from one without a way out. An `Outlet` is such a connection. It takes the same bytes as any other (request line,
Host, header lines, body), puts a signed ticket before them (ticket.py), and reads the same answer, since the egress
process passes the provider's bytes on as they are. A refusal becomes the failure of the flight.

The label in the ticket is that of the flight's request; a body whose flight has none is refused over there.
"""

import asyncio
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from freehold import errors
from freehold.call.transport.flight import Flight
from freehold.call.transport.ticket import ANSWER, LENGTH, LIFE, Kind, Refusal, Ticket, Writer, framed, read_refusal
from freehold.call.transport.wire import Connection
from freehold.errors import FreeholdError, InternalError, Retry
from freehold.labels import UNKNOWN

if TYPE_CHECKING:
    from freehold.call.transport.pool import Pool

_CALL: Final = b"x-client-request-id: "
_RAISED: Final = frozenset(
    {
        "BadRequest", "EngineError", "InternalError", "PolicyError", "UpstreamAuth", "UpstreamBroken", "UpstreamCut",
        "UpstreamLimited", "UpstreamOverloaded", "UpstreamRefused", "UpstreamTimeout", "UpstreamUnreachable",
    }
)  # fmt: skip
MAX_REFUSAL: Final = 64 * 1024
FETCH: Final = "FETCH"
"""In the place of a method: what the URL behind it points at is wanted (call/fetch_through.py)."""


class Way:
    """The way out of one worker process: the egress process's socket, and what tickets are written with.

    `version` is that of the newest configuration in force here.
    """

    def __init__(self, socket: Path, key: bytes, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Raises OSError where the socket's folder cannot be opened."""
        # A Unix socket's path has a hundred bytes at most; through a descriptor any folder is short.
        self._folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = f"/proc/self/fd/{self._folder}/{socket.name}"
        self.version = ""
        self.clock = clock
        self.writer = Writer(key)
        self._labels: dict[Any, str] = {}

    def label(self, flight: Flight, deployment: str) -> str:
        """The label under which a flight's request goes to a deployment, in words; empty where the flight has none.
        What was declassified for it counts."""
        known = flight.known
        if known is None:
            return ""
        leaving = getattr(known, "leaving", None)
        lowered = leaving(deployment) if leaving is not None else None
        label = lowered[0] if lowered is not None else getattr(known, "label", None) or UNKNOWN
        words = self._labels.get(label)
        if words is None:
            if len(self._labels) > 1000:
                self._labels.clear()
            words = self._labels[label] = str(label)
        return words

    def close(self) -> None:
        os.close(self._folder)


class Through(NamedTuple):
    """Whose requests a pool carries: `deployment` is a name `provider/model`, empty where no model is asked."""

    way: Way
    provider: str
    deployment: str = ""


class Outlet(Connection):
    """A connection to the egress process, for one exchange at a time, like any other connection."""

    __slots__ = ("_data", "_first", "_through", "_words")

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop, through: Through) -> None:
        super().__init__(pool, loop)
        self._through = through
        self._first = True
        self._words: bytearray | None = None
        self._data = b""

    def send(self, flight: Flight, data: bytes) -> None:
        """Starts an exchange: `data` is the whole request, head and body, as `request_head` writes it."""
        self._first = True
        self._words = None
        self._data = data  # kept until the answer begins, for an egress process that has just been started again
        super().send(flight, self._ticketed(flight, data))

    def _ticketed(self, flight: Flight, data: bytes) -> bytes:
        end = data.index(b"\r\n\r\n") + 4
        first = data.index(b"\r\n")
        second = data.index(b"\r\n", first + 2) + 2
        method, path, _ = data[:first].decode("latin-1").split(" ", 2)
        host = data[first + 8 : second - 2].decode("latin-1")
        head, body = data[second:end], data[end:]
        place = head.find(_CALL)
        call = ""
        if place >= 0:
            place += len(_CALL)
            call = head[place : head.index(b"\r\n", place)].decode("latin-1")
        through = self._through
        way = through.way
        label = way.label(flight, through.deployment)
        kind: Kind = "fetch" if method == FETCH else "call" if label or body else "ask"
        ticket = Ticket(
            kind, way.writer.nonce(), way.clock() + LIFE, call, through.provider,
            through.deployment, host, method, path, label, way.version, sha256(head).digest(), sha256(body).digest(),
            len(body),
        )  # fmt: skip
        return framed(way.writer.sealed(ticket), head, body)

    def data_received(self, data: bytes) -> None:
        if not self._first:
            super().data_received(data)
            return
        if self._words is None and data[:1] == ANSWER:
            self._first = False
            self._data = b""
            if len(data) > 1:
                super().data_received(data[1:])
            return
        if self._words is None:
            self._words = bytearray()
        self._words += data
        words = self._words
        if len(words) > MAX_REFUSAL:
            self.cut("the egress process talks nonsense")
            return
        if len(words) < 5:
            return
        (length,) = LENGTH.unpack_from(words, 1)
        if len(words) < 5 + length:
            return
        try:
            refusal = read_refusal(bytes(words[5 : 5 + length]))
        except ValueError:
            self.cut("the egress process talks nonsense")
            return
        self._refused(refusal)

    def _refused(self, refusal: Refusal) -> None:
        flight = self._flight
        if refusal.again and self._data and flight is not None and self._transport is not None and not self.closed:
            self._words = None
            data, self._data = self._data, b""
            self._transport.write(self._ticketed(flight, data))
            return
        self._data = b""
        if refusal.fresh:
            self.used = 1  # a cut says something of the provider only where its connection was new
        if flight is not None and flight.failure is None:
            flight.abort(raised(refusal))
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        flight = self._flight
        if self._first and flight is not None and flight.failure is None and not self.closed:
            flight.failure = gone()
        super().connection_lost(exc)


def raised(refusal: Refusal) -> FreeholdError:
    """Returns what a refusal is raised as here."""
    kind = getattr(errors, refusal.error) if refusal.error in _RAISED else InternalError
    made: FreeholdError = kind(
        refusal.message,
        hint=refusal.hint,
        status=refusal.status,
        code=refusal.code,
        retry=cast("Retry", refusal.retry),
        retry_after=refusal.retry_after,
    )
    return made


def gone() -> FreeholdError:
    """The egress process does not answer."""
    return InternalError(
        "the egress process does not answer: it is being started again",
        hint="send the request again",
        status=503,
        code="egress_down",
        retry="same",
        retry_after=1.0,
    )
