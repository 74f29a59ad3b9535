"""What goes to the engine in the place of a request with tools."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadRequest
from freehold.own.tools import IN_WORDS, assist

INTENT = {"type": "object", "properties": {"intent": {"enum": ["refund"]}}, "required": ["intent"]}
ROUTE = {"type": "function", "function": {"name": "route", "description": "Routes.", "parameters": INTENT}}
PING = {"type": "function", "function": {"name": "ping"}}
ASKED = [{"role": "user", "content": "Where?"}]
WORDS, TEMPLATE = {IN_WORDS}, {"tools"}


def sent(can: set[str] = TEMPLATE, **fields: Any) -> dict[str, Any]:
    """The body for the engine, the client's own where nothing changed."""
    body = json.dumps({"model": "m", "messages": ASKED, "tools": [ROUTE, PING]} | fields).encode()
    made = assist(body, can)
    return dict(json.loads(body if made is None else made[0]))


def schema_of(body: dict[str, Any]) -> Any:
    return body["response_format"]["json_schema"]["schema"]


def allows(body: dict[str, Any], answer: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema_of(body)).is_valid(answer))


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[]}',
        b'{"input":["tools"],"tool_choice":1',
        b'{"input":["\\"tools\\"","tools"]}',
        b'{"messages":[],"tools":[],"tool_choice":"none"}',
        b'{"messages":[],"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"auto"}',
        b'{"messages":[],"tools":[{"type":"retrieval"}],"tool_choice":"required"}',
        b'{"messages":[],"tools":7,"tool_choice":"required"}',
    ],
)
def test_what_the_engine_does_by_itself_goes_as_it_came(body: bytes) -> None:
    assert assist(body, TEMPLATE) is None


@pytest.mark.parametrize("can", [WORDS, TEMPLATE])
@pytest.mark.parametrize(
    "choice",
    ["required", "any", {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [ROUTE, PING]}}],
)
def test_a_forced_call_is_a_schema(can: set[str], choice: Any) -> None:
    body = sent(can, tool_choice=choice, response_format={"type": "json_object"}, temperature=0.5)
    assert body["temperature"] == 0.5
    assert allows(body, {"name": "route", "arguments": {"intent": "refund"}})
    assert allows(body, {"name": "ping", "arguments": {}})
    assert not allows(body, {"name": "ping", "arguments": {"a": 1}})
    assert not allows(body, {"name": "route", "arguments": {"intent": "x"}})
    assert not allows(body, {"name": "route"})
    if can == TEMPLATE:
        assert (body["tool_choice"], body["tools"]) == ("none", [ROUTE, PING])
    else:
        assert not {"tools", "tool_choice"} & body.keys()
        assert '"name": "route"' in body["messages"][0]["content"]


@pytest.mark.parametrize("can", [WORDS, TEMPLATE])
@pytest.mark.parametrize(
    "choice", [{"type": "function", "function": {"name": "route"}}, {"type": "function", "name": "route"}]
)
def test_a_named_call_admits_that_one(can: set[str], choice: Any) -> None:
    body = sent(can, tool_choice=choice)
    assert allows(body, {"name": "route", "arguments": {"intent": "refund"}})
    assert not allows(body, {"name": "ping", "arguments": {}})


@pytest.mark.parametrize("can", [WORDS, TEMPLATE])
def test_a_call_that_cannot_be_is_refused(can: set[str]) -> None:
    with pytest.raises(BadRequest, match="not among the tools"):
        sent(can, tool_choice={"type": "function", "function": {"name": "nothing"}})
    with pytest.raises(BadRequest, match="no tools"):
        sent(can, tool_choice="required", tools=[])


def test_tools_of_another_kind_cannot_be_told_in_words() -> None:
    with pytest.raises(BadRequest, match="function kind"):
        sent(WORDS, tools=[{"type": "custom", "custom": {"name": "x"}}])
    with pytest.raises(BadRequest, match="function kind"):
        sent(WORDS, tool_choice={"type": "custom", "custom": {"name": "x"}})


