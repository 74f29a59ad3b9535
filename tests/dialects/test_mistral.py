"""Mistral's dialect: requests from others and its own, answers, streams, errors, and its own SDK as the client."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, SDKError
from mistralai.client.models import ChatCompletionRequest, ChatCompletionResponse, CompletionChunk
from mutations import mutated

from freehold.dialects import chat, messages, mistral
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Conversation,
    Document,
    Event,
    Failed,
    Finished,
    Image,
    Metered,
    Opaque,
    OpaqueDelta,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolChoice,
    ToolDelta,
    ToolResult,
    ToolStarted,
    Turn,
    Usage,
    Voice,
)
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import (
    BadRequest,
    FreeholdError,
    ProviderError,
    RateLimited,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamRefused,
)

THINKS = Traits(thinking="effort", replay_reasoning="reasoning_content")


def request(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}


def read(**fields: Any) -> Conversation:
    return mistral.read_request(json.dumps(request(**fields)).encode())


def write(conversation: Conversation, traits: Traits = PLAIN) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = json.loads(mistral.write_request(conversation, losses, traits))
    model = ChatCompletionRequest.model_validate(body)
    known = {field.alias or name for name, field in type(model).model_fields.items()}
    if conversation.dialect != "mistral":
        assert set(body) <= known
    return body, losses


def again(**fields: Any) -> dict[str, Any]:
    body, losses = write(read(**fields))
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
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
                {"type": "document_url", "document_url": "https://a.example/c.pdf", "document_name": "c.pdf"},
                {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERi0="},
                {"type": "file", "file_id": "f_1"},
                {"type": "input_audio", "input_audio": "UklGRg=="},
                {"type": "reference", "reference_ids": [1, "x"]},
                {"type": "input_audio", "input_audio": "https://a.example/d.mp3"},
                {"type": "novel", "x": 1},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "signature": "sig"},
                {"type": "text", "text": "Yes."},
            ],
            "tool_calls": [{"id": "abcdefgh1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "abcdefgh1", "name": "f", "content": "one"},
        {"role": "assistant", "content": "So", "prefix": True},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {}, "strict": True}},
        {"type": "document_library", "library_ids": ["x"]},
    ],
    "tool_choice": "any",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "random_seed": 7,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "max_tokens": 50,
    "min_tokens": 2,
    "stop": ["a", "b"],
    "n": 2,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "repetition_penalty": 1.1,
    "logprobs": True,
    "top_logprobs": 2,
    "metadata": {"a": 1},
    "prediction": {"type": "content", "content": "x"},
    "prompt_mode": "reasoning",
    "reasoning_effort": "high",
    "prompt_cache_key": "k",
    "service_tier": "auto",
    "safe_prompt": True,
    "guardrails": [{"block_on_error": True}],
    "stream": True,
    "novel": {"x": 1},
}


def test_a_request_with_everything_comes_back_as_it_was() -> None:
    assert again(**EVERYTHING) == request(**EVERYTHING)


@pytest.mark.parametrize(
    "field",
    [
        {"tool_choice": "none", "tools": EVERYTHING["tools"][:1]},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": EVERYTHING["tools"][:1]},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "text"}},
        {"reasoning_effort": "none"},
    ],
)
def test_a_field_comes_back_as_it_was(field: dict[str, Any]) -> None:
    assert again(**field) == request(**field)


def test_what_is_read() -> None:
    conversation = read(**EVERYTHING)
    assert (conversation.dialect, conversation.seed, conversation.include_usage) == ("mistral", 7, True)
    assert conversation.tool_choice == ToolChoice("required")
    user, assistant, _, last = conversation.turns
    assert user.parts[2:6] == [
        Document(url="https://a.example/c.pdf", title="c.pdf"),
        Document("application/pdf", "JVBERi0="),
        Document(file_id="f_1"),
        Audio("UklGRg=="),
    ]
    assert [type(part) for part in user.parts[6:]] == [Opaque, Opaque, Opaque]
    assert assistant.parts[0] == Thinking("Hm.", signature="mistral:sig")
    assert last.parts[-1] == Opaque("mistral", {"$fields": {"prefix": True}})
    assert {"safe_prompt", "guardrails", "prompt_mode", "novel"} <= set(conversation.unknown)
    losses: list[str] = []
    chat.write_request(conversation, losses)
    assert {"safe_prompt", "guardrails", "messages.0.reference"} <= set(losses)


def test_a_conversation_is_not_changed_by_writing_it() -> None:
    conversation = read(**EVERYTHING)
    before = mistral.write_request(conversation, [])
    assert mistral.write_request(conversation, []) == before
    assert conversation == read(**EVERYTHING)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"random_seed": "x"}, "random_seed"),
        ({"temperature": "x"}, "temperature"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


# From other dialects


def test_no_user_speaks_right_after_a_tool() -> None:
    calls: list[Part] = [ToolCall("call_1", "f", "{}"), ToolCall("call_2", "f", "{}")]
    results: list[Part] = [ToolResult("call_1", [Text("one")]), ToolResult("call_2", [Text("two")])]
    together = foreign(
        Turn("user", [Text("Hi")]), Turn("assistant", calls), Turn("user", [*results, Text("And?")]), dialect="messages"
    )
    apart = foreign(
        Turn("user", [Text("Hi")]), Turn("assistant", calls), Turn("user", results), Turn("user", [Text("And?")])
    )
    for conversation in (together, apart):
        body, losses = write(conversation)
        assert [(one["role"], one["content"]) for one in body["messages"]] == [
            ("user", "Hi"), ("assistant", None), ("tool", "one"), ("tool", "two"), ("assistant", "OK"),
            ("user", "And?"),
        ]  # fmt: skip
        assert losses == []
    calls_ids = [call["id"] for call in write(apart)[0]["messages"][1]["tool_calls"]]
    assert all(len(one) == 9 and one.isalnum() for one in calls_ids)
    assert [one["tool_call_id"] for one in write(apart)[0]["messages"][2:4]] == calls_ids


def test_an_answer_begun_is_marked() -> None:
    conversation = foreign(Turn("user", [Text("Hi")]), Turn("assistant", [Text("Once")]))
    assert write(conversation)[0]["messages"][-1] == {"role": "assistant", "content": "Once", "prefix": True}


def test_thoughts_go_back_to_a_model_that_wants_them() -> None:
    turn = Turn("assistant", [Thinking("Hm.", signature="x"), Thinking(redacted="r"), Text("Yes.")])
    conversation = foreign(Turn("user", [Text("Hi")]), turn, Turn("user", [Text("And?")]))
    body, losses = write(conversation, THINKS)
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."},
    ]  # fmt: skip
    assert losses == ["thinking.signature", "messages.1.reasoning_content"]
    assert write(conversation)[0]["messages"][1]["content"] == "Yes."
    turn.parts[:2] = [Thinking("Hm.", signature="mistral:sig")]
    body, losses = write(conversation, THINKS)
    assert body["messages"][1]["content"][0]["signature"] == "sig"
    assert losses == []


def test_media_become_mistrals_chunks() -> None:
    result = ToolResult("call_1", [Text("See"), Image("image/png", "iVBORw0KGgo=")], name="f", is_error=True)
    conversation = foreign(
        Turn(
            "user",
            [
                Document("application/pdf", "JVBERi0=", title="a.pdf"),
                Document(url="https://a.example/b.pdf"),
                Document(text="Plain.", title="T"),
                Document(file_id="file_1"),
                Audio("UklGRg==", "wav"),
                Audio(id="x", transcript="Said"),
                Image(url="https://a.example/c.png"),
            ],
        ),
        Turn("assistant", [ToolCall("call_1", "f"), Image(url="https://a.example/d.png"), Refusal("No.")]),
        Turn("user", [result]),
    )
    body, losses = write(conversation)
    assert body["messages"][0]["content"] == [
        {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERi0=", "document_name": "a.pdf"},
        {"type": "document_url", "document_url": "https://a.example/b.pdf"},
        {"type": "text", "text": "T\n\nPlain."},
        {"type": "input_audio", "input_audio": "UklGRg=="},
        {"type": "text", "text": "Said"},
        {"type": "image_url", "image_url": {"url": "https://a.example/c.png"}},
    ]
    assert [one["role"] for one in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert body["messages"][1]["content"] == "No."
    assert body["messages"][2]["content"] == "Error: See"
    assert [chunk["type"] for chunk in body["messages"][4]["content"]] == ["text", "image_url"]
    assert losses == ["messages.0.document", "messages.0.audio", "messages.1.image"]


def test_a_chat_client_may_send_mistrals_own_fields_and_chunks() -> None:
    sent = request(
        messages=[
            {"role": "user", "content": [{"type": "document_url", "document_url": "https://a.example/x.pdf"}]},
            {"role": "assistant", "content": "So", "prefix": True},
        ],
        safe_prompt=True,
        random_seed=3,
        seed=4,
        user="u",
        store=True,
        logit_bias={"1": 2},
        web_search_options={},
        stream=True,
        stream_options={"include_usage": True},
    )
    body, losses = write(chat.read_request(json.dumps(sent).encode()))
    assert body == {
        "model": "m", "messages": sent["messages"], "random_seed": 4, "safe_prompt": True, "stream": True,
    }  # fmt: skip
    assert set(losses) == {"user", "store", "logit_bias", "web_search_options"}


@pytest.mark.parametrize(
    ("choice", "wire", "tools"),
    [
        (ToolChoice("auto"), "auto", ["a", "b"]),
        (ToolChoice("none"), "none", ["a", "b"]),
        (ToolChoice("required"), "any", ["a", "b"]),
        (ToolChoice("tool", "b"), {"type": "function", "function": {"name": "b"}}, ["a", "b"]),
        (ToolChoice("required", names=["a"]), "any", ["a"]),
        (ToolChoice("auto", names=["a"]), "auto", ["a"]),
    ],
)
def test_tool_choices(choice: ToolChoice, wire: Any, tools: list[str]) -> None:
    body, losses = write(foreign(tools=[Tool("a"), Tool("b")], tool_choice=choice))
    assert body["tool_choice"] == wire
    assert [tool["function"]["name"] for tool in body["tools"]] == tools
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert losses == []


def test_a_choice_without_tools_is_none_or_reported() -> None:
    assert write(foreign(tool_choice=ToolChoice("auto"), parallel_tools=True)) == (request(), [])
    assert write(foreign(tool_choice=ToolChoice("required"))) == (request(), ["tool_choice"])


@pytest.mark.parametrize(
    ("reasoning", "traits", "effort", "lost"),
    [
        (Reasoning(effort="low"), THINKS, "low", []),
        (Reasoning(budget=8000), THINKS, "medium", []),
        (Reasoning(enabled=False), THINKS, "none", []),
        (Reasoning(adaptive=True), THINKS, None, []),
        (Reasoning(effort="low"), PLAIN, None, ["reasoning_effort"]),
        (Reasoning(enabled=False), PLAIN, None, []),
    ],
)
def test_thinking(reasoning: Reasoning, traits: Traits, effort: str | None, lost: list[str]) -> None:
    body, losses = write(foreign(reasoning=reasoning), traits)
    assert body.get("reasoning_effort") == effort
    assert losses == lost


def test_what_has_no_word_here_is_reported_in_the_clients_words() -> None:
    conversation = foreign(
        Turn("user", [Text("Hi", cache="5m", signature="g")], name="ann"),
        Turn(
            "assistant", [Text("Yes", citations=[Citation(url="https://a.example")]), Opaque("messages", {"type": "x"})]
        ),
        Turn("user", [Text("Go")]),
        dialect="messages",
        system=[Text("S", cache="1h")],
        tools=[Tool("s", opaque=Opaque("messages", {"type": "web_search"})), Tool("a", cache="5m")],
        temperature=1.8,
        stop=["a", "b", "c", "d", "e"],
        user="u",
        safety_identifier="s",
        voice=Voice("alloy"),
        modalities=["audio"],
        verbosity="low",
        service_tier="flex",
        store=True,
        previous="resp_1",
        logit_bias={"1": 1.0},
        unknown={"container": "x"},
    )
    _, losses = write(conversation, Traits(temperature_max=1.5))
    assert set(losses) >= {
        "messages.0.name", "cache_control", "messages.1.citations", "messages.1.x", "tools.0.s",
        "temperature", "stop_sequences", "metadata.user_id", "safety_identifier", "verbosity", "service_tier", "store",
        "logit_bias", "container",
    }  # fmt: skip
    assert len(losses) == len(set(losses)) == 17


def test_defaults_are_no_losses_and_service_tiers_are_translated() -> None:
    conversation = foreign(
        n=1, store=False, verbosity="medium", modalities=["text"], service_tier="default", metadata={"a": "b"},
        output=OutputFormat("json"), top_k=3, prompt_cache_key="k",
    )  # fmt: skip
    body, losses = write(conversation)
    assert losses == []
    assert body == request(
        response_format={"type": "json_object"}, service_tier="standard_only", metadata={"a": "b"}, top_k=3,
        prompt_cache_key="k",
    )  # fmt: skip


def test_a_custom_tools_call_is_a_function_call() -> None:
    calls: list[Part] = [ToolCall("abcdefgh1", "t", "free", custom=True, signature="s")]
    body, losses = write(foreign(Turn("assistant", calls), dialect="responses"))
    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "t", "arguments": '{"input":"free"}'}
    assert losses == []  # Gemini's signature says nothing to others


def test_turns_that_come_to_nothing_are_left_out() -> None:
    conversation = foreign(Turn("user", [Text("Hi")]), Turn("assistant", [Thinking("Hm")]), Turn("user", [Text("Go")]))
    assert [one["role"] for one in write(conversation)[0]["messages"]] == ["user", "user"]
    with pytest.raises(BadRequest):
        write(foreign(Turn("user", [Document(file_id="x")])))


# Answers


def completion(content: Any, finish: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "num_cached_tokens": 4}
    return json.dumps(
        {"id": "r", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    ).encode()


CHUNKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}], "signature": "s"},
    {"type": "text", "text": "Yes"},
    {"type": "reference", "reference_ids": [0]},
    {"type": "text", "text": "."},
]


def test_chunks_of_an_answer_come_out_in_order_and_go_back() -> None:
    reply = mistral.read_reply(completion(CHUNKS))
    assert reply.choices[0].parts == [
        Thinking("Hm", signature="mistral:s"), Text("Yes"), Opaque("mistral", CHUNKS[2]), Text("."),
    ]  # fmt: skip
    assert reply.usage == Usage(5, 4, output=2)
    losses: list[str] = []
    written = json.loads(mistral.write_reply(reply, losses))
    ChatCompletionResponse.model_validate(written)
    content = written["choices"][0]["message"]["content"]
    assert content[0] == {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "signature": "s"}
    assert content[1:] == CHUNKS[1:]
    assert losses == []
    shown = json.loads(chat.write_reply(reply, losses))["choices"][0]["message"]
    assert (shown["content"], shown["reasoning_content"]) == ("Yes.", "Hm")
    assert losses == ["reference"]


@pytest.mark.parametrize(
    ("wire", "finish"), [("stop", "stop"), ("length", "length"), ("model_length", "length"), ("error", "error")]
)
def test_finish_reasons(wire: str, finish: str) -> None:
    assert mistral.read_reply(completion("Hi", wire)).choices[0].finish == finish


def test_arguments_may_be_an_object() -> None:
    call = {"id": "abcdefgh1", "function": {"name": "f", "arguments": {"a": 1}}, "index": 0}
    reply = mistral.read_reply(completion("", "tool_calls", tool_calls=[call]))
    assert reply.choices[0].parts == [ToolCall("abcdefgh1", "f", '{"a":1}')]


def test_a_reply_of_another_dialect() -> None:
    parts: list[Part] = [
        Thinking("Hm", signature="x"), Text("Yes", citations=[Citation(url="https://a.example")]), Refusal("No"),
        ToolCall("call_1", "f", "{}"), Opaque("messages", {"type": "server_tool_use"}),
    ]  # fmt: skip
    losses: list[str] = []
    reply = Reply("r", "m", [Choice(parts, "tool_calls"), Choice([Refusal("No")], "content_filter", index=1)])
    written = json.loads(mistral.write_reply(reply, losses, created=5))
    ChatCompletionResponse.model_validate(written)
    first, second = written["choices"]
    assert [chunk["type"] for chunk in first["message"]["content"]] == ["thinking", "text", "text"]
    assert "reasoning_content" not in first["message"]
    assert first["message"]["tool_calls"][0]["id"] == "call_1"
    assert (second["message"]["content"], second["finish_reason"]) == ("No", "content_filter")
    assert written["created"] == 5
    assert losses == ["thinking.signature", "citations", "server_tool_use"]


@pytest.mark.parametrize("given", [b"", b"{}", b'{"choices":[]}', b"\xff", b"{" * 100_000])
def test_what_is_no_answer_is_broken(given: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        mistral.read_reply(given)


# Streams


def chunk(delta: Any, finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"id": "r", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **fields}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
CALL = {"id": "abcdefgh1", "function": {"name": "f", "arguments": "{}"}, "index": 0}
WHOLE = (
    chunk({"role": "assistant", "content": ""})
    + chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]})
    + chunk({"content": [{"type": "thinking", "thinking": [], "signature": "s"}]})
    + chunk({"content": "Yes"})
    + chunk({"content": [CHUNKS[2]]})
    + chunk({"content": "", "tool_calls": [CALL]}, "tool_calls", usage=USAGE)
    + b"data: [DONE]\n\n"
)
EVENTS: list[Event] = [
    Started("r", "m", 1),
    ThinkingDelta("Hm"),
    ThinkingDelta(signature="mistral:s"),
    TextDelta("Yes"),
    OpaqueDelta("mistral", {"content": [CHUNKS[2]]}),
    ToolStarted(0, "abcdefgh1", "f"),
    ToolDelta(0, "{}"),
    Finished("tool_calls"),
    Metered(Usage(9, output=2)),
]


def stream(data: bytes) -> list[Event]:
    reader = mistral.StreamReader()
    return reader.feed(data) + reader.close()


def show(events: list[Event]) -> bytes:
    writer = mistral.StreamWriter("", "", 0)
    return b"".join(writer.write(event) for event in events) + writer.close()


def test_a_stream_is_read_written_and_read_again() -> None:
    assert stream(WHOLE) == EVENTS
    data = show(EVENTS)
    assert data.endswith(b"data: [DONE]\n\n")
    for line in data.decode().splitlines():
        if line.startswith("data: {"):
            CompletionChunk.model_validate(json.loads(line[6:]))
    assert stream(data) == EVENTS


def test_a_relay_passes_the_bytes_and_meters_them() -> None:
    relay = mistral.StreamRelay(strip_usage=True)
    assert relay.feed(WHOLE) + relay.close() == WHOLE
    assert (relay.usage, relay.finish, relay.complete) == (Usage(9, output=2), "tool_calls", True)


def test_a_stream_that_breaks_never_looks_finished() -> None:
    for cut in range(0, WHOLE.index(b'"tool_calls"'), 7):
        reader = mistral.StreamReader()
        events = reader.feed(WHOLE[:cut]) + reader.close()
        assert not reader.complete
        assert b"[DONE]" not in show(events)


def test_an_error_inside_a_stream_ends_it() -> None:
    data = chunk({"content": "a"}) + b'data: {"error":{"message":"down","code":"x"}}\n\n'
    assert isinstance(stream(data)[-1], Failed)


def test_a_foreign_stream_is_written_for_mistrals_clients() -> None:
    writer = mistral.StreamWriter("r", "m", 1)
    events: list[Event] = [
        Started("x", "y"), ThinkingDelta("Hm"), ThinkingDelta(signature="sig"), ThinkingDelta(redacted="r"),
        TextDelta("a", citation=Citation(url="https://a.example")), RefusalDelta("No"), Metered(Usage(1, output=2)),
        Finished("stop"),
    ]  # fmt: skip
    data = b"".join(writer.write(event) for event in events) + writer.close()
    assert stream(data)[1:4] == [ThinkingDelta("Hm"), TextDelta("a"), TextDelta("No")]
    assert b"annotations" not in data
    assert writer.losses == ["thinking.signature", "thinking.redacted", "citations"]
    assert writer.write(ThinkingDelta("late")) == b""


# Errors


@pytest.mark.parametrize(
    ("status", "given", "kind", "code"),
    [
        (
            400,
            {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "param": None, "code": "1500"},
            UpstreamRefused,
            "model_not_found",
        ),
        (
            400,
            {
                "object": "error",
                "message": "Prompt contains 65536 tokens, too large for model with 32768 maximum context length",
                "type": "invalid_request_prompt",
                "code": "3051",
            },
            UpstreamRefused,
            "context_length_exceeded",
        ),
        (
            400,
            {"object": "error", "message": "Unexpected role", "type": "invalid_request_message_order", "code": "3230"},
            UpstreamRefused,
            "invalid_request_message_order",
        ),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "Extra inputs"}]}, UpstreamRefused, "upstream_refused"),
        (401, {"message": "Unauthorized", "request_id": "x"}, UpstreamAuth, "upstream_auth"),
        (
            429,
            {"object": "error", "message": "Service tier capacity exceeded", "code": "3505"},
            UpstreamLimited,
            "upstream_rate_limited",
        ),
        (500, {"object": "error", "message": "Service unavailable."}, UpstreamBroken, "upstream_broken"),
        (400, "text", UpstreamRefused, "upstream_refused"),
    ],
)
def test_provider_errors(status: int, given: Any, kind: type[ProviderError], code: str) -> None:
    error = mistral.read_error(status, {}, json.dumps(given).encode())
    assert type(error) is kind
    assert error.code == code
    assert error.message


# Mistral's own SDK


def client(answer: Callable[[httpx2.Request], httpx2.Response]) -> Mistral:
    transport = httpx2.MockTransport(answer)
    return Mistral(api_key="key", server_url="http://freehold.test", client=httpx2.Client(transport=transport))


HI: Any = [{"role": "user", "content": "Hi"}]


def test_the_sdk_chats_with_another_dialects_model() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/v1/chat/completions"
        assert mistral.read_request(request.content).seed == 3
        reply = Reply("r", "m", [Choice([Thinking("Hm"), Text("Hey")])], Usage(3, 1, output=2))
        headers = {"content-type": "application/json"}
        return httpx2.Response(200, content=mistral.write_reply(reply, [], 1), headers=headers)

    with client(answer) as sdk:
        response = sdk.chat.complete(model="m", messages=HI, random_seed=3)
    message = response.choices[0].message
    assert message is not None
    assert [one.type for one in message.content] == ["thinking", "text"]  # type: ignore[union-attr]
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (4, 2)


def test_the_sdk_streams_another_dialects_model() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert mistral.read_request(request.content).stream
        return httpx2.Response(200, content=show(EVENTS), headers={"content-type": "text/event-stream"})

    with client(answer) as sdk:
        chunks = [one.data for one in sdk.chat.stream(model="m", messages=HI)]
    texts = [one.choices[0].delta.content for one in chunks if one.choices]
    assert texts[1][0].thinking[0].text == "Hm"  # type: ignore[index, union-attr]
    assert "Yes" in texts
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2
    calls = [call for one in chunks if one.choices for call in one.choices[0].delta.tool_calls or []]
    assert calls[0].function.name == "f"


def test_the_sdk_does_not_take_a_broken_stream_for_a_whole_one() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=show(EVENTS[:4]), headers={"content-type": "text/event-stream"})

    with client(answer) as sdk, pytest.raises(Exception, match="Field required"):
        list(sdk.chat.stream(model="m", messages=HI))


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (BadRequest("Wrong.", param="messages.0"), SDKError),
        (BadRequest("Wrong.", param="messages.0", status=422), HTTPValidationError),
        (RateLimited("Slow down."), SDKError),
    ],
)
def test_the_sdk_raises_our_errors_as_its_own(error: FreeholdError, raised: type[Exception]) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "application/json"}
        return httpx2.Response(error.status, content=mistral.write_error(error, "req_1"), headers=headers)

    with client(answer) as sdk, pytest.raises(raised, match=error.message):
        sdk.chat.complete(model="m", messages=HI)


# Whatever is sent

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
@settings(max_examples=300)
def test_a_mutated_request_is_refused_or_written_for_anyone(seed: int) -> None:
    body = json.dumps(mutated(request(**EVERYTHING), seed)).encode()
    with suppress(BadRequest):
        mistral.peek(body)
    try:
        conversation = mistral.read_request(body)
    except BadRequest:
        return
    for writer in (mistral.write_request, messages.write_request, chat.write_request):
        with suppress(BadRequest):
            json.loads(writer(conversation, []))


@given(SEEDS)
@settings(max_examples=200)
def test_a_mutated_chat_request_is_refused_or_written_for_mistral(seed: int) -> None:
    body = json.dumps(mutated(request(**EVERYTHING), seed)).encode()
    with suppress(BadRequest):
        mistral.write_request(chat.read_request(body), [], THINKS)


@given(SEEDS)
@settings(max_examples=300)
def test_a_mutated_reply_is_refused_or_written_back(seed: int) -> None:
    body = json.dumps(mutated(json.loads(completion(CHUNKS, tool_calls=[CALL])), seed)).encode()
    with suppress(ProviderError):
        mistral.read_receipt(body)
    with suppress(ProviderError):
        json.loads(mistral.write_reply(mistral.read_reply(body), []))


@given(SEEDS)
@settings(max_examples=300)
def test_a_mutated_stream_is_read_and_shown(seed: int) -> None:
    lines = [json.loads(line[6:]) for line in WHOLE.decode().splitlines() if line.startswith("data: {")]
    data = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in mutated(lines, seed))
    events = stream(data)
    assert sum(isinstance(event, Finished) and event.choice == 0 for event in events) <= 1
    shown = show(events)
    assert shown.endswith(b"data: [DONE]\n\n") or b'"error"' in shown


@given(st.binary(max_size=300))
def test_noise_is_an_error_of_ours(noise: bytes) -> None:
    with pytest.raises(BadRequest):
        mistral.read_request(noise)
    with pytest.raises(ProviderError):
        mistral.read_reply(noise)
    assert isinstance(mistral.read_error(400, {}, noise), ProviderError)
    mistral.StreamReader().feed(noise)
