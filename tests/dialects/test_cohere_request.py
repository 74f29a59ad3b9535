"""Requests of Cohere's chat: what each field becomes, and what the conversation becomes here."""

import json
from typing import Any

import pytest
from cohere import ChatMessageV2, ToolV2
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from freehold.dialects import chat, cohere, messages
from freehold.dialects.conversation import (
    Audio,
    Citation,
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
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import BadRequest

MESSAGES: TypeAdapter[Any] = TypeAdapter(list[ChatMessageV2])
TOOLS: TypeAdapter[Any] = TypeAdapter(list[ToolV2])
THINKS = Traits(thinking="budget", stop_max=5)


def request(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}


def read(**fields: Any) -> Conversation:
    return cohere.read_request(json.dumps(request(**fields)).encode())


def write(conversation: Conversation, traits: Traits = PLAIN) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = json.loads(cohere.write_request(conversation, losses, traits))
    if conversation.dialect != "cohere":  # whose unknown blocks come back
        MESSAGES.validate_python(body["messages"])
        TOOLS.validate_python(body.get("tools", []))
    return body, losses


def again(**fields: Any) -> dict[str, Any]:
    body, losses = write(read(**fields), THINKS)
    assert losses == []
    return body


def foreign(*turns: Turn, dialect: str = "chat", **fields: Any) -> Conversation:
    return Conversation("m", turns=list(turns) or [Turn("user", [Text("Hi")])], dialect=dialect, **fields)


EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See", "later": 1},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                {"type": "novel", "x": 1},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes."}],
            "tool_plan": "I will look.",
            "tool_calls": [
                {"id": "a_1", "type": "function", "function": {"name": "a", "arguments": '{"x": 1}'}},
                {"id": "b_1", "type": "function", "function": {"name": "b", "arguments": "{}"}},
            ],
            "citations": [
                {"start": 0, "end": 3, "text": "Yes", "content_index": 1, "sources": [], "type": "TEXT_CONTENT"},
                {"start": 0, "end": 1, "text": "I", "sources": [], "type": "PLAN"},
            ],
        },
        {"role": "tool", "tool_call_id": "a_1", "content": "one", "extra": True},
        {
            "role": "tool",
            "tool_call_id": "b_1",
            "content": [
                {"type": "text", "text": "two"},
                {"type": "document", "document": {"id": "d", "data": {"title": "T", "rows": [1, 2]}}},
            ],
        },
        {"role": "user", "content": "And?", "extra": {"y": 2}},
    ],
    "documents": ["Plain.", {"id": "a", "data": {"title": "T", "snippet": "S", "year": 2026}}, {"data": "Text."}],
    "tools": [
        {"type": "function", "function": {"name": "a", "description": "A.", "parameters": {"type": "object"}, "z": 1}},
        {"type": "function", "function": {"name": "b", "parameters": {"type": "object", "properties": {}}}},
        {"type": "hosted", "name": "search"},
    ],
    "tool_choice": "REQUIRED",
    "strict_tools": True,
    "response_format": {"type": "json_object", "json_schema": {"type": "object", "required": ["a"]}},
    "safety_mode": "STRICT",
    "citation_options": {"mode": "FAST"},
    "thinking": {"type": "enabled", "token_budget": 100, "later": 1},
    "priority": 3,
    "max_tokens": 50,
    "stop_sequences": ["a", "b", "c", "d", "e"],
    "temperature": 0.3,
    "seed": 7,
    "p": 0.75,
    "k": 0,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.25,
    "logprobs": True,
    "stream": True,
    "novel": {"x": [1]},
}


def test_a_request_with_everything_comes_back_as_it_was() -> None:
    assert again(**EVERYTHING) == request(**EVERYTHING)


@pytest.mark.parametrize(
    "field",
    [
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "grammar", "g": "x"}},
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "enabled"}},
        {"tool_choice": "NONE"},
        {"strict_tools": False, "tools": EVERYTHING["tools"][:2]},
        {"strict_tools": True},
        {"logprobs": False},
        {"p": 0.999, "k": 900, "frequency_penalty": -1.0},
        {"stop_sequences": [""]},
    ],
)
def test_a_field_comes_back_as_it_was(field: dict[str, Any]) -> None:
    assert again(**field) == request(**field)


