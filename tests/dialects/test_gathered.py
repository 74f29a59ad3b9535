"""A stream gathered is the reply that was streamed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import chat
from freehold.dialects.conversation import (
    AudioDelta,
    Choice,
    Citation,
    Failed,
    Finished,
    LogprobsDelta,
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
    Usage,
)
from freehold.dialects.gathered import Gatherer

WORDS = st.text('abc {}"\\\u00e9', min_size=1, max_size=12)


def gathered(events: list[Any]) -> Reply:
    gatherer = Gatherer()
    gatherer.add(events)
    return gatherer.reply()


@given(
    st.lists(st.one_of(WORDS, st.none(), st.lists(WORDS, min_size=1, max_size=2)), min_size=1, max_size=3),
    st.sampled_from(["stop", "length"]),
)
def test_a_streamed_completion_says_what_the_whole_one_does(choices: list[Any], finish: str) -> None:
    """None: a choice that says nothing; a list: names of tools that are called."""
    body = json.dumps(
        {
            "id": "c", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [
                {
                    "index": index,
                    "message": message(said),
                    "logprobs": {"content": [{"token": "a", "logprob": -1.0}]} if isinstance(said, str) else None,
                    "finish_reason": finish,
                }
                for index, said in enumerate(choices)
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
    ).encode()  # fmt: skip
    whole = chat.read_reply(body)
    reader = chat.StreamReader()
    assert gathered([*reader.feed(chat.as_stream(body)), *reader.close()]) == whole


def message(said: Any) -> dict[str, Any]:
    if not isinstance(said, list):
        return {"role": "assistant", "content": said}
    return {"role": "assistant", "content": None, "tool_calls": [call(name, n) for n, name in enumerate(said)]}


def call(name: str, number: int) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": '{"a": 1}'}}


def test_every_kind_of_event_has_its_place() -> None:
    usage = Usage(uncached=1, output=2)
    reply = gathered(
        [
            Started("id", "m", 9),
            ThinkingDelta("h"),
            ThinkingDelta("m", signature="sig", id="rs"),
            ThinkingDelta(redacted="xx"),
            ThinkingDelta("more"),
            TextDelta("a"),
            TextDelta("b", citation=Citation(url="u"), item_id="msg"),
            ToolStarted(0, "c0", "f"),
            ToolStarted(1, "c1", "g", custom=True),
            ToolDelta(1, "ls"),
            ToolDelta(0, '{"x":'),
            ToolDelta(0, "1}"),
            OpaqueDelta("gemini", {"k": 1}),
            LogprobsDelta({"content": [1], "refusal": None}),
            LogprobsDelta({"content": [2]}),
            RefusalDelta("no", choice=1),
            Finished("tool_calls"),
            Finished("stop", choice=1, stop_sequence="x"),
            Metered(Usage()),
            Metered(usage),
        ]
    )
    first, second = reply.choices
    assert (reply.id, reply.model, reply.created, reply.usage) == ("id", "m", 9, usage)
    assert first.parts[0] == Thinking("hm", "sig", id="rs")
    assert first.parts[1:3] == [Thinking(redacted="xx"), Thinking("more")]
    assert first.parts[-4:] == [
        Text("ab", citations=[Citation(url="u")], item_id="msg"),
        ToolCall("c0", "f", '{"x":1}'),
        ToolCall("c1", "g", "ls", custom=True),
        Opaque("gemini", {"k": 1}),
    ]
    assert first.logprobs == {"content": [1, 2]}
    assert second == Choice([Refusal("no")], "stop", "x", True, None, 1)


def test_sound_has_its_words() -> None:
    reply = gathered([AudioDelta(data="AA", id="a"), AudioDelta(transcript="he"), AudioDelta(transcript="y")])
    assert reply.choices[0].parts[0].transcript == "hey"  # type: ignore[union-attr]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert gathered([ToolStarted(0, "c", "f"), ToolDelta(0, "")]).choices[0].parts == [ToolCall("c", "f", "{}")]


@pytest.mark.parametrize("events", [[], [Started("i", "m")], [ToolDelta(3, "lost")]])
def test_broken_streams_give_what_came(events: list[Any]) -> None:
    assert all(not choice.parts for choice in gathered(events).choices)


def test_a_failure_is_kept() -> None:
    gatherer = Gatherer()
    gatherer.add([TextDelta("a"), Failed("overloaded")])
    assert gatherer.failed is not None
    assert not gatherer.finished
