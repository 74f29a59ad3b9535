"""What the inside sees: everything but credentials."""

import pytest

from freehold.call.providers import resolve
from freehold.config.load import Loaded, loads
from freehold.egress import scrub
from freehold.egress.scrub import PLACEHOLDER
from freehold.errors import ConfigError

NAMES = ["openai", "anthropic", "bedrock", "vertex", "azure"]
SECRET = "sk-literal-secret-0123456789"


def load(text: str, **env: str) -> Loaded:
    return loads(text.encode(), env, providers=NAMES)


def inside(text: str, **env: str) -> tuple[bytes, dict[str, str], Loaded]:
    real = load(text, **env)
    secret = scrub.variables(real)
    scrubbed = scrub.environment(env, secret, resolve(real.config, env))
    content = scrub.text(text.encode(), real)
    found = loads(content, scrubbed, providers=NAMES)
    scrub.check(real, found)
    return content, scrubbed, found


def test_keys_of_the_environment_become_placeholders() -> None:
    env = {"OPENAI_API_KEY": "sk-1", "MINE": "sk-2", "HF_TOKEN": "hf_x", "AWS_SECRET_ACCESS_KEY": "y", "PATH": "/bin"}
    text = 'providers: {openai: {}, house: {base_url: "http://h/v1", api_key: "${MINE}"}}\n'
    content, scrubbed, found = inside(text, **env)
    assert content == text.encode()
    assert scrubbed == {"OPENAI_API_KEY": PLACEHOLDER, "MINE": PLACEHOLDER, "PATH": "/bin"}
    assert found.config.providers["house"].api_key == PLACEHOLDER


def test_the_inside_offers_the_same_providers() -> None:
    env = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2"}
    real = load("{}\n", **env)
    scrubbed = scrub.environment(env, scrub.variables(real), resolve(real.config, env))
    for name, one in resolve(real.config, scrubbed).items():
        assert (one.unavailable is None) == (name in ("openai", "anthropic")), name


def test_keys_that_stand_in_the_file_are_taken_out() -> None:
    text = (
        f'providers:\n  openai: {{api_key: "{SECRET}"}}  # {SECRET}\n'
        f'  house: {{base_url: "http://h/v1", headers: {{X-Team-Token: "{SECRET}-2", x-plain: "{SECRET[:4]}"}}}}\n'
    )
    content, _, found = inside(text)
    assert SECRET.encode() not in content
    assert found.config.providers["openai"].api_key == PLACEHOLDER
    assert found.config.providers["house"].headers == {"X-Team-Token": PLACEHOLDER, "x-plain": SECRET[:4]}


def test_one_key_of_two_providers() -> None:
    text = f'providers: {{openai: {{api_key: "{SECRET}"}}, anthropic: {{api_key: "{SECRET}"}}}}\n'
    content, _, found = inside(text)
    assert SECRET.encode() not in content
    assert [one.api_key for one in found.config.providers.values()] == [PLACEHOLDER, PLACEHOLDER]


@pytest.mark.parametrize(
    "text",
    [
        'providers: {openai: {api_key: "sk-\\x61bcdefghijkl"}}\n',  # written in another way than it reads
        'providers: {openai: {api_key: "short"}}\n',
        'providers: {openai: {api_key: "gpt-4o-mini"}}\nmodels: {small: [openai/gpt-4o-mini]}\n',
        'providers: {openai: {api_key: "before${X}after"}, house: {base_url: "http://h/v1", api_key: "${X}"}}\n'
        'keys: [{name: a, key: "${X}"}]\n',
    ],
)
def test_what_cannot_be_taken_out_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no worker may see|cannot be taken out"):
        inside(text, X="0123456789abcdefgh")


def test_a_value_made_of_a_variable_and_more_holds_the_placeholder() -> None:
    text = 'providers: {house: {base_url: "http://h/v1", headers: {Authorization: "Bearer ${X}"}}}\n'
    with pytest.raises(ConfigError, match="cannot be taken out"):
        inside(text, X="0123456789abcdefgh")
