"""The writer: whatever it said is in the log stays there, wherever it is killed, and only one writes."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import InternalError
from freehold.record.receipts.files import Files
from freehold.record.receipts.leaf import Began, Call, Damaged, KeyChanged
from freehold.record.receipts.log import Log
from freehold.record.receipts.places import HEADS

Desk = Any


class Crash(BaseException):
    """The process ends here."""


class Mortal(Files):
    """Ends the process at the operation numbered `at`: before it, or in the middle of a write. A power cut besides
    garbles what was written since the last sync."""

    def __init__(self, at: int, *, half: bool, power: random.Random | None = None) -> None:
        self._left = at
        self._half = half
        self._power = power
        self._unsynced: dict[int, int] = {}

    def _step(self, descriptor: int = -1) -> bool:
        """Whether the process ends with this operation."""
        self._left -= 1
        if self._left == 0 and self._power is not None:
            for one, start in self._unsynced.items():
                self._garble(one, start)
        return self._left == 0

    def _garble(self, descriptor: int, start: int) -> None:
        assert self._power is not None
        end = os.fstat(descriptor).st_size
        for place in range(start, end, 64):
            if self._power.random() < 0.5:
                os.pwrite(descriptor, bytes(min(64, end - place)), place)
        if self._power.random() < 0.3 and end > start:
            os.ftruncate(descriptor, self._power.randrange(start, end))

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        self._unsynced.setdefault(descriptor, offset)
        if self._left == 1 and self._half:
            super().write(descriptor, data[: len(data) // 2], offset)
        if self._step():
            raise Crash
        super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        if self._step():
            raise Crash
        super().sync(descriptor)
        self._unsynced.pop(descriptor, None)

    def cut(self, descriptor: int, length: int) -> None:
        if self._step():
            raise Crash
        super().cut(descriptor, length)

    def create(self, path: Path) -> int:
        if self._step():
            raise Crash
        return super().create(path)

    def sync_folder(self, path: Path) -> None:
        if self._step():
            raise Crash
        super().sync_folder(path)


def work(desk: Desk, files: Files, said: list[str]) -> None:
    """A writer's day: batches of receipts, heads now and then, files that fill up. `said`: calls it was told are in."""
    log = desk.open(files=files, part_bytes=1500)
    try:
        for batch in range(6):
            calls = [desk.call(3 * batch + number) for number in (1, 2, 3)]
            log.append(calls)
            said += [call.call for call in calls]
            if batch % 2:
                log.sign()
    finally:
        log.close()


def crash_everywhere(root: Path, make: Callable[[Path], Desk], power: random.Random | None, *, half: bool) -> int:
    for at in range(1, 200):
        desk = make(root / f"{at}-{half}-{power is not None}")
        said: list[str] = []
        try:
            work(desk, Mortal(at, half=half, power=power), said)
        except Crash:
            pass
        else:
            return at
        again = desk.open()
        kept = [leaf.call for leaf in again.everything() if isinstance(leaf, Call)]
        assert kept[: len(said)] == said, "what was said to be in the log is in it"
        assert len(kept) <= len(said) + 3
        again.append([desk.call(len(kept) + 1)])
        again.sign()
        again.close()
        verdict = desk.verify()
        assert verdict.findings == []
        assert verdict.calls == len(kept) + 1
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("half", [False, True])
def test_killed_at_every_step(tmp_path: Path, desk: Desk, half: bool) -> None:
    assert crash_everywhere(tmp_path / "all", type(desk), None, half=half) > 30


def test_a_power_cut_at_every_step(tmp_path: Path, desk: Desk) -> None:
    for seed in range(3):
        assert crash_everywhere(tmp_path / str(seed), type(desk), random.Random(seed), half=True) > 30


