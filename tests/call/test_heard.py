"""Answers that are read on their way: the client's bytes stay what they were, and the reply is what was said."""

import itertools
import json
import time
from typing import Any

import msgspec
import pytest
from recorded import Recording, recordings
from replaying import CLIENTS, pieces, talk, target

from freehold.call.heard import Heard, gives_logprobs
from freehold.call.sample import TEMPERATURE, Sample
from freehold.call.talk import Talk
from freehold.dialects import chat, messages
from freehold.dialects.conversation import Reply, Text, ToolCall
from freehold.errors import FreeholdError, InternalError

ANSWERS = [one for one in recordings() if one.truth is not None]


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still, because answers that are translated are dated."""
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)


def carried(recording: Recording, client: str, operation: Any) -> bytes:
    prepared = operation.prepare(target(recording.provider, recording.dialect))
    body = recording.body.encode()
    if not recording.streamed:
        made: bytes = prepared.read(body)[0]
        return made
    relay = prepared.relay()
    out = [relay.feed(piece) for piece in pieces(body, recording.number)]
    if isinstance(operation, Heard):
        operation.answered()  # before the relay is closed, as serve/cascade.py does
    return b"".join([*out, relay.close()])


def said(reply: Reply) -> tuple[str, list[tuple[str, Any]]]:
    parts = reply.choices[0].parts if reply.choices else []
    calls = [
        (part.name, json.loads(part.arguments)) for part in parts if isinstance(part, ToolCall) and not part.custom
    ]
    return "".join(part.text for part in parts if isinstance(part, Text)), calls


@pytest.mark.skipif(not ANSWERS, reason="the recorded exchanges are not beside the repository")
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.usefixtures("moment")
def test_nobody_can_tell_that_an_answer_was_heard(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard_any = 0
    for recording in ANSWERS:
        plain = talk(client, "m", recording.streamed)
        heard = Heard(talk(client, "m", recording.streamed))
        try:
            wanted = _steadily(monkeypatch, recording, client, plain)
        except FreeholdError:
            continue
        assert _steadily(monkeypatch, recording, client, heard) == wanted, recording.name
        truth = recording.truth
        if truth is None or truth.refusal or recording.dialect == "mistral":
            continue
        text, calls = said(heard.answered())
        assert calls == truth.calls, recording.name
        assert text.strip() == truth.text.strip() or recording.dialect in ("chat", "gemini"), recording.name
        heard_any += 1
    assert heard_any > 100


def _steadily(monkeypatch: pytest.MonkeyPatch, recording: Recording, client: str, operation: Any) -> bytes:
    """With ids that are drawn at random the same each time."""
    numbers = itertools.count()
    monkeypatch.setattr("secrets.token_hex", lambda size=8: f"{next(numbers):0{2 * size}x}"[: 2 * size])
    monkeypatch.setattr("secrets.token_urlsafe", lambda size=8: f"{next(numbers):0{size}}")
    return carried(recording, client, operation)


LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.25, "bytes": [72], "top_logprobs": []}], "refusal": None}
WHOLE = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "logprobs": LOGPROBS, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


@pytest.mark.parametrize("client", ["chat", "messages", "responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_asked_for_and_taken_out_again(client: str, stream: bool) -> None:
    operation = talk(client, "m", stream)
    heard = Heard(operation, logprobs=True)
    prepared = heard.prepare(target("own", "chat"))
    asked = msgspec.json.decode(prepared.body)
    assert asked["logprobs"] is True
    assert asked["top_logprobs"] == 2
    body = json.dumps(WHOLE).encode()
    if stream:
        relay = prepared.relay()
        out = relay.feed(chat.as_stream(body)) + relay.close()
    else:
        out = prepared.read(body)[0]
    assert b"-0.25" not in out
    assert b"Hi" in out
    assert heard.answered().choices[0].logprobs["content"] == LOGPROBS["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_that_the_client_asked_for_stay(stream: bool) -> None:
    asked = {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "logprobs": True, "top_logprobs": 5,
        "stream": stream,
    }  # fmt: skip
    given = json.dumps(asked).encode()
    heard = Heard(Talk("chat", given, chat.peek(given)), logprobs=True)
    prepared = heard.prepare(target("own", "chat"))
    assert msgspec.json.decode(prepared.body)["top_logprobs"] == 5
    body = json.dumps(WHOLE).encode()
    if stream:
        relay = prepared.relay()
        out = relay.feed(chat.as_stream(body)) + relay.close()
    else:
        out = prepared.read(body)[0]
    assert b"-0.25" in out
    assert heard.answered().choices[0].logprobs is not None


def test_who_can_be_asked_for_log_probabilities() -> None:
    assert gives_logprobs(talk("chat", "m", True).conversation, target("own", "chat"))
    assert gives_logprobs(talk("messages", "m", True).conversation, target("own", "chat"))
    assert not gives_logprobs(talk("chat", "m", True).conversation, target("anthropic", "messages"))
    assert not gives_logprobs(talk("responses", "m", True).conversation, target("openai", "responses"))
    assert not gives_logprobs(talk("chat", "m", True).conversation, target("openai", "chat", "o3"))


def test_an_unfinished_stream_is_no_answer() -> None:
    heard = Heard(talk("chat", "m", True))
    relay = heard.prepare(target("own", "chat")).relay()
    stream = chat.as_stream(json.dumps(WHOLE).encode())
    relay.feed(stream[: stream.index(b'"finish_reason":"stop"')])
    with pytest.raises(FreeholdError, match="before its answer was complete"):
        heard.answered()


def test_what_cannot_be_read_passes_and_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(chat, "read_reply", broken)
    heard = Heard(talk("chat", "m", False))
    body = json.dumps(WHOLE).encode()
    assert heard.prepare(target("own", "chat")).read(body)[0] == body
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        heard.answered()


def test_nothing_was_heard_before_anything_came() -> None:
    with pytest.raises(InternalError):
        Heard(talk("chat", "m", False)).answered()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("dialect", ["chat", "messages", "gemini", "responses"])
def test_a_sample_is_the_same_request_drawn_again(client: str, dialect: str) -> None:
    operation = talk(client, "m", True)
    sample = Sample(operation, 2)
    assert not sample.peek.stream
    prepared = sample.prepare(target("own", dialect))
    body = msgspec.json.decode(prepared.body)
    heat = body.get("temperature", body.get("generationConfig", {}).get("temperature"))
    assert heat == TEMPERATURE
    assert not body.get("stream")
    assert "logprobs" not in body
    assert not body.get("store")


def test_a_sample_has_a_seed_of_its_own_and_keeps_a_higher_temperature() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 7, "temperature": 1.5, "n": 3}
    given = json.dumps(asked).encode()
    prepared = Sample(Talk("chat", given, chat.peek(given)), 2).prepare(target("own", "chat"))
    body = msgspec.json.decode(prepared.body)
    assert (body["seed"], body["temperature"], body.get("n", 1)) == (9, 1.5, 1)


def test_a_sample_is_read_in_any_dialect() -> None:
    sample = Sample(talk("chat", "m", True), 1)
    with pytest.raises(InternalError):
        sample.answered()
    answer = messages.write_reply(chat.read_reply(json.dumps(WHOLE).encode()), [], 1)
    _, receipt = sample.prepare(target("anthropic", "messages")).read(answer)
    assert receipt.usage is not None
    assert said(sample.answered())[0] == "Hi"
