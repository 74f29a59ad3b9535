"""Canonical events behind the guard, and through it every dialect's own stream."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.check.detect import DEFAULT_LABELS, Rules
from freehold.check.stream import EventGuard, GuardedReader, Policy, guard_reply
from freehold.dialects import chat, cohere, gemini, messages, ollama, responses
from freehold.dialects.conversation import (
    AudioDelta,
    Choice,
    Citation,
    Event,
    Failed,
    Finished,
    Image,
    LogprobsDelta,
    MediaDelta,
    Metered,
    OpaqueDelta,
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
    Usage,
)
from freehold.dialects.gathered import Gatherer

RULES = Rules()
KINDS = [kind for kind in DEFAULT_LABELS if kind != "prompt_injection"]
REDACT = Policy(RULES, dict.fromkeys(KINDS, "redact"))
BLOCK = Policy(RULES, dict.fromkeys(KINDS, "block"))
STRICT = Policy(RULES, dict.fromkeys(KINDS, "redact"), mode="strict")
MAIL = "bob@example.com"


def gathered(events: list[Event]) -> Reply:
    gatherer = Gatherer()
    gatherer.add(events)
    return gatherer.reply()


def guarded(events: list[Event], policy: Policy = REDACT, **options: Any) -> tuple[list[Event], EventGuard]:
    guard = EventGuard(policy, **options)
    out = [made for event in events for made in guard.feed([event])]
    return out + guard.close(), guard


def split(text: str, size: int = 3) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


CHANNELS = {
    "text": lambda text: [TextDelta(piece) for piece in split(text)],
    "thinking": lambda text: [ThinkingDelta(piece) for piece in split(text)],
    "refusal": lambda text: [RefusalDelta(piece) for piece in split(text)],
    "transcript": lambda text: [AudioDelta(transcript=piece) for piece in split(text)],
    "tool": lambda text: [
        ToolStarted(0, "c", "send"),
        *(ToolDelta(0, piece) for piece in split(json.dumps({"to": text}))),
    ],
    "custom tool": lambda text: [
        ToolStarted(0, "c", "send", custom=True),
        *(ToolDelta(0, piece) for piece in split(text)),
    ],
    "opaque": lambda text: [OpaqueDelta("chat", {"a": [text]})],
    "citation": lambda text: [TextDelta("See "), TextDelta("", citation=Citation(quote=text))],
}


@pytest.mark.parametrize("policy", [REDACT, STRICT, BLOCK], ids=["redact", "strict", "block"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_no_channel_lets_a_finding_out(channel: str, policy: Policy) -> None:
    events = [Started("1", "m"), *CHANNELS[channel](f"Write to {MAIL} now"), Finished("stop"), Metered(Usage(output=9))]
    out, guard = guarded(events, policy)
    assert "example" not in repr(out)
    assert [verdict.type for verdict in guard.verdicts] == ["email"]
    assert (guard.blocked is not None) == (policy is BLOCK)
    assert [event.finish for event in out if isinstance(event, Finished)] == [
        "content_filter" if policy is BLOCK else "stop"
    ]
    assert any(isinstance(event, Metered) for event in out)


kinds = st.sampled_from([name for name in CHANNELS if name != "citation"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(kinds, st.sampled_from([MAIL, "All is well. ", "4111 1111 1111 1111", "the"])), max_size=6))
def test_streams_and_whole_answers_come_out_alike(parts: list[tuple[str, str]]) -> None:
    events: list[Event] = []
    for number, (kind, text) in enumerate(parts):
        made = [msgspec.structs.replace(event) for event in CHANNELS[kind](text)]
        for event in made:
            if isinstance(event, ToolStarted | ToolDelta):
                event.index = number
        events += made
    events.append(Finished("stop"))
    out, guard = guarded(events)
    whole, other = guard_reply(gathered(events), REDACT)
    streamed = gathered(out)
    for choice in (*whole.choices, *streamed.choices):
        choice.parts = [part for part in choice.parts if getattr(part, "text", "x") != ""]
    assert streamed.choices == whole.choices
    assert sorted(verdict.type for verdict in guard.verdicts) == sorted(verdict.type for verdict in other.verdicts)


def test_plain_events_come_out_the_same_in_sum() -> None:
    events: list[Event] = [
        Started("1", "m"), ThinkingDelta("Let me "), ThinkingDelta("think"), ThinkingDelta(signature="s"),
        TextDelta("Hello "), TextDelta("wor"), TextDelta("ld"), TextDelta("", citation=Citation(url="u", quote="q")),
        TextDelta(" and more."), ToolStarted(0, "c", "f"), ToolDelta(0, '{"a"'), ToolDelta(0, ": 1}"),
        Finished("tool_calls"), Metered(Usage(output=3)),
    ]  # fmt: skip
    out, guard = guarded(events)
    assert gathered(out) == gathered(events)
    assert not guard.verdicts


def test_kinds_stay_in_order() -> None:
    out, _ = guarded(
        [TextDelta("One mo"), ToolStarted(0, "c", "f"), ToolDelta(0, "{}"), TextDelta("done"), Finished("stop")]
    )
    kinds = [type(event) for event in out]
    assert [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind is not before] == [
        TextDelta, ToolStarted, ToolDelta, TextDelta, Finished,
    ]  # fmt: skip


def test_interleaved_calls_and_choices_do_not_mix() -> None:
    first, second = json.dumps({"to": MAIL}), json.dumps({"to": "ann@example.com", "x": 1})
    events: list[Event] = [ToolStarted(0, "a", "f"), ToolStarted(1, "b", "f")]
    for one, other in zip(split(first.ljust(60), 4), split(second.ljust(60), 4), strict=True):
        events += [ToolDelta(0, one), ToolDelta(1, other), TextDelta(one, choice=1)]
    out, _ = guarded([*events, Finished("tool_calls"), Finished("stop", 1)])
    reply = gathered(out)
    calls = [part for part in reply.choices[0].parts if isinstance(part, ToolCall)]
    assert [json.loads(call.arguments)["to"] for call in calls] == ["[redacted email]"] * 2
    assert "example" not in repr(reply)


def test_a_block_ends_every_choice_and_passes_the_usage_only() -> None:
    events = [
        TextDelta("Fine. "),
        TextDelta("Hi ", choice=1),
        TextDelta(f"{MAIL} is "),
        TextDelta("more"),
        TextDelta("x", 1),
    ]
    out, guard = guarded([*events, Finished("stop"), Finished("stop", 1), Metered(Usage(output=7))], BLOCK)
    assert [event for event in out if isinstance(event, Finished)] == [
        Finished("content_filter", 0),
        Finished("content_filter", 1),
    ]
    assert out[-1] == Metered(Usage(output=7))
    assert guard.blocked is not None


def test_a_block_without_usage_is_estimated() -> None:
    out, guard = guarded([TextDelta(f"To {MAIL} and")], BLOCK, estimate=lambda size: Usage(output=size, estimated=True))
    assert out[-1] == Metered(Usage(output=len(f"To {MAIL} and"), estimated=True))
    assert guard.bytes == len(f"To {MAIL} and")


def test_usage_told_at_the_start_keeps_its_input_and_gets_an_estimated_output() -> None:
    events: list[Event] = [Metered(Usage(uncached=50, output=1)), TextDelta(f"To {MAIL} and so on and on")]
    out, _ = guarded(events, BLOCK, estimate=lambda size: Usage(output=size))
    assert out[-1] == Metered(Usage(uncached=50, output=len(f"To {MAIL} and so on and on"), estimated=True))


def test_logprobs_of_what_is_changed_go_and_others_stay() -> None:
    events: list[Event] = []
    for number, piece in enumerate(["All ", "well. ", "bob@", "example", ".com ", "is ", "it. "]):
        events += [TextDelta(piece), LogprobsDelta({"content": [number]})]
    out, _ = guarded([*events, Finished("stop")])
    assert [event.value["content"][0] for event in out if isinstance(event, LogprobsDelta)] == [0, 1, 5, 6]


def test_a_changed_thought_loses_its_signature() -> None:
    kept, _ = guarded([ThinkingDelta("I think"), ThinkingDelta(signature="s"), Finished("stop")])
    assert gathered(kept).choices[0].parts == [Thinking("I think", "s")]
    changed, _ = guarded([ThinkingDelta(f"I ask {MAIL} "), ThinkingDelta(signature="s"), Finished("stop")])
    assert gathered(changed).choices[0].parts == [Thinking("I ask [redacted email] ")]


def test_media_pass_and_are_said_to_be_unchecked() -> None:
    _, guard = guarded([MediaDelta(Image(data="aaaa")), AudioDelta("bbbb"), Finished("stop")])
    assert guard.unchecked == {"image", "audio"}


def test_a_failure_of_the_provider_passes_after_what_was_held() -> None:
    out, _ = guarded([TextDelta("Half a wor"), Failed("overloaded")])
    assert gathered(out[:-1]).choices[0].parts == [Text("Half a wor")]
    assert out[-1] == Failed("overloaded")


DIALECTS: dict[str, Any] = {
    "chat": chat, "messages": messages, "responses": responses, "gemini": gemini, "cohere": cohere, "ollama": ollama,
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("policy", [REDACT, BLOCK], ids=["redact", "block"])
def test_every_dialects_stream_comes_out_clean_and_whole(name: str, policy: Policy) -> None:
    dialect = DIALECTS[name]
    events = [
        Started("1", "m"), *(TextDelta(piece) for piece in split(f"Write to {MAIL}, please. ")),
        ToolStarted(0, "call_1", "send"), *(ToolDelta(0, piece) for piece in split(json.dumps({"to": MAIL}))),
        Finished("tool_calls"), Metered(Usage(uncached=5, output=9)),
    ]  # fmt: skip
    writer = dialect.StreamWriter("1", "m", 0, True)
    wire = b"".join([writer.write(event) for event in events]) + writer.close()
    reader = GuardedReader(dialect.StreamReader(), EventGuard(policy))
    out: list[Event] = []
    for at in range(0, len(wire), 7):
        out += reader.feed(wire[at : at + 7])
    out += reader.close()
    assert reader.complete
    writer = dialect.StreamWriter("1", "m", 0, True)
    shown = b"".join([writer.write(event) for event in out]) + writer.close()
    assert b"example.com" not in shown
    reader = dialect.StreamReader()
    reply = gathered([*reader.feed(shown), *reader.close()])
    assert reader.complete
    if policy is BLOCK:
        assert reply.choices[0].finish == ("error" if name == "cohere" else "content_filter")  # Cohere has no such word
        assert [part.text for part in reply.choices[0].parts if isinstance(part, Text)] == ["Write to "]
    else:
        call = next(part for part in reply.choices[0].parts if isinstance(part, ToolCall))
        assert json.loads(call.arguments) == {"to": "[redacted email]"}


def test_a_whole_answer_that_is_blocked_ends_there() -> None:
    reply = Reply(
        "1", "m", [Choice([Text("Fine. "), Text(f"To {MAIL} it"), Text("never")]), Choice([Text("x")], index=1)]
    )
    made, guard = guard_reply(reply, BLOCK)
    assert guard.blocked is not None
    assert [choice.finish for choice in made.choices] == ["content_filter", "content_filter"]
    assert "example" not in repr(made)
    assert "never" not in repr(made)
