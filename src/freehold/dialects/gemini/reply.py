"""Whole answers of Gemini's generateContent, read into the canonical reply, or only metered.

Source of the format: https://ai.google.dev/api/generate-content and the `google-genai` SDK's types. Function calls get
ids (Gemini 3 names its own, older models none) that carry the thought signature with them, see `tool_calls.py`. Parts
we do not know (code execution, server-side tools) ride along as `Opaque`; sources become citations, see `grounding.py`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import (
    Audio,
    Choice,
    Document,
    Image,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from freehold.dialects.gemini.errors import WireError, failed
from freehold.dialects.gemini.grounding import attach, read_citations, rest
from freehold.dialects.gemini.logprobs import read_logprobs
from freehold.dialects.gemini.media import audio_format
from freehold.dialects.gemini.proto import DIALECT
from freehold.dialects.gemini.usage import WireUsage, read_finish, read_tier, read_usage
from freehold.dialects.receipt import Receipt
from freehold.dialects.thinking import GEMINI_TAG
from freehold.dialects.tool_calls import generated_id, with_signature
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken, redact

BLOCKED = "The provider blocked the prompt."


class _Call(Struct):
    name: str
    args: Raw = Raw(b"{}")
    id: str = ""


class _Blob(Struct, rename="camel"):
    mime_type: str | None = None
    data: str = ""


class WirePart(Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: _Call | None = None
    inline_data: _Blob | None = None


class _Content(Struct):
    parts: list[Raw] = []


class WireCandidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int = 0
    logprobs_result: Any = None
    grounding_metadata: Any = None
    url_context_metadata: Any = None
    citation_metadata: Any = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class WireReply(Struct, rename="camel"):
    """A whole answer, and each event of a stream."""

    candidates: list[WireCandidate] = []
    usage_metadata: WireUsage | None = None
    model_version: str = ""
    response_id: str = ""
    prompt_feedback: _Feedback | None = None
    error: WireError | None = None


class _MeterCandidate(Struct, rename="camel"):
    finish_reason: str | None = None


class _Meter(Struct, rename="camel"):
    candidates: list[_MeterCandidate] = []
    usage_metadata: WireUsage | None = None
    model_version: str = ""
    response_id: str = ""
    prompt_feedback: _Feedback | None = None
    error: WireError | None = None


REPLY = msgspec.json.Decoder(WireReply)
_PART = msgspec.json.Decoder(WirePart)
_METER = msgspec.json.Decoder(_Meter)


def read_reply(body: bytes) -> Reply:
    """The answer in `body`. Raises UpstreamBroken for anything that is none, an error object included."""
    try:
        wire = REPLY.decode(body)
        choices = [_read_candidate(candidate, wire.response_id) for candidate in wire.candidates]
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    if wire.error is not None:
        report = failed(wire.error)
        raise UpstreamBroken(f"The provider answered with an error in a success: {report.message}", code=report.code)
    if not choices:
        if wire.prompt_feedback is None or wire.prompt_feedback.block_reason is None:
            raise UpstreamBroken("The provider's answer holds no candidate.")
        choices = [Choice([Refusal(block_message(wire.prompt_feedback))], "content_filter")]
    reply = Reply(wire.response_id, wire.model_version, choices)
    if wire.usage_metadata is not None:
        reply.usage = read_usage(wire.usage_metadata)
        if wire.usage_metadata.service_tier is not None:
            reply.service_tier = read_tier(wire.usage_metadata.service_tier)
    return reply


def block_message(feedback: _Feedback) -> str:
    """Why the prompt was blocked, in the provider's words where it has some."""
    return feedback.block_reason_message or f"{BLOCKED} Reason: {feedback.block_reason}."


def _read_candidate(candidate: WireCandidate, response: str) -> Choice:
    parts: list[Part] = []
    calls = 0
    for raw in candidate.content.parts if candidate.content is not None else ():
        found = read_part(raw)
        if isinstance(found, WirePart):
            parts.append(name_call(found, response, candidate.index, calls))
            calls += 1
        else:
            parts += found
    if candidate.grounding_metadata or candidate.citation_metadata:
        texts = [part.text for part in parts if isinstance(part, Text)]
        attach(parts, read_citations(candidate.grounding_metadata, candidate.citation_metadata, texts))
    parts += rest(candidate.grounding_metadata, candidate.url_context_metadata)
    return Choice(
        parts,
        read_finish(candidate.finish_reason or "STOP", calls > 0),
        logprobs=read_logprobs(candidate.logprobs_result),
        index=candidate.index,
    )


def read_part(raw: Raw) -> Sequence[Part] | WirePart:
    """The canonical parts, none to two; a function call comes back as it is, to be named by `name_call`."""
    wire = _PART.decode(raw)
    signature = wire.thought_signature
    if wire.function_call is not None:
        return wire
    if wire.text is not None:
        if wire.thought:
            return (Thinking(wire.text, signature and GEMINI_TAG + signature),)
        return (Text(wire.text, signature=signature),) if wire.text or signature else ()
    value = msgspec.json.decode(raw)
    if wire.inline_data is not None and not value.keys() - {"inlineData", "thoughtSignature"}:
        media = _read_blob(wire.inline_data.mime_type or "", wire.inline_data.data)
        return (media, Text("", signature=signature)) if signature else (media,)
    if not value.keys() - {"thoughtSignature", "thought"}:
        return (Text("", signature=signature),) if signature else ()
    return (Opaque(DIALECT, value),)


def _read_blob(kind: str, data: str) -> Part:
    """An image, a sound or a file of an answer."""
    if kind.startswith("image/"):
        return Image(kind, data)
    if kind.startswith("audio/"):
        return Audio(data, audio_format(kind))
    return Document(kind or None, data)


def name_call(part: WirePart, response: str, choice: int, number: int) -> ToolCall:
    """The function call of `part`, number `number` of its candidate, with an id that carries its signature."""
    call = part.function_call
    assert call is not None
    arguments = bytes(call.args)
    if b"\n" in arguments:  # Google prints JSON for people
        arguments = msgspec.json.format(arguments, indent=-1)
    text = "{}" if arguments == b"null" else arguments.decode()
    base = call.id or generated_id(f"{response}/{choice}", number, "" if response else call.name + text)
    return ToolCall(with_signature(base, part.thought_signature), call.name, text, part.thought_signature)


def read_receipt(body: bytes) -> Receipt:
    """Who answered and what it used, without reading the content. Raises UpstreamBroken for malformed JSON."""
    try:
        meter = _METER.decode(body)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    receipt = Receipt(meter.response_id, meter.model_version)
    if meter.usage_metadata is not None:
        receipt.usage = read_usage(meter.usage_metadata)
    if meter.error is not None:
        receipt.failed = failed(meter.error)
    elif meter.candidates:
        reason = meter.candidates[0].finish_reason
        called = b'"functionCall"' in body
        receipt.finish = read_finish(reason, called) if reason is not None else None
    elif meter.prompt_feedback is not None and meter.prompt_feedback.block_reason is not None:
        receipt.finish = "content_filter"
    return receipt
