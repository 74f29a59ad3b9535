"""`freehold audit`: what it prints, what it exits with, and that its errors say what to do."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freehold.cli.audit import command
from freehold.errors import BadRequest
from freehold.record.entries import Refused
from freehold.record.receipts.leaf import Call, Ended
from freehold.record.receipts.log import Log
from freehold.record.receipts.places import Places
from freehold.record.receipts.report import Tests as Results
from freehold.record.refusals import write
from freehold.record.store import Store


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


RUN = (Path(__file__).parents[1] / "noninterference" / "run.py").read_text()


def results(**changes: object) -> dict[str, object]:
    """As `tests/noninterference/run.py --out` writes them."""
    usual: dict[str, object] = {
        "at": "2026-11-22T02:16:23+00:00", "version": "0.1.0", "passed": 75, "failed": 0, "canaries": 56709,
        "sinks": ["provider public", "engine-a"], "failures": [],
        "scope": "full",
    }  # fmt: skip
    return {**usual, **changes}


def test_the_format_is_that_of_the_run() -> None:
    written = RUN.partition("    results = {\n")[2].partition("    }\n")[0]
    assert {line.split('"')[1] for line in written.splitlines()} == set(results())
    assert set(Results.__struct_fields__) == set(results())


@pytest.mark.usefixtures("log")
def test_a_report_of_a_file_of_negative_tests(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results(), indent=1) + "\n")
    done = audit("report", "--tests", str(file))
    assert done.exit_code == 0
    said = "negative tests of 2026-11-22T02:16:23+00:00, version 0.1.0, full: 75 passed, none failed"
    assert f"{said}, 56,709 canaries looked for in 2 sinks" in done.stderr
    shown = json.loads(audit("report", "--tests", str(file), "--json").stdout)["tests"]
    assert shown == results()
    old = {name: value for name, value in results().items() if name != "scope"}
    file.write_text(json.dumps(old))
    assert "version 0.1.0, scope unknown: 75 passed" in audit("report", "--tests", str(file)).stderr
    assert json.loads(audit("report", "--tests", str(file), "--json").stdout)["tests"] == results(scope="")
    failures = [*(f"restricted in sink {number}" for number in range(8)), "the gateway ended with 1:\n" + "x" * 2000]
    file.write_text(json.dumps(results(failed=9, failures=failures[::-1])))
    (line,) = [one for one in audit("report", "--tests", str(file)).stderr.splitlines() if "FAILED" in one]
    assert "75 passed, 9 FAILED: the gateway ended with 1: xxx" in line
    assert line.endswith("restricted in sink 4; and 4 more, 56,709 canaries looked for in 2 sinks")
    assert len(line) < 600


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"at": 3}', b'{"at": "x", "version": "1"}'])
def test_a_file_that_holds_something_else_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    done = audit("report", "--tests", str(file))
    assert done.exit_code == 1
    assert isinstance(done.exception, BadRequest)
    assert "does not hold results of negative tests" in str(done.exception)
    assert done.exception.hint == "make test-noninterference writes it again"


@pytest.mark.usefixtures("log")
def test_what_was_refused_here_stands_in_a_report_of_this_gateway(home: Path, tmp_path: Path) -> None:
    assert json.loads(audit("report", "--json").stdout)["refused"] is None, "there is no ledger"
    assert "refused here" not in audit("report").stderr
    store = Store(home / "freehold.db")
    now, hour = time.time_ns(), 3600 * 10**9
    said = ("bot", "fast", "chat", 400, "content_blocked", "email=allow,secret=block")
    with store.transaction() as connection:
        write(store, connection, [Refused("r1", now, *said), Refused("r2", now - 3 * hour, *said)])
    store.close()
    told = "refused here: 2 (content_blocked 2), in which was found email=allow 2, secret=block 2"
    assert told in audit("report").stderr.splitlines()
    refused = json.loads(audit("report", "--json", "--since", "2h").stdout)["refused"]
    assert refused == {
        "requests": 1, "codes": {"content_blocked": 1}, "found": {"email=allow": 1, "secret=block": 1}, "forgotten": 0,
    }  # fmt: skip
    assert "refused here: 0" in audit("report", "--until", "12h").stderr.splitlines()
    file = tmp_path / "out.zip"
    assert audit("export", "-o", str(file)).exit_code == 0
    assert json.loads(audit("report", str(file), "--json").stdout)["refused"] is None, "an export holds receipts only"


@pytest.mark.usefixtures("log")
def test_a_file_that_is_named_and_not_there_is_not_taken_for_no_tests(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        done = audit("report", "--tests", str(path))
        assert done.exit_code == 2
        assert "none were run" not in done.stderr


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
