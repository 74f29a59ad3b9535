"""Reads a provider's Responses stream as canonical events.

Wire (https://platform.openai.com/docs/api-reference/responses-streaming): `response.created`, then for each output item
`output_item.added`, its parts and deltas, their `done` events, `output_item.done`, then one of `response.completed`,
`.incomplete`, `.failed`, or `error`. Everything said in deltas is said again in the `done` events and once more in the
last one, so the reader listens to the deltas and looks at the repetitions only where there were none: hosts leave out
deltas, `done` events or the `added` event.

Events that belong to an item of a server-side tool, or of a kind we do not know, are `OpaqueDelta`s whose value is
`{"type": KIND OF ITEM, "event": THE EVENT}`; fields of a message or call without a canonical place (`phase`,
`namespace`) precede the item as `{"type": FIELDS, "item": {...}}`.
"""

from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.chat.reply import is_json
from freehold.dialects.conversation import (
    Event,
    Failed,
    Finished,
    LogprobsDelta,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
)
from freehold.dialects.conversation import Refusal as RefusalPart
from freehold.dialects.responses.annotations import DIALECT, read_annotation, read_logprobs
from freehold.dialects.responses.errors import read_stream_error
from freehold.dialects.responses.framing import named_event
from freehold.dialects.responses.reasoning import BREAK, from_provider
from freehold.dialects.responses.reply import read_call, read_failed, read_item, rest_of
from freehold.dialects.responses.usage import read_finish, read_usage
from freehold.dialects.sse import DONE, SseSplitter
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact

_NOTHING = Raw(b"")


class _Wire(Struct, gc=False):
    """Any event of the stream; which fields matter depends on `type`."""

    type: Any = None
    output_index: int | None = 0
    summary_index: Any = 0
    delta: Any = None
    logprobs: Any = None
    annotation: Any = None
    item: Raw = _NOTHING
    response: Raw = _NOTHING


_DECODER = msgspec.json.Decoder(_Wire)
_DICT = msgspec.json.Decoder(dict[str, Any])
_ANY = msgspec.json.Decoder()


class _Item:
    """An item in progress. `kind`: its type. `said`: how much of it deltas have told. `cited`: any annotation seen."""

    __slots__ = ("arguments", "cited", "custom", "id", "kind", "said", "section", "source", "tool")

    def __init__(self, kind: str, identity: str | None) -> None:
        self.kind = kind
        self.id = identity
        self.said = 0
        self.cited = False
        self.tool = -1
        self.custom = False
        self.arguments: list[str] = []
        self.section: Any = None
        """Index of the open part of a summary."""
        self.source = ""
        """Which of the two tells the thoughts, the summary or the text itself: whichever came first."""


