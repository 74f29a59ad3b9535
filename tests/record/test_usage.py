"""What was spent: the sums of the calls, by whatever they are asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from freehold.record.journal import Journal
from freehold.record.store import Store
from freehold.record.usage import GROUPS, Spend, running, spend, total

Book = Any
DAY = 86_400 * 10**9
NOON = datetime(2026, 9, 20, 12, tzinfo=UTC)


@pytest.fixture
def store(book: Book, tmp_path: Path) -> Iterator[Store]:
    """Six calls at noon, on three days."""
    noon = int(NOON.timestamp()) * 10**9
    ann, bob = {"key": "ann"}, {"key": "bob"}
    other = {"provider": "den", "model": "big", "deployment": "den/big"}
    box = {"provider": "own", "model": "tiny", "deployment": "own/tiny", "owned": True}
    calls: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
        ({**ann, "at": noon}, {"uncached": 1000, "cache_read": 500, "output": 100}),
        ({**ann, "at": noon + DAY}, {"outcome": "failed", "uncached": 0, "output": 0}),
        ({**bob, "at": noon + DAY}, {"outcome": "cancelled", "uncached": 10, "output": 1, "estimated": True}),
        ({**bob, **other, "at": noon + DAY}, {"uncached": 7, "output": 3}),
        ({**bob, **box, "at": noon + 2 * DAY}, {"uncached": 20, "output": 4}),
        ({**bob, **other, "at": noon + 2 * DAY}, None),
    ]
    journal = Journal(tmp_path / "journal", "w0")
    for number, (intent, settlement) in enumerate(calls):
        journal.append(book.intent(number, **intent))
        if settlement is not None:
            journal.append(book.settlement(number, **settlement))
    journal.close()
    store = Store(tmp_path / "freehold.db")
    book.take_in(store, tmp_path / "journal")
    yield store
    store.close()


def test_sums_by_key(store: Store) -> None:
    ann, bob = spend(store.connection, "key")
    assert ann == Spend(name="ann", calls=2, ok=1, failed=1, input=1500, cached=500, output=100, cost=1_700_000)
    assert bob == Spend(
        name="bob", calls=4, ok=2, cancelled=1, unknown=1, unpriced=1, estimated=1, input=37, output=8, cost=12_000
    )
    assert (ann.priced, bob.priced) == (2, 2)


def test_unknown_and_unpriced_is_no_money_at_all(store: Store) -> None:
    by_name = {row.name: row for row in spend(store.connection, "deployment")}
    assert by_name["den/big"].dollars is None
    assert (by_name["den/big"].unpriced, by_name["den/big"].unknown) == (1, 1)
    assert by_name["own/tiny"].dollars == 0
    assert by_name["lab/small"].dollars == 0.001712


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", {"small", "big", "tiny"}),
        ("provider", {"lab", "den", "own"}),
        ("kind", {"rented", "owned"}),
        ("day", {"2026-09-20", "2026-09-21", "2026-09-22"}),
    ],
)
def test_every_group_sums_to_the_same(store: Store, by: Any, names: set[str]) -> None:
    rows = spend(store.connection, by)
    assert {row.name for row in rows} == names
    assert total(rows) == total(spend(store.connection, "key"))
    assert total(rows).calls == 6
    assert by in GROUPS


def test_days_come_in_order_and_others_by_cost(store: Store) -> None:
    assert [row.name for row in spend(store.connection, "day")] == ["2026-09-20", "2026-09-21", "2026-09-22"]
    assert [row.name for row in spend(store.connection, "deployment")] == ["lab/small", "den/big", "own/tiny"]


@pytest.mark.parametrize(
    ("since", "until", "calls"),
    [
        (NOON, None, 6),
        (NOON + timedelta(hours=1), None, 5),
        (None, NOON, 0),
        (None, NOON + timedelta(hours=1), 1),
        (NOON + timedelta(days=1), NOON + timedelta(days=2), 3),
        (NOON.replace(tzinfo=None) + timedelta(days=2), None, 2),
        (NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(days=2), None, 2),
    ],
)
def test_a_stretch_of_time(store: Store, since: datetime | None, until: datetime | None, calls: int) -> None:
    assert total(spend(store.connection, "model", since, until)).calls == calls


def test_running_calls_are_counted_apart(book: Book, store: Store, tmp_path: Path) -> None:
    assert running(store.connection) == 0
    journal = Journal(tmp_path / "journal", "w1")
    journal.append(book.intent(100))
    book.take_in(store, tmp_path / "journal")
    assert running(store.connection) == 1
    assert total(spend(store.connection, "model")).calls == 6
    journal.close()
