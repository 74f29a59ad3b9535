"""What `freehold conformance` asks of every pair of dialects: one small conversation or answer for each feature.

A probe is a canonical conversation or reply with one feature in it, and a way to see that feature again. It is written
in the client's (or the provider's) own dialect by that dialect's writer; where the feature does not survive that, the
dialect has no words for it, and there is nothing to judge. Marks are texts that nobody would write by accident: one
that arrives elsewhere than in the feature's own place shows that the feature is emulated.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Reply,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Usage,
    Voice,
)

MARK = "zq-mark-417"
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
SERVER_TOOLS: dict[str, Any] = {
    "responses": {"type": "web_search"},
    "messages": {"type": "web_search_20250305", "name": "web_search"},
    "gemini": {"googleSearch": {}},
}
"""Web search, as each dialect that has it declares it."""
SERVER_ITEMS: dict[str, Any] = {
    "responses": {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": MARK},
    },
    "messages": {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": MARK}},
    "gemini": {"executableCode": {"language": "PYTHON", "code": MARK}},
}
"""What each such dialect shows of a tool that the provider ran."""


class Ask(Struct):
    """A feature of requests. `make` takes the client's dialect; `see` returns what is there of the feature, falsy for
    nothing; `marks` are byte strings of which one shows an emulation."""

    name: str
    make: Callable[[str], Conversation]
    see: Callable[[Conversation], Any]
    marks: tuple[str, ...] = (MARK,)


class Say(Struct):
    """A feature of answers, likewise; `make` takes the provider's dialect."""

    name: str
    make: Callable[[str], Reply]
    see: Callable[[Reply], Any]
    marks: tuple[str, ...] = (MARK,)


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


