"""The requests in the air of one worker: how many there may be, and their deadlines (see Ticker).

A client that leaves cuts its upstream off at once: the end of its connection aborts the flight (Exchange.leave).
"""

from freehold.call.transport import Flight
from freehold.call.transport.ticker import Ticker
from freehold.errors import EngineError
from freehold.serve.exchange import Exchange


class Flights:
    def __init__(self, limit: int) -> None:
        self._ticker = Ticker()
        self.limit = limit

    def __len__(self) -> int:
        return len(self._ticker.flights)

    def begin(self, flight: Flight, exchange: Exchange) -> None:
        """Raises EngineError (503) when the worker has as much to do as it may."""
        if len(self._ticker.flights) >= self.limit:
            raise EngineError(
                f"this gateway works on {self.limit} requests already",
                hint="try again in a moment, or raise server.max_inflight or server.workers",
                code="gateway_full",
                retry_after=1.0,
            )
        exchange.flight = flight
        self._ticker.add(flight)
        if exchange.disconnected:
            exchange.leave()

    def end(self, flight: Flight, exchange: Exchange) -> None:
        exchange.flight = None
        if flight.hold is not None:
            flight.let_go()
        self._ticker.flights.discard(flight)
