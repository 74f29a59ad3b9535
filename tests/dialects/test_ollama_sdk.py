"""The official `ollama` client against this dialect: what it sends is read, what we write its types accept.

The client is the real one on an in-memory transport; its pydantic types judge every answer.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import ollama as sdk
import pytest
from ollama import _types as types
from recorded import FILE, Exchange, exchanges, parsed

from freehold.dialects import chat, gemini, messages, ollama
from freehold.dialects.conversation import (
    Choice,
    Conversation,
    Event,
    Finished,
    Image,
    LogprobsDelta,
    Metered,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolResult,
    ToolStarted,
    Usage,
)
from freehold.dialects.embeddings.types import EmbeddingReply
from freehold.dialects.ollama import catalog, embed, generate
from freehold.errors import BadRequest, FreeholdError, NotFound, UpstreamBroken

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg==")
LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Ho", "logprob": -3}]}]}
PARTS: list[Any] = [Thinking("hm"), Text("Hi"), ToolCall("c1", "weather", '{"city": "Paris"}')]
EVENTS: list[Event] = [
    ThinkingDelta("hm"),
    TextDelta("H"),
    TextDelta("i"),
    LogprobsDelta(LOGPROBS),
    ToolStarted(0, "c1", "weather"),
    ToolDelta(0, '{"city": '),
    ToolDelta(0, '"Paris"}'),
    Finished("tool_calls"),
    Metered(Usage(uncached=3, output=2)),
]

Answer = Callable[[str, bytes], bytes]


def client(answer: Answer) -> sdk.Client:
    """`answer` gets path and body; a FreeholdError it raises is written as this dialect does."""

    def handle(request: httpx.Request) -> httpx.Response:
        try:
            return httpx.Response(200, content=answer(request.url.path, request.content))
        except FreeholdError as error:
            return httpx.Response(error.status, content=ollama.write_error(error, "req"))

    return sdk.Client(host="http://gateway.test", transport=httpx.MockTransport(handle))


def talk(path: str, body: bytes) -> bytes:
    """Answers a chat or generate request as a gateway would."""
    form = generate if path == "/api/generate" else ollama
    peek, conversation = form.peek(body), form.read_request(body)
    assert peek.model == conversation.model == "m"
    assert peek.stream == conversation.stream
    if not peek.stream:
        choice = Choice(PARTS, "tool_calls", logprobs=LOGPROBS)
        return form.write_reply(Reply("", "m", [choice], Usage(uncached=3, output=2)), [], 1_700_000_000)
    writer = form.StreamWriter("", "m", 1_700_000_000)
    return b"".join(writer.write(event) for event in EVENTS) + writer.close()


def weather(city: str) -> str:
    """Tells the weather.

    Args:
      city: The city
    """
    return f"rain in {city}"


def test_chat_whole() -> None:
    answer = client(talk).chat("m", messages=[{"role": "user", "content": "x"}], tools=[weather], think=True)
    assert (answer.message.content, answer.message.thinking) == ("Hi", "hm")
    assert answer.message.tool_calls is not None
    assert answer.message.tool_calls[0].function.arguments == {"city": "Paris"}
    assert (answer.done, answer.done_reason, answer.prompt_eval_count, answer.eval_count) == (True, "stop", 3, 2)
    assert answer.logprobs is not None
    assert answer.logprobs[0].token == "Hi"


def test_chat_streamed() -> None:
    lines = list(client(talk).chat("m", messages=[{"role": "user", "content": "x"}], stream=True))
    assert "".join(line.message.content or "" for line in lines) == "Hi"
    assert "".join(line.message.thinking or "" for line in lines) == "hm"
    calls = [call for line in lines for call in line.message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", {"city": "Paris"})]
    assert [line.done for line in lines][-2:] == [False, True]
    assert lines[-1].eval_count == 2


@pytest.mark.parametrize("stream", [False, True])
def test_generate(stream: bool) -> None:
    answer = client(talk).generate("m", "x", stream=stream, images=[PNG], think="low", logprobs=True)
    lines = list(answer) if isinstance(answer, Iterator) else [answer]
    assert "".join(line.response or "" for line in lines) == "Hi"
    assert "".join(line.thinking or "" for line in lines) == "hm"
    assert (lines[-1].done, lines[-1].prompt_eval_count) == (True, 3)


def test_what_the_client_sends_is_read_whole() -> None:
    seen: list[Conversation] = []

    def answer(path: str, body: bytes) -> bytes:
        seen.append(ollama.read_request(body))
        return talk(path, body)

    gateway = client(answer)
    history: list[Any] = [sdk.Message(role="user", content="What?", images=[sdk.Image(value=PNG)])]
    first = gateway.chat(
        "m",
        messages=history,
        tools=[weather],
        format={"type": "object", "properties": {"a": {"type": "string"}}},
        options=sdk.Options(temperature=0.5, num_predict=7, stop=["x"], num_ctx=2048, top_k=3),
        keep_alive=5,
        think="medium",
        logprobs=True,
        top_logprobs=2,
    )
    history += [first.message, sdk.Message(role="tool", content="rain", tool_name="weather")]
    gateway.chat("m", messages=history, stream=False)
    conversation, replay = seen
    assert isinstance(conversation.turns[0].parts[0], Image)
    assert conversation.turns[0].parts[0].media_type == "image/png"
    assert conversation.tools[0].name == "weather"
    assert conversation.tools[0].schema is not None
    assert conversation.tools[0].schema["properties"]["city"]["description"] == "The city"
    assert (conversation.temperature, conversation.max_tokens, conversation.top_k) == (0.5, 7, 3)
    assert conversation.unknown == {"options.num_ctx": 2048, "keep_alive": 5.0}
    assert conversation.output is not None
    assert conversation.output.kind == "schema"
    call, result = replay.turns[1].parts[-1], replay.turns[2].parts[0]
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert call.id == result.id, "the client drops ids: made up again, and matched"
    assert replay.turns[1].parts[0] == Thinking("hm")


def test_errors_reach_the_client_as_its_own() -> None:
    def answer(path: str, body: bytes) -> bytes:
        raise NotFound("model 'm' not found")

    with pytest.raises(sdk.ResponseError) as caught:
        client(answer).chat("m")
    assert (caught.value.error, caught.value.status_code) == ("model 'm' not found", 404)


def test_a_broken_stream_raises_in_the_client() -> None:
    def answer(path: str, body: bytes) -> bytes:
        writer = ollama.StreamWriter("", "m", 1)
        return writer.write(TextDelta("half")) + writer.fail(UpstreamBroken("cut"), "req")

    with pytest.raises(sdk.ResponseError, match="cut"):
        list(client(answer).chat("m", stream=True))


def test_a_client_that_only_loads() -> None:
    def answer(path: str, body: bytes) -> bytes:
        loaded = ollama.answer_loading(body, 1_700_000_000, path == "/api/generate")
        assert loaded is not None
        return loaded

    assert client(answer).chat("m").done_reason == "load"
    assert client(answer).generate("m", keep_alive=0).done_reason == "unload"


# Requests for a provider, as the client's types see them


def test_written_requests_fit_the_types() -> None:
    conversation = chat.read_request(
        json.dumps(
            {
                "model": "m",
                "messages": [
                    {"role": "user", "content": "x"},
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    {"role": "tool", "tool_call_id": "a", "content": "r"},
                ],
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "parameters": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
                        },
                    }
                ],
                "temperature": 1,
                "max_tokens": 5,
                "stream": True,
            }
        ).encode()
    )
    request = types.ChatRequest.model_validate_json(ollama.write_request(conversation, []), strict=True)
    assert request.stream is True
    assert [message["role"] for message in request.messages or ()] == ["user", "assistant", "tool"]


# Embeddings


def test_embed() -> None:
    def answer(path: str, body: bytes) -> bytes:
        if path == "/api/embeddings":
            old = embed.read_old_request(body)
            assert old.inputs == ["a"]
            return embed.write_old_reply(EmbeddingReply("m", [[0.5, 1.0]]))
        request = embed.read_request(body)
        assert (request.inputs, request.dimensions, request.truncate) == (["a", "b"], 2, "end")
        assert embed.peek(body).model == "m"
        reply = EmbeddingReply("m", [[0.5, 0.25], b"\0\0\x80\x3f\0\0\0\x40"], Usage(uncached=4))
        return embed.write_reply(reply)

    found = client(answer).embed("m", ["a", "b"], truncate=True, dimensions=2, options={"num_ctx": 9})
    assert found.embeddings == [[0.5, 0.25], [1.0, 2.0]]
    assert found.prompt_eval_count == 4
    assert client(answer).embeddings("m", "a").embedding == [0.5, 1.0]


# Lists


MODELS = [
    catalog.Model("own/qwen3:8b", size=5_000_000_000, vram=6, modified=1_700_000_000, expires=1_700_000_300,
                  digest="sha256:" + "ab" * 32, format="gguf", family="qwen3", parameters=8_190_735_360,
                  quantization="Q4_K_M", context_length=40960, capabilities=["completion", "tools"]),
    catalog.Model("auto", remote="https://api.example.com"),
]  # fmt: skip


def test_lists() -> None:
    def answer(path: str, body: bytes) -> bytes:
        if path == "/api/show":
            assert catalog.read_show(body) == "own/qwen3:8b"
            return catalog.write_show(MODELS[0])
        return catalog.write_ps(MODELS[:1]) if path == "/api/ps" else catalog.write_tags(MODELS)

    gateway = client(answer)
    first, second = gateway.list().models
    assert (first.model, first.size, first.digest) == ("own/qwen3:8b", 5_000_000_000, "ab" * 32)
    assert first.details is not None
    assert (first.details.parameter_size, first.details.quantization_level) == ("8.2B", "Q4_K_M")
    assert second.digest is not None
    assert len(second.digest) == 64, "ollama list prints the first twelve characters, and must find them"
    assert second.modified_at is not None
    running = gateway.ps().models[0]
    assert (running.context_length, running.size_vram) == (40960, 6)
    shown = gateway.show("own/qwen3:8b")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["qwen3.context_length"] == 40960
    assert shown.modelinfo[shown.modelinfo["general.architecture"] + ".context_length"] == 40960
    assert json.loads(catalog.write_version()) == {"version": catalog.VERSION}


def test_show_needs_a_name() -> None:
    assert catalog.read_show(b'{"name":"old"}') == "old"
    for body in (b"{}", b'{"model":3}', b"["):
        with pytest.raises(BadRequest):
            catalog.read_show(body)


# Recorded answers of other providers, shown to an Ollama client

EXCHANGES = list(exchanges())
READERS: dict[str, Any] = {"openai": chat, "anthropic": messages, "gemini": gemini}
recordings = pytest.mark.skipif(not FILE.exists(), reason="../shared/recorded is absent: recordings not replayed")


@recordings
@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_recorded_answers_reach_an_ollama_client_whole(exchange: Exchange) -> None:
    provider = READERS[exchange.provider]
    if exchange.content_type == "application/json":
        body = ollama.write_reply(provider.read_reply(exchange.body), [], 1)
        lines = [types.ChatResponse.model_validate_json(body)]
        again = ollama.read_reply(body).choices[0].parts
    else:
        reader, writer = provider.StreamReader(), ollama.StreamWriter("", "m", 1)
        events = reader.feed(exchange.body) + reader.close()
        body = b"".join(writer.write(event) for event in events) + writer.close()
        lines = [types.ChatResponse.model_validate_json(line) for line in body.splitlines()]
        back = ollama.StreamReader()
        again = [event for event in back.feed(body) if isinstance(event, TextDelta | ToolStarted | ToolDelta)]
        assert back.complete
    truth = exchange.truth
    calls = [call.function for line in lines for call in line.message.tool_calls or ()]
    assert "".join(line.message.content or "" for line in lines) == truth.text
    assert [(call.name, call.arguments) for call in calls] == truth.calls
    assert lines[-1].done
    assert lines[-1].done_reason == {"tool_calls": "stop"}.get(truth.finish, truth.finish)
    assert (lines[-1].prompt_eval_count, lines[-1].eval_count) == (truth.input, truth.output)
    assert "".join(part.text for part in again if isinstance(part, Text | TextDelta)) == truth.text
    said = [parsed(part.arguments) for part in again if isinstance(part, ToolCall | ToolDelta)]
    assert said == [arguments for _, arguments in truth.calls]
