"""A LiteLLM configuration becomes a freehold.yaml that loads; every field is accounted for, and no secret moves."""

from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.call.providers import rows
from freehold.config.litellm import Builtin, Imported, convert, known
from freehold.config.litellm.vendors import VENDORS
from freehold.config.load import loads
from freehold.config.problems import ConfigErrors
from freehold.config.schema import Capability, Config

BUILT_IN = {name: Builtin(row.base_url, row.dialect, tuple(row.keys)) for name, row in rows().items()}

TEAM = """
environment_variables:
  AZURE_API_BASE: "https://team-eu.openai.azure.com/"
  REDIS_HOST: cache.internal
  AZURE_API_KEY_EU: azure-secret-0123456789

model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: os.environ/AZURE_API_BASE
      api_key: os.environ/AZURE_API_KEY_EU
      api_version: "2024-10-21"
      rpm: 600
      weight: 2
      timeout: 45
      stream_timeout: 20
    model_info:
      base_model: azure/gpt-4o
      mode: chat
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
      cache_read_input_token_cost: 1.25e-06
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-us
      api_base: https://team-us.openai.azure.com/
      api_key: os.environ/AZURE_API_KEY_US
      api_version: "2024-10-21"
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: sk-proj-abcdefghijklmnopqrstuvwxyz
      organization: org-123
      temperature: 0.2
      weight: 5
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
    model_info: {max_input_tokens: 200000, max_output_tokens: 64000, supports_vision: true, supports_audio_input: no}
  - model_name: llama
    litellm_params: {model: openai/meta-llama/Llama-3.1-8B, api_base: "http://10.0.0.5:8000/v1", api_key: none}
  - model_name: embed
    litellm_params: {model: text-embedding-3-small, api_key: os.environ/OPENAI_API_KEY}
    model_info: {mode: embedding}
  - model_name: bedrock-claude
    litellm_params:
      model: bedrock/converse/us.anthropic.claude-sonnet-4-5-v1:0
      aws_region_name: us-east-1
      aws_access_key_id: os.environ/AWS_ACCESS_KEY_ID
      aws_secret_access_key: aws-secret-0123456789
  - model_name: bedrock-claude
    litellm_params: {model: "bedrock/eu.anthropic.claude-sonnet-4-5-v1:0", aws_region_name: eu-west-1}
  - model_name: gemini
    litellm_params: {model: vertex_ai/gemini-2.5-pro, vertex_project: p-1, vertex_location: europe-west1}
  - model_name: "anthropic/*"
    litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: "*"
    litellm_params: {model: "*"}
  - model_name: my model
    litellm_params:
      model: ollama_chat/llama3.2
      api_base: "http://localhost:11434"
      extra_headers: {X-Token: header-secret-0123456789, X-Team: a}
  - model_name: sagemaker
    litellm_params: {model: sagemaker/endpoint-1, aws_region_name: us-east-1}

litellm_settings:
  drop_params: yes
  num_retries: 4
  request_timeout: 600
  fallbacks: [{gpt-4o: [claude]}, {claude: [gpt-4o]}]
  context_window_fallbacks: [{gpt-4o: [gemini]}]
  default_fallbacks: [llama]
  cache: true
  cache_params: {type: redis, host: a, password: redis-secret-0123456789}
  success_callback: [langfuse]
  frobnicate: {a: 1, b: [2, 3]}
router_settings:
  routing_strategy: usage-based-routing-v2
  model_group_alias: {gpt-4: gpt-4o}
  allowed_fails: 3
  cooldown_time: 30
  num_retries: 2
  redis_host: os.environ/REDIS_HOST
general_settings:
  master_key: sk-master-0123456789
  database_url: postgres://user:database-secret-0123456789@db/litellm
  max_request_size_mb: 64
"""


def imported(text: str, **options: Any) -> Imported:
    return convert(text.encode(), "config.yaml", providers=BUILT_IN, **options)


def loaded(result: Imported) -> Config:
    """What our own loader makes of the new file, every variable set."""
    env = {v.name: f"https://host.example/{v.name}" for v in result.variables}  # fits as an address and as a key
    return loads(result.text.encode(), env, providers=rows().keys()).config


def fate(result: Imported, key: str) -> tuple[str, str]:
    found = [one for one in result.findings if one.key == key]
    assert len(found) == 1, (key, found)
    return found[0].fate, found[0].to


