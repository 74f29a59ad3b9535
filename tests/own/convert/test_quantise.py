"""GGUF to smaller GGUF: what each kind keeps of the numbers and the keys, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_repository import Repository, read

from freehold.errors import EngineError
from freehold.own.convert.core import convert
from freehold.own.convert.quantise import BY_LLAMA_CPP, KINDS, LEGACY, quantise, quantise_here
from freehold.own.gguf import read_header

FILE_TYPES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "MXFP4": 38, "F16": 1, "BF16": 32, "F32": 0}
ERRORS = {
    "Q8_0": 0.01,
    "Q5_1": 0.06,
    "Q5_0": 0.08,
    "Q4_1": 0.12,
    "Q4_0": 0.16,
    "MXFP4": 0.35,
    "F16": 1e-3,
    "BF16": 0.01,
}
"""Largest error over largest value."""


@pytest.fixture
def made(repository: Repository, tmp_path: Path) -> Path:
    convert(repository.write(), tmp_path / "whole.gguf", name="tiny")
    return tmp_path / "whole.gguf"


@pytest.mark.parametrize("kind", [*LEGACY, "F16", "BF16", "F32"])
def test_kinds_made_here(made: Path, tmp_path: Path, kind: str) -> None:
    seen: list[tuple[int, int, str]] = []
    report = quantise(made, tmp_path / "small.gguf", kind.lower(), progress=lambda *one: seen.append(one))
    before, whole = read(made)
    after, small = read(tmp_path / "small.gguf")
    assert list(small) == list(whole)
    for name, values in whole.items():
        error = np.abs(small[name].reshape(values.shape) - values).max()
        assert error <= ERRORS.get(kind, 0.0) * np.abs(values).max(), name
    reader = {one.name: one.tensor_type.name for one in gguf.GGUFReader(tmp_path / "small.gguf").tensors}
    assert reader["blk.0.ffn_up.weight"] == kind
    assert reader["blk.0.attn_norm.weight"] == "F32"
    if kind in LEGACY:
        assert reader["output.weight"] == "Q8_0"
    changed = {"general.file_type", "general.quantization_version", "GGUF.kv_count"}
    assert {key: value for key, value in after.items() if key not in changed} == {
        key: value for key, value in before.items() if key not in changed
    }
    assert after["general.file_type"] == FILE_TYPES[kind]
    assert report.size == (tmp_path / "small.gguf").stat().st_size
    assert (report.quantisation, report.notes) == (kind, ())
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize("kind", ["Q4_0", "MXFP4", "Q4_K_M"])
def test_llama_cpp_runs_the_result(made: Path, tmp_path: Path, kind: str, engine: Callable[[Path], Any]) -> None:
    if kind in BY_LLAMA_CPP:
        pytest.importorskip("cyllama", reason="cyllama is not installed: pip install 'freehold[own]'")
    quantise(made, tmp_path / "small.gguf", kind)
    assert len(engine(tmp_path / "small.gguf").greedy([0, 5, 6], 4)[0]) > 0


def test_rows_that_do_not_fit_a_block_stay_f16(repository: Repository, tmp_path: Path) -> None:
    repository.config["intermediate_size"] = 72
    for name, tensor in repository.tensors.items():
        if ".mlp." in name:
            repository.tensors[name] = np.resize(tensor, [72 if one == 64 else one for one in tensor.shape])
    convert(repository.write(), tmp_path / "whole.gguf")
    report = quantise(tmp_path / "whole.gguf", tmp_path / "small.gguf", "Q4_0")
    kinds = {one.name: one.tensor_type.name for one in gguf.GGUFReader(tmp_path / "small.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0"
    assert report.notes == ("2 of 21 tensors stay F16: their rows are not a multiple of 32",)


def test_k_kinds_tell_what_did_not_fit(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("cyllama", reason="cyllama is not installed: pip install 'freehold[own]'")
    seen: list[tuple[int, int, str]] = []
    report = quantise(made, tmp_path / "small.gguf", "Q4_K_M", progress=lambda *one: seen.append(one))
    assert "not a multiple of 256" in report.notes[0]
    assert report.size < made.stat().st_size / 3
    assert seen[-1][0] == seen[-1][1]
    assert read_header(tmp_path / "small.gguf").metadata["general.file_type"] == BY_LLAMA_CPP["Q4_K_M"]
    assert read_header(tmp_path / "small.gguf").name == "tiny"


def refused(gguf_file: Path, out: Path, kind: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        quantise_here(gguf_file, out, kind)
    assert not out.exists()
    assert not list(out.parent.glob("*.partial"))
    return caught.value


def test_an_unknown_kind_names_the_known_ones(made: Path, tmp_path: Path) -> None:
    error = refused(made, tmp_path / "x.gguf", "Q9")
    assert error.code == "no_such_quantisation"
    assert all(kind in error.text for kind in KINDS)


def test_a_quantised_file_is_not_quantised_again(made: Path, tmp_path: Path) -> None:
    quantise(made, tmp_path / "small.gguf", "Q8_0")
    assert "Q8_0" in refused(tmp_path / "small.gguf", tmp_path / "x.gguf", "Q4_0").message


@pytest.mark.parametrize("length", [0, 10, 300, 5000])
def test_a_truncated_file_is_refused(made: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.gguf").write_bytes(made.read_bytes()[:length])
    assert refused(tmp_path / "cut.gguf", tmp_path / "x.gguf", "Q8_0").code == "bad_weights"


def test_one_part_of_several_is_refused(made: Path, tmp_path: Path) -> None:
    data = bytearray(made.read_bytes())
    key = b"general.type"
    at = data.index(key) - 8
    length = 8 + len(key) + 4 + 8 + len(b"model")
    split = (11).to_bytes(8, "little") + b"split.count" + (4).to_bytes(4, "little") + (3).to_bytes(4, "little")
    data[at : at + length] = split
    data = data[: len(data)] + b"\0" * 64
    (tmp_path / "part.gguf").write_bytes(data)
    assert read_header(tmp_path / "part.gguf").metadata["split.count"] == 3
    assert "one of 3 parts" in refused(tmp_path / "part.gguf", tmp_path / "x.gguf", "Q8_0").message


def test_values_that_are_not_numbers_are_told(made: Path, tmp_path: Path) -> None:
    reader = gguf.GGUFReader(made, "r+")
    next(one for one in reader.tensors if one.name == "blk.1.ffn_up.weight").data[0, 0] = np.nan
    reader.data.flush()
    assert "blk.1.ffn_up.weight" in refused(made, tmp_path / "x.gguf", "Q4_0").message
