"""Whole answers of the Responses API: read from a provider, written for a client, metered when passed through."""

import json
from typing import Any

import pytest
from openai.types.responses import Response

from freehold.dialects import responses
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Citation,
    Finish,
    Image,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from freehold.errors import (
    NotFound,
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamRefused,
)

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}


def message(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": list(content),
        **fields,
    }


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": [], "logprobs": [], **fields}


def body(*output: Any, **fields: Any) -> bytes:
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "model": "gpt-x",
        "status": "completed",
        "output": list(output),
        "usage": USAGE,
        **fields,
    }
    return json.dumps(response).encode()


def parts(*output: Any, **fields: Any) -> list[Part]:
    return responses.read_reply(body(*output, **fields)).choices[0].parts


def write(*said: Part, request: dict[str, Any] | None = None, losses: list[str] | None = None, **fields: Any) -> Any:
    """The response object, as the SDK's type has it; what is lost must be what `losses` says."""
    found: list[str] = []
    choice = Choice(list(said), **{"finish": "stop", **fields})
    reply = Reply("chatcmpl-1", "m", [choice], Usage(uncached=3, output=2))
    echo = responses.echo(json.dumps({"model": "m", **(request or {})}).encode())
    written = json.loads(responses.write_reply(reply, found, 9, echo))
    assert found == (losses or [])
    Response.model_validate(written)
    return written


def test_usage_classes_are_disjoint() -> None:
    reply = responses.read_reply(body(message(text("Hi"))))
    assert reply.usage == Usage(uncached=30, cache_read=60, cache_write_5m=10, output=20, reasoning=5)
    assert (reply.id, reply.model, reply.created) == ("resp_1", "gpt-x", 7)


def test_everything_a_provider_may_answer() -> None:
    annotation = {"type": "container_file_citation", "file_id": "f", "filename": "a.png", "container_id": "c"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    found = parts(
        {"type": "reasoning", "id": "rs_1", "summary": [{"text": "A"}, {"text": "B"}], "encrypted_content": "gAAA"},
        search,
        message(text("See", annotations=[annotation]), {"type": "refusal", "refusal": "No."}, phase="commentary"),
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "", "namespace": "n"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "p", "input": "free"},
    )
    assert found == [
        Thinking("A\n\nB", "openai:gAAA", id="rs_1"),
        Opaque("responses", search),
        Text(
            "See",
            citations=[Citation(title="a.png", file_id="f", dialect="responses", raw=annotation)],
            item_id="msg_1",
        ),
        Refusal("No.", "msg_1"),
        Opaque("responses", {"$item": {"phase": "commentary"}}),
        ToolCall("c1", "f", "{}", item_id="fc_1"),
        Opaque("responses", {"$item": {"namespace": "n"}}),
        ToolCall("c2", "p", "free", custom=True, item_id="ctc_1"),
    ]


def test_hosts_that_show_their_thoughts() -> None:
    item = {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert parts(item) == [Thinking("Hm.", id="r")]
    bare = {"type": "reasoning", "id": "r", "summary": []}
    assert parts(bare) == [Opaque("responses", bare)]


def test_logprobs_both_ways() -> None:
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
    choice = responses.read_reply(body(message(text("Hi", logprobs=[token])))).choices[0]
    assert choice.logprobs == {"content": [token], "refusal": None}
    written = write(Text("Hi"), logprobs={"content": [{"token": "Hi", "logprob": -0.5}], "refusal": None})
    assert written["output"][0]["content"][0]["logprobs"] == [token]


@pytest.mark.parametrize(
    ("fields", "output", "finish"),
    [
        ({}, [message(text("Hi"))], "stop"),
        ({}, [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}], "tool_calls"),
        ({}, [{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}], "tool_calls"),
        ({}, [{"type": "web_search_call", "id": "ws"}], "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, [], "length"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            [{"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a'}],
            "length",
        ),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, [], "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, [], "pause"),
        ({"status": "queued"}, [], "pause"),
    ],
)
def test_why_it_ended(fields: dict[str, Any], output: list[Any], finish: Finish) -> None:
    whole = body(*output, **fields)
    assert responses.read_reply(whole).choices[0].finish == finish
    assert responses.read_receipt(whole).finish == finish


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down."}}, UpstreamLimited),
        ({"status": "failed", "error": {"code": "server_error", "message": "Oops."}}, UpstreamBroken),
        ({"status": "failed", "error": {"code": "invalid_prompt", "message": "No."}}, UpstreamRefused),
        ({"status": "cancelled", "error": None}, UpstreamBroken),
        ({"output": None, "error": {"message": "No."}}, ProviderError),
        ({"output": None}, UpstreamBroken),
    ],
)
def test_a_failed_response_is_an_error(fields: dict[str, Any], expected: type[ProviderError]) -> None:
    with pytest.raises(expected):
        responses.read_reply(body(**fields))


