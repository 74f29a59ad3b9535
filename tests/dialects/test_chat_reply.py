"""Whole chat replies: read from any host, written for any client."""

import json

import pytest
from openai.types.chat import ChatCompletion

from freehold.dialects import chat
from freehold.dialects.chat.reply import read_reply
from freehold.dialects.chat.usage import read_usage, write_usage
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Failed,
    Opaque,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from freehold.dialects.tool_calls import generated_id
from freehold.errors import FreeholdError, UpstreamBroken, UpstreamLimited

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def wire(finish: str = "stop", usage: dict | None = None, **message) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 7,
            "model": "served",
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
            "usage": usage or USAGE,
        }
    ).encode()


def call(arguments, **fields) -> dict:
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}, **fields}


def only(body: bytes, **options) -> Choice:
    (choice,) = read_reply(body, **options).choices
    return choice


def write(reply: Reply) -> tuple[ChatCompletion, list[str]]:
    losses: list[str] = []
    return ChatCompletion.model_validate(json.loads(chat.write_reply(reply, losses, created=9))), losses


def test_a_plain_reply():
    reply = chat.read_reply(wire(content="hello"))
    assert reply == Reply("chatcmpl-1", "served", [Choice([Text("hello")])], Usage(uncached=5, output=3), created=7)
    written, losses = write(reply)
    assert written.choices[0].message.content == "hello"
    assert written.choices[0].finish_reason == "stop"
    assert written.usage.total_tokens == 8
    assert (written.id, written.model, written.created) == ("chatcmpl-1", "served", 7)
    assert losses == []


def test_created_is_given_where_the_reply_has_none():
    assert write(Reply("i", "m", [Choice([Text("x")])]))[0].created == 9


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": None}, []),
        ({"content": ""}, []),
        ({"content": {"a": [1, "ü"]}}, [Text('{"a":[1,"ü"]}')]),  # Cloudflare: the object that was asked for
        ({"reasoning_content": "t", "content": "a"}, [Thinking("t"), Text("a")]),
        ({"reasoning": "t", "content": "a"}, [Thinking("t"), Text("a")]),
        ({"reasoning": "t", "reasoning_content": "t", "content": "a"}, [Thinking("t"), Text("a")]),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                    {"type": "text", "text": "a"},
                    "b",
                ]
            },
            [Thinking("t"), Text("a"), Text("b")],
        ),
        ({"content": None, "refusal": "no"}, [Refusal("no")]),
        (
            {"audio": {"id": "a", "data": "AA", "transcript": "t", "expires_at": 1}},
            [Audio("AA", id="a", transcript="t")],
        ),
        ({"content": "a", "annotations": []}, [Text("a")]),
        ({"content": "a", "executed_tools": [1]}, [Text("a"), Opaque("chat", {"$fields": {"executed_tools": [1]}})]),
        (
            {"function_call": {"name": "f", "arguments": "{}"}},
            [ToolCall(generated_id("chatcmpl-1", 0), "f", "{}")],
        ),
    ],
)
def test_forms_of_a_message(message, parts):
    assert only(wire(**message)).parts == parts


@pytest.mark.parametrize(
    ("given", "arguments"),
    [('{"a": 1}', '{"a": 1}'), ({"a": 1}, '{"a":1}'), (None, "{}"), ("", "{}"), ({}, "{}")],
)
def test_arguments_are_json_text(given, arguments):
    assert only(wire(tool_calls=[call(given)])).parts == [ToolCall("c", "f", arguments)]


def test_calls_without_ids_get_different_ones():
    calls = only(wire(tool_calls=[call("{}", id=None), call("{}", id="")])).parts
    assert len({part.id for part in calls}) == 2
    assert calls == only(wire(tool_calls=[call("{}", id=None), call("{}", id="")])).parts


def test_gemini_signatures_travel_both_ways():
    extra = {"google": {"thought_signature": "sig"}}
    reply = read_reply(wire(tool_calls=[call("{}", extra_content=extra)]))
    assert reply.choices[0].parts == [ToolCall("c", "f", "{}", signature="sig")]
    written = json.loads(chat.write_reply(reply, []))
    assert written["choices"][0]["message"]["tool_calls"][0]["extra_content"] == extra


@pytest.mark.parametrize(
    ("finish", "message", "expected"),
    [
        ("stop", {"content": "a"}, "stop"),
        ("length", {"content": "a"}, "length"),
        ("content_filter", {"content": ""}, "content_filter"),
        ("eos", {"content": "a"}, "stop"),
        ("model_length", {"content": "a"}, "length"),
        ("sensitive", {"content": ""}, "content_filter"),
        ("insufficient_system_resource", {"content": ""}, "error"),
        ("something new", {"content": "a"}, "stop"),
        (None, {"content": "a"}, "stop"),
        ("stop", {"tool_calls": [call("{}")]}, "tool_calls"),
        ("function_call", {"function_call": {"name": "f", "arguments": "{}"}}, "tool_calls"),
        ("tool_calls", {"tool_calls": [call('{"a": ')]}, "length"),
        ("tool_calls", {"tool_calls": [call('{"a": 1}'), call('{"a": ')]}, "tool_calls"),
        ("tool_calls", {"content": "none at all"}, "stop"),
        ("length", {"tool_calls": [call("{}")]}, "length"),
    ],
)
def test_finish_reasons(finish, message, expected):
    assert only(wire(finish, **message)).finish == expected


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("<think>a</think>b", [Thinking("a"), Text("b")]),
        ("\n<think>\na\n</think>\n\nb", [Thinking("a"), Text("b")]),
        ("opened by the template</think>b", [Thinking("opened by the template"), Text("b")]),
        ("<think>never closed", [Thinking("never closed")]),
        ("b", [Text("b")]),
        ("say <think>x</think>", [Text("say <think>x</think>")]),
    ],
)
def test_thoughts_in_the_text_are_split_on_request(content, parts):
    assert only(wire(content=content), split_think=True).parts == parts
    assert only(wire(content=content)).parts == [Text(content)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":null}',
        b'{"choices":[1]}',
        b'{"choices":[{}]}',
        b'{"choices":{}}',
        b"\xff",
    ],
)
def test_garbage_is_the_providers_fault(body):
    with pytest.raises(UpstreamBroken):
        chat.read_reply(body)


