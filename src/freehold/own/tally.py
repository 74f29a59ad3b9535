"""What all gateway workers together have in flight and waiting, from their reports (link.py).

A worker that is gone takes its requests with it, but not what it has received: those counters only grow, so that the
judge of wedged engines (health.py) never sees one go back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from freehold.own.health import Seen
from freehold.own.link import Report, Row, Want

Key = tuple[str, int]
"""An engine's name and the number of its life."""


@dataclass(slots=True)
class _Worker:
    seen: int = 0
    rows: dict[Key, Row] = field(default_factory=dict)
    wants: dict[str, Want] = field(default_factory=dict)


class Tally:
    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._received: dict[Key, int] = {}
        """By workers that are gone."""
        self._used: dict[Key, float] = {}

    def heard(self, worker: int, report: Report, now: float) -> None:
        known = self._workers.setdefault(worker, _Worker())
        known.seen = report.seen
        for row in report.rows:
            key = (row.name, row.number)
            before = known.rows.get(key)
            if row.inflight or before is None or before.inflight or row.begun != before.begun:
                self._used[key] = now
            known.rows[key] = row
        for want in report.wants:
            if want.waiting:
                known.wants[want.name] = want
            else:
                known.wants.pop(want.name, None)

    def gone(self, worker: int) -> None:
        known = self._workers.pop(worker, None)
        for key, row in known.rows.items() if known else ():
            self._received[key] = self._received.get(key, 0) + row.received

    def forget(self, name: str, number: int) -> None:
        """A life is over."""
        key = (name, number)
        self._received.pop(key, None)
        self._used.pop(key, None)
        for worker in self._workers.values():
            worker.rows.pop(key, None)

    def inflight(self, name: str, number: int) -> int:
        return sum(row.inflight for row in self._rows((name, number)))

    def used(self, name: str, number: int) -> float:
        """When it last had work, 0.0 if never."""
        return self._used.get((name, number), 0.0)

    def begun(self, name: str, number: int) -> int:
        return sum(row.begun for row in self._rows((name, number)))

    def waiting(self, name: str) -> tuple[int, float]:
        """Returns how many wait for a model and since when the oldest does."""
        wants = [want for worker in self._workers.values() if (want := worker.wants.get(name))]
        return sum(want.waiting for want in wants), min((want.oldest for want in wants), default=0.0)

    def wanted(self) -> set[str]:
        return {name for worker in self._workers.values() for name in worker.wants}

    def closed(self, name: str, number: int, sequence: int, workers: Iterable[int]) -> bool:
        """Whether all these workers act on the table `sequence`, or a later one, and none has a request there."""
        for number_of in workers:
            worker = self._workers.get(number_of)
            if worker is None or worker.seen < sequence:
                return False
        return self.inflight(name, number) == 0

    def look(self, name: str, number: int, now: float) -> Seen:
        key = (name, number)
        rows = self._rows(key)
        return Seen(
            at=now,
            inflight=sum(row.inflight for row in rows),
            received=sum(row.received for row in rows) + self._received.get(key, 0),
            last_byte=max((row.last_byte for row in rows if row.last_byte), default=None),
            last_start=max((row.last_start for row in rows if row.last_start), default=None),
            streaming=sum(row.streaming for row in rows),
            prompt_tokens=max((row.prompt_tokens for row in rows), default=0),
            unseen_tokens=max((row.unseen_tokens for row in rows), default=0),
        )

    def _rows(self, key: Key) -> list[Row]:
        return [row for worker in self._workers.values() if (row := worker.rows.get(key))]
