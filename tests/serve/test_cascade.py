"""Cascades through a running gateway: the model in the box answers first, the fake where its answer is doubted.

The model in the box always answers a bank customer's message with `{"intent": "..."}`. llama.cpp holds answers to most
of a JSON schema, but not to `multipleOf`, so a schema with it is one that the engine cannot keep.
"""

import json
import re
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
from running import KEY, Running, started

from freehold.own.catalog import box_file

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")

CARD = "I am still waiting on my card?"
USER = [{"role": "user", "content": CARD}]
STRANGE = "what is the meaning of the sea and of stones"
INTENTS = {
    "type": "object",
    "properties": {"intent": {"type": "string", "enum": ["card_arrival", "exchange_rate"]}},
    "required": ["intent"],
    "additionalProperties": False,
}
UNKEPT = {
    "type": "object",
    "properties": {"n": {"type": "integer", "multipleOf": 99991, "minimum": 1}},
    "required": ["n"],
    "additionalProperties": False,
}
BOX, RENTED = "own/banking77", "openai/fake"


def route(first: str, checks: str, better: str = RENTED, **more: Any) -> str:
    rest = "".join(f", {name}: {value}" for name, value in more.items())
    return f"{{among: [{first}, {better}], cascade: {{first: {first}, checks: [{checks}]{rest}}}}}"


ROUTES = {
    "intents": route(BOX, "complete, schema"),
    "claude": route(BOX, "complete, schema", "anthropic/fake"),
    "json": route(BOX, "json"),
    "sure": route(BOX, "complete, logprobs", logprob=-0.5),
    "taken": route(BOX, "extract"),
    "agreed": route(BOX, "agree", samples=5, agreement=0.99),
    "rented": route("openai/fake-small", "complete, schema"),
    "broken": route("openai/fake-status-500", "complete"),
    "cut": route("openai/fake-fault-cut_between_events", "complete"),
    "slow": route("openai/fake-latency-20000", "complete"),
    "hopeless": route("openai/fake-length", "complete", "openai/fake-status-400"),
    "unsure": route("anthropic/fake", "logprobs"),
}