def leaves(value: Any, path: str = "") -> list[str]:
    """Every scalar and everything empty, by the path that findings use."""
    if isinstance(value, dict) and value:
        return [leaf for name, below in value.items() for leaf in leaves(below, f"{path}.{name}" if path else name)]
    if isinstance(value, list) and value:
        return [leaf for index, below in enumerate(value) for leaf in leaves(below, f"{path}[{index}]")]
    return [path]


def test_every_field_is_accounted_for_exactly_once() -> None:
    result = imported(TEAM)
    assert sorted(one.key for one in result.findings) == sorted(leaves(yaml.safe_load(TEAM)))
    for one in result.findings:
        assert one.where.startswith("config.yaml:")
        assert (one.to != "") == (one.fate != "dropped"), one
        assert one.why or one.fate == "mapped", one


def test_only_what_nobody_knows_is_called_unknown() -> None:
    unknown = {one.key for one in imported(TEAM).findings if one.why == "unknown"}
    assert unknown == {"litellm_settings.frobnicate.a", *(f"litellm_settings.frobnicate.b[{i}]" for i in (0, 1))}


def test_no_secret_of_the_source_is_anywhere_in_the_result() -> None:
    result = imported(TEAM)
    told = result.text + repr(result.config) + repr(result.findings) + repr(result.variables)
    assert "0123456789" not in told
    assert "sk-proj" not in told
    literal = {variable.name for variable in result.variables if variable.secret_was_literal}
    assert literal == {"OPENAI_API_KEY_2", "OLLAMA_CHAT_X_TOKEN", "LITELLM_MASTER_KEY"}


def test_the_result_loads_and_means_the_same() -> None:
    config = loaded(imported(TEAM))
    azure = config.providers["azure"]
    assert (azure.base_url or "").startswith("https://host.example/")
    assert azure.api_version == "2024-10-21"
    assert azure.timeouts is not None
    assert (azure.timeouts.first_byte, azure.timeouts.idle) == (45, 20)
    facts = azure.models["gpt-4o-eu"]
    assert (facts.input, facts.output, facts.cached) == (2.5, 10, 1.25)
    assert config.providers["azure-team-us"].base_url == "https://team-us.openai.azure.com/openai/v1"
    assert config.providers["openai"].headers == {"OpenAI-Organization": "org-123"}
    assert config.providers["server-10-0-0-5"].api_key is None
    assert config.providers["bedrock"].region == "us-east-1"
    assert (config.providers["bedrock-eu-west-1"].region, config.providers["bedrock-eu-west-1"].dialect) == (
        "eu-west-1",
        "converse",
    )
    assert (config.providers["vertex"].project, config.providers["vertex"].region) == ("p-1", "europe-west1")
    claude = config.providers["anthropic"].models["claude-sonnet-4-5"]
    assert (claude.context, claude.max_output) == (200_000, 64_000)
    assert claude.can == ["tools", "schema", "images", "documents"]
    assert config.models == {
        "gpt-4o": ["openai/gpt-4o", "azure/gpt-4o-eu", "azure-team-us/gpt-4o-us", "claude", "gemini"],
        "claude": [
            "anthropic/claude-sonnet-4-5",
            "openai/gpt-4o",
            "azure/gpt-4o-eu",
            "azure-team-us/gpt-4o-us",
        ],
        "llama": ["server-10-0-0-5/meta-llama/Llama-3.1-8B"],
        "embed": ["openai-2/text-embedding-3-small", "llama"],
        "bedrock-claude": [
            "bedrock/us.anthropic.claude-sonnet-4-5-v1:0",
            "bedrock-eu-west-1/eu.anthropic.claude-sonnet-4-5-v1:0",
            "llama",
        ],
        "gemini": ["vertex/gemini-2.5-pro", "llama"],
        "my-model": ["ollama/llama3.2", "llama"],
        "gpt-4": ["gpt-4o", "llama"],
    }
    assert [key.name for key in config.keys] == ["master"]
    assert config.server.max_body_mb == 64
    assert config.timeouts.first_byte == 600
    assert (config.retries, config.breaker.failures, config.breaker.cooldown) == (2, 4, 30)
    assert config.strict is False


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("model_list[0].litellm_params.api_key", ("mapped", "providers.azure.api_key")),
        ("model_list[0].litellm_params.rpm", ("dropped", "")),
        ("model_list[0].litellm_params.weight", ("approximated", "models")),
        ("model_list[2].litellm_params.api_key", ("approximated", "providers.openai.api_key")),
        ("model_list[2].litellm_params.temperature", ("dropped", "")),
        ("model_list[6].litellm_params.aws_access_key_id", ("mapped", "the environment")),
        ("model_list[6].litellm_params.aws_secret_access_key", ("approximated", "the environment")),
        ("model_list[9].model_name", ("mapped", "providers.anthropic")),
        ("model_list[10].model_name", ("approximated", "discover")),
        ("model_list[11].model_name", ("approximated", "models.my-model")),
        ("model_list[12].litellm_params.model", ("dropped", "")),
        ("environment_variables.AZURE_API_BASE", ("approximated", "providers")),
        ("environment_variables.REDIS_HOST", ("dropped", "")),
        ("environment_variables.AZURE_API_KEY_EU", ("approximated", "the environment")),
        ("litellm_settings.drop_params", ("mapped", "strict")),
        ("litellm_settings.num_retries", ("dropped", "")),
        ("router_settings.num_retries", ("approximated", "retries")),
        ("litellm_settings.cache_params.password", ("dropped", "")),
        ("general_settings.master_key", ("approximated", "keys[0]")),
    ],
)
def test_what_becomes_of_a_field(key: str, expected: tuple[str, str]) -> None:
    assert fate(imported(TEAM), key) == expected


