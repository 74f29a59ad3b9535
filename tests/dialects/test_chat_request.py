"""Chat requests into the canonical conversation and back, and what other dialects' conversations become."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat
from freehold.dialects.conversation import (
    Audio,
    Citation,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
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
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import BadRequest

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def read(messages=(), **fields) -> Conversation:
    return chat.read_request(json.dumps({"model": "m", "messages": list(messages), **fields}).encode())


def write(conversation: Conversation, traits: Traits = PLAIN) -> tuple[dict, list[str]]:
    losses: list[str] = []
    return json.loads(chat.write_request(conversation, losses, traits)), losses


def foreign(*turns: Turn, **fields) -> Conversation:
    return Conversation(model="m", turns=list(turns), dialect="messages", **fields)


# Reading


def test_leading_system_messages_stand_apart():
    conversation = read(
        [
            {"role": "system", "content": "a"},
            {"role": "developer", "content": "b"},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "later"},
        ]
    )
    assert conversation.system == [Text("a"), Text("b")]
    assert [turn.role for turn in conversation.turns] == ["user", "system"]


def test_content_parts():
    (turn,) = read(
        [
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                    {"type": "image_url", "image_url": "https://example.com/dog.png"},
                    {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {"type": "video_url", "video_url": {"url": "x"}},
                ],
            }
        ]
    ).turns
    assert turn.name == "ann"
    assert turn.parts == [
        Text("look", cache="1h"),
        Image(media_type="image/png", data="AAAA", detail="low"),
        Image(url="https://example.com/cat.png"),
        Image(url="https://example.com/dog.png"),
        Audio(data="BBBB", format="mp3"),
        Document(media_type="application/pdf", data="CCCC", title="a.pdf"),
        Document(file_id="file-1"),
        Opaque("chat", {"type": "video_url", "video_url": {"url": "x"}}),
    ]


def test_an_assistant_turn_keeps_its_order_and_its_argument_text():
    arguments = '{ "city" : "K\\u00f6ln" , "n": 1.0 }'
    (turn,) = read(
        [
            {
                "role": "assistant",
                "reasoning_content": "hmm",
                "content": "ok",
                "refusal": "no",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}],
            }
        ]
    ).turns
    assert turn.parts == [Thinking("hmm"), Text("ok"), Refusal("no"), ToolCall("c1", "f", arguments)]


@pytest.mark.parametrize("given", [None, "", {}, "  "])
def test_no_arguments_are_an_empty_object(given):
    call = {"id": "c", "function": {"name": "f", "arguments": given}}
    (turn,) = read([{"role": "assistant", "tool_calls": [call]}]).turns
    assert turn.parts == [ToolCall("c", "f", "{}")]


def test_arguments_as_an_object_become_text():
    call = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
    (turn,) = read([{"role": "assistant", "tool_calls": [call]}]).turns
    assert turn.parts == [ToolCall("c", "f", '{"a":1}')]


def test_tool_messages_join_to_one_user_turn():
    turns = read(
        [
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
            {"role": "user", "content": "and?"},
        ]
    ).turns
    assert [turn.role for turn in turns] == ["user", "user"]
    assert turns[0].parts == [ToolResult("a", [Text("1")]), ToolResult("b", [Text("2")])]


def test_mistral_thinking_parts():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    (turn,) = read([{"role": "assistant", "content": [thinking, {"type": "text", "text": "c"}]}]).turns
    assert turn.parts == [Thinking("ab"), Text("c")]


@pytest.mark.parametrize(
    ("wire", "choice"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ("any", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("tool", "f")),
        ({"function": {"name": "f"}}, ToolChoice("tool", "f")),
        ({"type": "function", "name": "f"}, ToolChoice("tool", "f")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ToolChoice("required", names=["f"]),
        ),
    ],
)
def test_tool_choice(wire, choice):
    assert read(tools=[{"type": "function", "function": {"name": "f"}}], tool_choice=wire).tool_choice == choice


def test_a_hosted_tool_choice_rides_along():
    conversation = read(tool_choice={"type": "custom", "custom": {"name": "x"}})
    assert conversation.tool_choice is None
    assert write(conversation)[0]["tool_choice"] == {"type": "custom", "custom": {"name": "x"}}


def test_unknown_tools_and_fields_survive():
    body = {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}],
            },
            {"role": "assistant", "content": "b", "prefix": True},
            {"role": "function", "name": "old", "content": "c"},
        ],
        "tools": [
            {"type": "custom", "custom": {"name": "shell"}},
            {"type": "function", "function": {"name": "f", "eager": True}},
            {"type": "web_search"},
        ],
        "prediction": {"type": "content", "content": "x"},
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
        "verbosity": "low",
    }
    written, losses = write(chat.read_request(json.dumps(body).encode()))
    assert written == body
    assert losses == []


def test_what_only_chat_knows_is_reported_elsewhere():
    conversation = read(
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "video_url", "video_url": {}}]}],
        verbosity="low",
        tools=[{"type": "web_search"}],
    )
    conversation.dialect = "completions"
    written, losses = write(conversation)
    assert "verbosity" not in written
    assert "verbosity" in losses


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": 1}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": [1]}]}, "messages.1.content.0"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages.0.content.0.image_url.url",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages.0.content.0.file"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, None),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages.0.tool_calls.0.function"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"stop": [1]}, "stop.0"),
        ({"logit_bias": {"5": "x"}}, "logit_bias.5"),
        ({"response_format": "json"}, "response_format"),
        ({"n": 0}, "n"),
        ({"seed": 1.5}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
    ],
)
def test_wrong_types_name_their_field(fields, param):
    body = json.dumps({"model": "m", "messages": [], **fields}).encode()
    if param is None:
        chat.read_request(body)  # an empty object for an empty array: nothing is meant
        return
    with pytest.raises(BadRequest) as caught:
        chat.read_request(body)
    assert caught.value.param == param
    assert caught.value.status == 400


# Writing what other dialects say


def test_tool_results_come_right_after_their_calls_and_media_follows():
    written, losses = write(
        foreign(
            Turn("assistant", [ToolCall("a", "f"), ToolCall("b", "g")]),
            Turn(
                "user",
                [ToolResult("a", [Text("1"), Image(data="iVBOAAAA")]), ToolResult("b", [Text("2")]), Text("so?")],
            ),
        )
    )
    roles = [message["role"] for message in written["messages"]]
    assert roles == ["assistant", "tool", "tool", "user"]
    assert [message.get("tool_call_id") for message in written["messages"][1:3]] == ["a", "b"]
    kinds = [part["type"] for part in written["messages"][3]["content"]]
    assert kinds == ["text", "image_url", "text"]
    assert written["messages"][3]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBOAAAA"
    assert losses == []


def test_an_error_result_says_so():
    written, _ = write(
        foreign(Turn("assistant", [ToolCall("a", "f")]), Turn("user", [ToolResult("a", [Text("boom")], is_error=True)]))
    )
    assert written["messages"][1]["content"] == "Error: boom"


def test_orphans_are_repaired_and_reported():
    written, losses = write(
        foreign(
            Turn("user", [ToolResult("lost", [Text("1")])]),
            Turn("assistant", [ToolCall("a", "f")]),
            Turn("user", [Text("never mind")]),
        )
    )
    assert [message["role"] for message in written["messages"]] == ["user", "assistant", "tool", "user"]
    assert written["messages"][2]["tool_call_id"] == "a"
    assert losses == ["messages.0.tool_result", "messages.2.tool_calls"]


def test_calls_without_an_id_find_their_results():
    written, losses = write(
        foreign(
            Turn("assistant", [ToolCall("", "f"), ToolCall("", "g")]),
            Turn("user", [ToolResult("", [Text("1")]), ToolResult("", [Text("2")])]),
        )
    )
    ids = [call["id"] for call in written["messages"][0]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [message["tool_call_id"] for message in written["messages"][1:]] == ids
    assert losses == []


def test_ids_fit_the_host_and_stay_the_same():
    turns = [
        Turn("assistant", [ToolCall("toolu_01ABCDEFGHIJ", "f"), ToolCall("Ab3456789", "g")]),
        Turn("user", [ToolResult("Ab3456789", [Text("2")]), ToolResult("toolu_01ABCDEFGHIJ", [Text("1")])]),
    ]
    written, losses = write(foreign(*turns), Traits(tool_id="alnum9"))
    calls = [call["id"] for call in written["messages"][0]["tool_calls"]]
    assert all(len(identity) == 9 and identity.isalnum() for identity in calls)
    assert calls[1] == "Ab3456789"
    assert [message["tool_call_id"] for message in written["messages"][1:]] == [calls[1], calls[0]]
    assert write(foreign(*turns), Traits(tool_id="alnum9"))[0] == written
    assert losses == []
    long = foreign(Turn("assistant", [ToolCall("x" * 80, "f")]), Turn("user", [ToolResult("x" * 80, [Text("1")])]))
    messages = write(long)[0]["messages"]
    assert messages[0]["tool_calls"][0]["id"] == messages[1]["tool_call_id"]
    assert len(messages[1]["tool_call_id"]) <= 40


def test_what_chat_cannot_carry_is_reported():
    _, losses = write(
        foreign(
            Turn(
                "user",
                [
                    Text("a", cache="5m", citations=[Citation(url="https://a.example")]),
                    Document(url="https://example.com/a.pdf"),
                    Document(file_id="file_011"),
                    Image(file_id="file_012"),
                    Opaque("messages", {"type": "search_result"}),
                ],
            ),
            Turn("assistant", [Thinking("t", signature="s"), Text("b")]),
            unknown={"container": "c"},
            top_k=3,
        )
    )
    assert losses == [
        "messages.0.citations",
        "cache_control",
        "messages.0.document",
        "messages.0.image",
        "messages.0.search_result",
        "thinking",
        "top_k",
        "container",
    ]


def test_thoughts_go_back_where_they_are_wanted():
    turn = Turn("assistant", [Thinking("t", signature="s"), Text("b")])
    written, losses = write(foreign(turn), Traits(replay_reasoning="reasoning_content"))
    assert written["messages"][0]["reasoning_content"] == "t"
    assert losses == ["thinking.signature"]


def test_text_documents_become_text():
    written, losses = write(foreign(Turn("user", [Document(text="body", title="Title"), Text("q")])))
    assert written["messages"][0]["content"][0] == {"type": "text", "text": "Title\n\nbody"}
    assert losses == []


def test_system_blocks_are_one_message():
    written, losses = write(Conversation(model="m", system=[Text("a"), Text("b", cache="5m")], dialect="messages"))
    assert written["messages"] == [{"role": "system", "content": "a\n\nb"}]
    assert losses == ["cache_control"]


def test_limited_tools_are_fewer_tools():
    written, losses = write(
        foreign(tools=[Tool("f"), Tool("g"), Tool("h")], tool_choice=ToolChoice("required", names=["g"]))
    )
    assert [tool["function"]["name"] for tool in written["tools"]] == ["g"]
    assert written["tool_choice"] == "required"
    assert losses == []


def test_a_foreign_tool_is_reported():
    written, losses = write(foreign(tools=[Tool("web", opaque=Opaque("messages", {"type": "web_search_20250305"}))]))
    assert "tools" not in written
    assert losses == ["tools.0.web"]


# Traits


def test_reasoning_models():
    conversation = read(
        [{"role": "system", "content": "s"}],
        max_tokens=5,
        temperature=0.2,
        top_p=1,
        presence_penalty=0,
        logprobs=True,
    )
    written, losses = write(
        conversation, Traits(max_tokens_field="max_completion_tokens", sampling=False, system_role="developer")
    )
    assert written == {
        "model": "m",
        "messages": [{"role": "developer", "content": "s"}],
        "max_completion_tokens": 5,
    }
    assert losses == ["temperature", "logprobs"]


def test_limits_of_temperature_and_stop():
    written, losses = write(read(temperature=1.7, stop=["a", "b", "", "c"]), Traits(temperature_max=1.0, stop_max=2))
    assert written["temperature"] == 1.0
    assert written["stop"] == ["a", "b"]
    assert losses == ["temperature", "stop"]


@pytest.mark.parametrize(
    ("mode", "asked"), [("native", "json_schema"), ("json_object", "json_object"), ("tool", "json_object")]
)
def test_structured_output(mode, asked):
    wire = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
    conversation = read([{"role": "user", "content": "hi"}], response_format=wire)
    assert conversation.output == OutputFormat("schema", schema=SCHEMA, name="a", strict=True)
    written, losses = write(conversation, Traits(json_schema=mode))
    assert written["response_format"]["type"] == asked
    if mode == "native":
        assert written["response_format"] == wire
        assert losses == []
    else:
        assert '"required":["city"]' in written["messages"][0]["content"]
        assert losses == ["response_format"]


def test_structured_output_in_words_only():
    conversation = read([{"role": "system", "content": "s"}], response_format={"type": "json_object"})
    written, losses = write(conversation, Traits(json_schema="prompt"))
    assert "response_format" not in written
    assert written["messages"][0]["content"].startswith("s\n\nAnswer with one JSON object")
    assert losses == ["response_format"]


def test_streams_ask_for_usage_where_understood():
    conversation = read(stream=True)
    assert write(conversation)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in write(conversation, Traits(stream_usage=False))[0]
    assert "stream_options" not in write(read())[0]


@pytest.mark.parametrize(
    ("reasoning", "effort", "lost"),
    [
        (Reasoning(effort="low"), "low", []),
        (Reasoning(effort="max"), "high", []),
        (Reasoning(budget=1024), "low", []),
        (Reasoning(budget=4000), "medium", []),
        (Reasoning(budget=32000), "high", []),
        (Reasoning(adaptive=True), None, []),
        (Reasoning(enabled=False), None, ["thinking"]),
    ],
)
def test_effort_from_other_dialects(reasoning, effort, lost):
    written, losses = write(foreign(reasoning=reasoning), Traits(thinking="effort"))
    assert written.get("reasoning_effort") == effort
    assert losses == lost


def test_equal_conversations_are_equal_bytes():
    one = read([{"role": "user", "content": "x"}], temperature=0.5, seed=1, tools=[])
    other = chat.read_request(b'{"seed":1,"temperature":0.5,"messages":[{"content":"x","role":"user"}],"model":"m"}')
    assert chat.write_request(one, []) == chat.write_request(other, [])


def test_deep_nesting_is_refused_on_the_way_out_too():
    schema: dict = {}
    for _ in range(5000):
        schema = {"a": schema}
    with pytest.raises(BadRequest):
        chat.write_request(foreign(tools=[Tool("f", schema=schema)]), [])


# There and back

NAME = st.text("abcdefgh_", min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CACHE = st.sampled_from([None, "5m", "1h"])
BASE64 = st.sampled_from(["AAAA", "/9j/", "iVBOAA=="])
TEXT_PART = st.builds(Text, TEXT, cache=CACHE)
USER_PART = st.one_of(
    TEXT_PART,
    st.builds(Image, media_type=st.just("image/png"), data=BASE64, detail=st.sampled_from([None, "low"]), cache=CACHE),
    st.builds(Image, url=st.just("https://example.com/a.png")),
    st.builds(Audio, data=BASE64, format=st.sampled_from(["wav", "mp3"])),
    st.builds(Document, media_type=st.just("application/pdf"), data=BASE64, title=st.none() | NAME, cache=CACHE),
    st.builds(Document, file_id=NAME),
    st.builds(lambda value: Opaque("chat", {"type": "video_url", "video_url": value}), TEXT),
)
USER = st.builds(
    lambda parts, name: [Turn("user", parts, name)], st.lists(USER_PART, min_size=1, max_size=3), st.none() | NAME
)
ARGUMENTS = st.dictionaries(NAME, st.integers() | TEXT, max_size=3).map(json.dumps)


@st.composite
def exchanges(draw):
    """An assistant turn, with its tool results if it calls."""
    parts = [Thinking(draw(TEXT.filter(bool)))] if draw(st.booleans()) else []
    parts += [Text(text) for text in draw(st.lists(TEXT, min_size=0, max_size=2))]
    names = draw(st.lists(NAME, unique=True, max_size=3))
    parts += [ToolCall(f"call_{draw(st.integers(0, 99))}_{i}", name, draw(ARGUMENTS)) for i, name in enumerate(names)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    turns = [Turn("assistant", parts)]
    if calls:
        turns.append(Turn("user", [ToolResult(call.id, [Text(draw(TEXT))], cache=draw(CACHE)) for call in calls]))
        turns.append(Turn("assistant", [Text("done")]))
    return turns


@st.composite
def conversations(draw):
    turns = [turn for group in draw(st.lists(st.one_of(USER, exchanges()), max_size=5)) for turn in group]
    optional = st.none() | st.integers(1, 5)
    conversation = Conversation(
        model=draw(NAME),
        system=[Text(draw(TEXT))] if draw(st.booleans()) else [],
        turns=turns,
        tools=draw(
            st.lists(st.builds(Tool, NAME, st.none() | TEXT, st.just(SCHEMA), st.none() | st.booleans(), CACHE))
        ),
        tool_choice=draw(
            st.none() | st.sampled_from([ToolChoice("auto"), ToolChoice("tool", "f"), ToolChoice("auto", names=["f"])])
        ),
        parallel_tools=draw(st.none() | st.booleans()),
        output=draw(
            st.none()
            | st.sampled_from([OutputFormat("json"), OutputFormat("text"), OutputFormat("schema", SCHEMA, "n")])
        ),
        reasoning=draw(st.none() | st.sampled_from([Reasoning(effort="low"), Reasoning(False, "none")])),
        max_tokens=draw(optional),
        temperature=draw(st.none() | st.floats(0, 2)),
        top_p=draw(st.none() | st.floats(0, 1)),
        top_k=draw(optional),
        seed=draw(optional),
        stop=draw(st.lists(TEXT.filter(bool), max_size=4)),
        n=draw(st.integers(1, 4)),
        presence_penalty=draw(st.none() | st.floats(-2, 2)),
        logit_bias=draw(st.none() | st.dictionaries(st.sampled_from(["1", "22"]), st.integers(-100, 100))),
        logprobs=draw(st.none() | st.booleans()),
        top_logprobs=draw(optional),
        stream=draw(st.booleans()),
        user=draw(st.none() | TEXT),
        metadata=draw(st.none() | st.dictionaries(NAME, TEXT)),
        service_tier=draw(st.none() | st.just("flex")),
        unknown=draw(st.dictionaries(st.sampled_from(["web_search_options", "prediction"]), st.integers() | TEXT)),
        dialect="chat",
    )
    conversation.include_usage = conversation.stream
    return conversation


@settings(deadline=None)
@given(conversations())
def test_written_and_read_is_the_same(conversation):
    losses: list[str] = []
    body = chat.write_request(conversation, losses, Traits(replay_reasoning="reasoning_content"))
    assert losses == []
    read = chat.read_request(body)
    read.places = []  # where its turns stood in that body
    assert read == conversation
