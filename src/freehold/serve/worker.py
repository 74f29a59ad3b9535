"""One gateway worker: uvicorn on the shared socket, and the few things that happen beside requests.

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

import uvicorn
import uvloop

from freehold.serve.app import App, report
from freehold.serve.gateway import Shared, build
from freehold.serve.processes import Snapshotted, die_with_parent
from freehold.serve.protocol import GatewayProtocol, sweep
from freehold.serve.snapshot import reseed

BESIDE = 0.25
"""Seconds between looks at what others publish (engines, keys, rates), at slow senders, and at our own counters."""

LAST_WORDS = 2.0
"""Seconds that a request cut off by the end of the drain has for its error answer and its settlement."""


def run(index: int, listener: socket.socket, source: Snapshotted, ready: int) -> None:
    """Serves until SIGTERM. Writes one byte to the file descriptor `ready` when requests can come."""
    die_with_parent(signal.SIGTERM)
    reseed()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(index, listener, source, ready))


async def _serve(index: int, listener: socket.socket, source: Snapshotted, ready: int) -> None:
    loaded = source.load()
    shared = Shared(index, loaded.config.server.workers)
    app = App(build(loaded, shared))
    server = _Server(app, listener, ready)
    loop = asyncio.get_running_loop()

    def reload() -> None:
        try:
            app.gateway = build(source.load(), shared)
        except Exception as error:
            report(error, "reload; the configuration before it stays in force")

    loop.add_signal_handler(signal.SIGHUP, reload)
    beside = loop.create_task(_beside(shared, server, reload))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    await server.serve(sockets=[listener])
    beside.cancel()
    shared.close()


async def _beside(shared: Shared, server: uvicorn.Server, reload: Callable[[], None]) -> None:
    """What a worker looks at now and then: states others publish, and its own counters to be published."""
    while True:
        await asyncio.sleep(BESIDE)
        try:
            if shared.changed():
                reload()
            now = asyncio.get_running_loop().time()
            sweep(server.server_state.connections, now)
            shared.publish(now)
        except Exception as error:
            report(error, "housekeeping")


class _Server(uvicorn.Server):
    """uvicorn, telling the parent when it listens and the app when it drains."""

    def __init__(self, app: App, listener: socket.socket, ready: int) -> None:
        settings = app.gateway.config.server
        super().__init__(
            uvicorn.Config(
                app,
                http=GatewayProtocol,
                loop="none",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
            )
        )
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        os.write(self._ready, b"+")
        os.close(self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.draining = True
        await super().shutdown(sockets)
        if cancelled := self.server_state.tasks.copy():
            await asyncio.wait(cancelled, timeout=LAST_WORDS)
