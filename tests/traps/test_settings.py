"""Traps 48 to 59: what a model may be asked, how an answer ends, and what content may be."""

import json
import struct
from base64 import b64encode
from typing import Any

import pytest
from trapping import PNG, PROVIDERS, asked, sent, told, whole

from freehold.call.breaker import Breaker
from freehold.call.operation import Prepared
from freehold.call.operations_text import Embed
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.config.schema import Timeouts
from freehold.decide import Deployment
from freehold.dialects import embeddings, messages
from freehold.dialects.conversation import Text
from freehold.dialects.traits import PLAIN
from freehold.errors import LossRefused

SDKS = ("chat", "responses", "messages", "gemini")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def test_48_models_that_reason_take_other_fields() -> None:
    """OpenAI's refuse max_tokens, system and all sampling. A client that sends them is served, and told."""
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    request = asked("chat", messages=turns, max_tokens=9, temperature=0.2, presence_penalty=1, logprobs=True)
    body, losses = sent("chat", request, "chat", "o3")
    assert body["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature", "presence_penalty", "logprobs"} & body.keys()
    assert sorted(losses) == ["logprobs", "presence_penalty", "temperature"]
    body, losses = sent("messages", asked("messages", system="s", temperature=0.2), "chat", "gpt-5")
    assert (body["max_completion_tokens"], body["messages"][0]["role"], losses) == (100, "developer", ["temperature"])
    with pytest.raises(LossRefused) as refused:
        sent("chat", request, "chat", "o3", strict=True)
    assert refused.value.param in ("logprobs", "presence_penalty", "temperature")


def test_49_a_limit_where_one_is_demanded_and_no_stop_that_is_refused() -> None:
    """Anthropic demands max_tokens and refuses blank stops; how many stops are taken differs."""
    body, losses = sent("chat", asked("chat", stop="END"), "messages")
    assert (body["max_tokens"] > 1000, body["stop_sequences"], losses) == (True, ["END"], [])
    body, losses = sent("chat", asked("chat", stop=["END", " ", ""]), "messages")
    assert (body["stop_sequences"], losses) == (["END"], ["stop"])
    many = [f"s{number}" for number in range(9)]
    request = asked("messages", stop_sequences=many)
    assert sent("messages", request, "chat")[0]["stop"] == many[:4]
    assert sent("messages", request, "gemini", "gemini-2.5-pro")[0]["generationConfig"]["stopSequences"] == many[:5]
    assert sent("messages", request, "chat")[1] == ["stop_sequences"]
    assert sent("messages", request, "messages", "claude-sonnet-4-5")[1] == []


MODELS = {"messages": "claude-sonnet-4-5", "converse": "anthropic.claude-sonnet-4-5-20250929-v1:0"}


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_50_settings_are_carried_limited_or_reported(dialect: str) -> None:
    """Ranges differ and so does what exists: nothing is sent that is refused, nothing vanishes in silence."""
    settings = {"temperature": 1.8, "seed": 7, "logit_bias": {"1": 5}, "n": 3, "top_k": 4, "frequency_penalty": 0.5}
    host = {"chat": "openrouter"}.get(dialect, "")
    body, losses = sent("chat", asked("chat", **settings), dialect, MODELS.get(dialect, "m"), provider=host)
    text = json.dumps(body).lower().replace("_", "")
    spelt = {"seed": "seed", "logit_bias": "logitbias", "n": '"n":', "top_k": "topk", "frequency_penalty": "frequency"}
    other = {"n": ("candidatecount",), "top_k": ('"k"',), "seed": ("randomseed",)}
    for name, wire in spelt.items():
        carried = wire in text or any(word in text for word in other.get(name, ()))
        assert carried != (name in losses), (name, text, losses)
    highest = {"messages": 1.0, "mistral": 1.5, "converse": 1.0}.get(dialect)
    if highest is not None:
        assert "temperature" in losses
        found = body.get("temperature", body.get("inferenceConfig", {}).get("temperature"))
        assert found == highest


STOP_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "pause_turn": "length",
    "compaction": "length",
}


