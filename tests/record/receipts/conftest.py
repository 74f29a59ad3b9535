"""Logs to try things on, for all tests of receipts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.record.receipts.leaf import Call, Ended, Leaf
from freehold.record.receipts.log import Log
from freehold.record.receipts.places import HEADS
from freehold.record.receipts.source import folder_source
from freehold.record.receipts.verify import Verdict, verify

AT = 1_790_000_000_000_000_000
SEED = b"s" * 32


class Desk:
    """Where a log is kept: the folder, the second place of its heads, a clock that ticks a second at a time."""

    seed = SEED

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.folder = folder / "receipts"
        self.second = folder / HEADS
        self.now = AT

    def clock(self) -> int:
        self.now += 10**9
        return self.now

    def open(self, **more: Any) -> Log:
        return Log(self.folder, self.second, **{"seed": SEED, "clock": self.clock, **more})

    def verify(self, **more: Any) -> Verdict:
        return verify(folder_source(self.folder, self.second), **more)

    def lines(self) -> list[bytes]:
        return [line for path in sorted(self.folder.glob("log-*")) for line in path.read_bytes().splitlines()]

    @staticmethod
    def call(number: int, worker: str = "w0-1", **changes: Any) -> Call:
        """The receipt of the worker's call `number`, counted from 1."""
        first = {
            "n": 0, "at": AT + number, "call": f"{worker}-{number}-1", "worker": worker, "seq": number, "key": "bot",
            "label": "internal", "deployment": "lab/small", "provider": "lab", "model": "small", "host": "lab.example",
            "region": "eu", "clearance": "internal", "policy": "c0ffee", "out": 100 * number, "back": number,
            "body": f"{number:032x}", "outcome": "ok", "status": 200,
        }  # fmt: skip
        return Call(**{**first, **changes})

    def filled(self, batches: int = 5, each: int = 4, **more: Any) -> "Desk":
        """A closed log of two workers, signed after each batch; the second worker has ended."""
        log = self.open(**more)
        number = 0
        for _ in range(batches):
            batch: list[Leaf] = []
            for _ in range(each // 2):
                number += 1
                batch += [self.call(number), self.call(number, "w1-1")]
            log.append(batch)
            log.sign()
        log.append([Ended(0, self.clock(), "w1-1")])
        log.sign()
        log.close()
        return self


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A log in several files, all of it signed, that nobody may touch."""
    return Desk(tmp_path_factory.mktemp("whole")).filled(6, 6, part_bytes=5000)


@pytest.fixture
def open_log(desk: Desk) -> Iterator[Callable[..., Log]]:
    """Opens the desk's log; what is still open at the end is closed."""
    opened = []

    def opening(**more: Any) -> Log:
        opened.append(desk.open(**more))
        return opened[-1]

    yield opening
    for log in opened:
        log.close()
