"""A predictor's reading of a prompt, in a few bytes: half-precision floats, little-endian, one per lane.

Half floats keep eleven bits, far more than a reading is worth, without a scale to agree on. Which basis the numbers
belong to is named by the first four bytes of the predictor's id (a hash): numbers of two bases mean different things
and must not be mixed. No word of the prompt can be read back from some thirty numbers that each sum over all of it.
"""

import math
import struct
from collections.abc import Sequence

MOST_LANES = 32
BASIS_BYTES = 4
_LARGEST = 65504.0
"""The largest half float."""


def pack(z: Sequence[float]) -> bytes:
    """Raises ValueError for more than `MOST_LANES` numbers, or one that is none."""
    if len(z) > MOST_LANES or not math.isfinite(sum(z)):
        raise ValueError(f"a reading is at most {MOST_LANES} finite numbers")
    try:
        return struct.pack(f"<{len(z)}e", *z)
    except OverflowError:
        return struct.pack(f"<{len(z)}e", *(max(-_LARGEST, min(_LARGEST, value)) for value in z))


def unpack(reading: bytes) -> tuple[float, ...]:
    """Raises ValueError for bytes that are no reading."""
    lanes, rest = divmod(len(reading), 2)
    if rest or lanes > MOST_LANES:
        raise ValueError("these bytes are no reading")
    return struct.unpack(f"<{lanes}e", reading)


def basis_of(predictor: str) -> bytes:
    """The four bytes that stand for a predictor's id, which is hexadecimal. Raises ValueError."""
    return bytes.fromhex(predictor[: 2 * BASIS_BYTES])
