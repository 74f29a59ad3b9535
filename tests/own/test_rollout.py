import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.schema import Canary
from freehold.errors import Forbidden
from freehold.own.rollout import (
    PATIENCE,
    Share,
    Tally,
    check_shadow,
    decide,
    lower,
    median_bounds,
    picks,
    upper,
)

CANARY = Canary("v4")


def tally(requests: int, failed: int = 0, seconds: float = 1.0, spread: float = 0.2, seed: int = 1) -> Tally:
    rng = random.Random(seed)
    times = [seconds * rng.uniform(1 - spread, 1 + spread) for _ in range(min(1000, requests - failed))]
    return Tally(requests, failed, times)


def test_a_flawless_canary_is_promoted_at_its_number_of_requests() -> None:
    assert decide(CANARY, tally(3800, 4), tally(199)).action == "wait"
    decision = decide(CANARY, tally(3800, 4), tally(200, seed=2))
    assert decision.action == "promote"
    assert decision.why == "0 of 200 requests failed; up to 1.5 % cannot be excluded after so few"


def test_a_broken_canary_is_taken_back_at_once() -> None:
    assert decide(CANARY, tally(400), tally(1, 1)).action == "wait", "one failure is chance"
    assert decide(CANARY, tally(400), tally(3, 3)).action == "roll back"


def test_a_worse_canary_is_taken_back() -> None:
    decision = decide(CANARY, tally(3800, 4), tally(200, 14))
    assert decision.action == "roll back"
    assert decision.why == "failed: 14 of 200, the present version 4 of 3800"


def test_as_bad_as_the_present_one_is_good_enough() -> None:
    """An engine that fails 5 % of its requests must not be held against its successor."""
    assert decide(CANARY, tally(40_000, 2000), tally(2000, 95, seed=2)).action == "promote"


def test_doubt_waits_and_in_the_end_counts_against_it() -> None:
    # 3 of 200: more than allowed, and quite possibly by chance
    assert decide(CANARY, tally(3800, 4), tally(200, 3)).action == "wait"
    assert decide(CANARY, tally(3800, 4), tally(600, 3)).action == "promote", "it was chance"
    last = PATIENCE * CANARY.requests
    doubtful = decide(CANARY, tally(90_000, 90), tally(last, int(last * 0.0115)))
    assert doubtful.action == "roll back"
    assert "in doubt" in doubtful.why


def test_a_slow_canary_is_taken_back() -> None:
    decision = decide(CANARY, tally(3800, seconds=1.0), tally(60, seconds=2.0))
    assert decision.action == "roll back"
    assert "median time: 1.97 s" in decision.why


def test_a_little_slower_is_allowed() -> None:
    assert decide(CANARY, tally(3800, seconds=1.0), tally(200, seconds=1.3)).action == "promote"


def test_few_answers_say_nothing_of_speed() -> None:
    assert decide(CANARY, tally(3800, seconds=1.0), tally(10, seconds=9.0)).action == "wait"


def test_quality_signals_count_like_failures() -> None:
    before, after = tally(3800), tally(200, seed=2)
    before.signals["schema"] = (3, 1900)
    after.signals["schema"] = (30, 100)
    decision = decide(CANARY, before, after)
    assert decision.action == "roll back"
    assert decision.why.startswith("schema: 30 of 100")


def test_all_requests_to_the_canary_leave_its_own_record_only() -> None:
    everything = Canary("v4", percent=100, requests=50)
    assert decide(everything, Tally(), tally(50)).action == "promote"
    assert decide(everything, Tally(), tally(50, 8)).action == "roll back"


@pytest.mark.parametrize(("rate", "margin", "most"), [(0.01, 0.01, 0.02), (0.05, 0.02, 0.02)])
def test_an_equal_canary_is_seldom_taken_back(rate: float, margin: float, most: float) -> None:
    """Looked at again and again."""
    rng = random.Random(5)
    taken_back = 0
    for _ in range(100):
        canary = Canary("v4", requests=200, errors=margin)
        present, tried = Tally(), Tally()
        while True:
            for version, requests in ((present, 19), (tried, 1)):
                version.requests += requests
                version.failed += sum(rng.random() < rate for _ in range(requests))
            if tried.requests % 20:
                continue
            action = decide(canary, present, tried).action
            if action != "wait":
                taken_back += action == "roll back"
                break
    assert taken_back <= 100 * most


