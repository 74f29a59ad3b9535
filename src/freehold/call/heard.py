"""An operation whose answer is also read, whole, on its way to the client, to be checked before it is shown.

The client's bytes are made as ever, by the operation itself. Beside that every answer, streamed or not, becomes the
canonical reply that `answered` returns. Where log-probabilities are wanted and the client did not ask for any, they are
asked for and taken out again: what the client gets is what it would have got.

One `Heard` is for one attempt at one deployment.
"""

from typing import Any, cast

import msgspec
from msgspec import Raw

from freehold.call.languages import PROVIDER
from freehold.call.operation import Prepared, Relay
from freehold.call.rewritten import rewritten
from freehold.call.sample import reading
from freehold.call.talk import Talk, Translation
from freehold.call.target import Target
from freehold.dialects.conversation import Conversation, Event, LogprobsDelta, Reply
from freehold.dialects.gathered import Gatherer
from freehold.dialects.receipt import Receipt
from freehold.errors import InternalError, UpstreamBroken

WITH_LOGPROBS = frozenset({"chat", "ollama"})
"""Dialects in which log-probabilities are asked for by two members of the body. All engines of ours speak chat."""
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OTHERS = 2
"""Alternatives of each token: the best of them that was not taken gives the margin."""


def can_hear(conversation: Conversation, target: Target) -> bool:
    """Whether the answers of `target` to this client can be read here."""
    return not target.speaks(conversation.dialect) or conversation.dialect in PROVIDER


def gives_logprobs(conversation: Conversation, target: Target) -> bool:
    """Whether `target` may be asked for log-probabilities, and they can be taken out again."""
    if not target.traits.sampling:
        return False
    if conversation.logprobs:
        return True
    if target.speaks(conversation.dialect):
        return conversation.dialect == "chat"
    return target.dialect in WITH_LOGPROBS


class Heard:
    """Implements `call.operation.Operation`."""

    __slots__ = ("_failure", "_gatherer", "_logprobs", "_operation", "_reader", "_reply", "peek")

    def __init__(self, operation: Talk, *, logprobs: bool = False) -> None:
        """`logprobs`: ask for them where the client has not."""
        self._operation = operation
        self._logprobs = logprobs and not operation.conversation.logprobs
        self._reply: Reply | None = None
        self._gatherer: Gatherer | None = None
        self._reader: _Tap | None = None
        self._failure: Exception | None = None
        self.peek = operation.peek

    async def ready(self, target: Target) -> None:
        await self._operation.ready(target)

    def prepare(self, target: Target) -> Prepared:
        """Raises what the operation itself raises."""
        prepared = self._operation.prepare(target)
        if self._logprobs:
            prepared = _asking(prepared)
        conversation = self._operation.conversation
        language = PROVIDER[conversation.dialect if prepared.passes else target.dialect]
        options = {} if prepared.passes else reading(target, conversation)
        read, relay = prepared.read, prepared.relay

        def hear(answer: bytes) -> tuple[bytes, Receipt]:
            try:
                self._reply = self._operation.restored(language.read_reply(answer, **options), target)
            except Exception as error:
                self._failure = error
            return read(answer)

        def hear_stream() -> Relay:
            self._gatherer = gatherer = Gatherer()
            made = relay()
            if isinstance(made, Translation):
                made.read_through(self._tap)
                return made
            self._reader = _Tap(language.StreamReader(**options), gatherer, strip=False)
            return cast("Relay", _Overheard(made, self._reader))

        prepared.read, prepared.relay = hear, hear_stream
        return prepared

    def _tap(self, reader: Any) -> "_Tap":
        assert self._gatherer is not None
        self._reader = _Tap(reader, self._gatherer, strip=self._logprobs)
        return self._reader

    def answered(self) -> Reply:
        """The whole reply, to be asked for once the answer has ended. Raises FreeholdError where it cannot be told."""
        if self._reader is not None and self._gatherer is not None:
            self._reader.end()
            self._failure = self._failure or self._reader.failure
            if self._failure is None:
                if self._gatherer.failed is not None or not self._reader.complete:
                    raise UpstreamBroken("the provider's stream ended before its answer was complete")
                return self._gatherer.reply()
        if self._reply is None:
            name = type(self._failure).__name__ if self._failure is not None else "nothing came"
            raise InternalError(f"the answer could not be read ({name})")
        return self._reply


class _Tap:
    """A StreamReader whose events are gathered too. `strip`: log-probabilities go no further."""

    __slots__ = ("_closing", "_gatherer", "_reader", "_strip", "failure")

    def __init__(self, reader: Any, gatherer: Gatherer, *, strip: bool) -> None:
        self._reader = reader
        self._gatherer = gatherer
        self._strip = strip
        self._closing: list[Event] | None = None
        self.failure: Exception | None = None

    @property
    def complete(self) -> bool:
        complete: bool = self._reader.complete
        return complete

    def feed(self, chunk: bytes) -> list[Event]:
        return self._gathered(self._reader.feed(chunk))

    def end(self) -> None:
        """Reads what the end of the body says, and keeps it for `close`."""
        if self._closing is None:
            self._closing = self._gathered(self._reader.close())

    def close(self) -> list[Event]:
        self.end()
        events, self._closing = self._closing or [], []
        return events

    def _gathered(self, events: list[Event]) -> list[Event]:
        self._gatherer.add(events)
        if self._strip:
            return [event for event in events if not isinstance(event, LogprobsDelta)]
        return events


class _Overheard:
    """A relay of a passed-through stream, whose bytes are also read. What cannot be read still passes."""

    __slots__ = ("_reader", "_relay")

    def __init__(self, relay: Relay, reader: _Tap) -> None:
        self._relay = relay
        self._reader = reader

    def feed(self, chunk: bytes) -> bytes:
        if self._reader.failure is None:
            try:
                self._reader.feed(chunk)
            except Exception as error:
                self._reader.failure = error
        return self._relay.feed(chunk)

    def close(self) -> bytes:
        return self._relay.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)


# Log-probabilities


def _asking(prepared: Prepared) -> Prepared:
    """`prepared` with a body that asks for them, and an answer without them. The events of a translated stream lose
    theirs in `_Tap`."""
    fields = _FIELDS.decode(prepared.body)
    fields["logprobs"], fields["top_logprobs"] = Raw(b"true"), Raw(b"%d" % _OTHERS)
    body = msgspec.json.encode(fields)
    if prepared.passes:
        return rewritten(prepared, body, _Without)
    read = prepared.read
    prepared.body, prepared.read = body, lambda answer: read(_without(answer))
    return prepared


class _Without:
    """Implements `call.rewritten.Rewriter`: answers without their log-probabilities."""

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        return _rid(completion)

    def chunk(self, chunk: dict[str, Any]) -> list[dict[str, Any]] | None:
        return [_rid(chunk)]


def _rid(fields: dict[str, Any]) -> dict[str, Any]:
    """Chat completions have them in their choices, Ollama's answers beside everything else."""
    choices = fields.get("choices")
    if isinstance(choices, list):
        choices = [_less(choice) if isinstance(choice, dict) else choice for choice in choices]
        return {**fields, "choices": choices}
    return _less(fields)


def _less(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "logprobs"}


def _without(answer: bytes) -> bytes:
    """What is no JSON object is for the reader to complain of."""
    try:
        return msgspec.json.encode(_rid(_OBJECT.decode(answer)))
    except _MALFORMED:
        return answer
