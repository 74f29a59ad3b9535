"""Requests of the Responses API read into the canonical conversation."""

import json
from typing import Any

import pytest

from freehold.dialects import responses
from freehold.dialects.conversation import (
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
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.errors import BadRequest


def read(**fields: Any) -> Conversation:
    return responses.read_request(json.dumps({"model": "m", "input": "Hi", **fields}).encode())


def turns(*items: Any) -> list[Turn]:
    return read(input=list(items)).turns


def test_a_string_is_a_user_turn_and_instructions_are_the_system_prompt() -> None:
    conversation = read(instructions="Be brief.", stream=True)
    assert conversation.turns == [Turn("user", [Text("Hi")])]
    assert conversation.system == [Text("Be brief.")]
    assert (conversation.stream, conversation.include_usage, conversation.dialect) == (True, True, "responses")


def test_leading_developer_messages_join_the_system_prompt_and_later_ones_stay_where_they_are() -> None:
    conversation = read(
        instructions="A",
        input=[
            {"role": "developer", "content": "B"},
            {"role": "user", "content": "Hi"},
            {"role": "system", "content": [{"type": "input_text", "text": "C"}]},
        ],
    )
    assert conversation.system == [Text("A"), Text("B")]
    assert conversation.turns == [Turn("user", [Text("Hi")]), Turn("system", [Text("C")])]


def test_content_parts_become_parts() -> None:
    (turn,) = turns(
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"},
                {"type": "input_image", "image_url": "https://a.example/i.png", "detail": "auto"},
                {"type": "input_image", "file_id": "file-1", "detail": "auto"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
                {"type": "input_file", "file_url": "https://a.example/a.pdf"},
                {"type": "input_file", "file_id": "file-2"},
                {"type": "input_novelty", "x": 1},
            ],
        }
    )
    assert turn.parts == [
        Text("See", cache="5m"),
        Image("image/png", data="AAAA", detail="high"),
        Image(url="https://a.example/i.png", detail="auto"),
        Image(file_id="file-1", detail="auto"),
        Document("application/pdf", data="BBBB", title="a.pdf"),
        Document(url="https://a.example/a.pdf"),
        Document(file_id="file-2"),
        Opaque("responses", {"$content": {"type": "input_novelty", "x": 1}}),
    ]


def test_reasoning_calls_and_messages_of_one_side_are_one_turn_in_order() -> None:
    first, second, third = turns(
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "1"},
        {
            "type": "function_call_output",
            "call_id": "call_2",
            "output": [{"type": "input_text", "text": "2"}, {"type": "input_image", "image_url": "https://a.example"}],
        },
    )
    assert first.role == "user"
    assert second == Turn(
        "assistant",
        [
            Thinking("", "openai:gAAA", id="rs_1"),
            ToolCall("call_1", "f", '{"a": 1}', item_id="fc_1"),
            ToolCall("call_2", "g", "{}"),
        ],
    )
    assert third == Turn(
        "user",
        [
            ToolResult("call_1", [Text("1")]),
            ToolResult("call_2", [Text("2"), Image(url="https://a.example")]),
        ],
    )


def test_a_message_after_a_message_is_another_turn() -> None:
    said = turns({"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"})
    assert [turn.parts for turn in said] == [[Text("A")], [Text("B")]]


def test_an_assistants_message_keeps_its_id_its_citations_and_what_nobody_else_knows() -> None:
    annotation = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 3}
    (turn,) = turns(
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "See.", "annotations": [annotation], "logprobs": []},
                {"type": "refusal", "refusal": "No."},
            ],
        }
    )
    citation = Citation("https://a.example", "A", start=0, end=3, dialect="responses", raw=annotation)
    assert turn.parts == [
        Text("See.", citations=[citation], item_id="msg_1"),
        Refusal("No.", "msg_1"),
        Opaque("responses", {"$item": {"phase": "commentary"}}),
    ]


@pytest.mark.parametrize(
    ("encrypted", "expected"),
    [
        ("gAAA", Thinking("T", "openai:gAAA", id="rs_1")),
        ("anthropic:SIG", Thinking("T", "SIG", id="rs_1")),
        ("gemini:SIG", Thinking("T", "gemini:SIG", id="rs_1")),
        ("anthropic-redacted:DATA", Thinking(redacted="DATA", id="rs_1")),
        (None, Thinking("T", id="rs_1")),
    ],
)
def test_signatures_say_whose_they_are(encrypted: str | None, expected: Thinking) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "T"}]}
    (turn,) = turns({**item, "encrypted_content": encrypted})
    assert turn.parts == [expected]


