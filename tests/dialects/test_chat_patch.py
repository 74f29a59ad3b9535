"""Same dialect, same bytes: a request is changed only where it must be."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat
from freehold.dialects.traits import PLAIN, Traits
from freehold.errors import BadRequest


def patch(body: dict, model: str = "m", traits: Traits = PLAIN, stream_usage: bool = False) -> tuple[dict, list[str]]:
    losses: list[str] = []
    patched = chat.patch_request(
        json.dumps(body).encode(), model=model, traits=traits, stream_usage=stream_usage, losses=losses
    )
    return json.loads(patched), losses


def request(**fields) -> dict:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


def test_nothing_to_do_is_the_same_object():
    body = b'{ "model" : "m", "messages": [], "made_up": {"a": 1.10, "b": "\\u00e9"} }'
    assert chat.patch_request(body, model="m") is body
    streamed = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
    assert chat.patch_request(streamed, model="m", stream_usage=True) is streamed


def test_only_the_model_changes_and_values_keep_their_bytes():
    body = b'{"model":"fast", "messages":[ {"role":"user","content":"\\u00e9 1.10"} ],"made_up": {"a": 1.10, "b":1e3}}'
    patched = chat.patch_request(body, model="gpt-4o")
    assert b'"model":"gpt-4o"' in patched
    for kept in (b'[ {"role":"user","content":"\\u00e9 1.10"} ]', b'{"a": 1.10, "b":1e3}'):
        assert kept in patched


@pytest.mark.parametrize("given", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
def test_usage_is_asked_for_in_streams(given):
    patched, losses = patch(request(stream=True, **given), stream_usage=True)
    assert patched["stream_options"] == {"include_usage": True}
    assert losses == []


def test_other_stream_options_stay():
    patched, _ = patch(request(stream=True, stream_options={"include_obfuscation": False}), stream_usage=True)
    assert patched["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_usage_is_not_asked_for_without_a_stream_or_where_refused():
    assert "stream_options" not in patch(request(), stream_usage=True)[0]
    assert "stream_options" not in patch(request(stream=False), stream_usage=True)[0]
    patched, losses = patch(
        request(stream=True, stream_options={"include_usage": True}),
        traits=Traits(stream_usage=False),
        stream_usage=True,
    )
    assert "stream_options" not in patched
    assert losses == ["stream_options"]


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ("max_completion_tokens", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_tokens", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_completion_tokens", {"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ("max_completion_tokens", {"max_tokens": None}, {}),
        ("max_tokens", {"max_tokens": 5}, {"max_tokens": 5}),
    ],
)
def test_the_limit_has_the_name_the_model_knows(field, given, expected):
    patched, losses = patch(request(**given), traits=Traits(max_tokens_field=field))
    assert {name: value for name, value in patched.items() if name.startswith("max_")} == expected
    assert losses == []


def test_sampling_a_reasoning_model_refuses():
    given = {"temperature": 0.1, "top_p": 1.0, "presence_penalty": 0, "logprobs": True, "logit_bias": None}
    patched, losses = patch(request(**given), traits=Traits(sampling=False))
    assert patched == request()
    assert losses == ["temperature", "logprobs"]


def test_temperature_and_stop_have_limits():
    patched, losses = patch(request(temperature=1.5, stop=["a", "b"]), traits=Traits(temperature_max=1.0, stop_max=1))
    assert (patched["temperature"], patched["stop"]) == (1.0, ["a"])
    assert losses == ["temperature", "stop"]
    assert patch(request(temperature=1, stop="a"), traits=Traits(temperature_max=1.0, stop_max=1))[1] == []


def test_a_developer_is_renamed_where_only_system_is_known_and_a_system_role_nowhere():
    body = {
        "model": "m",
        "messages": [{"role": "developer", "content": "developer system"}, {"role": "user", "content": "x"}],
    }
    patched, losses = patch(body, traits=Traits(system_role="system"))
    assert patched["messages"][0] == {"role": "system", "content": "developer system"}
    assert losses == []
    assert patch(patched, traits=Traits(system_role="developer"))[0]["messages"] == patched["messages"]


def test_a_host_that_knows_both_roles_gets_the_clients_own():
    body = {"model": "a", "messages": [{"role": "developer", "content": "x"}, {"role": "system", "content": "y"}]}
    patched, losses = patch(body, traits=Traits(both_roles=True))
    assert [message["role"] for message in patched["messages"]] == ["developer", "system"]
    assert losses == []


def test_a_host_that_knows_both_words_for_the_limit_gets_the_clients_own():
    for name in ("max_tokens", "max_completion_tokens"):
        body = {"model": "a", name: 5, "messages": [{"role": "user", "content": "x"}]}
        patched, _ = patch(body, traits=Traits(both_limits=True))
        assert patched[name] == 5


def test_tool_ids_of_another_host_are_rewritten_on_both_sides():
    call = {"id": "call_abcdefghijkl", "type": "function", "function": {"name": "f", "arguments": "{ }"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_abcdefghijkl", "content": "1"},
    ]
    patched, _ = patch({"model": "m", "messages": messages}, traits=Traits(tool_id="alnum9"))
    identity = patched["messages"][1]["tool_call_id"]
    assert len(identity) == 9
    assert identity.isalnum()
    assert patched["messages"][0]["tool_calls"][0] == {**call, "id": identity}
    again, _ = patch(patched, traits=Traits(tool_id="alnum9"))
    assert again == patched


@pytest.mark.parametrize("mode", ["json_object", "tool", "prompt"])
def test_schemas_a_host_cannot_enforce_go_into_words(mode):
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    patched, losses = patch(request(response_format=schema), traits=Traits(json_schema=mode))
    assert [message["role"] for message in patched["messages"]] == ["system", "user"]
    assert '{"type":"object"}' in patched["messages"][0]["content"]
    assert patched.get("response_format") == (None if mode == "prompt" else {"type": "json_object"})
    assert losses == ["response_format"]


def test_plain_json_mode_stays():
    body = request(response_format={"type": "json_object"})
    assert patch(body, traits=Traits(json_schema="json_object")) == (body, [])


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"\xff"}', b"1"])
def test_what_is_no_object_is_refused(body):
    with pytest.raises(BadRequest):
        chat.patch_request(body, model="x")


ODD = st.sampled_from([None, 1, "x", [], {}, [1], {"a": 1}, [[]], [{"role": 1}], [{"tool_calls": [1]}], True])
FIELDS = ["messages", "stream", "stream_options", "temperature", "stop", "max_tokens", "response_format", "tools"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), ODD))
def test_odd_values_are_left_to_the_provider_or_refused(fields):
    traits = Traits(
        max_tokens_field="max_completion_tokens",
        system_role="developer",
        temperature_max=1.0,
        json_schema="prompt",
        tool_id="alnum9",
        stop_max=0,
    )
    try:
        patched, _ = patch({"model": "m", **fields}, model="other", traits=traits, stream_usage=True)
    except BadRequest:
        return
    assert patched["model"] == "other"
