"""The `mistralai` package, below `/mistral`: chat with its own way of tools, embeddings, the list of models."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from pydantic import BaseModel
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
HI: list[Any] = [{"role": "user", "content": "Where is my refund?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Intent(BaseModel):
    intent: str
    sure: bool


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[Mistral]:
    with Mistral(api_key=KEY, server_url=gateway.url + "/mistral", timeout_ms=20_000) as made:
        yield made


@pytest.mark.parametrize("provider", PROVIDERS)
class TestMistral:
    def test_whole(self, client: Mistral, provider: str) -> None:
        reply = client.chat.complete(model=f"{provider}/fake", messages=HI, max_tokens=50, random_seed=7)
        assert reply.choices[0].message.content
        assert reply.choices[0].finish_reason == "stop"
        assert reply.usage.prompt_tokens
        assert reply.usage.completion_tokens

    def test_streamed_equals_whole(self, client: Mistral, provider: str) -> None:
        whole = client.chat.complete(model=f"{provider}/fake", messages=HI)
        with client.chat.stream(model=f"{provider}/fake", messages=HI) as stream:
            chunks = [event.data for event in stream]
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == whole.choices[0].message.content
        assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]

    def test_asyncio(self, gateway: Running, provider: str) -> None:
        async def ask() -> str:
            async with Mistral(api_key=KEY, server_url=gateway.url + "/mistral") as client:
                stream = await client.chat.stream_async(model=f"{provider}/fake", messages=HI)
                async with stream:
                    return "".join([e.data.choices[0].delta.content or "" async for e in stream if e.data.choices])

        assert asyncio.run(ask())

    @pytest.mark.parametrize("streamed", [False, True])
    def test_tools_round_trip(self, client: Mistral, provider: str, streamed: bool) -> None:
        model = f"{provider}/fake-tools"
        if streamed:
            with client.chat.stream(model=model, messages=HI, tools=TOOLS, tool_choice="any") as stream:
                calls = [
                    call for event in stream for choice in event.data.choices for call in choice.delta.tool_calls or []
                ]
            name, identity = calls[0].function.name, calls[0].id
            arguments = json.loads("".join(str(call.function.arguments) for call in calls))
            message: Any = {
                "role": "assistant",
                "tool_calls": [
                    {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
                ],
            }
        else:
            message = client.chat.complete(model=model, messages=HI, tools=TOOLS, tool_choice="any").choices[0].message
            (call,) = message.tool_calls
            name, identity, arguments = call.function.name, call.id, json.loads(call.function.arguments)
        assert name == "get_weather"
        assert isinstance(arguments["city"], str)
        result = {"role": "tool", "name": name, "tool_call_id": identity, "content": "sunny"}
        final = client.chat.complete(model=model, messages=[*HI, message, result], tools=TOOLS)
        assert final.choices[0].message.content

    def test_a_typed_answer(self, client: Mistral, provider: str) -> None:
        reply = client.chat.parse(Intent, model=f"{provider}/fake", messages=HI)
        assert isinstance(reply.choices[0].message.parsed, Intent)

    @pytest.mark.parametrize("status", [400, 429, 503])
    def test_errors(self, client: Mistral, provider: str, status: int) -> None:
        with pytest.raises(SDKError) as caught:
            client.chat.complete(model=f"{provider}/fake-status-{status}", messages=HI)
        assert caught.value.status_code == status
        with pytest.raises(SDKError):
            client.chat.stream(model=f"{provider}/fake-status-{status}", messages=HI)


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_embeddings(client: Mistral, provider: str) -> None:
    reply = client.embeddings.create(model=f"{provider}/fake", inputs=["one", "two"])
    assert [item.index for item in reply.data] == [0, 1]
    assert reply.data[0].embedding


def test_moderations(client: Mistral) -> None:
    reply = client.classifiers.moderate(model="openai/omni-moderation-latest", inputs=["hello", "hi"])
    assert len(reply.results) == 2
    assert all(isinstance(flag, bool) for flag in reply.results[0].categories.values())


def test_models_are_listed(client: Mistral) -> None:
    assert "fast" in {model.id for model in client.models.list().data}


def test_a_wrong_key_and_an_unknown_model(gateway: Running, client: Mistral) -> None:
    with (
        Mistral(api_key="fh-not-a-key-at-all", server_url=gateway.url + "/mistral") as stranger,
        pytest.raises(SDKError) as caught,
    ):
        stranger.chat.complete(model="fast", messages=HI)
    assert caught.value.status_code == 401
    with pytest.raises(SDKError, match="did you mean 'fast'") as unknown:
        client.chat.complete(model="fats", messages=HI)
    assert unknown.value.status_code == 404
