"""Decisions and outcomes on their way into the ledger: each once, in whatever order they come, and never another's."""

import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.record import learned
from freehold.record.entries import Decided, Entry, Intent, Outcome, Settlement, Weighed
from freehold.record.ingest import Ingest
from freehold.record.journal import Journal, read_segment, segments
from freehold.record.migrations import MIGRATIONS, migrate
from freehold.record.outcomes import past, training
from freehold.record.readings import pack
from freehold.record.store import Store

Book = Any
READING = pack([0.5, -1.25])


def decided(**changes: Any) -> Decided:
    usual = Decided(
        "auto", 0.98, False, "chat", "schema,tools", 120, 1024, 800, "lab/small", 64, b"\x01\x02\x03\x04", READING,
        [Weighed("lab/small", 8123, 1500, 900, 980_000), Weighed("big/large", 9000, None, None, 20_000)],
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def outcome(about: str, **changes: Any) -> Outcome:
    usual = Outcome(about, "feedback", 1.0, 1.0, time.time_ns(), "bot", "correct")
    return msgspec.structs.replace(usual, **changes)


def outcomes(store: Store) -> list[tuple[str, str, float]]:
    query = "SELECT calls.call, source, value FROM outcomes JOIN calls ON calls.id = outcomes.call ORDER BY 1, 2"
    rows = store.connection.execute(query)
    return sorted((call, learned.SOURCES[source], value) for call, source, value in rows)


def waiting(store: Store) -> int:
    count: int = store.connection.execute("SELECT count(*) FROM open_outcomes").fetchone()[0]
    return count


def test_a_decision_is_kept_whole(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [book.intent(1, decided=decided(), label="internal+phi"), book.settlement(1), outcome("r1-1")])
    book.take_in(store, folder)
    (one,) = past(store.connection)
    assert (one.request, one.key, one.asked, one.label) == ("r1", "bot", "fast", "internal+phi")
    assert (one.value, one.weight, one.answered, one.cost) == (1.0, 1.0, "lab/small", 5000)
    decision = one.decision
    assert decision is not None
    assert (decision.route, decision.propensity, decision.explored, decision.kind) == ("auto", 0.98, False, "chat")
    assert decision.needs == {"schema", "tools"}
    assert (decision.input, decision.output, decision.limit) == (120, 1024, 800)
    assert (decision.ran, decision.cached) == ("lab/small", 64)
    assert (decision.basis, decision.reading) == (b"\x01\x02\x03\x04", READING)
    small, large = decision.candidates
    assert (small.name, small.quality, small.dollars, small.seconds, small.chance) == (
        "lab/small", 0.8123, 1.5e-6, 0.9, 0.98,
    )  # fmt: skip
    assert (large.name, large.quality, large.dollars, large.seconds, large.chance) == (
        "big/large",
        0.9,
        None,
        None,
        0.02,
    )
    shown = book.ledger(store)["r1-1"]
    assert (shown["ruled_by"], shown["label"], shown["value"]) == ("auto", "internal+phi", 1.0)
    assert (shown["quality"], shown["expected_usd"]) == (0.8123, 1.5e-6)


def test_a_request_that_nobody_decided_leaves_no_decision(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [book.intent(1), book.settlement(1)])
    book.take_in(store, folder)
    assert store.connection.execute("SELECT count(*) FROM decisions").fetchone() == (0,)
    (one,) = past(store.connection)
    assert (one.decision, one.label, one.value) == (None, "", None)


STEPS = st.permutations(["intent", "settle", "up", "down", "schema", "retry"])


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, cuts=st.lists(st.integers(1, 3), max_size=6), by_request=st.booleans())
def test_whatever_the_order_each_outcome_counts_once(
    book: Book, steps: list[str], cuts: list[int], by_request: bool
) -> None:
    """The ingester reads in pieces, and ends between them; verdicts come before, within and after their call."""
    about = "r1" if by_request else "r1-1"
    begin = time.time_ns()
    made: dict[str, Entry] = {
        "intent": book.intent(1, decided=decided()),
        "settle": book.settlement(1),
        "up": outcome(about, value=1.0, at=begin + 1),
        "down": outcome(about, value=0.0, at=begin + 2),
        "schema": outcome(about, source="schema", value=1.0, weight=0.5, by=""),
        "retry": outcome(about, source="retry", value=0.0, weight=0.2, by=""),
    }
    if steps.index("settle") < steps.index("intent"):
        steps = [{"settle": "intent", "intent": "settle"}.get(step, step) for step in steps]
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "journal"
        store = Store(Path(home) / "freehold.db")
        book.wrote(folder, [made[step] for step in steps])
        for cut in cuts:
            ingest = Ingest(store, folder, book.pricer)
            ingest.step(cut)
            ingest.close()
        book.take_in(store, folder)
        assert outcomes(store) == [("r1-1", "feedback", 0.0), ("r1-1", "retry", 0.0), ("r1-1", "schema", 1.0)]
        assert waiting(store) == 0
        store.close()


