"""`freehold route eval`: what it prints."""

import json
from pathlib import Path

import outcome_tables as made
from click.testing import CliRunner, Result

from freehold.cli.route import command
from freehold.errors import BadRequest, ConfigError


def evaluated(*words: object) -> Result:
    return CliRunner().invoke(command, ["eval", *map(str, words)])


def test_json_holds_every_figure_and_baseline(tmp_path: Path) -> None:
    train = [made.routellm(tmp_path / "a.csv", 150), made.routellm(tmp_path / "b.csv.gz", 150, seed=1)]
    test = made.routellm(tmp_path / "c.csv", 150, seed=2)
    result = evaluated("--train", *train, "--test", test, "--seeds", 1, "--json")
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    [split] = told["tables"][0]["splits"]
    assert (split["split"], split["train_rows"], split["test_rows"]) == ("given", 300, 150)
    assert set(split["pairs"][0]["routers"]) == {"freehold", "random", "length", "task mean"}
    assert "given split, seed 0" in result.stderr


def test_tables_are_printed_plain_or_as_markdown(tmp_path: Path) -> None:
    path = made.zeroeval(tmp_path / "a.csv", 200)
    plain = evaluated("--train", path, "--seeds", 1)
    assert plain.exit_code == 0, plain.exception
    assert "best single" in plain.stdout
    assert "|---" not in plain.stdout
    assert "|---" in evaluated("--train", path, "--seeds", 1, "--markdown").stdout


def test_mistakes_are_told(tmp_path: Path) -> None:
    path = made.routellm(tmp_path / "a.csv", 150)
    assert evaluated().exit_code == 2
    assert evaluated("--train", path, "--pair", "one").exit_code == 2
    assert isinstance(evaluated("--train", tmp_path / "none.csv").exception, ConfigError)
    assert isinstance(evaluated("--train", path, "--pair", "small-7b,huge").exception, BadRequest)
