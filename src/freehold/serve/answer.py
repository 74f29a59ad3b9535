"""The answer on its way back to the client.

A stream ends in one of four ways, and the client can always tell which: its dialect's proper end; the provider's own
error, in the client's dialect; our error event when the upstream broke, stalled or lied; or the client left first, and
then the upstream was cut off. A broken stream never looks like a finished one.
"""

import asyncio

from freehold.call.attempts import Answer
from freehold.call.operation import ERRORS, Translation, stream_failure
from freehold.call.transport import Flight
from freehold.errors import FreeholdError, InternalError, UpstreamBroken
from freehold.serve.recorder import RequestRecorder
from freehold.serve.snapshot import Snapshot

Header = tuple[bytes, bytes]

_JSON: Header = (b"content-type", b"application/json")
_STREAM: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


async def send_whole(snapshot: Snapshot, body: bytes, headers: list[Header], status: int = 200) -> None:
    send = snapshot.send
    start = [_JSON, (b"content-length", b"%d" % len(body)), (b"x-request-id", snapshot.request_id.encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def send_error(snapshot: Snapshot, client: str, error: FreeholdError) -> None:
    """Answers with `error` in the client's dialect."""
    body = ERRORS[client].write_error(error, snapshot.request_id)
    headers: list[Header] = []
    if client == "messages":
        headers.append((b"request-id", snapshot.request_id.encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after + 0.49))))
    await send_whole(snapshot, body, headers, error.status)


async def send_stream(
    snapshot: Snapshot, client: str, answer: Answer, flight: Flight, recorder: RequestRecorder
) -> None:
    """Relays the rest of a stream whose first bytes are in `answer`. Never raises once the status line is out."""
    send = snapshot.send
    recorder.first()
    headers = [*_STREAM, (b"x-request-id", snapshot.request_id.encode()), *recorder.headers(answer)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if answer.first:
        await send({"type": "http.response.body", "body": answer.first, "more_body": True})
    failure: FreeholdError | None
    try:
        tail = await _pump(snapshot, answer, flight)
        failure = _verdict(answer)
    except FreeholdError as error:
        tail, failure = _broken_off(answer, error)
    except asyncio.CancelledError:
        tail, failure = b"", InternalError("this gateway was stopped", hint="send the request again", code="shutdown")
    finally:
        if answer.connection is not None:
            answer.connection.finish()
    recorder.finish(answer, failure)
    if failure is not None:
        if failure.status == 499:
            return
        if answer.relay is None or answer.relay.failed is None or isinstance(answer.relay, Translation):
            tail += stream_failure(client, failure, snapshot.request_id, answer.target.name)
    await send({"type": "http.response.body", "body": tail})


async def _pump(snapshot: Snapshot, answer: Answer, flight: Flight) -> bytes:
    """Moves chunks until the upstream's end; returns the last bytes, which have not been sent."""
    send, relay, connection = snapshot.send, answer.relay, answer.connection
    if relay is None or connection is None:
        return b""
    now = asyncio.get_running_loop().time
    idle = answer.target.timeouts.idle
    end = flight.started + answer.target.timeouts.total
    while relay.failed is None:
        chunk = await connection.chunk()
        if not chunk:
            break
        flight.deadline = min(end, now() + idle)
        data = relay.feed(chunk)
        if data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
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


def _verdict(answer: Answer) -> FreeholdError | None:
    relay = answer.relay
    if relay is None:
        return None
    if relay.failed is not None:
        return UpstreamBroken(f"the provider failed in the middle of its answer: {relay.failed.message}")
    if not relay.complete:
        return UpstreamBroken("the provider's stream ended before its answer was complete")
    return None
