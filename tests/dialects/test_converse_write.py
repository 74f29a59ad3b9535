"""Conversations written as Converse requests. Every body is checked against AWS's own service model."""

import json
from base64 import b64encode
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import chat, converse, messages
from freehold.dialects.conversation import (
    Audio,
    Citation,
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
    Voice,
)
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.words import word
from freehold.errors import BadRequest, CallerError, PolicyError

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
QWEN = "qwen.qwen3-32b-v1:0"
PNG = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(9)).decode()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BUDGET = Traits(thinking="budget", default_max_tokens=32_000, stop_max=100)
EFFORT = Traits(thinking="effort")


@cache
def shape() -> Any:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return model.operation_model("Converse").input_shape


def check(body: dict[str, Any], model: str = CLAUDE) -> None:
    report = ParamValidator().validate({"modelId": model, **body}, shape())
    assert not report.has_errors(), report.generate_report()


def user(*parts: Part) -> Turn:
    return Turn("user", list(parts) or [Text("hi")])


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", list(parts))


def talk(*turns: Turn, model: str = CLAUDE, **fields: Any) -> Conversation:
    return Conversation(model, turns=list(turns) or [user()], dialect="chat", **fields)


def write(conversation: Conversation, traits: Traits = PLAIN, **options: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = json.loads(converse.write_request(conversation, losses, traits, **options))
    check(body, conversation.model)
    return body, losses


def content(*parts: Part, model: str = CLAUDE, traits: Traits = PLAIN) -> tuple[list[dict[str, Any]], list[str]]:
    body, losses = write(talk(user(*parts), model=model), traits)
    return body["messages"][0]["content"], losses


def test_the_least_request() -> None:
    assert write(talk()) == ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, [])


def test_nothing_to_say_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="no content"):
        write(talk(user(Text("  "))))


def test_the_path_is_one_segment() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    assert converse.path(CLAUDE, False) == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    assert converse.path(arn, True) == (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse-stream"
    )
    assert converse.path("..", False) == "/model/%2E%2E/converse"
    assert converse.count_path("a?b#c") == "/model/a%3Fb%23c/count-tokens"
    assert converse.invoke_path("a:0", True) == "/model/a%3A0/invoke-with-response-stream"


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        (CLAUDE, "anthropic"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic"),
        ("us-gov.amazon.nova-pro-v1:0", "amazon"),
        ("openai.gpt-oss-120b-1:0", "openai"),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-8b-instruct-v1:0", "meta"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", ""),
        ("", ""),
    ],
)
def test_the_maker_of_a_model(model: str, maker: str) -> None:
    assert converse.family(model, PLAIN) == maker


def test_a_profile_that_thinks_with_a_budget_is_claude() -> None:
    assert converse.family("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", BUDGET) == "anthropic"


# Content


def test_media() -> None:
    blocks, losses = content(
        Text("look"),
        Image(data=PNG),
        Image("image/jpg", "QUJD"),
        Image(url="data:image/webp;base64,QUJD"),
        Image("image/gif", url="s3://bucket/kiwi.gif"),
        Document("application/pdf", "QUJD", title="Q3 report.pdf"),
        Document(text="plain words", title="Q3 report.pdf", citations=True, context="ctx"),
        Document("text/x-python; charset=utf-8", "QUJD"),
        Document("video/mp4", "QUJD"),
        Audio("QUJD", "mp3"),
    )
    assert losses == []
    assert blocks == [
        {"text": "look"},
        {"image": {"format": "png", "source": {"bytes": PNG}}},
        {"image": {"format": "jpeg", "source": {"bytes": "QUJD"}}},
        {"image": {"format": "webp", "source": {"bytes": "QUJD"}}},
        {"image": {"format": "gif", "source": {"s3Location": {"uri": "s3://bucket/kiwi.gif"}}}},
        {"document": {"format": "pdf", "name": "Q3 report-pdf", "source": {"bytes": "QUJD"}}},
        {
            "document": {
                "format": "txt",
                "name": "Q3 report-pdf 2",
                "source": {"bytes": b64encode(b"plain words").decode()},
                "context": "ctx",
                "citations": {"enabled": True},
            }
        },
        {"document": {"format": "txt", "name": "document", "source": {"bytes": "QUJD"}}},
        {"video": {"format": "mp4", "source": {"bytes": "QUJD"}}},
        {"audio": {"format": "mp3", "source": {"bytes": "QUJD"}}},
    ]


