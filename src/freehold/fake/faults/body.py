"""Faults of the body: JSON, text encoding, server-sent events, the dialect's own rules, and usage."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import structs

from freehold.fake.answer import Called
from freehold.fake.faults.table import SOON, before, fault, retype
from freehold.fake.speak import JSON_TYPE, SSE_TYPE, data
from freehold.fake.wire import LAST_CHUNK, Draft, End, Step, Steps, chunked_head, chunks, spaced, steps

LINE = 1 << 20
"""Bytes of the long line."""


@fault("whole")
def bad_json_body(draft: Draft) -> Steps:
    """A JSON body cut in half, complete as far as HTTP is concerned."""
    draft.parts = [draft.body[: len(draft.body) // 2]]
    return steps(draft)


@fault("whole")
def null_body(draft: Draft) -> Steps:
    """A body of `null`."""
    draft.parts = [b"null"]
    return steps(draft)


@fault("whole")
def stream_instead_of_json(draft: Draft) -> Steps:
    """A server-sent event stream although a whole reply was asked for."""
    draft.streamed = True
    retype(draft, SSE_TYPE)
    draft.compose()
    return steps(draft)


@fault("stream")
def json_instead_of_stream(draft: Draft) -> Steps:
    """A whole JSON reply although a stream was asked for."""
    draft.streamed = False
    retype(draft, JSON_TYPE)
    draft.compose()
    return steps(draft)


@fault("stream")
def bad_json_event(draft: Draft) -> Steps:
    """One event whose JSON is cut in half."""
    part = draft.parts[draft.middle]
    draft.parts[draft.middle] = part[: len(part) // 2] + b"\n\n"
    return steps(draft)


@fault("any")
def invalid_utf8(draft: Draft) -> Steps:
    """Bytes in the text that are no UTF-8."""
    draft.answer.pieces = [*draft.answer.pieces, "not~utf8"]
    draft.compose()
    draft.parts = [part.replace(b"not~utf8", b"\xff\xc3(\xe2\x82") for part in draft.parts]
    return steps(draft)


@fault("any")
def split_utf8(draft: Draft) -> Steps:
    """Multi-byte characters cut in half between TCP segments and chunks."""
    draft.answer.pieces = ["Grüße ", "an die ", "世界 ", "🌍!"]
    draft.compose()
    body = draft.body
    cuts = [i for i in range(1, len(body)) if 0x80 <= body[i] < 0xC0]
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return [chunked_head(draft), *spaced(chunks(draft, pieces), SOON / 5), LAST_CHUNK]


@fault("any")
def bom(draft: Draft) -> Steps:
    """A UTF-8 byte order mark before the body."""
    draft.parts[0] = b"\xef\xbb\xbf" + draft.parts[0]
    return steps(draft)


@fault("sse")
def crlf(draft: Draft) -> Steps:
    """Lines end with CRLF."""
    draft.parts = [part.replace(b"\n", b"\r\n") for part in draft.parts]
    return steps(draft)


@fault("sse")
def cr(draft: Draft) -> Steps:
    """Lines end with CR alone."""
    draft.parts = [part.replace(b"\n", b"\r") for part in draft.parts]
    return steps(draft)


@fault("sse")
def mixed_line_ends(draft: Draft) -> Steps:
    """LF, CRLF and CR take turns from event to event, and a CRLF is cut between two segments."""
    ends = (b"\n", b"\r\n", b"\r")
    mixed = [part.replace(b"\n", ends[i % 3]) for i, part in enumerate(draft.parts)]
    draft.parts = []
    for part in mixed:
        draft.parts += [part[:-1], part[-1:]] if part.endswith(b"\r\n") else [part]
    return steps(draft)


@fault("sse")
def no_space(draft: Draft) -> Steps:
    """`data:` without a space."""
    draft.parts = [re.sub(rb"(?m)^(data|event): ", rb"\1:", part) for part in draft.parts]
    return steps(draft)


@fault("sse")
def comments(draft: Draft) -> Steps:
    """Comment lines and pings between all events."""
    ping = b": PROCESSING\n\n" + (b'event: ping\ndata: {"type": "ping"}\n\n' if _anthropic(draft) else b":\n\n")
    draft.parts = [ping + part for part in draft.parts]
    return steps(draft)


@fault("sse")
def long_line(draft: Draft) -> Steps:
    """One event of 1 MiB."""
    draft.answer.pieces = ["x" * LINE]
    draft.compose()
    return steps(draft)


@fault("stream")
def no_done(draft: Draft) -> Steps:
    """The stream ends without its end marker ([DONE], message_stop, response.completed, finishReason)."""
    if draft.ask.operation == "generate":
        draft.parts = [re.sub(rb',"finishReason":"\w+"', b"", part) for part in draft.parts]
    else:
        del draft.parts[-draft.speaker.closing :]
    return steps(draft)


@fault("sse")
def double_done(draft: Draft) -> Steps:
    """The last event is sent twice."""
    draft.parts.append(draft.parts[-1])
    return steps(draft)


@fault("sse")
def no_final_newline(draft: Draft) -> Steps:
    """The last event lacks the empty line that ends it."""
    draft.parts[-1] = draft.parts[-1].rstrip(b"\n")
    return steps(draft)


@fault("stream")
def endless(draft: Draft) -> Steps:
    """The middle event over and over, up to the script's cap, then FIN."""
    framed = chunks(draft, [draft.parts[draft.middle]])[0]

    def repeat() -> Iterator[Step]:
        yield from before(draft, draft.middle)
        for _ in range(draft.cap):
            yield framed
            if draft.gap:
                yield draft.gap
        yield End.CLOSE

    return repeat()


