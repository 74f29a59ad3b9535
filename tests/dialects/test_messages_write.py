"""Conversations written as Anthropic requests: order, tools, structured output, thinking, caching, losses."""

import json
from typing import Any

import pytest

from freehold.dialects import messages
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.dialects.tool_calls import with_signature
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import BadRequest

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BUDGET = Traits(thinking="budget", default_max_tokens=32_000)
ADAPTIVE = Traits(thinking="adaptive")


def user(*parts: Part) -> Turn:
    return Turn("user", list(parts) or [Text("hi")])


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", list(parts))


def talk(*turns: Turn, **fields: Any) -> Conversation:
    return Conversation("claude-x", turns=list(turns) or [user()], dialect="chat", **fields)


def write(conversation: Conversation, traits: Traits = PLAIN) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    return json.loads(messages.write_request(conversation, losses, traits)), losses


def test_the_least_request() -> None:
    body, losses = write(talk())
    assert body == {"model": "claude-x", "max_tokens": 4096, "messages": [{"role": "user", "content": "hi"}]}
    assert losses == []


def test_max_tokens_is_required_and_comes_from_the_traits() -> None:
    assert write(talk(), Traits(default_max_tokens=777))[0]["max_tokens"] == 777
    assert write(talk(max_tokens=5))[0]["max_tokens"] == 5


def test_system_turns_in_mid_conversation_are_hoisted_and_reported() -> None:
    body, losses = write(
        talk(user(), Turn("system", [Text("be brief")]), assistant(Text("ok")), user(), system=[Text("S")])
    )
    assert body["system"] == [{"type": "text", "text": "S"}, {"type": "text", "text": "be brief"}]
    assert losses == ["messages.1.role"]


def test_empty_and_blank_text_is_dropped_and_neighbours_of_a_role_are_joined() -> None:
    body, losses = write(
        talk(user(Text("a"), Text("")), user(Text("  \n")), user(Text("b")), assistant(Text("")), user(Text("c")))
    )
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["a", "b", "c"]
    assert losses == []


def test_nothing_left_to_say_is_a_bad_request() -> None:
    with pytest.raises(BadRequest) as caught:
        write(talk(user(Text(""))))
    assert caught.value.param == "messages"


# Tool calls


def test_parallel_results_stand_first_in_one_turn_right_after_the_calls() -> None:
    body, losses = write(
        talk(
            user(),
            assistant(Text("let me see"), ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g")),
            user(Text("meanwhile"), ToolResult("b", [Text("B")])),
            user(ToolResult("a", [Text("A")], is_error=True)),
        )
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    calls = body["messages"][1]["content"][1:]
    assert [(call["id"], call["name"], call["input"]) for call in calls] == [("a", "f", {"x": 1}), ("b", "g", {})]
    results = body["messages"][2]["content"]
    assert [block["type"] for block in results] == ["tool_result", "tool_result", "text"]
    assert results[0] == {"type": "tool_result", "tool_use_id": "a", "content": "A", "is_error": True}
    assert losses == []


def test_orphans_are_repaired_and_reported() -> None:
    body, losses = write(
        talk(
            user(),
            assistant(ToolCall("a", "f"), ToolCall("b", "g")),
            user(ToolResult("a", [Text("A")]), ToolResult("zzz", [Text("stray")])),
            assistant(ToolCall("c", "f")),
        )
    )
    results = body["messages"][2]["content"]
    assert [block.get("tool_use_id") for block in results] == ["a", "b", None]
    assert results[1]["is_error"]
    assert results[2] == {"type": "text", "text": "stray"}
    assert body["messages"][-1]["content"][0]["tool_use_id"] == "c"
    assert sorted(losses) == ["messages.1.tool_calls", "messages.2.tool_result", "messages.3.tool_calls"]


def test_a_result_without_content_leaves_no_empty_turn() -> None:
    body, losses = write(talk(user(), assistant(Text("x")), user(ToolResult("gone"))))
    assert body["messages"][-1]["role"] == "assistant"
    assert losses == ["messages.2.tool_result"]


def test_ids_are_made_and_mapped_the_same_way_every_time() -> None:
    conversation = talk(
        user(),
        assistant(ToolCall("", "f"), ToolCall("functions.g:0", "g")),
        user(ToolResult("", [Text("1")]), ToolResult("functions.g:0", [Text("2")])),
        assistant(ToolCall("functions.g:0", "g")),
        user(ToolResult("functions.g:0", [Text("3")])),
    )
    body, losses = write(conversation)
    ids = [block["id"] for message in body["messages"][1::2] for block in message["content"]]
    results = [block["tool_use_id"] for message in body["messages"][2::2] for block in message["content"]]
    assert ids == results
    assert len(set(ids)) == 3
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for name in ids)
    assert write(conversation) == (body, losses)
    assert conversation.turns[1].parts[0] == ToolCall("", "f")


def test_a_gemini_signature_inside_an_id_does_not_reach_anthropic() -> None:
    tool_id = with_signature("call_1", "c2lnbmF0dXJl")
    body, _ = write(talk(user(), assistant(ToolCall(tool_id, "f")), user(ToolResult(tool_id, [Text("r")]))))
    assert body["messages"][1]["content"][0]["id"] == "call_1"
    assert body["messages"][2]["content"][0]["tool_use_id"] == "call_1"


@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "no json"])
def test_arguments_that_are_no_object_are_wrapped_and_reported(arguments: str) -> None:
    body, losses = write(talk(user(), assistant(ToolCall("a", "f", arguments)), user(ToolResult("a"))))
    assert body["messages"][1]["content"][0]["input"] == {"arguments": arguments}
    assert losses == ["messages.1.tool_calls.arguments"]


