"""Where a log is read from: the state folder, or one file that `freehold audit export` wrote.

An export is a plain zip of the same files, all of it signed: lines up to the newest head, and the heads. Its README
says how to check it without Freehold. Reading needs neither the writer's lock nor any key.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from freehold.errors import BadRequest, NotFound
from freehold.record.receipts.places import HEADS, file_name, first_line, parts

MAX_LINE: Final = 1 << 20
"""Bytes of a line; none of ours is anywhere near it."""
README: Final = "README.txt"

_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, struct.error, KeyError, ValueError, OverflowError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""What the standard library raises for a zip that is none, or not any more."""

Open = Callable[[], AbstractContextManager[BinaryIO]]


class Part(NamedTuple):
    """One file of the log and the number of its first line."""

    first: int
    open: Open


class Source(NamedTuple):
    """A log to be read. `live`: a writer may be at work on it, so its last line may be half written."""

    name: str
    parts: list[Part]
    heads: Open
    second: Open | None
    """The second place of the heads; None where there is none, as in an export."""
    live: bool


def folder_source(folder: Path, second: Path | None) -> Source:
    """Returns the log in a folder. What is written to it from now on is not looked at. Raises NotFound."""
    copies = _bounded(second) if second is not None else None
    heads = _bounded(folder / HEADS)
    found = parts(folder)
    if not found and not (folder / HEADS).exists() and not (second is not None and second.exists()):
        raise NotFound(
            f"there is no log of receipts in {folder}",
            code="no_receipts",
            hint="freehold up begins one with the first call; FREEHOLD_HOME names the state folder",
        )
    return Source(str(folder), [Part(first, _opener(path)) for first, path in found], heads, copies, live=True)


def bundle_source(path: Path) -> Source:
    """Returns the log in an export. Raises BadRequest, OSError."""
    try:
        with zipfile.ZipFile(path) as bundle:
            names = bundle.namelist()
    except _DAMAGED as error:
        raise BadRequest(
            f"{path} is no export of receipts: {error}", code="audit_bundle", hint="freehold audit export writes one"
        ) from error
    found = sorted((first, name) for name in names if (first := first_line(name)) is not None)
    if HEADS not in names or not found or len(set(names)) != len(names):
        raise BadRequest(f"{path} is no export of receipts", code="audit_bundle", hint="freehold audit export")
    listed = [Part(first, _member(path, name)) for first, name in found]
    return Source(str(path), listed, _member(path, HEADS), None, live=False)


def lines(part: Part) -> Iterator[bytes]:
    """Returns the lines of a part with their ends; the last one may have none. A longer line comes in pieces."""
    with part.open() as file:
        while line := file.readline(MAX_LINE):
            yield line


def notes(opened: Open) -> Iterator[str | None]:
    """Returns the notes of a file of heads, None for a line that holds none. An absent file has none."""
    try:
        with opened() as file:
            while line := file.readline(MAX_LINE):
                try:
                    yield msgspec.json.decode(line, type=str) if line.endswith(b"\n") else None
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    yield None
    except FileNotFoundError:
        return


def export(source: Source, size: int, out: BinaryIO) -> None:
    """Writes the log's first `size` lines, up to the newest head, and its heads, as one file."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(README, _ABOUT)
        with source.heads() as heads, bundle.open(HEADS, "w", force_zip64=True) as member:
            while line := heads.readline(MAX_LINE):
                member.write(line)
        for part in source.parts:
            if part.first >= size:
                break
            with bundle.open(file_name(part.first), "w", force_zip64=True) as member:
                for number, line in enumerate(lines(part), part.first):
                    if number >= size:
                        break
                    member.write(line)


def _opener(path: Path) -> Open:
    return lambda: path.open("rb")


def _member(path: Path, name: str) -> Open:
    return lambda: _Member(path, name)


class _Member(AbstractContextManager[BinaryIO]):
    """A member of a zip, opened for itself, so that several can be read beside each other."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __enter__(self) -> BinaryIO:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except _DAMAGED as error:
            raise self._damaged(error) from error
        try:
            self._file = self._zip.open(self._name)
        except _DAMAGED as error:
            self._zip.close()
            raise self._damaged(error) from error
        return self  # type: ignore[return-value]  # all that is asked of it is readline

    def readline(self, limit: int) -> bytes:
        try:
            return self._file.readline(limit)
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> BadRequest:
        return BadRequest(
            f"{self._path} is damaged: {self._name}: {error}",
            code="audit_bundle",
            hint="fetch the export again, or have it made again",
        )

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._zip.close()


def _bounded(path: Path) -> Open:
    """A file as long as it is now."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    return lambda: _Bounded(path, size)


class _Bounded(AbstractContextManager[BinaryIO]):
    def __init__(self, path: Path, size: int) -> None:
        self._path, self._left = path, size

    def __enter__(self) -> BinaryIO:
        self._file = self._path.open("rb")
        return self  # type: ignore[return-value]  # all that is asked of it is readline

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(min(limit, self._left))
        self._left -= len(line)
        return line

    def __exit__(self, *_: object) -> None:
        self._file.close()


_ABOUT: Final = """\
A log of receipts: one line for each call outward, in log-*.jsonl, and signed heads in heads.jsonl.

freehold audit verify FILE checks all of it. Without Freehold:
1. The lines, without their ends, are the leaves of a Merkle tree as in RFC 6962, section 2.1:
   leaf hash SHA-256(00 || line), node hash SHA-256(01 || left || right).
2. Each line of heads.jsonl is a JSON string: a signed note (c2sp.org/signed-note) with a checkpoint
   (c2sp.org/tlog-checkpoint): log, number of lines, root of the tree over that many first lines in base64.
3. "previous" in a head is the SHA-256 of the note before it, so the signature of the last one covers them all.
   It is Ed25519 (RFC 8032), by the key in the line "key": compare that key with one that you trust.
4. Within one "worker" the numbers "seq" of all "call" lines run from 1 without a hole.
"""