@fault("events")
def error_event(draft: Draft) -> Steps:
    """An error event inside a 200 stream, after half of the events; nothing follows."""
    draft.parts = [*draft.parts[: draft.middle], draft.speaker.stream_error("Overloaded")]
    return steps(draft)


@fault("sse")
def full_object_in_stream(draft: Draft) -> Steps:
    """The whole reply object as the only event."""
    draft.parts = [
        data(msgspec.Raw(draft.speaker.whole(draft.ask, draft.answer))),
        *([draft.speaker.end] if draft.speaker.end else []),
    ]
    return steps(draft)


@fault("events")
def duplicate_start(draft: Draft) -> Steps:
    """The first event is sent again after half of the events."""
    draft.parts.insert(draft.middle, draft.parts[0])
    return steps(draft)


@fault("any")
def empty_choices(draft: Draft) -> Steps:
    """No choice, candidate or content in a whole reply; in a stream an extra event without any (no content at all
    where events are of several types)."""
    if not draft.streamed:
        draft.parts = [_emptied(draft.body)]
    elif draft.ask.operation not in ("chat", "mistral_chat", "completions", "generate"):
        del draft.parts[draft.first : draft.last]
    else:
        extra = draft.speaker.stream(draft.ask, structs.replace(draft.answer, pieces=[".", "."], calls=[])).parts[1]
        start, end = extra.index(b"{"), extra.rindex(b"}") + 1
        draft.parts.insert(draft.middle, extra[:start] + _emptied(extra[start:end]) + extra[end:])
    return steps(draft)


@fault("any")
def truncated_arguments(draft: Draft) -> Steps:
    """A tool call whose arguments stop in mid JSON, finished as if it were complete."""
    calls = draft.answer.calls or [Called("get_weather", '{"city":"Oslo","unit":"celsius"}')]
    draft.answer.calls = [Called(call.name, call.arguments[: max(1, len(call.arguments) // 2)]) for call in calls]
    draft.answer.finish = "tool_calls"
    draft.compose()
    return steps(draft)


@fault("any")
def usage_missing(draft: Draft) -> Steps:
    """No usage anywhere."""
    draft.answer.usage = None
    draft.compose()
    return steps(draft)


@fault("any")
def usage_negative(draft: Draft) -> Steps:
    """Negative token counts."""
    return _count(draft, -7, -5)


@fault("any")
def usage_absurd(draft: Draft) -> Steps:
    """Token counts of a million billion."""
    return _count(draft, 10**15, 10**15)


def _count(draft: Draft, tokens_in: int, tokens_out: int) -> Steps:
    if draft.answer.usage is not None:
        draft.answer.usage = structs.replace(draft.answer.usage, input=tokens_in, output=tokens_out)
    draft.compose()
    return steps(draft)


def _anthropic(draft: Draft) -> bool:
    return draft.ask.operation == "messages"


def _emptied(body: bytes) -> bytes:
    value: dict[str, Any] = msgspec.json.decode(body)
    for name in ("choices", "candidates", "content", "output"):
        if isinstance(value.get(name), list):
            value[name] = []
    message = value.get("message") or _inside(value.get("output")).get("message")
    if isinstance(message, dict):
        message["content"] = [] if isinstance(message.get("content"), list) else ""
    if "response" in value:
        value["response"] = ""
    return msgspec.json.encode(value)


def _inside(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
