"""The plan: who is dropped and why, who comes first and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.classify import Facts
from freehold.config.schema import Auto
from freehold.decide import Catalog, Choice, Deployment, plan


def deployment(name: str, **fields: object) -> Deployment:
    provider, _, model = name.partition("/")
    return Deployment(name, provider, model, "chat", **fields)  # type: ignore[arg-type]


def asked(
    name: str = "auto", needs: set[str] | None = None, difficulty: float | None = None, tokens: int = 100
) -> Facts:
    return Facts(name, frozenset(needs or set()), tokens, 100, difficulty=difficulty)


def healthy(_: Deployment) -> str | None:
    return None


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
    decided = plan(asked("fast"), Choice("alias", (STRONG, CHEAP)), healthy)
    assert names(decided.attempts) == ["b/strong", "own/small"]
    assert decided.reason == "first of its alias"


def test_capability_context_and_health_drop_with_reasons() -> None:
    decided = plan(
        asked(needs={"tools"}, tokens=2000), Choice("alias", ALL), lambda d: "resting" if d is STRONG else None
    )
    assert names(decided.attempts) == ["a/middle", "c/unpriced"]
    reasons = {drop.deployment: (drop.reason, drop.lasting) for drop in decided.dropped}
    assert reasons["own/small"] == ("cannot do tools", True)
    assert reasons["b/strong"] == ("resting", False)


def test_a_prompt_longer_than_the_context_drops() -> None:
    decided = plan(asked(tokens=5000), Choice("alias", (CHEAP, MIDDLE)), healthy)
    assert names(decided.attempts) == ["a/middle"]
    assert "context of 1000 tokens" in decided.dropped[0].reason


@pytest.mark.parametrize(
    ("objective", "difficulty", "first"),
    [
        ("cheapest", 0.1, "own/small"),
        ("cheapest", 0.5, "a/middle"),
        ("cheapest", 0.9, "b/strong"),
        ("best", 0.1, "b/strong"),
        ("balanced", 0.1, "a/middle"),
        ("balanced", 0.5, "b/strong"),
    ],
)
def test_auto_by_objective_and_difficulty(objective: str, difficulty: float, first: str) -> None:
    decided = plan(asked(difficulty=difficulty), Choice("auto", (CHEAP, MIDDLE, STRONG), objective), healthy)
    assert decided.attempts[0].name == first
    assert f"difficulty {difficulty:.2f}" in decided.reason


def test_an_unknown_price_ranks_after_every_known_one() -> None:
    decided = plan(asked(difficulty=0.5), Choice("auto", (UNPRICED, STRONG)), healthy)
    assert names(decided.attempts) == ["b/strong", "c/unpriced"]


def test_when_none_is_strong_enough_the_strongest_comes_first_and_it_says_so() -> None:
    decided = plan(asked(difficulty=1.0), Choice("auto", (CHEAP, MIDDLE)), healthy)
    assert names(decided.attempts) == ["a/middle", "own/small"]
    assert "none is declared strong enough" in decided.reason


@given(
    st.lists(st.sampled_from(ALL), unique=True),
    st.sets(st.sampled_from(["tools", "schema", "images"])),
    st.sampled_from(["cheapest", "best", "balanced"]),
    st.floats(0, 1),
    st.sets(st.sampled_from([d.name for d in ALL])),
    st.sampled_from(["alias", "auto", "direct"]),
)
def test_every_candidate_is_either_tried_once_or_dropped_with_a_reason(
    members: list[Deployment], needs: set[str], objective: str, difficulty: float, ill: set[str], kind: str
) -> None:
    decided = plan(
        asked(needs=needs, difficulty=difficulty),
        Choice(kind, tuple(members), objective),
        lambda d: "ill" if d.name in ill else None,
    )
    tried, dropped = names(decided.attempts), [drop.deployment for drop in decided.dropped]
    assert sorted(tried + dropped) == sorted(d.name for d in members)
    assert all(drop.reason for drop in decided.dropped)
    assert not ill & set(tried)
    for chosen in decided.attempts:
        assert chosen.can is None or needs <= chosen.can


def catalog(models: "dict[str, list[str] | Auto] | None" = None, spare: frozenset[str] = frozenset()) -> Catalog:
    templates = {d.provider: deployment(f"{d.provider}/") for d in ALL}
    return Catalog({d.name: d for d in ALL}, templates, models, spare)


def test_names_are_found_as_alias_direct_bare_or_unlisted() -> None:
    found = catalog({"fast": ["own/small", "a/middle"], "smart": Auto(["fast", "b/strong"], "best")})
    assert names(found.find("fast").members) == ["own/small", "a/middle"]  # type: ignore[union-attr]
    smart = found.find("smart")
    assert smart is not None
    assert (smart.kind, smart.objective, names(smart.members)) == (
        "auto",
        "best",
        ["own/small", "a/middle", "b/strong"],
    )
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