@pytest.mark.parametrize(
    ("part", "loss"),
    [
        (Image(url="https://example.com/a.png"), "messages.0.image"),
        (Image(file_id="file-1"), "messages.0.image"),
        (Image("image/tiff", "QUJD"), "messages.0.image"),
        (Image(url="data:image/png,raw"), "messages.0.image"),
        (Document("application/zip", "QUJD"), "messages.0.document"),
        (Document(file_id="file-1"), "messages.0.document"),
        (Audio(id="audio_1"), "messages.0.audio"),
        (Audio("QUJD", "amr"), "messages.0.audio"),
        (Opaque("chat", {"type": "mystery"}), "messages.0.mystery"),
        (Thinking("unsigned"), "messages.0.reasoning_content"),
        (Thinking("hm", "gemini:abc"), "messages.0.reasoning_content"),
        (Thinking(redacted="openai:abc"), "messages.0.reasoning_content"),
    ],
)
def test_what_has_no_block_is_reported(part: Part, loss: str) -> None:
    assert content(Text("hi"), part) == ([{"text": "hi"}], [loss])


def test_a_title_that_loses_letters_is_reported() -> None:
    blocks, losses = content(Document("application/pdf", "QUJD", title="Jahresübersicht"))
    assert blocks[0]["document"]["name"] == "Jahres-bersicht"
    assert losses == ["messages.0.document.title"]


def test_guarded_content_and_search_results_have_their_own_blocks() -> None:
    found = {
        "type": "search_result",
        "source": "https://example.com",
        "title": "T",
        "content": [{"type": "text", "text": "x"}],
        "citations": {"enabled": True},
    }
    guarded = {"type": "guardContent", "guardContent": {"text": {"text": "secret plan"}}}
    blocks, losses = content(Opaque("messages", found), Opaque("chat", guarded))
    assert losses == []
    assert blocks == [
        {
            "searchResult": {
                "source": "https://example.com",
                "title": "T",
                "content": [{"text": "x"}],
                "citations": {"enabled": True},
            }
        },
        {"guardContent": {"text": {"text": "secret plan"}}},
    ]


def test_system_turns_and_roles() -> None:
    body, losses = write(
        talk(assistant(Text("Hello")), user(), Turn("system", [Text("Be brief")]), system=[Text("You are"), Image()])
    )
    assert body["system"] == [{"text": "You are"}, {"text": "Be brief"}]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert losses == ["messages.0.role", "messages.2.role", "system.image"]


def test_prefill_is_kept_or_reported() -> None:
    turns = (user(), assistant(Text("The answer is ")))
    assert write(talk(*turns))[0]["messages"][-1] == {"role": "assistant", "content": [{"text": "The answer is"}]}
    body, losses = write(talk(*turns), Traits(prefill=False))
    assert body["messages"][-1]["role"] == "user"
    assert losses == ["messages.1.prefill"]


# Thinking


def test_signed_thoughts_go_back_to_claude_as_they_were() -> None:
    """Trap 39: order and bytes."""
    data = "EuYBCoYBGAIiQ"
    body, losses = write(
        talk(
            user(), assistant(Thinking("hm", "sig=="), Thinking("", "sig2"), Thinking(redacted=data), Text("4")), user()
        )
    )
    assert losses == []
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig=="}}},
        {"reasoningContent": {"reasoningText": {"text": "", "signature": "sig2"}}},
        {"reasoningContent": {"redactedContent": b64encode(data.encode()).decode()}},
        {"text": "4"},
    ]


