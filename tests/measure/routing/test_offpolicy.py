"""Estimates from a log: right on average whatever wrote it, and refused where the log cannot know."""

import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.measure.routing.offpolicy import GROUPS, LEAST_ESS, Trial, bootstrap, judge

ACTIONS = ("a", "b", "c")
Truth = Callable[[float, str], float]


def truth(context: float, action: str) -> float:
    """The probability that an answer is right."""
    return {"a": 0.9 - 0.5 * context, "b": 0.6, "c": 0.2 + 0.7 * context}[action]


def target(context: float) -> str:
    return "c" if context > 0.5 else "b"


def logged(source: random.Random, count: int, model: Truth) -> list[Trial]:
    """What a policy wrote that prefers `a`, and tries the others now and then."""
    trials = []
    for _ in range(count):
        context = source.random()
        odds = {"a": 0.7, "b": 0.2 - 0.1 * context, "c": 0.1 + 0.1 * context}
        action = source.choices(ACTIONS, [odds[one] for one in ACTIONS])[0]
        reward = float(source.random() < truth(context, action))
        wanted = target(context)
        trials.append(
            Trial(reward, odds[action], action == wanted, True, model(context, action), model(context, wanted))
        )
    return trials


VALUE = (0.6 * 0.5) + 0.5 * (0.2 + 0.7 * 0.75)
"""What the target earns: b for the lower half of the contexts, c for the upper."""


@pytest.mark.parametrize(
    ("model", "name"), [(truth, "good"), (lambda _c, _a: 0.5, "ignorant"), (lambda _c, _a: 1, "wrong")]
)
def test_ips_and_doubly_robust_are_unbiased_whatever_the_model(model: Truth, name: str) -> None:
    source = random.Random(11)
    runs = [judge(logged(source, 400, model), resamples=0) for _ in range(150)]
    for estimate in ("ips", "doubly_robust"):
        values = [getattr(run, estimate).value for run in runs]
        error = statistics.stdev(values) / math.sqrt(len(values))
        assert abs(statistics.fmean(values) - VALUE) < 4 * error, (estimate, name)
    snips = [run.snips.value for run in runs if run.snips is not None]
    assert abs(statistics.fmean(snips) - VALUE) < 0.02
    assert statistics.stdev(snips) < statistics.stdev([run.ips.value for run in runs if run.ips is not None])


def test_a_good_model_calms_the_doubly_robust_estimate() -> None:
    source = random.Random(5)
    runs = [judge(logged(source, 400, truth), resamples=0) for _ in range(100)]
    robust = statistics.stdev([run.doubly_robust.value for run in runs if run.doubly_robust is not None])
    ips = statistics.stdev([run.ips.value for run in runs if run.ips is not None])
    assert robust < ips


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    source = random.Random(3)
    covered = 0
    for seed in range(60):
        robust = judge(logged(source, 500, truth), seed=seed, resamples=200).doubly_robust
        assert robust is not None
        covered += robust.low <= VALUE <= robust.high
    assert covered >= 52


def test_a_log_without_chance_says_nothing_of_what_it_never_did() -> None:
    same = [Trial(1.0, 1.0, True, True, 0.5, 0.5)] * 90
    judged = judge([*same, *[Trial(0.0, 1.0, False, False, 0.5, 0.5)] * 10])
    assert judged.ips is None
    assert judged.snips is None
    assert judged.doubly_robust is None
    assert judged.unsupported == 0.1
    assert "10 %" in (judged.refused or "")


def test_the_policy_that_wrote_the_log_earns_what_the_log_says() -> None:
    judged = judge([Trial(float(i % 4 == 0), 1.0, True, True, 0.3, 0.3) for i in range(100)])
    assert judged.ips is not None
    assert judged.snips is not None
    assert judged.ips.value == judged.snips.value == 0.25
    assert judged.effective == 100
    assert judged.ips.low < 0.25 < judged.ips.high


def test_too_few_say_nothing() -> None:
    assert judge([]).refused == "no request of these has been rated"
    few = [Trial(1.0, 1.0, True, True, 0.5, 0.5)] * (int(LEAST_ESS) - 1)
    assert judge(few).ips is None
    assert judge([*few, few[0]]).ips is not None


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.5, math.nan])
def test_a_propensity_is_a_probability(propensity: float) -> None:
    with pytest.raises(ValueError, match="propensity"):
        judge([Trial(1.0, propensity, True, True, 0.5, 0.5)])


@settings(max_examples=30)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=50), seed=st.integers(0, 1000))
def test_intervals_hold_their_value_and_repeat(values: list[float], seed: int) -> None:
    rows = [(1.0, value) for value in values]
    (mean,) = bootstrap(rows, lambda sums: (sums[1] / sums[0],), seed=seed, resamples=50)
    assert math.isclose(mean.value, math.fsum(values) / len(values), abs_tol=1e-9)
    assert min(values) - 1e-9 <= mean.low <= mean.high <= max(values) + 1e-9
    assert bootstrap(rows, lambda sums: (sums[1] / sums[0],), seed=seed, resamples=50) == [mean]


def test_groups_say_what_single_rows_do() -> None:
    source = random.Random(2)
    values = [source.gauss(3, 2) for _ in range(20 * GROUPS)]
    (mean,) = bootstrap([(1.0, value) for value in values], lambda sums: (sums[1] / sums[0],))
    half = 1.96 * 2 / math.sqrt(len(values))
    assert math.isclose(mean.high - mean.low, 2 * half, rel_tol=0.15)