@pytest.mark.parametrize("arguments", ["", "{}", "  "])
def test_a_call_without_arguments_has_an_empty_object(arguments: str) -> None:
    body, losses = write(talk(user(), assistant(ToolCall("a", "f", arguments)), user(ToolResult("a"))))
    assert body["messages"][1]["content"][0]["input"] == {}
    assert losses == []


def test_arguments_keep_their_bytes() -> None:
    raw = messages.write_request(
        talk(user(), assistant(ToolCall("a", "f", '{"n": 1.50, "big": 123456789012345678901234567890}')), user()), []
    )
    assert b'"input":{"n": 1.50, "big": 123456789012345678901234567890}' in raw


def test_results_keep_images_and_documents() -> None:
    body, losses = write(
        talk(
            user(),
            assistant(ToolCall("a", "f")),
            user(ToolResult("a", [Text("see"), Image("image/png", data="QUJD"), Document("application/pdf", "QUJD")])),
        )
    )
    content = body["messages"][2]["content"][0]["content"]
    assert [block["type"] for block in content] == ["text", "image", "document"]
    assert losses == []


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("none"), None, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (ToolChoice("tool", "f"), None, {"type": "tool", "name": "f"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (None, True, None),
        (None, None, None),
    ],
)
def test_tool_choice(choice: ToolChoice | None, parallel: bool | None, wire: Any) -> None:
    body, losses = write(talk(tools=[Tool("f", schema=SCHEMA)], tool_choice=choice, parallel_tools=parallel))
    assert body.get("tool_choice") == wire
    assert losses == []


def test_a_choice_without_tools_is_reported_only_where_it_demands_one() -> None:
    assert write(talk(tool_choice=ToolChoice("auto")))[1] == []
    body, losses = write(talk(tool_choice=ToolChoice("required")))
    assert "tool_choice" not in body
    assert losses == ["tool_choice"]


def test_allowed_tools_are_the_only_ones_sent() -> None:
    tools = [Tool("f", schema=SCHEMA), Tool("g", schema=SCHEMA)]
    body, losses = write(talk(tools=tools, tool_choice=ToolChoice("required", names=["g"])))
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}
    assert losses == []


def test_tools_get_an_object_schema_and_foreign_tools_are_reported() -> None:
    tools = [
        Tool("none"),
        Tool("strict", "d", SCHEMA, strict=True),
        Tool("either", schema={"anyOf": [SCHEMA, {"type": "object", "properties": {"zip": {"type": "string"}}}]}),
        Tool("web_search", opaque=Opaque("chat", {"type": "web_search"})),
    ]
    body, losses = write(talk(tools=tools))
    assert body["tools"][0] == {"name": "none", "input_schema": {"type": "object", "properties": {}}}
    assert body["tools"][1] == {"name": "strict", "description": "d", "input_schema": SCHEMA, "strict": True}
    assert set(body["tools"][2]["input_schema"]["properties"]) == {"city", "zip"}
    assert losses == ["tools.2.anyOf", "tools.3.web_search"]


