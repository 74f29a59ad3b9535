"""The journal: what a worker promises to remember, written straight into the page cache, without a system call.

A worker appends an `Intent` before it calls upstream and a `Settlement` after (entries.py). The ledger reads the files
later (ingest.py). A file holds frames and nothing else, integers little-endian:

    length  u32   bytes of payload, never 0: zero bytes where a frame would begin are the end
    crc     u32   CRC-32 of the payload, seeded with the frame's own offset in the file
    payload       one entry, msgpack array with its tag first

The seed makes a frame valid only where it was written: bytes copied, shifted, or forged inside a client's text never
pass for an entry, so a reader may look for the next good frame behind a damaged one without inventing anything.

Files are named `{worker}-{start_ns}.{segment:06d}`: one incarnation of a worker, cut into segments. Nobody ever writes
into the same file twice, so (file name, offset) names an entry for all time; that is the ledger's idempotency key. The
writer holds an `flock` on its newest segment, and a segment becomes visible only once it is locked and before the
previous one is released. So an incarnation whose highest visible segment is unlocked is dead (`writer_lives`).

A segment grows in steps of `GROWTH` bytes whose blocks are allocated beforehand (a full disk is an error then, not a
signal later) and is mapped into memory: an append is a copy. The frame's header is written last, so that an append cut
off by a kill looks like the end. The two `write` calls a request would need cost several times as much.

What this protects against is the end of a process, at any instant: bytes in a shared mapping are the kernel's and
survive `kill -9`. They do not survive a power cut or a kernel crash unless `fsync` is on, which flushes each entry.
"""

import contextlib
import fcntl
import mmap
import os
import re
import time
from pathlib import Path
from struct import Struct as Layout
from typing import ClassVar, Final, Literal
from zlib import crc32

import msgspec

from freehold.errors import InternalError
from freehold.record.entries import Entry, Intent
from freehold.record.receipts.places import body_hash
from freehold.record.receipts.sent import BodyHash, Outward, Sent, Sink

SEGMENT_BYTES: Final = 64 * 1024 * 1024
GROWTH: Final = 1024 * 1024
MAX_PAYLOAD: Final = 64 * 1024
"""A longer payload is refused by the writer, and to the reader it is damage."""

_HEADER: Final = Layout("<II")
_FRAME_MAX: Final = _HEADER.size + MAX_PAYLOAD
_CHUNK: Final = 2 * 1024 * 1024
_NAME: Final = re.compile(r"(?P<worker>[A-Za-z0-9_]+)-(?P<start>\d+)\.(?P<segment>\d{6,})")
_PAYLOAD_START: Final = re.compile(rb"(?:[\x91-\x9f]|\xdc[\x00-\xff]{2})\xa1[iesocr]", re.DOTALL)
"""How every payload begins in msgpack: the array's header, then the tag, a string of one character."""

State = Literal["more", "end", "torn"]
"""more: call again from `next_offset`. end: every byte was read. torn: what is left is no whole entry (yet)."""


class JournalError(InternalError):
    """An entry could not be written, and the file is as if it had never been tried. The call must not go upstream."""

    default_status: ClassVar[int] = 503
    default_code: ClassVar[str] = "journal_unavailable"


