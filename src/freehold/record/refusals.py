"""Requests that a check or a label refused: into the ledger, and read back.

For these nobody was called and nothing was paid, so they stand in a table of their own and in no sum of `calls`. A
client may send what is refused as fast as it likes, before any limit of its key holds, so only the newest `MOST` are
kept, about 150 MB. Ids have no holes, and none is given twice: the first that is left says how many are gone.
"""

import sqlite3
from collections import Counter
from typing import Final

from msgspec import Struct

from freehold.record.entries import Refused
from freehold.record.findings import counted, parts
from freehold.record.store import Store

MOST: Final = 1_000_000
_INTEGER: Final = 2**63 - 1


class Refusal(Struct, frozen=True):
    """One of them. `at` is UTC in words; `found` is what was found in it and what was done about it."""

    at: str
    key: str
    asked: str
    dialect: str
    status: int
    code: str
    found: tuple[str, ...]
    label: str


class Refusals(Struct):
    """How many there were in a time; `codes` by what the client was told, `found` by `type=action`, where a request
    with several findings counts for each. Most frequent first."""

    requests: int
    codes: dict[str, int]
    found: dict[str, int]
    forgotten: int = 0
    """Earlier ones that are not kept any more, whatever the time."""


def write(store: Store, connection: sqlite3.Connection, refused: list[Refused], most: int = MOST) -> None:
    """Adds rows, inside a transaction, and forgets the oldest beyond `most`. Integers that no column holds are cut."""
    names = store.names
    connection.executemany(
        "INSERT INTO refusals (request, at, key, asked, dialect, status, code, found, label, config)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (
                one.request,
                _cut(one.at),
                names[one.key],
                names[one.asked],
                names[one.dialect],
                _cut(one.status),
                names[one.code],
                names[one.found] if one.found else None,
                names[one.label] if one.label else None,
                names[one.config],
            )
            for one in refused
        ],
    )
    connection.execute("DELETE FROM refusals WHERE id <= (SELECT max(id) FROM refusals) - ?", (most,))


def refusal(connection: sqlite3.Connection, request: str) -> Refusal | None:
    """Returns how a request was refused, by its id; None where it was not, or is not in the ledger (yet)."""
    row = connection.execute(
        "SELECT at, key, asked, dialect, status, code, found, label FROM refused WHERE request = ?", (request,)
    ).fetchone()
    if row is None:
        return None
    at, key, asked, dialect, status, code, found, label = row
    return Refusal(at, key, asked, dialect, status, code, parts(found), label or "")


def refusals(connection: sqlite3.Connection, since: int | None = None, until: int | None = None) -> Refusals:
    """Counts those from `since` up to but without `until`, Unix nanoseconds; None: without such an end."""
    rows = connection.execute(_COUNTED, (since or 0, _INTEGER if until is None else until)).fetchall()
    codes = Counter[str]()
    for code, _, requests in rows:
        codes[code] += requests
    kinds = counted((found, requests) for _, found, requests in rows)
    forgotten: int = connection.execute("SELECT coalesce(min(id), 1) - 1 FROM refusals").fetchone()[0]
    return Refusals(codes.total(), dict(codes.most_common()), kinds, forgotten)


def _cut(value: int) -> int:
    return max(-_INTEGER, min(value, _INTEGER))


_COUNTED: Final = (
    "SELECT codes.name, finds.name, count(*) FROM refusals JOIN names AS codes ON codes.id = refusals.code"
    " LEFT JOIN names AS finds ON finds.id = refusals.found WHERE at >= ? AND at < ? GROUP BY 1, 2"
)
