"""The matrix of `freehold conformance`: what becomes of each feature between a client's dialect and a provider's.

Nothing here says what a pair can do. A probe (conformance_probes.py) is sent the way a real request goes, through the
code that serves: the client's reader, the provider's writer with the traits of a real model; then what was written is
read back and compared. Answers go the other way, and signatures of thoughts go there and back.

    carried    what arrives is what was said, and nothing is reported lost
    emulated   it arrives by other means: a schema as a forced tool or in words, an effort as a budget, a refusal as a
               text; or the result is the same without it
    lost       it does not arrive; `names` is what the loss report calls it
    None       the dialect it comes from has no words for it
"""

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from freehold.call.fetch_url import Fetched, UrlLimits
from freehold.call.inline import FETCHED, inline, urls
from freehold.call.languages import CLIENT, PROVIDER
from freehold.call.profiles import traits
from freehold.cli.conformance_answers import SAYS, Say
from freehold.cli.conformance_probes import ASKS, PDF, PNG, Ask, parts_of, user
from freehold.cli.conformance_samples import CONVERSE_ANSWERS, CONVERSE_NEAR, CONVERSE_SEES, MARK, SIGNED
from freehold.dialects.conversation import Conversation, Document, Losses, Reply, Text
from freehold.dialects.traits import Traits
from freehold.errors import FreeholdError

CLIENTS = ("chat", "responses", "messages", "gemini", "ollama", "cohere", "mistral")
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
        losses: Losses = []
        same = ask.see(_read_client(client, _patch(client, body, losses))) == ask.see(conversation)
        outcome: Outcome = "carried" if same and not losses else "lost"
        return Cell(client, provider, "request", ask.name, outcome, tuple(losses))
    losses = []
    written = _write(provider, _fetched(conversation, provider), losses)
    new = tuple(dict.fromkeys(name for name in losses if name not in _usual(client, provider)))
    there, near = _arrives(ask, conversation, provider, written)
    if there and not new:
        return Cell(client, provider, "request", ask.name, "carried")
    near = near and not new
    marks = (*ask.marks, PNG, PDF) if provider in FETCHED and "URL" in ask.name else ask.marks
    if near or _marked(marks, written, _write(provider, _without(client), [])):
        return Cell(client, provider, "request", ask.name, "emulated", new)
    return Cell(client, provider, "request", ask.name, "lost", new)


def _fetched(conversation: Conversation, provider: str) -> Conversation:
    """With the files that the gateway fetches for providers that take no URLs."""
    kinds = FETCHED.get(provider)
    if kinds is None or not urls(conversation, kinds):
        return conversation
    document = bool(parts_of(conversation, Document))

    async def fetch(url: str, *, limits: UrlLimits) -> Fetched:
        return Fetched("application/pdf", b64decode(PDF)) if document else Fetched("image/png", b64decode(PNG))

    return asyncio.run(inline(conversation, UrlLimits(), kinds=kinds, fetch=fetch)) or conversation


def _arrives(ask: Ask, conversation: Conversation, provider: str, written: bytes) -> tuple[bool, bool]:
    """Whether a provider gets the feature, and whether it gets what comes to the same."""
    if provider == "converse":
        body = msgspec.json.decode(written)
        sees, near = CONVERSE_SEES.get(ask.name), CONVERSE_NEAR.get(ask.name)
        return bool(sees is not None and sees(body)), bool(near is not None and near(body))
    module = PROVIDER[provider]
    again: Conversation
    again = module.read_request(written, model="m") if provider == "gemini" else module.read_request(written)
    return bool(ask.see(again) == ask.see(conversation)), bool(ask.near(again))


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


def _patch(dialect: str, body: bytes, losses: Losses) -> bytes:
    """What a pass-through makes of a request."""
    name, model = MODELS[dialect]
    out: bytes = CLIENT[dialect].patch_request(body, model=model, traits=traits(name, model), losses=losses)
    return out


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
        seen = PROVIDER[client].read_reply(shown)
    except FreeholdError as error:
        return Cell(client, provider, "answer", say.name, "lost", (str(error),))
    names = tuple(dict.fromkeys(losses))
    if say.see(seen) == say.see(answer):
        return Cell(client, provider, "answer", say.name, "carried")
    emulated = say.near(seen) or any(mark.encode() in shown for mark in say.marks)
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


# Signatures of thoughts, there and back

SIGNATURE = "signature of thoughts, sent back"


def replayed(client: str, provider: str) -> Cell:
    """Whether a provider gets its signature back when a client answers a tool call."""
    raw = SIGNED.get(provider)
    if raw is None:
        return Cell(client, provider, "answer", SIGNATURE, None)
    if client == provider:
        return Cell(client, provider, "answer", SIGNATURE, "carried")
    reply = PROVIDER[provider].read_reply(msgspec.json.encode(raw))
    losses: Losses = []
    shown = msgspec.json.decode(CLIENT[client].write_reply(reply, losses, 0))
    conversation = _read_client(client, msgspec.json.encode(next_request(client, shown)))
    arrived = MARK.encode() in _write(provider, conversation, losses)
    return Cell(client, provider, "answer", SIGNATURE, "carried" if arrived else "lost", tuple(losses))


def next_request(client: str, answer: Any) -> dict[str, Any]:
    """What a client sends after an answer with one tool call: the answer as it came, and the call's result."""
    hello: dict[str, Any] = {"role": "user", "content": "Hello"}
    match client:
        case "chat" | "mistral":
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
        case "cohere":
            calls = answer["message"]["tool_calls"]
            result = {"role": "tool", "tool_call_id": calls[0]["id"], "content": "found"}
            return {"model": "m", "messages": [hello, answer["message"], result]}
    message = answer["message"]
    return {"model": "m", "messages": [hello, message, {"role": "tool", "tool_name": "look_up", "content": "found"}]}