def test_a_reasoning_item_that_only_its_maker_knows_is_opaque() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert turns(item) == [Turn("assistant", [Opaque("responses", item)])]


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_call",
        "file_search_call",
        "computer_call",
        "code_interpreter_call",
        "mcp_call",
        "mcp_list_tools",
        "image_generation_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "compaction",
        "item_reference",
        "a_kind_of_tomorrow",
    ],
)
def test_items_of_server_side_tools_ride_along(kind: str) -> None:
    item = {"type": kind, "id": "x_1", "anything": {"deep": [1]}}
    said = turns({"role": "user", "content": "Hi"}, item, {"role": "assistant", "content": "Yo"})
    assert said == [Turn("user", [Text("Hi")]), Turn("assistant", [Opaque("responses", item), Text("Yo")])]


def test_outputs_of_such_tools_stand_on_the_users_side() -> None:
    call = {"type": "computer_call", "id": "cu_1", "call_id": "c1", "action": {}}
    output = {"type": "computer_call_output", "call_id": "c1", "output": {"type": "computer_screenshot"}}
    assert [turn.role for turn in turns({"role": "user", "content": "Hi"}, call)] == ["user", "assistant"]
    assert turns(call, output)[0].parts == [Opaque("responses", call), Opaque("responses", output)]


def test_custom_tools_and_calls() -> None:
    tool = {"type": "custom", "name": "patch", "description": "Applies a patch.", "format": {"type": "text"}}
    conversation = read(
        tools=[tool],
        input=[
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
        ],
    )
    assert conversation.turns[0].parts == [ToolCall("c1", "patch", "*** Begin", custom=True, item_id="ctc_1")]
    assert conversation.turns[1].parts == [ToolResult("c1", [Text("Done")])]
    (stand_in,) = conversation.tools
    assert (stand_in.name, stand_in.description, stand_in.opaque) == ("patch", "Applies a patch.", None)
    assert stand_in.schema is not None
    assert stand_in.schema["required"] == ["input"]
    assert stand_in.origin == Opaque("responses", tool)


def test_a_namespace_is_its_functions_for_others() -> None:
    inner = {"type": "function", "name": "ask", "description": "Asks.", "parameters": {"type": "object"}}
    namespace = {
        "type": "namespace",
        "name": "mcp__wiki",
        "description": "Wiki.",
        "tools": [inner, inner | {"name": "b"}],
    }
    conversation = read(
        tools=[namespace],
        input=[
            {"type": "function_call", "call_id": "c1", "name": "ask", "namespace": "mcp__wiki", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "other", "namespace": "elsewhere", "arguments": "{}"},
        ],
    )
    assert [tool.name for tool in conversation.tools] == ["mcp__wiki__ask", "mcp__wiki__b"]
    assert all(tool.origin == Opaque("responses", namespace) for tool in conversation.tools)
    assert conversation.turns[0].parts == [
        ToolCall("c1", "mcp__wiki__ask"),
        ToolCall("c2", "other"),
        Opaque("responses", {"$item": {"namespace": "elsewhere"}}),
    ]


def test_unknown_tool_types_never_crash() -> None:
    tools = [
        {"type": "web_search", "filters": {}},
        {"type": "mcp", "server_label": "w"},
        {"type": "tomorrow", "name": 5},
    ]
    conversation = read(tools=tools)
    assert [tool.name for tool in conversation.tools] == ["web_search", "w", "tomorrow"]
    assert [tool.opaque for tool in conversation.tools] == [Opaque("responses", tool) for tool in tools]


def test_function_tools_keep_fields_nobody_knows() -> None:
    tool = {
        "type": "function",
        "name": "f",
        "description": "F.",
        "parameters": {},
        "strict": True,
        "defer_loading": True,
    }
    conversation = read(tools=[tool])
    assert (conversation.tools[0].name, conversation.tools[0].strict, conversation.tools[0].schema) == ("f", True, {})
    assert conversation.unknown == {"tools.0.defer_loading": True}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("tool", "f")),
        ({"type": "custom", "name": "c"}, ToolChoice("tool", "c")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            ToolChoice("required", names=["f"]),
        ),
        ({"type": "web_search"}, None),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "w"}]}, None),
    ],
)
def test_tool_choice(choice: Any, expected: ToolChoice | None) -> None:
    conversation = read(tool_choice=choice)
    assert conversation.tool_choice == expected
    assert conversation.unknown == ({} if expected else {"tool_choice": choice})


