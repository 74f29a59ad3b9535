"""`freehold models`: every name, from the gateway or from the configuration."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_weights import artefact, gguf_bytes

from freehold.cli import main
from freehold.own.weights.store import Source, open_store

StubGateway = Any
CONFIG = """
box: false
discover: false
providers:
  openai:
    api_key: sk-0123456789abcdef
    models: {mine: {context: 4096, input: 1.5, output: 0, can: [tools]}}
  lab: {base_url: "http://127.0.0.1:1/v1", owned: true, models: {big: {}}}
models:
  both: [openai/mine, lab/big]
"""


@pytest.fixture(autouse=True)
def _config(home: Path) -> None:
    Path("freehold.yaml").write_text(CONFIG)


def models(*words: str) -> Result:
    return CliRunner().invoke(main, ["models", *words])


def listed(*words: str) -> dict[str, Any]:
    result = models(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return {one["name"]: one for one in json.loads(result.stdout)["models"]}


def test_what_the_configuration_says() -> None:
    names = listed()
    assert names["openai/mine"] == {
        "name": "openai/mine",
        "kind": "direct",
        "provider": "openai",
        "owned": False,
        "context": 4096,
        "can": ["tools"],
        "input_price": 1.5,
        "output_price": 0.0,
        "state": "ready",
        "deployments": ["openai/mine"],
    }
    assert names["lab/big"]["owned"] is True
    assert names["both"]["kind"] == "alias"
    assert names["both"]["owned"] is None
    assert names["both"]["deployments"] == ["openai/mine", "lab/big"]
    assert "auto" in names


def test_for_a_person() -> None:
    shown = models().stdout
    line = next(line for line in shown.splitlines() if line.startswith("openai/mine"))
    assert line.split() == ["openai/mine", "direct", "openai", "rented", "4,096", "$1.50", "$0", "tools", "ready"]
    assert "2 deployments" in shown


def test_providers_that_cannot_be_called_come_with_the_fix() -> None:
    shown = models("--all").stdout
    assert "groq" in shown
    unavailable = json.loads(models("--json").stdout)["unavailable"]
    assert {"provider", "why", "fix"} == set(unavailable[0])


def test_a_gateway_elsewhere_tells_what_it_has(stub: StubGateway) -> None:
    stub.answers(
        {
            "data": [
                {"id": "fast", "owned_by": "freehold", "deployments": ["openai/a", "own/b"]},
                {"id": "openai/a", "owned_by": "openai", "context_length": 128000},
            ]
        }
    )
    names = listed()
    assert stub.asked == [{"path": "/v1/models"}]
    assert list(names) == ["fast", "openai/a"]
    assert names["openai/a"]["context"] == 128000


def test_the_local_gateway_shows_only_what_the_key_may_use(
    stub: StubGateway, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FREEHOLD_URL")
    (home / "run").mkdir(parents=True)
    (home / "run" / "up.json").write_text(json.dumps({"url": stub.url, "key": stub.key, "pid": os.getpid()}))
    stub.answers({"data": [{"id": "both"}]})
    names = listed()
    assert list(names) == ["both"]
    assert names["both"]["deployments"] == ["openai/mine", "lab/big"]


def test_a_local_gateway_without_a_key_to_send(home: Path) -> None:
    (home / "run").mkdir(parents=True)
    (home / "run" / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "key": None, "pid": os.getpid()}))
    result = models()
    assert result.exit_code == 0
    assert "so this is what the configuration says" in result.stderr
    assert "openai/mine" in result.stdout


def test_the_gateway_refuses_the_key(stub: StubGateway) -> None:
    stub.answers({"error": {"message": "this API key is not known here (hint: x)", "code": "invalid_api_key"}}, 401)
    result = models("--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"]["code"] == "invalid_api_key"


def test_a_cloud_without_credentials_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    bedrock = "  bedrock: {region: eu-west-1, models: {eu.amazon.nova-micro-v1:0: {}}}\n"
    Path("freehold.yaml").write_text(CONFIG.replace("models:\n  both", f"{bedrock}models:\n  both"))
    assert (
        "no AWS credentials were found (set AWS_BEARER_TOKEN_BEDROCK"
        in (listed()["bedrock/eu.amazon.nova-micro-v1:0"]["state"])
    )
    (told,) = [row for row in json.loads(models("--json").stdout)["unavailable"] if row["provider"] == "bedrock"]
    assert told["why"] == "no AWS credentials were found"
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key-0123456789")
    assert listed()["bedrock/eu.amazon.nova-micro-v1:0"]["state"] == "ready"


def test_why_an_owned_model_cannot_be_served(home: Path) -> None:
    store = open_store()
    with store.hold("test") as hold:
        made = artefact(store, hold, {"x.gguf": gguf_bytes()}, made="quantised", verdict="quarantined")
        store.add("bad", source=Source("hub", "acme/bad"), artefacts=(made,))
    own = f"own: [{{pull: 'acme/bad:{made.quantisation}'}}, {{pull: acme/far}}]"
    Path("freehold.yaml").write_text(f"{CONFIG}{own}\n")
    names = listed()
    assert "may not serve: it failed the parity check" in names["own/bad"]["state"]
    assert names["own/far"]["state"] == "freehold up pulls it from acme/far"
