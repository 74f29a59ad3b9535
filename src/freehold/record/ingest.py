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

One odd entry must not stop the ledger. Figures that no call can have (a provider may say anything) are cut to `MOST`
and the call is left unpriced; a call id that was seen before is kept as `id@2`.

Only one process ingests at a time: the first to step takes a lock beside the journals and keeps it until `close`, or
its death. A step of any other does nothing and says `locked`.
"""

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from freehold.record.entries import Entry, Intent, Settlement
from freehold.record.journal import has_more, incarnation_of, read_segment, remove_unborn, segments, writer_lives
from freehold.record.prices import Pricer
from freehold.record.store import OUTCOMES, Store

MOST: Final = 2**33 - 1
"""Tokens of one class in one call; more is a lie. All bits set, so that one comparison tests all classes."""
MOST_COST: Final = 10**16
"""Nano-dollars of one call, ten million dollars; a call over it stays unpriced."""
_INTEGER_MAX: Final = 2**63 - 1
_OUTCOME: Final = {name: number for number, name in enumerate(OUTCOMES)}
_FAILED: Final = _OUTCOME["failed"]
_UNKNOWN: Final = Settlement("", "unknown", 0)
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(Intent).decode

Row = tuple[int | str | None, ...]


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
    """Reads the journals under `journal_dir` into `store`. `pricer` may be replaced between steps."""

    def __init__(self, store: Store, journal_dir: Path, pricer: Pricer) -> None:
        self.pricer = pricer
        self._store = store
        self._directory = journal_dir
        self._lock = -1
        self._loaded = False
        self._offsets: dict[str, int] = {}
        self._done: dict[str, bool] = {}
        """Names of segments read to the end; whether there was damage in them."""
        self._open: dict[str, tuple[str, Intent]] = {}
        """Incarnation and intent of every call that has not ended."""

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
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            self._loaded = False

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
        self._offsets = {name: offset for name, offset, _, done in journals if not done}
        self._done = {name: damage > 0 for name, _, damage, done in journals if done}
        rows = execute("SELECT call, incarnation, intent FROM open_calls")
        self._open = {call: (incarnation, _DECODE(intent)) for call, incarnation, intent in rows}
        self._loaded = True

    def _step(self, max_entries: int) -> IngestReport:
        report = IngestReport()
        batch = _Batch(self._store, self.pricer, self._open)
        unread, dead = self._survey()
        for incarnation, queue in unread.items():
            for segment in queue:
                self._read(segment, incarnation, batch, max_entries)
                if not segment.done:
                    dead.discard(incarnation)
                    break
        batch.abandon(dead)
        touched = [s for queue in unread.values() for s in queue if s.done or s.offset != self._offset(s.path.name)]
        if touched or batch.pairs:
            with self._store.transaction() as connection:
                report.calls = batch.write(connection)
                connection.executemany(
                    "INSERT INTO journals (name, offset, damage, done) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET offset = excluded.offset, damage = damage + excluded.damage, done = excluded.done",
                    [(s.path.name, s.offset, s.damage, s.done) for s in touched],
                )
        for segment in touched:
            self._offsets[segment.path.name] = segment.offset
            report.damage += segment.damage
            if segment.done:
                self._done[segment.path.name] = self._damaged(segment)
        report.entries = batch.entries
        if batch.entries >= max_entries:
            report.lag_seconds = max(0.0, time.time() - batch.newest / 1e9)
        self._remove_done()
        return report

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

    def __init__(self, store: Store, pricer: Pricer, open_calls: dict[str, tuple[str, Intent]]) -> None:
        self._store = store
        self._pricer = pricer
        self._open = open_calls
        self._new: set[str] = set()
        self._ended: list[tuple[str]] = []
        self.pairs: list[tuple[Intent, Settlement]] = []
        self.entries = 0
        self.newest = 0
        """Unix nanoseconds of the last intent read."""

    def add(self, incarnation: str, entries: list[tuple[int, Entry]]) -> None:
        open_calls, new, pairs = self._open, self._new, self.pairs
        self.entries += len(entries)
        for _, entry in entries:
            call = entry.call
            if type(entry) is Intent:
                if call in open_calls:
                    self._end(call, _UNKNOWN)
                open_calls[call] = (incarnation, entry)
                new.add(call)
                self.newest = entry.at
            elif type(entry) is Settlement:
                found = open_calls.pop(call, None)
                if found is None:
                    pairs.append((_lost_intent(call, self.newest, incarnation), entry))
                    continue
                if call in new:
                    new.discard(call)
                else:
                    self._ended.append((call,))
                pairs.append((found[1], entry))

    def abandon(self, dead: set[str]) -> None:
        """Ends every open call of the dead incarnations as unknown."""
        for call in [call for call, (incarnation, _) in self._open.items() if incarnation in dead]:
            self._end(call, _UNKNOWN)

    def write(self, connection: sqlite3.Connection) -> int:
        """Writes everything, inside a transaction; returns how many calls were finished."""
        if self.pairs:
            last = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0]
            _insert(connection, [self._row(intent, end) for intent, end in self.pairs])
            connection.execute(_ADD_SPEND, (last,))
        connection.executemany("DELETE FROM open_calls WHERE call = ?", self._ended)
        connection.executemany(
            "INSERT INTO open_calls (call, incarnation, intent) VALUES (?, ?, ?)",
            [(call, self._open[call][0], _ENCODE(self._open[call][1])) for call in self._new],
        )
        return len(self.pairs)

    def _end(self, call: str, end: Settlement) -> None:
        _, intent = self._open.pop(call)
        if call in self._new:
            self._new.discard(call)
        else:
            self._ended.append((call,))
        self.pairs.append((intent, end))

    def _row(self, i: Intent, s: Settlement) -> Row:
        store, names = self._store, self._store.names
        if 0 <= (s.uncached | s.cache_read | s.cache_write_5m | s.cache_write_1h | s.output) <= MOST:
            price, cost = self._price(i, s)
        else:
            s, price, cost = _cut(s), None, None
        return (
            i.call,
            None if i.call == f"{i.request}-{i.attempt}" else i.request,
            i.at,
            store.routes[i.key, i.asked, i.deployment, i.provider, i.model, i.dialect, i.owned],
            i.attempt,
            i.stream,
            i.held,
            names[i.reason],
            names[i.config],
            _OUTCOME.get(s.outcome, _FAILED),
            s.status,
            s.uncached,
            s.cache_read,
            s.cache_write_5m,
            s.cache_write_1h,
            s.output,
            s.reasoning,
            s.audio_input,
            s.audio_output,
            s.estimated,
            s.first_us,
            s.total_us,
            s.upstream_id,
            names[s.served],
            names[s.error],
            price,
            cost,
            names[s.lost] if s.lost else None,
        )

    def _price(self, i: Intent, s: Settlement) -> tuple[int | None, int | None]:
        """Returns the price row and the cost. A call that failed without a token cost nothing, whatever the price."""
        if s.outcome == "unknown":
            return None, None
        if s.outcome == "failed" and not (
            s.uncached or s.output or s.cache_read or s.cache_write_5m or s.cache_write_1h
        ):
            return None, 0
        if i.owned:
            rates = self._pricer.owned(i.provider, i.model)
            if rates is None:
                return None, 0
        else:
            rates = self._pricer.rates(i.provider, i.model, s.served, i.at)
            if rates is None:
                return None, None
        cost = self._pricer.cost(s, rates)
        if cost is None or cost > MOST_COST:
            return None, None
        return self._store.prices[rates], cost


def _insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    connection.execute("SAVEPOINT calls")
    try:
        connection.executemany(_INSERT_CALL, rows)
    except (sqlite3.IntegrityError, OverflowError):
        connection.execute("ROLLBACK TO calls")
        for row in rows:
            _insert_odd(connection, row)
    connection.execute("RELEASE calls")


def _insert_odd(connection: sqlite3.Connection, row: Row) -> None:
    """Inserts a row that may hold a call id seen before, or integers that no column can hold."""
    call, *others = (min(value, _INTEGER_MAX) if isinstance(value, int) else value for value in row)
    name, again = call, 1
    while connection.execute("SELECT 1 FROM calls WHERE call = ?", (name,)).fetchone():
        again += 1
        name = f"{call}@{again}"
    connection.execute(_INSERT_CALL, (name, *others))


def _cut(s: Settlement) -> Settlement:
    counts = ("uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    parts = ("reasoning", "audio_input", "audio_output")
    return msgspec.structs.replace(s, **{name: min(max(getattr(s, name), 0), MOST) for name in (*counts, *parts)})


def _lost_intent(call: str, newest: int, incarnation: str) -> Intent:
    """Stands for an intent that was damaged, dated by what was read before it."""
    at = newest or int(incarnation.rpartition("-")[2])
    return Intent(call, call, at, 1, "", "", "", "", "", "", False, False, 0, "")


_INSERT_CALL: Final = (
    "INSERT INTO calls (call, request, at, route, attempt, stream, held, reason, config, outcome, status, uncached,"
    " cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, estimated, first_us,"
    " total_us, upstream_id, served, error, price, cost, lost)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_ADD_SPEND: Final = (
    "INSERT INTO spend (hour, route, calls, ok, failed, cancelled, unknown, unpriced, estimated, input, cached, output,"
    " cost) SELECT at / 3600000000000, route, count(*), sum(outcome = 0), sum(outcome = 1), sum(outcome = 2),"
    " sum(outcome = 3), sum(cost IS NULL AND outcome != 3), sum(estimated),"
    " sum(uncached + cache_read + cache_write_5m + cache_write_1h), sum(cache_read), sum(output),"
    " coalesce(sum(cost), 0) FROM calls WHERE id > ? GROUP BY 1, 2"
    " ON CONFLICT (hour, route) DO UPDATE SET calls = calls + excluded.calls, ok = ok + excluded.ok,"
    " failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled,"
    " unknown = unknown + excluded.unknown, unpriced = unpriced + excluded.unpriced,"
    " estimated = estimated + excluded.estimated, input = input + excluded.input, cached = cached + excluded.cached,"
    " output = output + excluded.output, cost = cost + excluded.cost"
)
