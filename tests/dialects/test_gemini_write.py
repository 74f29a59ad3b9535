"""Conversations written as Gemini requests; every body is checked against the google-genai SDK's types."""

import base64
import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import gemini
from freehold.dialects.conversation import (
    Audio,
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
from freehold.dialects.tool_calls import SIGNATURE_LIMIT, with_signature
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import BadRequest

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BUDGET = Traits(thinking="budget")
LEVEL = Traits(thinking="level")
SIGNATURE = base64.b64encode(b"a signature").decode()
FIELDS = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}


def user(*parts: Part) -> Turn:
    return Turn("user", list(parts) or [Text("hi")])


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", list(parts))


def talk(*turns: Turn, dialect: str = "chat", **fields: Any) -> Conversation:
    return Conversation("gemini-x", turns=list(turns) or [user()], dialect=dialect, **fields)


def validate(body: dict[str, Any]) -> None:
    assert set(body) <= FIELDS
    for content in body["contents"]:
        types.Content.model_validate(content)
        assert content["role"] in ("user", "model")
        assert content["parts"]
    if "systemInstruction" in body:
        types.Content.model_validate(body["systemInstruction"])
    for tool in body.get("tools", []):
        types.Tool.model_validate(tool)
    if "toolConfig" in body:
        types.ToolConfig.model_validate(body["toolConfig"])
    if "generationConfig" in body:
        types.GenerationConfig.model_validate(body["generationConfig"])


def write(conversation: Conversation, traits: Traits = PLAIN) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body: dict[str, Any] = json.loads(gemini.write_request(conversation, losses, traits))
    validate(body)
    return body, losses


def config(conversation: Conversation, traits: Traits = PLAIN) -> tuple[dict[str, Any], list[str]]:
    body, losses = write(conversation, traits)
    return body.get("generationConfig", {}), losses


def test_the_least_request() -> None:
    assert write(talk()) == ({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, [])


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-pro", False, "/v1beta/models/gemini-3-pro:generateContent"),
        ("models/gemini-3-pro", True, "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        ("tunedModels/mine", False, "/v1beta/tunedModels/mine:generateContent"),
        ("x?key=1#y", False, "/v1beta/models/x%3Fkey%3D1%23y:generateContent"),
        ("../../v1/x", False, "/v1beta/models/%2E%2E/%2E%2E/v1/x:generateContent"),
    ],
)
def test_paths(model: str, stream: bool, path: str) -> None:
    assert gemini.path(model, stream) == path


def test_settings() -> None:
    found, losses = config(
        talk(
            max_tokens=5,
            temperature=1.5,
            top_p=0.5,
            top_k=3,
            seed=7,
            stop=["a", "b"],
            n=2,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            logprobs=True,
            top_logprobs=4,
        )
    )
    assert found == {
        "maxOutputTokens": 5, "temperature": 1.5, "topP": 0.5, "topK": 3, "seed": 7, "stopSequences": ["a", "b"],
        "candidateCount": 2, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": True, "logprobs": 4,
    }  # fmt: skip
    assert losses == []


def test_what_has_no_field_is_reported() -> None:
    conversation = talk(
        user(Text("x", cache="5m")),
        logit_bias={"1": 1.0}, user="u", metadata={"a": 1}, service_tier="flex", stop=list("abcdef"),
        tools=[Tool("f")], parallel_tools=False,
    )  # fmt: skip
    conversation.unknown = {"verbosity": "low"}
    assert sorted(write(conversation)[1]) == [
        "cache_control", "logit_bias", "metadata", "parallel_tool_calls", "service_tier", "stop", "user", "verbosity",
    ]  # fmt: skip


def test_system_is_hoisted_and_turns_alternate() -> None:
    body, losses = write(
        talk(
            assistant(Text("hello")),
            user(Text("a")),
            Turn("system", [Text("later")]),
            user(Text("b")),
            system=[Text("S")],
        )
    )
    assert body["systemInstruction"] == {"parts": [{"text": "S"}, {"text": "later"}]}
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    assert losses == ["messages.0.role", "messages.2.role"]


