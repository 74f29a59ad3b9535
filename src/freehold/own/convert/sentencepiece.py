"""tokenizer.model of SentencePiece, read without the sentencepiece package.

It is one protobuf message, ModelProto (https://github.com/google/sentencepiece, src/sentencepiece_model.proto):

    1 pieces, repeated:        1 piece (string), 2 score (float), 3 type (1 normal, 2 unknown, 3 control,
                               4 user defined, 5 unused, 6 byte)
    2 trainer_spec:            3 model_type (1 unigram, 2 BPE, 3 word, 4 char), 35 byte_fallback,
                               40 unk_id, 41 bos_id, 42 eos_id, 43 pad_id
    3 normalizer_spec:         2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces

The token types of GGUF are the same numbers.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from freehold.own.convert.config import MAX_VOCABULARY, read_bytes
from freehold.own.convert.problems import refuse

MAX_FILE = 64 << 20
UNIGRAM, BPE = 1, 2


class SentencePieces(Struct):
    """What a tokenizer.model says. Ids of -1 are absent."""

    pieces: list[str]
    scores: list[float]
    types: list[int]
    kind: int = UNIGRAM
    byte_fallback: bool = False
    unk: int = 0
    bos: int = 1
    eos: int = 2
    pad: int = -1
    dummy_prefix: bool = True
    remove_extra_spaces: bool = True
    charsmap: bytes = b""


def read(path: Path) -> SentencePieces | None:
    """Reads `path`; None where there is no such file. Raises EngineError when it is not such a message."""
    data = read_bytes(path, MAX_FILE)
    if data is None:
        return None
    found = SentencePieces([], [], [])
    for field, value in _fields(data, path.name):
        if field == 1 and isinstance(value, bytes):
            _piece(found, value, path.name)
        elif field == 2 and isinstance(value, bytes):
            _trainer(found, value, path.name)
        elif field == 3 and isinstance(value, bytes):
            _normaliser(found, value, path.name)
    if not found.pieces:
        raise refuse(f"{path.name} holds no tokens")
    return found


def _piece(found: SentencePieces, data: bytes, name: str) -> None:
    text, score, kind = "", 0.0, 1
    for field, value in _fields(data, name):
        if field == 1 and isinstance(value, bytes):
            try:
                text = value.decode()
            except UnicodeDecodeError:
                raise refuse(f"{name}: token {len(found.pieces)} is not UTF-8 text") from None
        elif field == 2 and isinstance(value, float):
            score = value
        elif field == 3 and isinstance(value, int):
            kind = value
    if not 1 <= kind <= 6 or score != score:
        raise refuse(f"{name}: token {len(found.pieces)} has the type {kind} and the score {score}")
    if len(found.pieces) >= MAX_VOCABULARY:
        raise refuse(f"{name} has more than {MAX_VOCABULARY} tokens")
    found.pieces.append(text)
    found.scores.append(score)
    found.types.append(kind)


def _trainer(found: SentencePieces, data: bytes, name: str) -> None:
    for field, value in _fields(data, name):
        if not isinstance(value, int):
            continue
        if field == 3:
            found.kind = value
        elif field == 35:
            found.byte_fallback = bool(value)
        elif field in (40, 41, 42, 43):
            signed = value - (1 << 64) if value >= 1 << 63 else value
            setattr(found, {40: "unk", 41: "bos", 42: "eos", 43: "pad"}[field], signed)


def _normaliser(found: SentencePieces, data: bytes, name: str) -> None:
    for field, value in _fields(data, name):
        if field == 2 and isinstance(value, bytes):
            found.charsmap = value
        elif field == 3 and isinstance(value, int):
            found.dummy_prefix = bool(value)
        elif field == 4 and isinstance(value, int):
            found.remove_extra_spaces = bool(value)


def _fields(data: bytes, name: str) -> Iterator[tuple[int, int | float | bytes]]:
    """Yields (field number, value) of one message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at, name)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at, name)
            yield field, value
        elif wire == 2:
            length, at = _varint(data, at, name)
            if length > end - at:
                raise refuse(f"{name} is cut short")
            yield field, data[at : at + length]
            at += length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            if width > end - at:
                raise refuse(f"{name} is cut short")
            yield field, struct.unpack_from("<d" if wire == 1 else "<f", data, at)[0]
            at += width
        else:
            raise refuse(f"{name} is not a SentencePiece model")


def _varint(data: bytes, at: int, name: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise refuse(f"{name} is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise refuse(f"{name} is not a SentencePiece model")
