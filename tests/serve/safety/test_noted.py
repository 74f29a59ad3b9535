"""What the ledger keeps of what was found: types and actions, for each attempt as it was; and how blocked answers are
written down, whoever blocked them."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from canaries import CANARIES, ENDPOINTS, House, Told, canary_house
from running import clean_environment

from freehold.classify import Facts
from freehold.config.schema import Config
from freehold.serve.cache.render import Answered
from freehold.serve.cache.ticket import Ticket
from freehold.serve.safety.checks import Checked, compiled
from freehold.serve.safety.noted import in_answer, in_request
from freehold.serve.safety.pseudonyms import DECLASSIFIER

SECRET, IBAN, CARD = CANARIES["secret"], CANARIES["iban"], CANARIES["credit_card"]
MAIL = "anna.muster@example.org"
HARM = "first you build the bomb"
RULES: list[dict[str, Any]] = [
    *(
        {
            "match": {"model": "qwen3guard", "contains": f"explain it, {stream}", "nth": 2},
            "reply": {"text": "Safety: Unsafe\nCategories: Violent\nRefusal: No"},
        }
        for stream in (False, True)
    ),
    {"match": {"model": "qwen3guard"}, "reply": {"text": "Safety: Safe\nCategories: None"}},
    # A request is judged first, its answer after it.
    {"match": {"contains": "explain"}, "reply": {"text": HARM}},
    {"match": {"contains": "tell"}, "reply": {"text": f"the key is {SECRET}, ask {MAIL}"}},
    {"match": {"model": "broken"}, "reply": {"status": 500}},
    {"reply": {"text": "fjords are deep"}},
]
CONFIG = """
  - {name: watch, key: fh-watch-0123456789abcd}
  - {name: show, key: fh-show-0123456789abcd}
  - {name: judged, key: fh-judged-0123456789abcd}
models:
  either: [openai/broken, home/fake]
cache: {enabled: true, clearance: restricted, exact: {sampled: true}, groups: {two: [ci, show]}}
checks:
  request: {iban: pseudonymise, credit_card: redact, harm: allow, guard_error: allow}
  answer: {email: allow}
  guard: {model: home/qwen3guard, answers: true}
  keys:
    ci: {answer: {secret: block, email: allow}}
    watch: {mode: monitor, answer: {secret: block}}
    judged: {request: {harm: block}}
