"""The writer of the log: appends lines, and signs how far it has come.

`append` returns when the lines are on the disk, `sign` when the head is, in both its places. The ledger's ingester
appends before it commits, so that no call can be in the ledger, or gone from a journal, without its receipt. Killed at
any instant, the next opening finds whole lines up to some place, and cuts off what follows: that was never committed,
and never signed. Lines up to the newest head are never touched again.

One process writes: it holds a lock in the folder. Opening looks whether the lines reach up to the newest head and both
places know the same heads. Where that is not so (some were taken away, or a copy was put back) the log cannot be gone
on with: its files are moved aside, for a person to look at, and a new one begins, whose first line says why. So a
broken log stops neither the ledger nor the requests, and no verification will ever be silent about it. Whether the
lines are still those that were signed is the verifier's business; the writer does not read them all at every start.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from freehold.errors import BadRequest, InternalError
from freehold.home import write_private
from freehold.record.receipts import note
from freehold.record.receipts.files import Files
from freehold.record.receipts.keys import Signer, Verifier
from freehold.record.receipts.leaf import Began, KeyChanged, Leaf, decode, encode
from freehold.record.receipts.merkle import Frontier, leaf_hash
from freehold.record.receipts.places import HEADS, file_name, parts

PART_BYTES: Final = 64 * 1024 * 1024
"""A file of the log that is longer takes no further line."""


class Broken(Exception):
    """The lines do not fit the heads."""


class _Kept(msgspec.Struct):
    """frontier.json: the tree at the newest head, peaks in hexadecimal."""

    size: int
    peaks: list[str]


class Log:
    """The log in `folder`, its heads in `second` too, signed with `seed`.

    Raises InternalError where another process writes it, and OSError. `clock` gives Unix nanoseconds.
    """

    def __init__(
        self,
        folder: Path,
        second: Path,
        seed: bytes,
        *,
        clock: Callable[[], int] = time.time_ns,
        part_bytes: int = PART_BYTES,
        files: Files | None = None,
    ) -> None:
        self.folder = folder
        self._second = second
        self._seed = seed
        self._clock = clock
        self._part_bytes = part_bytes
        self._files = files or Files()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        second.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self._fd = -1
        self._length = 0
        self._tree = Frontier()
        self.head: note.Head | None = None
        self._note = ""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Lines that are on the disk."""
        return self._tree.size

    @property
    def name(self) -> str:
        return self._signer.verifier.name

    def append(self, leaves: list[Leaf]) -> None:
        """Appends lines, giving each its number. Raises OSError; then none of them is in the log."""
        if not leaves:
            return
        tree, lines = self._tree.copy(), []
        add, number = tree.add, tree.size
        for leaf in leaves:
            leaf.n = number
            line = encode(leaf)
            add(leaf_hash(line))
            lines.append(line)
            number += 1
        if self._length >= self._part_bytes:
            self._next_part()
        lines.append(b"")
        data = b"\n".join(lines)
        try:
            self._files.write(self._fd, data, self._length)
            self._files.sync(self._fd)
        except OSError:
            self._files.cut(self._fd, self._length)
            raise
        self._length += len(data)
        self._tree = tree

    def sign(self) -> note.Head:
        """Returns the newest head, made now if there are lines behind the last one. Raises OSError; then it was not."""
        if self.head is not None and self.head.size == self._tree.size:
            return self.head
        verifier = self._signer.verifier
        previous = note.digest(self._note) if self._note else b""
        at = max(self._clock() // 10**9, self.head.at if self.head else 0)
        head = note.Head(verifier.name, self._tree.size, self._tree.root(), at, previous, verifier)
        text = note.signed(head, self._signer)
        self._files.add_line(self.folder / HEADS, msgspec.json.encode(text))
        self.head, self._note = head, text
        self._files.add_line(self._second, msgspec.json.encode(text))
        kept = _Kept(self._tree.size, [peak.hex() for peak in self._tree.peaks])
        write_private(self.folder / "frontier.json", msgspec.json.encode(kept))
        return head

    def unsigned(self) -> Iterator[Leaf]:
        """Returns the lines behind the newest head, as they are on the disk."""
        start = self.head.size if self.head else 0
        files = parts(self.folder)
        for first, path in files[_part_of(files, start) :]:
            for number, line in enumerate(_lines(path), first):
                if start <= number < self._tree.size:
                    yield decode(line)

    def everything(self) -> Iterator[Leaf]:
        """Returns all lines, from the first."""
        for _, path in parts(self.folder):
            yield from (decode(line) for line in _lines(path))

    def close(self) -> None:
        """Lets another process write."""
        for descriptor in (self._fd, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._fd = self._lock = -1

    def _open(self) -> None:
        try:
            self._resume()
        except Broken as broken:
            self._set_aside(str(broken))
        if self.head is None:
            # A log with a first line always has a first head, so heads that are gone are missed. The lines behind the
            # newest head are not signed here: the ledger may not have them.
            self.sign()

    def _resume(self) -> None:
        """Goes on with the log that is there, or begins the first one. Raises Broken."""
        heads = _head_lines(self.folder / HEADS, self._files)
        copies = _head_lines(self._second, self._files)
        files = parts(self.folder)
        if heads:
            last = _last(heads)
            if last is None:
                raise Broken("its last heads cannot be read")
            self._note, self.head = last
            self._check_copies(copies, heads, self.head.log)
            self._to_the_end(files, self._tree_at(self.head, files))
        elif copies:
            known = _last(copies)
            raise Broken(f"the heads of {known[1].log}, with {known[1].size} lines, are gone" if known else "no heads")
        elif files:
            self._to_the_end(files, Frontier())
            if self._tree.size > 1:
                raise Broken("its heads are gone")
        if self._tree.size == 0:
            self._begin("")
        self._know_the_log()

    def _check_copies(self, copies: bytes, heads: bytes, log: str) -> None:
        """Brings the second place up to date; it may lack heads, and may not know of others. Raises Broken."""
        start = copies.find(b'"' + log.encode() + b"\\n")
        own = copies[start:] if start >= 0 else b""
        if not heads.startswith(own):
            raise Broken(f"the two places of the heads of {log} differ")
        for line in heads[len(own) :].splitlines():
            self._files.add_line(self._second, line)

    def _tree_at(self, head: note.Head, files: list[tuple[int, Path]]) -> Frontier:
        """Returns the tree at the newest head: from the cache, or from all lines. Raises Broken."""
        try:
            kept = msgspec.json.decode((self.folder / "frontier.json").read_bytes(), type=_Kept)
            tree = Frontier(kept.size, [bytes.fromhex(peak) for peak in kept.peaks])
            if (tree.size, tree.root()) == (head.size, head.root):
                return tree
        except (OSError, ValueError):
            pass
        tree = Frontier()
        for _, path in files:
            for line in _lines(path):
                if tree.size < head.size:
                    tree.add(leaf_hash(line))
        if tree.size < head.size:
            raise Broken(f"{head.log} has {tree.size} lines, and had {head.size} when it was signed last")
        if tree.root() != head.root:
            raise Broken(f"lines of {head.log} were changed since they were signed")
        return tree

    def _to_the_end(self, files: list[tuple[int, Path]], tree: Frontier) -> None:
        """Reads the lines behind `tree`, and cuts off what is no whole line. Raises Broken."""
        at = tree.size
        if not files or files[0][0] > at:
            raise Broken("the file of the log's last lines is gone")
        good = True
        for first, path in files[_part_of(files, at) :]:
            if not good or first > tree.size:
                self._keep_cut(path, 0)
                path.unlink()
                continue
            number, length = first, 0
            for line in _lines(path):
                if number >= at:
                    if not _is_line(line, number):
                        break
                    tree.add(leaf_hash(line))
                number, length = number + 1, length + len(line) + 1
            if number < at:
                raise Broken(f"the log has {number} lines, and had {at} when it was signed last")
            good = length == path.stat().st_size
            if not good:
                self._keep_cut(path, length)
            self._use(path, length)
        self._tree = tree

    def _keep_cut(self, path: Path, length: int) -> None:
        """What is cut off was never committed; where it is more than half a line it is kept for a person to see."""
        with path.open("rb") as file:
            file.seek(length)
            rest = file.read()
        if rest.strip(b"\0").count(b"\n"):
            write_private(self.folder / f"cut-{path.stem}-{length}-{self._clock()}", rest)

    def _use(self, path: Path, length: int) -> None:
        """Goes on in `path` from `length` on."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if os.fstat(self._fd).st_size != length:
            self._files.cut(self._fd, length)
            self._files.sync(self._fd)
        self._length = length

    def _next_part(self) -> None:
        fd = self._files.create(self.folder / file_name(self._tree.size))
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._length = fd, 0

    def _begin(self, after: str) -> None:
        """The first line of a new log."""
        self._tree, self.head, self._note = Frontier(), None, ""
        if not parts(self.folder):
            self._next_part()
        self.append([Began(0, f"freehold-{secrets.token_hex(8)}", self._clock(), after)])

    def _know_the_log(self) -> None:
        """Reads the log's name, and says so in the log where another key signs from now on."""
        first = next(self.everything(), None)
        if not isinstance(first, Began):
            raise Broken("its first line does not say which log it is")
        self._signer = Signer(first.log, self._seed)
        verifier = self._signer.verifier
        if self.head is not None and self.head.log != first.log:
            raise Broken(f"its heads are those of {self.head.log}")
        if self.head is not None and self.head.key != verifier and not self._announced(verifier):
            self.append([KeyChanged(0, self._clock(), str(verifier))])

    def _announced(self, verifier: Verifier) -> bool:
        changes = [leaf for leaf in self.unsigned() if isinstance(leaf, KeyChanged)]
        return bool(changes) and changes[-1].key == str(verifier)

    def _set_aside(self, why: str) -> None:
        """Moves a log that cannot be gone on with to a folder of its own, and begins another."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        aside = self.folder / f"broken-{self._clock()}"
        aside.mkdir(mode=0o700)
        for name in (*(path.name for _, path in parts(self.folder)), HEADS, "frontier.json"):
            if (self.folder / name).exists():
                (self.folder / name).rename(aside / name)
        self._begin(f"{why}; what was left of it is in {aside.name}")
        self._know_the_log()


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InternalError(
            f"another process writes the receipts in {folder}",
            code="receipts_locked",
            hint="one gateway to a state folder: stop the other, or give this one its own FREEHOLD_HOME",
        ) from None
    return descriptor


def _head_lines(path: Path, files: Files) -> bytes:
    """Returns a file of heads. A last line that is no signed head was cut off by a crash before anybody was told of it,
    and is cut off here; had it been more than that, the other place would know of it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    whole = data[: data.rfind(b"\n") + 1]
    if whole and _last(whole) is None:
        whole = whole[: whole.rfind(b"\n", 0, -1) + 1]
    if len(whole) != len(data):
        files.cut_file(path, len(whole))
    return whole


def _last(heads: bytes) -> tuple[str, note.Head] | None:
    """Returns the newest head, as it is written and as it is meant; None where it is no signed head."""
    try:
        text = msgspec.json.decode(heads[:-1].rpartition(b"\n")[2], type=str)
        head = note.parse(text)
    except (ValueError, BadRequest):
        return None
    return (text, head) if note.is_signed(text, head.key) else None


def _part_of(files: list[tuple[int, Path]], number: int) -> int:
    """Returns the place in `files` of the part that holds a line, or would."""
    return max((place for place, (first, _) in enumerate(files) if first <= number), default=0)


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines of a file, without their ends."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line[:-1]


def _is_line(line: bytes, number: int) -> bool:
    try:
        return decode(line).n == number
    except ValueError:
        return False
