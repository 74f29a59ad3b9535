"""Real exchanges of fourteen hosts that speak this dialect: what a direct reading of their JSON says must come out.

The recordings lie beside the repository, not in it; without them these tests are skipped.
"""

import gzip
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from freehold.dialects import chat, embeddings
from freehold.dialects.chat.reply_writer import SERVICE_TIERS
from freehold.dialects.traits import Traits
from freehold.errors import ProviderError, UpstreamLimited, UpstreamRefused

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"


def load() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        return []
    with gzip.open(RECORDED) as lines:
        return [one for line in lines if b"chat/completions" in line or b"mbed" in line for one in [json.loads(line)]]


ALL = load()
EXCHANGES = [one for one in ALL if "chat/completions" in one["uri"]]
WHOLE = [one for one in EXCHANGES if one["status"] == 200 and one["response"]]
STREAMS = [one for one in EXCHANGES if one["status"] == 200 and one.get("response_text")]
ERRORS = [one for one in EXCHANGES if one["status"] >= 400]

pytestmark = pytest.mark.skipif(not ALL, reason="the recorded exchanges are not beside the repository")


def names(exchanges: list[dict[str, Any]]) -> dict[str, Any]:
    return {"argvalues": exchanges, "ids": [f"{one['host']}-{one['source']}-{one['index']}" for one in exchanges]}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


# What a direct reading says


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def thoughts_of(message: dict[str, Any]) -> str:
    if isinstance(content := message.get("content"), list):
        thinking = [part["thinking"] for part in content if part["type"] == "thinking"]
        return "".join(piece["text"] for pieces in thinking for piece in pieces)
    return message.get("reasoning_content") or message.get("reasoning") or ""


def calls_of(message: dict[str, Any]) -> list[tuple[str, str, Any]]:
    functions = [(call["id"], call["function"]) for call in message.get("tool_calls") or []]
    return [(identity, one["name"], json.loads(one.get("arguments") or "{}")) for identity, one in functions]


def finish_of(reason: str, message: dict[str, Any]) -> str:
    return "tool_calls" if reason == "stop" and message.get("tool_calls") else reason


def count(holder: Any, *path: str) -> int:
    for name in path:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder or 0


def numbers_of(usage: dict[str, Any]) -> dict[str, int]:
    hidden = max(usage["total_tokens"] - usage["prompt_tokens"] - usage["completion_tokens"], 0)
    return {
        "prompt": usage["prompt_tokens"],
        "completion": usage["completion_tokens"] + hidden,  # Gemini's thoughts stand only in the total
        "total": usage["total_tokens"],
        "cached": count(usage, "prompt_tokens_details", "cached_tokens")
        or count(usage, "num_cached_tokens")
        or count(usage, "prompt_cache_hit_tokens")
        or count(usage, "cached_tokens"),
        "written": count(usage, "prompt_tokens_details", "cache_write_tokens"),
        "reasoning": count(usage, "completion_tokens_details", "reasoning_tokens") or hidden,
        "audio_in": count(usage, "prompt_tokens_details", "audio_tokens"),
        "audio_out": count(usage, "completion_tokens_details", "audio_tokens"),
    }


def canonical_numbers(usage: Any) -> dict[str, int]:
    return {
        "prompt": usage.input,
        "completion": usage.output,
        "total": usage.input + usage.output,
        "cached": usage.cache_read,
        "written": usage.cache_write_5m,
        "reasoning": usage.reasoning,
        "audio_in": usage.audio_input,
        "audio_out": usage.audio_output,
    }


def without_foreign_annotations(completion: dict[str, Any]) -> dict[str, Any]:
    """OpenRouter annotates files, which the SDK's types do not know; such fields are carried as they came."""
    copy = json.loads(json.dumps(completion))
    for choice in copy["choices"]:
        notes = choice["message"].get("annotations", [])
        choice["message"]["annotations"] = [one for one in notes if one["type"] == "url_citation"]
    return copy


# Whole replies