def test_the_receipt_of_a_failed_response_bills_what_was_used() -> None:
    receipt = responses.read_receipt(body(status="failed", error={"code": "server_error", "message": "Oops."}))
    assert receipt.failed is not None
    assert (receipt.failed.message, receipt.failed.status) == ("Oops.", 500)
    assert receipt.usage is not None
    assert receipt.finish is None


def test_items_have_ids_that_are_always_the_same() -> None:
    said = (Thinking("Hm.", "sig"), Text("Hi"), ToolCall("c1", "f"), Image("image/png", data="AAAA"))
    first, again = write(*said, finish="tool_calls"), write(*said, finish="tool_calls")
    assert first == again
    assert first["id"] == "resp_chatcmpl-1"
    assert [item["id"].partition("_")[0] for item in first["output"]] == ["rs", "msg", "fc", "ig"]
    assert len({item["id"] for item in first["output"]}) == 4
    assert first["output"][2]["call_id"] == "c1"


def test_odd_ids_become_plain_ones() -> None:
    for identity in ("a/b c", "x" * 300, "ü"):
        written = json.loads(responses.write_reply(Reply(identity, "m", [Choice([Text("Hi")])]), []))
        assert written["id"].startswith("resp_")
        assert written["id"].isascii()
        assert len(written["id"]) <= 64
    assert json.loads(responses.write_reply(Reply("resp_abc", "m"), []))["id"] == "resp_abc"


@pytest.mark.parametrize(
    ("part", "encrypted"),
    [
        (Thinking("T", "sig"), "anthropic:sig"),
        (Thinking("T", "gemini:sig"), "gemini:sig"),
        (Thinking("T", "openai:gAAA"), "gAAA"),
        (Thinking(redacted="D"), "anthropic-redacted:D"),
        (Thinking("T"), None),
    ],
)
def test_signatures_are_kept_by_the_client_and_come_back(part: Thinking, encrypted: str | None) -> None:
    (item,) = write(part)["output"]
    assert item.get("encrypted_content") == encrypted
    request = {"model": "m", "input": [item]}
    (turn,) = responses.read_request(json.dumps(request).encode()).turns
    (read,) = turn.parts
    assert isinstance(read, Thinking)
    assert (read.signature, read.redacted, read.text) == (part.signature, part.redacted, part.text)


@pytest.mark.parametrize(
    ("given", "shown", "losses"),
    [("priority", "priority", []), ("standard", "default", []), ("batch", "auto", ["service_tier"])],
)
def test_service_tiers(given: str, shown: str, losses: list[str]) -> None:
    found: list[str] = []
    reply = Reply("x", "m", [Choice([Text("Hi")])], service_tier=given)
    assert json.loads(responses.write_reply(reply, found))["service_tier"] == shown
    assert found == losses


