"""What a measurement comes to, how it is kept, and that it stays in its bounds."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.own.measure import (
    KEPT,
    Cell,
    Grid,
    Machine,
    Measure,
    Memory,
    Percentiles,
    Sample,
    grid,
    history,
    latest,
    machine,
    memory,
    percentiles,
    save,
    summary,
)


def measure(name: str = "m", at: float = 1.0) -> Measure:
    cell = Cell(2, 32, 30, 4, 0, 1.5, 80.0, Percentiles(1, 2, 3), None)
    host = Machine("a processor", 2, 1 << 30)
    return Measure(name, at, "llamacpp", "1", "Q8_0", 10, 512, 4, "gateway", host, Memory(2, 1), (cell,))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_percentiles_are_of_the_values_and_in_milliseconds() -> None:
    assert percentiles([]) is None
    assert percentiles([0.5]) == Percentiles(500, 500, 500)
    assert percentiles(n / 1000 for n in range(100)) == Percentiles(50, 95, 99)


@given(st.lists(st.floats(0, 1e3), min_size=1))
def test_percentiles_are_ordered_and_among_the_values(values: list[float]) -> None:
    found = percentiles(values)
    assert found is not None
    assert found.p50 <= found.p95 <= found.p99 <= round(max(values) * 1000, 3)


def test_failed_requests_count_as_failed_and_for_nothing_else() -> None:
    good = Sample(first=0.1, pauses=[0.01, 0.03], prompt=30, output=3)
    bad = Sample(first=9.0, pauses=[9.0], prompt=900, output=900, error="status 500")
    cell = summary([good, bad, good], 2, 32, 2.0)
    assert (cell.requests, cell.failed, cell.prompt, cell.tokens_per_second) == (3, 1, 30, 3.0)
    assert cell.first == Percentiles(100, 100, 100)
    assert cell.error == "status 500"
    assert summary([bad], 1, 32, 0.0).tokens_per_second == 0.0


@given(st.integers(16, 200_000), st.integers(1, 256), st.integers(1, 5000))
def test_a_grid_fits_the_model_and_its_bounds(context: int, parallel: int, requests: int) -> None:
    made = grid(context, parallel, requests=requests)
    cells = made.cells()
    assert cells
    for many, prompt, count in cells:
        assert prompt + made.output <= max(context, 8 + made.output)
        assert count >= many
    assert sum(count for _, _, count in cells) <= requests + sum(max(3, many) for many, _, _ in cells)


def test_every_cell_gets_its_share() -> None:
    assert Grid((1, 3), (8, 16), requests=80).cells() == [(1, 8, 10), (3, 8, 30), (1, 16, 10), (3, 16, 30)]


def test_the_latest_is_what_was_saved_last() -> None:
    assert latest("m") is None
    save(measure(at=1.0))
    path = save(measure(at=2.0))
    assert latest("m") == latest("own/m") == measure(at=2.0)
    assert [one.at for one in history("m")] == [1.0, 2.0]
    assert path.stat().st_mode & 0o777 == 0o600


def test_names_cannot_lead_out(home: Path) -> None:
    path = save(measure("../../x/y"))
    assert path.parent == home / "measures"
    assert latest("../../x/y") is not None


def test_damaged_lines_cost_themselves_only() -> None:
    path = save(measure(at=1.0))
    path.write_bytes(path.read_bytes() + b"{torn\n" + json.dumps({"name": 3}).encode() + b"\n")
    assert [one.at for one in history("m")] == [1.0]
    save(measure(at=2.0))
    assert [one.at for one in history("m")] == [1.0, 2.0]


def test_the_oldest_go() -> None:
    for number in range(KEPT + 3):
        save(measure(at=float(number)))
    kept = history("m")
    assert (len(kept), kept[0].at, kept[-1].at) == (KEPT, 3.0, float(KEPT + 2))


def test_the_machine_and_its_memory_are_read() -> None:
    host = machine(("a GPU",))
    assert host.cores >= 1
    assert host.gpus == ("a GPU",)
    held = memory([os.getpid()])
    if held.rss is not None and held.pss is not None:
        assert held.rss >= held.pss > 1 << 20
    assert memory([]) == Memory()
