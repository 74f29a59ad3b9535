"""A request that waits for a person, through a running gateway: what the person sees, and what their word is worth."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from canaries import ENDPOINTS, House, Told, canary_house
from running import KEY, clean_environment

SECRET = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
CONFIG = """
  - {name: chief, key: "fh-chief-00000000000"}
  - {name: asker, key: "fh-asker-00000000000"}
models:
  smart: [openai/fake, anthropic/fake]
checks:
  request: {secret: ask, iban: label}
  ask: {seconds: SECONDS, wait: WAIT, waiting: 2, valid: VALID, approvers: [chief, ci]}
"""
CHIEF = "fh-chief-00000000000"
CHAT = ENDPOINTS["chat"]


def config(seconds: float, wait: bool, valid: float = 600) -> str:
    return CONFIG.replace("SECONDS", str(seconds)).replace("WAIT", str(wait).lower()).replace("VALID", str(valid))


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("waiting"), config(30, wait=True)) as house:
        yield house


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("refusing"), config(30, wait=False)) as house:
        yield house


def say(house: House, text: str, **options: Any) -> Told:
    return house.ask(CHAT, {"messages": [{"role": "user", "content": text}]}, model="smart", **options)


def later(house: House, text: str, **options: Any) -> "Future[Told]":
    """Asks in a thread of its own, with a connection of its own."""
    return aside(lambda: say(house, text, **options), house)


def aside(ask: Callable[[], Told], house: House) -> "Future[Told]":
    def run() -> Told:
        try:
            return ask()
        finally:
            house.close()
            house.local.connection = None

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


def api(house: House, method: str, path: str, key: str = CHIEF, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(house.gateway.url).netloc, timeout=20)
    try:
        connection.request(method, path, body, {"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 15
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def pending(house: House, count: int = 1) -> list[dict[str, Any]]:
    """Those that wait, once there are so many."""

    def look() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api(house, "GET", "/v1/approvals")[1]["data"]
        return found if len(found) == count else []

    return list(until(look))


def cli(house: House, *words: str) -> tuple[int, str]:
    env = clean_environment(FREEHOLD_HOME=str(house.gateway.home))
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "approvals", *words], capture_output=True, text=True, env=env, timeout=30
    )
    return done.returncode, done.stdout + done.stderr


def sent_upstream(house: House) -> bool:
    return any(SECRET.encode() in request for request in house.kept)


def error(told: Told) -> dict[str, Any]:
    return dict(json.loads(told.body)["error"])


def test_a_request_waits_until_a_person_lets_it_go(waiting: House) -> None:
    waiting.kept.clear()
    asked = later(waiting, f"is {SECRET} any good?")
    (one,) = pending(waiting)
    assert not sent_upstream(waiting)
    assert one["kinds"] == ["secret"]
    assert (one["key"], one["asked"]) == ("ci", "smart")
    assert (one["label"], one["lowered"]) == ("restricted", "internal")
    assert one["sinks"] == ["openai/fake", "anthropic/fake"]
    assert one["excerpt"].endswith('is [secret] any good?"}]') or "is [secret] any good?" in one["excerpt"]
    assert SECRET not in json.dumps(one)
    status, decided = api(waiting, "POST", f"/v1/approvals/{one['id']}/approve", body=b'{"reason": "test key"}')
    assert status == 200
    assert (decided["state"], decided["by"], decided["excerpt"]) == ("approved", "chief", "")
    told = asked.result(20)
    assert told.status == 200
    assert told.headers["x-freehold-deployment"] == "openai/fake"
    assert told.headers["x-freehold-checks"] == "secret=ask"
    assert sent_upstream(waiting)
    assert api(waiting, "GET", f"/v1/approvals/{one['id']}")[1]["state"] == "used"


def test_the_receipt_names_who_lowered_the_label(waiting: House) -> None:
    asked = later(waiting, f"and {SECRET}?")
    (one,) = pending(waiting)
    status, said = cli(waiting, "approve", one["id"], "--as", "ada")
    assert status == 0, said
    assert asked.result(20).status == 200
    folder = waiting.gateway.home / "receipts"

    def found() -> list[dict[str, Any]]:
        lines = [json.loads(line) for path in folder.glob("log-*.jsonl") for line in path.read_bytes().splitlines()]
        return [line for line in lines if line.get("declassifier") == f"approval:{one['id']} by ada"]

    (receipt,) = until(found)
    assert receipt["label"] == "restricted"
    assert receipt["deployment"] == "openai/fake"


def test_a_denial_is_told_with_its_reason(waiting: House) -> None:
    waiting.kept.clear()
    asked = later(waiting, f"send {SECRET}")
    (one,) = pending(waiting)
    status, said = cli(waiting, "deny", one["id"], "--as", "ada", "--reason", "that is a live key")
    assert status == 0, said
    told = asked.result(20)
    assert told.status == 403
    assert error(told)["code"] == "approval_denied"
    assert "ada" in error(told)["message"]
    assert "that is a live key" in error(told)["message"]
    assert not sent_upstream(waiting)
    assert cli(waiting, "approve", one["id"])[0] == 1
    assert api(waiting, "POST", f"/v1/approvals/{one['id']}/approve")[0] == 409


def test_a_client_that_leaves_withdraws_it(waiting: House) -> None:
    body = json.dumps({"model": "smart", "messages": [{"role": "user", "content": f"x {SECRET}"}]}).encode()
    connection = http.client.HTTPConnection(urlsplit(waiting.gateway.url).netloc, timeout=20)
    connection.request("POST", CHAT.path, body, {"authorization": f"Bearer {KEY}"})
    (one,) = pending(waiting)
    connection.close()
    until(lambda: api(waiting, "GET", f"/v1/approvals/{one['id']}")[1]["state"] == "withdrawn")
    assert api(waiting, "POST", f"/v1/approvals/{one['id']}/approve")[0] == 409


def test_only_so_many_wait(waiting: House) -> None:
    two = [later(waiting, f"{number} {SECRET}") for number in range(2)]
    found = pending(waiting, 2)
    told = say(waiting, f"and {SECRET}")
    assert told.status == 429
    assert error(told)["code"] == "approvals_full"
    other = later(waiting, f"mine {SECRET}", key="fh-asker-00000000000")
    pending(waiting, 3)
    for one in pending(waiting, 3):
        api(waiting, "POST", f"/v1/approvals/{one['id']}/deny")
    assert {one.result(20).status for one in (*two, other)} == {403}
    assert len(found) == 2


def test_who_asks_does_not_decide(waiting: House) -> None:
    asked = later(waiting, f"me {SECRET}")
    (one,) = pending(waiting)
    assert api(waiting, "POST", f"/v1/approvals/{one['id']}/approve", key=KEY)[0] == 403
    assert api(waiting, "POST", f"/v1/approvals/{one['id']}/approve", key="fh-asker-00000000000")[0] == 403
    assert api(waiting, "GET", "/v1/approvals", key="fh-asker-00000000000")[0] == 403
    assert api(waiting, "GET", "/v1/approvals", key="nobody's key at all")[0] == 401
    api(waiting, "POST", f"/v1/approvals/{one['id']}/deny")
    assert asked.result(20).status == 403


def test_what_nobody_could_answer_anyway_asks_nobody(waiting: House) -> None:
    told = say(waiting, f"{SECRET} and IBAN DE89 3704 0044 0532 0130 00")
    assert told.status == 400
    assert not api(waiting, "GET", "/v1/approvals")[1]["data"]


def test_an_approval_is_for_one_request_and_the_conversation_stays_restricted(waiting: House) -> None:
    first = {"role": "user", "content": f"here is {SECRET}, unique words"}
    asked = aside(lambda: waiting.ask(CHAT, {"messages": [first]}, model="smart"), waiting)
    (one,) = pending(waiting)
    cli(waiting, "approve", one["id"])
    told = asked.result(20)
    assert told.status == 200
    answer = json.loads(told.body)["choices"][0]["message"]["content"]
    turns = [{"role": "user", "content": "here is nothing, unique words"}, {"role": "assistant", "content": answer}]
    again = [first, turns[1], {"role": "user", "content": "and now?"}]
    second = aside(lambda: waiting.ask(CHAT, {"messages": again}, model="smart"), waiting)
    (two,) = pending(waiting)
    assert (two["label"], two["lowered"]) == ("restricted", "internal")
    api(waiting, "POST", f"/v1/approvals/{two['id']}/deny")
    assert second.result(20).status == 403


def test_without_waiting_the_same_request_is_sent_again_with_the_approval(refusing: House) -> None:
    refusing.kept.clear()
    told = say(refusing, f"one {SECRET}")
    assert told.status == 403
    assert error(told)["code"] == "approval_required"
    identity = told.headers["x-freehold-approval"]
    assert identity in error(told)["message"]
    named = (("x-freehold-approval", identity),)
    assert say(refusing, f"one {SECRET}").headers["x-freehold-approval"] == identity
    assert say(refusing, f"one {SECRET}", headers=named).status == 403
    assert not sent_upstream(refusing)
    assert cli(refusing, "approve", identity, "--as", "ada")[0] == 0
    other = say(refusing, f"another {SECRET}", headers=named)
    assert other.status == 403
    assert error(other)["code"] == "approval_invalid"
    assert "another request body" in error(other)["message"]
    theirs = say(refusing, f"one {SECRET}", headers=named, key="fh-asker-00000000000")
    assert "no such approval of this key" in error(theirs)["message"]
    raised = say(refusing, f"one {SECRET}", headers=(*named, ("x-freehold-label", "internal")))
    assert raised.status == 200
    assert sent_upstream(refusing)
    once_more = say(refusing, f"one {SECRET}", headers=named)
    assert once_more.status == 403
    assert error(once_more)["code"] == "approval_invalid"


@pytest.mark.parametrize("header", ["apr-0000000000000000", "nonsense", "apr-' OR 1=1 --", "é"])
def test_an_approval_that_is_none(refusing: House, header: str) -> None:
    told = say(refusing, f"n {SECRET}", headers=(("x-freehold-approval", header),))
    assert told.status == 403
    assert error(told)["code"] == "approval_invalid"


def test_the_denied_request_stays_denied(refusing: House) -> None:
    identity = say(refusing, f"no {SECRET}").headers["x-freehold-approval"]
    api(refusing, "POST", f"/v1/approvals/{identity}/deny", body=b'{"reason": "never"}')
    told = say(refusing, f"no {SECRET}")
    assert error(told)["code"] == "approval_denied"
    assert "never" in error(told)["message"]


@pytest.mark.parametrize("name", ["messages", "responses", "gemini", "embeddings"])
def test_every_dialect_is_told_in_its_own_form(refusing: House, name: str) -> None:
    body = {
        "messages": {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 10},
        "responses": {"input": SECRET},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": SECRET}]}]},
        "embeddings": {"input": [SECRET]},
    }[name]
    told = refusing.ask(ENDPOINTS[name], body, key="fh-asker-00000000000", stream=name != "embeddings")
    assert told.status in (403, 429)
    if told.status == 403:
        identity = told.headers["x-freehold-approval"]
        assert identity.encode() in told.body
        api(refusing, "POST", f"/v1/approvals/{identity}/deny")


def test_one_that_nobody_decides_in_time_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with canary_house(tmp_path_factory.mktemp("late"), config(1, wait=True)) as house:
        told = say(house, f"late {SECRET}")
        assert told.status == 403
        assert error(told)["code"] == "approval_expired"
        assert not sent_upstream(house)


def test_a_gateway_that_stops_leaves_nothing_waiting(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    with canary_house(folder, config(60, wait=True)) as house:
        asked = later(house, f"stop {SECRET}")
        pending(house)
        house.gateway.process.terminate()
        told = asked.result(30)
        assert told.status == 503
        assert error(told)["code"] == "shutdown"
        home = house.gateway.home
    env = clean_environment(FREEHOLD_HOME=str(home))
    listed = subprocess.run(
        [sys.executable, "-m", "freehold", "approvals", "list", "--json"], capture_output=True, env=env, timeout=30
    )
    assert json.loads(listed.stdout) == []


def test_the_store_holds_no_value_that_was_found(waiting: House) -> None:
    asked = later(waiting, f"see {SECRET}")
    (one,) = pending(waiting)
    files = list(waiting.gateway.home.glob("approvals.db*"))
    assert files
    assert all(SECRET.encode() not in path.read_bytes() for path in files)
    assert all(os.stat(path).st_mode & 0o077 == 0 for path in files)
    api(waiting, "POST", f"/v1/approvals/{one['id']}/deny")
    asked.result(20)