def test_calls_and_results() -> None:
    body, losses = write(
        talk(
            user(),
            assistant(Text("see"), ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g")),
            user(ToolResult("b", [Text('{"ok": true}')]), ToolResult("a", [Text("boom")], is_error=True), Text("so?")),
        )
    )
    assert body["contents"][1]["parts"] == [
        {"text": "see"},
        {"functionCall": {"name": "f", "args": {"x": 1}, "id": "a"}},
        {"functionCall": {"name": "g", "args": {}, "id": "b"}},
    ]
    assert body["contents"][2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"error": "boom"}, "id": "a"}},
        {"functionResponse": {"name": "g", "response": {"ok": True}, "id": "b"}},
        {"text": "so?"},
    ]
    assert losses == []


@pytest.mark.parametrize("text", ["plain", "", "{broken", "[1]", "4"])
def test_results_that_are_no_object_are_put_into_one(text: str) -> None:
    body, _ = write(talk(user(), assistant(ToolCall("a", "f")), user(ToolResult("a", [Text(text)]))))
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": text}


def test_images_of_results_follow_all_responses() -> None:
    results = [ToolResult(name, [Text("t"), Image("image/png", data="QUJD")]) for name in "ab"]
    body, losses = write(talk(user(), assistant(ToolCall("a", "f"), ToolCall("b", "f")), user(*results)))
    assert [next(iter(part)) for part in body["contents"][2]["parts"]] == [
        "functionResponse",
        "functionResponse",
        "inlineData",
        "inlineData",
    ]
    assert losses == []


# Thought signatures


def signatures(*calls: ToolCall, traits: Traits = LEVEL) -> list[str | None]:
    body, _ = write(talk(user(), assistant(*calls), user(*(ToolResult(call.id) for call in calls))), traits)
    return [part.get("thoughtSignature") for part in body["contents"][1]["parts"]]


def test_a_signature_comes_back_from_its_field_or_from_the_id() -> None:
    assert signatures(ToolCall("a", "f", signature=SIGNATURE)) == [SIGNATURE]
    assert signatures(ToolCall(with_signature("a", SIGNATURE), "f"), ToolCall("b", "g")) == [SIGNATURE, None]


def test_a_lost_signature_is_replaced_on_the_first_call_for_gemini_3_only() -> None:
    calls = ToolCall("a", "f"), ToolCall("b", "g")
    assert signatures(*calls) == ["skip_thought_signature_validator", None]
    assert signatures(*calls, traits=BUDGET) == [None, None]


