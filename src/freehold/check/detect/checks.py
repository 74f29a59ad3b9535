"""Checksums and counts that tell a real number or key from one that only looks like it. Pure arithmetic over text.

Formats: Luhn, ISO/IEC 7812-1 annex B. IBAN, ISO 13616 (mod 97, ISO 7064). GitHub and npm tokens: the last six
characters are the CRC-32 of those before, in base 62 with digits first, as GitHub described in April 2021 ("Behind
GitHub's new authentication token formats"). Bitcoin: base58check (double SHA-256) and bech32 (BIP 173, BIP 350).
Ethereum: EIP-55, mixed case by Keccak-256, which is not the SHA3-256 of hashlib (other padding).
"""

import hashlib
import math
import zlib
from collections import Counter

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_CONSTANTS = (1, 0x2BC830A3)
"""What the checksum of bech32 and of bech32m comes to."""


def luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 * (value > 4)
        total += value
    return total % 10 == 0


def mod97(iban: str) -> bool:
    """Whether an IBAN without spaces has the right check digits."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def entropy(text: str) -> float:
    """Returns Shannon's entropy of the characters, in bits per character."""
    length = len(text)
    return -sum(count / length * math.log2(count / length) for count in Counter(text).values()) if length else 0.0


def crc_base62(body: str) -> bool:
    """Whether the last six characters of a token's body are the checksum of the rest (GitHub, npm)."""
    rest, checksum = body[:-6], body[-6:]
    value, digits = zlib.crc32(rest.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = BASE62[digit] + digits
    return digits == checksum


def base58check(text: str) -> bool:
    """Whether a base58 text of 25 bytes, a Bitcoin address, ends with the first four bytes of its double SHA-256."""
    raw = base58check_bytes(text)
    return raw is not None and len(raw) <= 21


def base58check_bytes(text: str) -> bytes | None:
    """Returns what a base58 text of 25 or, where it is longer than an address, 37 or 38 bytes stands for, without its
    checksum; None where that is wrong.
    """
    number = 0
    for character in text:
        number = number * 58 + BASE58.index(character)
    length = 25 if len(text) <= 35 else (number.bit_length() + 7) // 8
    if number.bit_length() > 8 * length or length not in (25, 37, 38):
        return None
    raw = number.to_bytes(length, "big")
    return raw[:-4] if hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:] else None


def bech32(address: str) -> bool:
    """Whether a bech32 or bech32m address such as `bc1q...` has a right checksum. Mixed case is wrong by definition."""
    if address != address.lower() and address != address.upper():
        return False
    prefix, _, body = address.lower().rpartition("1")
    if not prefix or len(body) < 6 or any(character not in BECH32 for character in body):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [BECH32.index(c) for c in body]
    sums = 1
    for value in values:
        top = sums >> 25
        sums = (sums & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            sums ^= generator if top >> bit & 1 else 0
    return sums in _BECH32_CONSTANTS


def eip55(address: str) -> bool:
    """Whether the case of an Ethereum address's 40 hex digits is its checksum. All lower or all upper case has none."""
    digits = address.removeprefix("0x")
    if digits in (digits.lower(), digits.upper()):
        return True
    digest = keccak256(digits.lower().encode()).hex()
    return all(
        character.isdigit() or character.isupper() == (int(nibble, 16) >= 8)
        for character, nibble in zip(digits, digest, strict=False)
    )


_ROTATIONS = (1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44)
_LANES = (10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1)
_MASK = (1 << 64) - 1


def keccak256(message: bytes) -> bytes:
    """Returns the Keccak-256 digest of a message under 136 bytes (one block), as Ethereum uses it."""
    block = bytearray(message.ljust(136, b"\0"))
    block[len(message)] |= 0x01
    block[135] |= 0x80
    state = [int.from_bytes(block[8 * i : 8 * i + 8], "little") for i in range(17)] + [0] * 8
    register = 1
    for _ in range(24):
        columns = [state[i] ^ state[i + 5] ^ state[i + 10] ^ state[i + 15] ^ state[i + 20] for i in range(5)]
        for i in range(25):
            state[i] ^= columns[(i + 4) % 5] ^ _rotated(columns[(i + 1) % 5], 1)
        carried = state[1]
        for lane, bits in zip(_LANES, _ROTATIONS, strict=True):
            state[lane], carried = _rotated(carried, bits), state[lane]
        for row in range(0, 25, 5):
            five = state[row : row + 5]
            for i in range(5):
                state[row + i] = five[i] ^ (~five[(i + 1) % 5] & _MASK & five[(i + 2) % 5])
        for power in range(7):
            if register & 1:
                state[0] ^= 1 << ((1 << power) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


def _rotated(lane: int, bits: int) -> int:
    return (lane << bits | lane >> (64 - bits)) & _MASK
