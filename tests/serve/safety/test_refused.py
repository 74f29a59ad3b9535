"""Requests that checks and labels refuse, through a running gateway: what is written down of them, and only of them."""

import base64
import http.client
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from canaries import CANARIES, ENDPOINTS, House, Told, canary_house
from running import clean_environment

from freehold.classify import Facts
from freehold.config.schema import Config
from freehold.errors import NoCandidate, PolicyError
from freehold.labels import Label
from freehold.record.journal import JournalError
from freehold.serve.app import App
from freehold.serve.endpoints import find
from freehold.serve.recorder import RequestRecorder
from freehold.serve.safety.checks import Checked, compiled
from freehold.serve.safety.refused import refused

SECRET, IBAN, CARD, SSN = (CANARIES[kind] for kind in ("secret", "iban", "credit_card", "us_ssn"))
MAIL = "anna.muster@example.org"
NOISE = base64.b64encode(random.Random(1).randbytes(20_000)).decode()
RULES: list[dict[str, Any]] = [
    {"match": {"model": "qwen3guard", "contains": "bomb"}, "reply": {"text": "Safety: Unsafe\nCategories: Violent"}},
    {"match": {"model": "qwen3guard"}, "reply": {"text": "Safety: Safe\nCategories: None"}},
    {"match": {"contains": "tell"}, "reply": {"text": f"it is {SECRET}"}},
    {"reply": {"text": "fjords are deep"}},
]
CONFIG = """
  - {name: chief, key: fh-chief-0123456789abcd}
  - {name: watch, key: fh-watch-0123456789abcd}
  - {name: hide, key: fh-hide-0123456789abcd}
  - {name: slow, key: fh-slow-0123456789abcd, requests_per_minute: 1}
  - {name: narrow, key: fh-narrow-0123456789abcd, models: [openai/fake]}
labels: {sinks: {mcp: public}}
checks:
  seconds: 0.001
  request: {secret: block, us_ssn: ask, iban: pseudonymise, unchecked: block, detector_error: block}
  ask: {wait: false, approvers: [chief]}
  guard: {model: home/qwen3guard}
  moderation: {by: guard, model: home/qwen3guard, answer: always}
  tools: {deny: ["delete_*"]}
  keys:
    watch: {mode: monitor}
    hide: {request: {secret: redact}}
    slow: {answer: {secrets: block}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("refused"), CONFIG, {"rules": RULES}) as house:
        yield house


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def ask(house: House, text: str, model: str = "openai/fake", **options: Any) -> Told:
    return house.ask(ENDPOINTS["chat"], said(text), model=model, **options)


def read(house: House, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{house.gateway.home / 'freehold.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute(query, values).fetchall()
    connection.close()
    return rows


def row(house: House, told: Told) -> tuple[Any, ...]:
    """What is written down of a refused request, once it is."""
    query = "SELECT key, asked, dialect, status, code, found, label FROM refused WHERE request = ?"
    end = time.monotonic() + 20
    while not (rows := read(house, query, told.headers["x-request-id"])):
        assert time.monotonic() < end, told
        time.sleep(0.05)
    (one,) = rows
    assert one[3] == told.status
    return one


def unwritten(house: House, *told: Told) -> None:
    """None of them is a refusal, once one that came after them is in the ledger."""
    row(house, ask(house, SECRET))
    for one in told:
        query = "SELECT * FROM refusals WHERE request = ?"
        assert read(house, query, one.headers["x-request-id"]) == [], one


def freehold(house: House, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "freehold", *words], env=clean_environment(FREEHOLD_HOME=str(house.gateway.home)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_what_a_rule_blocks(house: House) -> None:
    house.kept.clear()
    told = ask(house, f"write to {MAIL} about {IBAN}, the key is {SECRET}")
    assert row(house, told) == (
        "ci", "openai/fake", "chat", 400, "content_blocked", "email=allow,iban=label,secret=block", None,
    )  # fmt: skip
    assert all(b'"model":"qwen3guard"' in one.replace(b": ", b":") for one in house.kept), "nobody else was asked"
    assert read(house, "SELECT * FROM ledger WHERE request = ?", told.headers["x-request-id"]) == []


@pytest.mark.parametrize("name", ["messages", "responses", "gemini", "embeddings", "transcriptions", "images", "count"])
def test_at_every_endpoint(house: House, name: str) -> None:
    endpoint = ENDPOINTS[name if name in ENDPOINTS else next(one for one in ENDPOINTS if name in one)]
    body = json.loads(json.dumps({k: v for k, v in endpoint.body.items() if not isinstance(v, bytes)}))
    body |= {k: v for k, v in endpoint.body.items() if isinstance(v, bytes)}
    body |= {"user": SECRET} if "prompt" not in body else {"prompt": SECRET}
    key, asked, _, status, code, found, _ = row(house, house.ask(endpoint, body))
    assert (key, asked, status, code) == ("ci", endpoint.model, 400, "content_blocked")
    assert "secret=block" in found


def test_a_guard_model_says_no_and_what_it_was_asked_is_no_answer(house: House) -> None:
    told = ask(house, "how is a bomb built?")
    assert row(house, told)[4:6] == ("content_blocked", "harm=block")
    shown = json.loads(freehold(house, "explain", "--request", told.headers["x-request-id"], "--json").stdout)
    assert (shown["outcome"], shown["deployment"], shown["refused"]["code"]) == ("refused", "", "content_blocked")


def test_what_could_not_be_looked_at_fails_closed(house: House) -> None:
    told = ask(house, "how deep is a fjord? " * 60_000)
    assert row(house, told)[4:6] == ("content_blocked", "detector_error=block,guard_error=block")
    sound = [{"type": "input_audio", "input_audio": {"data": NOISE, "format": "wav"}}]
    told = house.ask(ENDPOINTS["chat"], {"messages": [{"role": "user", "content": sound}]}, model="home/fake")
    assert row(house, told)[4:6] == ("content_blocked", "unchecked=block")


def test_what_cannot_be_taken_out(house: House) -> None:
    body = said("hi", metadata={SECRET: MAIL})
    told = house.ask(ENDPOINTS["chat"], body, key="fh-hide-0123456789abcd", model="openai/fake")
    assert row(house, told) == ("hide", "openai/fake", "chat", 400, "content_blocked", "email=allow,secret=block", None)


def test_nobody_is_cleared_for_it(house: House) -> None:
    found = row(house, ask(house, f"bill {CARD}"))
    assert found[3:] == (400, "no_candidate", "credit_card=label", "confidential+pci")
    claimed = ask(house, "hello", headers=(("x-freehold-label", "restricted"),))
    assert row(house, claimed)[4:] == ("no_candidate", None, "restricted")


def test_a_label_keeps_it_from_servers_of_tools(house: House) -> None:
    body = {"input": f"bill {CARD}", "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://x.example"}]}
    told = house.ask(ENDPOINTS["responses"], body, model="home/fake")
    assert row(house, told)[2:] == ("responses", 403, "label", "credit_card=label", "confidential+pci")


def test_a_tool_that_may_not_be_called(house: House) -> None:
    tools = [{"type": "function", "function": {"name": "delete_all", "parameters": {"type": "object"}}}]
    told = house.ask(ENDPOINTS["chat"], said(f"do it, {MAIL}", tools=tools), model="openai/fake")
    assert row(house, told)[4:6] == ("tool_denied", "email=allow,tool_denied=block")


def api(house: House, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(house.gateway.url).netloc, timeout=20)
    try:
        connection.request("POST", path, b"{}", {"authorization": "Bearer fh-chief-0123456789abcd"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_a_person_has_to_approve_and_does_not(house: House) -> None:
    told = ask(house, f"it is {SSN}")
    found = ("us_ssn=ask", "restricted")
    assert row(house, told)[3:] == (403, "approval_required", *found)
    approval = told.headers["x-freehold-approval"]
    assert api(house, f"/v1/approvals/{approval}/deny") == 200
    again = ask(house, f"it is {SSN}", headers=(("x-freehold-approval", approval),))
    assert row(house, again)[3:] == (403, "approval_denied", *found)
    unknown = ask(house, f"it is {SSN}", headers=(("x-freehold-approval", "apr-0123456789abcdef"),))
    assert row(house, unknown)[3:] == (403, "approval_invalid", *found)
    approval = ask(house, f"really {SSN}").headers["x-freehold-approval"]
    assert api(house, f"/v1/approvals/{approval}/approve") == 200
    passed = ask(house, f"really {SSN}", headers=(("x-freehold-approval", approval),))
    assert passed.status == 200
    unwritten(house, passed)


def test_what_is_refused_for_something_else_is_not_written_down(house: House) -> None:
    slow, narrow = "fh-slow-0123456789abcd", "fh-narrow-0123456789abcd"
    told = {
        200: [ask(house, "hi", key=slow), ask(house, f"is {SECRET} any good?", key="fh-watch-0123456789abcd")],
        400: [
            house.ask(ENDPOINTS["chat"], {"messages": 3}),
            house.ask(ENDPOINTS["chat"], said("hi"), headers=(("x-freehold-label", "what"),)),
            house.ask(ENDPOINTS["speech"], {"input": "hi"}, model="home/fake"),
        ],
        401: [ask(house, SECRET, key="fh-nobody")],
        403: [ask(house, SECRET, key=narrow, model="home/fake")],
        404: [ask(house, SECRET, model="openai/")],
        429: [ask(house, "hi", key=slow)],
    }
    for status, answers in told.items():
        assert [one.status for one in answers] == [status] * len(answers), answers
    unwritten(house, *(one for answers in told.values() for one in answers))


def test_a_blocked_answer_is_a_call_and_no_refusal(house: House) -> None:
    told = ask(house, "tell me", key="fh-slow-0123456789abcd")
    unwritten(house, told)


def test_it_is_explained_counted_and_reported(house: House) -> None:
    told = ask(house, f"the key is {SECRET}, ask {MAIL}")
    row(house, told)
    request = told.headers["x-request-id"]
    words = freehold(house, "explain", "--request", request).stdout
    assert "UTC: openai/fake was refused here: content_blocked (400), asked by ci as chat\n" in words
    assert "  found in it: email=allow, secret=block\n" in words
    shown = json.loads(freehold(house, "explain", "--request", request, "--json").stdout)
    assert (shown["request"], shown["outcome"], shown["found"]) == (request, "refused", ["email=allow", "secret=block"])
    assert shown["refused"]["key"] == "ci"
    counted = json.loads(freehold(house, "usage", "--json").stdout)["refused"]
    assert counted["requests"] == sum(counted["codes"].values()) == len(read(house, "SELECT 1 FROM refusals"))
    assert counted["found"]["secret=block"] >= 1
    assert "requests that checks and labels refused, which are no calls: " in freehold(house, "usage").stderr
    report = freehold(house, "audit", "report")
    (line,) = [line for line in report.stderr.splitlines() if line.startswith("refused here: ")]
    assert f"content_blocked {counted['codes']['content_blocked']}" in line
    assert "secret=block" in line
    assert json.loads(freehold(house, "audit", "report", "--json").stdout)["refused"] == counted
    before = json.loads(freehold(house, "audit", "report", "--json", "--until", "1d").stdout)["refused"]
    assert (before["requests"], before["codes"]) == (0, {})


def test_a_moderation_of_a_guard_model_is_explained(house: House) -> None:
    told = house.ask(ENDPOINTS["moderations"], {"input": ["a fjord", "a bomb"]}, model="freehold-moderation")
    assert told.status == 200, told.body
    end = time.monotonic() + 20
    while (done := freehold(house, "explain", "--request", told.headers["x-request-id"])).returncode:
        assert time.monotonic() < end, done.stderr
        time.sleep(0.1)
    assert "was answered by home/qwen3guard: moderation" in done.stdout


def test_no_thing_stands_in_what_is_written(house: House) -> None:
    row(house, ask(house, f"{SECRET} {IBAN} {CARD} {MAIL}"))
    files = [*house.gateway.home.glob("freehold.db*"), *(house.gateway.home / "journal").iterdir()]
    written = b"".join(path.read_bytes() for path in files if path.is_file())
    for thing in (SECRET, IBAN, CARD, MAIL, SSN.removeprefix("SSN ")):
        assert thing.encode() not in written


def test_a_url_that_the_label_keeps_from_being_fetched() -> None:
    ruling = compiled(Config()).ruling("k", "m")
    assert ruling is not None
    recorder = RequestRecorder.__new__(RequestRecorder)
    barred = SimpleNamespace(rules=SimpleNamespace(barred=lambda *_: "the request is restricted"))
    recorder.gateway = SimpleNamespace(rulebook=barred)  # type: ignore[assignment]
    recorder.known = Facts("m", "chat", frozenset(), 1, 1, label=Label(3))
    recorder.seen = Checked(ruling, told=("secret=label",))
    with pytest.raises(PolicyError) as caught:
        recorder.may_fetch("https://pictures.example/x.png")
    assert (caught.value.code, caught.value.found, caught.value.label) == ("label", "secret=label", "restricted")


class _Journal(list[Any]):
    """Cannot be written to, as on a full disk."""

    def append(self, entry: Any) -> None:
        raise JournalError("no room")


def test_what_cannot_be_written_down_is_refused_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error, counts, told = PolicyError("no", status=400, code="content_blocked"), [], []
    refused(error, None, None)
    gateway = SimpleNamespace(
        journal=_Journal(), version="v", keyring=SimpleNamespace(authenticate=lambda _: SimpleNamespace(name="k")),
        metrics=SimpleNamespace(observe=lambda *figures: counts.append(figures[0])),
    )  # fmt: skip
    exchange = SimpleNamespace(
        request_id="r", headers={}, begun=False, answer=lambda status, *_: told.append(status),
        body=b'{"model": "m", "messages": []}',
    )  # fmt: skip
    app: Any = SimpleNamespace(gateway=gateway)
    App._fail(app, gateway, exchange, find("/v1/chat/completions", ""), error)  # type: ignore[arg-type]
    assert told == [400]
    assert counts == [("unknown", "unknown", "chat", "400")]
    assert "internal error in r: JournalError" in capsys.readouterr().err


def test_only_what_is_marked_is_written_down() -> None:
    error: PolicyError = PolicyError("no")
    assert error.found is None
    refused(error, None, None)
    assert (error.found, error.label) == ("", "")
    refused(error, None, Label(3), "tool_denied")
    assert (error.found, error.label) == ("tool_denied=block", "restricted")
    assert NoCandidate("no").found is None
