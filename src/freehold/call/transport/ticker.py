"""One clock for the deadlines of all flights of a worker.

A timer per request would cost more than the rest of the transport. Every `INTERVAL` the ticker looks at each flight
once; with no flights it sleeps.
"""

import asyncio

from freehold.call.transport.flight import Flight
from freehold.errors import UpstreamTimeout

INTERVAL = 0.02


class Ticker:
    """Holds the flights in the air; must be used from one event loop."""

    def __init__(self) -> None:
        self.flights: set[Flight] = set()
        self._running = False

    def add(self, flight: Flight) -> None:
        self.flights.add(flight)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_later(INTERVAL, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for flight in list(self.flights):
            if now >= flight.deadline:
                flight.deadline = float("inf")
                flight.abort(UpstreamTimeout("the provider was silent for longer than the configured timeout"))
        if self.flights:
            loop.call_later(INTERVAL, self._tick)
        else:
            self._running = False
