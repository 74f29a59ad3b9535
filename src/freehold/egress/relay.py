"""The egress process's end of a worker's connection: a request with its ticket in, the provider's answer out.

One exchange at a time, as the worker's end has it. Nothing of a request is sent before all of it is there: the digest
in the ticket covers the whole body. A worker that closes its connection cuts the provider's off.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from hashlib import sha256
from struct import Struct as Layout
from typing import Final, cast

from freehold.call.auth import Auth
from freehold.call.clouds import Signing
from freehold.call.transport import Flight, Pool
from freehold.call.transport.ticket import (
    ANSWER,
    MAC_BYTES,
    MAX_HEAD,
    MAX_TICKET,
    SIZES,
    Reader,
    Refusal,
    Ticket,
    TicketError,
    refused,
)
from freehold.egress.fetching import fetched
from freehold.egress.gate import Door, Gate, Permit, Refused, refuse
from freehold.egress.records import Back, Fetched, Records, RefusedLine, Sent
from freehold.egress.upstream import Upstream
from freehold.errors import ConfigError, EngineError, FreeholdError

_CREDENTIALS: Final = Layout("iII")
"""`struct ucred` of SO_PEERCRED: process, user, group."""


class Egress:
    """What all connections share. `gate` is replaced when the configuration changes."""

    def __init__(
        self,
        gate: Gate,
        reader: Reader,
        records: Records,
        make_auth: Callable[[Signing], Auth],
        *,
        user: int,
        max_body: int,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`user`: whose processes may connect, as this one sees it. `max_body`: bytes of one request."""
        self.gate = gate
        self.reader = reader
        self.records = records
        self.user = user
        self.max_body = max_body
        self.peers: set[Peer] = set()
        self._context = context
        self._make_auth = make_auth
        self._auths: dict[Signing, Auth] = {}
        self._ways: dict[tuple[str, float, int], Pool] = {}

    def way(self, door: Door) -> Pool:
        endpoint = door.endpoint
        key = (endpoint.base_url, endpoint.timeouts.connect, endpoint.max_connections)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = Pool(
                door.origin,
                connect_timeout=endpoint.timeouts.connect,
                limit=endpoint.max_connections,
                context=self._context,
                kind=Upstream,
                opened=self.records.opened,
            )
        return way

    def auth(self, door: Door) -> Auth | None:
        """What signs requests to a provider, None where header lines do. Raises EngineError."""
        signing = door.signing
        if signing is None:
            return None
        auth = self._auths.get(signing)
        if auth is None:
            try:
                auth = self._auths[signing] = self._make_auth(signing)
            except ConfigError as error:
                raise EngineError(error.message, hint=error.hint, code="no_credentials", retry="other") from error
        return auth

    def close(self) -> None:
        """Cuts all connections, on both sides."""
        for peer in list(self.peers):
            peer.cut()
        for way in self._ways.values():
            way.shut()
        for auth in self._auths.values():
            auth.close()

    def replace(self, gate: Gate) -> None:
        """Another configuration is in force: its keys hold from the next request on."""
        self.gate = gate
        for auth in self._auths.values():
            auth.close()
        self._auths.clear()


