"""What `freehold conformance` asks of every pair of dialects: one small conversation for each feature.

A probe is a canonical conversation with one feature in it, and a way to see that feature again. It is written in the
client's own dialect by that dialect's writer; where the feature does not survive that, the dialect has no words for it,
and there is nothing to judge. The same for answers stands in conformance_answers.py.

Marks are texts that nobody would write by accident: one that arrives elsewhere than in the feature's own place shows
that the feature is emulated.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from freehold.cli.conformance_samples import MARK, SERVER_TOOLS
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Voice,
)

URL = "https://example.com/zq-mark-417.png"
PNG = b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
).decode()
PDF = b64encode(b"%PDF-1.4 zq-mark-417").decode()
WAV = b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt zq-mark-417").decode()
SCHEMA = {
    "type": "object",
    "properties": {"zq_mark": {"type": "string"}},
    "required": ["zq_mark"],
    "additionalProperties": False,
}


class Ask(Struct):
    """A feature of requests. `make` takes the client's dialect; `see` returns what is there of the feature, falsy for
    nothing; `marks` are byte strings of which one shows an emulation."""

    name: str
    make: Callable[[str], Conversation]
    see: Callable[[Conversation], Any]
    marks: tuple[str, ...] = (MARK,)
    near: Callable[[Conversation], Any] = lambda _conversation: False
    """Whether a conversation without the feature comes to the same: no tools at all is a tool choice of none."""


def user(*parts: Part, **fields: Any) -> Conversation:
    """One user turn."""
    return Conversation("m", turns=[Turn("user", list(parts))], max_tokens=40_000, **fields)


def plain(**fields: Any) -> Callable[[str], Conversation]:
    return lambda _dialect: user(Text("Hello"), **fields)


def parts_of(conversation: Conversation, kind: type) -> list[Any]:
    """All parts of one kind, those inside tool results too."""
    found = []
    for turn in conversation.turns:
        for part in turn.parts:
            found += [part] if isinstance(part, kind) else []
            if isinstance(part, ToolResult):
                found += [inner for inner in part.parts if isinstance(inner, kind)]
    return found


def _media(name: str, part: Part, see: Callable[[Any], Any], *marks: str) -> Ask:
    """A part that is no text, beside a text."""
    kind = type(part)
    return Ask(name, lambda _d: user(part, Text("What is this?")), lambda c: [see(p) for p in parts_of(c, kind)], marks)


def _setting(name: str, field: str, value: Any, mark: str | None = None) -> Ask:
    """A top-level setting."""
    return Ask(name, plain(**{field: value}), lambda c: getattr(c, field) or None, (mark or f"{value}",))


_TOOL = Tool("look_up", f"Looks up {MARK}", SCHEMA)
_OTHER = Tool("other", "Something else", {"type": "object", "properties": {}})


def _tools(**fields: Any) -> Callable[[str], Conversation]:
    return lambda _dialect: user(Text("Hello"), tools=[_TOOL, _OTHER], **fields)


def _called(*results: ToolResult) -> Callable[[str], Conversation]:
    """A conversation in which two tools were called at once, and answered."""

    def make(_dialect: str) -> Conversation:
        calls: list[Part] = [
            ToolCall("call_a1", "look_up", '{"zq_mark":"one"}'),
            ToolCall("call_b2", "other", '{"x":"two"}'),
        ]
        given = list(results) or [_result("call_a1", "look_up"), _result("call_b2", "other")]
        turns = [Turn("user", [Text("Hello")]), Turn("assistant", calls), Turn("user", [*given])]
        return Conversation("m", turns=turns, tools=[_TOOL, _OTHER], max_tokens=40_000)

    return make


def _result(identity: str, name: str, *parts: Part, error: bool = False) -> ToolResult:
    return ToolResult(identity, [Text(f"{MARK} {name}"), *parts], name, is_error=error)


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def _reasoning(conversation: Conversation, field: str) -> Any:
    return getattr(conversation.reasoning, field) if conversation.reasoning is not None else None


def _properties(schema: dict[str, Any] | None) -> list[str]:
    return list((schema or {}).get("properties", ()))


def _with_tool(dialect: str) -> Conversation:
    raw = SERVER_TOOLS.get(dialect)
    tools = [] if raw is None else [Tool("web_search", opaque=Opaque(dialect, raw))]
    return user(Text("Hello"), tools=tools)


ASKS = (
    Ask("text", lambda _d: user(Text(MARK)), lambda c: text_of(c.turns[0].parts)),
    Ask("system prompt", plain(system=[Text(MARK)]), lambda c: text_of(c.system)),
    Ask(
        "instruction in mid-conversation",
        lambda _d: Conversation(
            "m",
            turns=[
                Turn("user", [Text("Hello")]),
                Turn("assistant", [Text("Yes?")]),
                Turn("system", [Text(MARK)]),
                Turn("user", [Text("Go on")]),
            ],
            max_tokens=40_000,
        ),
        lambda c: [text_of(turn.parts) for turn in c.turns if turn.role == "system"],
    ),
    _media("image by URL", Image(url=URL), lambda p: p.url, URL),
    _media("image inline", Image("image/png", PNG), lambda p: p.data, PNG),
    _media("document inline (PDF)", Document("application/pdf", PDF, title="a.pdf"), lambda p: p.data, PDF),
    _media("document by URL", Document("application/pdf", url=URL), lambda p: p.url, URL),
    _media("document as text", Document("text/plain", text=MARK, title="a.txt"), lambda p: p.text, MARK),
    _media(
        "citations wanted of a document",
        Document("text/plain", text=MARK, citations=True),
        lambda p: p.citations,
        "zq-nothing",
    ),
    _media("audio in", Audio(WAV, "wav"), lambda p: p.data, WAV),
    Ask(
        "tools",
        _tools(),
        lambda c: [(t.name, t.description, list((t.schema or {}).get("properties", ()))) for t in c.tools],
    ),
    Ask(
        "strict tool schema",
        lambda _d: user(Text("Hello"), tools=[Tool("look_up", MARK, SCHEMA, strict=True)]),
        lambda c: [t.strict for t in c.tools] if any(t.strict for t in c.tools) else None,
        ("zq-nothing",),
    ),
    Ask("tool choice: any tool", _tools(tool_choice=ToolChoice("required")), lambda c: _mode(c, "required")),
    Ask("tool choice: one tool", _tools(tool_choice=ToolChoice("tool", "look_up")), lambda c: _mode(c, "tool")),
    Ask(
        "tool choice: none",
        _tools(tool_choice=ToolChoice("none")),
        lambda c: _mode(c, "none"),
        near=lambda c: not c.tools,
    ),
    Ask("one tool call at a time", _tools(parallel_tools=False), lambda c: c.parallel_tools is False, ("zq-nothing",)),
    Ask(
        "parallel tool calls and results",
        _called(),
        lambda c: [
            [(call.name, call.arguments.replace(" ", "")) for call in parts_of(c, ToolCall)],
            [text_of(result.parts) for result in parts_of(c, ToolResult)],
        ],
    ),
    Ask(
        "tool result with an image",
        _called(_result("call_a1", "look_up", Image("image/png", PNG)), _result("call_b2", "other")),
        lambda c: [part.data for result in parts_of(c, ToolResult) for part in result.parts if isinstance(part, Image)],
        (PNG,),
    ),
    Ask(
        "tool result that is an error",
        _called(_result("call_a1", "look_up", error=True), _result("call_b2", "other")),
        lambda c: (
            [result.is_error for result in parts_of(c, ToolResult)]
            if any(result.is_error for result in parts_of(c, ToolResult))
            else None
        ),
        ("[error]", "Error", "error"),
    ),
    Ask(
        "structured output",
        plain(output=OutputFormat("schema", SCHEMA, "answer", strict=True)),
        lambda c: [c.output.kind, _properties(c.output.schema)] if c.output else None,
        ("zq_mark",),
    ),
    Ask(
        "JSON mode",
        plain(output=OutputFormat("json")),
        lambda c: c.output.kind if c.output is not None and c.output.kind != "text" else None,
        ("JSON",),
    ),
    Ask(
        "thinking: effort",
        plain(reasoning=Reasoning(effort="high")),
        lambda c: _reasoning(c, "effort"),
        ("24576", '"high"', "true"),
    ),
    Ask(
        "thinking: budget",
        plain(reasoning=Reasoning(budget=8192)),
        lambda c: _reasoning(c, "budget"),
        ('"medium"', "8192", "true"),
    ),
    Ask(
        "thinking off",
        lambda d: user(
            Text("Hello"), reasoning=Reasoning(enabled=False, effort="none" if d in ("chat", "responses") else None)
        ),
        lambda c: _reasoning(c, "enabled") is False or _reasoning(c, "effort") == "none",
        ('"none"', '"minimal"'),
        lambda c: c.reasoning is None,
    ),
    Ask(
        "prompt-cache breakpoint",
        lambda _d: user(Text("A long text", cache="5m"), Text("Hello")),
        lambda c: [part.cache for part in parts_of(c, Text)] if any(p.cache for p in parts_of(c, Text)) else None,
        ("zq-nothing",),
    ),
    _setting("prompt-cache key", "prompt_cache_key", MARK),
    Ask(
        "server-side tool",
        _with_tool,
        lambda c: [t.opaque.value for t in c.tools if t.opaque is not None],
        ("zq-nothing",),
    ),
    Ask(
        "log-probabilities",
        plain(logprobs=True, top_logprobs=3),
        lambda c: [c.logprobs, c.top_logprobs] if c.logprobs else None,
        ("logprobs",),
    ),
    _setting("stop sequences", "stop", [MARK], MARK),
    _setting("seed", "seed", 41_719),
    _setting("temperature", "temperature", 0.417),
    _setting("top_p", "top_p", 0.917),
    _setting("top_k", "top_k", 417),
    _setting("presence penalty", "presence_penalty", 0.417),
    _setting("frequency penalty", "frequency_penalty", 0.417),
    _setting("logit bias", "logit_bias", {"417": 7.0}, "417"),
    Ask("several answers (n)", plain(n=3), lambda c: c.n if c.n > 1 else None, ("zq-nothing",)),
    Ask("token limit", plain(), lambda c: c.max_tokens, ("40000",)),
    _setting("verbosity", "verbosity", "low", '"verbosity"'),
    Ask(
        "spoken answer",
        plain(modalities=["text", "audio"], voice=Voice("alloy", "wav")),
        lambda c: [sorted(c.modalities or ()), c.voice.name] if c.voice is not None else None,
        ("alloy",),
    ),
    Ask(
        "image as answer",
        plain(modalities=["text", "image"]),
        lambda c: "image" in (c.modalities or ()),
        ("zq-nothing",),
    ),
    _setting("user", "user", MARK),
    _setting("metadata", "metadata", {"job": MARK}, MARK),
    _setting("service tier", "service_tier", "flex", "flex"),
    Ask("store", plain(store=True), lambda c: c.store, ('"store"',)),
    Ask(
        "continued answer (prefill)",
        lambda _d: Conversation(
            "m", turns=[Turn("user", [Text("Hello")]), Turn("assistant", [Text(MARK)])], max_tokens=40_000
        ),
        lambda c: text_of(c.turns[-1].parts) if c.turns[-1].role == "assistant" else None,
    ),
)


def _mode(conversation: Conversation, mode: str) -> Any:
    choice = conversation.tool_choice
    return [choice.mode, choice.name] if choice is not None and choice.mode == mode else None
