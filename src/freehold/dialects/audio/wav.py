"""The WAV container (RIFF WAVE, PCM): a header in front of raw samples, and samples out from behind one.

A stream's length is not known when its header is written; players read a length of 0xFFFFFFFF as "until the end", and
OpenAI's own streamed WAV has it too.
"""

import struct
from typing import NamedTuple

RATE = 24_000
"""Samples a second of what OpenAI calls `pcm`, and of Gemini's speech."""
_UNKNOWN = 0xFFFFFFFF


class Sound(NamedTuple):
    """Raw samples, little-endian."""

    samples: bytes
    rate: int = RATE
    channels: int = 1
    bits: int = 16


def header(rate: int = RATE, size: int | None = None, channels: int = 1, bits: int = 16) -> bytes:
    """44 bytes. `size` is the number of bytes that follow; None: nobody knows yet."""
    frame = channels * bits // 8
    known = size is not None and size <= _UNKNOWN - 36
    whole, data = (36 + (size or 0), size or 0) if known else (_UNKNOWN, _UNKNOWN)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, channels, rate, rate * frame, frame, bits, b"data", data),
    )


def wrap(sound: Sound) -> bytes:
    """A whole WAV file."""
    return header(sound.rate, len(sound.samples), sound.channels, sound.bits) + sound.samples


def unwrap(data: bytes) -> Sound | None:
    """The samples of a WAV file; None for anything else than one of PCM. A data chunk may be longer than it says."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    position = 12
    shape: tuple[int, int, int] | None = None
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        begin = position + 8
        if name == b"fmt " and size >= 16 and begin + 16 <= len(data):
            code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, begin)
            if code not in (1, 0xFFFE) or not channels or not rate or bits % 8:
                return None
            shape = (rate, channels, bits)
        elif name == b"data":
            if shape is None:
                return None
            return Sound(data[begin:] if size in (0, _UNKNOWN) else data[begin : begin + size], *shape)
        position = begin + size + size % 2
    return None


def seconds(data: bytes) -> float | None:
    """How long a WAV file plays, by its header; `data` may be only its beginning. None for anything else."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    found, marked = data.find(b"fmt ", 12, 4096), data.find(b"data", 12, 4096)
    if found < 0 or marked < 0 or found + 24 > len(data) or marked + 8 > len(data):
        return None
    rate = int.from_bytes(data[found + 16 : found + 20], "little")
    size = int.from_bytes(data[marked + 4 : marked + 8], "little")
    return size / rate if rate and size < _UNKNOWN else None