# Structured output


def test_a_schema_goes_the_native_way_closed() -> None:
    body, losses = write(talk(output=OutputFormat("schema", SCHEMA, "place")))
    assert body["output_config"] == {
        "format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}
    }
    assert losses == []


def test_what_a_schema_loses_is_reported_in_the_clients_words() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    _, losses = write(talk(output=OutputFormat("schema", schema)))
    assert losses == ["response_format.properties.n.minimum"]


def test_a_schema_goes_as_a_forced_tool_where_the_model_knows_no_other_way() -> None:
    traits = Traits(json_schema="tool")
    conversation = talk(output=OutputFormat("schema", SCHEMA, "my place"))
    body, losses = write(conversation, traits)
    name = messages.json_tool_name(conversation, traits)
    assert name == "my_place"
    assert body["tools"][-1]["input_schema"] == SCHEMA
    assert body["tool_choice"] == {"type": "tool", "name": name}
    assert losses == []
    conversation.tools = [Tool("my_place", schema=SCHEMA)]
    body, _ = write(conversation, traits)
    assert [tool["name"] for tool in body["tools"]] == ["my_place", "my_place_"]
    assert body["tool_choice"] == {"type": "any"}
    assert messages.json_tool_name(conversation, PLAIN) is None


@pytest.mark.parametrize("output", [OutputFormat("json"), OutputFormat("schema")])
def test_json_without_a_schema_is_asked_for_in_words(output: OutputFormat) -> None:
    body, losses = write(talk(output=output, system=[Text("S")]))
    assert "JSON object" in body["system"][-1]["text"]
    assert losses == ["response_format"]


def test_a_schema_in_words_where_nothing_else_works() -> None:
    body, losses = write(talk(output=OutputFormat("schema", SCHEMA)), Traits(json_schema="prompt"))
    assert '"city"' in body["system"]
    assert losses == ["response_format"]


# Thinking


@pytest.mark.parametrize(
    ("reasoning", "wire"),
    [
        (Reasoning(effort="low"), {"type": "enabled", "budget_tokens": 2048}),
        (Reasoning(effort="high"), {"type": "enabled", "budget_tokens": 24576}),
        (Reasoning(budget=5000), {"type": "enabled", "budget_tokens": 5000}),
        (Reasoning(adaptive=True), {"type": "enabled", "budget_tokens": 8192}),
        (Reasoning(enabled=False), {"type": "disabled"}),
        (Reasoning(effort="none"), {"type": "disabled"}),
        (Reasoning(budget=5000, include=True), {"type": "enabled", "budget_tokens": 5000, "display": "summarized"}),
    ],
)
def test_reasoning_as_a_budget(reasoning: Reasoning, wire: dict[str, Any]) -> None:
    body, losses = write(talk(reasoning=reasoning), BUDGET)
    assert body["thinking"] == wire
    assert losses == []
    assert body["max_tokens"] > wire.get("budget_tokens", 0)


@pytest.mark.parametrize(
    ("reasoning", "effort", "lost"),
    [
        (Reasoning(effort="minimal"), "low", []),
        (Reasoning(effort="xhigh"), "xhigh", []),
        (Reasoning(), None, []),
        (Reasoning(budget=8000), "medium", ["reasoning_effort"]),
    ],
)
def test_reasoning_as_adaptive_thinking(reasoning: Reasoning, effort: str | None, lost: list[str]) -> None:
    body, losses = write(talk(reasoning=reasoning), ADAPTIVE)
    assert body["thinking"] == {"type": "adaptive"}
    assert body.get("output_config", {}).get("effort") == effort
    assert losses == lost


def test_a_budget_must_fit_into_max_tokens() -> None:
    body, losses = write(talk(reasoning=Reasoning(effort="high"), max_tokens=4000), BUDGET)
    assert body["thinking"]["budget_tokens"] == 3200
    assert losses == []
    body, losses = write(talk(reasoning=Reasoning(budget=9000), max_tokens=4000), BUDGET)
    assert losses == ["reasoning_effort.budget_tokens"]
    body, losses = write(talk(reasoning=Reasoning(effort="high"), max_tokens=900), BUDGET)
    assert "thinking" not in body
    assert losses == ["reasoning_effort"]
    body, losses = write(talk(reasoning=Reasoning(effort="max")), BUDGET)
    assert body["max_tokens"] == body["thinking"]["budget_tokens"] + 32_000
    assert losses == []


