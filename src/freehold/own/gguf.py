"""What a GGUF file says about itself, read without trusting it.

Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), little-endian:

    "GGUF"  version u32  tensor count u64  pair count u64
    pairs:   key string, type u32, value              string = length u64, bytes
    tensors: name string, dimensions u32, sizes u64.., type u32, offset u64
    padding to `general.alignment`, then tensor data; offsets count from here

Every length, count and offset is checked against the file before it is used, and whatever llama.cpp's own reader
(gguf.cpp) refuses, or dies of, is refused here: an empty key, an alignment of another type, a dimension of zero.
Nothing of the tensor data is read and long arrays are stepped over, so memory is bounded by `MAX_METADATA`, and work by
the header, which itself may not pass `MAX_HEADER` bytes. Version 1 (before August 2023) and big-endian files are
refused: llama.cpp does not load them here either.
"""

import math
import os
import re
import struct
from pathlib import Path
from typing import Any

from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.ggml_types import BLOCKS, MAX_TYPE, REMOVED
from freehold.own.untrusted import bad_weights, opened

__all__ = ["BLOCKS", "MAX_STRINGS", "ModelFile", "read_header"]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER = 256 << 20
MAX_PAIRS = 10_000
MAX_TENSORS = 100_000
MAX_STRINGS = 4_000_000
"""Over all arrays of strings together: the largest vocabularies have under a million entries with merges."""
MAX_KEY = 65_535
MAX_TENSOR_NAME = 63
"""llama.cpp refuses longer ones (GGML_MAX_NAME)."""
MAX_TEXT = 4 << 20
MAX_METADATA = 32 << 20
"""Of texts and kept arrays together."""
MAX_KEPT = 4096
"""Elements of an array of numbers that are kept; per-layer head counts are such arrays."""
MAX_DIMENSIONS = 4
WINDOW = 1 << 20

_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_ARCHITECTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_SIZES = {kind: struct.calcsize(code) for kind, code in _SCALARS.items()}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


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


def read_header(path: Path, name: str | None = None) -> ModelFile:
    """Reads the header of `path`. Errors call it `name` where its own name says nothing, as that of a blob.

    Raises EngineError (code bad_weights) when it is not a well-formed GGUF file, OSError when it cannot be read.
    """
    name = name or path.name
    with opened(path, name, "GGUF") as (descriptor, size):
        if size < 24:
            raise bad_weights(name, f"not a GGUF file: it has {size} bytes")
        return _Reader(path, name, descriptor, size).read()


