"""What we write is what the providers' published OpenAPI documents say an answer is.

The documents ask for some fields that the providers themselves leave out or send as null. `LAX` lists these complaints;
that real answers draw them too is a test of its own, so that the list holds nothing of ours.
"""

import json
from typing import Any, NamedTuple

import pytest
from published import wrong
from readings import events
from recorded import FILE, Recording, dialect_of, recordings, rows
from replaying import replay, target
from resending import unsent

from freehold.call.languages import CLIENT
from freehold.call.talk import Talk, Ways
from freehold.errors import FreeholdError


class Schema(NamedTuple):
    vendor: str
    whole: str
    event: str
    host: str


SCHEMAS = {
    "chat": Schema("openai", "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "api.openai.com"),
    "responses": Schema("openai", "Response", "ResponseStreamEvent", "api.openai.com"),
    "messages": Schema("anthropic", "Message", "MessageStreamEvent", "api.anthropic.com"),
}
NULLS = ("safety_identifier", "prompt_cache_key", "user")
LAX = {
    "chat": {
        "$.choices[].logprobs: None is not of type 'object'",
        "$.usage: None is not of type 'object'",
        "$.choices[].finish_reason: None is not one of ['stop', 'length', 'tool_calls', 'content_filter', "
        "'function_call']",
        "$.choices[].finish_reason: None is not of type 'string'",
    },
    "responses": {
        *(f"$.{name}: None is not of type 'string'" for name in NULLS),
        *(f"$.response.{name}: None is not of type 'string'" for name in NULLS),
        "$.response.usage: None is not of type 'object'",
    },
    "messages": {
        *(f"{place}: 'container' is a required property" for place in ("$", "$.message", "$.delta")),
        *(f"{place}: 'stop_details' is a required property" for place in ("$", "$.message", "$.delta")),
        *(f"{place}: 'server_tool_use' is a required property" for place in ("$.usage", "$.message.usage")),
        *(f"{place}: 'inference_geo' is a required property" for place in ("$.usage", "$.message.usage")),
        *(f"{place}: 'citations' is a required property" for place in ("$.content[]", "$.content_block")),
        *(f"{place}: 'caller' is a required property" for place in ("$.content[]", "$.content_block")),
    },
}
FAILED_MODEL = (
    "$.choices[].finish_reason: 'error' is not one of ['stop', 'length', 'tool_calls', 'content_filter', "
    "'function_call']"
)
"""A model that failed (Gemini's UNEXPECTED_TOOL_CALL) must not look finished: OpenRouter's word is used for it."""


def sample(client: str, streamed: bool, text: str) -> list[dict[str, Any]]:
    """The values to look at: of a long stream the first deltas of each kind, and both ends."""
    if not streamed:
        return [json.loads(text)]
    found, kept, seen = events(text), [], set()
    for index, event in enumerate(found):
        kind = event.get("type", "")
        if event.get("error"):
            continue
        if client == "chat":
            if 4 <= index < len(found) - 3:
                continue
        elif kind.endswith("delta") and kind in seen and kind != "message_delta":
            continue
        seen.add(kind)
        kept.append(event)
    return kept


def complaints(client: str, streamed: bool, text: str) -> set[str]:
    schema = SCHEMAS[client]
    name = schema.event if streamed else schema.whole
    return {line for value in sample(client, streamed, text) for line in wrong(schema.vendor, name, value)}


def translated(recording: Recording, client: str) -> str | None:
    try:
        return replay(recording, client, recording.dialect)
    except FreeholdError:
        return None


@pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: nothing to translate")
@pytest.mark.parametrize("client", SCHEMAS)
def test_translated_answers_fit(client: str) -> None:
    for recording in recordings():
        if recording.truth is None or recording.dialect == client:
            continue
        text = translated(recording, client)
        if text is None:
            continue
        found = complaints(client, recording.streamed, text) - LAX[client]
        if recording.truth.finish == "error":
            found.discard(FAILED_MODEL)
        assert not found, recording.name


@pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: no real answers to compare with")
@pytest.mark.parametrize("client", SCHEMAS)
def test_what_is_allowed_is_what_providers_do(client: str) -> None:
    found = set()
    for recording in recordings():
        if recording.truth is not None and (recording.dialect, recording.host) == (client, SCHEMAS[client].host):
            found |= complaints(client, recording.streamed, recording.body)
    assert found >= LAX[client]


class Asked(NamedTuple):
    """A provider that is asked in a dialect, and what its requests must fit."""

    vendor: str
    schema: str
    provider: str
    model: str


ASKED = {
    "chat": Asked("openai", "CreateChatCompletionRequest", "openai", "gpt-4o"),
    "responses": Asked("openai", "CreateResponse", "openai", "gpt-4o"),
    "messages": Asked("anthropic", "CreateMessageParams", "anthropic", "claude-sonnet-4-5"),
}
AMBIGUOUS = " under each of "
"""The document of Responses has two members of one union that both fit a plain message; real requests fit both too."""
ANSWERED = "$.input[].content[].type: 'output_text' is not one of ['input_text']"
"""An assistant's earlier answer goes back as `output_text`, which the document's short form of a message leaves out."""


def written(row: dict[str, Any], dialect: str, asked: str) -> Any:
    """What the provider receives when a recorded request of one dialect is sent on in another."""
    streamed = bool(row["request"].get("stream")) or "stream" in row["uri"]
    named: dict[str, Any] = {"model": "m", "stream": streamed} if dialect == "gemini" else {}
    body = json.dumps(row["request"] if named else {**row["request"], "model": "m"}).encode()
    talk = Talk(dialect, body, CLIENT[dialect].peek(body, **named), ways=Ways(read=named) if named else Ways())
    to = ASKED[asked]
    return json.loads(talk.prepare(target(to.provider, asked, to.model)).body)


@pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: no requests to translate")
@pytest.mark.parametrize("asked", ASKED)
def test_translated_requests_fit(asked: str) -> None:
    seen = 0
    for number, row in enumerate(rows()):
        dialect = dialect_of(row)
        if unsent(row) is not None or dialect in (None, asked) or dialect not in CLIENT or dialect == "cohere":
            continue
        found = wrong(ASKED[asked].vendor, ASKED[asked].schema, written(row, dialect, asked))
        assert {line for line in found if AMBIGUOUS not in line} <= {ANSWERED}, number
        seen += 1
    assert seen > 400


def test_a_complaint_is_found() -> None:
    assert wrong("openai", "CreateChatCompletionResponse", {"id": "x"})
    assert wrong("anthropic", "MessageStreamEvent", {"type": "message_stop", "x": 1}) == set()
    assert wrong("anthropic", "MessageStreamEvent", {"type": "content_block_stop"}) == {
        "$: 'index' is a required property"
    }
