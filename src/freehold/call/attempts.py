"""A plan carried out: one attempt after another until somebody answers.

First each deployment of the plan gets its turn, in order. When all have failed, those whose error says that the same
place may answer later get up to `retries` more, after the pause they asked for (Retry-After) or a growing one with
jitter. A failure never adds a deployment to the plan. Once the client has seen a byte of content nothing is tried
again: a second answer would be mixed into the first.

A streamed answer is committed to when its first content arrives. What came before it (role, message_start) is held
back until then, so that a stream that dies at once can still fail over; at most `PRELUDE` seconds, so that a model
which is only slow is not mistaken for a dead one.

An owned engine may not be loaded. Then the attempt waits at its gate (serve/engines.py) before anything is sent or
written down. An engine that dies or is taken out of service while nothing of its answer has been seen is not the
request's fault: it is sent again, to the next deployment or to the engine's next life, up to `REPLAYS` times.

Every attempt leaves an intent before its first byte goes out and a settlement when it is over; `Recorder` does both.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from freehold.call.breaker import Breaker
from freehold.call.inline import FETCHED
from freehold.call.operation import Operation, Prepared, Relay
from freehold.call.rewritten import rewritten
from freehold.call.target import EngineGate, Target
from freehold.call.transport import Connection, Flight, Hold
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import (
    BadRequest,
    CallerError,
    EngineError,
    FreeholdError,
    LossRefused,
    NoCandidate,
    UpstreamBroken,
    UpstreamCut,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamUnreachable,
)

PRELUDE = 2.0
MAX_PAUSE = 20.0
"""Seconds. A provider that asks for more is not waited for: the client gets the error and its Retry-After at once."""
MAX_ERROR_BODY = 256 * 1024
MAX_ANSWER = 256 * 1024 * 1024
REPLAYS = 3
"""Whatever `retries` says: an engine is ours, and so is its death. But a request that kills engines is not sent for
ever."""
REPLAY_PAUSE = 0.1
"""Seconds until a request is sent again: by then it is known whether the engine has died."""


class Recorder(Protocol):
    """Writes down each attempt. `begin` raises when it cannot be written: then nothing may be called."""

    def begin(self, target: Target, attempt: int) -> str: ...

    def end(self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None) -> None: ...


class Answer:
    """What came of a plan. A whole answer has `body`; a stream has `relay`, its `first` client bytes, `connection`."""

    passes = False
    """The client's own dialect was spoken upstream."""
    content_type: bytes | None = None
    """The client's Content-Type, where it is not the dialect's usual one."""

    def __init__(self, target: Target, attempts: int, status: int, losses: Losses) -> None:
        self.target = target
        self.attempts = attempts
        self.status = status
        self.losses = losses
        self.body = b""
        self.receipt: Receipt | None = None
        self.relay: Relay | None = None
        self.first = b""
        self.connection: Connection | None = None


async def call(
    targets: Sequence[Target], operation: Operation, flight: Flight, recorder: Recorder, *, retries: int, total: float
) -> Answer:
    """Tries `targets` in order. Raises the last error, which is the most telling one for the client.

    `total` is the number of seconds all attempts together may take.
    """
    end = flight.started + total
    waiting = list(targets)
    again: list[tuple[Target, FreeholdError]] = []
    attempts = 0
    last: FreeholdError | None = None
    while True:
        for target in waiting:
            attempts += 1
            try:
                gate = target.engine
                if gate is None:
                    return await _attempt(target, operation, flight, recorder, attempts, end)
                return await _at_engine(target, gate, operation, flight, recorder, attempts, end)
            except NoCandidate as resting:
                # The breaker has just opened: the failures that opened it say more.
                last = last or resting
                continue
            except FreeholdError as failure:
                last = failure
            if isinstance(last, CallerError) or flight.failure is not None:
                raise last
            if last.retry == "no" and not isinstance(last, LossRefused):
                raise last
            if last.retry == "same" or isinstance(last, UpstreamBroken):
                again.append((target, last))
        repeats = attempts - len(targets)
        allowed = max(retries, REPLAYS) if again and isinstance(again[0][1], EngineError) else retries
        if last is not None and (repeats >= allowed or not again):
            raise last
        target, cause = again.pop(0)
        await _pause(flight, cause, repeats, end)
        waiting = [target]


