"""Types of findings on their way into the ledger, and what is read of them there; entries and stores from before."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from freehold.record.entries import Cached, Entry, Intent, Settlement
from freehold.record.findings import Found, found
from freehold.record.migrations import MIGRATIONS, migrate
from freehold.record.plans import kept
from freehold.record.store import Store

Book = Any


def calls(book: Book) -> list[Entry]:
    again = book.intent(1, call="r1-2", attempt=2, found="email=allow,iban=label")
    return [
        book.intent(1, found="email=allow,iban=pseudonymise"), book.settlement(1, outcome="failed"),
        again, book.settlement(1, call="r1-2", outcome="blocked", found="email=allow,secret=block"),
        book.intent(2), book.settlement(2),
        Cached(book.intent(3, found="email=allow"), book.settlement(3, cached=True, found="secret=redact")),
    ]  # fmt: skip


def test_what_was_found_is_kept_by_call(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, calls(book))
    book.take_in(store, folder)
    assert {call: (row["found"], row["found_back"]) for call, row in book.ledger(store).items()} == {
        "r1-1": ("email=allow,iban=pseudonymise", None),
        "r1-2": ("email=allow,iban=label", "email=allow,secret=block"),
        "r2-1": (None, None),
        "r3-1": ("email=allow", "secret=redact"),
    }
    book.check_sums(store)


def test_a_request_is_read_back_with_what_its_answers_held(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [*calls(book), book.intent(10), book.settlement(10, found="us_ssn=block")])
    book.take_in(store, folder)
    first = kept(store.connection, "r1")
    assert first is not None
    assert first.found == ("email=allow", "iban=pseudonymise")
    assert first.found_back == ("email=allow", "secret=block")
    nothing = kept(store.connection, "r2")
    assert nothing is not None
    assert (nothing.found, nothing.found_back) == ((), ())


def test_findings_of_a_period_are_counted_by_call(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, calls(book))
    book.take_in(store, folder)
    requests = {"email=allow": 3, "iban=pseudonymise": 1, "iban=label": 1}
    answers = {"email=allow": 1, "secret=block": 1, "secret=redact": 1}
    assert found(store.connection) == Found(requests, answers)
    assert next(iter(found(store.connection).requests)) == "email=allow"
    at = datetime.fromtimestamp(book.at / 1e9, UTC)
    hour = timedelta(hours=1)
    assert found(store.connection, at, at + hour) == Found(requests, answers)
    assert found(store.connection, until=at) == Found({}, {})
    assert found(store.connection, at + hour) == Found({}, {})


def test_calls_without_findings_are_not_read_for_that(store: Store) -> None:
    query = "SELECT count(*) FROM calls WHERE coalesce(found, found_back) IS NOT NULL AND at >= 0"
    plan = " ".join(str(row) for row in store.connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "calls_found" in plan


def test_entries_from_before_still_read(book: Book, store: Store, folder: Path) -> None:
    class Raw(list[Any]):
        pass

    def before(entry: Intent | Settlement) -> Raw:
        names = entry.__struct_fields__
        return Raw(msgspec.msgpack.decode(msgspec.msgpack.encode(entry))[: names.index("found") + 1])

    intent, end = before(book.intent(1)), before(book.settlement(1))
    assert (intent[0], end[0]) == ("i", "s")
    assert intent[-1] is None, "the last field is `sent`"
    assert end[-1] is False, "the last field is `cached`"
    book.wrote(folder, [intent, end])
    book.take_in(store, folder)
    row = book.ledger(store)["r1-1"]
    assert (row["outcome"], row["found"], row["found_back"]) == ("ok", None, None)


def test_an_entry_in_which_nothing_was_found_is_one_byte_longer(book: Book) -> None:
    """It is on the way of every request."""
    encode = msgspec.msgpack.encode
    for entry in (book.intent(1), book.settlement(1)):
        values = msgspec.msgpack.decode(encode(entry))
        assert len(encode(entry)) == len(encode(values[:-1])) + 1


def test_a_store_from_before_is_brought_up(tmp_path: Path, book: Book) -> None:
    path, folder = tmp_path / "old.db", tmp_path / "journal"
    connection = sqlite3.connect(path, isolation_level=None)
    for number, step in enumerate(MIGRATIONS[:4]):
        step(connection)
        connection.execute(f"PRAGMA user_version = {number + 1}")
    connection.execute("INSERT INTO names (id, name) VALUES (1, 'x')")
    connection.execute("INSERT INTO routes VALUES (1, 1, 1, 1, 1, 1, 1, 0)")
    zero = "uncached, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output"
    connection.execute(
        f"INSERT INTO calls (call, at, route, attempt, stream, held, reason, config, outcome, status, {zero},"
        " estimated, first_us, total_us, upstream_id, served, error, label)"
        " VALUES ('r-1', 1, 1, 1, 0, 0, 1, 1, 4, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 1, 1, 1)"
    )
    migrate(connection)
    columns = "call, outcome, label, found, found_back"
    assert connection.execute(f"SELECT {columns} FROM ledger").fetchall() == [("r-1", "blocked", "x", None, None)]
    connection.close()
    store = Store(path)
    book.wrote(folder, calls(book))
    book.take_in(store, folder)
    assert book.ledger(store)["r1-2"]["found"] == "email=allow,iban=label"
    store.close()
