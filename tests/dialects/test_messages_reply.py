"""Whole Anthropic answers: read, written for a client, metered."""

import contextlib
import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import messages
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Finish,
    Image,
    Opaque,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from freehold.errors import UpstreamBroken


def wire(*blocks: dict[str, Any], **fields: Any) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": list(blocks),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    return json.dumps({**message, **fields}).encode()


def write(reply: Reply) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    body = json.loads(messages.write_reply(reply, losses))
    Message.model_validate(body)
    return body, losses


def test_usage_classes_are_disjoint() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 5},
        "service_tier": "priority",
    }
    reply = messages.read_reply(wire({"type": "text", "text": "x"}, usage=usage))
    assert reply.usage == Usage(10, 100, 20, 30, 7, 5)
    assert reply.usage.input == 160
    assert reply.service_tier == "priority"
    body, _ = write(reply)
    assert body["usage"] == usage
    assert messages.read_receipt(json.dumps(body).encode()).usage == reply.usage


@pytest.mark.parametrize(
    ("reason", "finish", "refused"),
    [
        ("end_turn", "stop", False),
        ("stop_sequence", "stop", False),
        ("max_tokens", "length", False),
        ("model_context_window_exceeded", "length", False),
        ("refusal", "content_filter", True),
        ("pause_turn", "pause", False),
        ("compaction", "pause", False),
        ("something_new", "stop", False),
    ],
)
def test_stop_reasons(reason: str, finish: Finish, refused: bool) -> None:
    choice = messages.read_reply(wire({"type": "text", "text": "x"}, stop_reason=reason)).choices[0]
    assert (choice.finish, choice.refused) == (finish, refused)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (Choice(finish="stop"), "end_turn"),
        (Choice(finish="stop", stop_sequence="END"), "stop_sequence"),
        (Choice(finish="length"), "max_tokens"),
        (Choice(finish="tool_calls"), "tool_use"),
        (Choice(finish="content_filter"), "refusal"),
        (Choice(finish="stop", refused=True), "refusal"),
        (Choice(finish="pause"), "pause_turn"),
    ],
)
def test_finish_reasons_as_stop_reasons(choice: Choice, reason: str) -> None:
    assert write(Reply("i", "m", [choice]))[0]["stop_reason"] == reason


def test_an_answer_that_ended_in_an_error_is_not_shown_as_a_clean_one() -> None:
    with pytest.raises(UpstreamBroken):
        messages.write_reply(Reply("i", "m", [Choice([Text("x")], "error")]), [])


def test_tool_input_keeps_its_text_and_the_default_caller_is_silent() -> None:
    body = wire(stop_reason="tool_use").replace(
        b'"content": []',
        b'"content": [{"type":"tool_use","id":"a","name":"f","input":{"n": 1.50},"caller":{"type":"direct"}},'
        b'{"type":"tool_use","id":"b","name":"g","caller":{"type":"code_execution_20260120","tool_id":"t"}}]',
    )
    choice = messages.read_reply(body).choices[0]
    assert choice.parts == [
        ToolCall("a", "f", '{"n": 1.50}'),
        ToolCall("b", "g", "{}"),
        Opaque("messages", {"$part": {"caller": {"type": "code_execution_20260120", "tool_id": "t"}}}),
    ]
    assert choice.finish == "tool_calls"
    written, losses = write(Reply("i", "m", [choice]))
    assert written["content"][1]["caller"]["tool_id"] == "t"
    assert losses == []


def test_the_forced_json_tool_is_the_answer_itself() -> None:
    call = {"type": "tool_use", "id": "a", "name": "answer", "input": {"city": "Rome"}}
    other = {"type": "tool_use", "id": "b", "name": "f", "input": {}}
    choice = messages.read_reply(wire(call, stop_reason="tool_use"), json_tool="answer").choices[0]
    assert [type(part) for part in choice.parts] == [Text]
    assert json.loads(choice.parts[0].text) == {"city": "Rome"}  # type: ignore[union-attr]
    assert choice.finish == "stop"
    choice = messages.read_reply(wire(other, stop_reason="tool_use"), json_tool="answer").choices[0]
    assert choice.finish == "tool_calls"


def test_unsigned_thoughts_of_other_models_are_shown() -> None:
    body, losses = write(
        Reply("i", "m", [Choice([Thinking("hm"), Thinking("g", "gemini:AA"), Thinking(redacted="x"), Text("t")])])
    )
    assert [block["type"] for block in body["content"]] == ["thinking", "thinking", "redacted_thinking", "text"]
    assert body["content"][0]["signature"] == ""
    assert losses == []


def test_what_an_anthropic_client_cannot_be_shown_is_reported() -> None:
    parts = [
        Text("t", citations=[Citation(title="a book")]),
        Image("image/png", data="QUJD"),
        Audio("QUJD", "wav", transcript="spoken"),
        Opaque("gemini", {"executableCode": {}}),
        Refusal("no"),
    ]
    body, losses = write(Reply("i", "m", [Choice(parts, logprobs={}), Choice()]))
    assert [block["text"] for block in body["content"]] == ["t", "spoken", "no"]
    assert losses == [
        "choices",
        "logprobs",
        "content.citations",
        "content.image",
        "content.audio",
        "content.executableCode",
    ]


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"type":"message","content":{}}', b"<html>", b"\xff", wire() + b"x",
     b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'],
)  # fmt: skip
def test_garbage_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        messages.read_reply(body)


def test_an_error_sent_as_200_is_on_the_receipt() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded sk-ant-REDACTEDABCDEF"}}'
    failed = messages.read_receipt(body).failed
    assert failed is not None
    assert (failed.code, failed.status) == ("overloaded_error", 529)
    assert "sk-ant" not in failed.message


@given(st.binary(max_size=100) | st.text().map(str.encode))
def test_readers_of_replies_raise_only_upstream_broken(body: bytes) -> None:
    for verb in (messages.read_reply, messages.read_receipt, messages.read_count):
        with contextlib.suppress(UpstreamBroken):
            verb(body)
