"""What each key has spent since some moments, as the steward publishes it for budgets."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from freehold.record.journal import Journal
from freehold.record.store import Store
from freehold.record.usage import spent_by_key

Book = Any
NOON = int(datetime(2026, 9, 23, 12, tzinfo=UTC).timestamp())
DAY = 86_400


@pytest.fixture
def store(book: Book, tmp_path: Path) -> Any:
    calls: list[tuple[str, int, dict[str, Any] | None]] = [
        ("ann", NOON, {"uncached": 1_000_000, "output": 0}),
        ("ann", NOON - 2 * DAY, {"uncached": 2_000_000, "output": 0}),
        ("ann", NOON - 40 * DAY, {"uncached": 9_000_000, "output": 0}),
        ("bob", NOON - 20 * DAY, {"uncached": 0, "output": 2_000_000}),
        ("eve", NOON - 40 * DAY, {"uncached": 5, "output": 0}),
        ("eve", NOON, {"outcome": "failed", "uncached": 0, "output": 0}),
        ("eve", NOON, None),
    ]
    journal = Journal(tmp_path / "journal", "w0")
    for number, (name, at, settlement) in enumerate(calls):
        journal.append(book.intent(number, key=name, at=at * 10**9))
        if settlement is not None:
            journal.append(book.settlement(number, **settlement))
    journal.close()
    store = Store(tmp_path / "freehold.db")
    book.take_in(store, tmp_path / "journal")
    yield store
    store.close()


def test_each_moment_has_its_sum(store: Store) -> None:
    day, week, month = NOON - 12 * 3600, NOON - 2 * DAY - 12 * 3600, NOON - 22 * DAY - 12 * 3600
    assert spent_by_key(store.connection, [day, week, month]) == {
        "ann": (10**9, 3 * 10**9, 3 * 10**9),
        "bob": (0, 0, 4 * 10**9),
    }


def test_the_order_of_the_moments_does_not_matter(store: Store) -> None:
    assert spent_by_key(store.connection, [NOON - 50 * DAY, NOON])["ann"] == (12 * 10**9, 10**9)
    assert spent_by_key(store.connection, [NOON + DAY]) == {}
