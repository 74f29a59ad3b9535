"""One small HTTP exchange for everything off the hot path: probes, counts, model lists."""

import asyncio
from collections.abc import Callable, Mapping

from freehold.call.transport.flight import Flight
from freehold.call.transport.pool import Opened, Origin, Pool
from freehold.call.transport.through import Through
from freehold.call.transport.wire import request_head
from freehold.errors import UpstreamTimeout


async def fetch(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    timeout: float = 10.0,
    limit: int = 1 << 20,
    through: Through | None = None,
    sending: Callable[[], None] | None = None,
    opened: Opened | None = None,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Returns (status, lower-case headers, body of at most `limit` bytes). Redirects are not followed.

    `through`: by way of the egress process, which adds the provider's credentials itself. `sending` is called once the
    connection stands and before the first byte goes out; what it raises is raised, and nothing goes out.
    `opened` is told where to.
    Raises ProviderError when there is no complete answer within `timeout` seconds, ValueError for a bad URL.
    """
    base, _, query = url.partition("?")
    origin = Origin.parse(base)
    path = (origin.prefix or "/") + (f"?{query}" if query else "")
    lines = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    data = (
        request_head(method, origin.authority, path, [*lines, (b"Connection", b"close")])
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )
    loop = asyncio.get_running_loop()
    flight = Flight(loop.time())
    pool = Pool(origin, connect_timeout=timeout, limit=1, through=through, opened=opened)
    alarm = loop.call_later(
        timeout, flight.abort, UpstreamTimeout(f"{origin.host} did not answer within {timeout:g} s")
    )
    try:
        connection = await pool.acquire(flight)
        if sending is not None:
            try:
                sending()
            except BaseException:
                connection.close()
                raise
        connection.send(flight, data)
        try:
            status = await connection.head()
            answer = await connection.read(limit)
            return status, connection.fields(), answer
        finally:
            connection.finish()
    finally:
        alarm.cancel()
        pool.shut()
