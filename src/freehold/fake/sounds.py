"""Tiny pictures and sounds that are always the same for the same words, made without any library for them.

PNG, WAV and PCM are real; MP3 is frames of silence, which decoders play; AAC, FLAC and Opus are a beginning by which
such a file is recognised, and nothing to play.
"""

import math
import struct
import zlib
from hashlib import blake2b

RATE = 24_000
SECONDS_A_WORD = 0.05


def png(words: str, side: int = 8) -> bytes:
    """A picture of one colour."""
    colour = blake2b(words.encode(), digest_size=3).digest()
    rows = (b"\0" + colour * side) * side
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pcm(words: str) -> bytes:
    """16 bit mono samples, a note for each word."""
    count = int(RATE * SECONDS_A_WORD)
    made = bytearray()
    for word in words.split() or [""]:
        pitch = 200 + blake2b(word.encode(), digest_size=1).digest()[0]
        step = 2 * math.pi * pitch / RATE
        made += struct.pack(f"<{count}h", *(int(8000 * math.sin(step * i)) for i in range(count)))
    return bytes(made)


def wav(words: str) -> bytes:
    samples = pcm(words)
    fmt = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def seconds(words: str) -> float:
    """How long the speech of `words` is."""
    return len(words.split() or [""]) * SECONDS_A_WORD


_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 26 ms of silence."""
_BEGINNINGS = {"aac": b"\xff\xf1\x50\x80", "flac": b"fLaC\x80\x00\x00\x22", "opus": b"OggS\x00\x02"}


def sound(words: str, format: str) -> bytes:
    """Speech in one of OpenAI's formats."""
    if format == "pcm":
        return pcm(words)
    if format == "wav":
        return wav(words)
    if format == "mp3":
        return _FRAME * max(1, round(seconds(words) / 0.026))
    return _BEGINNINGS[format] + blake2b(words.encode(), digest_size=32).digest()
