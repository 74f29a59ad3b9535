"""Traps 25 to 38: tool calls, their ids, arguments and results, and the schemas of tools."""

import json
import re
from typing import Any

import pytest
from trap_streams import MESSAGES, candidate, chunk
from trapping import PNG, asked, events, heard, sent, sse, streamed, told, whole

from freehold.dialects import chat, json_schema
from freehold.dialects.chat import read_error
from freehold.dialects.tool_calls import with_signature

SDKS = ("chat", "responses", "messages", "gemini")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}


def fragment(index: Any, identity: Any = None, name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call: dict[str, Any] = {"function": {key: value for key, value in function.items() if value is not None}}
    call |= {} if index is None else {"index": index}
    call |= {} if identity is None else {"id": identity, "type": "function"}
    return chunk({"tool_calls": [call]})


FRAGMENTS = {
    "from_seven": [fragment(7, "a", "f", ""), fragment(7, arguments='{"a":1}'), fragment(9, "b", "g", '{"b":2}')],
    "interleaved": [
        fragment(1, "a", "f", '{"a"'), fragment(0, "b", "g", '{"b"'), fragment(1, arguments=":1}"),
        fragment(0, arguments=":2}"),
    ],
    "reused": [fragment(0, "a", "f", '{"a":1}'), fragment(0, "b", "g", '{"b":2}')],
    "missing": [fragment(None, "a", "f", '{"a":1}'), fragment(None, "b", "g", '{"b":2}')],
    "nameless_rest": [fragment(0, "a", "f"), fragment(0, "", "", '{"a":1}'), fragment(1, "b", "g", '{"b":2}')],
}  # fmt: skip


@pytest.mark.parametrize("form", FRAGMENTS)
@pytest.mark.parametrize("client", SDKS)
def test_25_tool_index_gaps(client: str, form: str) -> None:
    """Indexes may start anywhere, be skipped, come again for another call, or be absent; ids and names come once."""
    raw = sse(*FRAGMENTS[form], chunk({}, "tool_calls"), done=True)
    assert heard(client, "chat", raw)[:3] == ("", [("f", {"a": 1}), ("g", {"b": 2})], "tool_calls")
    for dialect, stream in (("chat", raw), ("messages", _two_calls())):
        shown = events(streamed("chat", dialect, stream))
        indexes = [call["index"] for one in shown for c in one["choices"] for call in c["delta"].get("tool_calls", ())]
        assert set(indexes) == {0, 1}


def _two_calls() -> bytes:
    def block(index: int, name: str, *pieces: str) -> list[dict[str, Any]]:
        start = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
        deltas = [
            {"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": one}}
            for one in pieces
        ]
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *deltas,
            {"type": "content_block_stop", "index": index},
        ]

    stop = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}}
    blocks = [*block(3, "f", "", '{"a"', ":1}"), *block(5, "g")]
    return sse(MESSAGES[0], *blocks, stop, MESSAGES[-1], named=True)


