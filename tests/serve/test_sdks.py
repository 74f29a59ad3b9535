"""The official SDKs, unmodified, against a live gateway: each client dialect to each provider dialect.

The providers are three faces of one fake; what it serves by default is part of its own tests. Here it matters that a
client gets, in its own types, what any provider said: text, tool calls, structured output, finish reason, usage.
"""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
TOOL_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
INTENT_SCHEMA = {
    "type": "object",
    "properties": {"intent": {"type": "string", "enum": ["refund", "card_arrival"]}, "sure": {"type": "boolean"}},
    "required": ["intent", "sure"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def chat(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def messages(gateway: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=20) as client:
        yield client


def user(text: str = "Where is my refund?") -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("provider", PROVIDERS)
class TestChatClient:
    def test_whole(self, chat: openai.OpenAI, provider: str) -> None:
        raw = chat.chat.completions.with_raw_response.create(model=f"{provider}/fake", messages=user(), max_tokens=50)
        reply = raw.parse()
        assert reply.choices[0].message.content
        assert reply.choices[0].finish_reason == "stop"
        assert reply.usage is not None
        assert reply.usage.prompt_tokens > 0
        assert reply.usage.completion_tokens > 0
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert raw.headers["x-freehold-deployment"] == f"{provider}/fake"
        assert raw.headers["x-freehold-reason"]
        assert raw.headers["x-request-id"].startswith("req_")

    def test_streamed_equals_whole(self, chat: openai.OpenAI, provider: str) -> None:
        whole = chat.chat.completions.create(model=f"{provider}/fake", messages=user(), max_tokens=50)
        stream = chat.chat.completions.create(
            model=f"{provider}/fake",
            messages=user(),
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
        )
        text, finish, usage, roles = "", None, None, 0
        for chunk in stream:
            if chunk.usage is not None:
                usage = chunk.usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                roles += choice.delta.role is not None
                finish = choice.finish_reason or finish
        assert text == whole.choices[0].message.content
        assert finish == "stop"
        assert roles == 1
        assert usage is not None
        assert whole.usage is not None
        assert usage.completion_tokens == whole.usage.completion_tokens
        assert usage.prompt_tokens > 0

    def test_a_stream_has_no_usage_unless_asked(self, chat: openai.OpenAI, provider: str) -> None:
        stream = chat.chat.completions.create(model=f"{provider}/fake", messages=user(), stream=True)
        chunks = list(stream)
        assert all(chunk.usage is None for chunk in chunks)
        assert all(chunk.choices for chunk in chunks)

    def test_tools_round_trip(self, chat: openai.OpenAI, provider: str) -> None:
        tools: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL_SCHEMA}}]
        model = f"{provider}/fake-tools"
        reply = chat.chat.completions.create(model=model, messages=user("Weather in Oslo?"), tools=tools)
        choice = reply.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls
        call = choice.message.tool_calls[0]
        assert call.type == "function"
        assert call.function.name == "get_weather"
        assert isinstance(json.loads(call.function.arguments)["city"], str)
        history = [
            *user("Weather in Oslo?"),
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        final = chat.chat.completions.create(model=f"{provider}/fake", messages=history, tools=tools)
        assert final.choices[0].message.content

    def test_streamed_tools(self, chat: openai.OpenAI, provider: str) -> None:
        tools: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL_SCHEMA}}]
        with chat.chat.completions.stream(
            model=f"{provider}/fake-tools", messages=user("Weather?"), tools=tools
        ) as stream:
            stream.until_done()
            message = stream.get_final_completion().choices[0]
        assert message.finish_reason == "tool_calls"
        assert message.message.tool_calls
        assert "city" in json.loads(message.message.tool_calls[0].function.arguments)

    def test_json_schema(self, chat: openai.OpenAI, provider: str) -> None:
        reply = chat.chat.completions.create(
            model=f"{provider}/fake",
            messages=user(),
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "intent", "schema": INTENT_SCHEMA, "strict": True},
            },
        )
        content = reply.choices[0].message.content
        assert content
        assert json.loads(content)["intent"] in ("refund", "card_arrival")
        assert reply.choices[0].finish_reason == "stop"

    def test_images(self, chat: openai.OpenAI, provider: str) -> None:
        content = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ]
        reply = chat.chat.completions.create(model=f"{provider}/fake", messages=[{"role": "user", "content": content}])
        assert reply.choices[0].message.content

    def test_length(self, chat: openai.OpenAI, provider: str) -> None:
        reply = chat.chat.completions.create(model=f"{provider}/fake-length", messages=user(), max_tokens=3)
        assert reply.choices[0].finish_reason == "length"

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, openai.BadRequestError),
            (401, openai.InternalServerError),
            (403, openai.InternalServerError),
            (404, openai.NotFoundError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
            (503, openai.InternalServerError),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_errors(self, chat: openai.OpenAI, provider: str, status: int, error: Any, stream: bool) -> None:
        with pytest.raises(error) as caught:
            chat.chat.completions.create(model=f"{provider}/fake-status-{status}", messages=user(), stream=stream)
        assert caught.value.request_id.startswith("req_")
        assert "upstream-secret" not in str(caught.value)
        assert caught.value.body["message"]
        if status in (401, 403):
            assert caught.value.status_code == 502
            assert caught.value.code == "upstream_auth"


@pytest.mark.parametrize("provider", PROVIDERS)
class TestMessagesClient:
    def test_whole(self, messages: anthropic.Anthropic, provider: str) -> None:
        reply = messages.messages.create(model=f"{provider}/fake", max_tokens=50, system="Be brief.", messages=user())
        assert reply.type == "message"
        assert reply.content[0].type == "text"
        assert reply.content[0].text
        assert reply.stop_reason == "end_turn"
        assert reply.usage.input_tokens > 0
        assert reply.usage.output_tokens > 0

    def test_streamed_equals_whole(self, messages: anthropic.Anthropic, provider: str) -> None:
        whole = messages.messages.create(model=f"{provider}/fake", max_tokens=50, messages=user())
        with messages.messages.stream(model=f"{provider}/fake", max_tokens=50, messages=user()) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert whole.content[0].type == "text"
        assert text == whole.content[0].text
        assert final.stop_reason == whole.stop_reason
        assert final.usage.output_tokens == whole.usage.output_tokens
        assert final.usage.input_tokens > 0

    def test_tools_round_trip(self, messages: anthropic.Anthropic, provider: str) -> None:
        tools: list[Any] = [{"name": "get_weather", "description": "d", "input_schema": TOOL_SCHEMA}]
        reply = messages.messages.create(
            model=f"{provider}/fake-tools", max_tokens=50, messages=user("Weather in Oslo?"), tools=tools
        )
        assert reply.stop_reason == "tool_use"
        block = next(b for b in reply.content if b.type == "tool_use")
        assert block.name == "get_weather"
        assert isinstance(block.input["city"], str)
        history = [
            *user("Weather in Oslo?"),
            {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in reply.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}]},
        ]
        final = messages.messages.create(model=f"{provider}/fake", max_tokens=50, messages=history, tools=tools)
        assert final.content[0].type == "text"

    def test_streamed_tools(self, messages: anthropic.Anthropic, provider: str) -> None:
        tools: list[Any] = [{"name": "get_weather", "description": "d", "input_schema": TOOL_SCHEMA}]
        with messages.messages.stream(
            model=f"{provider}/fake-tools", max_tokens=50, messages=user("Weather?"), tools=tools
        ) as stream:
            final = stream.get_final_message()
        assert final.stop_reason == "tool_use"
        block = next(b for b in final.content if b.type == "tool_use")
        assert isinstance(block.input["city"], str)

    def test_json_schema(self, messages: anthropic.Anthropic, provider: str) -> None:
        reply = messages.messages.create(
            model=f"{provider}/fake",
            max_tokens=100,
            messages=user(),
            output_config={"format": {"type": "json_schema", "schema": INTENT_SCHEMA}},
        )
        text = next(b for b in reply.content if b.type == "text").text
        assert json.loads(text)["intent"] in ("refund", "card_arrival")

    def test_images(self, messages: anthropic.Anthropic, provider: str) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        content: list[Any] = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
        reply = messages.messages.create(
            model=f"{provider}/fake", max_tokens=50, messages=[{"role": "user", "content": content}]
        )
        assert reply.content[0].type == "text"

    def test_count_tokens(self, messages: anthropic.Anthropic, provider: str) -> None:
        assert messages.messages.count_tokens(model=f"{provider}/fake", messages=user()).input_tokens > 0

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, anthropic.BadRequestError),
            (401, anthropic.InternalServerError),
            (429, anthropic.RateLimitError),
            (500, anthropic.InternalServerError),
        ],
    )
    def test_errors(self, messages: anthropic.Anthropic, provider: str, status: int, error: Any) -> None:
        with pytest.raises(error) as caught:
            messages.messages.create(model=f"{provider}/fake-status-{status}", max_tokens=5, messages=user())
        assert caught.value.body["type"] == "error"
        assert caught.value.request_id.startswith("req_")


