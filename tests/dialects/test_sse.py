"""The SSE layer: every line ending, every cut, nothing unbounded."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freehold.dialects.sse import SseParser, SseSplitter, parse_event, sse
from freehold.errors import UpstreamBroken


def parse(*chunks: bytes) -> list[tuple[bytes, bytes]]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'data: {"a":1}\n\n', [(b"", b'{"a":1}')]),
        (b"data:no space\n\n", [(b"", b"no space")]),
        (b"data:  two spaces\n\n", [(b"", b" two spaces")]),
        (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [(b"", b"1"), (b"", b"2")]),
        (b"data: 1\r\rdata: 2\r\r", [(b"", b"1"), (b"", b"2")]),
        (b"data: 1\r\n\ndata: 2\n\r\n", [(b"", b"1"), (b"", b"2")]),
        (b"data: a\ndata: b\ndata:\n\n", [(b"", b"a\nb\n")]),
        (b": PROCESSING\n\ndata: x\n\n", [(b"", b"x")]),
        (b": inside\ndata: x\n: again\n\n", [(b"", b"x")]),
        (b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
        (b"event:ping\ndata:{}\n\n", [(b"ping", b"{}")]),
        (b"event: alone\n\n", []),
        (b"data\n\n", [(b"", b"")]),
        (b"id: 7\nretry: 10\nunknown: y\ndata: x\n\n", [(b"", b"x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [(b"", b"x")]),
        (b"\n\n\n\ndata: x\n\n\n", [(b"", b"x")]),
        (b"data: last, no blank line\n", [(b"", b"last, no blank line")]),
        (b"data: last, no line end", [(b"", b"last, no line end")]),
        (b"", []),
    ],
)
def test_reads_the_standard(stream, events):
    assert parse(stream) == events
    assert parse(*[stream[i : i + 1] for i in range(len(stream))]) == events


def test_several_events_in_one_chunk_and_a_rest():
    parser = SseParser()
    assert parser.feed(b"data: 1\n\ndata: 2\n\ndata: 3") == [(b"", b"1"), (b"", b"2")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"\n") == [(b"", b"3")]
    assert parser.close() == []


def test_utf8_may_be_cut_anywhere():
    stream = "data: größer 🎈\n\n".encode()
    for cut in range(len(stream)):
        assert parse(stream[:cut], stream[cut:]) == [(b"", "größer 🎈".encode())]


LINES = st.sampled_from(
    [b"data: x", b"data:y", b"data", b"event: e", b": c", b"", b"junk", "data: é🎈".encode(), b"data: " + b"z" * 40]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def cuts(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=12))
def test_chunk_boundaries_do_not_matter(stream, places):
    assert parse(*cuts(stream, places)) == parse(stream)


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=12))
@example(b"data: x\n\n\n", [])
@example(b"data: x\r\n\r\n", [11])
def test_the_splitter_loses_no_byte(stream, places):
    splitter = SseSplitter()
    raw = [event for chunk in cuts(stream, places) for event in splitter.feed(chunk)]
    assert b"".join(raw) + splitter.close() == stream


@settings(deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=6))
def test_any_bytes_are_some_stream(stream, places):
    parse(*cuts(stream, places))


def test_an_event_has_a_limit():
    parser = SseParser(limit=100)
    assert parser.feed(b"data: " + b"x" * 90 + b"\n\n")
    with pytest.raises(UpstreamBroken):
        parser.feed(b"data: " + b"x" * 200)


def test_the_limit_counts_over_chunks_and_for_whole_events():
    parser = SseParser(limit=100)
    for _ in range(10):
        parser.feed(b"data: 1234")
    with pytest.raises(UpstreamBroken):
        parser.feed(b"x")
    with pytest.raises(UpstreamBroken):
        SseParser(limit=100).feed(b"data: " + b"x" * 200 + b"\n\n")
    with pytest.raises(UpstreamBroken):
        SseParser(limit=100).feed(b"data: 1\n\ndata: " + b"x" * 200 + b"\n\ndata: 2\n\n")


def test_many_small_events_are_no_large_one():
    assert len(SseParser(limit=100).feed(b"data: x\n\n" * 1000)) == 1000


@pytest.mark.parametrize("data", [b'{"a":1}', b"two\nlines", b"", b"\n"])
@pytest.mark.parametrize("name", [b"", b"message_stop"])
def test_what_is_rendered_reads_back(data, name):
    assert parse(sse(data, name)) == [(name, data)]
    assert parse_event(sse(data, name)) == (name, data)
