"""Where kept answers lie: one SQLite file that all workers of a host share, FREEHOLD_HOME/cache/answers.db.

A row is found by a keyed digest of the request; without `secret`, a file beside it, nobody can tell from the file what
was asked. The answers themselves are not encrypted: both files are readable by their owner only (0600, in a folder that
is 0700), and what is deleted is overwritten with zeroes (`secure_delete`).

Every row carries a seal, BLAKE2b under the same secret over its digest, the partition it belongs to (tenant and label)
and its content. A row that was damaged, copied to another digest or moved to another partition has the wrong seal, and
counts as absent. So does everything when the file cannot be read: a broken cache is an empty one, never an error.

Reading is one look-up in the mapped file, without a lock that a writer could hold (WAL): it happens in the event loop.
Whatever writes takes a thread (`serve/cache/life.py`), and whoever is killed in the middle of it has written nothing. A
file that SQLite says is damaged is removed by the first writer that notices, under a lock, and begun anew.

Bytes are counted by triggers, so that every writer sees the same sum; over the limit, the rows that were not asked for
the longest are deleted. Times are Unix time in seconds. A row that comes from the future, because a clock was set back,
is not given out.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from msgspec import Struct

from freehold.errors import InternalError
from freehold.home import write_private

SECRET_BYTES: Final = 32
SEAL_BYTES: Final = 16
AHEAD: Final = 5.0
"""Seconds that a row may be younger than now."""
MAPPED: Final = 1 << 28
EVICTED: Final = 32
"""Rows that give way at a time."""
_BROKEN: Final = ("malformed", "not a database", "disk image", "no such table", "unsupported file format")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    digest BLOB PRIMARY KEY, tenant TEXT NOT NULL, label TEXT NOT NULL, asked TEXT NOT NULL,
    made REAL NOT NULL, until REAL NOT NULL, used REAL NOT NULL, hits INTEGER NOT NULL DEFAULT 0,
    seal BLOB NOT NULL, content BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS answers_used ON answers (used);
CREATE INDEX IF NOT EXISTS answers_until ON answers (until);
CREATE TABLE IF NOT EXISTS sums (one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO sums VALUES (1, 0);
CREATE TRIGGER IF NOT EXISTS answers_in AFTER INSERT ON answers
    BEGIN UPDATE sums SET bytes = bytes + length(NEW.content) + 256; END;
CREATE TRIGGER IF NOT EXISTS answers_out AFTER DELETE ON answers
    BEGIN UPDATE sums SET bytes = bytes - length(OLD.content) - 256; END;
CREATE TABLE IF NOT EXISTS questions ( -- what the semantic cache looks through: features, never words
    id INTEGER PRIMARY KEY, place BLOB NOT NULL, digest BLOB NOT NULL UNIQUE REFERENCES answers ON DELETE CASCADE,
    until REAL NOT NULL, features BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS questions_place ON questions (place, id);
CREATE TABLE IF NOT EXISTS watches (name TEXT PRIMARY KEY, watch BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""


class Partition(Struct, frozen=True):
    """Whose answers, with which label. Nothing is ever looked for outside of it."""

    tenant: str
    label: str


class Held(Struct, frozen=True):
    """An answer that was found: when it was made, and what was kept."""

    made: float
    content: bytes


class Shown(Struct):
    """One line of `freehold cache show`."""

    tenant: str
    label: str
    asked: str
    entries: int
    bytes: int
    hits: int
    oldest: float
    """Unix time in seconds."""


def secret_of(folder: Path) -> bytes:
    """Returns the secret of a folder, made where there is none. Raises InternalError."""
    path = folder / "secret"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            if not path.exists() or path.stat().st_size != SECRET_BYTES:
                write_private(path, os.urandom(SECRET_BYTES))
            return path.read_bytes()
    except OSError as error:
        raise _unusable(folder, error) from error


class CacheStore:
    """The file of one process. `find` is for the event loop, everything else for one thread of its own."""

    def __init__(self, folder: Path) -> None:
        """Raises InternalError when the folder cannot be used; a damaged file is begun anew."""
        self.path = folder / "answers.db"
        self.secret = secret_of(folder)
        self._folder = folder
        self._reader = self._opened()
        self._writer: sqlite3.Connection | None = None
        self._inode = self._written = self.path.stat().st_ino
        self._stale = False
        self.fault: sqlite3.Error | None = None
        """Why the last look-up could not be made: `mend` it."""
        self._swept = 0.0

    # The event loop's

    def find(self, digest: bytes, partition: Partition, now: float) -> Held | None:
        """Returns what is kept for a request, None where there is nothing that may be given out. Never raises."""
        try:
            if self._stale or os.stat(self.path).st_ino != self._inode:
                self._again()
            row = self._reader.execute(_FIND, (digest,)).fetchone()
        except sqlite3.Error as error:
            self._stale, self.fault = True, error
            return None
        except (OSError, InternalError):
            self._stale = True
            return None
        if row is None:
            return None
        made, until, seal, content = row
        if seal != self.seal(digest, partition, made, until, content) or not made - AHEAD <= now < until:
            return None
        return Held(made, content)

    def questions(self, place: bytes, after: int, most: int, now: float) -> list[tuple[int, bytes, bytes]]:
        """Returns number, digest and features of a group's questions that came after number `after`. Never raises."""
        try:
            rows: list[tuple[int, bytes, bytes]] = self._reader.execute(
                _QUESTIONS, (place, after, now, most)
            ).fetchall()
            return rows
        except sqlite3.Error:
            return []

    def watch(self, name: str) -> bytes | None:
        """Returns what is remembered of how the semantic cache of a name does. Raises InternalError: then nobody knows,
        and nothing may be given out."""
        try:
            row = self._reader.execute("SELECT watch FROM watches WHERE name = ?", (name,)).fetchone()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error
        return row[0] if row is not None else None

    def seal(self, digest: bytes, partition: Partition, made: float, until: float, content: bytes) -> bytes:
        """Returns the seal of a row."""
        keyed = blake2b(key=self.secret, digest_size=SEAL_BYTES)
        head = f"{len(partition.tenant)} {partition.tenant} {partition.label}\0{made!r} {until!r}\0"
        keyed.update(digest)
        keyed.update(head.encode("utf-8", "surrogatepass"))
        keyed.update(content)
        return keyed.digest()

    # The thread's

    def keep(
        self, digest: bytes, partition: Partition, asked: str, made: float, until: float, content: bytes, limit: int
    ) -> None:
        """Keeps an answer in the place of the one before it, and lets others give way for it over `limit` bytes.

        Raises sqlite3.Error; then nothing was kept.
        """
        seal = self.seal(digest, partition, made, until, content)
        with self._transaction() as connection:
            connection.execute("DELETE FROM answers WHERE digest = ?", (digest,))
            row = (digest, partition.tenant, partition.label, asked, made, until, made, seal, content)
            connection.execute(_KEEP, row)
            if made - self._swept > 60 or self._swept > made:
                self._swept = made
                connection.execute("DELETE FROM answers WHERE until <= ? OR made > ?", (made, made + AHEAD))
            self._shrink(connection, limit)

    def keep_question(self, place: bytes, digest: bytes, until: float, features: bytes, most: int) -> None:
        """Keeps what a question is found by, at most `most` of a group. Raises sqlite3.Error."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO questions (place, digest, until, features) SELECT ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM answers WHERE digest = ?)",
                (place, digest, until, features, digest),
            )
            connection.execute(
                "DELETE FROM questions WHERE place = ? AND id <= (SELECT id FROM questions WHERE place = ?"
                " ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (place, place, most),
            )

    def count(self, used: Iterable[tuple[bytes, float, int]]) -> None:
        """Notes hits: digest, when, how many. Raises sqlite3.Error."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE answers SET used = max(used, ?), hits = hits + ? WHERE digest = ?",
                [(when, hits, digest) for digest, when, hits in used],
            )

    def update_watch(self, name: str, change: Callable[[bytes | None], bytes]) -> None:
        """Puts `change(what is remembered)` in its place, whoever else does the same. Raises sqlite3.Error."""
        with self._transaction() as connection:
            row = connection.execute("SELECT watch FROM watches WHERE name = ?", (name,)).fetchone()
            made = change(row[0] if row is not None else None)
            connection.execute("INSERT OR REPLACE INTO watches VALUES (?, ?)", (name, made))

    def clear(self, tenant: str | None = None, label: str | None = None) -> int:
        """Deletes the answers of a tenant, or with a label, or all; returns how many. They are overwritten on the disk.

        Raises sqlite3.Error.
        """
        with self._transaction() as connection:
            gone = connection.execute(
                "DELETE FROM answers WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR label = ?2)",
                (tenant, label),
            ).rowcount
        connection = self._writing()
        with contextlib.suppress(sqlite3.OperationalError):  # somebody reads: the next checkpoint does it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return int(gone)

    def show(self) -> list[Shown]:
        """Returns what is kept, by tenant, label and name asked for. Raises sqlite3.Error."""
        rows = self._writing().execute(_SHOW).fetchall()
        return [Shown(*row) for row in rows]

    def bytes(self) -> int:
        """Returns the size by which the limit is kept. Raises sqlite3.Error."""
        found: int = self._writing().execute("SELECT bytes FROM sums").fetchone()[0]
        return found

    def mend(self, error: sqlite3.Error) -> None:
        """Begins the file anew where SQLite says that it is damaged. Never raises."""
        self.fault = None
        if not any(word in str(error) for word in _BROKEN):
            return
        with contextlib.suppress(OSError, InternalError, sqlite3.Error):
            self._close_writer()
            with _locked(self._folder):
                if self.path.exists() and self.path.stat().st_ino == self._written:
                    for suffix in ("", "-wal", "-shm"):
                        self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._writing()
            self._stale = True

    def close(self) -> None:
        self._close_writer()
        self._reader.close()

    # Below

    def _again(self) -> None:
        """Opens a file that was begun anew by somebody, or that could not be read a moment ago."""
        self._reader.close()
        self._reader = self._opened()
        self._inode = self.path.stat().st_ino
        self._stale = False

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.Error as error:
            if not any(word in str(error) for word in _BROKEN):
                raise _unusable(self.path, error) from error
        with _locked(self._folder):
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        try:
            return self._open()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    def _open(self, wait: int = 0) -> sqlite3.Connection:
        """`wait`: milliseconds for which a look-up or a write waits for other processes."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise _unusable(self.path, error) from error
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA mmap_size = {MAPPED}")
            connection.execute("PRAGMA journal_size_limit = 16777216")
            if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'watches'").fetchone()[0] == 0:
                connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA busy_timeout = {wait}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._open(10_000)
            self._written = self.path.stat().st_ino
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._writer is not None and (not self.path.exists() or self.path.stat().st_ino != self._written):
            self._close_writer()  # another process has begun it anew
        connection = self._writing()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _shrink(self, connection: sqlite3.Connection, limit: int) -> None:
        while connection.execute("SELECT bytes FROM sums").fetchone()[0] > limit:
            gone = connection.execute(_EVICT, (EVICTED,)).rowcount
            if gone <= 0:
                return


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: Exception) -> InternalError:
    return InternalError(
        f"answers cannot be kept in {path}: {error}",
        code="cache_unavailable",
        hint="check the folder's rights and free space, or leave cache out of freehold.yaml",
    )


_FIND: Final = "SELECT made, until, seal, content FROM answers WHERE digest = ?"
_KEEP: Final = (
    "INSERT INTO answers (digest, tenant, label, asked, made, until, used, seal, content)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_EVICT: Final = "DELETE FROM answers WHERE digest IN (SELECT digest FROM answers ORDER BY used LIMIT ?)"
_QUESTIONS: Final = (
    "SELECT id, digest, features FROM questions WHERE place = ? AND id > ? AND until > ? ORDER BY id DESC LIMIT ?"
)
_SHOW: Final = (
    "SELECT tenant, label, asked, count(*), sum(length(content) + 256), sum(hits), min(made) FROM answers"
    " GROUP BY 1, 2, 3 ORDER BY 5 DESC"
)