def one_model(params: str, name: str = "m", info: str = "{}") -> Imported:
    text = f"model_list:\n  - model_name: {name}\n    litellm_params: {params}\n    model_info: {info}\n"
    result = imported(text)
    loaded(result)
    return result


@pytest.mark.parametrize(
    ("params", "provider", "target"),
    [
        ("{model: gpt-4o}", {"openai": {}}, "openai/gpt-4o"),
        ("{model: claude-opus-4-5}", {"anthropic": {}}, "anthropic/claude-opus-4-5"),
        ("{model: openai/responses/gpt-5}", {"openai": {}}, "openai/gpt-5"),
        ("{model: openai/gpt-4o, api_base: 'https://api.openai.com/v1'}", {"openai": {}}, "openai/gpt-4o"),
        (
            "{model: together_ai/meta-llama/x}",
            {"together": {"api_key": "${TOGETHERAI_API_KEY}"}},
            "together/meta-llama/x",
        ),
        (
            "{model: deepinfra/a/b}",
            {"deepinfra": {"base_url": "https://api.deepinfra.com/v1/openai", "api_key": "${DEEPINFRA_API_KEY}"}},
            "deepinfra/a/b",
        ),
        (
            "{model: azure/dep}",
            {"azure": {"base_url": "${AZURE_API_BASE}", "api_key": "${AZURE_API_KEY}"}},
            "azure/dep",
        ),
        (
            "{model: 'hosted_vllm/qwen', api_base: 'http://vllm.internal:8000/v1'}",
            {"vllm": {"base_url": "http://vllm.internal:8000/v1"}},
            "vllm/qwen",
        ),
        (
            "{model: anthropic/claude, api_base: 'https://claude.corp.example', api_key: os.environ/CORP_KEY}",
            {
                "anthropic-claude": {
                    "base_url": "https://claude.corp.example",
                    "dialect": "messages",
                    "api_key": "${CORP_KEY}",
                }
            },
            "anthropic-claude/claude",
        ),
        (
            "{model: some-model, custom_llm_provider: groq, api_key: os.environ/GROQ_API_KEY}",
            {"groq": {"api_key": "${GROQ_API_KEY}"}},
            "groq/some-model",
        ),
        (
            "{model: my-finetune, api_base: 'http://localhost:9000/v1'}",
            {"local-9000": {"base_url": "http://localhost:9000/v1"}},
            "local-9000/my-finetune",
        ),
        (
            "{model: openai/x, api_base: 'https://user:pw@llm.corp.example/v1?tenant=1'}",
            {"llm-corp": {"base_url": "https://llm.corp.example/v1"}},
            "llm-corp/x",
        ),
    ],
)
def test_where_a_model_is_called(params: str, provider: dict[str, Any], target: str) -> None:
    result = one_model(params)
    assert result.config["providers"] == provider
    assert result.config["models"] == {"m": [target]}


