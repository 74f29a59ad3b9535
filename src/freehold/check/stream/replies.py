"""Whole answers, by the same rules as streams: what comes out is what the events of the answer would come out as."""

from collections.abc import Callable

import msgspec

from freehold.check.stream.channel import Finder
from freehold.check.stream.events import EventGuard, never
from freehold.check.stream.policy import Policy
from freehold.check.stream.toolcalls import ToolPolicy
from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Choice,
    Document,
    Event,
    Finished,
    Image,
    MediaDelta,
    Opaque,
    OpaqueDelta,
    Part,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolResult,
    ToolStarted,
)


def guard_reply(
    reply: Reply,
    policy: Policy,
    *,
    restore: Finder | None = None,
    restore_in_tool: Callable[[str], bool] = never,
    restore_thinking: bool = False,
    tools: ToolPolicy | None = None,
    granted: bool = False,
) -> tuple[Reply, EventGuard]:
    """Returns the reply as it may be shown and the guard that has read it: its verdicts, what blocked, its label.

    Where a rule blocks, every choice ends there with `content_filter`; the usage stays the provider's.
    """
    guard = EventGuard(
        policy,
        restore=restore,
        restore_in_tool=restore_in_tool,
        restore_thinking=restore_thinking,
        tools=tools,
        granted=granted,
    )
    choices = [_choice(choice, guard) for choice in reply.choices]
    if guard.blocked is not None:
        for choice in choices:
            choice.finish, choice.stop_sequence, choice.refused = "content_filter", None, False
    return msgspec.structs.replace(reply, choices=choices), guard


def _choice(choice: Choice, guard: EventGuard) -> Choice:
    parts: list[Part] = []
    calls = 0
    for part in choice.parts:
        if guard.blocked is not None:
            break
        made = _part(part, choice.index, calls, guard)
        calls += isinstance(part, ToolCall)
        if made is not None:
            parts.append(made)
    changed = any(new != old for new, old in zip(parts, choice.parts, strict=False)) or len(parts) < len(choice.parts)
    guard.feed([Finished(choice.finish, choice.index)])
    return msgspec.structs.replace(choice, parts=parts, logprobs=None if changed else choice.logprobs)


def _part(part: Part, choice: int, calls: int, guard: EventGuard) -> Part | None:
    """Returns the part as it may be shown, None for one of which nothing may."""
    match part:
        case Text():
            text = _through(guard, TextDelta(part.text, choice))
            if text == part.text:
                return part
            return msgspec.structs.replace(part, text=text, citations=None) if text else None
        case Refusal():
            return msgspec.structs.replace(part, text=_through(guard, RefusalDelta(part.text, choice)))
        case Thinking():
            text = _through(guard, ThinkingDelta(part.text, choice=choice))
            return part if text == part.text else Thinking(text)
        case ToolCall():
            start = ToolStarted(calls, part.id, part.name, choice, custom=part.custom)
            arguments = _through(guard, start, ToolDelta(calls, part.arguments, choice))
            return msgspec.structs.replace(part, arguments=arguments) if guard.blocked is None else None
        case Opaque():
            events = guard.feed([OpaqueDelta(part.dialect, part.value, choice)])
            return next((Opaque(one.dialect, one.value) for one in events if isinstance(one, OpaqueDelta)), None)
        case Audio():
            transcript = part.transcript and _through(guard, AudioDelta(transcript=part.transcript, choice=choice))
            guard.unchecked.add("audio")
            return msgspec.structs.replace(part, transcript=transcript)
        case Document() if part.text is not None:
            return msgspec.structs.replace(part, text=_through(guard, TextDelta(part.text, choice)))
        case Image() | Document():
            guard.feed([MediaDelta(part, choice)])
            return part
        case ToolResult():
            parts = [made for inner in part.parts if (made := _part(inner, choice, calls, guard)) is not None]
            return msgspec.structs.replace(part, parts=parts)


def _through(guard: EventGuard, *events: Event) -> str:
    """What comes out of the texts of `events`, to their end."""
    out = guard.feed(events)
    if guard.blocked is None:
        out += guard.flush()
    return "".join([_said(event) for event in out])


def _said(event: Event) -> str:
    match event:
        case TextDelta() | ThinkingDelta() | RefusalDelta():
            return event.text
        case ToolDelta():
            return event.arguments
        case AudioDelta():
            return event.transcript
    return ""