class _Reader:
    """One pass over the header. `at` is the place of the next byte, `window` the bytes of the file from `base` on.

    The file is read, not mapped: one that is cut short while it is read gives an error, not a signal that ends us.
    """

    def __init__(self, path: Path, name: str, descriptor: int, size: int) -> None:
        self._path = path
        self._name = name
        self._descriptor = descriptor
        self._size = size
        self._end = min(size, MAX_HEADER)
        self._at = 0
        self._window = b""
        self._base = 0
        self._strings = 0
        self._kept = 0
        self._kinds: dict[str, int] = {}

    def read(self) -> ModelFile:
        tensors, pairs = self._counts()
        metadata: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        for _ in range(pairs):
            self._pair(metadata, lengths)
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise self._bad("general.architecture is missing")
        if not _ARCHITECTURE.fullmatch(architecture):
            raise self._bad(f"general.architecture is {architecture[:80]!r}")
        parameters, weights, quantisation = self._tensors(tensors, self._alignment(metadata))

        def number(key: str) -> int | None:
            return _whole(metadata, f"{architecture}.{key}")

        return ModelFile(
            path=self._path,
            size=self._size,
            weights=weights,
            architecture=architecture,
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
        if self._take(4) != MAGIC:
            raise self._bad("not a GGUF file: it does not begin with GGUF")
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

    def _pair(self, metadata: dict[str, Any], lengths: dict[str, int]) -> None:
        key = self._text(MAX_KEY, "a key")
        if not key:
            raise self._bad("a key is empty")
        if key in self._kinds:
            raise self._bad(f"key {key[:80]!r} stands twice")
        kind = self._kinds[key] = self._u32()
        if kind == _STRING:
            metadata[key] = self._text(MAX_TEXT, key)
            self._keep(len(metadata[key]))
        elif kind == _ARRAY:
            self._array(key, metadata, lengths)
        elif kind in _SCALARS:
            value = struct.unpack("<" + _SCALARS[kind], self._take(_SIZES[kind]))[0]
            if kind == _BOOL and value > 1:
                raise self._bad(f"{key[:80]!r} is neither true nor false")
            metadata[key] = bool(value) if kind == _BOOL else value
        else:
            raise self._bad(f"{key[:80]!r} has the unknown type {kind}")

    def _array(self, key: str, metadata: dict[str, Any], lengths: dict[str, int]) -> None:
        kind, count = self._u32(), self._u64()
        lengths[key] = count
        if kind == _STRING:
            self._skip_strings(key, count)
        elif kind in _SCALARS:
            if count > (self._end - self._at) // _SIZES[kind]:
                raise self._bad(f"{key[:80]!r} claims {count} elements")
            if count <= MAX_KEPT:
                self._keep(8 * count)
                metadata[key] = list(struct.unpack(f"<{count}{_SCALARS[kind]}", self._take(count * _SIZES[kind])))
            else:
                self._at += count * _SIZES[kind]
        elif kind == _ARRAY:
            raise self._bad(f"{key[:80]!r} is an array of arrays")
        else:
            raise self._bad(f"{key[:80]!r} is an array of the unknown type {kind}")

    def _skip_strings(self, key: str, count: int) -> None:
        self._strings += count
        if self._strings > MAX_STRINGS or count > (self._end - self._at) // 8:
            raise self._bad(f"{key[:80]!r} claims {count} strings")
        unpack = _U64.unpack_from
        while count:
            self._see(8)
            window, at = self._window, self._at - self._base
            last = len(window) - 8
            while count and at <= last:
                at += 8 + unpack(window, at)[0]
                count -= 1
            self._at = self._base + at
        if self._at > self._end:
            raise self._short()

    def _keep(self, size: int) -> None:
        self._kept += size
        if self._kept > MAX_METADATA:
            raise self._bad(f"its metadata is longer than {MAX_METADATA >> 20} MiB")

    def _alignment(self, metadata: dict[str, Any]) -> int:
        """llama.cpp ends itself where this is of another type than u32."""
        if "general.alignment" not in self._kinds:
            return 32
        value = metadata.get("general.alignment")
        if self._kinds["general.alignment"] != _UINT32 or not isinstance(value, int):
            raise self._bad("general.alignment is not a 32-bit number")
        if not 8 <= value <= 1 << 20 or value & (value - 1):
            raise self._bad(f"general.alignment is {value}, not a power of two from 8 on")
        return value

    # tensors

    def _tensors(self, count: int, alignment: int) -> tuple[int, int, str]:
        """Returns (parameters, bytes of data, type that holds most bytes).

        Tensors stand one after the other, each padded to `alignment`: no holes, no overlap. The place of one behind a
        type that is not known here can only be checked to be later.
        """
        by_type: dict[str, int] = {}
        names: set[str] = set()
        parameters, least, exact = 0, 0, True
        furthest = ("", 0)
        for _ in range(count):
            name = self._tensor_name(names)
            elements, row, kind = self._shape(name)
            offset = self._u64()
            if offset % alignment:
                raise self._bad(f"tensor {name[:80]!r} is not aligned to {alignment} bytes")
            if offset < least or (exact and offset != least):
                raise self._bad(f"tensor {name[:80]!r} is at {offset} of the data, expected at {least}")
            label, length = self._length(name, kind, elements, row)
            exact = length is not None
            least = offset + -(-(length or 1) // alignment) * alignment
            furthest = (name, offset + (length or 0))
            by_type[label] = by_type.get(label, 0) + (length or 0)
            parameters += elements
        start = -(-self._at // alignment) * alignment
        if count and start + furthest[1] > self._size:
            raise self._bad(
                f"cut short: tensor {furthest[0][:80]!r} ends at byte {start + furthest[1]}, the file at {self._size}"
            )
        weights = max(0, self._size - start)
        return parameters, weights, max(by_type, key=lambda label: by_type[label], default="none")

    def _tensor_name(self, names: set[str]) -> str:
        name = self._text(MAX_TENSOR_NAME, "a tensor's name")
        if not name or "\0" in name:
            raise self._bad(f"{name[:80]!r} cannot be a tensor's name")
        if name in names:
            raise self._bad(f"tensor {name[:80]!r} stands twice")
        names.add(name)
        return name

    def _shape(self, name: str) -> tuple[int, int, int]:
        """Returns (elements, elements in a row, type)."""
        dimensions = self._u32()
        if dimensions > MAX_DIMENSIONS:
            raise self._bad(f"tensor {name[:80]!r} claims {dimensions} dimensions")
        sizes = [self._u64() for _ in range(dimensions)]
        elements = math.prod(sizes)
        if not 0 < elements <= 1 << 48:
            raise self._bad(f"tensor {name[:80]!r} claims {elements} elements")
        return elements, sizes[0] if sizes else 1, self._u32()

    def _length(self, name: str, kind: int, elements: int, row: int) -> tuple[str, int | None]:
        """Returns (label, bytes); None for a type that is newer than this table."""
        if kind in REMOVED or kind > MAX_TYPE:
            raise self._bad(f"tensor {name[:80]!r} has the type {kind}, which llama.cpp does not have (any more)")
        if kind not in BLOCKS:
            return f"type {kind}", None
        label, block, bytes_of_block = BLOCKS[kind]
        if row % block:
            raise self._bad(f"tensor {name[:80]!r} has rows of {row} elements, not a multiple of {block}")
        return label, elements // block * bytes_of_block

    # bytes

    def _see(self, length: int) -> int:
        """Returns where in the window the next `length` bytes begin, reading on where needed."""
        if length > self._end - self._at:
            raise self._short()
        place = self._at - self._base
        if place < 0 or place + length > len(self._window):
            self._window = os.pread(self._descriptor, max(length, WINDOW), self._at)
            self._base, place = self._at, 0
            if len(self._window) < length:
                raise self._bad("it was cut short while it was read")
        return place

    def _take(self, length: int) -> bytes:
        """Returns the next `length` bytes and steps over them."""
        place = self._see(length)
        self._at += length
        return self._window[place : place + length]

    def _u32(self) -> int:
        return int(_U32.unpack(self._take(4))[0])

    def _u64(self) -> int:
        return int(_U64.unpack(self._take(8))[0])

    def _text(self, limit: int, what: str) -> str:
        length = self._u64()
        if length > limit:
            raise self._bad(f"{what[:80]} claims a length of {length} bytes")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise self._bad(f"{what[:80]} is not UTF-8 text") from None

    def _bad(self, message: str) -> EngineError:
        return bad_weights(self._name, message)

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
