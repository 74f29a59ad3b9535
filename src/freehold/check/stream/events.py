"""The automaton on canonical events: what a dialect's reader gives goes in, what any dialect's writer takes comes out.

Each kind of text of each choice is a channel of its own: text, thoughts, refusals, what is spoken, and the arguments
of each tool call. Where the kind changes a channel is let go to its end, because writers close the block there; what
belongs to a place in a text (a citation, the log-probabilities of tokens) goes out when its place does.
Log-probabilities name the tokens, so those of a changed stretch are left out, and so is the signature of a changed
thought, which no longer fits.

A rule that blocks ends the answer: `Finished("content_filter")` for every choice, no more content, and the usage,
which is the provider's if the stream is read on, or else what `estimate` makes of the bytes that came.

A call of a tool of which `tools` (check/toolcalls.py) says something is kept back until its arguments are whole, and
judged as the client would get them. What else the choice says meanwhile waits behind it, so nothing changes its place.

Sound and pictures cannot be read here; they pass, and `unchecked` says so.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from freehold.check.stream.arguments import Arguments
from freehold.check.stream.channel import Channel, Finder
from freehold.check.stream.choice import ChoiceState
from freehold.check.stream.policy import Figures, Policy, Verdict
from freehold.check.stream.runs import Run
from freehold.check.stream.toolcalls import ToolPolicy
from freehold.check.stream.toolstrings import Whole
from freehold.check.stream.values import mapped
from freehold.dialects.conversation import (
    AudioDelta,
    Event,
    Failed,
    Finished,
    LogprobsDelta,
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
from freehold.labels import Label

Estimate = Callable[[int], Usage]
"""Makes the usage of an answer that was cut, of the bytes of it that came."""


def never(name: str) -> bool:
    return False


class EventGuard:
    """`feed` and `close` take and return events. `restore` replaces placeholders by what they stand for: everywhere a
    reader sees it, in the arguments of tools that `restore_in_tool` clears by name, and in thoughts only if
    `restore_thinking`, since a signed thought must come back as the model wrote it.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        restore: Finder | None = None,
        restore_in_tool: Callable[[str], bool] = never,
        restore_thinking: bool = False,
        estimate: Estimate | None = None,
        tools: ToolPolicy | None = None,
        granted: bool = False,
    ) -> None:
        self.policy = policy
        self.verdicts: list[Verdict] = []
        self.figures = Figures()
        self.blocked: Verdict | None = None
        self.unchecked: set[str] = set()
        """What passed unread: audio, images, documents."""
        self._restore = restore
        self._in_tool = restore_in_tool
        self._thinking = restore_thinking
        self._estimate = estimate
        self._tools = tools
        self._granted = granted
        self._choices: dict[int, ChoiceState] = {}
        self._usage: Usage | None = None
        self._metered = False
        """Whether usage came after the block, and so tells all of it."""
        self._bytes = 0

    def _over(self) -> bool:
        return self.blocked is not None

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of text and arguments that came, shown or not: what an estimate of the output rests on."""
        return self._bytes

    @property
    def label(self) -> Label:
        """The join of the labels of all that was found."""
        label = Label()
        for verdict in self.verdicts:
            label |= verdict.label
        return label

    def feed(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Metered):
                self._usage, self._metered = event.usage, self._over()
                out.append(event)
            elif not self._over():
                out += self._event(event)
                if self._over():
                    out += self._ended()
        return out

    def close(self) -> list[Event]:
        """At the end of the stream, however it came. What is held goes out, judged; after a block, the usage."""
        out = self.flush()
        if self._over() and not self._metered and self._estimate is not None:
            self._metered = True
            out.append(Metered(self._estimated(self._estimate(self._bytes))))
        return out

    def _estimated(self, usage: Usage) -> Usage:
        """The usage of a cut answer: some providers tell at its start what went in, and next to nothing of the rest."""
        told = self._usage
        if told is None:
            return usage
        return msgspec.structs.replace(told, output=max(told.output, usage.output), estimated=True)

    def flush(self) -> list[Event]:
        """Lets go of what is held, judged as if nothing followed."""
        out: list[Event] = []
        if not self._over():
            for choice in self._choices.values():
                out += self._flush(choice)
                if self._over():
                    return out + self._ended()
        return out

    def _ended(self) -> list[Event]:
        out: list[Event] = []
        for index, choice in sorted(self._choices.items()):
            if not choice.finished:
                choice.finished = True
                out.append(Finished("content_filter", index))
        return out

    def _event(self, event: Event) -> list[Event]:
        match event:
            case Started() | Metered():
                return [event]
            case Failed():
                out = self.close()
                return out if self._over() else [*out, event]
        choice = self._choices.get(event.choice)
        if choice is None:
            choice = self._choices[event.choice] = ChoiceState()
        return self._waits(choice, event) if choice.call is not None else self._now(choice, event)

    def _now(self, choice: ChoiceState, event: Any) -> list[Event]:
        match event:
            case TextDelta():
                return self._text(choice, event)
            case ThinkingDelta():
                return self._thought(choice, event)
            case RefusalDelta():
                return self._run(choice, "refusal", event, event.text)
            case AudioDelta():
                return self._sound(choice, event)
            case ToolStarted() if self._tools is not None and self._tools.named(event.name).matters:
                if self._tools.monitor:
                    choice.heard[event.index] = event, Whole(custom=event.custom)
                    return self._tool(choice, event)
                return self._kept_back(choice, event)
            case ToolStarted():
                return self._tool(choice, event)
            case ToolDelta():
                if event.index in choice.heard:
                    choice.heard[event.index][1].add(event.arguments)
                return self._arguments(choice, event)
            case LogprobsDelta():
                run = choice.runs.get(choice.open)
                return [event] if run is None else run.mark(event)
            case Finished():
                out = self._flush(choice)
                if self._over():
                    return out
                choice.finished = True
                return [*out, event]
        return self._other(choice, event)

    def _text(self, choice: ChoiceState, event: TextDelta) -> list[Event]:
        out = self._run(choice, "text", event, event.text)
        citation = event.citation
        if self._over() or (event.signature is None and citation is None):
            return out
        if (
            citation is not None
            and citation.quote is not None
            and self._whole(citation.quote, event.choice) != citation.quote
        ):
            citation = None
        return out + choice.runs["text"].mark(TextDelta("", event.choice, event.signature, citation, event.item_id))

    def _thought(self, choice: ChoiceState, event: ThinkingDelta) -> list[Event]:
        out = self._run(choice, "thinking", event, event.text) if event.text else []
        if self._over() or (event.signature is None and event.redacted is None):
            return out
        run = choice.runs.get("thinking")
        if choice.open and choice.open != "thinking":
            out += self._shut(choice)
        if run is not None:
            out += run.close()
            if self._over() or (run.changed and event.signature is not None):
                return out
        return [*out, ThinkingDelta("", event.signature, event.redacted, event.choice, event.id)]

    def _sound(self, choice: ChoiceState, event: AudioDelta) -> list[Event]:
        out: list[Event] = []
        if event.transcript:
            out = self._run(choice, "transcript", event, event.transcript)
        if event.data and not self._over():
            self.unchecked.add("audio")
        if (event.data or not event.transcript) and not self._over():
            out.append(AudioDelta(event.data, "", event.id, event.choice))
        return out

    def _run(self, choice: ChoiceState, kind: str, event: Any, text: str) -> list[Event]:
        out: list[Event] = []
        if choice.open != kind:
            out = self._shut(choice)
            if self._over():
                return out
            choice.open = kind
        run = choice.runs.get(kind)
        if run is None:
            finder = self._restore if kind != "thinking" or self._thinking else None
            run = choice.runs[kind] = Run(self._channel(kind, event.choice, finder), type(event))
        if not text:
            return [*out, *run.mark(event)] if _is_bare(event) else out
        self._bytes += len(text.encode("utf-8", "surrogatepass"))
        out += run.feed(event, text)
        self.blocked = run.channel.blocked
        return out

    def _channel(self, name: str, choice: int, finder: Finder | None) -> Channel:
        return Channel(self.policy, self.verdicts, self.figures, (name, choice), finder)

    def _kept_back(self, choice: ChoiceState, event: ToolStarted) -> list[Event]:
        """The beginning of a call that is judged when it is whole, or at once where its name is enough."""
        out = self._shut(choice)
        if self._over():
            return out
        choice.call, choice.whole = event, Whole(custom=event.custom)
        return out + self._called(choice) if self._tools is not None and self._tools.refused(event.name) else out

    def _waits(self, choice: ChoiceState, event: Any) -> list[Event]:
        """What comes while a call is kept back."""
        call, whole = choice.call, choice.whole
        assert call is not None
        assert whole is not None
        if isinstance(event, ToolDelta) and event.index == call.index:
            whole.add(event.arguments)
            self.figures.held_most = max(self.figures.held_most, whole.size)
            return self._called(choice) if whole.complete else []
        choice.waiting.append(event)
        return self._called(choice) if isinstance(event, Finished) else []

    def _called(self, choice: ChoiceState) -> list[Event]:
        """Judges the call that is kept back, and lets go of it and of what waits behind it."""
        call, whole, tools = choice.call, choice.whole, self._tools
        assert call is not None
        assert whole is not None
        assert tools is not None
        choice.call = choice.whole = None
        out = self._tool(choice, call)
        said = out.pop() if out and not self._over() else None
        shown = self._through(choice, call, whole.text) if said is not None else ""
        if said is not None and not self._over():
            judged = tools.judge(call.name, shown, custom=call.custom, choice=call.choice, granted=self._granted)
            self.verdicts += judged.verdicts
            if judged.action in ("block", "ask"):
                self.blocked = next(one for one in judged.verdicts if one.action == judged.action)
                return out
            out += [said, ToolDelta(call.index, judged.arguments, call.choice)] if judged.arguments else [said]
        waiting, choice.waiting = choice.waiting, []
        for event in waiting:
            if self._over():
                break
            out += self._waits(choice, event) if choice.call is not None else self._now(choice, event)
        return out

    def _through(self, choice: ChoiceState, call: ToolStarted, arguments: str) -> str:
        """The arguments of a call as the rules for texts let them go."""
        events = self._arguments(choice, ToolDelta(call.index, arguments, call.choice))
        if not self._over():
            events += self._end_of(choice, call.index)
        return "".join([event.arguments for event in events if isinstance(event, ToolDelta)])

    def _tool(self, choice: ChoiceState, event: ToolStarted) -> list[Event]:
        out = self._shut(choice)
        finder = self._restore if self._in_tool(event.name) else None
        channel = self._channel("tool", event.choice, finder)
        choice.tools[event.index] = Run(channel, TextDelta) if event.custom else Arguments(channel, event.choice)
        return out if self._over() else [*out, event]

    def _arguments(self, choice: ChoiceState, event: ToolDelta) -> list[Event]:
        tool = choice.tools.get(event.index)
        if tool is None:
            return []
        self._bytes += len(event.arguments.encode("utf-8", "surrogatepass"))
        if isinstance(tool, Run):
            text = _joined(tool.feed(TextDelta("", event.choice), event.arguments))
            self.blocked = tool.channel.blocked
        else:
            text = tool.feed(event.arguments)
            self.blocked = tool.blocked
        return [ToolDelta(event.index, text, event.choice)] if text else []

    def _shut(self, choice: ChoiceState) -> list[Event]:
        """Lets go of the text in progress, to its end."""
        run = choice.runs.get(choice.open)
        choice.open = ""
        if run is None:
            return []
        out = run.close()
        self.blocked = run.channel.blocked
        return out

    def _flush(self, choice: ChoiceState) -> list[Event]:
        out = self._called(choice) if choice.call is not None else []
        if not self._over():
            out += self._shut(choice)
        for index in choice.tools:
            if self._over():
                break
            out += self._end_of(choice, index)
        for call, whole in choice.heard.values():
            assert self._tools is not None
            self.verdicts += self._tools.judge(call.name, whole.text, custom=call.custom, choice=call.choice).verdicts
        choice.heard.clear()
        return out

    def _end_of(self, choice: ChoiceState, index: int) -> list[Event]:
        """Lets go of the arguments of a call, to their end."""
        tool = choice.tools[index]
        if isinstance(tool, Run):
            text, number = _joined(tool.close()), tool.last.choice if tool.last is not None else 0
            self.blocked = tool.channel.blocked
        else:
            text, number = tool.close(), tool.choice
            self.blocked = tool.blocked
        return [ToolDelta(index, text, number)] if text else []

    def _other(self, choice: ChoiceState, event: MediaDelta | OpaqueDelta) -> list[Event]:
        out = self._shut(choice)
        if self._over():
            return out
        if isinstance(event, MediaDelta):
            self.unchecked.add(type(event.part).__name__.lower())
            return [*out, event]
        value = mapped(event.value, lambda text: self._whole(text, event.choice))
        if self._over():
            return out
        return [*out, event if value is event.value else OpaqueDelta(event.dialect, value, event.choice)]

    def _whole(self, text: str, number: int) -> str:
        """A text that comes at once."""
        if self._over():
            return text
        run = Run(self._channel("other", number, self._restore), TextDelta)
        shown = _joined([*run.feed(TextDelta("", number), text), *run.close()])
        self.blocked = run.channel.blocked
        return text if shown == text else shown


def _is_bare(event: Any) -> bool:
    """Whether an event without text says nothing else either, but that its part begins."""
    return isinstance(event, RefusalDelta) or (
        isinstance(event, TextDelta) and event.signature is None and event.citation is None
    )


def _joined(events: Iterable[Event]) -> str:
    return "".join([event.text for event in events if isinstance(event, TextDelta)])
