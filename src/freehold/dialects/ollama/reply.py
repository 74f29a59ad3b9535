"""Whole answers of the chat form: read into the canonical reply, written from it, or only metered.

Source of the format: see request.py. An answer has no id; the calls in it get one made from its time and their content
where the server gives none. Tool arguments, objects here, are kept as the very JSON text they came as.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import (
    Audio,
    Choice,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from freehold.dialects.media import sniff, split_data_url
from freehold.dialects.ollama.errors import failed
from freehold.dialects.ollama.settings import DIALECT, lose
from freehold.dialects.ollama.usage import (
    DONE_REASON,
    read_finish,
    read_logprobs,
    read_time,
    read_usage,
    write_logprobs,
    write_time,
    write_usage,
)
from freehold.dialects.receipt import Receipt
from freehold.dialects.tool_calls import generated_id, json_object
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name
from freehold.errors import UpstreamBroken, redact


class WireFunction(Struct):
    name: str = ""
    arguments: Raw = Raw(b"{}")


class WireCall(Struct):
    function: WireFunction
    id: str | None = None


class WireMessage(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[WireCall] | None = None
    images: list[str] | None = None


class WireAnswer(Struct):
    """A whole answer, or one line of a stream. Counts are read leniently."""

    message: WireMessage | None = None
    done: bool = False
    model: str = ""
    created_at: str = ""
    done_reason: Any = None
    prompt_eval_count: Any = None
    prompt_eval_cached_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None


class _Meter(Struct):
    done: bool = False
    model: str = ""
    done_reason: Any = None
    prompt_eval_count: Any = None
    prompt_eval_cached_count: Any = None
    eval_count: Any = None
    error: Any = None


ANSWER = msgspec.json.Decoder(WireAnswer)
_METER = msgspec.json.Decoder(_Meter)
_ENCODER = msgspec.json.Encoder()


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamBroken for anything that is no finished answer, an error object included."""
    try:
        answer = ANSWER.decode(body)
        parts = _read_parts(answer)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    if answer.error is not None:
        report = failed(answer.error)
        raise UpstreamBroken(f"The provider answered with an error in a success: {report.message}", code=report.code)
    if answer.message is None:
        raise UpstreamBroken("The provider's answer is no Ollama chat answer.")
    if not answer.done:
        raise UpstreamBroken("The provider's answer says that it is not finished.")
    called = any(isinstance(part, ToolCall) for part in parts)
    return Reply(
        "",
        answer.model,
        [Choice(parts, read_finish(answer.done_reason, called), logprobs=read_logprobs(answer.logprobs))],
        read_usage(answer.prompt_eval_count, answer.prompt_eval_cached_count, answer.eval_count),
        read_time(answer.created_at),
    )


def _read_parts(answer: WireAnswer) -> list[Part]:
    message = answer.message or WireMessage()
    parts: list[Part] = []
    if message.thinking:
        parts.append(Thinking(message.thinking))
    if message.content:
        parts.append(Text(message.content))
    parts += [read_image(image) for image in message.images or ()]
    parts += [read_call(call, answer.created_at, number) for number, call in enumerate(message.tool_calls or ())]
    return parts


def read_image(data: str) -> Image:
    kind, data = split_data_url(data) or (None, data)
    return Image(kind or sniff(data), data)


def read_call(call: WireCall, moment: str, number: int) -> ToolCall:
    """`moment` is the answer's time, which tells the calls of one answer from those of the next."""
    arguments = bytes(call.function.arguments)
    if arguments[:1] == b'"':  # a server that sends OpenAI's text
        arguments = msgspec.json.decode(arguments, type=str).encode("utf-8", "surrogatepass")
    text = arguments.decode("utf-8", "surrogatepass")
    text = "{}" if not text.strip() or text == "null" else text
    name = call.function.name
    return ToolCall(call.id or generated_id(moment, number, name + text), name, text)


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The answer for an Ollama client, its first choice. `created` is in Unix seconds, for a reply that has no time.

    Raises UpstreamBroken where the answer ended in an error, which this dialect does not know as a reason.
    """
    choice = first_choice(reply, losses)
    body: dict[str, Any] = {
        "model": reply.model,
        "created_at": write_time(reply.created or created),
        "message": write_message(choice.parts, losses),
        "done": True,
        "done_reason": DONE_REASON[choice.finish],
        **write_usage(reply.usage),
    }
    if logprobs := write_logprobs(choice.logprobs):
        body["logprobs"] = logprobs
    return _ENCODER.encode(body)


def first_choice(reply: Reply, losses: Losses) -> Choice:
    """Raises UpstreamBroken where it ended in an error."""
    if len(reply.choices) > 1:
        lose(losses, "choices")
    choice = reply.choices[0] if reply.choices else Choice()
    if choice.finish == "error":
        raise UpstreamBroken("The provider's model stopped with an error.", hint="try again, or another model")
    return choice


def write_message(parts: list[Part], losses: Losses) -> dict[str, Any]:
    """The assistant's message, as it stands in an answer."""
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Text():
                texts.append(part.text)
                if part.citations:
                    lose(losses, "content.citations")
            case Refusal():
                texts.append(part.text)
            case Thinking():
                thoughts.append(part.text)
                if part.signature is not None or part.redacted is not None:
                    lose(losses, "thinking.signature" if part.redacted is None else "thinking.redacted")
            case Image(data=str()):
                images.append(part.data or "")
            case ToolCall():
                calls.append(write_call(part, len(calls), losses))
            case Image() | Document() | Audio():
                if isinstance(part, Audio):
                    texts.append(part.transcript or "")
                lose(losses, f"content.{type(part).__name__.lower()}")
            case Opaque() if part.dialect != DIALECT:
                lose(losses, f"content.{opaque_name(part.value)}")
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if any(thoughts):
        message["thinking"] = "".join(thoughts)
    if images:
        message["images"] = images
    if calls:
        message["tool_calls"] = calls
    return message


def write_call(call: ToolCall, index: int, losses: Losses) -> dict[str, Any]:
    arguments = {"input": call.arguments} if call.custom else json_object(call.arguments, "content.tool_calls", losses)
    return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}


def read_receipt(body: bytes) -> Receipt:
    """Who answered and what it used, without reading the content; of generate answers too.

    Raises UpstreamBroken for malformed JSON.
    """
    try:
        meter = _METER.decode(body)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    return Receipt(
        "",
        meter.model,
        read_usage(meter.prompt_eval_count, meter.prompt_eval_cached_count, meter.eval_count),
        read_finish(meter.done_reason, b'"tool_calls"' in body) if meter.done else None,
        failed(meter.error) if meter.error is not None else None,
    )