def test_nulls_and_shorthands_are_the_same_as_the_long_forms() -> None:
    long = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert read(messages=long, seed=None, tools=None) == read()


def test_what_is_read() -> None:
    conversation = read(**EVERYTHING)
    assert conversation.system == [Text("Be brief.")]
    assert conversation.tool_choice == ToolChoice("required")
    assert [tool.strict for tool in conversation.tools] == [True, True, None]
    assert conversation.output == OutputFormat(
        "schema", {"type": "object", "required": ["a"]}, name="response", strict=True
    )
    assert conversation.reasoning == Reasoning(budget=100)
    assert (conversation.top_p, conversation.top_k, conversation.seed) == (0.75, 0, 7)
    assert conversation.include_usage
    user, assistant, results, last = conversation.turns
    assert user.parts[2] == Image("image/png", "iVBORw0KGgo=", detail="low")
    assert [type(part) for part in assistant.parts] == [Thinking, Text, Opaque, Thinking, ToolCall, ToolCall]
    assert [part.id for part in results.parts if isinstance(part, ToolResult)] == ["a_1", "b_1"]
    documents = [part for part in last.parts if isinstance(part, Document)]
    assert [(part.title, part.text, part.citations) for part in documents] == [
        (None, "Plain.", True),
        ("T", "snippet: S\nyear: 2026", True),
        (None, "Text.", True),
    ]


def test_documents_reach_other_providers_as_documents() -> None:
    conversation = read(documents=[{"id": "a", "data": {"title": "T", "text": "Body."}}])
    losses: list[str] = []
    written = json.loads(messages.write_request(conversation, losses))
    document = written["messages"][0]["content"][0]
    assert (document["type"], document["title"], document["source"]["data"]) == ("document", "T", "Body.")
    assert document["citations"] == {"enabled": True}
    assert losses == []


def test_documents_without_citations_say_so() -> None:
    for mode, wanted in (("OFF", False), ("DISABLED", False), ("ACCURATE", True)):
        conversation = read(documents=["A."], citation_options={"mode": mode})
        assert conversation.turns[0].parts[0].citations is wanted  # type: ignore[union-attr]


def test_unknown_fields_are_reported_to_other_dialects() -> None:
    losses: list[str] = []
    chat.write_request(read(safety_mode="STRICT", priority=1), losses)
    assert {"safety_mode", "priority"} <= set(losses)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages.0.content.0.image_url",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]}]},
            "messages.0.tool_calls.0.function.name",
        ),
        ({"documents": [1]}, "documents.0"),
        ({"documents": [{"id": "x"}]}, "documents.0.data"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"thinking": {"type": "maybe"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "token_budget": "x"}}, "thinking.token_budget"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"strict_tools": 1}, "strict_tools"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = request()
    del body[missing]
    with pytest.raises(BadRequest) as caught:
        cohere.read_request(json.dumps(body).encode())
    assert caught.value.param == missing


# From other dialects


def test_a_tool_loop_of_another_dialect() -> None:
    conversation = foreign(
        Turn("user", [Text("Weather?")]),
        Turn("assistant", [Thinking("I look."), ToolCall("c1", "w", '{"city":"Paris"}'), ToolCall("c2", "w", "")]),
        Turn("user", [ToolResult("c2", [Text("Rain")], is_error=True), ToolResult("c1", [Text("Sun")]), Text("So?")]),
        tools=[Tool("w", "Weather.", None)],
    )
    body, losses = write(conversation)
    assert body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_plan": "I look.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "w", "arguments": '{"city":"Paris"}'}},
                {"id": "c2", "type": "function", "function": {"name": "w", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Sun"},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: Rain"},
        {"role": "user", "content": "So?"},
    ]
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert losses == []


