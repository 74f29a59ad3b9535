"""Ingestion: the ledger says what the journals said, once, in whatever pieces it was read, wherever it was cut off."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.config.schema import Config, ModelFacts, Owned, Provider
from freehold.record import ingest as ingest_module
from freehold.record.entries import Intent, Settlement
from freehold.record.ingest import Ingest
from freehold.record.journal import Journal, read_segment, segments, writer_lives
from freehold.record.prices import Pricer
from freehold.record.rows import MOST
from freehold.record.store import Store

Book = Any


class Crash(Exception):
    pass


class Fragile(Store):
    """A store whose process ends at a chosen moment."""

    crash = ""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with super().transaction() as connection:
            yield connection
            if self.crash == "before commit":
                raise Crash
        if self.crash == "after commit":
            raise Crash

    def settle(self) -> bool:
        if self.crash == "before removal":
            raise Crash
        return super().settle()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("intent"), st.integers(0, 2), st.integers(0, 0)),
        st.tuples(st.just("settle"), st.integers(0, 2), st.integers(0, 20)),
        st.tuples(st.just("kill"), st.integers(0, 2), st.integers(0, 0)),
        st.tuples(st.just("step"), st.integers(1, 5), st.integers(0, 0)),
        st.tuples(st.just("before commit"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("after commit"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("before removal"), st.integers(1, 5), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS)
def test_any_interleaving_gives_the_same_ledger(book: Book, actions: list[tuple[str, int, int]]) -> None:
    """Three workers write and die, the ingester reads in pieces and crashes; in the end every intent is in the ledger
    once, with its settlement if it had one."""
    with tempfile.TemporaryDirectory() as home:
        folder, database = Path(home) / "journal", Path(home) / "freehold.db"
        writers = [Journal(folder, f"w{i}", segment_bytes=400) for i in range(3)]
        running: list[list[int]] = [[], [], []]
        expected: dict[str, tuple[Intent, Settlement | None]] = {}
        store = Fragile(database)
        ingest = Ingest(store, folder, book.pricer)
        for what, first, second in actions:
            if what == "intent":
                number = len(expected)
                intent = book.intent(number)
                writers[first].append(intent)
                expected[intent.call] = (intent, None)
                running[first].append(number)
            elif what == "settle" and running[first]:
                number = running[first].pop(second % len(running[first]))
                settlement = book.settlement(number)
                writers[first].append(settlement)
                expected[settlement.call] = (book.intent(number), settlement)
            elif what == "kill":
                writers[first].close()
                running[first].clear()
                writers[first] = Journal(folder, f"w{first}", segment_bytes=400)
            elif what == "step":
                ingest.step(first)
            elif what in ("before commit", "after commit", "before removal"):
                store.crash = what
                with suppress(Crash):
                    ingest.step(first)
                store.crash = ""
                if second:
                    ingest.close()
                    store.close()
                    store = Fragile(database)
                    ingest = Ingest(store, folder, book.pricer)
        for writer in writers:
            writer.close()
        ingest.close()
        book.take_in(store, folder, 3)
        ledger = book.ledger(store)
        assert ledger.keys() == expected.keys()
        for call, (intent, settlement) in expected.items():
            row = ledger[call]
            assert (row["key"], row["held"], row["request"]) == (intent.key, intent.held, intent.request)
            if settlement is None:
                assert (row["outcome"], row["cost_usd"], row["output"]) == ("unknown", None, 0)
            else:
                cost = (settlement.uncached * 1000 + settlement.output * 2000) / 1e9
                assert (row["outcome"], row["output"], row["cost_usd"]) == ("ok", settlement.output, cost)
        book.check_sums(store)
        assert segments(folder) == []
        assert store.connection.execute("SELECT count(*) FROM open_calls").fetchone() == (0,)
        store.close()


def test_a_settlement_in_a_later_batch_finds_its_intent(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    assert book.take_in(store, folder).calls == 0
    assert book.ledger(store) == {}
    journal.append(book.settlement(1))
    assert book.take_in(store, folder).calls == 1
    row = book.ledger(store)["r1-1"]
    assert (row["outcome"], row["deployment"], row["reason"]) == ("ok", "lab/small", "first of its alias")
    journal.close()


def test_calls_of_a_living_writer_stay_open(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    ingest = Ingest(store, folder, book.pricer)
    for _ in range(3):
        assert ingest.step().calls == 0
    journal.close()
    assert ingest.step().calls == 1
    assert book.ledger(store)["r1-1"]["outcome"] == "unknown"
    assert store.totals().calls == {"priced": 0, "unpriced": 0, "owned": 0, "unknown": 1}
    ingest.close()


def test_a_writer_that_rotates_and_dies_while_it_is_asked_for(
    book: Book, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(folder, "w0", segment_bytes=200)
    journal.append(book.intent(1))
    first = journal.path

    def asked(directory: Path, incarnation: str) -> bool:
        journal.append(book.settlement(1, upstream_id="x" * 100))
        journal.close()
        return writer_lives(directory, incarnation)

    monkeypatch.setattr(ingest_module, "writer_lives", asked)
    ingest = Ingest(store, folder, book.pricer)
    ingest.step()
    monkeypatch.undo()
    ingest.step()
    ingest.close()
    assert journal.path != first
    assert book.ledger(store)["r1-1"]["outcome"] == "ok"


def test_a_finished_segment_is_never_read_again(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    journal.append(book.settlement(1))
    content, path = journal.path.read_bytes(), journal.path
    journal.close()
    book.take_in(store, folder)
    assert not path.exists()
    path.write_bytes(content)
    assert book.take_in(store, folder).entries == 0
    assert len(book.ledger(store)) == 1
    assert not path.exists()


def test_a_journal_stays_until_the_ledger_is_on_the_disk(
    book: Book, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    journal.close()
    monkeypatch.setattr(store, "settle", lambda: False)
    book.take_in(store, folder)
    assert segments(folder) == [journal.path]
    monkeypatch.undo()
    book.take_in(store, folder)
    assert segments(folder) == []
    assert len(book.ledger(store)) == 1


def test_one_process_ingests_at_a_time(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    first, second = Ingest(store, folder, book.pricer), Ingest(store, folder, book.pricer)
    assert not first.step().locked
    journal.append(book.settlement(1))
    report = second.step()
    assert report.locked
    assert report.entries == 0
    first.close()
    assert second.step().entries == 1
    assert len(book.ledger(store)) == 1
    second.close()
    journal.close()


def test_a_damaged_segment_is_kept_for_a_person(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    start = read_segment(journal.path).next_offset
    journal.append(book.intent(2))
    journal.append(book.settlement(2))
    journal.append(book.settlement(1))
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[start + 20] ^= 8
    journal.path.write_bytes(content)
    report = book.take_in(store, folder)
    assert (report.entries, report.calls, report.damage) == (3, 2, 1)
    rows = book.ledger(store)
    assert rows["r1-1"]["outcome"] == "ok"
    lost = rows["r2-1"]
    assert (lost["outcome"], lost["output"], lost["deployment"], lost["cost_usd"]) == ("ok", 4, "", None)
    assert [path.name for path in folder.glob("w0*")] == [journal.path.name + ".damaged"]


def test_an_append_under_way_is_waited_for(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    end = read_segment(journal.path).next_offset
    journal.append(book.settlement(1))
    with open(journal.path, "r+b") as file:
        file.seek(end)
        header = file.read(8)
        file.seek(end)
        file.write(bytes(8))
        file.flush()
        assert book.take_in(store, folder).damage == 0
        file.seek(end)
        file.write(header)
    report = book.take_in(store, folder)
    assert (report.calls, report.damage) == (1, 0)
    journal.close()


def test_a_torn_end_of_a_dead_writer_is_damage(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    journal.append(book.settlement(1))
    journal.close()
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    report = book.take_in(store, folder)
    assert (report.calls, report.damage) == (1, 1)
    assert book.ledger(store)["r1-1"]["outcome"] == "unknown"


def test_a_call_id_seen_twice_loses_nothing(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    for _ in range(3):
        journal.append(book.intent(5))
        journal.append(book.settlement(5))
        book.take_in(store, folder)
    journal.append(book.intent(5))
    journal.append(book.intent(5))
    journal.append(book.settlement(5))
    journal.close()
    book.take_in(store, folder)
    rows = book.ledger(store)
    assert sorted(row["outcome"] for row in rows.values()) == ["ok"] * 4 + ["unknown"]
    assert set(rows) == {"r5-1", "r5-1@2", "r5-1@3", "r5-1@4", "r5-1@5"}
    assert sum(row["output"] for row in rows.values()) == 4 * 10
    book.check_sums(store)


@pytest.mark.parametrize(
    "lie", [{"output": 2**62}, {"uncached": -5}, {"cache_read": MOST + 1}, {"total_us": 2**64 - 1}]
)
def test_figures_no_call_can_have_do_not_stop_the_ledger(
    book: Book, store: Store, folder: Path, lie: dict[str, int]
) -> None:
    journal = Journal(folder, "w0")
    for number, changes in enumerate(({}, lie, {})):
        journal.append(book.intent(number))
        journal.append(book.settlement(number, **changes))
    journal.close()
    assert book.take_in(store, folder).calls == 3
    rows = book.ledger(store)
    assert rows["r2-1"]["cost_usd"] is not None
    for name, value in lie.items():
        assert 0 <= rows["r1-1"][name] <= max(MOST, 2**63 - 1)
        if name != "total_us":
            assert rows["r1-1"][name] == (MOST if value > 0 else 0)
            assert rows["r1-1"]["cost_usd"] is None
    book.check_sums(store)


def test_who_is_priced_how(book: Book, store: Store, folder: Path) -> None:
    config = Config(
        providers={"lab": Provider(models={"small": ModelFacts(input=1.0, output=2.0)})},
        own=[Owned("a.gguf", name="free"), Owned("b.gguf", name="billed", facts=ModelFacts(output=3.0))],
    )
    calls = [
        ("lab", "small", False, {}, 0.000005),
        ("lab", "other", False, {}, None),
        ("lab", "other", False, {"outcome": "failed", "uncached": 0, "output": 0}, 0),
        ("own", "free", True, {}, 0),
        ("own", "billed", True, {}, 0.000006),
    ]
    journal = Journal(folder, "w0")
    for number, (provider, model, owned, changes, _) in enumerate(calls):
        deployment = f"{provider}/{model}"
        journal.append(book.intent(number, provider=provider, model=model, deployment=deployment, owned=owned))
        journal.append(book.settlement(number, **{"uncached": 1, "output": 2, **changes}))
    journal.close()
    book.take_in(store, folder, pricer=Pricer(config, {}))
    rows = book.ledger(store)
    assert [rows[f"r{number}-1"]["cost_usd"] for number in range(len(calls))] == [call[-1] for call in calls]
    totals = store.totals()
    assert totals.calls == {"priced": 2, "unpriced": 1, "owned": 2, "unknown": 0}
    assert totals.cost == {
        ("lab/small", "rented"): 5000,
        ("lab/other", "rented"): 0,
        ("own/free", "owned"): 0,
        ("own/billed", "owned"): 6000,
    }


def test_a_new_price_counts_from_then_on(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    ingest = Ingest(store, folder, book.pricer)
    for number, price in enumerate((1.0, 4.0)):
        config = Config(providers={"lab": Provider(models={"small": ModelFacts(input=price, output=price)})})
        ingest.pricer = Pricer(config, {})
        journal.append(book.intent(number))
        journal.append(book.settlement(number, uncached=1000, output=0))
        ingest.step()
    journal.close()
    ingest.close()
    rows = book.ledger(store)
    assert [rows["r0-1"]["cost_usd"], rows["r1-1"]["cost_usd"]] == [0.001, 0.004]
    kept = store.connection.execute("SELECT id, model, source FROM prices ORDER BY id").fetchall()
    assert kept == [(1, "small", "freehold.yaml"), (2, "small", "freehold.yaml")]
    assert [rows["r0-1"]["price"], rows["r1-1"]["price"]] == [1, 2]


def test_lag_is_told_only_while_something_waits(book: Book, store: Store, folder: Path) -> None:
    journal = Journal(folder, "w0")
    for number in range(4):
        journal.append(book.intent(number, at=1))
    ingest = Ingest(store, folder, book.pricer)
    assert ingest.step(2).lag_seconds > 0
    assert ingest.step(3).lag_seconds == 0
    assert ingest.step(3).entries == 0
    ingest.close()
    journal.close()


def test_an_error_leaves_the_step_to_be_done_again(book: Book, store: Store, folder: Path) -> None:
    class Broken(Pricer):
        def rates(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no prices today")

    journal = Journal(folder, "w0")
    journal.append(book.intent(1))
    journal.append(book.settlement(1))
    ingest = Ingest(store, folder, Broken(Config(), {}))
    with pytest.raises(RuntimeError):
        ingest.step()
    assert not store.connection.in_transaction
    ingest.pricer = book.pricer
    assert ingest.step().calls == 1
    ingest.close()
    journal.close()
