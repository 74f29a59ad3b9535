"""Budgets: what is left of them, whoever publishes what when, and never more than there is."""

import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.admit.budget import STALE, Budgets, Spent
from freehold.admit.keys import Principal
from freehold.config.budgets import PERIODS, Budget, Period, began

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
"""A Wednesday."""


def key(dollars: float = 10.0, period: Period = "day", name: str = "bot") -> Principal:
    return Principal(name, budget=Budget(dollars, period))


def published(at: float, **keys: tuple[float, float, float]) -> Spent:
    """What the steward leaves at `at`: dollars of day, week and month by key."""
    nano = {
        name: (round(day * 1e9), round(week * 1e9), round(month * 1e9)) for name, (day, week, month) in keys.items()
    }
    spent = Spent(at, {period: began(period, at) for period in PERIODS}, nano)
    return msgspec.json.decode(msgspec.json.encode(spent), type=Spent)


def budgets(at: float = NOW, **keys: tuple[float, float, float]) -> Budgets:
    found = Budgets()
    found.update(published(at, **keys))
    return found


def left(ledger: Budgets, principal: Principal, now: float = NOW) -> float:
    found = ledger.left(principal, now)
    assert found is not None
    return found


def test_a_key_without_a_budget_is_never_counted() -> None:
    ledger = Budgets()
    assert ledger.left(Principal("free"), NOW) is None
    assert ledger.hold(Principal("free"), 5.0) is None


@pytest.mark.parametrize(("period", "rest"), [("day", 9.0), ("week", 7.0), ("month", 4.0)])
def test_the_ledger_counts_for_the_budgets_own_period(period: Period, rest: float) -> None:
    ledger = budgets(bot=(1.0, 3.0, 6.0), other=(10.0, 10.0, 10.0))
    assert left(ledger, key(period=period)) == rest


def test_who_has_spent_nothing_has_all() -> None:
    assert left(budgets(other=(1.0, 1.0, 1.0)), key()) == 10.0


def test_nobody_knows_before_anything_is_published() -> None:
    assert math.isnan(left(Budgets(), key()))


@pytest.mark.parametrize("age", [STALE, STALE + 1, 86_400.0, -STALE, -1e9])
def test_nobody_knows_once_it_is_stale_or_from_another_clock(age: float) -> None:
    assert math.isnan(left(budgets(NOW - age), key()))
    assert not math.isnan(left(budgets(NOW - STALE / 2), key()))


def test_what_is_on_its_way_counts_in_full_until_it_is_settled() -> None:
    ledger = budgets(bot=(1.0, 1.0, 1.0))
    first, second = ledger.hold(key(), 2.0), ledger.hold(key(), 3.0)
    assert first is not None
    assert second is not None
    assert left(ledger, key()) == 4.0
    first.settle(0.5, NOW + 1)
    assert left(ledger, key()) == 5.5
    first.settle(9.0, NOW + 1)
    assert left(ledger, key()) == 5.5
    second.settle(0.0, NOW + 1)
    assert left(ledger, key()) == 8.5


def test_a_settlement_counts_until_the_ledger_has_it_and_then_once() -> None:
    ledger = budgets()
    hold = ledger.hold(key(), 2.0)
    assert hold is not None
    hold.settle(1.5, NOW + 1)
    ledger.update(published(NOW + 0.5))
    assert left(ledger, key()) == 8.5
    ledger.update(published(NOW + 1))  # the same moment: it may or may not be in there, so it counts
    assert left(ledger, key()) == 8.5
    ledger.update(published(NOW + 2, bot=(1.4, 1.4, 1.4)))
    assert left(ledger, key()) == 8.6


def test_a_budget_may_be_overdrawn_and_says_so() -> None:
    ledger = budgets(bot=(9.0, 9.0, 9.0))
    hold = ledger.hold(key(), 0.5)
    assert hold is not None
    hold.settle(2.0, NOW)
    assert left(ledger, key()) == -1.0


def test_a_new_period_begins_with_what_is_on_its_way() -> None:
    midnight = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
    ledger = budgets(midnight - 1, bot=(9.0, 9.0, 9.0))
    hold = ledger.hold(key(), 2.0)
    assert hold is not None
    assert left(ledger, key(), midnight - 0.5) == -1.0
    assert left(ledger, key(), midnight) == 8.0
    assert left(ledger, key(period="week"), midnight) == -1.0
    ledger.update(published(midnight + 1, bot=(0.25, 9.25, 9.25)))
    assert left(ledger, key(), midnight + 1) == 7.75


def test_holds_outlive_a_publication_and_keys_do_not_mix() -> None:
    ledger = budgets()
    hold = ledger.hold(key(name="a"), 4.0)
    assert hold is not None
    ledger.update(published(NOW + 1))
    assert left(ledger, key(name="a"), NOW + 1) == 6.0
    assert left(ledger, key(name="b"), NOW + 1) == 10.0


calls = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 3), st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=60
)


@given(calls, st.floats(0.3, 7))
def test_spending_is_never_forgotten(calls: list[tuple[float, float, float, float]], every: float) -> None:
    """Calls begin, take a while and cost something. Whenever anybody asks, what is said to be left is at most what is
    left in truth; and when all is published, it is that."""
    ledger = budgets()
    events: list[tuple[float, int, str]] = []
    for number, (start, lasts, _, _) in enumerate(calls):
        events += [(NOW + start, number, "begin"), (NOW + start + lasts, number, "end")]
    last = max(when for when, _, _ in events)
    ticks = int((last - NOW) / every) + 2
    events += [(NOW + tick * every, -1, "publish") for tick in range(ticks + 1)]
    paid: list[tuple[float, float]] = []
    holds = {}
    budget = key(1000.0)
    for when, number, what in sorted(events):
        if what == "publish":
            # The steward read what was written before it began to.
            total = sum(cost for at, cost in paid if at < when)
            ledger.update(published(when, bot=(total, total, total)))
        elif what == "begin":
            holds[number] = ledger.hold(budget, calls[number][2])
        else:
            hold = holds[number]
            assert hold is not None
            paid.append((when, calls[number][3]))
            hold.settle(calls[number][3], when)
        truth = 1000.0 - sum(cost for _, cost in paid)
        assert left(ledger, budget, when) <= truth + 1e-6
    assert left(ledger, budget, when) == pytest.approx(1000.0 - sum(cost for _, cost in paid), abs=1e-6)