def test_a_much_worse_canary_is_seldom_promoted() -> None:
    rng = random.Random(6)
    promoted = 0
    for _ in range(100):
        present, tried = Tally(3800, 4), Tally()
        while True:
            tried.requests += 10
            tried.failed += sum(rng.random() < 0.05 for _ in range(10))
            action = decide(CANARY, present, tried).action
            if action != "wait":
                promoted += action == "promote"
                break
    assert promoted <= 3


# bounds


@pytest.mark.parametrize(
    ("bad", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (3, 200, 0.0031, 0.0432),
    ],
)
def test_clopper_and_pearson(bad: int, of: int, low: float, high: float) -> None:
    """Values of R's binom.test at 95 %, two-sided."""
    assert lower(bad, of, 0.025) == pytest.approx(low, abs=1e-4)
    assert upper(bad, of, 0.025) == pytest.approx(high, abs=1e-4)


@given(st.integers(0, 3000), st.integers(1, 3000), st.sampled_from([0.001, 0.05, 0.2]))
def test_bounds_enclose_the_share(bad: int, of: int, risk: float) -> None:
    bad = min(bad, of)
    low, high = lower(bad, of, risk), upper(bad, of, risk)
    assert 0.0 <= low <= bad / of + 1e-9
    assert bad / of - 1e-9 <= high <= 1.0
    assert upper(bad, 2 * of, risk) <= high + 1e-9, "more that went well never raises it"


def test_bounds_of_large_counts_are_quick_and_narrow() -> None:
    assert upper(1000, 1_000_000, 0.05) == pytest.approx(0.001, abs=1e-4)
    assert lower(1000, 1_000_000, 0.05) == pytest.approx(0.001, abs=1e-4)


def test_median_bounds() -> None:
    assert median_bounds([1.0, 2.0, 3.0], 0.05) == (-math.inf, math.inf)
    values = [float(value) for value in range(1, 21)]
    assert median_bounds(values, 0.025) == (6.0, 15.0)


@given(st.lists(st.floats(0.001, 100), min_size=5, max_size=300), st.sampled_from([0.001, 0.2]))
def test_median_bounds_enclose_the_median(values: list[float], risk: float) -> None:
    ordered = sorted(values)
    low, high = median_bounds(ordered, risk)
    assert low <= ordered[len(ordered) // 2] <= high


# picking


def test_the_share_is_what_is_asked_for() -> None:
    rng = random.Random(3)
    share = Share("v4", 5.0)
    picked = sum(picks(share, "m", None, rng.random()) for _ in range(20_000))
    assert picked == pytest.approx(1000, abs=150)
    sticky = sum(picks(share, "m", b"conversation %d" % index, 0.0) for index in range(20_000))
    assert sticky == pytest.approx(1000, abs=150)


@given(st.binary(max_size=50), st.floats(0, 0.999), st.floats(0.1, 100))
def test_a_conversation_stays_where_it_is(conversation: bytes, chance: float, percent: float) -> None:
    picked = picks(Share("v4", percent), "m", conversation, 0.5)
    assert picks(Share("v4", percent), "m", conversation, chance) == picked
    if picked:
        assert picks(Share("v4", min(100.0, percent * 2)), "m", conversation, chance), "a larger share keeps it"


def test_all_and_none() -> None:
    assert picks(Share("v4", 100.0), "m", None, 0.999999)
    assert picks(Share("v4", 100.0), "m", b"x", 0.0)
    assert not picks(Share("v4", 0.0), "m", None, 0.0)


# copies


@pytest.mark.parametrize("name", ["openai/gpt-5.4", "local/x", "auto", "owned/x"])
def test_copies_go_to_owned_models_only(name: str) -> None:
    check_shadow("own/qwen3-8b")
    with pytest.raises(Forbidden, match="not a model that runs on this host"):
        check_shadow(name)
