from pathlib import Path

import pytest

from freehold.errors import EngineError
from freehold.own import memory
from freehold.own.gguf import ModelFile, read_header


def refuse(model: ModelFile, free: int | None, context: int = 512, parallel: int = 4) -> None:
    need = memory.needed(model, context * parallel, 512)
    memory.refuse_too_large(model, need=need, free=free, context=context, parallel=parallel)


def test_this_machine_has_memory() -> None:
    free = memory.available()
    assert free is not None
    assert free > 0


def test_the_need_grows_with_the_cache(tiny: Path) -> None:
    model = read_header(tiny)
    assert memory.needed(model, 2000, 512) - memory.needed(model, 1000, 512) == model.kv_cache(1000)


def test_what_fits_is_not_refused(tiny: Path) -> None:
    refuse(read_header(tiny), memory.needed(read_header(tiny), 2048, 512))
    refuse(read_header(tiny), None)


def test_a_smaller_context_is_offered_when_it_fits(tiny: Path) -> None:
    model = read_header(tiny)
    with pytest.raises(EngineError) as caught:
        refuse(model, memory.needed(model, 4 * 4000, 512), context=100_000)
    assert caught.value.code == "out_of_memory"
    assert caught.value.hint == "context: 4000 with parallel: 4 would fit"
    refuse(model, memory.needed(model, 4 * 4000, 512), context=4000)


def test_fewer_at_a_time_are_offered_when_that_fits(tiny: Path) -> None:
    model = read_header(tiny)
    with pytest.raises(EngineError) as caught:
        refuse(model, memory.needed(model, 1000, 512), context=8000)
    assert caught.value.hint == "context: 1000 with parallel: 1"


@pytest.mark.parametrize("free", [0, -5, 1 << 20])
def test_a_smaller_model_is_the_last_resort(tiny: Path, free: int) -> None:
    with pytest.raises(EngineError) as caught:
        refuse(read_header(tiny), free)
    assert "smaller model" in (caught.value.hint or "")


@pytest.mark.parametrize(("value", "words"), [(0, "0 KiB"), (3 << 19, "1.5 MiB"), (5 << 30, "5.0 GiB")])
def test_shown(value: int, words: str) -> None:
    assert memory.shown(value) == words


def group(folder: Path, most: str, used: int, inactive: int, *, old: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{'total_' if old else ''}inactive_file {inactive}\n")


def test_a_control_group_limits_and_so_does_the_one_above(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    group(tmp_path / "outer" / "inner", "max", 10, 0)
    group(tmp_path / "outer", "1000", 300, 50)
    assert list(memory._groups(tmp_path, own)) == [750]


def test_version_one_groups(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,cpuacct:/\n4:memory:/box\n")
    group(tmp_path / "memory" / "box", "1000", 1200, 100, old=True)
    assert list(memory._groups(tmp_path, own)) == [0]


def test_a_path_that_leads_out_of_the_groups_is_not_followed(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/../../etc\nnonsense\n")
    assert list(memory._groups(tmp_path / "none", own)) == []
    assert list(memory._groups(tmp_path / "none", tmp_path / "absent")) == []
