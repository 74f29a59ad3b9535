"""Amazon's event frames: round trips, every cut, every kind of damage."""

import random
from struct import pack
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects.eventstream import (
    MOST_PAYLOAD,
    Frame,
    FrameParser,
    Timestamp,
    read_headers,
    write_event,
    write_exception,
    write_frame,
)
from freehold.errors import UpstreamBroken

VALUES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=40)
    | st.integers(-(2**63), 2**63 - 1).map(Timestamp)
    | st.uuids()
)
NAMES = st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) < 256)
FRAMES = st.builds(Frame, st.dictionaries(NAMES, VALUES, max_size=6), st.binary(max_size=300))


def frame_of(block: bytes, payload: bytes = b"") -> bytes:
    """A frame with correct checksums around any header block."""
    lengths = pack(">II", 16 + len(block) + len(payload), len(block))
    body = lengths + pack(">I", crc32(lengths)) + block + payload
    return body + pack(">I", crc32(body))


def read(data: bytes) -> list[Frame]:
    return FrameParser().feed(data)


def test_every_header_type_has_the_bytes_of_the_specification() -> None:
    headers = {
        "true": True,
        "false": False,
        "byte": 50,
        "short": 20_000,
        "int": 500_000,
        "long": 50_000_000_000,
        "bytes": b"some bytes",
        "str": "some str",
        "time": Timestamp(5_000_000),
        "uuid": UUID("b79bc914-de21-4e13-b8b2-bc47e85b7f0b"),
    }
    data = write_frame(headers, b"some payload")
    assert b"\x04true\x00\x05false\x01" in data
    assert b"\x05bytes\x06\x00\x0asome bytes\x03str\x07\x00\x08some str" in data
    assert b"\x04byte\x02\x32" in data
    assert b"\x05short\x03\x4e\x20" in data
    assert b"\x03int\x04\x00\x07\xa1\x20" in data
    assert b"\x04time\x08\x00\x00\x00\x00\x00\x4c\x4b\x40" in data
    assert read(data) == [Frame(headers, b"some payload")]


def test_an_empty_frame() -> None:
    assert write_frame({}, b"") == bytes.fromhex("000000100000000005c248eb7d98c8ff")
    assert read(bytes.fromhex("000000100000000005c248eb7d98c8ff")) == [Frame({}, b"")]


def test_events_and_exceptions_say_what_they_are() -> None:
    event, exception = read(write_event("messageStop", b"{}") + write_exception("throttlingException", b"{}"))
    assert (event.headers[":message-type"], event.headers[":event-type"]) == ("event", "messageStop")
    assert (exception.headers[":message-type"], exception.headers[":exception-type"]) == (
        "exception",
        "throttlingException",
    )


@given(st.lists(FRAMES, max_size=5), st.randoms())
def test_any_cut_gives_the_same_frames(frames: list[Frame], dice: random.Random) -> None:
    data = b"".join(write_frame(*frame) for frame in frames)
    parser, found, at = FrameParser(), [], 0
    while at < len(data):
        size = dice.randint(1, 40)
        found += parser.feed(data[at : at + size])
        at += size
    assert found == frames
    assert parser.pending == 0


@given(FRAMES, st.data())
def test_no_damaged_byte_passes(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(write_frame(*frame))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    parser = FrameParser()
    with pytest.raises(UpstreamBroken):
        parser.feed(bytes(raw))
    with pytest.raises(UpstreamBroken):  # the place of the next frame is lost
        parser.feed(write_frame({}, b""))


@given(st.binary(max_size=200))
def test_any_header_block_is_read_or_refused(block: bytes) -> None:
    try:
        headers = read_headers(block)
    except ValueError:
        with pytest.raises(UpstreamBroken):
            read(frame_of(block))
    else:
        assert read(frame_of(block)) == [Frame(headers, b"")]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_is_refused_and_never_crashes(chunks: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except UpstreamBroken:
        return
    assert parser.pending < 16


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"\x01a\x0a", "type 10"),
        (b"\x01a\x07\x00\x05ab", "cut off"),
        (b"\x05ab", "cut off"),
        (b"\x01a", "cut off"),
        (b"\x01a\x09abc", "cut off"),
        (b"\x00\x00", "cut off"),
        (b"\x01a\x00\x01a\x01", "twice"),
        (b"\x01\xff\x00", "UTF-8"),
        (b"\x01a\x07\x00\x01\xff", "UTF-8"),
    ],
)
def test_bad_headers_with_good_checksums(block: bytes, why: str) -> None:
    with pytest.raises(UpstreamBroken, match=why):
        read(frame_of(block))


@pytest.mark.parametrize(
    "lengths", [(15, 0), (16, 1), (40, 2**31), (2**32 - 1, 0), (MOST_PAYLOAD + 17, 0), (200_000, 150_000)]
)
def test_lengths_are_refused_before_anything_is_kept(lengths: tuple[int, int]) -> None:
    head = pack(">II", *lengths)
    parser = FrameParser()
    with pytest.raises(UpstreamBroken, match="bytes of headers"):
        parser.feed(head + pack(">I", crc32(head)))
    assert parser.pending == 0


def test_a_large_frame_in_small_pieces() -> None:
    data = write_frame({"a": "b"}, bytes(2_000_000))
    parser, frames = FrameParser(), []
    for at in range(0, len(data), 1000):
        frames += parser.feed(data[at : at + 1000])
    assert [len(frame.payload) for frame in frames] == [2_000_000]


def test_what_the_format_cannot_hold_is_not_written() -> None:
    for headers in ({"": 1}, {"a" * 256: 1}, {"a": 2**63}, {"a": "x" * 40_000}):
        with pytest.raises(ValueError, match=r"header|bits"):
            write_frame(headers, b"")
