"""The predictor file: data only, checked before any of it is believed.

    magic       8 bytes  b"FHPRED\\x00\\x01", the last one the version of the format
    digest     32 bytes  sha256 of everything after it
    size        4 bytes  of the header, little-endian
    header      JSON     `Header`: sizes, scales, family, heads
    payload     zlib     words, pairs, marks, levels, lanes, rungs, values of `Tables`, one after another

A file that is cut, changed, too large, of another version or of numbers that cannot be is refused with ConfigError,
which says what is wrong with it. Nothing in it is executed.
"""

import hashlib
import os
import tempfile
import zlib
from functools import cache
from math import isfinite
from pathlib import Path

import msgspec
from msgspec import Struct

from freehold.decide.predict.basis import KEPT
from freehold.decide.predict.heads import Family, Head
from freehold.decide.predict.look import LADDERS
from freehold.decide.predict.predictor import Predictor
from freehold.decide.predict.tables import Tables, build
from freehold.errors import ConfigError

MAGIC = b"FHPRED\x00\x01"
MOST_FILE = 16 << 20
MOST_HEADER = 8 << 20
MOST_PAYLOAD = 32 << 20
MOST_HEADS = 5_000
LARGEST = 1e4
"""No number of a head is beyond this."""
SHIPPED = Path(__file__).with_name("default.bin")

_REFIT = "train it again with `freehold route train`, or leave `predictor` out to use the one that ships"
_PARTS = ("words", "pairs", "marks", "levels", "lanes", "rungs", "values")


class Header(Struct, forbid_unknown_fields=True):
    """`sizes` are those of the parts of the payload in bytes; `reads` identifies the measures (`look.LADDERS`)."""

    reads: str
    sizes: tuple[int, int, int, int, int, int, int]
    scales: tuple[float, ...]
    rung_scales: tuple[float, ...]
    centre: tuple[float, ...]
    unit: float
    floor: float
    family: Family
    heads: list[Head]
    made: str = ""


def measures_id() -> str:
    """Of the measures and their ladders: a basis fits those it was learnt with only."""
    return hashlib.sha256(repr((LADDERS, KEPT)).encode()).hexdigest()[:16]


def identity(tables: Tables) -> str:
    """Of a basis. Two readings may be compared only where it is equal."""
    return hashlib.sha256(measures_id().encode() + msgspec.msgpack.encode(tables)).hexdigest()[:16]


def dumps(predictor: Predictor) -> bytes:
    """The file as bytes."""
    tables = predictor.tables
    parts = [getattr(tables, name) for name in _PARTS]
    header = msgspec.json.encode(
        Header(
            reads=measures_id(),
            sizes=tuple(map(len, parts)),  # type: ignore[arg-type]
            scales=tables.scales,
            rung_scales=tables.rung_scales,
            centre=tables.centre,
            unit=tables.unit,
            floor=tables.floor,
            family=predictor.family,
            heads=list(predictor.heads.values()),
            made=predictor.made,
        )
    )
    body = len(header).to_bytes(4, "little") + header + zlib.compress(b"".join(parts), 9)
    return MAGIC + hashlib.sha256(body).digest() + body


def loads(data: bytes, where: str = "predictor") -> Predictor:
    """Raises ConfigError, with `where` in its message, for anything but a whole and sound predictor."""
    try:
        return _loads(data)
    except (ValueError, zlib.error, OverflowError) as error:  # msgspec's errors are ValueErrors
        raise ConfigError(f"{where} is not a usable predictor: {error}", hint=_REFIT) from error


def _loads(data: bytes) -> Predictor:
    if len(data) > MOST_FILE:
        raise ValueError(f"it is larger than {MOST_FILE >> 20} MB")
    if len(data) < 44:
        raise ValueError(f"{len(data)} bytes are too short for one")
    if data[:7] != MAGIC[:7]:
        raise ValueError("it does not begin like a predictor file")
    if data[7] != MAGIC[7]:
        raise ValueError(f"it has version {data[7]} of the format, this Freehold reads version {MAGIC[7]}")
    body = memoryview(data)[40:]
    if hashlib.sha256(body).digest() != data[8:40]:
        raise ValueError("its checksum is wrong: it was cut or changed")
    size = int.from_bytes(body[:4], "little")
    if size > min(MOST_HEADER, len(body) - 4):
        raise ValueError("its header is longer than the file")
    header = msgspec.json.decode(body[4 : 4 + size], type=Header)
    if header.reads != measures_id():
        raise ValueError("it was made for other measures of a prompt than this version takes")
    if any(part < 0 for part in header.sizes) or sum(header.sizes) > MOST_PAYLOAD:
        raise ValueError(f"its tables are larger than {MOST_PAYLOAD >> 20} MB")
    parts = _parts(bytes(body[4 + size :]), header.sizes)
    tables = Tables(
        **dict(zip(_PARTS, parts, strict=True)),
        scales=header.scales,
        rung_scales=header.rung_scales,
        centre=header.centre,
        unit=header.unit,
        floor=header.floor,
    )
    basis = build(tables)
    _check_heads(header, basis.width)
    heads = {head.name: head for head in header.heads}
    if len(heads) != len(header.heads):
        raise ValueError("two heads have the same name")
    return Predictor(basis, header.family, heads, tables=tables, id=identity(tables), made=header.made)


def _parts(packed: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    reader = zlib.decompressobj()
    whole = reader.decompress(packed, sum(sizes) + 1)
    if len(whole) != sum(sizes) or not reader.eof or reader.unused_data:
        raise ValueError("its tables are not as large as its header says")
    parts, at = [], 0
    for size in sizes:
        parts.append(whole[at : at + size])
        at += size
    return parts


def _check_heads(header: Header, width: int) -> None:
    family = header.family
    if len(header.heads) > MOST_HEADS:
        raise ValueError(f"{len(header.heads)} heads are too many")
    if not (len(family.base) == len(family.slope) == len(family.spread) == width + 1):
        raise ValueError(f"its family is not one for readings of {width} numbers")
    if not 2 <= len(family.abilities) <= 1_000 or list(family.abilities) != sorted(family.abilities):
        raise ValueError("the abilities of its family do not rise")
    numbers = [*family.base, *family.slope, *family.spread, *family.abilities, family.doubt]
    for head in header.heads:
        if len(head.weights) != width or head.labels < 0 or head.doubt < 0 or not 0 < len(head.name) <= 300:
            raise ValueError(f"the head {head.name[:80]!r} does not fit readings of {width} numbers")
        numbers += (*head.weights, head.bias, head.doubt, head.ability)
    if not all(isfinite(number) and abs(number) <= LARGEST for number in numbers):
        raise ValueError("a number of a head is out of bounds")


def load(path: str | os.PathLike[str]) -> Predictor:
    """Raises ConfigError where there is no file, or none that can be used."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the predictor {os.fspath(path)}: {error.strerror}", hint=_REFIT) from error
    return loads(data, f"the file {os.fspath(path)}")


def save(predictor: Predictor, path: str | os.PathLike[str]) -> None:
    """Writes beside and renames, so that a reader sees the old file or the new one. Raises OSError."""
    target = Path(path)
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(dumps(predictor))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


@cache
def default() -> Predictor:
    """The predictor that ships; read once, which takes some 60 ms. See models/routing.md."""
    return load(SHIPPED)
