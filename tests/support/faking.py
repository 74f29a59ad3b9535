"""A fake provider on a thread of this process: a test sees the raw requests that came to it, keys included."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from freehold.fake import FakeProvider


@contextmanager
def fake_here(**options: Any) -> Iterator[FakeProvider]:
    """Runs `FakeProvider(**options)`. `served.last` is there once its response has been read."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        fake = FakeProvider(**options)
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result(10)
        try:
            yield fake
        finally:
            asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
