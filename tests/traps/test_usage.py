"""Traps 15 to 24: who counts which tokens where, and what that costs."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from replaying import target
from trap_streams import CHAT, MESSAGES, chunk
from trapping import asked, events, heard, sent, sse, streamed, told, whole

from freehold.call.languages import PROVIDER
from freehold.call.profiles import traits
from freehold.call.talk import Talk
from freehold.config.schema import Config, ModelFacts, Provider
from freehold.dialects import chat, messages, responses
from freehold.dialects.conversation import Usage
from freehold.dialects.traits import PLAIN
from freehold.record.prices import Pricer

SDKS = ("chat", "responses", "messages", "gemini")


def usage_of(dialect: str, answer: dict[str, Any]) -> Usage | None:
    found: Usage | None = PROVIDER[dialect].read_reply(json.dumps(answer).encode()).usage
    return found


def completion(usage: Any, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "c", "model": "m", "created": 1, "choices": [choice], "usage": usage} | fields


@pytest.mark.parametrize("wanted", [True, False])
def test_15_usage_is_always_asked_for_and_shown_only_on_request(wanted: bool) -> None:
    """A chat stream has usage only on request, in a chunk of its own, with null in all others."""
    body = asked("chat", True, stream_options={"include_usage": wanted})
    if not wanted:
        del body["stream_options"]
    for provider in ("chat", "responses", "messages"):
        received, _ = sent("chat", body, provider)
        assert received.get("stream_options") == ({"include_usage": True} if provider == "chat" else None)
    for dialect, raw in (("chat", sse(*CHAT, done=True)), ("messages", sse(*MESSAGES, named=True))):
        shown = events(streamed("chat", dialect, raw, body=body))
        extra = [one for one in shown if not one["choices"]]
        assert len(extra) == wanted
        assert all(one.get("usage") is None for one in shown if one["choices"])
        assert [one["usage"]["completion_tokens"] for one in extra] == [4] * wanted


def test_15_a_stream_cut_before_its_usage_has_none() -> None:
    """Nothing is invented by the reader; the recorder estimates and marks it (test_live.py)."""
    raw = json.dumps(asked("chat", True)).encode()
    relay = Talk("messages", raw, chat.peek(raw)).prepare(target("x", "chat")).relay()
    relay.feed(sse(*CHAT[:3]))
    relay.close()
    assert (relay.usage, relay.complete, relay.output_bytes > 0) == (None, False, True)


def test_16_stream_options_are_left_out_where_they_are_refused() -> None:
    """Some hosts answer 400 to the option that asks for usage."""
    refusing = replace(PLAIN, stream_usage=False)
    assert not traits("mistral", "m").stream_usage
    for body, lost in ((asked("chat", True), ["stream_options"]), (asked("messages", True), [])):
        losses: list[str] = []
        if lost:
            raw = json.dumps(body).encode()
            written = chat.patch_request(raw, model="m", traits=refusing, stream_usage=True, losses=losses)
        else:
            written = chat.write_request(messages.read_request(json.dumps(body).encode()), losses, refusing)
        assert b"stream_options" not in written
        assert losses == lost


ANTHROPIC = {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "output_tokens": 4}


@pytest.mark.parametrize("client", SDKS)
def test_17_anthropics_input_excludes_its_cache(client: str) -> None:
    """Each class of input stands alone there; OpenAI's prompt is the sum. Later counts replace earlier ones."""
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    answer |= {"content": [{"type": "text", "text": "Hi"}], "usage": ANTHROPIC}
    split = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10}
    answer["usage"] = ANTHROPIC | {"cache_creation": split}
    assert usage_of("messages", answer) == Usage(10, 200, 20, 10, 4)
    seen = told(client, whole(client, "messages", answer))
    assert (seen.input, seen.cached, seen.output) == (240, 200, 4)
    start = json.loads(json.dumps(MESSAGES))
    start[0]["message"]["usage"] = ANTHROPIC | {"output_tokens": 1}
    start[4]["usage"] = {"input_tokens": 12, "cache_read_input_tokens": 200, "output_tokens": 4}
    seen = heard(client, "messages", sse(*start, named=True))
    assert (seen.input, seen.cached, seen.output) == (242, 200, 4)


