"""Recorded requests, answers and streams of the Responses API, read, written and relayed.

What is expected is read here straight from the JSON, without the code under test.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response, ResponseInputItemParam, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from freehold.dialects import responses
from freehold.dialects.conversation import (
    Event,
    Finished,
    LogprobsDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Part,
    Refusal,
    RefusalDelta,
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

STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
INPUT_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)
RESPONSE: TypeAdapter[Any] = TypeAdapter(Response)
REASONING_MODEL = Traits(thinking="effort")


def load() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt") as lines:
        rows = [json.loads(line) for line in lines if "responses" in line]
    return [
        row
        for row in rows
        if "/responses" in row["uri"] and not row["uri"].endswith(("/responses/compact", "/responses/input_tokens"))
    ]


ALL = load()
REQUESTS = [row for row in ALL if isinstance(row["request"], dict) and "model" in row["request"]]
REPLIES = [row for row in ALL if row["status"] == 200 and row.get("response")]
STREAMS = [row for row in ALL if row["status"] == 200 and row.get("response_text")]


def name(row: dict[str, Any]) -> str:
    return f"{Path(row['source']).stem[:60]}-{row['index']}"


def thoughts(item: dict[str, Any]) -> str:
    parts = item.get("content") or item.get("summary") or []
    return "\n\n".join(part["text"] for part in parts)


def substance(output: list[dict[str, Any]]) -> list[Any]:
    """Order and substance of output items."""
    found: list[Any] = []
    for item in output:
        match item["type"]:
            case "message":
                for part in item["content"]:
                    found.append((part["type"], part.get("text", part.get("refusal")), item["id"]))
            case "reasoning":
                if thoughts(item) or item.get("encrypted_content"):
                    found.append(("reasoning", thoughts(item), item.get("encrypted_content"), item["id"]))
                else:
                    found.append(("other", "reasoning"))
            case "function_call":
                found.append(("call", item["call_id"], item["name"], json.loads(item["arguments"]), item["id"]))
            case kind:
                found.append(("other", kind))
    return found


def of_parts(parts: list[Part]) -> list[Any]:
    found: list[Any] = []
    for part in parts:
        match part:
            case Text():
                found.append(("output_text", part.text, part.item_id))
            case Refusal():
                found.append(("refusal", part.text, part.item_id))
            case Thinking():
                found.append(("reasoning", part.text, signed(part.signature), part.id))
            case ToolCall():
                found.append(("call", part.id, part.name, json.loads(part.arguments), part.item_id))
            case Opaque():
                if "type" in part.value:
                    found.append(("other", part.value["type"]))
    return found


def signed(signature: str | None) -> str | None:
    return None if signature is None else signature.removeprefix("openai:")


def of_events(events: list[Event]) -> list[Any]:
    found: list[Any] = []
    arguments: dict[int, str] = {}
    places: dict[int, int] = {}
    for event in events:
        last = found[-1] if found else ("",)
        match event:
            case TextDelta() if event.text:
                if last[0] == "output_text" and last[2] == event.item_id:
                    found[-1] = ("output_text", last[1] + event.text, event.item_id)
                else:
                    found.append(("output_text", event.text, event.item_id))
            case RefusalDelta():
                found.append(("refusal", event.text, event.item_id))
            case ThinkingDelta():
                if last[0] == "reasoning" and last[3] == event.id:
                    found[-1] = ("reasoning", last[1] + event.text, signed(event.signature), event.id)
                else:
                    found.append(("reasoning", event.text, signed(event.signature), event.id))
            case ToolStarted():
                places[event.index] = len(found)
                found.append(("call", event.id, event.name, None, event.item_id))
            case ToolDelta():
                arguments[event.index] = arguments.get(event.index, "") + event.arguments
            case OpaqueDelta():
                if event.value.get("event", {}).get("type") == "response.output_item.done":
                    found.append(("other", event.value["type"]))
    for index, text in arguments.items():
        call = found[places[index]]
        found[places[index]] = (*call[:3], json.loads(text), call[4])
    return found


def usage_of(wire: dict[str, Any] | None) -> Usage | None:
    if wire is None:
        return None
    details = wire["input_tokens_details"]
    cached, written = details["cached_tokens"], details.get("cache_write_tokens") or 0
    return Usage(
        uncached=wire["input_tokens"] - cached - written,
        cache_read=cached,
        cache_write_5m=written,
        output=wire["output_tokens"],
        reasoning=wire["output_tokens_details"]["reasoning_tokens"],
    )


def finish_of(wire: dict[str, Any]) -> str:
    if wire["status"] in ("queued", "in_progress"):
        return "pause"
    return "tool_calls" if any(item["type"] == "function_call" for item in wire["output"]) else "stop"


def logprobs_of(output: list[dict[str, Any]]) -> list[Any]:
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    return [token for part in parts for token in part.get("logprobs") or []]


def normal(request: dict[str, Any]) -> dict[str, Any]:
    """The normalisations of the reader and the writer, made on the request itself."""
    fields = {key: value for key, value in request.items() if value is not None and value != []}
    fields = {key: value for key, value in fields.items() if key not in ("include", "stream", "instructions")}
    if "reasoning" in fields:
        fields["reasoning"] = {
            key.removeprefix("generate_"): value for key, value in fields["reasoning"].items() if value is not None
        }
    if "tools" in fields:
        fields["tools"] = [{key: value for key, value in tool.items() if value is not None} for tool in fields["tools"]]
    items = fields.get("input", [])
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    leading = list(
        itertools.takewhile(lambda item: item.get("role") in ("system", "developer") and "content" in item, items)
    )
    fields["instructions"] = [request.get("instructions") or ""] + [item["content"] for item in leading]
    fields["input"] = [normal_item(item) for item in items[len(leading) :]]
    return fields


def normal_item(item: dict[str, Any]) -> dict[str, Any]:
    dropped = ("status", "type") if item.get("type", "message") == "message" else ("status",)
    if item.get("type") in ("message", None, "function_call", "reasoning", "function_call_output"):
        item = {key: value for key, value in item.items() if value is not None and key not in dropped}
    if item.get("type") == "reasoning" and (item.get("encrypted_content") or item.get("content")):
        item = {**item, "text": thoughts(item)}
        item.pop("summary")
        item.pop("content", None)
    if isinstance(content := item.get("content"), list) and len(content) == 1 and "text" in content[0]:
        item = {**item, "content": content[0]["text"]}
    return item


@pytest.mark.parametrize("row", REQUESTS, ids=name)
def test_a_recorded_request_survives_reading_and_writing(row: dict[str, Any]) -> None:
    request = row["request"]
    losses: list[str] = []
    conversation = responses.read_request(json.dumps(request).encode())
    written = json.loads(responses.write_request(conversation, losses, REASONING_MODEL))
    assert losses == []
    expected, given = normal(request), normal(written)
    assert given.pop("instructions")[0] == "\n\n".join(text for text in expected.pop("instructions") if text)
    assert given == expected
    items = request["input"] if isinstance(request["input"], list) else []
    for item, again in zip(reversed(items), reversed(written["input"]), strict=False):
        assert_valid_if(INPUT_ITEM, item, again)
    wanted = set(request.get("include") or []) | {"reasoning.encrypted_content"}
    assert set(written["include"]) == wanted


def assert_valid_if(types: TypeAdapter[Any], original: Any, written: Any) -> None:
    """What we write must fit the SDK's types wherever what the provider wrote does."""
    try:
        types.validate_python(original)
    except ValidationError:
        return
    types.validate_python(written)


