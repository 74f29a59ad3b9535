"""Anthropic's own recorded requests, answers and streams, read, written and relayed.

What is expected is read here straight from the JSON, without the code under test.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from freehold.dialects import messages
from freehold.dialects.conversation import (
    Choice,
    Event,
    Finished,
    Metered,
    Opaque,
    OpaqueDelta,
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
from freehold.dialects.traits import Traits

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"

if not RECORDED.exists():
    pytest.skip(f"{RECORDED.name} is absent: no recorded exchanges to replay", allow_module_level=True)

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def load() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt") as lines:
        rows = [json.loads(line) for line in lines if '"api.anthropic.com"' in line]
    return [row for row in rows if "/v1/messages" in row["uri"]]


ALL = load()
ROWS = [row for row in ALL if row["uri"].partition("?")[0].endswith("/v1/messages")]
REQUESTS = [row for row in ROWS if isinstance(row["request"], dict) and "max_tokens" in row["request"]]
REPLIES = [row for row in ROWS if row["status"] == 200 and row.get("response")]
STREAMS = [row for row in ROWS if row["status"] == 200 and row.get("response_text")]


def name(row: dict[str, Any]) -> str:
    return f"{Path(row['source']).stem[:60]}-{row['index']}"


def content_of(blocks: list[dict[str, Any]]) -> list[Any]:
    """Order and substance of content blocks, neighbouring texts joined (the wire may split them for citations)."""
    found: list[Any] = []
    for block in blocks:
        match block["type"]:
            case "text":
                if found and found[-1][0] == "text":
                    found[-1] = ("text", found[-1][1] + block["text"])
                elif block["text"]:
                    found.append(("text", block["text"]))
            case "thinking":
                found.append(("thinking", block["thinking"], block["signature"]))
            case "redacted_thinking":
                found.append(("redacted", block["data"]))
            case "tool_use":
                found.append(("tool", block["id"], block["name"], block["input"]))
            case kind:
                found.append(("other", kind, block.get("input")))
    return found


def parts_of(choice: Choice) -> list[Any]:
    found: list[Any] = []
    for part in choice.parts:
        match part:
            case Text():
                if found and found[-1][0] == "text":
                    found[-1] = ("text", found[-1][1] + part.text)
                elif part.text:
                    found.append(("text", part.text))
            case Thinking(redacted=None):
                found.append(("thinking", part.text, part.signature or ""))
            case Thinking():
                found.append(("redacted", part.redacted))
            case ToolCall():
                found.append(("tool", part.id, part.name, json.loads(part.arguments)))
            case Opaque():
                if "type" in part.value:
                    found.append(("other", part.value["type"], part.value.get("input")))
    return found


def events_to_parts(events: list[Event]) -> list[Any]:
    found: list[Any] = []
    arguments: dict[int, str] = {}
    places: dict[int, int] = {}
    for event in events:
        match event:
            case TextDelta() if event.text:
                if found and found[-1][0] == "text":
                    found[-1] = ("text", found[-1][1] + event.text)
                else:
                    found.append(("text", event.text))
            case ThinkingDelta(redacted=None):
                if found and found[-1][0] == "thinking" and not found[-1][2]:
                    found[-1] = ("thinking", found[-1][1] + event.text, event.signature or "")
                else:
                    found.append(("thinking", event.text, event.signature or ""))
            case ThinkingDelta():
                found.append(("redacted", event.redacted))
            case ToolStarted():
                places[event.index] = len(found)
                found.append(("tool", event.id, event.name, None))
            case ToolDelta():
                arguments[event.index] = arguments.get(event.index, "") + event.arguments
            case OpaqueDelta():
                found.append(("other", event.value["type"], event.value.get("input")))
    for index, text in arguments.items():
        found[places[index]] = (*found[places[index]][:3], json.loads(text))
    return found


def usage_of(wire: dict[str, Any]) -> Usage:
    split = wire.get("cache_creation") or {}
    written = wire.get("cache_creation_input_tokens") or 0
    long = split.get("ephemeral_1h_input_tokens") or 0
    return Usage(
        uncached=wire["input_tokens"],
        cache_read=wire.get("cache_read_input_tokens") or 0,
        cache_write_5m=written - long,
        cache_write_1h=long,
        output=wire["output_tokens"],
        reasoning=(wire.get("output_tokens_details") or {}).get("thinking_tokens", 0),
    )


def normal(value: Any, key: str = "") -> Any:
    """The normalisations of the reader: shorthand strings, defaults and nulls; neighbouring turns of a role joined."""
    if isinstance(value, list):
        items = [normal(item) for item in value]
        if key == "messages":
            items = joined(items)
        if key in ("content", "system") and len(items) == 1 and set(items[0]) == {"type", "text"}:
            return items[0]["text"]
        return items
    if not isinstance(value, dict):
        return value
    defaults = {"is_error": False, "caller": {"type": "direct"}, "ttl": "5m", "stream": False}
    kept = {name: normal(item, name) for name, item in value.items() if item is not None}
    if "input_schema" in kept and kept.get("type") == "custom":
        del kept["type"]
    return {name: item for name, item in kept.items() if name not in defaults or item != defaults[name]}


def joined(items: list[Any]) -> list[Any]:
    result: list[Any] = []
    for item in items:
        if result and result[-1]["role"] == item["role"]:
            result[-1] = {"role": item["role"], "content": as_blocks(result[-1]) + as_blocks(item)}
        else:
            result.append(item)
    return result


def as_blocks(message: dict[str, Any]) -> list[Any]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


@pytest.mark.parametrize("row", REQUESTS, ids=name)
def test_a_recorded_request_survives_reading_and_writing(row: dict[str, Any]) -> None:
    request = row["request"]
    thinking = "budget" if (request.get("thinking") or {}).get("type") == "enabled" else "adaptive"
    losses: list[str] = []
    conversation = messages.read_request(json.dumps(request).encode())
    written = json.loads(messages.write_request(conversation, losses, Traits(thinking=thinking, temperature_max=1.0)))
    assert normal(written) == normal(request)
    assert losses == []


@pytest.mark.parametrize("row", REQUESTS[::4], ids=name)
def test_a_recorded_request_is_peeked_and_patched(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    peeked = messages.peek(body)
    assert (peeked.model, peeked.stream) == (row["request"]["model"], bool(row["request"].get("stream")))
    assert peeked.tools == bool(row["request"].get("tools"))
    patched = json.loads(messages.patch_request(body, model="another-model"))
    assert patched == {**row["request"], "model": "another-model"}


@pytest.mark.parametrize("row", REPLIES, ids=name)
def test_a_recorded_reply_is_read_metered_and_written_back(row: dict[str, Any]) -> None:
    wire = row["response"]
    body = json.dumps(wire).encode()
    reply = messages.read_reply(body)
    choice = reply.choices[0]
    assert (reply.id, reply.model) == (wire["id"], wire["model"])
    assert parts_of(choice) == content_of(wire["content"])
    assert choice.finish == FINISH[wire["stop_reason"]]
    assert choice.stop_sequence == wire["stop_sequence"]
    assert reply.usage == usage_of(wire["usage"])
    receipt = messages.read_receipt(body)
    assert (receipt.id, receipt.model, receipt.finish, receipt.failed) == (reply.id, reply.model, choice.finish, None)
    assert receipt.usage == reply.usage

    losses: list[str] = []
    written = json.loads(messages.write_reply(reply, losses))
    assert losses == []
    if not any(block["type"].startswith(("mcp_", "advisor_")) for block in wire["content"]):
        Message.model_validate(written)
    for field in ("id", "model", "role", "type", "stop_reason", "stop_sequence"):
        assert written[field] == wire[field]
    assert normal(written["content"]) == normal([without_empty(block) for block in wire["content"]])
    for field, count in written["usage"].items():
        if field in wire["usage"]:
            assert count == wire["usage"][field]


def without_empty(block: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if not (key == "citations" and not value)}


def data_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def assembled(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Blocks, last delta and usage of a stream, put together by hand."""
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    usage: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] += delta["signature"]
                    case "input_json_delta":
                        inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            case "message_delta":
                last = event["delta"]
                usage |= event["usage"]
    for index, text in inputs.items():
        blocks[index]["input"] = json.loads(text or "{}")
    return [blocks[index] for index in sorted(blocks)], last, usage


