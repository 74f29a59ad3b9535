"""From an intent and its settlement to a row of `calls`, priced.

One odd entry must not stop the ledger. Figures that no call can have (a provider may say anything) are cut to `MOST`
and the call is left unpriced; a call id that was seen before is kept as `id@2`.
"""

import sqlite3
from typing import Final

import msgspec

from freehold.record.entries import Intent, Settlement
from freehold.record.prices import Pricer
from freehold.record.store import OUTCOMES, Store

MOST: Final = 2**33 - 1
"""Tokens of one class in one call; more is a lie. All bits set, so that one comparison tests all classes."""
MOST_COST: Final = 10**16
"""Nano-dollars of one call, ten million dollars; a call over it stays unpriced."""
_INTEGER_MAX: Final = 2**63 - 1
_OUTCOME: Final = {name: number for number, name in enumerate(OUTCOMES)}
_FAILED: Final = _OUTCOME["failed"]

Row = tuple[int | str | None, ...]


class Rows:
    """Makes rows. `pricer` may be replaced at any time."""

    def __init__(self, store: Store, pricer: Pricer) -> None:
        self.pricer = pricer
        self._store = store

    def write(self, connection: sqlite3.Connection, pairs: list[tuple[Intent, Settlement]]) -> None:
        """Writes finished calls and adds them to the sums, inside a transaction."""
        last = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0]
        _insert(connection, [self._row(intent, end) for intent, end in pairs])
        connection.execute(_ADD_SPEND, (last,))

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
            names[i.label] if i.label else None,
            names[i.found] if i.found else None,
            names[s.found] if s.found else None,
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
            rates = self.pricer.owned(i.provider, i.model)
            if rates is None:
                return None, 0
        else:
            rates = self.pricer.rates(i.provider, i.model, s.served, i.at)
            if rates is None:
                return None, 0 if s.cached else None
        cost = self.pricer.cost(s, rates)
        if cost is None or cost > MOST_COST:
            return None, 0 if s.cached else None
        return self._store.prices[rates], 0 if s.cached else cost


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


_INSERT_CALL: Final = (
    "INSERT INTO calls (call, request, at, route, attempt, stream, held, reason, config, outcome, status, uncached,"
    " cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, estimated, first_us,"
    " total_us, upstream_id, served, error, price, cost, lost, label, found, found_back)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_ADD_SPEND: Final = (
    "INSERT INTO spend (hour, route, calls, ok, failed, cancelled, unknown, unpriced, estimated, input, cached, output,"
    " cost, blocked) SELECT at / 3600000000000, route, count(*), sum(outcome = 0), sum(outcome = 1), sum(outcome = 2),"
    " sum(outcome = 3), sum(cost IS NULL AND outcome != 3), sum(estimated),"
    " sum(uncached + cache_read + cache_write_5m + cache_write_1h), sum(cache_read), sum(output),"
    " coalesce(sum(cost), 0), sum(outcome = 4) FROM calls WHERE id > ? GROUP BY 1, 2"
    " ON CONFLICT (hour, route) DO UPDATE SET calls = calls + excluded.calls, ok = ok + excluded.ok,"
    " failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled,"
    " unknown = unknown + excluded.unknown, unpriced = unpriced + excluded.unpriced,"
    " estimated = estimated + excluded.estimated, input = input + excluded.input, cached = cached + excluded.cached,"
    " output = output + excluded.output, cost = cost + excluded.cost, blocked = blocked + excluded.blocked"
)