def test_18_openais_details_are_part_of_the_sums() -> None:
    """Cached tokens are prompt tokens, reasoning tokens are completion tokens: priced once."""
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    usage |= {"prompt_tokens_details": {"cached_tokens": 80}, "completion_tokens_details": {"reasoning_tokens": 30}}
    assert usage_of("chat", completion(usage)) == Usage(20, 80, 0, 0, 50, 30)
    wire = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150}
    wire |= {"input_tokens_details": {"cached_tokens": 80}, "output_tokens_details": {"reasoning_tokens": 30}}
    reply = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [], "usage": wire}
    assert usage_of("responses", reply) == Usage(20, 80, 0, 0, 50, 30)


def test_19_reasoning_that_a_host_counts_beside_the_completion() -> None:
    """xAI does; only its total shows it."""
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 30}}
    usage |= {"prompt_tokens_details": {"cached_tokens": 60, "text_tokens": 100}}
    assert usage_of("chat", completion(usage)) == Usage(40, 60, 0, 0, 50, 30)


@pytest.mark.parametrize("client", SDKS)
def test_20_geminis_thoughts_are_output_beside_the_candidates(client: str) -> None:
    """The cached part is in the prompt, results of server tools beside it."""
    usage = {"promptTokenCount": 100, "cachedContentTokenCount": 60, "toolUsePromptTokenCount": 7}
    usage |= {"candidatesTokenCount": 20, "thoughtsTokenCount": 30, "totalTokenCount": 157}
    answer = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "usageMetadata": usage}
    assert usage_of("gemini", answer) == Usage(47, 60, 0, 0, 50, 30)
    seen = told(client, whole(client, "gemini", answer | {"modelVersion": "m", "responseId": "r"}))
    assert (seen.input, seen.cached, seen.output, seen.thought) == (107, 60, 50, 30)


def test_21_everybody_has_another_name_for_the_same_count() -> None:
    """DeepSeek, Mistral, Groq and Cohere, each in its own field."""
    plain = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    deepseek = plain | {"prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40}
    assert usage_of("chat", completion(deepseek)) == Usage(40, 60, 0, 0, 5)
    assert usage_of("mistral", completion(plain | {"num_cached_tokens": 60})) == Usage(40, 60, 0, 0, 5)
    groq = sse(*CHAT[:3], chunk({}, "stop", x_groq={"id": "r", "usage": plain}), done=True)
    assert heard("messages", "chat", groq)[3:5] == (100, 5)
    cohere = {
        "id": "c",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
        "usage": {
            "billed_units": {"input_tokens": 9, "output_tokens": 5},
            "tokens": {"input_tokens": 100, "output_tokens": 5},
            "cached_tokens": 60,
        },
    }
    assert usage_of("cohere", cohere) == Usage(40, 60, 0, 0, 5)


@pytest.mark.parametrize("ending", ["incomplete", "failed"])
def test_22_an_answer_that_stops_short_is_billed_too(ending: str) -> None:
    """The last event of an unfinished response has its usage."""
    response = {"id": "resp_1", "object": "response", "status": ending, "model": "m", "output": []}
    response["usage"] = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    response["incomplete_details"] = {"reason": "max_output_tokens"} if ending == "incomplete" else None
    response["error"] = {"code": "server_error", "message": "Oops"} if ending == "failed" else None
    raw = sse({"type": f"response.{ending}", "sequence_number": 0, "response": response}, named=True)
    relay = responses.StreamRelay(False)
    relay.feed(raw)
    assert relay.usage == Usage(9, output=4)
    body = json.dumps(asked("chat", True)).encode()
    translated = Talk("chat", body, chat.peek(body)).prepare(target("x", "responses")).relay()
    translated.feed(raw)
    assert translated.usage == Usage(9, output=4)


def test_23_a_long_prompt_changes_the_price_of_every_token() -> None:
    """Steps, times of day and dates are part of a price: the whole usage and the moment are asked for."""
    pricer = Pricer(Config())
    rates = pricer.rates("anthropic", "claude-sonnet-4-5")
    assert rates is not None
    short, long = Usage(200_000, output=1000), Usage(200_001, output=1000)
    step = Pricer.cost(long, rates) or 0
    assert step > 1.5 * (Pricer.cost(short, rates) or 0)


def test_24_a_model_without_a_price_is_unpriced_and_not_free() -> None:
    """Zero would be a lie in every sum; what the owner declares is a price."""
    assert Pricer(Config()).rates("openai", "a-model-nobody-has-heard-of") is None
    half = Provider(models={"m": ModelFacts(input=2.0)})
    rates = Pricer(Config(providers={"mine": half})).rates("mine", "m")
    assert rates is not None
    assert Pricer.cost(Usage(1000), rates) == 2_000_000
    assert Pricer.cost(Usage(1000, output=1), rates) is None