def test_a_model_that_thinks_gets_thoughts_as_thoughts() -> None:
    turn = Turn("assistant", [Thinking("Hm.", signature="s"), Text("Yes.")])
    conversation = foreign(Turn("user", [Text("Hi")]), turn, Turn("user", [Text("And?")]))
    body, losses = write(conversation, THINKS)
    assert body["messages"][1]["content"] == [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes."}]
    assert losses == ["messages.1.thinking.signature"]
    body, losses = write(conversation)
    assert body["messages"][1]["content"] == "Yes."
    assert "messages.1.reasoning_content" in losses


def test_a_missing_result_and_a_stray_one_are_repaired_and_reported() -> None:
    conversation = foreign(
        Turn("assistant", [ToolCall("c1", "w")]),
        Turn("user", [ToolResult("c9", [Text("stray")]), Text("Go on")]),
    )
    body, losses = write(conversation)
    assert [message["role"] for message in body["messages"]] == ["assistant", "tool", "user"]
    assert losses == ["messages.1.tool_result", "messages.0.tool_calls"]


def test_a_files_and_images_way() -> None:
    result = ToolResult("c", [Text("See"), Image("image/png", "iVBORw0KGgo="), Document(text="Doc.", title="D")])
    conversation = foreign(
        Turn("user", [Document("text/plain", "SGVsbG8="), Image(url="https://a.example/x.png"), Text("Read.")]),
        Turn("assistant", [ToolCall("c", "f")]),
        Turn("user", [result, Image(file_id="file_1"), Document("application/pdf", "JVBERi0="), Audio("AAAA")]),
    )
    body, losses = write(conversation)
    assert body["documents"] == [{"data": {"text": "Hello"}}]
    user, _, tool, after = body["messages"]
    assert [block["type"] for block in user["content"]] == ["image_url", "text"]
    assert tool["content"][1] == {"type": "document", "document": {"data": {"title": "D", "text": "Doc."}}}
    assert [block["type"] for block in after["content"]] == ["text", "image_url"]
    assert losses == ["messages.2.image", "messages.2.document", "messages.2.audio"]


def test_a_hoisted_system_turn_and_an_empty_one() -> None:
    conversation = foreign(
        Turn("user", [Text("Hi")]), Turn("system", [Text("Now rhyme.")]), Turn("user", [Text("Go"), Text("")])
    )
    body, losses = write(conversation)
    assert body["messages"][0] == {"role": "system", "content": "Now rhyme."}
    assert losses == ["messages.1.role"]
    with pytest.raises(BadRequest):
        write(foreign(Turn("user", [Text("")])))


def test_documents_alone_still_ask_something() -> None:
    body, _ = write(foreign(Turn("user", [Document(text="Doc.")])))
    assert (len(body["documents"]), body["messages"][-1]["role"]) == (1, "user")


@pytest.mark.parametrize(
    ("choice", "wire", "tools"),
    [
        (ToolChoice("auto"), None, ["a", "b"]),
        (ToolChoice("none"), "NONE", ["a", "b"]),
        (ToolChoice("required"), "REQUIRED", ["a", "b"]),
        (ToolChoice("tool", "b"), "REQUIRED", ["b"]),
        (ToolChoice("required", names=["a"]), "REQUIRED", ["a"]),
        (ToolChoice("auto", names=["a"]), None, ["a"]),
    ],
)
def test_tool_choices(choice: ToolChoice, wire: str | None, tools: list[str]) -> None:
    body, losses = write(foreign(tools=[Tool("a"), Tool("b")], tool_choice=choice))
    assert body.get("tool_choice") == wire
    assert [tool["function"]["name"] for tool in body["tools"]] == tools
    assert losses == []


def test_a_choice_that_cannot_be_made_is_reported() -> None:
    assert write(foreign(tool_choice=ToolChoice("required")))[1] == ["tool_choice"]
    tools = [Tool("a")]
    assert write(foreign(tools=tools, tool_choice=ToolChoice("required")), Traits(force_tool=False))[1] == [
        "tool_choice"
    ]


def test_strictness_is_for_all_tools_or_reported() -> None:
    strict = {"type": "object", "properties": {"a": {}}, "required": ["a"]}
    assert write(foreign(tools=[Tool("a", schema=strict, strict=True)]))[0]["strict_tools"] is True
    body, losses = write(foreign(tools=[Tool("a", schema=strict, strict=True), Tool("b", schema=strict)]))
    assert "strict_tools" not in body
    assert losses == ["tools.0.strict"]
    assert write(foreign(tools=[Tool("a", strict=True)]))[1] == ["tools.0.strict"]


def test_structured_output_natively_and_in_words() -> None:
    output = OutputFormat("schema", {"type": "object"}, name="x", strict=True)
    assert write(foreign(output=output)) == (
        request(response_format={"type": "json_object", "json_schema": {"type": "object"}}),
        [],
    )
    body, losses = write(foreign(output=output, tools=[Tool("a")]))
    assert "response_format" not in body
    assert "JSON Schema" in body["messages"][0]["content"]
    assert losses == ["response_format"]
    body, losses = write(foreign(output=output, system=[Text("A"), Text("B")]), Traits(json_schema="json_object"))
    assert body["response_format"] == {"type": "json_object"}
    assert len(body["messages"][0]["content"]) == 3
    assert losses == ["response_format"]
    body, losses = write(foreign(output=OutputFormat("json"), system=[Text("A")]), Traits(json_schema="prompt"))
    assert body["messages"][0]["content"].startswith("A\n\n")


@pytest.mark.parametrize(
    ("reasoning", "traits", "wire", "lost"),
    [
        (Reasoning(effort="high"), THINKS, {"type": "enabled", "token_budget": 24576}, []),
        (Reasoning(adaptive=True), THINKS, {"type": "enabled"}, []),
        (Reasoning(budget=900), THINKS, {"type": "enabled", "token_budget": 900}, []),
        (Reasoning(enabled=False), THINKS, {"type": "disabled"}, []),
        (Reasoning(effort="none"), THINKS, {"type": "disabled"}, []),
        (Reasoning(effort="high"), PLAIN, None, ["reasoning_effort"]),
        (Reasoning(enabled=False), PLAIN, None, []),
        (Reasoning(enabled=False), Traits(thinking="budget", thinking_off=False), None, ["reasoning_effort"]),
    ],
)
def test_thinking(reasoning: Reasoning, traits: Traits, wire: dict[str, Any] | None, lost: list[str]) -> None:
    body, losses = write(foreign(reasoning=reasoning), traits)
    assert body.get("thinking") == wire
    assert losses == lost


def test_thinking_fits_into_the_answer() -> None:
    body, losses = write(foreign(reasoning=Reasoning(effort="high"), max_tokens=1000), THINKS)
    assert body["thinking"]["token_budget"] == 800
    assert losses == []
    body, losses = write(foreign(reasoning=Reasoning(budget=5000), max_tokens=1000, dialect="messages"), THINKS)
    assert body["thinking"]["token_budget"] == 800
    assert losses == ["thinking.budget_tokens"]


def test_ranges_are_kept_and_departures_reported() -> None:
    body, losses = write(
        foreign(top_p=1.0, top_k=900, frequency_penalty=2.0, presence_penalty=-1.0, temperature=1.5),
        Traits(temperature_max=1.0),
    )
    assert (body["p"], body["k"], body["frequency_penalty"], body["presence_penalty"]) == (0.99, 500, 1.0, 0.0)
    assert body["temperature"] == 1.0
    assert losses == ["temperature", "top_k", "frequency_penalty", "presence_penalty"]
    body, losses = write(foreign(temperature=0.5, top_p=1.0, logprobs=True), Traits(sampling=False))
    assert not {"temperature", "p", "logprobs"} & set(body)
    assert losses == ["temperature", "logprobs"]


def test_stop_sequences_are_limited() -> None:
    body, losses = write(foreign(stop=["a", "", "b", "c", "d", "e", "f"]), THINKS)
    assert body["stop_sequences"] == ["a", "b", "c", "d", "e"]
    assert losses == ["stop"]


def test_what_has_no_word_here_is_reported_in_the_clients_words() -> None:
    conversation = foreign(
        Turn("user", [Text("Hi", cache="5m")], name="ann"),
        n=2,
        logit_bias={"1": 2.0},
        logprobs=True,
        top_logprobs=3,
        parallel_tools=False,
        tools=[Tool("a"), Tool("s", opaque=Opaque("chat", {"type": "web_search"}))],
        user="u",
        metadata={"a": "b"},
        prompt_cache_key="k",
        safety_identifier="s",
        verbosity="low",
        service_tier="flex",
        store=True,
        voice=Voice("alloy"),
        modalities=["text", "audio"],
        previous="resp_1",
        unknown={"web_search_options": {}},
    )
    _, losses = write(conversation)
    assert set(losses) >= {
        "n", "logit_bias", "top_logprobs", "parallel_tool_calls", "tools.1.s", "user", "metadata", "prompt_cache_key",
        "safety_identifier", "verbosity", "service_tier", "store", "messages.0.name", "cache_control",
        "web_search_options",
    }  # fmt: skip
    assert len(losses) == 18


def test_defaults_are_no_losses() -> None:
    conversation = foreign(
        n=1, logprobs=False, top_logprobs=0, store=False, service_tier="auto", verbosity="medium", modalities=["text"]
    )
    assert write(conversation) == (request(), [])


def test_other_parts_of_an_assistant() -> None:
    citation = Citation(url="https://a.example", title="A", start=0, end=3)
    conversation = foreign(
        Turn("user", [Text("Hi")]),
        Turn(
            "assistant",
            [
                Text("Yes.", citations=[citation, Citation()]),
                Refusal("No."),
                Audio(id="a", transcript="Said."),
                Image(url="https://a.example"),
                Opaque("messages", {"type": "server_tool_use"}),
                Thinking(redacted="x"),
                ToolCall("c", "t", "free text", custom=True),
                ToolCall("d", "t", "not json"),
            ],
        ),
        dialect="messages",
    )
    body, losses = write(conversation, Traits(prefill=False))
    assistant = body["messages"][1]
    assert [block["text"] for block in assistant["content"]] == ["Yes.", "No.", "Said."]
    assert assistant["citations"][0]["sources"][0]["id"] == "https://a.example"
    assert [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]] == [
        {"input": "free text"},
        {"arguments": "not json"},
    ]
    assert set(losses) == {
        "messages.1.citations", "messages.1.audio", "messages.1.image", "messages.1.server_tool_use",
        "messages.1.thinking", "messages.1.tool_calls.arguments", "messages.1.tool_calls",
    }  # fmt: skip


