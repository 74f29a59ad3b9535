"""The tensors of a safetensors repository: names, shapes and mapped bytes.

The files are memory-mapped: an array of this module is a view of the file, and what is not touched is not read. bf16 is
held as its 16 bits in a uint16 array, and 8-bit floats as uint8, so that moving and permuting elements needs no
arithmetic; `numbers` turns any of them into float32.

8-bit checkpoints (DeepSeek V3 and R1) keep one float32 scale per block of 128 x 128 under NAME_scale_inv
(`quantization_config.weight_block_size`); `Checkpoint.read` multiplies it in.
"""

import math
import mmap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from freehold.own.convert.config import MAX_WIDTH
from freehold.own.convert.problems import refuse, unsupported
from freehold.own.weights.safetensors import TensorFile, check_index, read_header, read_index

INDEX = "model.safetensors.index.json"
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "U16": 2, "U32": 4, "U64": 8, "BOOL": 1,
}  # fmt: skip
FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U16": "<u2", "U32": "<u4", "U64": "<u8"}  # fmt: skip
SCALE = "_scale_inv"


class Stored(NamedTuple):
    """Where one tensor lies. `start` and `stop` are bytes of the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Checkpoint:
    """All tensors of a folder by name."""

    def __init__(self, folder: Path, tensors: Mapping[str, Stored], block: tuple[int, int] | None = None) -> None:
        self.folder = folder
        self._tensors = dict(tensors)
        self._scaled = {name: f"{name}{SCALE}" for name in tensors if block is not None and f"{name}{SCALE}" in tensors}
        self._block = block or (1, 1)
        hidden = set(self._scaled.values())
        self.names = [name for name in tensors if name not in hidden]
        self._maps: dict[Path, mmap.mmap] = {}

    @classmethod
    def open(cls, folder: Path, config: Mapping[str, Any]) -> "Checkpoint":
        """Reads the headers of every shard. Raises EngineError for a malformed, missing or superfluous one."""
        tensors: dict[str, Stored] = {}
        for file in _shards(folder):
            for name, one in file.tensors.items():
                if name in tensors:
                    raise refuse(f"tensor {name[:100]} is in {tensors[name].file.name} and in {file.path.name}")
                if one.dtype not in SIZES:
                    raise refuse(f"tensor {name[:100]} has the type {one.dtype}, which this does not read")
                tensors[name] = Stored(file.path, one.dtype, one.shape, one.start, one.end)
        if not tensors:
            raise refuse(f"{folder.name}: its safetensors files hold no tensors")
        return cls(folder, tensors, _fp8_block(config))

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def dtype(self, name: str) -> str:
        """Returns the type in which `read` gives the tensor; a scaled 8-bit one is given as F32."""
        return "F32" if name in self._scaled else self._tensors[name].dtype

    def nominal(self, name: str) -> str:
        """Returns the type that loses nothing of what was trained: scaled 8-bit weights are worth BF16."""
        return "BF16" if name in self._scaled else self._tensors[name].dtype

    def read(self, name: str) -> Any:
        """Returns the tensor as an array; see `dtype`. A view of the file where nothing has to be computed."""
        raw = self._view(name)
        if name not in self._scaled:
            return raw
        scale = numbers(self._view(self._scaled[name]), self._tensors[self._scaled[name]].dtype)
        return _unscaled(name, numbers(raw, self._tensors[name].dtype), scale, self._block)

    def release(self, name: str) -> None:
        """Tells the kernel that the pages of a tensor are not needed soon, so that memory does not fill up."""
        for one in (name, self._scaled.get(name, name)):
            stored = self._tensors[one]
            data = self._maps.get(stored.file)
            start = -(-stored.start // mmap.PAGESIZE) * mmap.PAGESIZE
            length = stored.stop // mmap.PAGESIZE * mmap.PAGESIZE - start
            if data is not None and length > 0 and hasattr(data, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
                data.madvise(mmap.MADV_DONTNEED, start, length)

    def close(self) -> None:
        """Forgets the mapped files; arrays still in use keep theirs alive."""
        self._maps.clear()

    def _view(self, name: str) -> Any:
        import numpy as np

        stored = self._tensors[name]
        data = self._maps.get(stored.file)
        if data is None:
            with stored.file.open("rb") as file:
                data = self._maps[stored.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if stored.stop > len(data):
            raise refuse(f"{stored.file.name} became shorter while it was read")
        flat = np.frombuffer(data, np.uint8, stored.stop - stored.start, stored.start)
        return flat.view(_NUMPY.get(stored.dtype, "u1")).reshape(stored.shape)


def _shards(folder: Path) -> list[TensorFile]:
    """Returns the headers of the files that hold the weights: those of the index where there is one."""
    try:
        return _read_shards(folder)
    except OSError as error:
        raise refuse(f"{folder.name} cannot be read: {error.strerror}") from None


def _read_shards(folder: Path) -> list[TensorFile]:
    present = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")
    if (folder / INDEX).is_file():
        places = read_index(folder / INDEX, present)
        files = {name: read_header(folder / name) for name in sorted(set(places.values()))}
        check_index(INDEX, places, files)
        return list(files.values())
    names = (
        ["model.safetensors"] if "model.safetensors" in present else [one for one in present if one.startswith("model")]
    )
    if not names:
        raise refuse(
            f"{folder.name}: there are no safetensors files",
            "only safetensors repositories can be converted; pickles (.bin, .pt) are not read",
        )
    return [read_header(folder / name) for name in names]


def _fp8_block(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Returns rows and columns of one scale's block of an 8-bit checkpoint; None for an ordinary one."""
    quantised = config.get("quantization_config")
    if quantised is None:
        return None
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    if method == "mxfp4":
        return None
    block = quantised.get("weight_block_size") if isinstance(quantised, dict) else None
    good = (
        isinstance(block, list) and len(block) == 2 and all(type(one) is int and 1 <= one <= MAX_WIDTH for one in block)
    )
    if method != "fp8" or not isinstance(block, list) or not good:
        raise unsupported(
            f"config.json: the weights are already quantised ({str(method)[:40]}), which this cannot convert",
            "pull the unquantised repository, or a GGUF one",
        )
    return block[0], block[1]


