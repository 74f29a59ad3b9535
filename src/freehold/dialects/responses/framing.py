"""The usual form of an event, `event: NAME` and one `data:` line, taken apart without a search for all its lines."""

from freehold.dialects.sse import parse_event


def named_event(raw: bytes) -> tuple[bytes, bytes] | None:
    """`(name, data)` of one raw event; None when it holds no data line."""
    if raw.startswith(b"event: ") and raw.find(b"\r") < 0:
        end = raw.find(b"\n", 7)
        if raw.startswith(b"data: ", end + 1) and raw.find(b"\n", end + 1) == len(raw) - 2:
            return raw[7:end], raw[end + 7 : -2]
    return parse_event(raw)
