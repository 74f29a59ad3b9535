"""The real google-genai SDK talks to the client side of the dialect, through a transport that never leaves the test."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from freehold.dialects import gemini
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Conversation,
    Document,
    Event,
    Finished,
    Image,
    Metered,
    Opaque,
    OutputFormat,
    Reasoning,
    Refusal,
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
    Usage,
    Voice,
)
from freehold.dialects.embeddings.types import EmbeddingReply, EmbeddingRequest
from freehold.dialects.gemini import embed
from freehold.errors import (
    BadRequest,
    Forbidden,
    FreeholdError,
    InternalError,
    RateLimited,
    Unauthorized,
    UpstreamBroken,
    UpstreamOverloaded,
)

Answer = bytes | FreeholdError
Handler = Callable[[gemini.Call, bytes], Answer]


def client(handler: Handler, **options: Any) -> genai.Client:
    def respond(request: httpx.Request) -> httpx.Response:
        call = gemini.parse_path(request.url.raw_path.decode().partition("?")[0])
        assert call is not None
        answer = handler(call, request.content)
        if isinstance(answer, FreeholdError):
            return httpx.Response(answer.status, content=gemini.write_error(answer, "req_1"))
        kind = "text/event-stream" if "alt=sse" in str(request.url) else "application/json"
        return httpx.Response(200, content=answer, headers={"content-type": kind})

    http = httpx.Client(transport=httpx.MockTransport(respond))
    settings = types.HttpOptions(base_url="http://gateway.test", httpx_client=http)
    return genai.Client(api_key="fh-test", http_options=settings, **options)


def reply(*parts: Any, **fields: Any) -> Reply:
    return Reply("r1", "some-model", [Choice(list(parts), **fields)], Usage(10, cache_read=5, output=7, reasoning=3))


class Recorder:
    """Answers every request with the same replies, in turn, and keeps what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[Conversation] = []

    def __call__(self, call: gemini.Call, body: bytes) -> bytes:
        stream = call.method == "streamGenerateContent"
        seen = gemini.peek(body, model=call.model, stream=stream)
        conversation = gemini.read_request(body, model=call.model, stream=stream)
        assert (seen.model, seen.stream) == (conversation.model, conversation.stream)
        assert seen.tools == bool(conversation.tools)
        self.asked.append(conversation)
        losses: list[str] = []
        written = gemini.write_reply(self.replies.pop(0), losses)
        assert losses == []
        return written


def ask(contents: Any, **config: Any) -> Conversation:
    recorder = Recorder(reply(Text("ok")))
    client(recorder).models.generate_content(
        model="small", contents=contents, config=types.GenerateContentConfig(**config) if config else None
    )
    return recorder.asked[0]


@pytest.mark.parametrize("model", ["small", "models/small", "own/qwen3:8b", "tunedModels/mine", "grün"])
@pytest.mark.parametrize("vertex", [False, True])
def test_the_model_arrives_by_its_name(model: str, vertex: bool) -> None:
    if vertex and model in ("own/qwen3:8b", "tunedModels/mine"):
        return  # Vertex takes a slash for publisher/model
    recorder = Recorder(reply(Text("ok")))
    client(recorder, vertexai=vertex).models.generate_content(model=model, contents="hi")
    assert recorder.asked[0].model == model.removeprefix("models/")


def test_every_setting_arrives() -> None:
    found = ask(
        "hi",
        system_instruction="be short",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        candidate_count=2,
        max_output_tokens=100,
        stop_sequences=["a", "b"],
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        response_logprobs=True,
        logprobs=3,
        response_modalities=["TEXT", "IMAGE"],
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2048),
        safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")],
        cached_content="cachedContents/x",
        media_resolution="MEDIA_RESOLUTION_LOW",
        service_tier="flex",
    )
    assert found == Conversation(
        "small",
        system=[Text("be short")],
        turns=found.turns,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        n=2,
        max_tokens=100,
        stop=["a", "b"],
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=3,
        modalities=["text", "image"],
        reasoning=Reasoning(budget=2048, include=True),
        service_tier="flex",
        include_usage=True,
        dialect="gemini",
        unknown={
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "cachedContent": "cachedContents/x",
            "generationConfig.mediaResolution": "MEDIA_RESOLUTION_LOW",
        },
    )
    assert [(turn.role, turn.parts) for turn in found.turns] == [("user", [Text("hi")])]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"thinking_level": "LOW"}, Reasoning(effort="low")),
        ({"thinking_level": "XHIGH", "include_thoughts": True}, Reasoning(effort="xhigh", include=True)),
        ({"thinking_budget": 0}, Reasoning(enabled=False)),
        ({"thinking_budget": -1}, Reasoning(adaptive=True)),
        ({"include_thoughts": False}, None),
    ],
)
def test_thinking(config: dict[str, Any], expected: Reasoning | None) -> None:
    assert ask("hi", thinking_config=types.ThinkingConfig(**config)).reasoning == expected


