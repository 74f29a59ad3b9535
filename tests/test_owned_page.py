"""docs/owned.md says what the code does: its tables are the code's, its commands parse, its YAML is a configuration."""

import re
import shlex
from pathlib import Path

import click
import owned_page
import pytest

from freehold.call.providers import load_config
from freehold.cli import main

PAGE = owned_page.PAGE.read_text(encoding="utf-8")
BLOCKS = [re.sub(r"^    ", "", block, flags=re.M) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.M)]
COMMANDS = sorted(
    {
        line.partition(" #")[0].strip()
        for block in BLOCKS
        for line in block.splitlines()
        if re.match(r"(?:[A-Z_]+=\S+ )*freehold ", line)
    }
)
CONFIGURATIONS = [block for block in BLOCKS if re.match(r"\s*(own|engines|models):", block)]


def test_the_tables_are_what_the_code_says() -> None:
    assert owned_page.filled(PAGE) == PAGE, "run `make docs`"


def test_a_table_that_differs_is_found() -> None:
    spoilt = PAGE.replace("| F16 | 0.001 |", "| F16 | 0.5 |")
    assert spoilt != PAGE
    assert owned_page.filled(spoilt) == PAGE


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_shown_parse(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3-8b-v1.tar").touch()
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)][1:]
    command: click.Command = main
    with click.Context(main) as ctx:
        while isinstance(command, click.Group):
            found = command.get_command(ctx, words[0])
            assert found is not None, line
            command, words = found, words[1:]
        command.make_context("freehold", words, parent=ctx).close()


def test_the_page_has_commands_of_every_verb_of_owned_models() -> None:
    verbs = {re.sub(r"^(?:[A-Z_]+=\S+ )*freehold ", "", line).split()[0] for line in COMMANDS}
    assert {"pull", "weights", "check", "deploy", "render", "bench"} <= verbs


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_the_configurations_shown_are_valid(block: str, tmp_path: Path) -> None:
    path = tmp_path / "freehold.yaml"
    path.write_text(block)
    load_config(path, {"FREEHOLD_HOME": str(tmp_path)})


def test_the_files_linked_exist() -> None:
    generated = {"families.md"}  # make families
    for target in set(re.findall(r"\]\((?!http|#)([^)#]+)", PAGE)) - generated:
        assert (owned_page.PAGE.parent / target).exists(), target
