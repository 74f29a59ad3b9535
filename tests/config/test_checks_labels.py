"""Labels, environments, regions and budgets of freehold.yaml: what each mistake says of itself."""

import msgspec
import pytest
import yaml

from freehold.config.checks_labels import check_labels, is_date, key_trouble
from freehold.config.problems import Problems, Sources
from freehold.config.schema import Config, Key

PROVIDERS = ["openai", "anthropic", "azure", "bedrock"]


def convert(text: str) -> Config:
    return msgspec.convert(yaml.safe_load(text), Config)


def mistakes(text: str) -> list[tuple[str, str, str]]:
    problems = Problems(Sources("freehold.yaml"))
    check_labels(convert(text), problems, PROVIDERS)
    return [(error.key, error.message, error.hint or "") for error in problems.errors]


def test_what_is_meant_to_be_written_has_no_mistake() -> None:
    assert not mistakes("""
environment: prod
environments:
  dev: {only: owned}
  prod: {providers: [azure, bedrock], regions: [eu]}
labels:
  default: internal+region:eu
  compartments: [legal]
  confidential: {providers: [azure, bedrock]}
  restricted: {only: owned}
providers:
  azure: {cleared: confidential+phi+legal, region: swedencentral, models: {gpt-5: {retires: '2027-03-01'}}}
  bedrock: {region: eu-central-1, cleared: confidential}
keys:
  - {name: a, label: confidential+phi, environment: dev, budget: $200/month, providers: [own, azure]}
""")


def test_without_the_names_of_providers_none_is_judged() -> None:
    problems = Problems(Sources("freehold.yaml"))
    check_labels(convert("environments: {dev: {providers: [nobody]}}"), problems)
    assert not problems.errors


@pytest.mark.parametrize(
    ("text", "key", "message", "hint"),
    [
        ("labels: {default: secret}", "labels.default", "expected a level", "levels are public"),
        ("labels: {compartments: [Legal]}", "labels.compartments[0]", "not usable", "legal"),
        ("labels: {compartments: [internal]}", "labels.compartments[0]", "not usable", ""),
        (
            "labels: {restricted: {only: owned, providers: [azure]}}",
            "labels.restricted.providers",
            "leaves nothing",
            "",
        ),
        ("labels: {internal: {providers: [opnai]}}", "labels.internal.providers[0]", "no provider opnai", "openai"),
        (
            "labels: {confidential: {only: owned}, restricted: {providers: [azure]}}",
            "labels.restricted.providers[0]",
            "azure may not even see confidential, whose rules hold for restricted too",
            "name it under confidential",
        ),
        (
            "labels: {internal: {providers: [openai]}, confidential: {providers: [azure]}}",
            "labels.confidential.providers[0]",
            "azure may not even see internal",
            "",
        ),
        (
            "{labels: {restricted: {providers: [azure]}}, providers: {azure: {cleared: confidential}}}",
            "labels.restricted.providers[0]",
            "azure is cleared for confidential at most",
            "raise cleared under providers.azure",
        ),
        ("providers: {azure: {cleared: top}}", "providers.azure.cleared", "expected a level", ""),
        (
            "providers: {azure: {cleared: internal+region:eu}}",
            "providers.azure.cleared",
            "a region is where",
            "region: eu",
        ),
        ("providers: {azure: {region: 'Sweden Central'}}", "providers.azure.region", "not a region's name", "eu"),
        (
            "providers: {azure: {models: {m: {retires: next year}}}}",
            "providers.azure.models.m.retires",
            "ISO 8601 date",
            "2027-01-31",
        ),
        ("own: [{name: m, facts: {region: '?'}}]", "own[0].facts.region", "not a region's name", ""),
        ("environment: prod", "environment", "no environment prod", "add it under environments"),
        ("{environment: prd, environments: {prod: {}}}", "environment", "no environment prd", "prod"),
        ("environments: {dev: {only: owned, providers: [azure]}}", "environments.dev.providers", "leaves nothing", ""),
        ("environments: {dev: {providers: [azzure]}}", "environments.dev.providers[0]", "no provider azzure", "azure"),
        ("environments: {dev: {regions: ['']}}", "environments.dev.regions[0]", "not a region's name", ""),
        ("keys: [{name: a, label: hush}]", "keys[0].label", "expected a level", "compartments are pci, phi"),
        ("keys: [{name: a, environment: dev}]", "keys[0].environment", "no environment dev", ""),
        ("keys: [{name: a, budget: 200}]", "", "", ""),
        ("keys: [{name: a, budget: $200}]", "keys[0].budget", "expected dollars a day, week or month", "Monday"),
        ("keys: [{name: a, providers: [openia]}]", "keys[0].providers[0]", "no provider openia", "openai"),
    ],
)
def test_a_mistake_names_place_expectation_and_remedy(text: str, key: str, message: str, hint: str) -> None:
    if not key:
        with pytest.raises(msgspec.ValidationError):
            convert(text)
        return
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0][0] == key
    assert message in found[0][1]
    assert hint in found[0][2]


def test_a_key_beside_the_file_is_held_to_it_or_refused() -> None:
    config = convert("{environments: {dev: {only: owned}}, labels: {compartments: [legal]}}")
    assert key_trouble(config, Key("a", label="internal+legal", environment="dev", budget="$5/day")) is None
    assert key_trouble(config, Key("a", environment="gone")) == (
        "its environment cannot be kept to: no environment gone"
    )
    assert "its label cannot be kept to" in (key_trouble(config, Key("a", label="x")) or "")
    assert "its budget cannot be kept to" in (key_trouble(config, Key("a", budget="much")) or "")


def test_no_mistake_repeats_what_a_variable_held() -> None:
    for text in ("labels: {default: hunter2}", "keys: [{name: a, label: hunter2, budget: hunter2}]"):
        assert "hunter2" not in str(mistakes(text))


def test_dates_sort_as_texts() -> None:
    assert is_date("2027-01-31")
    assert not any(map(is_date, ["20270131", "2027-1-31", "2027-02-30", "2027-01-31T00:00", "", "soon"]))
