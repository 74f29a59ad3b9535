"""Tickets: what a worker must show for each request that is to leave this machine in strict mode.

A worker has no way out. It hands each request to the egress process over a Unix-domain socket, with a ticket that says
what it is, where it goes, how sensitive it is and under which configuration it was allowed. The signature (HMAC-SHA256,
RFC 2104, under a key made at start) shows that a worker of this run wrote it; the digests tie it to one head and one
body; `expires` and `nonce` let it be used once. What the egress process then makes of it is its own affair
(egress/gate.py). Pure but for the clock, which is handed in.

On the wire, integers little-endian:

    to the egress process    u32 ticket, u32 head, u32 body: lengths; then those: MAC and msgpack; header lines; body
    back                     0x00 and the provider's answer, byte for byte, or
                             0x01, u32 length, msgpack of `Refusal`
"""

import hmac
import os
from collections.abc import Callable
from hashlib import sha256
from struct import Struct as Layout
from typing import Final, Literal

import msgspec
from msgspec import Struct

KEY_BYTES: Final = 32
MAC_BYTES: Final = 32
LIFE: Final = 30_000_000_000
"""Nanoseconds that a ticket is good for: a request waits no longer for the egress process to start again."""
SIZES: Final = Layout("<III")
LENGTH: Final = Layout("<I")
MAX_TICKET: Final = 32 * 1024
MAX_HEAD: Final = 64 * 1024
ANSWER: Final = b"\0"
REFUSED: Final = b"\1"

Kind = Literal["call", "ask", "fetch"]
"""call: a model is asked, and the body says something. ask: something kept by a provider is read or deleted, with no
body. fetch: what a URL in a request points at."""


class Ticket(Struct, array_like=True, frozen=True, gc=False):
    """One request, as its worker describes it."""

    kind: Kind
    nonce: bytes
    expires: int
    """Nanoseconds of the host's monotonic clock."""
    call: str
    """The call's id, as in its receipt; the request's id where it is a fetch."""
    provider: str
    deployment: str
    host: str
    """The Host header: name, and the port where it is not the usual one."""
    method: str
    path: str
    """With its query. Of a fetch: the whole URL."""
    label: str
    """As `labels` writes it; empty where nothing but a name goes out."""
    policy: str
    """Version of the configuration that allowed it."""
    head: bytes
    """SHA-256 of the header lines."""
    body: bytes
    """SHA-256 of the body."""
    size: int
    """Bytes of the body."""


class Refusal(Struct, array_like=True, frozen=True, gc=False):
    """Why nothing was sent, or no answer came. `error` is a class of errors.py that the worker may raise."""

    error: str
    message: str
    code: str
    status: int
    retry: str
    hint: str | None = None
    retry_after: float | None = None
    again: bool = False
    """The ticket is too old for an egress process that has just begun: the worker may write another."""
    fresh: bool = True
    """Whether the connection to the provider was a new one."""


class TicketError(ValueError):
    """A ticket that is not to be honoured; the message says why, `again` whether a new one may be."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class Writer:
    """Writes the tickets of one worker process. Not to be used after `fork`: nonces would repeat."""

    __slots__ = ("_count", "_encode", "_key", "_prefix")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of tickets has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._prefix = os.urandom(8)
        self._count = 0
        self._encode = msgspec.msgpack.Encoder().encode

    def nonce(self) -> bytes:
        """16 bytes that no other ticket of this run has."""
        self._count += 1
        return self._prefix + self._count.to_bytes(8, "little")

    def sealed(self, ticket: Ticket) -> bytes:
        """Returns the ticket with its signature before it."""
        words = self._encode(ticket)
        return hmac.digest(self._key, words, "sha256") + words


class Reader:
    """Checks tickets. `clock` is the monotonic clock in nanoseconds; those written before `since` are
    refused, because the nonces of that time were remembered by a process that is no more."""

    def __init__(self, key: bytes, clock: Callable[[], int], since: int = 0) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of tickets has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._clock = clock
        self._since = since + LIFE
        self._decode = msgspec.msgpack.Decoder(Ticket).decode
        self._used: set[bytes] = set()
        self._before: set[bytes] = set()
        self._turn = clock() + LIFE

    def read(self, sealed: bytes, head: bytes, body: bytes) -> Ticket:
        """Returns a ticket that is honoured now and never again. Raises TicketError."""
        words = sealed[MAC_BYTES:]
        if not hmac.compare_digest(hmac.digest(self._key, words, "sha256"), sealed[:MAC_BYTES]):
            raise TicketError("its signature is not that of a worker of this run")
        try:
            ticket = self._decode(words)
        except msgspec.MsgspecError as error:
            raise TicketError(f"it cannot be read: {error}") from error
        now = self._clock()
        if ticket.expires <= now:
            raise TicketError("it has expired", again=True)
        if ticket.expires > now + LIFE:
            raise TicketError("it lasts longer than tickets may")
        if ticket.expires < self._since:
            raise TicketError("it was written before this egress process began", again=True)
        if ticket.size != len(body) or sha256(body).digest() != ticket.body:
            raise TicketError("it belongs to another body")
        if sha256(head).digest() != ticket.head:
            raise TicketError("it belongs to other header lines")
        self._once(ticket.nonce, now)
        return ticket

    def _once(self, nonce: bytes, now: int) -> None:
        """Remembers nonces for as long as their tickets last, in two halves of which the older is thrown away."""
        if now >= self._turn:
            self._before, self._used = self._used if now < self._turn + LIFE else set(), set()
            self._turn = now + LIFE
        if nonce in self._used or nonce in self._before:
            raise TicketError("it was used before")
        self._used.add(nonce)


def framed(sealed: bytes, head: bytes, body: bytes) -> bytes:
    """Returns the bytes that a worker sends."""
    return b"%b%b%b%b" % (SIZES.pack(len(sealed), len(head), len(body)), sealed, head, body)


_REFUSAL = msgspec.msgpack.Decoder(Refusal)


def refused(refusal: Refusal) -> bytes:
    """Returns the bytes of an answer that is a refusal."""
    words = msgspec.msgpack.encode(refusal)
    return REFUSED + LENGTH.pack(len(words)) + words


def read_refusal(words: bytes) -> Refusal:
    """Raises ValueError for what is none."""
    return _REFUSAL.decode(words)
