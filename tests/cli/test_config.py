"""`freehold config check|show|schema`: results on stdout, mistakes on stderr, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freehold.cli.config import command
from freehold.config.schema_json import json_schema

GOOD = """\
providers:
  openai: {base_url: "http://127.0.0.1:9001/v1", api_key: "${UPSTREAM_KEY}"}
keys:
  - {name: ci, key: "fh-0123456789abcdef"}
"""


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream-secret")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def write(text: str) -> str:
    Path("freehold.yaml").write_text(text)
    return "freehold.yaml"


def test_a_good_file() -> None:
    write(GOOD)
    result = run("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "freehold.yaml is good" in result.stderr
    assert run("check", "--json").stdout == "[]\n"


def test_no_file_is_fine() -> None:
    result = run("check")
    assert result.exit_code == 0
    assert "defaults" in result.stderr


def test_mistakes_go_to_stderr_with_hints() -> None:
    write("server: {prt: 1}\nproviders: {opnai: {}}\n")
    result = run("check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[:2] == [
        "error: freehold.yaml:1:10: server.prt: unknown key in server",
        "hint: did you mean port?",
    ]
    assert "freehold.yaml:2:13: providers.opnai" in result.stderr


def test_mistakes_as_json() -> None:
    file = write("server: {prt: 1}\n")
    result = run("check", "--json", "--config", file)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {
            "file": "freehold.yaml",
            "line": 1,
            "column": 10,
            "key": "server.prt",
            "message": "unknown key in server",
            "hint": "did you mean port?",
        }
    ]


def test_a_file_that_is_not_there() -> None:
    result = run("check", "--config", "none.yaml")
    assert result.exit_code == 1
    assert "none.yaml:1:1: the file cannot be read" in result.stderr


def test_show_masks_and_tells_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.setenv("GROQ_API_KEY", "gsk_secret")
    result = run("show")
    assert result.exit_code == 0
    lines = {line.split(":")[0]: line for line in result.stdout.splitlines()}
    assert "${UPSTREAM_KEY}" in lines["providers.openai.api_key"]
    assert "# freehold.yaml:2:" in lines["providers.openai.api_key"]
    assert "***" in lines["keys[0].key"]
    assert lines["server.port"].endswith("# default")
    assert lines["providers.groq.api_key"].endswith("# environment: GROQ_API_KEY")
    assert "secret" not in result.output
    assert "fh-0123" not in result.output


def test_show_as_json() -> None:
    write(GOOD)
    found = json.loads(run("show", "--json").stdout)
    assert found["path"] == "freehold.yaml"
    assert len(found["version"]) == 12
    assert {"key": "retries", "value": 2, "origin": "default"} in found["settings"]


def test_show_of_a_bad_file_tells_the_mistakes() -> None:
    write("retries: many\n")
    result = run("show")
    assert result.exit_code == 1
    assert "retries" in result.stderr
    assert result.stdout == ""


def test_schema_is_printed() -> None:
    assert json.loads(run("schema").stdout) == json_schema()


def test_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys; from freehold.cli.config import command;"
        "from freehold.call.providers import load_config; load_config(None, {});"
        "heavy = {'genai_prices', 'rich', 'starlette', 'uvicorn', 'asyncio', 'jinja2', 'jsonschema'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
