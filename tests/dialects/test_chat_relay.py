"""Same-dialect streams pass through untouched and metered."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat
from freehold.dialects.conversation import Failed, Usage
from freehold.errors import UpstreamBroken

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
DONE = b"data: [DONE]\n\n"


def chunk(delta=None, finish=None, index=0, choices=True, separators=(",", ":"), **fields) -> bytes:
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "model": "served", "choices": [choice] if choices else []}
    return b"data: " + json.dumps({**body, **fields}, separators=separators).encode() + b"\n\n"


def relay(*chunks: bytes, strip_usage=False):
    machine = chat.StreamRelay(strip_usage)
    out = b"".join(machine.feed(piece) for piece in chunks)
    return out + machine.close(), machine


PLAIN = [
    chunk({"role": "assistant", "content": ""}, usage=None),
    chunk({"content": "größer"}, usage=None),
    chunk({"reasoning_content": "ab"}, usage=None),
    chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}, usage=None),
    chunk(finish="length", usage=None),
]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_bytes_pass_and_are_metered(separators):
    stream = [*PLAIN, chunk(choices=False, usage=USAGE, separators=separators), DONE]
    out, seen = relay(*stream)
    assert out == b"".join(stream)
    assert (seen.id, seen.model, seen.finish, seen.failed) == ("c1", "served", "length", None)
    assert seen.usage == Usage(uncached=5, output=3)
    assert seen.complete
    assert seen.started
    assert seen.output_bytes == len("größer".encode()) + 2 + 3
    assert seen.events == 7


def test_a_whole_event_leaves_at_once_and_as_it_came():
    machine = chat.StreamRelay()
    assert machine.feed(PLAIN[1]) is PLAIN[1]


def test_tool_calls_are_numbered_where_the_host_did_it_badly():
    def call(content="", **fields):
        function = {"name": "f", "arguments": content} if "id" in fields else {"arguments": content}
        return chunk({"tool_calls": [{**fields, "function": function}]}, x=1)

    good = [call(index=0, id="a"), call("{}", index=0), call(index=1, id="b"), chunk(finish="tool_calls"), DONE]
    assert relay(*good)[0] == b"".join(good)
    for bad in (
        [call(index=3, id="a"), call("{}", index=3), call(index=5, id="b")],
        [call(id="a"), call("{}"), call(id="b")],
        [call(index=0, id="a"), call("{}", index=0), call(index=0, id="b")],
    ):
        out, _ = relay(*bad, *good[3:])
        assert [json.loads(event[6:]) for event in out.split(b"\n\n")[:4]] == [json.loads(e[6:]) for e in good[:4]]
    out, _ = relay(call("", index=0, id="a"), call({"a": 1}, index=0), *good[3:])
    assert json.loads(out.split(b"\n\n")[1][6:])["choices"][0]["delta"]["tool_calls"][0]["function"] == {
        "arguments": '{"a":1}'
    }
    out, _ = relay(call(index=0, id=None), call("{}", index=0), *good[3:])
    assert json.loads(out.split(b"\n\n")[0][6:])["choices"][0]["delta"]["tool_calls"][0]["id"]


def test_half_an_event_waits():
    machine = chat.StreamRelay()
    event = PLAIN[1]
    assert machine.feed(event[:50]) == b""
    assert machine.feed(event[50:] + b"data: {") == event
    assert machine.close() == b""
    assert not machine.complete


def test_started_means_content():
    machine = chat.StreamRelay()
    machine.feed(b": ping\n\n" + PLAIN[0])
    assert not machine.started
    machine.feed(PLAIN[2])
    assert machine.started


def test_the_usage_chunk_nobody_asked_for_is_dropped():
    usage = chunk(choices=False, usage=USAGE)
    out, seen = relay(*PLAIN, usage, DONE, strip_usage=True)
    assert out == b"".join(PLAIN) + DONE
    assert seen.usage == Usage(uncached=5, output=3)
    beside = chunk({}, "stop", usage=USAGE)
    assert relay(beside, DONE, strip_usage=True)[0] == beside + DONE
    filters = chunk(choices=False, prompt_filter_results=[])
    assert relay(filters, strip_usage=True)[0] == filters


def test_usage_of_groq_and_later_usage_wins():
    _, seen = relay(chunk({"content": "a"}, x_groq={"usage": USAGE}))
    assert seen.usage == Usage(uncached=5, output=3)
    _, seen = relay(chunk(usage={**USAGE, "completion_tokens": 1}), chunk(usage=USAGE))
    assert seen.usage == Usage(uncached=5, output=3)


@pytest.mark.parametrize("ending", [b"", DONE, DONE + DONE, b"data: [DONE]", b"data:[DONE]\n\n"])
def test_exactly_one_done(ending):
    out, seen = relay(*PLAIN, ending)
    assert out.count(b"[DONE]") == 1
    assert out.endswith(b"\n\n")
    assert seen.complete


def test_a_last_event_without_blank_line_counts():
    out, seen = relay(PLAIN[1], PLAIN[-1].rstrip(b"\n"))
    assert out == PLAIN[1] + PLAIN[-1] + DONE
    assert seen.finish == "length"


def test_a_cut_stream_is_not_complete_and_gets_no_done():
    out, seen = relay(PLAIN[0], PLAIN[1], PLAIN[4][:60])
    assert out == PLAIN[0] + PLAIN[1]
    assert not seen.complete


def test_every_choice_must_finish():
    both = [chunk({"content": "a"}), chunk({"content": "b"}, index=1)]
    assert not relay(*both, chunk(finish="stop"))[1].complete
    assert relay(*both, chunk(finish="stop"), chunk(finish="stop", index=1))[1].complete


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error":{"message":"boom","code":"oops"}}\n\n',
        b'event: error\ndata: {"error": {"message":"boom","code":"oops"}}\n\n',
        b'event: error\ndata: {"message":"boom","code":"oops"}\n\n',
    ],
)
def test_errors_pass_and_are_noted(error):
    out, seen = relay(PLAIN[1], error, DONE)
    assert out == PLAIN[1] + error
    assert seen.failed == Failed("boom", "oops")
    assert not seen.complete
    assert relay(b"event: error\ndata: plain words\n\n")[1].failed == Failed("plain words")


def test_the_word_error_is_no_error():
    named = chunk({"tool_calls": [{"index": 0, "function": {"name": "error", "arguments": ""}}]})
    assert relay(named, chunk({"content": '"error": {"message": 1}'}), chunk(error=None))[1].failed is None


def test_odd_events_pass_and_broken_ones_are_refused():
    """A text with a hole in it must not end like a whole one."""
    odd = b'data: {"choices":[{"index":"x"}]}\n\nid: 3\n\ndata: 7\n\n'
    assert relay(odd)[0] == odd
    for broken in (b"data: nonsense\n\n", b"data: \xff\n\n", b'data: {"choices":[\n\n'):
        with pytest.raises(UpstreamBroken):
            relay(odd, broken)


def test_an_endless_event_is_refused():
    machine = chat.StreamRelay()
    for _ in range(16):
        machine.feed(b"data: " + b"x" * 1_000_000)
    with pytest.raises(UpstreamBroken):
        machine.feed(b"x" * 1_000_000)


def test_legacy_completions_are_metered_too():
    text = b'data: {"id":"cmpl-1","object":"text_completion","model":"m","choices":[{"text":"abc","index":0}]}\n\n'
    end = b'data: {"id":"cmpl-1","choices":[{"text":"","index":0,"finish_reason":"stop"}]}\n\n'
    out, seen = relay(text, end, DONE)
    assert out == text + end + DONE
    assert (seen.id, seen.output_bytes, seen.finish) == ("cmpl-1", 3, "stop")


PIECES = st.lists(
    st.sampled_from(
        [
            *PLAIN,
            chunk({"content": "x"}, index=1),
            chunk(finish="stop", index=1),
            chunk(choices=False, usage=USAGE),
            b": ping\r\n\r\n",
            b"data: 7\n\n",
            b"event: x\rdata: {}\r\r",
            b'data: {"error": {"message": "boom"}}\n\n',
        ]
    ),
    max_size=10,
)


@settings(deadline=None)
@given(PIECES, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_chunk_boundaries_do_not_matter(pieces, places, strip_usage):
    stream = b"".join(pieces)
    marks = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    cut = [stream[start:end] for start, end in pairwise(marks)]
    out, seen = relay(*pieces, strip_usage=strip_usage)
    again, other = relay(*cut, strip_usage=strip_usage)
    assert again == out
    names = ("usage", "id", "model", "finish", "failed", "complete", "started", "output_bytes", "events")
    assert [getattr(other, name) for name in names] == [getattr(seen, name) for name in names]
    if not strip_usage:
        assert out.removesuffix(DONE) == stream