def test_the_order_of_deployments_is_litellm_where_it_has_one() -> None:
    entries = [("b", "order: 2"), ("c", "order: 2, weight: 9"), ("a", "order: 1")]
    lines = [f"  - {{model_name: m, litellm_params: {{model: openai/{n}, {more}}}}}" for n, more in entries]
    result = imported("model_list:\n" + "\n".join(lines))
    assert result.config["models"]["m"] == ["openai/a", "openai/c", "openai/b"]


def test_one_secret_has_one_variable_and_another_one_another() -> None:
    keys = ["sk-aaaaaaaaaaaaaaaa", "sk-bbbbbbbbbbbbbbbb", "sk-aaaaaaaaaaaaaaaa"]
    lines = [f"  - {{model_name: m{i}, litellm_params: {{model: gpt-{i}, api_key: {k}}}}}" for i, k in enumerate(keys)]
    result = imported("model_list:\n" + "\n".join(lines))
    providers = result.config["providers"]
    assert [p["api_key"] for p in providers.values()] == ["${OPENAI_API_KEY}", "${OPENAI_API_KEY_2}"]
    assert result.config["models"]["m2"] == ["openai/gpt-2"]


def test_the_usual_variable_is_the_same_place_as_no_key_at_all() -> None:
    params = ["{model: gpt-a}", "{model: gpt-b, api_key: os.environ/OPENAI_API_KEY}", "{model: gpt-c, organization: o}"]
    lines = [f"  - {{model_name: m{i}, litellm_params: {text}}}" for i, text in enumerate(params)]
    result = imported("model_list:\n" + "\n".join(lines))
    assert result.config["providers"] == {
        "openai": {"api_key": "${OPENAI_API_KEY}"},
        "openai-2": {
            "base_url": "https://api.openai.com/v1",
            "headers": {"OpenAI-Organization": "o"},
            "api_key": "${OPENAI_API_KEY}",
        },
    }


def test_a_deployments_own_name_needs_no_alias() -> None:
    result = one_model("{model: openai/gpt-4o}", name="openai/gpt-4o")
    assert "models" not in result.config
    assert fate(result, "model_list[0].model_name") == ("mapped", "openai/gpt-4o")


def test_a_name_that_would_hide_a_deployment_is_changed_and_said() -> None:
    result = one_model("{model: azure/gpt-4o, api_base: 'https://x.example'}", name="openai/gpt-4o")
    assert result.config["models"] == {"openai-gpt-4o": ["azure/gpt-4o"]}
    assert fate(result, "model_list[0].model_name")[0] == "approximated"


def test_fallbacks_both_ways_make_no_circle() -> None:
    result = imported(TEAM)
    assert fate(result, "litellm_settings.fallbacks[0].gpt-4o[0]") == ("mapped", "models.gpt-4o")
    assert fate(result, "litellm_settings.fallbacks[1].claude[0]") == ("approximated", "models.claude")


def test_refusing_unsupported_parameters_is_strict() -> None:
    result = imported("litellm_settings: {drop_params: false}")
    assert result.config == {"strict": True}


def test_credentials_are_used_where_they_are_named() -> None:
    result = imported("""
model_list:
  - model_name: m
    litellm_params: {model: azure/dep, litellm_credential_name: eu}
credential_list:
  - credential_name: eu
    credential_values: {api_key: os.environ/EU_KEY, api_base: "https://eu.openai.azure.com", api_version: v1}
    credential_info: {description: x}
  - credential_name: unused
    credential_values: {api_key: credential-secret-0123456789}
    credential_info: {}
""")
    assert result.config["providers"] == {"azure": {"base_url": "https://eu.openai.azure.com", "api_key": "${EU_KEY}"}}
    assert fate(result, "credential_list[0].credential_values.api_key")[0] == "mapped"
    assert fate(result, "credential_list[1].credential_values.api_key")[0] == "dropped"
    assert "0123456789" not in repr(result)


def test_included_files_are_joined() -> None:
    files = {"models.yaml": b"model_list: [{model_name: b, litellm_params: {model: gpt-b}}]\n"}
    text = "include: [models.yaml]\nmodel_list: [{model_name: a, litellm_params: {model: gpt-a}}]\n"
    result = imported(text, include=files.__getitem__)
    assert list(result.config["models"]) == ["a", "b"]
    assert {one.where.split(":")[0] for one in result.findings} == {"config.yaml", "models.yaml"}


