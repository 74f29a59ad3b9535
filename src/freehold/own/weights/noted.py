"""Receipts of what a pull asks for: one for each request to a hub, redirects among them, written before it goes out.

A pull runs in a process of its own, so it has a journal of its own beside those of the workers; whoever ingests them
takes it in. A pull that asks nobody, of a folder, makes none. Of a request stand there the host and a keyed digest of
the URL: no token, and no name of a model.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from freehold.errors import InternalError
from freehold.home import journal_dir
from freehold.record.journal import Journal
from freehold.record.receipts.sent import Outward, Sink

if TYPE_CHECKING:
    import httpx2

KIND = "pull"
LABEL = "public"
"""Nothing of any request goes to a hub."""


class Receipts:
    """Of one pull. Ends with `close`."""

    def __init__(self) -> None:
        self._name = f"pull-{uuid.uuid4().hex[:12]}"
        self._journal: Journal | None = None
        self._lock = threading.Lock()

    def write(self, host: str, url: str) -> None:
        """Raises InternalError where it cannot be written: then nothing may be asked."""
        with self._lock:
            if self._journal is None:
                try:
                    self._journal = Journal(journal_dir(), KIND)
                except OSError as error:
                    raise InternalError(
                        f"receipts of what is asked cannot be written: {error.strerror or error}",
                        hint="make FREEHOLD_HOME writable",
                    ) from error
            journal = self._journal
            call = f"{self._name}-{KIND}{journal.calls + 1}"
            sent = journal.sent(Sink(host), call, url.encode())
            journal.append(Outward(KIND, call, "", time.time_ns(), "", LABEL, "", sent))

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    @contextmanager
    def of(self, client: "httpx2.AsyncClient", *others: Any) -> Iterator[None]:
        """Writes down what `client` asks meanwhile, and what the blocking clients `others` do."""

        def before(request: Any) -> None:
            url = request.url
            self.write(url.netloc.decode("ascii", "replace"), str(url))

        async def also(request: Any) -> None:
            before(request)

        # Behind the hooks that are there: where one of those refuses, nothing is asked.
        client.event_hooks["request"].append(also)
        for other in others:
            other.event_hooks["request"].append(before)
        try:
            yield
        finally:
            client.event_hooks["request"].remove(also)
            for other in others:
                other.event_hooks["request"].remove(before)
