"""A small load: the same request again and again over some connections, with what it took in time and in CPU.

CPU is read from /proc: nanoseconds on a CPU from each thread's schedstat, else clock ticks from stat, summed over a
process and all its descendants. Times on a machine that the load shares with the gateway are upper bounds.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from freehold.call.transport import Flight, Origin, Pool, request_head
from freehold.errors import FreeholdError, UpstreamTimeout

REQUEST_SECONDS = 10.0
MAX_ANSWER = 1 << 20


class Load(Struct):
    """What to send: `requests` in all over `connections`, the share `streamed` of them (0 to 1) streamed."""

    url: str
    key: str
    model: str
    requests: int
    connections: int
    streamed: float = 0.0
    seconds: float = 60.0
    """When to stop, however many were sent."""


class Outcome(Struct):
    """`latencies` in seconds, of the answers that were whole; `errors` counts the others by what went wrong."""

    latencies: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def percentile(self, share: float) -> float | None:
        """Latency in milliseconds that `share` of the answers kept; None without answers. Nearest rank."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else None


async def run(load: Load) -> Outcome:
    """Sends the load. Ends when all is sent or the time is over."""
    outcome = Outcome()
    began = time.monotonic()
    origin = Origin.parse(load.url)
    pool = Pool(origin, connect_timeout=5.0, limit=load.connections)
    numbers = iter(range(load.requests))
    whole, streamed = (_request(load, origin, stream) for stream in (False, True))

    async def worker() -> None:
        for number in numbers:
            if time.monotonic() - began > load.seconds:
                return
            stream = int((number + 1) * load.streamed) > int(number * load.streamed)
            try:
                outcome.latencies.append(await _once(pool, streamed if stream else whole))
            except FreeholdError as error:
                outcome.errors[error.message] = outcome.errors.get(error.message, 0) + 1

    try:
        await asyncio.gather(*(worker() for _ in range(load.connections)))
    finally:
        pool.shut()
    outcome.seconds = time.monotonic() - began
    return outcome


async def _once(pool: Pool, data: bytes) -> float:
    """Returns the seconds from sending to the last byte."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    flight = Flight(began)
    late = UpstreamTimeout(f"no whole answer within {REQUEST_SECONDS:g} s")
    alarm = loop.call_later(REQUEST_SECONDS, flight.abort, late)
    try:
        connection = await pool.acquire(flight)
        connection.send(flight, data)
        try:
            status = await connection.head()
            body = await connection.read(MAX_ANSWER)
        finally:
            connection.finish()
    finally:
        alarm.cancel()
    if status != 200:
        raise FreeholdError(f"status {status}: {body[:200].decode('utf-8', 'replace')}")
    return loop.time() - began


def _request(load: Load, origin: Origin, stream: bool) -> bytes:
    """One chat request of about 1 KB, head and body."""
    words = "Where is my refund? I returned the parcel two weeks ago and have heard nothing since. "
    body = msgspec.json.encode(
        {"model": load.model, "messages": [{"role": "user", "content": (words * 12)[:900]}], "stream": stream}
    )
    headers = [(b"Authorization", b"Bearer " + load.key.encode()), (b"Content-Type", b"application/json")]
    head = request_head("POST", origin.authority, origin.prefix + "/v1/chat/completions", headers)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its living descendants, in seconds."""
    return sum(_cpu(one) for one in family(pid))


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    parents = dict(_parents())
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything, even brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu(pid: int) -> float:
    try:
        tasks = [int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except (OSError, ValueError, IndexError):
        tasks = []
    if any(tasks):
        return sum(tasks) / 1e9
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0
