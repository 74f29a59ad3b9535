"""Legacy completions: passed through in every form, translated where a chat can stand for one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from freehold.dialects import chat, completions
from freehold.dialects.conversation import (
    Choice,
    Failed,
    Finished,
    Metered,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolStarted,
    Turn,
    Usage,
)
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest, UpstreamBroken


def body(**fields) -> bytes:
    return json.dumps({"model": "m", "prompt": "Once upon a time", **fields}).encode()


def test_the_glance():
    seen = completions.peek(body(stream=True, stream_options={"include_usage": True}, max_tokens=5, best_of=3, n=2))
    assert (seen.model, seen.stream, seen.include_usage, seen.max_tokens, seen.n) == ("m", True, True, 5, 3)
    assert seen.input_bytes == len('"Once upon a time"')
    assert completions.peek(body()).max_tokens == 16


@pytest.mark.parametrize(
    ("prompt", "n"), [("a", 1), (["a"], 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1)]
)
def test_every_prompt_of_an_array_is_answered(prompt, n):
    assert completions.peek(body(prompt=prompt)).n == n


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"model":"m"}', "prompt"),
        (b'{"model":"m","prompt":1}', "prompt"),
        (b'{"model":"m","prompt":"a","n":0}', None),
        (b'{"prompt":"a"}', "model"),
        (b'{"model":"m","prompt":"a","n":1000}', "n"),
        (b'{"model":"m","prompt":"a","best_of":-1}', None),
        (b'{"model":"m","prompt":"\xff"}', None),
    ],
)
def test_bad_bodies(raw, param):
    if raw.endswith((b'"n":0}', b'"best_of":-1}')):
        assert completions.peek(raw).n == 1  # falls to the default, the provider will say more
        return
    with pytest.raises(BadRequest) as caught:
        completions.peek(raw)
    assert caught.value.param == param


@pytest.mark.parametrize("prompt", ["Hello", ["Hello"]])
def test_one_text_prompt_is_a_chat(prompt):
    conversation = completions.read_request(body(prompt=prompt, temperature=0.5, stop="x", seed=3))
    assert conversation.turns == [Turn("user", [Text("Hello")])]
    assert (conversation.temperature, conversation.stop, conversation.seed) == (0.5, ["x"], 3)
    assert conversation.max_tokens == 16


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2]], ["a", "b"], [], None, 5, {}, [{}]])
def test_other_prompts_are_refused_for_chats(prompt):
    with pytest.raises(BadRequest) as caught:
        completions.read_request(body(prompt=prompt))
    assert caught.value.param == "prompt"


def test_what_a_chat_cannot_do_is_reported():
    conversation = completions.read_request(body(suffix="end", echo=True, best_of=2, logprobs=5, max_tokens=9))
    losses: list[str] = []
    written = json.loads(chat.write_request(conversation, losses))
    assert losses == ["suffix", "echo", "best_of", "logprobs"]
    assert written == {"model": "m", "messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 9}
    assert completions.read_request(body(echo=False, best_of=1, suffix=None)).unknown == {}


def test_pass_through_changes_only_what_it_must():
    raw = body(prompt=[[1, 2]], logit_bias={"50256": -100}, made_up=1.50)
    assert completions.patch_request(raw, model="m") is raw
    patched = completions.patch_request(raw, model="x", traits=Traits(max_tokens_field="max_completion_tokens"))
    assert json.loads(patched) == {**json.loads(raw), "model": "x"}
    streamed = completions.patch_request(body(stream=True, max_tokens=3), model="m", stream_usage=True)
    assert json.loads(streamed)["stream_options"] == {"include_usage": True}
    assert json.loads(streamed)["max_tokens"] == 3


def test_a_reply():
    losses: list[str] = []
    reply = Reply("i", "m", [Choice([Thinking("t"), Text("a"), Text("b")], "length")], Usage(uncached=2, output=1))
    written = Completion.model_validate(json.loads(completions.write_reply(reply, losses, created=5)))
    assert (written.choices[0].text, written.choices[0].finish_reason, written.created) == ("ab", "length", 5)
    assert written.usage.total_tokens == 3
    assert losses == ["thinking"]


def test_a_receipt_is_the_chats():
    raw = json.dumps(
        {
            "id": "cmpl-1",
            "model": "m",
            "choices": [{"text": "a", "finish_reason": "stop", "index": 0}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        }
    ).encode()
    receipt = completions.read_receipt(raw)
    assert (receipt.id, receipt.finish, receipt.usage) == ("cmpl-1", "stop", Usage(uncached=1, output=2))


def test_a_stream():
    writer = completions.StreamWriter("i", "m", 5, True)
    events = [
        Started("u", "served"),
        ThinkingDelta("t"),
        TextDelta("a"),
        TextDelta("b"),
        ToolStarted(0, "c", "f"),
        Finished("tool_calls"),
        Metered(Usage(uncached=2, output=1)),
    ]
    out = b"".join(writer.write(event) for event in events) + writer.close()
    blocks = [block.removeprefix(b"data: ") for block in out.split(b"\n\n") if block]
    assert blocks[-1] == b"[DONE]"
    chunks = [Completion.construct(**json.loads(block)) for block in blocks[:-1]]  # as the SDK reads a stream
    assert "".join(one.choices[0].text for one in chunks[:-1]) == "ab"
    assert [one.choices[0].finish_reason for one in chunks[:-1]] == [None, None, "stop"]
    assert chunks[-1].usage.total_tokens == 3
    assert {(one.id, one.model, one.created) for one in chunks} == {("i", "m", 5)}
    assert writer.losses == ["thinking", "tool_calls"]
    assert writer.write(TextDelta("late")) == b""


def test_a_stream_that_fails_has_no_clean_end():
    for ending in ([TextDelta("a")], [TextDelta("a"), Failed("boom")]):
        writer = completions.StreamWriter("i", "m", 5, False)
        out = b"".join(writer.write(event) for event in ending) + writer.close()
        assert b'"error"' in out
        assert b"[DONE]" not in out
    writer = completions.StreamWriter("i", "m", 5, False)
    assert b"req-9" in writer.fail(UpstreamBroken("x"), "req-9")
    assert writer.close() == b""


def test_usage_only_where_asked_for():
    writer = completions.StreamWriter("i", "m", 5, False)
    out = b"".join(writer.write(one) for one in [TextDelta("a"), Finished("stop"), Metered(Usage(uncached=2))])
    assert b"usage" not in out + writer.close()


@settings(deadline=None)
@given(
    st.binary(max_size=40)
    | st.dictionaries(
        st.sampled_from(["model", "prompt", "n", "stream"]),
        st.none()
        | st.integers()
        | st.text(max_size=3)
        | st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_anything_is_read_or_refused(raw):
    for verb in (completions.peek, completions.read_request, lambda one: completions.patch_request(one, model="x")):
        try:
            verb(raw)
        except BadRequest as error:
            assert error.message  # noqa: PT017
