"""Every row of providers.toml, live: clients of two dialects through the gateway to a fake that speaks the row's own.

Whole and streamed answers, a tool's round trip, an error, a stream that breaks; then each operation that the row
lists. A row or a path that no test knows fails here.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from renting import (
    ACCESS_KEY,
    CLIENT_SECRET,
    SECRET_KEY,
    UPSTREAM_KEY,
    Answer,
    World,
    events,
    read_chat,
    read_messages,
    rented,
)

from freehold.call.languages import PROVIDER
from freehold.call.providers import rows
from freehold.fake.openai import vector

TEXT = "Hello from the fake provider: nobody was billed for this."
CLIENTS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
READ = {"chat": read_chat, "messages": read_messages}
TALKING = [name for name, row in rows().items() if row.dialect in PROVIDER]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OWN_PATH = {
    "chat": "/chat/completions",
    "mistral": "/chat/completions",
    "messages": "/v1/messages",
    "gemini": "/models/{model}:{method}",
    "converse": "/model/{model}/converse",
    "cohere": "/v2/chat",
    "ollama": "/api/chat",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with rented(tmp_path_factory.mktemp("rented"), AZURE_CLIENT_SECRET=CLIENT_SECRET, **keys) as made:
        yield made


def talk(client: str, model: str, stream: bool = False, **more: Any) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    if client == "chat" and stream:
        body["stream_options"] = {"include_usage": True}
    return body | more


def assert_credentials(world: World, name: str) -> None:
    """The row's way to carry a key, and not the client's."""
    header = world.header
    match rows()[name].auth:
        case "bearer":
            assert header["authorization"] == f"Bearer {UPSTREAM_KEY}"
        case "aws":
            assert header["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/")
        case "google":
            assert header["authorization"] == "Bearer token-for-google"
        case "azure":
            assert header["authorization"] == "Bearer token-for-entra"
        case own:
            assert header[own] == UPSTREAM_KEY
            assert "authorization" not in header
    assert header.get("content-type") == "application/json"


# Conversations


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", TALKING)
def test_an_answer(world: World, name: str, client: str, stream: bool) -> None:
    answer = world.ask(CLIENTS[client], talk(client, f"{name}/fake", stream))
    assert answer.status == 200, answer.body
    said = READ[client](answer.body, stream)
    assert (said.text, said.calls) == (TEXT, [])
    assert said.finish in ("stop", "end_turn")
    row = world.fake.served.rows[-1]
    assert (row.model, row.stream, row.status) == ("fake", stream, 200)
    assert (said.input, said.output) == (row.input_tokens, row.output_tokens)
    assert row.client_request_id
    assert world.path.startswith(f"/{name}/")
    if client not in rows()[name].paths:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = OWN_PATH[rows()[name].dialect].format(model="fake", method=method)
        assert world.path.endswith(path + ("-stream" if stream and "converse" in path else ""))
    assert_credentials(world, name)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", TALKING)
def test_a_tools_round_trip(world: World, name: str, client: str, stream: bool) -> None:
    model = f"{name}/fake-tools"
    if client == "chat":
        tools: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]
    else:
        tools = [{"name": "get_weather", "description": "w", "input_schema": CITY}]
    first = world.ask(CLIENTS[client], talk(client, model, stream, tools=tools))
    assert first.status == 200, first.body
    said = READ[client](first.body, stream)
    assert said.finish in ("tool_calls", "tool_use")
    ((identity, tool, arguments),) = said.calls
    assert (tool, arguments) == ("get_weather", {"city": "fake"})
    if client == "chat":
        call = {"name": tool, "arguments": json.dumps(arguments)}
        more = [
            {"role": "assistant", "tool_calls": [{"id": identity, "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": identity, "content": "sunny"},
        ]
    else:
        more = [
            {"role": "assistant", "content": [{"type": "tool_use", "id": identity, "name": tool, "input": arguments}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": identity, "content": "sunny"}]},
        ]
    body = talk(client, model, stream, tools=tools)
    body["messages"] += more
    second = world.ask(CLIENTS[client], body)
    assert second.status == 200, second.body
    assert READ[client](second.body, stream).text == TEXT
    assert "sunny" in json.dumps(world.sent)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", TALKING)
def test_a_provider_that_refuses(world: World, name: str, client: str, stream: bool) -> None:
    answer = world.ask(CLIENTS[client], talk(client, f"{name}/limited", stream))
    assert answer.status == 429, answer.body
    error = answer.json["error"]
    assert "slow down, please" in error["message"]
    assert error["type"] == {"chat": "rate_limit_error", "messages": "rate_limit_error"}[client]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", TALKING)
def test_a_stream_that_breaks_ends_in_an_error(world: World, name: str, client: str) -> None:
    answer = world.ask(CLIENTS[client], talk(client, f"{name}/broken", stream=True))
    assert answer.status == 200, answer.body
    assert b"Hello" in answer.body
    last = events(answer.body)[-1]
    assert last["error"]["message"]
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body


# The operations of each row


def embeddings(world: World, model: str) -> None:
    texts = ["one fish", "two fish", "red fish"]
    answer = world.ask("/v1/embeddings", {"model": model, "input": texts})
    value = answer.json
    assert answer.status == 200, value
    for one, text in zip(value["data"], texts, strict=True):
        assert one["embedding"] == pytest.approx(vector(text))
    assert [one["index"] for one in value["data"]] == [0, 1, 2]
    assert value["usage"]["prompt_tokens"] == 6


def multimodal_embeddings(world: World, model: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    answer = world.ask("/v1/embeddings", {"model": model, "input": [{"content": [image]}]})
    assert answer.status == 200, answer.body
    assert world.path.endswith("/multimodalembeddings")


def rerank(world: World, model: str) -> None:
    documents = ["apples and pears", "the sea at night", "a night at sea, and the sea"]
    asked = {"model": model, "query": "the sea at night", "documents": documents, "top_n": 2}
    for path in ("/v1/rerank", "/v2/rerank"):
        answer = world.ask(path, asked)
        assert answer.status == 200, answer.body
        assert [one["index"] for one in answer.json["results"]] == [1, 2]


def embed_content(world: World, model: str) -> None:
    """Gemini's own method for one content."""
    body = {"content": {"parts": [{"text": "one fish"}]}}
    answer = world.ask(f"/v1beta/models/{model}:embedContent", body)
    assert answer.status == 200, answer.body
    assert answer.json["embedding"]["values"] == pytest.approx(vector("one fish"))
    assert world.sent == body
    assert world.path.endswith(":embedContent")


