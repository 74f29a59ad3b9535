"""`freehold usage`: figures, what it says about calls it cannot price, and times."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli import main
from freehold.home import database, journal_dir
from freehold.record.entries import Intent, Refused, Settlement
from freehold.record.ingest import Ingest
from freehold.record.journal import Journal, segments
from freehold.record.prices import Pricer
from freehold.record.store import Store

CONFIG = """
providers:
  lab: {base_url: "http://127.0.0.1:1/v1", models: {small: {input: 1, output: 2}}}
"""


def usage(*words: str) -> Result:
    return CliRunner().invoke(main, ["usage", *words])


def write(journal: Journal, number: int, model: str, *, owned: bool = False, end: bool = True, **figures: Any) -> None:
    name = f"{'own' if owned else 'lab'}/{model}"
    who = ("bot", "fast", name, name.partition("/")[0], model, "chat")
    journal.append(Intent(f"r{number}-1", f"r{number}", time.time_ns(), 1, *who, owned, False, 9, "c0ffee"))
    if end:
        journal.append(Settlement(f"r{number}-1", "ok", 200, **figures))


@pytest.fixture
def written(home: Path) -> None:
    """Four calls in a journal of a worker that is gone, one of them never settled; nothing is in the ledger."""
    Path("freehold.yaml").write_text(CONFIG)
    journal = Journal(journal_dir(), "w0")
    write(journal, 1, "small", uncached=1_000_000, output=250_000)
    write(journal, 2, "strange", uncached=100, output=10)
    write(journal, 3, "tiny", owned=True, uncached=100, output=10)
    write(journal, 4, "small", end=False)
    journal.close()


def lines(result: Result) -> dict[str, list[str]]:
    """Cells of the table by the first one."""
    assert result.exit_code == 0, result.stderr
    return {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}


@pytest.mark.usefixtures("written")
def test_takes_in_what_the_journals_hold_and_shows_it() -> None:
    result = usage()
    assert lines(result) == {
        "model": ["calls", "ok", "failed", "cancelled", "unknown", "input", "cached", "output", "cost"],
        "small": ["2", "1", "0", "0", "1", "1,000,000", "0", "250,000", "$1.50"],
        "strange": ["1", "1", "0", "0", "0", "100", "0", "10", "unpriced"],
        "tiny": ["1", "1", "0", "0", "0", "100", "0", "10", "$0"],
        "total": ["4", "3", "0", "0", "1", "1,000,200", "0", "250,020", "$1.50", "+", "1", "unpriced"],
    }
    assert "rented: 3 calls, $1.50 + 1 unpriced; owned: 1 calls, $0" in result.stderr
    assert "providers.NAME.models" in result.stderr
    assert segments(journal_dir()) == []
    assert usage().stdout == result.stdout


def test_a_gateway_that_has_only_refused_says_so(home: Path) -> None:
    journal = Journal(journal_dir(), "w0")
    said = ("bot", "fast", "chat", 400, "content_blocked", "email=allow,secret=block")
    journal.append(Refused("r1", time.time_ns(), *said))
    journal.close()
    result = usage()
    assert result.exit_code == 0
    assert "no calls were made yet" in result.stderr
    told = "refused, which are no calls: 1 (content_blocked 1), in which was found email=allow 1, secret=block 1"
    assert told in result.stderr
    refused = json.loads(usage("--json", "--since", "1d").stdout)["refused"]
    assert (refused["requests"], refused["codes"]) == (1, {"content_blocked": 1})
    assert json.loads(usage("--json", "--until", "1d").stdout)["refused"]["requests"] == 0


@pytest.mark.usefixtures("written")
def test_json_knows_null_from_zero() -> None:
    result = usage("--by", "deployment", "--since", "1d", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert {row["name"]: row["cost_usd"] for row in said["rows"]} == {
        "lab/small": 1.5,
        "lab/strange": None,
        "own/tiny": 0,
    }
    assert (said["total"]["calls"], said["total"]["unpriced"], said["total"]["unknown"]) == (4, 1, 1)
    assert [kind["name"] for kind in said["kinds"]] == ["rented", "owned"]
    assert said["running"] == 0
    assert said["since"].endswith("+00:00")


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["--since", "7d"], True),
        (["--since", "2w", "--by", "day"], True),
        (["--since", "2020-01-01"], True),
        (["--until", "2020-01-01"], False),
        (["--since", "2020-01-01", "--until", "2020-02-01T12:00Z"], False),
    ],
)
def test_times(words: list[str], some: bool) -> None:
    result = usage(*words)
    assert result.exit_code == 0, result.stderr
    assert bool(result.stdout) is some
    if not some:
        assert "no calls were made in this time" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "yesterday"],
        ["--since", ""],
        ["--until", "7y"],
        ["--by", "colour"],
        ["--since", "1d", "--until", "2d"],
    ],
)
def test_a_wrong_command_line_is_told(home: Path, words: list[str]) -> None:
    result = usage(*words)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_nothing_yet(home: Path) -> None:
    result = usage()
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no calls were made yet" in result.stderr
    assert json.loads(usage("--json").stdout)["rows"] == []


@pytest.mark.usefixtures("written")
def test_while_a_gateway_ingests_it_reads_what_is_there() -> None:
    from freehold.config.schema import Config

    store = Store(database())
    steward = Ingest(store, journal_dir(), Pricer(Config(), {}))
    steward.step()
    later = Journal(journal_dir(), "w1")
    write(later, 9, "small", uncached=1, output=1)
    result = usage("--json")
    assert json.loads(result.stdout)["total"]["calls"] == 4
    assert "a running gateway keeps the ledger" in result.stderr
    steward.close()
    store.close()
    write(later, 10, "small", end=False)
    said = json.loads(usage("--json").stdout)
    assert (said["total"]["calls"], said["running"]) == (5, 1)
    later.close()


@pytest.mark.usefixtures("written")
def test_with_a_broken_configuration_nothing_is_priced_wrongly() -> None:
    Path("freehold.yaml").write_text("providers: 5\n")
    result = usage()
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "not taken in" in result.stderr
    Path("freehold.yaml").write_text(CONFIG)
    assert lines(usage())["small"][-1] == "$1.50"


def test_a_store_that_cannot_be_opened_is_an_error(home: Path) -> None:
    database().write_bytes(b"this is no database" * 100)
    result = usage()
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr
    assert "hint:" in result.stderr


@pytest.mark.usefixtures("written")
def test_what_was_found_is_named_where_something_was() -> None:
    assert "found" not in usage().stderr
    assert json.loads(usage("--json").stdout)["found"] == {"requests": {}, "answers": {}}
    journal = Journal(journal_dir(), "w1")
    who = ("bot", "fast", "lab/small", "lab", "small", "chat", False, False, 9, "c0ffee")
    journal.append(Intent("r9-1", "r9", time.time_ns(), 1, *who, found="email=allow,secret=label"))
    journal.append(Settlement("r9-1", "ok", 200, found="secret=redact"))
    journal.close()
    said = usage().stderr
    assert "calls by what was found in their requests: email=allow 1, secret=label 1" in said
    assert "calls by what was found in their answers: secret=redact 1" in said
    assert json.loads(usage("--json").stdout)["found"]["answers"] == {"secret=redact": 1}
