"""The worker's end of the link (own/link.py): all owned engines, kept as the steward says, and what it is told of them.

Where the link is down, run/engines.json is read instead. Engines end with their steward, so when the link breaks every
gate closes, and requests wait for what the next steward says.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from freehold.own.link import MAX_LINE, Report, Row, reachable
from freehold.own.measure import latest
from freehold.serve.gates import SOON, Gate
from freehold.serve.pace import Pace
from freehold.serve.published import Engine, Published
from freehold.serve.published import Engines as Entries

REPORT_EVERY = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5


class EngineTable:
    """All gates of one worker, kept as the steward says. `connect` is the timeout of connections in seconds."""

    def __init__(self, folder: Path, *, patience: float = 60.0, most_waiting: int = 500, connect: float = 5.0) -> None:
        self.patience = patience
        self.most_waiting = most_waiting
        self.connect = connect
        self.sequence = 0
        """Of the table in force; 0 before there is one."""
        self.watched = False
        """The steward waits to hear that an engine is idle."""
        self.changed = False
        """What engines there are, or what they can do, has changed since this was last set back."""
        self._folder = folder
        self._file = Published(folder / "engines.json", Entries)
        self._gates: dict[str, Gate] = {}
        self._last: list[Row] = []
        self._writer: asyncio.StreamWriter | None = None
        self._unlinked = time.monotonic()
        self._due = False
        self._shape: object = None
        if self._file.value:
            self._take(self._file.value)

    def configure(self, patience: float, most_waiting: int, connect: float) -> None:
        """A configuration comes into force. What waits already waits as long as it was told."""
        self.patience, self.most_waiting, self.connect = patience, most_waiting, connect

    @property
    def entries(self) -> dict[str, Engine]:
        return {name: gate.entry for name, gate in self._gates.items() if gate.entry is not None}

    def gate(self, name: str) -> Gate:
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = Gate(self, name)
            if (known := latest(name)) is not None:
                gate.pace = Pace.measured(known.cells)
        return gate

    async def follow(self) -> None:
        """Keeps the link to the steward until cancelled."""
        pause = FIRST_PAUSE
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report_often())
            while True:
                try:
                    with reachable(self._folder) as path:
                        reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
                except OSError:
                    await asyncio.sleep(pause)
                    pause = min(LONGEST_PAUSE, pause * 1.5)
                    continue
                pause = FIRST_PAUSE
                self._writer = writer
                try:
                    while line := await reader.readline():
                        self._told(_TABLES.decode(line))
                except (OSError, ValueError):
                    pass
                finally:
                    self._writer = None
                    writer.close()
                    self._lost()
                await asyncio.sleep(pause)

    def refresh(self) -> None:
        """Reads the file where the link has been down for a while. Called now and then."""
        if self._writer is None and time.monotonic() - self._unlinked > SOON and self._file.refresh():
            self._take(self._file.value)

    def report_soon(self) -> None:
        """Tells the steward as soon as whoever runs now has come to an end."""
        if not self._due and self._writer is not None:
            self._due = True
            asyncio.get_running_loop().call_soon(self._report, True)

    def farewell(self, row: Row) -> None:
        """The last words of a life."""
        self._last.append(row)

    def _told(self, table: "_Table") -> None:
        if self.sequence == 0 or table.sequence < self.sequence:
            for gate in self._gates.values():
                gate.forget_reports()
        self.sequence = table.sequence
        self.watched = table.contended
        self._take(table.engines)
        self._report(True)

    def _take(self, entries: Mapping[str, Engine]) -> None:
        for name in {**self._gates, **entries}:
            self.gate(name).update(entries.get(name))
        shape = {name: (e.context, e.capabilities, sorted(e.fields), e.load) for name, e in entries.items()}
        if shape != self._shape:
            self._shape, self.changed = shape, True

    def _lost(self) -> None:
        """Engines end with their steward, so nobody else is sent to them until there is news."""
        self._unlinked = time.monotonic()
        self.sequence = 0
        self.watched = False
        self._file.refresh()
        for gate in self._gates.values():
            gate.close()
            gate.forget_reports()

    async def _report_often(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            self._report(False)

    def _report(self, always: bool) -> None:
        """`always`: also if all there is to tell is which table is in force."""
        self._due = False
        if self._writer is None or not self.sequence:
            return
        now = time.monotonic()
        rows, self._last = self._last, []
        wants, answers = [], []
        for gate in self._gates.values():
            changed, want = gate.report(now)
            rows += changed
            if want is not None:
                wants.append(want)
            if (answer := gate.answer()) is not None:
                answers.append(answer)
        if rows or wants or answers or always:
            self._writer.write(msgspec.json.encode(Report(self.sequence, rows, wants, answers)) + b"\n")


class _Table(Struct):
    sequence: int
    contended: bool
    engines: dict[str, Engine]


_TABLES = msgspec.json.Decoder(_Table)
