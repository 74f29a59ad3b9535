"""providers.toml and what a configuration and an environment make of it."""

from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.providers import Endpoint, load_config, normalise_base_url, resolve, row_of, rows, with_credentials
from freehold.config.checks import wrong_url
from freehold.config.schema import Config, Provider, Server, Timeouts
from freehold.dialects.traits import PLAIN

RENTED = {
    "openai", "anthropic", "gemini", "xai", "mistral", "deepseek", "cohere", "groq", "together", "fireworks",
    "openrouter", "huggingface", "cerebras", "perplexity", "voyage", "jina",
}  # fmt: skip
CLOUDS = {"bedrock", "vertex", "azure"}
LOCAL = {"vllm", "sglang", "trtllm", "llamacpp", "ollama", "lmstudio"}


def one(name: str, config: Config | None = None, local: tuple[tuple[str, str], ...] = (), **env: str) -> Endpoint:
    return resolve(config or Config(), env, local=local)[name]


def test_every_promised_provider_has_a_row() -> None:
    assert set(rows()) == RENTED | CLOUDS | LOCAL
    assert {name for name, row in rows().items() if row.local} == LOCAL


@pytest.mark.parametrize("name", sorted(RENTED | LOCAL))
def test_a_row_is_complete(name: str) -> None:
    row = rows()[name]
    assert row.title
    assert row.semconv
    assert row.checked is not None
    assert row.checked >= date(2026, 11, 1)
    assert row.docs.startswith("https://")
    assert wrong_url(row.base_url) is None
    assert not row.base_url.endswith("/")
    assert row.dialect in row.paths
    assert all(path.startswith("/") for path in row.paths.values())
    assert row.owned == row.local
    msgspec.structs.replace(PLAIN, **row.traits)
    if not row.local:
        assert row.base_url.startswith("https://")
        assert row.keys


@pytest.mark.parametrize("name", sorted(RENTED | LOCAL))
def test_a_rows_own_url_is_a_fixed_point(name: str) -> None:
    row = rows()[name]
    assert normalise_base_url(row, row.base_url) == row.base_url
    assert normalise_base_url(row, row.base_url + "/") == row.base_url
    assert normalise_base_url(row, row.base_url + row.paths[row.dialect].partition("{")[0].rstrip("/")) == row.base_url


@pytest.mark.parametrize(
    ("name", "typed", "meant"),
    [
        ("openai", "http://127.0.0.1:9001", "http://127.0.0.1:9001/v1"),
        ("openai", "http://127.0.0.1:9001/v1/", "http://127.0.0.1:9001/v1"),
        ("openai", "https://api.openai.com", "https://api.openai.com/v1"),
        ("openai", "https://proxy.example/openai", "https://proxy.example/openai"),
        ("openai", "https://r.openai.azure.com/openai/v1", "https://r.openai.azure.com/openai/v1"),
        ("anthropic", "http://127.0.0.1:9002", "http://127.0.0.1:9002"),
        ("anthropic", "http://127.0.0.1:9002/v1", "http://127.0.0.1:9002"),
        ("anthropic", "http://127.0.0.1:9002/v1/messages", "http://127.0.0.1:9002"),
        ("anthropic", "https://proxy.example/anthropic/v1", "https://proxy.example/anthropic"),
        ("gemini", "http://127.0.0.1:9003/", "http://127.0.0.1:9003"),
        ("gemini", "http://127.0.0.1:9003/v1beta", "http://127.0.0.1:9003"),
        ("groq", "https://api.groq.com", "https://api.groq.com/openai/v1"),
        ("groq", "https://api.groq.com/openai", "https://api.groq.com/openai/v1"),
        ("groq", "http://127.0.0.1:9001", "http://127.0.0.1:9001/v1"),
        ("fireworks", "https://api.fireworks.ai/inference", "https://api.fireworks.ai/inference/v1"),
        ("cohere", "https://api.cohere.com/v2/chat", "https://api.cohere.com"),
        ("deepseek", "https://api.deepseek.com", "https://api.deepseek.com"),
        ("deepseek", "https://api.deepseek.com/v1", "https://api.deepseek.com/v1"),
        ("ollama", "localhost", "http://localhost:11434"),
        ("ollama", "0.0.0.0", "http://127.0.0.1:11434"),
        ("ollama", "192.168.1.2:9000", "http://192.168.1.2:9000"),
        ("ollama", "http://[::1]:9000", "http://[::1]:9000"),
        ("ollama", "https://ollama.example", "https://ollama.example"),
    ],
)
def test_what_people_type_is_understood(name: str, typed: str, meant: str) -> None:
    assert normalise_base_url(rows()[name], typed) == meant


