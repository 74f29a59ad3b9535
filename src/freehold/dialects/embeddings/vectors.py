"""Vectors between numbers and base64.

base64 is float32, little-endian, as OpenAI has it; of the integer types it is their bytes, as Voyage has it. Numbers
that become float32 keep about 7 digits, which is what the models compute with.
"""

import binascii
import struct
from collections.abc import Sequence
from math import isfinite

from freehold.dialects.embeddings.types import Dtype, Vector
from freehold.errors import UpstreamBroken

_INTEGER = {"int8": "b", "binary": "b", "uint8": "B", "ubinary": "B"}


def to_base64(vector: Vector, dtype: Dtype = "float") -> str:
    """Raises UpstreamBroken for a number that its type cannot hold."""
    if not isinstance(vector, bytes):
        try:
            vector = struct.pack(f"<{len(vector)}{_INTEGER.get(dtype, 'f')}", *vector)
        except (OverflowError, struct.error):
            raise UpstreamBroken(f"The provider's embedding has a number that {dtype} cannot hold.") from None
    return binascii.b2a_base64(vector, newline=False).decode("ascii")


def to_floats(vector: Vector) -> Sequence[float]:
    """The numbers of a vector. Raises UpstreamBroken for bytes that are NaN or infinite, which JSON cannot say."""
    if not isinstance(vector, bytes):
        return vector
    numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
    if not all(map(isfinite, numbers)):
        raise UpstreamBroken("The provider's embedding has a number that is not finite.")
    return list(numbers)


def read_vector(value: Vector | str) -> Vector:
    """A vector of a provider's answer: numbers, or base64 of float32. Raises UpstreamBroken."""
    if not isinstance(value, str):
        return value
    try:
        raw = binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise UpstreamBroken("The provider's embedding is not valid base64.") from None
    if len(raw) % 4:
        raise UpstreamBroken("The provider's base64 embedding is not a list of float32.")
    return raw