def test_structured_output_of_a_model_class_and_of_json_schema() -> None:
    schema = types.Schema(
        type="OBJECT",
        properties={"name": types.Schema(type="STRING"), "age": types.Schema(type="INTEGER", nullable=True)},
        required=["name"],
        property_ordering=["name", "age"],
    )
    found = ask("hi", response_mime_type="application/json", response_schema=schema)
    expected = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}},
        "required": ["name"],
        "propertyOrdering": ["name", "age"],
    }
    assert found.output == OutputFormat("schema", expected, strict=True)
    plain = {"type": "object", "additionalProperties": False}
    found = ask("hi", response_mime_type="application/json", response_json_schema=plain)
    assert found.output == OutputFormat("schema", plain, strict=True)
    assert ask("hi", response_mime_type="application/json").output == OutputFormat("json")
    found = ask("hi", response_mime_type="text/x.enum", response_schema={"type": "STRING", "enum": ["a"]})
    assert found.output is None
    assert set(found.unknown) == {"generationConfig.responseMimeType", "generationConfig.responseSchema"}


def test_a_voice() -> None:
    voice = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore"))
    found = ask("hi", response_modalities=["AUDIO"], speech_config=types.SpeechConfig(voice_config=voice))
    assert (found.modalities, found.voice) == (["audio"], Voice("Kore", "pcm16"))


def test_media_of_all_kinds() -> None:
    found = ask(
        [
            types.Part.from_bytes(data=b"\xff\xfe\xfd", mime_type="image/png"),
            types.Part.from_bytes(data=b"abc", mime_type="audio/mpeg"),
            types.Part.from_bytes(data=b"%PDF", mime_type="application/pdf"),
            types.Part.from_uri(file_uri="https://example.org/a.jpg", mime_type="image/jpeg"),
            types.Part.from_uri(file_uri="gs://bucket/a.mp4", mime_type="video/mp4"),
            types.Part(
                file_data=types.FileData(file_uri="https://youtu.be/x"),
                video_metadata=types.VideoMetadata(fps=1),
            ),
        ]
    )
    assert found.turns[0].parts == [
        Image("image/png", "//79"),  # the SDK sends it in the other alphabet, as __79
        Audio("YWJj", "mp3"),
        Document("application/pdf", "JVBERg=="),
        Image("image/jpeg", url="https://example.org/a.jpg"),
        Document("video/mp4", file_id="gs://bucket/a.mp4"),
        Document(url="https://youtu.be/x"),
        Opaque("gemini", {"$part": {"videoMetadata": {"fps": 1}}}),
    ]


def weather(city: str, days: int | None = None) -> dict[str, Any]:
    """The weather of a city."""
    return {"city": city, "rain": True}


def test_the_sdk_calls_a_function_and_brings_its_result() -> None:
    recorder = Recorder(
        reply(
            Thinking("hm", "gemini:QUJD"),
            ToolCall("call_1__sig_sQUJD", "weather", '{"city":"Rom"}'),
            finish="tool_calls",
        ),
        reply(Text("It rains.")),
    )
    answer = client(recorder).models.generate_content(
        model="small", contents="Rome?", config=types.GenerateContentConfig(tools=[weather])
    )
    assert answer.text == "It rains."
    first, second = recorder.asked
    assert first.tools[0].name == "weather"
    assert first.tools[0].schema is not None
    assert first.tools[0].schema["properties"]["city"] == {"type": "string"}
    assert second.turns[1].parts == [
        Thinking("hm", "gemini:QUJD"),
        ToolCall("call_1", "weather", '{"city":"Rom"}', "QUJD"),
    ]
    (result,) = second.turns[2].parts
    assert isinstance(result, ToolResult)
    assert (result.id, result.name, result.is_error) == ("call_1", "weather", False)
    assert isinstance(result.parts[0], Text)
    assert json.loads(result.parts[0].text) == {"result": {"city": "Rom", "rain": True}}


def test_tools_of_every_kind_and_the_choice_among_them() -> None:
    declared = types.FunctionDeclaration(name="f", description="does f", parameters_json_schema={"type": "object"})
    other = types.FunctionDeclaration(
        name="g", parameters=types.Schema(type="OBJECT", properties={"a": types.Schema(type="STRING")})
    )
    found = ask(
        "hi",
        tools=[
            types.Tool(function_declarations=[declared, other]),
            types.Tool(google_search=types.GoogleSearch()),
            types.Tool(code_execution=types.ToolCodeExecution()),
        ],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(mode="ANY", allowed_function_names=["f", "g"])
        ),
    )
    assert sorted(found.tools, key=lambda tool: tool.name) == [
        Tool("codeExecution", opaque=Opaque("gemini", {"codeExecution": {}})),
        Tool("f", "does f", {"type": "object"}),
        Tool("g", schema={"type": "object", "properties": {"a": {"type": "string"}}}),
        Tool("googleSearch", opaque=Opaque("gemini", {"googleSearch": {}})),
    ]
    assert found.tool_choice == ToolChoice("required", names=["f", "g"])


