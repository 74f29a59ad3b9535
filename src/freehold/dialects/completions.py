"""OpenAI legacy completions (`/v1/completions`): a client dialect, and pass-through to hosts that still speak it.

Source: https://platform.openai.com/docs/api-reference/completions. Passed through, every form of prompt goes. To a
model that only chats, one text prompt becomes one user message; token arrays and several prompts at once cannot, and
are refused. `suffix`, `echo`, `best_of` and the numeric `logprobs` have no meaning there: they stay in `unknown` and
are reported as lost by whoever writes the request. The default of 16 tokens is the dialect's own.

Replies passed through look enough like chat replies to be metered by the same code, re-exported here.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.chat.errors import error_body, read_error, write_error
from freehold.dialects.chat.patch import patch_model, patch_sampling, patch_stream_options
from freehold.dialects.chat.peek import MAX_CHOICES
from freehold.dialects.chat.relay import StreamRelay
from freehold.dialects.chat.reply import decode_completion, read_receipt
from freehold.dialects.chat.settings import read_settings
from freehold.dialects.chat.usage import write_usage
from freehold.dialects.chat.whole import mend_reply
from freehold.dialects.conversation import (
    Audio,
    AudioDelta,
    Conversation,
    Document,
    Event,
    Failed,
    Finish,
    Finished,
    Image,
    LogprobsDelta,
    Losses,
    MediaDelta,
    Metered,
    OpaqueDelta,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolStarted,
    Turn,
    Usage,
)
from freehold.dialects.peek import Peek
from freehold.dialects.sse import DONE, sse
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import decode_request, refuse, refuse_raw
from freehold.errors import BadRequest, FreeholdError, UpstreamBroken

__all__ = [
    "StreamRelay",
    "StreamWriter",
    "as_stream",
    "mend_reply",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_request",
    "write_error",
    "write_reply",
]

DIALECT = "completions"
DEFAULT_MAX_TOKENS = 16

_FINISH: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "stop",
    "content_filter": "content_filter",
    "pause": "length",
    "error": "error",
}
_FOREIGN = ("suffix", "echo", "best_of", "logprobs")
_NOTHING = Raw(b"")


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Request(Struct):
    model: str
    prompt: Raw = _NOTHING
    stream: bool | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    stream_options: _StreamOptions | None = None


_DECODER = msgspec.json.Decoder(_Request)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


def peek(body: bytes) -> Peek:
    """As chat.peek. `n` is what is generated (`best_of` counts), times the prompts of an array of texts."""
    request = decode_request(_DECODER, body)
    prompt = bytes(request.prompt)
    if prompt[:1] not in (b'"', b"["):
        _refuse_prompt(prompt)
    n = max(request.n or 1, request.best_of or 1)
    if not 1 <= n <= MAX_CHOICES or (request.n or 1) < 1:
        raise BadRequest(f"'n' and 'best_of' must lie between 1 and {MAX_CHOICES}.", param="n")
    if prompt[:1] == b"[" and prompt[1:].lstrip()[:1] in (b'"', b"["):
        n *= len(msgspec.json.decode(prompt, type=list[Raw]))
    limit = request.max_tokens
    return Peek(
        model=request.model,
        stream=request.stream is True,
        max_tokens=limit if limit is not None and limit > 0 else DEFAULT_MAX_TOKENS,
        n=n,
        input_bytes=len(prompt),
        include_usage=request.stream_options is not None and request.stream_options.include_usage is True,
    )


def read_request(body: bytes) -> Conversation:
    """For translation to a chat dialect. Raises BadRequest, for token prompts and several prompts too."""
    fields = decode_request(_OBJECT, body)
    model = fields.pop("model", None)
    if not isinstance(model, str):
        refuse("model", "a string", model)
    conversation = Conversation(model=model, dialect=DIALECT)
    conversation.turns.append(Turn("user", [Text(_read_prompt(fields.pop("prompt", None)))]))
    for name in _FOREIGN:
        if (value := fields.pop(name, None)) not in (None, False) and (name, value) != ("best_of", 1):
            conversation.unknown[name] = value
    read_settings(conversation, fields)
    if conversation.max_tokens is None:
        conversation.max_tokens = DEFAULT_MAX_TOKENS
    return conversation


def _read_prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not prompt:
        refuse("prompt", "a string", prompt)
    what = "several prompts" if isinstance(prompt[0], str) else "token ids"
    raise BadRequest(
        f"This model answers chats, and {what} cannot be written as one.",
        param="prompt",
        hint="send one text prompt, or use a deployment that speaks /v1/completions itself",
    )


def _refuse_prompt(raw: bytes) -> None:
    if not raw:
        raise BadRequest("The request has no 'prompt'.", param="prompt", code="missing_required_parameter")
    refuse_raw("prompt", "a string or an array", raw)


def patch_request(
    body: bytes,
    *,
    model: str,
    traits: Traits = PLAIN,
    stream_usage: bool = False,
    losses: Losses | None = None,
    seen: object = None,
) -> bytes:
    """As chat.patch_request; the limit is `max_tokens` on every host of this dialect."""
    fields = decode_request(_FIELDS, body)
    lost: Losses = [] if losses is None else losses
    changed = patch_model(fields, model)
    if fields.get("stream") == Raw(b"true"):
        changed |= patch_stream_options(fields, traits, stream_usage, lost)
    changed |= patch_sampling(fields, traits, lost)
    return _encode(fields) if changed else body


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The `text_completion` object. Only text has a place in it."""
    choices = []
    for choice in reply.choices:
        texts = [part.text for part in choice.parts if isinstance(part, Text)]
        for part in choice.parts:
            name = _LOST.get(type(part), "opaque")
            if isinstance(part, Text):
                name = "citations" if part.citations else None
            if name is not None and name not in losses:
                losses.append(name)
        choices.append(
            {
                "text": "".join(texts),
                "index": choice.index,
                "logprobs": None,
                "finish_reason": _FINISH[choice.finish],
            }
        )
    body: dict[str, Any] = {
        "id": reply.id,
        "object": "text_completion",
        "created": reply.created or created,
        "model": reply.model,
        "choices": choices,
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    return msgspec.json.encode(body)


def as_stream(body: bytes) -> bytes:
    """The stream that says what the whole answer `body` says: an event has the same form. Raises as `read_reply`."""
    return sse(_encode(decode_completion(body))) + sse(DONE)


class StreamWriter:
    """Canonical events as `text_completion` chunks; used as chat.StreamWriter."""

    __slots__ = ("_created", "_ended", "_finished", "_head", "_id", "_include_usage", "_model", "_usage", "losses")

    def __init__(self, id: str, model: str, created: int, include_usage: bool = False) -> None:
        self._id = id
        self._model = model
        self._created = created
        self._include_usage = include_usage
        self._usage: Usage | None = None
        self._finished = False
        self._ended = False
        self._head = b""
        self.losses: Losses = []

    def write(self, event: Event) -> bytes:
        """The bytes of one event; empty where it has none here, and after the end."""
        if self._ended:
            return b""
        if isinstance(event, TextDelta):
            if event.citation is not None:
                self._lose_name("citations")
            return self._chunk(event.choice, event.text, None) if event.text else b""
        if isinstance(event, Finished):
            self._finished = True
            return self._chunk(event.choice, "", _FINISH[event.finish])
        if isinstance(event, Failed):
            return self.fail(UpstreamBroken(event.message, code=event.code, status=event.status), "")
        if isinstance(event, Metered):
            self._usage = event.usage
        elif isinstance(event, Started):
            self._id = self._id or event.id
            self._model = self._model or event.model
            self._created = self._created or event.created
        else:
            self._lose(event)
        return b""

    def close(self) -> bytes:
        """The usage chunk, if asked for, and `[DONE]`. Without any `Finished` before: the error of a cut stream."""
        if self._ended:
            return b""
        if not self._finished:
            return self.fail(UpstreamBroken("The stream ended before the answer was complete."), "")
        self._ended = True
        if not self._include_usage or self._usage is None:
            return sse(DONE)
        return b"".join(
            (self._frame(), b'"choices":[],"usage":', _encode(write_usage(self._usage)), b"}\n\n", sse(DONE))
        )

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """Ends the stream with an error event, where it has not ended yet."""
        if self._ended:
            return b""
        self._ended = True
        return sse(_encode({"error": error_body(error, request_id)}))

    def _frame(self) -> bytes:
        if not self._head:
            identity = {
                "id": self._id,
                "object": "text_completion",
                "created": self._created,
                "model": self._model,
            }
            self._head = b"data: " + _encode(identity)[:-1] + b","
        return self._head

    def _chunk(self, choice: int, text: str, finish: str | None) -> bytes:
        value = _encode([{"text": text, "index": choice, "logprobs": None, "finish_reason": finish}])
        end = b',"usage":null}\n\n' if self._include_usage else b"}\n\n"
        return b"".join((self._frame(), b'"choices":', value, end))

    def _lose(self, event: Event) -> None:
        if (name := _LOST.get(type(event))) is not None:
            self._lose_name(name)

    def _lose_name(self, name: str) -> None:
        if name not in self.losses:
            self.losses.append(name)


_LOST: dict[type, str | None] = {
    Thinking: "thinking",
    ThinkingDelta: "thinking",
    Refusal: "refusal",
    RefusalDelta: "refusal",
    ToolCall: "tool_calls",
    ToolStarted: "tool_calls",
    Audio: "audio",
    AudioDelta: "audio",
    Image: "images",
    Document: "documents",
    MediaDelta: "images",
    OpaqueDelta: "opaque",
    LogprobsDelta: "logprobs",
}
