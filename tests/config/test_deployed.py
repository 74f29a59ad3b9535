"""FREEHOLD_HOME/deployments.yaml: what goes in comes out, freehold.yaml wins, mistakes leave it as it was."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config import deployed
from freehold.config.load import loads
from freehold.config.problems import ConfigErrors
from freehold.config.schema import Canary, Owned, OwnedAdapter

ENTRIES = [
    Owned(name="qwen3-8b", canary=Canary("v4", percent=12.5), load="demand", idle=60.0),
    Owned(
        name="base",
        adapters=[OwnedAdapter("support", "/models/support lora.gguf", 0.5)],
        args=["--flag", "a: b", "#c"],
        env={"X": "$HOME ${HOME}"},
        engine="command",
        command=["server", "--port", "${PORT}", '"quoted"'],
    ),
]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / deployed.FILE
    with deployed.change(path) as entries:
        entries.extend(ENTRIES)
    assert deployed.read(path) == ENTRIES
    assert path.stat().st_mode & 0o077 == 0
    with deployed.change(path) as entries:
        del entries[:]
    assert deployed.read(path) == []


def test_no_file_is_no_deployment(tmp_path: Path) -> None:
    assert deployed.read(tmp_path / deployed.FILE) == []
    assert deployed.path_in({"FREEHOLD_HOME": str(tmp_path)}) == tmp_path / deployed.FILE


def test_the_configuration_wins(tmp_path: Path) -> None:
    loaded = loads(b"own: [{name: qwen3-8b, version: v1}, {name: x, adapters: [{name: y, path: /y.gguf}]}]", {})
    merged = deployed.merge(loaded, [*ENTRIES, Owned(name="y")])
    assert [entry.name for entry in merged.config.own] == ["qwen3-8b", "x", "base"]
    assert merged.config.own[0].version == "v1"
    assert merged.version != loaded.version
    assert deployed.merge(loaded, [Owned(name="y")]) is loaded


def test_a_mistake_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / deployed.FILE
    with deployed.change(path) as entries:
        entries.append(ENTRIES[0])
    before = path.read_bytes()
    with pytest.raises(ConfigErrors), deployed.change(path) as entries:
        entries.append(Owned(name="qwen3-8b"))
    assert path.read_bytes() == before
    with pytest.raises(IndexError), deployed.change(path) as entries:
        entries.pop(7)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["own: [{nam: x}]", "providers: {openai: {}}", "own: 3", "own: [", "\x00"])
def test_a_broken_file_names_its_place(tmp_path: Path, content: str) -> None:
    path = tmp_path / deployed.FILE
    path.write_text(content)
    with pytest.raises(ConfigErrors) as caught:
        deployed.read(path)
    assert str(path) in str(caught.value)


texts = st.text(st.characters(blacklist_categories=["Cs"]))


@given(st.lists(texts, max_size=4), st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}\Z"), texts, max_size=3))
def test_any_text_survives(args: list[str], env: dict[str, str]) -> None:
    entry = Owned(name="m", args=args, env=env)
    assert deployed.parse(deployed.write([entry]), Path("x")) == [entry]
    assert msgspec.to_builtins(entry)["name"] == "m"