# Answers


def test_an_answer_of_everything() -> None:
    parts = [
        Thinking("let me see", "c2ln"),
        Text("It is Rome."),
        Image("image/png", "QUJD"),
        Audio("QUJD", "pcm16"),
        ToolCall("call_1", "f", '{"a": [1, 2.5]}'),
    ]
    written = reply(*parts, finish="tool_calls")
    written.choices[0].logprobs = {
        "content": [
            {"token": "It", "logprob": -0.5, "bytes": [73, 116], "top_logprobs": [{"token": "A", "logprob": -2}]}
        ],
        "refusal": None,
    }
    answer = client(Recorder(written)).models.generate_content(model="small", contents="hi")
    candidate = answer.candidates[0]
    assert candidate.finish_reason == types.FinishReason.STOP
    thought, text, image, sound, call = candidate.content.parts
    assert (thought.text, thought.thought) == ("let me see", True)
    assert thought.thought_signature == b"anthropic:c2ln"
    assert text.text == "It is Rome."
    assert (image.inline_data.mime_type, image.inline_data.data) == ("image/png", b"ABC")
    assert sound.inline_data.mime_type == "audio/L16;codec=pcm;rate=24000"
    assert (call.function_call.id, call.function_call.args) == ("call_1", {"a": [1, 2.5]})
    assert candidate.logprobs_result.chosen_candidates[0].log_probability == -0.5
    assert candidate.logprobs_result.top_candidates[0].candidates[0].token == "A"
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (15, 5)
    assert (usage.candidates_token_count, usage.thoughts_token_count, usage.total_token_count) == (4, 3, 22)
    assert (answer.response_id, answer.model_version) == ("r1", "some-model")


def test_sources_are_grounding() -> None:
    text = Text("Grüße aus Rom.", citations=[Citation("https://example.org/", "A page", start=10, end=13)])
    answer = client(Recorder(reply(Text("Sehr: "), text))).models.generate_content(model="small", contents="hi")
    grounding = answer.candidates[0].grounding_metadata
    assert grounding.grounding_chunks[0].web.uri == "https://example.org/"
    segment = grounding.grounding_supports[0].segment
    assert segment.text == "Rom"
    assert answer.text.encode()[segment.start_index : segment.end_index] == b"Rom"


def test_a_blocked_prompt_is_feedback() -> None:
    answer = client(Recorder(reply(Refusal("No."), finish="content_filter"))).models.generate_content(
        model="small", contents="hi"
    )
    assert not answer.candidates
    assert answer.prompt_feedback.block_reason == types.BlockedReason.SAFETY
    assert answer.prompt_feedback.block_reason_message == "No."


# Streams


EVENTS: list[Event] = [
    Started("r1", "some-model"),
    ThinkingDelta("let me "),
    ThinkingDelta("see"),
    ThinkingDelta(signature="c2ln+/=="),
    TextDelta("It is "),
    TextDelta("Rome."),
    ToolStarted(0, "call_1", "f"),
    ToolDelta(0, '{"a":'),
    ToolStarted(1, "call_2", "g"),
    ToolDelta(0, " 1}"),
    ToolDelta(1, "{}"),
    Finished("tool_calls"),
    Metered(Usage(10, output=7)),
]


def stream_of(events: list[Event]) -> bytes:
    writer = gemini.StreamWriter("", "")
    return b"".join(writer.write(event) for event in events) + writer.close()


def test_a_streamed_answer() -> None:
    chunks = list(client(lambda *_: stream_of(EVENTS)).models.generate_content_stream(model="small", contents="hi"))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert "".join(part.text for part in parts if part.thought) == "let me see"
    assert "".join(part.text for part in parts if part.text and not part.thought) == "It is Rome."
    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.id, call.name, call.args) for call in calls] == [("call_1", "f", {"a": 1}), ("call_2", "g", {})]
    assert [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates[0].finish_reason] == ["STOP"]
    assert chunks[-1].usage_metadata.total_token_count == 17
    assert {chunk.response_id for chunk in chunks} == {"r1"}