async def _pause(flight: Flight, failure: FreeholdError, repeats: int, end: float) -> None:
    """Waits before a repeat. Raises `failure` itself when the pause would be too long to be worth it."""
    loop = asyncio.get_running_loop()
    seconds = REPLAY_PAUSE if isinstance(failure, EngineError) else failure.retry_after
    if seconds is None:
        seconds = min(8.0, 0.5 * 2**repeats) * (0.5 + random.random() / 2)  # noqa: S311  jitter, not a secret
    if seconds > MAX_PAUSE or loop.time() + seconds >= end:
        raise failure
    pause: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _over, pause)
    try:
        await flight.wait(pause)
    finally:
        timer.cancel()


def _over(pause: "asyncio.Future[None]") -> None:
    if not pause.done():
        pause.set_result(None)


async def _at_engine(
    target: Target, gate: EngineGate, operation: Operation, flight: Flight, recorder: Recorder, number: int, end: float
) -> Answer:
    """An attempt at an owned engine. Whether it succeeds or fails, the flight holds no more than one place."""
    life = gate.enter(flight)
    if life is None:
        # A request that no engine could answer is told so at once and waits for nothing.
        _guarded(target, operation.prepare(target))
        life = await gate.wait(flight, end)
    target.follow(life)
    try:
        return await _attempt(target, operation, flight, recorder, number, end)
    except BaseException as error:
        flight.let_go()
        if isinstance(error, UpstreamBroken | UpstreamUnreachable):
            raise engine_failure(life, error) from error
        raise


def engine_failure(life: Hold, error: FreeholdError) -> EngineError:
    """What a broken answer of an owned engine means: it has died or was taken out of service if the connection broke,
    and otherwise could not make this answer, such as llama.cpp one whose words its parser does not understand."""
    if not life.reason and not isinstance(error, UpstreamCut | UpstreamUnreachable):
        return EngineError(
            f"the engine could not answer: {error.message}",
            code="engine_answer",
            status=502,
            hint="ask in other words, or another model",
        )
    wedged = life.reason.startswith("wedged")
    return EngineError(
        "the engine stopped working and was taken out of service"
        if wedged
        else f"the engine ended while it worked on this: {error.message}",
        code="engine_wedged" if wedged else "engine_died",
        retry="same",
        hint="send the request again",
        retry_after=1.0,
    )


def _guarded(target: Target, prepared: Prepared) -> Prepared:
    if target.guard is not None:
        for body in (prepared.body, *prepared.more):
            target.guard(body)
    if target.assist is not None and (assisted := target.assist(prepared.body, target.can)) is not None:
        return rewritten(prepared, *assisted)
    return prepared


async def _attempt(
    target: Target, operation: Operation, flight: Flight, recorder: Recorder, number: int, end: float
) -> Answer:
    loop = asyncio.get_running_loop()
    breaker, pool = target.breaker, target.pool
    peek = operation.peek
    if (peek.images or peek.documents) and target.dialect in FETCHED:
        await _ready(target, operation, flight, end)
    prepared = operation.prepare(target)
    if target.guard is not None:
        prepared = _guarded(target, prepared)
    now = flight.sent = loop.time()
    if breaker.tripped and breaker.blocks(now):
        raise NoCandidate(f"{target.name} is resting after repeated failures", retry="other")
    call_id = recorder.begin(target, number)
    breaker.begin(now)
    answer = Answer(target, number, 0, prepared.losses)
    answer.passes = prepared.passes
    connection: Connection | None = None
    try:
        deadline = now + target.timeouts.first_byte
        flight.deadline = deadline if deadline < end else end
        connection = pool.idle(now) or await pool.acquire(flight)
        head = b"%bx-client-request-id: %b\r\n" % (prepared.head, call_id.encode())
        body = prepared.body if not target.added else target.filled(prepared.body)
        _send(connection, flight, head if target.auth is None else await target.signed(head, body, flight), body)
        for body in prepared.more:
            answered = await connection.read(MAX_ANSWER)
            if connection.status != 200:
                raise _refusal(prepared, target, connection, answered)
            if prepared.heard is not None:
                prepared.heard(connection.fields())
            prepared.keep(answered)
            connection.finish()
            connection = pool.idle(loop.time()) or await pool.acquire(flight)
            body = body if not target.added else target.filled(body)
            _send(connection, flight, await target.signed(head, body, flight), body)
        if operation.peek.stream:
            await _open_stream(answer, prepared, connection, flight, end)
        else:
            await _whole(answer, prepared, connection)
    except BaseException as error:
        # A server may close a kept connection at any time: that says nothing of its health.
        stale = connection is not None and connection.used > 1 and not connection.headers
        if connection is not None:
            connection.finish()
        _settle_failure(error, answer, breaker, recorder, loop.time(), prepared.spent, stale)
        raise
    breaker.succeed()
    return answer


