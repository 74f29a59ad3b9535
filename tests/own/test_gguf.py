"""The header reader: right about sound files, and unshaken by all others."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.errors import EngineError
from freehold.own.gguf import MAX_STRINGS, MAX_TEXT, read_header

U32, U64 = struct.Struct("<I"), struct.Struct("<Q")


def text(value: str) -> bytes:
    return U64.pack(len(value.encode())) + value.encode()


def pair(key: str, value: str) -> bytes:
    return text(key) + U32.pack(8) + text(value)


def header(*pairs: bytes, tensors: tuple[bytes, ...] = (), version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + U32.pack(version) + U64.pack(len(tensors)) + U64.pack(len(pairs)) + b"".join(pairs + tensors)


ALIGNMENT = text("general.alignment")
ARCHITECTURE = pair("general.architecture", "llama")


def tensor(name: str = "w", sizes: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + U32.pack(len(sizes)) + b"".join(map(U64.pack, sizes)) + U32.pack(kind) + U64.pack(offset)


def test_a_sound_file(tiny: Path) -> None:
    model = read_header(tiny)
    assert (model.architecture, model.name, model.licence) == ("llama", "tiny random", "apache-2.0")
    assert (model.context, model.embedding, model.layers, model.vocabulary) == (512, 64, 2, 260)
    assert model.parameters == 260 * 64 + 64 + 2 * (2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128)
    assert model.quantisation == "F32"
    assert model.template
    assert model.causal
    assert model.size == tiny.stat().st_size
    assert 0 <= model.weights - 4 * model.parameters < 32 * model.tensors


def test_the_cache_is_keys_and_values_of_16_bits(tiny: Path) -> None:
    layers, kv_heads, head = 2, 2, 16
    assert read_header(tiny).kv_cache(100) == 100 * layers * 2 * kv_heads * head * 2


def test_no_template(make_gguf: Callable[..., Path]) -> None:
    assert not read_header(make_gguf(template=None)).template


def test_it_agrees_with_the_official_reader(tiny: Path) -> None:
    gguf = pytest.importorskip("gguf")
    official = gguf.GGUFReader(tiny)
    model = read_header(tiny)
    assert model.tensors == len(official.tensors)
    assert model.parameters == sum(int(t.n_elements) for t in official.tensors)
    assert model.weights == model.size - official.data_offset


def test_the_table_of_types_is_the_official_one() -> None:
    gguf = pytest.importorskip("gguf")
    from freehold.own.gguf import BLOCKS

    for kind, (name, block, size) in BLOCKS.items():
        assert gguf.GGMLQuantizationType(kind).name == name
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == (block, size)


HUGE = U64.pack(2**63 - 1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"GGUF", "4 bytes"),
        (b"PK\x03\x04" + bytes(100), "does not begin with GGUF"),
        (header(ARCHITECTURE, version=1), "GGUF version 1"),
        (header(ARCHITECTURE, version=3 << 24), "big-endian"),
        (b"GGUF" + U32.pack(3) + HUGE + U64.pack(0) + bytes(8), "claims 9223372036854775807 tensors"),
        (b"GGUF" + U32.pack(3) + U64.pack(0) + HUGE + bytes(8), "metadata pairs"),
        (header(HUGE + b"key"), "a key claims a length"),
        (header(text("k") + U32.pack(99) + bytes(9)), "unknown type 99"),
        (header(text("k") + U32.pack(9) + U32.pack(9) + U64.pack(1) + bytes(99)), "array of arrays"),
        (header(text("k") + U32.pack(9) + U32.pack(13) + U64.pack(1) + bytes(99)), "array of the unknown type 13"),
        (header(text("k") + U32.pack(9) + U32.pack(4) + HUGE), "elements"),
        (header(text("k") + U32.pack(9) + U32.pack(8) + HUGE), "strings"),
        (header(text("k") + U32.pack(9) + U32.pack(8) + U64.pack(MAX_STRINGS + 1) + bytes(99)), "strings"),
        (header(text("k") + U32.pack(9) + U32.pack(8) + U64.pack(1) + HUGE + bytes(99)), "cut short"),
        (header(text("k") + U32.pack(8) + HUGE), "claims a length"),
        (header(text("k") + U32.pack(8) + U64.pack(2) + b"\xff\xfe"), "not UTF-8"),
        (header(pair("k", "a"), pair("k", "b")), "stands twice"),
        (header(pair("k", "a")), "general.architecture is missing"),
        (header(ARCHITECTURE, tensors=(tensor(sizes=(1,) * 5),)), "5 dimensions"),
        (header(ARCHITECTURE, tensors=(tensor(sizes=(2**40, 2**40)),)), "elements"),
        (header(ARCHITECTURE, tensors=(tensor(sizes=(33,), kind=8),)), "not a multiple of 32"),
        (header(ARCHITECTURE, tensors=(tensor(offset=7),)), "not aligned"),
        (header(ARCHITECTURE, tensors=(tensor(), tensor())) + bytes(500), "stands twice"),
        (header(ARCHITECTURE, tensors=(tensor(offset=2**40),)), "expected at 0"),
        (header(ARCHITECTURE, tensors=(tensor(),)), "cut short"),
        (header(ARCHITECTURE, tensors=(tensor("a"), tensor("b", offset=96))) + bytes(500), "expected at 128"),
        (header(ARCHITECTURE, tensors=(tensor("a"), tensor("b", offset=160))) + bytes(500), "expected at 128"),
        (header(ARCHITECTURE, tensors=(tensor("a", kind=99), tensor("b"))) + bytes(500), "expected at 32"),
        (header(ARCHITECTURE, tensors=(tensor(""),)) + bytes(500), "cannot be a tensor's name"),
        (header(ARCHITECTURE, tensors=(tensor("a\0b"),)) + bytes(500), "cannot be a tensor's name"),
        (header(ARCHITECTURE, tensors=(tensor("w" * 64),)) + bytes(500), "claims a length of 64"),
        (header(ARCHITECTURE, tensors=(tensor(sizes=(32, 0)),)) + bytes(500), "0 elements"),
        (header(ARCHITECTURE, tensors=(tensor(sizes=(4, 8), kind=8),)) + bytes(500), "rows of 4"),
        (header(ARCHITECTURE, tensors=(tensor(kind=31),)) + bytes(500), "the type 31"),
        (header(ARCHITECTURE, tensors=(tensor(kind=2**31),)) + bytes(500), "the type 2147483648"),
        (header(ARCHITECTURE, ALIGNMENT + U32.pack(4) + U32.pack(3)), "alignment"),
        (header(ARCHITECTURE, ALIGNMENT + U32.pack(4) + U32.pack(0)), "alignment"),
        (header(ARCHITECTURE, ALIGNMENT + U32.pack(4) + U32.pack(24)), "alignment"),
        (header(ARCHITECTURE, ALIGNMENT + U32.pack(10) + U64.pack(32)), "not a 32-bit number"),
        (header(ARCHITECTURE, pair("general.alignment", "32")), "not a 32-bit number"),
        (header(pair("", "x")), "a key is empty"),
        (header(text("k") + U32.pack(7) + b"\x02"), "neither true nor false"),
        (header(pair("general.architecture", "../x")), "general.architecture is '../x'"),
        (header(pair("general.architecture", "\x1b[2J")), "general.architecture is '\\x1b[2J'"),
        (header(*(pair(f"k{n}", "x" * MAX_TEXT) for n in range(9))), "metadata is longer than 32 MiB"),
    ],
)  # fmt: skip
def test_unsound_files_are_refused_with_the_reason(data: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(data)
    with pytest.raises(EngineError) as caught:
        read_header(file)
    assert said in caught.value.message
    assert caught.value.message.startswith("bad.gguf: ")
    assert (caught.value.code, caught.value.retry) == ("bad_weights", "no")


def test_what_is_not_a_plain_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for path in (tmp_path / "pipe.gguf", tmp_path):
        with pytest.raises(EngineError, match="not even a plain file"):
            read_header(path)


def test_an_error_names_what_the_caller_calls_the_file(tmp_path: Path) -> None:
    (tmp_path / "0123abcd").write_bytes(b"GGUF")
    with pytest.raises(EngineError, match=r"^model-Q4_0.gguf: "):
        read_header(tmp_path / "0123abcd", "model-Q4_0.gguf")


def test_long_arrays_are_stepped_over_and_short_ones_kept(tmp_path: Path) -> None:
    long, short = 300_000, 3
    numbers = b"".join(
        text(key) + U32.pack(9) + U32.pack(4) + U64.pack(count) + U32.pack(7) * count
        for key, count in (("long", long), ("short", short))
    )
    words = text("words") + U32.pack(9) + U32.pack(8) + U64.pack(long) + text("word") * long
    file = tmp_path / "arrays.gguf"
    file.write_bytes(b"GGUF" + U32.pack(3) + U64.pack(0) + U64.pack(4) + numbers + words + ARCHITECTURE)
    model = read_header(file)
    assert model.metadata["short"] == [7, 7, 7]
    assert "long" not in model.metadata
    assert model.architecture == "llama"


def test_a_type_newer_than_ours_is_not_an_error(tmp_path: Path) -> None:
    file = tmp_path / "new.gguf"
    file.write_bytes(header(ARCHITECTURE, tensors=(tensor("a", kind=99), tensor("b", offset=4096))) + bytes(9000))
    assert read_header(file).tensors == 2


def test_metadata_of_a_wrong_type_counts_as_absent(tmp_path: Path) -> None:
    file = tmp_path / "odd.gguf"
    file.write_bytes(
        header(ARCHITECTURE, pair("llama.context_length", "many"), pair("llama.attention.head_count_kv", "x"))
        + bytes(64)
    )
    model = read_header(file)
    assert (model.context, model.kv_cache(10)) == (None, 0)


def test_an_absent_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.gguf")


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)


def read_any(data: bytes, tmp_path: Path) -> None:
    """Either a model or an EngineError: nothing else may come out, whatever goes in."""
    file = tmp_path / "fuzz.gguf"
    file.write_bytes(data)
    try:
        model = read_header(file)
    except EngineError:
        return
    assert 0 <= model.weights <= model.size
    assert model.kv_cache(1) >= 0


@FUZZ
@given(data=st.data())
def test_truncated_anywhere(data: st.DataObject, tiny: Path, tmp_path: Path) -> None:
    whole = tiny.read_bytes()
    read_any(whole[: data.draw(st.integers(0, len(whole)))], tmp_path)


@FUZZ
@given(data=st.data())
def test_mutated_anywhere(data: st.DataObject, tiny: Path, tmp_path: Path) -> None:
    mutated = bytearray(tiny.read_bytes())
    end = read_header(tiny)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end.size - end.weights))
        patch = data.draw(st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, bytes(8), HUGE]))
        mutated[at : at + len(patch)] = patch
    read_any(bytes(mutated), tmp_path)


@FUZZ
@given(
    rest=st.binary(max_size=300), version=st.sampled_from([2, 3]), tensors=st.integers(0, 3), pairs=st.integers(0, 3)
)
def test_arbitrary_headers(rest: bytes, version: int, tensors: int, pairs: int, tmp_path: Path) -> None:
    read_any(b"GGUF" + U32.pack(version) + U64.pack(tensors) + U64.pack(pairs) + rest, tmp_path)
