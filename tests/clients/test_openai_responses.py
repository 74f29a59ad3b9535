"""The `openai` package on its Responses API: the dialect of Codex and of the agent frameworks, from any provider."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from running import KEY, Running

PROVIDERS = ["openai", "anthropic", "gemini"]
TOOLS: list[Any] = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }
]


class Intent(BaseModel):
    intent: str
    sure: bool


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0, timeout=20) as made:
        yield made


@pytest.mark.parametrize("provider", PROVIDERS)
class TestResponses:
    def test_whole(self, client: openai.OpenAI, provider: str) -> None:
        reply = client.responses.create(model=f"{provider}/fake", instructions="Be brief.", input="Where is my refund?")
        assert reply.status == "completed"
        assert reply.output_text
        assert reply.usage is not None
        assert reply.usage.input_tokens > 0
        assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
        type(reply).model_validate(reply.model_dump(mode="json", warnings="error"))

    def test_streamed_equals_whole(self, client: openai.OpenAI, provider: str) -> None:
        whole = client.responses.create(model=f"{provider}/fake", input="hi")
        kinds, text, numbers = [], "", []
        for event in client.responses.create(model=f"{provider}/fake", input="hi", stream=True):
            kinds.append(event.type)
            numbers.append(event.sequence_number)
            type(event).model_validate(event.model_dump(mode="json", warnings="error"))
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.completed":
                final = event.response
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        assert numbers == list(range(len(numbers)))
        assert text == whole.output_text == final.output_text
        assert final.usage is not None
        assert whole.usage is not None
        assert final.usage.output_tokens == whole.usage.output_tokens

    @pytest.mark.parametrize("streamed", [False, True])
    def test_tools_round_trip(self, client: openai.OpenAI, provider: str, streamed: bool) -> None:
        model = f"{provider}/fake-tools"
        question: Any = {"role": "user", "content": "Weather in Oslo?"}
        if streamed:
            with client.responses.stream(model=model, input=[question], tools=TOOLS) as stream:
                reply: Any = stream.get_final_response()
        else:
            reply = client.responses.create(model=model, input=[question], tools=TOOLS)
        call = next(item for item in reply.output if item.type == "function_call")
        assert call.name == "get_weather"
        assert isinstance(json.loads(call.arguments)["city"], str)
        history = [
            question,
            *[item.to_dict() for item in reply.output],
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ]
        final = client.responses.create(model=model, input=history, tools=TOOLS)
        assert final.output_text

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_conversation_goes_on_from_its_last_response(
        self, client: openai.OpenAI, provider: str, streamed: bool
    ) -> None:
        model = f"{provider}/fake-tools"
        if streamed:
            with client.responses.stream(model=model, input="Weather in Oslo?", tools=TOOLS) as stream:
                first: Any = stream.get_final_response()
        else:
            first = client.responses.create(model=model, input="Weather in Oslo?", tools=TOOLS)
        call = next(item for item in first.output if item.type == "function_call")
        result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        second = client.responses.create(model=model, previous_response_id=first.id, input=result, tools=TOOLS)
        assert second.output_text
        if provider != "openai":  # there the provider keeps and echoes it, and this one is a fake
            assert second.previous_response_id == first.id
        third = client.responses.create(model=f"{provider}/fake", previous_response_id=second.id, input="Thanks")
        assert third.output_text
        assert third.id != second.id

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_typed_answer(self, client: openai.OpenAI, provider: str, streamed: bool) -> None:
        if streamed:
            with client.responses.stream(model=f"{provider}/fake", input="refund?", text_format=Intent) as stream:
                parsed = stream.get_final_response().output_parsed
        else:
            parsed = client.responses.parse(model=f"{provider}/fake", input="refund?", text_format=Intent).output_parsed
        assert isinstance(parsed, Intent)

    def test_thinking_is_a_reasoning_item(self, client: openai.OpenAI, provider: str) -> None:
        reply = client.responses.create(
            model=f"{provider}/fake-thinking", input="hi", reasoning={"effort": "low", "summary": "auto"}
        )
        assert reply.output_text
        assert [item.type for item in reply.output][-1] == "message"
        if provider != "openai":
            assert reply.output[0].type == "reasoning"

    @pytest.mark.parametrize(
        ("status", "error"),
        [(400, openai.BadRequestError), (429, openai.RateLimitError), (503, openai.InternalServerError)],
    )
    def test_errors(self, client: openai.OpenAI, provider: str, status: int, error: Any) -> None:
        for stream in (False, True):
            with pytest.raises(error) as caught:
                client.responses.create(model=f"{provider}/fake-status-{status}", input="hi", stream=stream)
            assert caught.value.body["message"]
            assert caught.value.request_id.startswith("req_")

    def test_a_broken_stream_never_looks_finished(self, client: openai.OpenAI, provider: str) -> None:
        kinds = []

        def read() -> None:
            for event in client.responses.create(model=f"{provider}/fake-fault-cut-mid-event", input="hi", stream=True):
                kinds.append(event.type)

        try:
            read()
        except openai.APIError:
            pass
        else:
            assert kinds[-1] in ("error", "response.failed")
        assert "response.completed" not in kinds


class TestKept:
    """What a client may ask about an answer that was kept."""

    @pytest.mark.parametrize("provider", ["anthropic", "gemini"])
    def test_retrieve_items_delete(self, client: openai.OpenAI, provider: str) -> None:
        made = client.responses.create(model=f"{provider}/fake", input="Where is my refund?")
        again = client.responses.retrieve(made.id)
        assert again.id == made.id
        assert again.output_text == made.output_text
        items = client.responses.input_items.list(made.id).data
        assert [item.type for item in items] == ["message"]
        client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)

    def test_not_kept_when_refused(self, client: openai.OpenAI) -> None:
        made = client.responses.create(model="anthropic/fake", input="hi", store=False)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)

    def test_an_unknown_previous_response(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="anthropic/fake", previous_response_id="resp_nobody", input="hi")
        assert caught.value.code == "previous_response_not_found"


def test_input_tokens_are_counted(client: openai.OpenAI) -> None:
    assert client.responses.input_tokens.count(model="anthropic/fake", input="hi").input_tokens > 0


def test_a_wrong_key_and_an_unknown_model(gateway: Running, client: openai.OpenAI) -> None:
    with (
        openai.OpenAI(base_url=gateway.url + "/v1", api_key="fh-not-a-key-at-all", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.responses.create(model="fast", input="hi")
    with pytest.raises(openai.NotFoundError, match="did you mean 'fast'"):
        client.responses.create(model="fats", input="hi")
