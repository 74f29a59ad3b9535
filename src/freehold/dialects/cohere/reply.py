"""Whole answers of Cohere's chat: read into the canonical reply, written from it, or only metered.

Source of the format: the `cohere` SDK's `V2ChatResponse`. It names no model: `Reply.model` is empty. The parts come out
as content, then the tool plan (a thought), then the calls; citations stand on the texts they cite.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.reply import is_json
from freehold.dialects.chat.usage import settle_finish
from freehold.dialects.cohere.blocks import report, text_block
from freehold.dialects.cohere.citations import attach, is_lost, write_citation
from freehold.dialects.cohere.content import DIALECT, PLAN_ID, arguments_text, is_plan
from freehold.dialects.cohere.errors import failed, read_error
from freehold.dialects.cohere.usage import (
    read_finish,
    read_logprobs,
    read_usage,
    write_finish,
    write_logprobs,
    write_usage,
)
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Losses,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from freehold.dialects.receipt import Receipt
from freehold.dialects.tool_calls import generated_id
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name
from freehold.errors import UpstreamBroken, redact

_KNOWN = {"role", "content", "tool_plan", "tool_calls", "citations"}
_FIELDS = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamBroken for what is no chat answer, and the error that stands in place of one."""
    try:
        fields = _FIELDS.decode(body)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    message = fields.get("message")
    if isinstance(message, str):
        raise read_error(200, {}, body)
    if not isinstance(message, dict):
        raise UpstreamBroken("The provider's answer has no message.")
    identity = _text(fields.get("id"))
    parts = _read_message(message, identity)
    calls = [part for part in parts if isinstance(part, ToolCall)]
    finish = settle_finish(
        read_finish(fields.get("finish_reason")) or "stop",
        called=bool(calls),
        whole=any(is_json(call.arguments) for call in calls),
    )
    logprobs = read_logprobs(fields["logprobs"]) if fields.get("logprobs") else None
    return Reply(identity, "", [Choice(parts, finish, logprobs=logprobs)], read_usage(fields.get("usage")))


def _read_message(message: dict[str, Any], response: str) -> list[Part]:
    parts: list[Part] = []
    texts: dict[int, Text] = {}
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for index, block in enumerate(blocks if isinstance(blocks, list) else []):
        part = _read_block(block)
        if part is not None:
            parts.append(part)
        if isinstance(part, Text):
            texts[index] = part
    raws = message.get("citations")
    if isinstance(raws, list) and (rest := attach(parts, raws, texts)):
        parts.append(Opaque(DIALECT, {"$citations": rest}))
    if plan := _text(message.get("tool_plan")):
        parts.append(Thinking(plan, id=f"{PLAN_ID}{response}"))
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            parts.append(_read_call(call, number, response))
    unknown = {name: value for name, value in message.items() if name not in _KNOWN and value not in (None, [])}
    if unknown:
        parts.append(Opaque(DIALECT, {"$fields": unknown}))
    return parts


def _read_block(block: Any) -> Part | None:
    if not isinstance(block, dict):
        return None
    if block.get("type") == "text":
        return Text(text) if (text := _text(block.get("text"))) else None
    if block.get("type") == "thinking":
        return Thinking(text) if (text := _text(block.get("thinking"))) else None
    return Opaque(DIALECT, block)


def _read_call(call: dict[str, Any], number: int, response: str) -> Part:
    function = call.get("function")
    if not isinstance(function, dict):
        return Opaque(DIALECT, {"$tool_call": call})
    identity = _text(call.get("id")) or generated_id(response, number)
    return ToolCall(identity, _text(function.get("name")), arguments_text(function.get("arguments")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The answer for a Cohere client, its first choice; `created` and the model have no field here."""
    choice = reply.choices[0] if reply.choices else Choice()
    if len(reply.choices) > 1:
        report(losses, "choices")
    body: dict[str, Any] = {
        "id": reply.id,
        "finish_reason": write_finish(choice.finish, choice.stop_sequence),
        "message": _write_message(choice.parts, losses),
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    if choice.logprobs is not None and (items := write_logprobs(choice.logprobs)):
        body["logprobs"] = items
    return _ENCODER.encode(body)


def _write_message(parts: list[Part], losses: Losses) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    citations: list[Any] = []
    plan = ""
    for part in parts:
        match part:
            case Text():
                _cite(part, len(content), citations, losses)
                if part.text:
                    content.append(text_block(part.text))
            case Thinking():
                if part.redacted is not None or part.signature is not None:
                    report(losses, "thinking.redacted" if part.redacted is not None else "thinking.signature")
                if is_plan(part):
                    plan += part.text
                elif part.text:
                    content.append({"type": "thinking", "thinking": part.text})
            case ToolCall():
                calls.append(_write_call(part))
            case Refusal():
                content.append(text_block(part.text))
            case Audio():
                report(losses, "content.audio")
                if part.transcript:
                    content.append(text_block(part.transcript))
            case Opaque(dialect="cohere"):
                _write_opaque(part.value, message, content, calls, citations)
            case Opaque():
                report(losses, f"content.{opaque_name(part.value)}")
            case _:
                report(losses, f"content.{type(part).__name__.lower()}")
    if content:
        message["content"] = content
    if plan:
        message["tool_plan"] = plan
    if calls:
        message["tool_calls"] = calls
    if citations:
        message["citations"] = citations
    return message


def _cite(part: Text, index: int, citations: list[Any], losses: Losses) -> None:
    for citation in part.citations or ():
        if is_lost(citation):
            report(losses, "citations")
        elif (raw := write_citation(citation, part.text, index)) is not None:
            citations.append(raw)


def _write_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode({"input": call.arguments}).decode() if call.custom else call.arguments
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _write_opaque(
    value: Any,
    message: dict[str, Any],
    content: list[dict[str, Any]],
    calls: list[dict[str, Any]],
    citations: list[Any],
) -> None:
    if "$citations" in value:
        citations += value["$citations"]
    elif "$fields" in value:
        message.update(value["$fields"])
    elif "$tool_call" in value:
        calls.append(value["$tool_call"])
    elif "$part" not in value:
        content.append(value)


class _Receipt(Struct):
    id: Any = None
    finish_reason: Any = None
    usage: Any = None
    message: Any = None


_RECEIPT = msgspec.json.Decoder(_Receipt)


def read_receipt(body: bytes) -> Receipt:
    """Why an answer stopped and what it used; the model stays empty. Raises UpstreamBroken for what is no answer."""
    try:
        fields = _RECEIPT.decode(body)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    if isinstance(fields.message, str):
        return Receipt(_text(fields.id), failed=failed(fields.message))
    if not isinstance(fields.message, dict):
        raise UpstreamBroken("The provider's answer has no message.")
    return Receipt(_text(fields.id), usage=read_usage(fields.usage), finish=read_finish(fields.finish_reason))
