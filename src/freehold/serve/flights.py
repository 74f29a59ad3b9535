"""The requests in the air of one worker: their deadlines, and what happens when a client leaves.

Most answers are over before anybody could leave, so listening for it starts only after a moment (see Ticker): then one
task per flight waits for ASGI's `http.disconnect` and cuts the upstream off.
"""

import asyncio

from freehold.call.transport import Flight
from freehold.call.transport.ticker import Ticker
from freehold.errors import ClientGone, EngineError
from freehold.serve.snapshot import Snapshot


class Flights:
    def __init__(self, limit: int) -> None:
        self._ticker = Ticker(self._watch)
        self._snapshots: dict[Flight, Snapshot] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self.limit = limit

    def __len__(self) -> int:
        return len(self._snapshots)

    def begin(self, flight: Flight, snapshot: Snapshot) -> None:
        """Raises EngineError (503) when the worker has as much to do as it may."""
        if len(self._snapshots) >= self.limit:
            raise EngineError(
                f"this gateway works on {self.limit} requests already",
                hint="try again in a moment, or raise server.max_inflight or server.workers",
                code="gateway_full",
                retry_after=1.0,
            )
        self._snapshots[flight] = snapshot
        self._ticker.add(flight)

    def end(self, flight: Flight) -> None:
        self._snapshots.pop(flight, None)
        self._ticker.flights.discard(flight)

    def _watch(self, flight: Flight) -> None:
        snapshot = self._snapshots.get(flight)
        if snapshot is not None:
            task = asyncio.get_running_loop().create_task(self._listen(flight, snapshot))
            self._watchers.add(task)
            task.add_done_callback(self._watchers.discard)

    async def _listen(self, flight: Flight, snapshot: Snapshot) -> None:
        message = await snapshot.receive()
        while message["type"] != "http.disconnect":
            message = await snapshot.receive()
        if flight in self._snapshots:
            flight.abort(ClientGone("the client left before the answer was complete"))