def test_an_answer_begun_is_continued_or_reported() -> None:
    conversation = foreign(Turn("user", [Text("Hi")]), Turn("assistant", [Text("Once")]))
    assert write(conversation)[0]["messages"][-1]["role"] == "assistant"
    body, losses = write(conversation, Traits(prefill=False))
    assert body["messages"][-1]["role"] == "user"
    assert losses == ["messages.1.prefill"]


def test_a_patch_takes_out_what_the_model_refuses_and_nothing_else() -> None:
    losses: list[str] = []
    body = b'{"model":"a", "temperature":0.1,"p":null,"odd" : {"x":1.50},"messages":[]}'
    patched = cohere.patch_request(body, model="a", traits=Traits(sampling=False), losses=losses)
    assert json.loads(patched) == {"model": "a", "p": None, "odd": {"x": 1.5}, "messages": []}
    assert b'{"x":1.50}' in patched
    assert losses == ["temperature"]
    assert cohere.patch_request(body, model="a") is body


def test_a_peek_sees_what_routing_needs() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    body = request(
        messages=[{"role": "user", "content": [image]}],
        max_tokens=5,
        stream=True,
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_object"},
        documents=["x" * 5000],
    )
    peeked = cohere.peek(json.dumps(body).encode())
    assert (peeked.model, peeked.stream, peeked.max_tokens, peeked.n) == ("m", True, 5, 1)
    assert peeked.images
    assert peeked.tools
    assert peeked.schema
    assert peeked.include_usage
    assert not peeked.documents
    assert 8_000 < peeked.input_bytes < 12_000
    with pytest.raises(BadRequest):
        cohere.peek(b'{"model":"m"}')
    with pytest.raises(BadRequest):
        cohere.peek(b'{"model":"m","messages":{}}')


TEXTS = st.text(min_size=1, max_size=10)
PARTS = st.one_of(
    TEXTS.map(Text),
    TEXTS.map(lambda url: Image(url=f"https://a.example/{len(url)}", detail="low")),
)


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(TEXTS, max_size=3), st.integers(1, 9))
def test_reading_undoes_writing(parts: list[Any], documents: list[str], limit: int) -> None:
    conversation = Conversation("m", dialect="cohere", include_usage=True, max_tokens=limit)
    given_documents = [Document("text/plain", text=text, citations=True, raw=text) for text in documents]
    conversation.turns = [Turn("user", [*given_documents, *parts]), Turn("assistant", [Text("Yes")])]
    losses: list[str] = []
    assert cohere.read_request(cohere.write_request(conversation, losses)) == conversation
    assert losses == []
