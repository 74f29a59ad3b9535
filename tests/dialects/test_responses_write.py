"""Canonical conversations written for a provider that speaks the Responses API."""

import json
from typing import Any

import pytest
from openai.types.responses import ResponseInputItemParam, ToolParam
from pydantic import TypeAdapter

from freehold.dialects import chat, messages, responses
from freehold.dialects.conversation import (
    Audio,
    Citation,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.dialects.traits import PLAIN, Traits

INPUT_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)
TOOL: TypeAdapter[Any] = TypeAdapter(ToolParam)
REASONING_MODEL = Traits(thinking="effort", sampling=False)


def write(
    *turns: Turn, losses: list[str] | None = None, traits: Traits = PLAIN, dialect: str = "chat", **fields: Any
) -> dict[str, Any]:
    """The body; what is lost must be what `losses` says."""
    found: list[str] = []
    conversation = Conversation("m", turns=list(turns) or [Turn("user", [Text("Hi")])], dialect=dialect, **fields)
    body: dict[str, Any] = json.loads(responses.write_request(conversation, found, traits))
    assert found == (losses or [])
    for item in body["input"]:  # the SDK's types demand ids, which the API does not
        INPUT_ITEM.validate_python({"id": "x_1", "status": "completed", **item})
    for tool in body.get("tools", []):
        TOOL.validate_python(tool)
    return body


def user(*parts: Part) -> Turn:
    return Turn("user", list(parts))


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", list(parts))


def test_a_plain_conversation_is_not_kept_at_the_provider() -> None:
    body = write(user(Text("Hi")), assistant(Text("Yo")), user(Text("So?")), system=[Text("A"), Text("B")], stream=True)
    assert body == {
        "model": "m",
        "instructions": "A\n\nB",
        "input": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yo"},
            {"role": "user", "content": "So?"},
        ],
        "store": False,
        "stream": True,
    }


def test_store_is_what_the_conversation_says() -> None:
    assert write(store=True)["store"] is True
    assert "store" not in write(dialect="responses")


def test_media() -> None:
    body = write(
        user(
            Text("See"),
            Image("image/png", data="AAAA", detail="high"),
            Image(url="https://a.example/i.png"),
            Document("application/pdf", data="BBBB", title="a.pdf"),
            Document(url="https://a.example/a.pdf", title="a"),
            Document(text="Words.", title="Notes"),
        )
    )
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"},
        {"type": "input_image", "image_url": "https://a.example/i.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
        {"type": "input_file", "file_url": "https://a.example/a.pdf"},
        {"type": "input_text", "text": "Notes\n\nWords."},
    ]


def test_what_has_no_form_is_reported() -> None:
    body = write(
        user(Audio("AAAA", "wav", transcript="Hello"), Image(file_id="file-theirs"), Document(file_id="file-theirs")),
        assistant(Image(data="AAAA"), Opaque("messages", {"type": "server_tool_use"}), Text("Yo", signature="S")),
        losses=[
            "messages.0.audio",
            "messages.0.image",
            "messages.0.document",
            "messages.1.image",
            "messages.1.server_tool_use",
        ],
    )
    assert body["input"][0]["content"] == "Hello"
    assert body["input"][1]["content"] == "Yo"


def test_calls_and_results_are_items_and_the_results_come_first() -> None:
    body = write(
        assistant(Text("Let me see."), ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g")),
        user(Text("And?"), ToolResult("b", [Text("2"), Image("image/png", data="A")]), ToolResult("a", [Text("1")])),
    )
    assert body["input"] == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":1}'},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [
                {"type": "input_text", "text": "2"},
                {"type": "input_image", "image_url": "data:image/png;base64,A", "detail": "auto"},
            ],
        },
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"role": "user", "content": "And?"},
    ]


def test_an_error_of_a_tool_says_so() -> None:
    body = write(assistant(ToolCall("a", "f")), user(ToolResult("a", [Text("No disk.")], is_error=True)))
    assert body["input"][1]["output"] == "Error: No disk."
    body = write(assistant(ToolCall("a", "f")), user(ToolResult("a", is_error=True)))
    assert body["input"][1]["output"] == "Error:"


