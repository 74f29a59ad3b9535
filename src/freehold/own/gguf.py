"""What a GGUF file says about itself, read without trusting it.

Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), little-endian:

    "GGUF"  version u32  tensor count u64  pair count u64
    pairs:   key string, type u32, value              string = length u64, bytes
    tensors: name string, dimensions u32, sizes u64.., type u32, offset u64
    padding to `general.alignment`, then tensor data; offsets count from here

Every length, count and offset is checked against the file before it is used. Nothing of the tensor data is read, arrays
are stepped over, so the work and the memory are bounded by the header, which itself may not pass `MAX_HEADER` bytes.
Version 1 (before August 2023) and big-endian files are refused: llama.cpp does not load them here either.
"""

import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any

from msgspec import Struct

from freehold.errors import EngineError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER = 256 << 20
MAX_PAIRS = 10_000
MAX_TENSORS = 100_000
MAX_STRINGS = 4_000_000
"""Over all arrays of strings together: the largest vocabularies have under a million entries with merges."""
MAX_KEY = 65_535
MAX_TEXT = 4 << 20
MAX_KEPT = 4096
"""Elements of an array of numbers that are kept; per-layer head counts are such arrays."""
MAX_DIMENSIONS = 4

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_SIZES = {kind: struct.calcsize(code) for kind, code in _SCALARS.items()}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

BLOCKS: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""ggml tensor types: name, elements in a block, bytes of a block (ggml_type and type_traits in ggml.c)."""


class ModelFile(Struct, frozen=True):
    """The header of one GGUF file. Sizes are bytes, lengths are tokens or elements; None where the file is silent.

    `quantisation` is the type that holds most of the weights. `kv_width` is elements of keys and values cached per
    token, over all layers. `metadata` holds the scalars and short arrays of numbers of the header.
    """

    path: Path
    size: int
    weights: int
    architecture: str
    parameters: int
    tensors: int
    quantisation: str
    name: str | None
    licence: str | None
    context: int | None
    embedding: int | None
    layers: int | None
    vocabulary: int | None
    kv_width: int
    template: bool
    pooling: int | None
    causal: bool
    metadata: dict[str, Any]

    def kv_cache(self, tokens: int) -> int:
        """Returns bytes of a 16-bit key-value cache for `tokens`; sliding windows are not counted in our favour."""
        return 2 * self.kv_width * tokens


def read_header(path: Path) -> ModelFile:
    """Reads the header of `path`.

    Raises EngineError (code bad_weights) when it is not a well-formed GGUF file, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 24:
            raise _bad(path, f"not a GGUF file: it has {size} bytes")
        with mmap.mmap(file.fileno(), min(size, MAX_HEADER), access=mmap.ACCESS_READ) as data:
            return _Reader(path, data, size).read()


def _bad(path: Path, message: str) -> EngineError:
    return EngineError(
        f"{path.name}: {message}",
        code="bad_weights",
        retry="no",
        hint="get the file again, or check where it came from",
    )


