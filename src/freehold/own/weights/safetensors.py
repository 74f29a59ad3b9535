"""What a safetensors file says about itself, read without trusting it.

Layout (https://github.com/huggingface/safetensors#format): the header's length as u64, little-endian; the header, JSON
that begins with `{` and may end with spaces; the tensors' bytes. Each tensor has dtype, shape and data_offsets [begin,
end] into those bytes. Together they cover them without holes or overlap, to the end of the file.

A checkpoint in several files has an index, model.safetensors.index.json: which file holds which tensor.

No tensor is read. The header may not pass `MAX_HEADER` bytes (the format allows 100 MB; a model of 100,000 tensors in
one file has 12), its JSON is decoded into typed records, and a key that stands twice is refused: two readers could take
another one each.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from freehold.own.untrusted import bad_weights, opened

MAX_HEADER = 32 << 20
MAX_TENSORS = 250_000
MAX_NAME = 1000
MAX_DIMENSIONS = 16
MAX_INDEX = 64 << 20
METADATA = "__metadata__"

BITS: dict[str, int] = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element, for the dtypes of safetensors 0.8."""


class Tensor(Struct, frozen=True):
    """`start` and `end` count from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class TensorFile(Struct, frozen=True):
    """One file. `weights` is bytes of tensors; `quantisation` the dtype that holds most of them, "none" without any."""

    path: Path
    size: int
    weights: int
    parameters: int
    quantisation: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


class _Entry(Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_header(path: Path, name: str | None = None) -> TensorFile:
    """Reads the header of `path`. Errors call it `name` where its own name says nothing, as that of a blob.

    Raises EngineError (code bad_weights) when it is not a well-formed safetensors file, OSError when it cannot be read.
    """
    name = name or path.name
    with opened(path, name, "safetensors") as (descriptor, size):
        header, start = _header(name, descriptor, size)
    entries, metadata = _parse(name, header)
    tensors = _tensors(name, entries, start, size)
    by_type: dict[str, int] = {}
    for tensor in tensors.values():
        by_type[tensor.dtype] = by_type.get(tensor.dtype, 0) + tensor.end - tensor.start
    return TensorFile(
        path=path,
        size=size,
        weights=size - start,
        parameters=sum(tensor.elements for tensor in tensors.values()),
        quantisation=max(by_type, key=lambda dtype: by_type[dtype], default="none"),
        tensors=tensors,
        metadata=metadata,
    )


def _header(name: str, descriptor: int, size: int) -> tuple[bytes, int]:
    """Returns the header's JSON and where the tensors' bytes begin."""
    if size < 10:
        _bad(name, f"not a safetensors file: it has {size} bytes")
    length = int.from_bytes(_read(name, descriptor, 8, 0), "little")
    if length > size - 8:
        if length > 1 << 40:
            _bad(name, "not a safetensors file: it does not begin with the length of a header")
        _bad(name, f"cut short: its header ends at byte {length + 8}, the file at {size}")
    if length > MAX_HEADER:
        _bad(name, f"its header is longer than {MAX_HEADER >> 20} MiB")
    header = _read(name, descriptor, length, 8)
    if not header.startswith(b"{"):
        _bad(name, "not a safetensors file: its header is not a JSON object")
    return header, 8 + length


def _read(name: str, descriptor: int, length: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = os.pread(descriptor, length, offset)
        if not part:
            _bad(name, "it was cut short while it was read")
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


def _parse(name: str, header: bytes) -> tuple[dict[str, _Entry], dict[str, str]]:
    if header.count(b"[") > 2 * MAX_TENSORS:
        _bad(name, f"its header claims more than {MAX_TENSORS} tensors")
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(raw.pop(METADATA, msgspec.Raw(b"{}")), type=dict[str, str])
        entries = {key: msgspec.json.decode(value, type=_Entry) for key, value in raw.items()}
        json.loads(header, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError, OverflowError) as error:
        _bad(name, f"its header cannot be read: {str(error)[:200]!r}")
    return entries, metadata


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice[:80]} stands twice")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _tensors(name: str, entries: Mapping[str, _Entry], start: int, size: int) -> dict[str, Tensor]:
    """Returns the tensors, after checking that they cover the data exactly."""
    tensors: dict[str, Tensor] = {}
    at = 0
    for key, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        _check(name, key, entry)
        if begin != at:
            what = "overlaps the one before it" if begin < at else "leaves a hole before it"
            _bad(name, f"tensor {key[:80]!r} {what}: it begins at {begin} of the data, expected at {at}")
        bits = math.prod(entry.shape) * BITS[entry.dtype]
        if bits % 8 or end - begin != bits // 8:
            shown = "x".join(map(str, entry.shape[:MAX_DIMENSIONS])) or "one element"
            _bad(name, f"tensor {key[:80]!r} has {end - begin} bytes, {shown} of {entry.dtype} need {bits / 8:g}")
        at = end
        tensors[key] = Tensor(entry.dtype, tuple(entry.shape), start + begin, start + end)
    if start + at > size:
        _bad(name, f"cut short: its tensors end at byte {start + at}, the file at {size}")
    if start + at < size:
        _bad(name, f"{size - start - at} bytes at its end belong to no tensor")
    return tensors


def _check(name: str, key: str, entry: _Entry) -> None:
    if not key or len(key) > MAX_NAME or not key.isprintable():
        _bad(name, f"{key[:80]!r} cannot be a tensor's name")
    if entry.dtype not in BITS:
        _bad(name, f"tensor {key[:80]!r} has the unknown dtype {entry.dtype[:40]!r}")
    if len(entry.shape) > MAX_DIMENSIONS or any(not 0 <= one <= 1 << 48 for one in entry.shape):
        _bad(name, f"tensor {key[:80]!r} has a shape that cannot be")
    if math.prod(entry.shape) > 1 << 48:
        _bad(name, f"tensor {key[:80]!r} claims {math.prod(entry.shape)} elements")
    begin, end = entry.data_offsets
    if not 0 <= begin <= end <= 1 << 60:
        _bad(name, f"tensor {key[:80]!r} has the offsets {begin} and {end}")


# the index of a checkpoint in several files


class _Index(Struct):
    weight_map: dict[str, str]


def read_index(path: Path, files: Iterable[str], name: str | None = None) -> dict[str, str]:
    """Returns the index's map of tensors to files, all of which are among `files`, the names beside it.

    Raises EngineError (bad_weights) for an index that cannot be read, or that names a file which is not there or lies
    elsewhere.
    """
    name = name or path.name
    if path.stat().st_size > MAX_INDEX:
        _bad(name, f"longer than {MAX_INDEX >> 20} MiB")
    content = path.read_bytes()
    try:
        index = msgspec.json.decode(content, type=_Index)
        json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError, OverflowError) as error:
        _bad(name, f"cannot be read: {str(error)[:200]!r}")
    beside = set(files)
    for file in sorted(set(index.weight_map.values())):
        if "/" in file or "\\" in file or not file.endswith(".safetensors"):
            _bad(name, f"it names {file[:120]!r}, which is no .safetensors file beside it")
        if file not in beside:
            _bad(name, f"it names {file[:120]!r}, which is not there")
    if not index.weight_map:
        _bad(name, "it names no tensor")
    return index.weight_map


def check_index(name: str, weight_map: Mapping[str, str], files: Mapping[str, TensorFile]) -> None:
    """Raises EngineError (bad_weights) when a file lacks a tensor that the index puts there."""
    for key, file in weight_map.items():
        if key not in files[file].tensors:
            _bad(name, f"it puts tensor {key[:80]!r} into {file}, which does not have it")


def _bad(name: str, message: str) -> NoReturn:
    raise bad_weights(name, message)
