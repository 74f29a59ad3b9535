"""What the readers of provider streams share whose events say in their data alone what they are."""

from contextlib import suppress

from freehold.dialects.conversation import Event
from freehold.dialects.sse import SseParser
from freehold.errors import UpstreamBroken


class SseReader:
    """Bytes of an SSE stream in, canonical events out, whatever the chunk boundaries."""

    def __init__(self) -> None:
        self._parser = SseParser()
        self._failed = False
        """Whether the provider has said that it failed: what follows is not read."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises UpstreamBroken for an event that is not JSON, of the wrong form, or larger than 16 MiB."""
        events: list[Event] = []
        for _, data in self._parser.feed(chunk):
            self._read(data, events)
        return events

    def close(self) -> list[Event]:
        """What a last event that only lacked its blank line says; one cut in half says nothing: see `complete`."""
        events: list[Event] = []
        with suppress(UpstreamBroken):
            for _, data in self._parser.close():
                self._read(data, events)
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        raise NotImplementedError
