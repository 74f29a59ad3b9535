"""The files that a run's record is in: pieces of bounded size, written one after the other and read as one.

    RUN.jsonl, RUN.2.jsonl, RUN.3.jsonl, ...

The parent opens them, since the egress process may be a user who can open nothing, and hands the next one over when
one is full. Lines are never moved and never split over two, so a kill at any moment loses none: what was written
stands where it was written. A piece that ends in half a line, because whoever wrote it was killed in the middle, is
not gone on with. What it half said had not been done: a line comes before what it tells of.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from freehold.egress.records import SUFFIX, Line, lines

FULL: Final = 16 * 1024 * 1024
"""Bytes after which a piece is not gone on with; some 40,000 requests."""


def pieces(folder: Path, run: str) -> list[Path]:
    """Returns the files of a run's record in the order they were written. Raises OSError."""
    found = [(_of(path, run), path) for path in folder.iterdir()]
    return [path for number, path in sorted(found) if number]


def record(folder: Path, run: str) -> Iterator[Line | None]:
    """Returns the lines of a run's record as `lines` does. Raises OSError."""
    for path in pieces(folder, run):
        yield from lines(path)


def open_piece(folder: Path, run: str, limit: int = FULL) -> int:
    """Returns a descriptor for appending to the newest piece, or to a new one where that is full or ends in half a
    line. Raises OSError."""
    numbers = [_of(path, run) for path in pieces(folder, run)]
    number = max(numbers, default=1)
    if numbers and not _can_go_on(_path(folder, run, number), limit):
        number += 1
    return os.open(_path(folder, run, number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def full(folder: Path, run: str, limit: int = FULL) -> bool:
    """Whether the newest piece is. Raises OSError."""
    found = pieces(folder, run)
    return bool(found) and found[-1].stat().st_size >= limit


def _can_go_on(path: Path, limit: int) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return size < limit and file.read(1) in (b"", b"\n")


def _path(folder: Path, run: str, number: int) -> Path:
    return folder / (f"{run}{SUFFIX}" if number == 1 else f"{run}.{number}{SUFFIX}")


def _of(path: Path, run: str) -> int:
    """The number of a piece of this run; 0 for any other file."""
    if not path.name.startswith(f"{run}.") or not path.name.endswith(SUFFIX):
        return 0
    between = path.name[len(run) : -len(SUFFIX)].removeprefix(".")
    if not between:
        return 1
    return int(between) if between.isascii() and between.isdecimal() and between[0] != "0" and int(between) > 1 else 0
