"""The answer on its way back to the client.

A stream ends in one of four ways, and the client can always tell which: its dialect's proper end; the provider's own
error, in the client's dialect; our error event when the upstream broke, stalled or lied; or the client left first, and
then the upstream was cut off. A broken stream never looks like a finished one.
"""

import asyncio
from collections.abc import Awaitable, Callable

from freehold.call.attempts import Answer, engine_failure
from freehold.call.languages import ERRORS
from freehold.call.talk import stream_failure
from freehold.call.transport import Flight
from freehold.errors import ApprovalRequired, FreeholdError, InternalError, UpstreamBroken
from freehold.serve.endpoints import Endpoint
from freehold.serve.exchange import Exchange, line
from freehold.serve.recorder import RequestRecorder


def send_whole(
    exchange: Exchange, body: bytes, lines: bytes = b"", status: int = 200, kind: bytes | None = None
) -> None:
    """Answers with JSON, or what `kind` says; `lines` are further header lines."""
    identity = exchange.request_id.encode()
    if kind is None:
        lines = b"content-type: application/json\r\nx-request-id: %b\r\n%b" % (identity, lines)
    else:
        lines = b"%bx-request-id: %b\r\n%b" % (line(b"content-type", kind), identity, lines)
    exchange.answer(status, lines, body)


def send_error(exchange: Exchange, client: str, error: FreeholdError) -> None:
    """Answers with `error` in the client's dialect."""
    body = ERRORS[client].write_error(error, exchange.request_id)
    lines = b""
    if client == "messages":
        lines += b"request-id: %b\r\n" % exchange.request_id.encode()
    if error.retry_after is not None:
        lines += b"retry-after: %d\r\n" % max(1, round(error.retry_after + 0.49))
    if _pointless(error):
        lines += b"x-should-retry: false\r\n"
    if isinstance(error, ApprovalRequired):
        lines += line(b"x-freehold-approval", error.approval.encode())
    if error.status == 405:
        lines += b"allow: POST\r\n"
    send_whole(exchange, body, lines, error.status)


def _pointless(error: FreeholdError) -> bool:
    """Whether an SDK would repeat the request by the status alone, although that cannot help (a spent quota)."""
    if error.status not in _REPEATED and error.status < 500:
        return False
    return error.code == "insufficient_quota" or (
        error.retry == "no" and error.retry_after is None and error.fault != "us"
    )


_REPEATED = (408, 409, 429)
"""Besides 5xx, what OpenAI's and Anthropic's SDKs repeat; both heed `x-should-retry`."""


_COMMENT = b": keep-alive\n\n"
HEARTBEATS = {
    "chat": _COMMENT,
    "completions": _COMMENT,
    "responses": _COMMENT,
    "messages": b'event: ping\ndata: {"type": "ping"}\n\n',  # Anthropic's own
}
"""What a stream says while its model thinks, for clients that understand it: proxies cut a silent connection."""

_STREAM = b"%bcache-control: no-cache\r\nx-accel-buffering: no\r\nx-request-id: %b\r\n%b"


async def send_stream(
    exchange: Exchange,
    endpoint: Endpoint,
    answer: Answer,
    flight: Flight,
    recorder: RequestRecorder,
    keep: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Relays the rest of a stream whose first bytes are in `answer`. Never raises once the status line is out.

    `keep` is called when the answer is complete, before the client sees its end.
    """
    failure: FreeholdError | None = InternalError("an answer was not read to its end")
    try:
        recorder.first(answer)
        kind = line(b"content-type", answer.content_type or endpoint.stream)
        exchange.begin(200, _STREAM % (kind, exchange.request_id.encode(), recorder.lines(answer)))
        exchange.write(answer.first)
        if answer.content_type is None:
            exchange.heartbeat = HEARTBEATS.get(endpoint.client, b"")
        tail = await _pump(exchange, answer, flight)
        asking = getattr(getattr(answer.relay, "guard", None), "settle", None)
        if asking is not None:
            tail += await asking(answer.relay)
        failure = _verdict(answer)
        if keep is not None and failure is None:
            await keep()
    except FreeholdError as error:
        tail, failure = _broken_off(answer, error)
        if flight.hold is not None and isinstance(failure, UpstreamBroken):
            failure = engine_failure(flight.hold, failure)
    except asyncio.CancelledError:
        tail, failure = b"", InternalError("this gateway was stopped", hint="send the request again", code="shutdown")
    finally:
        answer.over(failure, asyncio.get_running_loop().time())
    recorder.finish(answer, failure)
    if failure is not None:
        if failure.status == 499:
            return
        if getattr(answer.relay, "raw", False):
            exchange.abort()  # bytes of a sound have no place for an error; a cut is all that can be told
            return
        tail += _failure(exchange, endpoint.client, answer, failure)
    exchange.end(tail)


async def _pump(exchange: Exchange, answer: Answer, flight: Flight) -> bytes:
    """Moves chunks until the upstream's end; returns the last bytes, which have not been sent."""
    write, relay, connection = exchange.write, answer.relay, answer.connection
    if relay is None or connection is None:
        return b""
    now = asyncio.get_running_loop().time
    idle = answer.target.timeouts.idle
    end = flight.started + answer.target.timeouts.total
    silent = not answer.began
    guard = getattr(relay, "guard", None)
    while relay.failed is None:
        if guard is not None and guard.blocked is not None:
            break  # a rule has ended the answer: what is still to come is neither seen nor paid for
        chunk = await connection.chunk()
        if not chunk:
            break
        flight.deadline = min(end, now() + idle)
        data = relay.feed(chunk)
        if silent and relay.started:
            silent = False
            answer.started(now())
        if data:
            write(data)
            if exchange.blocked:
                await exchange.drain()
    return relay.close() if relay.failed is None else b""


def _broken_off(answer: Answer, error: FreeholdError) -> tuple[bytes, FreeholdError | None]:
    """The last bytes and what is wrong with the answer. A cut or a silence after its own end takes nothing from it."""
    relay = answer.relay
    if error.fault != "provider" or relay is None or not relay.complete:
        return b"", error
    try:
        return relay.close(), _verdict(answer)
    except FreeholdError:
        return b"", error


def _failure(exchange: Exchange, client: str, answer: Answer, failure: FreeholdError) -> bytes:
    """The error event of the client's dialect; nothing where the provider's own has passed already."""
    relay = answer.relay
    fail = getattr(relay, "fail", None)
    if relay is not None and relay.failed is not None and (fail is None or getattr(relay, "told", False)):
        return b""
    if fail is not None:
        written: bytes = fail(failure, exchange.request_id)
        return written
    return stream_failure(client, failure, exchange.request_id, answer.target.name)


def _verdict(answer: Answer) -> FreeholdError | None:
    relay = answer.relay
    if relay is None:
        return None
    if relay.failed is not None:
        return UpstreamBroken(f"the provider failed in the middle of its answer: {relay.failed.message}")
    if not relay.complete:
        return UpstreamBroken("the provider's stream ended before its answer was complete")
    return None