class Peer(asyncio.Protocol):
    """One connection of a worker."""

    def __init__(self, egress: Egress, loop: asyncio.AbstractEventLoop) -> None:
        self._egress = egress
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._sizes: tuple[int, int, int] | None = None
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._flight: Flight | None = None
        self._upstream: Upstream | None = None
        self._fresh = True
        self._begun = False
        """Whether a byte of the answer has gone to the worker."""
        self._number = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        end = transport.get_extra_info("socket")
        told = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size) if end is not None else b""
        if len(told) != _CREDENTIALS.size or _CREDENTIALS.unpack(told)[1] != self._egress.user:
            transport.abort()
            return
        self._egress.peers.add(self)

    def data_received(self, data: bytes) -> None:
        if self._busy:
            self.cut()  # a worker waits for its answer; this is none of ours
            return
        self._buffer += data
        sizes = self._sizes
        if sizes is None:
            if len(self._buffer) < SIZES.size:
                return
            sizes = SIZES.unpack_from(self._buffer)
            if not MAC_BYTES < sizes[0] <= MAX_TICKET or sizes[1] > MAX_HEAD or sizes[2] > self._egress.max_body:
                self.cut()
                return
            self._sizes = sizes
        whole = SIZES.size + sum(sizes)
        if len(self._buffer) < whole:
            return
        if len(self._buffer) > whole:
            self.cut()
            return
        request = bytes(self._buffer)
        self._buffer.clear()
        self._sizes = None
        start, end = SIZES.size + sizes[0], SIZES.size + sizes[0] + sizes[1]
        self._busy = True
        self._request(request[SIZES.size : start], request[start:end], request[end:])

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._egress.peers.discard(self)
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.hearer = None
            self._settle(upstream, whole=False)
            upstream.close()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.hold()

    def resume_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.read_on()

    # a request

    def _request(self, sealed: bytes, head: bytes, body: bytes) -> None:
        egress = self._egress
        self._begun, self._fresh = False, True
        ticket: Ticket | None = None
        try:
            ticket = egress.reader.read(sealed, head, body)
            if ticket.kind == "fetch":
                egress.gate.fetch(ticket)
                self._task = self._loop.create_task(self._fetch(ticket, sealed, body))
                return
            permit = egress.gate.permit(ticket, head)
        except TicketError as error:
            self._refuse(refuse(str(error), "egress_ticket", again=error.again).refusal, ticket, sealed)
            return
        except Refused as error:
            self._refuse(error.refusal, ticket, sealed)
            return
        way = egress.way(permit.door)
        upstream = cast("Upstream | None", way.idle(self._loop.time()))
        if upstream is not None and permit.door.signing is None:
            self._send(upstream, Flight(self._loop.time()), permit, None, sealed, body)
        else:
            self._task = self._loop.create_task(self._open(way, upstream, permit, sealed, body))

    async def _open(self, way: Pool, upstream: Upstream | None, permit: Permit, sealed: bytes, body: bytes) -> None:
        flight = Flight(self._loop.time())
        try:
            auth = self._egress.auth(permit.door)
            if auth is not None and not auth.ready(now := time.time()):
                await auth.refresh(now)
            if upstream is None or upstream.closed:
                upstream = cast("Upstream", await way.acquire(flight))
        except FreeholdError as error:
            self._refuse(_told(error), permit.ticket, sealed)
            return
        except OSError as error:
            self._refuse(_unwritten(error), permit.ticket, sealed)
            return
        except BaseException:
            if upstream is not None:
                upstream.close()
            raise
        finally:
            self._task = None
        if self._transport is None:
            upstream.close()
            return
        self._send(upstream, flight, permit, auth, sealed, body)

    def _send(
        self, upstream: Upstream, flight: Flight, permit: Permit, auth: Auth | None, sealed: bytes, body: bytes
    ) -> None:
        records, ticket = self._egress.records, permit.ticket
        head = permit.head(auth, body, time.time())
        records.number += 1
        self._number = records.number
        try:
            records.write(
                Sent(
                    records.now(), records.number, ticket.call, ticket.provider, ticket.host, len(body), len(head),
                    sha256(sealed).hexdigest(), ticket.label, ticket.policy, ticket.deployment,
                )
            )  # fmt: skip
        except OSError as error:
            upstream.close()
            self._refuse(_unwritten(error), None, sealed)
            return
        self._fresh = upstream.used == 0
        self._flight, self._upstream = flight, upstream
        upstream.begin(self, flight, head + body)

    async def _fetch(self, ticket: Ticket, sealed: bytes, body: bytes) -> None:
        records = self._egress.records
        try:
            records.write(
                Fetched(
                    records.now(), ticket.call, ticket.host, len(ticket.path), sha256(sealed).hexdigest(), ticket.label
                )
            )
            answer = await fetched(ticket.path, body, records.opened)
        except FreeholdError as error:
            self._refuse(_told(error), ticket, sealed)
            return
        except OSError as error:
            self._refuse(_unwritten(error), ticket, sealed)
            return
        finally:
            self._task = None
        if self._transport is not None:
            self._busy = False
            self._transport.write(ANSWER + answer)

    # the answer

    def heard(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._begun:
            transport.write(data)
        else:
            self._begun = True
            transport.write(ANSWER + data)

    def over(self, upstream: Upstream) -> None:
        self._upstream = None
        whole = upstream.complete
        reusable = whole and upstream.keep_alive
        self._settle(upstream, whole=whole)
        if not self._begun:
            self._refuse(_cut(upstream, fresh=self._fresh), None, b"")
            return
        self._busy = False
        if not reusable and self._transport is not None:
            self._transport.close()  # for the worker, too, an answer may end where its connection does

    def _settle(self, upstream: Upstream, *, whole: bool) -> None:
        records = self._egress.records
        records.keep(Back(records.now(), self._number, upstream.received, upstream.status, whole))
        upstream.finish()

    def _refuse(self, refusal: Refusal, ticket: Ticket | None, sealed: bytes) -> None:
        records = self._egress.records
        if refusal.error in ("PolicyError", "InternalError"):
            records.keep(
                RefusedLine(
                    records.now(), refusal.code, refusal.message,
                    ticket.call if ticket else "", ticket.provider if ticket else "", ticket.host if ticket else "",
                    sha256(sealed).hexdigest() if sealed else "",
                )
            )  # fmt: skip
        self._busy = False
        if self._transport is not None:
            self._transport.write(refused(refusal))

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _told(error: FreeholdError) -> Refusal:
    """An error of ours, to be raised again by the worker."""
    kind = next((one for one in type(error).__mro__ if one.__module__ == FreeholdError.__module__), FreeholdError)
    return Refusal(kind.__name__, error.message, error.code, error.status, error.retry, error.hint, error.retry_after)


def _cut(upstream: Upstream, *, fresh: bool) -> Refusal:
    reason = upstream.broken or "the provider closed the connection without an answer"
    return Refusal("UpstreamCut", reason, "upstream_broken", 502, "other", fresh=fresh)


def _unwritten(error: OSError) -> Refusal:
    return Refusal(
        "InternalError", f"the egress process cannot write its record: {error.strerror or error}", "egress_record",
        503, "no", "free disk space; nothing leaves that cannot be recorded",
    )  # fmt: skip
