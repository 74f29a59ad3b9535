"""Writes canonical events as a Cohere chat stream.

Blocks and calls follow one another as Cohere's own do: the open one is ended when the kind changes, indexes are dense,
content and calls each counting from 0. Calls of other dialects may arrive interleaved; one that starts while the call
before it is incomplete waits for its turn. Usage stands in the `message-end`, which is written at `close` because other
dialects send usage after the finish reason; then `[DONE]`. After an error nothing follows.

Only the first choice is shown. A text delta costs a few microseconds: its bytes are prepared when the block opens.
"""

from typing import Any

import msgspec

from freehold.dialects.cohere.blocks import report
from freehold.dialects.cohere.citations import is_lost, write_citation
from freehold.dialects.cohere.content import DIALECT, PLAN_ID
from freehold.dialects.cohere.errors import write_stream_error
from freehold.dialects.cohere.usage import write_finish, write_logprobs, write_usage
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
from freehold.dialects.sse import DONE, sse
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name
from freehold.errors import FreeholdError, UpstreamBroken

_encode = msgspec.json.Encoder().encode

_END = b"}}}}\n\n"
_TOOL_END = b"}}}}}\n\n"
_PLAN = b'event: tool-plan-delta\ndata: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":'


class _Call:
    """A tool call: open, or waiting for its turn."""

    __slots__ = ("arguments", "start")

    def __init__(self, start: ToolStarted) -> None:
        self.start = start
        self.arguments: list[str] = []


