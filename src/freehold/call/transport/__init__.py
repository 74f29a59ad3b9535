"""The only code in Freehold that opens a socket outward: an HTTP/1.1 client for providers and engines.

It is written by us because it is on the hot path of every request: `httptools` parses, uvloop moves bytes, and
nothing else stands between. Parsing (`wire.py`) knows no sockets, so that it can be fuzzed; `pool.py` keeps
connections; `fetch.py` is the convenient form for everything that is not hot. In strict mode the sockets lead to the
egress process (`through.py`), with a ticket for each request (`ticket.py`).
"""

from freehold.call.transport.fetch import fetch
from freehold.call.transport.flight import Flight, Hold
from freehold.call.transport.pool import Origin, Pool
from freehold.call.transport.through import Through, Way
from freehold.call.transport.wire import Connection, request_head

__all__ = ["Connection", "Flight", "Hold", "Origin", "Pool", "Through", "Way", "fetch", "request_head"]
