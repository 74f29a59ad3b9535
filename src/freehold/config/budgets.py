"""Money per calendar period, as people write it: `$200/month`, `$30/week`, `$5/day`.

Periods are those of the calendar in UTC, since the ledger's days are: a week begins on Monday, ISO 8601.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from msgspec import Struct

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)
_BUDGET = re.compile(r"\$\s*([0-9]{1,12}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(\.[0-9]{1,6})?\s*/\s*(day|week|month)")


class Budget(Struct, frozen=True):
    """US dollars for each period."""

    dollars: float
    period: Period

    def __str__(self) -> str:
        amount = f"{self.dollars:,.2f}".removesuffix(".00")
        return f"${amount}/{self.period}"


def parse_budget(text: str) -> Budget:
    """Raises ValueError for what is no budget."""
    match = _BUDGET.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("expected dollars a day, week or month, such as $200/month")
    whole, fraction, period = match.groups()
    return Budget(float(whole.replace(",", "") + (fraction or "")), cast("Period", period))


def began(period: Period, now: float) -> float:
    """Returns when the period in which `now` lies began, both Unix time in seconds."""
    return _start(period, now).timestamp()


def ends(period: Period, now: float) -> float:
    """Returns when the period in which `now` lies ends and the next begins, both Unix time in seconds."""
    start = _start(period, now)
    if period == "month":
        return (start + timedelta(days=31)).replace(day=1).timestamp()
    return (start + timedelta(days=7 if period == "week" else 1)).timestamp()


def _start(period: Period, now: float) -> datetime:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if period == "week" else day
