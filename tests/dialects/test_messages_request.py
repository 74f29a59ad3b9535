"""Anthropic requests read: what each field becomes, what survives a round trip, what is refused and where."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import messages
from freehold.dialects.conversation import (
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import BadRequest

KEEP = Traits(thinking="adaptive", stop_max=100)


def read(**fields: Any) -> Conversation:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    return messages.read_request(json.dumps(body).encode())


def again(conversation: Conversation, traits: Traits = KEEP) -> dict[str, Any]:
    losses: list[str] = []
    body: dict[str, Any] = json.loads(messages.write_request(conversation, losses, traits))
    assert losses == []
    return body


def test_the_simple_fields() -> None:
    conversation = read(
        system="S", temperature=0.5, top_p=0.9, top_k=4, stream=True, stop_sequences=["x"], metadata={"user_id": "u"}
    )
    assert conversation.system == [Text("S")]
    assert (conversation.temperature, conversation.top_p, conversation.top_k) == (0.5, 0.9, 4)
    assert (conversation.stream, conversation.stop, conversation.user) == (True, ["x"], "u")
    assert conversation.dialect == "messages"
    assert conversation.turns == [Turn("user", [Text("hi")])]


def test_blocks() -> None:
    blocks = [
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "T"},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "r"}], "is_error": True},
        {"type": "search_result", "source": "s", "title": "T", "content": []},
    ]
    parts = read(messages=[{"role": "user", "content": blocks}]).turns[0].parts
    assert parts == [
        Text("t", "1h"),
        Image(url="https://example.org/a.png"),
        Image(file_id="file_1"),
        Document("text/plain", text="d", title="T"),
        ToolResult("a", [Text("r")], is_error=True),
        Opaque("messages", blocks[5]),
    ]


def test_an_assistant_turn_keeps_its_order_and_signatures() -> None:
    blocks = [
        {"type": "thinking", "thinking": "", "signature": "sig=="},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "t"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1, "a": [2]}},
    ]
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": blocks}]
    parts = read(messages=turns).turns[1].parts
    assert parts == [
        Thinking("", "sig=="),
        Thinking(redacted="xyz"),
        Text("t"),
        ToolCall("a", "f", '{"b":1,"a":[2]}'),
    ]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(budget=2000)),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}},
            Reasoning(adaptive=True, effort="high", include=False),
        ),
        ({"output_config": {"effort": "max"}}, Reasoning(effort="max")),
    ],
)
def test_thinking(fields: dict[str, Any], reasoning: Reasoning) -> None:
    conversation = read(**fields, max_tokens=9000)
    assert conversation.reasoning == reasoning
    written = again(conversation, Traits(thinking="budget" if reasoning.budget else "adaptive"))
    assert {name: written[name] for name in fields} == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "between_tools"}},
        {"output_config": {"task_budget": {"type": "tokens", "total": 9}}},
        {"container": "c", "mcp_servers": [{"name": "x"}], "context_management": {"edits": []}},
        {"cache_control": {"type": "ephemeral"}},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}, "defer_loading": True}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
        {"metadata": {"user_id": "u", "more": 1}},
        {"messages": [{"role": "user", "content": "hi", "new": 1}]},
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "x"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]},
                {"role": "system", "content": "later"},
                {"role": "user", "content": "on"},
            ]
        },
    ],
)
def test_what_has_no_canonical_place_returns_to_this_dialect(fields: dict[str, Any]) -> None:
    written = again(read(**fields))
    assert {name: written[name] for name in fields} == fields


def test_what_has_no_canonical_place_is_reported_by_others() -> None:
    conversation = read(container="c", tools=[{"name": "f", "input_schema": {"type": "object"}, "defer_loading": True}])
    assert set(conversation.unknown) == {"container", "tools.0.defer_loading"}


def test_structured_output_keeps_the_clients_schema() -> None:
    shape = {"type": "json_schema", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    conversation = read(output_config={"format": shape})
    assert conversation.output == OutputFormat("schema", shape["schema"], strict=True)
    assert again(conversation)["output_config"] == {"format": shape}
    assert read(output_format=shape).output == conversation.output


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0.content.0.source"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": []}]}
                ]
            },
            "messages.0.content.0.input",
        ),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools.0.input_schema"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"stop_sequences": [1]}, "stop_sequences.0"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": 1}, "stream"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


# Round trips of generated conversations

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: not text.isspace())
CACHE = st.sampled_from([None, None, None, "5m", "1h"])
SCHEMAS = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(WORDS, st.just({}))})
MEDIA: st.SearchStrategy[Part] = st.one_of(
    st.builds(Image, media_type=st.just("image/png"), data=st.just("QUJD")),
    st.builds(Image, url=st.just("https://example.org/a.png")),
    st.builds(Document, media_type=st.just("application/pdf"), data=st.just("QUJD"), title=st.none() | WORDS),
    st.builds(Document, media_type=st.just("text/plain"), text=WORDS, citations=st.none() | st.booleans()),
)
SAID = st.builds(Text, WORDS)
ARGUMENTS = st.dictionaries(WORDS, st.integers() | st.booleans() | WORDS, max_size=3).map(
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
)


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    """Turns as Anthropic wants them: alternating, every call answered at once."""
    made = [Turn("user", draw(st.lists(SAID | MEDIA, min_size=1, max_size=3)))]
    for number in range(draw(st.integers(0, 3))):
        said: list[Part] = [
            *draw(
                st.lists(
                    st.builds(Thinking, st.text(max_size=5), st.text("aZ9+/=", min_size=1, max_size=5)), max_size=1
                )
            ),
            *draw(st.lists(st.builds(Thinking, redacted=WORDS), max_size=1)),
            *draw(st.lists(SAID, max_size=2)),
        ]
        ids = [f"{draw(WORDS)}{number}-{index}" for index in range(draw(st.integers(0, 2)))]
        said += [ToolCall(name, draw(WORDS), draw(ARGUMENTS)) for name in ids]
        answer: list[Part] = [
            ToolResult(name, draw(st.lists(SAID | MEDIA, max_size=2)), is_error=draw(st.booleans())) for name in ids
        ]
        answer += draw(st.lists(SAID | MEDIA, max_size=2))
        made.append(Turn("assistant", said or [Text("ok")]))
        made.append(Turn("user", answer or [Text("go on")]))
    return made


TOOLS = st.builds(Tool, WORDS, st.none() | WORDS, SCHEMAS, st.none() | st.booleans())
CONVERSATIONS = st.builds(
    Conversation,
    model=WORDS,
    dialect=st.just("messages"),
    include_usage=st.just(True),
    system=st.lists(st.builds(Text, WORDS, CACHE), max_size=2),
    turns=turns(),
    tools=st.lists(TOOLS, min_size=1, max_size=2),
    tool_choice=st.none() | st.builds(ToolChoice, st.sampled_from(["auto", "none"])) | st.builds(
        ToolChoice, st.just("tool"), WORDS
    ),
    output=st.none() | st.builds(OutputFormat, st.just("schema"), SCHEMAS, strict=st.just(True)),
    reasoning=st.none() | st.builds(Reasoning, adaptive=st.just(True), effort=st.sampled_from([None, "low", "max"])),
    max_tokens=st.integers(1, 10**6),
    stop=st.lists(WORDS, max_size=3),
    stream=st.booleans(),
    user=st.none() | WORDS,
    service_tier=st.none() | st.just("standard_only"),
)  # fmt: skip


@given(CONVERSATIONS)
@settings(max_examples=150)
def test_reading_undoes_writing(conversation: Conversation) -> None:
    losses: list[str] = []
    body = messages.write_request(conversation, losses, KEEP)
    assert losses == []
    assert messages.read_request(body) == conversation


@given(CONVERSATIONS)
@settings(max_examples=60)
def test_any_conversation_can_be_written_for_a_plain_model_and_is_left_unchanged(conversation: Conversation) -> None:
    conversation.dialect = "chat"
    before = messages.write_request(conversation, [], PLAIN)
    assert messages.write_request(conversation, [], PLAIN) == before
    json.loads(before)
