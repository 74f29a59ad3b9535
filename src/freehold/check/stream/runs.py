"""A text of an answer as events: what the automaton lets go goes out in order with what belongs to places in it."""

from typing import Any

from freehold.check.stream.channel import Channel, Cut
from freehold.dialects.conversation import (
    AudioDelta,
    Event,
    LogprobsDelta,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
)


class Run:
    """A text channel and the events that belong to places in it."""

    __slots__ = ("_begin", "_kind", "_marks", "_place", "_text", "_told", "changed", "channel", "last")

    def __init__(
        self, channel: Channel, kind: type[TextDelta] | type[ThinkingDelta] | type[RefusalDelta] | type[AudioDelta]
    ) -> None:
        self.channel = channel
        self.last: Any = None
        """The event whose fields a released text takes on: ids."""
        self.changed = 0
        """Up to where the last change reached."""
        self._kind = kind
        self._text: list[str] = []
        self._begin = 0
        """Where in the channel's text `_text` begins."""
        self._place = 0
        self._marks: list[tuple[int, Event]] = []
        self._told = 0
        """The place of the last log-probabilities."""

    def feed(self, event: Any, text: str) -> list[Event]:
        self.last = event
        self._text.append(text)
        self._place += len(text)
        return self._out(self.channel.feed(text))

    def mark(self, event: Event) -> list[Event]:
        """Lets `event` out once all text before it is out."""
        self._marks.append((self._place, event))
        return self._out([])

    def close(self) -> list[Event]:
        return self._out(self.channel.close())

    def _out(self, cuts: list[Cut]) -> list[Event]:
        out: list[Event] = []
        if cuts:
            text = "".join(self._text)
            place = 0
            shown: list[str] = []
            for cut in cuts:
                stop = place + cut.length
                if cut.text is not None:
                    shown.append(cut.text)
                    self.changed = self._begin + stop
                    place = stop
                while place < stop:
                    upto = min(stop, self._marks[0][0] - self._begin) if self._marks else stop
                    if upto > place:
                        shown.append(text[place:upto])
                        place = upto
                    if self._marks and self._marks[0][0] - self._begin <= place:
                        self._say(shown, out)
                        self._pass(place, out)
            self._say(shown, out)
            self._begin += place
            self._text = [text[place:]] if place < len(text) else []
        self._pass(0, out)
        return out

    def _pass(self, place: int, out: list[Event]) -> None:
        while self._marks and self._marks[0][0] <= self._begin + place:
            at, event = self._marks.pop(0)
            if type(event) is LogprobsDelta:
                before, self._told = self._told, at
                if self.changed > before:
                    continue
            out.append(event)

    def _say(self, shown: list[str], out: list[Event]) -> None:
        text = "".join(shown)
        shown.clear()
        if not text:
            return
        choice = self.last.choice
        if self._kind is ThinkingDelta:
            out.append(ThinkingDelta(text, choice=choice, id=self.last.id))
        elif self._kind is AudioDelta:
            out.append(AudioDelta(transcript=text, id=self.last.id, choice=choice))
        elif self._kind is RefusalDelta:
            out.append(RefusalDelta(text, choice, self.last.item_id))
        else:
            out.append(TextDelta(text, choice, item_id=self.last.item_id))
