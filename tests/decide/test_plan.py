"""The plan: who is dropped and why, who comes first and why."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.classify import Facts
from freehold.config.schema_routing import Auto, Cascade, Explore, Hedge, Slot, Weights
from freehold.decide import Catalog, Choice, Deployment, Plan, Policy, World, plan
from freehold.decide.decision import Ran
from freehold.decide.floor import Certificate, Gate, Watch
from freehold.decide.signals import Signals
from freehold.errors import ConfigError


def deployment(name: str, **fields: object) -> Deployment:
    provider, _, model = name.partition("/")
    return Deployment(name, provider, model, "chat", **fields)  # type: ignore[arg-type]


def asked(
    name: str = "auto", needs: set[str] | None = None, tokens: int = 100, limit: int | None = None, kind: str = "chat"
) -> Facts:
    return Facts(name, frozenset(needs or set()), tokens, limit or 100, kind=kind, limit=limit)


class Foreseen:
    """Foresight by a table; everybody else is right half of the time."""

    def __init__(self, gate: Gate | None = None, **qualities: float) -> None:
        self._gate = gate
        self._qualities = qualities

    def quality(self, _: Facts, deployments: Sequence[Deployment]) -> list[float]:
        return [self._qualities.get(one.model, 0.5) for one in deployments]

    def gate(self, floor: float, confidence: float, route: str) -> Gate:
        if self._gate is None:
            raise ConfigError(f"nothing is calibrated for {floor:g}")
        return self._gate


def world(foresight: Foreseen | None = None, **fields: object) -> World:
    return World(foresight=foresight, **fields)  # type: ignore[arg-type]


def ill(*names: str) -> World:
    return World(health=lambda one: "resting" if one.name in names else None)


CHEAP = deployment(
    "own/small", owned=True, context=1000, can=frozenset({"schema"}), input_price=0.0, output_price=0.0, strength=0.2
)
MIDDLE = deployment(
    "a/middle", context=8000, can=frozenset({"schema", "tools"}), input_price=0.2, output_price=0.4, strength=0.6
)
STRONG = deployment("b/strong", can=None, input_price=5.0, output_price=25.0, strength=0.95)
UNPRICED = deployment("c/unpriced", strength=0.7)
ALL = (CHEAP, MIDDLE, STRONG, UNPRICED)


def names(chosen: "tuple[Deployment, ...]") -> list[str]:
    return [d.name for d in chosen]


def test_an_alias_keeps_its_order() -> None:
    decided = plan(asked("fast"), Choice("alias", (STRONG, CHEAP)), world())
    assert names(decided.attempts) == ["b/strong", "own/small"]
    assert decided.reason == "first of its alias"


def test_capability_context_and_health_drop_with_reasons() -> None:
    decided = plan(asked(needs={"tools"}, tokens=2000), Choice("alias", ALL), ill("b/strong"))
    assert names(decided.attempts) == ["a/middle", "c/unpriced"]
    reasons = {drop.deployment: (drop.reason, drop.lasting) for drop in decided.dropped}
    assert reasons["own/small"] == ("cannot do tools", True)
    assert reasons["b/strong"] == ("resting", False)


def test_a_prompt_longer_than_the_context_drops() -> None:
    decided = plan(asked(tokens=5000), Choice("alias", (CHEAP, MIDDLE)), world())
    assert names(decided.attempts) == ["a/middle"]
    assert "context of 1000 tokens" in decided.dropped[0].reason


def test_an_answer_longer_than_the_model_gives_drops_but_not_who_was_asked_for_by_name() -> None:
    short = deployment("a/short", max_output=50, context=1000)
    decided = plan(asked(limit=60), Choice("alias", (short, STRONG)), world())
    assert names(decided.attempts) == ["b/strong"]
    assert decided.dropped[0].reason == "answers with at most 50 tokens, 60 are asked for"
    both = plan(asked(tokens=960, limit=45), Choice("alias", (short, STRONG)), world())
    assert "the prompt is about 960 and 45 are asked for" in both.dropped[0].reason
    assert names(plan(asked(limit=60), Choice("direct", (short,)), world()).attempts) == ["a/short"]


def test_who_may_not_be_asked_is_dropped_with_the_reason_and_its_code() -> None:
    denied = world(denied=lambda one: None if one.owned else ("the request is restricted", True, "label"))
    decided = plan(asked(), Choice("auto", ALL, "auto"), denied)
    assert names(decided.attempts) == ["own/small"]
    assert {(drop.reason, drop.code, drop.lasting) for drop in decided.dropped} == {
        ("the request is restricted", "label", True)
    }


QUALITIES = Foreseen(small=0.5, middle=0.8, strong=0.85, unpriced=0.99)
THREE = Choice("auto", (CHEAP, MIDDLE, STRONG), "auto")


@pytest.mark.parametrize(
    ("policy", "order", "words"),
    [
        (Policy(), ["a/middle", "b/strong", "own/small"], "the cheapest that is good enough"),
        (Policy(quality=0.4), ["own/small", "a/middle", "b/strong"], "a predicted quality of 0.4"),
        (Policy(quality=0.84), ["b/strong", "a/middle", "own/small"], "a predicted quality of 0.84"),
        (Policy(quality=0.99), ["b/strong", "a/middle", "own/small"], "which nobody reaches"),
        (Policy("best"), ["b/strong", "a/middle", "own/small"], "the best"),
        (Policy("best", price=0.001), ["a/middle", "own/small"], "the best within $0.001"),
        (Policy("balanced", weights=Weights(1, 0, 0)), ["b/strong", "a/middle", "own/small"], "the best balance"),
        (Policy("balanced", weights=Weights(0.5, 0.5, 0)), ["a/middle", "b/strong", "own/small"], "balance"),
        (Policy(quality=0.4, prefer="rented"), ["a/middle", "b/strong", "own/small"], "rented preferred"),
        (Policy(pin="b/strong"), ["b/strong", "a/middle", "own/small"], "pinned"),
        (Policy(pin="c/unpriced"), ["a/middle", "b/strong", "own/small"], "its pin is not eligible"),
    ],
)
def test_a_route_ranks_by_its_rules(policy: Policy, order: list[str], words: str) -> None:
    decided = plan(asked(), THREE, world(QUALITIES), policy)
    assert names(decided.attempts) == order
    assert words in decided.reason
    assert [one.name for one in decided.candidates] == order
    assert decided.route == "auto"


def test_the_price_limit_drops_with_its_reason_and_nobody_is_nobody() -> None:
    decided = plan(asked(), THREE, world(QUALITIES), Policy(price=1e-5))
    assert names(decided.attempts) == ["own/small"]
    assert all(drop.code == "price" and "over the price limit of $1e-05" in drop.reason for drop in decided.dropped)
    nobody = plan(asked(), Choice("auto", (STRONG, UNPRICED), "auto"), world(QUALITIES), Policy(price=1e-5))
    assert nobody.attempts == ()
    assert any("its price is not known" in drop.reason for drop in nobody.dropped)
    alone = plan(asked(), Choice("auto", (STRONG,), "auto"), world(QUALITIES), Policy(price=1e-5))
    assert alone.attempts == ()


def test_an_unknown_price_ranks_after_every_known_one() -> None:
    equals = Foreseen(strong=0.9, unpriced=0.9)
    decided = plan(asked(), Choice("auto", (UNPRICED, STRONG), "auto"), world(equals))
    assert names(decided.attempts) == ["b/strong", "c/unpriced"]


def test_the_fastest_is_by_what_is_seen_and_who_was_never_seen_is_taken_as_usual() -> None:
    seen = {"b/strong": Signals(first=0.2, per_token=0.001), "a/middle": Signals(first=0.5, per_token=0.01)}
    fast = world(Foreseen(), seen=lambda one: seen.get(one.name, Signals()))
    decided = plan(asked(), Choice("auto", (MIDDLE, STRONG, UNPRICED), "auto"), fast, Policy("fastest"))
    assert decided.attempts[0].name == "b/strong"
    assert decided.attempts[-1].name == "c/unpriced", "as slow as the usual one, and of unknown price"
    waiting = {"b/strong": Signals(first=0.2, per_token=0.001, wait=30), "a/middle": Signals(first=0.5, per_token=0.01)}
    slow = world(Foreseen(), seen=lambda one: waiting[one.name])
    assert (
        plan(asked(), Choice("auto", (MIDDLE, STRONG), "auto"), slow, Policy("fastest")).attempts[0].name == "a/middle"
    )
    patient = Policy("fastest", patience=60)
    assert plan(asked(), Choice("auto", (MIDDLE, STRONG), "auto"), slow, patient).attempts[0].name == "b/strong"


def test_a_conversation_stays_where_it_is_cached_or_where_it_ran() -> None:
    one = deployment("a/one", input_price=3.0, output_price=3.0, cached_price=0.3)
    two = deployment("b/two", input_price=2.5, output_price=2.5, cached_price=0.25)
    pair = Choice("auto", (one, two), "auto")
    long = asked(tokens=50_000)
    equals = Foreseen(one=0.8, two=0.8)
    assert plan(long, pair, world(equals)).attempts[0].name == "b/two"
    ran = world(equals, ran=Ran("a/one", 49_000))
    assert plan(long, pair, ran).attempts[0].name == "a/one", "leaving would pay for 49,000 tokens again"
    assert plan(long, pair, ran, Policy(sticky="no")).attempts[0].name == "b/two"
    short = world(equals, ran=Ran("a/one", 0))
    assert plan(long, pair, short).attempts[0].name == "b/two"
    stays = plan(long, pair, short, Policy(sticky="session"))
    assert (stays.attempts[0].name, stays.reason) == ("a/one", "its conversation is here")


def gate(threshold: float | None, *cheaper: str) -> Gate:
    return Gate(
        Watch(
            Certificate(
                alpha=0.05,
                delta=0.05,
                threshold=threshold,
                strong="b/strong",
                cheaper=cheaper,
                predictor="p",
                calibrated=1000,
                routed=500,
                failed=5,
                bound=0.04,
                edges=(),
                counts=(),
                source="test",
                made="2026-01-01",
            )
        )
    )


def test_a_floor_lets_only_those_answer_whom_its_gate_lets() -> None:
    policy = Policy(floor=0.95)
    open_ = plan(asked(), THREE, world(Foreseen(gate(0.2, "own/small", "a/middle"), middle=0.9, strong=0.9)), policy)
    assert names(open_.attempts)[0] == "a/middle"
    assert "keeps the floor of 0.95" in open_.reason
    shut = plan(asked(), THREE, world(Foreseen(gate(None, "own/small", "a/middle"), strong=0.9)), policy)
    assert names(shut.attempts)[0] == "b/strong"
    assert all("could be shown" in one.note for one in shut.candidates[1:])
    unknown = plan(asked(), THREE, world(Foreseen(gate(0.2, "a/middle"), small=1.0, strong=0.9)), policy)
    assert names(unknown.attempts)[0] == "b/strong", "own/small was never calibrated"
    with pytest.raises(ConfigError):
        plan(asked(), THREE, world(Foreseen()), policy)


def test_while_the_strong_model_is_ill_the_others_are_all_there_is() -> None:
    foreseen = Foreseen(gate(None, "own/small", "a/middle"), small=0.5, middle=0.9)
    resting = World(health=lambda one: "resting" if one is STRONG else None, foresight=foreseen)
    decided = plan(asked(), THREE, resting, Policy(floor=0.95))
    assert set(names(decided.attempts)) == {"own/small", "a/middle"}


def test_hedge_and_cascade_need_somebody_else() -> None:
    policy = Policy(quality=0.5, hedge=Hedge(), cascade=Cascade(first="own/small"))
    both = plan(asked(), THREE, world(QUALITIES), policy)
    assert (both.hedge, both.cascade) == (policy.hedge, policy.cascade)
    assert both.attempts[0].name == "own/small"
    without = plan(asked(), Choice("auto", (MIDDLE, STRONG), "auto"), world(QUALITIES), policy)
    assert (without.cascade, without.notes) == (None, ("no cascade: own/small is not eligible",))
    alone = plan(asked(), Choice("auto", (MIDDLE,), "auto"), world(QUALITIES), policy)
    assert (alone.hedge, alone.cascade) == (None, None)


def test_exploring_is_bounded_and_its_probability_is_written_down() -> None:
    policy = Policy(explore=Explore(share=0.2, quality=0.1))
    drawn = iter([0.999, 0.0, 0.5, 0.5] * 500)
    counted: dict[str, int] = {}
    for _ in range(500):
        decided = plan(asked(), THREE, world(QUALITIES, chance=lambda: next(drawn)), policy)
        counted[decided.attempts[0].name] = counted.get(decided.attempts[0].name, 0) + 1
        assert 0 < decided.propensity <= 1
        assert decided.explored == (decided.attempts[0].name != "a/middle")
    assert "own/small" not in counted, "0.3 below the usual choice is too much"
    assert plan(asked(), THREE, world(QUALITIES), Policy()).propensity == 1.0


def test_a_split_follows_its_weights_and_falls_back_to_the_other_arm() -> None:
    arms = ((90.0, Choice("direct", (MIDDLE,), "a/middle")), (10.0, Choice("direct", (CHEAP,), "own/small")))
    split = Choice("split", (MIDDLE, CHEAP), "ab", Auto(split={"a/middle": 90, "own/small": 10}), arms)
    first = plan(asked("ab"), split, world(lot=lambda: 0.5))
    assert names(first.attempts) == ["a/middle", "own/small"]
    assert first.reason == "split, a/middle: 90 % of ab"
    assert first.propensity == pytest.approx(0.9)
    assert {one.name: one.chance for one in first.candidates} == pytest.approx({"a/middle": 0.9, "own/small": 0.1})
    second = plan(asked("ab"), split, world(lot=lambda: 0.95))
    assert names(second.attempts) == ["own/small", "a/middle"]
    sick = plan(asked("ab"), split, World(health=lambda one: "resting" if one is MIDDLE else None, lot=lambda: 0.5))
    assert names(sick.attempts) == ["own/small"]
    assert "nobody of a/middle is eligible" in sick.reason


def test_a_schedule_stands_in_at_its_time() -> None:
    models: dict[str, list[str] | Auto] = {
        "night": Auto(["b/strong"], schedule=[Slot("own/small", since="22:00", until="06:00")])
    }
    choice = catalog(models).find("night")
    assert choice is not None
    midnight, noon = 1_700_006_400.0, 1_700_049_600.0
    assert names(plan(asked("night"), choice, world(now=midnight)).attempts) == ["own/small"]
    assert names(plan(asked("night"), choice, world(now=noon)).attempts) == ["b/strong"]


@given(
    st.lists(st.sampled_from(ALL), unique=True),
    st.sets(st.sampled_from(["tools", "schema", "images"])),
    st.sampled_from(["cheapest", "best", "balanced", "fastest"]),
    st.one_of(st.none(), st.floats(0, 1)),
    st.one_of(st.none(), st.floats(0, 0.01)),
    st.sets(st.sampled_from([d.name for d in ALL])),
    st.sampled_from(["alias", "auto", "direct"]),
    st.one_of(st.none(), st.sampled_from([d.name for d in ALL])),
)
def test_every_candidate_is_either_tried_once_or_dropped_with_a_reason(
    members: list[Deployment],
    needs: set[str],
    objective: str,
    quality: float | None,
    price: float | None,
    sick: set[str],
    kind: str,
    pin: str | None,
) -> None:
    policy = Policy(objective, quality=quality, price=price, pin=pin)  # type: ignore[arg-type]
    decided = plan(
        asked(needs=needs),
        Choice(kind, tuple(members), "r"),
        World(health=lambda d: "ill" if d.name in sick else None, foresight=QUALITIES),
        policy,
    )
    tried, dropped = names(decided.attempts), [drop.deployment for drop in decided.dropped]
    assert sorted(tried + dropped) == sorted(d.name for d in members)
    assert all(drop.reason for drop in decided.dropped)
    assert not sick & set(tried)
    for chosen in decided.attempts:
        assert chosen.can is None or needs <= chosen.can
    if decided.candidates:
        assert [one.name for one in decided.candidates] == tried


def test_the_plan_of_a_choice_of_one_is_made_once_and_not_when_something_stands_against_it() -> None:
    choice = Choice("direct", (MIDDLE,))
    first: Plan = plan(asked("a/middle"), choice, world())
    assert plan(asked("a/middle"), choice, world()) is first
    refusing: Callable[[Deployment], tuple[str, bool, str]] = lambda _: ("no", True, "label")  # noqa: E731
    assert plan(asked("a/middle"), choice, world(denied=refusing)).attempts == ()
    assert plan(asked("a/middle"), choice, ill("a/middle")).attempts == ()


def catalog(models: "dict[str, list[str] | Auto] | None" = None, spare: frozenset[str] = frozenset()) -> Catalog:
    templates = {d.provider: deployment(f"{d.provider}/") for d in ALL}
    return Catalog({d.name: d for d in ALL}, templates, models, spare)


def test_names_are_found_as_alias_direct_bare_or_unlisted() -> None:
    found = catalog({"fast": ["own/small", "a/middle"], "smart": Auto(["fast", "b/strong"], "best")})
    assert names(found.find("fast").members) == ["own/small", "a/middle"]  # type: ignore[union-attr]
    smart = found.find("smart")
    assert smart is not None
    assert smart.rules is not None
    assert (smart.kind, smart.rules.objective) == ("auto", "best")
    assert names(smart.members) == ["own/small", "a/middle", "b/strong"]
    assert names(found.find("strong").members) == ["b/strong"]  # type: ignore[union-attr]
    unlisted = found.find("a/brand-new")
    assert unlisted is not None
    assert unlisted.members[0].model == "brand-new"
    assert found.find("a/@cf/meta/llama") is not None
    assert found.find("nobody/x") is None
    assert found.find("nonsense") is None
    assert found.find("") is None


def test_auto_exists_without_being_configured_and_leaves_the_spare_out() -> None:
    found = catalog(spare=frozenset({"own/small"})).find("auto")
    assert found is not None
    assert "own/small" not in names(found.members)


def test_names_from_strangers_are_remembered_only_so_many() -> None:
    found = catalog()
    for number in range(5000):
        assert found.find(f"a/model-{number}") is not None
    assert len(found._direct) <= 1000


def test_a_cycle_of_aliases_ends() -> None:
    found = catalog({"x": ["y", "a/middle"], "y": ["x", "b/strong"]}).find("x")
    assert found is not None
    assert set(names(found.members)) == {"a/middle", "b/strong"}


def test_a_split_that_goes_round_in_a_circle_ends() -> None:
    found = catalog({"x": Auto(split={"y": 1, "a/middle": 1}), "y": Auto(["x", "b/strong"])}).find("x")
    assert found is not None
    assert set(names(found.members)) == {"a/middle", "b/strong"}
