"""Recorded answers of other providers, as a Gemini client has them: nothing of their substance may change."""

import gzip
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.genai import types

from freehold.dialects import chat, gemini, messages
from freehold.dialects.conversation import (
    Choice,
    Event,
    Finished,
    Metered,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.gemini.signatures import read_thinking
from freehold.dialects.tool_calls import split_signature

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"

if not RECORDED.exists():
    pytest.skip(f"{RECORDED.name} is absent: no recorded exchanges to replay", allow_module_level=True)

PATHS: dict[str, ModuleType] = {"/chat/completions": chat, "/v1/messages": messages}


def load() -> list[tuple[ModuleType, dict[str, Any]]]:
    found = []
    with gzip.open(RECORDED, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            path = row["uri"].partition("?")[0]
            for end, language in PATHS.items():
                if path.endswith(end) and row["status"] == 200:
                    found.append((language, row))
    return found


ROWS = load()
REPLIES = [(language, row) for language, row in ROWS if isinstance(row.get("response"), dict)]
STREAMS = [(language, row) for language, row in ROWS if row.get("response_text")]


def name(value: Any) -> str:
    return f"{Path(value['source']).stem[:60]}-{value['index']}" if isinstance(value, dict) else value.__name__[-8:]


def add(found: list[Any], kind: str, text: str) -> None:
    if text and found and found[-1][0] == kind:
        found[-1] = (kind, found[-1][1] + text)
    elif text:
        found.append((kind, text))


def call(name: str, arguments: str, custom: bool) -> tuple[Any, ...]:
    return ("call", name, {"input": arguments} if custom else json.loads(arguments or "{}"))


def substance(choice: Choice) -> list[Any]:
    found: list[Any] = []
    for part in choice.parts:
        match part:
            case Text() | Refusal():
                add(found, "text", part.text)
            case Thinking():
                add(found, "thought", part.text)
            case ToolCall():
                found.append((*call(part.name, part.arguments, part.custom), split_signature(part.id)[0]))
    return found


def event_substance(events: list[Event]) -> list[Any]:
    choice = Choice()
    calls: dict[int, ToolCall] = {}
    for event in events:
        match event:
            case TextDelta(choice=0) | RefusalDelta(choice=0):
                choice.parts.append(Text(event.text))
            case ThinkingDelta(choice=0):
                choice.parts.append(Thinking(event.text))
            case ToolStarted(choice=0):
                calls[event.index] = ToolCall(event.id, event.name, "", custom=event.custom)
                choice.parts.append(calls[event.index])
            case ToolDelta(choice=0):
                calls[event.index].arguments += event.arguments
    return substance(choice)


def wire_substance(answers: list[dict[str, Any]]) -> list[Any]:
    """What the bytes for the client say, read without the code under test."""
    found: list[Any] = []
    for answer in answers:
        types.GenerateContentResponse.model_validate(
            {
                **answer,
                "usageMetadata": {k: v for k, v in answer.get("usageMetadata", {}).items() if k != "serviceTier"},
            }
        )
        for candidate in answer["candidates"][:1]:
            if candidate["index"] == 0:
                for part in candidate["content"]["parts"]:
                    if "functionCall" in part:
                        given = part["functionCall"]
                        found.append(("call", given["name"], given["args"], given["id"]))
                    else:
                        add(found, "thought" if part.get("thought") else "text", part.get("text", ""))
    return found


def check_usage(wire: dict[str, Any], usage: Usage | None) -> None:
    if usage is None:
        return
    assert wire["promptTokenCount"] == usage.input
    assert wire.get("cachedContentTokenCount", 0) == usage.cache_read
    assert wire.get("thoughtsTokenCount", 0) == usage.reasoning
    assert wire["candidatesTokenCount"] + usage.reasoning == usage.output
    assert wire["totalTokenCount"] == usage.input + usage.output


FINISH = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "pause": "MAX_TOKENS",
}


@pytest.mark.parametrize(("language", "row"), REPLIES, ids=name)
def test_a_recorded_reply_reaches_a_gemini_client(language: ModuleType, row: dict[str, Any]) -> None:
    reply = language.read_reply(json.dumps(row["response"]).encode())
    wire = json.loads(gemini.write_reply(reply, []))
    choice = reply.choices[0]
    assert wire_substance([wire]) == substance(choice)
    assert wire["candidates"][0]["finishReason"] == FINISH.get(choice.finish, "OTHER")
    check_usage(wire.get("usageMetadata", {}), reply.usage)
    signed = [
        read_thinking(part["text"], part.get("thoughtSignature"))
        for part in wire["candidates"][0]["content"]["parts"]
        if part.get("thought")
    ]
    thoughts = [part for part in choice.parts if isinstance(part, Thinking) and part != Thinking()]
    assert [(one.text, one.signature, one.redacted, one.id) for one in signed] == [
        (one.text, one.signature, one.redacted, one.id) for one in thoughts
    ]


@pytest.mark.parametrize(("language", "row"), STREAMS, ids=name)
def test_a_recorded_stream_reaches_a_gemini_client(language: ModuleType, row: dict[str, Any]) -> None:
    reader, writer = language.StreamReader(), gemini.StreamWriter("r", "m")
    events = reader.feed(row["response_text"].encode()) + reader.close()
    out = b"".join(writer.write(event) for event in events) + writer.close()
    wire = [json.loads(line[6:]) for line in out.decode().split("\r\n\r\n") if line]
    if not reader.complete:
        assert "error" in wire[-1]
        return
    assert wire_substance(wire) == event_substance(events)
    finish = next(event.finish for event in events if isinstance(event, Finished))
    assert wire[-1]["candidates"][0]["finishReason"] == FINISH.get(finish, "OTHER")
    metered = [event.usage for event in events if isinstance(event, Metered)]
    check_usage(wire[-1].get("usageMetadata", {}), metered[-1] if metered else None)


def test_there_is_something_to_replay() -> None:
    assert len(REPLIES) >= 200
    assert len(STREAMS) >= 30
