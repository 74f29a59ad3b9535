"""The egress guard: fetches what a URL in a client's request points at (an image, a sound, a file).

A URL that a stranger chose is an order to this machine to open a connection wherever he likes: to a database beside it,
a cloud's metadata server, its own control port. So, in this order, and for each redirect anew:

1. the URL is plain: https (http only where the configuration allows it), a port from the list, no credentials;
2. its host is resolved once; every address must be public (addresses.py). An answer with one that is not is refused
   whole: no honest host is both;
3. the connection goes to an address out of that answer and to no other, so that a second answer of the resolver (DNS
   rebinding) is never asked for. TLS is verified against the host's name all the same;
4. nothing of the client or of this gateway is sent along: no cookie, no key, no referrer, and no encoding is accepted
   that could unpack into something large;
5. size, type and time are bounded, and an image must be one: its type is read off its first bytes, not believed.

Whatever goes wrong is the caller's `BadRequest`; its message says the same of a name that does not exist and of one
that leads inside, so that names inside a network cannot be told apart from outside. The caller bounds how many URLs one
request may have, and fills in `param`.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from msgspec import Struct

from freehold import __version__
from freehold.call.addresses import is_public
from freehold.call.sniff import media_type
from freehold.call.transport import Connection, Flight, Origin, Pool, Through, request_head
from freehold.call.transport.pool import Opened, only_here
from freehold.errors import BadRequest, ProviderError, UpstreamTimeout, UpstreamUnreachable

LONGEST_URL = 8192
MOST_ADDRESSES = 3
"""Addresses of one host that are tried, one after the other."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9.])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_HEADERS = [
    (b"User-Agent", f"freehold/{__version__}".encode()),
    (b"Accept", b"image/*, audio/*, application/pdf, text/plain"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, for a port; OSError where there are none."""


Hop = Callable[[str], "Awaitable[Fetched]"]


class UrlLimits(Struct, frozen=True):
    """What a fetch may cost and where it may go.

    `seconds` is for all of it: names, connections, redirects, the last byte. `types` are whole media types, or a prefix
    that ends in a slash. `allowed` judges an address; only tests have a reason to change it. `context` is for a CA of
    one's own.
    """

    max_bytes: int = 20 * 1024 * 1024
    seconds: float = 10.0
    redirects: int = 3
    http: bool = False
    """Whether plain http, on port 80, is allowed too."""
    ports: frozenset[int] = frozenset({443})
    types: tuple[str, ...] = ("image/", "audio/", "application/pdf", "text/plain")
    allowed: Callable[[str], bool] = is_public
    context: ssl.SSLContext | None = None
    opened: Opened | None = None
    """Is told of each connection."""
    through: Through | None = None
    """In strict mode: the way to the egress process, which fetches (call/fetch_through.py)."""


class Fetched(NamedTuple):
    """`media_type` is what the first bytes say where they say it, else what the server said, without parameters."""

    media_type: str
    data: bytes


class Moved(Exception):  # not an error
    """The server names another place."""

    def __init__(self, location: str) -> None:
        self.location = location


async def system_resolver(host: str, port: int) -> list[str]:
    """What the operating system says, in its order of preference."""
    found = await asyncio.get_running_loop().run_in_executor(_lookups(), _look_up, host, port)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@lru_cache(maxsize=1)
def _lookups() -> ThreadPoolExecutor:
    """Threads of their own: a stranger's slow name server must not hold up the names of providers."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="fetch-url-dns")


def _look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))


async def fetch_url(
    url: str, *, limits: UrlLimits, resolver: Resolver = system_resolver, hop: Hop | None = None
) -> Fetched:
    """Raises BadRequest, without a `param`, where the URL is refused or cannot be fetched.

    `hop` makes one exchange in the place of `fetch_one`, and raises Moved where there is a redirect."""
    try:
        async with asyncio.timeout(limits.seconds):
            for _ in range(limits.redirects + 1):
                try:
                    return await (hop(url) if hop is not None else fetch_one(url, limits, resolver))
                except Moved as moved:
                    url = _follow(url, moved.location)
    except TimeoutError:
        raise _refused(f"The URL could not be fetched within {limits.seconds:g} seconds.") from None
    raise _refused(f"The URL redirects more than {limits.redirects} times.")


async def fetch_one(url: str, limits: UrlLimits, resolver: Resolver) -> Fetched:
    """One exchange, no redirects followed. Raises Moved, BadRequest, PolicyError where nothing may leave."""
    origin, path = parse_url(url, limits)
    only_here(origin.host, "send the data itself")  # before its name is asked for
    failure: ProviderError | None = None
    for address in (await _resolve(origin, limits, resolver))[:MOST_ADDRESSES]:
        try:
            return await _exchange(origin, path, address, limits)
        except (UpstreamUnreachable, UpstreamTimeout) as error:
            failure = error
        except ProviderError as error:
            raise _refused(f"The URL could not be fetched: {origin.host} did not answer properly.") from error
    what = "its certificate is not valid" if failure and failure.code == "upstream_tls" else "there is no connection"
    raise _refused(f"The URL could not be fetched: {what} ({origin.host}).") from failure


