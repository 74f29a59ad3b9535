"""From a request and a scripted reply to an answer: the text and its pieces, tool calls, finish reason, usage.

Nothing here knows a dialect. Usage is deterministic: a quarter of the bytes, rounded up, of the request body and of
what is said (text, thinking, refusal, tool names and arguments). Ids are a placeholder of fixed width that the server
replaces with the request's number, so prepared responses can be kept and sent again.
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from freehold.fake import wants
from freehold.fake.ask import Ask, ToolSpec
from freehold.fake.schema import instance
from freehold.fake.script import Call, Reply

ID = "fakeid0123456789"
"""Stands for the request's number until the response is sent; as wide as `id_of` writes."""

DEFAULT_TEXT = "Hello from the fake provider: nobody was billed for this."
SIGNATURE = "ZmFrZS1zaWduYXR1cmU="
_WORDS = re.compile(r"\s*\S+\s*")


def id_of(number: int) -> bytes:
    """Returns 16 hexadecimal digits."""
    return b"%016x" % number


class Called(Struct, frozen=True):
    name: str
    arguments: str
    """JSON text, unless a script says otherwise."""


class Counted(Struct, frozen=True):
    """Tokens: `input` is the total and includes the cache classes, `output` includes `reasoning`."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Answer(Struct):
    model: str
    pieces: list[str]
    """The text, one entry per stream event."""
    calls: list[Called]
    thinking: str
    refusal: str
    finish: str
    usage: Counted | None
    """None: the provider forgot to send it (a fault)."""
    created: int = 0
    n: int = 1
    listed: bool = False
    """Content as a list of chunks."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def answer(ask: Ask, reply: Reply, number: int, created: int) -> Answer:
    """Returns what `reply` says to `ask`; `number` counts requests from 1."""
    calls = _calls(ask, reply)
    text = _text(ask, reply, number, silent=bool(calls or reply.refusal))
    thinking = _filled(reply.thinking or "", ask, number)
    refusal = _filled(reply.refusal or "", ask, number)
    finish = reply.finish or (
        "tool_calls" if calls else "content_filter" if refusal and ask.family in ("anthropic", "bedrock") else "stop"
    )
    pieces = split(text, reply)
    if reply.events is not None:
        text = "".join(pieces)
    return Answer(
        ask.model, pieces, calls, thinking, refusal, finish,
        _usage(ask, reply, text + refusal, thinking, calls), created, ask.n, bool(reply.chunks),
    )  # fmt: skip


def tokens(text: str) -> int:
    return -(-len(text.encode()) // 4)


def _usage(ask: Ask, reply: Reply, said: str, thinking: str, calls: list[Called]) -> Counted:
    reasoning = tokens(thinking)
    spoken = sum(tokens(call.name) + tokens(call.arguments) for call in calls) + tokens(said)
    output = max(1, spoken * ask.n + reasoning)
    given = reply.usage
    if given is None:
        return Counted(ask.input_tokens, output, reasoning=reasoning)
    return Counted(
        ask.input_tokens if given.input is None else given.input,
        output if given.output is None else given.output,
        given.cache_read,
        given.cache_write,
        reasoning if given.reasoning is None else given.reasoning,
    )


def _text(ask: Ask, reply: Reply, number: int, *, silent: bool) -> str:
    if reply.json is not UNSET:
        return msgspec.json.encode(reply.json).decode()
    if reply.text is not None:
        return _filled(reply.text, ask, number)
    if silent:
        return ""
    wanted = wants.schema(ask) if ask.output is not None else None
    if wanted is not None:
        return msgspec.json.encode({"ok": True} if wanted is True else instance(wanted)).decode()
    return DEFAULT_TEXT


def _filled(text: str, ask: Ask, number: int) -> str:
    if "{" not in text:
        return text
    text = text.replace("{model}", ask.model).replace("{n}", str(number))
    return text.replace("{last_user}", wants.last_user(ask)) if "{last_user}" in text else text


def split(text: str, reply: Reply) -> list[str]:
    """Cuts a text into the pieces its stream events carry: words, `chunk` characters, or exactly `events` pieces."""
    if reply.events is not None:
        return _exactly(text or DEFAULT_TEXT, reply.events)
    if reply.chunk:
        return [text[start : start + reply.chunk] for start in range(0, len(text), reply.chunk)]
    return _WORDS.findall(text) or ([text] if text else [])


def _exactly(text: str, count: int) -> list[str]:
    words = _WORDS.findall(text) or [text]
    if len(words) < count:
        if not words[-1].endswith(" "):
            words[-1] += " "
        return [words[i % len(words)] for i in range(count)]
    kept = words[: max(count - 1, 0)]
    return [*kept, "".join(words[len(kept) :])] if count else []


def _calls(ask: Ask, reply: Reply) -> list[Called]:
    if ask.tools is None and reply.tool_calls is None:
        return []
    offered = wants.tools(ask)
    wanted = reply.tool_calls
    if wanted is None:
        wanted = _asked_for(ask, reply, offered)
    elif any(call.name is None for call in wanted) and wants.answers_tool(ask):
        return []
    return [called for call in wanted if (called := _called(call, offered))]


def _asked_for(ask: Ask, reply: Reply, offered: list[ToolSpec]) -> list[Call]:
    """A tool is called unscripted when the request forces one, or its last user text names one."""
    if not offered:
        return []
    forced = wants.forced_tool(ask)
    if forced is not None:
        return [Call(name=forced or None)]
    if reply.text is not None or reply.json is not UNSET or reply.refusal is not None or wants.answers_tool(ask):
        return []
    said = wants.last_user(ask)
    return [Call(name=tool.name) for tool in offered if re.search(rf"\b{re.escape(tool.name)}\b", said)][:1]


def _called(call: Call, offered: list[ToolSpec]) -> Called | None:
    tool = next((tool for tool in offered if call.name in (None, tool.name)), None)
    name = call.name or (tool.name if tool else None)
    if name is None:
        return None
    arguments: Any = call.arguments
    if arguments is None:
        arguments = instance(tool.schema) if tool else {}
    return Called(name, arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode())
