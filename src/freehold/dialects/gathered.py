"""The events of a stream gathered into the whole reply that they amount to, for whoever must see all of it at once.

The inverse of what stream writers do: a run of text is one part, thoughts stand before what they led to, calls come in
the order they began. Signatures belong to the part they came with. A stream that failed or was cut gives what came.
"""

from collections.abc import Iterable
from typing import Any

from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Choice,
    Event,
    Failed,
    Finished,
    LogprobsDelta,
    MediaDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
)


class _Gathered:
    """One choice in progress. Texts are joined at the end: adding to a string for every token costs its square."""

    __slots__ = ("calls", "choice", "logprobs", "pieces")

    def __init__(self, index: int) -> None:
        self.choice = Choice(index=index)
        self.pieces: dict[int, list[str]] = {}
        """By the place of the part among the choice's parts."""
        self.calls: dict[int, int] = {}
        """The place of the part of each call."""
        self.logprobs: dict[str, list[Any]] = {}

    def text(self, kind: type[Text] | type[Thinking] | type[Refusal], text: str) -> Any:
        """The part that goes on, or a new one."""
        parts = self.choice.parts
        last = parts[-1] if parts else None
        if type(last) is not kind or (isinstance(last, Thinking) and last.redacted is not None):
            parts.append(kind(text=""))
        self.pieces.setdefault(len(parts) - 1, []).append(text)
        return parts[-1]

    def close(self) -> Choice:
        for place, pieces in self.pieces.items():
            part, joined = self.choice.parts[place], "".join(pieces)
            if isinstance(part, ToolCall):
                part.arguments = joined or "{}"
            elif isinstance(part, Text | Thinking | Refusal):
                part.text = joined
            elif isinstance(part, Audio):
                part.transcript = joined or None
        if self.logprobs:
            self.choice.logprobs = dict(self.logprobs)
        return self.choice


class Gatherer:
    """`add` takes events as they come; `reply` is what they amount to, to be asked for once, at the end."""

    __slots__ = ("_choices", "_reply", "failed", "finished")

    def __init__(self) -> None:
        self._reply = Reply("", "")
        self._choices: dict[int, _Gathered] = {}
        self.failed: Failed | None = None
        self.finished = False
        """Some choice has come to its end."""

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            self._add(event)

    def reply(self) -> Reply:
        self._reply.choices = [self._choices[index].close() for index in sorted(self._choices)]
        return self._reply

    def _add(self, event: Event) -> None:
        if isinstance(event, Started):
            self._reply.id, self._reply.model, self._reply.created = event.id, event.model, event.created
            return
        if isinstance(event, Metered):
            self._reply.usage = event.usage
            return
        if isinstance(event, Failed):
            self.failed = event
            return
        gathered = self._choices.get(event.choice)
        if gathered is None:
            gathered = self._choices[event.choice] = _Gathered(event.choice)
        if isinstance(event, TextDelta):
            part = gathered.text(Text, event.text)
            part.signature = event.signature or part.signature
            part.item_id = event.item_id or part.item_id
            if event.citation is not None:
                part.citations = [*(part.citations or ()), event.citation]
        elif isinstance(event, ThinkingDelta):
            if event.redacted is not None:
                gathered.choice.parts.append(Thinking(redacted=event.redacted))
                return
            part = gathered.text(Thinking, event.text)
            part.signature = event.signature or part.signature
            part.id = event.id or part.id
        elif isinstance(event, RefusalDelta):
            gathered.text(Refusal, event.text)
            gathered.choice.refused = True
        else:
            self._other(event, gathered)

    def _other(self, event: Event, gathered: _Gathered) -> None:
        choice = gathered.choice
        if isinstance(event, ToolStarted):
            gathered.calls[event.index] = len(choice.parts)
            choice.parts.append(
                ToolCall(event.id, event.name, "", event.signature, custom=event.custom, item_id=event.item_id)
            )
        elif isinstance(event, ToolDelta):
            if event.index in gathered.calls:
                gathered.pieces.setdefault(gathered.calls[event.index], []).append(event.arguments)
        elif isinstance(event, LogprobsDelta):
            for name, tokens in (event.value if isinstance(event.value, dict) else {}).items():
                if isinstance(tokens, list):
                    gathered.logprobs.setdefault(name, []).extend(tokens)
        elif isinstance(event, AudioDelta):
            if not choice.parts or type(choice.parts[-1]) is not Audio:
                choice.parts.append(Audio(id=event.id))
            gathered.pieces.setdefault(len(choice.parts) - 1, []).append(event.transcript)
        elif isinstance(event, MediaDelta):
            choice.parts.append(event.part)
        elif isinstance(event, OpaqueDelta):
            choice.parts.append(Opaque(event.dialect, event.value))
        elif isinstance(event, Finished):
            choice.finish, choice.stop_sequence = event.finish, event.stop_sequence
            choice.refused = choice.refused or event.refused
            self.finished = True