def moderations(world: World, model: str) -> None:
    answer = world.ask("/v1/moderations", {"model": model, "input": ["sexual", "fine"]})
    assert answer.status == 200, answer.body
    assert [one["flagged"] for one in answer.json["results"]] == [True, False]


def chat_moderations(world: World, model: str) -> None:
    talk = [{"role": "user", "content": "violence"}]
    answer = world.ask("/v1/chat/moderations", {"model": model, "input": talk})
    assert answer.status == 200, answer.body
    assert answer.json["results"][0]["categories"]["violence_and_threats"] is True
    assert world.path.endswith("/v1/chat/moderations")


def images(world: World, model: str) -> None:
    answer = world.ask("/v1/images/generations", {"model": model, "prompt": "a house"})
    assert answer.status == 200, answer.body
    assert answer.json["data"][0]["b64_json"]


def form(model: str, field: str, **fields: str) -> tuple[bytes, str]:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"model": model, **fields}.items()
    ]
    file = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="f.wav"\r\n\r\nRIFFdata\r\n--x--\r\n'
    return ("".join(parts) + file).encode(), "multipart/form-data; boundary=x"


def image_edits(world: World, model: str) -> None:
    answer = world.ask("/v1/images/edits", *form(model, "image", prompt="red"))
    assert answer.status == 200, answer.body
    assert answer.json["data"][0]["b64_json"]


