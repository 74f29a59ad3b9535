"""Pydantic AI: its agents over chat completions, Responses and Anthropic messages."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
APIS = ["chat", "responses", "messages"]
NAMES = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
"""Models that can be made to call a tool: one of an unknown name is taken for the newest, which may refuse that."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Intent(BaseModel):
    intent: str
    sure: bool


class Models:
    """Models over two SDK clients that do not retry: their waits are no part of what is tested."""

    def __init__(self, url: str, key: str) -> None:
        self.openai = openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=20)
        self.anthropic = anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=20)

    def __call__(self, api: str, name: str) -> Any:
        if api == "messages":
            return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=self.anthropic))
        kind = OpenAIChatModel if api == "chat" else OpenAIResponsesModel
        return kind(name, provider=OpenAIProvider(openai_client=self.openai))

    async def close(self) -> None:
        await self.openai.close()
        await self.anthropic.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(gateway: Running) -> AsyncIterator[Models]:
    models = Models(gateway.url, KEY)
    yield models
    await models.close()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("provider", PROVIDERS)
class TestPydanticAi:
    async def test_streamed_equals_whole(self, model: Models, provider: str, api: str) -> None:
        agent = Agent(model(api, f"{provider}/fake"), instructions="Be brief.")
        whole = await agent.run("hi")
        assert whole.output
        assert whole.usage.input_tokens > 0
        assert whole.usage.output_tokens > 0
        async with agent.run_stream("hi") as stream:
            assert "".join([text async for text in stream.stream_text(delta=True)]) == whole.output
            assert stream.usage.output_tokens == whole.usage.output_tokens

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_the_loop_with_a_tool(self, model: Models, provider: str, api: str, streamed: bool) -> None:
        agent = Agent(model(api, f"{provider}/fake-tools"))
        asked = []

        @agent.tool_plain
        def get_weather(city: str) -> str:
            """The weather of a city."""
            asked.append(city)
            return "sunny"

        if streamed:
            async with agent.run_stream("Weather in Oslo?") as stream:
                assert await stream.get_output()
        else:
            assert (await agent.run("Weather in Oslo?")).output
        assert len(asked) == 1

    async def test_a_typed_answer(self, model: Models, provider: str, api: str) -> None:
        # Over messages it knows by the model's name which Claude has structured output, and wants the bare name.
        for way in (ToolOutput,) if api == "messages" else (ToolOutput, NativeOutput):
            agent: Any = Agent(model(api, f"{provider}/{NAMES[provider]}"), output_type=way(Intent))
            assert isinstance((await agent.run("refund?")).output, Intent)

    @pytest.mark.parametrize("status", [400, 429, 503])
    async def test_errors(self, model: Models, provider: str, api: str, status: int) -> None:
        agent = Agent(model(api, f"{provider}/fake-status-{status}"))
        with pytest.raises(ModelHTTPError) as caught:
            await agent.run("hi")
        assert caught.value.status_code == status


@pytest.mark.parametrize("api", APIS)
async def test_a_wrong_key_and_an_unknown_model(gateway: Running, model: Models, api: str) -> None:
    stranger = Models(gateway.url, "fh-not-a-key-at-all")
    with pytest.raises(ModelHTTPError) as caught:
        await Agent(stranger(api, "fast")).run("hi")
    assert caught.value.status_code == 401
    await stranger.close()
    with pytest.raises(ModelHTTPError, match="did you mean 'fast'") as unknown:
        await Agent(model(api, "fats")).run("hi")
    assert unknown.value.status_code == 404
