"""`freehold route replay`: a configuration tried on what is in the ledger, and on what is on its way there."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli.route_replay import command
from freehold.decide import predict
from freehold.home import journal_dir
from freehold.record.entries import Decided, Intent, Outcome, Settlement, Weighed
from freehold.record.journal import Journal
from freehold.record.readings import basis_of, pack

POLICY = """
box: false
discover: false
providers:
  lab:
    base_url: "http://127.0.0.1:1/v1"
    models:
      small: {input: 1, output: 2, strength: 0.5}
      large: {input: 10, output: 20, strength: 0.9}
keys:
  - {name: bot, key: fh-0123456789abcdef}
  - {name: secretive, key: fh-fedcba9876543210, label: restricted}
models:
  auto: {among: [lab/small, lab/large], objective: best}
  thrifty: {among: [lab/small, lab/large], objective: cheapest, quality: 0.01}
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words)


def decided(source: str) -> Decided:
    """As `auto` did: the large one, the small one tried now and then."""
    names = ("lab/large", "lab/small") if source == "large" else ("lab/small", "lab/large")
    chances = {"lab/large": 800_000, "lab/small": 200_000}
    qualities = {"lab/large": 9000, "lab/small": 6000}
    predictor = predict.default()
    return Decided(
        "auto", chances[names[0]] / 1e6, source == "small", input=1000, output=1024,
        basis=basis_of(predictor.id), reading=pack(predictor.read("what is the capital of France?").z),
        candidates=[Weighed(name, qualities[name], None, None, chances[name]) for name in names],
    )  # fmt: skip


@pytest.fixture
def policy(home: Path) -> str:
    """100 requests of the last hour in a journal, a fifth of them explored, all of them rated; and a policy."""
    Path("freehold.yaml").write_text(POLICY)
    journal = Journal(journal_dir(), "w0")
    for number in range(100):
        model = "small" if number % 5 == 0 else "large"
        key = "secretive" if number == 7 else "bot"
        at = time.time_ns() - 3600 * 10**9
        journal.append(
            Intent(
                f"r{number}-1", f"r{number}", at, 1, key, "auto", f"lab/{model}", "lab",
                model, "chat", False, True, 2024, "c0ffee", "best", "internal", decided(model),
            )
        )  # fmt: skip
        journal.append(
            Settlement(f"r{number}-1", "ok", 200, 1000, output=100, first_us=300_000, total_us=1_300_000, served=model)
        )
        right = float(number % 10 != 0)
        journal.append(Outcome(f"r{number}-1", "feedback", right, 1.0, time.time_ns(), "", ""))
    journal.close()
    Path("new.yaml").write_text(POLICY.replace("objective: best", "objective: cheapest, quality: 0.01"))
    return "new.yaml"


def replayed(*words: str) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_says_what_a_policy_would_have_cost_and_earned(policy: str) -> None:
    found = replayed("--policy", policy)
    assert (found["requests"], found["decided"], found["from_readings"]) == (100, 100, 99)
    # The key with the restricted label may not be sent to a provider at all.
    assert found["nobody"] == 1
    assert found["changed"] == 79
    assert found["choices"] == {"lab/large": [79, 0], "lab/small": [20, 99]}
    assert found["cost"]["policy"]["value"] == pytest.approx(0.0012)
    assert found["cost"]["change"]["high"] < 0
    assert found["rated"]["refused"] == "the rated requests are worth 20 under this policy, fewer than 30"


def test_the_present_policy_is_no_change(policy: str) -> None:
    found = replayed("--policy", "freehold.yaml")
    assert found["choices"]["lab/large"][0] == 79
    assert found["rated"]["refused"] is None
    assert found["rated"]["snips"]["value"] == 1.0  # the large one was never wrong


def test_shows_it_to_people(policy: str) -> None:
    result = run("--policy", policy)
    assert result.exit_code == 0, result.stderr
    for words in (
        "100 requests with new.yaml: 79 would go elsewhere",
        "cost per 1,000",
        "quality, predicted",
        "99 requests were rated",
        "the log does not say",
        "internal",
        "lab/small",
        "Requests that nobody could answer: 1",
        "restricted",
    ):
        assert words in result.stdout, result.stdout


def test_other_names_may_be_tried(policy: str) -> None:
    found = replayed("--policy", "freehold.yaml", "--as", "thrifty")
    assert found["choices"]["lab/small"] == [20, 99]
    result = run("--policy", "freehold.yaml", "--as", "nothing")
    assert result.exit_code == 1
    assert "no model 'nothing'" in str(result.exception)


def test_a_time_without_requests_is_said(policy: str) -> None:
    result = run("--policy", policy, "--since", "1h", "--until", "2020-01-01")
    assert result.exit_code == 2
    result = run("--policy", policy, "--since", "2020-01-01", "--until", "2020-01-02")
    assert result.exit_code == 0
    assert "no requests were made in this time" in result.stderr


def test_a_policy_that_is_wrong_is_told_at_once(policy: str) -> None:
    Path("bad.yaml").write_text(POLICY.replace("objective: best", "objective: cheepest"))
    result = run("--policy", "bad.yaml")
    assert result.exit_code == 1
    assert "cheepest" in str(result.exception)
    assert run("--policy", "absent.yaml").exit_code == 2
