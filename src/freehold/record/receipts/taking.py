"""From what the ledger's ingester reads to lines of the log: every call once, whatever is killed when.

The ingester hands over each finished call, and what it found damaged or ended, and calls `write` before it commits and
`committed` after it. Killed between the two, the next ingester reads the same journal entries again; `load` has read
the lines behind the newest head and leaves out what is there already. Lines before the newest head cannot come again,
because a head is signed only when the ledger has all of them: it has read its journals to their end since it was
loaded, and its commits are on the disk (`settled` of `sign`). The one exception is a database that was replaced: then
every line of the workers whose journals are still there is looked at, by each ingester until one has read them all
(the file `rereading` beside the log says so).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from time import time_ns
from typing import Final

from freehold.record.entries import Intent, Settlement
from freehold.record.receipts.leaf import Call, Damaged, Ended, Leaf, call_leaf, outward_leaf
from freehold.record.receipts.log import Log
from freehold.record.receipts.places import Places
from freehold.record.receipts.sent import Outward, Sent

REREADING: Final = "rereading"
Known = tuple[str, str, int]
"""Worker, call id and the worker's count: no line like it may come twice."""


def open_receipts(home: Path, env: Mapping[str, str]) -> "Taking":
    """Returns the taking of a state folder's log, for its one ingester. Raises InternalError, OSError."""
    places = Places(home, env)
    taking = Taking(Log(places.folder, places.second, places.secret()))
    places.remember()
    return taking


class Taking:
    """What one step of the ingester found, until it is in the log."""

    def __init__(self, log: Log, clock: Callable[[], int] = time_ns) -> None:
        self._log = log
        self._clock = clock
        self._lines: list[Leaf] = []
        self._there: set[Known] = set()
        self._reading_again = False
        self._told: set[tuple[str, int]] = set()
        """Workers that have ended (with -1), and damaged journals with how many places, as far as the log says so."""

    def load(self, present: Collection[str], *, fresh: bool) -> None:
        """Forgets what was not written, and reads what of the journals may be in the log already.

        `present`: the incarnations of workers whose journals are there. `fresh`: the ledger knows nothing of them.
        """
        self._lines, self._there, self._told = [], set(), set()
        marker = self._log.folder / REREADING
        if fresh and self._log.size > 1:
            marker.touch(0o600)
        self._reading_again = fresh = marker.exists()
        for leaf in self._log.everything() if fresh else self._log.unsigned():
            if isinstance(leaf, Call) and (not fresh or leaf.worker in present):
                self._there.add((leaf.worker, leaf.call, leaf.seq))
            elif isinstance(leaf, Ended):
                self._told.add((leaf.worker, -1))
            elif isinstance(leaf, Damaged):
                self._told.add((leaf.journal, leaf.places))

    def call(self, worker: str, intent: Intent, end: Settlement, sent: Sent | None, back: int = 0) -> None:
        """A call that has ended, in whatever way."""
        self._add(call_leaf(worker, intent, end, sent, back))

    def outward(self, worker: str, entry: Outward) -> None:
        """A call that asked no model."""
        self._add(outward_leaf(worker, entry))

    def damaged(self, journal: str, places: int) -> None:
        """Places in a journal that hold no entry; 0: it was gone before it was read to its end."""
        if (journal, places) not in self._told:
            self._told.add((journal, places))
            self._lines.append(Damaged(0, self._clock(), journal, places))

    def ended(self, workers: Iterable[str]) -> None:
        """Incarnations of which everything was handed over. Each is told once, so they may be named again."""
        for worker in workers:
            if (worker, -1) not in self._told:
                self._told.add((worker, -1))
                self._lines.append(Ended(0, self._clock(), worker))

    def write(self) -> None:
        """Writes what was handed over. Raises OSError; then nothing of it was written, and `load` must come next."""
        lines, self._lines = self._lines, []
        self._log.append(lines)

    def committed(self, *, caught_up: bool) -> None:
        """The ledger has what was written. `caught_up`: it has read all journals to their end, so that whatever was in
        the log before the ledger had it has come again."""
        if not caught_up:
            return
        self._there.clear()
        if self._reading_again:
            (self._log.folder / REREADING).unlink(missing_ok=True)
            self._reading_again = False

    def sign(self, settled: Callable[[], bool]) -> None:
        """Signs the log, if the ledger has all of it and its commits are on the disk. Raises OSError."""
        if self._lines or self._there or self._log.head is None or self._log.head.size == self._log.size:
            return
        if settled():
            self._log.sign()

    def close(self) -> None:
        self._log.close()

    def _add(self, leaf: Call) -> None:
        if self._there:
            known = (leaf.worker, leaf.call, leaf.seq)
            if known in self._there:
                self._there.discard(known)
                return
        self._lines.append(leaf)
