import os
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.config.load import load
from freehold.config.schema import Config, Owned
from freehold.errors import ConfigError
from freehold.own.catalog import BOX, box_file, engine_specs


def config(*owned: Owned) -> Config:
    return Config(own=list(owned), box=False)


@pytest.fixture
def here(tmp_path: Path, tiny: Path) -> Path:
    """A folder with freehold.yaml's place and one model; returns the configuration's path."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.gguf").write_bytes(tiny.read_bytes())
    return tmp_path / "freehold.yaml"


def test_a_path_is_relative_to_the_configuration(here: Path) -> None:
    (spec,) = engine_specs(config(Owned(path="models/tiny.gguf")), here)
    assert (spec.name, spec.path) == ("tiny", here.parent / "models" / "tiny.gguf")
    assert (spec.context, spec.parallel, spec.threads, spec.gpu_layers) == (512, 4, None, 0)


def test_settings_are_carried(here: Path) -> None:
    owned = Owned(path="models/tiny.gguf", name="mine", context=256, parallel=2, threads=1, gpu_layers=3)
    (spec,) = engine_specs(config(owned), here)
    assert (spec.name, spec.context, spec.parallel, spec.threads, spec.gpu_layers) == ("mine", 256, 2, 1, 3)


def test_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here.parent))
    (spec,) = engine_specs(config(Owned(path="~/models/tiny.gguf")), None)
    assert spec.path == here.parent / "models" / "tiny.gguf"


def test_a_replaced_file_is_a_changed_spec(here: Path, make_gguf: Callable[..., Path]) -> None:
    before = engine_specs(config(Owned(path="models/tiny.gguf")), here)
    assert engine_specs(config(Owned(path="models/tiny.gguf")), here) == before
    (here.parent / "models" / "tiny.gguf").write_bytes(make_gguf(context=1024).read_bytes())
    after = engine_specs(config(Owned(path="models/tiny.gguf")), here)
    assert after != before
    assert after[0].context == 1024


def test_a_long_context_is_not_taken_unasked(here: Path, make_gguf: Callable[..., Path]) -> None:
    (spec,) = engine_specs(config(Owned(path=str(make_gguf(context=131072)))), here)
    assert spec.context == 8192


def mistake(here: Path, *owned: Owned) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        engine_specs(config(*owned), here)
    assert caught.value.where == str(here)
    assert caught.value.hint
    return caught.value


def test_a_missing_file_names_its_neighbours(here: Path) -> None:
    error = mistake(here, Owned(path="models/tini.gguf"))
    assert error.key == "own[0].path"
    assert "No such file" in error.message
    assert error.hint == "that folder holds tiny.gguf"


def test_a_missing_folder(here: Path) -> None:
    assert "relative to the folder" in (mistake(here, Owned(path="nowhere/x.gguf")).hint or "")


def test_a_folder_instead_of_a_file(here: Path) -> None:
    assert "directory" in mistake(here, Owned(path="models")).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(here: Path) -> None:
    (here.parent / "models" / "tiny.gguf").chmod(0)
    assert mistake(here, Owned(path="models/tiny.gguf")).hint == "check its permissions"


def test_not_a_gguf(here: Path) -> None:
    (here.parent / "x.safetensors").write_bytes(bytes(100))
    error = mistake(here, Owned(path="models/tiny.gguf"), Owned(path="x.safetensors"))
    assert error.key == "own[1].path"
    assert "not a GGUF file" in error.message
    assert "safetensors have to be converted" in (error.hint or "")


def test_a_name_used_twice(here: Path) -> None:
    error = mistake(here, Owned(path="models/tiny.gguf"), Owned(path="models/tiny.gguf"))
    assert error.message.startswith("own/tiny is already ")


def test_more_context_than_the_model_has(here: Path) -> None:
    error = mistake(here, Owned(path="models/tiny.gguf", context=4096))
    assert (error.key, error.hint) == ("own[0].context", "context: 512")


def test_an_unknown_user_folder(here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        engine_specs(config(Owned(path="~no-such-user-here/x.gguf")), here)
    assert caught.value.hint


@pytest.mark.skipif(box_file() is None, reason="this checkout has no model in the box")
def test_the_model_in_the_box() -> None:
    (spec,) = engine_specs(Config(), None)
    assert spec.name == BOX
    assert engine_specs(Config(box=False), None) == []


def test_what_is_broken_can_be_left_out_and_told(here: Path) -> None:
    broken: list[ConfigError] = []
    specs = engine_specs(config(Owned(path="models/gone.gguf"), Owned(path="models/tiny.gguf")), here, broken)
    assert [spec.name for spec in specs] == ["tiny"]
    assert [error.key for error in broken] == ["own[0].path"]


def test_a_mistake_names_its_line(here: Path) -> None:
    here.write_text("box: false\nown:\n  - path: models/tiny.gguf\n  - path: models/gone.gguf\n")
    loaded = load(here, {})
    with pytest.raises(ConfigError) as caught:
        engine_specs(loaded.config, loaded.path, sources=loaded.sources)
    assert caught.value.where == f"{here}:4:11"
