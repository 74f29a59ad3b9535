"""Ed25519 as RFC 8032, section 5.1, defines it, in Python's integers.

For machines where no library for it is installed: a signature takes some ten milliseconds, and how long exactly depends
on the key, so this is only for what nobody outside can time or ask for: the steward signs a tree head a minute at most.
`keys.py` takes the `cryptography` package instead wherever it is there. Both make the same signatures.

Points are in extended homogeneous coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z (section 5.1.4).
"""

from hashlib import sha512
from typing import Final

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
"""Order of the group that the base point generates."""
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT: Final = pow(2, (_P - 1) // 4, _P)
"""A square root of -1."""

_Point = tuple[int, int, int, int]
_ZERO: Final[_Point] = (0, 1, 1, 0)


def public_key(seed: bytes) -> bytes:
    """Returns the 32 bytes of the public key of a secret seed of 32 bytes."""
    return _compress(_times_base(_expand(seed)[0]))


def sign(seed: bytes, message: bytes, public: bytes) -> bytes:
    """Returns the signature, 64 bytes; the same message always gets the same. `public` is the seed's public key."""
    scalar, prefix = _expand(seed)
    nonce = _reduced(prefix + message)
    commitment = _compress(_times_base(nonce))
    challenge = _reduced(commitment + public + message)
    return commitment + ((nonce + challenge * scalar) % _L).to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is this key's for `message`. Never raises: garbage is no signature."""
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    key, commitment = _decompress(public), _decompress(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= _L:
        return False
    challenge = _reduced(signature[:32] + public + message)
    return _equal(_times_base(scalar), _add(commitment, _times(challenge, key)))


def _expand(seed: bytes) -> tuple[int, bytes]:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a secret key has {SEED_BYTES} bytes, not {len(seed)}")
    digest = sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return (scalar & ((1 << 254) - 8)) | (1 << 254), digest[32:]


def _reduced(data: bytes) -> int:
    return int.from_bytes(sha512(data).digest(), "little") % _L


def _add(one: _Point, two: _Point) -> _Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    total = _ZERO
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _equal(one: _Point, two: _Point) -> bool:
    return (one[0] * two[2] - two[0] * one[2]) % _P == 0 and (one[1] * two[2] - two[1] * one[2]) % _P == 0


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | ((x & 1) << 255)).to_bytes(32, "little")


def _decompress(data: bytes) -> _Point | None:
    value = int.from_bytes(data, "little")
    sign_of_x, y = value >> 255, value & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if square == 0:
        return None if sign_of_x else (0, y, 1, 0)
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P:
        return None
    if x & 1 != sign_of_x:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE_Y: Final = 4 * pow(5, -1, _P) % _P


def _base() -> _Point:
    point = _decompress(_BASE_Y.to_bytes(32, "little"))
    if point is None:  # pragma: no cover  the base point is on the curve
        raise AssertionError
    return point


_BASE: Final = _base()


def _times_base(scalar: int) -> _Point:
    return _times(scalar, _BASE)
