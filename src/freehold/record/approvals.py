"""Requests that wait for a person's word, and what became of it: one small store for all workers of a host.

    pending ──> approved ──> used
       │            ├──────> withdrawn
       │            └──────> (expired)
       ├──> denied
       ├──> withdrawn        the client has left
       └──> (expired)        nobody decided in time

An approval is for one request: a keyed digest of its body and path, its key, its labels, the version of the
configuration, and the places it may go to. It can be used once, and for so long. Each step is one UPDATE that names the
state it starts from, so of two workers, or two people, one comes first and the other is told; `expired` is no step but
what the clock says.

What a person is shown holds words of the request, so the file is its owner's alone, deleted rows are overwritten, and
the words are gone as soon as the request is decided, or its time is over. The values that were found are never here:
shown on demand they would have to be kept, or be fetched from one process of several; who must see them asks the
caller, by the request's id. Times are Unix times in seconds.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from freehold.errors import InternalError
from freehold.record.private import open_private

State = Literal["pending", "approved", "denied", "withdrawn", "used", "expired"]
KEPT: Final = 30 * 86_400
"""Seconds that a decided one is still listed."""
MOST_REASON: Final = 500
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS approvals (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, at REAL NOT NULL, expires REAL NOT NULL, valid REAL NOT NULL,
    key TEXT NOT NULL, request TEXT NOT NULL, digest BLOB NOT NULL, config TEXT NOT NULL,
    label TEXT NOT NULL, lowered TEXT NOT NULL, asked TEXT NOT NULL, about TEXT NOT NULL, kinds TEXT NOT NULL,
    sinks TEXT NOT NULL, excerpt TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL, decided REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS approvals_digest ON approvals (digest);
CREATE INDEX IF NOT EXISTS approvals_state ON approvals (state, key);
"""
_COLUMNS: Final = (
    "id, state, at, expires, valid, key, request, digest, config, label, lowered, asked, about, kinds, sinks, excerpt,"
    " by, reason, decided"
)

_INSERT: Final = f"INSERT INTO approvals ({_COLUMNS}) VALUES ({'?, ' * 18}?)"  # noqa: S608  ours


class Bound(Struct, frozen=True):
    """What an approval is for; nothing else may use it."""

    digest: bytes
    key: str
    """Name of the virtual key."""
    label: str
    """The request's label with all that was found."""
    lowered: str
    """What it falls to."""
    config: str
    """Version of the configuration."""


class Approval(Struct):
    """One request and what was decided. `expires` is when a pending one, or an approved one, is worth nothing."""

    id: str
    state: State
    at: float
    expires: float
    valid: float
    """Seconds that it can be used once approved."""
    key: str
    request: str
    """Id of the request that asked."""
    digest: bytes
    config: str
    label: str
    lowered: str
    asked: str
    """The model as the client wrote it."""
    about: str
    """What it is: `request`, or the call of a tool."""
    kinds: list[str]
    """Types of what was found."""
    sinks: list[str]
    """Deployments that it may go to."""
    excerpt: str = ""
    by: str = ""
    """Who decided."""
    reason: str = ""
    decided: float | None = None

    @property
    def bound(self) -> Bound:
        return Bound(self.digest, self.key, self.label, self.lowered, self.config)


def new_id() -> str:
    return f"apr-{secrets.token_hex(8)}"


