"""A whole message shown as a stream, and the one gap in an answer that is filled.

Some hosts answer `stream: true` with plain JSON: `as_stream` makes the events of it that the SDKs add up to the same
message. Fields we do not know stay on their blocks. `mend_reply` gives a message without `usage` one of zeros: the
types of every SDK say that it is there.
"""

from typing import Any

import msgspec

from freehold.dialects.messages.errors import WireError, failed
from freehold.dialects.messages.usage import write_delta_usage, write_usage
from freehold.dialects.sse import sse
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_BOM = b"\xef\xbb\xbf"
_encode = msgspec.json.Encoder().encode


def as_stream(body: bytes) -> bytes:
    """The stream that says what the whole answer `body` says, to be fed to a `StreamRelay` or `StreamReader`.

    Raises UpstreamBroken for what is no message, an error object included.
    """
    message = _decode(body)
    usage = message.get("usage")
    content = message.get("content")
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {
                **message,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage if isinstance(usage, dict) else write_usage(None),
            },
        }
    ]
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    for index, block in enumerate(blocks):
        start, deltas = _take_apart(block)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    called = any(block.get("type") == "tool_use" for block in blocks)
    events.append(
        {
            "type": "message_delta",
            "delta": {
                "stop_reason": message.get("stop_reason") or ("tool_use" if called else "end_turn"),
                "stop_sequence": message.get("stop_sequence"),
            },
            "usage": usage if isinstance(usage, dict) else write_delta_usage(None),
        }
    )
    events.append({"type": "message_stop"})
    return b"".join(sse(_encode(event), event["type"].encode()) for event in events)


def _take_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a block starts with, and what its deltas add."""
    match block.get("type"):
        case "text":
            citations = block.get("citations")
            deltas = [
                {"type": "citations_delta", "citation": one}
                for one in (citations if isinstance(citations, list) else [])
            ]
            start = {**block, "text": ""}
            if deltas:
                start["citations"] = []
            return start, [*deltas, {"type": "text_delta", "text": block.get("text")}]
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": block.get("thinking")},
                {"type": "signature_delta", "signature": block.get("signature")},
            ]
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            arguments = _encode(block.get("input") or {}).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": arguments}]
    return block, []


def mend_reply(body: bytes) -> bytes:
    """`body` without a byte order mark, and, if it is a message without `usage`, with one of zeros.

    What is no message is left to `read_receipt`, which is to see the body as it came.
    """
    body = body.removeprefix(_BOM)
    if body.find(b'"usage"') >= 0:
        return body
    try:
        message = _decode(body)
    except UpstreamBroken:
        return body
    message["usage"] = write_usage(None)
    return _encode(message)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(body.removeprefix(_BOM))
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not valid JSON.") from None
    if isinstance(message, dict) and isinstance(error := message.get("error"), dict):
        kind, said = error.get("type"), error.get("message")
        report = failed(WireError(kind if isinstance(kind, str) else None, said if isinstance(said, str) else None))
        raise UpstreamBroken(f"The provider answered with an error in a success: {report.message}", code=report.code)
    if not isinstance(message, dict) or message.get("type") != "message":
        raise UpstreamBroken("The provider's answer is no Anthropic message.")
    return message
