"""Conversations of other dialects, written as Ollama requests."""

import json
from typing import Any

import msgspec
import pytest

from freehold.dialects import chat, messages, ollama
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Voice,
)
from freehold.dialects.traits import PLAIN
from freehold.errors import BadRequest

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def write(conversation: Conversation, losses: list[str] | None = None, **traits: Any) -> Any:
    found: list[str] = []
    written = ollama.write_request(conversation, found, msgspec.structs.replace(PLAIN, **traits))
    if losses is None:
        assert found == []
    else:
        losses += found
    return json.loads(written)


def chat_of(*parts: Any, **fields: Any) -> Conversation:
    return Conversation("m", turns=[Turn("user", list(parts))], dialect="chat", **fields)


# Writing


def test_a_conversation_of_another_dialect_is_written() -> None:
    conversation = chat.read_request(
        json.dumps(
            {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Look"},
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                            {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
                        ],
                    },
                    {"role": "tool", "tool_call_id": "b", "content": "B"},
                    {"role": "tool", "tool_call_id": "a", "content": "A"},
                ],
                "tools": [WEATHER],
                "max_tokens": 9,
                "temperature": 0,
                "stop": "END",
                "seed": 1,
                "logprobs": True,
                "top_logprobs": 2,
                "stream": False,
            }
        ).encode()
    )
    written = write(conversation)
    assert written["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look", "images": [PNG]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
                {"id": "b", "function": {"index": 1, "name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "A", "tool_name": "f", "tool_call_id": "a"},
        {"role": "tool", "content": "B", "tool_name": "g", "tool_call_id": "b"},
    ]
    assert written["tools"] == [WEATHER]
    assert written["options"] == {"num_predict": 9, "temperature": 0, "seed": 1, "stop": ["END"]}
    assert written["stream"] is False, "the default is true"
    assert (written["logprobs"], written["top_logprobs"]) == (True, 2)


def test_tool_arguments_stay_the_text_they_were() -> None:
    call = ToolCall("a", "f", '{"x": 1.50, "y":123456789012345678901234567890}')
    conversation = Conversation(
        "m", turns=[Turn("assistant", [call]), Turn("user", [ToolResult("a", [Text("r")])])], dialect="chat"
    )
    assert b'{"x": 1.50, "y":123456789012345678901234567890}' in ollama.write_request(conversation, [])


def test_equal_conversations_are_equal_bytes() -> None:
    """Prompt caches hit only where nothing moves."""
    fields: dict[str, Any] = {"tools": [Tool("f"), Tool("g")], "temperature": 1.0, "seed": 3, "stop": ["a"]}
    bodies = {ollama.write_request(chat_of(Text("x"), Image("image/png", PNG), **fields), []) for _ in range(3)}
    assert len(bodies) == 1


def test_a_schema_too_deep_is_the_callers_mistake() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"properties": {"a": deep}}
    for fields in ({"tools": [Tool("f", schema=deep)]}, {"output": OutputFormat("schema", schema=deep)}):
        with pytest.raises(BadRequest):
            ollama.write_request(chat_of(Text("x"), **fields), [])


def test_turns_of_one_role_stay_messages_of_their_own() -> None:
    conversation = Conversation(
        "m", turns=[Turn("user", [Text("a")]), Turn("user", [Text("b")]), Turn("system", [Text("c")])], dialect="chat"
    )
    assert write(conversation)["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "system", "content": "c"},
    ]


def test_results_with_errors_and_images() -> None:
    conversation = Conversation(
        "m",
        turns=[
            Turn("assistant", [ToolCall("a", "f"), ToolCall("b", "g")]),
            Turn("user", [ToolResult("a", [Text("no")], is_error=True), ToolResult("b", [Image("image/png", PNG)])]),
        ],
        dialect="messages",
    )
    assert write(conversation)["messages"][1:] == [
        {"role": "tool", "content": "Error: no", "tool_name": "f", "tool_call_id": "a"},
        {"role": "tool", "content": "", "images": [PNG], "tool_name": "g", "tool_call_id": "b"},
    ]


def test_a_call_without_a_result_gets_one() -> None:
    conversation = Conversation(
        "m", turns=[Turn("assistant", [ToolCall("a", "f")]), Turn("user", [Text("well?")])], dialect="chat"
    )
    losses: list[str] = []
    roles = [message["role"] for message in write(conversation, losses)["messages"]]
    assert roles == ["assistant", "tool", "user"]
    assert losses == ["messages.0.tool_calls"]


@pytest.mark.parametrize(
    ("choice", "names", "losses"),
    [
        (ToolChoice("auto"), ["f", "g"], []),
        (ToolChoice("none"), None, []),
        (ToolChoice("required"), ["f", "g"], ["tool_choice"]),
        (ToolChoice("tool", "g"), ["g"], ["tool_choice"]),
        (ToolChoice("auto", names=["f"]), ["f"], []),
    ],
)
def test_tool_choice(choice: ToolChoice, names: list[str] | None, losses: list[str]) -> None:
    conversation = chat_of(Text("x"), tools=[Tool("f"), Tool("g")], tool_choice=choice)
    found: list[str] = []
    written = write(conversation, found)
    assert found == losses
    assert (names is None) == ("tools" not in written)
    if names is not None:
        assert [tool["function"]["name"] for tool in written["tools"]] == names


def test_tool_schemas_are_made_fit_for_go() -> None:
    schema = {
        "type": "object",
        "properties": {
            "any": True,
            "kind": {"const": "a"},
            "pet": {"oneOf": [{"$ref": "#/$defs/Cat"}, False]},
            "list": {"type": "array", "items": {"$ref": "#/$defs/Cat"}},
        },
        "$defs": {"Cat": {"type": "object", "properties": {"name": {"type": ["string", "null"]}}}},
    }
    written = write(chat_of(Text("x"), tools=[Tool("f", schema=schema), Tool("g")]))
    cat = {"type": "object", "properties": {"name": {"type": ["string", "null"]}}}
    assert written["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "any": {},
            "kind": {"enum": ["a"]},
            "pet": {"anyOf": [cat, {}]},
            "list": {"type": "array", "items": cat},
        },
    }
    assert written["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_format_is_native_without_tools_and_words_beside_them() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    output = OutputFormat("schema", schema=schema, name="n", strict=True)
    assert write(chat_of(Text("x"), output=output))["format"] == schema
    assert write(chat_of(Text("x"), output=OutputFormat("json")))["format"] == "json"
    assert "format" not in write(chat_of(Text("x"), output=OutputFormat("text")))
    losses: list[str] = []
    written = write(chat_of(Text("x"), output=output, tools=[Tool("f")]), losses)
    assert "format" not in written
    assert json.dumps(schema, separators=(",", ":")) in written["messages"][0]["content"]
    assert losses == ["response_format"]


@pytest.mark.parametrize(
    ("reasoning", "thinking", "think", "losses"),
    [
        (Reasoning(effort="low"), "none", None, ["reasoning_effort"]),
        (Reasoning(effort="low"), "effort", "low", []),
        (Reasoning(effort="xhigh"), "effort", "high", []),
        (Reasoning(effort="max"), "effort", "max", []),
        (Reasoning(budget=2000), "effort", "low", ["reasoning_effort.budget_tokens"]),
        (Reasoning(adaptive=True), "budget", True, []),
        (Reasoning(effort="low"), "budget", True, ["reasoning_effort"]),
        (Reasoning(effort="none"), "none", False, []),
        (Reasoning(enabled=False), "budget", False, []),
        (Reasoning(enabled=False), "effort", False, ["reasoning_effort"]),
    ],
)
def test_reasoning(reasoning: Reasoning, thinking: str, think: Any, losses: list[str]) -> None:
    found: list[str] = []
    written = write(chat_of(Text("x"), reasoning=reasoning), found, thinking=thinking)
    assert written.get("think") == think
    assert found == losses


def test_what_cannot_be_carried_is_reported() -> None:
    conversation = Conversation(
        "m",
        dialect="chat",
        turns=[
            Turn(
                "user",
                [
                    Text("a", cache="5m"),
                    Image(url="https://example.com/a.png"),
                    Image("image/png", PNG, detail="high"),
                    Image(file_id="f"),
                    Audio("UklG", "wav"),
                    Document("application/pdf", "JVBERi0="),
                    Document(text="words", title="T", context="c"),
                    Opaque("chat", {"type": "video_url"}),
                    Text("b"),
                ],
                name="ann",
            ),
            Turn("assistant", [Thinking(redacted="x"), Refusal("no")]),
        ],
        tools=[Tool("f", strict=True), Tool("w", opaque=Opaque("chat", {"type": "w"}))],
        n=2,
        logit_bias={"1": 2.0},
        user="u",
        metadata={"a": "b"},
        service_tier="priority",
        store=True,
        verbosity="low",
        modalities=["text", "audio"],
        voice=Voice("alloy"),
        parallel_tools=False,
        unknown={"x": 1},
    )
    losses: list[str] = []
    written = write(conversation, losses)
    assert set(losses) == {
        "cache_control", "messages.0.image", "messages.0.image.detail", "messages.0.image.order", "messages.0.audio",
        "messages.0.document", "messages.0.document.context", "messages.0.video_url", "messages.0.name",
        "messages.1.reasoning_content", "tools.0.strict", "tools.1.w", "n", "logit_bias", "user", "metadata",
        "service_tier", "store", "verbosity", "modalities", "audio", "parallel_tool_calls", "x",
    }  # fmt: skip
    assert written["messages"][0]["content"] == "a\n\nT\n\nwords\n\nb"
    assert written["messages"][1] == {"role": "assistant", "content": "no"}


def test_defaults_are_no_losses() -> None:
    conversation = chat_of(
        Text("x"), service_tier="auto", verbosity="medium", modalities=["text"], logit_bias={}, metadata={}, n=1
    )
    write(conversation)


def test_a_prefilled_answer() -> None:
    conversation = Conversation(
        "m", turns=[Turn("user", [Text("x")]), Turn("assistant", [Text("It is")])], dialect="chat"
    )
    assert write(conversation)["messages"][-1] == {"role": "assistant", "content": "It is"}
    losses: list[str] = []
    assert write(conversation, losses, prefill=False)["messages"][-1]["role"] == "user"
    assert losses == ["messages.1.prefill"]


def test_nothing_to_say_is_refused_since_it_would_load_the_model() -> None:
    with pytest.raises(BadRequest) as caught:
        write(Conversation("m", dialect="chat"))
    assert caught.value.param == "messages"


def test_from_messages_with_signed_thoughts() -> None:
    conversation = messages.read_request(
        json.dumps(
            {
                "model": "m",
                "max_tokens": 10,
                "system": "S",
                "messages": [
                    {"role": "user", "content": "x"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "hm", "signature": "sig"},
                            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                        ],
                    },
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}]},
                ],
            }
        ).encode()
    )
    assert write(conversation)["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"id": "toolu_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "r", "tool_name": "f", "tool_call_id": "toolu_1"},
    ]
