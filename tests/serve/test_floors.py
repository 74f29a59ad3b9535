"""The watch over quality floors: the ledger's outcomes close a gate, and closed it stays."""

import json
import time
from pathlib import Path

import msgspec
import pytest

from freehold.config.load import loads
from freehold.decide.floor import Certificate
from freehold.home import journal_dir
from freehold.record.entries import Decided, Intent, Outcome, Settlement, Weighed
from freehold.record.ingest import Ingest
from freehold.record.journal import Journal
from freehold.record.prices import Pricer
from freehold.record.store import Store
from freehold.serve.floors import Floors
from freehold.serve.foresight import Foresight, digest

CERTIFICATE = Certificate(
    alpha=0.05,
    delta=0.05,
    threshold=0.2,
    strong="lab/strong",
    cheaper=("own/small",),
    predictor="p",
    calibrated=1000,
    routed=500,
    failed=5,
    bound=0.04,
    edges=(0.05, 0.1),
    counts=(300, 400, 300),
    source="test",
    made="2026-01-01",
)


class Known(Foresight):
    """Foresight of one certificate."""

    def __init__(self) -> None:
        pass

    def certificate(self, floor: float, confidence: float, route: str) -> Certificate:
        return CERTIFICATE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    return tmp_path


class Ledger:
    def __init__(self, home: Path) -> None:
        self.store = Store(home / "freehold.db")
        self._journal = Journal(journal_dir(), "w0")
        self._ingest = Ingest(self.store, journal_dir(), Pricer(loads(b"{}", {}).config, {}))
        self._number = 0

    def answered(self, good: float | None, small: float = 0.9, strong: float = 0.95) -> None:
        """A request that went to the small model, and how good its answer was found."""
        self._number += 1
        call = f"r{self._number}-1"
        weighed = [Weighed(name, int(q * 1e4), 1, 1, 0) for name, q in (("own/small", small), ("lab/strong", strong))]
        decided = Decided("r", 1.0, False, "chat", "", 9, 9, 0, "", 0, b"", b"", weighed)
        self._journal.append(
            Intent(
                call, f"r{self._number}", time.time_ns(), 1, "k", "r", "own/small", "own", "small", "chat", True, False,
                9, "v", "x", "", decided,
            )
        )  # fmt: skip
        self._journal.append(Settlement(call, "ok", 200))
        if good is not None:
            self._journal.append(Outcome(call, "feedback", good, 1.0, time.time_ns(), "k"))

    def take_in(self) -> None:
        while self._ingest.step().entries:
            pass


def floors(home: Path) -> Floors:
    watching = Floors(home / "floors.json", home / "alarms.json")
    watching.configure(Known(), {"r": (0.95, 0.95)})
    return watching


def alarms(home: Path) -> dict[str, str]:
    told: dict[str, str] = json.loads((home / "alarms.json").read_bytes())
    return told


def test_answers_that_keep_the_promise_leave_the_gate_open(home: Path) -> None:
    ledger, watching = Ledger(home), floors(home)
    for number in range(300):
        ledger.answered(0.0 if number % 50 == 0 else 1.0)
    ledger.take_in()
    watching.step(ledger.store.connection)
    assert alarms(home) == {}


def test_answers_that_break_it_close_the_gate_and_closed_it_stays(home: Path) -> None:
    ledger, watching = Ledger(home), floors(home)
    for number in range(300):
        ledger.answered(0.0 if number % 3 == 0 else 1.0)
    ledger.take_in()
    watching.step(ledger.store.connection)
    told = alarms(home)
    assert "more requests failed at a cheaper model" in told[digest(CERTIFICATE)]
    assert alarms(home) == told
    assert set(alarms(home)) == {digest(CERTIFICATE)}
    (home / "alarms.json").unlink()
    floors(home)
    assert alarms(home) == told, "another steward remembers"


def test_prompts_of_another_kind_close_it_without_any_outcome(home: Path) -> None:
    ledger, watching = Ledger(home), floors(home)
    for _ in range(600):
        ledger.answered(None, small=0.3)
    ledger.take_in()
    watching.step(ledger.store.connection)
    assert "of another kind" in alarms(home)[digest(CERTIFICATE)]


def test_a_worker_closes_its_gate_by_what_is_published(home: Path) -> None:
    path = home / "mine.predictor"
    path.with_name("mine.predictor.floors.json").write_bytes(msgspec.json.encode([CERTIFICATE]))
    told: dict[str, str] = {}
    foresight = Known()
    foresight._alarms, foresight._gates = told, {}
    gate = foresight.gate(0.95, 0.95, "r")
    assert gate.refuses("own/small", "lab/strong", (0.95, 0.95)) is None
    told[digest(CERTIFICATE)] = "it was broken"
    again = foresight.gate(0.95, 0.95, "r")
    assert again.refuses("own/small", "lab/strong", (0.95, 0.95)) == "the floor no longer holds: it was broken"
