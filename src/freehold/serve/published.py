"""Small files that one process publishes and others read: engine states, rates, local servers found.

The writer replaces the file in one step; a reader looks at its stamp now and then and decodes it only when it is new.
A file that is missing or unreadable counts as empty: what it would have offered is then not offered.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")


class Published(Generic[T]):
    """The content of `path`, of type `kind`, whose empty value is `kind()`."""

    def __init__(self, path: Path, kind: Callable[[], T]) -> None:
        self._path = path
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._empty = kind
        self._stamp: tuple[int, int] = (0, 0)
        self.value: T = kind()
        self.refresh()

    def refresh(self) -> bool:
        """Reads the file if it was replaced; returns whether the value may have changed."""
        seen, self._stamp = self._stamp, stamp(self._path)
        if seen == self._stamp:
            return False
        try:
            self.value = self._decoder.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            self.value = self._empty()
        return True


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is replaced; (0, 0) when there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (state.st_mtime_ns, state.st_ino)


class Rate(Struct, array_like=True):
    """US dollars per million tokens of one deployment."""

    input: float
    output: float
    cached: float | None = None
    """Of input read from a prompt cache."""


class Rates(Struct):
    """run/rates.json: what the steward worked out of the price data, for ranking. The ledger does its own sums."""

    date: str = ""
    rates: dict[str, Rate] = {}


class Local(Struct):
    """run/local.json: servers the steward found on their usual ports, as (provider, base URL, model names)."""

    servers: list[tuple[str, str, list[str]]] = []

    @property
    def addresses(self) -> list[tuple[str, str]]:
        return [(provider, url) for provider, url, _ in self.servers]

    @property
    def models(self) -> dict[str, list[str]]:
        return {provider: models for provider, _, models in self.servers}


class Engine(Struct):
    """One entry of run/engines.json, which the steward writes (`own.engine.Published` says what it holds)."""

    state: str
    base_url: str = ""
    api_key: str = ""
    context: int | None = None
    capabilities: list[str] = []
    error: str | None = None
    engine: str = ""
    fields: dict[str, dict[str, Any]] = {}
    number: int = 0
    slots: int = 0
    load: str = "start"
    lasting: bool = False
    retry_at: float | None = None
    loads_in: float = 0.0

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    @property
    def settled(self) -> bool:
        """Whether nothing is being done about it: it runs, or waits to be asked for, or cannot run."""
        return self.state in ("ready", "failed", "sleeping", "pulling") or (
            self.state == "absent" and (self.load == "demand" or self.error is not None)
        )


Engines = dict[str, Engine]
"""run/engines.json: engines by name, without `own/`."""
