"""Writes canonical events as a Gemini stream: server-sent events, or the JSON array that comes without `alt=sse`.

Every event is a GenerateContentResponse. The last one has the finish reasons, the sources and the usage of all
candidates; it waits for `close`, because other dialects send usage after the finish. Gemini has no deltas of a function
call: a call is gathered and goes out whole, before the next event of another kind or at the end. A part with an empty
text is what Google sends where there is nothing to say; without any part the SDK's chat would forget the answer.

A text delta costs a few microseconds: what is the same in every event is rendered once.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Event,
    Failed,
    Finish,
    Finished,
    LogprobsDelta,
    Losses,
    MediaDelta,
    Metered,
    Opaque,
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
from freehold.dialects.gemini.errors import write_error
from freehold.dialects.gemini.grounding import Sources
from freehold.dialects.gemini.logprobs import write_logprobs
from freehold.dialects.gemini.parts import WirePart
from freehold.dialects.gemini.reply_writer import (
    encode,
    join_metadata,
    write_answer_part,
    write_call,
    write_feedback,
    write_opaque,
    write_text,
    write_thought,
)
from freehold.dialects.gemini.usage import FINISH_WORD, write_usage
from freehold.dialects.wire import MALFORMED
from freehold.errors import FreeholdError, UpstreamBroken

_encode = msgspec.json.Encoder().encode

PART = b'{"candidates":[{"content":{"parts":[{"text":'


class _Candidate:
    """What is known of one alternative."""

    __slots__ = (
        "calls",
        "finish",
        "item",
        "metadata",
        "pieces",
        "refusal",
        "shown",
        "sources",
        "tail",
        "thought_tail",
    )

    def __init__(self) -> None:
        self.tail = b""
        """The bytes after the text of a text event; `thought_tail` after a thought's."""
        self.thought_tail = b""
        self.pieces: list[str] = []
        """The text so far, for the offsets of citations."""
        self.calls: dict[int, tuple[ToolStarted, list[str]]] = {}
        """Calls that still wait for arguments, in the order they began."""
        self.refusal: list[str] = []
        """Held back until it is known whether it is all there is: then the prompt was blocked."""
        self.item: str | None = None
        """The id of a reasoning item that has not been shown: it goes with the signature, or after the thoughts."""
        self.shown = False
        self.finish: Finish | None = None
        self.sources: Sources | None = None
        self.metadata: dict[str, Any] = {}


