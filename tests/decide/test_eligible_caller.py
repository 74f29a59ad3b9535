"""Who may answer this caller: key, environment, label, retirement and budget, each with its reason in words."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml

from freehold.classify import Facts
from freehold.config.schema import Config
from freehold.config.schema_routing import Environment
from freehold.decide import Deployment
from freehold.decide.eligible_caller import MAX_LABELS, MAX_VERDICTS, Caller, allows, retired
from freehold.labels import INTERNAL, Label, Rules

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
CONFIG = msgspec.convert(
    yaml.safe_load("""
providers: {azure: {cleared: confidential+phi, region: swedencentral}, openai: {}}
labels: {confidential: {providers: [azure]}}
"""),
    Config,
)
RULES = Rules(CONFIG)
OWN = Deployment("own/qwen", "own", "qwen", "chat", owned=True, input_price=0.0, output_price=0.0)
AZURE = Deployment("azure/gpt-5", "azure", "gpt-5", "chat", region="swedencentral", input_price=1.0, output_price=10.0)
OPENAI = Deployment("openai/gpt-5", "openai", "gpt-5", "chat", input_price=1.0, output_price=10.0)


def facts(label: Label | None = None, output: int = 1000) -> Facts:
    found = Facts("auto", frozenset(), 1000, output)
    found.label = label
    return found


def caller(floor: Label = INTERNAL, **rules: Any) -> Caller:
    return Caller(RULES, floor, **rules)


def reasons(
    who: Caller, known: Facts, left: float | None = None, now: float = NOW
) -> dict[str, tuple[str, bool, str] | None]:
    ask = who.denied(known, now, left)
    return {one.provider: ask(one) for one in (OWN, AZURE, OPENAI)}


def test_nothing_is_held_against_anybody_by_default() -> None:
    assert reasons(caller(), facts(INTERNAL)) == {"own": None, "azure": None, "openai": None}


def test_a_sensitive_request_stays_with_who_is_cleared() -> None:
    found = reasons(caller(), facts(RULES.parse("confidential+phi+region:eu")))
    assert found["own"] is None
    assert found["azure"] is None
    assert found["openai"] == (
        "the request is confidential, and openai is rented and cleared for internal at most, for want of cleared:",
        True,
        "label",
    )
    assert reasons(caller(), facts(RULES.parse("restricted")))["azure"] is not None


def test_without_a_label_the_keys_own_counts() -> None:
    assert reasons(caller(Label(2)), facts(None))["openai"] is not None


def test_a_key_may_be_limited_to_providers() -> None:
    found = reasons(caller(providers=frozenset({"azure"})), facts(INTERNAL))
    assert found["azure"] is None
    assert found["own"] == ("the key may not use own", True, "provider")


def test_an_environment_limits_who_answers() -> None:
    found = reasons(caller(environment=("dev", Environment(only="owned"))), facts(INTERNAL))
    assert found["own"] is None
    assert found["openai"] == ("dev is for owned models only", True, "environment")


@pytest.mark.parametrize(
    ("environment", "own", "azure", "openai"),
    [
        (Environment(), None, None, None),
        (Environment(only="rented"), "prod is for rented models only", None, None),
        (Environment(providers=["azure"]), None, None, "openai is not among the providers of prod"),
        (Environment(regions=["EU"]), None, None, "prod is served in eu, and it is not known where it is"),
        (Environment(regions=["us"]), None, "prod is served in us, and it is in swedencentral", "prod is served in us"),
        (Environment(regions=["swedencentral"]), None, None, "not known where"),
        (Environment(providers=[], regions=[]), None, "not among", "not among"),
    ],
)
def test_environments(environment: Environment, own: str | None, azure: str | None, openai: str | None) -> None:
    for deployment, expected in ((OWN, own), (AZURE, azure), (OPENAI, openai)):
        found = allows("prod", environment, deployment)
        assert (found is None) == (expected is None)
        assert expected is None or expected in (found or "")


def test_a_deployment_retires_on_its_day_in_utc() -> None:
    old = msgspec.structs.replace(OPENAI, name="openai/old", retires="2026-11-25")
    ask = caller().denied(facts(INTERNAL), NOW)
    assert ask(old) == ("it is not used since 2026-11-25", True, "retired")
    midnight = datetime(2026, 11, 25, tzinfo=UTC).timestamp()
    assert retired("2026-11-25", midnight) is not None
    assert caller().denied(facts(INTERNAL), midnight - 1)(old) is None


def test_a_budget_leaves_what_it_can_pay_for() -> None:
    found = reasons(caller(), facts(INTERNAL), left=0.003)
    assert found["own"] is None
    assert found["openai"] == ("the key's budget has $0.003 left, this may cost $0.011", True, "budget")
    assert reasons(caller(), facts(INTERNAL), left=0.011)["openai"] is None
    assert reasons(caller(), facts(INTERNAL), left=-2.0)["openai"] == (
        "the key's budget is spent, this may cost $0.011",
        True,
        "budget",
    )


def test_where_nobody_knows_what_is_left_only_free_and_owned_answer() -> None:
    priced = msgspec.structs.replace(OWN, name="own/priced", input_price=5.0)
    ask = caller().denied(facts(INTERNAL), NOW, math.nan)
    assert ask(OWN) is None
    assert ask(priced) is None
    denial = ask(OPENAI)
    assert denial is not None
    assert denial[1:] == (False, "spending_unknown")
    free = msgspec.structs.replace(OPENAI, name="openai/free", input_price=0.0, output_price=0.0)
    assert ask(free) is None


def test_a_verdict_is_kept_but_the_budget_is_asked_each_time() -> None:
    who = caller()
    assert reasons(who, facts(INTERNAL), left=1.0)["openai"] is None
    assert reasons(who, facts(INTERNAL), left=0.0)["openai"] is not None
    assert reasons(who, facts(RULES.parse("phi")))["openai"] is not None
    assert reasons(who, facts(INTERNAL))["openai"] is None


def test_what_is_kept_is_bounded_whatever_clients_claim_and_ask_for() -> None:
    who = caller()
    for number in range(MAX_LABELS * 3):
        who.denied(facts(Label(0, frozenset({f"c{number}"}))), NOW)(OWN)
    ask = who.denied(facts(INTERNAL), NOW)
    for number in range(MAX_VERDICTS + 10):
        ask(msgspec.structs.replace(OPENAI, name=f"openai/{number}"))
    kept = who._verdicts
    assert len(kept) <= MAX_LABELS
    assert max(len(verdicts) for verdicts in kept.values()) <= MAX_VERDICTS