def test_merge_keys_and_truth_values_are_those_of_yaml_1_1() -> None:
    result = imported("""
shared: &shared {api_key: os.environ/SHARED_KEY, timeout: 10}
model_list:
  - model_name: a
    litellm_params: {<<: *shared, model: openai/a, timeout: 20}
litellm_settings: {drop_params: off}
""")
    assert result.config["providers"]["openai"] == {"api_key": "${SHARED_KEY}", "timeouts": {"first_byte": 20}}
    assert result.config["strict"] is True


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("model_list: [a\n", "config.yaml:1:", "not valid YAML"),
        ("- a\n", "config.yaml:1:1", "expected a mapping"),
        ("just text\n", "config.yaml:1:1", "expected a mapping"),
        ("{}\n", "config.yaml:1:1", "none of its sections"),
        ("hello: 1\n", "config.yaml:1:1", "none of its sections"),
        ("providers: {openai: {}}\n", "config.yaml:1:1", "none of its sections"),
        ("model_list:\n  - !!python/object/apply:os.system [x]\n", "config.yaml:2:5", "tags"),
        ("model_list: []\nmodel_list: []\n", "config.yaml:2:1", "twice"),
    ],
)
def test_what_is_no_litellm_configuration_is_refused_with_its_place(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        imported(text)
    error = caught.value.errors[0]
    assert error.where.startswith(where)
    assert message in error.message
    assert error.hint


def test_vendors_agree_with_what_is_built_in() -> None:
    for prefix, vendor in VENDORS.items():
        for row in vendor.rows:
            assert row in rows(), prefix
        if vendor.rows and vendor.dialect != "chat":
            assert vendor.dialect == rows()[vendor.rows[0]].dialect, prefix


def test_capabilities_exist() -> None:
    from freehold.config.litellm import facts

    assert {*facts._CAN.values(), *facts._ONLY.values(), *facts._CHAT} <= set(get_args(Capability))


NAMES = sorted({*known.PARAMS, *known.INFO, *known.SETTINGS, *known.ROUTER, *known.GENERAL, *known.HANDLED})
TEXT = st.sampled_from(
    ["os.environ/NAME", "os.environ/bad-name", "${X}", "${", "$${a}", "https://h.example/v1", "http://[::1]:1", "a b",
     "http://", "//", "none", "*", "openai/*", "gpt-4o", "claude", "é", "", "1e3", "0x1f",
     "azure/x", "bedrock/x", "vertex_ai/y", "ollama/z", "nobody/x", "true", "off", "-", "null", "a: b", "x" * 300]
)  # fmt: skip
SCALAR = TEXT | st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=8)
SECRET = st.sampled_from(["sk-secret-secret-secret", "{secret-secret}", "secret-secret ${X}"])
SECRETS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("api_key", "azure_ad_token", "aws_secret_access_key", "client_secret", "master_key"), SECRET),
        "extra_headers": st.fixed_dictionaries({"Authorization": SECRET, "X-Kind": TEXT}),
        "api_base": st.sampled_from(["https://u:secret-secret@h.example/v1?k=secret-secret", "os.environ/X"]),
    },
)
ENTRY = st.fixed_dictionaries(
    {"model_name": TEXT, "litellm_params": st.builds(lambda m, p, s: {**p, **s, "model": m}, TEXT, FIELDS, SECRETS)},
    optional={"model_info": FIELDS | SCALAR},
)
ANYTHING = st.fixed_dictionaries(
    {"model_list": st.lists(ENTRY | VALUE, max_size=5) | VALUE},
    optional={
        "litellm_settings": FIELDS | VALUE,
        "router_settings": FIELDS | VALUE,
        "general_settings": FIELDS | VALUE,
        "environment_variables": st.dictionaries(st.sampled_from(["NAME", "X", "OPENAI_API_KEY"]), SCALAR) | VALUE,
        "credential_list": VALUE,
        "other": VALUE,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(ANYTHING)
def test_whatever_the_fields_hold_the_result_loads_and_nothing_is_lost(source: dict[str, Any]) -> None:
    result = imported(yaml.safe_dump(source, allow_unicode=True))
    loaded(result)
    assert len({one.where for one in result.findings}) == len(result.findings) == len(leaves(source))
    assert "secret-secret" not in repr(result)