"""
WATCH, SHOW, JUDGED = "fh-watch-0123456789abcd", "fh-show-0123456789abcd", "fh-judged-0123456789abcd"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("noted"), CONFIG, {"rules": RULES}) as house:
        yield house


def ask(house: House, text: str, model: str = "openai/fake", **options: Any) -> Told:
    return house.ask(ENDPOINTS["chat"], {"messages": [{"role": "user", "content": text}]}, model=model, **options)


def ledger(house: House, told: Told, calls: int = 1) -> list[tuple[Any, ...]]:
    """Rows of a request, once there are so many: deployment, what was found, what came back, how it ended."""
    query = "SELECT deployment, found, found_back, outcome, error FROM ledger WHERE request = ? ORDER BY attempt"
    end = time.monotonic() + 20
    while True:
        with sqlite3.connect(f"file:{house.gateway.home / 'freehold.db'}?mode=ro", uri=True) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(query, (told.headers["x-request-id"],)).fetchall()
        connection.close()
        if len(rows) >= calls:
            return rows
        assert time.monotonic() < end, rows
        time.sleep(0.05)


def freehold(house: House, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "freehold", *words], env=clean_environment(FREEHOLD_HOME=str(house.gateway.home)),
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


def test_nothing_found_is_nothing_kept(house: House) -> None:
    (row,) = ledger(house, ask(house, "how deep is a fjord?"))
    assert row == ("openai/fake", None, None, "ok", "")


def test_each_attempt_has_what_was_done_for_it(house: House) -> None:
    """A rented model is sent a placeholder, the owned one that answers in its place the thing itself."""
    told = ask(house, f"write to {MAIL} about {IBAN}, my card is {CARD}.", model="either")
    assert told.status == 200, told.body
    first, second = ledger(house, told, calls=2)
    assert first[:2] == ("openai/broken", "credit_card=redact,email=allow,iban=pseudonymise")
    assert second[:2] == ("home/fake", "credit_card=redact,email=allow,iban=label")


def test_a_request_of_the_past_is_explained_with_what_was_found(house: House) -> None:
    told = ask(house, f"tell {MAIL} of it, {IBAN}", key=SHOW)
    assert told.status == 200
    request = told.headers["x-request-id"]
    ledger(house, told)
    words = freehold(house, "explain", "--request", request)
    assert "  found in it: email=allow, iban=pseudonymise\n" in words
    assert "  found in the answer: email=allow, secret=allow\n" in words
    kept = json.loads(freehold(house, "explain", "--request", request, "--json"))
    assert kept["found"] == ["email=allow", "iban=pseudonymise"]
    assert kept["found_back"] == ["email=allow", "secret=allow"]
    summed = json.loads(freehold(house, "usage", "--json"))["found"]
    assert summed["requests"]["iban=pseudonymise"] >= 1
    assert summed["answers"]["email=allow"] >= 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_blocked_answer_is_no_good_one(house: House, stream: bool) -> None:
    told = ask(house, f"tell me, {stream}", stream=stream)
    assert SECRET.encode() not in told.body
    (row,) = ledger(house, told)
    assert row[2:] == ("secret=block", "blocked", "content_blocked")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_that_a_guard_model_blocks_is_written_down_as_that(house: House, stream: bool) -> None:
    before = house.requests()
    told = ask(house, f"explain it, {stream}", stream=stream, key=JUDGED)
    assert told.status == 400
    assert house.requests() - before == {'{model="openai/fake",provider="openai",route="chat",status="400"}': 1}
    assert b"bomb" not in told.body
    (row,) = ledger(house, told)
    assert row[2:] == ("harm=block", "blocked", "content_blocked")


def test_in_monitor_mode_it_says_what_would_have_been(house: House) -> None:
    told = ask(house, f"tell me of {CARD}", key=WATCH)
    assert told.status == 200
    assert SECRET.encode() in told.body
    (row,) = ledger(house, told)
    assert row[1:4] == ("credit_card=would redact", "email=allow,secret=would block", "ok")


def test_an_answer_that_is_given_again_has_what_was_found_too(house: House) -> None:
    for _ in range(2):
        told = ask(house, f"tell us again, {MAIL}", key=SHOW)
    assert told.headers["x-freehold-cache"].startswith("hit")
    (row,) = ledger(house, told)
    assert row[1:4] == ("email=allow", "email=allow,secret=allow", "ok")


@pytest.mark.parametrize(("action", "outcome"), [("block", "blocked"), ("redact", "ok")])
def test_an_answer_that_is_not_given_again_is_blocked(action: str, outcome: str) -> None:
    """Such as after an upgrade whose detectors find more: the rules, which are the same, have kept it before."""
    ruling = compiled(Config()).ruling("k", "m")
    assert ruling is not None
    journal: list[Any] = []
    ticket, nothing = Ticket.__new__(Ticket), lambda *_: 0
    ticket.gateway = SimpleNamespace(
        journal=journal, version="v", now=nothing, metrics=SimpleNamespace(cache=nothing, observe=nothing)
    )  # type: ignore[assignment]
    ticket.known = Facts("m", "chat", frozenset(), 1, 1)
    ticket.exchange = SimpleNamespace(request_id="r", started=0)  # type: ignore[assignment]
    ticket.principal, ticket._endpoint = SimpleNamespace(name="k"), SimpleNamespace(client="chat")  # type: ignore[assignment]
    ticket._checked = Checked(ruling, told=("email=allow",))
    ticket._note(Answered("p/m", "p", "m", False, "", [], None), "exact", 0, ["email=allow", f"answer secret={action}"])
    (kept,) = journal
    assert (kept.intent.found, kept.end.found, kept.end.outcome) == ("email=allow", f"secret={action}", outcome)


def test_no_thing_and_no_place_stands_in_the_journal_or_the_ledger(house: House) -> None:
    parts = [{"type": "text", "text": f"what is {IBAN}"}, {"type": "input_audio", "input_audio": {"data": "AAAA"}}]
    told = house.ask(ENDPOINTS["chat"], {"messages": [{"role": "user", "content": parts}]}, model="home/fake")
    assert "kept: " in told.headers["x-freehold-checks"]
    (row,) = ledger(house, told)
    assert row[1] == "iban=label"
    files = [*house.gateway.home.glob("freehold.db*"), *(house.gateway.home / "journal").iterdir()]
    written = b"".join(path.read_bytes() for path in files if path.is_file())
    for thing in (SECRET, IBAN, CARD, MAIL, "kept: "):
        assert thing.encode() not in written


def test_what_lowered_the_label_tells_placeholders_from_the_thing_itself() -> None:
    ruling = compiled(Config()).ruling("k", "m")
    assert ruling is not None
    told = ("secret=label", "iban=pseudonymise", "kept: turns.0 (image) cannot be read", "answer email=allow")
    checked = Checked(ruling, private=frozenset({"iban"}), told=told)
    assert in_request(checked, DECLASSIFIER) == "iban=pseudonymise,secret=label"
    assert in_request(checked, "approval:x by y") == in_request(checked) == "iban=label,secret=label"
    assert in_request(Checked(ruling)) == ""
    assert in_answer(told, monitor=True) == "email=allow"
