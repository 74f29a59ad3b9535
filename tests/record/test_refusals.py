"""Requests that were refused, on their way into the ledger: each once, the newest of them, and read back."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from freehold.record import refusals as module
from freehold.record.entries import Intent, Refused, Settlement
from freehold.record.ingest import Ingest
from freehold.record.journal import read_segment
from freehold.record.migrations import MIGRATIONS
from freehold.record.outcomes import opened
from freehold.record.plans import kept
from freehold.record.refusals import Refusal, Refusals, refusal, refusals
from freehold.record.store import Store
from freehold.record.usage import period, spend, total

Book = Any


def refused(book: Book, number: int, **changes: Any) -> Refused:
    first = Refused(
        f"r{number}", book.at + number, "bot", "fast", "messages", 400, "content_blocked", "email=allow,secret=block",
        "restricted", "c0ffee",
    )  # fmt: skip
    return replace(first, **changes)


def test_it_is_read_back_by_its_request(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [refused(book, 1), refused(book, 2, status=503, code="no_candidate", found="", label="")])
    book.take_in(store, folder)
    at = datetime.fromtimestamp(book.at / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    found = refusal(store.connection, "r1")
    assert found == Refusal(
        at, "bot", "fast", "messages", 400, "content_blocked", ("email=allow", "secret=block"), "restricted"
    )
    assert refusal(store.connection, "r2") == Refusal(at, "bot", "fast", "messages", 503, "no_candidate", (), "")
    assert refusal(store.connection, "r3") is None
    whole = kept(store.connection, "r1")
    assert whole is not None
    assert (whole.outcome, whole.reason, whole.deployment, whole.label) == (
        "refused",
        "content_blocked",
        "",
        "restricted",
    )
    assert (whole.refused, whole.found) == (found, ("email=allow", "secret=block"))


def test_it_is_no_call(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [refused(book, 1), book.intent(2), book.settlement(2)])
    assert book.take_in(store, folder).calls == 1
    assert book.ledger(store).keys() == {"r2-1"}
    assert total(spend(store.connection, "key")).calls == 1
    book.check_sums(store)


def test_a_request_that_was_called_for_and_then_refused_shows_both(book: Book, store: Store, folder: Path) -> None:
    book.wrote(
        folder, [book.intent(1), book.settlement(1, outcome="failed"), refused(book, 1, code="label", status=403)]
    )
    book.take_in(store, folder)
    whole = kept(store.connection, "r1")
    assert whole is not None
    assert whole.refused is not None
    assert (whole.deployment, whole.outcome, whole.refused.code) == ("lab/small", "failed", "label")


def test_they_are_counted_by_code_and_by_what_was_found(book: Book, store: Store, folder: Path) -> None:
    hour = 3600 * 10**9
    late = refused(book, 4, at=book.at + 2 * hour, found="secret=label", code="no_candidate")
    book.wrote(folder, [refused(book, 1), refused(book, 2), refused(book, 3, found="", code="label"), late])
    book.take_in(store, folder)
    everything = Refusals(
        4,
        {"content_blocked": 2, "label": 1, "no_candidate": 1},
        {"email=allow": 2, "secret=block": 2, "secret=label": 1},
    )
    assert refusals(store.connection) == everything
    assert refusals(store.connection, *period(None, None)) == everything
    assert refusals(store.connection, book.at + hour).requests == 1
    assert refusals(store.connection, 0, book.at + hour).codes == {"content_blocked": 2, "label": 1}
    assert refusals(store.connection, book.at + 3 * hour) == Refusals(0, {}, {})
    plan = " ".join(
        str(row) for row in store.connection.execute("EXPLAIN QUERY PLAN SELECT * FROM refused WHERE request = 'x'")
    )
    assert "refusals_request" in plan


def test_a_flood_fills_no_disk_and_is_counted(
    book: Book, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.write, "__defaults__", (10,))
    for start in (0, 7, 30):
        book.wrote(folder, [*(refused(book, number) for number in range(start, start + 7))])
        book.take_in(store, folder, most=3)
    rows = [request for (request,) in store.connection.execute("SELECT request FROM refusals ORDER BY id")]
    assert rows == [*(f"r{number}" for number in (11, 12, 13)), *(f"r{number}" for number in range(30, 37))]
    assert refusals(store.connection) == Refusals(
        10, {"content_blocked": 10}, {"email=allow": 10, "secret=block": 10}, 11
    )


@pytest.mark.parametrize("moment", ["before commit", "after commit"])
def test_an_ingester_that_ends_at_any_moment_takes_each_in_once(
    book: Book, store: Store, folder: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.wrote(folder, [*(refused(book, number) for number in range(5))])
    real, ended = store.connection, []

    class Ends:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def execute(self, sql: str, *arguments: Any) -> Any:
            if sql == "COMMIT" and not ended:
                ended.append(moment)
                if moment == "after commit":
                    real.execute(sql)
                raise sqlite3.OperationalError("the process ends")
            return real.execute(sql, *arguments)

    monkeypatch.setattr(store, "connection", Ends())
    with closing(Ingest(store, folder, book.pricer)) as ingest, pytest.raises(sqlite3.OperationalError):
        ingest.step()
    monkeypatch.undo()
    book.take_in(store, folder)
    rows = store.connection.execute("SELECT request, count(*) FROM refusals GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [(f"r{number}", 1) for number in range(5)]


def test_an_odd_one_does_not_stop_the_ledger(book: Book, store: Store, folder: Path) -> None:
    odd = refused(book, 1, at=2**64 - 1, status=-(2**63), request="r1\0\U0001f600", key="", asked="x" * 9000)
    book.wrote(folder, [odd, refused(book, 2), refused(book, 2)])
    book.take_in(store, folder)
    assert refusals(store.connection, 0, 2**63 - 1).requests == 2, "the odd one has no time that could be asked for"
    assert refusal(store.connection, "r2") is not None


def test_damage_before_one_costs_nothing_but_what_is_damaged(book: Book, folder: Path) -> None:
    book.wrote(folder, [refused(book, 1), refused(book, 2)])
    (path,) = [one for one in folder.iterdir() if one.name.startswith("w0-")]
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF
    path.write_bytes(content)
    read = read_segment(path)
    assert [entry for _, entry in read.entries] == [refused(book, 2)]
    assert len(read.damage) == 1


def test_a_ledger_from_before_is_brought_up_by_whoever_reads_it(book: Book, tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number, step in enumerate(MIGRATIONS[:5]):
            step(connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
    with closing(opened(path)) as connection:
        assert refusals(connection) == Refusals(0, {}, {})
        assert kept(connection, "r1") is None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM refusals")
    store = Store(path)
    book.wrote(folder, [book.intent(1), book.settlement(1), refused(book, 2)])
    book.take_in(store, folder)
    assert (book.ledger(store).keys(), refusals(store.connection).requests) == ({"r1-1"}, 1)
    store.close()


def judged(book: Book, number: int, request: str, outcome: str = "ok") -> tuple[Intent, Settlement]:
    call = f"{request}-moderation{number}"
    intent = book.intent(1, call=f"{call}-1", request=call, reason="moderation")
    return intent, book.settlement(1, call=f"{call}-1", outcome=outcome)


def test_a_moderation_that_a_guard_model_judged_is_found(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [*judged(book, 1, "r7"), *judged(book, 2, "r7"),
        *judged(book, 1, "r71"), *judged(book, 12, "r71", "failed"),
        book.intent(5, call="r9-guard1-1", request="r9-guard1", reason="guard"),
        book.settlement(5, call="r9-guard1-1")])  # fmt: skip
    book.take_in(store, folder)
    found = kept(store.connection, "r7")
    assert found is not None
    assert (found.request, found.deployment, found.reason, found.outcome) == ("r7", "lab/small", "moderation", "ok")
    failed = kept(store.connection, "r71")
    assert failed is not None
    assert failed.outcome == "failed", "one text was not judged"
    assert kept(store.connection, "r9") is None, "a question about a request is no answer to it"