async def _ready(target: Target, operation: Operation, flight: Flight, end: float) -> None:
    """What an operation has to wait for before it can be prepared; most have nothing."""
    ready = getattr(operation, "ready", None)
    if ready is not None:
        flight.deadline = end
        await flight.wait(asyncio.ensure_future(ready(target)))


def _send(connection: Connection, flight: Flight, head: bytes, body: bytes) -> None:
    connection.send(flight, b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))


async def _whole(answer: Answer, prepared: Prepared, connection: Connection) -> None:
    body = await connection.read(MAX_ANSWER)
    answer.status = status = connection.status
    if status != 200:
        raise _refusal(prepared, answer.target, connection, body)
    if prepared.answer_type is not None:
        answer.content_type = prepared.answer_type(connection.fields())
    if prepared.heard is not None:
        prepared.heard(connection.fields())
    connection.finish()
    answer.body, answer.receipt = prepared.read(body)
    failed = answer.receipt.failed
    if failed is not None:
        raise UpstreamBroken(f"the provider sent an error as an answer: {failed.message}", code=failed.code)


async def _open_stream(answer: Answer, prepared: Prepared, connection: Connection, flight: Flight, end: float) -> None:
    loop = asyncio.get_running_loop()
    answer.status = status = await connection.head()
    if status != 200:
        raise _refusal(prepared, answer.target, connection, await connection.read(MAX_ERROR_BODY))
    answer.relay = relay = prepared.relay()
    answer.connection = connection
    if prepared.answer_type is not None:
        answer.content_type = prepared.answer_type(connection.fields())
    elif prepared.as_stream is not None and _is_json(connection):
        _from_whole(answer, relay, prepared.as_stream(await connection.read(MAX_ANSWER)))
        return
    committed = loop.time() + PRELUDE
    held = []
    while not relay.started:
        chunk = await connection.chunk()
        if not chunk:
            held.append(relay.close())
            if relay.failed is None and not relay.complete:
                raise UpstreamBroken("the provider's stream ended without an answer")
        else:
            held.append(relay.feed(chunk))
        if relay.failed is not None:
            raise UpstreamBroken(f"the provider failed in its stream: {relay.failed.message}", code=relay.failed.code)
        if not chunk or loop.time() > committed:
            break
    answer.first = b"".join(held)
    flight.deadline = min(end, loop.time() + answer.target.timeouts.idle)


def _is_json(connection: Connection) -> bool:
    """Whether the answer is one JSON value although a stream was asked for, as some hosts do it."""
    kinds = [value for name, value in connection.headers if name.lower() == b"content-type"]
    return bool(kinds) and kinds[-1].partition(b";")[0].strip().lower() == b"application/json"


def _from_whole(answer: Answer, relay: Relay, events: bytes) -> None:
    """Lets the relay read the stream that a whole answer would have been."""
    answer.first = relay.feed(events)
    if relay.failed is not None:
        raise UpstreamBroken(f"the provider sent an error as an answer: {relay.failed.message}", code=relay.failed.code)


def _refusal(prepared: Prepared, target: Target, connection: Connection, body: bytes) -> FreeholdError:
    status = connection.status
    if status == 500 and target.callers_fault is not None and target.callers_fault(body):
        status = 400
    if status < 400:
        return UpstreamBroken(f"the provider answered with status {status}, which is no answer")
    return prepared.read_error(status, connection.fields(), body)


def _settle_failure(
    error: BaseException,
    answer: Answer,
    breaker: Breaker,
    recorder: Recorder,
    now: float,
    spent: Usage | None,
    stale: bool,
) -> None:
    """Books a failed attempt, and tells the breaker whether it was the deployment's fault."""
    relay = answer.relay
    usage = relay.usage if relay is not None else spent
    if isinstance(error, FreeholdError):
        code = error.code
        gone = error.fault == "caller" and not isinstance(error, BadRequest)
        blame = error.fault in ("provider", "engine") and not isinstance(error, UpstreamRefused | UpstreamLimited)
        if stale and isinstance(error, UpstreamBroken):
            blame = False
        if answer.target.engine is not None and answer.status < 500:
            blame = False  # whether it still works is for the steward to judge
    else:
        code, gone, blame = "internal_error", isinstance(error, asyncio.CancelledError), False
    if blame:
        breaker.fail(now)
    elif isinstance(error, UpstreamRefused | UpstreamLimited):
        breaker.succeed()
    else:
        breaker.abandon()
    recorder.end("cancelled" if gone else "failed", answer.status, usage, code, None)
