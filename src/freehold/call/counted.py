"""A streamed answer's connection, on which the bytes that come are counted for the attempt's receipt."""

from typing import Protocol

from freehold.call.transport import Connection


class Tally(Protocol):
    """`received`: bytes of answers so far."""

    received: int


class Counted:
    """What is left to do with a connection once its answer has begun."""

    __slots__ = ("_connection", "_tally")

    def __init__(self, connection: Connection, tally: Tally) -> None:
        self._connection = connection
        self._tally = tally

    async def chunk(self) -> bytes:
        """As `Connection.chunk`."""
        data = await self._connection.chunk()
        self._tally.received += len(data)
        return data

    def finish(self) -> None:
        self._connection.finish()