class Approvals:
    """The store of one process; calls block for a moment, so they belong into a thread."""

    def __init__(self, path: Path) -> None:
        """Raises InternalError when the file cannot be used."""
        self._connection = open_private(path, _SCHEMA, "approvals")

    def close(self) -> None:
        self._connection.close()

    def ask(self, approval: Approval, now: float, most: int, *, share: bool) -> Approval | None:
        """Enters a pending one and returns it; None where its key has `most` undecided ones already.

        `share`: the same request, asked again, gets the one that is there, whatever was decided about it, for as long
        as that is worth anything.
        """
        with self._writing():
            self._forget(now)
            if share:
                same = self._rows(
                    "digest = ? AND key = ? AND label = ? AND lowered = ? AND config = ? AND expires > ?"
                    " AND state IN ('pending', 'approved', 'denied') ORDER BY at DESC LIMIT 1",
                    *_bound(approval.bound), now,
                )  # fmt: skip
                if same:
                    return same[0]
            waiting = self._connection.execute(
                "SELECT count(*) FROM approvals WHERE state = 'pending' AND key = ? AND expires > ?",
                (approval.key, now),
            ).fetchone()[0]
            if waiting >= most:
                return None
            a = approval
            row = (
                a.id, "pending", a.at, a.expires, a.valid, a.key, a.request, a.digest, a.config, a.label, a.lowered,
                a.asked, a.about, _text(a.kinds), _text(a.sinks), a.excerpt, "", "", None,
            )  # fmt: skip
            self._connection.execute(_INSERT, row)
            return approval

    def decide(self, identity: str, *, approve: bool, by: str, reason: str, now: float) -> bool:
        """Decides a pending one; False where it is not pending any more, or not there."""
        with self._writing():
            state = "approved" if approve else "denied"
            cursor = self._connection.execute(
                "UPDATE approvals SET state = ?, by = ?, reason = ?, decided = ?, excerpt = '',"
                " expires = CASE WHEN ? THEN ? + valid ELSE expires END"
                " WHERE id = ? AND state = 'pending' AND expires > ?",
                (state, by, reason[:MOST_REASON], now, approve, now, identity, now),
            )
            return cursor.rowcount == 1

    def take(self, identity: str, bound: Bound, sinks: Iterable[str], now: float) -> Approval | None:
        """Uses an approval up, for exactly this request and places; None where it is not to be had: see `find`."""
        with self._writing():
            found = self._one(identity)
            if found is None or not set(sinks) <= set(found.sinks):
                return None
            cursor = self._connection.execute(
                "UPDATE approvals SET state = 'used' WHERE id = ? AND state = 'approved' AND expires > ?"
                " AND digest = ? AND key = ? AND label = ? AND lowered = ? AND config = ?",
                (identity, now, *_bound(bound)),
            )
            return found if cursor.rowcount == 1 else None

    def withdraw(self, identity: str) -> None:
        """Nobody waits for it any more."""
        with self._writing():
            self._connection.execute(
                "UPDATE approvals SET state = 'withdrawn', excerpt = ''"
                " WHERE id = ? AND state IN ('pending', 'approved')",
                (identity,),
            )

    def find(self, identity: str, now: float) -> Approval | None:
        """Returns one, `expired` where its time is over."""
        with self._reading():
            return _aged(self._one(identity), now)

    def decided(self, identities: Iterable[str], now: float) -> list[Approval]:
        """Returns those of them that are not pending any more."""
        with self._reading():
            wanted = list(identities)
            rows = self._rows(f"id IN ({', '.join('?' * len(wanted))})", *wanted)
            return [one for row in rows if (one := _aged(row, now)) is not None and one.state != "pending"]

    def pending(self, now: float) -> list[Approval]:
        """Returns those that wait for a decision, the oldest first."""
        with self._reading():
            return self._rows("state = 'pending' AND expires > ? ORDER BY at, id", now)

    def everything(self, now: float) -> list[Approval]:
        """Returns all that are known, the oldest first."""
        with self._reading():
            return [one for row in self._rows("1 ORDER BY at, id") if (one := _aged(row, now)) is not None]

    def _forget(self, now: float) -> None:
        self._connection.execute("UPDATE approvals SET excerpt = '' WHERE excerpt <> '' AND expires <= ?", (now,))
        self._connection.execute("DELETE FROM approvals WHERE expires <= ?", (now - KEPT,))

    def _one(self, identity: str) -> Approval | None:
        rows = self._rows("id = ?", identity)
        return rows[0] if rows else None

    def _rows(self, where: str, *arguments: Any) -> list[Approval]:
        cursor = self._connection.execute(f"SELECT {_COLUMNS} FROM approvals WHERE {where}", arguments)  # noqa: S608  ours
        return [_read(row) for row in cursor.fetchall()]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction that nobody else writes in. Raises InternalError."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(error) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unusable(error) from error


def _unusable(error: sqlite3.Error) -> InternalError:
    return InternalError(
        f"approvals cannot be kept or read: {error}", code="store_unavailable", hint="check free space in FREEHOLD_HOME"
    )


def _aged(found: Approval | None, now: float) -> Approval | None:
    if found is not None and found.state in ("pending", "approved") and found.expires <= now:
        found.state, found.excerpt = "expired", ""
    return found


def _bound(bound: Bound) -> tuple[bytes, str, str, str, str]:
    return bound.digest, bound.key, bound.label, bound.lowered, bound.config


def _text(names: list[str]) -> str:
    return msgspec.json.encode(names).decode()


def _read(row: Any) -> Approval:
    (identity, state, at, expires, valid, key, request, digest, config, label, lowered, asked, about, kinds, sinks,
     excerpt, by, reason, decided) = row  # fmt: skip
    return Approval(
        identity, state, at, expires, valid, key, request, digest, config, label, lowered, asked, about,
        msgspec.json.decode(kinds, type=list[str]), msgspec.json.decode(sinks, type=list[str]), excerpt, by, reason,
        decided,
    )  # fmt: skip
