"""The matrix of `freehold conformance`: what becomes of each feature between a client's dialect and a provider's.

Nothing here says what a pair can do. A probe (conformance_probes.py) is sent the way a real request goes, through the
code that serves: the client's reader, the provider's writer with the traits of a real model; then what was written is
read back and compared. Answers go the other way, and signatures of thoughts go there and back.

    carried    what arrives is what was said, and nothing is reported lost
    emulated   it arrives by other means: a schema as a forced tool or in words, an effort as a budget, a refusal as text
    lost       it does not arrive; `names` is what the loss report calls it
    None       the dialect it comes from has no words for it
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from freehold.call.languages import CLIENT, PROVIDER
from freehold.call.profiles import traits
from freehold.cli.conformance_probes import ASKS, MARK, SAYS, Ask, Say, user
from freehold.dialects.conversation import Conversation, Losses, Reply, Text
from freehold.dialects.traits import Traits
from freehold.errors import FreeholdError

CLIENTS = ("chat", "responses", "messages", "gemini", "ollama")
MODELS = {
    "chat": ("openai", "gpt-5.1"),
    "responses": ("openai", "gpt-5.1"),
    "messages": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-2.5-pro"),
    "converse": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "cohere": ("cohere", "command-a-reasoning-08-2025"),
    "mistral": ("mistral", "mistral-medium-latest"),
    "ollama": ("ollama", "qwen3:8b"),
}
"""Provider and model whose traits stand for a dialect: what a feature becomes depends on the model, too."""

Outcome = Literal["carried", "emulated", "lost"]
Direction = Literal["request", "answer"]

_EVERYTHING = Traits(
    max_tokens_field="max_completion_tokens",
    top_k=True,
    thinking="effort",
    effort_none=True,
    replay_reasoning="reasoning_content",
    extras=("verbosity", "store", "prompt_cache_key", "safety_identifier", "service_tier"),
)
_CLIENT_TRAITS = {
    "messages": msgspec.structs.replace(_EVERYTHING, thinking="budget"),
    "gemini": msgspec.structs.replace(_EVERYTHING, thinking="budget"),
}
"""With these a dialect's writer says all it has words for."""


class Cell(Struct, frozen=True):
    """What becomes of one feature between two dialects."""

    client: str
    provider: str
    direction: Direction
    feature: str
    outcome: Outcome | None
    names: tuple[str, ...] = ()
    """What the loss report says, where something is lost or changed."""


def matrix() -> Iterator[Cell]:
    """Every cell, client by client."""
    for client in CLIENTS:
        for ask in ASKS:
            for provider in PROVIDER:
                yield asked(ask, client, provider)
        for say in SAYS:
            for provider in PROVIDER:
                yield said(say, client, provider)
        for provider in PROVIDER:
            yield replayed(client, provider)


def asked(ask: Ask, client: str, provider: str) -> Cell:
    """What a provider gets of a feature that a client asks for."""
    heard = _in_words_of(client, ask)
    if heard is None:
        return Cell(client, provider, "request", ask.name, None)
    conversation, body = heard
    if client == provider:
        return Cell(client, provider, "request", ask.name, *_patched(client, body))
    losses: Losses = []
    written = _write(provider, conversation, losses)
    new = tuple(dict.fromkeys(name for name in losses if name not in _usual(client, provider)))
    again = _read_back(provider, written)
    if again is not None and ask.see(again) == ask.see(conversation) and not new:
        return Cell(client, provider, "request", ask.name, "carried")
    if _marked(ask.marks, written, _write(provider, _without(client), [])):
        own = again is None and not new
        return Cell(client, provider, "request", ask.name, "carried" if own else "emulated", new)
    return Cell(client, provider, "request", ask.name, "lost", new)


def _in_words_of(client: str, ask: Ask) -> tuple[Conversation, bytes] | None:
    """The conversation as a client would send it, and those bytes; None where the dialect cannot say it."""
    meant = ask.make(client)
    meant.dialect = client
    try:
        body = PROVIDER[client].write_request(meant, [], _CLIENT_TRAITS.get(client, _EVERYTHING))
    except FreeholdError:
        return None
    conversation = _read_client(client, body)
    seen = ask.see(conversation)
    return (conversation, body) if seen and seen == ask.see(meant) else None


