"""`/v1/moderations` by each of the three judges, through a running gateway."""

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from canaries import ENDPOINTS, House, Told, canary_house
from running import KEY

SCRIPT: dict[str, Any] = {
    "rules": [
        {"match": {"model": "llama-guard-3", "contains": "bomb"}, "reply": {"text": "unsafe\nS1,S9"}},
        {"match": {"model": "llama-guard-3", "contains": "mole"}, "reply": {"text": "unsafe\nS6"}},
        {"match": {"model": "llama-guard-3", "contains": "babble"}, "reply": {"text": "As an AI I think"}},
        {"match": {"model": "llama-guard-3", "contains": "linger"}, "reply": {"text": "safe", "latency_ms": 8000}},
        {"match": {"model": "llama-guard-3"}, "reply": {"text": "safe"}},
    ]
}
KEYS = """
  - {name: narrow, key: "fh-narrow-0000000000", models: [openai/fake]}
  - {name: slow, key: "fh-slow-000000000000", requests_per_minute: 1}
"""
GUARD = (
    KEYS + "checks: {moderation: {by: guard, model: home/llama-guard-3, seconds: 1.0, thresholds: {violence: 0.99}}}"
)
RENTED = KEYS + "checks: {moderation: {by: rented, model: mistral/mistral-moderation-latest, answer: always}}"
ENDPOINT = ENDPOINTS["moderations"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("local"), KEYS) as house:
        yield house


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("guard"), GUARD, SCRIPT) as house:
        yield house


@pytest.fixture(scope="module")
def rented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("rented"), RENTED) as house:
        yield house


def judge(house: House, given: Any, model: str = "freehold-moderation", **options: Any) -> Told:
    house.kept.clear()
    return house.ask(ENDPOINT, {"input": given}, model=model, **options)


def results(told: Told) -> list[dict[str, Any]]:
    assert told.status == 200, told.body
    return list(json.loads(told.body)["results"])


def listed(house: House, key: str = KEY) -> dict[str, dict[str, Any]]:
    answer = house.gateway.get("/v1/models", authorization=f"Bearer {key}")
    return {one["id"]: one for one in answer["data"]}


def rows(house: House, sql: str, *arguments: Any) -> list[Any]:
    """What the ledger says, once it says something."""
    end = time.monotonic() + 15
    while True:
        with sqlite3.connect(f"file:{house.gateway.home / 'freehold.db'}?mode=ro", uri=True) as connection:
            found = connection.execute(sql, arguments).fetchall()
        connection.close()
        if found:
            return found
        assert time.monotonic() < end
        time.sleep(0.05)


def test_here_nothing_leaves_and_the_ledger_knows(local: House) -> None:
    told = judge(local, ["have a nice day", "I will kill you tomorrow"])
    first, second = results(told)
    assert (first["flagged"], second["flagged"]) == (False, True)
    assert len(second["category_scores"]) == 13
    assert told.headers["x-freehold-deployment"] == "freehold-moderation"
    assert not local.kept
    row = rows(
        local,
        "SELECT key, asked, uncached, output, outcome, cost_usd FROM ledger"
        " WHERE deployment = 'freehold-moderation' LIMIT 1",
    )
    assert row == [("ci", "freehold-moderation", 0, 0, "ok", 0.0)]


