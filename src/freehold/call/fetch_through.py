"""The worker's side of fetching a URL in strict mode: asked of the egress process, one exchange at a time.

It resolves the name, judges the addresses and fetches (egress/fetching.py); a redirect comes back here, so that each
server is written down before it is asked.
"""

import asyncio

import msgspec
from msgspec import Struct

from freehold.call.fetch_url import Fetched, Moved, UrlLimits, parse_url
from freehold.call.transport import Flight, Pool
from freehold.call.transport.flight import Known
from freehold.call.transport.through import FETCH, Through
from freehold.errors import BadRequest, ProviderError


class Wanted(Struct, array_like=True):
    """What a fetch may bring back, of the fields of `UrlLimits`."""

    max_bytes: int
    seconds: float
    types: list[str]


async def fetch_through(url: str, limits: UrlLimits, through: Through, known: Known | None) -> Fetched:
    """One exchange; `known` has the label of the request that the URL came with. Raises Moved, BadRequest, or what the
    egress process refuses with."""
    origin, target = parse_url(url, limits)
    whole = f"{'https' if origin.tls else 'http'}://{origin.authority}{target}"
    body = msgspec.msgpack.encode(Wanted(limits.max_bytes, limits.seconds, list(limits.types)))
    pool = Pool(origin, connect_timeout=limits.seconds, limit=1, through=through)
    flight = Flight(asyncio.get_running_loop().time(), known=known)
    head = f"{FETCH} {whole} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n".encode()
    try:
        connection = await pool.acquire(flight)
        try:
            connection.send(flight, head + body)
            status = await connection.head()
            fields = connection.fields()
            data = await connection.read(limits.max_bytes)
        finally:
            connection.close()
            connection.finish()
    except ProviderError as error:
        raise BadRequest(
            f"The URL could not be fetched: {origin.host} did not answer properly.",
            hint="send the data itself",
            code="url_not_fetched",
        ) from error
    finally:
        pool.shut()
    if status == 302:
        raise Moved(fields.get(b"location", b"").decode("utf-8", "replace"))
    return Fetched(fields.get(b"content-type", b"").decode("latin-1"), data)
