"""What of the response cache outlives a configuration: the store, the thread that writes to it, who waits for whom.

Looking up happens in the event loop. Keeping is a job for the one thread: reading what the client was told, encoding
it, writing it. Jobs are bounded; when there are too many, an answer is not kept. Whoever asks for what is just being
written waits for that, so that the same request right after an answer finds it.

Identical requests at the same time are asked once in a worker: the first one leads, and the others wait for its answer,
at most `MOST_WAITING` of them, and only those that want a whole answer, since a stream would begin only when the
leader's has ended. When there is nothing to be found then (it failed, it was not fit to be kept), each asks for itself.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from freehold.record.cache import CacheStore, Held, Partition

MOST_JOBS = 64
MOST_WAITING = 256
MOST_COUNTED = 200
FLUSH = 5.0
"""Seconds between two times that hits are written down."""


class CacheLife:
    """One per worker process."""

    def __init__(self, folder: Path) -> None:
        """Raises InternalError when the folder cannot be used."""
        self.store = CacheStore(folder)
        self._thread = ThreadPoolExecutor(1, "cache")
        self._jobs: dict[bytes, asyncio.Future[None]] = {}
        self._led: dict[bytes, asyncio.Future[None]] = {}
        self._waiting = 0
        self._hits: dict[bytes, tuple[float, int]] = {}
        self._flushed = 0.0

    async def find(self, digest: bytes, partition: Partition) -> Held | None:
        """Returns what is kept for a request."""
        job = self._jobs.get(digest)
        if job is not None:
            await asyncio.wait((job,))
        held = self.store.find(digest, partition, time.time())
        fault = self.store.fault
        if fault is not None:
            self.job(b"mend", lambda: self.store.mend(fault))
        return held

    def hit(self, digest: bytes, now: float) -> None:
        """Notes that an answer was given again. `now`: Unix time in seconds."""
        self._hits[digest] = now, self._hits.get(digest, (0.0, 0))[1] + 1
        if now - self._flushed > FLUSH or len(self._hits) > MOST_COUNTED or now < self._flushed:
            self._flushed = now
            self._count()

    def lead(self, digest: bytes) -> bool:
        """Whether nobody else asks the same: then others may wait, until `led`."""
        if digest in self._led:
            return False
        self._led[digest] = asyncio.get_running_loop().create_future()
        return True

    def led(self, digest: bytes) -> None:
        """The request that led has ended, however it did."""
        future = self._led.pop(digest, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def follow(self, digest: bytes) -> bool:
        """Waits for whoever asks the same; False: nobody does, or too many wait."""
        led = self._led.get(digest)
        if led is None or self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        try:
            await asyncio.wait((led,))
        finally:
            self._waiting -= 1
        return True

    def job(self, name: bytes, work: Callable[[], Any]) -> None:
        """Has `work` done by the thread, unless there is too much to do. What it raises of SQLite's is mended there."""
        if len(self._jobs) >= MOST_JOBS or name in self._jobs:
            return
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)
        self._jobs[name] = done
        done.add_done_callback(lambda _: self._jobs.pop(name, None))

    async def settled(self) -> None:
        """Returns when no job is left."""
        while self._jobs:
            await asyncio.wait(self._jobs.values())

    def close(self) -> None:
        """Ends the jobs that are waiting, writes down the hits."""
        hits, self._hits = self._hits, {}
        if hits:
            self._thread.submit(self._work, lambda: self._write_hits(hits))
        self._thread.shutdown()
        self.store.close()

    def _count(self) -> None:
        hits, self._hits = self._hits, {}
        self.job(b"hits", lambda: self._write_hits(hits))

    def _write_hits(self, hits: dict[bytes, tuple[float, int]]) -> None:
        self.store.count((digest, when, times) for digest, (when, times) in hits.items())

    def _work(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except sqlite3.Error as error:
            self.store.mend(error)
        except OSError:
            return  # a full disk: nothing is kept
