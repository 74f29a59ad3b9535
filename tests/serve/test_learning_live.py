"""Learning online, through a running gateway: what a route decided, what was said of its answers, and a replay."""

import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import KEY, Running, clean_environment, gateway_for

from freehold.record.outcomes import Past, past, training

MODELS = """
models:
  tried: {among: [openai/gpt-4o-mini, anthropic/claude-sonnet-4-5], objective: cheapest, quality: 0.01,
          explore: {share: 0.2, quality: 1.0}}
"""
TEXT = "Please explain in a few sentences why the sky is blue during the day and red in the evening"


@pytest.fixture(scope="module")
def learner(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway_for(tmp_path_factory.mktemp("learner"), fake.url, MODELS) as running:
        yield running


def post(gateway: Running, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
    """Status, answer and request id."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(gateway.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read()), answer.headers["x-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), ""


def ask(gateway: Running, model: str = "tried", text: str = TEXT, **more: Any) -> tuple[str, str]:
    """Request id and the answer's own id."""
    status, answer, request = post(
        gateway, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}], **more}
    )
    assert status == 200, answer
    return request, answer["id"]


def ledger(gateway: Running, *requests: str) -> dict[str, Past]:
    """Those requests, once all are there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with sqlite3.connect(gateway.home / "freehold.db") as connection:
            found = {one.request: one for one in past(connection) if one.request in requests}
        connection.close()
        if len(found) == len(requests):
            return found
        time.sleep(0.1)
    raise AssertionError("the ledger does not get them")


def test_what_a_route_decided_is_kept_and_nothing_of_what_names_its_model(learner: Running) -> None:
    routed, direct = ask(learner)[0], ask(learner, "openai/gpt-4o-mini")[0]
    found = ledger(learner, routed, direct)
    decision = found[routed].decision
    assert decision is not None
    assert decision.route == "tried"
    assert found[routed].label == "internal"
    assert {one.name for one in decision.candidates} == {"openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"}
    assert sum(one.chance for one in decision.candidates) == pytest.approx(1.0)
    assert decision.propensity == pytest.approx(decision.candidates[0].chance)
    assert decision.candidates[0].name == found[routed].deployment
    assert decision.reading
    assert len(decision.basis) == 4
    assert all(one.quality is not None for one in decision.candidates)
    assert found[direct].decision is None


def test_a_rating_reaches_the_ledger_and_what_is_trained_on(learner: Running) -> None:
    request, response = ask(learner)
    status, said, _ = post(learner, "/v1/feedback", {"request_id": request, "rating": "down", "reason": "wrong"})
    assert (status, said["request_id"], said["score"]) == (200, request, 0.0)
    status, said, _ = post(learner, "/v1/feedback", {"response_id": response, "score": 0.75})
    assert status == 200
    end = time.monotonic() + 20
    while ledger(learner, request)[request].value != 0.75 and time.monotonic() < end:
        time.sleep(0.1)
    with sqlite3.connect(learner.home / "freehold.db") as connection:
        rows = [row for row in training(connection) if row.request == request]
    connection.close()
    assert [(row.source, row.value, row.route) for row in rows] == [("feedback", 0.75, "tried")]
    assert rows[0].reading


def test_nobody_rates_what_is_not_there(learner: Running) -> None:
    status, said, _ = post(learner, "/v1/feedback", {"request_id": "req_0000000000000000", "score": 1})
    assert (status, said["error"]["code"]) == (404, "answer_not_found")


def test_asking_again_is_a_weak_word_about_the_answer(learner: Running) -> None:
    text = f"{TEXT}, once more"
    first, _ = ask(learner, text=text)
    ask(learner, text=text)
    query = "SELECT source, value, weight FROM outcomes JOIN calls ON calls.id = outcomes.call WHERE calls.call = ?"
    end = time.monotonic() + 20
    rows: list[Any] = []
    while not rows and time.monotonic() < end:
        with sqlite3.connect(learner.home / "freehold.db") as connection:
            rows = connection.execute(query, (f"{first}-1",)).fetchall()
        connection.close()
        time.sleep(0.1)
    assert rows == [(2, 0.0, 0.2)]


def test_the_ledger_of_a_running_gateway_is_replayed(learner: Running, tmp_path: Path) -> None:
    request, _ = ask(learner)
    ledger(learner, request)
    config = next(learner.home.parent.glob("*.yaml")).read_text()
    (tmp_path / "new.yaml").write_text(config.replace("objective: cheapest, quality: 0.01", "objective: best"))
    done = subprocess.run(
        [sys.executable, "-c", "from freehold.cli.route_replay import command; command()", "--policy",
         str(tmp_path / "new.yaml"), "--json"],
        env=clean_environment(FREEHOLD_HOME=str(learner.home), UPSTREAM_KEY="x"), capture_output=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["requests"] >= 2
    assert found["from_readings"] >= 1
    assert found["direct"]["requests"] >= 1


def test_a_decision_of_the_past_is_explained_in_words(learner: Running) -> None:
    request = ask(learner)[0]
    ledger(learner, request)
    environment = clean_environment(FREEHOLD_HOME=str(learner.home))
    command = [sys.executable, "-m", "freehold", "explain", "--request"]
    done = subprocess.run([*command, request], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "tried was answered by " in done.stdout
    assert "openai/gpt-4o-mini: right with 0." in done.stdout
    assert "anthropic/claude-sonnet-4-5: right with 0." in done.stdout
    unknown = subprocess.run(
        [*command, "req_never"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert unknown.returncode == 1
    assert "no request 'req_never' in the ledger" in unknown.stderr