@pytest.mark.parametrize("exchange", **names(WHOLE))
def test_whole_replies_come_out_right(exchange):
    wire = exchange["response"]
    losses: list[str] = []
    reply = chat.read_reply(encode(wire))
    written = json.loads(chat.write_reply(reply, losses))
    assert losses == ([] if wire.get("service_tier") in (None, *SERVICE_TIERS) else ["service_tier"])
    ChatCompletion.model_validate(without_foreign_annotations(written))
    assert (written["id"], written["model"], written["created"]) == (wire["id"], wire["model"], wire["created"])
    assert len(written["choices"]) == len(wire["choices"])
    for got, said in zip(written["choices"], wire["choices"], strict=True):
        message, direct = got["message"], said["message"]
        assert (message["content"] or "") == text_of(direct.get("content"))
        assert message.get("reasoning_content", "") == thoughts_of(direct)
        assert [one[1:] for one in calls_of(message)] == [one[1:] for one in calls_of(direct)]
        given = [identity for identity, *_ in calls_of(direct)]
        assert [
            identity if said else "" for said, (identity, *_) in zip(given, calls_of(message), strict=True)
        ] == given
        assert message["refusal"] == (direct.get("refusal") or None)
        assert got["finish_reason"] == finish_of(said["finish_reason"], direct)
        assert got["logprobs"] == said.get("logprobs")
        kept = ["annotations", "executed_tools", "extra_content"]
        if any(one.get("signature") or one.get("data") for one in direct.get("reasoning_details", ())):
            kept.append("reasoning_details")  # unsigned thoughts are the text already compared
        assert [message[name] for name in kept if direct.get(name)] == [
            direct[name] for name in kept if direct.get(name)
        ]
    assert numbers_of(written["usage"]) == canonical_numbers(reply.usage) == numbers_of(wire["usage"])
    assert chat.read_reply(encode(written)).usage == reply.usage


@pytest.mark.parametrize("exchange", **names(WHOLE))
def test_receipts_agree_with_the_whole_reading(exchange):
    wire = exchange["response"]
    receipt = chat.read_receipt(encode(wire))
    assert receipt.usage == chat.read_reply(encode(wire)).usage
    assert (receipt.id, receipt.model, receipt.finish) == (
        wire["id"],
        wire["model"],
        wire["choices"][0]["finish_reason"],
    )
    assert receipt.failed is None


# Streams


