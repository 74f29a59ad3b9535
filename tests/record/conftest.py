"""Entries to write and ways to read a ledger back, for all tests of the record."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from freehold.config.schema import Config, ModelFacts, Provider
from freehold.record.entries import Entry, Intent, Settlement
from freehold.record.ingest import Ingest, IngestReport
from freehold.record.journal import Journal
from freehold.record.prices import Pricer
from freehold.record.store import Store

AT = 1_790_000_000_000_000_000
"""A moment in September 2026, in nanoseconds."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "freehold.db")
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


class Book:
    """Makes entries, each with figures of its own, and reads what became of them."""

    at = AT
    config = Config(providers={"lab": Provider(models={"small": ModelFacts(input=1.0, output=2.0)})})
    pricer = Pricer(config, {})
    """lab/small has a price, nothing else does."""

    @staticmethod
    def intent(number: int, **changes: Any) -> Intent:
        first = Intent(
            f"r{number}-1", f"r{number}", AT + number, 1, "bot", "fast", "lab/small", "lab", "small", "chat",
            False, False, 100 + number, "c0ffee", "first of its alias",
        )  # fmt: skip
        return replace(first, **changes)

    @staticmethod
    def settlement(number: int, **changes: Any) -> Settlement:
        first = Settlement(f"r{number}-1", "ok", 200, uncached=number, output=2 * number, served="small")
        return replace(first, **changes)

    @staticmethod
    def wrote(folder: Path, entries: Iterable[Entry]) -> None:
        """Has a worker write a journal and end."""
        with closing(Journal(folder, "w0")) as journal:
            for entry in entries:
                journal.append(entry)

    @staticmethod
    def take_in(store: Store, folder: Path, most: int = 1000, pricer: Pricer | None = None) -> IngestReport:
        """Ingests all there is, and returns the sum of the reports."""
        ingest = Ingest(store, folder, pricer or Book.pricer)
        whole = IngestReport()
        try:
            while True:
                report = ingest.step(most)
                whole.entries += report.entries
                whole.calls += report.calls
                whole.damage += report.damage
                if report.entries < most:
                    return whole
        finally:
            ingest.close()

    @staticmethod
    def ledger(store: Store) -> dict[str, dict[str, Any]]:
        """The rows of the view `ledger` by call id."""
        cursor = store.connection.cursor()
        cursor.row_factory = sqlite3.Row
        rows = [dict(row) for row in cursor.execute("SELECT * FROM ledger")]
        by_call = {row["call"]: row for row in rows}
        assert len(by_call) == len(rows)
        return by_call

    @staticmethod
    def check_sums(store: Store) -> None:
        """The sums by hour are those of the calls."""
        query = (
            "SELECT sum({0}), sum(uncached + cache_read + cache_write_5m + cache_write_1h), sum(output), sum(cost),"
            " sum(cost IS NULL AND outcome != 3), sum(outcome = 3) FROM calls"
        )
        calls = store.connection.execute(query.format("1")).fetchone()
        sums = "SELECT sum(calls), sum(input), sum(output), sum(cost), sum(unpriced), sum(unknown) FROM spend"
        kept = store.connection.execute(sums).fetchone()
        assert [value or 0 for value in calls] == [value or 0 for value in kept]


@pytest.fixture(scope="session")
def book() -> type[Book]:
    return Book
