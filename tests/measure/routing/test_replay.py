"""Replay: past requests decided again by the code that routes, and every figure over the requests it is known for."""

import math
import random
from typing import Any

import pytest
from msgspec.structs import replace

from freehold.classify import Facts
from freehold.config.schema_routing import Auto
from freehold.decide import Catalog, Choice, Deployment, Policy
from freehold.decide.policy import policy_of
from freehold.decide.world import nobody
from freehold.measure.routing.again import facts_of
from freehold.measure.routing.replay import LEAST_TIMES, Replayed, replay, speeds_of
from freehold.record.outcomes import Considered, Decision, Past
from freehold.record.readings import pack

OWNED = Deployment(
    "own/small", "own", "small", "chat", owned=True, context=8000, input_price=0.0, output_price=0.0, strength=0.4
)
CHEAP = Deployment("lab/cheap", "lab", "cheap", "chat", input_price=1.0, output_price=2.0, strength=0.6)
BEST = Deployment(
    "lab/best", "lab", "best", "chat", input_price=10.0, output_price=20.0, cached_price=1.0, strength=0.9
)
UNPRICED = Deployment("lab/secret", "lab", "secret", "chat", strength=0.8)
ALL = (OWNED, CHEAP, BEST, UNPRICED)
SURE = {"own/small": 0.5, "lab/cheap": 0.7, "lab/best": 0.95}


class Rules:
    """A policy that is tried. Quality is what the reading says: the first number for owned, the second for the best."""

    basis = b"abcd"

    def __init__(self, **models: Any) -> None:
        self.catalog = Catalog({one.name: one for one in ALL}, {}, models)
        self.foresight = self
        self.hidden: dict[str, str] = {}

    def quality(self, facts: Facts, deployments: Any) -> list[float]:
        if facts.reading is None:
            return [one.strength for one in deployments]
        first, second = facts.reading.z
        return [{"own/small": first, "lab/best": second}.get(one.name, one.strength) for one in deployments]

    def gate(self, floor: float, confidence: float, route: str) -> Any:
        raise AssertionError

    def policy(self, choice: Choice, key: str) -> Policy:
        return policy_of(choice.rules, {})

    def denied(self, key: str, label: str, facts: Facts, now: float) -> Any:
        if label == "restricted":
            return lambda one: None if one.owned else ("not cleared for restricted", True, "label")
        return nobody

    def refused(self, key: str, asked: str) -> str | None:
        return self.hidden.get(asked)


def past(number: int = 1, **changes: Any) -> Past:
    usual = Past(
        f"r{number}", 1_790_000_000_000_000_000 + number, "bot", "auto", "chat", "internal", True, "lab/best",
        "lab/best", False, 2000, 1000, 0, 0, 200, 400_000, 2_400_000, 14_000_000, None, 0.0, decision(),
    )  # fmt: skip
    return replace(usual, **changes)


def decision(**changes: Any) -> Decision:
    weighed = tuple(
        Considered(name, SURE[name], None, None, float(name == "lab/best"))
        for name in ("lab/best", "own/small", "lab/cheap")
    )
    usual = Decision("auto", 1.0, False, "chat", frozenset(), 1000, 1000, None, "", 0, b"", b"", weighed)
    return replace(usual, **changes)


def auto(**changes: Any) -> Auto:
    return replace(Auto(among=["own/small", "lab/cheap", "lab/best"], objective="best"), **changes)


def tried(requests: list[Past], rules: Rules, **options: Any) -> Replayed:
    found = replay(requests, rules, **options)
    assert found == replay(requests, rules, **options), "the same seed gives the same report"
    return found


def test_the_same_policy_changes_nothing() -> None:
    found = tried([past(n) for n in range(50)], Rules(auto=auto()))
    assert (found.requests, found.decided, found.changed, found.nobody) == (50, 50, 0, 0)
    assert found.cost is not None
    assert (found.cost.log.value, found.cost.change.value) == (pytest.approx(0.014), 0)
    assert found.seconds is not None
    assert (found.seconds.log_median, found.seconds.policy_median) == (2.4, 2.4)
    assert found.direct is not None
    assert found.direct.change.value == 0
    assert found.choices == {"lab/best": (50, 50)}
    assert (found.unpriced, found.untimed, found.unforeseen) == (0, 0, 0)


