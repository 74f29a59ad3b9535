"""Contents by their hash: how they come in, how it is known that they are still what they were.

A file is hashed while it is written, so a finished blob was never on the disk unverified. What was written before an
interruption is hashed again when the writer is opened again, and the download goes on from there.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from freehold.errors import EngineError
from freehold.own.weights.disk import FULL, Hold, Places, disk_full, explained, flush_folder, locked, replace
from freehold.own.weights.types import FileRef

CHUNK = 1 << 20
Progress = Callable[[int], None]
"""Is told bytes, as they are done."""


class Incoming:
    """A file on its way into the store. `offset` bytes are there already: ask the other side for the rest, `write` it,
    `finish`. `done` is set instead where the store has the content already.

    Leaving without `finish` keeps what is there, for another time. A hash or size that is not the expected one, and a
    full disk, remove it.
    """

    def __init__(
        self,
        places: Places,
        hold: Hold,
        *,
        key: str,
        sha256: str | None = None,
        size: int | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> None:
        self._places, self._hold = places, hold
        self._sha256, self._size = sha256, size
        places.make()
        self._path = places.partial / hashlib.sha256(key.encode()).hexdigest()
        self._descriptor = -1
        self._hash = hashlib.sha256()
        self.offset = 0
        self.done = self._there()
        if self.done is not None:
            return
        self._descriptor = self._open(waiting)
        try:
            self.done = self._there()
            if self.done is None:
                self._resume()
        except BaseException:
            self.close()
            raise

    def _there(self) -> FileRef | None:
        if self._sha256 is None:
            return None
        self._hold.keep(self._sha256)
        if not is_sound(self._places, self._sha256):
            return None
        return FileRef(self._sha256, (self._places.blobs / self._sha256).stat().st_size)

    def _open(self, waiting: Callable[[], None] | None) -> int:
        """Opens the partial file alone: another process that writes it is waited for."""
        told = False
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(descriptor, self._path):
                    return descriptor
            except BlockingIOError:
                if waiting is not None and not told:
                    waiting()
                    told = True
                time.sleep(0.1)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _resume(self) -> None:
        if self._size is not None and os.fstat(self._descriptor).st_size > self._size:
            os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while chunk := os.read(self._descriptor, CHUNK):
            self._hash.update(chunk)
            self.offset += len(chunk)

    def restart(self) -> None:
        """Forgets what is there: the other side cannot continue where it stopped."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.offset = 0

    def write(self, data: bytes | memoryview) -> None:
        """Adds bytes. Raises EngineError: wrong_size for more than was announced, disk_full."""
        if self._size is not None and self.offset + len(data) > self._size:
            self.discard()
            raise EngineError(
                f"more than the {self._size} bytes that were announced arrived", code="wrong_size", retry="no"
            )
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except OSError as error:
                self.discard()
                if error.errno in FULL:
                    raise disk_full(self._path, error) from error
                raise
            self._hash.update(rest[:written])
            self.offset += written
            rest = rest[written:]

    def finish(self) -> FileRef:
        """Checks and keeps the file. Raises EngineError: wrong_hash, wrong_size (fewer bytes than announced: what is
        there stays, and can be continued), disk_full."""
        if self.done is not None:
            return self.done
        if self._size is not None and self.offset < self._size:
            raise EngineError(
                f"only {self.offset} of {self._size} bytes arrived", code="wrong_size", retry="same", hint="try again"
            )
        found = self._hash.hexdigest()
        if self._sha256 is not None and found != self._sha256:
            self.discard()
            raise EngineError(
                f"the content has the sha256 {found}, {self._sha256} was announced",
                code="wrong_hash",
                retry="no",
                hint="the download was changed on its way, or the other side is wrong about its own file",
            )
        try:
            with explained(self._path):
                os.fsync(self._descriptor)
            self._hold.keep(found)
            settle(self._places, self._path, self._descriptor, found)
        except (OSError, EngineError):
            self.discard()
            raise
        self.close()
        self.done = FileRef(found, self.offset)
        return self.done

    def discard(self) -> None:
        """Gives the file up, with what is there of it."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            if (self.offset == 0 or self.done is not None) and _same(self._descriptor, self._path):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def settle(places: Places, path: Path, descriptor: int, sha256: str) -> None:
    """Moves a flushed file of known hash to its place among the blobs. A sound blob that is there already stays."""
    os.fchmod(descriptor, 0o444)
    blob = places.blobs / sha256
    with locked(places):
        if _stamp(blob) is not None and _stamp(blob) == read_stamp(places, sha256):
            path.unlink()
            return
        stamp(places, path, sha256)
        path.replace(blob)
        flush_folder(places.blobs)


def adopt(places: Places, path: Path, hold: Hold) -> FileRef:
    """Takes a file over that was made in the store's own `partial/`: hashes it and moves it. The file is gone then."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        sha256, size = hash_descriptor(descriptor)
        with explained(path):
            os.fsync(descriptor)
        hold.keep(sha256)
        settle(places, path, descriptor, sha256)
    finally:
        os.close(descriptor)
    return FileRef(sha256, size)


def hash_file(path: Path, progress: Progress | None = None) -> tuple[str, int]:
    """Returns (sha256, size) of a file's content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return hash_descriptor(descriptor, progress)
    finally:
        os.close(descriptor)


def hash_descriptor(descriptor: int, progress: Progress | None = None) -> tuple[str, int]:
    hashed, size = hashlib.sha256(), 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    while chunk := os.read(descriptor, CHUNK):
        hashed.update(chunk)
        size += len(chunk)
        if progress is not None:
            progress(len(chunk))
    return hashed.hexdigest(), size


def stamp(places: Places, path: Path, sha256: str) -> None:
    """Notes that the file at `path`, which is or will be the blob, has been seen to have this hash."""
    replace(places.stamps / sha256, (_stamp(path) or "").encode())


def read_stamp(places: Places, sha256: str) -> str | None:
    try:
        return (places.stamps / sha256).read_text(errors="replace")
    except OSError:
        return None


def _stamp(path: Path) -> str | None:
    try:
        state = path.lstat()
    except OSError:
        return None
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ino}" if stat.S_ISREG(state.st_mode) else None


def is_sound(places: Places, sha256: str, size: int | None = None) -> bool:
    """Whether a blob is there and unchanged: one stat where size, mtime and inode are as they were, else a full hash.

    A copied store has other inodes: each blob is hashed once, and then has a stamp of its own.
    """
    blob = places.blobs / sha256
    now = _stamp(blob)
    if now is None or (size is not None and int(now.partition(" ")[0]) != size):
        return False
    if now == read_stamp(places, sha256):
        return True
    if hash_file(blob)[0] != sha256:
        return False
    with contextlib.suppress(OSError, EngineError):
        stamp(places, blob, sha256)
    return True


def copy_in(incoming: Incoming, path: Path, progress: Progress | None = None) -> FileRef:
    """Copies a local file into an Incoming, hashing it on the way."""
    if incoming.done is not None:
        return incoming.done
    with path.open("rb", buffering=0) as file:
        file.seek(incoming.offset)
        while chunk := file.read(CHUNK):
            incoming.write(chunk)
            if progress is not None:
                progress(len(chunk))
    return incoming.finish()


def remove_tree(path: Path) -> None:
    """Removes a folder of links, or nothing."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _same(descriptor: int, path: Path) -> bool:
    """Whether `path` still is the file that is open: another process may have finished and moved it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
