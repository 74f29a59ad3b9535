"""Chat completion replies: read from a provider, and metered when passed through. reply_writer.py writes them.

Reading is tolerant where hosts differ: content as a string or as parts (Mistral, thinking included), thoughts in any of
the fields of thoughts.py, tool arguments as text, as an object or missing, finish reasons of any host, a byte order
mark before the JSON. Fields of a message without a canonical place (`executed_tools`) stay beside it as an `Opaque` for
this dialect. An error object in a 200 answer is an error, and so is an answer without choices.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.citations import attach, read_annotations, read_sources
from freehold.dialects.chat.content import DIALECT, json_text, thinking_text, thought_signature
from freehold.dialects.chat.errors import read_error, read_failure
from freehold.dialects.chat.made import read_audio, read_image, read_images
from freehold.dialects.chat.think_tags import split_thinking
from freehold.dialects.chat.thoughts import foreign_details, read_thoughts
from freehold.dialects.chat.usage import PlainUsage, read_finish, read_usage, settle_finish
from freehold.dialects.conversation import Choice, Opaque, Part, Refusal, Reply, Text, Thinking, ToolCall
from freehold.dialects.receipt import Receipt
from freehold.dialects.tool_calls import generated_id
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_READ = {
    "role",
    "content",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "refusal",
    "audio",
    "images",
    "annotations",
    "tool_calls",
    "function_call",
}
BOM = b"\xef\xbb\xbf"


def read_reply(body: bytes, split_think: bool = False) -> Reply:
    """Raises UpstreamBroken for what is no chat completion, and the error that an error object in it stands for.

    `split_think`: a leading `<think>...</think>` in the content (or one the chat template opened) is thinking.
    """
    fields = decode_completion(body)
    created = fields.get("created")
    response = _text(fields.get("id"))
    reply = Reply(
        id=response,
        model=_text(fields.get("model")),
        choices=[_read_choice(choice, index, response, split_think) for index, choice in enumerate(fields["choices"])],
        usage=read_usage(fields.get("usage")) or _groq_usage(fields),
        created=int(created) if isinstance(created, int | float) and abs(created) < 1e15 else 0,
        service_tier=_text(fields.get("service_tier")) or None,
    )
    parts = reply.choices[0].parts
    if not any(isinstance(part, Text) and part.citations for part in parts):
        attach(parts, read_sources(fields))
    return reply


def decode_completion(body: bytes) -> dict[str, Any]:
    """The answer as decoded JSON, with at least one choice. Raises as `read_reply` does."""
    try:
        fields = msgspec.json.decode(body.removeprefix(BOM))
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise UpstreamBroken("The provider's answer is not a JSON object.")
    choices = fields.get("choices")
    if fields.get("error") and not choices:
        raise read_error(200, {}, body.removeprefix(BOM))
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamBroken("The provider's answer has no choices.")
    return fields


def _groq_usage(fields: dict[str, Any]) -> Any:
    groq = fields.get("x_groq")
    return read_usage(groq.get("usage")) if isinstance(groq, dict) else None


def _read_choice(raw: dict[str, Any], index: int, response: str, split_think: bool) -> Choice:
    message = raw.get("message")
    if message is None and raw.get("finish_reason") == "content_filter":
        message = {}  # Azure leaves out the message that its filter took
    if not isinstance(message, dict):
        raise UpstreamBroken("A choice of the provider's answer has no message.")
    parts = read_message(message, response, split_think)
    calls = [part for part in parts if isinstance(part, ToolCall)]
    finish = settle_finish(
        read_finish(raw.get("finish_reason")) or "stop",
        called=_has_calls(parts),
        whole=len(calls) < _count_calls(parts) or any(call.custom or is_json(call.arguments) for call in calls),
    )
    given = raw.get("index")
    return Choice(
        parts=parts,
        finish="error" if raw.get("error") else finish,
        refused=any(isinstance(part, Refusal) for part in parts),
        logprobs=raw.get("logprobs"),
        index=given if isinstance(given, int) and given >= 0 else index,
    )


def _has_calls(parts: list[Part]) -> bool:
    return _count_calls(parts) > 0


def _count_calls(parts: list[Part]) -> int:
    return sum(
        isinstance(part, ToolCall)
        or (isinstance(part, Opaque) and isinstance(part.value, dict) and "$tool_call" in part.value)
        for part in parts
    )


def read_message(message: dict[str, Any], response: str, split_think: bool = False) -> list[Part]:
    """The parts of an assistant message as a provider sends it: thoughts, content, refusal, audio, calls, the rest.

    `response` is the id of the whole reply, from which calls without an id get theirs.
    """
    details = message.get("reasoning_details")
    plain = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    parts: list[Part] = list(read_thoughts(plain, details))
    content = message.get("content")
    if isinstance(content, list):
        parts += [part for piece in content if (part := read_piece(piece)) is not None]
    elif isinstance(content, dict):
        parts.append(Text(json_text(content)))  # Cloudflare: the object that was asked for, not as text
    elif isinstance(content, str) and content:
        thought, answer = split_thinking(content) if split_think and not parts else ("", content)
        if thought:
            parts.append(Thinking(text=thought))
        if answer:
            parts.append(Text(answer))
    citations, notes = read_annotations(message.get("annotations"))
    attach(parts, citations)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        parts.append(Refusal(refusal))
    if isinstance(audio := message.get("audio"), dict):
        parts.append(read_audio(audio))
    images, pictures = read_images(message.get("images"))
    parts += images
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            parts.append(_read_call(call, number, response))
    if isinstance(legacy := message.get("function_call"), dict):
        parts.append(ToolCall(generated_id(response, 0), _text(legacy.get("name")), json_text(legacy.get("arguments"))))
    unknown = {name: value for name, value in message.items() if name not in _READ and value not in (None, [])}
    unread = {"annotations": notes, "images": pictures, "reasoning_details": foreign_details(details)}
    unknown |= {name: rest for name, rest in unread.items() if rest}
    if unknown:
        parts.append(Opaque(DIALECT, {"$fields": unknown}))
    return parts


def read_piece(piece: Any) -> Part | None:
    """A content part of a reply; None for an empty one."""
    if isinstance(piece, str):
        return Text(piece) if piece else None
    if not isinstance(piece, dict):
        return None
    if piece.get("type") == "text":
        text = _text(piece.get("text"))
        return Text(text) if text else None
    if piece.get("type") == "thinking":
        return Thinking(text=thinking_text(piece))
    if piece.get("type") == "image_url" and (image := read_image(piece)) is not None:
        return image
    return Opaque(DIALECT, piece)


def _read_call(call: dict[str, Any], number: int, response: str) -> Part:
    identity = _text(call.get("id")) or generated_id(response, number)
    if isinstance(custom := call.get("custom"), dict):
        return ToolCall(identity, _text(custom.get("name")), _text(custom.get("input")), custom=True)
    function = call.get("function")
    if not isinstance(function, dict):
        return Opaque(DIALECT, {"$tool_call": call})
    return ToolCall(
        id=identity,
        name=_text(function.get("name")),
        arguments=json_text(function.get("arguments")),
        signature=thought_signature(call),
    )


def is_json(text: str | bytes) -> bool:
    """Whether tool arguments, or an event, are complete."""
    try:
        msgspec.json.decode(text)
    except MALFORMED:
        return False
    return True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# Pass-through


class _ChoiceReceipt(Struct):
    finish_reason: Any = None


class _PlainReceipt(Struct, gc=False):
    """A reply of the usual form; anything else is read as `_ReplyReceipt`."""

    id: str
    model: str
    choices: list[_ChoiceReceipt]
    usage: PlainUsage
    error: None = None


class _ReplyReceipt(Struct):
    id: Any = None
    model: Any = None
    usage: Any = None
    choices: list[_ChoiceReceipt] | None = None
    error: Any = None
    x_groq: Any = None


_PLAIN = msgspec.json.Decoder(_PlainReceipt)
_RECEIPT = msgspec.json.Decoder(_ReplyReceipt)


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through reply says of itself; content is skipped. Raises UpstreamBroken for what is no reply."""
    try:
        plain = _PLAIN.decode(body)
    except MALFORMED:
        return _read_odd_receipt(body)
    usage = plain.usage.read()
    if usage is None or not plain.choices:
        return _read_odd_receipt(body)
    return Receipt(plain.id, plain.model, usage, read_finish(plain.choices[0].finish_reason), None)


def _read_odd_receipt(body: bytes) -> Receipt:
    try:
        fields = _RECEIPT.decode(body.removeprefix(BOM))
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid completion.") from None
    if not fields.choices and not fields.error:
        raise UpstreamBroken("The provider's answer has no choices.")
    usage = read_usage(fields.usage)
    if usage is None and isinstance(fields.x_groq, dict):
        usage = read_usage(fields.x_groq.get("usage"))
    return Receipt(
        _text(fields.id),
        _text(fields.model),
        usage,
        read_finish(fields.choices[0].finish_reason) if fields.choices else None,
        read_failure(fields.error) if fields.error and not fields.choices else None,
    )
