"""Budgets in words, and the calendar periods they are for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.budgets import PERIODS, Budget, Period, began, ends, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("$200/month", Budget(200.0, "month")),
        ("$5/day", Budget(5.0, "day")),
        (" $1,234,567.50 / Week ", Budget(1234567.5, "week")),
        ("$0/day", Budget(0.0, "day")),
        ("$0.25/day", Budget(0.25, "day")),
    ],
)
def test_budgets(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    "text", ["", "200/month", "$200", "$/day", "$-1/day", "$1e9/day", "$12,34/day", "$1/year", "$nan/day"]
)
def test_not_budgets(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as \$200/month"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [("day", "2026-12-31", "2027-01-01"), ("week", "2026-12-28", "2027-01-04"), ("month", "2026-12-01", "2027-01-01")],
)
def test_periods_of_a_moment(period: Period, first: str, last: str) -> None:
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(began(period, now), UTC).isoformat() == f"{first}T00:00:00+00:00"
    assert datetime.fromtimestamp(ends(period, now), UTC).isoformat() == f"{last}T00:00:00+00:00"


@given(st.floats(0, 4e9), st.sampled_from(PERIODS))
def test_periods_follow_one_another_without_a_gap(now: float, period: Period) -> None:
    start, end = began(period, now), ends(period, now)
    assert start <= now < end
    assert began(period, end) == end
    assert timedelta(days=1) <= timedelta(seconds=end - start) <= timedelta(days=31)
    assert start % 3600 == 0
