"""The safetensors reader: right about sound files, and unshaken by all others."""

import json
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_weights import checkpoint, framed, safetensors_bytes, tensors

from freehold.errors import EngineError
from freehold.own.weights.safetensors import BITS, MAX_HEADER, check_index, read_header, read_index

SOUND = safetensors_bytes(
    {
        "embed": ("BF16", [4, 8], bytes(64)),
        "norm": ("F32", [8], bytes(32)),
        "scale": ("F32", [], bytes(4)),
        "empty": ("F32", [0, 8], b""),
        "packed": ("F4", [3, 2], bytes(3)),
    }
)


def written(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(content)
    return file


def test_a_sound_file(tmp_path: Path) -> None:
    found = read_header(written(tmp_path, SOUND))
    assert found.parameters == 32 + 8 + 1 + 0 + 6
    assert (found.weights, found.quantisation, found.metadata) == (103, "BF16", {"format": "pt"})
    assert found.tensors["embed"].shape == (4, 8)
    assert found.tensors["norm"].end - found.tensors["norm"].start == 32
    assert found.tensors["packed"].end == found.size


def test_it_agrees_with_the_official_reader(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    from safetensors.numpy import save_file

    path = tmp_path / "official.safetensors"
    save_file(
        {
            "a": numpy.zeros((3, 5), numpy.float16),
            "b": numpy.ones(7, numpy.int64),
            "c": numpy.zeros((0, 2), numpy.float32),
        },
        path,
        metadata={"format": "np"},
    )
    found = read_header(path)
    with safetensors.safe_open(path, "numpy") as official:
        assert set(official.keys()) == set(found.tensors)
        for name, tensor in found.tensors.items():
            assert tuple(official.get_slice(name).get_shape()) == tensor.shape
            assert official.get_slice(name).get_dtype() == tensor.dtype


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets} | more


def header(value: object, data: int = 8) -> bytes:
    return framed(value if isinstance(value, bytes) else json.dumps(value).encode(), bytes(data))


BIG = 2**63


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has 0 bytes"),
        (b"\x02" + bytes(7) + b"{", "it has 9 bytes"),
        (b"\x80\x04\x95pickle and more", "does not begin with the length of a header"),
        (b"PK\x03\x04" + bytes(4) + b"more", "cut short: its header ends at byte 67324760"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "does not begin with the length"),
        (struct.pack("<Q", 3) + b"{}", "cut short"),
        (framed(b"[]"), "not a JSON object"),
        (framed(b" {}"), "not a JSON object"),
        (framed(b"{]"), "cannot be read"),
        (framed(b'{"a": \xff}'), "cannot be read"),
        (framed(b'{"\xff": {}}'), "cannot be read"),
        (framed(b"{}" + bytes(3)), "cannot be read"),
        (framed(b'{"a":' + b"[" * 100_000), "cannot be read"),
        (framed(b'{"__metadata__": {"a": 1}}'), "cannot be read"),
        (framed(b'{"__metadata__": []}'), "cannot be read"),
        (framed(b'{"a": [' + b"[],[]," * 300_000), "claims more than"),
        (header({"a": {}}), "cannot be read"),
        (header({"a": entry(extra=1)}), "cannot be read"),
        (header({"a": entry(dtype=1)}), "cannot be read"),
        (header({"a": entry(offsets=[0, 8, 9])}), "cannot be read"),
        (header({"a": entry(offsets=[0, "8"])}), "cannot be read"),
        (header(b'{"a": {"dtype":"F32","shape":[1e400],"data_offsets":[0,8]}}'), "cannot be read"),
        (header(b'{"a": {"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}'), "cannot be read"),
        (header(b'{"a": {"dtype":"F32","shape":[' + b"9" * 9000 + b'],"data_offsets":[0,8]}}'), "cannot be read"),
        (header(b'{"a":%(e)b,"a":%(e)b}' % {b"e": json.dumps(entry()).encode()}), "a stands twice"),
        (header(b'{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}'), "dtype stands twice"),
        (header({"a": entry(dtype="F33")}), "unknown dtype 'F33'"),
        (header({"a": entry(dtype="f32")}), "unknown dtype"),
        (header({"a": entry(shape=[-2, -1])}), "a shape that cannot be"),
        (header({"a": entry(shape=[1] * 17)}), "a shape that cannot be"),
        (header({"a": entry(shape=[BIG, BIG])}), "a shape that cannot be"),
        (header({"a": entry(shape=[2**40, 2**40])}), "claims"),
        (header({"a": entry(shape=[2**32, 2**32, 0], offsets=[0, 0])}, 0), ""),
        (header({"a": entry(shape=[3])}), "has 8 bytes, 3 of F32 need 12"),
        (header({"a": entry(dtype="F4", shape=[3], offsets=[0, 2])}, 2), "need 1.5"),
        (header({"a": entry(offsets=[8, 0])}), "the offsets 8 and 0"),
        (header({"a": entry(offsets=[-8, 0])}), "the offsets -8 and 0"),
        (header({"a": entry(offsets=[0, BIG])}), "the offsets"),
        (header({"a": entry(offsets=[4, 12])}, 12), "leaves a hole"),
        (header({"a": entry(), "b": entry(offsets=[4, 12])}, 12), "overlaps"),
        (header({"a": entry(), "b": entry()}), "overlaps"),
        (header({"a": entry(), "b": entry(offsets=[12, 20])}, 20), "leaves a hole"),
        (header({"a": entry()}, 7), "cut short: its tensors end at"),
        (header({"a": entry()}, 9), "1 bytes at its end belong to no tensor"),
        (header({"": entry()}), "cannot be a tensor's name"),
        (header({"a\x1b[2J": entry()}), "cannot be a tensor's name"),
        (header({"a" * 1001: entry()}), "cannot be a tensor's name"),
    ],
)  # fmt: skip
def test_unsound_files_are_refused_with_the_reason(content: bytes, said: str, tmp_path: Path) -> None:
    file = written(tmp_path, content)
    if not said:
        assert read_header(file).parameters == 0
        return
    with pytest.raises(EngineError) as caught:
        read_header(file)
    assert said in caught.value.message
    assert caught.value.message.startswith("bad.safetensors: ")
    assert (caught.value.code, caught.value.retry) == ("bad_weights", "no")


