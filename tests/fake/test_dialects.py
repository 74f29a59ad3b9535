"""The dialects that only some providers speak, as the readers of those dialects and the bare wire see them."""

import json
from typing import Any

import pytest

from freehold.dialects import cohere, converse, mistral, ollama
from freehold.dialects.conversation import (
    Finished,
    Metered,
    OpaqueDelta,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
)
from freehold.dialects.eventstream import CONTENT_TYPE, FrameParser
from freehold.errors import UpstreamLimited
from freehold.fake import FakeProvider
from freehold.fake.ask import Request
from freehold.fake.engine import Engine
from freehold.fake.routes import route

TEXT = "Hello from the fake provider: nobody was billed for this."
THOUGHT = "Let me think about this for a moment."
HI = {"messages": [{"role": "user", "content": "hi"}]}
HI_CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]}
TOOL_CONFIG = {"toolConfig": {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}]}}
LANGUAGES: dict[str, Any] = {"converse": converse, "cohere": cohere, "mistral": mistral, "ollama": ollama}
TYPES = {"converse": CONTENT_TYPE, "ollama": b"application/x-ndjson"}


def request_for(dialect: str, model: str, stream: bool, tools: bool = False) -> tuple[str, dict[str, Any]]:
    if dialect == "converse":
        return f"/model/{model}/converse{'-stream' if stream else ''}", HI_CONVERSE | (TOOL_CONFIG if tools else {})
    path = {"cohere": "/v2/chat", "mistral": "/mistral/v1/chat/completions", "ollama": "/api/chat"}[dialect]
    return path, {"model": model, **HI, "stream": stream, **(TOOLS if tools else {})}


def read(dialect: str, body: bytes) -> list[Any]:
    reader = LANGUAGES[dialect].StreamReader()
    events = [*reader.feed(body), *reader.close()]
    assert reader.complete
    return events


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", LANGUAGES)
async def test_text_and_thoughts(ask: Any, fake: FakeProvider, dialect: str, stream: bool) -> None:
    path, body = request_for(dialect, "fake-thinking", stream)
    seen = await ask(path=path, body=body)
    assert b"http/1.1 200" in seen.head
    row = fake.served.rows[-1]
    assert (row.dialect, row.model, row.stream, row.complete) == (dialect, "fake-thinking", stream, True)
    if stream:
        assert TYPES.get(dialect, b"text/event-stream") in seen.head
        events = read(dialect, seen.body)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        thought = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
        usage = next(event.usage for event in events if isinstance(event, Metered))
        assert next(event.finish for event in events if isinstance(event, Finished)) == "stop"
    else:
        reply = LANGUAGES[dialect].read_reply(seen.body)
        parts = {type(part).__name__: getattr(part, "text", "") for part in reply.choices[0].parts}
        text, thought, usage = parts["Text"], parts["Thinking"], reply.usage
        assert reply.choices[0].finish == "stop"
    assert (text, thought) == (TEXT, THOUGHT)
    assert (usage.input, usage.output) == (row.input_tokens, row.output_tokens)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", LANGUAGES)
async def test_tools(ask: Any, dialect: str, stream: bool) -> None:
    path, body = request_for(dialect, "fake-tools", stream, tools=True)
    seen = await ask(path=path, body=body)
    if stream:
        events = read(dialect, seen.body)
        assert [event.name for event in events if isinstance(event, ToolStarted)] == ["get_weather"]
        arguments = "".join(event.arguments for event in events if isinstance(event, ToolDelta))
        assert next(event.finish for event in events if isinstance(event, Finished)) == "tool_calls"
    else:
        choice = LANGUAGES[dialect].read_reply(seen.body).choices[0]
        (call,) = [part for part in choice.parts if type(part).__name__ == "ToolCall"]
        assert (call.name, choice.finish) == ("get_weather", "tool_calls")
        arguments = call.arguments
    assert json.loads(arguments) == {"city": "fake"}


