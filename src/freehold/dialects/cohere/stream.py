"""Reads a Cohere chat stream into canonical events.

Wire (https://docs.cohere.com/docs/streaming, the SDK's `V2ChatStreamResponse`): `message-start`; for each content
block `content-start`, `content-delta`s and `content-end`; `tool-plan-delta`s; for each call `tool-call-start`, deltas
and end; `citation-start` and `-end` inside or after the text they cite; `message-end` with finish reason and usage;
`[DONE]`. An error after the first byte is a `message-end` with an `error`, or an object that is nothing but a message.

The reader is tolerant: events without a name, a second start, blocks and calls never opened or closed, `tool_calls` and
`citations` as an object or as an array of one, and unknown events are survived. A call without arguments ends as `{}`.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.reply import is_json
from freehold.dialects.chat.usage import settle_finish
from freehold.dialects.cohere.citations import is_on_text, read_citation
from freehold.dialects.cohere.content import DIALECT, PLAN_ID, arguments_text
from freehold.dialects.cohere.errors import failed
from freehold.dialects.cohere.usage import read_finish, read_logprobs, read_usage
from freehold.dialects.conversation import (
    Event,
    Finished,
    LogprobsDelta,
    Metered,
    OpaqueDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.sse import DONE
from freehold.dialects.sse_reader import SseReader
from freehold.dialects.tool_calls import generated_id
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact


class _Content(Struct):
    text: str | None = None
    thinking: str | None = None


class _Message(Struct):
    content: _Content | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: Any = None
    citations: Any = None


class _Delta(Struct):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: Any = None
    error: Any = None


class WireEvent(Struct):
    """Any event of the stream."""

    type: str = ""
    index: int | None = None
    id: str | None = None
    delta: _Delta | None = None
    logprobs: Any = None
    message: Any = None
    error: Any = None


class _Call:
    __slots__ = ("arguments", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.arguments: list[str] = []


EVENT = msgspec.json.Decoder(WireEvent)

_QUIET = frozenset({"content-end", "citation-end", "debug"})


class StreamReader(SseReader):
    """Bytes of an SSE stream in, canonical events out, whatever the chunk boundaries.

    `complete` becomes True with the `message-end`: what follows it carries nothing. `usage` is the last one seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self.usage: Usage | None = None
        self._calls: dict[int, _Call] = {}
        """The open calls by their index; how many there were, and whether one was whole."""
        self._count = 0
        self._whole = False
        self._started = False
        self._response = ""

    def _read(self, data: bytes, events: list[Event]) -> None:
        if self._failed or self.complete or not data or data.startswith(DONE):
            return
        try:
            event = EVENT.decode(data)
        except MALFORMED as error:
            raise _unreadable(error) from None
        if (
            event.type == "content-delta"
            and (delta := event.delta) is not None
            and (message := delta.message) is not None
            and type(content := message.content) is _Content
            and self._started
        ):
            if content.text and content.thinking is event.logprobs is None:
                events.append(TextDelta(content.text))
            else:
                _read_content(content, event.logprobs, events)
        else:
            self._read_other(event, data, events)

    def _read_other(self, event: WireEvent, data: bytes, events: list[Event]) -> None:
        kind = event.type
        if event.error is not None or kind == "error" or (not kind and isinstance(event.message, str)):
            self._fail(event.error if isinstance(event.error, str) else event.message, events)
            return
        if not self._started:
            self._started = True
            self._response = event.id or ""
            events.append(Started(self._response, ""))
        if kind == "message-end":
            self._end(event.delta, events)
            return
        if kind in _QUIET:
            return
        if kind == "tool-call-end":
            self._close_call(self._calls.pop(event.index or 0, None), events)
            return
        message = event.delta.message if event.delta is not None else None
        if message is None:
            return
        if kind == "content-start" or kind == "content-delta":
            if type(message.content) is _Content:
                _read_content(message.content, event.logprobs, events)
        elif kind == "tool-plan-delta":
            if message.tool_plan:
                events.append(ThinkingDelta(message.tool_plan, id=f"{PLAN_ID}{self._response}"))
        elif kind == "tool-call-start" or kind == "tool-call-delta":
            self._read_call(event.index or 0, _sole(message.tool_calls), kind == "tool-call-start", events)
        elif kind == "citation-start":
            self._read_citation(_sole(message.citations), events)
        elif kind != "message-start":
            events.append(OpaqueDelta(DIALECT, _decoded(data)))

    def _read_call(self, index: int, raw: Any, starts: bool, events: list[Event]) -> None:
        if not isinstance(raw, dict):
            return
        given = raw.get("function")
        function = given if isinstance(given, dict) else {}
        call = self._calls.get(index)
        if starts or call is None:
            self._close_call(call, events)
            call = self._calls[index] = _Call(self._count)
            identity, name = raw.get("id"), function.get("name")
            events.append(
                ToolStarted(
                    call.index,
                    identity if isinstance(identity, str) and identity else generated_id(self._response, call.index),
                    name if isinstance(name, str) else "",
                )
            )
            self._count += 1
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = arguments_text(arguments)
        if arguments:
            call.arguments.append(arguments)
            events.append(ToolDelta(call.index, arguments))

    def _close_call(self, call: _Call | None, events: list[Event]) -> None:
        """`{}` for a call that came without arguments."""
        if call is None:
            return
        if not any(piece.strip() for piece in call.arguments):
            call.arguments = ["{}"]
            events.append(ToolDelta(call.index, "{}"))
        self._whole = self._whole or is_json("".join(call.arguments))

    def _read_citation(self, raw: Any, events: list[Event]) -> None:
        if is_on_text(raw):
            events += [TextDelta("", citation=citation) for citation in read_citation(raw)]
        elif isinstance(raw, dict):
            events.append(OpaqueDelta(DIALECT, {"$citations": [raw]}))

    def _end(self, delta: _Delta | None, events: list[Event]) -> None:
        delta = delta or _Delta()
        if (usage := read_usage(delta.usage)) is not None:
            self.usage = usage
            events.append(Metered(usage))
        if delta.error is not None:
            self._fail(delta.error, events)
            return
        finish = read_finish(delta.finish_reason)
        if finish is None:
            return
        for call in self._calls.values():
            self._close_call(call, events)
        self._calls.clear()
        self.complete = True
        events.append(Finished(settle_finish(finish, bool(self._count), self._whole)))

    def _fail(self, message: Any, events: list[Event]) -> None:
        self._failed = True
        events.append(failed(message))


def _read_content(content: _Content, logprobs: Any, events: list[Event]) -> None:
    if content.text:
        events.append(TextDelta(content.text))
    if content.thinking:
        events.append(ThinkingDelta(content.thinking))
    if logprobs is not None and (value := read_logprobs(logprobs)) is not None:
        events.append(LogprobsDelta(value))


def _sole(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _decoded(data: bytes) -> Any:
    """An event that nobody here knows, of which the typed decoder has stepped over most."""
    try:
        return msgspec.json.decode(data)
    except MALFORMED as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> UpstreamBroken:
    return UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.")
