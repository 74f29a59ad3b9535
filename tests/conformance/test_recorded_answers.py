"""Every recorded answer, to every client dialect: what the client reads is what the provider said.

Run through the gateway's pure code (support/replaying.py), which is all of it but the sockets; over HTTP the same
is done by tests/serve/test_recorded.py. Both readings are by support/readings.py, which shares no code with the code
under test.
"""

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import pytest
from google.genai import types as google
from pydantic import TypeAdapter
from readings import STREAM, WHOLE, Failure, events
from recorded import FILE, Recording, left_out, recordings, rows
from replaying import CLIENTS, replay, shown

from freehold.call.languages import CLIENT, PROVIDER
from freehold.errors import FreeholdError

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: recordings not replayed")

ALSO = {"mistral": ("mistral",)}
"""Hosts whose chat answers are read by a reader of their own, too."""


def dialects(recording: Recording) -> tuple[str, ...]:
    return (recording.dialect, *ALSO.get(recording.provider, ()))


def groups(streamed: tuple[bool, ...] = (False, True)) -> list[Any]:
    """One case per provider, dialect, client and form; the recordings of each run together, for they are thousands."""
    found: dict[tuple[str, str, str, bool], list[Recording]] = {}
    for recording in recordings():
        if recording.streamed in streamed and recording.truth is not None:
            for dialect in dialects(recording):
                for client in CLIENTS:
                    found.setdefault((recording.provider, dialect, client, recording.streamed), []).append(recording)
    return [
        pytest.param(dialect, client, members, id=f"{provider}.{dialect}-{client}-{'stream' if form else 'whole'}")
        for (provider, dialect, client, form), members in found.items()
    ]


@pytest.mark.parametrize(("dialect", "client", "members"), groups())
def test_clients_read_what_the_provider_said(dialect: str, client: str, members: list[Recording]) -> None:
    assert dialect in PROVIDER
    for recording in members:
        truth = recording.truth
        assert truth is not None
        want = shown(truth, client, dialect)
        if want is None:
            with pytest.raises(FreeholdError, match="stopped with an error"):
                replay(recording, client, dialect)
            continue
        answer = replay(recording, client, dialect, recording.number)
        got = (STREAM if recording.streamed else WHOLE)[client](answer)
        assert got == want, recording.name
        if client != dialect:
            check_types(client, answer, recording)


@pytest.mark.parametrize(("dialect", "client", "members"), groups((True,)))
def test_where_a_stream_is_cut_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, dialect: str, client: str, members: list[Recording]
) -> None:
    monkeypatch.setattr("freehold.call.talk.time", SimpleNamespace(time=lambda: 1e9))
    for recording in members:
        whole = replay(recording, client, dialect, 0)
        seeds = [1] if len(recording.body) < 10_000 else [2 + recording.number]
        for seed in seeds:
            assert replay(recording, client, dialect, seed) == whole, (recording.name, seed)


# Types of the official SDKs

_EVENT: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(openai.types.chat.ChatCompletionChunk),
    "responses": TypeAdapter(openai.types.responses.ResponseStreamEvent),
    "messages": TypeAdapter(anthropic.types.RawMessageStreamEvent),
}
_ANSWER: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(openai.types.chat.ChatCompletion),
    "responses": TypeAdapter(openai.types.responses.Response),
    "messages": TypeAdapter(anthropic.types.Message),
}
_BEYOND = ('"finish_reason":"error"', '"type":"file_citation"')
"""What OpenAI's own chat has no word for, and we say in that dialect all the same: a model that failed (in OpenRouter's
word), a citation of a document (in the word of Responses)."""


def check_types(client: str, answer: str, recording: Recording) -> None:
    if client == "chat" and any(word in answer for word in _BEYOND):
        return
    for event in events(answer) if recording.streamed else [json.loads(answer)]:
        if client == "gemini":
            google.GenerateContentResponse._from_response(response=event, kwargs={})
        elif event.get("type") != "ping":
            (_EVENT if recording.streamed else _ANSWER)[client].validate_python(event)


# Failures


def failures() -> list[Recording]:
    return [recording for recording in recordings() if recording.truth is None]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("recording", failures(), ids=[recording.name for recording in failures()])
def test_a_recorded_failure_is_a_failure_for_every_client(client: str, recording: Recording) -> None:
    if recording.status == 200:
        answer = replay(recording, client, recording.dialect)
        with pytest.raises(Failure):
            STREAM[client](answer)
        return
    with pytest.raises(FreeholdError) as caught:
        replay(recording, client, recording.dialect)
    error = caught.value
    assert error.status == recording.status
    told = json.loads(CLIENT[client].write_error(error, "req_1"))
    assert message_of(told) == str(error) or str(error) in message_of(told)
    assert message_of(json.loads(recording.body)) in message_of(told)


def message_of(told: Any) -> str:
    """The message of an error in any dialect."""
    told = told[0] if isinstance(told, list) else told
    inner = told.get("error", told)
    return str(inner["message"]) if isinstance(inner, dict) else str(inner)


# What is left out


def test_little_is_left_out_and_always_for_a_reason() -> None:
    reasons = Counter(one.reason for one in left_out())
    assert len(recordings()) + len(left_out()) == len(rows())
    talks = {reason: count for reason, count in reasons.items() if not reason.startswith("no conversation")}
    assert sum(talks.values()) <= 11, talks
    assert sum(reasons.values()) <= 92, reasons
    assert "no conversation: another operation" not in reasons
