"""What is asked of an upstream, whatever the deployment: `prepare` turns the client's request into that provider's
bytes, and brings back what is needed to turn the answer into the client's.

Same dialect on both sides: the client's bytes pass through, but for what must change. Different dialects: through the
canonical conversation, read once per request and written once per attempt. The operations stand in talk.py,
operations_text.py and operations_media.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from freehold.call.retries import Effects
from freehold.call.target import Target
from freehold.dialects.conversation import Failed, Losses, Usage
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.errors import InternalError, LossRefused, ProviderError

AnswerType = Callable[[Mapping[bytes, bytes]], bytes]
_NONE: Mapping[str, Any] = {}


class Ways(Struct, frozen=True):
    """What a client said outside the body, or wants repeated in the answer: arguments for its dialect's verbs."""

    read: Mapping[str, Any] = _NONE
    """For `read_request`: the model and the stream flag, where they stand in the path (Gemini)."""
    write: Mapping[str, Any] = _NONE
    """For `write_reply` and `StreamWriter`: what the answer repeats of the request (Responses)."""
    stream: Mapping[str, Any] = _NONE
    """For `StreamWriter` and `StreamRelay`: the form of the stream."""


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

    answer_type: AnswerType | None = None
    """The client's Content-Type from the upstream's headers, where an answer need not be JSON or events."""
    more: Sequence[bytes] = ()
    """Further bodies to be sent one after another, where one attempt takes several calls (see `Batched`)."""
    spent: Usage | None = None
    """What the answers to the bodies before have cost, when a later one fails."""
    as_stream: Callable[[bytes], bytes] | None = None
    """Turns a whole answer, which some hosts give to who asked for a stream, into that stream's bytes."""
    heard: Callable[[Mapping[bytes, bytes]], None] | None = None
    """Takes the header fields of each answer before it is read, where they say what the body does not."""
    passes: bool = False
    """The client's own dialect is spoken upstream, so what the provider keeps is known there by the same id."""

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

    def keep(self, answer: bytes) -> None:
        """Takes the answer to a body that is not the last of `more`."""
        raise InternalError("this operation has one body")


class Operation(Protocol):
    """One request of one client, before it is known who answers."""

    peek: Peek

    def prepare(self, target: Target) -> Prepared:
        """Raises BadRequest, or LossRefused when the provider cannot carry the request and strict is on."""
        ...


def effects(operation: Operation) -> Effects:
    """What doing it twice would mean (retries.py); an operation that does not say costs money."""
    found: Effects = getattr(operation, "effects", "cost")
    return found


def refuse_losses(losses: Losses, target: Target, strict: bool) -> None:
    """Raises LossRefused where something is lost and the client or the configuration allows no loss."""
    if losses and strict:
        raise LossRefused(
            f"{target.name} cannot carry {', '.join(losses)}",
            hint="leave it out, ask another model, or allow losses (strict: false, x-freehold-strict: false)",
            param=losses[0],
        )


def no_stream() -> Relay:
    raise InternalError("this operation has no stream")
