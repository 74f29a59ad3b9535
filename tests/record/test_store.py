"""The store: migrations, transactions, and errors that say what to do."""

import sqlite3
import threading
from pathlib import Path

import pytest

from freehold.errors import InternalError
from freehold.record import migrations
from freehold.record.store import Store


def test_is_private_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "freehold.db"
    Store(path).close()
    assert path.stat().st_mode & 0o077 == 0
    store = Store(path)
    assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.totals().cost == {}
    store.close()


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "freehold.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InternalError, match="version 99") as caught:
        Store(path)
    assert caught.value.code == "store_unavailable"


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at as one" * 40, None])
def test_what_is_no_database_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "freehold.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(InternalError, match="cannot be used") as caught:
        Store(path)
    assert caught.value.hint
    if content is not None:
        assert path.read_bytes() == content


def test_a_step_that_fails_leaves_the_database_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "freehold.db"
    Store(path).close()

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, broken])
    with pytest.raises(InternalError, match="disk full"):
        Store(path)
    monkeypatch.undo()
    store = Store(path)
    assert store.connection.execute("SELECT name FROM sqlite_schema WHERE name = 'half'").fetchall() == []
    store.close()


def test_several_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    gate = threading.Barrier(4)

    def open_it() -> None:
        gate.wait()
        try:
            Store(tmp_path / "freehold.db").close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_names_and_routes_are_kept_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "freehold.db")
    route = ("bot", "fast", "lab/small", "lab", "small", "chat", False)
    with store.transaction():
        first, again, other = store.names["a'; DROP TABLE names"], store.names["a'; DROP TABLE names"], store.names["b"]
        assert store.routes[route] == store.routes[route] != store.routes[(*route[:-1], True)]
    assert first == again != other
    store.close()
    store = Store(tmp_path / "freehold.db")
    with store.transaction():
        assert store.names["b"] == other
    store.close()


def test_ids_of_a_transaction_that_failed_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "freehold.db")
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.names["gone"] // 0
    with store.transaction():
        kept = store.names["kept"]
        assert store.names["gone"] != kept
    rows = store.connection.execute("SELECT id, name FROM names ORDER BY id").fetchall()
    assert rows == [(kept, "kept"), (store.names["gone"], "gone")]
    store.close()


def test_settling_waits_for_readers_of_the_past(tmp_path: Path) -> None:
    store, reader = Store(tmp_path / "freehold.db"), Store(tmp_path / "freehold.db")
    reader.connection.execute("BEGIN")
    reader.totals()
    with store.transaction():
        assert store.names["new"]
    store.connection.execute("PRAGMA busy_timeout = 0")
    assert not store.settle()
    reader.connection.execute("COMMIT")
    assert store.settle()
    for one in (store, reader):
        one.close()