@given(
    st.sampled_from(sorted(RENTED | LOCAL)),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["h.example", "127.0.0.1:9001", "[::1]:80", "api.openai.com"]),
    st.sampled_from(["", "/", "/v1", "/v1/", "/proxy", "/proxy/v1", "/v1beta", "/v1/chat/completions", "/v1/messages"]),
)
def test_normalising_twice_changes_nothing(name: str, scheme: str, host: str, path: str) -> None:
    once = normalise_base_url(rows()[name], f"{scheme}://{host}{path}")
    assert normalise_base_url(rows()[name], once) == once
    assert urlsplit(once).hostname == urlsplit(f"{scheme}://{host}").hostname
    assert not once.endswith("/")


# Resolving


def test_a_key_in_the_environment_is_enough() -> None:
    found = one("openai", OPENAI_API_KEY="sk-x", OPENAI_ORG_ID="org-1")
    assert found.unavailable is None
    assert found.base_url == "https://api.openai.com/v1"
    assert found.auth == (b"Authorization", b"Bearer sk-x")
    assert found.headers == ((b"OpenAI-Organization", b"org-1"),)
    assert (found.key_from, found.url_from, found.configured, found.owned) == ("OPENAI_API_KEY", None, False, False)


def test_each_dialect_carries_its_key_its_own_way() -> None:
    anthropic = one("anthropic", ANTHROPIC_API_KEY="a")
    assert anthropic.auth == (b"x-api-key", b"a")
    assert anthropic.headers == ((b"anthropic-version", b"2023-06-01"),)
    assert one("gemini", GEMINI_API_KEY="g").auth == (b"x-goog-api-key", b"g")


def test_the_first_variable_set_wins_as_in_the_providers_own_sdk() -> None:
    assert one("gemini", GEMINI_API_KEY="second", GOOGLE_API_KEY="first").key_from == "GOOGLE_API_KEY"
    assert one("gemini", GEMINI_API_KEY="second", GOOGLE_API_KEY=" ").key_from == "GEMINI_API_KEY"


