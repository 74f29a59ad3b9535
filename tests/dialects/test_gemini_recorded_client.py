"""Recorded exchanges with Google AI and Vertex, as a Gemini client of ours would have had them.

Requests: read and written again, they keep their meaning. Replies and streams: read and written again, they are what
they were. What is expected is computed here straight from the JSON. Everything written is read by the types of the
google-genai SDK, which refuse what they do not know.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from google.genai import types

from freehold.dialects import gemini
from freehold.dialects.conversation import Event, Finished, Losses, Metered, OpaqueDelta, Started, Usage
from freehold.dialects.gemini import embed

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"

if not RECORDED.exists():
    pytest.skip(f"{RECORDED.name} is absent: no recorded exchanges to replay", allow_module_level=True)


def load() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt") as lines:
        rows = [json.loads(line) for line in lines if "googleapis.com" in line]
    return [row for row in rows if "googleapis.com" in row["host"]]


ROWS = load()
ASKED = [row for row in ROWS if "enerateContent" in row["uri"]]
COUNTED = [row for row in ROWS if "countTokens" in row["uri"]]
EMBEDDED = [row for row in ROWS if "mbedContent" in row["uri"]]
REPLIES = [row for row in ASKED if row["status"] == 200 and row.get("response")]
STREAMS = [row for row in ASKED if row["status"] == 200 and row.get("response_text")]


def name(row: dict[str, Any]) -> str:
    return f"{Path(row['source']).stem[:60]}-{row['index']}"


def called(row: dict[str, Any]) -> gemini.Call:
    path = row["uri"].partition("googleapis.com")[2]
    call = gemini.parse_path(path.partition("?")[0])
    assert call is not None
    return call


# Requests

FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels"}
"""Fields whose content is the client's own, spelled as the client likes."""


def normal(value: Any, free: bool = False) -> Any:
    """Camel case, base64 in one alphabet, one name for MP3, nothing empty."""
    if isinstance(value, dict):
        fields = {}
        for key, item in value.items():
            head, *rest = key.split("_") if not free else [key]
            key = head + "".join(word.capitalize() for word in rest)
            item = normal(item, free or key in FREE)
            if item is not None and not (key == "generationConfig" and item == {}):
                fields[key] = item
        if not free and isinstance(data := fields.get("data"), str):
            fields["data"] = data.replace("-", "+").replace("_", "/")
        if fields.get("mimeType") == "audio/mpeg":
            fields["mimeType"] = "audio/mp3"
        return fields
    return [normal(item, free) for item in value] if isinstance(value, list) else value


