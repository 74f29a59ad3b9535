"""What a dialect's writer offers, and the pieces all of them share.

A `Speaker` turns an `Answer` into one response body or into the parts of a stream. A part is what one event puts on the
wire, already framed (`data: ...` and a blank line), so that faults can cut and bend real bytes.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from freehold.fake.answer import Answer
from freehold.fake.ask import Ask
from freehold.fake.script import ErrorBody

encode = msgspec.json.encode

JSON_TYPE = b"application/json"
SSE_TYPE = b"text/event-stream; charset=utf-8"


class Stream(Struct):
    """`parts[first:last]` carry content; the rest opens and closes the stream."""

    parts: list[bytes]
    first: int
    last: int


class Speaker(Struct, frozen=True):
    """The writers of one dialect."""

    whole: Callable[[Ask, Answer], bytes]
    stream: Callable[[Ask, Answer], Stream]
    error: Callable[[int, str, ErrorBody], bytes]
    """Status, message and overrides to the body of an error response."""
    stream_error: Callable[[str], bytes]
    """The part that reports an error inside a stream."""
    request_id: bytes
    """Name of the header that carries the provider's request id."""
    end: bytes | None = None
    """The part after the last event, where the dialect has one."""
    stream_kind: bytes = JSON_TYPE
    """Content-Type of a stream that is none of server-sent events."""
    error_headers: Callable[[int, ErrorBody], list[tuple[bytes, bytes]]] | None = None
    """What an error says in headers."""
    closing: int = 1
    """How many parts at the end of a stream say that it is complete."""


def arguments_of(text: str) -> Any:
    """Tool arguments as a value; text that is no JSON (a script's wish) stays visible."""
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"unparsed": text}


def data(value: Any) -> bytes:
    """Frames one nameless event."""
    return b"data: " + encode(value) + b"\n\n"


def named(name: str, value: Any) -> bytes:
    """Frames one event with its name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(value))


def slices(text: str, size: int = 12) -> list[str]:
    """Cuts tool arguments and thinking into stream pieces."""
    return [text[start : start + size] for start in range(0, len(text), size)]
