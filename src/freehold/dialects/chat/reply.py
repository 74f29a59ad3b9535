"""Chat completion replies: read from a provider, written for a client, and metered when passed through.

Reading is tolerant where hosts differ: content as a string or as parts (Mistral, thinking included), thoughts under
`reasoning_content` or `reasoning`, tool arguments as text, as an object or missing, finish reasons of any host. Fields
of a message without a canonical place (`annotations`, `reasoning_details`, `executed_tools`) stay beside it as an
`Opaque` for this dialect. An error object in a 200 answer is an error.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.content import DIALECT, json_text, thinking_text, thought_signature
from freehold.dialects.chat.errors import read_error, read_failure
from freehold.dialects.chat.usage import FINISH_WORD, PlainUsage, read_finish, read_usage, settle_finish, write_usage
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
from freehold.errors import UpstreamBroken

_READ = {"role", "content", "reasoning_content", "reasoning", "refusal", "audio", "tool_calls", "function_call"}
SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast")
"""OpenAI's words. Clients check them, so another host's word is left out."""

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


def read_reply(body: bytes, split_think: bool = False) -> Reply:
    """Raises UpstreamBroken for what is no chat completion, and the error that an error object in it stands for.

    `split_think`: a leading `<think>...</think>` in the content (or one the chat template opened) is thinking.
    """
    try:
        fields = msgspec.json.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise UpstreamBroken("The provider's answer is not a JSON object.")
    if fields.get("error") and not fields.get("choices"):
        raise read_error(200, {}, body)
    choices = fields.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamBroken("The provider's answer has no choices.")
    created = fields.get("created")
    response = _text(fields.get("id"))
    return Reply(
        id=response,
        model=_text(fields.get("model")),
        choices=[_read_choice(choice, index, response, split_think) for index, choice in enumerate(choices)],
        usage=read_usage(fields.get("usage")) or _groq_usage(fields),
        created=int(created) if isinstance(created, int | float) else 0,
        service_tier=_text(fields.get("service_tier")) or None,
    )


def _groq_usage(fields: dict[str, Any]) -> Any:
    groq = fields.get("x_groq")
    return read_usage(groq.get("usage")) if isinstance(groq, dict) else None


def _read_choice(raw: dict[str, Any], index: int, response: str, split_think: bool) -> Choice:
    message = raw.get("message")
    if not isinstance(message, dict):
        raise UpstreamBroken("A choice of the provider's answer has no message.")
    parts = read_message(message, response, split_think)
    calls = [part for part in parts if isinstance(part, ToolCall)]
    finish = settle_finish(
        read_finish(raw.get("finish_reason")) or "stop",
        called=_has_calls(parts),
        whole=len(calls) < _count_calls(parts) or any(is_json(call.arguments) for call in calls),
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
    parts: list[Part] = []
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thoughts, str) and thoughts:
        parts.append(Thinking(text=thoughts))
    content = message.get("content")
    if isinstance(content, list):
        parts += [part for piece in content if (part := read_piece(piece)) is not None]
    elif isinstance(content, str) and content:
        thought, answer = split_thinking(content) if split_think and not thoughts else ("", content)
        if thought:
            parts.append(Thinking(text=thought))
        if answer:
            parts.append(Text(answer))
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        parts.append(Refusal(refusal))
    if isinstance(audio := message.get("audio"), dict):
        parts.append(_read_audio(audio))
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            parts.append(_read_call(call, number, response))
    if isinstance(legacy := message.get("function_call"), dict):
        parts.append(ToolCall(generated_id(response, 0), _text(legacy.get("name")), json_text(legacy.get("arguments"))))
    if unknown := {name: value for name, value in message.items() if name not in _READ and value not in (None, [])}:
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
    return Opaque(DIALECT, piece)


def _read_audio(audio: dict[str, Any]) -> Part:
    return Audio(**{name: value for name in ("id", "data", "transcript") if isinstance(value := audio.get(name), str)})


def _read_call(call: dict[str, Any], number: int, response: str) -> Part:
    function = call.get("function")
    if not isinstance(function, dict):
        return Opaque(DIALECT, {"$tool_call": call})
    return ToolCall(
        id=_text(call.get("id")) or generated_id(response, number),
        name=_text(function.get("name")),
        arguments=json_text(function.get("arguments")),
        signature=thought_signature(call),
    )


def split_thinking(content: str) -> tuple[str, str]:
    """`(thoughts, answer)` of content that starts with `<think>`, or whose `<think>` stood in the chat template."""
    opened = content.lstrip().startswith(THINK_OPEN)
    head, closed, rest = content.partition(THINK_CLOSE)
    if not closed and not opened:
        return "", content
    thought = head.lstrip().removeprefix(THINK_OPEN) if opened else head
    if not closed:
        return thought.strip(), ""
    if not opened and THINK_OPEN in head:
        return "", content
    return thought.strip(), rest.lstrip()


def is_json(text: str | bytes) -> bool:
    """Whether tool arguments, or an event, are complete."""
    try:
        msgspec.json.decode(text)
    except MALFORMED:
        return False
    return True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# Writing


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The `chat.completion` object. `created` (Unix seconds) counts where the reply has no time of its own."""
    body: dict[str, Any] = {
        "id": reply.id,
        "object": "chat.completion",
        "created": reply.created or created,
        "model": reply.model,
        "choices": [_write_choice(choice, losses) for choice in reply.choices],
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    if reply.service_tier in SERVICE_TIERS:
        body["service_tier"] = reply.service_tier
    elif reply.service_tier is not None:
        _lose(losses, "service_tier")
    return msgspec.json.encode(body)


def _write_choice(choice: Choice, losses: Losses) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in choice.parts:
        if isinstance(part, Text):
            texts.append(part.text)
            _lose(losses, "citations" if part.citations else None, "thought_signature" if part.signature else None)
        elif isinstance(part, Thinking):
            thoughts.append(part.text)
            _lose(
                losses,
                "thinking.signature" if part.signature else None,
                "thinking.redacted" if part.redacted is not None else None,
            )
        elif isinstance(part, ToolCall):
            calls.append(write_call(part))
        elif isinstance(part, Refusal):
            message["refusal"] = (message["refusal"] or "") + part.text
        elif isinstance(part, Audio) and part.data is not None:
            message["audio"] = {
                "id": part.id or "",
                "data": part.data,
                "transcript": part.transcript or "",
                "expires_at": 0,
            }
        elif isinstance(part, Opaque) and part.dialect == DIALECT and isinstance(part.value, dict):
            _write_opaque(part.value, message, calls, losses)
        else:
            _lose(losses, _kind(part))
    if texts:
        message["content"] = "".join(texts)
    if thoughts and (text := "".join(thoughts)):
        message["reasoning_content"] = text
    if calls:
        message["tool_calls"] = calls
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": FINISH_WORD[choice.finish],
    }


def write_call(call: ToolCall) -> dict[str, Any]:
    """A whole tool call. Gemini's signature goes where its own OpenAI path puts it, so that clients send it back."""
    written: dict[str, Any] = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if call.signature is not None:
        written["extra_content"] = {"google": {"thought_signature": call.signature}}
    return written


def _write_opaque(value: dict[str, Any], message: dict[str, Any], calls: list[dict[str, Any]], losses: Losses) -> None:
    if "$fields" in value:
        message.update(value["$fields"])
    elif "$tool_call" in value:
        calls.append(value["$tool_call"])
    else:  # a part of a list content; the answer's content is one string
        _lose(losses, f"content.{value.get('type')}")


def _kind(part: Part) -> str:
    if isinstance(part, Opaque) and isinstance(part.value, dict):
        return str(part.value.get("type") or part.dialect)
    return type(part).__name__.lower()


def _lose(losses: Losses, *names: str | None) -> None:
    for name in names:
        if name is not None and name not in losses:
            losses.append(name)


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
        fields = _RECEIPT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid completion.") from None
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