def plain_schema(schema: Any) -> Any:
    """Google's schema as JSON Schema, for the few recorded ones."""
    if isinstance(schema, list):
        return [plain_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, item in schema.items():
        if key == "properties":
            found[key] = {field: plain_schema(inner) for field, inner in item.items()}
        elif key == "type":
            found[key] = item.lower()
        else:
            found[key] = plain_schema(item)
    return found


def meaning(body: dict[str, Any]) -> dict[str, Any]:
    """A request in one spelling: neighbours of a role joined, functions in one tool, schemas as JSON Schema."""
    body = normal(body)
    contents: list[dict[str, Any]] = []
    for content in body["contents"]:
        if contents and contents[-1]["role"] == content["role"]:
            contents[-1]["parts"] += content["parts"]
        else:
            contents.append({"role": content["role"], "parts": list(content["parts"])})
    body["contents"] = contents
    if "systemInstruction" in body:
        body["systemInstruction"].pop("role", None)
    functions = []
    others = []
    for tool in body.get("tools", []):
        for function in tool.pop("functionDeclarations", []):
            if "parameters" in function:
                function["parametersJsonSchema"] = plain_schema(function.pop("parameters"))
            functions.append(function)
        others += [{key: value} for key, value in tool.items()]
    body["tools"] = [functions, others]
    config = body.get("generationConfig", {})
    if "responseSchema" in config:
        config["responseJsonSchema"] = plain_schema(config.pop("responseSchema"))
    return body


@pytest.mark.parametrize("row", ASKED, ids=name)
def test_a_recorded_request_keeps_its_meaning(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    call = called(row)
    seen = gemini.peek(body, model=call.model, stream=call.method == "streamGenerateContent")
    conversation = gemini.read_request(body, model=call.model, stream=seen.stream)
    losses: Losses = []
    written = json.loads(gemini.write_request(conversation, losses))
    assert losses == []
    assert meaning(written) == meaning(row["request"])
    assert (seen.model, seen.stream) == (conversation.model, conversation.stream)
    assert seen.tools == bool(conversation.tools)
    assert seen.schema == (conversation.output is not None)
    assert gemini.patch_request(body, model=call.model) is body


@pytest.mark.parametrize("row", COUNTED, ids=name)
def test_a_recorded_count_is_read_and_answered(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    call = called(row)
    assert call.method == "countTokens"
    assert gemini.peek_count(body, model=call.model).input_bytes > 0
    losses: Losses = []
    conversation = gemini.read_count_request(body, model=call.model)
    written = json.loads(gemini.write_count(conversation, losses))["generateContentRequest"]
    asked = row["request"].get("generateContentRequest", row["request"])
    assert losses == []
    assert written.pop("model") == f"models/{call.model}"
    assert meaning(written) == meaning({key: value for key, value in asked.items() if key != "model"})
    total = row["response"].get("totalTokens", 0)
    assert types.CountTokensResponse.model_validate_json(gemini.write_count_reply(total)).total_tokens == total


@pytest.mark.parametrize("row", EMBEDDED, ids=name)
def test_a_recorded_embedding_request_is_read(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    call = called(row)
    request = embed.read_request(body, model=call.model, method=call.method)
    asked = row["request"].get("requests", [row["request"]])
    assert request.inputs == [one["content"]["parts"][0]["text"] for one in asked]
    assert request.task == ("query" if "taskType" in asked[0] else None)
    assert request.dimensions == asked[0].get("outputDimensionality")
    assert request.unknown == {}
    assert embed.patch_request(body, model=call.model) is body
    if row["status"] == 200:
        usage = embed.read_receipt(json.dumps(row["response"]).encode()).usage
        recorded = row["response"].get("usageMetadata")
        assert usage == (None if recorded is None else Usage(recorded["promptTokenCount"]))


# Answers


def check_types(answer: dict[str, Any]) -> None:
    """`serviceTier` is Google's, though the SDK's types do not have it: it takes out what it does not know."""
    usage = {key: value for key, value in answer.get("usageMetadata", {}).items() if key != "serviceTier"}
    types.GenerateContentResponse.model_validate({**answer, "usageMetadata": usage})


def parts_of(events: list[dict[str, Any]]) -> list[Any]:
    """Order and substance of all parts of the first candidate; neighbouring texts of a kind joined."""
    found: list[Any] = []
    for event in events:
        for candidate in event.get("candidates", [])[:1]:
            for part in (candidate.get("content") or {}).get("parts", []):
                signature = part.get("thoughtSignature")
                if "functionCall" in part:
                    call = part["functionCall"]
                    found.append(("call", call["name"], call.get("args") or {}, call.get("id"), signature))
                elif "text" in part:
                    kind = "thought" if part.get("thought") else "text"
                    if found and found[-1][0] == kind and found[-1][2] is None:
                        found[-1] = (kind, found[-1][1] + part["text"], signature)
                    elif part["text"] or signature:
                        found.append((kind, part["text"], signature))
                else:
                    found.append(("other", part))
    return found


def same_parts(written: list[Any], recorded: list[Any]) -> None:
    """Calls that had no id have one now."""
    assert len(written) == len(recorded)
    for one, other in zip(written, recorded, strict=True):
        if one[0] == "call":
            assert one[3]
            assert other[3] in (None, one[3])
            assert (one[:3], one[4]) == (other[:3], other[4])
        else:
            assert one == other


def same_grounding(written: Any, recorded: Any) -> None:
    """Chunks may stand in another order; what each passage rests on may not change."""
    written, recorded = written or {}, recorded or {}
    rest = set(recorded) - {"groundingChunks", "groundingSupports"}
    assert {key: written.get(key) for key in rest} == {key: recorded[key] for key in rest}
    assert sources(written) == sources(recorded)


def sources(grounding: dict[str, Any]) -> list[Any]:
    chunks = grounding.get("groundingChunks", [])
    supports = [
        [support["segment"], [chunks[index] for index in support["groundingChunkIndices"]]]
        for support in grounding.get("groundingSupports", [])
    ]
    return [*supports, sorted(json.dumps(chunk, sort_keys=True) for chunk in chunks)]


FINISH = {"UNEXPECTED_TOOL_CALL": "OTHER", "MALFORMED_FUNCTION_CALL": "OTHER"}


def same_usage(written: dict[str, Any], recorded: dict[str, Any]) -> None:
    tools = recorded.get("toolUsePromptTokenCount", 0)
    assert written["promptTokenCount"] == recorded.get("promptTokenCount", 0) + tools
    for key in ("candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "totalTokenCount"):
        assert written.get(key, 0) == recorded.get(key, 0)
    counted = {entry["modality"]: entry.get("tokenCount", 0) for entry in recorded.get("promptTokensDetails", [])}
    again = {entry["modality"]: entry["tokenCount"] for entry in written["promptTokensDetails"]}
    for kind in ("AUDIO", "IMAGE"):
        assert again.get(kind, 0) == counted.get(kind, 0)


@pytest.mark.parametrize("row", REPLIES, ids=name)
def test_a_recorded_reply_is_written_as_it_was(row: dict[str, Any]) -> None:
    wire = row["response"][0] if isinstance(row["response"], list) else row["response"]
    losses: Losses = []
    body = gemini.write_reply(gemini.read_reply(json.dumps(wire).encode()), losses)
    assert losses == []
    written = json.loads(body)
    check_types(written)
    assert (written["responseId"], written["modelVersion"]) == (wire["responseId"], wire["modelVersion"])
    same_usage(written["usageMetadata"], wire["usageMetadata"])
    assert written["usageMetadata"].get("serviceTier") == wire["usageMetadata"].get("serviceTier")
    if "candidates" not in wire:
        assert "candidates" not in written
        reason = wire["promptFeedback"]["blockReasonMessage"]
        assert written["promptFeedback"] == {"blockReason": "SAFETY", "blockReasonMessage": reason}
        return
    for candidate, was in zip(written["candidates"], wire["candidates"], strict=True):
        reason = was.get("finishReason", "STOP")
        assert candidate["finishReason"] == FINISH.get(reason, reason)
        same_grounding(candidate.get("groundingMetadata"), was.get("groundingMetadata"))
        assert candidate.get("urlContextMetadata") == was.get("urlContextMetadata")
        if "logprobsResult" in was:
            chosen = candidate["logprobsResult"]["chosenCandidates"]
            expected = was["logprobsResult"]["chosenCandidates"]
            assert [one["logProbability"] for one in chosen] == [one["logProbability"] for one in expected]
    same_parts(parts_of([written]), parts_of([wire]))
    again = gemini.read_reply(body)
    assert again.usage == gemini.read_reply(json.dumps(wire).encode()).usage
    assert gemini.read_receipt(body).finish == again.choices[0].finish


def events_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]


def pieces(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(60)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("row", STREAMS, ids=name)
@pytest.mark.parametrize("array", [False, True])
def test_a_recorded_stream_is_written_as_it_was(row: dict[str, Any], array: bool) -> None:
    wire = events_of(row["response_text"].encode())
    reader, writer = gemini.StreamReader(), gemini.StreamWriter("", "", array=array)
    out = b""
    for piece in pieces(row["response_text"].encode(), 1):
        for event in reader.feed(piece):
            out += writer.write(event)
    out += writer.close()
    written = json.loads(out) if array else events_of(out)
    assert writer.losses == []
    for event in written:
        check_types(event)
    same_parts(parts_of(written), parts_of(wire))
    same_usage(written[-1]["usageMetadata"], wire[-1]["usageMetadata"])
    last = written[-1]["candidates"][0]
    was = [candidate for event in wire for candidate in event.get("candidates", [])]
    assert last["finishReason"] == was[-1]["finishReason"]
    same_grounding(last.get("groundingMetadata"), was[-1].get("groundingMetadata"))
    assert {event["responseId"] for event in written} == {wire[0]["responseId"]}
    again = gemini.StreamReader()
    first = [event for event in again.feed(out) if isinstance(event, Finished)] if not array else []
    assert array or (again.complete and len(first) == 1)


@pytest.mark.parametrize("row", STREAMS, ids=name)
@pytest.mark.parametrize("seed", range(4))
def test_a_recorded_stream_is_relayed_and_metered(row: dict[str, Any], seed: int) -> None:
    data = row["response_text"].encode()
    relay, array, reader = gemini.StreamRelay(), gemini.StreamRelay(array=True), gemini.StreamReader()
    out = listed = b""
    events: list[Event] = []
    for piece in pieces(data, seed):
        out += relay.feed(piece)
        listed += array.feed(piece)
        events += reader.feed(piece)
    out += relay.close()
    listed += array.close()
    events += reader.close()
    assert out == data
    assert json.loads(listed) == events_of(data)
    for one in (relay, array):
        assert (one.complete, one.started, one.failed) == (True, True, None)
        assert [Started(one.id, one.model)] == [event for event in events if isinstance(event, Started)]
        assert one.usage == [event for event in events if isinstance(event, Metered)][-1].usage
        assert [one.finish] == [event.finish for event in events if isinstance(event, Finished)]
        assert one.events == len(events_of(data))
        assert one.output_bytes > 0


def test_sources_of_a_recorded_stream_become_citations() -> None:
    cited = 0
    for row in STREAMS:
        reader = gemini.StreamReader()
        events = reader.feed(row["response_text"].encode())
        text = "".join(event.text for event in events if type(event).__name__ == "TextDelta")
        for event in events:
            citation = getattr(event, "citation", None)
            if citation is not None and citation.raw.get("support"):
                cited += 1
                assert text[citation.start : citation.end] == citation.raw["support"]["segment"]["text"]
                assert citation.url or citation.quote
        assert not [
            event for event in events if isinstance(event, OpaqueDelta) and "groundingChunks" in str(event.value)
        ]
    assert cited >= 10


def test_there_is_something_to_replay() -> None:
    assert (len(ASKED), len(COUNTED), len(EMBEDDED)) >= (200, 4, 12)
    assert (len(REPLIES), len(STREAMS)) >= (190, 8)
    assert any(Usage() != gemini.read_reply(json.dumps(row["response"]).encode()).usage for row in REPLIES[:3])