def test_openais_sdk_reads_it(local: House) -> None:
    with openai.OpenAI(base_url=f"{local.gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        answer = client.moderations.create(input=["hello", "I will kill you tomorrow"], model="freehold-moderation")
    assert answer.results[1].flagged
    assert answer.results[1].categories.violence
    assert answer.results[0].category_scores.hate < 0.5


def test_what_a_guard_model_judges_leaves_its_calls_in_the_ledger(guard: House) -> None:
    told = judge(guard, ["have a nice day", "how is a bomb built"])
    assert [one["flagged"] for one in results(told)] == [False, True]
    request = told.headers["x-request-id"]
    query = "SELECT count(*), key, deployment, reason, outcome FROM ledger WHERE request LIKE ? HAVING count(*) = 2"
    row = rows(guard, query, f"{request}-moderation%")
    assert row == [(2, "ci", "home/llama-guard-3", "moderation", "ok")]


@pytest.mark.parametrize("house", ["local", "guard"])
def test_pictures_are_refused_and_named(house: str, request: pytest.FixtureRequest) -> None:
    picture = f"data:image/png;base64,{base64.b64encode(b'x' * 20).decode()}"
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": picture}}]
    told = judge(request.getfixturevalue(house), parts)
    assert told.status == 400
    said = json.loads(told.body)["error"]
    assert said["code"] == "unsupported_by_provider"
    assert said["param"] == "input.1"


def test_a_list_has_it_for_who_may_ask(local: House, rented: House) -> None:
    everybody = listed(local)
    assert everybody["freehold-moderation"]["can"] == ["moderations"]
    assert everybody["freehold-moderation"]["owned"] is True
    assert "freehold-moderation" not in listed(local, "fh-narrow-0000000000")
    one = local.gateway.get("/v1/models/freehold-moderation", authorization=f"Bearer {KEY}")
    assert one["owned_by"] == "freehold"
    assert listed(rented)["freehold-moderation"]["owned"] is False


def test_keys_and_limits_hold(local: House) -> None:
    assert judge(local, "hi", key="fh-narrow-0000000000").status == 403
    assert judge(local, "hi", key="fh-slow-000000000000").status == 200
    assert judge(local, "hi", key="fh-slow-000000000000").status == 429
    assert judge(local, "hi", key="no such key").status == 401


@pytest.mark.parametrize("given", [None, 7, [], [7], {"a": 1}, [["x"]]])
def test_what_is_no_input(local: House, given: Any) -> None:
    assert judge(local, given).status == 400


def test_a_guard_model_judges(guard: House) -> None:
    told = judge(guard, ["how to make a bomb", "how to bake bread", "cut this mole out myself"])
    bomb, bread, mole = results(told)
    assert told.headers["x-freehold-deployment"] == "home/llama-guard-3"
    assert bomb["flagged"]
    assert bomb["categories"]["illicit/violent"]
    assert not bomb["categories"]["violence"]
    assert bomb["category_scores"]["violence"] > 0.5
    assert not bread["flagged"]
    assert mole["flagged"]
    assert mole["categories"]["S6: Specialized Advice"]
    assert len(guard.kept) == 3


@pytest.mark.parametrize("text", ["babble", "linger", ["fine", "babble"], "word " * 60_000])
def test_no_verdict_is_an_error_and_never_harmless(guard: House, text: Any) -> None:
    told = judge(guard, text)
    assert told.status == 503
    said = json.loads(told.body)["error"]
    assert said["code"] == "moderation_failed"
    assert "flagged" in said["message"]


def test_a_long_text_is_judged_to_its_end(guard: House) -> None:
    filler = "The weather is fine today. " * 900
    (one,) = results(judge(guard, f"{filler} a bomb {filler}"))
    assert one["flagged"]


def test_a_rented_model_answers_in_openais_form(rented: House) -> None:
    for model in ("freehold-moderation", "omni-moderation-latest"):
        told = judge(rented, ["violence", "fine"], model=model)
        first, second = results(told)
        assert told.headers["x-freehold-deployment"] == "mistral/mistral-moderation-latest"
        assert set(first["categories"]) >= {"harassment", "hate", "illicit", "self-harm", "sexual", "violence"}
        assert isinstance(first["flagged"], bool)
        assert not second["flagged"]
        assert len(rented.kept) == 1


def test_a_rented_model_sees_nothing_that_it_may_not(rented: House) -> None:
    told = judge(rented, "my key is ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM")
    assert told.status == 400
    assert not rented.kept
