"""The quality floor: the bound against known values, the guarantee by simulation, and what breaks it."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.decide import floor
from freehold.errors import ConfigError


def binomial(k: int, n: int, p: float) -> float:
    """P(X <= k), term by term."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(
    ("failed", "of", "upper"),
    # One-sided 95 %; 0 failures have the closed form 1 - 0.05 ** (1 / n), the others stand in tables of the bound.
    [(0, 10, 0.25887), (1, 10, 0.39416), (0, 59, 0.04951), (5, 100, 0.10225), (0, 299, 0.00997), (10, 10, 1.0)],
)
def test_known_bounds(failed: int, of: int, upper: float) -> None:
    assert floor.upper(failed, of, 0.05) == pytest.approx(upper, abs=2e-5)


@given(st.integers(1, 120), st.data(), st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_at_the_bound_so_few_failures_have_chance_delta(of: int, data: st.DataObject, delta: float) -> None:
    failed = data.draw(st.integers(0, of - 1))
    assert binomial(failed, of, floor.upper(failed, of, delta)) == pytest.approx(delta, rel=1e-6)
    if failed:
        low = floor.lower(failed, of, delta)
        assert 1 - binomial(failed - 1, of, low) == pytest.approx(delta, rel=1e-6)
        assert low < failed / of < floor.upper(failed, of, delta)


@given(st.integers(1, 400), st.data(), st.floats(0.005, 0.4), st.sampled_from([0.01, 0.05, 0.1]))
def test_shown_is_the_bound_in_one_step(of: int, data: st.DataObject, alpha: float, delta: float) -> None:
    failed = data.draw(st.integers(0, of))
    bound = floor.upper(failed, of, delta)
    if abs(bound - alpha) > 1e-9:
        assert floor.shown(failed, of, alpha, delta) == (bound <= alpha)


@given(st.floats(0.005, 0.5), st.floats(0.001, 0.3))
def test_least_is_the_least(alpha: float, delta: float) -> None:
    need = floor.least(alpha, delta)
    assert floor.upper(0, need, delta) <= alpha + 1e-9
    if need > 1:
        assert floor.upper(0, need - 1, delta) > alpha - 1e-9


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_risk_falls_with_the_cheap_models_quality(a: float, b: float, strong: float) -> None:
    low, high = sorted((a, b))
    assert floor.risk(high, strong) <= floor.risk(low, strong)


def drawn(chance: random.Random, count: int, cheaper: int = 1) -> list[list[tuple[float, bool]]]:
    """Trials that fail at a rate of 0.02 + risk / 4: ordered right, calibrated wrong."""
    return [
        [(risk, chance.random() < 0.02 + risk / 4) for risk in sorted(chance.random() for _ in range(cheaper))]
        for _ in range(count)
    ]


def certified(chance: random.Random, count: int, alpha: float, cheaper: int = 1) -> floor.Certificate:
    others = [min(one[0] for one in trial) for trial in drawn(chance, 500, cheaper)]
    grid = floor.grid(others, 2 * floor.least(alpha, 0.05), count)
    names = tuple(f"m{i}" for i in range(cheaper))
    return floor.certify(
        drawn(chance, count, cheaper), grid, alpha, 0.05, strong="best", cheaper=names, predictor="p", source="test",
        made="2026-11-21",
    )  # fmt: skip


def test_the_guarantee_holds_in_simulation() -> None:
    """The true rate under a threshold t is the mean of 0.02 + r / 4 over r < t."""
    chance = random.Random(7)
    rates = []
    for _ in range(120):
        threshold = certified(chance, 800, 0.1).threshold
        rates.append(0.0 if threshold is None else 0.02 + threshold / 8)
    over = sum(rate > 0.1 for rate in rates)
    assert floor.lower(over, len(rates), 0.001) <= 0.05
    assert sum(rate > 0.05 for rate in rates) > 40, "a gate that never opens keeps every floor"


def test_bad_luck_at_the_strictest_threshold_does_not_end_it() -> None:
    grid = [0.1 * i for i in range(1, 10)]
    unlucky = [floor.Level(grid[0], 60, 6)] + [floor.Level(t, 500, 1) for t in grid[1:]]
    found = floor.safe(unlucky, 0.05, 0.05)
    assert found is not None
    assert found[0].threshold == grid[-1]
    assert found[1] == pytest.approx(0.025), "the half of delta spent on the first test is gone"


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1)), max_size=30), st.sampled_from([0.01, 0.05, 0.1]))
def test_no_test_ever_has_more_than_delta(counts: list[tuple[int, float]], alpha: float) -> None:
    tested = [floor.Level(i / 30, n, int(share * n)) for i, (n, share) in enumerate(counts)]
    found = floor.safe(tested, alpha, 0.05)
    if found is not None:
        level, spent = found
        assert 0 < spent <= 0.05 + 1e-12
        assert floor.upper(level.failed, level.routed, spent) <= alpha + 1e-9


