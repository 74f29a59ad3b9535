"""Whole answers of the Messages dialect: read into the canonical reply, written from it, or only metered.

Source of the format: the `anthropic` SDK's `Message`. Tool input is kept as the very JSON text the provider sent.
Blocks we do not know (server tools and their results) ride along as `Opaque`. A byte order mark before the JSON is
passed over.

For a client, thoughts keep the signature they have, whoever signed them: it brings them back unchanged, and the request
writers send each to the provider it belongs to. Pictures and sound have no block; of sound the transcript remains.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import (
    Choice,
    Document,
    Finish,
    Image,
    Losses,
    Opaque,
    Part,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from freehold.dialects.messages.blocks import write_block
from freehold.dialects.messages.citations import DIALECT, read_citation
from freehold.dialects.messages.errors import WireError, failed
from freehold.dialects.messages.request import DIRECT
from freehold.dialects.messages.usage import FINISH, WireUsage, read_usage, stop_reason, write_usage
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact


class _Block(Struct):
    """Any block; which fields matter depends on `type`."""

    type: str
    text: str | None = None
    citations: list[Any] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    caller: Any = None


class _Message(Struct):
    id: str = ""
    model: str = ""
    type: str = ""
    content: list[Raw] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: WireUsage | None = None
    error: WireError | None = None


class _Meter(Struct):
    id: str = ""
    model: str = ""
    type: str = ""
    stop_reason: str | None = None
    usage: WireUsage | None = None
    error: WireError | None = None


_MESSAGE = msgspec.json.Decoder(_Message)
_BLOCK = msgspec.json.Decoder(_Block)
_METER = msgspec.json.Decoder(_Meter)
_ENCODER = msgspec.json.Encoder()
_BOM = b"\xef\xbb\xbf"


def read_reply(body: bytes, json_tool: str | None = None) -> Reply:
    """The answer in `body`. A call of the tool `json_tool` is the answer itself and becomes text.

    Raises UpstreamBroken for anything that is no message, an error object included.
    """
    try:
        message = _MESSAGE.decode(body.removeprefix(_BOM))
        parts: list[Part] = []
        for raw in message.content:
            _read_block(raw, parts, json_tool)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    if message.error is not None:
        report = failed(message.error)
        raise UpstreamBroken(f"The provider answered with an error in a success: {report.message}", code=report.code)
    if message.type != "message":
        raise UpstreamBroken("The provider's answer is no Anthropic message.")
    finish = read_finish(message.stop_reason, any(isinstance(part, ToolCall) for part in parts))
    return Reply(
        message.id,
        message.model,
        [Choice(parts, finish, message.stop_sequence, message.stop_reason == "refusal")],
        read_usage(message.usage) if message.usage is not None else None,
        service_tier=message.usage.service_tier if message.usage is not None else None,
    )


def _read_block(raw: Raw, parts: list[Part], json_tool: str | None) -> None:
    block = _BLOCK.decode(raw)
    match block.type:
        case "text":
            citations = [read_citation(one) for one in block.citations or ()]
            parts.append(Text(block.text or "", citations=citations or None))
        case "thinking":
            parts.append(Thinking(block.thinking or "", block.signature or None))
        case "redacted_thinking":
            parts.append(Thinking(redacted=block.data))
        case "tool_use" if block.name == json_tool:
            parts.append(Text(bytes(block.input).decode()))
        case "tool_use":
            arguments = bytes(block.input).decode()
            parts.append(ToolCall(block.id, block.name, "{}" if arguments == "null" else arguments))
            if block.caller is not None and block.caller != DIRECT:
                parts.append(Opaque(DIALECT, {"$part": {"caller": block.caller}}))
        case _:
            parts.append(Opaque(DIALECT, msgspec.json.decode(raw)))


def read_finish(reason: str | None, called: bool) -> Finish:
    """`called`: whether the answer holds tool calls the client has to make.

    A forced JSON tool ends in `tool_use` without one. An unknown reason is taken for a stop.
    """
    finish = FINISH.get(reason or "", "stop")
    if finish == "tool_calls" and not called:
        return "stop"
    if reason is None and called:
        return "tool_calls"
    return finish


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The answer for an Anthropic client, its first choice; `created` has no field here.

    Raises UpstreamBroken where the answer ended in an error, which this dialect does not know as a stop reason.
    """
    choice = reply.choices[0] if reply.choices else Choice()
    if len(reply.choices) > 1:
        losses.append("choices")
    if choice.finish == "error":
        raise UpstreamBroken("The provider's model stopped with an error.", hint="try again, or another model")
    if choice.logprobs is not None:
        losses.append("logprobs")
    content = _write_content(choice.parts, losses)
    return _ENCODER.encode(
        {
            "id": reply.id,
            "type": "message",
            "role": "assistant",
            "model": reply.model,
            "content": content,
            "stop_reason": stop_reason(choice.finish, choice.stop_sequence, choice.refused),
            "stop_sequence": choice.stop_sequence,
            "usage": write_usage(reply.usage, reply.service_tier),
        }
    )


def _write_content(parts: list[Part], losses: Losses) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Thinking(redacted=None):  # thoughts of other models are unsigned, and the field is required
                blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature or ""})
            case Image() | Document():
                losses.append("content.image" if isinstance(part, Image) else "content.document")
            case Opaque() if part.dialect == DIALECT and "$part" in part.value:
                if blocks:
                    blocks[-1] |= part.value["$part"]
            case _:
                if (block := write_block(part, "content", losses, DIALECT, answer=True)) is not None:
                    blocks.append(block)
    return blocks


def read_receipt(body: bytes) -> Receipt:
    """Who answered and what it used, without reading the content. Raises UpstreamBroken for malformed JSON."""
    try:
        meter = _METER.decode(body.removeprefix(_BOM))
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    return Receipt(
        meter.id,
        meter.model,
        read_usage(meter.usage) if meter.usage is not None else None,
        FINISH.get(meter.stop_reason, "stop") if meter.stop_reason is not None else None,
        failed(meter.error) if meter.error is not None else None,
    )