@pytest.mark.parametrize("reason", STOP_REASONS)
def test_51_anthropics_endings(reason: str) -> None:
    """A paused turn is not over, and must not look it: in other dialects it was cut short."""
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": reason}
    answer |= {"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 1, "output_tokens": 1}}
    for client in ("chat", "gemini"):
        assert told(client, whole(client, "messages", answer)).finish == STOP_REASONS[reason], client
    assert whole("messages", "messages", answer)["stop_reason"] == reason


ENDINGS = {
    "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter", "SPII": "content_filter", "IMAGE_SAFETY": "content_filter",
    "RECITATION": "content_filter", "MALFORMED_FUNCTION_CALL": "error", "UNEXPECTED_TOOL_CALL": "error",
}  # fmt: skip


@pytest.mark.parametrize("reason", ENDINGS)
def test_52_geminis_endings(reason: str) -> None:
    """A filter is a filter; a call the model could not write is an error."""
    content = {"role": "model", "parts": [{"text": "Hi"}]}
    answer = {"candidates": [{"content": content, "finishReason": reason}], "modelVersion": "m", "responseId": "r"}
    assert told("chat", whole("chat", "gemini", answer)).finish == ENDINGS[reason]
    if ENDINGS[reason] != "error":
        assert told("messages", whole("messages", "gemini", answer)).finish == ENDINGS[reason]


@pytest.mark.parametrize("client", SDKS)
def test_52_a_prompt_that_gemini_refused(client: str) -> None:
    """No candidate at all: an answer that was filtered, not an empty one."""
    answer = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "m", "responseId": "r"}
    seen = told(client, whole(client, "gemini", answer))
    assert (seen.finish, seen.calls) == ("content_filter", [])


def test_53_a_refusal_is_no_content() -> None:
    """OpenAI has a place of its own for it, on both of its dialects."""
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    answer = {"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    part = whole("responses", "chat", answer)["output"][0]["content"][0]
    assert (part["type"], part["refusal"]) == ("refusal", "I will not.")
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    said["content"] = [{"type": "refusal", "refusal": "I will not."}]
    reply = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [said]}
    back = whole("chat", "responses", reply)["choices"][0]["message"]
    assert (back["content"], back["refusal"]) == (None, "I will not.")
    assert whole("messages", "chat", answer)["stop_reason"] == "refusal"


def test_54_one_system_prompt_turns_that_alternate_and_no_empty_text() -> None:
    """OpenAI allows any order; Anthropic and Gemini insist, and newer Claudes refuse an answer begun for them."""
    turns = [
        {"role": "system", "content": "one"},
        {"role": "user", "content": "hi"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "there"},
        {"role": "system", "content": "two"},
        {"role": "assistant", "content": "{"},
    ]
    body, losses = sent("chat", asked("chat", messages=turns), "messages", "claude-sonnet-4-5")
    assert [block["text"] for block in body["system"]] == ["one", "two"]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["hi", "there"]
    assert [name.rpartition(".")[2] for name in losses] == ["role"]
    body, losses = sent("chat", asked("chat", messages=turns), "messages", "claude-opus-4-8")
    assert body["messages"][-1]["role"] == "user"
    assert any(name.endswith("prefill") for name in losses)
    body, _ = sent("chat", asked("chat", messages=turns[1:]), "gemini")
    assert [content["role"] for content in body["contents"]] == ["user", "model"]


def test_55_content_may_be_a_string_or_a_list() -> None:
    """Mistral answers with a list, thoughts among its parts; clients of others expect a string."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}, {"type": "text", "text": "Yes."}]
    message = {"role": "assistant", "content": parts}
    answer = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    for client in SDKS:
        seen = told(client, whole(client, "mistral", answer))
        assert (seen.text, seen.reasoning) == ("Yes.", "Hmm.")
    assert whole("chat", "mistral", answer)["choices"][0]["message"]["content"] == "Yes."


def test_56_images_in_the_form_that_each_provider_takes() -> None:
    """URL, base64 or the id of a file; `detail` is OpenAI's. Fetching has a guard (tests/call/test_fetch_url.py)."""

    def request(url: str, **more: str) -> dict[str, Any]:
        content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url, **more}}]
        return asked("chat", messages=[{"role": "user", "content": content}])

    data = f"data:image/png;base64,{PNG}"
    for dialect in PROVIDERS:
        body, losses = sent("chat", request(data), dialect)
        assert PNG in json.dumps(body)
        assert losses == []
    url = "https://example.com/a.png"
    assert sent("chat", request(url), "messages")[0]["messages"][0]["content"][1]["source"]["type"] == "url"
    body, losses = sent("chat", request(data, detail="high"), "messages")
    assert [name.rpartition("image.")[2] for name in losses] == ["detail"]
    assert sent("chat", request(data, detail="high"), "responses")[0]["input"][0]["content"][1]["detail"] == "high"
    source = {"type": "file", "file_id": "file_1"}
    turns = [{"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image", "source": source}]}]
    body, losses = sent("messages", asked("messages", messages=turns), "chat")
    assert "file_1" not in json.dumps(body)
    assert [name.rpartition(".")[2] for name in losses] == ["image"]