@pytest.mark.parametrize("dialect", LANGUAGES)
async def test_errors_and_events(ask: Any, dialect: str) -> None:
    for stream in (False, True):
        path, body = request_for(dialect, "fake-status-429", stream)
        seen = await ask(path=path, body=body)
        assert b"http/1.1 429" in seen.head
        fields = dict(line.split(b": ", 1) for line in seen.head.split(b"\r\n")[1:])
        error = LANGUAGES[dialect].read_error(429, fields, seen.body)
        assert isinstance(error, UpstreamLimited)
        assert "Rate limit reached" in error.message
    path, body = request_for(dialect, "fake-events-7", True)
    events = read(dialect, (await ask(path=path, body=body)).body)
    assert len([event for event in events if isinstance(event, TextDelta) and event.text]) == 7


async def test_frames_are_whole_and_numbered_requests_do_not_spoil_them(ask: Any) -> None:
    path, body = request_for("converse", "fake-tools", True, tools=True)
    for _ in range(2):
        frames = FrameParser().feed((await ask(path=path, body=body)).body)
        kinds = [frame.headers[":event-type"] for frame in frames]
        assert kinds[0] == "messageStart"
        assert kinds[-2:] == ["messageStop", "metadata"]


async def test_an_exception_ends_a_stream_of_frames(ask: Any) -> None:
    path, body = request_for("converse", "fake-fault-error-event", True)
    frames = FrameParser().feed((await ask(path=path, body=body)).body)
    assert frames[-1].headers[":exception-type"] == "serviceUnavailableException"


async def test_chunks_on_demand(ask: Any) -> None:
    path, body = request_for("mistral", "fake-chunks", False)
    content = json.loads((await ask(path=path, body=body)).body)["choices"][0]["message"]["content"]
    assert [chunk["type"] for chunk in content] == ["text", "reference"]
    path, body = request_for("mistral", "fake-chunks+thinking", True)
    events = read("mistral", (await ask(path=path, body=body)).body)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == TEXT
    (chunk,) = [event.value for event in events if isinstance(event, OpaqueDelta)]
    assert "reference_ids" in json.dumps(chunk)


async def test_mistral_refuses_what_it_does_not_know(ask: Any) -> None:
    path, body = request_for("mistral", "m", True)
    seen = await ask(path=path, body=body | {"stream_options": {"include_usage": True}})
    assert b"http/1.1 422" in seen.head
    assert json.loads(seen.body)["detail"][0]["type"] == "extra_forbidden"
    turns = [{"role": "tool", "tool_call_id": "a", "content": "x"}, {"role": "user", "content": "y"}]
    seen = await ask(path=path, body=body | {"messages": turns})
    assert b"http/1.1 400" in seen.head
    assert "after role 'tool'" in json.loads(seen.body)["message"]


async def test_ollama_streams_unless_told_not_to_and_lists_its_models(ask: Any, fake: FakeProvider) -> None:
    seen = await ask(path="/api/generate", body={"model": "m", "prompt": "hi"})
    lines = [json.loads(line) for line in seen.body.splitlines()]
    assert "".join(line["response"] for line in lines) == TEXT
    assert [line["done"] for line in lines][-2:] == [False, True]
    assert fake.served.rows[-1].stream
    seen = await ask(path="/api/chat", body={"model": "m", **HI, "stream": False, "format": CITY})
    assert json.loads(json.loads(seen.body)["message"]["content"]) == {"city": "fake"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/embed", {"model": "m", "texts": ["x"] * 97, "input_type": "search_query"}, 400),
        ("/v2/embed", {"model": "m", "texts": ["x"] * 96, "input_type": "search_query"}, 200),
        ("/model/m/invoke", {"inputText": "x"}, 200),
        ("/model/m/invoke", {"inputText": ["x"]}, 400),
        ("/model/m/invoke", {"inputText": "x", "model": "m"}, 400),
        ("/model/m/invoke", {"texts": ["x"]}, 400),
        ("/model/m/invoke", {"texts": ["x"], "input_type": "search_query"}, 200),
        ("/voyage/v1/embeddings", {"model": "m", "input": ["x"] * 1001}, 400),
        ("/voyage/v1/multimodalembeddings", {"model": "m", "inputs": [{"content": []}]}, 200),
        ("/jina/v1/embeddings", {"model": "m", "input": [{"text": "x"}, "y"]}, 200),
        ("/api/embed", {"model": "m", "input": ["x"]}, 200),
        ("/api/embeddings", {"model": "m", "prompt": "x"}, 200),
        ("/openai/deployments/d/chat/completions", HI, 404),
        ("/openai/deployments/d/chat/completions?api-version=2024-10-21", HI, 200),
        ("/openai/v1/chat/completions", HI, 400),
        ("/v1/projects/p/locations/l/publishers/google/models/g:generateContent", {"contents": []}, 200),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict", {**HI, "max_tokens": 9}, 400),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict",
            {**HI, "max_tokens": 9, "anthropic_version": "vertex-2023-10-16"},
            200,
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict",
            {**HI, "max_tokens": 9, "anthropic_version": "vertex-2023-10-16", "model": "c"},
            400,
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict",
            {**HI, "max_tokens": 9, "anthropic_version": "vertex-2023-10-16"},
            400,
        ),
    ],
)
async def test_what_each_takes(ask: Any, fake: FakeProvider, path: str, body: dict[str, Any], status: int) -> None:
    seen = await ask(path=path, body=body)
    assert f"http/1.1 {status}".encode() in seen.head, seen.body
    assert fake.served.rows[-1].status == status
    if status == 200:
        assert fake.served.rows[-1].input_tokens > 0


