"""`freehold audit`: what it prints, what it exits with, and that its errors say what to do."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freehold.cli.audit import command
from freehold.record.receipts.leaf import Call, Ended
from freehold.record.receipts.log import Log
from freehold.record.receipts.places import Places


def audit(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def call(number: int, **changes: object) -> Call:
    return Call(
        0, time.time_ns(), f"r{number}-1", "w0-1", number, key="bot", label=str(changes.get("label", "internal")),
        deployment="lab/small", provider="lab", model="small", host="lab.example", region="eu", clearance="internal",
        policy="c0ffee", out=100, back=7, outcome="ok", status=200,
    )  # fmt: skip


@pytest.fixture
def log(home: Path) -> None:
    """Three receipts and a worker that has ended, signed."""
    places = Places(home, os.environ)
    made = Log(places.folder, places.second, b"s" * 32)
    made.append([call(1), call(2, label="confidential"), call(3), Ended(0, time.time_ns(), "w0-1")])
    made.sign()
    made.close()


def spoil(home: Path) -> None:
    path = next((home / "receipts").glob("log-*"))
    path.write_bytes(path.read_bytes().replace(b"confidential", b"publicpublic"))


@pytest.mark.usefixtures("log")
def test_says_that_all_is_there_and_what_that_rests_on() -> None:
    result = audit("verify")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "3 receipts of freehold-" in result.stderr
    assert "none changed, none missing, none cut off" in result.stderr
    assert "whoever has it could have written all of this" in result.stderr


def test_says_what_is_wrong_and_exits_1(home: Path, log: None) -> None:
    spoil(home)
    result = audit("verify")
    assert result.exit_code == 1
    assert "not those that were signed" in result.stdout
    assert "is not whole: 1 findings" in result.stderr
    shown = json.loads(audit("verify", "--json").stdout)
    assert (shown["whole"], shown["receipts"], len(shown["findings"])) == (False, 3, 1)


def test_an_anchor_goes_out_and_comes_back(home: Path, log: None, tmp_path: Path) -> None:
    printed = audit("anchor")
    assert printed.exit_code == 0
    kept = tmp_path / "anchor.txt"
    kept.write_text(printed.stdout)
    result = audit("verify", "--anchor", str(kept))
    assert result.exit_code == 0
    assert "anchors that agree: 1" in result.stderr
    assert "could have written" not in result.stderr
    key = json.loads(audit("anchor", "--json").stdout)["key"]
    assert audit("verify", "--key", key).exit_code == 0
    (tmp_path / "key").write_text(key + "\n")
    assert audit("verify", "--key", str(tmp_path / "key")).exit_code == 0
    spoil(home)
    assert audit("verify", "--anchor", str(kept)).exit_code == 1


def test_an_export_is_verified_without_the_folder(home: Path, log: None, tmp_path: Path) -> None:
    file = tmp_path / "out.zip"
    assert audit("export", "-o", str(file)).exit_code == 0
    again = audit("export", "-o", str(file))
    assert again.exit_code != 0
    assert "is there already" in str(again.exception)
    assert json.loads(audit("export", "-o", str(file), "--force", "--json").stdout)["lines"] == 5
    for path in sorted(home.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    result = audit("verify", str(file))
    assert result.exit_code == 0
    assert "3 receipts" in result.stderr
    assert audit("report", str(file)).exit_code == 0


@pytest.mark.usefixtures("log")
def test_a_proof_is_checked_alone(home: Path, tmp_path: Path) -> None:
    made = audit("prove", "r2-1")
    assert made.exit_code == 0
    file = tmp_path / "proof.json"
    file.write_text(made.stdout)
    key = json.loads(audit("anchor", "--json").stdout)["key"]
    shown = audit("verify", "--proof", str(file), "--key", key)
    assert shown.exit_code == 0
    assert "confidential" in shown.stdout
    assert json.loads(audit("verify", "--proof", str(file), "--json").stdout)["receipt"]["call"] == "r2-1"
    file.write_text(made.stdout.replace("confidential", "public"))
    refused = audit("verify", "--proof", str(file))
    assert refused.exit_code != 0
    assert "not in the tree" in str(refused.exception)
    assert audit("verify", "--proof", str(file), "--anchor", str(file)).exit_code == 2


def test_a_report_says_what_went_where(home: Path, log: None, tmp_path: Path) -> None:
    result = audit("report")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1][:3] == ["internal", "lab", "eu"]
    assert lines[1][-4:-1] == ["200", "14", "0"] or "200" in lines[1]
    assert "negative tests: none were run" in result.stderr
    assert "rules c0ffee: 3 calls" in result.stderr
    (home / "noninterference.json").write_text(
        '{"at": "2026-11-21T19:00:00Z", "version": "0.6", "passed": 900, "failed": 1, "canaries": 12,'
        ' "sinks": ["log", "cache"], "failures": ["cache x stream"]}'
    )
    told = audit("report").stderr
    assert "900 passed, 1 FAILED: cache x stream, 12 canaries looked for in 2 sinks" in told
    shown = json.loads(audit("report", "--json", "--since", "1h").stdout)
    assert sorted((flow["label"], flow["calls"], flow["out"]) for flow in shown["flows"]) == [
        ("confidential", 1, 100),
        ("internal", 2, 200),
    ]
    assert shown["tests"]["passed"] == 900
    assert shown["log"]["whole"]
    assert json.loads(audit("report", "--json", "--until", "1h").stdout)["flows"] == []
    assert audit("report", "--since", "1h", "--until", "2h").exit_code == 2
    spoil(home)
    assert audit("report").exit_code == 1


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("words", [("verify",), ("anchor",), ("export",), ("prove", "x-1"), ("report",)])
def test_without_a_log(words: tuple[str, ...]) -> None:
    result = audit(*words)
    assert result.exit_code != 0
    assert "there is no log of receipts" in str(result.exception)


@pytest.mark.usefixtures("home")
def test_what_is_no_export(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    file.write_bytes(b"no zip")
    result = audit("verify", str(file))
    assert "is no export of receipts" in str(result.exception)