def test_thinking_excludes_sampling_forced_tools_and_prefill() -> None:
    reasoning = Reasoning(effort="low")
    body, losses = write(talk(reasoning=reasoning, temperature=0.3, top_k=4, top_p=0.5), BUDGET)
    assert not {"temperature", "top_k", "top_p"} & set(body)
    assert sorted(losses) == ["temperature", "top_k", "top_p"]
    body, losses = write(talk(reasoning=reasoning, tools=[Tool("f")], tool_choice=ToolChoice("required")), BUDGET)
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "any"}
    assert losses == ["reasoning_effort"]
    forced = talk(reasoning=reasoning, tools=[Tool("f")], tool_choice=ToolChoice("required"))
    body, losses = write(forced, ADAPTIVE)
    assert (body["thinking"], body["tool_choice"], losses) == ({"type": "adaptive"}, {"type": "any"}, [])
    body, losses = write(talk(user(), assistant(Text("I think")), reasoning=reasoning), BUDGET)
    assert body["messages"][-1]["role"] == "user"
    assert losses == ["messages.1.prefill"]


def test_thinking_is_given_up_in_a_tool_loop_whose_thoughts_are_lost() -> None:
    turns = [user(), assistant(ToolCall("a", "f")), user(ToolResult("a", [Text("r")]))]
    body, losses = write(talk(*turns, reasoning=Reasoning(effort="low")), BUDGET)
    assert "thinking" not in body
    assert losses == ["reasoning_effort"]
    turns[1].parts.insert(0, Thinking("", "c2ln"))
    body, losses = write(talk(*turns, reasoning=Reasoning(effort="low")), BUDGET)
    assert body["thinking"]["type"] == "enabled"
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert losses == []


def test_only_anthropics_own_thoughts_are_replayed() -> None:
    thoughts = [
        Thinking("mine", "c2ln"),
        Thinking(redacted="opaque"),
        Thinking("unsigned"),
        Thinking("google's", "gemini:AAAA"),
    ]
    body, losses = write(talk(user(), assistant(*thoughts, Text("x")), user()))
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "redacted_thinking", "text"]
    assert losses == ["messages.1.reasoning_content"] * 2


def test_reasoning_for_a_model_that_cannot_think_is_reported() -> None:
    assert write(talk(reasoning=Reasoning(effort="low")))[1] == ["reasoning_effort"]
    assert write(talk(reasoning=Reasoning(enabled=False)))[1] == []


# Settings


def test_sampling_is_clamped_and_what_has_no_field_is_reported() -> None:
    body, losses = write(talk(temperature=1.7, n=3, seed=1, logit_bias={"1": 2.0}, presence_penalty=0.5, logprobs=True))
    assert body["temperature"] == 1.0
    assert sorted(losses) == ["logit_bias", "logprobs", "n", "presence_penalty", "seed", "temperature"]
    assert write(talk(temperature=0.5, n=1, presence_penalty=0, frequency_penalty=0.0, logprobs=False))[1] == []


def test_temperature_and_top_p_do_not_go_together() -> None:
    body, losses = write(talk(temperature=0.5, top_p=0.9))
    assert "top_p" not in body
    assert losses == ["top_p"]
    assert write(talk(temperature=0.5, top_p=1))[1] == []
    assert write(talk(top_p=0.9))[0]["top_p"] == 0.9


def test_a_model_without_sampling() -> None:
    body, losses = write(talk(temperature=0.5, top_k=3), Traits(sampling=False))
    assert not {"temperature", "top_k"} & set(body)
    assert losses == ["temperature", "top_k"]
    body, losses = write(talk(temperature=1), Traits(sampling=False))
    assert losses == []


