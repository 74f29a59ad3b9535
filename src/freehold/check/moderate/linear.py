"""The model: a weight for every feature and category, and the file it comes in.

    score = logistic(bias + sum of the weights of the features that are there)        per category

The weights of a feature for all categories are ONE integer, a category every 32 bits, so that a sum is one addition per
feature. The file is data only and is checked before any of it is believed:

    magic       8 bytes  b"FHMODR\\x00\\x01", the last one the version of the format
    digest     32 bytes  sha256 of everything after it
    size        4 bytes  of the header, little-endian
    header      JSON     `Header`
    payload     zlib     the features' names, a line each; then their weights, 16 bits each, little-endian
"""

import hashlib
import os
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Mapping
from functools import cache
from math import exp, isfinite
from pathlib import Path
from struct import Struct as Packer
from sys import byteorder

import msgspec
from msgspec import Struct

from freehold.dialects.moderations import CATEGORIES
from freehold.errors import ConfigError

MAGIC = b"FHMODR\x00\x01"
MOST_FILE = 4 << 20
MOST_NAMES = 4 << 20
MOST_FEATURES = 65_535
LARGEST = 1e3
SHIPPED = Path(__file__).with_name("default.bin")
_KINDS = len(CATEGORIES)
_HALF = 1 << 31
_OFFSET = sum(_HALF << 32 * lane for lane in range(_KINDS))
_LANES = Packer(f"<{_KINDS}I")
_MOST_LOGIT = 30.0


class Header(Struct, forbid_unknown_fields=True):
    """`reads` is the lexicon it was learnt with; `names` bytes of names; biases in logits, weights in `quantum`."""

    reads: str
    categories: tuple[str, ...]
    features: int
    names: int
    quantum: float
    biases: tuple[float, ...]
    thresholds: tuple[float, ...]


class Linear:
    """`thresholds`: the probability from which on a category is flagged. Immutable."""

    def __init__(
        self,
        reads: str,
        quantum: float,
        biases: tuple[float, ...],
        thresholds: tuple[float, ...],
        weights: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.reads = reads
        self.quantum = quantum
        self.biases = biases
        self.thresholds = thresholds
        self.weights = weights
        self._packed = {name: sum(one << 32 * lane for lane, one in enumerate(row)) for name, row in weights.items()}

    def scores(self, found: Iterable[str]) -> list[float]:
        """A probability for each of OpenAI's categories, in their order."""
        packed = sum(filter(None, map(self._packed.get, found)))
        lanes = _LANES.unpack((packed + _OFFSET).to_bytes(4 * _KINDS, "little"))
        return [logistic((lane - _HALF) * self.quantum + bias) for lane, bias in zip(lanes, self.biases, strict=True)]


def logistic(logit: float) -> float:
    """Never 0 or 1, and never an OverflowError."""
    return 1.0 / (1.0 + exp(-min(_MOST_LOGIT, max(-_MOST_LOGIT, logit))))


def dumps(model: Linear) -> bytes:
    """The file as bytes."""
    names = "\n".join(model.weights).encode()
    numbers = array("h", [one for row in model.weights.values() for one in row])
    if byteorder == "big":
        numbers.byteswap()
    header = msgspec.json.encode(
        Header(model.reads, CATEGORIES, len(model.weights), len(names), model.quantum, model.biases, model.thresholds)
    )
    body = len(header).to_bytes(4, "little") + header + zlib.compress(names + numbers.tobytes(), 9)
    return MAGIC + hashlib.sha256(body).digest() + body


def loads(data: bytes, where: str = "the moderation model") -> Linear:
    """Raises ConfigError, with `where` in its message, for anything but a whole and sound model."""
    try:
        return _loads(data)
    except (ValueError, zlib.error) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{where} cannot be used: {error}", hint="install Freehold again") from error


def _loads(data: bytes) -> Linear:
    if len(data) > MOST_FILE:
        raise ValueError(f"it is larger than {MOST_FILE >> 20} MB")
    if len(data) < 44 or data[:7] != MAGIC[:7]:
        raise ValueError("it does not begin like one")
    if data[7] != MAGIC[7]:
        raise ValueError(f"it has version {data[7]} of the format, this Freehold reads version {MAGIC[7]}")
    body = data[40:]
    if hashlib.sha256(body).digest() != data[8:40]:
        raise ValueError("its checksum is wrong: it was cut or changed")
    size = int.from_bytes(body[:4], "little")
    if size > len(body) - 4:
        raise ValueError("its header is longer than the file")
    header = msgspec.json.decode(body[4 : 4 + size], type=Header)
    if header.categories != CATEGORIES:
        raise ValueError("it judges other categories")
    if not 0 < header.features <= MOST_FEATURES or not 0 < header.names <= MOST_NAMES:
        raise ValueError("its tables are too large")
    if not len(header.biases) == len(header.thresholds) == _KINDS:
        raise ValueError("it has not one bias and one threshold for each category")
    numbers = (header.quantum, *header.biases)
    if not all(isfinite(one) and abs(one) <= LARGEST for one in numbers) or header.quantum <= 0:
        raise ValueError("a number of it is out of bounds")
    if not all(0 < one < 1 for one in header.thresholds):
        raise ValueError("a threshold is not between 0 and 1")
    return Linear(
        header.reads, header.quantum, header.biases, header.thresholds, _weights(bytes(body[4 + size :]), header)
    )


def _weights(packed: bytes, header: Header) -> dict[str, tuple[int, ...]]:
    length = header.names + 2 * _KINDS * header.features
    reader = zlib.decompressobj()
    whole = reader.decompress(packed, length + 1)
    if len(whole) != length or not reader.eof or reader.unused_data:
        raise ValueError("its tables are not as large as its header says")
    names = whole[: header.names].decode().split("\n")
    if len(set(names)) != header.features:
        raise ValueError("its features have not one name each")
    numbers = array("h", whole[header.names :])
    if byteorder == "big":
        numbers.byteswap()
    return {name: tuple(numbers[_KINDS * place : _KINDS * (place + 1)]) for place, name in enumerate(names)}


def save(model: Linear, path: str | os.PathLike[str]) -> int:
    """Writes beside and renames; returns the size in bytes. Raises OSError."""
    target = Path(path)
    data = dumps(model)
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(beside, 0o644)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise
    return len(data)


@cache
def default() -> Linear:
    """The model that ships. Raises ConfigError where it is missing or broken."""
    try:
        data = SHIPPED.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the moderation model: {error.strerror}", hint="install Freehold again"
        ) from error
    return loads(data)
