"""`freehold route`: the group, and options that take several files."""

import builtins
import sys
from pathlib import Path

import click
import outcome_tables as made
import pytest
from click.testing import CliRunner

from freehold.cli.route import VERBS, Several, command
from freehold.errors import EngineError


@click.command(cls=Several)
@click.option("--train", multiple=True)
@click.option("--test", multiple=True)
@click.option("--seeds", type=int, default=1)
@click.option("--json", "as_json", is_flag=True)
@click.argument("rest", nargs=-1)
def several(train: tuple[str, ...], test: tuple[str, ...], seeds: int, as_json: bool, rest: tuple[str, ...]) -> None:
    click.echo(f"{train} {test} {seeds} {as_json} {rest}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--train a b --test c", "('a', 'b') ('c',) 1 False ()"),
        ("--train a --train b c --json", "('a', 'b', 'c') () 1 True ()"),
        ("--train=a --test b c --seeds 3", "('a',) ('b', 'c') 3 False ()"),
        ("--json --train a b -- d", "('a', 'b') () 1 True ('d',)"),
        ("", "() () 1 False ()"),
    ],
)
def test_an_option_takes_every_word_up_to_the_next(words: str, told: str) -> None:
    result = CliRunner().invoke(several, words.split())
    assert result.output.strip() == told


@pytest.mark.parametrize("words", ["--train", "--train --json", "--test a --train"])
def test_an_option_without_a_word_is_a_mistake(words: str) -> None:
    result = CliRunner().invoke(several, words.split())
    assert result.exit_code == 2
    assert "--train" in result.output


def test_the_group_lists_its_verbs_without_importing_them() -> None:
    for module, _ in VERBS.values():
        sys.modules.pop(module, None)
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in VERBS)
    assert "freehold.cli.route_train" not in sys.modules
    assert CliRunner().invoke(command, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("verb", ["eval --train", "train --data"])
def test_without_numpy_the_install_hint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    from freehold.measure.routing import needs

    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda name: None)
    path = made.routellm(tmp_path / "t.csv", 10)
    result = CliRunner().invoke(command, [*verb.split(), str(path)])
    assert isinstance(result.exception, EngineError)
    assert result.exception.hint == "pip install 'freehold[own]'"


def test_numpy_is_not_needed_to_read_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object, **more: object) -> object:
        assert not name.startswith("numpy")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    from freehold.measure.routing import tables

    assert len(tables.read(made.routellm(tmp_path / "t.csv", 5))) == 5