def test_stop_sequences_that_are_blank_or_too_many_are_reported() -> None:
    body, losses = write(talk(stop=["END", " \n"]))
    assert body["stop_sequences"] == ["END"]
    assert losses == ["stop"]
    body, losses = write(talk(stop=list("abcdef")))
    assert body["stop_sequences"] == list("abcd")
    assert losses == ["stop"]
    assert write(talk(stop=list("abcdef")), Traits(stop_max=100))[1] == []


def test_user_metadata_tier_and_unknown_fields() -> None:
    conversation = talk(user="u-1", metadata={"a": "b"}, service_tier="default")
    conversation.unknown = {"verbosity": "low"}
    body, losses = write(conversation)
    assert body["metadata"] == {"user_id": "u-1"}
    assert body["service_tier"] == "standard_only"
    assert losses == ["metadata", "verbosity"]
    assert write(talk(service_tier="flex", user="x" * 300))[1] == ["user", "service_tier"]


def test_a_trailing_assistant_turn_is_continued_or_handed_back() -> None:
    turns = [user(), assistant(Text("The answer is  "))]
    body, losses = write(talk(*turns))
    assert body["messages"][-1] == {"role": "assistant", "content": "The answer is"}
    assert losses == []
    body, losses = write(talk(*turns), Traits(prefill=False))
    assert body["messages"][-1]["role"] == "user"
    assert losses == ["messages.1.prefill"]


def test_a_paused_turn_goes_back_as_it_is() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    conversation = talk(user(), assistant(Text("searching"), Opaque("messages", block)))
    body, losses = write(conversation, Traits(prefill=False))
    assert body["messages"][-1]["content"][-1] == block
    assert losses == []


# Media


def test_images_by_data_url_and_address() -> None:
    body, losses = write(
        talk(
            user(
                Image("image/jpeg", data="QUJD"),
                Image(data="iVBORw0KGgoAAA"),
                Image(url="https://example.org/a.png", detail="auto"),
                Image(url="data:image/gif;base64,R0lGOD"),
            )
        )
    )
    sources = [block["source"] for block in body["messages"][0]["content"]]
    assert sources == [
        {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"},
        {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAA"},
        {"type": "url", "url": "https://example.org/a.png"},
        {"type": "base64", "media_type": "image/gif", "data": "R0lGOD"},
    ]
    assert losses == []


def test_documents_by_data_text_and_address() -> None:
    body, losses = write(
        talk(
            user(
                Document("application/pdf", data="JVBERi0x", title="T"),
                Document("text/csv", data="YSxi"),
                Document(text="plain", context="C", citations=True),
                Document(url="https://example.org/a.pdf"),
            )
        )
    )
    blocks = body["messages"][0]["content"]
    assert [block["source"]["type"] for block in blocks] == ["base64", "text", "text", "url"]
    assert blocks[0]["title"] == "T"
    assert blocks[1]["source"]["data"] == "a,b"
    assert (blocks[2]["context"], blocks[2]["citations"]) == ("C", {"enabled": True})
    assert losses == []


def test_what_cannot_be_carried_is_reported_by_its_place() -> None:
    _, losses = write(
        talk(
            user(
                Text("x"),
                Audio("QUJD", "wav"),
                Image(file_id="file-1"),
                Image(url="https://example.org/a.png", detail="high"),
                Document("application/msword", data="QUJD"),
                Opaque("chat", {"type": "new_part"}),
            )
        )
    )
    assert losses == [
        "messages.0.audio",
        "messages.0.image",
        "messages.0.image.detail",
        "messages.0.document",
        "messages.0.new_part",
    ]


def test_a_refusal_in_history_is_what_the_assistant_said() -> None:
    body, losses = write(talk(user(), assistant(Refusal("I cannot")), user()))
    assert body["messages"][1]["content"] == "I cannot"
    assert losses == []


def test_at_most_four_cache_breakpoints_the_first_and_the_last_three() -> None:
    turns = [user(Text(str(number), cache="5m")) for number in range(4)]
    conversation = talk(*turns, system=[Text("S", cache="1h")], tools=[Tool("f", cache="5m")])
    body, losses = write(conversation)
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["system"] == "S"
    marked = [block["text"] for block in body["messages"][0]["content"] if "cache_control" in block]
    assert marked == ["1", "2", "3"]
    assert losses == ["cache_control"]
    conversation.turns = turns[:2]
    body, losses = write(conversation)
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert losses == []
