"""The verbs against a gateway that really runs, in front of the scripted provider."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import KEY, Running, clean_environment, gateway_for

MODELS = """
models:
  fast: [openai/gpt-4o-mini, anthropic/claude-haiku-4-5]
  smart: {among: [openai/gpt-4o-mini, openai/gpt-5.4, anthropic/claude-haiku-4-5]}
"""


@pytest.fixture(scope="module")
def ours(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway of this file's own: its keys are changed here."""
    with gateway_for(tmp_path_factory.mktemp("cli") / "gateway", fake.url, MODELS) as running:
        yield running


def freehold(running: Running, *words: str, stdin: str = "", status: int = 0) -> "subprocess.CompletedProcess[str]":
    """Runs a verb as somebody on the gateway's machine would."""
    environment = clean_environment(FREEHOLD_HOME=str(running.home), UPSTREAM_KEY="sk-upstream-secret-000")
    done = subprocess.run(
        [sys.executable, "-m", "freehold", *words],
        input=stdin,
        env=environment,
        cwd=running.home.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_ask_finds_gateway_and_key_by_itself(ours: Running) -> None:
    done = freehold(ours, "ask", "hello there", "--model", "fast")
    assert done.stdout.strip()
    assert done.stderr.startswith("openai/gpt-4o-mini answered (first of its alias): ")
    assert " tokens in, " in done.stderr


def test_ask_across_dialects_as_json(ours: Running) -> None:
    answer = json.loads(freehold(ours, "ask", "hello", "-m", "anthropic/claude-haiku-4-5", "--json").stdout)
    assert answer["deployment"] == "anthropic/claude-haiku-4-5"
    assert answer["finish"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0


def test_ask_shows_the_gateway_s_own_error(ours: Running) -> None:
    done = freehold(ours, "ask", "hello", "--model", "fsat", status=1)
    assert done.stderr == "error: there is no model 'fsat' here\nhint: did you mean 'fast'?\n"


def test_chat_in_a_pipe(ours: Running) -> None:
    done = freehold(ours, "chat", "--model", "fast", "--json", stdin="one\ntwo\n")
    assert [json.loads(line)["deployment"] for line in done.stdout.splitlines()] == ["openai/gpt-4o-mini"] * 2


def test_models_of_the_running_gateway(ours: Running) -> None:
    rows = {row["name"]: row for row in json.loads(freehold(ours, "models", "--json").stdout)["models"]}
    assert rows["fast"]["kind"] == "alias"
    assert rows["openai/gpt-4o-mini"]["owned"] is False
    assert rows["openai/gpt-4o-mini"]["state"] == "ready"


@pytest.mark.parametrize(
    "prompt", ["hello", "Prove by induction that the sum of odd numbers is a square, step by step"]
)
def test_explain_says_beforehand_who_will_answer(ours: Running, prompt: str) -> None:
    told = json.loads(freehold(ours, "explain", prompt, "--model", "smart", "--json").stdout)
    answer = json.loads(freehold(ours, "ask", prompt, "--model", "smart", "--json").stdout)
    assert answer["deployment"] == told["attempts"][0]["deployment"]
    assert answer["reason"] == told["reason"]


def test_a_new_key_works_within_a_second_and_a_removed_one_stops(ours: Running) -> None:
    secret = freehold(ours, "keys", "add", "visitor", "--models", "fast").stdout.strip()
    eventually(ours, secret, 200)
    assert status_of(ours, secret, "openai/gpt-4o-mini") == 403
    freehold(ours, "keys", "remove", "visitor")
    eventually(ours, secret, 401)
    assert status_of(ours, KEY, "fast") == 200


def test_doctor_finds_the_gateway(ours: Running) -> None:
    checks = json.loads(freehold(ours, "doctor", "--json").stdout)["checks"]
    by_name = {check["check"]: check for check in checks}
    assert f"{ours.url} answers" in by_name["gateway"]["found"]
    assert by_name["store"]["verdict"] == "ok"
    assert [check for check in checks if check["verdict"] == "fail"] == []


def test_the_one_that_stopped_is_not_found_any_more(fake: Running, tmp_path: Path) -> None:
    with gateway_for(tmp_path / "gateway", fake.url, MODELS) as running:
        freehold(running, "ask", "hello", "--model", "fast")
    done = freehold(running, "ask", "hello", status=1)
    assert "hint: start one with: freehold up" in done.stderr


def eventually(running: Running, key: str, status: int) -> None:
    end = time.monotonic() + 5
    while (seen := status_of(running, key, "fast")) != status:
        assert time.monotonic() < end, f"status {seen}, not {status}"
        time.sleep(0.05)


def status_of(running: Running, key: str, model: str) -> int:
    import urllib.error
    import urllib.request

    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(running.url + "/v1/chat/completions", body, headers), timeout=30
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