def test_a_message_that_the_assistant_did_not_say_is_opaque() -> None:
    item = {"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    assert parts(item) == [Opaque("responses", item)]


def test_the_response_repeats_its_request() -> None:
    request = {
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "previous_response_id": "resp_0",
        "store": False,
        "truncation": "auto",
        "max_output_tokens": 99,
        "user": None,
    }
    written = write(Text("Hi"), request=request)
    for name in request.keys() - {"text"}:
        assert written[name] == request[name]
    assert written["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert (written["status"], written["error"], written["incomplete_details"]) == ("completed", None, None)


def test_defaults_stand_where_the_request_says_nothing() -> None:
    written = write(Text("Hi"))
    assert (written["tools"], written["tool_choice"], written["parallel_tool_calls"]) == ([], "auto", True)
    assert (written["store"], written["truncation"], written["metadata"]) == (True, "disabled", {})
    assert written["created_at"] == 9
    assert written["usage"]["total_tokens"] == 5
    Response.model_validate_json(responses.write_reply(Reply("x", "m", [Choice([Text("Hi")])]), []))


def test_an_echo_knows_what_keeping_needs() -> None:
    echo = responses.echo(b'{"store":false,"previous_response_id":"resp_0"}')
    assert (echo.stored, echo.previous) == (False, "resp_0")
    echo = responses.echo(b'{"store":null}')
    assert (echo.stored, echo.previous) == (True, None)


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"finish": "stop"}, "completed", None),
        ({"finish": "tool_calls"}, "completed", None),
        ({"finish": "length"}, "incomplete", "max_output_tokens"),
        ({"finish": "pause"}, "incomplete", "max_output_tokens"),
        ({"finish": "content_filter", "refused": True}, "incomplete", "content_filter"),
    ],
)
def test_status(fields: dict[str, Any], status: str, reason: str | None) -> None:
    written = write(Text("Hi"), **fields)
    assert written["status"] == written["output"][0]["status"] == status
    assert (written["incomplete_details"] or {}).get("reason") == reason


def test_an_answer_that_ended_in_an_error_is_one() -> None:
    with pytest.raises(UpstreamBroken):
        responses.write_reply(Reply("x", "m", [Choice([Text("H")], "error")]), [])


def test_citations_and_refusals() -> None:
    cited = Text("See.", citations=[Citation("https://a.example", "A"), Citation(file_id="f", title="n", start=2)])
    written = write(cited, Refusal("No."))
    (item,) = written["output"]
    assert item["content"][0]["annotations"] == [
        {"type": "url_citation", "start_index": 0, "end_index": 4, "title": "A", "url": "https://a.example"},
        {"type": "file_citation", "file_id": "f", "filename": "n", "index": 2},
    ]
    assert item["content"][1] == {"type": "refusal", "refusal": "No."}
    write(Text("x", citations=[Citation(source=0, quote="q")]), losses=["content.citations"])


def test_what_has_no_item_is_reported() -> None:
    written = write(
        Opaque("messages", {"type": "server_tool_use"}),
        Audio("AAAA", "wav", transcript="Hello"),
        Image(url="https://a.example/i.png"),
        Text("x", signature="S"),
        losses=["content.server_tool_use", "content.audio", "content.image"],
    )
    assert written["output"][0]["content"][0]["text"] == "Hello"


def test_a_custom_tool_and_a_namespace_are_undone() -> None:
    tools = [
        {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "wiki", "description": "W", "tools": [{"type": "function", "name": "ask"}]},
        {"type": "function", "name": "f", "parameters": {}, "strict": True},
    ]
    written = write(
        ToolCall("c1", "patch", '{"input": "*** Begin"}'),
        ToolCall("c2", "patch", "no json"),
        ToolCall("c3", "wiki__ask", '{"q": 1}'),
        ToolCall("c4", "f", '{"input": "x"}'),
        ToolCall("c5", "native", "free", custom=True),
        request={"tools": tools},
        finish="tool_calls",
    )
    first, second, third, fourth, fifth = written["output"]
    assert (first["type"], first["input"], first["id"][:4]) == ("custom_tool_call", "*** Begin", "ctc_")
    assert (second["type"], second["input"]) == ("custom_tool_call", "no json")
    assert (third["type"], third["name"], third["namespace"]) == ("function_call", "ask", "wiki")
    assert (fourth["type"], fourth["arguments"]) == ("function_call", '{"input": "x"}')
    assert (fifth["type"], fifth["input"]) == ("custom_tool_call", "free")


def test_errors_are_chats() -> None:
    error = json.loads(responses.write_error(NotFound("No such response.", param="previous_response_id"), "req_1"))
    assert error["error"]["type"] == "not_found_error"
    assert error["error"]["param"] == "previous_response_id"
    assert isinstance(responses.read_error(401, {}, b"{}"), UpstreamAuth)
    full = b'{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}'
    assert responses.read_error(400, {}, full).code == "context_length_exceeded"
