"""What a model refuses is left out of a request, whether it is passed through or written anew."""

import json
from typing import Any

import pytest

from freehold.dialects import chat, completions
from freehold.dialects.conversation import Conversation, Reasoning, Text, Tool, ToolChoice, Turn
from freehold.dialects.traits import PLAIN, Traits

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
NO_TOOLS = Traits(thinking="effort", tools_and_reasoning=False)


def patched(traits: Traits, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """As the gateway does it: with what `peek` saw."""
    body = json.dumps({"model": "m", "messages": fields.pop("messages", [{"role": "user", "content": "q"}]), **fields})
    losses: list[str] = []
    seen = chat.peek(body.encode()).notes
    out = chat.patch_request(body.encode(), model="m2", traits=traits, losses=losses, seen=seen)
    again: list[str] = []
    assert json.loads(chat.patch_request(body.encode(), model="m2", traits=traits, losses=again)) == json.loads(out)
    assert again == losses
    written = json.loads(out)
    assert written.pop("model") == "m2"
    return written, losses


def written(traits: Traits, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    conversation = Conversation("m", turns=[Turn("user", [Text("q")])], dialect="gemini", **fields)
    return json.loads(chat.write_request(conversation, losses, traits)), losses


PENALTIES = {"presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {"1": 2}}


def test_penalties_alone() -> None:
    traits = Traits(penalties=False)
    body, losses = patched(traits, **PENALTIES, temperature=0.5)
    assert not PENALTIES.keys() & body.keys()
    assert body["temperature"] == 0.5
    assert sorted(losses) == sorted(PENALTIES)
    assert patched(traits, presence_penalty=0, frequency_penalty=None, logit_bias={})[1] == []
    body, losses = written(traits, **PENALTIES, temperature=0.5)
    assert not PENALTIES.keys() & body.keys()
    assert body["temperature"] == 0.5
    assert sorted(losses) == sorted(PENALTIES)


@pytest.mark.parametrize("stop", ["x", ["x"], ["x", "y"]])
def test_no_stop_at_all(stop: Any) -> None:
    body, losses = patched(Traits(stop_max=0), stop=stop)
    assert "stop" not in body
    assert losses == ["stop"]
    body, losses = written(Traits(stop_max=0), stop=[stop] if isinstance(stop, str) else stop)
    assert "stop" not in body
    assert losses == ["stop"]


@pytest.mark.parametrize("stop", [None, []])
def test_no_stop_is_no_loss(stop: Any) -> None:
    assert patched(Traits(stop_max=0), stop=stop)[1] == []


def test_top_k() -> None:
    assert written(Traits(top_k=True), top_k=3)[0]["top_k"] == 3
    assert written(PLAIN, top_k=3)[1] == ["top_k"]


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "f"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}},
    ],
)
def test_a_choice_nobody_may_make_for_the_model(choice: Any) -> None:
    body, losses = patched(Traits(force_tool=False), tools=[TOOL], tool_choice=choice)
    assert body["tool_choice"] == "auto"
    assert losses == ["tool_choice"]


@pytest.mark.parametrize(
    "choice", ["auto", "none", None, {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}]
)
def test_a_choice_that_is_left_to_the_model(choice: Any) -> None:
    body, losses = patched(Traits(force_tool=False), tools=[TOOL], tool_choice=choice)
    assert body["tool_choice"] == choice
    assert losses == []


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("tool", "f")])
def test_a_choice_of_another_dialect(choice: ToolChoice) -> None:
    body, losses = written(Traits(force_tool=False), tools=[Tool("f")], tool_choice=choice)
    assert body["tool_choice"] == "auto"
    assert losses == ["tool_choice"]


def test_reasoning_beside_tools() -> None:
    body, losses = patched(NO_TOOLS, tools=[TOOL], reasoning_effort="high")
    assert body["reasoning_effort"] == "none"
    assert losses == ["reasoning_effort"]
    assert "reasoning_effort" not in patched(NO_TOOLS, tools=[TOOL])[0]
    assert patched(NO_TOOLS, reasoning_effort="high")[0]["reasoning_effort"] == "high"
    assert patched(NO_TOOLS, tools=[], reasoning_effort="high")[1] == []
    body, losses = written(NO_TOOLS, tools=[Tool("f")], reasoning=Reasoning(effort="high"))
    assert body["reasoning_effort"] == "none"
    assert len(losses) == 1
    assert written(NO_TOOLS, reasoning=Reasoning(effort="high"))[0]["reasoning_effort"] == "high"


def test_a_model_that_reasons_unasked_is_told_not_to() -> None:
    traits = Traits(thinking="effort", tools_and_reasoning=False, sampling=False)
    body, losses = patched(traits, tools=[TOOL])
    assert (body["reasoning_effort"], losses) == ("none", [])
    body, losses = written(traits, tools=[Tool("f")])
    assert (body["reasoning_effort"], losses) == ("none", [])


def test_no_effort_where_that_is_understood() -> None:
    off = Reasoning(enabled=False)
    assert written(Traits(thinking="effort", effort_none=True), reasoning=off)[0]["reasoning_effort"] == "none"
    assert len(written(Traits(thinking="effort"), reasoning=off)[1]) == 1
    assert written(PLAIN, reasoning=off)[1] == []


HISTORY = [
    {"role": "user", "content": "q"},
    {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "t",
        "reasoning_details": [],
        "images": [],
        "annotations": [],
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "extra_content": {"google": {}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "r"},
]


def test_what_this_gateway_adds_does_not_come_back_to_a_strict_host() -> None:
    body, losses = patched(Traits(strict_messages=True), messages=HISTORY)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert body["messages"][1] == {"role": "assistant", "content": "a", "annotations": [], "tool_calls": [call]}
    assert losses == ["reasoning_content", "reasoning_details", "images"]
    body, losses = patched(Traits(strict_messages=True, replay_reasoning="reasoning_content"), messages=HISTORY)
    assert body["messages"][1]["reasoning_content"] == "t"
    assert patched(PLAIN, messages=HISTORY)[0]["messages"] == HISTORY


def test_a_strict_host_gets_everybody_elses_fields() -> None:
    plain = [
        {"role": "assistant", "content": "a", "prefix": True},
        {"role": "user", "content": 'say "reasoning_content"'},
    ]
    assert patched(Traits(strict_messages=True), messages=plain) == ({"messages": plain}, [])


def test_legacy_completions_leave_out_the_same() -> None:
    body = json.dumps({"model": "m", "prompt": "p", "stop": "x", **PENALTIES}).encode()
    losses: list[str] = []
    out = completions.patch_request(body, model="m", traits=Traits(penalties=False, stop_max=0), losses=losses)
    assert json.loads(out) == {"model": "m", "prompt": "p"}
    assert sorted(losses) == sorted([*PENALTIES, "stop"])