def test_settings_that_others_know_too() -> None:
    conversation = read(
        max_output_tokens=50,
        temperature=0.5,
        top_p=0.9,
        parallel_tool_calls=False,
        metadata={"a": "b"},
        user="u",
        store=False,
        service_tier="flex",
        prompt_cache_key="k",
        safety_identifier="s",
        previous_response_id="resp_0",
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        top_logprobs=3,
        text={"verbosity": "low", "format": {"type": "json_object"}},
        truncation="disabled",
        background=False,
        stream_options={"include_obfuscation": False},
    )
    assert conversation.unknown == {}
    assert (conversation.max_tokens, conversation.temperature, conversation.top_p) == (50, 0.5, 0.9)
    assert (conversation.parallel_tools, conversation.metadata, conversation.user) == (False, {"a": "b"}, "u")
    assert (conversation.store, conversation.service_tier, conversation.previous) == (False, "flex", "resp_0")
    assert (conversation.prompt_cache_key, conversation.safety_identifier) == ("k", "s")
    assert (conversation.logprobs, conversation.top_logprobs) == (True, 3)
    assert (conversation.verbosity, conversation.output) == ("low", OutputFormat("json"))


def test_a_schema_for_the_answer() -> None:
    shape = {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True, "description": "D"}
    assert read(text={"format": shape}).output == OutputFormat("schema", {"type": "object"}, "city", "D", True)


@pytest.mark.parametrize(
    ("given", "expected", "unknown"),
    [
        ({"effort": "low"}, Reasoning(effort="low"), {}),
        ({"effort": "none"}, Reasoning(enabled=False, effort="none"), {}),
        ({"effort": "high", "summary": "auto"}, Reasoning(effort="high", include=True, summary="auto"), {}),
        ({"generate_summary": "detailed"}, Reasoning(include=True, summary="detailed"), {}),
        ({"effort": None, "summary": None}, None, {}),
        ({"context": "all_turns"}, None, {"reasoning.context": "all_turns"}),
    ],
)
def test_reasoning(given: Any, expected: Reasoning | None, unknown: dict[str, Any]) -> None:
    conversation = read(reasoning=given)
    assert conversation.reasoning == expected
    assert conversation.unknown == unknown


def test_what_only_openai_knows_is_kept() -> None:
    fields = {
        "background": True,
        "truncation": "auto",
        "prompt": {"id": "p"},
        "conversation": "conv_1",
        "max_tool_calls": 3,
        "include": ["file_search_call.results"],
        "a_field_of_tomorrow": {"x": 1},
    }
    assert read(**fields).unknown == fields


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": [5]}, "input.0"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": 5}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.content.0.text"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input.0.summary"),
        ({"instructions": 5}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"input": None}, "input"),
        ({"model": 5}, "model"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


def test_a_request_may_rest_on_a_prompt_or_an_earlier_response_instead_of_input() -> None:
    for name, value in (("prompt", {"id": "p"}), ("previous_response_id", "resp_1"), ("conversation", "conv_1")):
        body = json.dumps({"model": "m", name: value}).encode()
        assert responses.read_request(body).turns == []
        assert responses.peek(body).model == "m"
    with pytest.raises(BadRequest) as caught:
        responses.peek(b'{"model":"m"}')
    assert caught.value.param == "input"


def test_peek_sees_what_routing_needs() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}
    body = json.dumps(
        {
            "model": "m",
            "stream": True,
            "max_output_tokens": 9,
            "tools": [{"type": "web_search"}],
            "text": {"format": {"type": "json_schema"}},
            "input": [{"role": "user", "content": [image, {"type": "input_file", "file_id": "f"}]}],
        }
    ).encode()
    peeked = responses.peek(body)
    assert (peeked.model, peeked.stream, peeked.max_tokens, peeked.include_usage) == ("m", True, 9, True)
    assert (peeked.tools, peeked.schema, peeked.images, peeked.documents, peeked.audio) == (
        True,
        True,
        True,
        True,
        False,
    )
    assert peeked.input_bytes < 10_000
    assert responses.peek(b'{"model":"m","input":"the words \\"input_image\\" mean nothing"}').images is False
