"""Streams of the Messages dialect: a provider's read as canonical events, canonical events written for a client.

Wire (https://platform.claude.com/docs/en/build-with-claude/streaming): `message_start`, then for each content block
`content_block_start`, deltas and `content_block_stop` with a dense index, then `message_delta` with the stop reason and
the final usage, then `message_stop`. `ping` may come anywhere; `error` ends the stream.

The reader is tolerant: a second `message_start`, events without a name, blocks never stopped, deltas of blocks never
started and unknown events are survived. A tool call without arguments ends as `{}`. A block we do not know is gathered
whole and comes out as one `OpaqueDelta` at its end.

A citation backs its whole text block but comes before the text, and other dialects know no blocks of text: it is held
back until the block ends, and then says which characters it stands on. Usage that cannot be true is not passed on;
where earlier numbers were good, the output is our own count.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import (
    Citation,
    Event,
    Finished,
    Metered,
    OpaqueDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.messages.citations import DIALECT, read_citation
from freehold.dialects.messages.errors import WireError, failed
from freehold.dialects.messages.reply import read_finish
from freehold.dialects.messages.usage import WireUsage, read_usage
from freehold.dialects.sse_reader import SseReader
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact


class _Delta(Struct):
    """Any `delta`; which fields matter depends on `type`, which `message_delta` has none of."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Message(Struct):
    id: str = ""
    model: str = ""
    usage: WireUsage | None = None


class WireEvent(Struct):
    """Any event of the stream."""

    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: Raw = Raw(b"")
    message: _Message | None = None
    usage: WireUsage | None = None
    error: WireError | None = None