@pytest.mark.parametrize("row", REQUESTS, ids=name)
def test_a_recorded_request_is_peeked_and_patched(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    peeked = responses.peek(body)
    assert (peeked.model, peeked.stream) == (row["request"]["model"], bool(row["request"].get("stream")))
    assert peeked.tools == bool(row["request"].get("tools"))
    assert responses.patch_request(body, model=row["request"]["model"]) is body
    patched = json.loads(responses.patch_request(body, model="another-model"))
    assert patched == {**row["request"], "model": "another-model"}


@pytest.mark.parametrize("row", REPLIES, ids=name)
def test_a_recorded_reply_is_read_metered_and_written_back(row: dict[str, Any]) -> None:
    wire = row["response"]
    body = json.dumps(wire).encode()
    reply = responses.read_reply(body)
    choice = reply.choices[0]
    assert (reply.id, reply.model, reply.created) == (wire["id"], wire["model"], wire["created_at"])
    assert of_parts(choice.parts) == substance(wire["output"])
    assert choice.finish == finish_of(wire)
    assert reply.usage == usage_of(wire["usage"])
    assert ((choice.logprobs or {}).get("content") or []) == logprobs_of(wire["output"])
    receipt = responses.read_receipt(body)
    assert (receipt.id, receipt.model, receipt.finish, receipt.failed) == (reply.id, reply.model, choice.finish, None)
    assert receipt.usage == reply.usage

    losses: list[str] = []
    request = row["request"] if isinstance(row["request"], dict) else {}
    written = json.loads(responses.write_reply(reply, losses, 0, responses.echo(json.dumps(request).encode())))
    assert losses == []
    assert_valid_if(RESPONSE, wire, written)
    assert substance(written["output"]) == substance(wire["output"])
    if wire["status"] == "completed":
        assert written["status"] == "completed"
    for field in ("object", "model", "created_at", "error", "incomplete_details", "service_tier"):
        if wire.get(field) is not None:
            assert written[field] == wire[field]
    if wire["usage"] is not None:
        assert written["usage"]["input_tokens"] == wire["usage"]["input_tokens"]
        assert written["usage"]["output_tokens"] == wire["usage"]["output_tokens"]
        assert written["usage"]["total_tokens"] == wire["usage"]["total_tokens"]
    for item, original in zip(written["output"], wire["output"], strict=True):
        if original["type"] == "message":
            content = [{"logprobs": [], **part} for part in original["content"]]
            assert item == {**original, "content": content}
        elif original["type"] != "reasoning":
            assert item == original


def data_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data: {")]


def kind_of(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event.get("item", {}).get("type", "")


def chunks_of(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(60)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("row", STREAMS, ids=name)
@pytest.mark.parametrize("seed", range(4))
def test_a_recorded_stream_is_read_relayed_and_written_back(row: dict[str, Any], seed: int) -> None:
    data = row["response_text"].encode()
    recorded = data_of(row["response_text"])
    wire = recorded[-1]["response"]
    reader, relay = responses.StreamReader(), responses.StreamRelay()
    writer = responses.StreamWriter("", "", 0)
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

    assert relayed == data.replace(b"data: [DONE]\n\n", b"")
    assert reader.complete
    assert relay.complete
    assert relay.started
    if "starting_after=" not in row["uri"]:
        started = next(event for event in events if isinstance(event, Started))
        assert (relay.id, relay.model) == (started.id, started.model) == (wire["id"], wire["model"])
    assert readable(of_events(events)) == readable(substance(wire["output"]))
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.finish == relay.finish == finish_of(wire)
    usage = [event for event in events if isinstance(event, Metered)][-1].usage
    assert usage == relay.usage == usage_of(wire["usage"])
    assert json.loads(relay.response) == wire
    tokens = [token for event in events if isinstance(event, LogprobsDelta) for token in event.value["content"]]
    assert tokens == logprobs_of(wire["output"])

    shown = data_of(written.decode())
    originals = {kind_of(event): event for event in recorded}
    assert [event["sequence_number"] for event in shown] == list(range(len(shown)))
    for event in shown if seed == 0 else []:
        assert_valid_if(STREAM_EVENT, originals.get(kind_of(event), event), event)
    assert shown[-1]["type"] == "response.completed"
    assert readable(substance(shown[-1]["response"]["output"])) == readable(substance(wire["output"]))
    assert writer.response() == shown[-1]["response"]
    assert writer.losses == []


def readable(found: list[Any]) -> list[Any]:
    """Thoughts without signature and id: OpenAI encrypts them anew in the last event, OpenRouter names them anew."""
    return [item[:2] if item[0] == "reasoning" else item for item in found]


def test_the_recorded_errors_are_read() -> None:
    rows = [row for row in ALL if row["status"] == 400]
    assert len(rows) >= 2
    for row in rows:
        error = responses.read_error(400, {}, json.dumps(row["response"]).encode())
        assert error.status == 400
        assert error.message == row["response"]["error"]["message"]
        assert error.param == row["response"]["error"]["param"]


def test_there_is_something_to_replay() -> None:
    assert len(REQUESTS) >= 150
    assert len(REPLIES) >= 140
    assert len(STREAMS) >= 14
