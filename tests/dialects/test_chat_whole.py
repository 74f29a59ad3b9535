"""Whole completions where chunks were asked for, and answers with something amiss."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from freehold.dialects import chat, completions
from freehold.dialects.conversation import Finished, Metered, TextDelta, ThinkingDelta, ToolDelta, ToolStarted, Usage
from freehold.errors import UpstreamBroken, UpstreamLimited

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"


def whole(finish: str | None = "stop", **fields: Any) -> bytes:
    message = {"role": "assistant", "content": "abc", "reasoning": "t", **fields.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"id": "i", "object": "chat.completion", "created": 7, "model": "m", "choices": [choice], "usage": USAGE}
    return json.dumps({**body, **fields}).encode()


def lines(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: {")]


def test_a_whole_answer_as_a_stream_is_what_it_was() -> None:
    stream = chat.as_stream(whole("tool_calls", message={"tool_calls": [CALL]}, service_tier="flex"))
    for chunk in lines(stream):
        ChatCompletionChunk.model_validate({**chunk, "service_tier": "flex"})
        assert (chunk["object"], chunk["service_tier"]) == ("chat.completion.chunk", "flex")
    reader = chat.StreamReader()
    assert reader.feed(stream)[1:] == [
        ThinkingDelta("t"),
        TextDelta("abc"),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, '{"a":1}'),
        Finished("tool_calls"),
        Metered(Usage(uncached=5, output=3)),
    ]
    assert reader.complete
    assert stream.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("strip", [False, True])
def test_a_relay_passes_it(strip: bool) -> None:
    relay = chat.StreamRelay(strip)
    out = relay.feed(chat.as_stream(whole())) + relay.close()
    assert relay.complete
    assert (relay.finish, relay.usage, relay.model) == ("stop", Usage(uncached=5, output=3), "m")
    assert [chunk.get("usage") for chunk in lines(out)] == [None, None] + ([] if strip else [USAGE])


@pytest.mark.parametrize("cut", [10**9, 100, 7])
@pytest.mark.parametrize("strip", [False, True])
def test_a_whole_object_in_a_stream_is_taken_apart(cut: int, strip: bool) -> None:
    stream = b"data: " + whole(message={"tool_calls": [CALL]}) + b"\n\ndata: [DONE]\n\n"
    relay = chat.StreamRelay(strip)
    out = b"".join(relay.feed(stream[at : at + cut]) for at in range(0, len(stream), cut)) + relay.close()
    assert out == (chat.as_stream(whole(message={"tool_calls": [CALL]})) if not strip else out)
    deltas = [choice["delta"] for chunk in lines(out) for choice in chunk["choices"]]
    assert [delta.get("content") for delta in deltas] == ["abc", None]
    assert deltas[0]["tool_calls"] == [{**CALL, "index": 0}]
    assert relay.started
    assert relay.complete
    assert relay.usage == Usage(uncached=5, output=3)
    assert out.count(b"[DONE]") == 1


def test_a_whole_object_at_the_end_without_a_blank_line() -> None:
    relay = chat.StreamRelay()
    assert relay.feed(b"data: " + whole()) == b""
    out = relay.close()
    assert [choice["delta"].get("content") for chunk in lines(out) for choice in chunk["choices"]] == ["abc", None]
    assert relay.complete


@pytest.mark.parametrize("finish", [None, ""])
def test_an_answer_without_a_finish_reason_is_finished(finish: str | None) -> None:
    (*_, last) = [choice for chunk in lines(chat.as_stream(whole(finish))) for choice in chunk["choices"]]
    assert last["finish_reason"] == "stop"
    stream = chat.as_stream(whole(finish, message={"tool_calls": [CALL]}))
    assert [choice for chunk in lines(stream) for choice in chunk["choices"]][-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"id":"i"}', b'{"choices":[]}', b'{"choices":{}}', b'{"choices":[5]}', b"\xff"],
)
def test_what_is_no_completion(body: bytes) -> None:
    for read in (chat.as_stream, chat.read_reply, chat.read_receipt, completions.as_stream):
        with pytest.raises(UpstreamBroken):
            read(body)


def test_an_error_object_is_the_error_it_says() -> None:
    with pytest.raises(UpstreamLimited):
        chat.as_stream(b'{"error":{"message":"slow down","code":429}}')


def test_odd_choices_are_survived() -> None:
    body = json.dumps({"choices": [{"message": None}, {"message": {"tool_calls": [5, {}]}, "index": "x"}]}).encode()
    assert chat.StreamReader().feed(chat.as_stream(body))


def test_a_byte_order_mark_is_no_error() -> None:
    body = b"\xef\xbb\xbf" + whole()
    assert chat.read_reply(body) == chat.read_reply(whole())
    assert chat.read_receipt(body) == chat.read_receipt(whole())
    assert chat.as_stream(body) == chat.as_stream(whole())
    assert chat.mend_reply(body) == whole()
    assert completions.mend_reply(whole()) == whole()


@pytest.mark.parametrize("lie", [{"prompt_tokens": -7}, {"completion_tokens": -1}, {"prompt_tokens": 10**15}])
def test_a_lie_is_no_usage(lie: dict[str, Any]) -> None:
    body = whole(usage={**USAGE, **lie})
    assert chat.read_receipt(body).usage is None
    assert chat.read_reply(body).usage is None
    relay = chat.StreamRelay()
    relay.feed(chat.as_stream(body))
    assert relay.usage is None
    assert not any(isinstance(event, Metered) for event in chat.StreamReader().feed(chat.as_stream(body)))


def test_a_legacy_completion_as_a_stream() -> None:
    choice = {"index": 0, "text": "abc", "finish_reason": "stop"}
    body = json.dumps(
        {"id": "i", "object": "text_completion", "model": "m", "choices": [choice], "usage": USAGE}
    ).encode()
    relay = completions.StreamRelay()
    out = relay.feed(completions.as_stream(body))
    assert lines(out) == [json.loads(body)]
    assert relay.complete
    assert relay.usage == Usage(uncached=5, output=3)


def recorded() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        return []
    with gzip.open(RECORDED) as found:
        exchanges = (json.loads(line) for line in found if b"chat/completions" in line)
        return [one for one in exchanges if one["status"] == 200 and one["response"]]


WHOLE = recorded()


@pytest.mark.skipif(not WHOLE, reason="the recorded exchanges are not beside the repository")
@pytest.mark.parametrize("exchange", WHOLE, ids=[f"{one['host']}-{one['source']}-{one['index']}" for one in WHOLE])
def test_recorded_answers_say_the_same_as_streams(exchange: dict[str, Any]) -> None:
    body = json.dumps(exchange["response"]).encode()
    reply = chat.read_reply(body)
    reader = chat.StreamReader()
    events = reader.feed(chat.as_stream(body)) + reader.close()
    assert reader.complete
    for choice in reply.choices:
        texts = [event.text for event in events if isinstance(event, TextDelta) and event.choice == choice.index]
        assert "".join(texts) == "".join(
            getattr(part, "text", "") for part in choice.parts if type(part).__name__ == "Text"
        )
        assert Finished(choice.finish, choice.index, refused=choice.refused) in events
    assert reader.usage == reply.usage