def image_variations(world: World, model: str) -> None:
    answer = world.ask("/v1/images/variations", *form(model, "image"))
    assert answer.status == 200, answer.body


def predict(world: World, model: str) -> None:
    images(world, model.replace("fake", "imagen-4"))
    assert world.path.endswith("/models/imagen-4:predict")


def speech(world: World, model: str) -> None:
    answer = world.ask("/v1/audio/speech", {"model": model, "input": "hello", "voice": "alloy"})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "audio/mpeg"
    assert len(answer.body) > 100


def hear(task: str) -> Callable[[World, str], None]:
    def ask(world: World, model: str) -> None:
        answer = world.ask(f"/v1/audio/{task}", *form(model, "file"))
        assert answer.status == 200, answer.body
        assert answer.json["text"].startswith("Heard f.wav, 8 bytes")
        assert world.path.split("?")[0].endswith(f"/audio/{task}")

    return ask


def completions(world: World, model: str) -> None:
    answer = world.ask("/v1/completions", {"model": model, "prompt": "hi"})
    assert answer.status == 200, answer.body
    assert answer.json["choices"][0]["text"] == TEXT


def passes(path: str, body: dict[str, Any], reads: Callable[[Answer], str]) -> Callable[[World, str], None]:
    """A client of the same dialect: its body arrives as it was but for the model, what nobody knows included."""

    def ask(world: World, model: str) -> None:
        asked = {"model": model, **body, "metadata": {"user_id": "u1"}}
        answer = world.ask(path, asked)
        assert answer.status == 200, answer.body
        assert reads(answer) == TEXT
        assert world.sent == {**asked, "model": model.partition("/")[2]}
        stream = world.ask(path, {**asked, "stream": True})
        assert stream.status == 200
        assert "Hello " in stream.body.decode()
        assert world.sent["metadata"] == {"user_id": "u1"}

    return ask


def chat(world: World, model: str) -> None:
    answer = world.ask("/v1/chat/completions", talk("chat", model))
    assert read_chat(answer.body, False).text == TEXT
    assert "/chat/completions" in world.path


HI = [{"role": "user", "content": "hi"}]
HI_COHERE = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
responses = passes("/v1/responses", {"input": "hi"}, lambda answer: answer.json["output"][0]["content"][0]["text"])
messages = passes("/v1/messages", {"messages": HI, "max_tokens": 9}, lambda answer: answer.json["content"][0]["text"])
cohere = passes(
    "/v2/chat", {"messages": HI_COHERE, "stream": False}, lambda answer: answer.json["message"]["content"][0]["text"]
)
mistral = passes(
    "/mistral/v1/chat/completions", {"messages": HI}, lambda answer: answer.json["choices"][0]["message"]["content"]
)
ollama = passes("/api/chat", {"messages": HI, "stream": False}, lambda answer: answer.json["message"]["content"])
ollama_generate = passes("/api/generate", {"prompt": "hi", "stream": False}, lambda answer: answer.json["response"])


def gemini(world: World, model: str) -> None:
    asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "labels": {"team": "a"}}
    for method in ("generateContent", "streamGenerateContent?alt=sse"):
        answer = world.ask(f"/v1beta/models/{model}:{method}", asked)
        assert answer.status == 200, answer.body
        assert b"Hello " in answer.body
        assert world.path.endswith(f"/models/{model.partition('/')[2]}:{method}")
        assert world.sent == asked


