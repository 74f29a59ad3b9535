"""Answers shown to the guard model before the client sees them (`checks.guard.answers`).

What is judged is what the client would get, in whatever dialect: the texts of its bytes, thoughts and the arguments of
tools included. A stream is read to its end first, so nothing of it is seen before the verdict, and what is blocked is a
plain error. It was made and is paid for all the same.
"""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from freehold.call.answer import Answer
from freehold.call.operation import Operation
from freehold.call.talk import Talk, Translation
from freehold.call.transport import Flight
from freehold.check.body import decoded
from freehold.dialects.sse import SseSplitter, parse_event
from freehold.errors import FreeholdError, InternalError, PolicyError, UpstreamBroken
from freehold.labels import Label
from freehold.labels.lattice import HIGHEST
from freehold.serve.cascade import MOST_HELD
from freehold.serve.safety.checks import BLOCKED
from freehold.serve.safety.consulting import For
from freehold.serve.safety.guarded_text import said_by_user
from freehold.serve.safety.guards import FAILED, HARM

if TYPE_CHECKING:
    from freehold.serve.recorder import RequestRecorder

SAID = frozenset(
    {
        "content", "text", "delta", "partial_json", "arguments", "refusal", "thinking", "reasoning",
        "reasoning_content", "reasoning_text", "summary", "transcript", "response", "tool_plan", "input", "args",
    }
)  # fmt: skip
"""Fields that hold what a model says, over all dialects; what is below them is said as well."""
_GIVEN = frozenset({"input", "args"})
"""Of these, arguments of tools, the names of fields are the tool's own."""
_UNSAID = frozenset({"type", "role", "id", "signature", "data", "name", "index", "status"})


async def judge(
    recorder: "RequestRecorder", operation: Operation, flight: Flight, answer: Answer, request: str
) -> None:
    """Returns when an answer may be shown; a stream's is then all in `answer.first`. Raises PolicyError for one that
    may not, after it was settled, and what reading it to its end raises. `request` is the request's id."""
    gateway, principal, known = recorder.gateway, recorder.principal, recorder.known
    guards, ruling = gateway.guards, gateway.checks.ruling(principal.name, known.asked)
    if guards is None or ruling is None or ruling.monitor or not isinstance(operation, Talk):
        return
    actions = {kind: ruling.request[kind] for kind in (HARM, FAILED)}
    if set(actions.values()) == {"allow"}:
        return
    failure: FreeholdError | None = None
    try:
        if answer.relay is not None:
            await _to_its_end(answer, flight)
        text = said(answer.first if answer.relay is not None else answer.body)
        behalf = For(principal.name, request, known.label or Label(HIGHEST, gateway.rulebook.rules.compartments))
        try:
            conversation = operation.conversation
        except FreeholdError:
            conversation = said_by_user("")
        kind = await guards.answer(gateway, conversation, text, behalf)
        if kind is None:
            return
        if actions[kind] == "allow":
            recorder.note(answer, f"{kind}=allow")
            return
        recorder.note(answer, f"{kind}=block")
        gateway.metrics.check("answer", kind, "block")
        what = "the guard model gave no verdict" if kind == FAILED else "it holds what is not let through here"
        failure = PolicyError(
            f"the answer was blocked ({kind}): {what}",
            status=400,
            code=BLOCKED,
            hint="ask for something else",
        )
        raise failure
    except FreeholdError as error:
        _settle(answer, recorder, error)
        raise
    except BaseException:
        _settle(answer, recorder, InternalError("an answer was not judged"))
        raise


def _settle(answer: Answer, recorder: "RequestRecorder", error: FreeholdError) -> None:
    if answer.relay is not None:
        answer.over(None if error.fault == "policy" else error, asyncio.get_running_loop().time())
    recorder.finish(answer, error)


async def _to_its_end(answer: Answer, flight: Flight) -> None:
    """Reads a stream whole; all that the client gets of it is then in `answer.first`. Raises UpstreamBroken."""
    relay, connection = answer.relay, answer.connection
    if relay is None or connection is None:
        return
    now = asyncio.get_running_loop().time
    held, size = [answer.first], len(answer.first)
    end = flight.started + answer.target.timeouts.total
    guard = getattr(relay, "guard", None)
    while relay.failed is None and (guard is None or guard.blocked is None) and (chunk := await connection.chunk()):
        flight.deadline = min(end, now() + answer.target.timeouts.idle)
        held.append(relay.feed(chunk))
        size += len(held[-1])
        if size > MOST_HELD:
            raise UpstreamBroken(f"the answer is over {MOST_HELD} bytes, too long to be held back")
    if relay.failed is not None:
        raise UpstreamBroken(f"the provider failed in the middle of its answer: {relay.failed.message}")
    held.append(relay.close())
    asking = getattr(guard, "settle", None)
    if asking is not None:
        held.append(await asking(relay))
    if not relay.complete:
        raise UpstreamBroken("the provider's stream ended before its answer was complete")
    answer.first = b"".join(held)
    answer.relay = Ended(relay) if isinstance(relay, Translation) else EndedAsIs(relay)


class Ended(Translation):
    """A translated stream that was closed already."""

    __slots__ = ()

    def __init__(self, relay: Translation) -> None:
        for name in Translation.__slots__:
            setattr(self, name, getattr(relay, name))

    def feed(self, chunk: bytes) -> bytes:
        return b""

    def close(self) -> bytes:
        return b""


class EndedAsIs:
    """A stream that passed through and was closed already."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay

    def feed(self, chunk: bytes) -> bytes:
        return b""

    def close(self) -> bytes:
        return b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)


def said(body: bytes) -> str:
    """What an answer says, from the bytes of any dialect: one JSON value, events, or a line for each piece."""
    whole = decoded(body)
    if whole is not None:
        return "".join(_said(whole))
    splitter = SseSplitter()
    events = [parse_event(raw) for raw in (*splitter.feed(body), splitter.close())]
    values = [decoded(event[1]) for event in events if event is not None]
    if not any(values):
        values = [decoded(line) for line in body.splitlines()]
    return "".join(piece for value in values if value is not None for piece in _said(value))


def _said(value: Any, *, under: bool = False, given: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        if under:
            yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if given or key not in _UNSAID or (under and isinstance(one, dict | list)):
                yield from _said(one, under=under or key in SAID, given=given or key in _GIVEN)
    elif isinstance(value, list):
        for one in value:
            yield from _said(one, under=under, given=given)
