"""Reads ConverseStream: event frames in, canonical events out.

Wire (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html): `messageStart`, then for
each block `contentBlockStart` (only tools and images have one), `contentBlockDelta`s and `contentBlockStop`, then
`messageStop` with the reason, then `metadata` with the usage. An exception frame ends the stream. `p` is padding
against guessing from lengths, and carries nothing.

Blocks of tools that AWS runs itself are gathered whole and come out as one `OpaqueDelta` at their end.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import (
    Event,
    Failed,
    Finished,
    Image,
    MediaDelta,
    Metered,
    OpaqueDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
)
from freehold.dialects.converse.citations import DIALECT, read_citation
from freehold.dialects.converse.errors import failed
from freehold.dialects.converse.reply import SERVER_TOOL, WireImage, made_id, stop_sequence
from freehold.dialects.converse.thoughts import read_redacted
from freehold.dialects.converse.usage import WireUsage, read_finish, read_usage
from freehold.dialects.eventstream import Frame, FrameParser
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact

MOST_HELD = 32 * 1024 * 1024
"""Bytes of blocks that are shown only when they are whole, all together."""


class _Input(Struct):
    input: str = ""


class _Reasoning(Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Delta(Struct, rename="camel"):
    text: str | None = None
    tool_use: _Input | None = None
    reasoning_content: _Reasoning | None = None
    citation: Any = None
    tool_result: list[Any] | None = None
    image: WireImage | None = None


class _DeltaEvent(Struct, rename="camel"):
    content_block_index: int = 0
    delta: _Delta | None = None


class _ToolUse(Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    type: str | None = None


class _Start(Struct, rename="camel"):
    tool_use: _ToolUse | None = None
    tool_result: dict[str, Any] | None = None
    image: WireImage | None = None


class _StartEvent(Struct, rename="camel"):
    content_block_index: int = 0
    start: _Start | None = None


class _StopEvent(Struct, rename="camel"):
    content_block_index: int = 0


class _MessageStop(Struct, rename="camel"):
    stop_reason: str | None = None
    additional_model_response_fields: Any = None


class _Metadata(Struct):
    usage: WireUsage | None = None
    trace: Any = None


class _Block(Struct):
    """A block in progress. `kind`: tool, json (the forced JSON tool), server, result, image, redacted."""

    kind: str
    tool: int = 0
    spoke: bool = False
    """Whether any argument text was passed on."""
    value: dict[str, Any] = {}
    pieces: list[Any] = []


_DELTA = msgspec.json.Decoder(_DeltaEvent)
_START = msgspec.json.Decoder(_StartEvent)
_STOP = msgspec.json.Decoder(_StopEvent)
_MESSAGE_STOP = msgspec.json.Decoder(_MessageStop)
_METADATA = msgspec.json.Decoder(_Metadata)


class StreamReader:
    """Bytes of a ConverseStream answer in, canonical events out, whatever the chunk boundaries.

    `complete` becomes True with the stop reason; usage may still follow. `json_tool`, `id` and `model` as in
    `read_reply`; an id is made of the first bytes where none is given.
    """

    def __init__(self, json_tool: str | None = None, *, id: str = "", model: str = "") -> None:
        self.complete = False
        self._parser = FrameParser()
        self._json_tool = json_tool
        self._id = id
        self._model = model
        self._blocks: dict[int, _Block] = {}
        self._tools = 0
        self._held = 0
        self._started = False
        self._failed = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises UpstreamBroken for a broken frame, or an event that cannot be read."""
        if self._failed:
            return []
        events: list[Event] = []
        for frame in self._parser.feed(chunk):
            if not self._read(frame, events):
                break
        return events

    def close(self) -> list[Event]:
        """Nothing is held back; a frame cut in half says nothing: see `complete`."""
        return []

    def _read(self, frame: Frame, events: list[Event]) -> bool:
        """Whether more may follow."""
        headers, payload = frame
        if headers.get(":message-type") != "event":
            self._fail(headers, payload, events)
            return False
        try:
            match headers.get(":event-type"):
                case "contentBlockDelta":
                    if not self._started:
                        self._start(payload, events)
                    event = _DELTA.decode(payload)
                    if event.delta is not None:
                        self._delta(event.content_block_index, event.delta, events)
                case "contentBlockStart":
                    if not self._started:
                        self._start(payload, events)
                    start = _START.decode(payload)
                    if start.start is not None:
                        self._open(start.content_block_index, start.start, events)
                case "contentBlockStop":
                    self._stop(_STOP.decode(payload).content_block_index, events)
                case "messageStart":
                    if not self._started:
                        self._start(payload, events)
                case "messageStop":
                    self._end(_MESSAGE_STOP.decode(payload), events)
                case "metadata":
                    self._meter(_METADATA.decode(payload), events)
        except MALFORMED as error:
            raise UpstreamBroken(f"An event of the stream could not be read: {redact(str(error), 300)}.") from None
        return True

    def _start(self, payload: bytes, events: list[Event]) -> None:
        self._started = True
        events.append(Started(self._id or made_id(payload), self._model))

    def _fail(self, headers: Any, payload: bytes, events: list[Event]) -> None:
        self._failed = True
        if headers.get(":message-type") == "error":
            code, message = str(headers.get(":error-code") or ""), str(headers.get(":error-message") or "")
            events.append(Failed(redact(message) or "The provider broke off its stream.", code or None, 500))
        else:
            events.append(failed(str(headers.get(":exception-type") or ""), payload))

    def _open(self, index: int, start: _Start, events: list[Event]) -> None:
        if index in self._blocks:
            self._stop(index, events)
        if (use := start.tool_use) is not None:
            if use.type == SERVER_TOOL:
                value = {"toolUseId": use.tool_use_id, "name": use.name, "type": use.type}
                self._blocks[index] = _Block("server", value=value, pieces=[])
            elif use.name == self._json_tool:
                self._blocks[index] = _Block("json")
            else:
                self._blocks[index] = _Block("tool", self._tools)
                events.append(ToolStarted(self._tools, use.tool_use_id, use.name))
                self._tools += 1
        elif start.tool_result is not None:
            self._blocks[index] = _Block("result", value=start.tool_result, pieces=[])
        elif start.image is not None:
            self._blocks[index] = _Block("image", value={"format": start.image.format}, pieces=[])

    def _delta(self, index: int, delta: _Delta, events: list[Event]) -> None:
        if delta.text is not None:
            if delta.text:
                events.append(TextDelta(delta.text))
        elif delta.tool_use is not None:
            self._argue(index, delta.tool_use.input, events)
        elif (thought := delta.reasoning_content) is not None:
            if thought.redacted_content is not None:
                self._hold(index, "redacted", thought.redacted_content)
            elif thought.text or thought.signature:
                events.append(ThinkingDelta(thought.text or "", thought.signature or None))
        elif delta.citation is not None:
            events.append(TextDelta("", citation=read_citation(delta.citation)))
        elif delta.tool_result is not None:
            for piece in delta.tool_result:
                self._hold(index, "result", piece)
        elif delta.image is not None and delta.image.source is not None and delta.image.source.bytes:
            self._hold(index, "image", delta.image.source.bytes)

    def _argue(self, index: int, text: str, events: list[Event]) -> None:
        block = self._blocks.get(index)
        if block is None or not text:
            return
        if block.kind == "tool":
            block.spoke = True
            events.append(ToolDelta(block.tool, text))
        elif block.kind == "json":
            block.spoke = True
            events.append(TextDelta(text))
        elif block.kind == "server":
            self._hold(index, "server", text)

    def _hold(self, index: int, kind: str, piece: Any) -> None:
        block = self._blocks.get(index)
        if block is None or block.kind != kind:
            block = self._blocks[index] = _Block(kind, value={}, pieces=[])
        self._held += len(piece) if isinstance(piece, str) else len(msgspec.json.encode(piece))
        if self._held > MOST_HELD:
            raise UpstreamBroken(f"The provider's stream has blocks of over {MOST_HELD} bytes.")
        block.pieces.append(piece)

    def _stop(self, index: int, events: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        match block.kind:
            case "tool" if not block.spoke:
                events.append(ToolDelta(block.tool, "{}"))
            case "json" if not block.spoke:
                events.append(TextDelta("{}"))
            case "server":
                value = {**block.value, "input": _whole("".join(block.pieces))}
                events.append(OpaqueDelta(DIALECT, {"toolUse": value}))
            case "result":
                events.append(OpaqueDelta(DIALECT, {"toolResult": {**block.value, "content": block.pieces}}))
            case "image" if block.pieces:
                image = Image(f"image/{block.value.get('format') or 'png'}", _joined(block.pieces))
                events.append(MediaDelta(image))
            case "redacted":
                events.append(ThinkingDelta(redacted=read_redacted(_joined(block.pieces))))

    def _end(self, event: _MessageStop, events: list[Event]) -> None:
        if self.complete or event.stop_reason is None:
            return
        for index in list(self._blocks):
            self._stop(index, events)
        self.complete = True
        reason = event.stop_reason
        stopped = stop_sequence(event.additional_model_response_fields) if reason == "stop_sequence" else None
        events.append(
            Finished(read_finish(reason, self._tools > 0), stop_sequence=stopped, refused=reason == "refusal")
        )

    def _meter(self, event: _Metadata, events: list[Event]) -> None:
        if event.usage is not None:
            events.append(Metered(read_usage(event.usage)))


def _whole(text: str) -> Any:
    """The input of a server tool; one that was cut off stays text."""
    try:
        return msgspec.json.decode(text or "{}")
    except MALFORMED:
        return text


def _joined(pieces: list[str]) -> str:
    """Base64 of the bytes of several pieces of base64; pieces that are none are put together as they are."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return b64encode(b"".join(b64decode(piece, validate=True) for piece in pieces)).decode()
    except (Base64Error, ValueError):
        return "".join(pieces)
