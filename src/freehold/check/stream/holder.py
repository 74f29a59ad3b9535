"""Plain texts through the automaton: several channels side by side, and whole texts at once."""

from collections.abc import Hashable, Sequence

from freehold.check.stream.channel import Channel, Cut, Finder
from freehold.check.stream.policy import Figures, Policy, Verdict


class Held:
    """The text of a channel that has come and was not let go, kept so that cuts become text."""

    __slots__ = ("_place", "_text")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._place = 0
        """Where in the first piece what is held begins."""

    def add(self, piece: str) -> None:
        if piece:
            self._text.append(piece)

    def take(self, cuts: Sequence[Cut]) -> str:
        """Returns what the cuts let go."""
        if not cuts:
            return ""
        text = "".join(self._text)
        out: list[str] = []
        place = self._place
        for cut in cuts:
            out.append(text[place : place + cut.length] if cut.text is None else cut.text)
            place += cut.length
        self._text = [text[place:]] if place < len(text) else []
        self._place = 0
        return "".join(out)


class Holder:
    """`feed(channel, piece)` and `close(channel)` return the text that may be shown. A channel is any hashable name.

    When a rule blocks, `blocked` is set, and nothing more comes out of any channel.
    """

    def __init__(self, policy: Policy, finder: Finder | None = None) -> None:
        self.policy = policy
        self.verdicts: list[Verdict] = []
        self.figures = Figures()
        self.blocked: Verdict | None = None
        self._finder = finder
        self._channels: dict[Hashable, tuple[Channel, Held]] = {}

    def feed(self, channel: Hashable, piece: str) -> str:
        if self.blocked is not None:
            return ""
        one, held = self._channel(channel)
        held.add(piece)
        return self._out(one, held.take(one.feed(piece)))

    def close(self, channel: Hashable) -> str:
        if self.blocked is not None or channel not in self._channels:
            return ""
        one, held = self._channel(channel)
        return self._out(one, held.take(one.close()))

    def _out(self, channel: Channel, text: str) -> str:
        self.blocked = channel.blocked
        return text

    def _channel(self, name: Hashable) -> tuple[Channel, Held]:
        found = self._channels.get(name)
        if found is None:
            channel = Channel(self.policy, self.verdicts, self.figures, (str(name), 0), self._finder)
            found = self._channels[name] = channel, Held()
        return found


def redact(text: str, policy: Policy, finder: Finder | None = None) -> tuple[str, list[Verdict]]:
    """Returns a whole text as it may be shown, cut where a rule blocks, and the verdicts.

    What comes out of a `Holder` of the same policy, fed with the text in any pieces, is the same.
    """
    verdicts: list[Verdict] = []
    channel = Channel(policy, verdicts, Figures(), ("text", 0), finder)
    held = Held()
    held.add(text)
    shown = held.take(channel.feed(text))
    return shown + held.take(channel.close()), verdicts
