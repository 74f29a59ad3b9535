"""Simon Willison's `llm`, as a command: models of its own OpenAI endpoint settings, in a home of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import KEY, Running, clean_environment

PROVIDERS = ["openai", "anthropic", "gemini"]


class Llm:
    """The command in a temporary home with the gateway's models in it."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        entries = [
            f"- {{model_id: {name.replace('/', '-')}, model_name: {name}, api_base: {url}/v1, api_key_name: freehold, "
            f"supports_tools: true, supports_schema: true}}"
            for name in ("fats", *(f"{provider}/{model}" for provider in PROVIDERS for model in MODELS))
        ]
        (home / "extra-openai-models.yaml").write_text("\n".join(entries))
        (home / "keys.json").write_text(f'{{"freehold": "{KEY}"}}')

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "llm", *arguments],
            env=clean_environment(LLM_USER_PATH=str(self._home), LLM_LOAD_PLUGINS="", PATH=os.environ["PATH"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


MODELS = ("fake", "fake-tools", "fake-status-429")
WEATHER = 'def get_weather(city: str) -> str:\n    "The weather of a city."\n    return "sunny"\n'


@pytest.fixture(scope="module")
def llm(gateway: Running, tmp_path_factory: pytest.TempPathFactory) -> Llm:
    return Llm(tmp_path_factory.mktemp("llm"), gateway.url)


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
