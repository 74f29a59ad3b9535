"""What is generated from the schema: JSON Schema, the reference page, the list of settings in force."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from freehold.config import describe
from freehold.config.explain import expected, schema_type, type_at
from freehold.config.load import loads
from freehold.config.reference import reference
from freehold.config.schema import Config
from freehold.config.schema_json import EXAMPLE, json_schema
from freehold.config.show import settings

ROOT = Path(__file__).parents[2]

FRAGMENT = """\
providers:
  openai:    {base_url: "http://127.0.0.1:9001/v1", api_key: "${UPSTREAM_KEY}"}
  anthropic: {base_url: "http://127.0.0.1:9002", api_key: "${UPSTREAM_KEY}"}
  gemini:    {base_url: "http://127.0.0.1:9003", api_key: "${UPSTREAM_KEY}"}
keys:
  - {name: ci, key: "fh-0123456789abcdef"}
models:
  fast: [own/banking77, openai/gpt-4o-mini]
"""


def test_the_json_schema_is_one_and_accepts_the_promised_fragment() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for value in (yaml.safe_load(FRAGMENT), EXAMPLE, {}):
        jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "text",
    [
        "server: {prt: 1}",
        "server: {port: 99999}",
        "own: [{nmae: x}]",
        "models: {a: {among: []}}",
        "providers: {openai: {dialect: chta}}",
        "keys: [{key: fh-0123456789abcdef}]",
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), json_schema())


def test_every_key_is_described() -> None:
    described = describe.fields()
    for name, component in json_schema()["$defs"].items():
        missing = [field for field in component["properties"] if not described.get((name, field))]
        assert not missing, f"{name}: {missing} have no docstring in schema.py"


def test_the_committed_page_is_the_generated_one() -> None:
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_the_page_lists_every_key_once() -> None:
    page = reference()
    for component in json_schema()["$defs"].values():
        for field in component["properties"]:
            assert f"| `{field}` |" in page


def test_the_example_on_the_page_is_valid() -> None:
    block = reference().split("```yaml\n")[1].split("```")[0]
    env = {"OPENAI_API_KEY": "sk-x", "SUPPORT_BOT_KEY": "fh-fedcba9876543210"}
    assert loads(block.encode(), env, providers=["openai"]).config.keys[0].name == "support-bot"


def test_expectations_are_in_words() -> None:
    def words(*path: str | int) -> str:
        kind = type_at(path)
        assert kind is not None
        return expected(kind)

    assert words("server", "port") == "a whole number from 0 to 65535"
    assert words("timeouts", "total") == "a number above 0 and up to 86400"
    assert words("providers", "x", "models", "y", "input") == "a number of 0 or more"
    assert words("keys", 0, "requests_per_minute") == "a whole number of 1 or more"
    assert words("box") == "true or false"
    assert type_at(("models", "a")) is None, "a choice between list and mapping is left open"
    assert type_at(("nowhere",)) is None
    assert expected(schema_type()) == "a mapping"


def test_settings_tell_values_and_origins_and_mask_secrets() -> None:
    text = FRAGMENT + "server: {port: 9000}\n"
    loaded = loads(text.encode(), {"UPSTREAM_KEY": "sk-upstream-secret"}, file="f.yaml")
    shown = {s.key: (s.value, s.origin) for s in settings(loaded)}
    assert shown["providers.openai.api_key"] == ("${UPSTREAM_KEY}", "f.yaml:2:62")
    assert shown["keys[0].key"] == ("***", "f.yaml:6:21")
    assert shown["server.port"] == (9000, "f.yaml:9:16")
    assert shown["server.host"] == ("127.0.0.1", "default")
    assert shown["retries"] == (2, "default")
    assert shown["models.fast"] == (["own/banking77", "openai/gpt-4o-mini"], "f.yaml:8:9")
    assert "secret" not in json.dumps(msgspec.to_builtins(settings(loaded)))
    assert "fh-0123" not in json.dumps(msgspec.to_builtins(settings(loaded)))


def test_settings_of_no_file_are_all_defaults() -> None:
    found = settings(loads(b"", {}))
    assert {s.origin for s in found} == {"default"}
    scalars = {name for name in Config.__struct_fields__ if isinstance(getattr(Config(), name), int)}
    assert scalars <= {s.key for s in found}


def test_headers_are_masked_since_they_may_carry_a_key() -> None:
    loaded = loads(b"providers: {openai: {headers: {Authorization: Bearer x-secret-x}}}", {})
    assert [s.value for s in settings(loaded) if s.key.startswith("providers")] == ["***"]
