"""The store's folders and the few ways in which it changes a disk: lock, replace, flush, link, hold.

    lock                      flock: one writer at a time; readers never take it
    blobs/sha256/HEX          contents, read-only, named by their hash
    stamps/HEX                size, mtime and inode of a blob when its hash was last known to be right
    partial/                  contents on their way in
    holds/                    what living processes use: see `Hold`
    records/NAME/vN.json      versions
    records/NAME/state.json   which version is current, which are pinned
    records/.changed          replaced with every change of a record, so that a reader needs one stat
    trees/NAME/vN/ARTEFACT/   links to blobs under their real names, for engines

A blob is replaced by nothing and a record in one step, so whoever is killed leaves at worst files that `gc` removes.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from msgspec import Struct

from freehold.errors import EngineError

WORKROOM = "work-"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Places(Struct, frozen=True):
    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs" / "sha256"

    @property
    def stamps(self) -> Path:
        return self.root / "stamps"

    @property
    def partial(self) -> Path:
        return self.root / "partial"

    @property
    def holds(self) -> Path:
        return self.root / "holds"

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def trees(self) -> Path:
        return self.root / "trees"

    @property
    def changed(self) -> Path:
        return self.records / ".changed"

    def make(self) -> None:
        """Makes the folders, private to their owner."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.root / "blobs").mkdir(mode=0o700, exist_ok=True)
        for folder in (self.blobs, self.stamps, self.partial, self.holds, self.records, self.trees):
            folder.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def locked(places: Places) -> Iterator[None]:
    """Holds the store's lock; only for work of milliseconds."""
    places.make()
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes) -> None:
    """Writes `path` in one step and flushes it. Raises EngineError (disk_full)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with explained(path), temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Makes names in `folder` survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns a full disk into an EngineError (disk_full)."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(path, error) from error


def disk_full(path: Path, error: OSError) -> EngineError:
    return EngineError(
        f"no room on the disk of {path.parent}: {error.strerror or error}",
        code="disk_full",
        retry="no",
        hint="freehold weights gc frees what nothing uses, freehold weights rm NAME a model; then try again",
    )


def link(target: Path, path: Path, *, seen_from: Path) -> None:
    """Makes `path` a hard link to `target`; where the file system has none, a symbolic one that is right in the folder
    `seen_from`, to which it will be moved."""
    try:
        os.link(target, path)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path, error) from error
        path.symlink_to(os.path.relpath(target, seen_from))


class Hold:
    """What a living process needs kept: its pull's blobs, its engines' trees. Ends with `close` or with the process.

    A file with one line per thing, under a flock that the kernel drops with the process: `gc` removes a hold whose lock
    it can take. Lines are added under the store's lock, so nothing is collected between `keep` and its return.
    """

    def __init__(self, places: Places, why: str) -> None:
        self._places = places
        with locked(places):
            self.id = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._path = places.holds / self.id
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._kept: set[str] = set()
            try:
                self._write({"pid": os.getpid(), "why": why[:200]})
            except BaseException:
                self.close()
                raise

    def keep(self, *blobs: str, tree: Path | None = None) -> None:
        """Keeps blobs by their sha256, and a tree, until this hold ends."""
        new = [blob for blob in blobs if blob not in self._kept]
        if not new and tree is None:
            return
        with locked(self._places):
            self._write({"blobs": new, "tree": str(tree.relative_to(self._places.trees)) if tree else None})
        self._kept.update(new)

    def workroom(self) -> Path:
        """Returns a folder on the store's own disk for files that are being made; it ends with this hold."""
        folder = self._places.partial / f"{WORKROOM}{self.id}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _write(self, line: dict[str, object]) -> None:
        text = json.dumps(line).encode() + b"\n"
        with explained(self._path):
            if os.write(self._descriptor, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._descriptor >= 0:
            shutil.rmtree(self._places.partial / f"{WORKROOM}{self.id}", ignore_errors=True)
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Held(Struct):
    """What all living holds keep together."""

    blobs: set[str]
    trees: set[str]
    why: list[str]
    ids: set[str]


def held(places: Places) -> Held:
    """Returns what must be kept, and removes the holds of processes that ended. The store's lock must be held."""
    found = Held(set(), set(), [], set())
    for path in places.holds.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if _abandoned(path):
                path.unlink(missing_ok=True)
                continue
            found.ids.add(path.name)
            for line in path.read_bytes().splitlines():
                try:
                    value = json.loads(line)
                except ValueError:  # a full disk cut it, and whoever wrote it was told
                    continue
                found.blobs.update(value.get("blobs", ()))
                if value.get("tree"):
                    found.trees.add(value["tree"])
                if value.get("why"):
                    found.why.append(f"{value['why']} (process {value['pid']})")
    return found


def _abandoned(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
