"""Traps 39 to 47: thoughts, the signatures that must come back, and how much of them there shall be."""

import json
from typing import Any

import pytest
from trap_streams import chunk
from trapping import asked, heard, sent, sse, told, whole

from freehold.dialects import chat, gemini
from freehold.dialects.tool_calls import SIGNATURE_LIMIT

SDKS = ("chat", "responses", "messages", "gemini")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SIGNED = [
    {"type": "thinking", "thinking": "Hmm.", "signature": "c2lnMQ=="},
    {"type": "thinking", "thinking": "", "signature": "c2lnMg=="},
    {"type": "redacted_thinking", "data": "cmVk"},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
]
USAGE = {"input_tokens": 1, "output_tokens": 1}


def replayed(
    client: str, answer: Any, dialect: str, model: str = "m", **extra: Any
) -> tuple[dict[str, Any], list[str]]:
    """What a provider gets when a client sends back the answer it was given, with the result of its first call."""
    ask = asked(client, **extra)
    match client:
        case "chat":
            message = answer["choices"][0]["message"]
            result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "42"}
            ask["messages"] += [message, result]
        case "responses":
            call = next(item for item in answer["output"] if item["type"] == "function_call")
            result = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
            ask["input"] = [{"role": "user", "content": "hi"}, *answer["output"], result]
        case "messages":
            call = next(block for block in answer["content"] if block["type"] == "tool_use")
            result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "42"}]}
            ask["messages"] += [{"role": "assistant", "content": answer["content"]}, result]
        case "gemini":
            content = answer["candidates"][0]["content"]
            call = next(part["functionCall"] for part in content["parts"] if "functionCall" in part)
            made = {"id": call.get("id"), "name": "f", "response": {"output": "42"}}
            ask["contents"] += [content, {"role": "user", "parts": [{"functionResponse": made}]}]
    return sent(client, ask, dialect, model)


@pytest.mark.parametrize("client", SDKS)
def test_39_signed_thoughts_come_back_unchanged_and_in_order(client: str) -> None:
    """Anthropic refuses a tool loop whose thoughts are missing, reordered or altered, the empty ones too."""
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    shown = whole(client, "messages", answer | {"content": SIGNED, "usage": USAGE})
    body, losses = replayed(client, shown, "messages")
    assert body["messages"][1]["content"] == SIGNED
    assert losses == []


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-8"])
def test_40_thinking_gets_the_room_and_the_temperature_it_demands(model: str) -> None:
    """Anthropic: max_tokens over the budget, temperature 1, no forced tool, no top_k."""
    request = asked("chat", reasoning_effort="high", max_tokens=2000, temperature=0.3, top_k=5)
    body, losses = sent("chat", request, "messages", model)
    assert body["max_tokens"] == 2000
    assert not {"temperature", "top_k"} & body.keys()
    if body["thinking"]["type"] == "enabled":
        assert 1024 <= body["thinking"]["budget_tokens"] < 2000
    assert {"temperature", "top_k"} <= set(losses)
    body, losses = sent("chat", request | {"max_tokens": 100}, "messages", "claude-sonnet-4-5")
    assert "thinking" not in body
    assert losses == ["reasoning_effort"]
    body, _ = sent("chat", asked("chat", reasoning_effort="high"), "messages", "claude-sonnet-4-5")
    assert body["max_tokens"] > body["thinking"]["budget_tokens"]


PARALLEL = [
    {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "QUFBQQ=="},
    {"functionCall": {"name": "f", "args": {"a": 2}}},
]


@pytest.mark.parametrize("client", SDKS)
def test_41_geminis_signature_stands_on_the_first_call_and_comes_back_there(client: str) -> None:
    """The others of a parallel set have none; where a client lost it, Google's documented stand-in is sent."""
    shown = whole(client, "gemini", candidates(PARALLEL))
    body, _ = replayed(client, shown, "gemini", "gemini-3-pro")
    calls = [part for part in body["contents"][1]["parts"] if "functionCall" in part]
    assert [call.get("thoughtSignature") for call in calls] == ["QUFBQQ==", None]
    big = candidates([PARALLEL[0] | {"thoughtSignature": "A" * (SIGNATURE_LIMIT + 4)}])
    body, _ = replayed("messages", whole("messages", "gemini", big), "gemini", "gemini-3-pro")
    found = body["contents"][1]["parts"][0]["thoughtSignature"]
    assert found == "skip_thought_signature_validator"