WRITER = """
import os, sys
from pathlib import Path
from freehold.record.receipts.leaf import Call
from freehold.record.receipts.log import Log

home = Path(sys.argv[1])
log = Log(home / "receipts", home / "heads.jsonl", b"s" * 32, part_bytes=20_000)
number = sum(isinstance(leaf, Call) for leaf in log.everything())
while True:
    log.append([Call(0, n, f"c{n}", "w0-1", n) for n in range(number + 1, number + 6)])
    number += 5
    os.write(1, b"x")
    if number % 50 == 0:
        log.sign()
"""


def test_kill_9_loses_nothing_that_was_acknowledged(desk: Desk) -> None:
    chance = random.Random(3)
    acknowledged = 0
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(desk.home)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            told = 0
            while told < chance.randint(5, 60):
                told += len(os.read(writer.stdout.fileno(), 100))
            writer.send_signal(signal.SIGKILL)
            told += len(writer.stdout.read())
        assert writer.returncode == -signal.SIGKILL
        acknowledged += 5 * told
        log = desk.open()
        kept = [leaf.seq for leaf in log.everything() if isinstance(leaf, Call)]
        log.close()
        assert kept == list(range(1, len(kept) + 1))
        assert acknowledged <= len(kept) <= acknowledged + 5
        acknowledged = len(kept)
    assert desk.verify().findings == []


class Full(Files):
    """A disk that is full for a while, in the middle of a write."""

    full = False

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        if self.full:
            super().write(descriptor, data[: len(data) // 3], offset)
            raise OSError(28, "No space left on device")
        super().write(descriptor, data, offset)


def test_a_full_disk_leaves_the_log_as_it_was(desk: Desk, open_log: Callable[..., Log]) -> None:
    disk = Full()
    log = open_log(files=disk)
    log.append([desk.call(1)])
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        log.append([desk.call(2), desk.call(3)])
    with pytest.raises(OSError, match="No space"):
        log.sign()
    assert log.size == 2
    disk.full = False
    log.append([desk.call(2), desk.call(3)])
    log.sign()
    assert desk.verify().findings == []
    assert desk.verify().calls == 3


def test_two_writers_do_not_write(desk: Desk, open_log: Callable[..., Log]) -> None:
    first = open_log()
    first.append([desk.call(1)])
    with pytest.raises(InternalError, match="another process writes") as raised:
        desk.open()
    assert raised.value.code == "receipts_locked"
    first.append([desk.call(2)])
    first.close()
    second = open_log()
    second.append([desk.call(3)])
    second.sign()
    assert desk.verify().findings == []


def test_goes_on_where_it_stopped(desk: Desk, open_log: Callable[..., Log]) -> None:
    first = open_log()
    first.append([desk.call(1)])
    name = first.name
    first.sign()
    first.append([desk.call(2)])
    first.close()
    second = open_log()
    assert (second.name, second.size) == (name, 3)
    assert second.head is not None
    assert second.head.size == 2, "what the ledger may not have is not signed by opening"
    assert [leaf.seq for leaf in second.unsigned() if isinstance(leaf, Call)] == [2]


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"size": 1, "peaks": []}', b'{"size": 22, "peaks": ["00"]}'])
def test_without_the_cache_all_lines_are_read(desk: Desk, open_log: Callable[..., Log], content: bytes | None) -> None:
    desk.filled(part_bytes=2000)
    assert len(list(desk.folder.glob("log-*"))) > 1
    cache = desk.folder / "frontier.json"
    if content is None:
        cache.unlink()
    else:
        cache.write_bytes(content)
    log = open_log()
    assert log.size == 22
    log.append([desk.call(11)])
    log.sign()
    assert desk.verify().findings == []


def lose_lines(desk: Desk) -> None:
    last = max(desk.folder.glob("log-*"))
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:-2]))


def lose_a_head(desk: Desk) -> None:
    path = desk.folder / HEADS
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def lose_all_heads(desk: Desk) -> None:
    (desk.folder / HEADS).unlink()


def lose_both_places(desk: Desk) -> None:
    lose_all_heads(desk)
    desk.second.unlink()


def lose_everything(desk: Desk) -> None:
    for path in (*desk.folder.glob("log-*"), desk.folder / HEADS):
        path.unlink()