class StreamWriter:
    """`write` turns one event into the bytes of none, one or several; `close` or `fail` ends the stream, once.

    `id` is what the client sees, where empty what `Started` says. `model`, `created` and `include_usage` have no place
    in this dialect. `losses` collects what could not be shown.
    """

    def __init__(self, id: str, model: str = "", created: int = 0, include_usage: bool = True) -> None:
        self._id = id
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._started = False
        self._ended = False
        self._index = -1
        self._kind = ""
        """The open block: text, thinking, tool, or empty for none."""
        self._delta = b""
        """The bytes of a delta event of the open block up to its value."""
        self._text: list[str] = []
        """The texts of the last text block, for the citations on it."""
        self._calls = -1
        self._call: _Call | None = None
        self._waiting: dict[int, _Call] = {}
        self._citations = 0
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        """The bytes of one event; empty where it has none here, and after the end."""
        if self._ended:
            return b""
        if type(event) is TextDelta:
            if event.choice:
                return b""
            if self._kind == "text" and event.citation is None and event.signature is None:
                if not event.text:
                    return b""
                self._text.append(event.text)
                return self._delta + _encode(event.text) + _END
            return self._write_text(event)
        if type(event) is Started:
            self._id = self._id or event.id
            return self._begin()
        if type(event) is Metered:
            self._usage = event.usage
            return b""
        if type(event) is Failed:
            return self.fail(UpstreamBroken(event.message, code=event.code, status=event.status), "")
        return b"" if event.choice else self._write(event)  # type: ignore[union-attr]

    def _write(self, event: Event) -> bytes:
        match event:
            case ThinkingDelta():
                return self._thinking(event)
            case ToolStarted():
                return self._tool_started(event)
            case ToolDelta():
                return self._tool_delta(event)
            case RefusalDelta():
                return self._write_text(TextDelta(event.text))
            case OpaqueDelta():
                return self._opaque(event)
            case LogprobsDelta():
                return self._logprobs(event)
            case Finished():
                self._finished = event
            case AudioDelta():
                report(self.losses, "audio")
                return self._write_text(TextDelta(event.transcript))
            case MediaDelta():
                report(self.losses, f"content.{type(event.part).__name__.lower()}")
        return b""

    def close(self) -> bytes:
        """The end of a whole stream. Where no finish was ever written: the error of a cut one instead."""
        if self._ended:
            return b""
        finished = self._finished
        if finished is None:
            return self.fail(UpstreamBroken("The provider's stream ended without a finish."), "")
        if finished.finish == "error":
            return self.fail(UpstreamBroken("The provider's model stopped with an error."), "")
        pieces = [self._begin(), self._flush(), self._stop()]
        reason = write_finish(finished.finish, finished.stop_sequence)
        delta: dict[str, Any] = {"finish_reason": reason}
        if self._usage is not None:
            delta["usage"] = write_usage(self._usage)
        pieces += [sse(_encode({"type": "message-end", "delta": delta}), b"message-end"), sse(DONE)]
        self._ended = True
        return b"".join(pieces)

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """Ends the stream with an error, where it has not ended yet."""
        if self._ended:
            return b""
        self._ended = True
        return write_stream_error(error, request_id or self._id)

    # Blocks

    def _begin(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        return sse(_encode({"id": self._id, "type": "message-start", "delta": {"message": message}}), b"message-start")

    def _open(self, kind: str) -> bytes:
        """Ends the open block and starts a text or thinking block."""
        before = self._begin() + self._flush() + self._stop()
        self._index += 1
        self._kind = kind
        self._delta = (
            b'event: content-delta\ndata: {"type":"content-delta","index":%d,"delta":{"message":{"content":{"%b":'
            % (self._index, kind.encode())
        )
        start = {
            "type": "content-start",
            "index": self._index,
            "delta": {"message": {"content": {"type": kind, kind: ""}}},
        }
        return before + sse(_encode(start), b"content-start")

    def _stop(self) -> bytes:
        kind, self._kind = self._kind, ""
        if not kind:
            return b""
        if kind != "tool":
            return b'event: content-end\ndata: {"type":"content-end","index":%d}\n\n' % self._index
        call, self._call = self._call, None
        rest = b"" if call is None else self._rest_of(call)
        return rest + b'event: tool-call-end\ndata: {"type":"tool-call-end","index":%d}\n\n' % self._calls

    def _rest_of(self, call: _Call) -> bytes:
        """`{}` for a call without arguments, and the text of a custom one, which is no JSON before it is whole."""
        if call.start.custom:
            whole = _encode({"input": "".join(call.arguments)}).decode()
            return self._delta + _encode(whole) + _TOOL_END
        return b"" if call.arguments else self._delta + b'"{}"' + _TOOL_END

    def _write_text(self, event: TextDelta) -> bytes:
        pieces = []
        if event.text:
            if self._kind != "text":
                pieces.append(self._open("text"))
                self._text = []
            self._text.append(event.text)
            pieces.append(self._delta + _encode(event.text) + _END)
        if event.citation is not None:
            pieces.append(self._cite(event.citation))
        return b"".join(pieces)

    def _cite(self, citation: Any) -> bytes:
        if is_lost(citation):
            report(self.losses, "citations")
            return b""
        raw = write_citation(citation, "".join(self._text), max(self._index, 0))
        if raw is None:
            return b""
        number = self._citations
        self._citations += 1
        start = {"type": "citation-start", "index": number, "delta": {"message": {"citations": raw}}}
        end = b'event: citation-end\ndata: {"type":"citation-end","index":%d}\n\n' % number
        return self._begin() + sse(_encode(start), b"citation-start") + end

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if event.redacted is not None or event.signature is not None:
            report(self.losses, "thinking.redacted" if event.redacted is not None else "thinking.signature")
        if not event.text:
            return b""
        if event.id is not None and event.id.startswith(PLAN_ID):
            before = self._begin() + self._flush() + self._stop()
            return before + _PLAN + _encode(event.text) + b"}}}\n\n"
        opened = b"" if self._kind == "thinking" else self._open("thinking")
        return opened + self._delta + _encode(event.text) + _END

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        """They stand beside the text they belong to; here that has gone out, so they come with an empty one."""
        items = write_logprobs(event.value)
        if not items:
            return b""
        opened = b"" if self._kind == "text" else self._open("text")
        delta = {"message": {"content": {"text": ""}}}
        return opened + b"".join(
            sse(
                _encode({"type": "content-delta", "index": self._index, "delta": delta, "logprobs": item}),
                b"content-delta",
            )
            for item in items
        )

    def _opaque(self, event: OpaqueDelta) -> bytes:
        value = event.value
        if event.dialect != DIALECT or not isinstance(value, dict):
            report(self.losses, f"content.{opaque_name(value)}")
            return b""
        if "$citations" in value:
            pieces = [self._begin()]
            for raw in value["$citations"]:
                start = {"type": "citation-start", "index": self._citations, "delta": {"message": {"citations": raw}}}
                pieces.append(sse(_encode(start), b"citation-start"))
                pieces.append(b'event: citation-end\ndata: {"type":"citation-end","index":%d}\n\n' % self._citations)
                self._citations += 1
            return b"".join(pieces)
        kind = value.get("type")
        return self._begin() + sse(_encode(value), kind.encode() if isinstance(kind, str) else b"")

    # Tool calls

    def _tool_started(self, event: ToolStarted) -> bytes:
        call = _Call(event)
        if self._waiting or (self._call is not None and not _is_whole(self._call)):
            self._waiting[event.index] = call
            return b""
        return self._open_call(call)

    def _open_call(self, call: _Call) -> bytes:
        before = self._begin() + self._stop()
        self._calls += 1
        self._kind = "tool"
        self._call = call
        self._delta = (
            b'event: tool-call-delta\ndata: {"type":"tool-call-delta","index":%d,'
            b'"delta":{"message":{"tool_calls":{"function":{"arguments":' % self._calls
        )
        start = call.start
        wire = {"id": start.id, "type": "function", "function": {"name": start.name, "arguments": ""}}
        event = {"type": "tool-call-start", "index": self._calls, "delta": {"message": {"tool_calls": wire}}}
        return before + sse(_encode(event), b"tool-call-start")

    def _tool_delta(self, event: ToolDelta) -> bytes:
        if not event.arguments:
            return b""
        call = self._call
        if call is None or call.start.index != event.index:
            if (waiting := self._waiting.get(event.index)) is not None:
                waiting.arguments.append(event.arguments)
            return b""
        call.arguments.append(event.arguments)
        return b"" if call.start.custom else self._delta + _encode(event.arguments) + _TOOL_END

    def _flush(self) -> bytes:
        """The calls that waited, each whole."""
        if not self._waiting:
            return b""
        waiting, self._waiting = self._waiting, {}
        pieces = []
        for call in waiting.values():
            arguments, call.arguments = call.arguments, []
            pieces.append(self._open_call(call))
            pieces.append(self._tool_delta(ToolDelta(call.start.index, "".join(arguments))))
        return b"".join(pieces)


def _is_whole(call: _Call) -> bool:
    """Whether the argument text so far is a JSON object, so that the call needs no more."""
    try:
        return call.start.custom or isinstance(msgspec.json.decode("".join(call.arguments)), dict)
    except MALFORMED:
        return False