def _read_client(client: str, body: bytes) -> Conversation:
    if client == "gemini":
        read: Conversation = CLIENT[client].read_request(body, model="m")
    else:
        read = CLIENT[client].read_request(body)
    return read


def _write(provider: str, conversation: Conversation, losses: Losses) -> bytes:
    name, model = MODELS[provider]
    target = msgspec.structs.replace(conversation, model=model)
    written: bytes = PROVIDER[provider].write_request(target, losses, traits(name, model))
    return written


def _patched(dialect: str, body: bytes) -> tuple[Outcome, tuple[str, ...]]:
    """What a pass-through makes of a request: everything but the model must stay."""
    name, model = MODELS[dialect]
    losses: Losses = []
    out = CLIENT[dialect].patch_request(body, model=model, traits=traits(name, model), losses=losses)
    before, after = msgspec.json.decode(body), msgspec.json.decode(out)
    before.pop("model", None)
    after.pop("model", None)
    return ("carried" if before == after and not losses else "emulated"), tuple(losses)


def _without(client: str) -> Conversation:
    """The same request with no feature in it."""
    return msgspec.structs.replace(user(Text("Hello")), dialect=client)


def _usual(client: str, provider: str) -> Losses:
    """What is lost of any request of this pair."""
    losses: Losses = []
    _write(provider, _without(client), losses)
    return losses


def _marked(marks: tuple[str, ...], written: bytes, usual: bytes) -> bool:
    return any(mark.encode() in written and mark.encode() not in usual for mark in marks)


def _read_back(provider: str, written: bytes) -> Conversation | None:
    """What a provider understands; None for a dialect that nobody reads here (Converse)."""
    module = PROVIDER[provider]
    if not hasattr(module, "read_request"):
        return None
    if provider == "gemini":
        read: Conversation = module.read_request(written, model="m")
    else:
        read = module.read_request(written)
    return read


# Answers


def said(say: Say, client: str, provider: str) -> Cell:
    """What a client gets of a feature in a provider's answer."""
    answer = _answer_of(provider, say)
    if answer is None:
        return Cell(client, provider, "answer", say.name, None)
    if client == provider:
        return Cell(client, provider, "answer", say.name, "carried")
    losses: Losses = []
    try:
        shown = CLIENT[client].write_reply(answer, losses, 0)
        seen = say.see(PROVIDER[client].read_reply(shown))
    except FreeholdError:
        return Cell(client, provider, "answer", say.name, "lost", ("error",))
    names = tuple(dict.fromkeys(losses))
    if seen == say.see(answer):
        return Cell(client, provider, "answer", say.name, "carried")
    emulated = any(mark.encode() in shown for mark in say.marks)
    return Cell(client, provider, "answer", say.name, "emulated" if emulated else "lost", names)


def _answer_of(provider: str, say: Say) -> Reply | None:
    """The reply as the provider would say it, read; None where its dialect cannot."""
    module = PROVIDER[provider]
    meant = say.make(provider)
    try:
        if hasattr(module, "write_reply"):
            body = module.write_reply(meant, [], 0)
        else:
            body = CONVERSE_ANSWERS.get(say.name)
            if body is None:
                return None
        reply: Reply = module.read_reply(body)
    except FreeholdError:
        return None
    seen = say.see(reply)
    return reply if seen and (seen == say.see(meant) or provider == "converse") else None


def _converse(*content: Any, stop: str = "end_turn", **usage: int) -> bytes:
    counts = {"inputTokens": 500, "outputTokens": 90, "totalTokens": 590 + sum(usage.values()), **usage}
    return msgspec.json.encode(
        {
            "output": {"message": {"role": "assistant", "content": list(content) or [{"text": "Hello"}]}},
            "stopReason": stop,
            "usage": counts,
        }
    )