def test_a_message_that_a_filter_took_is_an_empty_one():
    """Azure leaves it out of the answer altogether."""
    filtered = {"index": 0, "finish_reason": "content_filter", "content_filter_results": {"hate": {"filtered": True}}}
    (choice,) = chat.read_reply(json.dumps({"id": "c", "choices": [filtered], "usage": USAGE}).encode()).choices
    assert (choice.parts, choice.finish) == ([], "content_filter")


def test_an_error_sent_as_success_is_an_error():
    body = b'{"error":{"message":"slow down","code":429}}'
    with pytest.raises(UpstreamLimited):
        chat.read_reply(body)
    assert chat.read_receipt(body).failed == Failed("slow down", status=429)


def test_writing_what_chat_has_no_place_for_is_reported():
    parts = [
        Thinking("t", signature="s"),
        Thinking(redacted="r"),
        Text("a", citations=[Citation(quote="q", source=0)]),
        Opaque("messages", {"type": "server_tool_use"}),
        Text("b"),
    ]
    written, losses = write(Reply("i", "m", [Choice(parts)]))
    assert written.choices[0].message.content == "ab"
    assert written.choices[0].message.reasoning_content == "t"
    assert losses == ["citations", "server_tool_use"]


def test_several_choices_keep_their_indexes():
    reply = Reply("i", "m", [Choice([Text("a")]), Choice([Text("b")], "length", index=1)])
    written, _ = write(reply)
    assert [(choice.index, choice.finish_reason) for choice in written.choices] == [(0, "stop"), (1, "length")]
    assert chat.read_reply(chat.write_reply(reply, [])).choices == reply.choices


def test_a_paused_turn_does_not_look_finished():
    assert write(Reply("i", "m", [Choice([Text("a")], "pause")]))[0].choices[0].finish_reason == "length"


# Usage


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                **USAGE,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(uncached=3, cache_read=2, output=3, reasoning=1),
        ),
        (
            {**USAGE, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 1},
            Usage(uncached=1, cache_read=4, output=3),
        ),
        ({**USAGE, "num_cached_tokens": 4}, Usage(uncached=1, cache_read=4, output=3)),
        ({**USAGE, "cached_tokens": 4}, Usage(uncached=1, cache_read=4, output=3)),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2}},
            Usage(uncached=2, cache_read=1, cache_write_5m=2, output=3),
        ),
        (  # xAI: reasoning beside completion_tokens
            {**USAGE, "total_tokens": 18, "completion_tokens_details": {"reasoning_tokens": 10}},
            Usage(uncached=5, output=13, reasoning=10),
        ),
        ({**USAGE, "total_tokens": 18}, Usage(uncached=5, output=13, reasoning=10)),  # Gemini's OpenAI path
        (
            {**USAGE, "prompt_tokens_details": {"audio_tokens": 4}, "completion_tokens_details": {"audio_tokens": 2}},
            Usage(uncached=5, output=3, audio_input=4, audio_output=2),
        ),
        ({"prompt_tokens": "-3", "completion_tokens": None, "total_tokens": "x"}, Usage()),
        ({**USAGE, "prompt_tokens": -3}, None),
        ({**USAGE, "completion_tokens": 10**15}, None),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": -1}}, Usage(uncached=5, output=3)),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 99}}, Usage(cache_read=5, output=3)),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 99}}, Usage(uncached=5, output=3, reasoning=3)),
        ({**USAGE, "prompt_tokens_details": None, "cost": 0.1, "cost_details": {}}, Usage(uncached=5, output=3)),
        ({"prompt_tokens": 5.0, "completion_tokens": True}, Usage(uncached=5)),
        (None, None),
        ({}, None),
        ([], None),
    ],
)
def test_one_algebra(raw, usage):
    assert read_usage(raw) == usage


def test_written_usage_reads_back():
    usage = Usage(uncached=10, cache_read=20, cache_write_5m=30, output=40, reasoning=5, audio_input=1, audio_output=2)
    written = write_usage(usage)
    assert (written["prompt_tokens"], written["completion_tokens"], written["total_tokens"]) == (60, 40, 100)
    assert read_usage(written) == usage


def test_a_receipt_says_the_same_without_reading_all():
    body = wire("length", content="x" * 1000)
    receipt = chat.read_receipt(body)
    assert (receipt.id, receipt.model, receipt.finish, receipt.failed) == ("chatcmpl-1", "served", "length", None)
    assert receipt.usage == chat.read_reply(body).usage
    groq = json.dumps({"id": "1", "choices": [{}], "x_groq": {"usage": USAGE}}).encode()
    assert chat.read_receipt(groq).usage == Usage(uncached=5, output=3)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"choices":1}'])
def test_no_receipt_for_garbage(body):
    with pytest.raises(FreeholdError) as caught:
        chat.read_receipt(body)
    assert caught.value.fault == "provider"