def test_57_cache_breakpoints_are_few_and_bytes_are_stable() -> None:
    """Four at most, never on a thought; equal conversations are equal bytes, or no cache is ever hit."""
    mark = {"cache_control": {"type": "ephemeral"}}
    blocks = [{"type": "text", "text": f"t{number}", **mark} for number in range(6)]
    turns = [{"role": "user", "content": blocks}]
    body, losses = sent("chat", asked("chat", messages=turns), "messages")
    marked = [block["text"] for block in body["messages"][0]["content"] if "cache_control" in block]
    assert (marked, losses) == (["t0", "t3", "t4", "t5"], ["cache_control"])
    anthropic = asked("messages", system=[{"type": "text", "text": "s", **mark}])
    assert sent("messages", anthropic, "converse", "anthropic.claude-sonnet-4-5")[0]["system"][1] == {
        "cachePoint": {"type": "default"}
    }
    assert sent("messages", anthropic, "chat")[1] == ["cache_control"]
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"b": {}, "a": {}}}}
    for dialect in PROVIDERS:
        request = asked("messages", tools=[tool], system="s")
        first, again = (json.dumps(sent("messages", request, dialect)[0]) for _ in range(2))
        assert first == again
        shuffled = dict(reversed(request.items()))
        if dialect != "messages":
            assert json.dumps(sent("messages", shuffled, dialect)[0]) == first


def test_58_structured_output_by_each_providers_own_means() -> None:
    """Natively where that exists; else a forced tool, or JSON mode and words, and the client is told."""
    request = asked("chat", response_format=FORMAT)
    body, losses = sent("chat", request, "messages", "claude-sonnet-4-5")
    assert (body["output_config"]["format"]["type"], losses) == ("json_schema", [])
    body, _ = sent("chat", request, "messages", "claude-3-5-haiku-latest")
    assert body["tool_choice"] == {"type": "tool", "name": "n"}
    assert "responseJsonSchema" in sent("chat", request, "gemini")[0]["generationConfig"]
    assert sent("chat", request, "responses")[0]["text"]["format"]["type"] == "json_schema"
    assert sent("chat", request, "ollama")[0]["format"] == SCHEMA
    body, losses = sent("chat", request, "chat", "llama-3.3-70b-versatile", provider="groq")
    assert (body["response_format"], losses) == ({"type": "json_object"}, ["response_format"])
    used = {"type": "tool_use", "id": "toolu_1", "name": "n", "input": {"a": 1}}
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    answer |= {"content": [used], "usage": {"input_tokens": 1, "output_tokens": 1}}
    choice = messages.read_reply(json.dumps(answer).encode(), json_tool="n").choices[0]
    assert (choice.finish, choice.parts) == ("stop", [Text('{"a": 1}')])


def embed(provider: str, inputs: Any) -> Prepared:
    """A request of OpenAI's SDK, which asks for base64, as a provider gets it."""
    body = json.dumps({"model": "m", "input": inputs, "encoding_format": "base64"}).encode()
    pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1)
    address = Address(pool, {"embeddings": "/x"}, [])
    place = Target(Deployment(f"{provider}/m", provider, "m", provider), address, PLAIN, Timeouts(), Breaker(5, 1.0))
    return Embed(body, embeddings.peek(body)).prepare(place)


def test_59_vectors_in_the_form_that_was_asked_for_and_in_calls_that_are_taken() -> None:
    """Others refuse base64 or do not know it; Gemini takes a hundred inputs a call."""
    packed = b64encode(struct.pack("<2f", 0.5, -1.25)).decode()
    vector = {"data": [{"index": 0, "embedding": [0.5, -1.25]}], "model": "m", "usage": {"total_tokens": 1}}
    for provider in ("voyage", "jina", "mistral"):
        prepared = embed(provider, "a")
        assert json.loads(prepared.read(json.dumps(vector).encode())[0])["data"][0]["embedding"] == packed
    prepared = embed("gemini", ["a"] * 150)
    assert [len(json.loads(body)["requests"]) for body in (prepared.body, *prepared.more)] == [100, 50]
    for size in (100, 50):
        answer = json.dumps({"embeddings": [{"values": [0.5, -1.25]}] * size}).encode()
        if size == 100:
            prepared.keep(answer)
    data = json.loads(prepared.read(answer)[0])["data"]
    assert [one["index"] for one in data] == list(range(150))
    assert {one["embedding"] for one in data} == {packed}
