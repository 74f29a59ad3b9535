"""One attempt: an intent, a request to one deployment, and an answer or a settled failure.

A streamed answer is committed to when its first content arrives. What came before it (role, message_start) is held
back until then, so that a stream that dies at once can still fail over; at most `Early.seconds`, so that a model which
is only slow is not mistaken for a dead one. With `Early.bytes` the first bytes of content are held back as well: each
stream then begins that much later, and one that dies within them is still answered by another deployment.

An owned engine may not be loaded. Then the attempt waits at its gate (serve/engines.py) before anything is sent or
written down.

Every attempt leaves an intent before its first byte goes out and a settlement when it is over; `Recorder` does both.
The deployment's `Watch` is told what came of it: here at the end of a whole answer or a failure, and at the end of a
stream by `Answer.over`.
"""

import asyncio
import math
from collections.abc import Coroutine

from freehold.call.answer import Answer, Overtaken, Recorder, blamed, cut_off
from freehold.call.counted import Counted
from freehold.call.inline import FETCHED, watched
from freehold.call.operation import Operation, Prepared, Relay
from freehold.call.retries import fate
from freehold.call.rewritten import rewritten
from freehold.call.target import EngineGate, Target
from freehold.call.transport import Connection, Flight, Hold
from freehold.config.schema import Early
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import (
    BadRequest,
    EngineError,
    FreeholdError,
    NoCandidate,
    UpstreamBroken,
    UpstreamCut,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)

MAX_ERROR_BODY = 256 * 1024
MAX_ANSWER = 256 * 1024 * 1024
USUAL = Early()


def attempt(
    target: Target,
    operation: Operation,
    flight: Flight,
    recorder: Recorder,
    number: int,
    end: float,
    early: Early = USUAL,
    why: str = "fallback",
    patient: bool = False,
) -> Coroutine[None, None, Answer]:
    """Asks `target`. Raises FreeholdError; `flight.fate` then says what became of the body. `end`: loop time by which
    all must be over. `patient`: a stream is waited for until its first content comes, however long that takes."""
    gate = target.engine
    if gate is None:
        return _attempt(target, operation, flight, recorder, number, end, early, why, patient)
    return _at_engine(target, gate, operation, flight, recorder, number, end, early, why, patient)


async def _at_engine(
    target: Target,
    gate: EngineGate,
    operation: Operation,
    flight: Flight,
    recorder: Recorder,
    number: int,
    end: float,
    early: Early,
    why: str,
    patient: bool,
) -> Answer:
    """An attempt at an owned engine. Whether it succeeds or fails, the flight holds no more than one place."""
    life = gate.enter(flight)
    if life is None:
        # A request that no engine could answer is told so at once and waits for nothing.
        _guarded(target, operation.prepare(target))
        life = await gate.wait(flight, end)
    target.follow(life)
    try:
        return await _attempt(target, operation, flight, recorder, number, end, early, why, patient)
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
    target: Target,
    operation: Operation,
    flight: Flight,
    recorder: Recorder,
    number: int,
    end: float,
    early: Early,
    why: str,
    patient: bool,
) -> Answer:
    loop = asyncio.get_running_loop()
    watch, pool = target.watch, target.pool
    breaker = watch.breaker
    peek = operation.peek
    if (peek.images or peek.documents) and target.dialect in FETCHED:
        await _ready(watched(target, recorder.fetching, recorder.may_fetch, flight.known), operation, flight, end)
    prepared = operation.prepare(target)
    if target.guard is not None:
        prepared = _guarded(target, prepared)
    now = flight.sent = loop.time()
    if breaker.tripped and breaker.blocks(now):
        raise NoCandidate(f"{target.name} is resting after repeated failures", retry="other")
    body = prepared.body if not target.added else target.filled(prepared.body)
    entry = recorder.begin(target, number, why, body)
    watch.begin(now)
    answer = Answer(target, number, prepared.losses, entry, now, prepared.passes)
    connection: Connection | None = None
    sent = False
    try:
        deadline = now + target.timeouts.first_byte
        flight.deadline = deadline if deadline < end else end
        connection = pool.idle(now) or await pool.acquire(flight)
        head = b"%bx-client-request-id: %b\r\n" % (prepared.head, entry.call.encode())
        head = head if target.auth is None else await target.signed(head, body, flight)
        sent = True
        _send(connection, flight, head, body)
        for body in prepared.more:
            answered = await connection.read(MAX_ANSWER)
            entry.received += len(answered)
            if connection.status != 200:
                raise _refusal(prepared, target, connection, answered)
            if prepared.heard is not None:
                prepared.heard(connection.fields())
            prepared.keep(answered)
            connection.finish()
            connection = pool.idle(loop.time()) or await pool.acquire(flight)
            body = body if not target.added else target.filled(body)
            entry.also(body)
            _send(connection, flight, await target.signed(head, body, flight), body)
        if peek.stream:
            await _open_stream(answer, prepared, connection, flight, end, early, patient)
            if answer.began:
                watch.streams(answer.began - now, answer.began)
        else:
            receipt = await _whole(answer, prepared, connection)
            over = loop.time()
            usage = receipt.usage
            watch.succeed(over, over - now, usage.output if usage is not None else 0)
    except BaseException as error:
        # A server may close a kept connection at any time: that says nothing of its health.
        stale = connection is not None and connection.used > 1 and not connection.headers
        if connection is not None:
            answer.status = answer.status or connection.status
            connection.finish()
        _settle_failure(error, answer, flight, sent, loop.time(), prepared.spent, stale)
        raise
    return answer


