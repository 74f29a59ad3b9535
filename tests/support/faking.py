"""A fake provider on a thread of this process: a test sees the raw requests that came to it, keys included."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from freehold.fake import FakeProvider

Fake = TypeVar("Fake", bound=FakeProvider)


@contextmanager
def fake_here(**options: Any) -> Iterator[FakeProvider]:
    """Runs `FakeProvider(**options)`. `served.last` is there once its response has been read."""
    with on_a_thread(FakeProvider(**options)) as fake:
        yield fake


@contextmanager
def on_a_thread(fake: Fake) -> Iterator[Fake]:
    """Runs a fake that is made already."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result(10)
        try:
            yield fake
        finally:
            asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