def test_a_signature_too_long_for_an_id_is_lost_but_the_call_is_not() -> None:
    part = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "A" * (SIGNATURE_LIMIT * 2)}
    wire = {"responseId": "r", "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    reply = gemini.read_reply(json.dumps(wire).encode())
    call = reply.choices[0].parts[0]
    assert isinstance(call, ToolCall)
    assert signatures(ToolCall(call.id, call.name)) == ["skip_thought_signature_validator"]


@given(st.binary(min_size=1, max_size=90), st.booleans())
def test_a_signature_survives_a_client_that_only_keeps_ids(raw: bytes, with_id: bool) -> None:
    signature = base64.b64encode(raw).decode()
    call = {"name": "f", "args": {}, **({"id": "abc123"} if with_id else {})}
    part = {"functionCall": call, "thoughtSignature": signature}
    wire = {"responseId": "r1", "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    read = gemini.read_reply(json.dumps(wire).encode()).choices[0].parts[0]
    assert isinstance(read, ToolCall)
    replayed = ToolCall(read.id, read.name, read.arguments)
    body, _ = write(talk(user(), assistant(replayed), user(ToolResult(read.id, [Text("r")]))), LEVEL)
    sent = body["contents"][1]["parts"][0]
    assert sent["thoughtSignature"] == signature
    assert sent["functionCall"]["name"] == "f"
    if with_id:
        assert sent["functionCall"]["id"] == "abc123"
    assert body["contents"][2]["parts"][0]["functionResponse"]["id"] == sent["functionCall"]["id"]


def test_signatures_on_text_and_thoughts_go_back_others_thoughts_do_not() -> None:
    body, losses = write(
        talk(
            user(),
            assistant(
                Thinking("mine", "gemini:" + SIGNATURE),
                Thinking("claude's", "c2ln"),
                Thinking("unsigned"),
                Text("x", signature=SIGNATURE),
            ),
            user(),
            dialect="messages",
        )
    )
    assert body["contents"][1]["parts"] == [
        {"text": "mine", "thought": True, "thoughtSignature": SIGNATURE},
        {"text": "x", "thoughtSignature": SIGNATURE},
    ]
    assert losses == ["messages.1.thinking", "messages.1.thinking"]


# Tools and output


def test_tools_are_declared_with_json_schema() -> None:
    tools = [
        Tool("f", "does f", {**SCHEMA, "additionalProperties": False}),
        Tool("none", schema={"type": "object", "properties": {}}),
        Tool("strict", schema={"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}, strict=True),
        Tool("web", opaque=Opaque("chat", {})),
    ]
    body, losses = write(talk(tools=tools))
    declared = body["tools"][0]["functionDeclarations"]
    assert declared[0]["parametersJsonSchema"] == {**SCHEMA, "additionalProperties": False}
    assert declared[1] == {"name": "none"}
    assert len(declared) == 3
    assert losses == ["tools.2.properties.a.pattern", "tools.3.web", "tools.2.strict"]


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice("auto"), None),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("tool", "f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("required", names=["f", "g"]), {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
    ],
)
def test_tool_choice(choice: ToolChoice, wire: Any) -> None:
    body, losses = write(talk(tools=[Tool("f"), Tool("g"), Tool("h")], tool_choice=choice))
    assert body.get("toolConfig", {}).get("functionCallingConfig") == wire
    assert losses == []


def test_strict_tools_are_held_to_their_schema_where_the_model_can_be() -> None:
    conversation = talk(tools=[Tool("f", schema=SCHEMA, strict=True)])
    assert write(conversation)[1] == ["tools.0.strict"]
    body, losses = write(conversation, LEVEL)
    assert (body["toolConfig"], losses) == ({"functionCallingConfig": {"mode": "VALIDATED"}}, [])
    conversation.tool_choice = ToolChoice("required")
    assert write(conversation)[1] == []


def test_allowed_tools_beside_auto_are_the_only_ones_sent() -> None:
    body, _ = write(talk(tools=[Tool("f"), Tool("g")], tool_choice=ToolChoice("auto", names=["g"])))
    assert body["tools"] == [{"functionDeclarations": [{"name": "g"}]}]


def test_structured_output() -> None:
    found, losses = config(talk(output=OutputFormat("schema", SCHEMA)))
    assert found == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert config(talk(output=OutputFormat("json")))[0] == {"responseMimeType": "application/json"}
    assert losses == []
    _, losses = config(
        talk(output=OutputFormat("schema", {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}))
    )
    assert losses == ["response_format.properties.a.pattern"]


def test_structured_output_beside_tools_is_native_only_from_gemini_3_on() -> None:
    conversation = talk(tools=[Tool("f")], output=OutputFormat("schema", SCHEMA))
    assert config(conversation, LEVEL)[0]["responseJsonSchema"] == SCHEMA
    body, losses = write(conversation, BUDGET)
    assert "generationConfig" not in body
    assert '"city"' in body["systemInstruction"]["parts"][0]["text"]
    assert losses == ["response_format"]


# Thinking


@pytest.mark.parametrize(
    ("reasoning", "traits", "wire", "lost"),
    [
        (Reasoning(effort="low"), BUDGET, {"includeThoughts": True, "thinkingBudget": 2048}, []),
        (Reasoning(effort="max"), BUDGET, {"includeThoughts": True, "thinkingBudget": 24576}, []),
        (Reasoning(adaptive=True), BUDGET, {"includeThoughts": True, "thinkingBudget": -1}, []),
        (Reasoning(budget=99_999), BUDGET, {"includeThoughts": True, "thinkingBudget": 24576}, ["budget_tokens"]),
        (Reasoning(budget=500, include=False), BUDGET, {"includeThoughts": False, "thinkingBudget": 500}, []),
        (Reasoning(enabled=False), BUDGET, {"thinkingBudget": 0}, []),
        (Reasoning(effort="minimal"), LEVEL, {"includeThoughts": True, "thinkingLevel": "low"}, []),
        (Reasoning(effort="medium"), LEVEL, {"includeThoughts": True, "thinkingLevel": "medium"}, []),
        (Reasoning(effort="xhigh"), LEVEL, {"includeThoughts": True, "thinkingLevel": "high"}, []),
        (Reasoning(budget=8000), LEVEL, {"includeThoughts": True, "thinkingLevel": "medium"}, ["budget_tokens"]),
        (Reasoning(enabled=False), LEVEL, {"thinkingLevel": "low"}, [""]),
        (Reasoning(effort="none"), BUDGET, {"thinkingBudget": 0}, []),
        (Reasoning(effort="low"), PLAIN, None, [""]),
    ],
)
def test_thinking(reasoning: Reasoning, traits: Traits, wire: Any, lost: list[str]) -> None:
    found, losses = config(talk(reasoning=reasoning), traits)
    assert found.get("thinkingConfig") == wire
    assert losses == [f"reasoning_effort.{name}".rstrip(".") for name in lost]


# Media


def test_media() -> None:
    body, losses = write(
        talk(
            user(
                Image("image/jpeg", data="QUJD"),
                Image(url="https://example.org/pic.webp?x=1"),
                Image(url="data:image/gif;base64,R0lGODlh"),
                Audio("QUJD", "mp3"),
                Document("application/pdf", data="QUJD"),
                Document(url="gs://bucket/a.pdf"),
                Document(text="words"),
            )
        )
    )
    assert body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/jpeg", "data": "QUJD"}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.org/pic.webp?x=1"}},
        {"inlineData": {"mimeType": "image/gif", "data": "R0lGODlh"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "QUJD"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}},
        {"text": "words"},
    ]
    assert losses == []