class _Reader:
    """One pass over the header; `at` is the place of the next byte."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self._path = path
        self._data = data
        self._size = size
        self._end = len(data)
        self._at = 0
        self._strings = 0

    def read(self) -> ModelFile:
        tensors, pairs = self._counts()
        metadata: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        for _ in range(pairs):
            key = self._text(MAX_KEY, "a key")
            if key in metadata or key in lengths:
                raise self._bad(f"key {key[:80]!r} stands twice")
            self._value(key, metadata, lengths)
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise self._bad("general.architecture is missing")
        parameters, weights, quantisation = self._tensors(tensors, _whole(metadata, "general.alignment") or 32)

        def number(key: str) -> int | None:
            return _whole(metadata, f"{architecture}.{key}")

        return ModelFile(
            path=self._path,
            size=self._size,
            weights=weights,
            architecture=architecture[:64],
            parameters=parameters,
            tensors=tensors,
            quantisation=quantisation,
            name=_short(metadata, "general.name"),
            licence=_short(metadata, "general.license"),
            context=number("context_length"),
            embedding=number("embedding_length"),
            layers=number("block_count"),
            vocabulary=lengths.get("tokenizer.ggml.tokens") or number("vocab_size"),
            kv_width=_kv_width(architecture, metadata),
            template=bool(_short(metadata, "tokenizer.chat_template")),
            pooling=number("pooling_type"),
            causal=metadata.get(f"{architecture}.attention.causal") is not False,
            metadata=metadata,
        )

    def _counts(self) -> tuple[int, int]:
        if self._data[:4] != MAGIC:
            raise self._bad("not a GGUF file: it does not begin with GGUF")
        self._at = 4
        version = self._u32()
        if version not in VERSIONS:
            if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, *VERSIONS):
                raise self._bad("a big-endian GGUF file, made for another kind of machine")
            raise self._bad(f"GGUF version {version}, this reads {' and '.join(map(str, VERSIONS))}")
        tensors, pairs = self._u64(), self._u64()
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            raise self._bad(f"claims {tensors} tensors and {pairs} metadata pairs")
        return tensors, pairs

    # values

    def _value(self, key: str, metadata: dict[str, Any], lengths: dict[str, int]) -> None:
        kind = self._u32()
        if kind == _STRING:
            metadata[key] = self._text(MAX_TEXT, key)
        elif kind == _ARRAY:
            self._array(key, metadata, lengths)
        elif kind in _SCALARS:
            value = struct.unpack_from("<" + _SCALARS[kind], self._data, self._take(_SIZES[kind]))[0]
            metadata[key] = bool(value) if kind == _BOOL else value
        else:
            raise self._bad(f"{key[:80]!r} has the unknown type {kind}")

    def _array(self, key: str, metadata: dict[str, Any], lengths: dict[str, int]) -> None:
        kind, count = self._u32(), self._u64()
        lengths[key] = count
        if kind == _STRING:
            self._skip_strings(key, count)
        elif kind in _SCALARS:
            if count > self._end // _SIZES[kind]:
                raise self._bad(f"{key[:80]!r} claims {count} elements")
            start = self._take(count * _SIZES[kind])
            if count <= MAX_KEPT:
                metadata[key] = list(struct.unpack_from(f"<{count}{_SCALARS[kind]}", self._data, start))
        else:
            raise self._bad(f"{key[:80]!r} is an array of the unknown type {kind}")

    def _skip_strings(self, key: str, count: int) -> None:
        self._strings += count
        if self._strings > MAX_STRINGS or count > (self._end - self._at) // 8:
            raise self._bad(f"{key[:80]!r} claims {count} strings")
        data, at, end, unpack = self._data, self._at, self._end, _U64.unpack_from
        for _ in range(count):
            if at + 8 > end:
                raise self._short()
            at += 8 + unpack(data, at)[0]
        if at > end:
            raise self._short()
        self._at = at

    # tensors

    def _tensors(self, count: int, alignment: int) -> tuple[int, int, str]:
        """Returns (parameters, bytes of data, type that holds most bytes)."""
        if alignment <= 0 or alignment > 1 << 20 or alignment % 8:
            raise self._bad(f"general.alignment is {alignment}")
        spans: list[tuple[str, int, int]] = []
        by_type: dict[str, int] = {}
        names: set[str] = set()
        parameters = 0
        for _ in range(count):
            name = self._text(MAX_KEY, "a tensor's name")
            if name in names:
                raise self._bad(f"tensor {name[:80]!r} stands twice")
            names.add(name)
            elements, kind = self._shape(name)
            offset = self._u64()
            if offset % alignment:
                raise self._bad(f"tensor {name[:80]!r} is not aligned to {alignment} bytes")
            label, block, bytes_of_block = BLOCKS.get(kind, (f"type {kind}", 1, 0))
            if elements % block:
                raise self._bad(f"tensor {name[:80]!r} has {elements} elements, not a multiple of {block}")
            length = elements // block * bytes_of_block
            spans.append((name, offset, length))
            by_type[label] = by_type.get(label, 0) + length
            parameters += elements
        start = -(-self._at // alignment) * alignment
        for name, offset, length in spans:
            if start + offset + length > self._size:
                raise self._bad(
                    f"cut short: tensor {name[:80]!r} ends at byte {start + offset + length}, the file at {self._size}"
                )
        weights = max(0, self._size - start)
        return parameters, weights, max(by_type, key=lambda label: by_type[label], default="none")

    def _shape(self, name: str) -> tuple[int, int]:
        """Returns (elements, type)."""
        dimensions = self._u32()
        if dimensions > MAX_DIMENSIONS:
            raise self._bad(f"tensor {name[:80]!r} claims {dimensions} dimensions")
        sizes = [self._u64() for _ in range(dimensions)]
        elements = math.prod(sizes)
        if elements > 1 << 48:
            raise self._bad(f"tensor {name[:80]!r} claims {elements} elements")
        return elements, self._u32()

    # bytes

    def _take(self, length: int) -> int:
        """Returns where the next `length` bytes begin and steps over them."""
        at = self._at
        if length > self._end - at:
            raise self._short()
        self._at = at + length
        return at

    def _u32(self) -> int:
        return int(_U32.unpack_from(self._data, self._take(4))[0])

    def _u64(self) -> int:
        return int(_U64.unpack_from(self._data, self._take(8))[0])

    def _text(self, limit: int, what: str) -> str:
        length = self._u64()
        if length > limit:
            raise self._bad(f"{what[:80]} claims a length of {length} bytes")
        at = self._take(length)
        try:
            return self._data[at : at + length].decode()
        except UnicodeDecodeError:
            raise self._bad(f"{what[:80]} is not UTF-8 text") from None

    def _bad(self, message: str) -> EngineError:
        return _bad(self._path, message)

    def _short(self) -> EngineError:
        if self._end < self._size:
            return self._bad(f"its header is longer than {MAX_HEADER >> 20} MiB")
        return self._bad(f"cut short: the header goes on past the end of the file ({self._size} bytes)")


def _whole(metadata: dict[str, Any], key: str) -> int | None:
    """A positive whole number, or None: a wrong type is as good as silence here."""
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _short(metadata: dict[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return value[:200] if isinstance(value, str) else None


def _kv_width(architecture: str, metadata: dict[str, Any]) -> int:
    """Returns elements of keys and values per token: over the layers, KV heads x (key length + value length)."""

    def number(key: str) -> int:
        return _whole(metadata, f"{architecture}.{key}") or 0

    def per_layer(key: str) -> list[int]:
        value = metadata.get(f"{architecture}.{key}")
        if isinstance(value, list):
            return [max(0, int(one)) for one in value if isinstance(one, int)]
        return [number(key)] * min(layers, MAX_KEPT)

    layers = number("block_count")
    heads = per_layer("attention.head_count")
    kv_heads = per_layer("attention.head_count_kv")
    if not any(kv_heads):
        kv_heads = heads
    default = number("embedding_length") // max(1, *heads) if heads else 0
    width = (number("attention.key_length") or default) + (number("attention.value_length") or default)
    return sum(kv_heads) * width