def _text(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def _reasoning(conversation: Conversation, field: str) -> Any:
    return getattr(conversation.reasoning, field) if conversation.reasoning is not None else None


def _with_tool(dialect: str) -> Conversation:
    raw = SERVER_TOOLS.get(dialect)
    tools = [] if raw is None else [Tool("web_search", opaque=Opaque(dialect, raw))]
    return user(Text("Hello"), tools=tools)


ASKS = (
    Ask("system prompt", plain(system=[Text(MARK)]), lambda c: _text(c.system)),
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
        lambda c: [_text(turn.parts) for turn in c.turns if turn.role == "system"],
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
    Ask("tools", _tools(), lambda c: [(t.name, t.description, list((t.schema or {}).get("properties", ()))) for t in c.tools]),
    Ask(
        "strict tool schema",
        lambda _d: user(Text("Hello"), tools=[Tool("look_up", MARK, SCHEMA, strict=True)]),
        lambda c: [t.strict for t in c.tools] if any(t.strict for t in c.tools) else None,
        ("zq-nothing",),
    ),
    Ask("tool choice: any tool", _tools(tool_choice=ToolChoice("required")), lambda c: _mode(c, "required")),
    Ask("tool choice: one tool", _tools(tool_choice=ToolChoice("tool", "look_up")), lambda c: _mode(c, "tool")),
    Ask("tool choice: none", _tools(tool_choice=ToolChoice("none")), lambda c: _mode(c, "none")),
    Ask("one tool call at a time", _tools(parallel_tools=False), lambda c: c.parallel_tools is False, ("zq-nothing",)),
    Ask(
        "parallel tool calls and results",
        _called(),
        lambda c: [
            [(call.name, call.arguments.replace(" ", "")) for call in parts_of(c, ToolCall)],
            [_text(result.parts) for result in parts_of(c, ToolResult)],
        ],
    ),
    Ask(
        "tool result with an image",
        _called(_result("call_a1", "look_up", Image("image/png", PNG)), _result("call_b2", "other")),
        lambda c: [
            part.data for result in parts_of(c, ToolResult) for part in result.parts if isinstance(part, Image)
        ],
        (PNG,),
    ),
    Ask(
        "tool result that is an error",
        _called(_result("call_a1", "look_up", error=True), _result("call_b2", "other")),
        lambda c: [result.is_error for result in parts_of(c, ToolResult)]
        if any(result.is_error for result in parts_of(c, ToolResult))
        else None,
        ("[error]", "Error", "error"),
    ),
    Ask(
        "structured output",
        plain(output=OutputFormat("schema", SCHEMA, "answer", strict=True)),
        lambda c: [c.output.kind, list((c.output.schema or {}).get("properties", ()))] if c.output else None,
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
        ("medium", "8192", "true"),
    ),
    Ask(
        "thinking off",
        plain(reasoning=Reasoning(enabled=False)),
        lambda c: _reasoning(c, "enabled") is False,
        ("none", "minimal"),
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
        lambda c: _text(c.turns[-1].parts) if c.turns[-1].role == "assistant" else None,
    ),
)


def _mode(conversation: Conversation, mode: str) -> Any:
    choice = conversation.tool_choice
    return [choice.mode, choice.name] if choice is not None and choice.mode == mode else None


def _reply(*parts: Part, usage: Usage | None = None, **fields: Any) -> Callable[[str], Reply]:
    given = list(parts) or [Text("Hello")]
    return lambda _d: Reply("r1", "m", [Choice(given, **fields)], usage or Usage(uncached=20, output=10))


def _said(reply: Reply, kind: type) -> list[Any]:
    return [part for part in reply.choices[0].parts if isinstance(part, kind)]


def _counted(name: str, usage: Usage, field: str) -> Say:
    return Say(f"usage: {name}", _reply(usage=usage), lambda r: getattr(r.usage, field) or None, ("zq-nothing",))


def _finish(name: str, finish: Any, **fields: Any) -> Say:
    return Say(
        f"finish: {name}",
        _reply(finish=finish, **fields),
        lambda r: finish if r.choices[0].finish == finish else None,
        ("zq-nothing",),
    )


def _with_item(dialect: str) -> Reply:
    raw = SERVER_ITEMS.get(dialect)
    parts: list[Part] = [] if raw is None else [Opaque(dialect, raw)]
    return Reply("r1", "m", [Choice([*parts, Text("Hello")])], Usage(uncached=20, output=10))


_LOGPROBS = {
    "content": [{"token": "Hello", "logprob": -0.417, "bytes": [72, 101, 108, 108, 111], "top_logprobs": []}],
    "refusal": None,
}
_WHOLE = Usage(uncached=500, cache_read=300, cache_write_5m=117, output=90, reasoning=41)

SAYS = (
    Say("text", _reply(Text(MARK)), lambda r: _text(r.choices[0].parts)),
    Say("thinking", _reply(Thinking(MARK), Text("Hello")), lambda r: [p.text for p in _said(r, Thinking)]),
    Say(
        "parallel tool calls",
        _reply(
            ToolCall("call_a1", "look_up", '{"a":"zq-mark-417"}'),
            ToolCall("call_b2", "other", "{}"),
            finish="tool_calls",
        ),
        lambda r: [(p.name, p.arguments.replace(" ", "")) for p in _said(r, ToolCall)],
    ),
    Say("refusal", _reply(Refusal(MARK)), lambda r: [p.text for p in _said(r, Refusal)]),
    Say(
        "citations",
        _reply(Text("Hello", citations=[Citation(url=URL, title="A page", start=0, end=5)])),
        lambda r: [c.url for p in _said(r, Text) for c in p.citations or ()],
        (URL,),
    ),
    Say(
        "log-probabilities",
        _reply(logprobs=_LOGPROBS),
        lambda r: [one["token"] for one in (r.choices[0].logprobs or {}).get("content") or ()],
        ("zq-nothing",),
    ),
    Say("server-side tool items", _with_item, lambda r: [p.value for p in _said(r, Opaque)]),
    Say("audio out", _reply(Audio(WAV, "wav", "audio_1", MARK)), lambda r: [p.data for p in _said(r, Audio)]),
    Say("image out", _reply(Image("image/png", PNG)), lambda r: [p.data for p in _said(r, Image)], (PNG,)),
    Say(
        "several answers (n)",
        lambda _d: Reply(
            "r1", "m", [Choice([Text("one")]), Choice([Text(MARK)], index=1)], Usage(uncached=20, output=10)
        ),
        lambda r: [_text(choice.parts) for choice in r.choices] if len(r.choices) > 1 else None,
    ),
    _finish("stop", "stop"),
    _finish("length", "length"),
    _finish("content filter", "content_filter"),
    _finish("paused turn", "pause"),
    Say(
        "which stop sequence",
        _reply(stop_sequence=MARK),
        lambda r: r.choices[0].stop_sequence,
    ),
    _counted("input", _WHOLE, "input"),
    _counted("cache read", _WHOLE, "cache_read"),
    _counted("cache write", _WHOLE, "cache_write_5m"),
    _counted("output", _WHOLE, "output"),
    _counted("reasoning", _WHOLE, "reasoning"),
)