def test_orphans_are_repaired_and_reported() -> None:
    body = write(
        assistant(ToolCall("a", "f")),
        user(ToolResult("b", [Text("stray")])),
        assistant(ToolCall("c", "f")),
        losses=["messages.1.tool_result", "messages.1.tool_calls", "messages.2.tool_calls"],
    )
    assert [item.get("type", item.get("role")) for item in body["input"]] == [
        "function_call",
        "function_call_output",
        "user",
        "function_call",
        "function_call_output",
    ]


def test_our_own_dialect_is_not_repaired() -> None:
    """With `previous_response_id` the call may be at the provider."""
    body = write(user(ToolResult("a", [Text("1")])), dialect="responses", previous="resp_1")
    assert body["input"] == [{"type": "function_call_output", "call_id": "a", "output": "1"}]
    assert body["previous_response_id"] == "resp_1"


def test_long_and_signed_call_ids_fit_call_and_output() -> None:
    for identity in ("x" * 200, "call_1__sig_sQUJD"):
        call, output = write(assistant(ToolCall(identity, "f")), user(ToolResult(identity)))["input"]
        assert call["call_id"] == output["call_id"]
        assert len(call["call_id"]) <= 64
        assert "__sig_" not in call["call_id"]


def test_signed_thoughts_go_back_before_their_call_and_others_are_reported() -> None:
    body = write(
        assistant(Thinking("Hm.", "openai:gAAA"), ToolCall("a", "f")),
        user(ToolResult("a")),
        assistant(Thinking("Hm.", "anthropic-signature"), Thinking("Hm."), Thinking(redacted="D"), Text("Yo")),
        losses=["messages.2.thinking"],
        dialect="messages",
    )
    assert body["input"][0] == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA",
    }
    assert body["input"][1]["type"] == "function_call"
    assert body["include"] == ["reasoning.encrypted_content"]


def test_ids_go_back_to_their_own_dialect() -> None:
    body = write(
        assistant(Thinking("", "openai:gAAA", id="rs_1"), Text("Yo", item_id="msg_1"), Text("So", item_id="msg_2")),
        assistant(ToolCall("a", "f", item_id="fc_1")),
        dialect="responses",
    )
    assert [item["id"] for item in body["input"]] == ["rs_1", "msg_1", "msg_2", "fc_1"]


def test_thoughts_of_open_models_go_back_where_the_host_wants_them() -> None:
    body = write(assistant(Thinking("Hm."), Text("Yo")), traits=Traits(replay_reasoning="reasoning_content"))
    assert body["input"][0]["content"] == [{"type": "reasoning_text", "text": "Hm."}]


def test_refusals_and_citations_of_earlier_answers() -> None:
    web = Citation("https://a.example", "A", dialect="messages", raw={"type": "web_search_result_location"})
    page = Citation(quote="q", source=0, dialect="messages", raw={"type": "page_location"})
    body = write(
        assistant(Text("See.", citations=[web, page]), Refusal("No.")),
        losses=["messages.0.citations"],
        dialect="messages",
    )
    annotation = {"type": "url_citation", "start_index": 0, "end_index": 4, "title": "A", "url": "https://a.example"}
    assert body["input"][0]["content"] == [
        {"type": "output_text", "text": "See.", "annotations": [annotation]},
        {"type": "refusal", "refusal": "No."},
    ]


def test_tools_are_not_strict_unless_the_client_says_so() -> None:
    tools = [Tool("f", "F.", {"type": "object"}), Tool("g", strict=True), Tool("x", opaque=Opaque("messages", {}))]
    body = write(tools=tools, losses=["tools.2.x"], tool_choice=ToolChoice("tool", "f"), parallel_tools=False)
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object"}, "strict": False},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": True},
    ]
    assert body["tool_choice"] == {"type": "function", "name": "f"}
    assert body["parallel_tool_calls"] is False


def test_allowed_tools() -> None:
    body = write(tools=[Tool("f"), Tool("g")], tool_choice=ToolChoice("required", names=["g"]))
    assert body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "g"}],
    }
    write(tool_choice=ToolChoice("required"), losses=["tool_choice"])


def test_structured_output() -> None:
    output = OutputFormat("schema", {"type": "object"}, "a name!", "D", True)
    assert write(output=output, verbosity="low")["text"] == {
        "format": {
            "type": "json_schema",
            "name": "a_name_",
            "schema": {"type": "object"},
            "description": "D",
            "strict": True,
        },
        "verbosity": "low",
    }
    body = write(output=output, traits=Traits(json_schema="json_object"), losses=["response_format"])
    assert body["text"] == {"format": {"type": "json_object"}}
    assert '{"type":"object"}' in body["instructions"]


