"""One gateway worker: our HTTP server on the shared socket, and the few things that happen beside requests.

The parent forks it (up.py). SIGHUP takes over the configuration that the parent has checked; SIGTERM drains: no new
connections, running requests get `server.drain_seconds`, what is still open then ends with an error event. If the
parent dies the kernel sends SIGTERM too.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable

import uvloop

from freehold.call.transport import Way
from freehold.serve.app import App, report, say_no_values
from freehold.serve.exchange import reseed
from freehold.serve.gateway import build
from freehold.serve.http import HttpConnection, sweep
from freehold.serve.processes import Snapshotted, die_with_parent
from freehold.serve.shared import Shared

BESIDE = 0.25
"""Seconds between looks at what others publish (engines, keys, rates), at slow senders, and at our own counters."""

BACKLOG = 2048

LAST_WORDS = 2.0
"""Seconds that a request cut off by the end of the drain has for its error answer and its settlement."""


def run(
    index: int, listener: socket.socket, source: Snapshotted, ready: int, make_way: Callable[[], Way] | None = None
) -> None:
    """Serves until SIGTERM. Writes one byte to the file descriptor `ready` when requests can come. `make_way`: in
    strict mode, what makes the way out."""
    die_with_parent(signal.SIGTERM)
    reseed()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(index, listener, source, ready, make_way() if make_way is not None else None))


async def _serve(index: int, listener: socket.socket, source: Snapshotted, ready: int, way: Way | None) -> None:
    loaded = source.load()
    shared = Shared(index, loaded.config.server.workers, loaded.config.responses_days, way)
    app = App(build(loaded, shared))
    loop = asyncio.get_running_loop()
    say_no_values(loop)
    connections: set[HttpConnection] = set()

    def reload() -> None:
        try:
            app.gateway = build(source.load(), shared)
        except Exception as error:
            report(error, "reload; the configuration before it stays in force")

    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reload)
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, stopped.set)
    beside = loop.create_task(_beside(shared, connections, reload))
    link = loop.create_task(shared.table.follow())
    server = await loop.create_server(lambda: HttpConnection(app, loop, connections), sock=listener, backlog=BACKLOG)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    os.write(ready, b"+")
    os.close(ready)
    await stopped.wait()
    app.draining = True
    server.close()
    await _drain(connections, app.gateway.config.server.drain_seconds)
    beside.cancel()
    link.cancel()
    shared.close()


async def _beside(shared: Shared, connections: set[HttpConnection], reload: Callable[[], None]) -> None:
    """What a worker looks at now and then: states others publish, and its own counters to be published."""
    while True:
        await asyncio.sleep(BESIDE)
        try:
            if shared.changed():
                reload()
            now = asyncio.get_running_loop().time()
            sweep(connections, now)
            shared.publish(now)
            shared.pressure.publish()
        except Exception as error:
            report(error, "housekeeping")


async def _drain(connections: set[HttpConnection], seconds: float) -> None:
    """Lets running requests end; what is still open after `seconds` ends with an error event."""
    for connection in list(connections):
        connection.shutdown()
    busy = [c.current.task for c in connections if c.current is not None and c.current.task is not None]
    if busy:
        await asyncio.wait(busy, timeout=max(1.0, seconds))
    running = [task for task in busy if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=LAST_WORDS)
    await asyncio.sleep(0.05)  # closed transports write out what they hold
    for connection in list(connections):
        connection.abort()