def test_a_cheaper_policy_is_priced_at_the_tokens_that_were_used() -> None:
    found = tried([past(n) for n in range(50)], Rules(auto=auto(objective="cheapest", quality=0.6)))
    assert found.choices == {"lab/best": (50, 0), "lab/cheap": (0, 50)}
    assert found.cost is not None
    assert found.cost.policy.value == pytest.approx((1000 * 1.0 + 200 * 2.0) / 1e6)
    assert found.cost_total is not None
    assert found.cost_total.value == pytest.approx(50 * (0.0014 - 0.014))
    assert found.direct is not None
    assert (found.direct.log.value, found.direct.policy.value) == (pytest.approx(0.95), pytest.approx(0.7))
    # Nobody was ever timed there.
    assert found.untimed == 50


def test_cached_tokens_are_priced_as_cached() -> None:
    one = past(uncached=100, cached=900, deployment="lab/cheap", answered="lab/cheap", cost=1_000_000)
    one.decision = decision(candidates=(Considered("lab/cheap", 0.7, None, None, 1.0),))
    found = tried([one], Rules(auto=auto()))
    assert found.cost is not None
    assert found.cost.policy.value == pytest.approx((100 * 10 + 900 * 1.0 + 200 * 20) / 1e6)


def test_what_leaves_the_house_and_what_stays_is_told_by_label() -> None:
    owned = {"deployment": "own/small", "answered": "own/small", "owned": True, "cost": 0}
    first = decision(candidates=(Considered("own/small", 0.5, None, None, 1.0),))
    requests = [past(n, **owned, decision=first) for n in range(3)]
    requests += [past(10, **owned, decision=first, label="restricted"), past(11, label="restricted"), past(12)]
    found = tried(requests, Rules(auto=auto()))
    leaves, stays = found.moved
    assert (leaves.label, leaves.requests, leaves.leave, leaves.leave_tokens, leaves.stay) == (
        "internal",
        4,
        3,
        3600,
        0,
    )
    assert (leaves.rented_before, leaves.rented_now) == (1, 4)
    assert (stays.label, stays.requests, stays.leave, stays.stay, stays.stay_tokens) == ("restricted", 2, 0, 1, 1200)
    assert (stays.rented_before, stays.rented_now) == (1, 0)


def test_requests_that_nobody_could_answer_are_counted_with_their_reasons() -> None:
    rules = Rules(auto=Auto(among=["own/small"], quality=0.1), small=["own/small"])
    rules.hidden = {"forbidden": "the key 'bot' may not use 'forbidden'"}
    long = decision(input=9000)
    requests = [past(1, decision=long), past(2, decision=replace(long, input=9500)), past(3, asked="gone"),
                past(4, asked="forbidden"), past(5)]  # fmt: skip
    found = tried(requests, rules)
    assert found.nobody == 4
    assert [(one.why, one.requests) for one in found.reasons] == [
        ("own/small: context of N tokens, the prompt is about N", 2),
        ("there is no model 'gone'", 1),
        ("the key 'bot' may not use 'forbidden'", 1),
    ]


def test_what_is_not_known_is_left_out_and_said() -> None:
    requests = [past(1), past(2, cost=None), past(3, answered="", output=0), past(4, decision=None, asked="lab/best")]
    found = tried(requests, Rules(auto=auto(among=["lab/secret"])))
    assert found.choices == {"lab/best": (4, 1), "lab/secret": (0, 3)}
    assert found.cost is not None
    assert found.cost.requests == 1
    assert (found.unpriced, found.untimed) == (3, 3)
    assert found.from_readings == 3
    assert found.unforeseen == 4  # the secret one was no candidate, and nothing was read of the direct one
    assert found.rated.refused == "no request of these has been rated"


