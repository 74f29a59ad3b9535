"""Model servers on this machine, looked for by the steward: who answers on the usual ports, and with which models.

Each server that is asked leaves a receipt, in a journal of the steward's own which is made when there is one to ask.
"""

from collections.abc import Callable

import msgspec

from freehold.call.discover import probe_local
from freehold.home import journal_dir, run_dir, write_private
from freehold.record.journal import Journal
from freehold.serve.outward import Receipted
from freehold.serve.published import Local

NAME = "steward"


class LocalServers:
    """`version` returns that of the configuration in force. Ends with `close`."""

    def __init__(self, version: Callable[[], str]) -> None:
        self._journal: Journal | None = None
        self._fetch = Receipted(self._opened, "probe", NAME, version)

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(journal_dir(), NAME)
        return self._journal

    async def look(self) -> None:
        """Publishes what is there, for the workers."""
        servers = [(found.provider, found.base_url, found.models) for found in await probe_local(self._fetch)]
        path = run_dir() / "local.json"
        content = msgspec.json.encode(Local(servers))
        if not path.exists() or path.read_bytes() != content:
            write_private(path, content)

    def close(self) -> None:
        """What was written is complete: the ledger may take it in whole."""
        if self._journal is not None:
            self._journal.close()