class StreamWriter:
    """`write` turns one event into the bytes of none, one or several; `close` or `fail` ends the stream, once.

    `id` and `model` are what the client sees; where empty, what `Started` says. `created` and `include_usage` have no
    meaning in this dialect. `array`: a JSON array instead of server-sent events. `losses` collects what could not be
    shown.
    """

    def __init__(
        self, id: str, model: str, created: int = 0, include_usage: bool = True, *, array: bool = False
    ) -> None:
        self._id = id
        self._model = model
        self._array = array
        self._begun = False
        self._ended = False
        self._usage: Usage | None = None
        self._candidates: dict[int, _Candidate] = {}
        self._lead = b"[" if array else b"data: "
        self._end = b"\r\n" if array else b"\r\n\r\n"
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        """The bytes of one event; empty where it has none here, and after the end."""
        kind = type(event)
        if kind is TextDelta or kind is ThinkingDelta:
            candidate = self._candidates.get(event.choice)  # type: ignore[union-attr]
            if candidate is not None and candidate.tail and event.text and event.signature is None:  # type: ignore[union-attr]
                if kind is TextDelta:
                    if event.citation is None:  # type: ignore[union-attr]
                        candidate.pieces.append(event.text)  # type: ignore[union-attr]
                        return self._lead + PART + _encode(event.text) + candidate.tail  # type: ignore[union-attr]
                elif event.redacted is None and event.id is None:  # type: ignore[union-attr]
                    return self._lead + PART + _encode(event.text) + candidate.thought_tail  # type: ignore[union-attr]
        if self._ended:
            return b""
        writer = _WRITERS.get(kind)
        return b"" if writer is None else writer(self, event)

    def close(self) -> bytes:
        """The last event of a whole stream. Where no finish was ever written, the error instead."""
        if self._ended:
            return b""
        if not any(candidate.finish for candidate in self._candidates.values()):
            return self.fail(UpstreamBroken("The provider's stream ended without a finish."), "")
        out = []
        body: dict[str, Any] = {}
        if (reason := self._blocked()) is not None:
            body["promptFeedback"] = write_feedback(reason)
        else:
            for choice, candidate in self._candidates.items():
                out.append(self._flush(choice, candidate, whole_only=False))
            body["candidates"] = [self._last(*item) for item in self._candidates.items()]
        if self._usage is not None:
            body["usageMetadata"] = write_usage(self._usage)
        out.append(self._frame({**body, **self._identity()}))
        self._finish()
        if self._array:
            out.append(b"]")
        return b"".join(out)

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """The error as an event of its own; nothing follows it."""
        if self._ended:
            return b""
        self._finish()
        return self._lead + write_error(error, request_id) + (b"]" if self._array else self._end)

    def _finish(self) -> None:
        self._ended = True
        for candidate in self._candidates.values():
            candidate.tail = b""

    # Events

    def _identity(self) -> dict[str, str]:
        return {"modelVersion": self._model, "responseId": self._id}

    def _frame(self, body: dict[str, Any]) -> bytes:
        frame = self._lead + encode(body) + self._end
        if self._array:
            self._lead = b","
        return frame

    def _candidate(self, choice: int) -> _Candidate:
        candidate = self._candidates.get(choice)
        if candidate is None:
            candidate = self._candidates[choice] = _Candidate()
        return candidate

    def _show(self, choice: int, parts: list[WirePart], **fields: Any) -> bytes:
        """An event with `parts`. From the first one on, text of the choice takes the short way."""
        candidate = self._candidate(choice)
        before = self._flush(choice, candidate) if candidate.calls or candidate.refusal or candidate.item else b""
        wire = {"content": {"parts": parts, "role": "model"}, "index": choice, **fields}
        shown = self._frame({"candidates": [wire], **self._identity()})
        candidate.shown = True
        self._prepare(choice, candidate)
        return before + shown

    def _prepare(self, choice: int, candidate: _Candidate) -> None:
        """The short way is open while nothing is held back."""
        if candidate.tail or candidate.calls or candidate.refusal or candidate.item:
            return
        rest = b'],"role":"model"},"index":%d}],%b%b' % (choice, _encode(self._identity())[1:], self._end)
        candidate.tail = b"}" + rest
        candidate.thought_tail = b',"thought":true}' + rest

    def _flush(self, choice: int, candidate: _Candidate, whole_only: bool = True) -> bytes:
        """Shows what was held back: an item's id, refusals, calls in their order up to the first that is not whole."""
        out = []
        if candidate.item is not None:
            thought = write_thought(Thinking(id=candidate.item))
            candidate.item = None
            out.append(self._show(choice, [thought] if thought is not None else []))
        if candidate.refusal:
            refusal = "".join(candidate.refusal)
            candidate.refusal.clear()
            out.append(self._show(choice, [{"text": refusal}]))
        parts = []
        for index, (start, pieces) in list(candidate.calls.items()):
            arguments = "".join(pieces)
            if whole_only and not start.custom and not _is_object(arguments):
                break
            del candidate.calls[index]
            call = ToolCall(start.id, start.name, arguments or "{}", start.signature, custom=start.custom)
            parts.append(write_call(call, self.losses))
        if parts:
            waiting, candidate.calls = candidate.calls, {}
            out.append(self._show(choice, parts))
            if waiting:
                candidate.calls = waiting
                candidate.tail = b""
        return b"".join(out)

    def _blocked(self) -> str | None:
        if len(self._candidates) != 1:
            return None
        (candidate,) = self._candidates.values()
        only = candidate.refusal and not candidate.shown and not candidate.calls and candidate.item is None
        return "".join(candidate.refusal) if only and candidate.finish == "content_filter" else None

    def _last(self, choice: int, candidate: _Candidate) -> dict[str, Any]:
        wire: dict[str, Any] = {"content": {"parts": [{"text": ""}], "role": "model"}}
        if candidate.finish is not None:
            wire["finishReason"] = FINISH_WORD[candidate.finish]
        wire["index"] = choice
        join_metadata(wire, candidate.sources or Sources(), candidate.metadata)
        return wire

    # One method for each kind of event

    def _started(self, event: Started) -> bytes:
        self._id = self._id or event.id
        self._model = self._model or event.model
        return b""

    def _text(self, event: TextDelta) -> bytes:
        candidate = self._candidate(event.choice)
        shown = b""
        if event.text or event.signature is not None:
            shown = self._show(event.choice, [write_text(event.text, event.signature)])
            candidate.pieces.append(event.text)
        if event.citation is not None:
            candidate.sources = candidate.sources or Sources()
            candidate.pieces = ["".join(candidate.pieces)]
            candidate.sources.add(event.citation, candidate.pieces[0])
        return shown

    def _thinking(self, event: ThinkingDelta) -> bytes:
        candidate = self._candidate(event.choice)
        item, shown = event.id, b""
        if candidate.item is not None:
            if item is None or item == candidate.item:
                item, candidate.item = candidate.item, None
            else:
                shown = self._flush(event.choice, candidate)
        if event.signature is None and event.redacted is None:
            part, later = write_thought(Thinking(event.text)), item
        else:
            part, later = write_thought(Thinking(event.text, event.signature, event.redacted, item)), None
        if part is not None:
            shown += self._show(event.choice, [part])
        if later is not None:
            candidate.item, candidate.tail = later, b""
        return shown

    def _refusal(self, event: RefusalDelta) -> bytes:
        candidate = self._candidate(event.choice)
        if candidate.shown:
            return self._show(event.choice, [{"text": event.text}]) if event.text else b""
        candidate.refusal.append(event.text)
        return b""

    def _tool_started(self, event: ToolStarted) -> bytes:
        candidate = self._candidate(event.choice)
        candidate.calls[event.index] = (event, [])
        candidate.tail = b""
        return b""

    def _tool_delta(self, event: ToolDelta) -> bytes:
        call = self._candidate(event.choice).calls.get(event.index)
        if call is not None:
            call[1].append(event.arguments)
        return b""

    def _audio(self, event: AudioDelta) -> bytes:
        """Streamed speech is PCM of 16 bits and 24 kHz: the one format OpenAI streams, and Google's own."""
        parts: list[WirePart] = []
        if event.data:
            parts += write_answer_part(Audio(event.data, "pcm16"), self.losses)
        if event.transcript:
            parts.append({"text": event.transcript})
        return self._show(event.choice, parts) if parts else b""

    def _media(self, event: MediaDelta) -> bytes:
        parts = write_answer_part(event.part, self.losses)
        return self._show(event.choice, parts) if parts else b""

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        wire = write_logprobs(event.value)
        return self._show(event.choice, [{"text": ""}], logprobsResult=wire) if wire is not None else b""

    def _opaque(self, event: OpaqueDelta) -> bytes:
        losses: Losses = []
        part = write_opaque(Opaque(event.dialect, event.value), self._candidate(event.choice).metadata, losses)
        self.losses += [name for name in losses if name not in self.losses]
        return self._show(event.choice, [part]) if part is not None else b""

    def _finished(self, event: Finished) -> bytes:
        self._candidate(event.choice).finish = event.finish
        return b""

    def _metered(self, event: Metered) -> bytes:
        self._usage = event.usage
        return b""

    def _failed(self, event: Failed) -> bytes:
        return self.fail(UpstreamBroken(event.message, code=event.code, status=event.status), "")


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except MALFORMED:
        return False


_WRITERS: dict[type, Any] = {
    Started: StreamWriter._started,
    TextDelta: StreamWriter._text,
    ThinkingDelta: StreamWriter._thinking,
    RefusalDelta: StreamWriter._refusal,
    ToolStarted: StreamWriter._tool_started,
    ToolDelta: StreamWriter._tool_delta,
    AudioDelta: StreamWriter._audio,
    MediaDelta: StreamWriter._media,
    LogprobsDelta: StreamWriter._logprobs,
    OpaqueDelta: StreamWriter._opaque,
    Finished: StreamWriter._finished,
    Metered: StreamWriter._metered,
    Failed: StreamWriter._failed,
}
