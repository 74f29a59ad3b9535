"""Writes canonical events as an Anthropic event stream.

Blocks follow one another: the open one is stopped when the kind changes, indexes are dense. Calls of other dialects may
arrive interleaved; a call that starts while the one before it is still incomplete is held back until its turn.
Usage is 0 in `message_start`, where it is not yet known, and whole in `message_delta`, which waits for `close` because
other dialects send usage after the finish reason.

Only the first choice is shown, and what the dialect has no event for (log probabilities, pictures, sound but for its
transcript, foreign opaque events) is left out and noted in `losses`. A text delta costs a few microseconds: its bytes
are prepared when the block opens.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import (
    AudioDelta,
    Event,
    Failed,
    Finished,
    LogprobsDelta,
    Losses,
    MediaDelta,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.messages.citations import DIALECT, write_answered
from freehold.dialects.messages.errors import write_stream_error
from freehold.dialects.messages.usage import stop_reason, write_delta_usage, write_usage
from freehold.dialects.sse import sse
from freehold.dialects.tool_calls import anthropic_id
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name
from freehold.errors import FreeholdError, UpstreamBroken

_encode = msgspec.json.Encoder().encode

_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_END = b"}}\n\n"


class _Call:
    """A tool call that waits for its turn."""

    __slots__ = ("arguments", "start")

    def __init__(self, start: ToolStarted) -> None:
        self.start = start
        self.arguments: list[str] = []


class StreamWriter:
    """`write` turns one event into the bytes of none, one or several; `close` or `fail` ends the stream, once.

    `id` and `model` are what the client sees; where empty, what `Started` says. `created` and `include_usage` have no
    meaning in this dialect. `losses` collects what could not be shown.
    """

    def __init__(self, id: str, model: str, created: int = 0, include_usage: bool = True) -> None:
        self._id = id
        self._model = model
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._started = False
        self._ended = False
        self._refused = False
        self._index = -1
        self._kind = ""
        """The open block: text, thinking, tool, or empty for none."""
        self._delta = b""
        """The bytes of a delta event of the open block up to its value."""
        self._tool = -1
        """The canonical index of the open tool call, and its arguments so far."""
        self._arguments: list[str] = []
        self._waiting: dict[int, _Call] = {}
        self._custom = False
        """Whether the open call is a custom tool's, whose free text goes into one field of an object."""
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        if self._ended:
            return b""
        if isinstance(event, TextDelta):
            if self._kind == "text" and event.citation is None and not event.choice:
                return self._delta + _encode(event.text) + _END if event.text else b""
            return self._other_choice() if event.choice else self._text(event)
        if isinstance(event, Started):
            return self._start(event)
        if isinstance(event, Metered):
            self._usage = event.usage
            return b""
        if isinstance(event, Failed):
            return self.fail(UpstreamBroken(event.message, code=event.code, status=event.status), "")
        return self._other_choice() if event.choice else self._write(event)

    def _write(self, event: Event) -> bytes:
        match event:
            case ThinkingDelta():
                return self._thinking(event)
            case ToolStarted():
                return self._tool_started(event)
            case ToolDelta():
                return self._tool_delta(event)
            case RefusalDelta():
                self._refused = True
                return self._text(TextDelta(event.text))
            case OpaqueDelta():
                return self._opaque(event)
            case AudioDelta():
                self._lose("content.audio")
                return self._text(TextDelta(event.transcript))
            case MediaDelta():
                self._lose(f"content.{type(event.part).__name__.lower()}")
            case LogprobsDelta():
                self._lose("logprobs")
            case Finished():
                self._finished = event
        return b""

    def _other_choice(self) -> bytes:
        self._lose("choices")
        return b""

    def _lose(self, name: str) -> None:
        if name not in self.losses:
            self.losses.append(name)

    def close(self) -> bytes:
        """The end of a whole stream. Where no finish was ever written, or an error was it, the error event instead."""
        if self._ended:
            return b""
        finished = self._finished
        if finished is None:
            return self.fail(UpstreamBroken("The provider's stream ended without a finish."), "")
        if finished.finish == "error":
            return self.fail(UpstreamBroken("The provider's model stopped with an error."), "")
        pieces = [self._begin(), self._flush_tools(), self._stop()]
        reason = stop_reason(finished.finish, finished.stop_sequence, finished.refused or self._refused)
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": finished.stop_sequence},
            "usage": write_delta_usage(self._usage),
        }
        pieces += [sse(_encode(delta), b"message_delta"), _STOP]
        self._ended = True
        return b"".join(pieces)

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """The error event; nothing follows it."""
        if self._ended:
            return b""
        self._ended = True
        return write_stream_error(error, request_id)

    # Blocks

    def _start(self, event: Started) -> bytes:
        self._id = self._id or event.id
        self._model = self._model or event.model
        return self._begin()

    def _begin(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self._usage),
        }
        return sse(_encode({"type": "message_start", "message": message}), b"message_start")

    def _open(self, kind: str, block: dict[str, Any], delta: bytes) -> bytes:
        """Stops the open block and starts the next. `delta` is the head of this kind's delta object."""
        before = self._begin() + self._stop()
        self._index += 1
        self._kind = kind
        self._delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b' % (
            self._index,
            delta,
        )
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return before + sse(_encode(start), b"content_block_start")

    def _stop(self) -> bytes:
        if not self._kind:
            return b""
        end = b""
        if self._custom:
            end = self._delta + _encode('"}' if self._arguments else '{"input":""}') + _END
            self._custom = False
        self._kind = ""
        self._tool = -1
        return end + b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index

    def _text(self, event: TextDelta) -> bytes:
        citation = write_answered(event.citation) if event.citation is not None else None
        if event.citation is not None and citation is None:
            self._lose("content.citations")
        if not event.text and citation is None:
            return b""
        pieces = []
        if self._kind != "text":
            pieces.append(self._flush_tools())
            head = b'{"type":"text_delta","text":'
            pieces.append(self._open("text", {"type": "text", "text": ""}, head))
        if event.text:
            pieces.append(self._delta + _encode(event.text) + _END)
        if citation is not None:
            pieces.append(self._other_delta({"type": "citations_delta", "citation": citation}))
        return b"".join(pieces)

    def _other_delta(self, delta: dict[str, Any]) -> bytes:
        event = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return sse(_encode(event), b"content_block_delta")

    def _thinking(self, event: ThinkingDelta) -> bytes:
        """A signature ends its block: thoughts after it are a new one."""
        if event.redacted is not None:
            block = {"type": "redacted_thinking", "data": event.redacted}
            return self._flush_tools() + self._open("redacted", block, b"") + self._stop()
        if not event.text and event.signature is None:
            return b""
        pieces = []
        if self._kind != "thinking":
            pieces.append(self._flush_tools())
            head = b'{"type":"thinking_delta","thinking":'
            pieces.append(self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""}, head))
        if event.text:
            pieces.append(self._delta + _encode(event.text) + _END)
        if event.signature is not None:
            pieces.append(self._other_delta({"type": "signature_delta", "signature": event.signature}))
            pieces.append(self._stop())
        return b"".join(pieces)

    def _opaque(self, event: OpaqueDelta) -> bytes:
        """A whole block; a server tool's input is streamed, as its start event never has it."""
        block = event.value
        if event.dialect != DIALECT or not isinstance(block, dict) or not isinstance(block.get("type"), str):
            self._lose(f"content.{opaque_name(block)}")
            return b""
        pieces = [self._flush_tools()]
        arguments = block.get("input")
        if arguments and block["type"].endswith("tool_use"):
            pieces.append(self._open("opaque", {**block, "input": {}}, b'{"type":"input_json_delta","partial_json":'))
            pieces.append(self._delta + _encode(_encode(arguments).decode()) + _END)
        else:
            pieces.append(self._open("opaque", block, b""))
        pieces.append(self._stop())
        return b"".join(pieces)

    # Tool calls

    def _tool_started(self, event: ToolStarted) -> bytes:
        if self._waiting or (self._kind == "tool" and not self._custom and not _is_whole(self._arguments)):
            self._waiting[event.index] = _Call(event)
            return b""
        return self._open_tool(event)

    def _open_tool(self, event: ToolStarted) -> bytes:
        block = {"type": "tool_use", "id": anthropic_id(event.id), "name": event.name, "input": {}}
        opened = self._open("tool", block, b'{"type":"input_json_delta","partial_json":')
        self._tool = event.index
        self._arguments = []
        self._custom = event.custom
        return opened

    def _tool_delta(self, event: ToolDelta) -> bytes:
        if event.index == self._tool:
            if not event.arguments:
                return b""
            piece = event.arguments
            if self._custom:
                piece = ("" if self._arguments else '{"input":"') + _encode(piece)[1:-1].decode()
            self._arguments.append(event.arguments)
            return self._delta + _encode(piece) + _END
        if (call := self._waiting.get(event.index)) is not None:
            call.arguments.append(event.arguments)
        return b""

    def _flush_tools(self) -> bytes:
        """The calls that waited, each whole."""
        if not self._waiting:
            return b""
        pieces = []
        for index, call in self._waiting.items():
            pieces.append(self._open_tool(call.start))
            pieces.append(self._tool_delta(ToolDelta(index, "".join(call.arguments))))
        self._waiting = {}
        return b"".join(pieces)


def _is_whole(arguments: list[str]) -> bool:
    """Whether the argument text so far is a JSON object, so that the call needs no more."""
    try:
        return isinstance(msgspec.json.decode("".join(arguments)), dict)
    except MALFORMED:
        return False
