"""A loss report in the words of the client that sent the request."""

import json

import pytest

from freehold.call.languages import CLIENT
from freehold.dialects.conversation import Conversation
from freehold.dialects.words import in_words, word


def test_names_are_the_clients_and_each_once() -> None:
    gemini = Conversation("m", dialect="gemini", unknown={"top_k": 1})
    names = ["temperature", "stop", "top_k", "temperature", "generationConfig.stopSequences", "cache_control"]
    assert in_words(gemini, names) == [
        "generationConfig.temperature",
        "generationConfig.stopSequences",
        "top_k",  # a field of the client's own by that name
        "cache_control",
    ]
    assert in_words(gemini, ["messages.2.tool_calls", "system.image"]) == [
        "contents.2.functionCall",
        "systemInstruction.image",
    ]
    assert in_words(gemini, ["generationConfig.thinkingConfig.budget_tokens"]) == [
        "generationConfig.thinkingConfig.thinkingBudget"
    ]


@pytest.mark.parametrize(
    ("dialect", "name", "said"),
    [
        ("messages", "response_format", "output_config.format"),
        ("messages", "messages.1.tool_calls", "messages.1.tool_use"),
        ("responses", "max_tokens", "max_output_tokens"),
        ("responses", "messages.0.tool_result", "input.0.function_call_output"),
        ("responses", "previous", "previous_response_id"),
        ("ollama", "seed", "options.seed"),
        ("ollama", "reasoning_effort", "think"),
        ("ollama_generate", "messages.0.image", "prompt.image"),
        ("completions", "messages.0.role", "prompt"),
        ("cohere", "top_k", "k"),
        ("mistral", "seed", "random_seed"),
        ("chat", "reasoning", "reasoning_effort"),
        ("chat", "tools.0.strict", "tools.0.strict"),
    ],
)
def test_each_dialect(dialect: str, name: str, said: str) -> None:
    assert in_words(Conversation("m", dialect=dialect), [name]) == [said]
    assert in_words(Conversation("m", dialect=dialect), [said]) == [said]


def test_a_name_that_is_the_same_everywhere() -> None:
    assert word("chat", "temperature") == word("nobody", "temperature") == "temperature"


TURNS = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]


@pytest.mark.parametrize("dialect", ["chat", "mistral", "cohere", "ollama", "responses", "messages"])
def test_numbers_are_those_of_the_clients_own_messages(dialect: str) -> None:
    """Readers lift a leading system message out and join results, so that turns count differently."""
    messages = [{"role": role, "content": text} for role, text in TURNS]
    field = "input" if dialect == "responses" else "messages"
    if dialect == "messages":
        messages = messages[1:]
    body = {"model": "m", "max_tokens": 9, field: messages}
    conversation = CLIENT[dialect].read_request(json.dumps(body).encode())
    first = 0 if dialect == "messages" else 1
    assert in_words(conversation, [f"messages.{n}.image" for n in range(3)]) == [
        f"{field}.{n + first}.image" for n in range(3)
    ]


def test_joined_results_count_as_the_first_of_them() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call | {"id": "x"}, call | {"id": "y"}]},
        {"role": "tool", "tool_call_id": "x", "content": "1"},
        {"role": "tool", "tool_call_id": "y", "content": "2"},
        {"role": "user", "content": "b"},
    ]
    conversation = CLIENT["chat"].read_request(json.dumps({"model": "m", "messages": messages}).encode())
    assert conversation.places == [0, 1, 2, 4]
    plain = {"model": "m", "messages": messages[:1]}
    assert CLIENT["chat"].read_request(json.dumps(plain).encode()).places == []