class _Start(Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class _Block(Struct):
    """A block in progress. `kind`: text, thinking, tool, json (the forced JSON tool), opaque."""

    kind: str
    begin: int = 0
    """Where a text block begins in the run of text blocks that it continues."""
    citations: list[Citation] = []
    tool: int = 0
    arguments: bool = False
    """Whether any argument text was passed on."""
    input: str = "{}"
    """What the start event said, used when no argument text follows."""
    value: dict[str, Any] = {}
    pieces: list[str] = []


BYTES_A_TOKEN = 4
"""For our own count; as the gateway estimates where a provider says nothing."""

EVENT = msgspec.json.Decoder(WireEvent)
_START = msgspec.json.Decoder(_Start)
_DICT = msgspec.json.Decoder(dict[str, Any])


class StreamReader(SseReader):
    """Bytes of an SSE stream in, canonical events out, whatever the chunk boundaries.

    `complete` becomes True with the stop reason: what follows it carries nothing. `json_tool` as in `read_reply`.
    """

    def __init__(self, json_tool: str | None = None) -> None:
        super().__init__()
        self.complete = False
        self._json_tool = json_tool
        self._blocks: dict[int, _Block] = {}
        self._tools = 0
        self._started = False
        self._usage: Usage | None = None
        self._lied = False
        self._run = 0
        """Characters of text since anything else."""
        self._size = 0
        """Characters of everything."""

    def _read(self, data: bytes, events: list[Event]) -> None:
        if self._failed:
            return
        try:
            event = EVENT.decode(data)
            kind = event.type
            if kind == "content_block_delta":
                if event.delta is not None:
                    self._delta(event.index, event.delta, events)
            elif kind == "content_block_start":
                if len(event.content_block):
                    self._start(event.index, event.content_block, events)
            elif kind == "content_block_stop":
                self._stop(event.index, events)
            elif kind == "message_start":
                self._message(event.message, events)
            elif kind == "message_delta":
                self._end(event, events)
            elif kind == "error":
                self._failed = True
                events.append(failed(event.error))
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None

    def _message(self, message: _Message | None, events: list[Event]) -> None:
        if message is None:
            return
        if not self._started:
            self._started = True
            events.append(Started(message.id, message.model))
        if message.usage is not None:
            self._meter(message.usage, events)

    def _meter(self, wire: WireUsage, events: list[Event]) -> None:
        usage = read_usage(wire, self._usage)
        if usage is None:
            self._lied = True
            if self._usage is None:
                return
            counted = max(self._usage.output, self._size // BYTES_A_TOKEN)
            usage = msgspec.structs.replace(self._usage, output=counted, estimated=True)
        elif self._lied and wire.input_tokens is None:
            return
        self._usage = usage
        events.append(Metered(usage))

    def _start(self, index: int, raw: Raw, events: list[Event]) -> None:
        if index in self._blocks:
            self._stop(index, events)
        start = _START.decode(raw)
        block = _Block("opaque")
        self._blocks[index] = block
        match start.type:
            case "text":
                block.kind, block.begin = "text", self._run
                if start.text:
                    self._text(start.text, events)
            case "thinking":
                block.kind = "thinking"
                if start.thinking or start.signature:
                    self._interrupt(ThinkingDelta(start.thinking or "", start.signature or None), events)
            case "redacted_thinking":
                block.kind = "thinking"
                self._interrupt(ThinkingDelta(redacted=start.data), events)
            case "tool_use":
                given = bytes(start.input).decode()
                block.input = "{}" if given == "null" else given
                if start.name == self._json_tool:
                    block.kind = "json"
                else:
                    block.kind, block.tool = "tool", self._tools
                    self._tools += 1
                    self._interrupt(ToolStarted(block.tool, start.id, start.name), events)
            case _:
                block.value = _DICT.decode(raw)
                block.pieces = []

    def _delta(self, index: int, delta: _Delta, events: list[Event]) -> None:
        kind = delta.type
        block = self._blocks.get(index)
        if kind == "text_delta":
            if block is not None and block.kind == "opaque":
                block.value["text"] = f"{block.value.get('text') or ''}{delta.text or ''}"
            elif delta.text:
                self._text(delta.text, events)
        elif kind == "thinking_delta":
            if delta.thinking:
                self._size += len(delta.thinking)
                self._interrupt(ThinkingDelta(delta.thinking), events)
        elif kind == "signature_delta":
            if delta.signature:
                self._interrupt(ThinkingDelta(signature=delta.signature), events)
        elif kind == "citations_delta":
            if block is not None and block.kind == "text":
                block.citations = [*block.citations, read_citation(delta.citation)]
            else:
                events.append(TextDelta("", citation=read_citation(delta.citation)))
        elif kind == "input_json_delta" and block is not None and delta.partial_json:
            self._size += len(delta.partial_json) if block.kind != "json" else 0
            if block.kind == "tool":
                block.arguments = True
                events.append(ToolDelta(block.tool, delta.partial_json))
            elif block.kind == "json":
                block.arguments = True
                self._text(delta.partial_json, events)
            elif block.kind == "opaque":
                block.pieces.append(delta.partial_json)

    def _text(self, text: str, events: list[Event]) -> None:
        self._run += len(text)
        self._size += len(text)
        events.append(TextDelta(text))

    def _interrupt(self, event: Event, events: list[Event]) -> None:
        """Content that is no text ends the run of it."""
        self._run = 0
        events.append(event)

    def _stop(self, index: int, events: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        for citation in block.citations:
            citation.start, citation.end = block.begin, self._run
            events.append(TextDelta("", citation=citation))
        if block.kind == "tool" and not block.arguments:
            events.append(ToolDelta(block.tool, block.input))
        elif block.kind == "json" and not block.arguments:
            self._text(block.input, events)
        elif block.kind == "opaque":
            if block.pieces:
                block.value["input"] = _whole("".join(block.pieces))
            self._interrupt(OpaqueDelta(DIALECT, block.value), events)

    def _end(self, event: WireEvent, events: list[Event]) -> None:
        if event.usage is not None:
            self._meter(event.usage, events)
        delta = event.delta
        if delta is None or delta.stop_reason is None or self.complete:
            return
        for index in list(self._blocks):
            self._stop(index, events)
        self.complete = True
        finish = read_finish(delta.stop_reason, self._tools > 0)
        events.append(Finished(finish, stop_sequence=delta.stop_sequence, refused=delta.stop_reason == "refusal"))


def _whole(text: str) -> Any:
    """The input of a server tool; one that was cut off stays text."""
    try:
        return msgspec.json.decode(text)
    except MALFORMED:
        return text
