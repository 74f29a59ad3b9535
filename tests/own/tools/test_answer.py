"""Completions and streams rewritten to have tool calls, bytes to bytes, as the gateway does it."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.operation import Prepared
from freehold.call.rewritten import rewritten
from freehold.call.talk import Translation
from freehold.dialects import chat, messages
from freehold.errors import UpstreamBroken
from freehold.own.tools.answer import CallWriter, new_id

CALL = '{ "name" : "route",\n"arguments": {"intent": "r\\u00e9}"} }'
ARGUMENTS = '{"intent": "r\\u00e9}"}'
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def writer(forced: bool = True) -> Callable[[], CallWriter]:
    def make() -> CallWriter:
        numbers = itertools.count(1)
        return CallWriter(["route"], forced=forced, several=False, make_id=lambda: f"call{next(numbers)}")

    return make


def prepared(forced: bool = True, relay: Any = chat.StreamRelay) -> Prepared:
    read = lambda answer: (answer, chat.read_receipt(answer))  # noqa: E731
    return rewritten(Prepared(b"", b"old", [], read, relay, chat.read_error), b"new", writer(forced))


def completion(text: str | None, finish: str = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text} | more}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], "usage": USAGE, "timings": {"a": 1}}).encode()


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def stream(texts: list[str], finish: str = "stop") -> bytes:
    head = {"id": "x", "object": "chat.completion.chunk", "model": "m"}

    def chunk(delta: Any, reason: str | None = None) -> bytes:
        return event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    return b"".join(
        [
            chunk({"role": "assistant", "content": None}),
            chunk({"reasoning_content": "Hm."}),
            *(chunk({"content": text}) for text in texts),
            chunk({}, finish),
            event({**head, "choices": [], "usage": USAGE, "timings": {"a": 1}}),
            b"data: [DONE]\n\n",
        ]
    )


def added(stream: bytes) -> dict[str, Any]:
    """What a client adds a stream up to."""
    said: dict[str, Any] = {"content": "", "thoughts": "", "calls": [], "finish": None, "usage": None}
    assert stream.endswith(b"data: [DONE]\n\n")
    for raw in stream.split(b"\n\n")[:-2]:
        one = json.loads(raw.removeprefix(b"data: "))
        said["usage"] = one.get("usage") or said["usage"]
        for choice in one["choices"]:
            delta = choice["delta"]
            said["content"] += delta.get("content") or ""
            said["thoughts"] += delta.get("reasoning_content") or ""
            said["finish"] = choice["finish_reason"] or said["finish"]
            for call in delta.get("tool_calls") or ():
                if call["index"] == len(said["calls"]):
                    said["calls"].append([call["id"], call["function"]["name"], ""])
                said["calls"][call["index"]][2] += call["function"]["arguments"]
    return said


def test_a_whole_answer_becomes_a_call() -> None:
    body, receipt = prepared().read(completion(CALL, reasoning_content="Hm."))
    answer = json.loads(body)
    [choice] = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning_content"] == "Hm."
    [call] = choice["message"]["tool_calls"]
    assert call == {"id": "call1", "type": "function", "function": {"name": "route", "arguments": ARGUMENTS}}
    assert (answer["usage"], answer["timings"]) == (USAGE, {"a": 1})
    assert receipt.finish == "tool_calls"
    assert receipt.usage is not None


@pytest.mark.parametrize("forced", [True, False])
def test_text_stays_text(forced: bool) -> None:
    for text in ("Hello", '{"a": 1}', '{"name": "other", "arguments": {}}'):
        assert json.loads(prepared(forced).read(completion(text))[0]) == json.loads(completion(text))


def test_a_forced_answer_that_was_cut_off_has_what_was_written() -> None:
    choice = json.loads(prepared().read(completion(CALL[:40], "length"))[0])["choices"][0]
    assert choice["finish_reason"] == "length"
    assert (
        choice["message"]["tool_calls"][0]["function"]["arguments"]
        == ARGUMENTS[: len(CALL[:40]) - CALL.index(ARGUMENTS)]
    )
    choice = json.loads(prepared().read(completion(CALL[:9], "length"))[0])["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", None)
    assert "tool_calls" not in choice["message"]


def test_what_is_no_answer_is_read_as_before() -> None:
    with pytest.raises(UpstreamBroken):
        prepared().read(b"<html>")


texts = st.sampled_from([CALL, CALL[:-1], CALL[:40], CALL[:9], "Hello", "{", '{"a": 1}', "", f"```json\n{CALL}\n```"])


@given(texts, st.data(), st.booleans(), st.sampled_from(["stop", "length"]))
def test_a_stream_says_what_the_whole_answer_says(text: str, data: Any, forced: bool, finish: str) -> None:
    """However the model's text falls into chunks, and however these fall into packets."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    places = [0, *cuts, len(text)]
    sent = stream([text[a:b] for a, b in zip(places, places[1:], strict=False)], finish)
    ends = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    packets = [sent[a:b] for a, b in zip([0, *ends], [*ends, len(sent)], strict=True)]
    relay = prepared(forced).relay()
    said = added(b"".join([*map(relay.feed, packets), relay.close()]))
    choice = json.loads(prepared(forced).read(completion(text, finish))[0])["choices"][0]
    whole = choice["message"]
    assert said["content"] == (whole["content"] or "")
    assert said["thoughts"] == "Hm."
    assert said["finish"] == choice["finish_reason"]
    assert said["usage"] == USAGE
    functions = [(call["id"], call["function"]) for call in whole.get("tool_calls", ())]
    assert said["calls"] == [[id, one["name"], one["arguments"]] for id, one in functions]
    assert relay.complete
    assert relay.usage is not None