@pytest.fixture(scope="module")
def house(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cascade")
    config = folder / "freehold.yaml"
    models = "\n".join(f"  {name}: {rules}" for name, rules in ROUTES.items())
    config.write_text(f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
retries: 0
breaker: {{failures: 100000}}
timeouts: {{connect: 2, first_byte: 20, idle: 10, total: 30}}
own: [{{path: "{box_file()}", name: banking77}}]
providers:
  openai:    {{base_url: "{fake.url}/v1", api_key: sk-upstream-secret-000}}
  anthropic: {{base_url: "{fake.url}", api_key: sk-upstream-secret-000}}
keys: [{{name: ci, key: "{KEY}"}}]
models:
{models}
""")
    with started("up", "--config", str(config), home=folder / "home") as running:
        yield running


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        return self.headers["x-freehold-reason"]

    @property
    def by(self) -> str:
        return self.headers["x-freehold-deployment"]


def post(house: Running, path: str, body: dict[str, Any], **headers: str) -> Told:
    fields = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "content-type": "application/json", **headers}
    request = urllib.request.Request(house.url + path, json.dumps(body).encode(), fields)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Told(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Told(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def chat(house: Running, model: str, text: str = CARD, schema: Any = None, **more: Any) -> Told:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
    if schema is not None:
        shape = {"name": "answer", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    return post(house, "/v1/chat/completions", body)


class Call(NamedTuple):
    attempt: int
    deployment: str
    reason: str
    outcome: str
    error: str | None
    output: int


def calls(house: Running, told: Told, wanted: int) -> list[Call]:
    """The calls of a request as the ledger has them, once there are as many as wanted."""
    request = told.headers["x-request-id"]
    deadline = time.monotonic() + 20
    while True:
        with sqlite3.connect(house.home / "freehold.db") as ledger:
            rows = ledger.execute(
                "select attempt, deployment, reason, outcome, error, output from ledger where request = ?"
                " order by attempt",
                (request,),
            ).fetchall()
        if len(rows) >= wanted or time.monotonic() > deadline:
            return [Call(*row) for row in rows]
        time.sleep(0.05)


# An answer that passes


def test_an_answer_that_fits_is_released_and_nobody_else_is_asked(house: Running) -> None:
    told = chat(house, "intents", schema=INTENTS)
    assert (told.status, told.by, told.reason) == (200, BOX, "cascade: passed complete, schema")
    answer = json.loads(told.body)["choices"][0]["message"]["content"]
    assert json.loads(answer) == {"intent": "card_arrival"}
    assert [(one.deployment, one.reason, one.outcome) for one in calls(house, told, 1)] == [
        (BOX, "cascade: first", "ok")
    ]


def steady(stream: bytes) -> bytes:
    """A stream without what is different each time: ids and times."""
    stream = re.sub(rb'"(created|created_at)":\d+', rb'"\1":0', stream)
    stream = re.sub(rb'"timings":\{[^}]*\}', b"", stream)
    return re.sub(rb"(chatcmpl|msg|resp)[-_][A-Za-z0-9_-]+", b"ID", stream)


@pytest.mark.parametrize("route", ["intents", "sure"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": USER, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", {"messages": USER}),
        ("/v1/messages", {"messages": USER, "max_tokens": 50}),
        ("/v1/responses", {"input": CARD, "store": False}),
    ],
)  # fmt: skip
def test_a_held_back_stream_is_the_stream_it_would_have_been(
    house: Running, route: str, path: str, body: dict[str, Any]
) -> None:
    asked = {**body, "stream": True, "temperature": 0}
    for _ in range(2):  # the second time the prompt is cached either way
        direct = post(house, path, {**asked, "model": BOX})
        checked = post(house, path, {**asked, "model": route})
    assert checked.reason.startswith("cascade: passed")
    assert steady(checked.body) == steady(direct.body)
    assert b"logprob" not in checked.body.replace(b'"logprobs":[]', b"").replace(b'"top_logprobs":0', b"")


def test_whole_answers_lose_the_log_probabilities_that_nobody_asked_for(house: Running) -> None:
    told = chat(house, "sure")
    assert told.reason == "cascade: passed complete, logprobs"
    assert b"logprobs" not in told.body
    told = chat(house, "sure", logprobs=True)
    assert told.by == BOX
    assert json.loads(told.body)["choices"][0]["logprobs"]["content"]


# Doubt


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_does_not_fit_is_asked_for_elsewhere(house: Running, stream: bool) -> None:
    told = chat(house, "intents", schema=UNKEPT, stream=stream)
    assert (told.status, told.by) == (200, RENTED)
    assert told.reason == "cascade: doubt: schema: $.n is no multiple of 99991"
    assert told.headers["x-freehold-attempts"] == "2"
    assert b"banking77" not in told.body
    first, second = calls(house, told, 2)
    assert (first.deployment, first.reason, first.outcome, first.error) == (
        BOX, "cascade: first", "failed", "cascade_doubt",
    )  # fmt: skip
    assert first.output > 0, "the doubtful answer is billed as well"
    assert (second.deployment, second.reason, second.outcome) == (RENTED, "cascade: doubt: schema", "ok")


def test_an_answer_that_was_cut_off_is_asked_for_elsewhere(house: Running) -> None:
    told = chat(house, "intents", max_tokens=2)
    assert (told.by, told.reason) == (RENTED, "cascade: doubt: complete: it was cut off at its length limit")


def test_a_model_that_guesses_is_doubted(house: Running) -> None:
    told = chat(house, "sure", STRANGE, stream=True)
    assert told.by == RENTED
    assert re.fullmatch(r"cascade: doubt: logprobs: log-probability -\d\.\d\d at .* below -0.5, margin .*", told.reason)


def test_what_is_not_in_the_request_is_doubted(house: Running) -> None:
    told = chat(house, "taken")
    assert (told.by, told.reason) == (RENTED, "cascade: doubt: extract: ${0} is not in the request")
    assert chat(house, "taken", schema=INTENTS).by == BOX, "it was chosen from a list"


def test_samples_that_differ_are_doubt_and_every_one_is_billed(house: Running) -> None:
    told = chat(house, "agreed", STRANGE)
    made = calls(house, told, 2)
    assert [one.attempt for one in made] == list(range(1, len(made) + 1))
    assert {one.reason for one in made[1:] if one.deployment == BOX} == {"cascade: sample"}
    assert all(one.output > 0 for one in made)
    if told.by == RENTED:
        assert told.reason.startswith("cascade: doubt: agree: ")
        assert made[0].outcome == "failed"
    else:
        assert len(made) == 5


def test_samples_that_agree_pass(house: Running) -> None:
    told = chat(house, "agreed", "What is my exchange rate?", stream=True)
    assert (told.by, told.reason) == (BOX, "cascade: passed agree")
    made = calls(house, told, 5)
    assert [(one.reason, one.outcome) for one in made] == [("cascade: first", "ok")] + 4 * [("cascade: sample", "ok")]


def test_tools_are_checked(house: Running) -> None:
    """A forced call is enforced by schema, but not that its argument is a multiple."""
    function = {"name": "pay", "parameters": UNKEPT}
    told = chat(house, "intents", tools=[{"type": "function", "function": function}], tool_choice="required")
    assert told.by == RENTED
    assert told.reason == "cascade: doubt: schema: the arguments of pay: $.n is no multiple of 99991"
    called = json.loads(told.body)["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(called["arguments"])["n"] % 99991 == 0


# The official clients, answered by either


def test_sdks_read_what_is_released_and_what_is_asked_for_elsewhere(house: Running) -> None:
    with openai.OpenAI(base_url=house.url + "/v1", api_key=KEY, max_retries=0, timeout=30) as client:
        for limit, by in ((50, "banking77"), (2, "fake")):
            asked: dict[str, Any] = {"model": "intents", "messages": [{"role": "user", "content": CARD}]}
            pieces = list(client.chat.completions.create(**asked, max_tokens=limit, stream=True))
            assert {piece.model for piece in pieces} == {by}
            assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        for limit, by in ((50, "banking77"), (16, "banking77")):
            with client.responses.stream(model="intents", input=CARD, max_output_tokens=limit) as events:
                final = events.get_final_response()
            assert (final.model, final.status) == (by, "completed")
            assert client.responses.retrieve(final.id).output_text == final.output_text, "it was kept"
        shape = {"type": "json_schema", "name": "answer", "schema": UNKEPT}
        final = client.responses.create(model="intents", input=CARD, text={"format": shape})  # type: ignore[arg-type]
        assert final.model == "fake"
        assert json.loads(final.output_text)["n"] % 99991 == 0
    with anthropic.Anthropic(base_url=house.url, api_key=KEY, max_retries=0, timeout=30) as other:
        for limit, by in ((50, "banking77"), (2, "fake")):
            with other.messages.stream(
                model="claude", max_tokens=limit, messages=[{"role": "user", "content": CARD}]
            ) as told:
                message = told.get_final_message()
            assert message.model == by
            assert message.content[0].type == "text"


# A first model that fails


@pytest.mark.parametrize(("model", "stream"), [("broken", False), ("broken", True), ("cut", True)])
def test_a_first_model_that_fails_is_doubt(house: Running, model: str, stream: bool) -> None:
    told = chat(house, model, stream=stream)
    assert (told.status, told.by) == (200, RENTED)
    assert re.fullmatch(r"cascade: doubt: answer: openai/fake-\S+ failed \(upstream_[a-z]+\)", told.reason)
    first, second = calls(house, told, 2)
    assert (first.outcome, second.outcome, second.reason) == ("failed", "ok", "cascade: doubt: answer")


def test_a_slow_first_model_leaves_time_for_the_next(house: Running) -> None:
    body = {"model": "slow", "messages": [{"role": "user", "content": CARD}]}
    began = time.monotonic()
    told = post(house, "/v1/chat/completions", body, **{"x-stainless-timeout": "3"})
    assert (told.status, told.by) == (200, RENTED)
    assert time.monotonic() - began < 3
    assert told.reason == "cascade: doubt: answer: openai/fake-latency-20000 failed (upstream_timeout)"


def test_a_doubtful_answer_is_not_shown_when_everybody_else_fails(house: Running) -> None:
    told = chat(house, "hopeless")
    assert told.status == 400
    assert b"choices" not in told.body


def test_a_client_that_leaves_ends_it(house: Running) -> None:
    body = json.dumps({"model": "slow", "messages": [{"role": "user", "content": CARD}]}).encode()
    address = house.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=10) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (KEY.encode(), len(body), body)
        )
        time.sleep(0.3)
    deadline = time.monotonic() + 20
    rows: list[Any] = []
    while not rows and time.monotonic() < deadline:
        time.sleep(0.05)
        with sqlite3.connect(house.home / "freehold.db") as ledger:
            rows = ledger.execute(
                "select deployment, outcome from ledger where asked = 'slow' and outcome = 'cancelled'"
            ).fetchall()
    assert rows == [("openai/fake-latency-20000", "cancelled")]


# What is not done twice


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"input": "hi"}, "its answer would be stored twice"),
        ({"input": "hi", "store": False, "tools": [{"type": "web_search"}]}, "its tools run at the provider"),
        ({"input": "hi", "store": False, "background": True}, "it goes on from what a provider keeps"),
    ],
)
def test_what_leaves_something_behind_is_asked_once(house: Running, body: dict[str, Any], reason: str) -> None:
    told = post(house, "/v1/responses", {**body, "model": "rented"})
    assert told.by == RENTED
    assert told.reason.startswith(f"no cascade: {reason}")
    assert len(calls(house, told, 1)) == 1


def test_what_leaves_nothing_behind_is_checked(house: Running) -> None:
    told = post(house, "/v1/responses", {"model": "rented", "input": "hi", "store": False})
    assert (told.by, told.reason) == ("openai/fake-small", "cascade: passed complete, schema")


def test_a_model_without_log_probabilities_is_not_asked_for_them(house: Running) -> None:
    told = chat(house, "unsure")
    assert (told.by, told.reason) == (RENTED, "no cascade: anthropic/fake gives no log-probabilities")


def test_other_requests_are_not_touched(house: Running) -> None:
    told = chat(house, BOX)
    assert (told.by, told.status) == (BOX, 200)
    assert "cascade" not in told.reason
