"""Ollama requests, read from clients: glanced at, read whole, passed on."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat, messages, ollama
from freehold.dialects.conversation import (
    Conversation,
    Image,
    Opaque,
    OutputFormat,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from freehold.dialects.ollama import generate
from freehold.dialects.traits import PLAIN
from freehold.errors import BadRequest, FreeholdError

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

REQUEST: dict[str, Any] = {
    "model": "qwen3",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [PNG]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "I should look.",
            "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Paris"}}},
                {"function": {"index": 1, "name": "weather", "arguments": {"city": "Rome"}}},
                {"function": {"name": "time", "arguments": {}}},
            ],
        },
        {"role": "tool", "tool_name": "time", "content": "noon"},
        {"role": "tool", "tool_name": "weather", "content": "rain"},
        {"role": "tool", "tool_name": "weather", "content": "sun"},
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "Thanks"},
    ],
    "tools": [WEATHER],
    "format": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "options": {
        "num_predict": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "seed": 7,
        "stop": ["END"],
        "num_ctx": 8192,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
    },
    "think": "high",
    "keep_alive": "10m",
    "logprobs": True,
    "top_logprobs": 3,
}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def read(**fields: Any) -> Conversation:
    return ollama.read_request(body(**fields))


def write(conversation: Conversation, losses: list[str] | None = None, **traits: Any) -> Any:
    found: list[str] = []
    written = ollama.write_request(conversation, found, msgspec.structs.replace(PLAIN, **traits))
    if losses is None:
        assert found == []
    else:
        losses += found
    return json.loads(written)


# Reading


def test_a_whole_request_is_read() -> None:
    conversation = ollama.read_request(json.dumps(REQUEST).encode())
    assert conversation.dialect == "ollama"
    assert conversation.stream, "streaming is the default"
    assert conversation.system == [Text("Be brief.")]
    assert [turn.role for turn in conversation.turns] == ["user", "assistant", "user", "assistant", "user"]
    assert conversation.turns[0].parts == [Image("image/png", PNG), Text("What is this?")]
    thinking, *calls = conversation.turns[1].parts
    assert thinking == Thinking("I should look.")
    assert [(call.name, call.arguments) for call in calls if isinstance(call, ToolCall)] == [
        ("weather", '{"city":"Paris"}'),
        ("weather", '{"city":"Rome"}'),
        ("time", "{}"),
    ]
    assert conversation.tools == [
        Tool("weather", "The weather in a city", WEATHER["function"]["parameters"])  # type: ignore[index]
    ]
    assert conversation.output == OutputFormat("schema", schema=REQUEST["format"])
    assert conversation.reasoning == Reasoning(effort="high")
    assert (conversation.max_tokens, conversation.temperature, conversation.top_p, conversation.top_k) == (
        100, 0.5, 0.9, 40,
    )  # fmt: skip
    assert (conversation.seed, conversation.stop) == (7, ["END"])
    assert (conversation.presence_penalty, conversation.frequency_penalty) == (0.2, 0.3)
    assert (conversation.logprobs, conversation.top_logprobs) == (True, 3)
    assert conversation.unknown == {
        "keep_alive": "10m", "options.min_p": 0.05, "options.num_ctx": 8192, "options.repeat_penalty": 1.1,
    }  # fmt: skip


def test_results_without_ids_find_their_calls_by_name_and_order() -> None:
    conversation = ollama.read_request(json.dumps(REQUEST).encode())
    paris, rome, time = [part for part in conversation.turns[1].parts if isinstance(part, ToolCall)]
    assert len({paris.id, rome.id, time.id}) == 3
    results = [part for part in conversation.turns[2].parts if isinstance(part, ToolResult)]
    assert [(result.id, result.parts) for result in results] == [
        (time.id, [Text("noon")]),
        (paris.id, [Text("rain")]),
        (rome.id, [Text("sun")]),
    ]


def test_made_up_ids_are_the_same_every_time_and_differ_between_turns() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    history = [call, {"role": "tool", "content": "1"}, call, {"role": "tool", "content": "2"}]
    first, second = read(messages=history), read(messages=[*history, {"role": "user", "content": "more"}])
    ids = [part.id for turn in first.turns for part in turn.parts if isinstance(part, ToolCall)]
    again = [part.id for turn in second.turns for part in turn.parts if isinstance(part, ToolCall)]
    assert ids == again
    assert len(set(ids)) == 2


def test_given_ids_are_kept() -> None:
    conversation = read(
        messages=[
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "call_a", "function": {"name": "f", "arguments": {}}},
                    {"id": "call_b", "function": {"name": "f", "arguments": {}}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_b", "content": "b"},
            {"role": "tool", "tool_call_id": "call_a", "content": "a"},
        ]
    )
    assert [part.id for part in conversation.turns[1].parts if isinstance(part, ToolResult)] == ["call_b", "call_a"]


def test_a_result_without_a_call_gets_an_id_of_its_own() -> None:
    conversation = read(messages=[{"role": "tool", "tool_name": "f", "content": "x"}])
    part = conversation.turns[0].parts[0]
    assert isinstance(part, ToolResult)
    assert part.id
    assert part.name == "f"


@pytest.mark.parametrize(
    ("think", "reasoning"),
    [
        (True, Reasoning()),
        (False, Reasoning(enabled=False)),
        ("low", Reasoning(effort="low")),
        ("max", Reasoning(effort="max")),
        (None, None),
    ],
)
def test_think(think: Any, reasoning: Reasoning | None) -> None:
    assert read(think=think).reasoning == reasoning


@pytest.mark.parametrize("limit", [-1, -2, 0])
def test_an_unlimited_answer_has_no_limit(limit: int) -> None:
    assert read(options={"num_predict": limit}).max_tokens is None
    assert ollama.peek(body(options={"num_predict": limit})).max_tokens is None


def test_whole_floats_are_integers_as_in_go() -> None:
    conversation = read(options={"num_predict": 5.0, "seed": 3.0, "top_k": 2.0})
    assert (conversation.max_tokens, conversation.seed, conversation.top_k) == (5, 3, 2)


def test_formats() -> None:
    assert read(format="json").output == OutputFormat("json")
    assert read(format="").output is None
    assert read(format=None).output is None


def test_unknown_things_are_kept() -> None:
    conversation = read(
        messages=[
            {"role": "Control", "content": "thinking"},
            {"role": "USER", "content": "hi", "videos": ["x"]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {}, "description": "d"}}],
            },
        ],
        truncate=False,
        tools=[{"type": "web_search", "max": 3}, {"type": "function", "function": {"name": "f", "x": 1}}],
    )
    assert conversation.turns[0].parts == [Opaque("ollama", {"$message": {"role": "Control", "content": "thinking"}})]
    assert conversation.turns[1].parts == [Text("hi"), Opaque("ollama", {"$fields": {"videos": ["x"]}})]
    assert conversation.turns[2].parts[-1] == Opaque("ollama", {"$part": {"description": "d"}})
    assert conversation.tools[0].opaque == Opaque("ollama", {"type": "web_search", "max": 3})
    assert conversation.unknown == {"truncate": False, "tools.1.x": 1}
    losses: list[str] = []
    chat.write_request(conversation, losses)
    assert {"truncate", "tools.0.web_search"} <= set(losses)


def test_every_message_returns_to_its_own_dialect() -> None:
    conversation = read(
        messages=[
            {"role": "control", "content": "thinking"},
            {"role": "user", "content": "hi", "videos": ["x"]},
        ],
        think=True,
        options={"num_ctx": 4},
        keep_alive=0,
    )
    written = write(conversation)
    assert written["messages"] == [
        {"role": "control", "content": "thinking"},
        {"role": "user", "content": "hi", "videos": ["x"]},
    ]
    assert (written["think"], written["options"], written["keep_alive"]) == (True, {"num_ctx": 4}, 0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x", "images": [5]}]}, "messages.0.images.0"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages.0.tool_calls.0.function"),
        ({"options": []}, "options"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"seed": 1.5}}, "options.seed"),
        ({"options": {"stop": [1]}}, "options.stop.0"),
        ({"format": "yaml"}, "format"),
        ({"think": "hard"}, "think"),
        ({"think": 1}, "think"),
        ({"stream": "yes"}, "stream"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function", "function": {"parameters": {}}}]}, "tools.0.function.name"),
        ({"model": 3}, "model"),
        ({"model": None}, "model"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], param: str) -> None:
    if fields.get("tools") == {}:
        fields = {"tools": {"a": 1}}
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}'])
def test_broken_bodies(broken: bytes) -> None:
    for take in (ollama.read_request, ollama.peek, generate.read_request, generate.peek):
        with pytest.raises(BadRequest):
            take(broken)


def test_deep_json() -> None:
    deep = b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(BadRequest):
        ollama.read_request(deep)


# Peek and patch


def test_peek() -> None:
    seen = ollama.peek(json.dumps(REQUEST).encode())
    assert (seen.model, seen.stream, seen.max_tokens, seen.tools, seen.schema, seen.images) == (
        "qwen3", True, 100, True, True, True,
    )  # fmt: skip
    assert seen.include_usage
    plain = ollama.peek(body(stream=False, tools=[], format=""))
    assert (plain.stream, plain.tools, plain.schema, plain.images) == (False, False, False, False)


def test_peek_counts_an_image_small() -> None:
    big = "A" * 1_000_000
    assert ollama.peek(body(messages=[{"role": "user", "content": "x", "images": [big]}])).input_bytes < 10_000
    assert generate.peek(json.dumps({"model": "m", "prompt": "x", "images": [big]}).encode()).input_bytes < 10_000


def test_peek_needs_no_messages() -> None:
    assert ollama.peek(b'{"model":"m"}').input_bytes == 0
    with pytest.raises(BadRequest):
        ollama.peek(b'{"model":"m","messages":{}}')


def test_patch_changes_the_model_alone() -> None:
    given = b'{ "model": "alias", "messages": [ {"role":"user","content":"\\u00e9"} ], "x": 1.0e3 }'
    patched = ollama.patch_request(given, model="qwen3:8b")
    assert json.loads(patched) == {**json.loads(given), "model": "qwen3:8b"}
    assert b'[ {"role":"user","content":"\\u00e9"} ]' in patched
    assert b"1.0e3" in patched
    assert b"stream" not in patched, "absent means true on both sides"
    assert ollama.patch_request(given, model="alias") is given


# The generate form


def test_generate_is_read() -> None:
    conversation = generate.read_request(
        json.dumps(
            {
                "model": "m",
                "prompt": "What?",
                "system": "Be brief.",
                "images": [PNG],
                "suffix": "",
                "raw": False,
                "context": [],
                "template": "",
                "options": {"num_predict": 3},
                "think": False,
                "format": "json",
            }
        ).encode()
    )
    assert conversation.dialect == "ollama_generate"
    assert conversation.stream
    assert conversation.system == [Text("Be brief.")]
    assert conversation.turns == [Turn("user", [Image("image/png", PNG), Text("What?")])]
    assert (conversation.max_tokens, conversation.output) == (3, OutputFormat("json"))
    assert conversation.unknown == {}, "zero values mean absent"


def test_generate_reports_what_a_chat_cannot_do() -> None:
    given = {"model": "m", "prompt": "x", "suffix": "y", "raw": True, "context": [1], "template": "t", "keep_alive": 1}
    conversation = generate.read_request(json.dumps(given).encode())
    losses: list[str] = []
    chat.write_request(conversation, losses)
    assert set(losses) == {"suffix", "raw", "context", "template", "keep_alive"}
    losses = []
    written = write(conversation, losses)
    assert set(losses) == {"suffix", "raw", "context", "template"}
    assert written["keep_alive"] == 1
    assert written["messages"] == [{"role": "user", "content": "x"}]


def test_generate_peek() -> None:
    seen = generate.peek(b'{"model":"m","prompt":"abcd","options":{"num_predict":7},"stream":false,"format":{}}')
    assert (seen.model, seen.stream, seen.max_tokens, seen.input_bytes, seen.schema) == ("m", False, 7, 6, True)
    with pytest.raises(BadRequest) as caught:
        generate.peek(b'{"model":"m","prompt":["a"]}')
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "form", "reason"),
    [
        ({"messages": []}, False, "load"),
        ({}, False, "load"),
        ({"messages": [], "keep_alive": 0}, False, "unload"),
        ({}, True, "load"),
        ({"prompt": "", "keep_alive": "0"}, True, "unload"),
        ({"messages": [{"role": "user", "content": "x"}]}, False, None),
        ({"prompt": "x"}, True, None),
        ({"images": [PNG]}, True, None),
    ],
)
def test_requests_that_only_load(fields: dict[str, Any], form: bool, reason: str | None) -> None:
    answer = ollama.answer_loading(json.dumps({"model": "m", **fields}).encode(), 1_700_000_000, form)
    assert (json.loads(answer)["done_reason"] if answer is not None else None) == reason
    assert ollama.answer_loading(b"{", 0) is None


# Fuzz

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*at, key))
    return found


def mutated(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    copy = json.loads(json.dumps(value))
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = to
    return copy


GENERATE = {"model": "m", "prompt": "x", "system": "s", "images": [PNG], "options": {"stop": ["a"]}, "think": True}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(paths(REQUEST)), _JSON)
def test_any_mutation_is_read_or_refused(path: tuple[Any, ...], value: Any) -> None:
    given_body = json.dumps(mutated(REQUEST, path, value)).encode()
    for take in (ollama.peek, ollama.read_request):
        try:
            result = take(given_body)
        except BadRequest:
            continue
        if isinstance(result, Conversation):
            for dialect in (ollama, chat, messages):
                with suppress(FreeholdError):
                    json.loads(dialect.write_request(result, []))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(paths(GENERATE)), _JSON)
def test_any_generate_mutation_is_read_or_refused(path: tuple[Any, ...], value: Any) -> None:
    given_body = json.dumps(mutated(GENERATE, path, value)).encode()
    for take in (generate.peek, generate.read_request):
        try:
            result = take(given_body)
        except BadRequest:
            continue
        if isinstance(result, Conversation):
            json.loads(ollama.write_request(result, []))