def test_reasoning_follows_the_model() -> None:
    body = write(reasoning=Reasoning(budget=8000, include=True), traits=REASONING_MODEL, dialect="messages")
    assert body["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert body["include"] == ["reasoning.encrypted_content"]
    assert "include" not in write(reasoning=Reasoning(effort="low"), losses=["reasoning_effort"])
    write(reasoning=Reasoning(enabled=False), traits=REASONING_MODEL, losses=["reasoning_effort"])


def test_what_a_reasoning_model_refuses_is_left_out() -> None:
    body = write(
        temperature=0.5,
        top_p=1,
        logprobs=True,
        top_logprobs=2,
        traits=REASONING_MODEL,
        losses=["logprobs", "temperature", "top_logprobs"],
    )
    assert not {"temperature", "top_p", "top_logprobs"} & body.keys()


def test_sampling_and_limits() -> None:
    body = write(temperature=0.5, top_p=0.9, logprobs=True, top_logprobs=2, max_tokens=100)
    assert (body["temperature"], body["top_p"], body["top_logprobs"], body["max_output_tokens"]) == (0.5, 0.9, 2, 100)
    assert body["include"] == ["message.output_text.logprobs"]
    assert write(max_tokens=1, losses=["max_tokens"])["max_output_tokens"] == 16


def test_what_the_dialect_has_no_word_for() -> None:
    write(
        n=2,
        seed=1,
        stop=["x"],
        presence_penalty=1.0,
        frequency_penalty=0.0,
        logit_bias={"1": 1.0},
        top_k=3,
        unknown={"prediction": {}},
        losses=["n", "stop", "presence_penalty", "logit_bias", "seed", "top_k", "prediction"],
    )


def test_the_rest() -> None:
    body = write(user="u", metadata={"a": "b"}, service_tier="flex", prompt_cache_key="k", safety_identifier="s")
    expected = {"user": "u", "metadata": {"a": "b"}, "service_tier": "flex", "prompt_cache_key": "k"}
    assert expected.items() <= body.items()
    assert body["safety_identifier"] == "s"
    assert write(service_tier="standard_only", dialect="messages")["service_tier"] == "default"
    write(metadata={"a": "b"}, service_tier="batch", dialect="messages", losses=["metadata", "service_tier"])


def test_equal_conversations_are_equal_bytes() -> None:
    conversation = Conversation("m", turns=[user(Text("Hi"))], tools=[Tool("f")], dialect="chat")
    assert responses.write_request(conversation, []) == responses.write_request(conversation, [])


CODEX = {
    "model": "m",
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandboxed."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin Patch"},
        {"type": "function_call", "call_id": "c2", "name": "ask", "namespace": "wiki", "arguments": "{}"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
        {"type": "function_call_output", "call_id": "c2", "output": "42"},
    ],
    "tools": [
        {
            "type": "function",
            "name": "shell",
            "description": "Runs.",
            "parameters": {"type": "object"},
            "strict": False,
        },
        {"type": "custom", "name": "apply_patch", "description": "P", "format": {"type": "text"}},
        {
            "type": "namespace",
            "name": "wiki",
            "description": "W",
            "tools": [{"type": "function", "name": "ask", "parameters": {"type": "object", "properties": {}}}],
        },
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
}


def test_a_coding_agents_request_is_the_same_after_a_round_trip() -> None:
    losses: list[str] = []
    conversation = responses.read_request(json.dumps(CODEX).encode())
    written = json.loads(responses.write_request(conversation, losses, Traits(thinking="effort")))
    assert losses == []
    assert written == {
        **CODEX,
        "instructions": "You are a coding agent.\n\nSandboxed.",
        "input": [{"role": "user", "content": "Fix it."}, *CODEX["input"][2:]],  # type: ignore[index]
    }


@pytest.mark.parametrize("dialect", [chat, messages])
def test_a_coding_agents_tools_reach_other_dialects(dialect: Any) -> None:
    conversation = responses.read_request(json.dumps(CODEX).encode())
    losses: list[str] = []
    written = json.loads(dialect.write_request(conversation, losses, PLAIN))
    names = {tool.get("name") or tool["function"]["name"] for tool in written["tools"]}
    assert names == {"shell", "apply_patch", "wiki__ask"}
    assert not [loss for loss in losses if loss.startswith("tools")]
