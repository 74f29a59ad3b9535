"""Writes canonical events as a Responses stream, in the full sequence of typed events.

Items follow one another: the open one is closed when the kind changes. Calls of other dialects may arrive interleaved;
each call has an item of its own, which the protocol allows to be open beside others, and is closed once its arguments
are whole and something else begins. Usage is told in the last event, which waits for `close` because other dialects
send usage after the finish reason.

Only the first choice is shown. A provider's failure inside its stream is `response.failed` with all there was; a stream
that breaks ends with `error` as well. After either, and after the end, `response()` is the object the stream has
described.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.reply import is_json
from freehold.dialects.conversation import (
    AudioDelta,
    Event,
    Failed,
    Finished,
    Image,
    LogprobsDelta,
    Losses,
    MediaDelta,
    Metered,
    OpaqueDelta,
    RefusalDelta,
    Started,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.responses.annotations import DIALECT, write_annotation, write_logprobs
from freehold.dialects.responses.envelope import Echo, encode, write_response
from freehold.dialects.responses.errors import response_error, write_stream_error
from freehold.dialects.responses.ids import item_id, response_id
from freehold.dialects.responses.names import Names
from freehold.dialects.responses.output import call_kind, image_item, lose
from freehold.dialects.responses.reasoning import to_client
from freehold.dialects.responses.stream_items import (
    TEXT_TAIL,
    Numbered,
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
)
from freehold.dialects.responses.usage import incomplete_reason, write_usage
from freehold.dialects.words import opaque_name
from freehold.errors import FreeholdError, UpstreamBroken


class StreamWriter:
    """`write` turns one event into the bytes of none, one or several; `close` or `fail` ends the stream, once.

    `id` and `model` are what the client sees; where empty, what `Started` says. `created` is Unix seconds. `echo` is
    what the response repeats of its request. `include_usage` has no meaning here: usage is part of this dialect.
    `losses` collects what could not be shown.
    """

    def __init__(
        self, id: str, model: str, created: int = 0, include_usage: bool = True, echo: Echo | None = None
    ) -> None:
        self.losses: Losses = []
        self._id = response_id(id)
        self._model = model
        self._created = created
        self._echo = echo
        self._names = echo.names if echo is not None else Names()
        self._out = Numbered()
        self._items: list[Any] = []
        """The output: an open item, or the object of a closed one."""
        self._message: OpenMessage | None = None
        self._thoughts: OpenReasoning | None = None
        self._calls: dict[int, OpenCall] = {}
        self._extra: dict[str, Any] = {}
        """Fields that belong to the item about to open."""
        self._opaque_index: dict[Any, int] = {}
        """The provider's index of an opaque item -> ours."""
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._started = False
        self._ended = False
        self._status = "in_progress"
        self._incomplete: str | None = None
        self._error: dict[str, Any] | None = None

    def write(self, event: Event) -> bytes:
        if type(event) is TextDelta:
            message = self._message
            if (
                message is not None
                and message.kind == "text"
                and event.citation is None
                and event.signature is None
                and not event.choice
                and event.item_id == message.source
            ):
                if not event.text:
                    return b""
                message.pieces.append(event.text)
                return self._out.delta(message.head, event.text, TEXT_TAIL)
        if self._ended or (not isinstance(event, _OF_ALL) and event.choice):
            return b""
        written: bytes = _WRITERS[type(event)](self, event)
        return written

    def close(self) -> bytes:
        """The end of a whole stream. Where no finish was ever written, or an error was it, the error event instead."""
        if self._ended:
            return b""
        finished = self._finished
        if finished is None:
            return self.fail(UpstreamBroken("The provider's stream ended without a finish."), "")
        if finished.finish == "error":
            return self.fail(UpstreamBroken("The provider's model stopped with an error."), "")
        self._incomplete = incomplete_reason(finished.finish)
        status = "completed" if self._incomplete is None else "incomplete"
        pieces = [self._begin(), self._close_message(status), self._close_thoughts(status)]
        pieces += [self._close_call(index, status) for index in list(self._calls)]
        self._status = status
        pieces.append(self._lifecycle(f"response.{status}"))
        self._end()
        return b"".join(pieces)

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """The failed response, which Codex looks for, then the error event, which SDKs raise; nothing follows it."""
        if self._ended:
            return b""
        self._fail(error.text, error.code, error.status)
        failed = self._lifecycle("response.failed")
        return failed + write_stream_error(error, request_id, self._out.next)

    def response(self) -> dict[str, Any]:
        """The response object as the stream has described it so far, in plain JSON values; final once it has ended.

        Raises UpstreamBroken where the provider nested an item too deeply to be decoded again.
        """
        try:
            value: dict[str, Any] = msgspec.json.decode(self.response_json())
        except RecursionError:
            raise UpstreamBroken("The provider's answer is nested too deeply.") from None
        return value

    def response_json(self) -> bytes:
        """The same as JSON, for whoever keeps it."""
        return encode(self._response())

    # The response

    def _response(self) -> dict[str, Any]:
        unfinished = "in_progress" if self._status == "in_progress" else "incomplete"
        return write_response(
            self._echo,
            identity=self._id,
            model=self._model,
            created=self._created,
            status=self._status,
            output=[item.item(unfinished) if isinstance(item, OpenItem) else item for item in self._items],
            usage=write_usage(self._usage) if self._usage is not None else None,
            incomplete=self._incomplete,
            error=self._error,
        )

    def _lifecycle(self, kind: str) -> bytes:
        return self._out.event(kind, {"response": self._response()})

    def _fail(self, message: str, code: str | None, status: int | None) -> None:
        self._status = "failed"
        self._error = response_error(message, code, status)
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._message = None

    def _start(self, event: Started) -> bytes:
        self._id = self._id or response_id(event.id)
        self._model = self._model or event.model
        self._created = self._created or event.created
        return self._begin()

    def _begin(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return self._lifecycle("response.created") + self._lifecycle("response.in_progress")

    def _metered(self, event: Metered) -> bytes:
        self._usage = event.usage
        return b""

    def _finish(self, event: Finished) -> bytes:
        self._finished = event
        return b""

    def _failed(self, event: Failed) -> bytes:
        begun = self._begin()
        self._fail(event.message, event.code, event.status)
        return begun + self._lifecycle("response.failed")

    # Items

    def _next(self, prefix: str, identity: str | None) -> tuple[int, str, dict[str, Any]]:
        """Place, id and odd fields of the item about to open."""
        extra, self._extra = self._extra, {}
        index = len(self._items)
        return index, identity or item_id(prefix, self._id, index), extra

    def _close_message(self, status: str = "completed") -> bytes:
        message, self._message = self._message, None
        if message is None:
            return b""
        closed = message.close(status)
        self._items[message.index] = message.item(status)
        return closed

    def _close_thoughts(self, status: str = "completed") -> bytes:
        thoughts, self._thoughts = self._thoughts, None
        if thoughts is None:
            return b""
        self._items[thoughts.index] = thoughts.item(status)
        return thoughts.close(status)

    def _close_call(self, index: int, status: str = "completed") -> bytes:
        call = self._calls.pop(index)
        closed = call.close(status)
        self._items[call.index] = call.item(status)
        return closed

    def _close_whole_calls(self) -> bytes:
        whole = [index for index, call in self._calls.items() if call.custom or is_json("".join(call.pieces))]
        return b"".join([self._close_call(index) for index in whole])

    def _clear(self) -> bytes:
        """Closes what must not stay open beside another item."""
        return self._begin() + self._close_message() + self._close_thoughts() + self._close_whole_calls()

    def _open_message(self, source: str | None) -> bytes:
        if self._message is not None and (source is None or source == self._message.source) and not self._extra:
            return b""
        before = self._clear()
        message = OpenMessage(self._out, *self._next("msg", source), source)
        self._message = message
        self._items.append(message)
        return before + message.open()

    def _text(self, event: TextDelta) -> bytes:
        annotation = None
        if not event.text and event.citation is None:
            return b""
        pieces = [self._open_message(event.item_id)]
        message = self._message
        assert message is not None
        if event.text:
            pieces.append(message.say("text", event.text))
        if event.citation is not None:
            annotation = write_annotation(event.citation, message.length)
            if annotation is None:
                lose(self.losses, "content.citations")
            else:
                pieces.append(message.cite(annotation))
        return b"".join(pieces)

    def _refusal(self, event: RefusalDelta) -> bytes:
        if not event.text:
            return b""
        opened = self._open_message(event.item_id)
        assert self._message is not None
        return opened + self._message.say("refusal", event.text)

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        logprobs = write_logprobs(event.value)
        if not logprobs:
            return b""
        if self._message is None:
            lose(self.losses, "logprobs")
            return b""
        return self._message.weigh(logprobs)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        """A signature ends its item: thoughts after it are a new one."""
        if not event.text and event.signature is None and event.redacted is None:
            return b""
        pieces = []
        thoughts = self._thoughts
        if thoughts is not None and (event.redacted is not None or (event.id or thoughts.id) != thoughts.id):
            pieces.append(self._close_thoughts())
            thoughts = None
        if thoughts is None:
            pieces.append(self._clear())
            thoughts = OpenReasoning(self._out, *self._next("rs", event.id))
            self._thoughts = thoughts
            self._items.append(thoughts)
            pieces.append(thoughts.open())
        if event.text:
            pieces.append(thoughts.say(event.text))
        if event.signature is not None or event.redacted is not None:
            thoughts.encrypted = to_client(Thinking("", event.signature, event.redacted))
            pieces.append(self._close_thoughts())
        return b"".join(pieces)

    def _tool_started(self, event: ToolStarted) -> bytes:
        before = self._clear()
        if event.index in self._calls:
            before += self._close_call(event.index)
        call = ToolCall(event.id, event.name, "", event.signature, custom=event.custom)
        place = self._next(call_kind(event.name, event.custom, self._names), event.item_id)
        opened = OpenCall(self._out, *place, call, self._names)
        self._calls[event.index] = opened
        self._items.append(opened)
        return before + opened.open()

    def _tool_delta(self, event: ToolDelta) -> bytes:
        call = self._calls.get(event.index)
        return call.say(event.arguments) if call is not None and event.arguments else b""

    def _audio(self, event: AudioDelta) -> bytes:
        """What was spoken is shown as text; sound has no item in this dialect."""
        lose(self.losses, "content.audio")
        return self._text(TextDelta(event.transcript)) if event.transcript else b""

    def _media(self, event: MediaDelta) -> bytes:
        part = event.part
        if not isinstance(part, Image) or part.data is None:
            lose(self.losses, f"content.{type(part).__name__.lower()}")
            return b""
        before = self._clear()
        index, identity, _ = self._next("ig", None)
        item = image_item(identity, part)
        self._items.append(item)
        added = {**item, "status": "in_progress", "result": None}
        return b"".join(
            (
                before,
                self._out.event("response.output_item.added", {"output_index": index, "item": added}),
                self._out.event("response.output_item.done", {"output_index": index, "item": item}),
            )
        )

    def _opaque(self, event: OpaqueDelta) -> bytes:
        value = event.value
        if event.dialect != DIALECT or not isinstance(value, dict):
            lose(self.losses, f"content.{opaque_name(value)}")
            return b""
        if isinstance(fields := value.get("item"), dict):
            self._extra = fields
            return b""
        wire = value.get("event")
        if not isinstance(wire, dict) or not isinstance(kind := wire.get("type"), str):
            return b""
        fields = {name: item for name, item in wire.items() if name not in ("type", "sequence_number")}
        if kind in ("response.output_item.added", "response.output_item.done"):
            return self._opaque_item(kind, fields)
        if "output_index" in fields:
            fields["output_index"] = self._opaque_index.get(fields["output_index"], fields["output_index"])
        return self._begin() + self._out.event(kind, fields)

    def _opaque_item(self, kind: str, fields: dict[str, Any]) -> bytes:
        given = fields.get("output_index")
        index = self._opaque_index.get(given) if given is not None else None
        before = b""
        if index is None or kind.endswith("added"):
            before = self._clear()
            index = len(self._items)
            self._items.append(fields["item"])
            if given is not None:
                self._opaque_index[given] = index
            if kind.endswith("done"):
                before += self._out.event("response.output_item.added", {"output_index": index, "item": fields["item"]})
        self._items[index] = fields["item"]
        return before + self._out.event(kind, {"output_index": index, "item": fields["item"]})


_OF_ALL = Started | Metered | Failed
_WRITERS: dict[type, Any] = {
    Started: StreamWriter._start,
    TextDelta: StreamWriter._text,
    ThinkingDelta: StreamWriter._thinking,
    RefusalDelta: StreamWriter._refusal,
    ToolStarted: StreamWriter._tool_started,
    ToolDelta: StreamWriter._tool_delta,
    AudioDelta: StreamWriter._audio,
    MediaDelta: StreamWriter._media,
    OpaqueDelta: StreamWriter._opaque,
    LogprobsDelta: StreamWriter._logprobs,
    Finished: StreamWriter._finish,
    Metered: StreamWriter._metered,
    Failed: StreamWriter._failed,
}