def test_thoughts_of_others_go_back_only_where_they_are_wanted() -> None:
    turns = (user(), assistant(Thinking("hm"), Text("4")), user())
    assert write(talk(*turns, model=QWEN))[1] == ["messages.1.reasoning_content"]
    body, losses = write(talk(*turns, model=QWEN), Traits(replay_reasoning="reasoning_content"))
    assert body["messages"][1]["content"][0] == {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    assert losses == []
    signed = talk(user(), assistant(Thinking("hm", "claudes"), Text("4")), user(), model=NOVA)
    assert write(signed)[1] == ["messages.1.reasoning_content"]


def test_a_budget_fits_into_max_tokens() -> None:
    """Trap 40."""
    body, losses = write(talk(reasoning=Reasoning(budget=2000), max_tokens=1500, temperature=0.2), BUDGET)
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 1200}}
    assert body["inferenceConfig"] == {"maxTokens": 1500}
    assert losses == ["reasoning_effort.budget_tokens", "temperature"]


def test_a_budget_without_max_tokens_names_one() -> None:
    body, _ = write(talk(reasoning=Reasoning(effort="low")), BUDGET)
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2048
    assert body["inferenceConfig"]["maxTokens"] == 32_000


def test_adaptive_thinking() -> None:
    body, losses = write(talk(reasoning=Reasoning(effort="high")), Traits(thinking="adaptive"))
    assert body["additionalModelRequestFields"] == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
    }
    assert "inferenceConfig" not in body
    assert losses == []


def test_a_forced_tool_excludes_a_budget() -> None:
    conversation = talk(
        reasoning=Reasoning(effort="low"), tools=[Tool("f", schema=SCHEMA)], tool_choice=ToolChoice("required")
    )
    body, losses = write(conversation, BUDGET)
    assert "additionalModelRequestFields" not in body
    assert losses == ["reasoning_effort"]


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        (NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        ("openai.gpt-oss-20b-1:0", {"reasoning_effort": "medium"}),
        (QWEN, {"reasoning_config": "medium"}),
    ],
)
def test_effort_by_maker(model: str, extra: dict[str, Any]) -> None:
    body, losses = write(talk(model=model, reasoning=Reasoning(effort="medium")), EFFORT)
    assert body["additionalModelRequestFields"] == extra
    assert losses == []


def test_nova_at_high_effort_takes_no_sampling() -> None:
    body, losses = write(
        talk(model=NOVA, reasoning=Reasoning(effort="max"), max_tokens=9, temperature=0.1, top_p=0.5, top_k=3), EFFORT
    )
    assert body["additionalModelRequestFields"] == {
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}
    }
    assert "inferenceConfig" not in body
    assert losses == ["max_tokens", "temperature", "top_p", "top_k"]


def test_thinking_switched_off() -> None:
    off = Reasoning(enabled=False)
    assert write(talk(reasoning=off), BUDGET)[0]["additionalModelRequestFields"]["thinking"] == {"type": "disabled"}
    assert write(talk(model=NOVA, reasoning=off), EFFORT)[0]["additionalModelRequestFields"] == {
        "reasoningConfig": {"type": "disabled"}
    }
    assert write(talk(model=QWEN, reasoning=off), EFFORT)[1] == []
    assert write(talk(model="openai.gpt-oss-20b-1:0", reasoning=off), EFFORT)[1] == ["reasoning_effort"]
    assert write(talk(model=QWEN, reasoning=Reasoning(effort="low")))[1] == ["reasoning_effort"]


# Tools


def test_tools_and_choices() -> None:
    """Trap 32."""
    tools = [Tool("f", "does f", SCHEMA, strict=True), Tool("g", schema=None, strict=False)]
    for choice, wire in (
        (ToolChoice("auto"), {"auto": {}}),
        (ToolChoice("required"), {"any": {}}),
        (ToolChoice("tool", "f"), {"tool": {"name": "f"}}),
    ):
        body, losses = write(talk(tools=tools, tool_choice=choice))
        assert body["toolConfig"]["toolChoice"] == wire
        assert losses == []
    assert body["toolConfig"]["tools"] == [
        {"toolSpec": {"name": "f", "description": "does f", "inputSchema": {"json": SCHEMA}, "strict": True}},
        {"toolSpec": {"name": "g", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
    ]


def test_no_tool_may_be_called() -> None:
    tools = [Tool("f", schema=SCHEMA)]
    body, losses = write(talk(tools=tools, tool_choice=ToolChoice("none")))
    assert "toolConfig" not in body
    assert losses == []
    turns = (user(), assistant(ToolCall("1", "f")), user(ToolResult("1", [Text("ok")])))
    body, losses = write(talk(*turns, tools=tools, tool_choice=ToolChoice("none")))
    assert body["toolConfig"] == {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}]}
    assert losses == ["tool_choice"]


