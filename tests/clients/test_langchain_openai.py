"""LangChain's `ChatOpenAI`, on chat completions and on the Responses API, and its embeddings."""

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
APIS = ["chat", "responses"]
NAMES = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
"""Models that can be made to call a tool: one of an unknown name is taken for the newest, which may refuse that."""


class Intent(BaseModel):
    """What a customer wants."""

    intent: str
    sure: bool


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def model(gateway: Running, name: str, api: str = "chat", key: str = KEY) -> ChatOpenAI:
    return ChatOpenAI(
        model=name,
        base_url=gateway.url + "/v1",
        api_key=SecretStr(key),
        max_retries=0,
        timeout=20,
        use_responses_api=api == "responses",
    )


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("provider", PROVIDERS)
class TestLangChain:
    def test_whole(self, gateway: Running, provider: str, api: str) -> None:
        reply = model(gateway, f"{provider}/fake", api).invoke([("system", "Be brief."), ("user", "hi")])
        assert reply.text
        assert reply.usage_metadata is not None
        assert reply.usage_metadata["input_tokens"] > 0
        assert reply.usage_metadata["output_tokens"] > 0

    def test_streamed_equals_whole(self, gateway: Running, provider: str, api: str) -> None:
        chat = model(gateway, f"{provider}/fake", api)
        whole = chat.invoke("hi")
        total: Any = None
        for chunk in chat.stream("hi"):
            total = chunk if total is None else total + chunk
        assert isinstance(total, AIMessageChunk)
        assert total.text == whole.text

    @pytest.mark.asyncio(loop_scope="module")  # LangChain keeps one connection pool for all of its models
    async def test_asyncio(self, gateway: Running, provider: str, api: str) -> None:
        chat = model(gateway, f"{provider}/fake", api)
        assert "".join([chunk.text async for chunk in chat.astream("hi")]) == (await chat.ainvoke("hi")).text

    @pytest.mark.parametrize("streamed", [False, True])
    def test_tools_round_trip(self, gateway: Running, provider: str, api: str, streamed: bool) -> None:
        chat = model(gateway, f"{provider}/fake-tools", api).bind_tools([get_weather])
        question = HumanMessage("Weather in Oslo?")
        reply: Any = None
        if streamed:
            for chunk in chat.stream([question]):
                reply = chunk if reply is None else reply + chunk
        else:
            reply = chat.invoke([question])
        (call,) = reply.tool_calls
        assert call["name"] == "get_weather"
        result = get_weather.invoke(call)
        assert isinstance(result, ToolMessage)
        assert chat.invoke([question, reply, result]).text

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_a_typed_answer(self, gateway: Running, provider: str, api: str, method: Any) -> None:
        chat = model(gateway, f"{provider}/{NAMES[provider]}", api)
        assert isinstance(chat.with_structured_output(Intent, method=method).invoke("refund?"), Intent)

    @pytest.mark.parametrize(
        ("status", "error"),
        [(400, openai.BadRequestError), (429, openai.RateLimitError), (503, openai.InternalServerError)],
    )
    def test_errors(self, gateway: Running, provider: str, api: str, status: int, error: Any) -> None:
        chat = model(gateway, f"{provider}/fake-status-{status}", api)
        with pytest.raises(error):
            chat.invoke("hi")
        with pytest.raises(error):
            list(chat.stream("hi"))


def test_a_stream_counts_its_usage_when_asked(gateway: Running) -> None:
    """With a base URL of one's own LangChain asks for no usage on streams; `stream_usage` turns it on again."""
    chat = ChatOpenAI(model="anthropic/fake", base_url=gateway.url + "/v1", api_key=SecretStr(KEY), stream_usage=True)
    usage = [chunk.usage_metadata for chunk in chat.stream("hi") if chunk.usage_metadata]
    assert sum(part["output_tokens"] for part in usage) > 0


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_the_responses_api_remembers(gateway: Running, provider: str) -> None:
    chat = ChatOpenAI(
        model=f"{provider}/fake",
        base_url=gateway.url + "/v1",
        api_key=SecretStr(KEY),
        use_previous_response_id=True,
    )
    first = chat.invoke("hi")
    assert chat.invoke([HumanMessage("hi"), first, HumanMessage("again")]).text


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_embeddings(gateway: Running, provider: str) -> None:
    embeddings = OpenAIEmbeddings(
        model=f"{provider}/fake",
        base_url=gateway.url + "/v1",
        api_key=SecretStr(KEY),
        check_embedding_ctx_length=False,
    )
    vectors = embeddings.embed_documents(["one", "two"])
    assert len(vectors) == 2
    assert vectors[0] == pytest.approx(embeddings.embed_query("one"))


def test_a_wrong_key_and_an_unknown_model(gateway: Running) -> None:
    with pytest.raises(openai.AuthenticationError):
        model(gateway, "fast", key="fh-not-a-key-at-all").invoke("hi")
    with pytest.raises(openai.NotFoundError, match="did you mean 'fast'"):
        model(gateway, "fats").invoke("hi")