def test_an_outcome_of_a_request_is_about_the_call_that_answered(book: Book, store: Store, folder: Path) -> None:
    failed = book.settlement(1, outcome="failed", status=503)
    second = book.intent(1, call="r1-2", attempt=2, deployment="lab/other")
    book.wrote(
        folder, [book.intent(1, decided=decided()), failed, outcome("r1"), second, book.settlement(1, call="r1-2")]
    )
    book.take_in(store, folder)
    assert outcomes(store) == [("r1-2", "feedback", 1.0)]
    (row,) = training(store.connection)
    assert (row.deployment, row.first, row.reading, row.route) == ("lab/other", False, READING, "auto")
    (one,) = past(store.connection)
    assert (one.deployment, one.answered, one.attempts, one.value) == ("lab/small", "lab/other", 2, 1.0)


def test_nobody_rates_what_another_asked(book: Book, store: Store, folder: Path) -> None:
    book.wrote(
        folder,
        [book.intent(1), book.settlement(1), outcome("r1-1", by="other"), outcome("r1-1", source="judge", by="")],
    )
    book.take_in(store, folder)
    assert outcomes(store) == [("r1-1", "judge", 1.0)]


@pytest.mark.parametrize(
    "lie",
    [{"value": 1.5}, {"value": float("nan")}, {"weight": 0.0}, {"weight": float("inf")}, {"source": "rumour"},
     {"note": "x" * 201}],
)  # fmt: skip
def test_what_says_nothing_sane_is_dropped(book: Book, store: Store, folder: Path, lie: dict[str, Any]) -> None:
    book.wrote(folder, [book.intent(1), book.settlement(1), outcome("r1-1", **lie)])
    book.take_in(store, folder)
    assert outcomes(store) == []
    assert waiting(store) == 0


def test_an_outcome_waits_for_its_call_and_not_for_ever(book: Book, store: Store, folder: Path) -> None:
    old = time.time_ns() - int((learned.WAIT_SECONDS + 1) * 1e9)
    book.wrote(folder, [outcome("r1-1"), outcome("r2-1", at=old), outcome("never")])
    book.take_in(store, folder)
    assert waiting(store) == 2
    book.wrote(folder, [book.intent(1), book.settlement(1), book.intent(2), book.settlement(2)])
    book.take_in(store, folder)
    assert outcomes(store) == [("r1-1", "feedback", 1.0)]
    assert waiting(store) == 1


def test_as_many_wait_as_there_is_room_for(
    book: Book, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "MOST_WAITING", 3)
    now = time.time_ns()
    book.wrote(folder, [outcome(f"r{number}-1", at=now + number) for number in range(5)])
    book.take_in(store, folder)
    kept = [about for (about,) in store.connection.execute("SELECT about FROM open_outcomes ORDER BY 1")]
    assert kept == ["r2-1", "r3-1", "r4-1"]


def test_a_settlement_by_a_newer_word_is_not_undone_by_an_older_one(book: Book, store: Store, folder: Path) -> None:
    book.wrote(folder, [book.intent(1), book.settlement(1), outcome("r1-1", value=0.25, at=200)])
    book.take_in(store, folder)
    book.wrote(folder, [outcome("r1-1", value=1.0, at=100)])
    book.take_in(store, folder)
    assert outcomes(store) == [("r1-1", "feedback", 0.25)]


def test_journals_of_an_older_freehold_still_read(book: Book, store: Store, folder: Path) -> None:
    """An intent without all that came later, as it was written before there were decisions."""
    later = Intent.__struct_fields__.index("decided") + 1  # the tag comes first
    short = msgspec.msgpack.decode(msgspec.msgpack.encode(book.intent(1)))[:later]

    class Raw(list[Any]):
        pass

    journal = Journal(folder, "w0")
    journal.append(Raw(short))  # type: ignore[arg-type]
    journal.append(book.settlement(1))
    journal.close()
    (entry, _), *_ = [read_segment(path).entries for path in segments(folder)]
    assert entry[1] == book.intent(1)
    book.take_in(store, folder)
    assert book.ledger(store)["r1-1"]["outcome"] == "ok"


