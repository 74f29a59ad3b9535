"""`/api/generate`: Ollama's completion form, a client dialect of its own beside the chat form.

Source: see request.py. Passed through to an Ollama server, every field goes. To a model that only chats, the prompt is
one user message, with its images, under the `system` text; `suffix`, `template`, `raw` and `context` have no meaning
there, stay in `unknown` and are reported as lost by whoever writes the request. Answers have `response` and `thinking`
where chat has a message, and no place for tool calls, which nobody can have asked for.

Errors, receipts, relays and the pass-through edit are those of the chat form, re-exported here.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Conversation, Event, Losses, Reply, Text, ToolDelta, ToolStarted, Turn
from freehold.dialects.ollama import stream_writer
from freehold.dialects.ollama.errors import read_error, write_error
from freehold.dialects.ollama.peek import NOTHING, Options, count_images, has_format, limit_of, patch_request
from freehold.dialects.ollama.relay import StreamRelay
from freehold.dialects.ollama.reply import first_choice, read_receipt, write_message
from freehold.dialects.ollama.request import read_images, read_model
from freehold.dialects.ollama.settings import GENERATE, lose, read_settings
from freehold.dialects.ollama.usage import DONE_REASON, write_logprobs, write_time, write_usage
from freehold.dialects.peek import Peek
from freehold.dialects.wire import check_str, decode_request, refuse_raw

__all__ = [
    "StreamRelay",
    "StreamWriter",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_request",
    "write_error",
    "write_reply",
]

DIALECT = GENERATE


class _Request(Struct):
    model: str
    prompt: Raw = NOTHING
    system: Raw = NOTHING
    suffix: Raw = NOTHING
    images: Raw = NOTHING
    stream: bool | None = None
    options: Options | None = None
    format: Raw = NOTHING


_DECODER = msgspec.json.Decoder(_Request)
_FIELDS = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


def peek(body: bytes) -> Peek:
    """As the chat form's."""
    request = decode_request(_DECODER, body)
    if bytes(request.prompt)[:1] not in (b'"', b"", b"n"):
        refuse_raw("prompt", "a string", bytes(request.prompt))
    result = Peek(
        request.model,
        request.stream is not False,
        limit_of(request.options),
        input_bytes=sum(len(raw) for raw in (request.prompt, request.system, request.suffix, request.images)),
        include_usage=True,
        schema=has_format(request.format),
    )
    count_images(request.images, result)
    return result


def read_request(body: bytes) -> Conversation:
    """For translation to a chat dialect. Raises BadRequest with the field as `param`."""
    fields = decode_request(_FIELDS, body)
    conversation = Conversation(model=read_model(fields), dialect=DIALECT)
    for name in ("suffix", "template"):  # the zero values that Go clients write out
        if fields.get(name) == "":
            del fields[name]
    for name, nothing in (("raw", False), ("context", [])):
        if fields.get(name) == nothing:
            fields.pop(name, None)
    if (system := fields.pop("system", None)) is not None and (text := check_str(system, "system")):
        conversation.system.append(Text(text))
    parts = read_images(fields.pop("images", None), "images")
    prompt = fields.pop("prompt", None)
    if prompt is not None and (text := check_str(prompt, "prompt")):
        parts.append(Text(text))
    if parts:
        conversation.turns.append(Turn("user", parts))
    read_settings(conversation, fields)
    return conversation


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The answer, its first choice. Raises UpstreamBroken where it ended in an error."""
    choice = first_choice(reply, losses)
    message = write_message(choice.parts, losses)
    body: dict[str, Any] = {
        "model": reply.model,
        "created_at": write_time(reply.created or created),
        "response": message["content"],
    }
    if "thinking" in message:
        body["thinking"] = message["thinking"]
    body |= {"done": True, "done_reason": DONE_REASON[choice.finish], **write_usage(reply.usage)}
    if "images" in message:
        body["image"] = message["images"][0]
        if len(message["images"]) > 1:
            lose(losses, "content.image")
    if "tool_calls" in message:
        lose(losses, "content.tool_calls")
    if logprobs := write_logprobs(choice.logprobs):
        body["logprobs"] = logprobs
    return _ENCODER.encode(body)


class StreamWriter(stream_writer.StreamWriter):
    """Canonical events as lines of a generate stream; used as the chat form's."""

    __slots__ = ()

    _BEFORE_TEXT = b'"response":'
    _BEFORE_THINKING = b'"response":"","thinking":'
    _AFTER = b',"done":false}\n'

    def write(self, event: Event) -> bytes:
        if isinstance(event, ToolStarted | ToolDelta):
            lose(self.losses, "tool_calls")
            return b""
        return super().write(event)

    def _last_message(self) -> bytes:
        return b'"response":""'

    def _message(self, field: str, value: Any) -> bytes:
        if field == "images":
            field, value = "image", value[0]
        return super()._message(field, value)
