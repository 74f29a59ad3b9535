"""The fake as a process: uvloop, a ready call, and SIGTERM or SIGINT as a clean end.

One process on purpose: the bill is one ordered list, exact at any moment. Whoever needs more load than one core gives
starts several fakes on several ports.
"""

import asyncio
import gc
import signal
from collections.abc import Callable

import uvloop

from freehold.errors import ConfigError
from freehold.fake.provider import FakeProvider


def run(provider: FakeProvider, ready: Callable[[FakeProvider], None]) -> None:
    """Serves until SIGTERM or SIGINT; `ready` is called once, when the port is open.

    Raises:
        ConfigError: the address cannot be bound.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # the bill grows by untracked rows: walking it often finds nothing
    uvloop.run(_serve(provider, ready))


async def _serve(provider: FakeProvider, ready: Callable[[FakeProvider], None]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        await provider.start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {provider.host} port {provider.port}: {error.strerror or error}",
            hint="choose another --port, or 0 for any free one",
        ) from None
    try:
        ready(provider)
        await ended.wait()
    finally:
        await provider.stop()
