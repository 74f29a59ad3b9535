"""Instructor: typed answers by tools, by JSON schema and by the Responses API, whole, partial and as a list."""

import asyncio
from typing import Any

import instructor
import openai
from checks import KEY, NAMES, PROVIDERS, URL, raises, run
from instructor.core import InstructorRetryException
from pydantic import BaseModel


class Intent(BaseModel):
    intent: str
    sure: bool


def client(mode: instructor.Mode = instructor.Mode.TOOLS, key: str = KEY) -> Any:
    return instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0), mode=mode)


HI: Any = [{"role": "user", "content": "I want my money back"}]


def name(provider: str) -> str:
    return f"{provider}/{NAMES[provider]}"


def a_typed_answer_by_tools() -> None:
    for provider in PROVIDERS:
        found = client().create(response_model=Intent, model=name(provider), messages=HI)
        assert isinstance(found, Intent)


def a_typed_answer_by_json_schema() -> None:
    for provider in PROVIDERS:
        made = client(instructor.Mode.JSON_SCHEMA)
        assert isinstance(made.create(response_model=Intent, model=name(provider), messages=HI), Intent)


def a_typed_answer_by_responses() -> None:
    for provider in PROVIDERS:
        made = client(instructor.Mode.RESPONSES_TOOLS)
        assert isinstance(made.create(response_model=Intent, model=name(provider), messages=HI), Intent)


def a_partial_stream() -> None:
    for provider in PROVIDERS:
        found = list(client().create_partial(response_model=Intent, model=name(provider), messages=HI))
        assert found[-1].intent is not None


def a_list_streamed() -> None:
    for provider in PROVIDERS:
        found = list(client().create_iterable(response_model=Intent, model=name(provider), messages=HI))
        assert all(isinstance(item, Intent) for item in found)


def asynchronous() -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as plain:
            made = instructor.from_openai(plain)
            found = await made.create(response_model=Intent, model=name("anthropic"), messages=HI)
            assert isinstance(found, Intent)

    asyncio.run(ask())


def errors() -> None:
    for model, key, words in (
        ("openai/fake-status-429", KEY, "429"),
        ("fast", "fh-not-a-key-at-all", "401"),
        ("fats", KEY, "did you mean 'fast'"),
    ):
        made = client(key=key)
        call = lambda: made.create(response_model=Intent, model=model, messages=HI, max_retries=1)  # noqa: B023, E731
        raises((openai.APIStatusError, InstructorRetryException), words, call)


run(
    a_typed_answer_by_tools,
    a_typed_answer_by_json_schema,
    a_typed_answer_by_responses,
    a_partial_stream,
    a_list_streamed,
    asynchronous,
    errors,
)
