"""Pydantic AI: its agents over chat completions, Responses and Anthropic messages."""

from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
APIS = ["chat", "responses", "messages"]


class Intent(BaseModel):
    intent: str
    sure: bool


def model(gateway: Running, api: str, name: str, key: str = KEY) -> Any:
    if api == "messages":
        return AnthropicModel(name, provider=AnthropicProvider(api_key=key, base_url=gateway.url))
    provider = OpenAIProvider(base_url=gateway.url + "/v1", api_key=key)
    return (OpenAIChatModel if api == "chat" else OpenAIResponsesModel)(name, provider=provider)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("provider", PROVIDERS)
class TestPydanticAi:
    async def test_streamed_equals_whole(self, gateway: Running, provider: str, api: str) -> None:
        agent = Agent(model(gateway, api, f"{provider}/fake"), instructions="Be brief.")
        whole = await agent.run("hi")
        assert whole.output
        assert whole.usage.input_tokens > 0
        assert whole.usage.output_tokens > 0
        async with agent.run_stream("hi") as stream:
            assert "".join([text async for text in stream.stream_text(delta=True)]) == whole.output
            assert stream.usage.output_tokens == whole.usage.output_tokens

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_the_loop_with_a_tool(self, gateway: Running, provider: str, api: str, streamed: bool) -> None:
        agent = Agent(model(gateway, api, f"{provider}/fake-tools"))
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

    @pytest.mark.parametrize("way", [NativeOutput, ToolOutput, PromptedOutput])
    async def test_a_typed_answer(self, gateway: Running, provider: str, api: str, way: Any) -> None:
        if way is NativeOutput and api == "messages":
            pytest.skip("Pydantic AI knows by name which Claude has structured output")
        agent: Any = Agent(model(gateway, api, f"{provider}/fake"), output_type=way(Intent))
        assert isinstance((await agent.run("refund?")).output, Intent)

    @pytest.mark.parametrize("status", [400, 429, 500])
    async def test_errors(self, gateway: Running, provider: str, api: str, status: int) -> None:
        agent = Agent(model(gateway, api, f"{provider}/fake-status-{status}"))
        with pytest.raises(ModelHTTPError) as caught:
            await agent.run("hi")
        assert caught.value.status_code == status


@pytest.mark.parametrize("api", APIS)
async def test_a_wrong_key_and_an_unknown_model(gateway: Running, api: str) -> None:
    with pytest.raises(ModelHTTPError) as caught:
        await Agent(model(gateway, api, "fast", "fh-not-a-key-at-all")).run("hi")
    assert caught.value.status_code == 401
    with pytest.raises(ModelHTTPError, match="did you mean 'fast'") as unknown:
        await Agent(model(gateway, api, "fats")).run("hi")
    assert unknown.value.status_code == 404
