"""run/spent.json: the steward writes it, workers read it, and what is spent is what the ledger says."""

import time
from pathlib import Path

import pytest

from freehold.admit.budget import Budgets, Spent
from freehold.admit.keys import Principal, add_key
from freehold.config.budgets import Budget
from freehold.config.schema import Config, Key, ModelFacts, Provider
from freehold.home import journal_dir, keys_file, run_dir
from freehold.record.entries import Intent, Settlement
from freehold.record.ingest import Ingest
from freehold.record.journal import Journal
from freehold.record.prices import Pricer
from freehold.record.store import Store
from freehold.serve.published import Published
from freehold.serve.steward import Spending

PRICED = {"lab": Provider(models={"small": ModelFacts(input=1.0, output=2.0)})}
BUDGETED = Key("bot", hash="0" * 64, budget="$5/day")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def spent() -> Published[Spent]:
    return Published(run_dir() / "spent.json", Spent)


def test_what_the_ledger_has_is_taken_from_the_budget(home: Path, spent: Published[Spent]) -> None:
    now = time.time()
    journal = Journal(journal_dir(), "w0")
    journal.append(
        Intent(
            "c-1", "c", int(now * 1e9), 1, "bot", "m", "lab/small", "lab", "small", "chat", False, False, 9, "v", "r"
        )
    )
    journal.append(Settlement("c-1", "ok", 200, uncached=1_000_000, output=250_000))
    config = Config(providers=PRICED, keys=[BUDGETED])
    store = Store(home / "freehold.db")
    ingest = Ingest(store, journal_dir(), Pricer(config, {}))
    ingest.step()
    Spending().publish(store.connection, config, now)
    ingest.close()
    journal.close()
    store.close()
    assert spent.refresh()
    assert spent.value.keys == {"bot": (1_500_000_000,) * 3}
    ledger = Budgets()
    ledger.update(spent.value)
    assert ledger.left(Principal("bot", budget=Budget(5.0, "day")), now) == 3.5


def test_without_budgets_nothing_is_written_and_a_key_beside_the_file_counts(
    home: Path, spent: Published[Spent]
) -> None:
    store = Store(home / "freehold.db")
    Spending().publish(store.connection, Config(keys=[Key("bot", hash="0" * 64)]), 1.0)
    assert not spent.refresh()
    add_key(keys_file(), Key("ci", budget="$1/week"))
    Spending().publish(store.connection, Config(), 1.0)
    store.close()
    assert spent.refresh()
    assert spent.value.at == 1.0


def test_a_key_file_that_cannot_be_read_does_not_stop_the_ledger(home: Path, spent: Published[Spent]) -> None:
    keys_file().write_bytes(b"[{")
    store = Store(home / "freehold.db")
    Spending().publish(store.connection, Config(), 1.0)
    store.close()
    assert spent.refresh()


def test_the_sums_are_made_again_when_something_came_in_or_a_day_began(home: Path, spent: Published[Spent]) -> None:
    store = Store(home / "freehold.db")
    spending, noon = Spending(), 1_790_000_000.0 // 86_400 * 86_400 + 43_200
    config = Config(keys=[BUDGETED])
    spending.publish(store.connection, config, noon)
    with store.transaction() as connection:
        route = store.routes["bot", "m", "lab/small", "lab", "small", "chat", False]
        row = (noon // 3600, route, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 7, 0)
        connection.execute(f"INSERT INTO spend VALUES ({', '.join('?' * len(row))})", row)
    spending.changed = True
    spending.publish(store.connection, config, noon + 2)
    spent.refresh()
    assert (spent.value.at, spent.value.keys) == (noon + 2, {"bot": (7, 7, 7)})
    spending.publish(store.connection, config, noon + 86_400)
    store.close()
    spent.refresh()
    assert spent.value.keys["bot"][0] == 0
    assert spent.value.began["day"] == noon + 43_200


def test_a_broken_file_is_no_knowledge(spent: Published[Spent]) -> None:
    (run_dir() / "spent.json").write_bytes(b'{"at": 1e12, "keys": {"bot": [1]}}')
    spent.refresh()
    assert spent.value == Spent()
