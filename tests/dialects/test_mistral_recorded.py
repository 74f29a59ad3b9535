"""Mistral's recorded requests and answers, read, written, streamed and relayed.

What is expected is read here straight from the JSON, without the code under test. The recordings hold no stream, so
each answer is also told as one, in the form of Mistral's own streams.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from mistralai.client.models import ChatCompletionRequest, ChatCompletionResponse, CompletionChunk

from freehold.dialects import messages, mistral
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


def load() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt") as lines:
        rows = [json.loads(line) for line in lines if '"api.mistral.ai"' in line]
    return [row for row in rows if row["uri"].endswith("/v1/chat/completions")]


ROWS = load()


def name(row: dict[str, Any]) -> str:
    return f"{Path(row['source']).stem[:70]}-{row['index']}"


def normal(value: Any, key: str = "") -> Any:
    """The normalisations of the reader: defaults, nulls and empty lists; shorthand strings; joined thoughts."""
    if isinstance(value, list):
        items = [normal(item) for item in value]
        if key == "content" and all(item["type"] == "text" for item in items):
            return "".join(item["text"] for item in items)
        return items
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("thinking"), list):
        return {**value, "thinking": "".join(piece["text"] for piece in value["thinking"])}
    defaults = ("prefix", False), ("stream", False), ("n", 1), ("index", 0), ("tool_calls", []), ("type", "function")
    kept = {
        name: normal(item, name) for name, item in value.items() if item is not None and (name, item) not in defaults
    }
    return {name: item for name, item in kept.items() if (name, item) != ("content", "")}


def content_of(message: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    content = message["content"]
    for chunk in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
        text = chunk.get("text") or "".join(piece["text"] for piece in chunk.get("thinking", []))
        if text:
            found.append((chunk["type"], text))
    for call in message.get("tool_calls") or []:
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
    cached = (wire.get("prompt_tokens_details") or {}).get("cached_tokens", wire.get("num_cached_tokens", 0))
    return Usage(uncached=wire["prompt_tokens"] - cached, cache_read=cached, output=wire["completion_tokens"])


def as_stream(wire: dict[str, Any]) -> bytes:
    """The recorded answer as Mistral streams it: whole tool calls, usage with the last chunk, `[DONE]`."""
    choice = wire["choices"][0]
    head = {"id": wire["id"], "object": "chat.completion.chunk", "created": wire["created"], "model": wire["model"]}
    chunks: list[dict[str, Any]] = []

    def add(delta: dict[str, Any], finish: str | None = None, **rest: Any) -> None:
        chunks.append({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **rest})

    add({"role": "assistant", "content": ""})
    message = choice["message"]
    for kind, text in [(kind, text[0]) for kind, *text in content_of(message) if kind != "tool"]:
        for at in range(0, len(text), 9):
            piece = text[at : at + 9]
            thought = [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]
            add({"content": piece if kind == "text" else thought})
    if message.get("tool_calls"):
        add({"content": "", "tool_calls": message["tool_calls"]})
    add({"content": ""}, choice["finish_reason"], usage=wire["usage"])
    data = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks)
    return data.encode() + b"data: [DONE]\n\n"


def chunks_of(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(60)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


def test_there_are_recordings() -> None:
    assert len(ROWS) == 31


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_recorded_request_survives_reading_and_writing(row: dict[str, Any]) -> None:
    losses: list[str] = []
    body = json.dumps(row["request"]).encode()
    written = json.loads(mistral.write_request(mistral.read_request(body), losses))
    assert normal(written) == normal(row["request"])
    assert losses == []
    ChatCompletionRequest.model_validate(written)
    peeked = mistral.peek(body)
    assert (peeked.model, peeked.stream, peeked.include_usage) == (row["request"]["model"], False, True)
    assert peeked.tools == bool(row["request"].get("tools"))
    assert json.loads(mistral.patch_request(body, model="other", stream_usage=True)) == {
        **row["request"], "model": "other",
    }  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_recorded_request_can_be_sent_to_others(row: dict[str, Any]) -> None:
    conversation = mistral.read_request(json.dumps(row["request"]).encode())
    losses: list[str] = []
    messages.write_request(conversation, losses)
    assert not {loss for loss in losses if "document" in loss or "image" in loss}


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_recorded_reply_is_read_metered_and_written_back(row: dict[str, Any]) -> None:
    wire = row["response"]
    body = json.dumps(wire).encode()
    reply = mistral.read_reply(body)
    choice = reply.choices[0]
    assert (reply.id, reply.model, reply.created) == (wire["id"], wire["model"], wire["created"])
    assert parts_of(choice) == content_of(wire["choices"][0]["message"])
    assert choice.finish == wire["choices"][0]["finish_reason"]
    assert reply.usage == usage_of(wire["usage"])
    receipt = mistral.read_receipt(body)
    assert (receipt.id, receipt.model, receipt.finish, receipt.usage) == (
        reply.id, reply.model, choice.finish, reply.usage,
    )  # fmt: skip

    losses: list[str] = []
    written = json.loads(mistral.write_reply(reply, losses))
    assert losses == []
    ChatCompletionResponse.model_validate(written)
    shown = {field: value for field, value in written["choices"][0].items() if field != "logprobs"}
    assert normal(shown) == normal(wire["choices"][0])
    assert written["usage"]["total_tokens"] == wire["usage"]["total_tokens"]


@pytest.mark.parametrize("row", ROWS, ids=name)
@pytest.mark.parametrize("seed", range(3))
def test_a_recorded_answer_told_as_a_stream_is_read_relayed_and_written_back(row: dict[str, Any], seed: int) -> None:
    wire = row["response"]
    data = as_stream(wire)
    reader, relay = mistral.StreamReader(), mistral.StreamRelay(strip_usage=True)
    writer = mistral.StreamWriter("", "", 0)
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
    started = next(event for event in events if isinstance(event, Started))
    assert (relay.id, relay.model) == (started.id, started.model) == (wire["id"], wire["model"])
    expected = content_of(wire["choices"][0]["message"])
    assert events_to_parts(events) == expected
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.finish == relay.finish == wire["choices"][0]["finish_reason"]
    usage = [event for event in events if isinstance(event, Metered)][-1].usage
    assert usage == relay.usage == usage_of(wire["usage"])

    shown = [json.loads(line[6:]) for line in written.decode().splitlines() if line.startswith("data: {")]
    for chunk in shown:
        CompletionChunk.model_validate(chunk)
    assert shown[-1]["usage"]["completion_tokens"] == wire["usage"]["completion_tokens"]
    again = mistral.StreamReader()
    assert events_to_parts(again.feed(written) + again.close()) == expected
