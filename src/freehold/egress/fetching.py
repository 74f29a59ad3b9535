"""What URLs point at, fetched by the egress process: one exchange, under the same guard as without strict mode.

The worker cannot resolve a name, so the whole of call/fetch_url.py's work for one URL happens here: which addresses a
host has, that all of them are public, the connection to one of those. A redirect goes back to the worker, who writes it
down and asks anew, with a ticket of its own. The worker may ask for less than the usual limits, never for more.
"""

import asyncio

import msgspec

from freehold.call.fetch_through import Wanted
from freehold.call.fetch_url import Moved, UrlLimits, fetch_one, system_resolver
from freehold.call.transport.pool import Opened
from freehold.errors import BadRequest

_WANTED = msgspec.msgpack.Decoder(Wanted)


async def fetched(url: str, body: bytes, opened: Opened) -> bytes:
    """Returns an HTTP answer: 200 with what is there, or 302 with where it is instead. `opened` is told of connections.
    Raises BadRequest."""
    usual = UrlLimits()
    try:
        wanted = _WANTED.decode(body)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"what is wanted of the URL cannot be read: {error}", code="url_not_fetched") from error
    limits = UrlLimits(
        max_bytes=min(usual.max_bytes, wanted.max_bytes),
        seconds=min(usual.seconds, wanted.seconds),
        types=tuple(one for one in wanted.types if one in usual.types),
        opened=opened,
    )
    try:
        async with asyncio.timeout(limits.seconds):
            file = await fetch_one(url, limits, system_resolver)
    except Moved as moved:
        location = moved.location.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")
        return b"HTTP/1.1 302 Found\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % location
    except TimeoutError:
        raise BadRequest(
            f"The URL could not be fetched within {limits.seconds:g} seconds.",
            hint="send the data itself",
            code="url_not_fetched",
        ) from None
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (file.media_type.encode("ascii", "replace"), len(file.data)) + file.data
