"""Reads whole Converse answers.

Source of the format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and 106 recorded
answers. An answer has no id and does not name the model (but for a prompt router's): the caller knows both. Blocks of
tools that AWS runs itself (`type: server_tool_use`, and results inside the answer) are opaque: the client has nothing
to do with them.
"""

from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Choice, Image, Opaque, Part, Reply, Text, Thinking, ToolCall
from freehold.dialects.converse.citations import DIALECT, read_citation
from freehold.dialects.converse.thoughts import read_redacted
from freehold.dialects.converse.usage import WireUsage, read_finish, read_usage
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact

SERVER_TOOL = "server_tool_use"


class _ToolUse(Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    type: str | None = None


class _ReasoningText(Struct):
    text: str | None = None
    signature: str | None = None


class _Reasoning(Struct, rename="camel"):
    reasoning_text: _ReasoningText | None = None
    redacted_content: str | None = None


class _TextOnly(Struct):
    text: str | None = None


class _Cited(Struct):
    content: list[_TextOnly] = []
    citations: list[Any] | None = None


class _Bytes(Struct):
    bytes: str | None = None


class WireImage(Struct):
    format: str = "png"
    source: _Bytes | None = None


class _Block(Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Cited | None = None
    image: WireImage | None = None


class _Message(Struct):
    content: list[Raw] = []


class _Output(Struct):
    message: _Message | None = None


class Tier(Struct):
    type: str | None = None


class _Reply(Struct, rename="camel"):
    output: _Output | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    service_tier: Tier | None = None
    additional_model_response_fields: Any = None
    trace: Any = None


_REPLY = msgspec.json.Decoder(_Reply)
_BLOCK = msgspec.json.Decoder(_Block)


def read_reply(body: bytes, json_tool: str | None = None, *, id: str = "", model: str = "") -> Reply:
    """The answer in `body`. A call of the tool `json_tool` is the answer itself and becomes text.

    `id`: the answer's `x-amzn-requestid`, or the caller's own; without one it is made of the body. `model`: who was
    asked. Raises UpstreamBroken for anything that is no answer.
    """
    try:
        reply = _REPLY.decode(body)
        if reply.output is None or reply.output.message is None:
            raise UpstreamBroken("The provider's answer is no Converse message.")
        parts: list[Part] = []
        for raw in reply.output.message.content:
            _read_block(raw, parts, json_tool)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    reason = reply.stop_reason
    finish = read_finish(reason, any(isinstance(part, ToolCall) for part in parts))
    stopped = stop_sequence(reply.additional_model_response_fields) if reason == "stop_sequence" else None
    return Reply(
        id or made_id(body),
        invoked_model(reply.trace) or model,
        [Choice(parts, finish, stopped, reason == "refusal")],
        read_usage(reply.usage) if reply.usage is not None else None,
        service_tier=reply.service_tier.type if reply.service_tier is not None else None,
    )


def _read_block(raw: Raw, parts: list[Part], json_tool: str | None) -> None:
    block = _BLOCK.decode(raw)
    if block.text is not None:
        parts.append(Text(block.text))
    elif (use := block.tool_use) is not None and use.type != SERVER_TOOL:
        given = bytes(use.input).decode()
        arguments = "{}" if given == "null" else given
        called = use.name != json_tool
        parts.append(ToolCall(use.tool_use_id, use.name, arguments) if called else Text(arguments))
    elif (thought := block.reasoning_content) is not None and thought.reasoning_text is not None:
        parts.append(Thinking(thought.reasoning_text.text or "", thought.reasoning_text.signature or None))
    elif thought is not None and thought.redacted_content is not None:
        parts.append(Thinking(redacted=read_redacted(thought.redacted_content)))
    elif (cited := block.citations_content) is not None:
        text = "".join(piece.text or "" for piece in cited.content)
        parts.append(Text(text, citations=[read_citation(item) for item in cited.citations or ()] or None))
    elif (image := read_image(block.image)) is not None:
        parts.append(image)
    else:
        parts.append(Opaque(DIALECT, msgspec.json.decode(raw)))


def read_image(wire: WireImage | None) -> Image | None:
    if wire is None or wire.source is None or not wire.source.bytes:
        return None
    return Image(f"image/{wire.format}", wire.source.bytes)


def stop_sequence(fields: Any) -> str | None:
    """The sequence that Claude met, where the request asked for it (`additionalModelResponseFieldPaths`)."""
    found = fields.get("stop_sequence") if isinstance(fields, dict) else None
    return found if isinstance(found, str) else None


def invoked_model(trace: Any) -> str:
    """The model a prompt router chose."""
    router = trace.get("promptRouter") if isinstance(trace, dict) else None
    model = router.get("invokedModelId") if isinstance(router, dict) else None
    return model if isinstance(model, str) else ""


def made_id(content: bytes) -> str:
    """An id for an answer that has none, always the same for the same bytes."""
    return f"msg_{blake2b(content, digest_size=12).hexdigest()}"