def test_calls_in_the_history_need_tools() -> None:
    turns = (user(), assistant(ToolCall("1", "f"), ToolCall("2", "f")), user(ToolResult("1"), ToolResult("2")))
    body, losses = write(talk(*turns))
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["f"]
    assert losses == ["tools"]


def test_a_model_that_cannot_be_forced() -> None:
    conversation = talk(tools=[Tool("f", schema=SCHEMA)], tool_choice=ToolChoice("required"), model=QWEN)
    body, losses = write(conversation, Traits(force_tool=False))
    assert "toolChoice" not in body["toolConfig"]
    assert losses == ["tool_choice"]


def test_one_call_at_a_time() -> None:
    """Trap 33."""
    tools = [Tool("f", schema=SCHEMA)]
    body, losses = write(talk(tools=tools, parallel_tools=False))
    assert body["additionalModelRequestFields"] == {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    assert losses == []
    body, _ = write(talk(tools=tools, parallel_tools=False, tool_choice=ToolChoice("tool", "f")))
    assert body["additionalModelRequestFields"]["tool_choice"]["name"] == "f"
    assert write(talk(tools=tools, parallel_tools=False, model=NOVA))[1] == ["parallel_tool_calls"]


def test_calls_and_results_are_paired() -> None:
    """Traps 27, 31, 35."""
    body, losses = write(
        talk(
            user(),
            assistant(
                ToolCall("functions.get:0", "get", '{"a": 1}'),
                ToolCall("x" * 80, "get"),
                ToolCall("call_3", "get", "not json"),
            ),
            user(
                Text("and?"),
                ToolResult("x" * 80, [Text("two"), Image(data=PNG), Audio("QUJD", "mp3")], is_error=True),
                ToolResult("functions.get:0", [Text("one")]),
            ),
            tools=[Tool("get", schema=SCHEMA)],
        )
    )
    uses = [block["toolUse"] for block in body["messages"][1]["content"]]
    results = [block["toolResult"] for block in body["messages"][2]["content"][:3]]
    assert [use["toolUseId"] for use in uses] == [result["toolUseId"] for result in results]
    assert uses[0]["input"] == {"a": 1}
    assert uses[2]["input"] == {"arguments": "not json"}
    assert results[0]["content"] == [{"text": "one"}]
    assert results[1]["status"] == "error"
    assert results[1]["content"] == [{"text": "two"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]
    assert results[2]["status"] == "error"  # never answered
    assert body["messages"][2]["content"][3] == {"text": "and?"}
    assert sorted(losses) == [
        "messages.1.tool_calls",
        "messages.1.tool_calls.arguments",
        "messages.2.tool_result.audio",
    ]


def test_free_text_is_one_argument() -> None:
    turns = (user(), assistant(ToolCall("1", "patch", "*** Begin", custom=True)), user(ToolResult("1", [Text("ok")])))
    body, losses = write(talk(*turns, tools=[Tool("patch", schema={"type": "object"})]))
    assert body["messages"][1]["content"][0]["toolUse"]["input"] == {"input": "*** Begin"}
    assert losses == []


def test_ids_stay_where_they_are_allowed() -> None:
    turns = (user(), assistant(ToolCall("functions.get:0", "get")), user(ToolResult("functions.get:0")))
    tools = [Tool("get", schema=SCHEMA)]
    body, _ = write(talk(*turns, tools=tools, model="moonshot.kimi-k2-thinking"))
    assert body["messages"][1]["content"][0]["toolUse"]["toolUseId"] == "functions.get:0"
    first, second = (write(talk(*turns, tools=tools))[0] for _ in range(2))
    assert first == second
    assert first["messages"][1]["content"][0]["toolUse"]["toolUseId"] != "functions.get:0"


def test_mistral_reads_objects_only() -> None:
    turns = (user(), assistant(ToolCall("1", "f"), ToolCall("2", "f")))
    results = user(ToolResult("1", [Text("sunny")]), ToolResult("2", [Text('{"a": [1]}')]))
    body, _ = write(talk(*turns, results, tools=[Tool("f")], model="mistral.mistral-large-2407-v1:0"))
    contents = [block["toolResult"]["content"] for block in body["messages"][2]["content"]]
    assert contents == [[{"json": {"result": "sunny"}}], [{"json": {"a": [1]}}]]


def test_server_tools() -> None:
    own = Tool("nova_grounding", opaque=Opaque("chat", {"systemTool": {"name": "nova_grounding"}}))
    foreign = Tool("web_search", opaque=Opaque("messages", {"type": "web_search_20250305", "name": "web_search"}))
    body, losses = write(talk(tools=[own, foreign], model=NOVA))
    assert body["toolConfig"]["tools"] == [{"systemTool": {"name": "nova_grounding"}}]
    assert losses == ["tools.1.web_search"]


# Structured output


def test_a_schema_is_json_text() -> None:
    """Trap 58."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    body, losses = write(talk(output=OutputFormat("schema", schema, "my answer", "An answer.")))
    text = body["outputConfig"]["textFormat"]
    assert text["type"] == "json_schema"
    definition = text["structure"]["jsonSchema"]
    assert (definition["name"], definition["description"]) == ("my_answer", "An answer.")
    assert json.loads(definition["schema"])["additionalProperties"] is False
    assert losses == ["response_format.properties.n.minimum"]


def test_a_schema_as_a_forced_tool() -> None:
    traits = Traits(json_schema="tool")
    conversation = talk(output=OutputFormat("schema", SCHEMA, "city"))
    body, losses = write(conversation, traits)
    assert converse.json_tool_name(conversation, traits) == "city"
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "city"}}
    assert body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"] == SCHEMA
    assert losses == []
    both = talk(output=OutputFormat("schema", SCHEMA, "city"), tools=[Tool("f", schema=SCHEMA)])
    assert write(both, traits)[0]["toolConfig"]["toolChoice"] == {"any": {}}


def test_json_in_words() -> None:
    body, losses = write(talk(output=OutputFormat("json")))
    assert "JSON object" in body["system"][0]["text"]
    assert losses == ["response_format"]
    body, losses = write(talk(output=OutputFormat("schema", SCHEMA)), Traits(json_schema="prompt"))
    assert '"city"' in body["system"][0]["text"]
    assert losses == ["response_format"]


# Settings


def test_inference_settings() -> None:
    body, losses = write(talk(max_tokens=9, temperature=0.5, stop=["a", "b"], top_k=3), BUDGET)
    assert body["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["a", "b"]}
    assert body["additionalModelRequestFields"] == {"top_k": 3}
    assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert losses == []


@pytest.mark.parametrize(
    ("model", "extra", "lost"),
    [
        (NOVA, {"inferenceConfig": {"topK": 3}}, []),
        ("mistral.mistral-large-2402-v1:0", {"top_k": 3}, []),
        ("cohere.command-r-plus-v1:0", {"k": 3}, []),
        ("meta.llama3-70b-instruct-v1:0", None, ["top_k"]),
    ],
)
def test_top_k_by_maker(model: str, extra: dict[str, Any] | None, lost: list[str]) -> None:
    body, losses = write(talk(model=model, top_k=3, top_p=0.9, max_tokens=5))
    assert body.get("additionalModelRequestFields") == extra
    assert body["inferenceConfig"] == {"maxTokens": 5, "topP": 0.9}
    assert losses == lost


def test_ranges_are_kept() -> None:
    """Traps 49 and 50."""
    body, losses = write(talk(temperature=1.7, stop=["", "1", "2", "3", "4", "5"], model=QWEN))
    assert body["inferenceConfig"] == {"temperature": 1.0, "stopSequences": ["1", "2", "3", "4"]}
    assert losses == ["temperature", "stop"]
    body, losses = write(
        talk(temperature=0.3, top_p=0.4, top_k=1, stop=["x"], model=QWEN), Traits(sampling=False, stop_max=0)
    )
    assert "inferenceConfig" not in body
    assert losses == ["temperature", "top_p", "top_k", "stop"]


def test_what_has_no_word_is_reported() -> None:
    _, losses = write(
        talk(
            Turn("user", [Text("hi")], name="bob"),
            n=2,
            seed=1,
            logit_bias={"1": 1},
            logprobs=True,
            top_logprobs=2,
            presence_penalty=0.1,
            frequency_penalty=0.0,
            user="u",
            store=True,
            verbosity="low",
            prompt_cache_key="k",
            safety_identifier="s",
            modalities=["text", "audio"],
            voice=Voice("alloy"),
            service_tier="scale",
            unknown={"mystery": 1},
        )
    )
    assert sorted(losses) == sorted(
        [
            "n", "seed", "logit_bias", "logprobs", "top_logprobs", "presence_penalty", "user", "store", "verbosity",
            "prompt_cache_key", "safety_identifier", "modalities", word("chat", "voice"), "service_tier", "mystery",
            "messages.0.name",
        ]
    )  # fmt: skip


def test_tier_and_metadata() -> None:
    body, losses = write(talk(service_tier="flex", metadata={"team": "a", "note": "ü", "n": 1}))
    assert body["serviceTier"] == {"type": "flex"}
    assert body["requestMetadata"] == {"team": "a"}
    assert losses == ["metadata.note", "metadata.n"]
    assert write(talk(service_tier="auto")) == write(talk())


def test_fields_of_converse_pass_from_the_clients_body() -> None:
    guard = {"guardrailIdentifier": "gr1", "guardrailVersion": "1"}
    fields = {"guardrailConfig": guard, "additionalModelRequestFields": {"extra": 1}}
    body, losses = write(talk(top_k=3, unknown=fields))
    assert body["guardrailConfig"] == guard
    assert body["additionalModelRequestFields"] == {"top_k": 3, "extra": 1}
    assert losses == []


def test_betas_are_claudes() -> None:
    body, _ = write(talk(), betas=["context-1m-2025-08-07"])
    assert body["additionalModelRequestFields"] == {"anthropic_beta": ["context-1m-2025-08-07"]}
    assert "additionalModelRequestFields" not in write(talk(model=NOVA), betas=["x"])[0]


# Cache points


def test_cache_points_follow_what_they_mark() -> None:
    """Trap 57."""
    body, losses = write(
        talk(
            user(Document("application/pdf", "QUJD", cache="1h"), Text("q", cache="5m")),
            system=[Text("s", cache="5m")],
            tools=[Tool("f", schema=SCHEMA, cache="5m")],
        )
    )
    assert losses == []
    assert body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default"}}]
    assert body["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert [next(iter(block)) for block in body["messages"][0]["content"]] == [
        "document",
        "text",
        "cachePoint",
        "text",
        "cachePoint",
    ]
    assert body["messages"][0]["content"][2] == {"cachePoint": {"type": "default", "ttl": "1h"}}


def test_at_most_four_cache_points() -> None:
    body, losses = write(talk(user(*(Text(str(n), cache="5m") for n in range(6)))))
    kept = [at for at, block in enumerate(body["messages"][0]["content"]) if "cachePoint" in block]
    assert kept == [1, 5, 7, 9]  # after 0, 3, 4, 5
    assert losses == ["cache_control"]


def test_makers_without_a_cache() -> None:
    marked: dict[str, Any] = {"tools": [Tool("f", schema=SCHEMA, cache="5m")], "system": [Text("s", cache="5m")]}
    body, losses = write(talk(model=QWEN, **marked))
    assert "cachePoint" not in json.dumps(body)
    assert losses == ["cache_control"]
    body, losses = write(talk(model=NOVA, **marked))
    assert body["system"][1] == {"cachePoint": {"type": "default"}}
    assert len(body["toolConfig"]["tools"]) == 1
    assert losses == ["cache_control"]


# Citations


def test_citations_go_back_to_claude() -> None:
    told = [
        Citation(url="https://example.com", title="T", quote="q"),
        Citation(
            dialect="messages",
            raw={"type": "char_location", "document_index": 0, "start_char_index": 1, "end_char_index": 4},
        ),
        Citation(file_id="elsewhere"),
    ]
    body, losses = write(talk(user(), assistant(Text("said", citations=told)), user()))
    assert body["messages"][1]["content"] == [
        {
            "citationsContent": {
                "content": [{"text": "said"}],
                "citations": [
                    {
                        "title": "T",
                        "sourceContent": [{"text": "q"}],
                        "location": {"web": {"url": "https://example.com"}},
                    },
                    {"location": {"documentChar": {"documentIndex": 0, "start": 1, "end": 4}}},
                ],
            }
        }
    ]
    assert losses == ["messages.1.citations"]


# Counting


def test_counting_sends_what_is_prompt() -> None:
    losses: list[str] = []
    body = json.loads(converse.write_count(talk(system=[Text("s")], max_tokens=5), losses))
    assert body == {
        "input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "s"}]}}
    }
    assert converse.read_count(b'{"inputTokens": 11}') == 11


# Whatever a client sends, the service model accepts or the client hears why not


TEXT = st.text(max_size=12)
IDS = st.sampled_from(["1", "2", "a.b:c", "", "é", "x" * 90])
PARTS = st.deferred(
    lambda: st.one_of(
        st.builds(Text, TEXT, st.sampled_from([None, "5m", "1h"])),
        st.builds(Image, st.sampled_from([None, "image/png", "image/x"]), st.sampled_from([None, PNG])),
        st.builds(
            Document, st.sampled_from([None, "text/csv", "video/mp4"]), st.sampled_from([None, "QUJD"]), title=TEXT
        ),
        st.builds(Audio, st.sampled_from([None, "QUJD"]), st.sampled_from([None, "mp3", "x"]), transcript=TEXT),
        st.builds(ToolCall, IDS, st.sampled_from(["f", "g"]), st.sampled_from(["{}", "", "[1]", '{"a":'])),
        st.builds(ToolResult, IDS, st.lists(PARTS, max_size=2)),
        st.builds(Thinking, TEXT, st.none() | TEXT),
        st.builds(Refusal, TEXT),
        st.builds(Opaque, st.sampled_from(["chat", "messages"]), st.dictionaries(TEXT, TEXT, max_size=2)),
    )
)
TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["user", "assistant", "system"]), st.lists(PARTS, max_size=4)), max_size=5
)


@given(
    TURNS,
    st.sampled_from([CLAUDE, NOVA, QWEN, "mistral.x-v1:0", ""]),
    st.sampled_from([PLAIN, BUDGET, EFFORT, Traits(json_schema="tool", prefill=False)]),
    st.sampled_from([None, OutputFormat("json"), OutputFormat("schema", SCHEMA)]),
    st.sampled_from([None, Reasoning(effort="high"), Reasoning(budget=5000), Reasoning(enabled=False)]),
    st.lists(st.sampled_from([Tool("f", "d", SCHEMA), Tool("g")]), unique_by=lambda tool: tool.name),
    st.sampled_from([None, ToolChoice("none"), ToolChoice("required"), ToolChoice("tool", "f")]),
)
def test_every_request_is_accepted_by_the_service_model(
    turns: list[Turn],
    model: str,
    traits: Traits,
    output: OutputFormat | None,
    reasoning: Reasoning | None,
    tools: list[Tool],
    choice: ToolChoice | None,
) -> None:
    conversation = Conversation(
        model or "m", turns=turns, dialect="chat", output=output, reasoning=reasoning, tools=tools, tool_choice=choice
    )
    try:
        body, _ = write(conversation, traits)
    except (CallerError, PolicyError):
        return
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == "user"
    assert all(left != right for left, right in zip(roles, roles[1:], strict=False))


def test_from_both_client_dialects() -> None:
    body = {"model": "x", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    raw = json.dumps(body).encode()
    for language in (chat, messages):
        conversation = language.read_request(raw)
        conversation.model = CLAUDE
        written, losses = write(conversation)
        assert written == {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "inferenceConfig": {"maxTokens": 5},
        }
        assert losses == []