def direct_stream(text: str) -> dict[str, Any]:
    """A reader too simple to be wrong: lines, JSON, concatenation."""
    seen: dict[str, Any] = {"text": "", "thoughts": "", "calls": {}, "finish": None, "usage": None, "error": None}
    for line in text.splitlines():
        if not line.startswith("data:") or "[DONE]" in line:
            continue
        chunk = json.loads(line[5:])
        seen["error"] = chunk.get("error") or seen["error"]
        seen["usage"] = chunk.get("usage") or count(chunk, "x_groq", "usage") or seen["usage"]
        for choice in chunk.get("choices") or []:
            delta = choice["delta"]
            seen["text"] += delta.get("content") or ""
            seen["thoughts"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or []:
                whole = seen["calls"].setdefault(call["index"], {"arguments": ""})
                whole["id"] = call.get("id") or whole["id"]
                whole["name"] = call["function"].get("name") or whole["name"]
                whole["arguments"] += call["function"].get("arguments") or ""
            seen["finish"] = choice.get("finish_reason") or seen["finish"]
    seen["calls"] = [(one["id"], one["name"], json.loads(one["arguments"] or "{}")) for one in seen["calls"].values()]
    return seen


def recut(stream: bytes, seed: int) -> list[bytes]:
    dice = random.Random(seed)
    marks = sorted({0, len(stream), *(dice.randrange(len(stream)) for _ in range(min(200, len(stream) // 20)))})
    return [stream[start:end] for start, end in pairwise(marks)]


def translate(chunks: list[bytes]) -> tuple[bytes, bool]:
    """Read canonically and written back as chat."""
    reader = chat.StreamReader()
    writer = chat.StreamWriter("id-1", "m", 1, include_usage=True)
    out = [writer.write(event) for chunk in chunks for event in reader.feed(chunk)]
    out += [writer.write(event) for event in reader.close()]
    return b"".join([*out, writer.close()]), reader.complete


@pytest.mark.parametrize("exchange", **names(STREAMS))
@pytest.mark.parametrize("seed", [0, 1])
def test_streams_come_out_right_however_they_are_cut(exchange, seed):
    stream = exchange["response_text"].encode()
    direct = direct_stream(exchange["response_text"])
    out, complete = translate(recut(stream, seed))
    assert out == translate([stream])[0]
    got = direct_stream(out.decode())
    assert (got["text"], got["thoughts"], got["calls"]) == (direct["text"], direct["thoughts"], direct["calls"])
    if direct["error"]:
        assert got["error"]["message"] == direct["error"]["message"]
        assert not complete
        assert b"[DONE]" not in out
        return
    assert complete
    assert got["finish"] == ("tool_calls" if direct["finish"] == "stop" and direct["calls"] else direct["finish"])
    assert numbers_of(got["usage"]) == numbers_of(direct["usage"])
    lines = [line[6:] for line in out.decode().splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    parsed = [ChatCompletionChunk.model_validate(json.loads(line)) for line in lines]
    assert sum(bool(choice.delta.role) for one in parsed for choice in one.choices) == 1


@pytest.mark.parametrize("exchange", **names(STREAMS))
@pytest.mark.parametrize("strip_usage", [False, True])
def test_relayed_streams_pass_untouched_and_are_metered(exchange, strip_usage):
    stream = exchange["response_text"].encode()
    direct = direct_stream(exchange["response_text"])
    relay = chat.StreamRelay(strip_usage)
    out = b"".join(relay.feed(chunk) for chunk in recut(stream, 7)) + relay.close()
    if strip_usage and not direct["error"]:
        assert direct_stream(out.decode())["text"] == direct["text"]
        assert not any(chunk["choices"] == [] and chunk.get("usage") for chunk in chunks_of(out))
    elif not direct["error"]:
        assert out == stream
    size = sum(len(value.encode()) for value in (direct["text"], direct["thoughts"]))
    assert relay.output_bytes >= size
    assert relay.started == bool(direct["text"] or direct["thoughts"] or direct["calls"])
    assert (relay.failed is not None) == bool(direct["error"])
    if not direct["error"]:
        assert relay.complete
        assert relay.finish == direct["finish"]
        assert canonical_numbers(relay.usage) == numbers_of(direct["usage"])
        assert relay.model == chunks_of(stream)[0]["model"]


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    lines = [line for line in stream.decode().splitlines() if line.startswith("data:")]
    return [json.loads(line[5:]) for line in lines if "[DONE]" not in line]


# Requests


def normalised(request: dict[str, Any]) -> dict[str, Any]:
    """The changes of form that reading and writing may make; everything else must be equal.

    Nulls, empty lists, `n: 1` and `stream: false` are the defaults they spell out; the limit has one name; a stream
    asks for usage; Mistral's `any` is `required`, function tools and choices say their type, calls have no index; one
    text part is a string; leading system texts are one message; thoughts go back as the traits name them.
    """
    clean = drop_empty({**request, "messages": []})
    clean.pop("n", None) if request.get("n") == 1 else None
    if not clean.pop("stream", False):
        clean.pop("stream_options", None)
    else:
        clean.update(stream=True, stream_options={**request.get("stream_options", {}), "include_usage": True})
    if limit := clean.pop("max_completion_tokens", None) or clean.pop("max_tokens", None):
        clean["max_tokens"] = limit
    if clean.get("tool_choice") == "any":
        clean["tool_choice"] = "required"
    if isinstance(clean.get("tool_choice"), dict):
        clean["tool_choice"].setdefault("type", "function")
    for tool in clean.get("tools", []):
        tool.setdefault("type", "function")
        if "cache_control" in tool:
            tool["cache_control"].setdefault("ttl", "5m")
    messages = [normalised_message(message) for message in request["messages"]]
    while len(messages) > 1 and messages[0]["role"] == messages[1]["role"] == "system":
        both = [part for message in messages[:2] for part in as_parts(message["content"])]
        messages[:2] = [{"role": "system", "content": both}]
    clean["messages"] = messages
    return clean


def as_parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def normalised_message(message: dict[str, Any]) -> dict[str, Any]:
    clean = drop_empty(message)
    for call in clean.get("tool_calls", []):
        call.pop("index", None)
        call["type"] = "function"
    content = clean.get("content")
    if isinstance(content, list):
        thoughts = thoughts_of({"content": content})
        content = [part for part in content if part["type"] != "thinking"]
        for part in content:
            if "cache_control" in part:
                part["cache_control"].setdefault("ttl", "5m")
        if len(content) == 1 and content[0].keys() == {"type", "text"}:
            content = content[0]["text"]
        clean["content"] = content
        if thoughts:
            clean["reasoning_content"] = thoughts
    return clean


def drop_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: drop_empty(inner) for name, inner in value.items() if inner is not None and inner != []}
    return [drop_empty(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("exchange", **names(EXCHANGES))
def test_requests_come_back_equal(exchange):
    losses: list[str] = []
    conversation = chat.read_request(encode(exchange["request"]))
    written = json.loads(chat.write_request(conversation, losses, Traits(replay_reasoning="reasoning_content")))
    assert losses == []
    got = drop_empty(written)
    want = normalised(exchange["request"])
    assert {**got, "messages": None} == {**want, "messages": None}
    assert drop_empty(written["messages"]) == drop_empty(want["messages"])
    assert chat.read_request(encode(written)).turns == conversation.turns


@pytest.mark.parametrize("exchange", **names(EXCHANGES))
def test_requests_pass_through_unchanged(exchange):
    body = encode(exchange["request"])
    assert chat.patch_request(body, model=exchange["request"]["model"], traits=passing(exchange["request"])) is body
    seen = chat.peek(body)
    text = json.dumps(exchange["request"]["messages"])
    assert (seen.model, seen.stream) == (exchange["request"]["model"], bool(exchange["request"].get("stream")))
    assert seen.images == ('"image_url"' in text)
    assert seen.audio == ('"input_audio"' in text)
    assert seen.tools == bool(exchange["request"].get("tools"))


def passing(request: dict[str, Any]) -> Traits:
    """The traits of the model that was really asked."""
    name = "max_completion_tokens" if "max_completion_tokens" in request else "max_tokens"
    return Traits(max_tokens_field=name)


# Errors


@pytest.mark.parametrize("exchange", **names(ERRORS))
def test_errors_keep_what_the_provider_said(exchange):
    wire = exchange["response"]["error"]
    error = chat.read_error(exchange["status"], {}, encode(exchange["response"]))
    assert isinstance(error, UpstreamLimited if exchange["status"] == 429 else UpstreamRefused)
    assert error.status == exchange["status"]
    assert wire["message"] in error.message
    assert error.param == wire.get("param")
    if isinstance(wire.get("code"), str):
        assert error.code == wire["code"]
    assert (error.retry == "same") == (wire["code"] in ("tool_use_failed", 429))


# Embeddings

EMBEDDED = [one for one in ALL if one["uri"].endswith("/v1/embeddings")]
GEMINI_EMBEDDED = [one for one in ALL if one["uri"].endswith(":batchEmbedContents")]


@pytest.mark.parametrize("exchange", **names(EMBEDDED))
def test_embeddings(exchange):
    body = encode(exchange["request"])
    request = embeddings.read_request(body)
    assert request.inputs == exchange["request"]["input"]
    if exchange["status"] != 200:
        assert isinstance(embeddings.read_error(exchange["status"], {}, encode(exchange["response"])), ProviderError)
        return
    reply = embeddings.read_reply(encode(exchange["response"]))
    again = json.loads(embeddings.write_reply(reply, "base64"))
    assert [one["embedding"] for one in again["data"]] == [one["embedding"] for one in exchange["response"]["data"]]
    assert again["usage"]["total_tokens"] == exchange["response"]["usage"]["total_tokens"]
    floats = json.loads(embeddings.write_reply(reply, "float"))
    assert json.loads(embeddings.write_reply(embeddings.read_reply(encode(floats)), "base64")) == again


@pytest.mark.parametrize("exchange", **names(GEMINI_EMBEDDED))
def test_gemini_embeddings(exchange):
    asked = exchange["request"]["requests"]
    request = embeddings.EmbeddingRequest(
        "m",
        [one["content"]["parts"][0]["text"] for one in asked],
        dimensions=asked[0].get("outputDimensionality"),
        task=asked[0].get("taskType"),
    )
    assert json.loads(embeddings.write_gemini_request(asked[0]["model"], request, [])) == exchange["request"]
    reply = embeddings.read_gemini_reply(encode(exchange["response"]))
    assert reply.vectors == [one["values"] for one in exchange["response"]["embeddings"]]