def test_levels_take_the_first_candidate_that_is_allowed() -> None:
    trials = [[(0.3, True), (0.1, False)], [(0.2, False), (0.05, True)], []]
    assert floor.levels(trials, [0.01, 0.1, 0.25, 0.5]) == [
        floor.Level(0.01, 0, 0),
        floor.Level(0.1, 2, 1),
        floor.Level(0.25, 2, 0),
        floor.Level(0.5, 2, 1),
    ]


def test_too_little_to_calibrate_by_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 59 calibration requests"):
        certified(random.Random(0), 58, 0.05)


def test_where_nothing_is_safe_nothing_is_cheap() -> None:
    trials = [[(0.1, True)]] * 300
    one = floor.certify(
        trials, [0.1, 0.5], 0.05, 0.05, strong="s", cheaper=("c",), predictor="p", source="", made="2026-11-21"
    )
    assert one.threshold is None
    gate = floor.Gate(floor.Watch(one))
    assert "no cheaper model" in (gate.refuses("c", "s", (0.99, 0.99)) or "")


def test_a_certificate_survives_its_file() -> None:
    one = certified(random.Random(1), 800, 0.1)
    assert msgspec.json.decode(msgspec.json.encode([one]), type=list[floor.Certificate]) == [one]
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(one).replace(b'"alpha":0.1', b'"alpha":1.1'), type=floor.Certificate)


def test_the_gate_opens_for_those_it_was_calibrated_for() -> None:
    one = certified(random.Random(1), 800, 0.1)
    gate = floor.Gate(floor.Watch(one))
    assert gate.strong == "best"
    assert gate.refuses("m0", "best", (0.99, 0.99)) is None
    assert "risk" in (gate.refuses("m0", "best", (0.05, 0.99)) or "")
    assert "against best" in (gate.refuses("m0", "other", (0.99, 0.99)) or "")
    assert "not calibrated for it" in (gate.refuses("stranger", "best", (0.99, 0.99)) or "")


def test_a_floor_without_its_certificate_is_an_error() -> None:
    one = certified(random.Random(1), 800, 0.1)
    assert floor.find([one], 0.9, 0.95, "best", ["m0"], "p") is one
    for arguments, words in (
        (([], 0.9, 0.95, "best", ["m0"], "p"), "no calibration data"),
        (([one], 0.9, 0.95, "best", ["m0"], "other"), "another predictor"),
        (([one], 0.9, 0.95, "best", ["m0", "m1"], "p"), "against m0, m1"),
        (([one], 0.95, 0.95, "best", ["m0"], "p"), "not calibrated"),
        (([one], 0.9, 0.99, "best", ["m0"], "p"), "not calibrated"),
    ):
        with pytest.raises(ConfigError, match=words):
            floor.find(*arguments)


def watched(alpha: float = 0.1) -> floor.Watch:
    return floor.Watch(certified(random.Random(1), 800, alpha))


def test_the_watch_is_silent_as_long_as_the_floor_is_kept() -> None:
    chance = random.Random(3)
    quiet = 0
    for _ in range(40):
        watch = watched()
        for _ in range(1000):
            watch.outcome(float(chance.random() < 0.1))
        quiet += watch.alarm is None
    assert quiet >= 34, "one false alarm in 10,000 outcomes on average"


def test_the_watch_rings_when_too_many_fail_even_after_long_good_times() -> None:
    chance = random.Random(3)
    watch = watched()
    for _ in range(3000):
        watch.outcome(float(chance.random() < 0.02))
    assert watch.alarm is None
    late = 0
    while watch.alarm is None and late < 600:
        watch.outcome(float(chance.random() < 0.25))
        late += 1
    assert late < 300
    assert "no longer holds" in (floor.Gate(watch).refuses("m0", "best", (0.99, 0.99)) or "")


def test_the_watch_rings_when_the_prompts_are_others() -> None:
    chance = random.Random(3)
    same, other = watched(), watched()
    for _ in range(5000):
        same.request(chance.random())
        other.request(chance.random() ** 3)
    assert same.alarm is None
    assert "another kind" in (other.alarm or "")


def test_a_watch_goes_on_where_it_was_stored() -> None:
    watch = watched()
    for _ in range(10):
        watch.request(0.3)
        watch.outcome(1.0)
    again = msgspec.json.decode(msgspec.json.encode(watch), type=floor.Watch)
    assert again == watch
    with pytest.raises(ValueError, match="between 0 and 1"):
        again.outcome(1.5)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_a_histogram_holds_every_risk_once(risks: list[float]) -> None:
    edges, counts = floor.histogram(risks)
    assert sum(counts) == len(risks)
    assert len(counts) == len(edges) + 1
    assert floor.stability(counts, counts) == 0.0