def test_a_store_of_an_older_freehold_is_brought_up(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    for number, step in enumerate(MIGRATIONS[:2]):
        step(connection)
        connection.execute(f"PRAGMA user_version = {number + 1}")
    connection.execute("INSERT INTO names (id, name) VALUES (1, 'x')")
    connection.execute("INSERT INTO routes VALUES (1, 1, 1, 1, 1, 1, 1, 0)")
    columns = "call, at, route, attempt, stream, held, reason, config, outcome, status, uncached, cache_read"
    rest = "cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, estimated, first_us, total_us"
    connection.execute(
        f"INSERT INTO calls ({columns}, {rest}, upstream_id, served, error)"
        " VALUES ('r-1', 1, 1, 1, 0, 0, 1, 1, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 1, 1)"
    )
    migrate(connection)
    assert connection.execute("SELECT call, label, ruled_by, value FROM ledger").fetchall() == [
        ("r-1", None, None, None)
    ]
    connection.close()


def test_training_rows_hold_what_heads_are_fitted_from(book: Book, store: Store, folder: Path) -> None:
    book.wrote(
        folder,
        [
            book.intent(1, decided=decided(explored=True, propensity=0.01)), book.settlement(1),
            outcome("r1", value=0.0), outcome("r1-1", source="schema", value=1.0, weight=0.5, by=""),
            book.intent(2), book.settlement(2), outcome("r2"),
        ],
    )  # fmt: skip
    book.take_in(store, folder)
    rows = list(training(store.connection))
    assert [(row.request, row.source, row.value, row.weight) for row in rows] == [
        ("r1", "feedback", 0.0, 1.0), ("r1", "schema", 1.0, 0.5), ("r2", "feedback", 1.0, 1.0),
    ]  # fmt: skip
    first, _, direct = rows
    assert (first.propensity, first.explored, first.first, first.basis) == (0.01, True, True, b"\x01\x02\x03\x04")
    assert (first.provider, first.model, first.owned, first.key) == ("lab", "small", False, "bot")
    assert [one.name for one in first.candidates] == ["lab/small", "big/large"]
    assert (direct.reading, direct.route, direct.propensity) == (b"", "", 1.0)
    assert [row.source for row in training(store.connection, sources=["schema"])] == ["schema"]


def test_bad_marks_alone_are_not_learned_from(book: Book, store: Store, folder: Path) -> None:
    """`retry` comes only with its counterpart: answers that nobody repeated."""
    entries: list[Entry] = []
    for number in range(3):
        at = time.time_ns() - 10**12 + number
        entries += [book.intent(number, decided=decided(), at=at), book.settlement(number)]
    book.wrote(folder, [*entries, outcome("r1-1", source="retry", value=0.0, weight=0.2, by="")])
    book.take_in(store, folder)
    assert list(training(store.connection)) == []
    rows = {row.request: (row.source, row.value) for row in training(store.connection, silence=True)}
    assert rows == {"r1": ("retry", 0.0), "r0": ("silence", 1.0), "r2": ("silence", 1.0)}
    assert all(one.value is None for one in past(store.connection))


def test_a_window_is_a_window(book: Book, store: Store, folder: Path) -> None:
    hour = 3600 * 10**9
    entries: list[Entry] = []
    for number in range(48):
        entries += [book.intent(number, at=book.at + number * hour), book.settlement(number)]
    book.wrote(folder, entries)
    book.take_in(store, folder, 7)
    since, until = (datetime.fromtimestamp((book.at + n * hour) / 1e9, UTC) for n in (10, 20))
    assert [one.request for one in past(store.connection, since=since, until=until)] == [f"r{n}" for n in range(10, 20)]
    assert len(list(past(store.connection))) == 48


def test_a_request_whose_first_attempt_called_nobody_is_there_too(book: Book, store: Store, folder: Path) -> None:
    """It could not even be prepared for its first deployment, so the journal begins with the second."""
    second = book.intent(1, call="r1-2", attempt=2, decided=decided())
    book.wrote(folder, [second, book.settlement(1, call="r1-2"), outcome("r1")])
    book.take_in(store, folder)
    (one,) = past(store.connection)
    assert (one.request, one.attempts, one.value) == ("r1", 1, 1.0)
    assert one.decision is not None
    (row,) = training(store.connection)
    assert row.reading == READING


def test_shadow_copies_are_no_requests(book: Book, store: Store, folder: Path) -> None:
    copy = book.intent(1, call="r1-shadow-1", request="r1-shadow")
    book.wrote(
        folder, [book.intent(1), book.settlement(1), copy, book.settlement(1, call="r1-shadow-1"), outcome("r1")]
    )
    book.take_in(store, folder)
    assert [one.request for one in past(store.connection)] == ["r1"]
    assert outcomes(store) == [("r1-1", "feedback", 1.0)]


def test_a_settlement_costs_no_more_for_what_is_not_decided(book: Book) -> None:
    """The plain path pays two bytes in the journal."""
    now = len(msgspec.msgpack.encode(book.intent(1)))
    before = len(msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(book.intent(1)))[:-2]))
    assert now - before == 2
    assert isinstance(book.settlement(1), Settlement)
    assert isinstance(book.intent(1), Intent)
