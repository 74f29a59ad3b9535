"""Labels that come with the results of tools, in every dialect that a client may speak."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.languages import CLIENT
from freehold.classify.sources import carried
from freehold.dialects.conversation import Conversation, Opaque, ToolCall, ToolResult, Turn
from freehold.labels import Label
from freehold.labels.sources import Sources

CRM, SEARCH, ALL = Label(2), Label(0), Label(2, frozenset({"phi"}))
RULES = Sources({"crm_*": CRM, "search_*": SEARCH, "*_health": Label(0, frozenset({"phi"}))})

FOUND = {"name": "crm_find", "arguments": "{}"}
ASKED = {"role": "user", "content": "who is it?"}
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            ASKED,
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": FOUND}]},
            {"role": "tool", "tool_call_id": "c", "content": "a customer"},
        ]
    },
    "messages": {
        "max_tokens": 5,
        "messages": [
            ASKED,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "crm_find", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "a customer"}]},
        ],
    },
    "responses": {
        "input": [
            ASKED,
            {"type": "function_call", "call_id": "c", "name": "crm_find", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "a customer"},
        ]
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "who is it?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "crm_find", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "crm_find", "response": {"output": "a man"}}}]},
        ]
    },
    "cohere": {
        "messages": [
            ASKED,
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": FOUND}]},
            {"role": "tool", "tool_call_id": "c", "content": "a customer"},
        ]
    },
    "mistral": {
        "messages": [
            ASKED,
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "crm_find", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "name": "crm_find", "content": "a customer"},
        ]
    },
    "ollama": {
        "messages": [
            ASKED,
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "crm_find", "arguments": {}}}]},
            {"role": "tool", "tool_name": "crm_find", "content": "a customer"},
        ]
    },
}  # fmt: skip


def read(dialect: str, body: dict[str, Any]) -> Conversation:
    options = {"model": "m", "stream": False} if dialect == "gemini" else {}
    found: Conversation = CLIENT[dialect].read_request(json.dumps({"model": "m", **body}).encode(), **options)
    return found


@pytest.mark.parametrize("dialect", REQUESTS)
def test_a_result_raises_the_label_in_every_dialect(dialect: str) -> None:
    assert carried(read(dialect, REQUESTS[dialect]), RULES) == CRM
    renamed = json.loads(json.dumps(REQUESTS[dialect]).replace("crm_find", "search_web"))
    assert carried(read(dialect, renamed), RULES) == Label()


def test_a_call_without_its_result_brings_nothing() -> None:
    body = {**REQUESTS["chat"], "messages": REQUESTS["chat"]["messages"][:2]}
    assert carried(read("chat", body), RULES) == Label()


def test_whose_result_nobody_knows_counts_as_everybodys() -> None:
    body = {"messages": [ASKED, {"role": "tool", "tool_call_id": "lost", "content": "a customer"}]}
    assert carried(read("chat", body), RULES) == ALL


@pytest.mark.parametrize(
    ("block", "label"),
    [
        ({"type": "search_web_tool_result", "tool_use_id": "s", "content": []}, SEARCH),
        ({"type": "mcp_tool_result", "tool_use_id": "known", "content": []}, CRM),
        ({"type": "mcp_call", "name": "crm_find", "output": "a customer"}, CRM),
        ({"$item": {"type": "mcp_call", "name": "crm_find", "output": "a customer"}}, CRM),
        ({"$message": {"role": "function", "name": "crm_find", "content": "x"}}, CRM),
        ({"$message": {"role": "tool", "content": "x"}}, ALL),
        ({"type": "compaction", "content": "x"}, Label()),
        ({"type": 7}, Label()),
        ("a string", Label()),
    ],
)
def test_tools_that_a_provider_runs(block: Any, label: Label) -> None:
    called = Opaque("messages", {"type": "mcp_tool_use", "id": "known", "name": "crm_find", "input": {}})
    asked = Conversation("m", turns=[Turn("assistant", [called]), Turn("user", [Opaque("messages", block)])])
    assert carried(asked, RULES) == label


NAMES = st.text("crm_seahlt*.", max_size=8)
PATTERNS = st.dictionaries(NAMES, st.sampled_from([CRM, SEARCH, ALL, Label(3)]), min_size=1, max_size=4)


@given(PATTERNS, NAMES, st.sampled_from([CRM, ALL, Label(1)]), NAMES)
def test_one_more_pattern_never_lowers_a_label(patterns: dict[str, Label], added: str, label: Label, name: str) -> None:
    if added not in patterns:
        assert Sources(patterns).of(name) <= Sources({**patterns, added: label}).of(name)
    assert Sources(patterns).of(name) <= Sources(patterns).unknown or not name


def test_a_pattern_is_no_expression_and_names_match_whatever_their_case() -> None:
    sources = Sources({"a.b*": CRM})
    assert [sources.of(name) for name in ("a.b", "A.Bc", "axb", "ba.b")] == [CRM, CRM, Label(), Label()]
    assert sources.of(None) == sources.of("") == CRM


def test_many_names_are_not_all_remembered() -> None:
    sources = Sources({"crm_*": CRM})
    for number in range(2500):
        assert sources.of(f"crm_{number}") == CRM
    assert len(sources._known) <= 1000


def test_a_result_in_a_result_and_a_named_result() -> None:
    asked = Conversation("m", turns=[Turn("user", [ToolResult("x", [], name="crm_find"), ToolCall("y", "search_web")])])
    assert carried(asked, RULES) == CRM