@pytest.mark.parametrize(
    ("url", "operation", "model", "stream"),
    [
        (b"/model/arn%3Aaws%3Abedrock%3Ax%2Fy-v1%3A0/converse-stream", "converse", "arn:aws:bedrock:x/y-v1:0", True),
        (b"/openai/deployments/my-gpt/images/generations?api-version=1", "images", "my-gpt", False),
        (b"/v1beta1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent", "generate", "g", True),
        (b"/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", "count_tokens", "", False),
        (b"/mistral/v1/chat/completions", "mistral_chat", "", False),
        (b"/mistral/v1/embeddings", "embeddings", "", False),
    ],
)
def test_paths(url: bytes, operation: str, model: str, stream: bool) -> None:
    found = route(url)
    assert (found.operation, found.model, found.stream) == (operation, model, stream)


@pytest.mark.parametrize(
    ("path", "authorization", "status"),
    [
        ("/model/m/converse", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/bedrock/aws4_request", 200),
        ("/model/m/converse", "AWS4-HMAC-SHA256 Credential=AKIDOTHER/20260101/us-east-1/bedrock/aws4_request", 401),
        ("/model/m/converse", "Bearer AKIDEXAMPLE", 200),
        ("/model/m/converse", "", 401),
        ("/v2/chat", "Bearer AKIDEXAMPLE", 200),
        ("/v2/chat", "Bearer other", 401),
        ("/api/chat", "Bearer AKIDEXAMPLE", 200),
        ("/mistral/v1/chat/completions", "Bearer other", 401),
    ],
)
def test_the_key_to_insist_on(path: str, authorization: str, status: int) -> None:
    engine = Engine(key="AKIDEXAMPLE")
    body = HI_CONVERSE if "/model/" in path else {"model": "m", **HI}
    headers = {b"authorization": authorization.encode()}
    request = Request(b"POST", path.encode(), headers, json.dumps(body).encode(), 0.0)
    assert engine.respond(request).status == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b'{"model": "m", "messages": [1e400], "tools": [{"name": "x"}]}'),
        ("/v1beta/models/m:generateContent", b'{"contents": [], "tools": [1], "toolConfig": 1e400}'),
        ("/model/m/converse", b'{"messages": "x", "toolConfig": {"tools": 7}}'),
        ("/v2/embed", b'{"model": "m", "inputs": [1]}'),
        ("/model/m/invoke", b'{"singleEmbeddingParams": {"text": 1}, "taskType": "SINGLE_EMBEDDING"}'),
        ("/mistral/v1/chat/completions", b'{"model": "m", "messages": 5}'),
    ],
)
def test_what_has_no_shape_is_a_400(path: str, body: bytes) -> None:
    for model in (b"m", b"fake-echo"):
        request = Request(b"POST", path.encode(), {}, body.replace(b'"m"', b'"%b"' % model), 0.0)
        assert Engine().respond(request).status in (200, 400)