def _unscaled(name: str, values: Any, scale: Any, block: tuple[int, int]) -> Any:
    rows, columns = block
    if values.ndim != 2 or scale.shape != (-(-values.shape[0] // rows), -(-values.shape[1] // columns)):
        raise refuse(f"tensor {name[:100]}: its scales have the shape {list(scale.shape)}")
    for row in range(scale.shape[0]):
        band = values[row * rows : (row + 1) * rows]
        band *= scale[row].repeat(columns)[: band.shape[1]]
    return values


def numbers(array: Any, dtype: str) -> Any:
    """Returns `array` of the stored type `dtype` as float32."""
    import numpy as np

    if dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return np.asarray(_eight_bits(dtype), np.float32)[array]
    return array.astype(np.float32, copy=False)


@cache
def _eight_bits(dtype: str) -> tuple[float, ...]:
    """The values of all 256 codes. E4M3 is the finite kind: no infinities, 0x7f and 0xff are not numbers."""
    exponent_bits, mantissa_bits, bias = (4, 3, 7) if dtype == "F8_E4M3" else (5, 2, 15)

    def value(code: int) -> float:
        exponent, mantissa = (code >> mantissa_bits) & ((1 << exponent_bits) - 1), code & ((1 << mantissa_bits) - 1)
        if dtype == "F8_E4M3" and code & 0x7F == 0x7F:
            return math.nan
        if dtype == "F8_E5M2" and exponent == 31:
            return math.nan if mantissa else math.copysign(math.inf, -1 if code & 0x80 else 1)
        scale = 2.0 ** (max(exponent, 1) - bias)
        size = ((1 if exponent else 0) + mantissa / (1 << mantissa_bits)) * scale
        return -size if code & 0x80 else size

    return tuple(value(code) for code in range(256))
