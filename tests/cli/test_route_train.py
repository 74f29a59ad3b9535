"""`freehold route train`: what it writes, from files and from the ledger."""

import json
from pathlib import Path

import msgspec
import outcome_tables as made
import pytest
from click.testing import CliRunner, Result

from freehold.cli.route import command
from freehold.decide import floor, predict
from freehold.errors import BadRequest, ConfigError, NotFound
from freehold.measure.routing import scores, tables


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> predict.Predictor:
    """What stands for the predictor in the package."""
    table = tables.read(made.zeroeval(tmp_path_factory.mktemp("made") / "t.csv", 300, seed=11))
    table.models = {f"old-{name}": column for name, column in table.models.items()}
    return scores.learned(table, 0)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, shipped: predict.Predictor, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(predict, "default", lambda: shipped)
    return tmp_path / "home"


def trained(*words: object) -> Result:
    return CliRunner().invoke(command, ["train", *map(str, words)])


def test_files_become_a_predictor_and_its_floors(tmp_path: Path, state: Path) -> None:
    result = trained("--data", made.zeroeval(tmp_path / "a.csv", 900), "--json")
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    target = state / "route.predictor"
    assert told["file"] == str(target)
    assert {one["model"] for one in told["models"]} == set(made.MODELS)
    assert set(made.MODELS) <= set(predict.load(target).names)
    floors = msgspec.json.decode((state / "route.predictor.floors.json").read_bytes(), type=list[floor.Certificate])
    assert {one.predictor for one in floors} == {floor.named(target.read_bytes())}
    assert {one.alpha for one in floors} == {0.02, 0.05, 0.1} | {one.alpha for one in floors}


def test_several_files_and_another_place(tmp_path: Path) -> None:
    files = [made.routellm(tmp_path / "a.csv", 60), made.routellm(tmp_path / "b.csv", 60, seed=1)]
    result = trained("--data", *files, "--out", tmp_path / "mine.predictor")
    assert result.exit_code == 0, result.exception
    assert "120 judged requests, 2 models" in result.stderr
    assert "Brier" in result.stdout
    assert "no floor" in result.stderr or "needs" in result.stderr
    again = trained("--data", *files, "--from", tmp_path / "mine.predictor", "--out", tmp_path / "next.predictor")
    assert again.exit_code == 0, again.exception


def test_mistakes_are_told(tmp_path: Path) -> None:
    path = made.routellm(tmp_path / "a.csv", 30)
    assert trained().exit_code == 2
    assert trained("--data", path, "--ledger").exit_code == 2
    assert isinstance(trained("--ledger").exception, NotFound)
    assert isinstance(trained("--data", tmp_path / "none.csv").exception, ConfigError)
    assert isinstance(trained("--data", made.routellm(tmp_path / "b.csv", 5)).exception, BadRequest)
    (tmp_path / "bad.predictor").write_bytes(b"nonsense")
    assert isinstance(trained("--data", path, "--from", tmp_path / "bad.predictor").exception, ConfigError)
