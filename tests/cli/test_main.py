"""The command itself: quick help, errors as text and status, and nothing but data on stdout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from freehold.cli import VERBS, main
from freehold.config.problems import ConfigErrors
from freehold.errors import BadRequest, ConfigError

FREEHOLD = [sys.executable, "-m", "freehold"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))


def fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `freehold completion bash` raise."""

    def raising(*args: object) -> None:
        raise error

    monkeypatch.setattr("click.shell_completion.get_completion_class", raising)


def test_help_imports_no_verb_and_nothing_heavy() -> None:
    code = """
import sys
from freehold.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
loaded = {name for name in sys.modules if name.startswith("freehold.")}
heavy = {"msgspec", "rich", "asyncio", "yaml", "httptools", "uvicorn"} & set(sys.modules)
print(sorted(loaded), sorted(heavy), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "['freehold.cli', 'freehold.cli.output', 'freehold.errors'] []"
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout


def test_every_verb_is_there_and_explains_itself() -> None:
    for verb in VERBS:
        result = CliRunner().invoke(main, [verb, "--help"])
        assert result.exit_code == 0, f"{verb}: {result.stderr}"
        assert result.stdout.startswith("Usage: freehold " + verb)
        assert len(result.stdout.splitlines()) > 4


def test_every_verb_prints_json() -> None:
    without = {"completion", "chat"}  # a script is text; chat's is one value a turn, and is tested with it
    for verb in VERBS.keys() - without:
        shown = CliRunner().invoke(main, [verb, "--help"]).stdout
        if "COMMAND [ARGS]" not in shown:
            assert "--json" in shown, verb


def test_the_version() -> None:
    from freehold import __version__

    assert CliRunner().invoke(main, ["--version"]).stdout == f"freehold {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("modles", "models"), ("serve", "up"), ("KEYS", "keys"), ("doctr", "doctor"), ("cost", "usage")],
)
def test_a_misspelt_verb_gets_the_nearest(typed: str, meant: str) -> None:
    result = CliRunner().invoke(main, [typed])
    assert result.exit_code == 2
    assert result.stderr == f"error: there is no command {typed!r}\nhint: did you mean freehold {meant}?\n"
    assert result.stdout == ""


def test_an_unknown_word_is_not_guessed_at() -> None:
    result = CliRunner().invoke(main, ["xyzzy"])
    assert result.exit_code == 2
    assert "hint: freehold --help lists them" in result.stderr


def test_no_verb_shows_help_and_is_a_wrong_command_line() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Commands:" in result.stderr


def test_a_wrong_option_points_at_the_help() -> None:
    result = CliRunner().invoke(main, ["keys", "list", "--jsn"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no such option '--jsn'")
    assert result.stderr.endswith("hint: freehold keys list --help\n")


def test_an_error_is_two_lines_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(BadRequest("it is broken", hint="mend it"), monkeypatch)
    result = CliRunner().invoke(main, ["completion", "bash"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: it is broken\nhint: mend it\n"


def test_every_mistake_of_a_configuration_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mistakes = [ConfigError(f"number {i}", where=f"f.yaml:{i + 1}:1", key="server.port") for i in range(25)]
    fails_with(ConfigErrors(mistakes), monkeypatch)
    result = CliRunner().invoke(main, ["completion", "bash"])
    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "error: f.yaml:1:1: server.port: number 0"
    assert len(lines) == 21
    assert lines[-1] == "and 5 more"


def test_errors_are_json_when_json_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(main, ["keys", "remove", "nobody", "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert error["message"] == "there is no key named 'nobody'"
    assert error["hint"] == "freehold keys list"
    assert error["fault"] == "caller"


def test_a_system_error_has_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "file" / "home"))
    result = CliRunner().invoke(main, ["keys", "list"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "Not a directory" in result.stderr


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(ZeroDivisionError("ours"), monkeypatch)
    result = CliRunner().invoke(main, ["completion", "bash"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(KeyboardInterrupt(), monkeypatch)  # type: ignore[arg-type]
    result = CliRunner().invoke(main, ["completion", "bash"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_a_reader_that_left_is_met_with_silence(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*FREEHOLD, "completion", "zsh"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=os.environ
    )
    os.close(writer)
    assert done.returncode != 0
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_with_the_line_that_keeps_it(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_FREEHOLD_COMPLETE" in result.stdout
    assert f"freehold completion {shell}" in result.stdout.splitlines()[-1]


def test_another_shell_is_refused() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "last"), [("freehold k", "keys"), ("freehold keys a", "add"), ("freehold c", "chat")]
)
def test_completion_completes_verbs(words: str, last: str) -> None:
    environment = {
        **os.environ,
        "_FREEHOLD_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(FREEHOLD, env=environment, capture_output=True, text=True, check=True)
    assert f"plain,{last}" in done.stdout.splitlines()


def test_the_page_about_the_command_line_is_the_help_of_today() -> None:
    """In a process of its own: click keeps in a command how its help was first asked for."""
    done = subprocess.run([sys.executable, "-m", "freehold.cli.reference"], capture_output=True, text=True, check=True)
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text("utf-8") == done.stdout, "run: make docs"