def test_a_chat_brings_a_streamed_thought_of_another_provider_back_whole() -> None:
    asked: list[Conversation] = []

    def handler(call: gemini.Call, body: bytes) -> bytes:
        asked.append(gemini.read_request(body, model=call.model))
        return stream_of([*EVENTS[:6], Finished("stop")])

    chat = client(handler).chats.create(model="small")
    for message in ("hi", "and now?"):
        list(chat.send_message_stream(message))
    turn = asked[1].turns[1]
    assert turn.role == "assistant"
    assert turn.parts[0] == Thinking("let me see", "c2ln+/==")
    assert "".join(part.text for part in turn.parts if isinstance(part, Text)) == "It is Rome."


def test_a_reasoning_item_keeps_its_id() -> None:
    asked: list[Conversation] = []
    events: list[Event] = [
        Started("r1", "m"),
        ThinkingDelta("one ", id="rs_1"),
        ThinkingDelta("two", id="rs_1"),
        ThinkingDelta(signature="openai:abc", id="rs_1"),
        ThinkingDelta("three", id="rs_2"),
        ThinkingDelta(redacted="xyz"),
        TextDelta("so"),
        TextDelta(" it is"),
        Finished("stop"),
    ]

    def handler(call: gemini.Call, body: bytes) -> bytes:
        asked.append(gemini.read_request(body, model=call.model))
        return stream_of(events)

    chat = client(handler).chats.create(model="small")
    for message in ("hi", "and now?"):
        list(chat.send_message_stream(message))
    assert asked[1].turns[1].parts[:3] == [
        Thinking("one two", "openai:abc", id="rs_1"),
        Thinking("three"),
        Thinking("", redacted="xyz", id="rs_2"),
    ]


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (BadRequest("wrong", param="contents.0"), errors.ClientError, "INVALID_ARGUMENT"),
        (Unauthorized("who?"), errors.ClientError, "UNAUTHENTICATED"),
        (Forbidden("no"), errors.ClientError, "PERMISSION_DENIED"),
        (RateLimited("slow", retry_after=2.5), errors.ClientError, "RESOURCE_EXHAUSTED"),
        (InternalError("bug"), errors.ServerError, "INTERNAL"),
        (UpstreamBroken("cut"), errors.ServerError, "UNAVAILABLE"),
        (UpstreamOverloaded("busy"), errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_errors_are_what_the_sdk_raises(error: FreeholdError, kind: type[errors.APIError], status: str) -> None:
    talker = client(lambda *_: error)
    with pytest.raises(kind) as caught:
        talker.models.generate_content(model="small", contents="hi")
    assert (caught.value.code, caught.value.status, caught.value.message) == (error.status, status, error.text)
    details = {detail["@type"].rpartition(".")[2]: detail for detail in caught.value.details["error"]["details"]}
    assert details["ErrorInfo"]["reason"] == error.code.upper()
    assert details["RequestInfo"]["requestId"] == "req_1"
    assert ("BadRequest" in details) == (error.param is not None)
    assert details.get("RetryInfo", {}).get("retryDelay") == ("2.5s" if error.retry_after else None)


def test_a_broken_stream_raises_in_the_sdk() -> None:
    def handler(*_: Any) -> bytes:
        writer = gemini.StreamWriter("r", "m")
        return writer.write(TextDelta("half")) + writer.fail(UpstreamOverloaded("gone"), "req_2")

    chunks = client(handler).models.generate_content_stream(model="small", contents="hi")
    assert next(chunks).text == "half"
    with pytest.raises(errors.ServerError, match="gone"):
        next(chunks)


# Counting and embedding


def test_tokens_are_counted() -> None:
    def handler(call: gemini.Call, body: bytes) -> bytes:
        assert call == ("small", "countTokens")
        assert gemini.peek_count(body, model=call.model).model == "small"
        assert gemini.read_count_request(body, model=call.model).turns[0].parts == [Text("hi")]
        return gemini.write_count_reply(31)

    assert client(handler).models.count_tokens(model="small", contents="hi").total_tokens == 31


def test_embeddings() -> None:
    asked: list[EmbeddingRequest] = []

    def handler(call: gemini.Call, body: bytes) -> bytes:
        assert embed.peek(body, model=call.model, method=call.method).model == "tiny"
        request = embed.read_request(body, model=call.model, method=call.method)
        asked.append(request)
        vectors = [[0.5, float(index)] for index, _ in enumerate(request.inputs)]
        return embed.write_reply(EmbeddingReply("tiny", list(vectors), Usage(4)), method=call.method)

    found = client(handler).models.embed_content(
        model="tiny",
        contents=["one", "two"],
        config=types.EmbedContentConfig(task_type="RETRIEVAL_DOCUMENT", title="T", output_dimensionality=2),
    )
    assert [one.values for one in found.embeddings] == [[0.5, 0.0], [0.5, 1.0]]
    (request,) = asked
    assert (request.model, request.inputs, request.task, request.title, request.dimensions, request.unknown) == (
        "tiny", ["one", "two"], "document", "T", 2, {},
    )  # fmt: skip