class Journal:
    """The writing end, one per worker process and incarnation; not for several threads, not to be used after `fork`.

    `worker` is a short name of letters, digits and `_`. Raises `JournalError` if the first segment cannot be made.
    """

    def __init__(
        self, directory: Path, worker: str, *, segment_bytes: int = SEGMENT_BYTES, fsync: bool = False
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_]+", worker):
            raise ValueError(f"worker name {worker!r}: only letters, digits and _ are allowed")
        self._directory = directory
        self._prefix = f"{worker}-{time.time_ns()}"
        self._limit = segment_bytes
        self._fsync = fsync
        self._encode = msgspec.msgpack.Encoder().encode
        self._segment = -1
        self._fd = -1
        self._map: mmap.mmap | None = None
        self._mapped = 0
        self._room = 0
        """Where the next call of `_make_room` is due."""
        self._offset = 0
        self.calls = 0
        """Calls outward that were written down."""
        self._hash: BodyHash | None = None
        self.path = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._next_segment()
        except OSError as error:
            raise self._failed("cannot be opened", error) from error

    def append(self, entry: Entry) -> None:
        """Writes one entry. Raises `JournalError`; then no reader ever sees it, and a later try may succeed.

        (With `fsync` a failed flush may leave an entry to be seen; a lone intent becomes a call of unknown outcome.)
        """
        try:
            payload = self._encode(entry)
        except (ValueError, TypeError, OverflowError) as error:
            raise JournalError(f"The journal cannot encode this {type(entry).__name__}: {error}.") from error
        size = len(payload)
        if self._offset + 8 + size > self._room or size > MAX_PAYLOAD:
            self._make_room(size)
        offset = self._offset
        start = offset + 8
        memory = self._map
        if memory is None:
            raise JournalError("The journal is closed.")
        memory[start : start + size] = payload
        _HEADER.pack_into(memory, offset, size, crc32(payload, offset))
        self._offset = start + size
        kind = type(entry)
        if kind is Intent or kind is Outward:
            self.calls += 1
        if self._fsync:
            self._flush()

    def sent(self, sink: Sink, call: str, body: bytes, declassifier: str = "") -> Sent:
        """Returns what the next entry, which must be an intent or an `Outward`, is to say of what goes out with it.
        `declassifier` names what has lowered the label of what goes out.

        The key of the digests lies beside the journals, in `receipts`, for all workers. Raises `JournalError` or
        `InternalError` where it cannot be had: then nothing may go out.
        """
        hashed = self._hash or self._open_hash()
        return Sent(self.calls + 1, sink, len(body), hashed.digest(call, body), declassifier)

    def _open_hash(self) -> BodyHash:
        try:
            self._hash = found = body_hash(self._directory.parent / "receipts")
        except OSError as error:
            raise self._failed("cannot have its key for digests", error) from error
        return found

    def _make_room(self, size: int) -> None:
        """For a payload of `size` bytes: a larger mapping, or a new segment. Raises `JournalError`."""
        if size > MAX_PAYLOAD:
            raise JournalError(f"A journal entry of {size} bytes is over the limit of {MAX_PAYLOAD}.")
        if self._offset + 8 + size > self._limit or self._fd < 0:
            self._rotate()
        if self._offset + 8 + size > self._mapped:
            self._grow(self._offset + 8 + size)
        self._room = min(self._mapped, self._limit)

    def close(self) -> None:
        """Ends the incarnation: to the ledger the writer is dead from now on."""
        if self._fd >= 0:
            self._release()
            self._fd = -1

    def _release(self) -> None:
        """Lets go of the segment: unmapped, cut to what was written, unlocked."""
        self._room = 0
        if self._map is not None:
            self._map.close()
            self._map = None
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self._offset)
        os.close(self._fd)

    def _grow(self, end: int) -> None:
        """Makes room up to `end` at least, in whole steps."""
        size = -(-end // GROWTH) * GROWTH
        try:
            os.posix_fallocate(self._fd, self._mapped, size - self._mapped)
            if self._map is not None:
                self._map.close()
                self._map = None
            self._map = mmap.mmap(self._fd, size)
            self._mapped = size
        except OSError as error:
            self._mapped = 0 if self._map is None else self._mapped
            raise self._failed("cannot be written", error) from error

    def _rotate(self) -> None:
        if self._fd < 0:
            raise JournalError("The journal is closed.")
        if self._offset == 0:
            return
        try:
            self._next_segment()
        except OSError as error:
            raise self._failed("cannot start a new segment", error) from error

    def _next_segment(self) -> None:
        segment = self._segment + 1
        path = self._directory / f"{self._prefix}.{segment:06d}"
        hidden = path.with_name(path.name + ".new")
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, path)
        except OSError:
            os.close(fd)
            os.unlink(hidden)
            raise
        if self._fd >= 0:
            self._release()
        self._fd, self._segment, self._offset, self._mapped, self.path = fd, segment, 0, 0, path

    def _flush(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # The ledger may have read the entry already, so it cannot be cut off: the segment is given up instead.
            self._offset = self._limit
            raise self._failed("cannot be flushed to disk", error) from error

    def _failed(self, what: str, error: OSError) -> JournalError:
        return JournalError(
            f"The journal {what} in {self._directory}: {error.strerror or error}.",
            hint="free disk space or make the folder writable; no call goes upstream that cannot be recorded",
        )


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a segment that are no entry, with good entries behind them."""

    offset: int
    length: int


class Read(msgspec.Struct):
    """What `read_segment` found: entries with their offsets in file order, and where to go on."""

    entries: list[tuple[int, Entry]]
    next_offset: int
    state: State
    damage: list[Damage]
    left: int = 0
    """With state torn: bytes behind `next_offset` that are no whole entry."""


def read_segment(path: Path, offset: int = 0, max_entries: int = 1_000_000) -> Read:
    """Reads entries from `offset`, at most `max_entries` and about 2 MiB at a time. Raises `OSError`.

    Torn means: wait if the writer lives (an append may be under way), else it is the end, and `left` bytes were lost to
    a crash or to damage. To be sure of the end, ask `writer_lives` *before* the last read. A damaged entry is stepped
    over only where a good one follows, and is listed in `damage`.
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        chunk = _read_up_to(file.fileno(), _CHUNK)
    at_end = len(chunk) < _CHUNK
    entries: list[tuple[int, Entry]] = []
    damage: list[Damage] = []
    position, total, decode, unpack = 0, len(chunk), _DECODER.decode, _HEADER.unpack_from
    while True:
        if len(entries) >= max_entries:
            return Read(entries, offset + position, "more", damage)
        if position + 8 <= total:
            length, crc = unpack(chunk, position)
            end = position + 8 + length
            if end <= total and 0 < length <= MAX_PAYLOAD:
                payload = chunk[position + 8 : end]
                if crc32(payload, offset + position) == crc:
                    try:
                        entries.append((offset + position, decode(payload)))
                    except msgspec.MsgspecError:
                        damage.append(Damage(offset + position, end - position))
                    position = end
                    continue
        if position == total:
            return Read(entries, offset + position, "end" if at_end else "more", damage)
        if chunk.startswith(_ZEROS, position) and _next_frame(chunk, offset, position) is None:
            return Read(entries, offset + position, "end", damage)
        if not at_end and total - position <= _FRAME_MAX:
            return Read(entries, offset + position, "more", damage)
        found = _next_frame(chunk, offset, position)
        if found is None and at_end:
            return Read(entries, offset + position, "torn", damage, left=total - position)
        # Not at the end, and nothing good within a whole frame's length: every frame that began here is undecided only
        # in the last _FRAME_MAX bytes of the chunk.
        target = total - _FRAME_MAX if found is None else found
        damage.append(Damage(offset + position, target - position))
        position = target


def has_more(path: Path, offset: int) -> bool:
    """Whether anything was written at `offset`: a look at eight bytes, where `read_segment` would read the room kept
    for what is yet to come. Raises `OSError`."""
    with open(path, "rb", buffering=0) as file:
        header = os.pread(file.fileno(), 8, offset)
    return header.strip(b"\0") != b""


def writer_lives(directory: Path, incarnation: str) -> bool:
    """Whether the process that writes `incarnation` (see `incarnation_of`) still holds its newest segment."""
    newest = _newest(directory, incarnation)
    while newest is not None:
        if _locked(newest):
            return True
        # Unlocked: dead, or rotated meanwhile, and then a newer segment was visible before this one was released.
        again = _newest(directory, incarnation)
        if again == newest:
            return False
        newest = again
    return False


def incarnation_of(name: str) -> str | None:
    """`w0-1712.000003` -> `w0-1712`; None if `name` is no segment."""
    return name.rpartition(".")[0] if _NAME.fullmatch(name) else None


def segments(directory: Path) -> list[Path]:
    """Every visible segment, oldest incarnation first, then by number. An absent directory has none."""
    return sorted((path for path, _ in _parsed(directory)), key=_order)


def remove_unborn(directory: Path) -> None:
    """Removes segments that a writer was killed over before they became visible. They hold nothing."""
    if not directory.is_dir():
        return
    for path in directory.glob("*.new"):
        if not _NAME.fullmatch(path.stem):
            continue
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue  # renamed meanwhile: it was born
        # The age comes first: to probe the lock of a file being born would make its writer fail to take it.
        if age > 60 and not _locked(path):
            path.unlink(missing_ok=True)


_ZEROS: Final = bytes(8)
_DECODER: Final = msgspec.msgpack.Decoder(Entry)


def _next_frame(chunk: bytes, base: int, position: int) -> int | None:
    """Where the next frame that proves itself begins, behind the bad bytes at `position`."""
    for match in _PAYLOAD_START.finditer(chunk, position + 9):
        start = match.start() - 8
        length, crc = _HEADER.unpack_from(chunk, start)
        end = start + 8 + length
        if 0 < length <= MAX_PAYLOAD and end <= len(chunk) and crc32(chunk[start + 8 : end], base + start) == crc:
            return start
    return None


def _read_up_to(fd: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(fd, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _parsed(directory: Path) -> list[tuple[Path, re.Match[str]]]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [(directory / name, match) for name in names if (match := _NAME.fullmatch(name))]


def _order(path: Path) -> tuple[int, str, int]:
    stem, _, number = path.name.rpartition(".")
    return int(stem.rpartition("-")[2]), stem, int(number)


def _newest(directory: Path, incarnation: str) -> Path | None:
    own = [path for path, _ in _parsed(directory) if path.name.rpartition(".")[0] == incarnation]
    return max(own, key=_order, default=None)


def _locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
