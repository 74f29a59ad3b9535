"""The store: one SQLite file, FREEHOLD_HOME/freehold.db, in WAL mode, so that readers never wait for the writer.

The tables stand in migrations.py. One process writes the ledger at a time (ingest.py takes a lock for that); any
number read. A commit survives the end of any process. A power cut may undo the last ones, never half of one, until
`settle` has brought them to the disk; journals are kept until then.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from freehold.errors import InternalError
from freehold.record.metrics import LedgerTotals
from freehold.record.migrations import migrate
from freehold.record.prices import Rates

OUTCOMES: Final = ("ok", "failed", "cancelled", "unknown", "blocked")
"""`calls.outcome` is the place in this list; new ones may only be appended."""
BUSY_SECONDS: Final = 10.0
_CACHED: Final = 50_000

Route = tuple[str, str, str, str, str, str, bool]
"""key, asked, deployment, provider, model, dialect, owned."""
_ROUTE: Final = ("key", "asked", "deployment", "provider", "model", "dialect", "owned")
K = TypeVar("K")


class Ids(dict[K, int]):
    """Ids of rows by what they hold. A look-up of something new makes its row: only inside a transaction."""

    def __init__(self, make: Callable[[K], int]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, value: K) -> int:
        if len(self) >= _CACHED:
            self.clear()
        self[value] = found = self._make(value)
        return found


class Store:
    """An open store, for one thread at a time; ends with `close`. Raises `InternalError` if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error
        try:
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            migrate(self.connection)
        except sqlite3.Error as error:
            self.connection.close()
            raise _unusable(path, error) from error
        except BaseException:
            self.connection.close()
            raise
        self.names: Ids[str] = Ids(self._make_name)
        self.routes: Ids[Route] = Ids(self._make_route)
        self.prices: Ids[Rates] = Ids(self._make_price)

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside becomes visible at once, or, after any error, never was."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            # Ids handed out inside the transaction are gone with it.
            for ids in (self.names, self.routes, self.prices):
                ids.clear()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def settle(self) -> bool:
        """Brings every commit to the disk. False: somebody reads an older state, try later."""
        busy: int = self.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0]
        return not busy

    def totals(self) -> LedgerTotals:
        """Returns what the ledger adds to the metrics page; `lag_seconds` is the ingester's to fill in.

        Reads sums by hour, not calls.
        """
        cost: dict[tuple[str, str], int] = {}
        calls = dict.fromkeys(("priced", "unpriced", "owned", "unknown"), 0)
        rows = self.connection.execute(
            "SELECT names.name, owned, sum(calls), sum(unpriced), sum(unknown), sum(cost) FROM spend"
            " JOIN routes ON routes.id = spend.route JOIN names ON names.id = deployment GROUP BY 1, 2"
        )
        for deployment, owned, count, unpriced, unknown, spent in rows:
            cost[deployment, "owned" if owned else "rented"] = spent
            calls["unknown"] += unknown
            calls["unpriced"] += unpriced
            calls["owned" if owned else "priced"] += count - unpriced - unknown
        return LedgerTotals(cost, calls)

    def _make_name(self, text: str) -> int:
        self.connection.execute("INSERT INTO names (name) VALUES (?) ON CONFLICT DO NOTHING", (text,))
        return self._id("SELECT id FROM names WHERE name = ?", (text,))

    def _make_route(self, route: Route) -> int:
        *texts, owned = route
        values = (*(self.names[text] for text in texts), int(owned))
        columns = ", ".join(_ROUTE)
        self.connection.execute(
            f"INSERT INTO routes ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",  # noqa: S608
            values,
        )
        return self._id(f"SELECT id FROM routes WHERE ({columns}) = (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608

    def _make_price(self, rates: Rates) -> int:
        values = (rates.provider, rates.model, rates.valid_from, rates.described(), rates.source)
        self.connection.execute(
            "INSERT INTO prices (provider, model, valid_from, rates, source, checked) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET checked = excluded.checked",
            (*values, rates.checked),
        )
        return self._id(
            "SELECT id FROM prices WHERE (provider, model, valid_from, rates, source) = (?, ?, ?, ?, ?)", values
        )

    def _id(self, query: str, values: tuple[object, ...]) -> int:
        found: int = self.connection.execute(query, values).fetchone()[0]
        return found


def _unusable(path: Path, error: Exception) -> InternalError:
    return InternalError(
        f"The store {path} cannot be used: {error}.",
        code="store_unavailable",
        hint="check the folder's rights and free space; journals keep what is not yet in it",
    )