def chunks_of(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(60)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("row", STREAMS, ids=name)
@pytest.mark.parametrize("seed", range(5))
def test_a_recorded_stream_is_read_relayed_and_written_back(row: dict[str, Any], seed: int) -> None:
    data = row["response_text"].encode()
    blocks, last, wire_usage = assembled(data_of(row["response_text"]))
    reader, relay = messages.StreamReader(), messages.StreamRelay()
    writer = messages.StreamWriter("", "", 0)
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
    assert (relay.id, relay.model) == (started.id, started.model)
    assert events_to_parts(events) == content_of(blocks)
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.finish == relay.finish == FINISH[last["stop_reason"]]
    usage = [event for event in events if isinstance(event, Metered)][-1].usage
    assert usage == relay.usage == usage_of(wire_usage)

    shown = data_of(written.decode())
    assert shown[-1]["type"] == "message_stop"
    for event in shown:
        STREAM_EVENT.validate_python(event)
    again, delta, last_usage = assembled(shown)
    assert content_of(again) == content_of(blocks)
    assert delta["stop_reason"] == last["stop_reason"]
    assert (last_usage["input_tokens"], last_usage["output_tokens"]) == (
        wire_usage["input_tokens"],
        wire_usage["output_tokens"],
    )


def test_the_recorded_error_is_read() -> None:
    row = next(row for row in ALL if row["status"] == 404)
    error = messages.read_error(404, {}, json.dumps(row["response"]).encode())
    assert (error.code, error.status, error.retry) == ("model_not_found", 404, "other")
    assert error.message == row["response"]["error"]["message"]


def test_recorded_token_counts_are_read_and_estimated_in_their_order_of_size() -> None:
    rows = [row for row in ALL if row["status"] == 200 and "count_tokens" in row["uri"]]
    assert rows
    for row in rows:
        body = json.dumps(row["request"]).encode()
        counted = messages.read_count(json.dumps(row["response"]).encode())
        assert counted == row["response"]["input_tokens"]
        assert counted / 2 <= messages.estimate_tokens(body) <= counted * 2
        assert messages.peek_count(body).max_tokens is None


def test_there_is_something_to_replay() -> None:
    assert len(REQUESTS) >= 160
    assert len(REPLIES) >= 150
    assert len(STREAMS) >= 4
