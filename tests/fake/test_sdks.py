"""The official SDKs, unmodified, pointed straight at the fake: their types accept every reply."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import jsonschema
import openai
import pytest
from anthropic import AsyncAnthropic
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from openai import AsyncOpenAI

from freehold.fake import FakeProvider

TEXT = "Hello from the fake provider: nobody was billed for this."
HI: Any = [{"role": "user", "content": "hi"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@pytest.fixture
async def client(fake: FakeProvider) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="sk-x", base_url=f"{fake.url}/v1", max_retries=0) as made:
        yield made


@pytest.fixture
async def claude(fake: FakeProvider) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key="sk-x", base_url=fake.url, max_retries=0) as made:
        yield made


@pytest.fixture
async def gemini(fake: FakeProvider) -> AsyncIterator[Any]:
    made = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=fake.url))
    yield made.aio
    await made.aio.aclose()
    made.close()


def strict(model: Any) -> Any:
    """SDK models are built without validation: validate what they hold against their own types."""
    return type(model).model_validate(model.model_dump(mode="json", warnings="error"), strict=False)


# OpenAI


async def test_chat(client: AsyncOpenAI, fake: FakeProvider) -> None:
    reply = strict(await client.chat.completions.create(model="m", messages=HI))
    assert reply.choices[0].message.content == TEXT
    assert reply.choices[0].finish_reason == "stop"
    row = fake.served.rows[-1]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (row.input_tokens, row.output_tokens)
    many = await client.chat.completions.create(model="m", messages=HI, n=3)
    assert [choice.index for choice in many.choices] == [0, 1, 2]


async def test_chat_streamed(client: AsyncOpenAI) -> None:
    for counted in (False, True):
        extra: Any = {"stream_options": {"include_usage": True}} if counted else {}
        stream = await client.chat.completions.create(model="m", messages=HI, stream=True, **extra)
        chunks = [strict(chunk) async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
        assert len({chunk.id for chunk in chunks}) == 1
        assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [counted]


async def test_exactly_so_many_events(client: AsyncOpenAI) -> None:
    for count in (0, 1, 3, 65):
        stream = await client.chat.completions.create(
            model="m", messages=HI, stream=True, extra_headers={"x-fake": f"events={count}"}
        )
        said = [c.choices[0].delta.content async for c in stream if c.choices and c.choices[0].delta.content]
        assert len(said) == count


async def test_chat_tools(client: AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}}]
    cases: list[Any] = [
        {"model": "fake-tools", "messages": HI},
        {"model": "m", "messages": [{"role": "user", "content": "please use forecast now"}]},
        {"model": "m", "messages": HI, "tool_choice": "required"},
        {"model": "m", "messages": HI, "tool_choice": {"type": "function", "function": {"name": "forecast"}}},
    ]
    for case in cases:
        reply = strict(await client.chat.completions.create(tools=tools, **case))
        call = reply.choices[0].message.tool_calls[0]
        assert (reply.choices[0].finish_reason, call.function.name) == ("tool_calls", "forecast")
        jsonschema.validate(json.loads(call.function.arguments), SCHEMA)
        async with client.chat.completions.stream(tools=tools, **case) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.tool_calls
        jsonschema.validate(json.loads(final.choices[0].message.tool_calls[0].function.arguments), SCHEMA)
    unasked = await client.chat.completions.create(model="m", messages=HI, tools=tools)
    assert unasked.choices[0].message.content == TEXT
    done: Any = [*HI, {"role": "assistant", "tool_calls": []}, {"role": "tool", "tool_call_id": "x", "content": "1"}]
    after = await client.chat.completions.create(model="fake-tools", messages=done, tools=tools)
    assert after.choices[0].finish_reason == "stop"


async def test_chat_schema(client: AsyncOpenAI) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
    reply = await client.chat.completions.create(model="m", messages=HI, response_format=wanted)
    jsonschema.validate(json.loads(reply.choices[0].message.content or ""), SCHEMA)
    reply = await client.chat.completions.create(model="m", messages=HI, response_format={"type": "json_object"})
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


async def test_thinking_and_refusal(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="fake-thinking", messages=HI)
    assert reply.choices[0].message.model_extra
    assert "think" in reply.choices[0].message.model_extra["reasoning_content"]
    assert reply.usage
    assert reply.usage.completion_tokens_details
    assert reply.usage.completion_tokens_details.reasoning_tokens
    reply = await client.chat.completions.create(model="fake-refusal", messages=HI)
    assert reply.choices[0].message.refusal
    assert reply.choices[0].message.content is None


async def test_completions_and_embeddings(client: AsyncOpenAI) -> None:
    text = strict(await client.completions.create(model="m", prompt="hi"))
    assert text.choices[0].text == TEXT
    stream = await client.completions.create(model="m", prompt="hi", stream=True)
    assert "".join([c.choices[0].text async for c in stream if c.choices]) == TEXT
    made = strict(await client.embeddings.create(model="m", input=["a cat sat", "a cat sat", "money"], dimensions=32))
    first, second, third = (item.embedding for item in made.data)
    assert len(first) == 32
    assert first == second != third
    plain = await client.embeddings.create(model="m", input="a cat sat", dimensions=32, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(first, abs=1e-6)
    assert base64  # the SDK asks for base64 unless told otherwise


async def test_models(client: AsyncOpenAI, claude: AsyncAnthropic, gemini: Any) -> None:
    assert "fake-tools" in [strict(model).id async for model in client.models.list()]
    assert (await client.models.retrieve("fake")).id == "fake"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")
    assert "fake-tools" in [strict(model).id async for model in claude.models.list()]
    assert "models/fake-tools" in [model.name async for model in await gemini.models.list()]
    assert (await gemini.models.get(model="fake")).input_token_limit > 0


async def test_responses(client: AsyncOpenAI) -> None:
    reply = await client.responses.create(model="m", input="hi")
    assert strict(reply).output_text == TEXT
    tools: Any = [{"type": "function", "name": "forecast", "parameters": SCHEMA, "strict": True}]
    for model, extra in (("m", {}), ("fake-tools", {"tools": tools}), ("fake-thinking", {}), ("fake-refusal", {})):
        stream = await client.responses.create(model=model, input="hi", stream=True, **extra)
        events = [strict(event) async for event in stream]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[-1].type == "response.completed"
        assert events[-1].response.usage.output_tokens > 0
    async with client.responses.stream(model="fake-tools", input="hi", tools=tools) as manager:
        final = await manager.get_final_response()
    assert final.output[0].type == "function_call"
    jsonschema.validate(json.loads(final.output[0].arguments), SCHEMA)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
        (529, "InternalServerError"),
    ],
)
async def test_errors_by_status(status: int, kind: str, client: AsyncOpenAI, claude: AsyncAnthropic) -> None:
    for stream in (False, True):
        with pytest.raises(getattr(openai, kind)) as caught:
            await client.chat.completions.create(model=f"fake-status-{status}", messages=HI, stream=stream)
        assert caught.value.body["message"]
        assert caught.value.request_id.startswith("req_")
    names = {529: "OverloadedError", 503: "ServiceUnavailableError"}
    expected = getattr(anthropic, names.get(status, kind), getattr(anthropic, kind))
    with pytest.raises(expected) as refused:
        await claude.messages.create(model=f"fake-status-{status}", messages=HI, max_tokens=9)
    assert refused.value.body["type"] == "error"
    assert refused.value.request_id.startswith("req_")


async def test_retry_after_is_sent_and_honoured(fake: FakeProvider) -> None:
    fake.script = {"rules": [{"times": 1, "reply": {"status": 429, "headers": {"Retry-After": "0.01"}}}]}  # type: ignore[assignment]
    async with AsyncOpenAI(api_key="sk-x", base_url=f"{fake.url}/v1", max_retries=1) as made:
        reply = await made.chat.completions.create(model="m", messages=HI)
    assert reply.choices[0].message.content == TEXT
    assert [row.status for row in fake.served.rows] == [429, 200]


# Anthropic


async def test_messages(claude: AsyncAnthropic, fake: FakeProvider) -> None:
    reply = strict(await claude.messages.create(model="m", messages=HI, max_tokens=9))
    assert reply.content[0].text == TEXT
    assert reply.stop_reason == "end_turn"
    row = fake.served.rows[-1]
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (row.input_tokens, row.output_tokens)
    counted = await claude.messages.count_tokens(model="m", messages=HI)
    assert counted.input_tokens > 0


async def test_messages_streamed(claude: AsyncAnthropic) -> None:
    async with claude.messages.stream(model="fake-thinking", messages=HI, max_tokens=9) as stream:
        kinds = [event.type async for event in stream]
        final = strict(await stream.get_final_message())
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[0].signature
    assert final.content[1].text == TEXT


async def test_messages_tools(claude: AsyncAnthropic) -> None:
    tools: Any = [{"name": "forecast", "input_schema": SCHEMA}, {"name": "nothing", "input_schema": {"type": "object"}}]
    for extra in ({"model": "fake-tools"}, {"model": "m", "tool_choice": {"type": "any"}}):
        reply = strict(await claude.messages.create(messages=HI, max_tokens=9, tools=tools, **extra))
        assert reply.stop_reason == "tool_use"
        jsonschema.validate(reply.content[0].input, SCHEMA)
        async with claude.messages.stream(messages=HI, max_tokens=9, tools=tools, **extra) as stream:
            final = await stream.get_final_message()
        assert final.content[0].input == reply.content[0].input
    async with claude.messages.stream(
        model="m", messages=HI, max_tokens=9, tools=tools, tool_choice={"type": "tool", "name": "nothing"}
    ) as stream:
        final = await stream.get_final_message()
    assert final.content[0].type == "tool_use"
    assert final.content[0].input == {}


async def test_messages_schema_and_refusal(claude: AsyncAnthropic) -> None:
    wanted: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    reply = await claude.messages.create(model="m", messages=HI, max_tokens=9, output_config=wanted)
    jsonschema.validate(json.loads(reply.content[0].text), SCHEMA)  # type: ignore[union-attr]
    old = await claude.messages.create(
        model="m", messages=HI, max_tokens=9, extra_body={"output_format": wanted["format"]}
    )
    jsonschema.validate(json.loads(old.content[0].text), SCHEMA)  # type: ignore[union-attr]
    reply = strict(await claude.messages.create(model="fake-refusal", messages=HI, max_tokens=9))
    assert reply.stop_reason == "refusal"


async def test_cache_usage_is_disjoint_in_messages_and_included_in_chat(
    fake: FakeProvider, claude: AsyncAnthropic, client: AsyncOpenAI
) -> None:
    fake.script = {"default": {"usage": {"input": 100, "output": 7, "cache_read": 60, "cache_write": 10}}}  # type: ignore[assignment]
    message = await claude.messages.create(model="m", messages=HI, max_tokens=9)
    counted = message.usage
    assert (counted.input_tokens, counted.cache_read_input_tokens, counted.cache_creation_input_tokens) == (30, 60, 10)
    chat = await client.chat.completions.create(model="m", messages=HI)
    assert chat.usage
    assert chat.usage.prompt_tokens == 100
    assert chat.usage.prompt_tokens_details
    assert chat.usage.prompt_tokens_details.cached_tokens == 60
    assert [row.input_tokens for row in fake.served.rows] == [100, 100]


# Gemini


async def test_gemini(gemini: Any, fake: FakeProvider) -> None:
    reply = await gemini.models.generate_content(model="m", contents="hi")
    assert reply.text == TEXT
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    row = fake.served.rows[-1]
    assert (row.dialect, row.model) == ("gemini", "m")
    assert reply.usage_metadata.prompt_token_count == row.input_tokens
    assert reply.usage_metadata.candidates_token_count == row.output_tokens
    chunks = [chunk async for chunk in await gemini.models.generate_content_stream(model="m", contents="hi")]
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert [chunk.candidates[0].finish_reason is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert (await gemini.models.count_tokens(model="m", contents="hi")).total_tokens > 0


async def test_gemini_thinking(gemini: Any) -> None:
    reply = await gemini.models.generate_content(model="fake-thinking", contents="hi")
    thought, said = reply.candidates[0].content.parts
    assert thought.thought
    assert said.text == TEXT
    usage = reply.usage_metadata
    total = usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    assert usage.total_token_count == total


async def test_gemini_tools_and_schema(gemini: Any) -> None:
    declared = types.FunctionDeclaration(name="forecast", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
        ),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    reply = await gemini.models.generate_content(model="m", contents="hi", config=config)
    jsonschema.validate(reply.function_calls[0].args, SCHEMA)
    shape = types.Schema(
        type=types.Type.OBJECT, properties={"n": types.Schema(type=types.Type.INTEGER)}, required=["n"]
    )
    for wanted in ({"response_json_schema": SCHEMA}, {"response_schema": shape}):
        config = types.GenerateContentConfig(response_mime_type="application/json", **wanted)
        reply = await gemini.models.generate_content(model="m", contents="hi", config=config)
        assert isinstance(json.loads(reply.text), dict)
        if "response_json_schema" in wanted:
            jsonschema.validate(json.loads(reply.text), SCHEMA)


async def test_gemini_embeddings_and_errors(gemini: Any) -> None:
    made = await gemini.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert len(made.embeddings) == 2
    assert len(made.embeddings[0].values) == 64
    for status, kind in (
        (400, genai_errors.ClientError),
        (429, genai_errors.ClientError),
        (503, genai_errors.ServerError),
    ):
        with pytest.raises(kind) as caught:
            await gemini.models.generate_content(model=f"fake-status-{status}", contents="hi")
        assert caught.value.code == status
        assert caught.value.message


async def test_every_request_of_the_sdks_was_counted(fake: FakeProvider, client: AsyncOpenAI) -> None:
    await asyncio.gather(
        *(
            client.chat.completions.create(model="m", messages=HI, extra_headers={"x-client-request-id": f"id-{i}"})
            for i in range(50)
        )
    )
    assert sorted(str(row.client_request_id) for row in fake.served.rows) == sorted(f"id-{i}" for i in range(50))
    assert fake.served.totals.complete == 50
    assert fake.served.totals.output_tokens == sum(row.output_tokens for row in fake.served.rows)
