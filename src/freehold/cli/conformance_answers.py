"""What `freehold conformance` has every provider dialect answer: one small reply for each feature.

As the probes of requests (conformance_probes.py), written by the provider dialect's own writer.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from freehold.cli.conformance_probes import PNG, URL, WAV, text_of
from freehold.cli.conformance_samples import MARK, SERVER_ITEMS
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Image,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)


class Say(Struct):
    """A feature of answers. `make` takes the provider's dialect; `see`, `marks` and `near` are those of `Ask`."""

    name: str
    make: Callable[[str], Reply]
    see: Callable[[Reply], Any]
    marks: tuple[str, ...] = (MARK,)
    near: Callable[[Reply], Any] = lambda _reply: False


def _reply(*parts: Part, usage: Usage | None = None, **fields: Any) -> Callable[[str], Reply]:
    given = list(parts) or [Text("Hello")]
    return lambda _d: Reply("r1", "m", [Choice(given, **fields)], usage or Usage(uncached=20, output=10))


def _said(reply: Reply, kind: type) -> list[Any]:
    return [part for part in reply.choices[0].parts if isinstance(part, kind)]


def _counted(name: str, usage: Usage, field: str) -> Say:
    """A class that the client's dialect does not name is still in the totals."""
    return Say(
        f"usage: {name}",
        _reply(usage=usage),
        lambda r: getattr(r.usage, field) or None,
        ("zq-nothing",),
        lambda r: r.usage is not None and r.usage.input > 0 and r.usage.output > 0,
    )


def _finish(name: str, finish: Any, **fields: Any) -> Say:
    """Where a pause or a filter has no word, the answer must at least look unfinished."""
    return Say(
        f"finish: {name}",
        _reply(finish=finish, **fields),
        lambda r: finish if r.choices[0].finish == finish else None,
        ("zq-nothing",),
        lambda r: finish in ("pause", "content_filter") and r.choices[0].finish in ("length", "error"),
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
    Say("text", _reply(Text(MARK)), lambda r: text_of(r.choices[0].parts)),
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
        lambda r: [text_of(choice.parts) for choice in r.choices] if len(r.choices) > 1 else None,
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
