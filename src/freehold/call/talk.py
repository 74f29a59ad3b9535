"""Conversations: what every chat dialect asks for, streamed or whole, and the count of its tokens."""

import re
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import msgspec

from freehold.call.guarded import Cover, Guard, opened
from freehold.call.inline import BYTES_ONLY, FETCHED, inline, urls
from freehold.call.languages import CLIENT, PROVIDER
from freehold.call.operation import Prepared, Relay, Ways, no_stream, refuse_losses
from freehold.call.retries import Effects
from freehold.call.target import Target
from freehold.dialects import responses
from freehold.dialects.conversation import (
    AudioDelta,
    Conversation,
    Event,
    Failed,
    Finish,
    Finished,
    Losses,
    MediaDelta,
    Metered,
    OpaqueDelta,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.words import in_words
from freehold.errors import BadRequest, FreeholdError, LossRefused

_USUAL = Ways()
_STORED = re.compile(rb'"store"\s*:\s*true')


class Talk:
    """A conversation in any client dialect. `conversation` is the request, read whole."""

    __slots__ = (
        "_body",
        "_client",
        "_conversation",
        "_forward",
        "_inlined",
        "_language",
        "_strict",
        "_ways",
        "cover",
        "guard",
        "peek",
    )

    def __init__(
        self,
        client: str,
        body: bytes,
        peek: Peek,
        *,
        forward: list[tuple[bytes, bytes]] | None = None,
        strict: bool = False,
        ways: Ways = _USUAL,
    ) -> None:
        """`forward` holds client headers that belong to the dialect itself (anthropic-beta)."""
        self._client = client
        self._language = CLIENT[client]
        self._body = body
        self._forward = forward
        self._strict = strict
        self._inlined: dict[tuple[str, bool], Conversation] | None = None
        """The conversation with its URLs fetched, by the provider dialect that needs that and whether it is covered."""
        self._ways = ways
        self._conversation: Conversation | None = None
        self.guard: Guard | None = None
        """What may change or end the answer."""
        self.cover: Cover | None = None
        """What those get who may not see the request as it is."""
        self.peek = peek

    @property
    def conversation(self) -> Conversation:
        """The request, read whole; BadRequest when it cannot be. It is the client's own: what goes out is `seen_by`."""
        if self._conversation is None:
            self._conversation = self._language.read_request(self._body, **self._ways.read)
        return self._conversation

    @property
    def ways(self) -> Ways:
        """What the client said outside the body."""
        return self._ways

    def seen_by(self, target: Target) -> Conversation:
        """The request as `target` may see it."""
        return self.cover.conversation if self.cover is not None and self._covered(target) else self.conversation

    def restored(self, reply: Reply, target: Target) -> Reply:
        """What the client would get of an answer of `target`."""
        return self.cover.guard.seen(reply) if self.cover is not None and self._covered(target) else reply

    def _covered(self, target: Target) -> bool:
        return self.cover is not None and self.cover.hides(target.deployment)

    @property
    def effects(self) -> Effects:
        """What it would mean to carry it out twice. Words are looked for, not fields: one too many only takes care."""
        body = self._body
        if b'"mcp' in body:  # tools of Anthropic and OpenAI that the provider runs, anywhere in the world
            return "acts"
        if self._client == "responses":
            echo = responses.echo(body)
            if bytes(echo.background) == b"true":
                return "acts"
            return "keeps" if echo.stored else "cost"
        return "keeps" if _STORED.search(body) else "cost"

    async def ready(self, target: Target) -> None:
        """Fetches what URLs point at, where `target` takes bytes only (call/inline.py).

        Raises BadRequest for one that cannot be fetched, LossRefused where the configuration lets none be.
        """
        dialect = target.dialect
        if dialect == self._client or self._inlined_for(target) is not None:
            return
        if dialect not in BYTES_ONLY and target.speaks(self._client):
            return
        kinds = FETCHED[dialect]
        if target.fetch is None:
            if wanted := urls(self.seen_by(target), kinds):
                raise LossRefused(
                    f"{target.name} takes no URLs, and this gateway does not fetch them (fetch_urls: false)",
                    hint="send the data itself",
                    param=next(iter(wanted.values())),
                )
            return
        conversation = await inline(self.seen_by(target), target.fetch, kinds=kinds)
        if conversation is not None:
            self._inlined = {**(self._inlined or {}), (dialect, self._covered(target)): conversation}

    def _inlined_for(self, target: Target) -> Conversation | None:
        return None if self._inlined is None else self._inlined.get((target.dialect, self._covered(target)))

    def prepare(self, target: Target) -> Prepared:
        if self.cover is not None and self._covered(target):
            return self._translate(target, self.cover.guard)
        if not target.speaks(self._client) or self._inlined_for(target) is not None:
            return self._translate(target, self.guard)
        if self.guard is None:
            return self._pass_through(target)
        if self._client not in PROVIDER:
            return self._translate(target, self.guard)
        prepared, include = self._pass_through(target), self.peek.include_usage
        return opened(prepared, self._language, self.guard, self._ways, Translation, target.model, include=include)

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
        if target.rewrite is not None:
            body = target.rewrite(body)
        if losses:
            refuse_losses(losses, target, self._strict)
        stream = peek.stream
        prepared = Prepared(
            target.head(client, stream, self._forward),
            body,
            losses,
            _READ_RECEIPT[client],
            _StreamRelay(language, not peek.include_usage, self._ways.stream) if stream else no_stream,
            language.read_error,
        )
        prepared.passes = True
        if stream:
            prepared.as_stream = getattr(language, "as_stream", None)
        return prepared

    def _translate(self, target: Target, guard: Guard | None) -> Prepared:
        client, provider = self._language, PROVIDER[target.dialect]
        losses: Losses = []
        conversation = self._inlined_for(target) or self.seen_by(target)
        conversation = msgspec.structs.replace(conversation, model=target.model)
        try:
            body = provider.write_request(conversation, losses, target.traits)
        except BadRequest as error:
            error.param = in_words(conversation, [error.param])[0] if error.param else None
            raise
        if losses:
            losses[:] = in_words(conversation, losses)
        refuse_losses(losses, target, self._strict)
        if target.rewrite is not None:
            body = target.rewrite(body)
        created = int(time.time())
        options: dict[str, Any] = {}
        namer = getattr(provider, "json_tool_name", None)
        if namer is not None and (tool := namer(conversation, target.traits)):
            options["json_tool"] = tool
        if target.dialect == "converse":
            options["model"] = target.model  # its answers name none
        ways, include = self._ways, self.peek.include_usage

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            reply = provider.read_reply(answer, **options)
            if guard is not None:
                guard.again = lambda: read(answer)[0]
                reply = guard.reply(reply)
            reply.model = reply.model or target.model  # some answers name none
            finish: Finish | None = reply.choices[0].finish if reply.choices else None
            written = client.write_reply(reply, losses, created, **ways.write)
            return written, Receipt(reply.id, reply.model, reply.usage, finish, None)

        def write(identity: str, model: str) -> Any:
            return client.StreamWriter(identity, model or target.model, created, include, **ways.write, **ways.stream)

        def relay() -> Relay:
            reader = provider.StreamReader(**options)
            return Translation(reader if guard is None else guard.reader(reader), write)

        forward = self._forward if target.dialect == self._client else None
        head = target.head(target.dialect, self.peek.stream, forward)
        prepared = Prepared(head, body, losses, read, relay, provider.read_error)
        if self.peek.stream:
            prepared.as_stream = getattr(provider, "as_stream", None)
        return prepared


class _StreamRelay:
    """Makes the relay of a passed-through stream."""

    __slots__ = ("_language", "_strip", "_ways")

    def __init__(self, language: ModuleType, strip: bool, ways: Mapping[str, Any]) -> None:
        self._language = language
        self._strip = strip
        self._ways = ways

    def __call__(self) -> Relay:
        relay: Relay = self._language.StreamRelay(self._strip, **self._ways)
        return relay


def _receipt_reader(language: ModuleType) -> Callable[[bytes], tuple[bytes, Receipt]]:
    mend: Callable[[bytes], bytes] | None = getattr(language, "mend_reply", None)

    def read(answer: bytes) -> tuple[bytes, Receipt]:
        return answer if mend is None else mend(answer), language.read_receipt(answer)

    return read


_READ_RECEIPT = {name: _receipt_reader(language) for name, language in CLIENT.items()}


class Translation:
    """A relay between two dialects: canonical events in the middle."""

    __slots__ = (
        "_make", "_reader", "_source", "complete", "failed", "id", "model", "output_bytes", "started", "usage",
        "writer",
    )  # fmt: skip

    def __init__(self, reader: Any, make: Callable[[str, str], Any]) -> None:
        self._reader = self._source = reader
        self._make = make
        self.writer: Any = None
        """The client's StreamWriter, once something was written."""
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0

    @property
    def guard(self) -> Any:
        """What the answer is read through (guarded.py), None where it is not."""
        return getattr(self._source, "guard", None)

    def read_through(self, wrap: Callable[[Any], Any]) -> None:
        """Puts `wrap(reader)` in the place of the reader."""
        self._reader = wrap(self._reader)

    def feed(self, chunk: bytes) -> bytes:
        return self._write(self._reader.feed(chunk))

    def close(self) -> bytes:
        out = self._write(self._reader.close())
        self.complete = self._reader.complete
        waits = getattr(self._source, "waiting", False)
        if self.complete and self.failed is None and self.writer is not None and not waits:
            out += self.writer.close()
        return out

    def resumed(self, events: list[Event]) -> bytes:
        """The last bytes, of events that were kept back when the stream was closed."""
        out = self._write(events)
        self.complete = self._reader.complete
        return out + self.writer.close() if self.complete and self.failed is None and self.writer is not None else out

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        """The events that end the stream broken."""
        if self.writer is None:
            self.writer = self._make(self.id, self.model)
        failure: bytes = self.writer.fail(error, request_id)
        return failure

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
            elif kind is AudioDelta:
                self.started = True
                self.output_bytes += len(event.transcript)  # type: ignore[union-attr]
            elif kind is ToolStarted or kind is OpaqueDelta or kind is MediaDelta:
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
            if self.writer is None:
                self.writer = self._make(self.id, self.model)
            out.append(self.writer.write(event))
        return out[0] if len(out) == 1 else b"".join(out)


def stream_failure(client: str, error: FreeholdError, request_id: str, model: str, ways: Ways = _USUAL) -> bytes:
    """Returns the events that end a broken stream in the client's dialect."""
    writer = CLIENT[client].StreamWriter(request_id, model, int(time.time()), False, **ways.stream)
    failure: bytes = writer.fail(error, request_id)
    return failure
