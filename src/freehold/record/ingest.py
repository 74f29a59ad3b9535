"""From journals to the ledger: every call exactly once, whatever is killed when.

One step reads new entries of all journals, joins intents and settlements in memory, and commits in one transaction the
finished calls, the intents still open, the sums, and how far each file was read. A kill before the commit leaves
everything as it was, a kill after it leaves nothing to do again: (file, offset) is the key of idempotency, and it never
returns, because no segment is written twice (journal.py).

    intent + settlement                    a row of `calls`, with its cost
    intent alone                           a row of `open_calls`, and in memory, until its settlement is read
    intent alone, and its writer is dead   a row of `calls`: outcome unknown, `held` kept, no tokens, no cost
    settlement alone (a damaged intent)    a row of `calls` without names, unpriced

"Dead" is asked before the files are listed and read, so nothing can be written behind our back. A segment that was read
to its end and will not grow is removed, once the commit is safely on the disk, and its name remembered; one with damage
is renamed to `*.damaged` instead, for a person to look at.

One odd entry must not stop the ledger: rows.py says what becomes of figures that no call can have. Decisions of routes
and outcomes of answers go another way, which learned.py describes, in the same transaction, as do refused requests
(refusals.py).

Only one process ingests at a time: the first to step takes a lock beside the journals and keeps it until `close`, or
its death. A step of any other does nothing and says `locked`.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from freehold.record import refusals
from freehold.record.entries import Cached, Entry, Intent, Outcome, Refused, Settlement
from freehold.record.journal import has_more, incarnation_of, read_segment, remove_unborn, segments, writer_lives
from freehold.record.learned import Learned
from freehold.record.prices import Pricer
from freehold.record.receipts.sent import Outward
from freehold.record.receipts.taking import Taking
from freehold.record.rows import Rows
from freehold.record.store import Store

_UNKNOWN: Final = Settlement("", "unknown", 0)
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(Intent).decode


class IngestReport(Struct):
    """What one step did."""

    entries: int = 0
    calls: int = 0
    """Calls that it finished, the unknown ones included."""
    lag_seconds: float = 0.0
    """Age of the newest entry read, where more were waiting behind it; 0 where nothing was left."""
    damage: int = 0
    """Places in the journals that hold no entry."""
    locked: bool = False
    """Another process ingests; nothing was done."""


class _Segment(Struct):
    """A visible segment that is not done. `closed`: nothing will be appended to it any more."""

    path: Path
    offset: int
    closed: bool
    damage: int = 0
    done: bool = False


class Ingest:
    """Reads the journals under `journal_dir` into `store`. `pricer` may be replaced between steps.

    `receipts` opens the log of receipts; it is called by whoever ingests, once it is sure to be alone.
    """

    def __init__(
        self, store: Store, journal_dir: Path, pricer: Pricer, receipts: Callable[[], Taking] | None = None
    ) -> None:
        self._open_receipts = receipts
        self._receipts: Taking | None = None
        self._rows = Rows(store, pricer)
        self._learned = Learned(store)
        self._store = store
        self._directory = journal_dir
        self._lock = -1
        self._loaded = False
        self._offsets: dict[str, int] = {}
        self._damage: dict[str, int] = {}
        """Places without an entry, by segment."""
        self._done: dict[str, bool] = {}
        """Names of segments read to the end; whether there was damage in them."""
        self._open: dict[str, tuple[str, Intent]] = {}
        """Incarnation and intent of every call that has not ended."""

    @property
    def pricer(self) -> Pricer:
        return self._rows.pricer

    @pricer.setter
    def pricer(self, pricer: Pricer) -> None:
        self._rows.pricer = pricer

    def step(self, max_entries: int = 20_000) -> IngestReport:
        """Takes in at most `max_entries`. Where it took that many there may be more: call again.

        Raises `sqlite3.Error` or `OSError`; then nothing of the step has happened, and the next one does it again.
        """
        if not self._take_lock():
            return IngestReport(locked=True)
        try:
            if not self._loaded:
                self._load()
            return self._step(max_entries)
        except BaseException:
            # What this process remembers may be ahead of the store.
            self._loaded = False
            raise

    def close(self) -> None:
        """Lets another process ingest."""
        if self._receipts is not None:
            self._receipts.close()
            self._receipts = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            self._loaded = False

    def sign(self) -> None:
        """Signs the log of receipts as far as it is. Raises OSError."""
        if self._receipts is not None and self._loaded:
            self._receipts.sign(self._store.settle)

    def _take_lock(self) -> bool:
        if self._lock >= 0:
            return True
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._directory / "ingest.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        remove_unborn(self._directory)
        return True

    def _load(self) -> None:
        """Reads where the last ingester stopped."""
        execute = self._store.connection.execute
        journals = execute("SELECT name, offset, damage, done FROM journals").fetchall()
        if self._receipts is None and self._open_receipts is not None:
            self._receipts = self._open_receipts()
        if self._receipts is not None:
            present = {incarnation_of(path.name) or "" for path in segments(self._directory)}
            self._receipts.load(present, fresh=not journals)
        self._damage = {name: damage for name, _, damage, _ in journals}
        self._offsets = {name: offset for name, offset, _, done in journals if not done}
        self._done = {name: damage > 0 for name, _, damage, done in journals if done}
        rows = execute("SELECT call, incarnation, intent FROM open_calls")
        self._open = {call: (incarnation, _DECODE(intent)) for call, incarnation, intent in rows}
        self._learned.load()
        self._loaded = True

    def _step(self, max_entries: int) -> IngestReport:
        report = IngestReport()
        batch = _Batch(self._store, self._rows, self._learned, self._open, self._receipts)
        unread, dead = self._survey()
        for incarnation, queue in unread.items():
            for segment in queue:
                self._read(segment, incarnation, batch, max_entries)
                if not segment.done:
                    dead.discard(incarnation)
                    break
        batch.abandon(dead)
        receipts = self._receipts
        touched = [s for queue in unread.values() for s in queue if s.done or s.offset != self._offset(s.path.name)]
        if receipts is not None:
            self._tell(receipts, touched, dead)
            receipts.write()
        if touched or batch.pairs or self._learned.pending:
            with self._store.transaction() as connection:
                report.calls = batch.write(connection)
                connection.executemany(
                    "INSERT INTO journals (name, offset, damage, done) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET offset = excluded.offset, damage = damage + excluded.damage, done = excluded.done",
                    [(s.path.name, s.offset, s.damage, s.done) for s in touched],
                )
        if receipts is not None:
            receipts.committed(caught_up=batch.entries < max_entries)
        for segment in touched:
            self._damage[segment.path.name] = self._damage.get(segment.path.name, 0) + segment.damage
            self._offsets[segment.path.name] = segment.offset
            report.damage += segment.damage
            if segment.done:
                self._done[segment.path.name] = self._damaged(segment)
        report.entries = batch.entries
        if batch.entries >= max_entries:
            report.lag_seconds = max(0.0, time.time() - batch.newest / 1e9)
        self._remove_done()
        return report

    def _tell(self, receipts: Taking, touched: list[_Segment], dead: set[str]) -> None:
        """What else than calls the log is told of: damage, segments that somebody took away, workers that ended."""
        for segment in touched:
            if segment.damage:
                receipts.damaged(segment.path.name, self._damage.get(segment.path.name, 0) + segment.damage)
        for name in self._offsets:
            if name not in self._done and not (self._directory / name).exists():
                receipts.damaged(name, 0)
        receipts.ended(sorted(dead))

    def _survey(self) -> tuple[dict[str, list[_Segment]], set[str]]:
        """Returns the segments to read by incarnation, oldest first, and the incarnations that have ended.

        Who lives is asked first and the files are listed after it: of the dead, that is all there will ever be. An
        incarnation whose files are all gone has ended too.
        """
        known = {name for path in segments(self._directory) if (name := incarnation_of(path.name))}
        known |= {incarnation for incarnation, _ in self._open.values()}
        dead = {name for name in known if not writer_lives(self._directory, name)}
        listed: dict[str, list[Path]] = {}
        for path in segments(self._directory):
            listed.setdefault(incarnation_of(path.name) or "", []).append(path)
        unread = {
            name: [
                _Segment(path, self._offset(path.name), name in dead or path is not paths[-1])
                for path in paths
                if path.name not in self._done
            ]
            for name, paths in listed.items()
        }
        return unread, dead

    def _offset(self, name: str) -> int:
        return self._offsets.get(name, 0)

    def _read(self, segment: _Segment, incarnation: str, batch: "_Batch", max_entries: int) -> None:
        """Reads one segment on, to its end if there is room in the batch."""
        if not segment.closed and not has_more(segment.path, segment.offset):
            return
        while batch.entries < max_entries:
            read = read_segment(segment.path, segment.offset, max_entries - batch.entries)
            batch.add(incarnation, read.entries)
            segment.offset = read.next_offset
            segment.damage += len(read.damage)
            if read.state == "more":
                continue
            if segment.closed:
                segment.damage += read.state == "torn"
                segment.done = True
            return

    def _damaged(self, segment: _Segment) -> bool:
        query = "SELECT damage FROM journals WHERE name = ?"
        found: int = self._store.connection.execute(query, (segment.path.name,)).fetchone()[0]
        return found > 0

    def _remove_done(self) -> None:
        present = [path for path in segments(self._directory) if path.name in self._done]
        # Only now is it certain that a power cut cannot take back what was read of them.
        if not present or not self._store.settle():
            return
        for path in present:
            if self._done[path.name]:
                path.rename(path.with_name(path.name + ".damaged"))
            else:
                path.unlink(missing_ok=True)


class _Batch:
    """The calls that one step finishes. `open_calls` is the ingester's own, kept in step with the table."""

    def __init__(
        self,
        store: Store,
        rows: Rows,
        learned: Learned,
        open_calls: dict[str, tuple[str, Intent]],
        receipts: Taking | None,
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._rows = rows
        self._learned = learned
        self._open = open_calls
        self._new: set[str] = set()
        self._ended: list[tuple[str]] = []
        self._refused: list[Refused] = []
        self.pairs: list[tuple[Intent, Settlement]] = []
        self.entries = 0
        self.newest = 0
        """Unix nanoseconds of the last intent read."""

    def add(self, incarnation: str, entries: list[tuple[int, Entry]]) -> None:
        open_calls, new, pairs = self._open, self._new, self.pairs
        self.entries += len(entries)
        for _, entry in entries:
            if type(entry) is Intent:
                call = entry.call
                if call in open_calls:
                    self._end(call, _UNKNOWN)
                open_calls[call] = (incarnation, entry)
                new.add(call)
                self.newest = entry.at
            elif type(entry) is Settlement:
                call = entry.call
                found = open_calls.pop(call, None)
                if found is None:
                    lost = _lost_intent(call, self.newest, incarnation)
                    pairs.append((lost, entry))
                    if self._receipts is not None:
                        self._receipts.call(incarnation, lost, entry, None, entry.received)
                    continue
                if call in new:
                    new.discard(call)
                else:
                    self._ended.append((call,))
                pairs.append((found[1], entry))
                if self._receipts is not None:
                    self._receipts.call(found[0], found[1], entry, found[1].sent, entry.received)
            elif type(entry) is Outcome:
                self._learned.add(entry)
            elif type(entry) is Cached:
                pairs.append((entry.intent, entry.end))
            elif type(entry) is Refused:
                self._refused.append(entry)
            elif type(entry) is Outward and self._receipts is not None:
                self._receipts.outward(incarnation, entry)

    def abandon(self, dead: set[str]) -> None:
        """Ends every open call of the dead incarnations as unknown."""
        for call in [call for call, (incarnation, _) in self._open.items() if incarnation in dead]:
            self._end(call, _UNKNOWN)

    def write(self, connection: sqlite3.Connection) -> int:
        """Writes everything, inside a transaction; returns how many calls were finished."""
        if self.pairs:
            self._rows.write(connection, self.pairs)
        self._learned.write(connection, self.pairs)
        if self._refused:
            refusals.write(self._store, connection, self._refused)
        connection.executemany("DELETE FROM open_calls WHERE call = ?", self._ended)
        connection.executemany(
            "INSERT INTO open_calls (call, incarnation, intent) VALUES (?, ?, ?)",
            [(call, self._open[call][0], _ENCODE(self._open[call][1])) for call in self._new],
        )
        return len(self.pairs)

    def _end(self, call: str, end: Settlement) -> None:
        incarnation, intent = self._open.pop(call)
        if self._receipts is not None:
            self._receipts.call(incarnation, intent, end, intent.sent)
        if call in self._new:
            self._new.discard(call)
        else:
            self._ended.append((call,))
        self.pairs.append((intent, end))


def _lost_intent(call: str, newest: int, incarnation: str) -> Intent:
    """Stands for an intent that was damaged, dated by what was read before it."""
    at = newest or int(incarnation.rpartition("-")[2])
    return Intent(call, call, at, 1, "", "", "", "", "", "", False, False, 0, "")
