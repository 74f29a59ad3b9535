"""LlamaIndex' `OpenAILike`, as its documentation sets it up for a server of one's own."""

import asyncio
from typing import Any

import openai
from checks import KEY, NAMES, PROVIDERS, URL, raises, run
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Intent(BaseModel):
    """What a customer wants."""

    intent: str
    sure: bool


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def llm(model: str, **options: Any) -> OpenAILike:
    settings: dict[str, Any] = {
        "api_base": f"{URL}/v1",
        "api_key": KEY,
        "is_chat_model": True,
        "is_function_calling_model": True,
        "max_retries": 0,
        **options,
    }
    return OpenAILike(model=model, **settings)


HI = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="hi")]
WEATHER = FunctionTool.from_defaults(get_weather)


def streamed_equals_whole() -> None:
    for provider in PROVIDERS:
        whole = llm(f"{provider}/fake").chat(HI).message.content
        assert whole
        assert "".join(part.delta or "" for part in llm(f"{provider}/fake").stream_chat(HI)) == whole


def asynchronous() -> None:
    async def ask() -> None:
        model = llm("anthropic/fake")
        whole = (await model.achat(HI)).message.content
        assert "".join([part.delta or "" async for part in await model.astream_chat(HI)]) == whole

    asyncio.run(ask())


def legacy_completions() -> None:
    for provider in PROVIDERS:
        plain = llm(f"{provider}/fake", is_chat_model=False, is_function_calling_model=False)
        whole = plain.complete("Once upon").text
        assert whole
        assert "".join(part.delta or "" for part in plain.stream_complete("Once upon")) == whole


def tools_round_trip() -> None:
    for provider in PROVIDERS:
        model = llm(f"{provider}/fake-tools")
        question = ChatMessage(role="user", content="Weather in Oslo?")
        reply = model.chat_with_tools([WEATHER], chat_history=[question])
        (call,) = model.get_tool_calls_from_response(reply)
        assert call.tool_name == "get_weather"
        result = WEATHER(**call.tool_kwargs)
        told = ChatMessage(role="tool", content=str(result), additional_kwargs={"tool_call_id": call.tool_id})
        assert model.chat([question, reply.message, told], tools=[WEATHER.metadata.to_openai_tool()]).message.content


def streamed_tools() -> None:
    for provider in PROVIDERS:
        model = llm(f"{provider}/fake-tools")
        *_, last = model.stream_chat_with_tools([WEATHER], user_msg="Weather in Oslo?")
        (call,) = model.get_tool_calls_from_response(last)
        assert isinstance(call.tool_kwargs["city"], str)


def a_typed_answer() -> None:
    for provider in PROVIDERS:
        model = llm(NAMES[provider] if provider == "openai" else f"{provider}/{NAMES[provider]}")
        assert isinstance(model.as_structured_llm(Intent).chat(HI).raw, Intent)


def errors() -> None:
    raises(openai.RateLimitError, "", lambda: llm("openai/fake-status-429").chat(HI))
    raises(openai.BadRequestError, "", lambda: llm("anthropic/fake-status-400").chat(HI))
    raises(openai.AuthenticationError, "", lambda: llm("fast", api_key="fh-not-a-key-at-all").chat(HI))
    raises(openai.NotFoundError, "did you mean 'fast'", lambda: llm("fats").chat(HI))


run(streamed_equals_whole, asynchronous, legacy_completions, tools_round_trip, streamed_tools, a_typed_answer, errors)
