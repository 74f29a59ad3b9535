"""The load: wrk for throughput, one small client for latency. Bodies are about 1 KB, as chat bodies are."""

import asyncio
import json
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.processes import need

PROMPT = (
    "A customer writes that the parcel with order number 4711 has been on its way for nine days, that the tracking "
    "page has not changed since Tuesday, and that the present is for a birthday on Saturday. "
) * 4


def chat_body(model: str, *, stream: bool = False) -> str:
    body: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are the support assistant of a shop. Answer in two sentences."},
            {"role": "user", "content": PROMPT[:800]},
        ],
        "max_tokens": 200,
        "temperature": 0.2,
    }
    if stream:
        body["stream"] = True
    return json.dumps(body)


class Load(NamedTuple):
    requests: int
    errors: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def wrk(
    url: str, body: str, headers: dict[str, str], *, seconds: int, connections: int, core: int, folder: Path
) -> Load:
    """Runs wrk with one thread; any answer that is not 200 counts as an error."""
    script = folder / "load.lua"
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{body}]==]", 'wrk.headers["Content-Type"] = "application/json"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text("\n".join(lines) + "\n")
    command = [
        need("wrk", "wrk"),
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "-s",
        str(script),
        url,
    ]
    taskset = ["taskset", "-c", str(core)]
    out = subprocess.run([*taskset, *command], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s|m)", out)
    if found is None:
        raise RuntimeError(out)
    seconds_run = float(found[2]) * {"s": 1.0, "ms": 0.001, "m": 60.0}[found[3]]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    errors = int(bad[1]) if bad else 0
    errors += sum(int(n) for n in socket_errors.groups()) if socket_errors else 0
    return Load(int(found[1]), errors, seconds_run)


class Latency(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float


def latency(url: str, body: str, headers: dict[str, str], *, rate: int, connections: int, seconds: float) -> Latency:
    """Open arrivals at `rate` per second, spread over `connections`: what clients wait when nothing is saturated.

    A request is timed from the moment it was due, so that a slow answer is not hidden by a late next request.
    """
    return asyncio.run(_paced(url, body, headers, rate, connections, seconds))


async def _paced(url: str, body: str, headers: dict[str, str], rate: int, connections: int, seconds: float) -> Latency:
    parts = urlsplit(url)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Content-Type": "application/json", **headers}.items())
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
    data = request.encode()
    start = time.perf_counter() + 0.1
    pause = connections / rate
    times: list[float] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        due = start + number * pause / connections
        while due < start + seconds:
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            begin = time.perf_counter() if wait > 0 else due
            writer.write(data)
            await _answer(reader)
            times.append((time.perf_counter() - begin) * 1000)
            due += pause
        writer.close()

    await asyncio.gather(*(client(number) for number in range(connections)))
    ordered = sorted(times[len(times) // 10 :])
    return Latency(statistics.median(ordered), ordered[int(len(ordered) * 0.99)])


async def _answer(reader: asyncio.StreamReader) -> None:
    """Reads one whole response."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(head.decode("latin-1"))
    if b"transfer-encoding: chunked" in head:
        while (size := int((await reader.readuntil(b"\r\n")).strip(), 16)) or True:
            await reader.readexactly(size + 2)
            if size == 0:
                return
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
