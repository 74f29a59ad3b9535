"""How fast an owned engine is: learned from its answers, and known beforehand where it was measured."""

from pathlib import Path

import pytest

from freehold.own.measure import Cell, Machine, Measure, Memory, Percentiles, save
from freehold.serve.engines import EngineTable
from freehold.serve.pace import Pace


def cell(concurrency: int, prompt: int, first: float, between: float, rate: float) -> Cell:
    usual, pauses = Percentiles(first, first, first), Percentiles(between, between, between)
    return Cell(concurrency, prompt, prompt, 10, 0, 10 * 32 / rate, rate, usual, pauses)


def test_a_better_sample_moves_it_more_than_a_worse_one() -> None:
    pace = Pace()
    pace.learn(1000, 0.1, 11, 0.2)
    assert (pace.first, pace.per_token, pace.reading) == pytest.approx((0.1, 0.01, 10_000))
    pace.learn(1000, 0.9, 11, 9.9)
    assert pace.first < 0.12
    pace.learn(1000, 0.02, 11, 0.03)
    assert pace.first < 0.1


def test_what_was_measured_alone_is_known_before_the_first_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    cells = (cell(1, 512, 50.0, 4.0, 180.0), cell(8, 512, 900.0, 30.0, 220.0))
    save(Measure("small", 0.0, "llamacpp", "1", None, None, 4096, 4, "engine", Machine("x", 2, None), Memory(), cells))
    pace = EngineTable(tmp_path).gate("small").pace
    assert (pace.first, pace.reading) == pytest.approx((0.05, 512 / 0.05))
    assert pace.per_token == pytest.approx(0.004)
    assert EngineTable(tmp_path).gate("other").pace == Pace()