def count(world: World, model: str) -> None:
    asked = {"model": model, "messages": HI}
    answer = world.ask("/v1/messages/count_tokens", asked)
    assert answer.status == 200, answer.body
    assert answer.json["input_tokens"] == -(-len(world.fake.served.last.body) // 4)  # type: ignore[union-attr]


def messages_at_vertex(world: World, model: str) -> None:
    """Anthropic's own language in Vertex' envelope: the version in the body, the model and the stream in the path."""
    asked = {"model": model, "messages": HI, "max_tokens": 9, "metadata": {"user_id": "u1"}}
    wanted = {name: value for name, value in asked.items() if name != "model"}
    for stream, method in ((False, "rawPredict"), (True, "streamRawPredict")):
        answer = world.ask("/v1/messages", {**asked, "stream": stream})
        assert answer.status == 200, answer.body
        assert read_messages(answer.body, stream).text == TEXT
        assert world.sent == {**wanted, "stream": stream, "anthropic_version": "vertex-2023-10-16"}
        place = "/vertex/v1/projects/lab-1/locations/us-east5/publishers/anthropic/models"
        assert world.path == f"{place}/claude-fake:{method}"
        assert "anthropic-version" not in world.header


def count_at_vertex(world: World, model: str) -> None:
    count(world, model)
    assert world.path.endswith("/publishers/anthropic/models/count-tokens:rawPredict")
    assert world.sent == {"model": "claude-fake", "messages": HI, "anthropic_version": "vertex-2023-10-16"}


OPERATIONS: dict[str, Callable[[World, str], None]] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
    "cohere": cohere,
    "mistral": mistral,
    "ollama": ollama,
    "ollama_generate": ollama_generate,
    "completions": completions,
    "count": count,
    "embeddings": embeddings,
    "embed_content": embed_content,
    "multimodal_embeddings": multimodal_embeddings,
    "rerank": rerank,
    "moderations": moderations,
    "chat_moderations": chat_moderations,
    "images": images,
    "image_edits": image_edits,
    "image_variations": image_variations,
    "predict": predict,
    "speech": speech,
    "transcriptions": hear("transcriptions"),
    "translations": hear("translations"),
}
ELSEWHERE = {"models", "converse", "converse_stream", "gemini_stream", "messages_stream", "voyage", "jina"}
"""Lists (call/discover), what the conversations above went through, and the names of two that hold none."""
SPECIAL: dict[tuple[str, str], tuple[str, Callable[[World, str], None]]] = {
    ("bedrock", "embeddings"): ("amazon.titan-embed-text-v2:0", embeddings),
    ("vertex", "messages"): ("claude-fake", messages_at_vertex),
    ("vertex", "messages_count"): ("claude-fake", count_at_vertex),
}
"""Another model than `fake`, and another test."""
LISTED = [(name, operation) for name, row in rows().items() for operation in row.paths if operation not in ELSEWHERE]


@pytest.mark.parametrize(("name", "operation"), LISTED)
def test_an_operation_of_a_row(world: World, name: str, operation: str) -> None:
    model, test = SPECIAL.get((name, operation)) or ("fake", OPERATIONS[operation])
    test(world, f"{name}/{model}")
    assert world.path.startswith(f"/{name}/")


# More inputs than a call takes


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        ("gemini/text-embedding", 3),
        ("cohere/embed-v4", 3),
        ("bedrock/cohere.embed-english-v3", 3),
        ("bedrock/amazon.titan-embed-text-v2:0", 250),
        ("bedrock/amazon.nova-2-multimodal-embeddings-v1:0", 250),
        ("openai/text-embedding-3-small", 1),
        ("ollama/nomic-embed-text", 1),
    ],
)
def test_more_inputs_than_one_call_takes(world: World, model: str, calls: int) -> None:
    texts = [f"text number {index}" for index in range(250)]
    before = world.fake.served.totals.requests
    answer = world.ask("/v1/embeddings", {"model": model, "input": texts})
    assert answer.status == 200, answer.body
    assert world.fake.served.totals.requests - before == calls
    value = answer.json
    for index, (one, text) in enumerate(zip(value["data"], texts, strict=True)):
        assert one["index"] == index
        assert one["embedding"] == pytest.approx(vector(text))
    billed = sum(row.input_tokens for row in list(world.fake.served.rows)[-calls:])
    assert billed > 250
    assert value["usage"]["prompt_tokens"] == billed