class StreamReader:
    """Bytes of an SSE stream in, canonical events out, whatever the chunk boundaries.

    `complete` becomes True with the event that ends a whole answer; what follows it carries nothing.
    """

    def __init__(self) -> None:
        self.complete = False
        self._splitter = SseSplitter()
        self._items: dict[Any, _Item] = {}
        self._tools = 0
        self._whole_call = False
        self._refused = False
        self._started = False
        self._ended = False
        self._response = ""
        self._seen = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises UpstreamBroken for an event that is not JSON or larger than 16 MiB."""
        events: list[Event] = []
        for raw in self._splitter.feed(chunk):
            if (event := named_event(raw)) is not None:
                self._read(*event, events)
        return events

    def close(self) -> list[Event]:
        """What a last event that only lacked its blank line says; one cut in half says nothing: see `complete`."""
        events: list[Event] = []
        if (event := named_event(self._splitter.close())) is not None:
            with suppress(UpstreamBroken):
                self._read(*event, events)
        return events

    def _read(self, name: bytes, data: bytes, events: list[Event]) -> None:
        if self._ended or data.startswith(DONE):
            return
        try:
            wire = _DECODER.decode(data)
            kind = wire.type
            if kind == "response.output_text.delta":
                item = self._items.get(wire.output_index)
                if item is not None and item.kind != "message":
                    self._opaque(item, data, events)
                    return
                identity = None
                if item is not None:
                    item.said += 1
                    identity = item.id
                if (text := wire.delta) and type(text) is str:
                    events.append(TextDelta(text, 0, None, None, identity))
                if wire.logprobs and (tokens := read_logprobs(wire.logprobs)) is not None:
                    events.append(LogprobsDelta(tokens))
            elif type(kind) is str and (reader := _READERS.get(kind)) is not None:
                reader(self, wire, events)
            elif kind == "error" or (name == b"error" and kind is None):
                self._ended = True
                events.append(read_stream_error(_ANY.decode(data)))
            elif type(kind) is str and kind not in _REPEATED:
                self._other(wire, data, events)
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None

    # The response

    def _start(self, wire: _Wire, events: list[Event]) -> None:
        fields = _object(wire.response)
        if self._started:
            return
        self._started = True
        created = fields.get("created_at")
        self._response = _text(fields.get("id"))
        events.append(
            Started(
                self._response,
                _text(fields.get("model")),
                int(created) if isinstance(created, int | float) and abs(created) < 1e12 else 0,
            )
        )

    def _end(self, wire: _Wire, events: list[Event]) -> None:
        fields = _object(wire.response)
        self._start(wire, events)
        output = fields.get("output")
        if not self._seen and isinstance(output, list):
            for index, item in enumerate(output):
                if isinstance(item, dict):
                    self._whole(index, item, events)
        self._ended = True
        if (usage := read_usage(fields.get("usage"))) is not None:
            events.append(Metered(usage))
        status = fields.get("status") or str(wire.type).removeprefix("response.")
        if wire.type == "response.failed" or status in ("failed", "cancelled"):
            events.append(read_failed({**fields, "status": "failed"}) or Failed("The response failed."))
            return
        details = fields.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        finish = read_finish(status, reason, self._whole_call) or "stop"
        self.complete = True
        events.append(Finished(finish, refused=self._refused))

    # Items

    def _added(self, wire: _Wire, events: list[Event]) -> None:
        value = _object(wire.item)
        if value and wire.output_index not in self._items:
            self._open(wire.output_index, value, events)

    def _open(self, index: Any, value: dict[str, Any], events: list[Event]) -> _Item:
        self._seen = True
        kind = _text(value.get("type"))
        item = self._items[index] = _Item(kind, _text(value.get("id")) or None)
        if kind in ("message", "function_call", "custom_tool_call"):
            if rest := rest_of(value):
                events.append(OpaqueDelta(DIALECT, {"type": ",".join(rest), "item": rest}))
            if kind != "message":
                call = read_call(value, self._response, self._tools)
                item.tool, item.custom = self._tools, call.custom
                self._tools += 1
                events.append(ToolStarted(item.tool, call.id, call.name, custom=call.custom, item_id=item.id))
        elif kind != "reasoning":
            event = {"type": "response.output_item.added", "output_index": index, "item": value}
            events.append(OpaqueDelta(DIALECT, {"type": kind or "item", "event": event}))
        return item

    def _done(self, wire: _Wire, events: list[Event]) -> None:
        value = _object(wire.item)
        if value:
            self._whole(wire.output_index, value, events)

    def _whole(self, index: Any, value: dict[str, Any], events: list[Event]) -> None:
        """The end of an item, with all of it: says what no delta said."""
        item = self._items.get(index)
        if item is None or item.kind != _text(value.get("type")):
            item = self._open(index, value, events)
        if item.kind == "message":
            self._end_message(item, value, events)
        elif item.kind == "reasoning":
            self._end_reasoning(item, value, events)
        elif item.tool >= 0:
            self._end_call(item, value, events)
        else:
            event = {"type": "response.output_item.done", "output_index": index, "item": value}
            events.append(OpaqueDelta(DIALECT, {"type": item.kind or "item", "event": event}))

    def _end_message(self, item: _Item, value: dict[str, Any], events: list[Event]) -> None:
        logprobs: list[Any] = []
        for part in read_item(value, self._response, 0, logprobs):
            if isinstance(part, Text):
                if part.text and not item.said:
                    events.append(TextDelta(part.text, item_id=item.id))
                if not item.cited:
                    events += [TextDelta("", citation=citation, item_id=item.id) for citation in part.citations or []]
            elif isinstance(part, RefusalPart) and not item.said:
                self._refused = True
                events.append(RefusalDelta(part.text, item_id=item.id))
        if not item.said and (tokens := read_logprobs(logprobs)) is not None:
            events.append(LogprobsDelta(tokens))

    def _end_reasoning(self, item: _Item, value: dict[str, Any], events: list[Event]) -> None:
        part = from_provider(value)
        if part is None:
            if not item.said:
                event = {"type": "response.output_item.done", "item": value}
                events.append(OpaqueDelta(DIALECT, {"type": "reasoning", "event": event}))
            return
        text = "" if item.said else part.text
        if text or part.signature is not None:
            events.append(ThinkingDelta(text, part.signature, id=part.id or item.id))

    def _end_call(self, item: _Item, value: dict[str, Any], events: list[Event]) -> None:
        call: ToolCall = read_call(value, self._response, item.tool)
        if not item.said and call.arguments:
            events.append(ToolDelta(item.tool, call.arguments))
            item.arguments.append(call.arguments)
        if item.custom or is_json("".join(item.arguments)):
            self._whole_call = True

    # Deltas

    def _arguments(self, wire: _Wire, events: list[Event]) -> None:
        item = self._items.get(wire.output_index)
        text = wire.delta
        if item is not None and item.tool >= 0 and text and type(text) is str:
            item.said += 1
            item.arguments.append(text)
            events.append(ToolDelta(item.tool, text))

    def _refusal(self, wire: _Wire, events: list[Event]) -> None:
        item = self._items.get(wire.output_index)
        if item is not None:
            item.said += 1
        if (text := wire.delta) and type(text) is str:
            self._refused = True
            events.append(RefusalDelta(text, item_id=item.id if item is not None else None))

    def _annotation(self, wire: _Wire, events: list[Event]) -> None:
        citation = read_annotation(wire.annotation)
        if citation is not None:
            item = self._items.get(wire.output_index)
            if item is not None:
                item.cited = True
            events.append(TextDelta("", citation=citation, item_id=item.id if item is not None else None))

    def _think(self, wire: _Wire, events: list[Event]) -> None:
        text, item = wire.delta, self._items.get(wire.output_index)
        if not text or type(text) is not str:
            return
        if item is not None:
            source = "text" if wire.type == "response.reasoning_text.delta" else "summary"
            item.source = item.source or source
            if item.source != source:
                return
            if item.said and source == "summary" and wire.summary_index != item.section:
                text = BREAK + text
            item.section = wire.summary_index
            item.said += 1
        events.append(ThinkingDelta(text, id=item.id if item is not None else None))

    # Whatever else

    def _other(self, wire: _Wire, data: bytes, events: list[Event]) -> None:
        item = self._items.get(wire.output_index)
        if item is None or (item.tool < 0 and item.kind not in ("message", "reasoning")):
            self._opaque(item, data, events)

    def _opaque(self, item: _Item | None, data: bytes, events: list[Event]) -> None:
        value = _DICT.decode(data)
        value.pop("sequence_number", None)
        kind = item.kind if item is not None and item.kind else _text(value.get("type"))
        events.append(OpaqueDelta(DIALECT, {"type": kind, "event": value}))


def _object(raw: Raw) -> dict[str, Any]:
    value = _ANY.decode(raw) if len(raw) else None
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_READERS: dict[str, Any] = {
    "response.created": StreamReader._start,
    "response.in_progress": StreamReader._start,
    "response.completed": StreamReader._end,
    "response.incomplete": StreamReader._end,
    "response.failed": StreamReader._end,
    "response.cancelled": StreamReader._end,
    "response.output_item.added": StreamReader._added,
    "response.output_item.done": StreamReader._done,
    "response.function_call_arguments.delta": StreamReader._arguments,
    "response.custom_tool_call_input.delta": StreamReader._arguments,
    "response.refusal.delta": StreamReader._refusal,
    "response.output_text.annotation.added": StreamReader._annotation,
    "response.reasoning_summary_text.delta": StreamReader._think,
    "response.reasoning_summary.delta": StreamReader._think,
    "response.reasoning_text.delta": StreamReader._think,
}

_REPEATED = frozenset(
    {
        "response.queued",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.refusal.done",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary.done",
        "response.reasoning_text.done",
        "keepalive",
    }
)
"""Events that say nothing their neighbours do not."""
