"""Answers of the Responses API that clients may come back to: by id, for as long as the configuration says.

`previous_response_id`, retrieval and deletion need somebody who remembers. Where we translate, that is us: the items of
a request and the whole response are kept here. Where a provider speaks the dialect itself it remembers, and all we keep
is which deployment that was. Either way a row belongs to the key that made it, and nobody else's key finds it.

One SQLite file beside the ledger, shared by all workers of the host (WAL, short writes). It holds what people said,
so it is readable by its owner only. Nothing here is on the way of a request that does not ask for it.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from freehold.errors import InternalError
from freehold.record.private import open_private

DAY: Final = 86_400
MOST_TURNS: Final = 1_000
"""Responses in a row that are followed back through `previous_response_id`."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, deployment TEXT NOT NULL, at INTEGER NOT NULL,
    previous TEXT, input BLOB, response BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS responses_at ON responses (at);
"""


class Kept(Struct):
    """One response. `input` and `response` are None where the provider at `deployment` keeps them."""

    id: str
    owner: str
    """Name of the virtual key."""
    deployment: str
    previous: str | None = None
    input: list[dict[str, Any]] | None = None
    """The request's own items, with ids."""
    response: dict[str, Any] | None = None


class Responses:
    """The store of one process; calls block for a moment, so they belong into a thread."""

    def __init__(self, path: Path, days: int) -> None:
        """`days`: how long a response is kept. Raises InternalError when the file cannot be used."""
        self._days = days
        self._connection = open_private(path, _SCHEMA, "responses", ", or send store: false")

    def close(self) -> None:
        self._connection.close()

    def save(self, kept: Kept) -> None:
        """Keeps a response, and forgets those whose time is over. Raises InternalError."""
        now = int(time.time())
        row = (kept.id, kept.owner, kept.deployment, now, kept.previous, _encode(kept.input), _encode(kept.response))
        try:
            self._connection.execute("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._connection.execute("DELETE FROM responses WHERE at < ?", (now - self._days * DAY,))
        except sqlite3.Error as error:
            raise InternalError(f"the response could not be kept: {error}", code="store_unavailable") from error

    def find(self, identity: str, owner: str) -> Kept | None:
        """Returns a response if it is kept and `owner`'s. Raises InternalError."""
        try:
            row = self._connection.execute(
                "SELECT id, owner, deployment, previous, input, response FROM responses"
                " WHERE id = ? AND owner = ? AND at >= ?",
                (identity, owner, int(time.time()) - self._days * DAY),
            ).fetchone()
        except sqlite3.Error as error:
            raise InternalError(f"kept responses cannot be read: {error}", code="store_unavailable") from error
        if row is None:
            return None
        identity, owner, deployment, previous, items, response = row
        return Kept(identity, owner, deployment, previous, _decode(items), _decode(response))

    def history(self, identity: str, owner: str) -> list[Kept] | None:
        """Returns a response and those before it, oldest first; None where one of them is not there any more."""
        found: list[Kept] = []
        following: str | None = identity
        while following is not None and len(found) < MOST_TURNS:
            kept = self.find(following, owner)
            if kept is None:
                return None
            found.append(kept)
            following = kept.previous if kept.response is not None else None
        return found[::-1]

    def delete(self, identity: str, owner: str) -> bool:
        """Forgets a response; False when there is none of `owner`'s. Raises InternalError."""
        try:
            cursor = self._connection.execute("DELETE FROM responses WHERE id = ? AND owner = ?", (identity, owner))
        except sqlite3.Error as error:
            raise InternalError(f"the response could not be deleted: {error}", code="store_unavailable") from error
        return cursor.rowcount > 0


def _encode(value: Any) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _decode(value: bytes | None) -> Any:
    return None if value is None else msgspec.json.decode(value)