def test_a_reading_of_the_same_basis_is_foreseen_from_anew() -> None:
    known = decision(basis=b"abcd", reading=pack([0.99, 0.25]))
    other = decision(basis=b"zzzz", reading=pack([0.99, 0.25]))
    assert facts_of(past(decision=other), b"abcd").reading is None
    found = tried([past(1, decision=known), past(2, decision=other)], Rules(auto=auto()))
    assert found.choices == {"lab/best": (2, 1), "own/small": (0, 1)}
    assert found.direct is not None
    assert found.direct.log.value == pytest.approx((0.25 + 0.95) / 2)
    assert found.direct.policy.value == pytest.approx((0.99 + 0.95) / 2, abs=1e-3)


def test_the_speed_of_others_is_their_own_median() -> None:
    timed = [
        past(n, answered="lab/cheap", deployment="lab/cheap", first_us=200_000 + n, total_us=1_200_000, output=101)
        for n in range(LEAST_TIMES)
    ]
    found = speeds_of([*timed, past(90)])
    assert set(found) == {"lab/cheap"}
    assert found["lab/cheap"].first == pytest.approx(0.2, abs=1e-4)
    assert found["lab/cheap"].per_token == pytest.approx(0.01, abs=1e-4)
    report = tried([*timed, *[past(n + 50) for n in range(20)]], Rules(auto=auto(objective="cheapest", quality=0.6)))
    assert report.untimed == 0
    assert report.seconds is not None
    assert report.seconds.policy_median == pytest.approx(0.2 + 0.01 * 200, abs=0.03)


def test_conversations_may_be_tried_under_another_name() -> None:
    requests = [past(n, asked="lab/best", decision=None) for n in range(5)]
    found = tried(requests, Rules(auto=auto(among=["own/small"])), ask="auto")
    assert found.choices == {"lab/best": (5, 0), "own/small": (0, 5)}
    spoken = tried([past(1, asked="lab/best", decision=None, dialect="embeddings")], Rules(auto=auto()), ask="auto")
    assert spoken.choices == {"lab/best": (1, 1)}


def test_of_many_requests_a_sample_is_decided_again() -> None:
    found = tried([past(n) for n in range(500)], Rules(auto=auto(objective="cheapest", quality=0.6)), most=100)
    assert (found.requests, found.decided) == (500, 100)
    assert found.cost_total is not None
    assert found.cost_total.value == pytest.approx(500 * (0.0014 - 0.014))


def explored(count: int, share: float) -> tuple[list[Past], float]:
    """A log in which a share of the requests went to the cheap one by chance; and how often that one is right."""
    source = random.Random(17)
    requests = []
    for number in range(count):
        other = source.random() < share
        name, right = ("lab/cheap", 0.6) if other else ("lab/best", 0.9)
        names = ("lab/cheap", "lab/best") if other else ("lab/best", "lab/cheap")
        chances = {"lab/best": 1 - share, "lab/cheap": share}
        made = decision(
            propensity=chances[name], explored=other,
            candidates=tuple(Considered(one, SURE[one], None, None, chances[one]) for one in names),
        )  # fmt: skip
        value = float(source.random() < right)
        requests.append(past(number, deployment=name, answered=name, decision=made, value=value, weight=1.0))
    return requests, 0.6


def test_where_chance_had_a_say_the_log_says_how_good_another_policy_is() -> None:
    requests, right = explored(3000, 0.2)
    rated = tried(requests, Rules(auto=auto(objective="cheapest", quality=0.6, among=["lab/cheap", "lab/best"]))).rated
    assert rated.refused is None
    assert rated.unsupported == 0
    for estimate in (rated.ips, rated.snips, rated.doubly_robust):
        assert estimate is not None
        assert estimate.low < right < estimate.high
        assert estimate.high - estimate.low < 0.2
    assert math.isclose(rated.effective, sum(one.deployment == "lab/cheap" for one in requests))


def test_where_it_had_none_the_log_says_nothing() -> None:
    requests = [past(n, value=1.0, weight=1.0) for n in range(100)]
    found = tried(requests, Rules(auto=auto(objective="cheapest", quality=0.6)))
    assert found.rated_log == 1.0
    assert found.predicted_log == pytest.approx(0.95)
    assert found.rated.ips is None
    assert "100 %" in (found.rated.refused or "")


def test_an_empty_ledger_is_no_fault() -> None:
    found = tried([], Rules(auto=auto()))
    assert (found.requests, found.cost, found.seconds, found.direct) == (0, None, None, None)
