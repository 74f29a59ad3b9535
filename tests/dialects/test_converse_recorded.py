"""Recorded exchanges with Bedrock: answers read whole and as streams made of them, requests written again.

The recording holds no bodies of event streams, so streams are made of the recorded whole answers.
"""

import gzip
import json
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from frames import frames, streamed
from recorded import FILE

from freehold.dialects import chat, converse, messages
from freehold.dialects.conversation import Finished, Metered, TextDelta, ThinkingDelta, ToolDelta, ToolStarted
from freehold.dialects.converse import embed

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is not here")


@cache
def rows() -> list[dict[str, Any]]:
    with gzip.open(FILE, "rt") as lines:
        found = [json.loads(line) for line in lines]
    return [row for row in found if row["host"].startswith("bedrock-runtime.")]


def answers() -> list[dict[str, Any]]:
    return [row["response"] for row in rows() if row["uri"].endswith("/converse") and row["status"] == 200]


def truth(reply: dict[str, Any]) -> tuple[str, str, list[tuple[str, Any]]]:
    """Text, thoughts and calls, read directly."""
    text, thoughts, calls = "", "", []
    for block in reply["output"]["message"]["content"]:
        text += block.get("text", "")
        thoughts += block.get("reasoningContent", {}).get("reasoningText", {}).get("text", "")
        use = block.get("toolUse")
        if use is not None and use.get("type") != "server_tool_use":
            calls.append((use["name"], use["input"]))
    return text, thoughts, calls


FINISH = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


def test_whole_answers() -> None:
    assert len(answers()) > 100
    for reply in answers():
        read = converse.read_reply(json.dumps(reply).encode())
        choice = read.choices[0]
        kinds: dict[str, list[Any]] = {}
        for part in choice.parts:
            kinds.setdefault(type(part).__name__, []).append(part)
        said = "".join(part.text for part in kinds.get("Text", []))
        thought = "".join(part.text for part in kinds.get("Thinking", []))
        calls = [(part.name, json.loads(part.arguments)) for part in kinds.get("ToolCall", [])]
        assert (said, thought, calls) == truth(reply)
        assert choice.finish == FINISH[reply["stopReason"]]
        usage, told = read.usage, reply["usage"]
        assert usage is not None
        assert usage.output == told["outputTokens"]
        assert usage.input + usage.output == max(told["totalTokens"], usage.uncached + usage.output)
        assert usage.cache_read == told.get("cacheReadInputTokens", 0)


def test_streams_of_them() -> None:
    for reply in answers():
        reader = converse.StreamReader()
        data = frames(streamed(reply, 40))
        events = [event for at in range(0, len(data), 1000) for event in reader.feed(data[at : at + 1000])]
        assert reader.complete
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        thoughts = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
        names = [event.name for event in events if isinstance(event, ToolStarted)]
        arguments = [""] * len(names)
        for event in events:
            if isinstance(event, ToolDelta):
                arguments[event.index] += event.arguments
        calls = list(zip(names, map(json.loads, arguments), strict=True))
        assert (text, thoughts, calls) == truth(reply)
        whole = converse.read_reply(json.dumps(reply).encode())
        assert [event.usage for event in events if isinstance(event, Metered)] == [whole.usage]
        assert [event.finish for event in events if isinstance(event, Finished)] == [whole.choices[0].finish]


def test_what_was_thought_goes_back_as_it_was() -> None:
    """Signed and redacted thoughts, out to a client and back: the bytes that Bedrock sent."""
    replayed = 0
    for reply in answers():
        blocks = [block for block in reply["output"]["message"]["content"] if "reasoningContent" in block]
        signed = [
            block
            for block in blocks
            if "redactedContent" in block["reasoningContent"]
            or "signature" in block["reasoningContent"]["reasoningText"]
        ]
        if not signed:
            continue
        replayed += 1
        body = messages.write_reply(converse.read_reply(json.dumps(reply).encode(), model="m"), [], 1)
        turn = {"role": "assistant", "content": json.loads(body)["content"]}
        question = {"role": "user", "content": "and?"}
        request = {"model": "m", "max_tokens": 9, "messages": [question, turn, question]}
        conversation = messages.read_request(json.dumps(request).encode())
        conversation.model = "us.anthropic.claude-sonnet-4-6"
        again = json.loads(converse.write_request(conversation, []))
        assert [block for block in again["messages"][1]["content"] if "reasoningContent" in block] == signed
    assert replayed >= 7


def test_both_clients_hear_all_of_it() -> None:
    for reply in answers():
        read = converse.read_reply(json.dumps(reply).encode(), model="m")
        _, _, calls = truth(reply)
        told = json.loads(chat.write_reply(read, [], 1))["choices"][0]["message"]
        assert [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in told.get("tool_calls") or []
        ] == calls
        content = json.loads(messages.write_reply(read, [], 1))["content"]
        assert [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"] == calls


def test_paths() -> None:
    for row in rows():
        sent = urlsplit(row["uri"]).path
        _, _, model, verb = sent.split("/")
        if "%" not in model and ":" in unquote(model):
            continue  # two were sent with a bare colon
        made = {
            "converse": converse.path(unquote(model), False),
            "converse-stream": converse.path(unquote(model), True),
            "count-tokens": converse.count_path(unquote(model)),
            "invoke": converse.invoke_path(unquote(model)),
        }
        assert made[verb] == sent


def test_errors() -> None:
    codes = []
    for row in rows():
        if row["status"] == 400:
            error = converse.read_error(400, {}, json.dumps(row["response"]).encode())
            assert row["response"]["message"] == error.message
            codes.append(error.code)
    assert codes.count("model_not_found") == 3


def test_embeddings() -> None:
    seen = set()
    for row in rows():
        if not row["uri"].endswith("/invoke") or "embed" not in json.dumps(row["response"])[:20000]:
            continue
        reply = embed.read_reply(json.dumps(row["response"]).encode())
        wire = row["response"]
        found = wire["embeddings"] if "embeddings" in wire else [wire["embedding"]]
        first = (found["float"] if isinstance(found, dict) else found)[0]
        first = first["embedding"] if isinstance(first, dict) else first
        assert list(reply.vectors[0]) == first
        seen.add(unquote(urlsplit(row["uri"]).path).split("/")[2].split(":")[0])
    assert len(seen) >= 5


def test_counts() -> None:
    counted = [row for row in rows() if row["uri"].endswith("/count-tokens") and row["status"] == 200]
    assert [converse.read_count(json.dumps(row["response"]).encode()) for row in counted] == [11]
