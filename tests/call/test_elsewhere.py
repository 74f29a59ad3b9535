"""Whose address it is: a provider's terms hold for its own, not for one that somebody has put in its place."""

import pytest

from freehold.call.providers import elsewhere, resolve
from freehold.config.schema import Config, Provider
from freehold.labels import Kind, Label, Rules

KEYS = {"OPENAI_API_KEY": "sk-0", "ANTHROPIC_API_KEY": "sk-1", "AZURE_OPENAI_API_KEY": "k"}


def away(env: dict[str, str], **providers: Provider) -> frozenset[str]:
    config = Config(providers=providers)
    return elsewhere(config, resolve(config, {**KEYS, **env}))


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({}, False),
        ({"OPENAI_BASE_URL": "https://proxy.example/v1"}, True),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1"}, False),
        ({"OPENAI_BASE_URL": "https://api.openai.com"}, False),
        ({"OPENAI_BASE_URL": "http://api.openai.com/v1"}, True),
        ({"OPENAI_BASE_URL": "https://api.openai.com:8443/v1"}, True),
        ({"OPENAI_BASE_URL": "https://api.openai.com.example/v1"}, True),
    ],
)
def test_an_address_from_the_environment(env: dict[str, str], found: bool) -> None:
    assert ("openai" in away(env)) is found
    assert "anthropic" not in away(env)


def test_an_address_from_the_file() -> None:
    assert "openai" in away({}, openai=Provider(base_url="https://proxy.example/v1"))
    assert "openai" not in away({}, openai=Provider(base_url="https://api.openai.com/v1"))
    assert "azure" in away({"AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com"}), "anybody's resource looks so"


def test_what_follows() -> None:
    env = {**KEYS, "OPENAI_BASE_URL": "https://proxy.example/v1"}
    for policy, level in ((None, 1), ("openai", 2), ("contract", 2)):
        config = Config(providers={"openai": Provider(cleared="confidential", policy=policy)})
        for environment, most in ((env, level), (KEYS, 2)):
            rules = Rules(config, elsewhere=elsewhere(config, resolve(config, environment)))
            place = rules.clearance("openai", owned=False)
            flows = [rules.barred(Label(one), Kind.DEPLOYMENTS, place) is None for one in range(4)]
            assert flows == [one <= most for one in range(4)], (policy, environment)
