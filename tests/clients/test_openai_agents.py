"""The OpenAI Agents SDK: its loop on the Responses API (its default) and on chat completions."""

import json
from collections.abc import AsyncIterator
from typing import Any

import agents
import openai
import pytest
import pytest_asyncio
from openai.types.responses import ResponseCompletedEvent, ResponseTextDeltaEvent
from pydantic import BaseModel
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
APIS = ["responses", "chat"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Intent(BaseModel):
    intent: str
    sure: bool


@agents.function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(gateway: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0, timeout=20) as made:
        yield made


def model(client: openai.AsyncOpenAI, api: str, name: str) -> agents.Model:
    kind: Any = agents.OpenAIResponsesModel if api == "responses" else agents.OpenAIChatCompletionsModel
    return kind(model=name, openai_client=client)  # type: ignore[no-any-return]


QUIET = agents.RunConfig(tracing_disabled=True)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("provider", PROVIDERS)
class TestAgents:
    async def test_an_answer(self, client: openai.AsyncOpenAI, provider: str, api: str) -> None:
        agent = agents.Agent("helper", instructions="Be brief.", model=model(client, api, f"{provider}/fake"))
        result = await agents.Runner.run(agent, "hi", run_config=QUIET)
        assert result.final_output
        assert result.context_wrapper.usage.input_tokens > 0
        assert result.context_wrapper.usage.output_tokens > 0

    async def test_the_loop_with_a_tool(self, client: openai.AsyncOpenAI, provider: str, api: str) -> None:
        agent = agents.Agent("helper", model=model(client, api, f"{provider}/fake-tools"), tools=[get_weather])
        result = await agents.Runner.run(agent, "Weather in Oslo?", run_config=QUIET)
        kinds = [type(item).__name__ for item in result.new_items]
        assert kinds == ["ToolCallItem", "ToolCallOutputItem", "MessageOutputItem"]
        call: Any = result.new_items[0].raw_item
        assert isinstance(json.loads(call.arguments)["city"], str)
        assert result.final_output

    async def test_the_loop_streamed(self, client: openai.AsyncOpenAI, provider: str, api: str) -> None:
        agent = agents.Agent("helper", model=model(client, api, f"{provider}/fake-tools"), tools=[get_weather])
        result = agents.Runner.run_streamed(agent, "Weather in Oslo?", run_config=QUIET)
        text, ends = "", 0
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                if isinstance(event.data, ResponseTextDeltaEvent):
                    text += event.data.delta
                ends += isinstance(event.data, ResponseCompletedEvent)
        assert ends == 2
        assert text == result.final_output != ""

    async def test_a_typed_answer(self, client: openai.AsyncOpenAI, provider: str, api: str) -> None:
        agent = agents.Agent("helper", model=model(client, api, f"{provider}/fake"), output_type=Intent)
        assert isinstance((await agents.Runner.run(agent, "refund?", run_config=QUIET)).final_output, Intent)

    async def test_a_handoff(self, client: openai.AsyncOpenAI, provider: str, api: str) -> None:
        second = agents.Agent("billing", model=model(client, api, "anthropic/fake"))
        first = agents.Agent("triage", model=model(client, api, f"{provider}/fake-tools"), handoffs=[second])
        result = await agents.Runner.run(first, "refund?", run_config=QUIET)
        assert result.last_agent is second
        assert result.final_output

    async def test_errors(self, client: openai.AsyncOpenAI, provider: str, api: str) -> None:
        agent = agents.Agent("helper", model=model(client, api, f"{provider}/fake-status-429"))
        with pytest.raises(openai.RateLimitError):
            await agents.Runner.run(agent, "hi", run_config=QUIET)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_server_keeps_the_conversation(client: openai.AsyncOpenAI, provider: str) -> None:
    agent = agents.Agent("helper", model=model(client, "responses", f"{provider}/fake-tools"), tools=[get_weather])
    first = await agents.Runner.run(agent, "Weather in Oslo?", run_config=QUIET, auto_previous_response_id=True)
    assert first.last_response_id
    second = await agents.Runner.run(
        agent, "And in Bergen?", run_config=QUIET, previous_response_id=first.last_response_id
    )
    assert second.final_output


async def test_the_default_model_by_base_url_alone(
    gateway: Running, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", gateway.url + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    agent = agents.Agent("helper", model="gpt-4o-mini")
    assert (await agents.Runner.run(agent, "hi", run_config=QUIET)).final_output


async def test_a_wrong_key_and_an_unknown_model(gateway: Running, client: openai.AsyncOpenAI) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="fh-not-a-key-at-all") as stranger:
        agent = agents.Agent("helper", model=model(stranger, "responses", "fast"))
        with pytest.raises(openai.AuthenticationError):
            await agents.Runner.run(agent, "hi", run_config=QUIET)
    agent = agents.Agent("helper", model=model(client, "responses", "fats"))
    with pytest.raises(openai.NotFoundError, match="did you mean 'fast'"):
        await agents.Runner.run(agent, "hi", run_config=QUIET)
