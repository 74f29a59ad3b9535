"""What is asked of an upstream, whatever the deployment: `prepare` turns the client's request into that provider's
bytes, and brings back what is needed to turn the answer into the client's.

Same dialect on both sides: the client's bytes pass through, but for what must change. Different dialects: through the
canonical conversation, read once per request and written once per attempt.
"""

import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

import msgspec

from freehold.call.target import Target
from freehold.dialects import chat, completions, embeddings, gemini, messages
from freehold.dialects.conversation import (
    Conversation,
    Event,
    Failed,
    Finish,
    Finished,
    Losses,
    Metered,
    OpaqueDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.errors import BadRequest, FreeholdError, InternalError, LossRefused, ProviderError

CLIENT: Mapping[str, ModuleType] = {"chat": chat, "completions": completions, "messages": messages}
ERRORS: Mapping[str, ModuleType] = {**CLIENT, "embeddings": chat}
"""Who renders an error for which client; embeddings are OpenAI's, like chat."""
PROVIDER: Mapping[str, ModuleType] = {"chat": chat, "messages": messages, "gemini": gemini}


class Relay(Protocol):
    """A streamed answer on its way through: upstream bytes in, client bytes out, counted in passing."""

    usage: Usage | None
    id: str
    model: str
    failed: Failed | None
    complete: bool
    started: bool
    output_bytes: int

    def feed(self, chunk: bytes) -> bytes: ...

    def close(self) -> bytes: ...


class Prepared:
    """One attempt, ready to be sent. `read`: whole answer -> (client bytes, receipt). `relay`: a stream's relay."""

    __slots__ = ("body", "head", "losses", "read", "read_error", "relay")

    def __init__(
        self,
        head: bytes,
        body: bytes,
        losses: Losses,
        read: Callable[[bytes], tuple[bytes, Receipt]],
        relay: Callable[[], Relay],
        read_error: Callable[[int, Mapping[bytes, bytes], bytes], ProviderError],
    ) -> None:
        self.head = head
        self.body = body
        self.losses = losses
        self.read = read
        self.relay = relay
        self.read_error = read_error


class Operation(Protocol):
    """One request of one client, before it is known who answers."""

    peek: Peek

    def prepare(self, target: Target) -> Prepared:
        """Raises BadRequest, or LossRefused when the provider cannot carry the request and strict is on."""
        ...


class Talk:
    """Chat completions, completions and messages: everything that is a conversation."""

    __slots__ = ("_body", "_client", "_conversation", "_forward", "_language", "_strict", "peek")

    def __init__(
        self,
        client: str,
        body: bytes,
        peek: Peek,
        *,
        forward: list[tuple[bytes, bytes]] | None = None,
        strict: bool = False,
    ) -> None:
        """`forward` holds client headers that belong to the dialect itself (anthropic-beta)."""
        self._client = client
        self._language = CLIENT[client]
        self._body = body
        self._forward = forward
        self._strict = strict
        self._conversation: Conversation | None = None
        self.peek = peek

    @property
    def conversation(self) -> Conversation:
        """The request, read whole; BadRequest when it cannot be."""
        if self._conversation is None:
            self._conversation = self._language.read_request(self._body)
        return self._conversation

    def prepare(self, target: Target) -> Prepared:
        if target.speaks(self._client):
            return self._pass_through(target)
        return self._translate(target)

    def _pass_through(self, target: Target) -> Prepared:
        client, language, peek, traits = self._client, self._language, self.peek, target.traits
        losses: Losses = []
        body = language.patch_request(
            self._body,
            model=target.model,
            traits=traits,
            stream_usage=traits.stream_usage,
            losses=losses,
            seen=peek.notes,
        )
        if losses:
            self._refuse(losses, target)
        return Prepared(
            target.head(client, peek.stream, self._forward),
            body,
            losses,
            _READ_RECEIPT[client],
            _StreamRelay(language, not peek.include_usage) if peek.stream else _no_stream,
            PROVIDER[target.dialect].read_error,
        )

    def _translate(self, target: Target) -> Prepared:
        client, provider = self._language, PROVIDER[target.dialect]
        losses: Losses = []
        conversation = msgspec.structs.replace(self.conversation, model=target.model)
        body = provider.write_request(conversation, losses, target.traits)
        self._refuse(losses, target)
        created = int(time.time())
        options: dict[str, Any] = {}
        if target.dialect == "messages" and (tool := messages.json_tool_name(conversation, target.traits)):
            options["json_tool"] = tool

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            reply = provider.read_reply(answer, **options)
            finish: Finish | None = reply.choices[0].finish if reply.choices else None
            return client.write_reply(reply, losses, created), Receipt(reply.id, reply.model, reply.usage, finish, None)

        def relay() -> Relay:
            include = self.peek.include_usage
            return Translation(
                provider.StreamReader(**options), lambda i, m: client.StreamWriter(i, m, created, include)
            )

        return Prepared(target.head("chat", self.peek.stream), body, losses, read, relay, provider.read_error)

    def _refuse(self, losses: Losses, target: Target) -> None:
        if losses and self._strict:
            raise LossRefused(
                f"{target.name} cannot carry {', '.join(losses)}",
                hint="leave it out, ask another model, or set strict: false",
                param=losses[0],
            )


class _StreamRelay:
    """Makes the relay of a passed-through stream."""

    __slots__ = ("_language", "_strip")

    def __init__(self, language: ModuleType, strip: bool) -> None:
        self._language = language
        self._strip = strip

    def __call__(self) -> Relay:
        relay: Relay = self._language.StreamRelay(self._strip)
        return relay


def _receipt_reader(language: ModuleType) -> Callable[[bytes], tuple[bytes, Receipt]]:
    def read(answer: bytes) -> tuple[bytes, Receipt]:
        return answer, language.read_receipt(answer)

    return read


_READ_RECEIPT = {name: _receipt_reader(language) for name, language in CLIENT.items()}


class Translation:
    """A relay between two dialects: canonical events in the middle."""

    __slots__ = ("_make", "_reader", "_writer", "complete", "failed", "id", "model", "output_bytes", "started", "usage")

    def __init__(self, reader: Any, make: Callable[[str, str], Any]) -> None:
        self._reader = reader
        self._make = make
        self._writer: Any = None
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        return self._write(self._reader.feed(chunk))

    def close(self) -> bytes:
        out = self._write(self._reader.close())
        self.complete = self._reader.complete
        if self.complete and self.failed is None and self._writer is not None:
            out += self._writer.close()
        return out

    def _write(self, events: list[Event]) -> bytes:
        out = []
        for event in events:
            kind = type(event)
            if kind is TextDelta or kind is ThinkingDelta:
                self.started = True
                self.output_bytes += len(event.text)  # type: ignore[union-attr]
            elif kind is ToolDelta:
                self.started = True
                self.output_bytes += len(event.arguments)  # type: ignore[union-attr]
            elif kind is ToolStarted or kind is OpaqueDelta:
                self.started = True
            elif kind is Started:
                self.id, self.model = event.id, event.model  # type: ignore[union-attr,assignment]
            elif kind is Metered:
                self.usage = event.usage  # type: ignore[union-attr]
            elif kind is Finished:
                self.complete = True
            elif kind is Failed:
                self.failed = event  # type: ignore[assignment]
                break
            if self._writer is None:
                self._writer = self._make(self.id, self.model)
            out.append(self._writer.write(event))
        return out[0] if len(out) == 1 else b"".join(out)


class Embed:
    """Embeddings: OpenAI's shape in, OpenAI's or Gemini's out. Never streamed."""

    __slots__ = ("_body", "peek")

    def __init__(self, body: bytes, peek: Peek) -> None:
        self._body = body
        self.peek = peek

    def prepare(self, target: Target) -> Prepared:
        request = embeddings.read_request(self._body)
        losses: Losses = []
        if target.dialect == "gemini":
            body = embeddings.write_gemini_request(target.model, request, losses)
        elif target.dialect == "chat":
            body = embeddings.patch_request(self._body, model=target.model)
        else:
            raise BadRequest(
                f"{target.name} has no embeddings", hint="ask a model that can: GET /v1/models", param="model"
            )

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            read_reply = embeddings.read_gemini_reply if target.dialect == "gemini" else embeddings.read_reply
            reply = read_reply(answer)
            reply.model = reply.model or target.model
            written = embeddings.write_reply(reply, request.encoding_format)
            return written, Receipt("", reply.model, reply.usage, "stop", None)

        return Prepared(
            target.head("embeddings", False), body, losses, read, _no_stream, PROVIDER[target.dialect].read_error
        )


class Count:
    """Anthropic's count_tokens, where the upstream can count; the pipeline estimates elsewhere."""

    __slots__ = ("_talk", "peek")

    def __init__(self, body: bytes, peek: Peek) -> None:
        self._talk = Talk("messages", body, peek)
        self.peek = peek

    def prepare(self, target: Target) -> Prepared:
        losses: Losses = []
        if target.dialect == "messages":
            body = messages.patch_request(self._talk._body, model=target.model)
        else:
            conversation = msgspec.structs.replace(self._talk.conversation, model=target.model)
            body = gemini.write_count(conversation, losses)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            count = messages.read_count(answer) if target.dialect == "messages" else gemini.read_count(answer)
            return messages.write_count(count), Receipt("", target.model, Usage(), "stop", None)

        return Prepared(
            target.head("count", False), body, losses, read, _no_stream, PROVIDER[target.dialect].read_error
        )


def _no_stream() -> Relay:
    raise InternalError("this operation has no stream")


def stream_failure(client: str, error: FreeholdError, request_id: str, model: str) -> bytes:
    """Returns the events that end a broken stream in the client's dialect."""
    language = CLIENT[client]
    failure: bytes = language.StreamWriter(request_id, model, int(time.time()), False).fail(error, request_id)
    return failure
