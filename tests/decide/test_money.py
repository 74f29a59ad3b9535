"""Money at the moment of choice: the worst case, amounts in words, and when a lack of it is the only reason."""

from datetime import UTC, datetime

import pytest

from freehold.classify import Facts
from freehold.config.budgets import Budget
from freehold.decide import Deployment, Drop
from freehold.decide.money import at_most, charged, in_dollars, quota_spent, short_of_money, unaffordable
from freehold.dialects import chat
from freehold.dialects.conversation import Usage

FACTS = Facts("m", frozenset(), 2000, 500)


def deployment(
    into: float | None, out: float | None, cached: float | None = None, *, owned: bool = False
) -> Deployment:
    return Deployment("p/m", "p", "m", "chat", owned=owned, input_price=into, output_price=out, cached_price=cached)


def test_the_longest_allowed_answer_counts() -> None:
    assert at_most(deployment(1.0, 4.0), FACTS) == pytest.approx(0.004)
    assert at_most(deployment(1.0, None), FACTS) is None
    assert at_most(deployment(None, 4.0), FACTS) is None
    assert at_most(deployment(1.0, None), Facts("m", frozenset(), 2000, 0, kind="embeddings")) == pytest.approx(0.002)


def test_what_a_call_cost_with_its_cache() -> None:
    usage = Usage(uncached=1000, cache_read=10_000, cache_write_5m=200, cache_write_1h=300, output=100)
    assert charged(deployment(2.0, 10.0, 0.2), usage) == pytest.approx((1500 * 2 + 10_000 * 0.2 + 100 * 10) / 1e6)
    assert charged(deployment(2.0, 10.0), usage) == pytest.approx((11_500 * 2 + 100 * 10) / 1e6)
    assert charged(deployment(None, None), usage) == 0.0


def test_an_unpriced_rented_model_is_none_for_a_budget() -> None:
    denial = unaffordable(deployment(None, None), FACTS, 100.0)
    assert denial is not None
    assert denial[1:] == (True, "price_unknown")
    assert unaffordable(deployment(None, None, owned=True), FACTS, 0.0) is None


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(12.4, "$12.40"), (1234.5, "$1,234.50"), (0.0031, "$0.0031"), (0.25, "$0.25"), (0.00001234, "$0.000012")],
)
def test_amounts(dollars: float, text: str) -> None:
    assert in_dollars(dollars) == text


MONEY, UNFIT = Drop("a", "spent", code="budget"), Drop("b", "cannot do tools")
RESTS, UNKNOWN = Drop("c", "resting 5 s", lasting=False), Drop("d", "not known", lasting=False, code="spending_unknown")


@pytest.mark.parametrize(
    ("dropped", "only"),
    [
        ([MONEY], True),
        ([UNFIT, MONEY], True),
        ([UNFIT], False),
        ([MONEY, RESTS], False),
        ([UNKNOWN], False),
        ([], False),
    ],
)
def test_money_is_the_only_reason_where_somebody_could_answer_for_it(dropped: list[Drop], only: bool) -> None:
    assert short_of_money(dropped) is only


def test_the_error_is_openais_insufficient_quota() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
    error = quota_spent("auto", "openai/gpt-5: the key's budget is spent", Budget(200.0, "month"), now)
    assert (error.status, error.code, error.retry) == (429, "insufficient_quota", "no")
    assert "$200/month" in error.message
    assert "openai/gpt-5" in error.message
    assert "2026-12-01" in (error.hint or "")
    assert b'"insufficient_quota"' in chat.write_error(error, "r1")
