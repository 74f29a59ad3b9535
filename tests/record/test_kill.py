"""kill -9 at any moment: the ingester loses and doubles nothing, a writer loses nothing that it wrote."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from freehold.record.entries import Refused, Settlement
from freehold.record.journal import Journal, segments
from freehold.record.store import Store

Book = Any
KILLS = 20

INGESTER = """
import os, random, signal, sys, time
from pathlib import Path
from freehold.config.schema import Config, ModelFacts, Provider
from freehold.record.ingest import Ingest
from freehold.record.prices import Pricer
from freehold.record.store import Store

home, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(17)
pricer = Pricer(Config(providers={"lab": Provider(models={"small": ModelFacts(input=1.0, output=2.0)})}), {})
for _ in range(kills):
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        ingest = Ingest(Store(home / "freehold.db"), home / "journal", pricer)
        while True:
            os.write(tell, b"x")
            assert not ingest.step(40).locked
    for _ in range(chance.randint(1, 6)):
        os.read(ready, 1)
        os.write(1, b"x")
    time.sleep(chance.random() * 0.01)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the ingester ended by itself"
"""


def test_an_ingester_killed_twenty_times_loses_and_doubles_nothing(book: Book, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    chance = random.Random(5)
    writers = [Journal(folder, f"w{i}", segment_bytes=20_000) for i in range(2)]
    command = [sys.executable, "-c", INGESTER, str(tmp_path), str(KILLS)]
    running: list[tuple[int, int]] = []
    settled: dict[str, Settlement] = {}
    number = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as killer:
        assert killer.stdout is not None
        # A hundred calls for each step of an ingester, written while it goes on with the next.
        while os.read(killer.stdout.fileno(), 1):
            for _ in range(100):
                who = number % 2
                writers[who].append(book.intent(number))
                if number % 9 == 0:
                    writers[who].append(Refused(f"x{number}", number, "bot", "a", "chat", 400, "content_blocked"))
                running.append((who, number))
                if len(running) > 30:
                    whose, which = running.pop(chance.randrange(30))
                    settlement = book.settlement(which)
                    writers[whose].append(settlement)
                    settled[settlement.call] = settlement
                number += 1
            if chance.random() < 0.2:
                who = chance.randrange(2)
                writers[who].close()
                running = [(whose, which) for whose, which in running if whose != who]
                writers[who] = Journal(folder, f"w{who}", segment_bytes=20_000)
    assert killer.returncode == 0
    for writer in writers:
        writer.close()
    store = Store(tmp_path / "freehold.db")
    already = len(book.ledger(store))
    book.take_in(store, folder)
    rows = book.ledger(store)
    assert already > 0, "the killed ingesters did some of the work"
    assert rows.keys() == {book.intent(i).call for i in range(number)}
    for call, row in rows.items():
        end = settled.get(call)
        seen = (row["outcome"], row["uncached"], row["output"])
        assert seen == (("ok", end.uncached, end.output) if end else ("unknown", 0, 0))
    book.check_sums(store)
    refused = store.connection.execute("SELECT request FROM refusals ORDER BY at").fetchall()
    assert refused == [(f"x{i}",) for i in range(0, number, 9)]
    assert segments(folder) == []
    store.close()


WRITER = """
import os, sys
from pathlib import Path
from freehold.record.entries import Intent, Refused, Settlement
from freehold.record.journal import Journal

journal = Journal(Path(sys.argv[1]), "w0", segment_bytes=30_000)
for n in range(1_000_000):
    who = ("bot", "a", "lab/small", "lab", "small", "chat")
    journal.append(Intent(f"r{n}-1", f"r{n}", n, 1, *who, False, False, 1, "v"))
    os.write(1, b"i")
    journal.append(Settlement(f"r{n}-1", "ok", 200, uncached=n))
    os.write(1, b"s")
    journal.append(Refused(f"x{n}", n, "bot", "a", "chat", 400, "content_blocked"))
    os.write(1, b"r")
"""


def test_a_writer_killed_at_work_has_lost_nothing_it_wrote(book: Book, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    told = b""
    while len(told) < 4001:
        told += os.read(writer.stdout.fileno(), 1000)
    writer.send_signal(signal.SIGKILL)
    told += writer.stdout.read()
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    store = Store(tmp_path / "freehold.db")
    report = book.take_in(store, folder)
    assert report.damage == 0
    rows = book.ledger(store)
    intents, settlements = told.count(b"i"), told.count(b"s")
    assert len(rows) in (intents, intents + 1)
    settled = [call for call, row in rows.items() if row["outcome"] == "ok"]
    assert len(settled) in (settlements, settlements + 1)
    assert {f"r{n}-1" for n in range(settlements)} <= set(settled)
    assert all(rows[f"r{n}-1"]["uncached"] == n for n in range(settlements))
    refused = store.connection.execute("SELECT request FROM refusals ORDER BY at").fetchall()
    assert refused == [(f"x{n}",) for n in range(len(refused))]
    assert len(refused) in (told.count(b"r"), told.count(b"r") + 1)
    store.close()
