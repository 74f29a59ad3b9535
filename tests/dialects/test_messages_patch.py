"""A messages request passed through: only what the provider would refuse is taken out."""

import json
from typing import Any

import pytest

from freehold.dialects import messages
from freehold.dialects.traits import PLAIN, Traits

CLAUDE = Traits(thinking="adaptive")
BUDGET = Traits(thinking="budget")
USER = {"role": "user", "content": "q"}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "r"}]}
TEXT = {"type": "text", "text": "a"}
CALL = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
OWN = {"type": "thinking", "thinking": "t", "signature": "EqQBCgIYAhIM+/="}
WEB = {"type": "web_search_result_location", "cited_text": "", "title": "T", "url": "https://a.example"}


def thought(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "t", "signature": signature}


def patched(*turns: dict[str, Any], traits: Traits = CLAUDE, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": [USER, *turns], **fields}, separators=(",", ":"))
    losses: list[str] = []
    out = messages.patch_request(body.encode(), model="m", traits=traits, losses=losses)
    written: dict[str, Any] = json.loads(out)
    if not losses:
        assert out == body.encode()
    return written, losses


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


@pytest.mark.parametrize("signature", ["gemini:CvwB", "openai:gAAA", "xai-responses-v1:x", ""])
def test_thoughts_of_others_stay_here(signature: str) -> None:
    body, losses = patched(assistant(thought(signature), OWN, TEXT))
    assert body["messages"][1]["content"] == [OWN, TEXT]
    assert losses == ["messages.1.thinking"]


def test_spaces_after_the_colon_make_no_difference() -> None:
    body = json.dumps({"model": "m", "messages": [USER, assistant(thought("gemini:x"), TEXT)]}).encode()
    out = messages.patch_request(body, model="m", traits=CLAUDE)
    assert json.loads(out)["messages"][1]["content"] == [TEXT]


def test_anthropics_own_go_back_byte_for_byte() -> None:
    turn = assistant(OWN, {"type": "redacted_thinking", "data": "r:x"}, TEXT)
    assert patched(turn)[0]["messages"][1] == turn


def test_unsigned_thoughts_go_back_to_hosts_that_are_not_anthropic() -> None:
    turn = assistant(thought(""), TEXT)
    assert patched(turn, traits=PLAIN) == ({"model": "m", "max_tokens": 9, "messages": [USER, turn]}, [])
    assert patched(assistant(thought("gemini:x"), TEXT), traits=PLAIN)[1] == ["messages.1.thinking"]


def test_text_that_talks_about_signatures_is_left_alone() -> None:
    turn = assistant({"type": "text", "text": '{"signature":"gemini:x","encrypted_index":""}'})
    assert patched(turn)[1] == []
    call = assistant({**CALL, "input": {"signature": "gemini:x", "encrypted_index": ""}})
    assert patched(call, RESULT)[0]["messages"][1] == call


def test_a_message_that_was_nothing_else_is_dropped() -> None:
    body, losses = patched(assistant(thought("gemini:x")), USER)
    assert body["messages"] == [USER, USER]
    assert losses == ["messages.1.thinking"]


def test_citations_that_anthropic_never_made() -> None:
    own = {**WEB, "encrypted_index": "E"}
    made_up = {**WEB, "encrypted_index": ""}
    body, losses = patched(assistant({**TEXT, "citations": [made_up, own]}, {**TEXT, "citations": [made_up]}))
    assert body["messages"][1]["content"] == [{**TEXT, "citations": [own]}, TEXT]
    assert losses == ["messages.1.citations", "messages.1.citations"]


def test_a_budget_is_given_up_where_the_loops_own_thoughts_are_gone() -> None:
    enabled = {"type": "enabled", "budget_tokens": 1024}
    body, losses = patched(assistant(thought("gemini:x"), CALL), RESULT, traits=BUDGET, thinking=enabled)
    assert "thinking" not in body
    assert losses == ["messages.1.thinking", "thinking"]
    body, losses = patched(
        assistant(thought("gemini:x"), CALL), RESULT, assistant(TEXT), USER, traits=BUDGET, thinking=enabled
    )
    assert body["thinking"] == enabled
    body, _ = patched(assistant(thought("gemini:x"), CALL), RESULT, thinking={"type": "adaptive"})
    assert body["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize("content", ["x", 5, None, [], [5], [{"signature": ""}], {"signature": ""}])
def test_odd_messages_are_left_to_the_provider(content: Any) -> None:
    for odd in ({"role": "assistant", "content": content}, {"content": content, "signature": ""}):
        body, losses = patched(odd, x={"signature": ""})
        assert body["messages"][1] == odd
        assert losses == []
    whole = json.dumps({"model": "m", "messages": content, "x": {"signature": ""}}, separators=(",", ":")).encode()
    assert messages.patch_request(whole, model="m", traits=CLAUDE) == whole


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}])
def test_a_choice_nobody_may_make_for_the_model(choice: dict[str, Any]) -> None:
    body, losses = patched(traits=Traits(force_tool=False), tool_choice=choice)
    rest = {name: value for name, value in choice.items() if name not in ("type", "name")}
    assert body["tool_choice"] == {"type": "auto", **rest}
    assert losses == ["tool_choice"]
    assert patched(tool_choice=choice)[1] == []


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "none"}, None, "any", 5])
def test_any_other_choice_is_left_alone(choice: Any) -> None:
    assert patched(traits=Traits(force_tool=False), tool_choice=choice)[1] == []
