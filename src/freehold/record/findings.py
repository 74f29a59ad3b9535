"""What was found in requests and answers, counted over a period: types and what was done about them, never the things.

A call with several findings counts for each. Calls in which nothing was found are not read: an index holds the others.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from freehold.record.usage import period

_QUERY: Final = (
    "SELECT finds.name, backs.name, count(*) FROM calls LEFT JOIN names AS finds ON finds.id = calls.found"
    " LEFT JOIN names AS backs ON backs.id = calls.found_back"
    " WHERE coalesce(found, found_back) IS NOT NULL AND at >= ? AND at < ? GROUP BY 1, 2"
)


class Found(Struct):
    """Calls by `type=action`, most frequent first."""

    requests: dict[str, int]
    answers: dict[str, int]


def found(connection: sqlite3.Connection, since: datetime | None = None, until: datetime | None = None) -> Found:
    """Returns what was found from `since` up to but without `until`, both cut to the hour as in `usage.spend`."""
    rows = connection.execute(_QUERY, period(since, until)).fetchall()
    return Found(
        counted((asked, calls) for asked, _, calls in rows), counted((answered, calls) for _, answered, calls in rows)
    )


def parts(found: str | None) -> tuple[str, ...]:
    """Returns the findings of a text such as the ledger keeps: `email=allow,secret=label`."""
    return tuple(found.split(",")) if found else ()


def counted(rows: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    """Returns how many have each finding, most frequent first, of such texts and how many have each."""
    sums = Counter[str]()
    for found, number in rows:
        for one in parts(found):
            sums[one] += number
    return dict(sums.most_common())