async def _ready(target: Target, operation: Operation, flight: Flight, end: float) -> None:
    """What an operation has to wait for before it can be prepared; most have nothing."""
    ready = getattr(operation, "ready", None)
    if ready is not None:
        flight.deadline = end
        await flight.wait(asyncio.ensure_future(ready(target)))


def _send(connection: Connection, flight: Flight, head: bytes, body: bytes) -> None:
    connection.send(flight, b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))


async def _whole(answer: Answer, prepared: Prepared, connection: Connection) -> Receipt:
    body = await connection.read(MAX_ANSWER)
    answer.entry.received += len(body)
    answer.status = status = connection.status
    if answer.target.heard is not None:
        answer.target.heard(status, connection.headers)
    if status != 200:
        raise _refusal(prepared, answer.target, connection, body)
    if prepared.answer_type is not None:
        answer.content_type = prepared.answer_type(connection.fields())
    if prepared.heard is not None:
        prepared.heard(connection.fields())
    connection.finish()
    answer.body, receipt = prepared.read(body)
    answer.receipt = receipt
    failed = receipt.failed
    if failed is not None:
        raise UpstreamBroken(f"the provider sent an error as an answer: {failed.message}", code=failed.code)
    return receipt


async def _open_stream(
    answer: Answer,
    prepared: Prepared,
    connection: Connection,
    flight: Flight,
    end: float,
    early: Early,
    patient: bool,
) -> None:
    loop = asyncio.get_running_loop()
    answer.status = status = await connection.head()
    if answer.target.heard is not None:
        answer.target.heard(status, connection.headers)
    if status != 200:
        refused = await connection.read(MAX_ERROR_BODY)
        answer.entry.received += len(refused)
        raise _refusal(prepared, answer.target, connection, refused)
    answer.relay = relay = prepared.relay()
    answer.connection = counted = Counted(connection, answer.entry)
    if prepared.answer_type is not None:
        answer.content_type = prepared.answer_type(connection.fields())
    elif prepared.as_stream is not None and _is_json(connection):
        whole = await connection.read(MAX_ANSWER)
        answer.entry.received += len(whole)
        _from_whole(answer, relay, prepared.as_stream(whole))
        answer.began = loop.time()
        return
    committed = math.inf if patient else loop.time() + early.seconds
    held: list[bytes] = []
    while not relay.started:
        if not await _hold_back(relay, counted, held) or loop.time() > committed:
            break
    if relay.started:
        answer.began = loop.time()
        if early.bytes:
            await _hold_content(relay, counted, flight, held, early.bytes, answer.began + early.seconds)
    answer.first = b"".join(held)
    flight.deadline = min(end, loop.time() + answer.target.timeouts.idle)


async def _hold_back(relay: Relay, connection: Counted, held: list[bytes]) -> bool:
    """Reads a piece of a stream that nobody has seen yet; False: that was its end. Raises UpstreamBroken where it says
    that it has failed, or ends without an answer."""
    chunk = await connection.chunk()
    if not chunk:
        held.append(relay.close())
        if relay.failed is None and not relay.complete:
            raise UpstreamBroken("the provider's stream ended without an answer")
    else:
        held.append(relay.feed(chunk))
    if relay.failed is not None:
        raise UpstreamBroken(f"the provider failed in its stream: {relay.failed.message}", code=relay.failed.code)
    return bool(chunk)


class _Enough(FreeholdError):
    """The beginning of a stream was held back long enough."""


async def _hold_content(
    relay: Relay, connection: Counted, flight: Flight, held: list[bytes], size: int, until: float
) -> None:
    """Holds back the first `size` bytes of content, at most until `until`, loop time in seconds."""
    loop = asyncio.get_running_loop()
    timer = loop.call_at(until, flight.interrupt, _Enough("enough"))
    try:
        while relay.output_bytes < size and not relay.complete and loop.time() < until:
            if not await _hold_back(relay, connection, held):
                break
    except _Enough:
        pass
    finally:
        timer.cancel()


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


def _crowded(error: BaseException) -> bool:
    """Whether a failure may mean that the deployment had too much to do. A quota that is used up does not."""
    if isinstance(error, UpstreamLimited):
        return error.retry == "same"
    return isinstance(error, UpstreamOverloaded | UpstreamTimeout)


def _settle_failure(
    error: BaseException, answer: Answer, flight: Flight, sent: bool, now: float, spent: Usage | None, stale: bool
) -> None:
    """Books a failed attempt, and tells the watch whether it was the deployment's fault."""
    relay, target, status = answer.relay, answer.target, answer.status
    told = relay is not None and relay.failed is not None
    told = told or (answer.receipt is not None and answer.receipt.failed is not None)
    flight.fate = fate(error, sent=sent, status=status, told=told)
    usage = relay.usage if relay is not None else spent
    code, gone = "internal_error", isinstance(error, asyncio.CancelledError)
    if isinstance(error, FreeholdError):
        code = error.code
        gone = isinstance(error, Overtaken) or (error.fault == "caller" and not isinstance(error, BadRequest))
    watch, began = target.watch, answer.sent
    if blamed(error, target, status) and not (stale and isinstance(error, UpstreamBroken)):
        watch.fail(now, began, crowded=_crowded(error))
    else:
        well = isinstance(error, UpstreamRefused | UpstreamLimited)
        watch.leave(now, began, crowded=_crowded(error), well=well)
    if gone and sent and usage is None:
        known = flight.known
        usage = cut_off(relay, known.input_tokens if known is not None else 0)
    answer.entry.end("cancelled" if gone else "failed", status, usage, code, None)
