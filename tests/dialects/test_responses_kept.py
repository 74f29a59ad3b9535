"""Pass-through edits, and what keeping responses needs: input items and histories."""

import json
from typing import Any

import pytest
from openai.types.responses import ResponseItemList

from freehold.dialects import responses
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest


def encoded(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "Hi", **fields}).encode()


def test_nothing_changes_where_nothing_must() -> None:
    body = b'{ "input":"Hi" , "tomorrow":{"a" :1}, "model":"m", "temperature":0.5, "max_output_tokens": 1 }'
    assert responses.patch_request(body, model="m", stream_usage=True) is body


def test_a_new_model_leaves_the_bytes_of_everything_else() -> None:
    body = b'{"model":"a","input":[ {"role":"user","content":"\\u00e9 1.0" } ],"tomorrow":1.50}'
    assert responses.patch_request(body, model="b") == body.replace(b'"a"', b'"b"')


def test_what_a_reasoning_model_refuses_is_taken_out() -> None:
    losses: list[str] = []
    body = encoded(temperature=0.5, top_p=1.0, top_logprobs=3)
    patched = responses.patch_request(body, model="m", traits=Traits(sampling=False), losses=losses)
    assert json.loads(patched) == {"model": "m", "input": "Hi", "top_p": 1.0}
    assert losses == ["temperature", "top_logprobs"]
    patched = responses.patch_request(encoded(temperature=1.5), model="m", traits=Traits(temperature_max=1.0))
    assert json.loads(patched)["temperature"] == 1.0


def test_other_providers_signatures_do_not_go_to_openai() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "anthropic:SIG"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "call_id": "call_1__sig_sQUJD", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1__sig_sQUJD", "output": "anthropic:"},
    ]
    losses: list[str] = []
    patched = json.loads(responses.patch_request(encoded(input=items), model="m", losses=losses))
    assert losses == ["input.0.reasoning"]
    assert [item.get("id") or item["call_id"] for item in patched["input"]] == ["rs_2", "call_1", "call_1"]
    assert patched["input"][2]["output"] == "anthropic:"


def test_input_items_are_listed_as_the_sdk_has_them() -> None:
    body = encoded(
        input=[
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example"}]},
            {"role": "assistant", "content": "Yo"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So"}]},
            {"type": "reasoning", "encrypted_content": "gAAA"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            {"type": "custom_tool_call", "call_id": "d", "name": "p", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": "1"},
            {
                "type": "web_search_call",
                "id": "ws_own",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            },
        ]
    )
    items = responses.stored_items(body, "resp_1")
    listed = {"object": "list", "data": items, "has_more": False, "first_id": items[0]["id"], "last_id": "ws_own"}
    ResponseItemList.model_validate(listed)
    assert len({item["id"] for item in items}) == 10
    assert items == responses.stored_items(body, "resp_1")
    assert items[0]["id"] != responses.stored_items(body, "resp_2")[0]["id"]
    assert items[2]["content"] == [{"type": "output_text", "text": "Yo", "annotations": []}]


def test_a_string_is_one_user_message() -> None:
    (item,) = responses.stored_items(encoded(), "resp_1")
    assert (item["role"], item["content"]) == ("user", [{"type": "input_text", "text": "Hi"}])
    assert responses.stored_items(b'{"model":"m"}') == []


def test_malformed_input_is_refused() -> None:
    for wrong in (5, {"a": 1}, [5], [{"type": 5}]):
        with pytest.raises(BadRequest):
            responses.stored_items(encoded(input=wrong))


HISTORY = [
    {
        "type": "message",
        "id": "msg_0",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "A"}],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
    {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "nobody can read on"}]},
    {"type": "reasoning", "id": "rs_3", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [{"type": "output_text", "text": "B", "annotations": [], "logprobs": []}],
    },
]


@pytest.mark.parametrize("own", ["C", [{"role": "user", "content": "C"}]])
def test_a_history_stands_before_the_input(own: Any) -> None:
    body = encoded(input=own, previous_response_id="resp_0", tools=[], tomorrow=1)
    whole = json.loads(responses.with_history(body, HISTORY))
    assert "previous_response_id" not in whole
    assert (whole["tools"], whole["tomorrow"]) == ([], 1)
    assert whole["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "A"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        HISTORY[4],
        {
            "type": "message",
            "role": "assistant",
            "phase": "final_answer",
            "content": [{"type": "output_text", "text": "B", "annotations": []}],
        },
        {"role": "user", "content": "C"},
    ]


def test_an_answer_kept_and_continued_reads_as_one_conversation() -> None:
    body = encoded(input=None, previous_response_id="resp_0")
    conversation = responses.read_request(responses.with_history(body, HISTORY))
    assert conversation.previous is None
    assert [turn.role for turn in conversation.turns] == ["user", "assistant"]
