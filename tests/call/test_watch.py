"""What is seen of a deployment, and what follows: times, outliers, who stands back."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.breaker import Breaker
from freehold.call.outliers import RECENT, Window, arranged
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.call.watch import ENOUGH, FULL, Times, Watch
from freehold.config.schema import Timeouts
from freehold.decide.catalog import Deployment
from freehold.dialects.traits import PLAIN


def watch(**settings: float | bool) -> Watch:
    return Watch(Breaker(5, 10.0), **settings)  # type: ignore[arg-type]


def fail(one: Watch, now: float, times: int = 1) -> None:
    for _ in range(times):
        one.begin(now)
        one.fail(now, now, crowded=False)


def answer(one: Watch, now: float, times: int = 1, first: float = 0.0) -> None:
    for _ in range(times):
        one.begin(now)
        if first:
            one.streams(first, now)
        one.succeed(now)


# Times


@given(st.lists(st.floats(0.002, 500.0), min_size=ENOUGH, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_is_right_to_a_fifth(seconds: list[float], quantile: float) -> None:
    times = Times()
    for one in seconds:
        times.fresh.append(one)
    found = times.at(quantile)
    exact = sorted(seconds)[math.ceil(quantile * len(seconds)) - 1]
    assert found is not None
    assert exact / 1.0001 <= found <= exact * 1.19


def test_nothing_is_said_of_too_little_and_the_old_fades() -> None:
    times = Times()
    for _ in range(ENOUGH - 1):
        times.fresh.append(1.0)
    assert times.at(0.95) is None
    for _ in range(FULL):
        times.fresh.append(1.0)
    times.settle()
    for _ in range(3 * FULL):
        times.fresh.append(0.1)
        if len(times.fresh) == 64:
            times.settle()
    assert times.total < FULL
    assert 0.1 <= (times.at(0.95) or 0) < 0.13


def test_what_is_absurd_breaks_nothing() -> None:
    times = Times()
    for seconds in [0.0, 1e9, math.inf] * ENOUGH:
        times.fresh.append(seconds)
    assert times.at(0.99) is not None


def test_averages_and_speed() -> None:
    one = watch()
    answer(one, 0.0, 200, first=0.5)
    assert one.first == pytest.approx(0.5)
    one.begin(0.0)
    one.succeed(2.0, 2.0, 100)
    assert (one.whole, one.per_token) == (2.0, 0.0), "what streams say of its speed is better"
    one.begin(2.0)
    one.streams(0.5, 2.5)
    one.succeed(4.5, 0.0, 100, 2.0)
    assert one.per_token == pytest.approx(0.02)


def test_what_is_on_its_way_is_counted_whatever_becomes_of_it() -> None:
    one = watch()
    for _ in range(4):
        one.begin(0.0)
    assert one.inflight == 4
    one.succeed(1.0)
    one.fail(1.0, 0.0, crowded=False)
    one.leave(1.0, 0.0)
    one.leave(1.0, 0.0, crowded=True, well=True)
    assert (one.inflight, one.answered, one.failed, one.begun) == (0, 1, 1, 4)
    assert 0 < one.failing < 1


# Outliers


def test_the_window_forgets_and_counts_successes_at_no_cost() -> None:
    window = Window(30.0)
    assert window.failed(0.0, 100, 1) == (1.0, 1), "counted from the first failure on"
    assert window.failed(1.0, 118, 2) == (2 / 20, 20)
    assert window.failed(100.0, 1000, 3) == (1.0, 1)


@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.booleans()), min_size=1, max_size=300))
def test_the_window_is_never_more_than_a_tenth_too_long_or_short(calls: list[tuple[float, bool]]) -> None:
    window, now, answered, failed = Window(30.0), 0.0, 0, 0
    failures: list[float] = []
    for gap, good in calls:
        now += gap
        if good:
            answered += 1
            continue
        failed += 1
        failures.append(now)
        share, count = window.failed(now, answered, failed)
        bad = round(share * count)
        assert sum(at > now - 27.0 for at in failures) <= bad <= sum(at > now - 30.0 for at in failures)


def test_one_that_fails_every_other_call_stands_back_but_may_be_called() -> None:
    one = watch()
    for call in range(40):
        (fail if call % 2 else answer)(one, call / 10)
    assert not one.breaker.tripped
    assert one.outlier.blocks(4.0) > 0
    assert "fails too often" in (one.ejected(4.0) or "")
    assert one.ejected(4.0 + 10.0) is None


def test_few_calls_say_nothing() -> None:
    one = watch(volume=20)
    for call in range(18):
        (fail if call % 2 else answer)(one, call / 10)
    assert not one.outlier.tripped


def test_nine_of_ten_is_dead_also_for_a_group_of_one() -> None:
    one = watch()
    for call in range(60):
        (answer if call % 20 == 3 else fail)(one, call / 10)
        if one.breaker.tripped:
            break
    assert one.breaker.tripped
    one = Watch(Breaker(100_000, 10.0))
    fail(one, 0.0, 1000)
    assert not one.breaker.tripped, "a breaker that is turned off stays so"


def test_a_trial_decides_and_success_of_older_calls_does_not() -> None:
    one = watch()
    for call in range(40):
        (fail if call % 2 else answer)(one, call / 10)
    answer(one, 5.0)
    assert one.outlier.blocks(5.0), "it was under way already, or a fallback"
    answer(one, 4.0 + 10.0)
    assert not one.outlier.tripped
    fail(one, 15.0, 1)
    assert not one.outlier.tripped or one.outlier.blocks(15.0) > 10, "a repeat takes longer"


def test_a_failed_trial_takes_longer() -> None:
    one = watch()
    for call in range(40):
        (fail if call % 2 else answer)(one, call / 10)
    fail(one, 100.0)
    assert one.outlier.blocks(100.0) >= 10.0


def test_calls_while_it_stands_back_do_not_put_off_its_trial() -> None:
    one = watch()
    for call in range(40):
        (fail if call % 2 else answer)(one, call / 10)
    until = 4.0 + one.outlier.blocks(4.0)
    for step in range(1, 10):
        answer(one, until - step / 10)
    assert one.outlier.blocks(until) == 0.0


def test_one_that_has_become_slow_stands_back() -> None:
    one = watch()
    chance = random.Random(5)
    for call in range(300):
        answer(one, call / 10, first=0.3 + 0.2 * chance.random())
    assert not one.outlier.tripped
    for call in range(300, 340):
        answer(one, call / 10, first=6.0)
    assert one.outlier.tripped
    assert one.ejected(34.0) is not None


def test_a_slow_model_is_no_outlier_and_neither_are_milliseconds() -> None:
    slow, quick = watch(), watch()
    for call in range(400):
        answer(slow, call / 10, first=9.0 + call % 5)
        answer(quick, call / 10, first=0.002 if call < 300 else 0.02)
    assert not slow.outlier.tripped
    assert not quick.outlier.tripped


# Groups


def target(name: str, *, back: bool) -> Target:
    one = watch()
    if back:
        one.outlier.trip(0.0)
    pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1)
    return Target(Deployment(name, "p", name, "chat"), Address(pool, {}, []), PLAIN, Timeouts(), one)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_outliers_come_last_and_nobody_is_lost(group: list[bool]) -> None:
    targets = [target(str(number), back=back) for number, back in enumerate(group)]
    order = arranged(targets, 1.0)
    assert sorted(one.name for one in order) == sorted(one.name for one in targets)
    if sum(group) > len(group) / 2:
        assert order is targets, "then it is not they who differ"
    else:
        assert [one.watch.outlier.tripped for one in order] == sorted(group)
    assert list(arranged(targets, 10.0)) == targets, "each has its trial in its own place"
    assert RECENT > 0