def test_a_header_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="longer than 32 MiB"):
        read_header(written(tmp_path, framed(b"{" + b" " * MAX_HEADER)))


def test_what_is_not_a_plain_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(EngineError, match="not even a plain file"):
            read_header(path)


def test_an_absent_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none")


def test_memory_is_bounded_by_the_header(tmp_path: Path) -> None:
    many = {f"layers.{n}.weight": entry(shape=[], dtype="U8", offsets=[n, n + 1]) for n in range(20_000)}
    file = written(tmp_path, header(many, 20_000))
    tracemalloc.start()
    read_header(file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * file.stat().st_size


def test_the_table_of_dtypes_has_whole_names() -> None:
    assert all(bits in (4, 6, 8, 16, 32, 64) for bits in BITS.values())


# index


def index(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def test_a_sound_index(tmp_path: Path) -> None:
    files = checkpoint()
    path = index(tmp_path, files["model.safetensors.index.json"])
    weight_map = read_index(path, files)
    headers = {}
    for name in set(weight_map.values()):
        (tmp_path / name).write_bytes(files[name])
        headers[name] = read_header(tmp_path / name)
    check_index(path.name, weight_map, headers)
    with pytest.raises(EngineError, match="puts tensor 'c' into"):
        check_index(path.name, weight_map | {"c": weight_map["a"]}, headers)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"weight_map": {"a": "../x.safetensors"}}, "no .safetensors file beside it"),
        ({"weight_map": {"a": "/etc/x.safetensors"}}, "no .safetensors file beside it"),
        ({"weight_map": {"a": "sub\\x.safetensors"}}, "no .safetensors file beside it"),
        ({"weight_map": {"a": "pytorch_model.bin"}}, "no .safetensors file beside it"),
        ({"weight_map": {"a": "other.safetensors"}}, "'other.safetensors', which is not there"),
        ({"weight_map": {}}, "names no tensor"),
        ({}, "cannot be read"),
        ({"weight_map": {"a": 1}}, "cannot be read"),
        (b"\xff", "cannot be read"),
        (b'{"weight_map": {"a": "model.safetensors", "a": "model.safetensors"}}', "a stands twice"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_an_unsound_index(value: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        read_index(index(tmp_path, value), ["model.safetensors"])
    assert said in caught.value.message
    assert caught.value.code == "bad_weights"


# fuzz

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
PATCHES = [b"\xff" * 8, bytes(8), b"[", b"{", b'"', b",", b"-", b"9" * 20, b"null", b"\\ud800", b"1e999"]


def read_any(tmp_path: Path, content: bytes) -> None:
    """Either a file or an EngineError: nothing else may come out, whatever goes in."""
    path = written(tmp_path, content)
    try:
        found = read_header(path)
    except EngineError:
        return
    assert sum(tensor.end - tensor.start for tensor in found.tensors.values()) == found.weights <= found.size


@FUZZ
@given(at=st.integers(0, len(SOUND)))
def test_truncated_anywhere(at: int, tmp_path: Path) -> None:
    read_any(tmp_path, SOUND[:at])


@FUZZ
@given(data=st.data())
def test_mutated_anywhere(data: st.DataObject, tmp_path: Path) -> None:
    mutated = bytearray(SOUND)
    end = len(SOUND) - 103
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end))
        patch = data.draw(st.binary(min_size=1, max_size=9) | st.sampled_from(PATCHES))
        if data.draw(st.booleans()):
            mutated[at : at + len(patch)] = patch
        elif at >= 8:
            mutated[at:at] = patch
            end += len(patch)
            mutated[:8] = (end - 8).to_bytes(8, "little")
    read_any(tmp_path, bytes(mutated))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([*BITS, "dtype"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@FUZZ
@given(
    header=st.dictionaries(
        st.text(max_size=5) | st.just("__metadata__"),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(sorted(BITS)) | JSON,
                "shape": st.lists(st.integers(-1, 5), max_size=3) | JSON,
                "data_offsets": st.tuples(st.integers(-1, 40), st.integers(-1, 40)) | JSON,
            }
        )
        | JSON,
        max_size=4,
    ),
    data=st.integers(0, 60),
)
def test_arbitrary_headers(header: dict[str, object], data: int, tmp_path: Path) -> None:
    read_any(tmp_path, framed(json.dumps(header).encode(), bytes(data)))


@FUZZ
@given(value=JSON | st.fixed_dictionaries({"weight_map": st.dictionaries(st.text(max_size=9), st.text(max_size=20))}))
def test_arbitrary_indexes(value: object, tmp_path: Path) -> None:
    try:
        found = read_index(index(tmp_path, value), ["a.safetensors"])
    except EngineError:
        return
    assert set(found.values()) == {"a.safetensors"}


def test_the_shape_of_what_is_made_is_sound(tmp_path: Path) -> None:
    assert read_header(written(tmp_path, safetensors_bytes(tensors("a", "b")))).parameters == 64
