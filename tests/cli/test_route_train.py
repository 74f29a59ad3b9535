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
from freehold.measure.routing.train import Judged


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


def judged(before: predict.Predictor) -> Judged:
    """What a ledger holds: 300 requests, both models judged."""
    found = Judged(
        {"own/small-7b": [], "lab/large-400b": []}, {"own/small-7b": 0.001, "lab/large-400b": 0.1}, [], [], []
    )
    for prompt, _, right in made.rows(300, seed=3):
        found.readings.append(before.read(prompt))
        for name, column in found.outcomes.items():
            column.append(float(right[name.partition("/")[2]]))
    return found


def test_on_a_timer_only_what_is_better_takes_the_place_of_what_is_there(
    state: Path, shipped: predict.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = judged(shipped)
    monkeypatch.setattr("freehold.cli.route_train._of_ledger", lambda *_: (rows, "ledger"))
    first = trained("--ledger", "--if-better", "--json")
    assert first.exit_code == 0, first.exception
    told = json.loads(first.stdout)
    assert told["replaced"]
    assert told["old"] is None
    assert not told["reloaded"], "no gateway runs here"
    target = state / "route.predictor"
    content = target.read_bytes()

    again = trained("--ledger", "--if-better", "--json")
    assert again.exit_code == 0, again.exception
    told = json.loads(again.stdout)
    assert not told["replaced"]
    assert "the one in force stays" in told["notes"][-1]
    assert target.read_bytes() == content
    assert not (state / "route.predictor.before").exists()


def test_what_is_replaced_is_kept_with_its_floors(
    state: Path, shipped: predict.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.cli.route_train._of_ledger", lambda *_: (judged(shipped), "ledger"))
    assert trained("--ledger").exit_code == 0
    target = state / "route.predictor"
    before, floors = target.read_bytes(), (state / "route.predictor.floors.json").read_bytes()
    assert trained("--ledger", "--seed", "1").exit_code == 0
    assert (state / "route.predictor.before").read_bytes() == before
    assert (state / "route.predictor.before.floors.json").read_bytes() == floors
    assert target.read_bytes() != before


def test_a_floor_is_not_lost_to_a_better_score(
    state: Path, shipped: predict.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.cli.route_train._of_ledger", lambda *_: (judged(shipped), "ledger"))
    state.mkdir()
    promised = floor.Certificate(
        alpha=0.003, delta=0.05, threshold=0.1, strong="lab/large-400b", cheaper=("own/small-7b",), predictor="p",
        calibrated=9000, routed=5000, failed=0, bound=0.001, edges=(), counts=(9000,), source="", made="2026-01-01",
    )  # fmt: skip
    (state / "route.predictor.floors.json").write_bytes(msgspec.json.encode([promised]))
    result = trained("--ledger", "--if-better")
    assert result.exit_code == 0, result.exception
    assert "would lose the floor of 0.997 of own/small-7b for lab/large-400b" in result.stderr
    assert not (state / "route.predictor").exists()


def test_tables_do_not_say_what_is_newest(tmp_path: Path) -> None:
    assert trained("--data", made.routellm(tmp_path / "a.csv", 30), "--if-better").exit_code == 2
