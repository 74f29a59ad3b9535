"""The tables of a basis as flat bytes, and how a basis is built from them: what a predictor file holds.

Everything is checked while it is built: sizes against each other and against bounds, every number against its range.
Building 48,000 terms takes some 60 ms, because bytes are moved by slices and not one at a time.
"""

import sys
from array import array
from math import isfinite
from typing import TypeVar

from msgspec import Struct

from freehold.decide.predict.basis import KEPT, LANE, MOST_LANES, Basis, Term, pack
from freehold.decide.predict.look import LADDERS

N = TypeVar("N", int, float)

MOST_WORDS = 65_535
"""A place must fit 16 bits."""
MOST_TERMS = 200_000
_RUNGS = tuple(len(edges) + 1 for edges in LADDERS.values())
RUNGS = sum(_RUNGS)
_KEPT = tuple(list(LADDERS).index(name) for name in KEPT)
_LOW = bytes(level * level & 255 for level in range(256))
_HIGH = bytes(level * level >> 8 for level in range(256))


class Tables(Struct, frozen=True):
    """Flat tables; n terms are words, then pairs, then marks; k lanes; integers little-endian.

    words   joined by newlines, in the order of their places from 1
    pairs   u32 each: place << 16 | next place
    marks   a byte each
    levels  u8 for each term: its weight in units of `unit`
    lanes   u8 for each lane and term, lane by lane, 128 is zero, in units of `scales`
    rungs   i16 for each rung of each measure and lane, rung by rung, in units of `rung_scales`
    values  f32 for each rung of each measure: what a reading says of it
    """

    words: bytes
    pairs: bytes
    marks: bytes
    levels: bytes
    lanes: bytes
    rungs: bytes
    values: bytes
    scales: tuple[float, ...]
    rung_scales: tuple[float, ...]
    centre: tuple[float, ...]
    unit: float
    floor: float


def build(tables: Tables) -> Basis:
    """Raises ValueError that says what does not fit."""
    k = len(tables.scales)
    if not 1 <= k < MOST_LANES or len(tables.rung_scales) != k or len(tables.centre) != k:
        raise ValueError(f"{k} lanes, with {len(tables.rung_scales)} and {len(tables.centre)} of their other numbers")
    if not all(abs(number) <= 1e6 for number in (*tables.scales, *tables.rung_scales, *tables.centre)):
        raise ValueError("a scale that cannot be")
    if not (0 < tables.unit < 1e3 and 1e-6 < tables.floor < 1e6):
        raise ValueError("a unit or floor that cannot be")
    words = tables.words.split(b"\n") if tables.words else []
    pairs = _integers("I", tables.pairs)
    count = len(words) + len(pairs) + len(tables.marks)
    if len(words) > MOST_WORDS or count > MOST_TERMS:
        raise ValueError(f"{count} terms, {len(words)} of them words, are too many")
    if len(set(words)) != len(words) or len(set(pairs)) != len(pairs) or len(set(tables.marks)) != len(tables.marks):
        raise ValueError("a term that stands there twice")
    if len(tables.levels) != count or len(tables.lanes) != count * k:
        raise ValueError(f"{len(tables.levels)} weights and {len(tables.lanes)} numbers for {count} terms of {k} lanes")
    packed = _packed(tables.levels, tables.lanes, count, k)
    if any((pair >> 16) * (pair & 65_535) == 0 or max(pair >> 16, pair & 65_535) > len(words) for pair in pairs):
        raise ValueError("a pair of words that are not there")
    terms: list[Term] = [*words, *((words[(pair >> 16) - 1], words[(pair & 65_535) - 1]) for pair in pairs)]
    vectors = dict(zip([*terms, *tables.marks], packed, strict=True))
    rungs, heights = _rungs(tables.rungs, tables.values, k)
    return Basis(
        lanes=k,
        vectors=vectors,
        rungs=tuple(rungs),
        kept=tuple((place, heights[place]) for place in _KEPT),
        unit=tables.unit * tables.unit,
        scales=tables.scales,
        rung_scales=tables.rung_scales,
        centre=tables.centre,
        floor=tables.floor,
    )


def _packed(levels: bytes, lanes: bytes, count: int, k: int) -> list[int]:
    """Lane 0 is the square of the level; the others lose their bias of 128 in one subtraction."""
    width = LANE // 8 * (k + 1)
    flat = bytearray(width * count)
    flat[0::width] = levels.translate(_LOW)
    flat[1::width] = levels.translate(_HIGH)
    for lane in range(k):
        flat[4 * (lane + 1) :: width] = lanes[lane * count : (lane + 1) * count]
    bias = pack([0, *([128] * k)])
    whole = bytes(flat)
    return [int.from_bytes(whole[at : at + width], "little") - bias for at in range(0, len(whole), width)]


def _rungs(rungs: bytes, values: bytes, k: int) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
    numbers, heights = _integers("h", rungs), _floats(values)
    if len(numbers) != RUNGS * k or len(heights) != RUNGS:
        raise ValueError(f"{len(numbers)} numbers and {len(heights)} values for {RUNGS} rungs of {k} lanes")
    if not all(isfinite(height) and abs(height) <= 100 for height in heights):
        raise ValueError("a measure that is not a number")
    packed, plain = [], []
    at = 0
    for size in _RUNGS:
        packed.append(tuple(pack(numbers[rung * k : (rung + 1) * k]) for rung in range(at, at + size)))
        plain.append(tuple(heights[at : at + size]))
        at += size
    return packed, plain


def _integers(kind: str, data: bytes) -> "array[int]":
    numbers: array[int] = array(kind)
    return _filled(numbers, data)


def _floats(data: bytes) -> "array[float]":
    numbers: array[float] = array("f")
    return _filled(numbers, data)


def _filled(numbers: "array[N]", data: bytes) -> "array[N]":
    if len(data) % numbers.itemsize:
        raise ValueError(f"{len(data)} bytes, where numbers of {numbers.itemsize} bytes were expected")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
