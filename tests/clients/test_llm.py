"""Simon Willison's `llm`, as a command: models of its own OpenAI endpoint settings, in a home of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from llm.cli import cli
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
MODELS = ("fake", "fake-tools", "fake-status-429")
WEATHER = 'def get_weather(city: str) -> str:\n    "The weather of a city."\n    return "sunny"\n'


Llm = Callable[..., str]


@pytest.fixture
def llm(gateway: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Llm:
    """Runs the command; returns what it printed."""
    names = ["fats", *(f"{provider}/{model}" for provider in PROVIDERS for model in MODELS)]
    (tmp_path / "extra-openai-models.yaml").write_text(
        "\n".join(
            f"- {{model_id: {name.replace('/', '-')}, model_name: {name}, api_base: {gateway.url}/v1, "
            f"api_key_name: freehold, supports_tools: true, supports_schema: true}}"
            for name in names
        )
    )
    (tmp_path / "keys.json").write_text(f'{{"freehold": "{KEY}"}}')
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("OPENAI_MAX_RETRIES", "0")

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == status, done.output
        return done.output

    return run


def test_streamed_equals_whole(llm: Llm) -> None:
    for provider in PROVIDERS:
        whole = llm("-m", f"{provider}-fake", "hi", "--no-stream", "--no-log")
        assert whole.strip()
        assert llm("-m", f"{provider}-fake", "hi", "-s", "Be brief.", "--no-log") == whole


def test_tools_and_a_schema(llm: Llm) -> None:
    said = llm("-m", "anthropic-fake-tools", "Weather in Oslo?", "--functions", WEATHER, "--td", "--no-log")
    assert "Tool call: get_weather" in said
    assert "sunny" in said
    assert '"intent"' in llm("-m", "gemini-fake", "refund?", "--schema", "intent, sure bool", "--no-log")


def test_errors(llm: Llm) -> None:
    assert "Error" in llm("-m", "openai-fake-status-429", "hi", "--no-log", "-o", "temperature", "0", status=1)
    assert "did you mean 'fast'" in llm("-m", "fats", "hi", "--no-log", status=1)
    assert "401" in llm("-m", "openai-fake", "hi", "--no-log", "--key", "fh-not-a-key-at-all", status=1)