# The URL


def parse_url(url: str, limits: UrlLimits) -> tuple[Origin, str]:
    """Where to go, and the path with its query. Raises BadRequest."""
    if len(url) > LONGEST_URL:
        raise _refused(f"The URL is over {LONGEST_URL:,} characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("The URL is malformed.") from None
    schemes = ("https", "http") if limits.http else ("https",)
    if parts.scheme not in schemes:
        raise _refused(
            f"Only {' and '.join(schemes)} URLs are fetched, not {parts.scheme[:20] or 'one without scheme'!r}."
        )
    if _UNSAFE.search(url):
        raise _refused("The URL holds a space, a backslash or a control character.")
    if parts.username is not None or parts.password is not None:
        raise _refused("The URL holds credentials, which are never sent.")
    host = _ascii(host).rstrip(".")
    if not _HOST.fullmatch(host):
        raise _refused("The URL has no valid host.")
    tls = parts.scheme == "https"
    port = port if port is not None else (443 if tls else 80)
    if port not in limits.ports and not (port == 80 and not tls):
        raise _refused(f"Port {port} is not one that URLs are fetched from.")
    return Origin(tls, host, port, ""), _target(parts)


def _ascii(host: str) -> str:
    """The host as the DNS has it: an international name in its ASCII form."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise _refused("The URL has no valid host.") from None


def _target(parts: SplitResult) -> str:
    """Path and query, with what must not stand in a request line percent-encoded. The fragment stays here."""
    try:
        path = quote(parts.path or "/", safe="%/:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="%/:@!$&'()*+,;=~-._?")
    except UnicodeEncodeError:
        raise _refused("The URL is malformed.") from None
    return (path if path.startswith("/") else f"/{path}") + (f"?{query}" if query else "")


def _follow(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise _refused("The URL redirects to a malformed one.") from None


async def _resolve(origin: Origin, limits: UrlLimits, resolver: Resolver) -> list[str]:
    """The addresses of the host, all of them allowed. Raises BadRequest."""
    try:
        addresses = await resolver(origin.host, origin.port)
    except (OSError, UnicodeError):
        addresses = []
    if not addresses or not all(limits.allowed(address) for address in addresses):
        raise _refused(f"{origin.host} is no public host.", "send the data itself, or a URL that anybody can open")
    return addresses


# The exchange


async def _exchange(origin: Origin, path: str, address: str, limits: UrlLimits) -> Fetched:
    """Raises Moved, BadRequest, or ProviderError where the connection or the answer is broken."""
    context = (limits.context or _context()) if origin.tls else None
    pool = Pool(origin, connect_timeout=limits.seconds, limit=1, context=context, address=address, opened=limits.opened)
    flight = Flight(asyncio.get_running_loop().time())
    try:
        connection = await pool.acquire(flight)
        try:
            connection.send(flight, request_head("GET", origin.authority, path, _HEADERS) + b"\r\n")
            return await _read(connection, limits)
        finally:
            connection.close()
            connection.finish()
    finally:
        pool.shut()


async def _read(connection: Connection, limits: UrlLimits) -> Fetched:
    status = await connection.head()
    fields = connection.fields()
    if status in _REDIRECTS and (location := fields.get(b"location")):
        raise Moved(location.decode("utf-8", "replace"))
    if status != 200:
        raise _refused(f"The URL could not be fetched: its server answered {status}.")
    if fields.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise _refused("The URL's server sends the file compressed, though it was asked not to.")
    declared = fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if declared and declared not in _VAGUE and not _listed(declared, limits):
        raise _refused(f"The URL is of type {declared[:80]!r}; fetched are {_types(limits)}.")
    length = fields.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > limits.max_bytes:
        raise _too_large(limits)
    data = await _body(connection, limits)
    kind = media_type(data, declared)
    if kind is None or not _listed(kind, limits):
        raise _refused(f"The URL's content is no {declared or 'file'!r} of a kind that is known here.")
    return Fetched(kind, data)


async def _body(connection: Connection, limits: UrlLimits) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await connection.chunk():
        size += len(piece)
        if size > limits.max_bytes:
            raise _too_large(limits)
        pieces.append(piece)
    if not size:
        raise _refused("The URL's content is empty.")
    return b"".join(pieces)


_VAGUE = frozenset({"application/octet-stream", "binary/octet-stream"})
"""What servers say of a file whose type they do not know: its first bytes decide."""


def _listed(kind: str, limits: UrlLimits) -> bool:
    return any(kind.startswith(entry) if entry.endswith("/") else kind == entry for entry in limits.types)


def _types(limits: UrlLimits) -> str:
    return ", ".join(entry + "*" if entry.endswith("/") else entry for entry in limits.types)


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _too_large(limits: UrlLimits) -> BadRequest:
    return _refused(f"The URL's content is over {limits.max_bytes:,} bytes.")


def _refused(message: str, hint: str = "send the data itself") -> BadRequest:
    return BadRequest(message, hint=hint, code="url_not_fetched")
