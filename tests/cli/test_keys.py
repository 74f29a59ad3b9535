"""`freehold keys`: a secret is shown once, a change is never lost, and what cannot work is refused."""

import json
import multiprocessing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freehold.admit.keys import Keyring, add_key, read_keys, remove_key
from freehold.cli import main
from freehold.config.schema import Key
from freehold.home import keys_file


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def keys(*words: str) -> Result:
    return CliRunner().invoke(main, ["keys", *words])


def test_add_prints_the_secret_and_nothing_else_on_stdout() -> None:
    result = keys("add", "ci")
    secret = result.stdout.removesuffix("\n")
    assert result.exit_code == 0
    assert Keyring(read_keys(keys_file())).identify(secret.encode()).name == "ci"
    assert secret not in keys_file().read_text()
    assert secret not in result.stderr
    assert keys_file().stat().st_mode & 0o077 == 0


def test_limits_are_kept() -> None:
    keys("add", "bot", "--models", "auto, fast", "--requests-per-minute", "60", "--tokens-per-minute", "9000",
         "--expires", "2099-01-31", "--budget", "$5/day", "--label", "confidential+phi")  # fmt: skip
    assert json.loads(keys("list", "--json").stdout) == [
        {
            "name": "bot",
            "models": ["auto", "fast"],
            "requests_per_minute": 60,
            "tokens_per_minute": 9000,
            "budget": "$5/day",
            "label": "confidential+phi",
            "providers": None,
            "environment": None,
            "role": None,
            "expires": "2099-01-31",
            "kept_in": "keys.json",
        }
    ]


def test_a_rule_that_cannot_be_kept_makes_no_key() -> None:
    for option, value in (("--label", "secretish"), ("--budget", "lots"), ("--environment", "moon"), ("--role", "x")):
        result = keys("add", "bot", option, value)
        assert result.exit_code == 1
        assert "could not be used" in result.stderr
    assert read_keys(keys_file()) == []


def test_add_as_json_holds_the_secret() -> None:
    added = json.loads(keys("add", "ci", "--json").stdout)
    assert added["name"] == "ci"
    assert Keyring(read_keys(keys_file())).identify(added["key"].encode()).name == "ci"


def test_a_name_is_given_once() -> None:
    keys("add", "ci")
    result = keys("add", "ci")
    assert result.exit_code == 1
    assert "hint: freehold keys remove ci" in result.stderr
    assert len(read_keys(keys_file())) == 1


def test_a_removed_key_is_gone() -> None:
    keys("add", "ci")
    assert json.loads(keys("remove", "ci", "--json").stdout) == {"removed": "ci"}
    assert keys("remove", "ci").exit_code == 1
    assert keys("list").stdout.splitlines()[1:] == []


@pytest.mark.parametrize(
    "words",
    [
        ["bad name"],
        [""],
        ["ci", "--models", " , "],
        ["ci", "--models", "a b"],
        ["ci", "--expires", "soon"],
        ["ci", "--expires", "2001-01-01"],
        ["ci", "--requests-per-minute", "0"],
        ["ci", "--tokens-per-minute", "-5"],
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_written(words: list[str]) -> None:
    result = keys("add", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert not keys_file().exists()


def test_keys_of_the_file_are_listed_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "freehold.yaml").write_text('keys: [{name: ci, key: "fh-0123456789abcdef"}]\n')
    listed = keys("list")
    assert "freehold.yaml" in listed.stdout
    assert "0123456789abcdef" not in listed.output
    assert "take it out of keys there" in keys("remove", "ci").stderr
    assert keys("add", "ci").exit_code == 1


def test_a_broken_configuration_does_not_stop_key_management(tmp_path: Path) -> None:
    (tmp_path / "freehold.yaml").write_text("nonsense: 1\n")
    result = keys("add", "ci")
    assert result.exit_code == 0
    assert "warning: the keys of freehold.yaml are not considered" in result.stderr


def _add_many(path: Path, prefix: str, count: int) -> None:
    for number in range(count):
        add_key(path, Key(f"{prefix}{number}"))
        if number % 2:
            remove_key(path, f"{prefix}{number}")


def test_processes_that_change_the_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(path, prefix, 20)) for prefix in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert {key.name for key in read_keys(path)} == {f"{prefix}{n}" for prefix in "abc" for n in range(0, 20, 2)}
