"""Cohere's recorded chat requests and answers, read, written, streamed and relayed.

What is expected is read here straight from the JSON, without the code under test. The recordings hold no stream, so
each answer is also told as one, in the order of Cohere's own streams.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from cohere import V2ChatResponse
from cohere.v2.types.v2chat_stream_response import V2ChatStreamResponse
from pydantic import TypeAdapter

from freehold.dialects import chat, cohere, messages
from freehold.dialects.conversation import (
    Choice,
    Event,
    Finished,
    Metered,
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

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"

if not RECORDED.exists():
    pytest.skip(f"{RECORDED.name} is absent: no recorded exchanges to replay", allow_module_level=True)

FINISH = {"COMPLETE": "stop", "TOOL_CALL": "tool_calls", "MAX_TOKENS": "length"}
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(V2ChatStreamResponse)


def load() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt") as lines:
        rows = [json.loads(line) for line in lines if '"api.cohere.com"' in line]
    return [row for row in rows if row["uri"].endswith("/v2/chat")]


ROWS = load()


def name(row: dict[str, Any]) -> str:
    return f"{Path(row['source']).stem[:60]}-{row['index']}"


def content_of(message: dict[str, Any]) -> list[Any]:
    found: list[Any] = [(block["type"], block[block["type"]]) for block in message.get("content", [])]
    if message.get("tool_plan"):
        found.append(("thinking", message["tool_plan"]))
    for call in message.get("tool_calls", []):
        found.append(("tool", call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])))
    return found


def parts_of(choice: Choice) -> list[Any]:
    found: list[Any] = []
    for part in choice.parts:
        match part:
            case Text():
                found.append(("text", part.text))
            case Thinking():
                found.append(("thinking", part.text))
            case ToolCall():
                found.append(("tool", part.id, part.name, json.loads(part.arguments)))
            case _:
                found.append(part)
    return found


def events_to_parts(events: list[Event]) -> list[Any]:
    found: list[Any] = []
    arguments: dict[int, str] = {}
    places: dict[int, int] = {}
    for event in events:
        match event:
            case TextDelta() | ThinkingDelta() if event.text:
                kind = "text" if isinstance(event, TextDelta) else "thinking"
                if found and found[-1][0] == kind:
                    found[-1] = (kind, found[-1][1] + event.text)
                else:
                    found.append((kind, event.text))
            case ToolStarted():
                places[event.index] = len(found)
                found.append(("tool", event.id, event.name, None))
            case ToolDelta():
                arguments[event.index] = arguments.get(event.index, "") + event.arguments
    for index, text in arguments.items():
        found[places[index]] = (*found[places[index]][:3], json.loads(text))
    return found


def usage_of(wire: dict[str, Any]) -> Usage:
    cached = wire.get("cached_tokens", 0)
    return Usage(
        uncached=wire["tokens"]["input_tokens"] - cached, cache_read=cached, output=wire["tokens"]["output_tokens"]
    )


def pieces(text: str, size: int = 7) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def as_stream(wire: dict[str, Any]) -> bytes:
    """The recorded answer as the events Cohere sends for such a one."""
    message = wire["message"]
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[dict[str, Any]] = [{"id": wire["id"], "type": "message-start", "delta": {"message": empty}}]

    def add(kind: str, index: int | None = None, **inside: Any) -> None:
        event: dict[str, Any] = {"type": kind}
        if index is not None:
            event["index"] = index
        if inside:
            event["delta"] = {"message": inside}
        events.append(event)

    for index, block in enumerate(message.get("content", [])):
        kind = block["type"]
        add("content-start", index, content={"type": kind, kind: ""})
        for piece in pieces(block[kind]):
            add("content-delta", index, content={kind: piece})
        for number, citation in enumerate(message.get("citations", []) if kind == "text" else []):
            add("citation-start", number, citations=citation)
            add("citation-end", number)
        add("content-end", index)
    for piece in pieces(message.get("tool_plan", "")):
        add("tool-plan-delta", tool_plan=piece)
    for index, call in enumerate(message.get("tool_calls", [])):
        add("tool-call-start", index, tool_calls={**call, "function": {**call["function"], "arguments": ""}})
        for piece in pieces(call["function"]["arguments"]):
            add("tool-call-delta", index, tool_calls={"function": {"arguments": piece}})
        add("tool-call-end", index)
    events.append({"type": "message-end", "delta": {"finish_reason": wire["finish_reason"], "usage": wire["usage"]}})
    data = "".join(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    return data.encode() + b"data: [DONE]\n\n"


def chunks_of(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(60)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


def data_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_there_are_recordings() -> None:
    assert len(ROWS) == 8


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_recorded_request_survives_reading_and_writing(row: dict[str, Any]) -> None:
    losses: list[str] = []
    body = json.dumps(row["request"]).encode()
    written = json.loads(cohere.write_request(cohere.read_request(body), losses))
    assert {"stream": False, **written} == row["request"]
    assert losses == []
    peeked = cohere.peek(body)
    assert (peeked.model, peeked.stream, peeked.tools) == (row["request"]["model"], False, "tools" in row["request"])
    assert json.loads(cohere.patch_request(body, model="other")) == {**row["request"], "model": "other"}
    assert cohere.patch_request(body, model=row["request"]["model"]) is body


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_recorded_request_asks_the_same_of_other_dialects(row: dict[str, Any]) -> None:
    conversation = cohere.read_request(json.dumps(row["request"]).encode())
    texts = [message["content"] for message in row["request"]["messages"] if message["role"] in ("user", "tool")]
    for write in (chat.write_request, messages.write_request):
        written = write(conversation, []).decode()
        assert all(json.dumps(text, ensure_ascii=False) in written for text in texts)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_recorded_reply_is_read_metered_and_written_back(row: dict[str, Any]) -> None:
    wire = row["response"]
    body = json.dumps(wire).encode()
    reply = cohere.read_reply(body)
    choice = reply.choices[0]
    assert reply.id == wire["id"]
    assert parts_of(choice) == content_of(wire["message"])
    assert choice.finish == FINISH[wire["finish_reason"]]
    assert reply.usage == usage_of(wire["usage"])
    receipt = cohere.read_receipt(body)
    assert (receipt.id, receipt.finish, receipt.usage, receipt.failed) == (reply.id, choice.finish, reply.usage, None)

    losses: list[str] = []
    written = json.loads(cohere.write_reply(reply, losses))
    assert losses == []
    V2ChatResponse.model_validate(written)
    assert (written["message"], written["finish_reason"]) == (wire["message"], wire["finish_reason"])
    assert written["usage"]["tokens"] == wire["usage"]["tokens"]
    assert written["usage"].get("cached_tokens") == wire["usage"].get("cached_tokens")


@pytest.mark.parametrize("row", ROWS, ids=name)
@pytest.mark.parametrize("seed", range(5))
def test_a_recorded_answer_told_as_a_stream_is_read_relayed_and_written_back(row: dict[str, Any], seed: int) -> None:
    wire = row["response"]
    data = as_stream(wire)
    reader, relay, writer = cohere.StreamReader(), cohere.StreamRelay(), cohere.StreamWriter("")
    events: list[Event] = []
    relayed = written = b""
    for chunk in chunks_of(data, seed):
        new = reader.feed(chunk)
        events += new
        written += b"".join(writer.write(event) for event in new)
        relayed += relay.feed(chunk)
    events += reader.close()
    relayed += relay.close()
    written += writer.close()

    assert relayed == data
    assert reader.complete
    assert relay.complete
    assert relay.started
    started = next(event for event in events if isinstance(event, Started))
    assert relay.id == started.id == wire["id"]
    assert events_to_parts(events) == content_of(wire["message"])
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.finish == relay.finish == FINISH[wire["finish_reason"]]
    usage = [event for event in events if isinstance(event, Metered)][-1].usage
    assert usage == relay.usage == reader.usage == usage_of(wire["usage"])

    for event in data_of(written.decode()):
        assert STREAM_EVENT.validate_python(event).type == event["type"]
    original = data_of(data.decode())
    billed = original[-1]["delta"]["usage"].pop("billed_units")
    shown = data_of(written.decode())
    assert shown[-1]["delta"]["usage"].pop("billed_units") is not billed
    assert shown == original
