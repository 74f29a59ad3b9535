"""The `google-genai` package: Gemini's own dialect, with its paths and its key header, from any provider."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
WEATHER = types.FunctionDeclaration(
    name="get_weather",
    description="The weather of a city",
    parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
TOOLS: Any = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[WEATHER])])
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6364f8cf500f0003860180"
    "5a347d6a0000000049454e44ae426082"
)


class Intent(BaseModel):
    intent: str
    sure: bool


def made(gateway: Running, key: str = KEY) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway.url, timeout=20_000))


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[genai.Client]:
    client = made(gateway)
    yield client
    client.close()


@pytest.mark.parametrize("provider", PROVIDERS)
class TestGenerate:
    def test_whole(self, client: genai.Client, provider: str) -> None:
        reply = client.models.generate_content(
            model=f"{provider}/fake",
            contents="Where is my refund?",
            config=types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=50, temperature=0.5),
        )
        assert reply.text
        assert reply.candidates
        assert reply.candidates[0].finish_reason == types.FinishReason.STOP
        assert reply.usage_metadata is not None
        assert reply.usage_metadata.prompt_token_count
        assert reply.usage_metadata.candidates_token_count

    def test_streamed_equals_whole(self, client: genai.Client, provider: str) -> None:
        whole = client.models.generate_content(model=f"{provider}/fake", contents="hi")
        chunks = list(client.models.generate_content_stream(model=f"{provider}/fake", contents="hi"))
        assert "".join(chunk.text or "" for chunk in chunks) == whole.text
        last = chunks[-1]
        assert last.candidates
        assert last.candidates[0].finish_reason == types.FinishReason.STOP
        assert last.usage_metadata is not None
        assert whole.usage_metadata is not None
        assert last.usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count

    @pytest.mark.parametrize("streamed", [False, True])
    def test_tools_round_trip(self, client: genai.Client, provider: str, streamed: bool) -> None:
        model, question = f"{provider}/fake-tools", types.UserContent("Weather in Oslo?")
        if streamed:
            parts = [
                part
                for chunk in client.models.generate_content_stream(model=model, contents=[question], config=TOOLS)
                for candidate in chunk.candidates or []
                if candidate.content
                for part in candidate.content.parts or []
            ]
        else:
            reply = client.models.generate_content(model=model, contents=[question], config=TOOLS)
            assert reply.candidates
            assert reply.candidates[0].content
            parts = reply.candidates[0].content.parts or []
        (call,) = [part.function_call for part in parts if part.function_call]
        assert call.name == "get_weather"
        assert call.args
        assert isinstance(call.args["city"], str)
        result = types.FunctionResponse(id=call.id, name=call.name, response={"result": "sunny"})
        history = [question, types.ModelContent(parts), types.UserContent(types.Part(function_response=result))]
        final = client.models.generate_content(model=model, contents=history, config=TOOLS)
        assert final.text

    def test_a_python_function_is_called_by_the_client_itself(self, client: genai.Client, provider: str) -> None:
        asked = []

        def get_weather(city: str) -> str:
            """The weather of a city."""
            asked.append(city)
            return "sunny"

        reply = client.models.generate_content(
            model=f"{provider}/fake-tools",
            contents="Weather in Oslo?",
            config=types.GenerateContentConfig(tools=[get_weather]),
        )
        assert len(asked) == 1
        assert reply.text

    def test_a_chat_remembers(self, client: genai.Client, provider: str) -> None:
        chat = client.chats.create(model=f"{provider}/fake")
        assert chat.send_message("hi").text
        assert "".join(chunk.text or "" for chunk in chat.send_message_stream("again"))
        assert [content.role for content in chat.get_history()][:4] == ["user", "model", "user", "model"]

    def test_a_typed_answer(self, client: genai.Client, provider: str) -> None:
        reply = client.models.generate_content(
            model=f"{provider}/fake",
            contents="refund?",
            config=types.GenerateContentConfig(response_mime_type="application/json", response_schema=Intent),
        )
        assert isinstance(reply.parsed, Intent)

    def test_images(self, client: genai.Client, provider: str) -> None:
        contents: Any = [types.Part.from_bytes(data=PIXEL, mime_type="image/png"), "What is this?"]
        assert client.models.generate_content(model=f"{provider}/fake", contents=contents).text

    def test_thoughts(self, client: genai.Client, provider: str) -> None:
        reply = client.models.generate_content(
            model=f"{provider}/fake-thinking",
            contents="hi",
            config=types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True)),
        )
        assert reply.candidates
        assert reply.candidates[0].content
        thoughts = [part.thought for part in reply.candidates[0].content.parts or []]
        assert thoughts[-1] is not True
        assert reply.text
        assert thoughts[0] is True

    def test_count_tokens(self, client: genai.Client, provider: str) -> None:
        assert client.models.count_tokens(model=f"{provider}/fake", contents="hi").total_tokens

    def test_asyncio(self, gateway: Running, provider: str) -> None:
        async def ask() -> tuple[str, str]:
            client = made(gateway)
            async with client.aio as aio:
                whole = await aio.models.generate_content(model=f"{provider}/fake", contents="hi")
                stream = await aio.models.generate_content_stream(model=f"{provider}/fake", contents="hi")
                streamed = "".join([chunk.text or "" async for chunk in stream])
            client.close()
            return whole.text or "", streamed

        whole, streamed = asyncio.run(ask())
        assert whole == streamed != ""

    @pytest.mark.parametrize(
        ("status", "error"), [(400, errors.ClientError), (429, errors.ClientError), (503, errors.ServerError)]
    )
    def test_errors(self, client: genai.Client, provider: str, status: int, error: Any) -> None:
        with pytest.raises(error) as caught:
            client.models.generate_content(model=f"{provider}/fake-status-{status}", contents="hi")
        assert caught.value.code == status
        assert caught.value.message
        with pytest.raises(error):
            list(client.models.generate_content_stream(model=f"{provider}/fake-status-{status}", contents="hi"))


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_embeddings(client: genai.Client, provider: str) -> None:
    one = client.models.embed_content(model=f"{provider}/fake", contents="one").embeddings
    many = client.models.embed_content(model=f"{provider}/fake", contents=["one", "two"]).embeddings
    assert one is not None
    assert many is not None
    assert len(many) == 2
    assert many[0].values == pytest.approx(one[0].values)


def test_models_are_listed(client: genai.Client) -> None:
    assert "models/fast" in {model.name for model in client.models.list()}
    assert client.models.get(model="fast").name == "models/fast"


def test_a_wrong_key_and_an_unknown_model(gateway: Running, client: genai.Client) -> None:
    stranger = made(gateway, "fh-not-a-key-at-all")
    with pytest.raises(errors.ClientError) as caught:
        stranger.models.generate_content(model="fast", contents="hi")
    assert caught.value.code == 401
    stranger.close()
    with pytest.raises(errors.ClientError, match="did you mean 'fast'") as unknown:
        client.models.generate_content(model="fats", contents="hi")
    assert unknown.value.code == 404
