"""The `ollama` package: Ollama's dialect, for all the programs that know no other, from any provider."""

from collections.abc import Iterator
from typing import Any

import ollama
import pytest
from pydantic import BaseModel
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
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
def client(gateway: Running) -> Iterator[ollama.Client]:
    with ollama.Client(host=gateway.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as made:
        yield made


@pytest.mark.parametrize("provider", PROVIDERS)
class TestOllama:
    def test_chat(self, client: ollama.Client, provider: str) -> None:
        reply = client.chat(
            model=f"{provider}/fake", messages=[{"role": "user", "content": "hi"}], options={"num_predict": 50}
        )
        assert reply.message.content
        assert reply.done
        assert reply.done_reason == "stop"
        assert reply.prompt_eval_count
        assert reply.eval_count

    def test_streamed_equals_whole(self, client: ollama.Client, provider: str) -> None:
        messages: Any = [{"role": "user", "content": "hi"}]
        whole = client.chat(model=f"{provider}/fake", messages=messages)
        chunks = list(client.chat(model=f"{provider}/fake", messages=messages, stream=True))
        assert "".join(chunk.message.content or "" for chunk in chunks) == whole.message.content
        assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].eval_count == whole.eval_count

    @pytest.mark.parametrize("streamed", [False, True])
    def test_tools_round_trip(self, client: ollama.Client, provider: str, streamed: bool) -> None:
        model, messages = f"{provider}/fake-tools", [{"role": "user", "content": "Weather in Oslo?"}]
        if streamed:
            chunks = list(client.chat(model=model, messages=messages, tools=TOOLS, stream=True))
            (message,) = [chunk.message for chunk in chunks if chunk.message.tool_calls]
        else:
            message = client.chat(model=model, messages=messages, tools=TOOLS).message
        assert message.tool_calls
        call = message.tool_calls[0].function
        assert call.name == "get_weather"
        assert isinstance(call.arguments["city"], str)
        history: list[Any] = [*messages, message, {"role": "tool", "tool_name": call.name, "content": "sunny"}]
        assert client.chat(model=model, messages=history, tools=TOOLS).message.content

    def test_a_typed_answer(self, client: ollama.Client, provider: str) -> None:
        reply = client.chat(
            model=f"{provider}/fake",
            messages=[{"role": "user", "content": "refund?"}],
            format=Intent.model_json_schema(),
        )
        Intent.model_validate_json(reply.message.content or "")

    def test_generate(self, client: ollama.Client, provider: str) -> None:
        whole = client.generate(model=f"{provider}/fake", prompt="hi", system="Be brief.")
        streamed = list(client.generate(model=f"{provider}/fake", prompt="hi", system="Be brief.", stream=True))
        assert whole.response
        assert "".join(chunk.response for chunk in streamed) == whole.response
        assert streamed[-1].done

    def test_thinking(self, client: ollama.Client, provider: str) -> None:
        reply = client.chat(model=f"{provider}/fake-thinking", messages=[{"role": "user", "content": "hi"}], think=True)
        assert reply.message.content
        assert reply.message.thinking

    @pytest.mark.parametrize("status", [400, 429, 503])
    def test_errors(self, client: ollama.Client, provider: str, status: int) -> None:
        messages: Any = [{"role": "user", "content": "hi"}]
        with pytest.raises(ollama.ResponseError) as caught:
            client.chat(model=f"{provider}/fake-status-{status}", messages=messages)
        assert caught.value.status_code == status
        with pytest.raises(ollama.ResponseError):
            list(client.chat(model=f"{provider}/fake-status-{status}", messages=messages, stream=True))

    def test_a_broken_stream_never_looks_finished(self, client: ollama.Client, provider: str) -> None:
        messages: Any = [{"role": "user", "content": "hi"}]
        chunks = []

        def read() -> None:
            for chunk in client.chat(model=f"{provider}/fake-fault-cut-mid-event", messages=messages, stream=True):
                chunks.append(chunk.done)

        with pytest.raises(ollama.ResponseError):
            read()
        assert True not in chunks


@pytest.mark.parametrize("provider", ["openai", "gemini", "cohere"])
def test_embeddings(client: ollama.Client, provider: str) -> None:
    reply = client.embed(model=f"{provider}/fake", input=["one", "two"])
    assert len(reply.embeddings) == 2
    assert client.embeddings(model=f"{provider}/fake", prompt="one").embedding == pytest.approx(reply.embeddings[0])


def test_models_are_listed_and_shown(client: ollama.Client) -> None:
    assert "fast" in {model.model for model in client.list().models}
    assert client.show("fast").capabilities is not None
    client.ps()


def test_a_model_without_a_provider_and_the_tag_latest(client: ollama.Client) -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    assert client.chat(model="fast", messages=messages).message.content
    assert client.generate(model="fast").done, "an empty prompt only loads the model"


def test_a_wrong_key_and_an_unknown_model(gateway: Running, client: ollama.Client) -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    headers = {"Authorization": "Bearer fh-not-a-key-at-all"}
    with ollama.Client(host=gateway.url, headers=headers) as stranger, pytest.raises(ollama.ResponseError) as caught:
        stranger.chat(model="fast", messages=messages)
    assert caught.value.status_code == 401
    with pytest.raises(ollama.ResponseError, match="did you mean 'fast'") as unknown:
        client.chat(model="fats", messages=messages)
    assert unknown.value.status_code == 404
