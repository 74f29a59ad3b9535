"""The board: what each process of this host knows of the load of each owned engine, for all the others to read.

A worker sees only its own requests, but an engine serves all workers; only the steward asks engines how full their
caches are. So each writes its figures into a cell of its own, and whoever wants to know adds them up. Only the owner
writes a cell, so there are no locks. A reader may see half of a change, which is wrong by one request for one moment. A
cell that was not renewed for `FRESH` seconds belongs to a process that is gone, and counts for nothing.

    file   16 bytes magic and boot, then 256 rows, one for an engine
    row    8 bytes hash of its name, 8 unused, then 33 cells: the steward's, and one for each of 32 workers
    cell   when 8 (CLOCK_MONOTONIC), inflight 4, waiting 4, unread 4, cache 4 (float, 0 to 1)
"""

import fcntl
import hashlib
import os
import struct
from pathlib import Path

from msgspec import Struct

from freehold.tables import shared_table, this_boot

ROWS = 256
WORKERS = 32
STEWARD = 0
"""Column of the steward; a worker's is its index plus one."""
FRESH = 3.0

_CELL = struct.Struct("<dIIIf")
_HEAD = 16
_ROW = _HEAD + (WORKERS + 1) * _CELL.size
_SIZE = _HEAD + ROWS * _ROW
_MAGIC = b"fhboard1"
_MOST = 0xFFFFFFFF


class Load(Struct, gc=False):
    """Requests in flight and waiting, tokens of prompts that are not read yet, and the used share of the cache."""

    inflight: int = 0
    waiting: int = 0
    unread: int = 0
    cache: float = 0.0


class Board:
    """The board at `path`, made where it is not there. `column` is the cell this process writes; others it reads."""

    def __init__(self, path: Path, column: int) -> None:
        """Raises OSError. With a column that the board does not have, nothing is written."""
        self._column = column
        self._rows: dict[str, int] = {}
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._map = shared_table(self._descriptor, _SIZE, _MAGIC + this_boot())

    def close(self) -> None:
        self._map.close()
        os.close(self._descriptor)

    def write(self, engine: str, load: Load, now: float) -> None:
        """Renews this process's cell. Where the board is full it is left out."""
        row = self._row(engine)
        if row and 0 <= self._column <= WORKERS:
            inflight, waiting, unread = (min(number, _MOST) for number in (load.inflight, load.waiting, load.unread))
            place = row + _HEAD + self._column * _CELL.size
            _CELL.pack_into(self._map, place, now, inflight, waiting, unread, load.cache)

    def others(self, engine: str, now: float) -> Load:
        """Returns what all other processes know together."""
        total = Load()
        row = self._row(engine)
        if row:
            cells = self._map[row + _HEAD : row + _ROW]
            for column, (when, inflight, waiting, unread, cache) in enumerate(_CELL.iter_unpack(cells)):
                if column != self._column and -FRESH < now - when < FRESH:
                    total.inflight += inflight
                    total.waiting += waiting
                    total.unread += unread
                    if total.cache < cache <= 1.0:
                        total.cache = cache
        return total

    def _row(self, engine: str) -> int:
        """Returns the offset of an engine's row, taking a free one for a new name; 0: there is none."""
        known = self._rows.get(engine)
        if known is not None:
            return known
        digest = hashlib.blake2b(engine.encode(), digest_size=8).digest()
        start = int.from_bytes(digest, "little") % ROWS
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            for step in range(ROWS):
                offset = _HEAD + (start + step) % ROWS * _ROW
                found = self._map[offset : offset + 8]
                if found in (digest, bytes(8)):
                    self._map[offset : offset + 8] = digest
                    self._rows[engine] = offset
                    return offset
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        return 0
