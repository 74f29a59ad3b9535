"""SQLite files that hold what clients said: for the owner alone, and what is deleted is overwritten."""

import os
import sqlite3
from pathlib import Path

from freehold.errors import InternalError


def open_private(path: Path, schema: str, what: str, hint: str = "") -> sqlite3.Connection:
    """Opens or makes the file `path` (0600) with `schema`, for one process and any of its threads.

    Raises InternalError when it cannot be used: `what` names what cannot be kept then, `hint` what else may be done.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.executescript(schema)
    except (OSError, sqlite3.Error) as error:
        raise InternalError(
            f"{what} cannot be kept in {path}: {error}",
            code="store_unavailable",
            hint="check the folder's rights and free space" + hint,
        ) from error
    return connection