def test_completions(chat: openai.OpenAI) -> None:
    for provider in PROVIDERS:
        reply = chat.completions.create(model=f"{provider}/fake", prompt="Once upon", max_tokens=20)
        assert reply.choices[0].text
        streamed = chat.completions.create(model=f"{provider}/fake", prompt="Once upon", max_tokens=20, stream=True)
        assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices)


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_embeddings(chat: openai.OpenAI, provider: str) -> None:
    reply = chat.embeddings.create(model=f"{provider}/fake", input=["one", "two"])
    assert [item.index for item in reply.data] == [0, 1]
    assert all(isinstance(number, float) for number in reply.data[0].embedding)
    plain = chat.embeddings.create(model=f"{provider}/fake", input=["one", "two"], encoding_format="float")
    assert plain.data[1].embedding == pytest.approx(reply.data[1].embedding, rel=1e-5)


def test_embeddings_of_a_provider_without_any_is_a_clear_400(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="embeddings"):
        chat.embeddings.create(model="anthropic/fake", input="x")


def test_models_are_listed_for_both(chat: openai.OpenAI, messages: anthropic.Anthropic) -> None:
    assert {"fast", "smart", "openai/gpt-4o-mini"} <= {model.id for model in chat.models.list()}
    assert {"fast", "smart"} <= {model.id for model in messages.models.list()}
    assert chat.models.retrieve("fast").id == "fast"