def test_allowed_tools_are_all_that_a_template_shows() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [PING]}}
    body = sent(tool_choice=choice)
    assert (body["tools"], body["tool_choice"]) == ([PING], "auto")
    assert "route" not in sent(WORDS, tool_choice=choice)["messages"][0]["content"]


names = st.text("ab$/~", min_size=1, max_size=3)
REFERRED = {
    "$defs": {"Day": {"enum": ["mon"]}, "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    "type": "object",
    "properties": {"day": {"$ref": "#/$defs/Day"}, "node": {"$ref": "#/$defs/Node"}, "$ref": {"type": "string"}},
    "required": ["day"],
    "additionalProperties": False,
}


@given(st.sampled_from([{"day": "mon"}, {"day": "sun"}, {"day": "mon", "node": {"next": {"next": 1}}},
                        {"day": "mon", "node": {"next": {}}, "$ref": "x"}, {"$ref": 1}]))  # fmt: skip
def test_references_mean_what_they_meant(arguments: Any) -> None:
    tool = {"type": "function", "function": {"name": "plan", "parameters": REFERRED}}
    body = sent(tools=[PING, tool], tool_choice="required")
    meant = jsonschema.Draft202012Validator(REFERRED).is_valid(arguments)
    assert allows(body, {"name": "plan", "arguments": arguments}) is meant


# In words.

CALLED = {"role": "assistant", "content": "Let me see.", "tool_calls": [
    {"id": "1", "type": "function", "function": {"name": "route", "arguments": '{"intent":"refund"}'}},
    {"id": "2", "type": "function", "function": {"name": "ping", "arguments": "not json"}},
]}  # fmt: skip


def test_calls_and_results_become_turns_of_two_speakers() -> None:
    results = [{"role": "tool", "tool_call_id": "2", "content": "pong"},
               {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "done"}]}]  # fmt: skip
    body = sent(WORDS, messages=[{"role": "system", "content": "Be kind."}, *ASKED, CALLED, *results, *ASKED])
    system, *turns = body["messages"]
    assert system["content"].startswith("Be kind.\n\nYou have these tools:\n")
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    said = turns[1]["content"].split("\n")
    assert said[0] == "Let me see."
    assert json.loads(said[1]) == {"name": "route", "arguments": {"intent": "refund"}}
    assert json.loads(said[2]) == {"name": "ping", "arguments": "not json"}
    assert turns[2]["content"] == "Result of ping:\npong\n\nResult of route:\ndone\n\nWhere?"


def test_what_was_not_a_call_stays_as_it_was() -> None:
    messages = [*ASKED, *ASKED, {"role": "assistant", "content": "a", "tool_calls": []}]
    body = sent(WORDS, messages=messages, tool_choice="none")
    assert body["messages"] == [*ASKED, *ASKED, {"role": "assistant", "content": "a"}]
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    result = {"role": "tool", "tool_call_id": "9", "name": "look", "content": "seen"}
    asked = {"role": "user", "content": [picture]}
    [turn] = sent(WORDS, messages=[result, asked], tools=[])["messages"]
    assert (
        turn["content"] == [{"type": "text", "text": "Result of look:\n\nseen"}, picture]
        or turn["content"][-1] == picture
    )


def test_an_answer_by_schema_may_be_a_call_instead() -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": REFERRED}}
    body = sent(WORDS, response_format=format)
    assert allows(body, {"day": "mon"})
    assert allows(body, {"name": "ping", "arguments": {}})
    assert not allows(body, {"day": "sun"})


@given(st.lists(st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "other"])},
    optional={"content": st.none() | st.text(max_size=3) | st.lists(st.just({"type": "text", "text": "t"}), max_size=2),
              "tool_calls": st.none() | st.just(CALLED["tool_calls"]) | st.lists(st.integers()),
              "tool_call_id": st.sampled_from(["1", "2", "3"])},
), max_size=6), st.sampled_from(["auto", "none", "required"]))  # fmt: skip
def test_any_conversation_can_be_told_in_words(messages: list[dict[str, Any]], choice: str) -> None:
    body = sent(WORDS, messages=messages, tool_choice=choice)
    assert not any(one["role"] == "tool" or "tool_calls" in one for one in body["messages"])
