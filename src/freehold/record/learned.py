"""What can be learned from, on its way into the ledger: how routes decided, and how good the answers were.

A decision goes with the first call of its request, in the transaction that writes the call. An outcome may come before
its call has ended, or days after it. Each one names a call, or a request, and then the call that answered it is meant:
the last attempt that ended well. So an outcome is

    written          where its call is in the ledger: one row per call and source, the latest wins
    kept waiting     in `open_outcomes`, where it is not yet; at most `WAIT_SECONDS`, and at most `MOST_WAITING` of them
    dropped          when it has waited in vain, when its call belongs to another key, or when it says nothing sane

An outcome that is read again changes nothing, so this is as idempotent as the rest of ingestion.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Final, get_args

import msgspec

from freehold.record.entries import Intent, Outcome, Settlement, Source
from freehold.record.store import Store

SOURCES: Final[tuple[str, ...]] = get_args(Source)
"""`outcomes.source` is the place in this list; new ones may only be appended."""
WAIT_SECONDS: Final = 3600.0
MOST_WAITING: Final = 10_000
MOST_NOTE: Final = 200
_PLACE: Final = {name: place for place, name in enumerate(SOURCES)}
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(Outcome).decode

About = tuple[str, str]
"""What an outcome is about, and its source."""


class Learned:
    """Of one ingester. `waiting` is what `open_outcomes` holds, so both change in the same transaction."""

    def __init__(self, store: Store, now: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._now = now
        self._new: list[Outcome] = []
        self.waiting: dict[About, Outcome] = {}

    def load(self) -> None:
        """Reads what waited when the last ingester stopped; forgets what was added since the last `write`."""
        rows = self._store.connection.execute("SELECT entry FROM open_outcomes ORDER BY rowid").fetchall()
        outcomes = [_DECODE(entry) for (entry,) in rows]
        self.waiting = {(one.about, one.source): one for one in outcomes}
        self._new = []

    def add(self, outcome: Outcome) -> None:
        """Takes in an outcome, which `write` places. One that says nothing sane is dropped."""
        sane = math.isfinite(outcome.value) and math.isfinite(outcome.weight) and outcome.weight > 0
        if sane and outcome.source in _PLACE and 0 <= outcome.value <= 1 and len(outcome.note) <= MOST_NOTE:
            self._new.append(outcome)

    @property
    def pending(self) -> bool:
        """Whether there is something to write although no call has ended."""
        return bool(self._new) or self._overdue()

    def write(self, connection: sqlite3.Connection, ended: list[tuple[Intent, Settlement]]) -> None:
        """Writes decisions of the calls that have ended, which must stand in `calls` already, and every outcome whose
        call does. Inside a transaction; if that fails, `load` must follow."""
        self._write_decisions(connection, ended)
        new, self._new = self._new, []
        due = [*self._met(ended), *new]
        if due:
            self._place(connection, due)
        if self._overdue():
            limit = self._limit
            self._forget(connection, [about for about, one in self.waiting.items() if one.at < limit])
        if len(self.waiting) > MOST_WAITING:
            oldest = sorted(self.waiting, key=lambda about: self.waiting[about].at)
            self._forget(connection, oldest[: len(self.waiting) - MOST_WAITING])

    @property
    def _limit(self) -> int:
        """What is older has waited long enough."""
        return self._now() - int(WAIT_SECONDS * 1e9)

    def _overdue(self) -> bool:
        first = next(iter(self.waiting.values()), None)
        return first is not None and first.at < self._limit

    def _met(self, ended: list[tuple[Intent, Settlement]]) -> list[Outcome]:
        """What waited for calls that have ended now."""
        if not self.waiting:
            return []
        abouts = {name for intent, _ in ended for name in (intent.call, intent.request)}
        return [one for (about, _), one in self.waiting.items() if about in abouts]

    def _place(self, connection: sqlite3.Connection, outcomes: list[Outcome]) -> None:
        rows: list[tuple[object, ...]] = []
        gone: set[About] = set()
        for one in outcomes:
            about = (one.about, one.source)
            found = find_call(connection, one.about)
            if found is None:
                self._keep(connection, about, one)
                continue
            call, key = found
            if about in self.waiting:
                gone.add(about)
            if one.by in ("", key):
                names = self._store.names
                rows.append(
                    (call, _PLACE[one.source], one.value, one.weight, one.at, names[one.by], names[one.note] or None)
                )
        connection.executemany(_WRITE_OUTCOME, rows)
        self._forget(connection, gone)

    def _keep(self, connection: sqlite3.Connection, about: About, one: Outcome) -> None:
        known = self.waiting.get(about)
        if known is one or (known is not None and known.at > one.at) or one.at < self._limit:
            return
        self.waiting[about] = one
        connection.execute(
            "INSERT INTO open_outcomes (about, source, entry) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET entry = excluded.entry",
            (one.about, _PLACE[one.source], _ENCODE(one)),
        )

    def _forget(self, connection: sqlite3.Connection, abouts: Iterable[About]) -> None:
        abouts = list(abouts)
        for about in abouts:
            del self.waiting[about]
        connection.executemany(
            "DELETE FROM open_outcomes WHERE about = ? AND source = ?",
            [(name, _PLACE[source]) for name, source in abouts],
        )

    def _write_decisions(self, connection: sqlite3.Connection, ended: list[tuple[Intent, Settlement]]) -> None:
        names = self._store.names
        rows = []
        for intent, _ in ended:
            one = intent.decided
            if one is None:
                continue
            weighed = [(names[w.name], w.quality, w.price, w.latency, w.chance) for w in one.candidates]
            first = one.candidates[0] if one.candidates else None
            rows.append(
                (
                    names[one.route],
                    one.propensity,
                    one.explored,
                    first.quality if first is not None else None,
                    first.price if first is not None else None,
                    names[one.kind],
                    names[one.needs] if one.needs else None,
                    one.input,
                    one.output,
                    one.limit,
                    names[one.ran] if one.ran else None,
                    one.cached,
                    one.basis or None,
                    one.reading or None,
                    _ENCODE(weighed),
                    _ENCODE(one.dropped) if one.dropped else None,
                    intent.call,
                )
            )
        if rows:
            connection.executemany(_WRITE_DECISION, rows)


def find_call(connection: sqlite3.Connection, about: str) -> tuple[int, str] | None:
    """Returns the row and the key of the call that `about`, a call id or a request id, stands for; None where it is not
    in the ledger, or no attempt of the request has ended well."""
    found: tuple[int, str] | None = connection.execute(_CALL, (about,)).fetchone()
    if found is None:
        # '.' follows '-' in ASCII: every call id that begins with the request's.
        found = connection.execute(_ANSWER, (f"{about}-", f"{about}.", about)).fetchone()
    return found


_KEYED: Final = " FROM calls JOIN routes ON routes.id = calls.route JOIN names ON names.id = routes.key"
_CALL: Final = f"SELECT calls.id, names.name{_KEYED} WHERE call = ?"
_ANSWER: Final = (
    f"SELECT calls.id, names.name{_KEYED} WHERE call >= ? AND call < ? AND outcome = 0"
    " AND coalesce(request, substr(call, 1, length(call) - length(attempt) - 1)) = ?"
    " ORDER BY attempt DESC LIMIT 1"
)
_WRITE_OUTCOME: Final = (
    "INSERT INTO outcomes (call, source, value, weight, at, by, note) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value, weight = excluded.weight, at = excluded.at, by = excluded.by,"
    " note = excluded.note WHERE excluded.at >= at"
)
_WRITE_DECISION: Final = (
    "INSERT OR IGNORE INTO decisions (route, propensity, explored, quality, expected, kind, needs, input, output, most,"
    " ran, cached, basis, reading, candidates, dropped, call)"
    " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, id FROM calls WHERE call = ?"
)
