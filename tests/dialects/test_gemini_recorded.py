"""Gemini's own recorded answers and streams, from Google AI and Vertex, read.

What is expected is read here straight from the JSON, without the code under test.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from freehold.dialects import gemini
from freehold.dialects.conversation import (
    Event,
    Finished,
    Metered,
    Opaque,
    OpaqueDelta,
    Refusal,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.tool_calls import SIGNATURE_LIMIT, split_signature

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"

if not RECORDED.exists():
    pytest.skip(f"{RECORDED.name} is absent: no recorded exchanges to replay", allow_module_level=True)


def load() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt") as lines:
        rows = [json.loads(line) for line in lines if "googleapis.com" in line]
    return [row for row in rows if "enerateContent" in row["uri"] or "countTokens" in row["uri"]]


ROWS = load()
GENERATED = [row for row in ROWS if row["status"] == 200 and "countTokens" not in row["uri"]]
REPLIES = [row for row in GENERATED if row.get("response")]
STREAMS = [row for row in GENERATED if row.get("response_text")]


def name(row: dict[str, Any]) -> str:
    return f"{Path(row['source']).stem[:60]}-{row['index']}"


def substance(parts: list[dict[str, Any]]) -> list[Any]:
    """Order and substance of wire parts, neighbouring texts of a kind joined."""
    found: list[Any] = []
    for part in parts:
        if "functionCall" in part:
            call = part["functionCall"]
            found.append(("tool", call["name"], call.get("args", {}), part.get("thoughtSignature")))
        elif "text" in part:
            kind = "thinking" if part.get("thought") else "text"
            add_text(found, kind, part["text"])
        else:
            found.append(("other", sorted(part)))
    return found


def add_text(found: list[Any], kind: str, text: str) -> None:
    if not text:
        return
    if found and found[-1][0] == kind:
        found[-1] = (kind, found[-1][1] + text)
    else:
        found.append((kind, text))


def read_substance(parts: list[Any]) -> list[Any]:
    found: list[Any] = []
    for part in parts:
        match part:
            case ToolCall():
                found.append(("tool", part.name, json.loads(part.arguments), part.signature))
            case Text():
                add_text(found, "text", part.text)
            case Thinking():
                add_text(found, "thinking", part.text)
            case Opaque() if not set(part.value) & {"groundingMetadata", "urlContextMetadata", "citationMetadata"}:
                found.append(("other", sorted(part.value)))
    return found


def event_substance(events: list[Event]) -> list[Any]:
    found: list[Any] = []
    for event in events:
        match event:
            case ToolStarted():
                found.append(("tool", event.name, event.index, event.signature))
            case ToolDelta():
                assert found[-1][2] == event.index
                found[-1] = ("tool", found[-1][1], json.loads(event.arguments), found[-1][3])
            case TextDelta():
                add_text(found, "text", event.text)
            case ThinkingDelta():
                add_text(found, "thinking", event.text)
            case OpaqueDelta() if not set(event.value) & {
                "groundingMetadata",
                "urlContextMetadata",
                "citationMetadata",
            }:
                found.append(("other", sorted(event.value)))
    return found


def finish_of(candidate: dict[str, Any], parts: list[dict[str, Any]]) -> str:
    if candidate.get("finishReason", "STOP") == "STOP":
        return "tool_calls" if any("functionCall" in part for part in parts) else "stop"
    return {"UNEXPECTED_TOOL_CALL": "error", "MAX_TOKENS": "length", "SAFETY": "content_filter"}[
        candidate["finishReason"]
    ]


def usage_of(wire: dict[str, Any]) -> Usage:
    cached = wire.get("cachedContentTokenCount", 0)
    thoughts = wire.get("thoughtsTokenCount", 0)
    return Usage(
        uncached=wire.get("promptTokenCount", 0) - cached + wire.get("toolUsePromptTokenCount", 0),
        cache_read=cached,
        output=wire.get("candidatesTokenCount", 0) + thoughts,
        reasoning=thoughts,
        audio_input=tokens_of(wire, "AUDIO"),
        image_input=tokens_of(wire, "IMAGE"),
    )


def tokens_of(wire: dict[str, Any], kind: str) -> int:
    return sum(entry.get("tokenCount", 0) for entry in wire.get("promptTokensDetails", []) if entry["modality"] == kind)


@pytest.mark.parametrize("row", REPLIES, ids=name)
def test_a_recorded_reply_is_read_and_metered(row: dict[str, Any]) -> None:
    wire = row["response"][0] if isinstance(row["response"], list) else row["response"]
    body = json.dumps(wire, indent=1).encode()
    reply = gemini.read_reply(body)
    receipt = gemini.read_receipt(body)
    assert (reply.id, reply.model) == (receipt.id, receipt.model) == (wire["responseId"], wire["modelVersion"])
    if "candidates" not in wire:
        assert reply.choices[0].finish == receipt.finish == "content_filter"
        assert reply.choices[0].parts == [Refusal(wire["promptFeedback"]["blockReasonMessage"])]
        return
    for choice, candidate in zip(reply.choices, wire["candidates"], strict=True):
        parts = (candidate.get("content") or {}).get("parts", [])
        assert read_substance(choice.parts) == substance(parts)
        assert choice.finish == finish_of(candidate, parts)
        calls = [part for part in choice.parts if isinstance(part, ToolCall)]
        assert len({call.id for call in calls}) == len(calls)
        for call in calls:
            short = call.signature is not None and len(call.signature) <= SIGNATURE_LIMIT
            assert split_signature(call.id)[1] == (call.signature if short else None)
    assert reply.usage == receipt.usage == usage_of(wire["usageMetadata"])
    assert receipt.finish == reply.choices[0].finish
    assert reply.usage is not None
    assert reply.usage.input + reply.usage.output == wire["usageMetadata"]["totalTokenCount"]


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


@pytest.mark.parametrize("row", STREAMS, ids=name)
@pytest.mark.parametrize("seed", range(4))
def test_a_recorded_stream_is_read_whatever_the_chunks(row: dict[str, Any], seed: int) -> None:
    data = row["response_text"].encode()
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(60)))})
    reader = gemini.StreamReader()
    events: list[Event] = []
    for start, end in itertools.pairwise(cuts):
        events += reader.feed(data[start:end])
    events += reader.close()

    wire = events_of(row["response_text"])
    parts = [
        part
        for event in wire
        for candidate in event.get("candidates", [])
        for part in (candidate.get("content") or {}).get("parts", [])
    ]
    assert reader.complete
    assert event_substance(events) == substance(parts)
    last = next(
        candidate
        for event in reversed(wire)
        for candidate in event.get("candidates", [])
        if "finishReason" in candidate
    )
    assert [event.finish for event in events if isinstance(event, Finished)] == [finish_of(last, parts)]
    assert [event for event in events if isinstance(event, Metered)][-1].usage == usage_of(wire[-1]["usageMetadata"])
    assert [event for event in events if isinstance(event, Started)] == [
        Started(wire[0]["responseId"], wire[0]["modelVersion"])
    ]


def test_recorded_errors_are_read() -> None:
    rows = [row for row in ROWS if row["status"] >= 400]
    assert rows
    for row in rows:
        body = json.dumps(row["response"]).encode()
        wire = (row["response"][0] if isinstance(row["response"], list) else row["response"])["error"]
        error = gemini.read_error(row["status"], {}, body)
        assert (error.status, error.message) == (row["status"], wire["message"])
        assert error.retry == ("other" if row["status"] == 404 else "no")


def test_recorded_token_counts_are_read() -> None:
    rows = [row for row in ROWS if row["status"] == 200 and "countTokens" in row["uri"]]
    assert rows
    for row in rows:
        assert gemini.read_count(json.dumps(row["response"]).encode()) == row["response"]["totalTokens"]


def test_there_is_something_to_replay() -> None:
    assert len(REPLIES) >= 190
    assert len(STREAMS) >= 8