CONVERSE_ANSWERS = {
    "text": _converse({"text": MARK}),
    "thinking": _converse({"reasoningContent": {"reasoningText": {"text": MARK}}}, {"text": "Hello"}),
    "parallel tool calls": _converse(
        {"toolUse": {"toolUseId": "t1", "name": "look_up", "input": {"a": MARK}}},
        {"toolUse": {"toolUseId": "t2", "name": "other", "input": {}}},
        stop="tool_use",
    ),
    "citations": _converse(
        {
            "citationsContent": {
                "content": [{"text": "Hello"}],
                "citations": [{"title": "A page", "location": {"web": {"url": f"https://example.com/{MARK}.png"}}}],
            }
        }
    ),
    "server-side tool items": _converse(
        {"toolUse": {"toolUseId": "t1", "name": "web_search", "input": {"q": MARK}, "type": "server_tool_use"}},
        {"text": "Hello"},
    ),
    "finish: stop": _converse(),
    "finish: length": _converse(stop="max_tokens"),
    "finish: content filter": _converse(stop="guardrail_intervened"),
    "finish: paused turn": _converse(stop="pause_turn"),
    "usage: input": _converse(),
    "usage: output": _converse(),
    "usage: cache read": _converse(cacheReadInputTokens=300),
    "usage: cache write": _converse(cacheWriteInputTokens=117),
}
"""Converse answers, which nobody writes here, by feature."""


# Signatures of thoughts, there and back

SIGNED: dict[str, Any] = {
    "messages": {
        "id": "r1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": MARK},
            {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 20, "output_tokens": 10},
    },
    "responses": {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": MARK},
            {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30},
    },
    "gemini": {
        "responseId": "r1",
        "modelVersion": "m",
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [{"functionCall": {"name": "look_up", "args": {}}, "thoughtSignature": MARK}],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 10, "totalTokenCount": 30},
    },
    "converse": {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": MARK}}},
                    {"toolUse": {"toolUseId": "t1", "name": "look_up", "input": {}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 20, "outputTokens": 10, "totalTokens": 30},
    },
}
"""A signed thought before a tool call, as the providers that sign say it."""

SIGNATURE = "signature of thoughts, sent back"


def replayed(client: str, provider: str) -> Cell:
    """Whether a provider gets its signature back when a client answers a tool call."""
    raw = SIGNED.get(provider)
    if raw is None:
        return Cell(client, provider, "answer", SIGNATURE, None)
    if client == provider:
        return Cell(client, provider, "answer", SIGNATURE, "carried")
    reply = PROVIDER[provider].read_reply(msgspec.json.encode(raw))
    shown = msgspec.json.decode(CLIENT[client].write_reply(reply, [], 0))
    conversation = _read_client(client, msgspec.json.encode(next_request(client, shown)))
    losses: Losses = []
    arrived = MARK.encode() in _write(provider, conversation, losses)
    return Cell(client, provider, "answer", SIGNATURE, "carried" if arrived else "lost", tuple(losses))


def next_request(client: str, answer: Any) -> dict[str, Any]:
    """What a client sends after an answer with one tool call: the answer as it came, and the call's result."""
    hello: dict[str, Any] = {"role": "user", "content": "Hello"}
    match client:
        case "chat":
            message = answer["choices"][0]["message"]
            result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "found"}
            return {"model": "m", "messages": [hello, message, result]}
        case "responses":
            call = next(item for item in answer["output"] if item["type"] == "function_call")
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": "found"}
            return {"model": "m", "input": [hello, *answer["output"], output]}
        case "messages":
            use = next(block for block in answer["content"] if block["type"] == "tool_use")
            found = [{"type": "tool_result", "tool_use_id": use["id"], "content": "found"}]
            turns = [hello, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": found}]
            return {"model": "m", "max_tokens": 40_000, "messages": turns}
        case "gemini":
            content = answer["candidates"][0]["content"]
            call = next(part["functionCall"] for part in content["parts"] if "functionCall" in part)
            response = {**{key: call[key] for key in ("id", "name") if key in call}, "response": {"output": "found"}}
            asked = {"role": "user", "parts": [{"text": "Hello"}]}
            return {"contents": [asked, content, {"role": "user", "parts": [{"functionResponse": response}]}]}
    message = answer["message"]
    return {"model": "m", "messages": [hello, message, {"role": "tool", "tool_name": "look_up", "content": "found"}]}