def other_heads(desk: Desk) -> None:
    lines = desk.second.read_bytes().splitlines(keepends=True)
    desk.second.write_bytes(b"".join([lines[0], *lines[2:]]))


def garbage(desk: Desk) -> None:
    with (desk.folder / HEADS).open("ab") as file:
        file.write(b'"garbage"\n"garbage"\n')


@pytest.mark.parametrize(
    "harm", [lose_lines, lose_a_head, lose_all_heads, lose_both_places, lose_everything, other_heads, garbage]
)
def test_a_log_that_cannot_be_gone_on_with_is_set_aside(
    desk: Desk, open_log: Callable[..., Log], harm: Callable[[Desk], None]
) -> None:
    desk.filled()
    harm(desk)
    log = open_log()
    first = next(log.everything())
    assert isinstance(first, Began)
    assert "broken-" in first.after
    log.append([desk.call(1)])
    log.sign()
    log.close()
    (aside,) = desk.folder.glob("broken-*")
    assert list(aside.iterdir()) or harm is lose_everything
    verdict = desk.verify()
    assert [one.where for one in verdict.findings] == ["line 0"], "it says so forever, and nothing else is wrong"
    again = open_log()
    assert again.name == log.name, "and the new log goes on"


def test_heads_that_a_crash_left_out_are_copied(desk: Desk, open_log: Callable[..., Log]) -> None:
    desk.filled()
    kept = desk.second.read_bytes()
    for lines in (0, 1, 3):
        desk.second.write_bytes(b"".join(kept.splitlines(keepends=True)[:lines]))
        open_log().close()
        assert desk.second.read_bytes() == kept
    desk.second.write_bytes(kept[:-20])
    open_log().close()
    assert desk.second.read_bytes() == kept


def test_a_head_that_a_power_cut_garbled_never_was(desk: Desk, open_log: Callable[..., Log]) -> None:
    desk.filled()
    with (desk.folder / HEADS).open("ab") as file:
        file.write(b'"freehold-' + bytes(60) + b'"\n')
    open_log().close()
    verdict = desk.verify()
    assert verdict.findings == []
    assert verdict.heads == 7


def test_another_key_is_announced(desk: Desk, open_log: Callable[..., Log]) -> None:
    desk.filled()
    log = open_log(seed=b"t" * 32)
    log.append([desk.call(11)])
    log.sign()
    log.close()
    changes = [leaf for leaf in open_log(seed=b"t" * 32).everything() if isinstance(leaf, KeyChanged)]
    assert len(changes) == 1
    verdict = desk.verify()
    assert verdict.findings == []
    assert verdict.key == changes[0].key


def test_what_is_cut_off_is_kept_to_be_looked_at(desk: Desk, open_log: Callable[..., Log]) -> None:
    desk.filled()
    path = min(desk.folder.glob("log-*"))
    with path.open("ab") as file:
        file.write(b'not a line\n{"kind":"damage"')
    open_log().close()
    (cut,) = desk.folder.glob("cut-*")
    assert cut.read_bytes().startswith(b"not a line\n")
    assert desk.verify().findings == []
    with path.open("ab") as file:
        file.write(b'{"kind":"da')
    open_log().close()
    assert len(list(desk.folder.glob("cut-*"))) == 1, "half a line alone is not worth it"


def test_numbers_and_files(desk: Desk, open_log: Callable[..., Log]) -> None:
    log = open_log(part_bytes=300)
    log.append([])
    for number in range(1, 6):
        log.append([desk.call(number), Damaged(0, desk.clock(), f"w0-1.{number:06d}", 1)])
    log.sign()
    names = sorted(path.name for path in desk.folder.glob("log-*"))
    assert names[0] == "log-000000000000.jsonl"
    assert len(names) > 3
    assert [leaf.n for leaf in log.everything()] == list(range(11))
    assert all(path.stat().st_mode & 0o77 == 0 for path in desk.folder.iterdir())