def candidates(parts: list[dict[str, Any]]) -> dict[str, Any]:
    content = {"role": "model", "parts": parts}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "modelVersion": "m", "responseId": "r"}


REASONED = [
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hmm."}],
        "encrypted_content": "X",
    },
    {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"},
]
REPLY = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": REASONED}


@pytest.mark.parametrize("client", SDKS)
def test_42_encrypted_reasoning_goes_back_to_openai_and_to_nobody_else(client: str) -> None:
    """It is bound to whoever made it: another provider would refuse it, so it is left out and reported."""
    shown = whole(client, "responses", REPLY)
    body, _ = replayed(client, shown, "responses")
    items = [item for item in body["input"] if item.get("type") == "reasoning"]
    assert [item["encrypted_content"] for item in items] == ["X"]
    for dialect in ("messages", "gemini", "chat"):
        if dialect != client:
            body, losses = replayed(client, shown, dialect)
            assert '"X"' not in json.dumps(body)
            assert any(word in name for name in losses for word in ("reasoning", "thinking", "thought"))


@pytest.mark.parametrize("client", SDKS)
def test_43_both_ids_of_a_call_and_the_thought_before_it(client: str) -> None:
    """OpenAI wants a reasoning item right before the call it led to, and the call by its call_id."""
    shown = whole(client, "responses", REPLY)
    body, _ = replayed(client, shown, "responses")
    kinds = [item.get("type") for item in body["input"] if item.get("role") is None]
    assert kinds == ["reasoning", "function_call", "function_call_output"]
    thought, call, output = body["input"][1:]
    assert thought.get("id", "rs_1") == "rs_1"
    assert call["call_id"] == output["call_id"] == "call_1"
    if client == "responses":
        assert call["id"] == "fc_1"


