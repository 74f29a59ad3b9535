"""POST /v1/feedback: one's own answers only, whatever the body says, and never slowly for long."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request

from freehold.admit.keys import Keyring, Principal
from freehold.config.schema import Config, Key
from freehold.errors import BadRequest, FreeholdError
from freehold.home import database
from freehold.record.entries import Entry, Intent, Outcome, Settlement
from freehold.record.prices import Pricer
from freehold.record.rows import Rows
from freehold.record.store import Store
from freehold.serve import feedback
from freehold.serve.control import _render
from freehold.serve.feedback import BURST, MOST_BYTES, REASONS, Feedback

KEYS = {"bot": "fh-0123456789abcdef", "other": "fh-fedcba9876543210"}


class Stand:
    """What the endpoint needs of a gateway: keys and a journal."""

    def __init__(self) -> None:
        self.journal: list[Entry] = []
        self.gateway = SimpleNamespace(journal=SimpleNamespace(append=self.journal.append))
        self._keyring = Keyring([Key(name, key) for name, key in KEYS.items()])

    def principal(self, request: Request) -> Principal:
        return self._keyring.authenticate(dict(request.scope["headers"]))

    async def rate(self, body: Any, key: str = "bot", path: str = "/v1/feedback") -> httpx.Response:
        async with self.client() as client:
            content = {"content": body} if isinstance(body, bytes) else {"json": body}
            return await client.post(path, headers={"authorization": f"Bearer {KEYS[key]}"}, **content)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        app = Starlette(
            routes=Feedback(cast("Any", self)).routes(),
            exception_handlers=cast("Any", {FreeholdError: _render}),
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            yield client


def answered(store: Store, request: str, *, key: str = "bot", upstream: str = "", outcome: str = "ok") -> None:
    call = f"{request}-1"
    intent = Intent(
        call, request, time.time_ns(), 1, key, "auto", "lab/small", "lab", "small", "chat", False, False, 1, "c", "why",
    )  # fmt: skip
    with store.transaction() as connection:
        Rows(store, Pricer(Config(), {})).write(
            connection, [(intent, Settlement(call, outcome, 200, upstream_id=upstream))]
        )


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    monkeypatch.setattr(feedback, "PATIENCE", 0.05)
    monkeypatch.setattr(feedback, "PAUSE", 0.02)
    return Stand()


@pytest.fixture
def store(stand: Stand) -> Iterator[Store]:
    store = Store(database())
    yield store
    store.close()


@pytest.mark.parametrize(
    ("verdict", "value"),
    [({"score": 0.25}, 0.25), ({"value": True}, 1.0), ({"value": False}, 0.0), ({"rating": "up"}, 1.0),
     ({"rating": "down"}, 0.0), ({"score": 1}, 1.0)],
)  # fmt: skip
async def test_an_answer_is_rated(stand: Stand, store: Store, verdict: dict[str, Any], value: float) -> None:
    answered(store, "req_1", upstream="chatcmpl-1")
    answer = await stand.rate({"request_id": "req_1", **verdict})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "object": "feedback", "request_id": "req_1", "deployment": "lab/small", "score": value, "reason": None,
        "not_kept": [],
    }  # fmt: skip
    (one,) = stand.journal
    assert isinstance(one, Outcome)
    assert (one.about, one.source, one.value, one.weight, one.by, one.note) == (
        "req_1-1", "feedback", value, 1.0, "bot", "",
    )  # fmt: skip


async def test_an_answer_is_known_by_its_own_id_too(stand: Stand, store: Store) -> None:
    answered(store, "req_1", upstream="chatcmpl-1")
    answered(store, "req_2", upstream="chatcmpl-2")
    answer = await stand.rate({"response_id": "chatcmpl-1", "score": 1}, path="/feedback")
    assert answer.json()["request_id"] == "req_1"


async def test_nobody_rates_what_another_asked_or_learns_that_it_is_there(stand: Stand, store: Store) -> None:
    answered(store, "req_1", upstream="chatcmpl-1")
    for about in ({"request_id": "req_1"}, {"response_id": "chatcmpl-1"}, {"request_id": "req_9"}):
        answer = await stand.rate({**about, "score": 1}, key="other")
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert error["code"] == "answer_not_found"
        assert error["message"].startswith(f"there is no answer {next(iter(about.values()))!r} of this key")
    assert not stand.journal


async def test_what_nobody_answered_cannot_be_rated(stand: Stand, store: Store) -> None:
    answered(store, "req_1", upstream="chatcmpl-1", outcome="failed")
    assert (await stand.rate({"request_id": "req_1", "score": 1})).status_code == 404
    assert (await stand.rate({"response_id": "chatcmpl-1", "score": 1})).status_code == 404


async def test_an_answer_that_has_just_come_is_waited_for(
    stand: Stand, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "PATIENCE", 30.0)
    rated = asyncio.create_task(stand.rate({"response_id": "chatcmpl-1", "score": 1}))
    await asyncio.sleep(0)
    answered(store, "req_1", upstream="chatcmpl-1")
    assert (await rated).status_code == 200


async def test_without_a_ledger_there_are_no_answers(stand: Stand) -> None:
    assert (await stand.rate({"request_id": "req_1", "score": 1})).status_code == 404


async def test_only_listed_reasons_are_kept_and_never_what_was_expected(stand: Stand, store: Store) -> None:
    answered(store, "req_1")
    answer = await stand.rate({"request_id": "req_1", "score": 0, "reason": REASONS[2], "expected": "forty-two"})
    assert (answer.json()["reason"], answer.json()["not_kept"]) == (REASONS[2], ["expected"])
    answer = await stand.rate({"request_id": "req_1", "score": 0, "reason": "Mrs Example's account"})
    assert (answer.json()["reason"], answer.json()["not_kept"]) == (None, ["reason"])
    assert [one.note for one in stand.journal if isinstance(one, Outcome)] == [REASONS[2], ""]
    assert "forty-two" not in repr(stand.journal)


BAD = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    {"score": 1},
    {"request_id": "req_1"},
    {"request_id": "req_1", "response_id": "x", "score": 1},
    {"request_id": "", "score": 1},
    {"request_id": "x" * 201, "score": 1},
    {"request_id": 7, "score": 1},
    {"request_id": "req_1", "score": 1.01},
    {"request_id": "req_1", "score": -1},
    {"request_id": "req_1", "score": "1"},
    {"request_id": "req_1", "score": 1, "value": True},
    {"request_id": "req_1", "rating": "sideways"},
    {"request_id": "req_1", "score": 1, "scroe": 1},
    {"request_id": "req_1", "score": 1, "reason": "x" * 2001},
    b'{"request_id": "req_1", "score": 1, "expected": ' + b"[" * 7000 + b"]" * 7000 + b"}",
]


@pytest.mark.parametrize("body", BAD)
async def test_what_cannot_be_read_is_said(stand: Stand, store: Store, body: Any) -> None:
    answered(store, "req_1")
    answer = await stand.rate(body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert not stand.journal


async def test_a_body_has_a_limit(stand: Stand, store: Store) -> None:
    answered(store, "req_1")
    answer = await stand.rate({"request_id": "req_1", "score": 1, "expected": "x" * MOST_BYTES})
    assert answer.status_code == 413


async def test_a_key_is_asked_for(stand: Stand) -> None:
    async with stand.client() as client:
        answer = await client.post("/v1/feedback", json={"request_id": "req_1", "score": 1})
    assert answer.status_code == 401


async def test_nobody_rates_without_end(stand: Stand, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "PER_SECOND", 0.001)
    answered(store, "req_1")
    async with stand.client() as client:
        headers = {"authorization": f"Bearer {KEYS['bot']}"}
        body = {"request_id": "req_1", "score": 1}
        statuses = [
            (await client.post("/v1/feedback", json=body, headers=headers)).status_code for _ in range(BURST + 3)
        ]
        other = {"authorization": f"Bearer {KEYS['other']}"}
        assert (await client.post("/v1/feedback", json=body, headers=other)).status_code == 404
    assert statuses == [200] * BURST + [429] * 3


async def test_few_wait_at_a_time(stand: Stand, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "MOST_WAITING", 2)
    monkeypatch.setattr(feedback, "PATIENCE", 0.3)
    async with stand.client() as client:
        headers = {"authorization": f"Bearer {KEYS['bot']}"}
        asked = [
            client.post("/v1/feedback", json={"request_id": f"req_{n}", "score": 1}, headers=headers) for n in range(6)
        ]
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert statuses == [404, 404, 429, 429, 429, 429]


async def test_a_search_goes_back_as_far_as_it_says(
    stand: Stand, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "SEARCHED", 10)
    monkeypatch.setattr(feedback, "_STEP", 3)
    for number in range(20):
        answered(store, f"req_{number}", upstream=f"id-{number}")
    found = [(await stand.rate({"response_id": f"id-{n}", "score": 1})).status_code for n in (19, 12, 10, 9, 0)]
    assert found == [200, 200, 200, 404, 404]


NAMES = st.sampled_from(["request_id", "response_id", "score", "value", "rating", "reason", "expected", "x"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=6,
)


@given(body=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_it(body: bytes) -> None:
    try:
        verdict = feedback._read(body).verdict
    except BadRequest:
        return
    assert 0 <= verdict <= 1
