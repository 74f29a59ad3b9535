"""The link between workers and steward: who is told what, and what happens to those who talk nonsense."""

import asyncio
import contextlib
import json
import os
import stat
from pathlib import Path

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own.link import LOCK, SOCKET, Lines, Report, Row, Server, Want, claim, reachable
from freehold.own.tally import Tally


class Listening:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[int, Report | None]] = asyncio.Queue()
        self.server = Server(
            lambda worker, report: self.heard.put_nowait((worker, report)),
            lambda worker: self.heard.put_nowait((worker, None)),
        )


async def connected(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with reachable(folder) as path:
        return await asyncio.open_unix_connection(path)


async def test_everybody_gets_the_newest_table_and_is_heard(tmp_path: Path) -> None:
    listening = Listening()
    await listening.server.start(tmp_path)
    assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
    early, early_out = await connected(tmp_path)
    report = Report(3, [Row("a", 1, inflight=2)], [Want("b", 4, 9.5)])
    early_out.write(msgspec.json.encode(report) + b"\n")
    assert (await asyncio.wait_for(listening.heard.get(), 5))[1] == report
    listening.server.push(b'{"n":1}')
    assert json.loads(await early.readline()) == {"n": 1}
    listening.server.push(b'{"n":2}')
    late, late_out = await connected(tmp_path)
    assert json.loads(await late.readline()) == {"n": 2}
    assert len(listening.server.workers) == 2
    early_out.close()
    assert (await asyncio.wait_for(listening.heard.get(), 5))[1] is None
    late_out.close()
    await listening.server.close()


@pytest.mark.parametrize("words", [b"hello\n", b'{"seen": "x"}\n', b"[]\n", b"\xff\xfe\n"])
async def test_who_talks_nonsense_is_cut_off(tmp_path: Path, words: bytes) -> None:
    listening = Listening()
    await listening.server.start(tmp_path)
    reader, writer = await connected(tmp_path)
    writer.write(words)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    other, writer = await connected(tmp_path)
    listening.server.push(b"{}")
    assert await other.readline() == b"{}\n", "the others go on"
    writer.close()
    await listening.server.close()


async def test_a_folder_with_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    listening = Listening()
    await listening.server.start(folder)
    listening.server.push(b"{}")
    reader, writer = await connected(folder)
    assert await reader.readline() == b"{}\n"
    writer.close()
    await listening.server.close()


def test_lines_may_come_in_any_pieces() -> None:
    lines = Lines()
    found = [line for byte in b"one\ntwo\n\nthree" for line in lines.feed(bytes([byte]))]
    assert found == [b"one", b"two", b""]
    assert lines.feed(b"\n") == [b"three"]
    with pytest.raises(ValueError, match="does not end"):
        lines.feed(b"x" * (9 << 20))


def test_the_second_steward_is_told_whose_the_folder_is(tmp_path: Path) -> None:
    lock = claim(tmp_path)
    with pytest.raises(EngineError) as caught:
        claim(tmp_path)
    assert f"process {os.getpid()}" in caught.value.message
    assert caught.value.code == "steward_runs"
    assert stat.S_IMODE((tmp_path / LOCK).stat().st_mode) == 0o600
    os.close(lock)
    os.close(claim(tmp_path))


def test_a_life_is_closed_when_every_worker_says_so() -> None:
    tally = Tally()
    tally.heard(1, Report(5, [Row("a", 1, inflight=0)]), 10.0)
    tally.heard(2, Report(4, [Row("a", 1, inflight=3)]), 11.0)
    assert not tally.closed("a", 1, 5, {1, 2}), "2 acts on an older table"
    tally.heard(2, Report(5), 12.0)
    assert not tally.closed("a", 1, 5, {1, 2}), "2 has requests there"
    assert not tally.closed("a", 1, 5, {1, 3}), "3 has not said anything"
    tally.heard(2, Report(5, [Row("a", 1, inflight=0, begun=3)]), 13.0)
    assert tally.closed("a", 1, 5, {1, 2})
    assert tally.used("a", 1) == 13.0


def test_what_a_dead_worker_received_is_not_forgotten() -> None:
    tally = Tally()
    tally.heard(1, Report(1, [Row("a", 1, inflight=2, received=100)], [Want("b", 5, 3.0)]), 1.0)
    tally.heard(2, Report(1, [Row("a", 1, inflight=1, received=50)], [Want("b", 1, 2.0)]), 1.0)
    assert tally.waiting("b") == (6, 2.0)
    tally.gone(1)
    seen = tally.look("a", 1, 2.0)
    assert (seen.inflight, seen.received) == (1, 150)
    assert tally.waiting("b") == (1, 2.0)
    tally.heard(2, Report(1, [], [Want("b", 0)]), 2.0)
    assert tally.wanted() == set()
    tally.forget("a", 1)
    assert tally.look("a", 1, 2.0).received == 0
