"""What was spent, summed from the ledger: by key, model, provider, deployment, day, or rented against owned.

The sums come from the table `spend` (migrations.py), which holds one row an hour and route, so a question about a year
reads thousands of rows, not millions. Hence times are cut to the hour, and a day is a day in UTC.

A call without a price is unpriced: it is counted, and it is in no sum of money. The same holds for a call of unknown
outcome, whose worker was killed before it could write what was used.
"""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from msgspec import Struct

By = Literal["key", "model", "provider", "deployment", "day", "kind"]
GROUPS: Final[tuple[str, ...]] = get_args(By)
_HOUR: Final = 3600
_EXPRESSION: Final[dict[str, str]] = {
    "key": "(SELECT name FROM names WHERE id = routes.key)",
    "model": "(SELECT name FROM names WHERE id = routes.model)",
    "provider": "(SELECT name FROM names WHERE id = routes.provider)",
    "deployment": "(SELECT name FROM names WHERE id = routes.deployment)",
    "day": f"date(hour * {_HOUR}, 'unixepoch')",
    "kind": "iif(owned, 'owned', 'rented')",
}
_SUMS: Final = (
    "sum(calls), sum(ok), sum(failed), sum(cancelled), sum(unknown), sum(unpriced), sum(estimated), sum(input),"
    " sum(cached), sum(output), sum(cost), sum(blocked)"
)


class Spend(Struct, kw_only=True):
    """One group of calls. `calls` = ok + failed + cancelled + unknown + blocked; `cached` is part of `input`."""

    name: str
    """Of the group: a key, a model, an ISO date, ...; empty where the intent was lost to damage."""
    calls: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    unknown: int = 0
    blocked: int = 0
    """Answered, and kept from the client by a rule."""
    unpriced: int = 0
    """Calls with a known outcome and no price."""
    estimated: int = 0
    """Calls whose tokens we counted ourselves, because the provider did not tell."""
    input: int = 0
    cached: int = 0
    output: int = 0
    cost: int = 0
    """Nano-dollars of the priced calls."""

    @property
    def priced(self) -> int:
        return self.calls - self.unpriced - self.unknown

    @property
    def dollars(self) -> float | None:
        """None where not one call has a price: that is not the same as free."""
        return self.cost / 1e9 if self.priced else None

    def add(self, other: "Spend") -> None:
        for field in self.__struct_fields__[1:]:
            setattr(self, field, getattr(self, field) + getattr(other, field))


def spend(
    connection: sqlite3.Connection, by: By, since: datetime | None = None, until: datetime | None = None
) -> list[Spend]:
    """Returns the groups with calls from `since` up to but without `until`; days in order, others by cost.

    Both times are cut to the hour; naive ones are UTC.
    """
    order = "1" if by == "day" else "sum(cost) DESC, sum(calls) DESC, 1"
    rows = connection.execute(
        f"SELECT {_EXPRESSION[by]}, {_SUMS} FROM spend JOIN routes ON routes.id = spend.route"  # noqa: S608
        f" WHERE hour >= ? AND hour < ? GROUP BY 1 ORDER BY {order}",
        span(since, until),
    )
    return [_spend(row) for row in rows]


def spent_by_key(connection: sqlite3.Connection, since: Sequence[float]) -> dict[str, tuple[int, ...]]:
    """Returns nano-dollars by key, for each moment of `since` (Unix time in seconds, cut to the hour) up to now.

    Keys that spent nothing since the earliest are left out. Calls of unknown outcome or price are in no sum.
    """
    hours = [int(moment) // _HOUR for moment in since]
    sums = ", ".join("sum(iif(hour >= ?, cost, 0))" for _ in hours)
    rows = connection.execute(
        f"SELECT names.name, {sums} FROM spend JOIN routes ON routes.id = spend.route"  # noqa: S608
        " JOIN names ON names.id = routes.key WHERE hour >= ? GROUP BY routes.key",
        (*hours, min(hours)),
    )
    return {name: tuple(costs) for name, *costs in rows if any(costs)}


def total(groups: list[Spend]) -> Spend:
    """Returns all groups as one, named `total`."""
    summed = Spend(name="total")
    for group in groups:
        summed.add(group)
    return summed


def running(connection: sqlite3.Connection) -> int:
    """Returns how many calls were begun and have not ended yet."""
    found: int = connection.execute("SELECT count(*) FROM open_calls").fetchone()[0]
    return found


def _spend(row: tuple[str, int, int, int, int, int, int, int, int, int, int, int, int]) -> Spend:
    name, calls, ok, failed, cancelled, unknown, unpriced, estimated, tokens_in, cached, output, cost, blocked = row
    return Spend(
        name=name,
        calls=calls,
        ok=ok,
        failed=failed,
        cancelled=cancelled,
        unknown=unknown,
        blocked=blocked,
        unpriced=unpriced,
        estimated=estimated,
        input=tokens_in,
        cached=cached,
        output=output,
        cost=cost,
    )


def span(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Returns the first hour of a period and the one after its last, in hours of Unix time."""
    return (_hour(since) if since else 0, _hour(until) if until else 2**62)


def period(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """As `span`, in nanoseconds that a column can hold."""
    first, end = span(since, until)
    return first * _HOUR * 10**9, min(end * _HOUR * 10**9, 2**62)


def _hour(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) // _HOUR
