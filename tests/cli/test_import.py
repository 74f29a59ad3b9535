"""`freehold import litellm`: a file that loads, an account of every field, and nothing overwritten."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freehold.cli import main

SOURCE = """
model_list:
  - model_name: fast
    litellm_params: {model: groq/llama-3.3-70b-versatile, api_key: os.environ/GROQ_API_KEY, rpm: 10}
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-abcdefghijklmnop1234}
litellm_settings: {cache: true, cache_params: {type: redis, host: h, port: 1}}
"""


@pytest.fixture
def source(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(SOURCE)
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["import", "litellm", *words])


def test_it_writes_the_file_and_prints_what_became_of_every_field(source: Path, tmp_path: Path) -> None:
    result = run("config.yaml")
    assert result.exit_code == 0, result.stderr
    rows = [line.split(maxsplit=4) for line in result.stdout.splitlines()]
    assert rows[0] == ["what", "line", "LiteLLM", "freehold.yaml", "why"]
    assert ["mapped", "4", "model_list[0].litellm_params.model", "groq/llama-3.3-70b-versatile", "-"] in rows
    assert any(row[:3] == ["approximated", "6", "model_list[1].litellm_params.api_key"] for row in rows)
    assert any("cache_params (3 fields)" in line and line.startswith("dropped") for line in result.stdout.splitlines())
    assert "warning: OPENAI_API_KEY (the key for OpenAI) was written in the file and was not copied" in result.stderr
    assert "hint: freehold config check --config freehold.yaml" in result.stderr
    written = (tmp_path / "freehold.yaml").read_text()
    assert "fast: [groq/llama-3.3-70b-versatile, openai/gpt-4o-mini]" in written
    assert "sk-abcdef" not in written + result.output


def test_the_written_file_passes_its_check(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("config.yaml")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-0123456789abcdef")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    assert CliRunner().invoke(main, ["config", "check", "--config", "freehold.yaml"]).exit_code == 0


@pytest.mark.parametrize("words", [["--dry-run"], ["--output", "-"]])
def test_nothing_is_written_when_nothing_should_be(source: Path, tmp_path: Path, words: list[str]) -> None:
    result = run("config.yaml", *words)
    assert result.exit_code == 0
    assert "nothing was written" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["config.yaml"]


def test_a_dash_prints_the_file_itself(source: Path, tmp_path: Path) -> None:
    piped = run("config.yaml", "--output", "-").stdout
    run("config.yaml")
    assert piped == (tmp_path / "freehold.yaml").read_text()


def test_json_holds_every_leaf_by_what_became_of_it(source: Path) -> None:
    told = json.loads(run("config.yaml", "--dry-run", "--json").stdout)
    assert told["written"] is None
    assert told["config"]["providers"]["openai"] == {"api_key": "${OPENAI_API_KEY}"}
    assert {one["key"] for one in told["dropped"]} == {
        "model_list[0].litellm_params.rpm",
        "litellm_settings.cache",
        *(f"litellm_settings.cache_params.{name}" for name in ("type", "host", "port")),
    }
    assert all(one["why"] and one["where"].startswith("config.yaml:") for one in told["dropped"])
    assert [one["name"] for one in told["variables"]] == ["GROQ_API_KEY", "OPENAI_API_KEY"]


def test_a_file_that_is_there_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "freehold.yaml").write_text("mine")
    result = run("config.yaml")
    assert result.exit_code == 1
    assert "hint: name another file with --output" in result.stderr
    assert (tmp_path / "freehold.yaml").read_text() == "mine"
    assert run("config.yaml", "--output", "other.yaml").exit_code == 0


def test_included_files_are_read_from_beside_the_source(source: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "main.yaml").write_text("include: [more.yaml]\n")
    (tmp_path / "parts" / "more.yaml").write_text(SOURCE)
    told = json.loads(run("parts/main.yaml", "--dry-run", "--json").stdout)
    assert list(told["config"]["models"]) == ["fast"]
    (tmp_path / "parts" / "more.yaml").unlink()
    missing = run("parts/main.yaml", "--dry-run")
    assert missing.exit_code == 1
    assert "more.yaml:1:1: the file cannot be read" in missing.stderr


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("model_list: [\n", "config.yaml:1:14", "not valid YAML"),
        ("hello: 1\n", "config.yaml:1:1", "not a LiteLLM configuration"),
        ("\x00", "config.yaml:1:1", "not allowed in YAML"),
    ],
)
def test_what_is_none_is_refused_with_file_and_line(source: Path, text: str, place: str, said: str) -> None:
    source.write_text(text)
    result = run("config.yaml")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {place}: ")
    assert said in result.stderr
    assert not Path("freehold.yaml").exists()


def test_a_file_that_is_not_there(home: Path) -> None:
    result = run("nowhere.yaml", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"]["hint"]