@pytest.mark.parametrize("client", SDKS)
def test_26_arguments_are_whole_only_at_the_end(client: str) -> None:
    """A piece may be valid JSON and yet not all of it."""
    pieces = [fragment(0, "a", "f", "{}"), fragment(1, "b", "g", '{"n":1'), fragment(1, arguments='2,"m":[]}')]
    seen = heard(client, "chat", sse(*pieces, chunk({}, "tool_calls"), done=True))
    assert seen.calls == [("f", {}), ("g", {"n": 12, "m": []})]
    grown = [fragment(0, "a", "f", "1"), fragment(0, arguments="2")]
    out = streamed("chat", "chat", sse(*grown, chunk({}, "tool_calls"), done=True))
    assert [e["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for e in events(out)[:2]] == ["1", "2"]


def loop(identity: str) -> dict[str, Any]:
    """A chat request with one call and its result."""
    call = {"id": identity, "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": identity, "content": "42"},
    ]
    return asked("chat", messages=messages, tools=[TOOL])


def ids(dialect: str, body: dict[str, Any]) -> tuple[str, str]:
    """The id of the call and of its result, as the provider gets them."""
    match dialect:
        case "messages":
            return body["messages"][1]["content"][0]["id"], body["messages"][2]["content"][0]["tool_use_id"]
        case "gemini":
            call, result = (body["contents"][n]["parts"][0] for n in (1, 2))
            return call["functionCall"]["id"], result["functionResponse"]["id"]
        case "converse":
            call, result = (body["messages"][n]["content"][0] for n in (1, 2))
            return call["toolUse"]["toolUseId"], result["toolResult"]["toolUseId"]
        case "responses":
            return body["input"][1]["call_id"], body["input"][2]["call_id"]
    return body["messages"][1]["tool_calls"][0]["id"], body["messages"][2]["tool_call_id"]


ALPHABETS = {
    "chat": r".{1,40}",
    "responses": r".{1,64}",
    "messages": r"[a-zA-Z0-9_-]+",
    "converse": r"[a-zA-Z0-9_.:-]{1,64}",
    "mistral": r"[a-zA-Z0-9]{9}",
    "gemini": r".+",
    "cohere": r".+",
}


@pytest.mark.parametrize("dialect", ALPHABETS)
def test_27_ids_fit_whoever_gets_them_and_are_always_the_same(dialect: str) -> None:
    """Empty, over-long or in a forbidden alphabet: call and result still agree, and so do two requests.

    A chat client's ids reach a chat host as they are, but for a signature that one of ours carries for Gemini.
    """
    seen = []
    strange = ("functions.f:0", "", "x" * 90, "a b/ü") if dialect != "chat" else ()
    for identity in (*strange, with_signature("call_9", "AAAA"), "call_123"):
        first, again = (ids(dialect, sent("chat", loop(identity), dialect)[0]) for _ in range(2))
        assert first == again
        assert first[0] == first[1]
        assert re.fullmatch(ALPHABETS[dialect], first[0]), first
        seen.append(first[0])
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("client", SDKS)
def test_27_a_provider_without_ids_gets_made_ones(client: str) -> None:
    """Gemini may name none: the client needs one, the same in every reading, different for each call."""
    calls = [{"functionCall": {"name": "f", "args": {"a": n}}} for n in (1, 2)]
    raw = sse(candidate(*calls, finish="STOP"))
    out = [streamed(client, "gemini", raw, seed) for seed in (0, 2)]
    found = [set(re.findall(r'"(call_[^"]{8,})"', one)) for one in out]
    assert found[0] == found[1]
    assert len(found[0]) == (0 if client == "gemini" else 2)


@pytest.mark.parametrize("client", SDKS)
def test_28_a_call_without_arguments_has_an_empty_object(client: str) -> None:
    """Anthropic streams nothing for it; clients parse what they get."""
    out = streamed(client, "messages", _two_calls())
    assert told(client, out).calls == [("f", {"a": 1}), ("g", {})]
    if client == "chat":
        pieces = [
            c["delta"]["tool_calls"][0] for one in events(out) for c in one["choices"] if "tool_calls" in c["delta"]
        ]
        assert [piece["function"]["arguments"] for piece in pieces if piece["index"] == 1] == ["", "{}"]


@pytest.mark.parametrize("arguments", [{"a": 1}, None, ""])
@pytest.mark.parametrize("client", SDKS)
def test_29_arguments_may_be_an_object_or_nothing(client: str, arguments: Any) -> None:
    """Ollama sends objects, Cohere null or empty text, where others send JSON text."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    assert told(client, whole(client, "chat", answer)).calls == [("f", arguments or {})]
    raw = sse(chunk(message), chunk({}, "tool_calls"), done=True)
    assert heard(client, "chat", raw).calls == [("f", arguments or {})]
    reply = {"id": "c", "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "TOOL_CALL"}
    assert told(client, whole(client, "cohere", reply)).calls == [("f", arguments or {})]
    ollama = {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": True}
    assert told(client, whole(client, "ollama", ollama | {"done_reason": "stop"})).calls == [("f", arguments or {})]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("client", [*SDKS, "ollama", "cohere", "mistral"])
def test_29_indented_arguments_do_not_break_a_stream_into_more_lines(client: str, end: str) -> None:
    """Models indent what they write. Gemini's and Ollama's streams hold arguments as objects, in lines of their own."""
    pieces = [fragment(0, "a", "f", "{" + end), fragment(0, arguments=f'  "a": "x\\ny"{end}}}')]
    out = streamed(client, "chat", sse(*pieces, chunk({}, "tool_calls"), done=True))
    if client in SDKS:
        assert told(client, out).calls == [("f", {"a": "x\ny"})]
    for line in re.split("[\r\n]+", out):
        text = line.removeprefix("data: ")
        assert not text or text == "[DONE]" or text.startswith("event: ") or json.loads(text)


@pytest.mark.parametrize("client", SDKS)
def test_30_finish_says_tool_calls_only_for_calls_that_can_be_made(client: str) -> None:
    """STOP or `stop` after calls; `tool_calls` for one that was cut off; `length` stays.

    What a chat client reads of a chat host is the host's own word.
    """
    good, cut = fragment(0, "a", "f", '{"a":1}'), fragment(0, "a", "f", '{"a":')
    if client != "chat":
        assert heard(client, "chat", sse(good, chunk({}, "stop"), done=True)).finish == "tool_calls"
    assert (
        heard(client, "gemini", sse(candidate({"functionCall": {"name": "f"}}, finish="STOP"))).finish == "tool_calls"
    )
    for raw in (sse(cut, chunk({}, "tool_calls"), done=True), sse(cut, chunk({}, "length"), done=True)):
        stop = [one["delta"] for one in events(streamed("messages", "chat", raw)) if one["type"] == "message_delta"]
        assert stop[0]["stop_reason"] == "max_tokens"


def test_31_results_are_grouped_split_and_orphans_mended() -> None:
    """Anthropic wants all results first in the one turn after the calls, OpenAI a message for each."""
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ("a", "b", "c")]
    results = [{"role": "tool", "tool_call_id": one, "content": one.upper()} for one in ("b", "a", "stray")]
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *results,
        {"role": "user", "content": "and?"},
    ]
    body, losses = sent("chat", asked("chat", messages=messages, tools=[TOOL]), "messages")
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    kinds = [(block["type"], block.get("tool_use_id")) for block in body["messages"][2]["content"]]
    assert kinds[:3] == [("tool_result", "a"), ("tool_result", "b"), ("tool_result", "c")]
    assert {kind for kind, _ in kinds[3:]} == {"text"}
    assert [name.rpartition(".")[2] for name in losses] == ["tool_result", "tool_calls"]

    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": x, "name": "f", "input": {}} for x in "ab"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": x, "content": x} for x in "ab"]},
    ]
    body, _ = sent("messages", asked("messages", messages=turns), "chat")
    assert [(one["role"], one.get("tool_call_id")) for one in body["messages"][2:]] == [("tool", "a"), ("tool", "b")]


CHOICES: dict[str, tuple[Any, Any, Any]] = {
    "auto": ({"type": "auto"}, "AUTO", None),
    "none": ({"type": "none"}, "NONE", None),
    "required": ({"type": "any"}, "ANY", None),
    "named": ({"type": "tool", "name": "f"}, "ANY", ["f"]),
}


@pytest.mark.parametrize("mode", CHOICES)
def test_32_every_form_of_tool_choice(mode: str) -> None:
    """auto, none, any and one by name exist everywhere but at Ollama, which must say so."""
    choice = mode if mode != "named" else {"type": "function", "function": {"name": "f"}}
    request = asked("chat", tools=[TOOL], tool_choice=choice)
    anthropic, kind, names = CHOICES[mode]
    assert sent("chat", request, "messages", "claude-sonnet-4-5")[0].get("tool_choice") == anthropic
    config = sent("chat", request, "gemini")[0].get("toolConfig", {}).get("functionCallingConfig", {"mode": "AUTO"})
    assert (config["mode"], config.get("allowedFunctionNames")) == (kind, names)
    back = asked("messages", tools=[{"name": "f", "input_schema": SCHEMA}], tool_choice=anthropic)
    assert sent("messages", back, "chat")[0]["tool_choice"] == choice
    body, losses = sent("chat", request, "ollama")
    assert ("tool_choice" in losses) == (mode in ("required", "named"))
    assert ("tools" in body) == (mode != "none")


def test_32_thinking_and_a_forced_tool_exclude_each_other() -> None:
    """Anthropic refuses both together: the thinking is given up, and reported."""
    request = asked("chat", tools=[TOOL], tool_choice="required", reasoning_effort="high")
    body, losses = sent("chat", request, "messages", "claude-sonnet-4-5")
    assert (body["tool_choice"]["type"], "thinking" in body) == ("any", False)
    assert losses == ["reasoning_effort"]


def test_33_one_call_at_a_time() -> None:
    """Two names for it, one turned round."""
    body, _ = sent("chat", asked("chat", tools=[TOOL], parallel_tool_calls=False), "messages")
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    request = asked("messages", tools=[{"name": "f", "input_schema": SCHEMA}], tool_choice=choice)
    assert sent("messages", request, "chat")[0]["parallel_tool_calls"] is False
    assert sent("messages", request, "responses")[0]["parallel_tool_calls"] is False
    assert sent("messages", request, "gemini")[1] == ["tool_choice.disable_parallel_tool_use"]


def test_34_schemas_are_made_fit_and_what_is_relaxed_is_reported() -> None:
    """References, additionalProperties and formats are not understood everywhere; a root must be an object."""
    schema = {
        "$defs": {"day": {"type": "string", "format": "date", "pattern": "^2"}},
        "type": "object",
        "properties": {"when": {"$ref": "#/$defs/day"}, "n": {"type": "integer", "multipleOf": 2}},
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body, losses = sent("chat", asked("chat", tools=[tool]), "gemini")
    written = body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]
    assert "$ref" not in json.dumps(written)
    assert any(name.startswith("tools.0") and "multipleOf" in name for name in losses)
    bare = {"type": "function", "function": {"name": "f"}}
    for choice in (bare, {"type": "function", "function": {"name": "f", "parameters": {"anyOf": [SCHEMA]}}}):
        anthropic = sent("chat", asked("chat", tools=[choice]), "messages")[0]["tools"][0]["input_schema"]
        assert anthropic["type"] == "object"
    relaxed: list[str] = []
    strict = json_schema.openai_strict({"type": "object", "properties": {"a": {"type": "string"}}}, relaxed)
    assert strict["additionalProperties"] is False
    assert strict["required"] == ["a"]


def test_35_a_tools_result_may_hold_an_image_or_be_an_error() -> None:
    """Kept where the provider allows it; elsewhere beside the result, in words."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    result = {"type": "tool_result", "tool_use_id": "a", "is_error": True}
    result["content"] = [{"type": "text", "text": "no"}, image]
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    request = asked("messages", messages=turns)
    body, losses = sent("messages", request, "chat")
    assert body["messages"][2]["content"] == "Error: no"
    assert PNG in body["messages"][3]["content"][1]["image_url"]["url"]
    assert losses == []
    body, losses = sent("messages", request, "gemini")
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"error": "no"}
    assert body["contents"][2]["parts"][1]["inlineData"]["data"] == PNG
    body, losses = sent("messages", request, "converse")
    inner = body["messages"][2]["content"][0]["toolResult"]
    assert inner["status"] == "error"
    assert "image" in inner["content"][1]
    body, _ = sent("messages", request, "responses")
    assert PNG in json.dumps(body["input"][2]["output"])