def test_the_configuration_wins_over_the_environment_and_that_over_the_row() -> None:
    env = {"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "http://env.example"}
    silent = one("openai", Config(providers={"openai": Provider()}), **env)
    assert (silent.base_url, silent.url_from) == ("http://env.example/v1", "OPENAI_BASE_URL")
    given = Provider(base_url="http://127.0.0.1:9001", api_key="sk-file", timeouts=Timeouts(total=5))
    spoken = one("openai", Config(providers={"openai": given}), **env)
    assert (spoken.base_url, spoken.auth) == ("http://127.0.0.1:9001/v1", (b"Authorization", b"Bearer sk-file"))
    assert spoken.timeouts.total == 5
    assert spoken.configured


def test_no_key_is_told_with_the_fix_and_leaks_nothing() -> None:
    found = one("groq")
    assert (found.unavailable, found.fix, found.auth) == ("no key for Groq", "set GROQ_API_KEY", None)


def test_an_endpoint_of_ones_own_may_do_without_a_key() -> None:
    found = one("openai", Config(providers={"openai": Provider(base_url="http://127.0.0.1:9001")}))
    assert found.unavailable is None
    assert found.auth is None


def test_discover_off_leaves_the_environment_alone() -> None:
    config = Config(discover=False, providers={"groq": Provider()})
    env = {"OPENAI_API_KEY": "sk-x", "GROQ_API_KEY": "gsk-x"}
    assert "discover is off" in (one("openai", config, **env).unavailable or "")
    assert one("groq", config, **env).unavailable is None, "configured: its variable counts"


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-é"])
def test_a_key_that_cannot_travel_is_told_without_being_shown(key: str) -> None:
    found = one("openai", OPENAI_API_KEY=key)
    assert found.auth is None
    assert found.unavailable
    assert key not in f"{found.unavailable} {found.fix}"


def test_white_space_around_a_key_is_no_part_of_it() -> None:
    assert one("openai", OPENAI_API_KEY=" sk-x\n").auth == (b"Authorization", b"Bearer sk-x")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"])
def test_a_base_url_in_the_environment_never_leads_back_to_ourselves(host: str) -> None:
    """The shell of a Claude Code user holds ANTHROPIC_BASE_URL for this gateway; freehold may start in it."""
    found = one("anthropic", ANTHROPIC_API_KEY="a", ANTHROPIC_BASE_URL=f"http://{host}:8484")
    assert found.unavailable == "ANTHROPIC_BASE_URL points at this gateway itself"
    other = one("anthropic", Config(server=Server(port=9)), ANTHROPIC_API_KEY="a", ANTHROPIC_BASE_URL="http://h:8484")
    assert other.unavailable is None


def test_a_base_url_in_the_environment_that_is_none_is_told() -> None:
    assert "OPENAI_BASE_URL is not" in (one("openai", OPENAI_API_KEY="k", OPENAI_BASE_URL="ftp://x").unavailable or "")


def test_a_local_server_is_offered_when_it_was_found_or_named() -> None:
    assert "not found running" in (one("ollama").unavailable or "")
    found = one("ollama", local=(("ollama", "http://127.0.0.1:11434/v1"),))
    assert found.unavailable is None
    assert found.owned
    assert one("vllm", VLLM_BASE_URL="http://gpu.example:8000").base_url == "http://gpu.example:8000/v1"
    assert one("lmstudio", Config(providers={"lmstudio": Provider()})).unavailable is None


@pytest.mark.parametrize(
    ("url", "owned"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://[::1]:11434", True),
        ("http://10.1.2.3:8000", True),
        ("http://gpu-box:8000", True),
        ("http://ollama.gpu.internal", True),
        ("https://ollama.com", False),
        ("https://8.8.8.8", False),
        ("https://vllm.example", False),
        ("https://internal.example", False),
    ],
)
def test_a_server_is_owned_by_itself_only_where_it_cannot_be_somebody_elses(url: str, owned: bool) -> None:
    for name, dialect in (("ollama", None), ("mine", "ollama"), ("vllm", None)):
        for said in (None, True, False):
            provider = Provider(base_url=url, dialect=dialect, owned=said)  # type: ignore[arg-type]
            found = one(name, Config(providers={name: provider}))
            assert found.owned is (owned if said is None else said)
    assert one("ollama", OLLAMA_HOST=url).owned is owned


def test_an_unknown_name_speaks_the_plain_dialect() -> None:
    given = {
        "mine": Provider(base_url="https://models.example/v1", api_key="k", owned=True),
        "claude-eu": Provider(base_url="https://eu.example/v1", api_key="k", dialect="messages"),
    }
    found = resolve(Config(providers=given), {"OPENAI_API_KEY": "never", "ANTHROPIC_API_KEY": "never"})
    assert list(found)[:2] == ["mine", "claude-eu"]
    assert found["mine"].auth == (b"Authorization", b"Bearer k")
    assert found["mine"].owned
    assert found["claude-eu"].auth == (b"x-api-key", b"k")
    assert found["claude-eu"].base_url + found["claude-eu"].paths["messages"] == "https://eu.example/v1/messages"


def test_an_unknown_name_gets_no_key_of_somebody_elses() -> None:
    found = one("mine", Config(providers={"mine": Provider(base_url="https://m.example")}), OPENAI_API_KEY="sk-x")
    assert found.auth is None


def test_a_row_may_be_spoken_to_in_another_dialect_with_its_own_key() -> None:
    given = Provider(dialect="messages", base_url="https://api.deepseek.com/anthropic")
    found = one("deepseek", Config(providers={"deepseek": given}), DEEPSEEK_API_KEY="k")
    assert (found.dialect, found.auth) == ("messages", (b"x-api-key", b"k"))
    assert row_of("deepseek", "messages").prices == "deepseek"


def test_a_configured_header_replaces_the_rows_whatever_its_case() -> None:
    given = Provider(api_key="k", headers={"Anthropic-Version": "2099-01-01", "X-Team": "blue"})
    found = one("anthropic", Config(providers={"anthropic": given}))
    assert found.headers == ((b"Anthropic-Version", b"2099-01-01"), (b"X-Team", b"blue"))


def test_load_config_knows_the_built_in_names() -> None:
    assert load_config(None, {}).config == Config()


# Clouds: no key of ours, but a place


def cloud(name: str, provider: Provider | None = None, **env: str) -> Endpoint:
    config = Config(providers={name: provider} if provider else {})
    return resolve(config, {"HOME": "/nonexistent", **env})[name]


@pytest.mark.parametrize("name", sorted(CLOUDS))
def test_a_cloud_that_nobody_named_says_what_to_set(name: str) -> None:
    endpoint = cloud(name)
    assert endpoint.unavailable is not None
    assert endpoint.fix is not None
    assert any(variable in endpoint.fix for variable in rows()[name].keys)


def test_bedrock_takes_its_place_from_the_region() -> None:
    endpoint = cloud("bedrock", AWS_ACCESS_KEY_ID="AKIA", AWS_REGION="eu-west-1")
    assert endpoint.unavailable is None
    assert endpoint.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert endpoint.signs is not None
    assert (endpoint.signs.kind, endpoint.signs.region) == ("aws", "eu-west-1")
    without = cloud("bedrock", AWS_ACCESS_KEY_ID="AKIA")
    assert (without.unavailable, without.fix) == (
        "no region for Amazon Bedrock", "set AWS_REGION or AWS_DEFAULT_REGION",
    )  # fmt: skip
    bad = cloud("bedrock", AWS_ACCESS_KEY_ID="AKIA", AWS_REGION="evil.example/")
    assert bad.unavailable is not None


def test_vertex_knows_project_and_region_and_both_publishers() -> None:
    told = Provider(region="europe-west4", project="acme")
    endpoint = cloud("vertex", told)
    assert endpoint.unavailable is None
    assert endpoint.base_url == "https://europe-west4-aiplatform.googleapis.com"
    assert endpoint.paths["gemini"].startswith("/v1/projects/acme/locations/europe-west4/publishers/google/")
    assert "/publishers/anthropic/models/{model}:rawPredict" in endpoint.paths["messages"]
    assert cloud("vertex", Provider(region="global")).unavailable == "no project for Google Vertex AI"


def test_azure_has_two_apis() -> None:
    new = cloud("azure", Provider(base_url="https://acme.openai.azure.com/openai/v1/", api_key="k" * 20))
    assert new.base_url + new.paths["chat"] == "https://acme.openai.azure.com/openai/v1/chat/completions"
    old = cloud("azure", AZURE_OPENAI_ENDPOINT="https://acme.openai.azure.com", AZURE_OPENAI_API_KEY="k" * 20,
                OPENAI_API_VERSION="2024-10-21")  # fmt: skip
    assert old.unavailable is None
    assert old.paths["chat"] == "/openai/deployments/{model}/chat/completions?api-version=2024-10-21"
    assert cloud("azure", AZURE_OPENAI_API_KEY="k" * 20).fix == "set AZURE_OPENAI_ENDPOINT"


def test_a_place_may_stand_where_the_credentials_are(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-north-1\n[profile lab]\nregion = sa-east-1\n")
    home = str(tmp_path)
    assert cloud("bedrock", Provider(), HOME=home).base_url == "https://bedrock-runtime.eu-north-1.amazonaws.com"
    lab = cloud("bedrock", Provider(profile="lab"), HOME=home)
    assert lab.signs is not None
    assert lab.signs.region == "sa-east-1"
    assert cloud("bedrock", HOME=home, AWS_PROFILE="lab").unavailable is None
    assert cloud("bedrock", Provider(), HOME=home, AWS_REGION="us-east-1").signs.region == "us-east-1"  # type: ignore[union-attr]
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "project_id": "lab-1"}')
    endpoint = cloud("vertex", Provider(region="global", credentials=str(key)))
    assert endpoint.unavailable is None
    assert "/projects/lab-1/" in endpoint.paths["gemini"]
    key.write_text("{")
    assert cloud("vertex", Provider(region="global", credentials=str(key))).unavailable is not None


def test_what_a_configured_cloud_lacks_can_stand_in_the_file_too() -> None:
    assert cloud("bedrock", Provider()).fix == "set AWS_REGION or AWS_DEFAULT_REGION, or region under providers.bedrock"
    assert str(cloud("vertex", Provider(region="global")).fix).endswith(", or project under providers.vertex")
    assert cloud("azure", Provider()).fix == "set AZURE_OPENAI_ENDPOINT, or base_url under providers.azure"


def test_credentials_are_looked_at_for_people_only() -> None:
    """The gateway looks at the first request: a file may be mounted late."""
    env = {"HOME": "/nonexistent", "AWS_REGION": "eu-west-1", "GROQ_API_KEY": "gsk_0123456789"}
    endpoints = resolve(Config(providers={"bedrock": Provider()}), env)
    assert endpoints["bedrock"].unavailable is None
    shown = with_credentials(endpoints, env)
    assert shown["bedrock"].unavailable == "no AWS credentials were found"
    assert "AWS_BEARER_TOKEN_BEDROCK" in str(shown["bedrock"].fix)
    assert shown["groq"] is endpoints["groq"]
    assert with_credentials(endpoints, {**env, "AWS_BEARER_TOKEN_BEDROCK": "key-0123456789"}) == endpoints