def test_what_cannot_be_carried_is_reported_by_its_place() -> None:
    body, losses = write(
        talk(
            user(
                Text("x", citations=[{}]),
                Image(file_id="file-1"),
                Audio(id="a", transcript="spoken"),
                Document(file_id="file-2"),
                Document(text="t", title="T"),
                Opaque("chat", {"type": "new_part"}),
            ),
            assistant(Refusal("no")),
            user(),
        )
    )
    assert [part["text"] for part in body["contents"][0]["parts"]] == ["x", "spoken", "t"]
    assert body["contents"][1]["parts"] == [{"text": "no"}]
    assert losses == [
        "messages.0.citations",
        "messages.0.image",
        "messages.0.audio",
        "messages.0.document",
        "messages.0.document.title",
        "messages.0.new_part",
    ]


def test_nothing_left_to_say_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        write(talk(user(Text(""))))


def test_a_trailing_model_turn_is_handed_back_where_it_cannot_be_continued() -> None:
    turns = [user(), assistant(Text("and so"))]
    assert write(talk(*turns))[0]["contents"][-1]["role"] == "model"
    body, losses = write(talk(*turns), Traits(prefill=False))
    assert body["contents"][-1]["role"] == "user"
    assert losses == ["messages.1.prefill"]


def test_a_token_count_is_asked_for_with_everything_that_is_prompt() -> None:
    raw = json.loads(gemini.write_count(talk(system=[Text("S")], tools=[Tool("f")], max_tokens=5), []))
    request = raw["generateContentRequest"]
    assert request["model"] == "models/gemini-x"
    assert {"contents", "systemInstruction", "tools"} <= set(request)
    assert gemini.count_path("gemini-x") == "/v1beta/models/gemini-x:countTokens"
    assert gemini.read_count(b'{"totalTokens": 31}') == 31