def test_the_name_comes_first_and_arguments_as_they_are_written() -> None:
    relay = prepared().relay()
    events = stream(['{"name": "route", ', '"arguments": {', '"a": 1', "}", "\n}"]).split(b"\n\n")
    out = [relay.feed(one + b"\n\n") for one in events[2:7]]
    deltas = [
        [json.loads(raw.removeprefix(b"data: "))["choices"][0]["delta"] for raw in one.split(b"\n\n") if raw]
        for one in out
    ]
    assert deltas == [
        [],
        [
            {"tool_calls": [
                {"index": 0, "id": "call1", "type": "function", "function": {"name": "route", "arguments": ""}}
            ]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        ],
        [{"tool_calls": [{"index": 0, "function": {"arguments": '"a": 1'}}]}],
        [{"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}],
        [],
    ]  # fmt: skip


def test_text_events_pass_as_they_are() -> None:
    sent = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],  "x": 1}\n\n'
    relay = prepared(False).relay()
    assert [relay.feed(b": ping\n\n"), relay.feed(sent), relay.feed(sent)] == [b": ping\n\n", sent, sent]


def test_choices_do_not_mix() -> None:
    def chunk(*choices: tuple[int, str, str | None]) -> bytes:
        return event(
            {"id": "x", "choices": [{"index": i, "delta": {"content": t}, "finish_reason": r} for i, t, r in choices]}
        )

    relay = prepared(False).relay()
    half = CALL.index("{", 3) + 3
    out = relay.feed(
        chunk((0, CALL[:half], None), (1, "Hello", None)) + chunk((1, " you", "stop"), (0, CALL[half:], "stop"))
    )
    said: dict[int, str] = {0: "", 1: ""}
    ends = {}
    for raw in out.split(b"\n\n")[:-1]:
        for choice in json.loads(raw.removeprefix(b"data: "))["choices"]:
            said[choice["index"]] += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", ()):
                said[choice["index"]] += call["function"]["arguments"]
            ends[choice["index"]] = choice["finish_reason"]
    assert said == {0: ARGUMENTS, 1: "Hello you"}
    assert ends == {0: "tool_calls", 1: "stop"}


def test_another_dialect_reads_the_same_calls() -> None:
    def relay() -> Translation:
        return Translation(chat.StreamReader(), lambda id, model: messages.StreamWriter(id, model, 0, True))

    running = prepared(relay=relay).relay()
    assert isinstance(running, Translation)
    out = running.feed(stream(list(CALL))) + running.close()
    assert b'"tool_use"' in out
    assert b'"stop_reason":"tool_use"' in out.replace(b" ", b"")
    assert (
        "".join(
            json.loads(line[6:])["delta"].get("partial_json", "")
            for line in out.decode().split("\n")
            if line.startswith("data: ") and '"content_block_delta"' in line
        )
        == ARGUMENTS
    )
    assert running.complete


def test_ids_suit_every_template() -> None:
    made = {new_id() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one) == 9 and one.isalnum() for one in made)
