"""One gateway for all clients, and what they may not do: send telemetry, read a user's settings, leave loopback."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import KEY, Running, clean_environment, started

Outside = Callable[..., dict[str, str | None]]

MODELS = """
server: {port: 0, drain_seconds: 5}
box: false
discover: false
timeouts: {connect: 2, first_byte: 10, idle: 10, total: 30}
breaker: {failures: 100000}
retries: 0
providers:
  openai:    {base_url: "FAKE/v1", api_key: "${UPSTREAM_KEY}"}
  anthropic: {base_url: "FAKE", api_key: "${UPSTREAM_KEY}"}
  gemini:    {base_url: "FAKE", api_key: "${UPSTREAM_KEY}"}
  cohere:    {base_url: "FAKE", api_key: "${UPSTREAM_KEY}"}
keys:
  - {name: ci, key: "CLIENT_KEY"}
models:
  fast: [openai/fake, anthropic/fake]
  gpt-4o-mini: [openai/fake]
"""


@pytest.fixture(scope="session")
def gateway(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("clients")
    config = folder / "freehold.yaml"
    config.write_text(MODELS.replace("FAKE", fake.url).replace("CLIENT_KEY", KEY))
    with started("up", "--config", str(config), home=folder / "home", UPSTREAM_KEY="sk-upstream-secret-000") as running:
        yield running


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No proxy, no home of a user, and every switch that the clients document for telemetry is off."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in {
        "HOME": str(tmp_path_factory.getbasetemp()),
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "LANGSMITH_TRACING": "false",
        "LANGCHAIN_TRACING_V2": "false",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def outside(gateway: Running, tmp_path: Path) -> Outside:
    """Runs a client that cannot live in this environment; returns what went wrong by check, None where nothing did."""

    def run(*command: str | Path) -> dict[str, str | None]:
        if not Path(command[0]).exists():
            pytest.skip("make python-clients installs " + str(Path(command[0]).relative_to(Path(__file__).parents[2])))
        done = subprocess.run(
            list(command),
            env=clean_environment(FREEHOLD_URL=gateway.url, FREEHOLD_KEY=KEY) | {"HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return {entry["check"]: entry["problem"] for entry in found}

    return run
