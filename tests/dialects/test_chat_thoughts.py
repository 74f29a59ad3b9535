"""Thoughts and their signatures through a chat client and back: what a client that replays messages brings with it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from freehold.dialects import chat, messages
from freehold.dialects.chat.thoughts import read_thoughts, split_tag, write_details
from freehold.dialects.conversation import (
    Choice,
    Conversation,
    Event,
    Finished,
    OpaqueDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolResult,
    ToolStarted,
    Turn,
)
from freehold.dialects.traits import Traits

ANTHROPIC = {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
REDACTED = {"type": "reasoning.encrypted", "data": "r", "format": "anthropic-claude-v1", "index": 1}
SUMMARY = {"type": "reasoning.summary", "summary": "u", "format": "openai-responses-v1", "index": 0}
ENCRYPTED = {"type": "reasoning.encrypted", "data": "e", "format": "openai-responses-v1", "index": 0, "id": "rs_1"}
GOOGLE = {"type": "reasoning.encrypted", "data": "g", "format": "google-gemini-v1", "index": 0}
XAI = {"type": "reasoning.encrypted", "data": "x", "format": "xai-responses-v1", "index": 0}


@pytest.mark.parametrize(
    ("details", "thoughts"),
    [
        ([ANTHROPIC, REDACTED], [Thinking("t", "s"), Thinking(redacted="r")]),
        ([SUMMARY, ENCRYPTED], [Thinking("u", "openai:e", id="rs_1")]),
        ([ENCRYPTED], [Thinking("", "openai:e", id="rs_1")]),
        ([GOOGLE], [Thinking("", "gemini:g")]),
        ([XAI], [Thinking("", "xai-responses-v1:x")]),
        ([{**ANTHROPIC, "signature": None}], [Thinking("t")]),
        # pieces of a stream, merely collected by the client
        (
            [
                {**ANTHROPIC, "text": "", "signature": ""},
                {**ANTHROPIC, "text": "a", "signature": None},
                {"type": "reasoning.text", "text": "b", "format": "anthropic-claude-v1", "index": 0},
                {"type": "reasoning.text", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
                {**ANTHROPIC, "index": 1},
            ],
            [Thinking("ab", "s"), Thinking("t", "s")],
        ),
        # several summaries of one reasoning item
        (
            [SUMMARY, {**SUMMARY, "index": 1}, {**ENCRYPTED, "index": 2}],
            [Thinking("u"), Thinking("u", "openai:e", id="rs_1")],
        ),
        ([{"type": "reasoning.new"}, None, 3, {"type": "reasoning.encrypted", "data": 5}, {}], []),
    ],
)
def test_details_are_read(details: list[Any], thoughts: list[Thinking]) -> None:
    assert read_thoughts("", details) == thoughts


def test_plain_thoughts_count_where_the_details_hold_no_text() -> None:
    assert read_thoughts("p", None) == [Thinking("p")]
    assert read_thoughts("p", [ENCRYPTED]) == [Thinking("p", "openai:e", id="rs_1")]
    assert read_thoughts("p", [REDACTED]) == [Thinking("p"), Thinking(redacted="r")]
    assert read_thoughts("t", [ANTHROPIC]) == [Thinking("t", "s")]


WORDS = st.text(min_size=1, max_size=10)
SIGNATURE = st.text("abcXYZ019+/=", min_size=1, max_size=60)
THOUGHT = st.one_of(
    st.builds(Thinking, st.just("") | WORDS, SIGNATURE),
    st.builds(lambda data: Thinking(redacted=data), SIGNATURE),
    st.builds(
        lambda text, tag, value, item: Thinking(text, f"{tag}:{value}", id=item),
        st.just("") | WORDS,
        st.sampled_from(["gemini", "openai", "xai-responses-v1", "azure-openai-responses-v1"]),
        SIGNATURE,
        st.none() | st.just("rs_1"),
    ),
)


@given(st.lists(THOUGHT, max_size=5))
def test_what_is_written_is_read_again(thoughts: list[Thinking]) -> None:
    assert read_thoughts("", json.loads(json.dumps(write_details(thoughts)))) == thoughts


@given(st.text(max_size=80))
def test_a_signature_is_its_tag_and_the_rest(signature: str) -> None:
    assert "".join(split_tag(signature)) == signature


# Whole answers


def reply(*parts: Any) -> dict[str, Any]:
    losses: list[str] = []
    body = chat.write_reply(Reply("i", "m", [Choice(list(parts))]), losses, 7)
    assert losses == []
    ChatCompletion.model_validate_json(body)
    message: dict[str, Any] = json.loads(body)["choices"][0]["message"]
    return message


def test_a_signed_thought_is_offered_and_an_unsigned_one_is_not_repeated() -> None:
    message = reply(Thinking("t", "s"), Thinking(redacted="r"), Text("a"))
    assert message["reasoning_content"] == "t"
    assert message["reasoning_details"] == [ANTHROPIC, REDACTED]
    assert "reasoning_details" not in reply(Thinking("t"), Text("a"))


def replayed(message: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The message sent back to Anthropic by a chat client that keeps it as it is."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}, message]}
    if calls := message.get("tool_calls"):
        body["messages"].append({"role": "tool", "tool_call_id": calls[0]["id"], "content": "r"})
    losses: list[str] = []
    written = messages.write_request(chat.read_request(json.dumps(body).encode()), losses)
    return json.loads(written), losses


def test_anthropics_thoughts_come_back_to_it_unchanged() -> None:
    message = reply(Thinking("t", "s"), Thinking(redacted="r"), Text("a"), ToolCall("c1", "f"))
    written, losses = replayed(message)
    assert written["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
    ]
    assert losses == []


@pytest.mark.parametrize("signature", ["gemini:g", "openai:e", "xai-responses-v1:x"])
def test_others_thoughts_do_not_go_to_anthropic(signature: str) -> None:
    written, losses = replayed(reply(Thinking("t", signature, id="rs_1"), Text("a")))
    assert written["messages"][1]["content"] == "a"
    assert losses == ["messages.1.reasoning_content"]
    read = chat.read_request(
        json.dumps({"model": "m", "messages": [reply(Thinking("t", signature, id="rs_1"))]}).encode()
    )
    assert read.turns[0].parts == [Thinking("t", signature, id="rs_1")]


# Streams


def streamed(*events: Event) -> tuple[dict[str, Any], chat.StreamWriter]:
    """What a client that adds deltas up has in the end: strings joined, lists appended."""
    writer = chat.StreamWriter("i", "m", 1)
    out = b"".join(writer.write(event) for event in (Started("i", "m"), *events)) + writer.close()
    message: dict[str, Any] = {}
    for line in out.decode().splitlines():
        if line.startswith("data: {"):
            chunk = ChatCompletionChunk.model_validate_json(line[6:])
            for choice in chunk.choices:
                for name, value in json.loads(line[6:])["choices"][0]["delta"].items():
                    if isinstance(value, list):
                        message.setdefault(name, []).extend(value)
                    elif isinstance(value, str) and name != "role":
                        message[name] = message.get(name, "") + value
                assert choice.index == 0
    return message, writer


def test_a_streamed_thought_is_whole_when_its_signature_comes() -> None:
    message, writer = streamed(
        ThinkingDelta("a"), ThinkingDelta("b"), ThinkingDelta(signature="s"), TextDelta("c"), Finished("stop")
    )
    assert message["reasoning_content"] == "ab"
    assert message["reasoning_details"] == [{**ANTHROPIC, "text": "ab"}]
    assert writer.losses == []


def test_thoughts_around_a_call_keep_their_order() -> None:
    message, _ = streamed(
        ThinkingDelta("a"),
        TextDelta("x"),
        ThinkingDelta("b", "s"),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, "{}"),
        ThinkingDelta(redacted="r"),
        ThinkingDelta("d"),
        ThinkingDelta(signature="openai:e", id="rs_1"),
        Finished("tool_calls"),
    )
    assert read_thoughts("", message["reasoning_details"]) == [
        Thinking("a"),
        Thinking("b", "s"),
        Thinking(redacted="r"),
        Thinking("d", "openai:e", id="rs_1"),
    ]


def test_a_stream_of_anthropics_comes_back_to_it_through_a_chat_client() -> None:
    provider = messages.StreamWriter("i", "m")
    parts = (ThinkingDelta("a"), ThinkingDelta("b"), ThinkingDelta(signature="s"), ThinkingDelta(redacted="r"))
    wire = b"".join(provider.write(event) for event in (*parts, TextDelta("c"), Finished("stop"))) + provider.close()
    message, _ = streamed(*messages.StreamReader().feed(wire))
    written, losses = replayed({"role": "assistant", **message})
    assert written["messages"][1]["content"][:3] == [
        {"type": "thinking", "thinking": "ab", "signature": "s"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "text", "text": "c"},
    ]
    assert losses == []


def events(*deltas: dict[str, Any]) -> list[Event]:
    reader = chat.StreamReader()
    found: list[Event] = []
    for delta in deltas:
        choice = {"index": 0, "delta": delta}
        found += reader.feed(b"data: " + json.dumps({"id": "i", "model": "m", "choices": [choice]}).encode() + b"\n\n")
    return found[1:]


def test_openrouters_stream_is_read_once() -> None:
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    assert events(
        {"content": "", "reasoning": None, "reasoning_details": [{**text, "text": "", "signature": ""}]},
        {"content": "", "reasoning": "a", "reasoning_details": [{**text, "text": "a"}]},
        {"content": "", "reasoning": None, "reasoning_details": [{**text, "signature": "s"}]},
        {"content": "b"},
        {"reasoning_details": [{"type": "reasoning.server_tool_call"}]},
    ) == [
        ThinkingDelta("a"),
        ThinkingDelta(signature="s"),
        TextDelta("b"),
        OpaqueDelta("chat", {"reasoning_details": [{"type": "reasoning.server_tool_call"}]}),
    ]
    assert events({"reasoning": "p", "reasoning_details": [ENCRYPTED]}) == [
        ThinkingDelta("p"),
        ThinkingDelta(signature="openai:e", id="rs_1"),
    ]


# Back to hosts of the chat dialect


def talk(*parts: Any) -> Conversation:
    turns = [Turn("user", [Text("q")]), Turn("assistant", list(parts))]
    if any(isinstance(part, ToolCall) for part in parts):
        turns.append(Turn("user", [ToolResult("c1", [Text("r")])]))
    return Conversation("m", turns=turns, dialect="messages")


def sent(conversation: Conversation, **traits: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = json.loads(chat.write_request(conversation, losses, Traits(**traits)))
    message: dict[str, Any] = body["messages"][1]
    return message, losses


def test_openrouter_gets_signatures_back() -> None:
    message, losses = sent(talk(Thinking("t", "s"), Text("a")), replay_reasoning="reasoning_details")
    assert message["reasoning_details"] == [ANTHROPIC]
    assert losses == []
    message, _ = sent(talk(Thinking("t"), Text("a")), replay_reasoning="reasoning_details")
    assert message["reasoning"] == "t"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_others_get_the_text(field: str) -> None:
    message, losses = sent(talk(Thinking("t", "s"), Thinking("u"), Text("a")), replay_reasoning=field)
    assert message[field] == "tu"
    assert losses == ["thinking.signature"]
    message, losses = sent(talk(Thinking(redacted="r"), Text("a")), replay_reasoning=field)
    assert field not in message
    assert losses == ["thinking"]


def test_a_call_without_its_thoughts_is_not_refused_by_deepseek() -> None:
    wanted = {"replay_reasoning": "reasoning_content", "demands_reasoning": True}
    assert sent(talk(ToolCall("c1", "f")), **wanted)[0]["reasoning_content"] == " "
    assert sent(talk(Thinking("t"), ToolCall("c1", "f")), **wanted)[0]["reasoning_content"] == "t"
    assert "reasoning_content" not in sent(talk(Text("a")), **wanted)[0]