@pytest.mark.parametrize("suffix", ["", "/v1"])
def test_base_urls_with_and_without_v1(gateway: Running, suffix: str) -> None:
    with openai.OpenAI(base_url=gateway.url + suffix, api_key=KEY, max_retries=0) as chat:
        assert chat.chat.completions.create(model="openai/fake", messages=user()).choices
    with anthropic.Anthropic(base_url=gateway.url + suffix, auth_token=KEY, max_retries=0) as messages:
        assert messages.messages.create(model="openai/fake", max_tokens=5, messages=user()).content


def test_an_alias_and_auto_say_who_answered_and_why(chat: openai.OpenAI) -> None:
    raw = chat.chat.completions.with_raw_response.create(model="fast", messages=user())
    assert raw.headers["x-freehold-deployment"] == "openai/gpt-4o-mini"
    raw = chat.chat.completions.with_raw_response.create(model="smart", messages=user("hi"))
    assert raw.headers["x-freehold-reason"] == "the cheapest that is good enough"


def test_a_wrong_key_and_an_unknown_model(gateway: Running, chat: openai.OpenAI) -> None:
    url = gateway.url + "/v1"
    with (
        openai.OpenAI(base_url=url, api_key="fh-not-a-key-at-all", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="fast", messages=user())
    with pytest.raises(openai.NotFoundError, match="did you mean 'fast'"):
        chat.chat.completions.create(model="fats", messages=user())
