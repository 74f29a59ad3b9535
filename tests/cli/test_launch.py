"""`freehold launch`: a tool is started with the right environment, its own file is changed and put back exactly."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.admit.keys import Keyring, read_keys
from freehold.cli import main
from freehold.cli.tools import Change, Site, jsonc, newest, toml_blocks, tools
from freehold.home import keys_file, run_dir, write_private

StubGateway = Any
"""The fixture `stub` of conftest.py."""
TOOLS = ("claude", "codex", "opencode")
MODELS = ["auto", "anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5", "openai/gpt-5.1", "claude-sonnet-4"]


@pytest.fixture(autouse=True)
def _machine(stub: StubGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's home of the test's own, no tool installed, and a gateway that lists MODELS."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    stub.answers({"object": "list", "data": [{"id": name} for name in MODELS]})


def launch(*words: str) -> Result:
    return CliRunner().invoke(main, ["launch", *words])


def site(**more: Any) -> Site:
    return Site("http://127.0.0.1:8484", "fh-secret", Path("/home/x/.freehold/launch/t.key"), MODELS, **more)


def install(tmp_path: Path, program: str) -> Path:
    """A stand-in for a tool: writes its arguments and environment down and exits with 7."""
    seen = tmp_path / "seen.json"
    path = tmp_path / "bin" / program
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump([sys.argv[1:], dict(os.environ)], open({str(seen)!r}, 'w'))\nsys.exit(7)\n"
    )
    path.chmod(0o755)
    return seen


def started(tmp_path: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """Runs launch as a process of its own, which becomes the tool; returns what the tool saw."""
    seen = install(tmp_path, words[0])
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "launch", *words],
        env={**os.environ, "ANTHROPIC_API_KEY": "sk-ant-stray"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 7, done.stderr.decode()
    arguments, environment = json.loads(seen.read_text())
    return arguments, environment


def test_claude_gets_url_key_and_models_and_no_other_key(stub: StubGateway, tmp_path: Path) -> None:
    arguments, environment = started(tmp_path, "claude", "--", "-p", "hi", "--model", "x")
    assert arguments == ["-p", "hi", "--model", "x"]
    assert environment["ANTHROPIC_BASE_URL"] == stub.url
    assert environment["ANTHROPIC_AUTH_TOKEN"] == stub.key
    assert environment["ANTHROPIC_MODEL"] == "anthropic/claude-sonnet-4-5"
    assert environment["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "anthropic/claude-haiku-4-5"
    assert environment["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "anthropic/claude-sonnet-4-5"
    assert "ANTHROPIC_API_KEY" not in environment
    assert not (tmp_path / "person").exists()


def test_codex_gets_a_provider_on_its_command_line_and_the_key_in_its_environment(
    stub: StubGateway, tmp_path: Path
) -> None:
    arguments, environment = started(tmp_path, "codex", "--model", "auto", "--", "exec", "hi")
    assert arguments[-2:] == ["exec", "hi"]
    overrides = [arguments[i + 1] for i, word in enumerate(arguments) if word == "-c"]
    assert tomllib.loads("\n".join(overrides)) == {
        "model": "auto",
        "model_provider": "freehold",
        "model_providers": {
            "freehold": {
                "name": "Freehold",
                "base_url": f"{stub.url}/v1",
                "wire_api": "responses",
                "env_key": "FREEHOLD_API_KEY",
            }
        },
    }
    assert environment["FREEHOLD_API_KEY"] == stub.key
    assert stub.key not in " ".join(arguments)


def test_opencode_gets_a_provider_with_every_model(stub: StubGateway, tmp_path: Path) -> None:
    _, environment = started(tmp_path, "opencode", "--", "run", "hi")
    content = json.loads(environment["OPENCODE_CONFIG_CONTENT"])
    provider = content["provider"]["freehold"]
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert provider["options"] == {"baseURL": f"{stub.url}/v1", "apiKey": "{env:FREEHOLD_API_KEY}"}
    assert list(provider["models"]) == MODELS
    assert content["model"] == content["small_model"] == "freehold/auto"
    assert environment["FREEHOLD_API_KEY"] == stub.key


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_not_installed(tool: str) -> None:
    result = launch(tool)
    assert result.exit_code == 1
    assert "is not installed" in result.stderr
    assert "hint: npm install -g " in result.stderr


def test_a_gateway_that_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, "claude")
    monkeypatch.delenv("FREEHOLD_URL")
    result = launch("claude")
    assert result.exit_code == 1
    assert "hint: start one with: freehold up" in result.stderr


def test_the_tool_gets_a_key_of_its_own_from_the_gateway_that_runs_here(
    stub: StubGateway, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FREEHOLD_URL")
    monkeypatch.delenv("FREEHOLD_API_KEY")
    announced = {"url": stub.url, "key": stub.key, "pid": os.getpid(), "config": None}
    write_private(run_dir() / "up.json", json.dumps(announced).encode())
    assert launch("claude", "--config").exit_code == 0
    secret = (home / "launch" / "claude.key").read_text()
    assert Keyring(read_keys(keys_file())).identify(secret.encode()).name == "launch-claude"
    assert stub.keys == [f"Bearer {secret}"]
    assert (home / "launch" / "claude.key").stat().st_mode & 0o077 == 0
    launch("claude", "--config")
    assert stub.keys == [f"Bearer {secret}"] * 2
    (home / "launch" / "claude.key").unlink()
    launch("claude", "--config")
    assert [key.name for key in read_keys(keys_file())] == ["launch-claude"]
    assert stub.keys[-1] != f"Bearer {secret}"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("words", [["--print"], ["--print", "--config"]])
def test_print_shows_what_would_be_set_and_does_nothing(
    stub: StubGateway, home: Path, tmp_path: Path, tool: str, words: list[str]
) -> None:
    result = launch(tool, *words)
    assert result.exit_code == 0
    assert stub.url in result.stdout
    assert stub.key not in result.output
    assert json.loads(launch(tool, *words, "--json").stdout)["tool"] == tool
    assert not (tmp_path / "person").exists()
    assert not list((home / "launch").iterdir())


@pytest.mark.parametrize(
    "words",
    [["claude", "--restore", "--config"], ["claude", "--config", "--", "-p"], ["claude", "--json"], ["vim"], []],
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    result = launch(*words)
    assert result.exit_code == 2
    assert "hint" in result.stderr


def file_of(tool: str, tmp_path: Path) -> Path:
    names = {"claude": ".claude/settings.json", "codex": ".codex/config.toml"}
    return tmp_path / "person" / names.get(tool, ".config/opencode/opencode.json")


EXISTING = {
    "claude": '{\n\t"permissions": {"allow": ["Bash(ls)"]},\n\t"env": {"FOO": "1",  "ANTHROPIC_MODEL": "opus"},\n'
    '\t"apiKeyHelper": "mine.sh"\n}',
    "codex": '# my settings\r\nmodel = "gpt-5.1" # the good one\r\n\r\n[mcp_servers.x]\r\ncommand = "y"',
    "opencode": '{ // comment, with "quotes"\n  "theme": "dark",\n  "provider": {"mine": {"npm": "x"},},\n}\n',
}


@pytest.mark.parametrize("tool", TOOLS)
def test_restore_removes_a_file_that_was_not_there(tool: str, tmp_path: Path) -> None:
    path = file_of(tool, tmp_path)
    assert launch(tool, "--config").exit_code == 0
    assert path.stat().st_mode & 0o077 == 0
    result = launch(tool, "--restore", "--json")
    assert json.loads(result.stdout) == {"tool": tool, "file": str(path), "exists": False, "exact": True}
    assert not path.exists()
    assert not path.parent.exists()
    assert "nothing to restore" in launch(tool, "--restore").stderr


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("times", [1, 2])
def test_restore_puts_back_every_byte(tool: str, times: int, stub: StubGateway, tmp_path: Path) -> None:
    path = file_of(tool, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(EXISTING[tool].encode())
    path.chmod(0o640)
    for number in range(times):
        result = launch(tool, "--config", "--model", f"m{number}", "--json")
        assert result.exit_code == 0, result.stderr
    backup = Path(json.loads(result.stdout)["backup"])
    assert backup.read_bytes() == EXISTING[tool].encode()
    assert backup.parent == path.parent
    assert stub.url in path.read_text()
    assert stub.key not in path.read_text()
    assert launch(tool, "--restore").exit_code == 0
    assert path.read_bytes() == EXISTING[tool].encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert not backup.exists()


def meaning(tool: str, text: str) -> Any:
    return tomllib.loads(text) if tool == "codex" else jsonc.value(text)


@pytest.mark.parametrize("tool", TOOLS)
def test_only_our_places_change(tool: str, tmp_path: Path) -> None:
    path = file_of(tool, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(EXISTING[tool].encode())
    launch(tool, "--config")
    now, before = meaning(tool, path.read_bytes().decode()), meaning(tool, EXISTING[tool])
    kept = {
        "claude": ["permissions"],
        "codex": ["mcp_servers"],
        "opencode": ["theme"],
    }[tool]
    assert {name: now[name] for name in kept} == {name: before[name] for name in kept}
    if tool == "claude":
        assert now["env"]["FOO"] == "1"
        assert now["apiKeyHelper"].startswith("cat ")
    if tool == "opencode":
        assert now["provider"]["mine"] == {"npm": "x"}
        assert '// comment, with "quotes"' in path.read_text()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("existed", [True, False])
def test_what_a_person_changed_meanwhile_stays(tool: str, existed: bool, tmp_path: Path) -> None:
    path = file_of(tool, tmp_path)
    path.parent.mkdir(parents=True)
    if existed:
        path.write_bytes(EXISTING[tool].encode())
    launch(tool, "--config")
    text = path.read_bytes().decode()
    if tool == "codex":
        path.write_bytes((text + '\n[profile]\nx = "theirs"\n').encode())
    else:
        path.write_text(jsonc.edit(text, [Change(["theirs"], {"x": 1})]))
    result = launch(tool, "--restore")
    assert result.exit_code == 0
    assert "only what launch had set was taken out" in result.stderr
    before = meaning(tool, EXISTING[tool]) if existed else {}
    added = {"profile": {"x": "theirs"}} if tool == "codex" else {"theirs": {"x": 1}}
    assert meaning(tool, path.read_bytes().decode()) == {**before, **added}


def test_a_value_of_ours_that_was_changed_since_is_theirs(tmp_path: Path) -> None:
    path = file_of("claude", tmp_path)
    path.parent.mkdir(parents=True)
    launch("claude", "--config")
    path.write_text(jsonc.edit(path.read_text(), [Change(["env", "ANTHROPIC_MODEL"], "theirs")]))
    launch("claude", "--restore")
    assert jsonc.value(path.read_text()) == {"env": {"ANTHROPIC_MODEL": "theirs"}}


def test_a_file_somebody_removed_comes_back_as_it_was(tmp_path: Path) -> None:
    path = file_of("claude", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(EXISTING["claude"])
    launch("claude", "--config")
    path.unlink()
    assert launch("claude", "--restore").exit_code == 0
    assert path.read_text() == EXISTING["claude"]


def test_behind_a_symbolic_link_the_file_itself_is_changed(tmp_path: Path) -> None:
    path = file_of("codex", tmp_path)
    path.parent.mkdir(parents=True)
    real = tmp_path / "dotfiles.toml"
    real.write_text("a = 1\n")
    path.symlink_to(real)
    launch("codex", "--config")
    assert path.is_symlink()
    assert tomllib.loads(real.read_text())["model_provider"] == "freehold"
    launch("codex", "--restore")
    assert real.read_text() == "a = 1\n"


@pytest.mark.parametrize(
    ("tool", "text", "said"),
    [
        ("claude", '{\n"env": {,}}', "settings.json:2: "),
        ("claude", '{"env": []}', "env is not an object"),
        ("claude", "[1]", "the file is not an object"),
        ("claude", "\xff", "not UTF-8"),
        ("codex", "a = 1\nmodel = \n", "config.toml:2: Invalid value"),
        ("codex", 'model_provider = """\nx"""\n', "in a way of its own"),
        ("codex", "[model_providers.freehold]\nname = 1\n", "it has model_providers.freehold already"),
        ("codex", "model_providers = {}\n", "in a way of its own"),
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_left_alone(tool: str, text: str, said: str, tmp_path: Path) -> None:
    path = file_of(tool, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    result = launch(tool, "--config")
    assert result.exit_code == 1
    assert said in result.stderr
    assert "nothing was changed" in result.stderr
    assert "hint: " in result.stderr
    assert path.read_bytes() == text.encode("latin-1")
    assert os.listdir(path.parent) == [path.name]


def test_another_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "project" / "opencode.json"
    assert launch("opencode", "--config", "--file", str(path)).exit_code == 0
    assert jsonc.value(path.read_text())["model"] == "freehold/auto"
    refused = launch("opencode", "--config")
    assert "hint: freehold launch opencode --restore" in refused.stderr
    launch("opencode", "--restore")
    assert not path.exists()


def test_settings_that_win_over_the_environment_are_told(tmp_path: Path) -> None:
    path = file_of("claude", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text('{"env": {"ANTHROPIC_BASE_URL": "https://elsewhere.example"}}')
    assert "ANTHROPIC_BASE_URL" in (tools()["claude"].overruled() or "")
    path.write_text("no json")
    assert tools()["claude"].overruled() is None


def test_a_model_that_is_not_listed_is_warned_about() -> None:
    assert "does not list nobody" in launch("codex", "--print", "--model", "nobody").stderr
    assert launch("codex", "--print", "--model", "openai/gpt-9").stderr == ""


def test_the_newest_name_wins() -> None:
    names = ["claude-sonnet-4-20250514", "claude-sonnet-4-5-20250929", "claude-sonnet-3-7", "gpt-5"]
    assert newest(names, "claude", "sonnet") == "claude-sonnet-4-5-20250929"
    assert newest(names, "opus") is None
    assert "auto" in tools()["codex"].child(Site("http://h", "k", Path("/k"))).arguments[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from(["env", "model", "a", "\u00e9 //"]), JSON, max_size=4)


@settings(max_examples=150, deadline=None)
@given(OBJECT, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_json_edits_mean_what_they_say_and_come_undone(before: dict[str, Any], indent: Any, trailing: bool) -> None:
    text = json.dumps(before, indent=indent, ensure_ascii=False)
    if trailing and before:
        text = text[:-1].rstrip() + ", /* last */ }"
    changes = [Change(["env", "X"], "1"), Change(["env", "Y"], {"z": [1]}), Change(["model"], "m")]
    if not isinstance(before.get("env", {}), dict):
        with pytest.raises(jsonc.NotJson):
            jsonc.edit(text, changes)
        return
    edited = jsonc.edit(text, changes)
    expected = {**before, "env": {**before.get("env", {}), "X": "1", "Y": {"z": [1]}}, "model": "m"}
    assert jsonc.value(edited) == expected
    assert jsonc.value(jsonc.undo(edited, text, changes)) == before


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet='{}[]",:/*\\ \n1ae', max_size=40))
def test_any_text_is_json_or_is_not(text: str) -> None:
    try:
        found = jsonc.value(text)
    except jsonc.NotJson:
        with pytest.raises(ValueError):
            json.loads(text)
        return
    edited = jsonc.edit(text, [Change(["k"], 1)]) if isinstance(found, dict) else None
    assert edited is None or jsonc.value(edited) == {**found, "k": 1}


LINES = st.lists(
    st.sampled_from(
        ['model = "a"', "model='b' # x", '"model" = "c"', "x = 1", "[t]", "model = 5", "[t.u]", "y = [\n[1],\n]", "",
         "# model = 1", 's = """\nmodel = 1\n"""', "[[list]]", "model_provider = 'p'"]
    ), max_size=8,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(LINES, st.booleans())
def test_toml_edits_mean_what_they_say_and_come_undone(lines: list[str], crlf: bool) -> None:
    text = "\n".join(lines).replace("\n", "\r\n" if crlf else "\n")
    changes = tools()["codex"].changes(site())
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(toml_blocks.NotToml):
            toml_blocks.edit(text, changes)
        return
    try:
        edited = toml_blocks.edit(text, changes)
    except toml_blocks.NotToml:
        return  # it says so and nothing is written
    found = tomllib.loads(edited)
    ours = {change.path[0] for change in changes}
    assert {name: value for name, value in found.items() if name not in ours} == {
        name: value for name, value in before.items() if name not in ours
    }
    assert found["model_provider"] == "freehold"
    assert tomllib.loads(toml_blocks.undo(edited, text, changes)) == before
