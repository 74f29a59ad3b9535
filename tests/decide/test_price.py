"""What a call costs now: tokens and cache, the shadow price of a busy engine, a rate limit that runs out."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from freehold.classify.facts import LIKELY_OUTPUT, Facts
from freehold.decide.catalog import Deployment
from freehold.decide.price import (
    CACHED,
    TERMS,
    Price,
    Terms,
    cache_loss,
    cached_rate,
    crowding,
    eased,
    price,
    tokens,
)
from freehold.decide.signals import NOTHING, Signals

OWNED = Deployment("own/a", "own", "a", "chat", True, input_price=0.0, output_price=0.0)
RENTED = Deployment("openai/a", "openai", "a", "chat", input_price=2.0, output_price=8.0)


def facts(prompt: int = 1000, answer: int = 1024) -> Facts:
    return Facts("auto", frozenset(), prompt, answer)


def priced(deployment: Deployment, signals: Signals = NOTHING, prompt: int = 1000, **more: float) -> Price:
    found = price(deployment, facts(prompt), signals, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


shares = st.floats(0, 1)
seconds = st.floats(0, 600)
signals = st.builds(
    Signals,
    inflight=st.integers(0, 600),
    slots=st.none() | st.integers(1, 300),
    queue=st.integers(0, 600),
    kv=shares,
    first=st.none() | st.floats(0, 30),
    per_token=st.none() | st.floats(0, 1),
    wait=seconds,
    left=st.none() | shares,
    reset=st.none() | seconds,
)
deployments = st.builds(
    Deployment,
    st.just("p/m"),
    st.sampled_from(["own", "openai", "groq", "nobody"]),
    st.just("m"),
    st.just("chat"),
    st.booleans(),
    input_price=st.floats(0, 100),
    output_price=st.floats(0, 500),
    cached_price=st.none() | st.floats(0, 200),
)


def test_tokens_cost_their_rates() -> None:
    assert priced(RENTED).dollars == pytest.approx((1000 * 2.0 + LIKELY_OUTPUT * 8.0) / 1e6)
    assert priced(RENTED).total == priced(RENTED).dollars


def test_what_has_no_price_is_not_free() -> None:
    assert price(replace(RENTED, output_price=None), facts()) is None
    assert price(replace(RENTED, input_price=None), facts(), cached=10) is None


def test_cached_tokens_cost_the_cached_rate_where_it_is_known_and_the_usual_discount_where_not() -> None:
    assert cached_rate(RENTED) == 2.0 * CACHED["openai"]
    assert cached_rate(replace(RENTED, cached_price=0.5)) == 0.5
    assert cached_rate(replace(RENTED, provider="cerebras")) == 2.0, "nobody is known to give a discount there"
    assert cached_rate(replace(RENTED, cached_price=3.0)) == 2.0, "a cache never makes a prompt dearer"


@given(deployments, st.integers(0, 5000), st.integers(0, 9000))
def test_the_loss_of_a_cache_is_in_the_two_prices_already(deployment: Deployment, prompt: int, cached: int) -> None:
    asked = facts(prompt)
    without, having = tokens(deployment, asked), tokens(deployment, asked, cached)
    assert without is not None
    assert having is not None
    assert without - having == pytest.approx(cache_loss(deployment, asked, cached), abs=1e-12)


def test_a_conversation_moves_only_if_moving_pays_for_the_lost_cache() -> None:
    other = replace(RENTED, name="groq/a", provider="groq", input_price=1.6, output_price=8.0)
    assert priced(other, prompt=50_000).total < priced(RENTED, prompt=50_000).total
    assert priced(other, prompt=50_000).total > priced(RENTED, prompt=50_000, cached=49_000).total
    assert priced(other, prompt=50_000).total < priced(RENTED, prompt=50_000, cached=1_000).total


def test_the_turns_to_come_may_pay_for_what_this_one_loses() -> None:
    dear = replace(RENTED, input_price=10.0)
    cheap = replace(RENTED, input_price=1.5)
    now = [priced(one, prompt=10_000, cached=cached).total for one, cached in ((dear, 9_500), (cheap, 0))]
    assert now[0] < now[1]
    later = [priced(one, prompt=10_000, cached=cached, ahead=3).total for one, cached in ((dear, 9_500), (cheap, 0))]
    assert later[1] < later[0]


@given(deployments, signals, st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.floats(0, 50))
def test_more_in_the_cache_is_never_dearer(
    deployment: Deployment, seen: Signals, prompt: int, one: int, other: int, ahead: float
) -> None:
    less, more = sorted((one, other))
    before, after = (price(deployment, facts(prompt), seen, cached, ahead=ahead) for cached in (less, more))
    assert before is not None
    assert after is not None
    assert after.total <= before.total * (1 + 1e-9) + 1e-15


@given(
    deployments,
    signals,
    st.sampled_from(["inflight", "queue", "kv", "wait", "left"]),
    st.integers(0, 600),
    seconds,
    seconds,
)
def test_more_load_is_never_cheaper(
    deployment: Deployment, seen: Signals, what: str, more: int, longer: float, patience: float
) -> None:
    if what in ("inflight", "queue"):
        worse = replace(seen, **{what: getattr(seen, what) + more})
    elif what == "wait":
        worse = replace(seen, wait=seen.wait + longer)
    elif what == "kv":
        worse = replace(seen, kv=min(1.0, seen.kv + longer / 600))
    else:
        worse = replace(seen, left=(1.0 if seen.left is None else seen.left) * longer / 600)
    before, after = (price(deployment, facts(), one, patience=patience) for one in (seen, worse))
    assert before is not None
    assert after is not None
    assert 0.0 <= before.total <= after.total * (1 + 1e-9) + 1e-15


@given(deployments, signals, seconds, seconds)
def test_the_patient_never_pay_more(deployment: Deployment, seen: Signals, one: float, other: float) -> None:
    less, more = sorted((one, other))
    before, after = (price(deployment, facts(), seen, patience=patience) for patience in (less, more))
    assert before is not None
    assert after is not None
    assert after.total <= before.total


def test_below_capacity_an_owned_token_costs_nearly_nothing_and_beyond_it_anything() -> None:
    busy = [
        priced(OWNED, Signals(inflight=n, slots=8, first=0.2, per_token=0.02)).total for n in (0, 4, 8, 16, 80, 800)
    ]
    assert busy == sorted(busy)
    rent = priced(RENTED).total
    assert busy[1] < rent / 1000
    assert busy[3] > rent
    assert busy[5] > 100 * rent


def test_the_price_rises_ever_faster_until_places_run_out() -> None:
    costs = [crowding(n, 16) for n in range(17)]
    steps = [after - before for before, after in pairwise(costs)]
    assert costs[-1] == 1.0
    assert steps == sorted(steps)
    assert all(step > 0 for step in steps)


@pytest.mark.parametrize("places", [1, 4, 64, 4096])
def test_the_chance_of_being_in_the_way_is_erlangs(places: int) -> None:
    """B(k) / B(n), with B by its sum, for small systems, and a chance for any."""
    found = [crowding(n, places) for n in range(places + 1)]
    assert all(0.0 <= one <= 1.0 for one in found)
    if places <= 64:
        offered = TERMS.load * places

        def blocking(n: int) -> float:
            terms = [offered**i / math.factorial(i) for i in range(n + 1)]
            return terms[-1] / sum(terms)

        for n in range(places + 1):
            assert found[n] == pytest.approx(blocking(places) / blocking(n))


def test_the_toll_on_those_behind_is_that_of_pollaczek_and_khinchine() -> None:
    """One server, always busy: over exponential work W the mean price is second * (W + load dW/dload)."""
    service, load, steps = 2.0, 0.8, 4000
    terms = Terms(second=1.0, load=load, unnoticed=0.0)
    each = service / LIKELY_OUTPUT
    mean = load * service / (1 - load)
    total = 0.0
    for step in range(steps):
        work = -mean / load * math.log(1 - (step + 0.5) / steps)
        busy = price(OWNED, facts(), Signals(1, 1, 0, 0.0, 0.0, each, max(work, service)), terms=terms)
        assert busy is not None
        total += load * busy.waiting / steps if work > service else 0.0
    # Of M/M/1 the work found is exponential with mean s / (1 - load), with the chance `load` that there is any. What
    # is above one service is exp(-(1 - load)) of it, beginning at one service.
    share = math.exp(-(1 - load))
    above = mean * share + load * service * share
    assert total == pytest.approx(above + load / (1 - load) * (above + load * share * service / 2), rel=0.02)


def test_an_engine_that_must_load_first_costs_the_time_it_takes() -> None:
    assert priced(OWNED, Signals(wait=20.0)).total > 0.02
    assert priced(OWNED, Signals(wait=20.0), patience=600.0).total == 0.0


def test_a_full_cache_is_a_wait_though_places_are_free() -> None:
    costs = [priced(OWNED, Signals(inflight=2, slots=64, kv=share)).total for share in (0.0, 0.9, 0.97, 1.0)]
    assert costs[0] == costs[1] < priced(RENTED).total / 1000
    assert costs[1] < costs[2] < costs[3]
    assert costs[3] > priced(RENTED).total


def test_work_moves_before_the_rate_limit_is_used_up() -> None:
    cheap, dear = RENTED, replace(RENTED, name="xai/a", provider="xai", input_price=3.0, output_price=12.0)
    assert priced(cheap, Signals(left=0.5, reset=30.0)).total < priced(dear).total
    assert priced(cheap, Signals(left=0.05, reset=30.0)).total > priced(dear).total


def test_a_limit_that_is_whole_again_at_once_costs_next_to_nothing() -> None:
    assert priced(RENTED, Signals(left=0.0, reset=0.02)).scarcity < 1e-4
    assert priced(RENTED, Signals(left=0.0, reset=None)).scarcity > 1e-3


def test_a_wait_rises_at_once_and_falls_slowly() -> None:
    assert eased(1.0, 5.0, 0.0) == 5.0
    falling = [eased(5.0, 0.0, after) for after in (0.0, 0.5, 1.0, 2.0, 60.0)]
    assert falling[0] == 5.0
    assert falling[-1] == 0.0
    assert falling == sorted(falling, reverse=True)


@given(seconds, seconds, seconds)
def test_what_is_eased_is_never_below_what_is(before: float, now: float, after: float) -> None:
    assert now <= eased(before, now, after) <= max(before, now)
