"""`freehold bench NAME`: an owned model measured, shown and kept."""

import json
from pathlib import Path

import pytest

from freehold.cli.bench_model import PLOT, Bounds, bench, plot
from freehold.errors import EngineError
from freehold.own.catalog import box_file
from freehold.own.measure import Cell, latest


@pytest.fixture
def config(tmp_path: Path, home: Path) -> Path:
    path = tmp_path / "freehold.yaml"
    path.write_text("discover: false\n")
    return path


def test_the_engine_is_started_where_no_gateway_runs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")
    if box_file() is None:
        pytest.skip("this installation has no model in the box")
    bench("own/banking77", Bounds(requests=12, seconds=20, output=4), config=config, as_json=True)
    said = json.loads(capsys.readouterr().out)
    kept = latest("banking77")
    assert kept is not None
    assert said["at"] == kept.at
    assert (kept.engine, kept.through, kept.quantisation) == ("llamacpp", "engine", "Q8_0")
    assert kept.cells
    assert sum(cell.failed for cell in kept.cells) == 0
    assert kept.best > 0


def test_a_model_that_is_not_there_names_those_that_are(config: Path) -> None:
    with pytest.raises(EngineError, match="own/absent is not among") as caught:
        bench("own/absent", Bounds(), config=config)
    assert "own/banking77" in (caught.value.hint or "")


def test_the_plot_is_plain_and_to_scale() -> None:
    cells = [Cell(many, 32, 30, 4, 0, 1.0, rate, None, None) for many, rate in ((1, 50.0), (2, 100.0), (4, 0.0))]
    head, one, two, none = plot(cells)
    assert head == "prompts of about 32 tokens"
    assert (one.count("#"), two.count("#"), none.count("#")) == (PLOT // 2, PLOT, 0)
    assert "".join([head, one, two, none]).isascii()
    assert plot([]) == []
