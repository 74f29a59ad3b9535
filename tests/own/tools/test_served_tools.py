"""Tools of owned models through a running gateway, with the official clients: one template that knows tools, two that
know none. Weights are random: the form of answers is judged, not the choice.

llama.cpp's own `grammar` field makes a model that may call really do so.
"""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from running import KEY, Running, gateway_for

pytest.importorskip("gguf", reason="the gguf package is not installed: pip install 'freehold[own]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'freehold[reference]'")

import tiny_models

from freehold.own.convert.core import convert

FAMILIES = ("llama3", "gemma3", "falcon")
INTENT = {
    "type": "object",
    "properties": {"intent": {"$ref": "#/$defs/Intent"}},
    "required": ["intent"],
    "additionalProperties": False,
    "$defs": {"Intent": {"enum": ["refund", "delivery"]}},
}
ROUTE: Any = {"type": "function", "function": {"name": "route", "parameters": INTENT}}
PING: Any = {"type": "function", "function": {"name": "ping"}}
ASKED: list[Any] = [{"role": "user", "content": "Where is my money?"}]
SAID = '{"name": "route", "arguments": {"intent": "refund"}}'
GRAMMAR = f"root ::= {json.dumps(SAID)}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, fake: Running, engine_needed: None) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tools")
    own = "engines: {memory: 600MiB}\nown:\n"
    for family in FAMILIES:
        made = tiny_models.make(family, folder / family, max_position_embeddings=1024)
        convert(made, folder / f"{family}.gguf")
        shutil.rmtree(made)
        own += f"  - {{path: {folder / family}.gguf, name: {family}, load: demand, context: 1024, memory: 100MiB}}\n"
    with gateway_for(folder / "gateway", fake.url, own) as running:
        yield running


@pytest.fixture(scope="module")
def client(house: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=house.url + "/v1", api_key=KEY, max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def claude(house: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=house.url, api_key=KEY, max_retries=0, timeout=60) as made:
        yield made


def intent(arguments: str) -> str:
    meant = json.loads(arguments)
    assert meant.keys() == {"intent"}
    return str(meant["intent"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forced_call_is_made_and_its_result_taken(family: str, client: openai.OpenAI) -> None:
    ask: Any = {"model": f"own/{family}", "max_tokens": 250, "temperature": 0, "tools": [ROUTE, PING]}
    named: Any = {"type": "function", "function": {"name": "route"}}
    first = client.chat.completions.create(messages=ASKED, tool_choice=named, **ask)
    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    assert message.content is None
    [call] = message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "route"
    assert intent(call.function.arguments) in ("refund", "delivery")
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    turns: Any = [*ASKED, message.model_dump(exclude_none=True), result]
    then = client.chat.completions.create(messages=turns, tool_choice="required", **ask)
    [call] = then.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name in ("route", "ping")
    last = client.chat.completions.create(messages=[*turns, *ASKED], tool_choice="none", **ask | {"max_tokens": 4})
    assert not last.choices[0].message.tool_calls
    assert last.choices[0].finish_reason in ("length", "stop")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_streamed_call_is_the_whole_one(family: str, client: openai.OpenAI) -> None:
    ask: Any = {"model": f"own/{family}", "messages": ASKED, "max_tokens": 250, "temperature": 0}
    ask |= {"tools": [ROUTE], "tool_choice": "required"}
    whole = client.chat.completions.create(**ask)
    with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
        kinds = [event.type for event in stream]
        added = stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.delta") > 1
    assert "content.delta" not in kinds
    [told], [said] = added.choices[0].message.tool_calls or [], whole.choices[0].message.tool_calls or []
    assert said.type == "function"
    assert (told.function.name, told.function.arguments) == (said.function.name, said.function.arguments)
    assert added.choices[0].finish_reason == whole.choices[0].finish_reason == "tool_calls"
    assert added.usage is not None
    assert whole.usage is not None
    assert added.usage.completion_tokens == whole.usage.completion_tokens > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_cut_off_says_so(family: str, client: openai.OpenAI) -> None:
    ask: Any = {"model": f"own/{family}", "messages": ASKED, "temperature": 0, "tools": [ROUTE]}
    for tokens in (1, 10):
        cut = client.chat.completions.create(max_tokens=tokens, tool_choice="required", **ask).choices[0]
        assert cut.finish_reason == "length"
        assert cut.message.content is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_anthropic_client(family: str, claude: anthropic.Anthropic) -> None:
    tool: Any = {"name": "route", "input_schema": INTENT}
    ask: Any = {"model": f"own/{family}", "max_tokens": 250, "tools": [tool], "extra_body": {"temperature": 0}}
    first = claude.messages.create(messages=ASKED, tool_choice={"type": "any"}, **ask)
    assert first.stop_reason == "tool_use"
    [call] = first.content
    assert call.type == "tool_use"
    assert call.name == "route"
    assert call.input["intent"] in ("refund", "delivery")
    turns: Any = [
        *ASKED,
        {"role": "assistant", "content": [call.model_dump(include={"type", "id", "name", "input"})]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "done"}]},
    ]
    with claude.messages.stream(messages=turns, tool_choice={"type": "tool", "name": "route"}, **ask) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        then = stream.get_final_message()
    assert len(pieces) > 1
    assert then.stop_reason == "tool_use"
    [call] = then.content
    assert call.type == "tool_use"
    assert call.input["intent"] in ("refund", "delivery")
    assert then.usage.output_tokens > 0


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_a_model_that_is_told_in_words_may_call_or_talk(family: str, client: openai.OpenAI) -> None:
    ask: Any = {"model": f"own/{family}", "messages": ASKED, "max_tokens": 250, "temperature": 0, "tools": [ROUTE]}
    ask["extra_body"] = {"grammar": GRAMMAR}
    choice = client.chat.completions.create(**ask).choices[0]
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert json.loads(call.function.arguments) == {"intent": "refund"}
    with client.chat.completions.stream(**ask) as stream:
        added = stream.get_final_completion().choices[0]
    [told] = added.message.tool_calls or []
    assert (added.finish_reason, told.function.arguments) == ("tool_calls", call.function.arguments)
    for text in ("Hello.", '{"intent": "refund"}'):
        ask["extra_body"] = {"grammar": f"root ::= {json.dumps(text)}"}
        assert client.chat.completions.create(**ask).choices[0].message.content == text
        with client.chat.completions.stream(**ask) as stream:
            assert stream.get_final_completion().choices[0].message.content == text


def test_what_harms_the_engine_is_refused(client: openai.OpenAI) -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(110):
        deep = {"properties": {"a": deep}}
    tool: Any = {"type": "function", "function": {"name": "deep", "parameters": deep}}
    for family in FAMILIES:
        with pytest.raises(openai.BadRequestError, match="nested"):
            client.chat.completions.create(
                model=f"own/{family}", messages=ASKED, tools=[tool], tool_choice="required", max_tokens=4
            )
