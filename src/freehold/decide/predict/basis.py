"""The basis: one vector of `lanes` numbers per known word, pair and mark, and per rung of each measure.

A reading is their sum. Pure Python adds vectors one number at a time, which would be too slow, so a vector is ONE
integer: lane j stands at bit 32 * j, signed, and adding two integers adds all lanes at once (about 50 ns). A lane holds
the sum of at most `look.HEAD + look.TAIL` terms of 8 bits, or measures of 16, so it never reaches its neighbour.

    lanes  = words / max(floor, sqrt(sum of the known terms' weights)) + measures      per lane, then scaled
    z      = (lanes clipped to +-LIMIT) + (some measures, standardised)

`weights` are squared inverse document frequencies: the division makes the bag of words a unit vector, so that no term
can say more than its share, and `floor` keeps a prompt of two words from being judged by them alone.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain
from math import sqrt
from operator import getitem
from struct import Struct as Packer

from msgspec import Struct

from freehold.decide.predict.look import LADDERS, Look

Term = bytes | tuple[bytes, bytes] | int

LANE = 32
_HALF = 1 << LANE - 1
MOST_LANES = 17
LIMIT = 4.0
"""A lane of a reading, in standard deviations of the data it was learnt from, is within this."""
KEPT = (
    "length", "options", "option length", "digits", "capitals", "word length", "marks", "latex", "code", "sentences",
    "variety", "lines", "foreign", "tools", "turns",
)  # fmt: skip
"""The measures that are also numbers of a reading themselves, so that heads learn from what the data had not."""

_EDGES = tuple(LADDERS.values())


class Basis(Struct, frozen=True):
    """`vectors` holds a packed vector for every known term: a word, two that follow each other, or a mark's byte.

    Lane 0 of such a vector is the weight of the term, in units of `unit`; then follow the lanes of a reading, in units
    of `scales`. `rungs` gives each rung of each measure a packed vector of the lanes in units of `rung_scales`; `kept`
    names the measures that are numbers of the reading too, with their value on each rung.
    """

    lanes: int
    vectors: dict[Term, int]
    rungs: tuple[tuple[int, ...], ...]
    kept: tuple[tuple[int, tuple[float, ...]], ...]
    unit: float
    scales: tuple[float, ...]
    rung_scales: tuple[float, ...]
    centre: tuple[float, ...]
    floor: float

    @property
    def width(self) -> int:
        """Numbers in a reading."""
        return self.lanes + len(KEPT)

    def project(self, seen: Look) -> tuple[tuple[float, ...], int]:
        """The numbers of a reading, and how many known terms they come from."""
        find = self.vectors.get
        terms: Iterable[Term] = chain(seen.words, seen.pairs, seen.marks)
        known = list(filter(None, map(find, terms)))
        weight, *words = unpack(sum(known), self.lanes + 1)
        rungs = list(map(bisect_right, _EDGES, seen.measures))
        forms = unpack(sum(map(getitem, self.rungs, rungs)), self.lanes)
        share = 1.0 / max(self.floor, sqrt(max(0.0, weight * self.unit)))
        z = [
            -LIMIT
            if (lane := word * scale * share + form * other - middle) < -LIMIT
            else LIMIT
            if lane > LIMIT
            else lane
            for word, scale, form, other, middle in zip(
                words, self.scales, forms, self.rung_scales, self.centre, strict=True
            )
        ]
        z += [values[rungs[i]] for i, values in self.kept]
        return tuple(z), len(known)


_OFFSETS = tuple(sum(1 << LANE * lane + LANE - 1 for lane in range(count)) for count in range(MOST_LANES + 2))
_STRUCTS = tuple(Packer(f"<{count}I") for count in range(MOST_LANES + 2))


def pack(values: Sequence[int]) -> int:
    """Signed lanes into one integer: lane j at bit 32 * j."""
    return sum(value << LANE * lane for lane, value in enumerate(values))


def unpack(packed: int, count: int) -> list[int]:
    """The lanes of a sum of packed vectors, each within 31 bits and a sign."""
    return [lane - _HALF for lane in _STRUCTS[count].unpack((packed + _OFFSETS[count]).to_bytes(4 * count, "little"))]