def test_44_deepseek_wants_its_thoughts_back_where_others_refuse_them() -> None:
    """On turns with tool calls it answers 400 without them; OpenAI answers 400 to the field."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "reasoning_content": "Hmm.", "tool_calls": [call]}
    turns = [{"role": "user", "content": "hi"}, said, {"role": "tool", "tool_call_id": "a", "content": "42"}]
    request = asked("chat", messages=turns, tools=[TOOL])
    body, losses = sent("chat", request, "chat", "deepseek-v4", provider="deepseek")
    assert (body["messages"][1]["reasoning_content"], losses) == ("Hmm.", [])
    body, losses = sent("chat", request, "chat", "gpt-4.1", provider="openai")
    assert ("reasoning_content" in body["messages"][1], losses) == (False, ["reasoning_content"])
    thought = {"type": "thinking", "thinking": "Hmm.", "signature": ""}
    used = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [thought, used]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "42"}]},
    ]
    body, _ = sent("messages", asked("messages", messages=turns), "chat", "deepseek-v4", provider="deepseek")
    assert body["messages"][1]["reasoning_content"] == "Hmm."


DELTAS: dict[str, list[dict[str, Any]]] = {
    "reasoning_content": [{"reasoning_content": "Hm"}, {"reasoning_content": "m."}],
    "reasoning": [{"reasoning": "Hm"}, {"reasoning": "m."}],
    "details": [
        {"reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]}
        for text in ("Hm", "m.")
    ],
    "parts": [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}]}],
}


@pytest.mark.parametrize("form", DELTAS)
@pytest.mark.parametrize("client", ["responses", "messages", "gemini"])
def test_45_thoughts_under_every_name_they_go_by(client: str, form: str) -> None:
    """One field of the canonical conversation, whatever a host calls it."""
    raw = sse(*(chunk(delta) for delta in DELTAS[form]), chunk({"content": "Yes."}), chunk({}, "stop"), done=True)
    seen = heard(client, "chat", raw)
    assert (seen.reasoning, seen.text) == ("Hmm.", "Yes.")


@pytest.mark.parametrize("opened", ["<think>", ""])
def test_45_thoughts_in_tags(opened: str) -> None:
    """Open models write them into the text, and a chat template may have opened the tag before the answer began."""
    message = {"role": "assistant", "content": f"{opened}\nHmm.\n</think>\n\nYes."}
    answer = {"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    reply = chat.read_reply(json.dumps(answer).encode(), split_think=True)
    assert [type(part).__name__ for part in reply.choices[0].parts] == ["Thinking", "Text"]
    if opened:
        reader = chat.StreamReader(split_think=True)
        pieces = [chunk({"content": text}) for text in ("<th", "ink>Hmm.</th", "ink>Yes.")]
        read = reader.feed(sse(*pieces, chunk({}, "stop"), done=True)) + reader.close()
        thoughts = "".join(getattr(event, "text", "") for event in read if type(event).__name__ == "ThinkingDelta")
        assert thoughts == "Hmm."


@pytest.mark.parametrize("client", ["responses", "messages", "gemini"])
def test_46_a_last_chunk_that_repeats_all_thoughts_adds_nothing(client: str) -> None:
    """xAI sends them once more with the finish."""
    last = chunk({"reasoning_content": "Hmm."}, "stop")
    raw = sse(chunk({"reasoning_content": "Hm"}), chunk({"reasoning_content": "m."}), chunk({"content": "Yes."}), last)
    assert heard(client, "chat", raw + b"data: [DONE]\n\n").reasoning == "Hmm."


MODELS = [
    ("chat", "gpt-5.1", "openai", lambda body: body["reasoning_effort"], "high"),
    ("responses", "gpt-5.1", "openai", lambda body: body["reasoning"]["effort"], "high"),
    ("messages", "claude-sonnet-4-5", "anthropic", lambda body: body["thinking"]["budget_tokens"], 24576),
    ("messages", "claude-opus-4-8", "anthropic", lambda body: body["output_config"]["effort"], "high"),
    ("gemini", "gemini-2.5-pro", "gemini", lambda b: b["generationConfig"]["thinkingConfig"]["thinkingBudget"], 24576),
    ("gemini", "gemini-3-pro", "gemini", lambda b: b["generationConfig"]["thinkingConfig"]["thinkingLevel"], "high"),
]


@pytest.mark.parametrize(("dialect", "model", "provider", "find", "wanted"), MODELS)
def test_47_one_scale_of_effort_by_model(dialect: str, model: str, provider: str, find: Any, wanted: Any) -> None:
    """A word, a budget or a level: each model has one of them, and a client may have said another."""
    said: dict[str, dict[str, Any]] = {
        "chat": {"reasoning_effort": "high"},
        "responses": {"reasoning": {"effort": "high"}},
        "messages": {"thinking": {"type": "enabled", "budget_tokens": 24576}, "max_tokens": 30000},
        "gemini": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 24576}}},
    }
    for client, extra in said.items():
        if client == dialect:
            continue
        body, _ = sent(client, asked(client, **extra), dialect, model, provider=provider)
        assert find(body) == wanted, client


def test_47_no_thinking_is_said_where_it_can_be() -> None:
    """`none` switches it off; a model that always thinks is asked for little, and the client is told."""
    body, losses = sent("chat", asked("chat", reasoning_effort="none"), "gemini", "gemini-2.5-flash")
    assert (body["generationConfig"]["thinkingConfig"], losses) == ({"thinkingBudget": 0}, [])
    body, losses = sent("chat", asked("chat", reasoning_effort="none"), "gemini", "gemini-3-pro")
    assert (body["generationConfig"]["thinkingConfig"], losses) == ({"thinkingLevel": "low"}, ["reasoning_effort"])
    assert told("chat", whole("chat", "gemini", candidates([{"text": "Yes."}]))).reasoning == ""
    assert gemini.read_reply(json.dumps(candidates([{"text": "Hmm.", "thought": True}])).encode()).choices
