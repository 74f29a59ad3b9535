"""Streams of Mistral's chat completions: the chat dialect's, with thoughts and chunks in a list content.

A delta's content is a string, or a list of chunks: `[{"type": "thinking", "thinking": [{"type": "text", "text"}]}]`.
Tool calls come whole, in one chunk; usage comes with every stream unasked. Source: the `mistralai` SDK's
`CompletionChunk` and `DeltaMessage`.
"""

from typing import Any

import msgspec

from freehold.dialects import chat
from freehold.dialects.chat.content import DIALECT as CHAT
from freehold.dialects.conversation import (
    Event,
    Finished,
    OpaqueDelta,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
)
from freehold.dialects.mistral.content import DIALECT, MISTRAL_TAG, read_thinking, write_thinking

_encode = msgspec.json.Encoder().encode


class StreamReader(chat.StreamReader):
    """As the chat dialect's; chunks it has no event for are this dialect's, and thoughts keep their signatures."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> list[Event]:
        return self._own(super().feed(chunk))

    def close(self) -> list[Event]:
        return self._own(super().close())

    @staticmethod
    def _own(events: list[Event]) -> list[Event]:
        for event in events:
            if type(event) is OpaqueDelta and event.dialect == CHAT:
                event.dialect = DIALECT
        return events

    def _read_piece(self, piece: Any, index: int, track: Any) -> None:
        super()._read_piece(piece, index, track)
        if isinstance(piece, dict) and piece.get("type") == "thinking" and "signature" in piece:
            signature = read_thinking(piece).signature
            if signature is not None:
                self._events.append(ThinkingDelta(signature=signature, choice=index))


class StreamWriter(chat.StreamWriter):
    """As the chat dialect's, for a client that always gets usage, and knows thoughts as chunks and whole calls only."""

    __slots__ = ("_held",)

    def __init__(self, id: str, model: str, created: int, include_usage: bool = True) -> None:
        super().__init__(id, model, created, include_usage=True)
        self._held: dict[tuple[int, int], tuple[ToolStarted, list[str]]] = {}
        """Calls until the finish of their choice: the SDK refuses a call without a name."""

    def write(self, event: Event) -> bytes:
        kind = type(event)
        if kind is TextDelta and event.citation is None:  # type: ignore[union-attr]
            return super().write(event)
        writer = _WRITERS.get(kind)
        return super().write(event) if writer is None or self._ended else writer(self, event)

    def _text(self, event: TextDelta) -> bytes:
        self._lose("citations")
        return super().write(TextDelta(event.text, event.choice)) if event.text else b""

    def _refused(self, event: RefusalDelta) -> bytes:
        return super().write(TextDelta(event.text, event.choice)) if event.text else b""

    def _chunk(self, event: ThinkingDelta) -> bytes:
        own = event.signature is not None and event.signature.startswith(MISTRAL_TAG)
        if event.redacted is not None or (event.signature is not None and not own):
            self._lose("thinking.redacted" if event.redacted is not None else "thinking.signature")
        if not event.text and not own:
            return b""
        return self._delta(event.choice, b'"content":[%b]' % _encode(write_thinking(event.text, event.signature)))

    def _own(self, event: OpaqueDelta) -> bytes:
        if event.dialect == DIALECT:
            event = OpaqueDelta(CHAT, event.value, event.choice)
        return super().write(event)

    def _hold(self, event: ToolStarted) -> bytes:
        self._held[event.choice, event.index] = event, []
        return b""

    def _gather(self, event: ToolDelta) -> bytes:
        if (held := self._held.get((event.choice, event.index))) is not None:
            held[1].append(event.arguments)
        return b""

    def _release(self, event: Finished) -> bytes:
        calls = []
        for key in [key for key in self._held if key[0] == event.choice]:
            start, pieces = self._held.pop(key)
            arguments = "".join(pieces)
            if start.custom:
                arguments = _encode({"input": arguments}).decode()
            function = {"name": start.name, "arguments": arguments or "{}"}
            calls.append({"id": start.id, "type": "function", "function": function, "index": start.index})
        out = self._delta(event.choice, b'"content":"","tool_calls":' + _encode(calls)) if calls else b""
        return out + super().write(event)


_WRITERS: dict[type, Any] = {
    TextDelta: StreamWriter._text,
    RefusalDelta: StreamWriter._refused,
    ThinkingDelta: StreamWriter._chunk,
    OpaqueDelta: StreamWriter._own,
    ToolStarted: StreamWriter._hold,
    ToolDelta: StreamWriter._gather,
    Finished: StreamWriter._release,
}