SERVER = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "text", "text": "Found."},
]


def test_36_what_a_server_tool_did_is_no_call_for_the_client() -> None:
    """Carried whole in its own dialect, reported as lost in another, never shown as something to be executed."""
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    answer |= {"content": SERVER, "usage": {"input_tokens": 1, "output_tokens": 1}}
    assert whole("messages", "messages", answer)["content"] == SERVER
    for client in ("chat", "responses", "gemini"):
        seen = told(client, whole(client, "messages", answer))
        assert seen[:3] == ("Found.", [], "stop")
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": SERVER},
        {"role": "user", "content": "?"},
    ]
    body, losses = sent("messages", asked("messages", messages=turns), "chat")
    assert "tool_calls" not in body["messages"][1]
    assert {name.rpartition(".")[2] for name in losses} == {"server_tool_use", "web_search_tool_result"}
    found = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
    text = {"type": "output_text", "text": "Found.", "annotations": []}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    reply = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [found, said]}
    for client in ("chat", "messages", "gemini"):
        assert told(client, whole(client, "responses", reply))[:3] == ("Found.", [], "stop")


def test_38_a_call_the_model_wrote_badly_may_be_tried_again() -> None:
    """Groq answers 400 and shows what the model wrote; another try may succeed."""
    error = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": "tool_use_failed"}
    raw = json.dumps({"error": error | {"failed_generation": "<function=f>{"}}).encode()
    failed = read_error(400, {}, raw)
    assert (failed.retry, failed.code, failed.status) == ("same", "tool_use_failed", 400)
    shown = json.loads(chat.write_error(failed, "req_1"))["error"]
    assert shown["code"] == "tool_use_failed"
