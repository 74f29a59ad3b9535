"""A dialect's StreamReader behind a guard: for whoever reads a stream through it, such as `call.talk.Translation`."""

from typing import Any

from freehold.check.stream.events import EventGuard
from freehold.dialects.conversation import Event


class GuardedReader:
    """Lets out what the guard lets through of what `reader` reads."""

    def __init__(self, reader: Any, guard: EventGuard) -> None:
        self._reader = reader
        self.guard = guard

    @property
    def complete(self) -> bool:
        return self.guard.blocked is not None or bool(self._reader.complete)

    def feed(self, chunk: bytes) -> list[Event]:
        return self.guard.feed(self._reader.feed(chunk))

    def close(self) -> list[Event]:
        """The last events. After a block the upstream was cut off, so what the reader thinks of its end says
        nothing."""
        events = [] if self.guard.blocked is not None else self._reader.close()
        return [*self.guard.feed(events), *self.guard.close()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)
